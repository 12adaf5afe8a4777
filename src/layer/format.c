/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/format.h"

#include "util/encode.h"
#include "util/strbuf.h"

static const struct {
    const char *name;
    enum cb_compression compression;
    bool chunked;
} names[] = {
    { "gzip", CB_COMPRESSION_GZIP, false },
    { "estargz", CB_COMPRESSION_GZIP, true },
    { "zstd", CB_COMPRESSION_ZSTD, false },
    { "zstd:chunked", CB_COMPRESSION_ZSTD, true },
    { "uncompressed", CB_COMPRESSION_NONE, false },
    { "none", CB_COMPRESSION_NONE, false },
};

int cb_format_parse(struct cb_format *f, const char *name, struct cb_error *err)
{
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (!strcmp(name, names[i].name)) {
            f->compression = names[i].compression;
            f->chunked = names[i].chunked;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "compression \"%s\" is not supported: " CB_FORMAT_NAMES, name);
}

const char *cb_format_name(const struct cb_format *f)
{
    size_t i = 0;
    while (names[i].compression != f->compression || names[i].chunked != f->chunked)
        i++;
    return names[i].name;
}

int cb_format_parse_level(struct cb_format *f, const char *text, struct cb_error *err)
{
    uint32_t n;
    bool fast = !strcmp(text, "fast");
    if (!fast && (!cb_parse_u32(text, &n) || n > 99))
        return cb_error_set(err, CB_EUSAGE, "there is no compression level \"%s\": " CB_FORMAT_LEVELS, text);
    f->level = fast ? CB_LEVEL_FAST : (int)n;
    return 0;
}

bool cb_format_serves(const struct cb_format *f, const struct cb_format_made *m)
{
    if (m->compression != f->compression || m->chunked != f->chunked)
        return false;
    if (f->compression == CB_COMPRESSION_NONE)
        return true;
    bool fast = cb_starts_with(m->engine, CB_ENGINE_FAST);
    if (f->level == CB_LEVEL_FAST || fast)
        return fast && f->level == CB_LEVEL_FAST;
    if (f->level == CB_LEVEL_DEFAULT)
        return true;
    const char *slash = strrchr(m->engine, '/');
    uint32_t l;
    return slash && cb_parse_u32(slash + 1, &l) && l == (uint32_t)f->level;
}

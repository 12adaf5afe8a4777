/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/format.h"

#include "util/encode.h"
#include "util/strbuf.h"

static const struct {
    const char *name;
    enum cb_compression compression;
} names[] = {
    { "gzip", CB_COMPRESSION_GZIP },
    { "zstd", CB_COMPRESSION_ZSTD },
    { "uncompressed", CB_COMPRESSION_NONE },
    { "none", CB_COMPRESSION_NONE },
};

int cb_format_parse(struct cb_format *f, const char *name, struct cb_error *err)
{
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (!strcmp(name, names[i].name)) {
            f->compression = names[i].compression;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "compression \"%s\" is not supported: " CB_FORMAT_NAMES, name);
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

bool cb_format_serves(const struct cb_format *f, enum cb_compression c, const char *engine)
{
    if (c != f->compression)
        return false;
    if (f->compression == CB_COMPRESSION_NONE)
        return true;
    bool fast = cb_starts_with(engine, CB_ENGINE_FAST);
    if (f->level == CB_LEVEL_FAST || fast)
        return fast && f->level == CB_LEVEL_FAST;
    if (f->level == CB_LEVEL_DEFAULT)
        return true;
    const char *slash = strrchr(engine, '/');
    uint32_t l;
    return slash && cb_parse_u32(slash + 1, &l) && l == (uint32_t)f->level;
}

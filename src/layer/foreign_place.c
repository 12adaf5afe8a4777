/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/foreign.h"

#include "util/alloc.h"
#include "util/encode.h"

/* "1:2:3": n numbers. */
static bool read_numbers(const char *text, uint64_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char digits[24] = "";
        size_t len = strcspn(text, ":");
        if (len >= sizeof digits)
            return false;
        memcpy(digits, text, len);
        if (!cb_parse_u64(digits, INT64_MAX, &v[i]) || text[len] != (i + 1 < n ? ':' : '\0'))
            return false;
        text += len + 1;
    }
    return true;
}

static int check(const struct cb_foreign_place *p, uint64_t blob_size, struct cb_error *err)
{
    if (!p->offset || !p->length || p->offset > blob_size || p->length > blob_size - p->offset)
        return cb_error_set(err, CB_EVERIFY, "the table of contents is not inside the layer");
    if (p->length > CB_MAX_FOREIGN_TOC || p->text_length > CB_MAX_FOREIGN_TOC)
        return cb_error_set(err, CB_EVERIFY, "the table of contents has more than %u bytes", CB_MAX_FOREIGN_TOC);
    return 0;
}

static int find_chunked(const char *digest, const char *at, uint64_t blob_size, struct cb_foreign_place *out,
                        struct cb_error *err)
{
    uint64_t v[4];
    int r = cb_digest_parse(&out->digest, digest, err);
    if (r < 0)
        return cb_error_wrap(err, CB_ANNOTATION_CHUNKED_TOC), r;
    if (!at || !read_numbers(at, v, 4) || v[3] != 1)
        return cb_error_set(err, CB_EVERIFY, CB_ANNOTATION_CHUNKED_AT ": no place of a table of type 1");
    *out = (struct cb_foreign_place){ CB_FOREIGN_ZSTD_CHUNKED, v[0], v[1], v[2], out->digest };
    return check(out, blob_size, err);
}

/* An empty gzip member whose extra field is "SG", 22 bytes: the offset in 16 hexadecimal digits, and "STARGZ". */
static bool read_footer(const uint8_t *f, uint64_t *offset)
{
    static const uint8_t head[16] = { 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, 'S', 'G', 22, 0 };
    static const uint8_t tail[13] = { 1, 0, 0, 0xff, 0xff };
    uint8_t raw[8];
    char digits[17] = "";
    memcpy(digits, f + 16, 16);
    if (memcmp(f, head, 9) != 0 || memcmp(f + 10, head + 10, 6) != 0 || memcmp(f + 32, "STARGZ", 6) != 0 ||
        memcmp(f + 38, tail, sizeof tail) != 0 || !cb_hex_decode(raw, digits, 8))
        return false;
    *offset = 0;
    for (size_t i = 0; i < sizeof raw; i++)
        *offset = *offset << 8 | raw[i];
    return true;
}

static int find_estargz(const char *digest, uint64_t blob_size, const uint8_t *footer, struct cb_foreign_place *out,
                        struct cb_error *err)
{
    int r = cb_digest_parse(&out->digest, digest, err);
    if (r < 0)
        return cb_error_wrap(err, CB_ANNOTATION_ESTARGZ_TOC), r;
    out->kind = CB_FOREIGN_ESTARGZ;
    if (blob_size <= CB_ESTARGZ_FOOTER)
        return cb_error_set(err, CB_EVERIFY, "the layer is too short for an eStargz footer");
    if (!footer)
        return 0;
    if (!read_footer(footer, &out->offset) || out->offset >= blob_size - CB_ESTARGZ_FOOTER)
        return cb_error_set(err, CB_EVERIFY, "no eStargz footer at the end of the layer");
    out->length = blob_size - CB_ESTARGZ_FOOTER - out->offset;
    return check(out, blob_size, err);
}

int cb_foreign_place_find(const struct cb_strmap *annotations, uint64_t blob_size, const uint8_t *footer,
                          struct cb_foreign_place *out, bool *needs_footer, struct cb_error *err)
{
    const char *chunked = cb_strmap_get(annotations, CB_ANNOTATION_CHUNKED_TOC);
    const char *estargz = cb_strmap_get(annotations, CB_ANNOTATION_ESTARGZ_TOC);
    *out = (struct cb_foreign_place){ 0 };
    *needs_footer = false;
    if (chunked && estargz)
        return cb_error_set(err, CB_EVERIFY, "annotations of an eStargz and of a zstd:chunked table");
    if (chunked)
        return find_chunked(chunked, cb_strmap_get(annotations, CB_ANNOTATION_CHUNKED_AT), blob_size, out, err);
    if (!estargz)
        return cb_error_set(err, CB_ENOTFOUND, "the layer has no table of contents");
    *needs_footer = !footer;
    return find_estargz(estargz, blob_size, footer, out, err);
}

char *cb_foreign_pin(const struct cb_strmap *annotations)
{
    static const char *const names[] = { CB_ANNOTATION_ESTARGZ_TOC, CB_ANNOTATION_CHUNKED_TOC,
                                         CB_ANNOTATION_CHUNKED_AT };
    const char *v[CB_COUNTOF(names)];
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        v[i] = cb_strmap_get(annotations, names[i]);
    if (!v[0] && !v[1])
        return NULL;
    return cb_asprintf("estargz=%s chunked=%s at %s", v[0] ? v[0] : "", v[1] ? v[1] : "", v[2] ? v[2] : "");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <libdeflate.h>

#include "layer/gzip_header.h"

enum { FIXED, EXTRA_LENGTH, EXTRA, NAME, COMMENT, CHECK, END };
enum { FHCRC = 0x02, FEXTRA = 0x04, FNAME = 0x08, FCOMMENT = 0x10, RESERVED = 0xe0 };
#define FIXED_SIZE 10
#define FLAGS_AT 3

static bool is_there(const struct cb_gzip_header *h, unsigned field)
{
    static const uint8_t flags[END] = {
        [EXTRA_LENGTH] = FEXTRA, [EXTRA] = FEXTRA, [NAME] = FNAME, [COMMENT] = FCOMMENT, [CHECK] = FHCRC
    };
    return (h->flags & flags[field]) && (field != EXTRA || h->length);
}

static void next_field(struct cb_gzip_header *h)
{
    h->n = 0;
    while (++h->field < END && !is_there(h, h->field))
        ;
    h->whole = h->field == END;
}

static const char *fixed_byte(struct cb_gzip_header *h, uint8_t c)
{
    static const uint8_t start[FLAGS_AT] = { 0x1f, 0x8b, 8 };
    if (h->n < FLAGS_AT)
        return c == start[h->n] ? NULL : "no gzip header where one must be";
    if (h->n == FLAGS_AT)
        h->flags = c;
    return h->flags & RESERVED ? "unknown flags" : NULL;
}

/* Whether the field ends with c, its byte number h->n from 1 on. */
static bool ends(struct cb_gzip_header *h, uint8_t c)
{
    uint16_t *two = h->field == CHECK ? &h->check : &h->length;
    switch (h->field) {
    case FIXED:
        return h->n == FIXED_SIZE;
    case EXTRA:
        return h->n == h->length;
    case NAME:
    case COMMENT:
        return !c;
    default:
        *two = (uint16_t)(*two | c << (8 * (h->n - 1)));
        return h->n == 2;
    }
}

size_t cb_gzip_header_take(struct cb_gzip_header *h, const uint8_t *p, size_t n, const char **bad)
{
    size_t i = 0, summed = 0;
    *bad = NULL;
    while (i < n && !h->whole && !*bad) {
        *bad = h->field == FIXED ? fixed_byte(h, p[i]) : NULL;
        summed += h->field != CHECK;
        h->n++;
        if (ends(h, p[i++]))
            next_field(h);
    }
    h->crc = libdeflate_crc32(h->crc, p, summed);
    if (h->whole && (h->flags & FHCRC) && h->check != (h->crc & 0xffff))
        *bad = "the checksum of its header does not hold";
    return i;
}

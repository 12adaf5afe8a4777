/* SPDX-License-Identifier: Apache-2.0 */
/* What strbuf.h offers for what people read and write: sizes, foreign text on a terminal, fields. */
#include <stdint.h>

#include "util/strbuf.h"
#include "util/utf8.h"

void cb_strbuf_add_size(struct cb_strbuf *sb, unsigned long long bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    if (bytes < 1000) {
        cb_strbuf_addf(sb, "%lluB", bytes);
        return;
    }
    double value = (double)bytes;
    size_t unit = 0;
    /* 999.995 and not 1000: what would be printed as 1000.00 belongs to the next unit. */
    while ((value >= 999.995 || unit == 0) && unit + 1 < CB_COUNTOF(units)) {
        value /= 1000;
        unit++;
    }
    cb_strbuf_addf(sb, "%.2f%s", value, units[unit]);
}

static bool is_harmful(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0)                     /* C1 */
           || c == 0x61c || c == 0x200e || c == 0x200f /* direction marks */
           || (c >= 0x2028 && c <= 0x202e)             /* line and paragraph separator, embeddings, overrides */
           || (c >= 0x2066 && c <= 0x2069)             /* isolates */
           || (c >= 0xfff9 && c <= 0xfffb)             /* interlinear annotation */
           || c == 0xfeff || (c >= 0xe0000 && c <= 0xe007f); /* invisible: BOM, tags */
}

/* Adds one character or its escape; returns how many bytes it took. */
static size_t add_sanitized_one(struct cb_strbuf *sb, const char *p, size_t n, bool keep_newline)
{
    uint32_t c;
    size_t len = cb_utf8_decode(p, n, &c);
    if (!len || ((c < 0x20 || c == 0x7f) && c != '\t' && !(c == '\n' && keep_newline))) {
        cb_strbuf_addf(sb, "\\x%02x", (unsigned)(unsigned char)p[0]);
        return 1;
    }
    if (is_harmful(c))
        cb_strbuf_addf(sb, "\\u{%04x}", c);
    else
        cb_strbuf_add(sb, p, len);
    return len;
}

void cb_strbuf_add_sanitized(struct cb_strbuf *sb, const char *p, size_t n, bool keep_newline)
{
    size_t i = 0;
    while (i < n) {
        size_t start = i;
        while (i < n && p[i] >= 0x20 && p[i] < 0x7f)
            i++;
        cb_strbuf_add(sb, p + start, i - start);
        if (i < n)
            i += add_sanitized_one(sb, p + i, n - i, keep_newline);
    }
}

const char *cb_csv_next(const char *p, struct cb_strbuf *out)
{
    bool quoted = false;
    cb_strbuf_reset(out);
    for (; *p && (quoted || *p != ','); p++) {
        if (*p != '"')
            cb_strbuf_addch(out, *p);
        else if (quoted && p[1] == '"')
            cb_strbuf_addch(out, *p++);
        else
            quoted = !quoted;
    }
    if (quoted)
        return NULL;
    return *p ? p + 1 : p;
}

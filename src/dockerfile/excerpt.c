/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"
#include "util/alloc.h"

#define CONTEXT 2    /* lines above and below */
#define MAX_MARKED 12 /* of the span; the rest is left out in its middle */
#define MAX_WIDTH 200 /* bytes of a line */
#define LEFT_OUT "     | …\n"

/* number 0: of no line of the file. */
static void add_line(struct cb_strbuf *out, unsigned number, bool marked, struct cb_slice s)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    while (s.len > 0 && cb_df_is_blank(s.ptr[s.len - 1]))
        s.len--;
    cb_autofree char *text = cb_strndup(s.ptr, s.len);
    cb_strbuf_add_text_redacted(&shown, text);
    size_t n = CB_MIN(shown.len, (size_t)MAX_WIDTH);
    while (n < shown.len && n > 0 && ((unsigned char)shown.buf[n] & 0xc0) == 0x80)
        n--;
    cb_autofree char *margin = number ? cb_asprintf("%4u", number) : cb_strdup("    ");
    cb_strbuf_addf(out, "%s | %s", margin, marked ? ">>>" : n > 0 ? "   " : "");
    if (n > 0)
        cb_strbuf_addch(out, ' ');
    cb_strbuf_add_sanitized(out, shown.buf, n, false);
    cb_strbuf_adds(out, n < shown.len ? "…\n" : "\n");
}

static bool left_out(struct cb_df_span span, unsigned line)
{
    unsigned half = MAX_MARKED / 2;
    return span.last - span.first + 1 > MAX_MARKED && line >= span.first + half && line <= span.last - half;
}

static void add_beneath(struct cb_strbuf *out, const char *text)
{
    for (unsigned i = 0; *text && i < MAX_MARKED; i++) {
        size_t n = strcspn(text, "\n");
        add_line(out, 0, true, (struct cb_slice){ text, n });
        text += n + (text[n] == '\n');
    }
    if (*text)
        cb_strbuf_adds(out, LEFT_OUT);
}

void cb_df_excerpt(struct cb_strbuf *out, const struct cb_dockerfile *d, struct cb_df_span span, const char *beneath)
{
    static const char rule[] = "--------------------\n";
    unsigned line = 0;
    cb_strbuf_adds(out, rule);
    for (size_t pos = 0; pos < d->text_len && line < span.last + CONTEXT;) {
        const char *nl = memchr(d->text + pos, '\n', d->text_len - pos);
        size_t n = nl ? (size_t)(nl - d->text) - pos : d->text_len - pos;
        line++;
        bool marked = line >= span.first && line <= span.last;
        if (line + CONTEXT >= span.first && !left_out(span, line))
            add_line(out, line, marked, (struct cb_slice){ d->text + pos, n });
        else if (marked && line == span.first + MAX_MARKED / 2)
            cb_strbuf_adds(out, LEFT_OUT);
        if (line == span.last && beneath)
            add_beneath(out, beneath);
        pos += n + 1;
    }
    cb_strbuf_adds(out, rule);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/limits.h"
#include "util/utf8.h"

void cb_df_line_done(struct cb_df_line *l)
{
    cb_strbuf_done(&l->text);
    cb_strvec_done(&l->comments);
    *l = (struct cb_df_line)CB_DF_LINE_INIT;
}

static unsigned line_of(const char *text, const char *at)
{
    unsigned line = 1;
    for (const char *p = text; (p = memchr(p, '\n', (size_t)(at - p))); p++)
        line++;
    return line;
}

int cb_df_text_check(const char *text, size_t len, size_t max, unsigned *line, struct cb_error *err)
{
    *line = 1;
    if (len > max)
        return cb_df_fail(err, "%zu bytes are too many: at most %zu are read", len, max);
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return cb_df_fail(err, "the file is UTF-16: save it as UTF-8");
    const char *nul = len ? memchr(text, '\0', len) : NULL;
    if (nul) {
        *line = line_of(text, nul);
        return cb_df_fail(err, "NUL byte: this is no text file");
    }
    return 0;
}

bool cb_df_utf8_valid(const char *s, size_t n, size_t *bad)
{
    for (size_t i = 0; i < n;) {
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        uint32_t cp;
        size_t len = cb_utf8_decode(s + i, n - i, &cp);
        *bad = i;
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

int cb_df_lexer_raw(struct cb_df_lexer *lx, struct cb_slice *line, struct cb_error *err)
{
    if (lx->pos >= lx->len)
        return 0;
    const char *p = lx->text + lx->pos, *nl = memchr(p, '\n', lx->len - lx->pos);
    size_t n = nl ? (size_t)(nl - p) : lx->len - lx->pos;
    lx->line++;
    if (n > CB_MAX_LINE)
        return cb_df_fail(err, "line of %zu bytes: at most %u are read; break it with a continuation", n, CB_MAX_LINE);
    lx->pos += n + (nl ? 1 : 0);
    *line = (struct cb_slice){ p, n };
    return 1;
}

static struct cb_slice trim_line_end(struct cb_slice s)
{
    while (s.len > 0 && s.ptr[s.len - 1] == '\r')
        s.len--;
    return s;
}

/* Takes the escape at the end off, blanks behind it included. A doubled escape is no continuation. */
static bool take_continuation(struct cb_slice *s, char escape)
{
    size_t n = s->len;
    while (n > 0 && (s->ptr[n - 1] == ' ' || s->ptr[n - 1] == '\t'))
        n--;
    if (n == 0 || s->ptr[n - 1] != escape || (n > 1 && s->ptr[n - 2] == escape))
        return false;
    s->len = n - 1;
    return true;
}

/* BuildKit drops one character, whatever it is: the '#' of an indented comment stays, so it describes nothing. */
static void keep_comment(struct cb_df_line *line, struct cb_slice raw)
{
    struct cb_slice s = cb_df_trim((struct cb_slice){ raw.ptr + 1, raw.len - 1 });
    if (s.len == 0)
        cb_strvec_done(&line->comments);
    else
        cb_strvec_take(&line->comments, cb_strndup(s.ptr, s.len));
}

static int join(struct cb_df_lexer *lx, struct cb_df_line *line, struct cb_slice s, struct cb_error *err)
{
    bool more = take_continuation(&s, lx->escape);
    cb_strbuf_add(&line->text, s.ptr, s.len);
    while (more) {
        int r = cb_df_lexer_raw(lx, &s, err);
        if (r <= 0)
            return r;
        s = trim_line_end(s);
        struct cb_slice t = cb_df_trim_left(s);
        if (t.len == 0) {
            line->empty_inside = true;
            continue;
        }
        if (t.ptr[0] == '#')
            continue;
        more = take_continuation(&s, lx->escape);
        cb_strbuf_add(&line->text, s.ptr, s.len);
    }
    return 0;
}

static void trim_text(struct cb_strbuf *sb)
{
    struct cb_slice s = cb_df_trim((struct cb_slice){ sb->buf, sb->len });
    if (s.ptr > sb->buf)
        memmove(sb->buf, s.ptr, s.len);
    if (sb->len > 0)
        cb_strbuf_setlen(sb, s.len);
}

/* Reads until something that is no comment and no blank line. */
static int first_line(struct cb_df_lexer *lx, struct cb_df_line *line, struct cb_slice *out, struct cb_error *err)
{
    for (;;) {
        int r = cb_df_lexer_raw(lx, out, err);
        if (r <= 0)
            return r;
        struct cb_slice raw = trim_line_end(*out);
        *out = cb_df_trim_left(raw);
        if (out->len > 0 && out->ptr[0] != '#')
            return 1;
        if (out->len > 0 && lx->line > lx->directives)
            keep_comment(line, raw);
    }
}

int cb_df_lexer_next(struct cb_df_lexer *lx, struct cb_df_line *line, struct cb_error *err)
{
    do {
        struct cb_slice s;
        cb_df_line_done(line);
        int r = first_line(lx, line, &s, err);
        if (r <= 0)
            return r;
        line->span.first = lx->line;
        if ((r = join(lx, line, s, err)) < 0)
            return r;
        line->span.last = lx->line;
        trim_text(&line->text);
    } while (line->text.len == 0);
    size_t bad;
    if (cb_df_utf8_valid(line->text.buf, line->text.len, &bad))
        return 1;
    return cb_df_fail(err, "%s is not UTF-8: save the file as UTF-8", CB_DF_SHOW(line->text.buf + bad));
}

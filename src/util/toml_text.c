/* SPDX-License-Identifier: Apache-2.0 */
#include "util/alloc.h"
#include "util/limits.h"
#include "util/toml_private.h"
#include "util/utf8.h"

int cb_toml_fail(const struct cb_toml_parser *ps, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *what = cb_vasprintf(fmt, ap);
    va_end(ap);
    return cb_error_set(ps->err, CB_ECONF, "line %u: %s", ps->line, what);
}

int cb_toml_peek(const struct cb_toml_parser *ps, size_t ahead)
{
    return (size_t)(ps->end - ps->p) > ahead ? (unsigned char)ps->p[ahead] : -1;
}

void cb_toml_skip_blanks(struct cb_toml_parser *ps)
{
    while (cb_toml_peek(ps, 0) == ' ' || cb_toml_peek(ps, 0) == '\t')
        ps->p++;
}

int cb_toml_take_newline(struct cb_toml_parser *ps)
{
    if (cb_toml_peek(ps, 0) == '\r' && cb_toml_peek(ps, 1) == '\n')
        ps->p++;
    else if (cb_toml_peek(ps, 0) != '\n')
        return 0;
    ps->p++;
    ps->line++;
    return 1;
}

/* Adds one character of a comment or string to out, which may be NULL. */
static int take_character(struct cb_toml_parser *ps, struct cb_strbuf *out)
{
    uint32_t c;
    size_t n = cb_utf8_decode(ps->p, (size_t)(ps->end - ps->p), &c);
    if (!n)
        return cb_toml_fail(ps, "invalid UTF-8");
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return cb_toml_fail(ps, "control character 0x%02x", c);
    if (out)
        cb_strbuf_add(out, ps->p, n);
    ps->p += n;
    return 0;
}

int cb_toml_skip_comment(struct cb_toml_parser *ps)
{
    if (cb_toml_peek(ps, 0) != '#')
        return 0;
    while (ps->p < ps->end && *ps->p != '\n' && !(*ps->p == '\r' && cb_toml_peek(ps, 1) == '\n')) {
        int r = take_character(ps, NULL);
        if (r < 0)
            return r;
    }
    return 0;
}

int cb_toml_skip_space(struct cb_toml_parser *ps)
{
    do {
        cb_toml_skip_blanks(ps);
        int r = cb_toml_skip_comment(ps);
        if (r < 0)
            return r;
    } while (cb_toml_take_newline(ps));
    return 0;
}

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int take_code_point(struct cb_toml_parser *ps, size_t digits, struct cb_strbuf *out)
{
    uint32_t c = 0;
    for (size_t i = 0; i < digits; i++) {
        int d = hex_digit(cb_toml_peek(ps, i));
        if (d < 0)
            return cb_toml_fail(ps, "escape needs %zu hexadecimal digits", digits);
        c = c << 4 | (uint32_t)d;
    }
    if (c == 0)
        return cb_toml_fail(ps, "a NUL in a string is not supported");
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return cb_toml_fail(ps, "escape is no Unicode character");
    char utf8[4];
    cb_strbuf_add(out, utf8, cb_utf8_encode(utf8, c));
    ps->p += digits;
    return 0;
}

static int take_escape(struct cb_toml_parser *ps, struct cb_strbuf *out)
{
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    int c = cb_toml_peek(ps, 0);
    if (c == 'u' || c == 'U') {
        ps->p++;
        return take_code_point(ps, c == 'u' ? 4 : 8, out);
    }
    const char *known = c > 0 ? strchr(from, c) : NULL;
    if (!known)
        return cb_toml_fail(ps, "unknown escape in a string");
    cb_strbuf_addch(out, to[known - from]);
    ps->p++;
    return 0;
}

/* Behind a backslash: if only blanks stand before the line end, all white space up to the next word goes. */
static bool take_line_continuation(struct cb_toml_parser *ps)
{
    struct cb_toml_parser ahead = *ps;
    cb_toml_skip_blanks(&ahead);
    if (!cb_toml_take_newline(&ahead))
        return false;
    do
        cb_toml_skip_blanks(&ahead);
    while (cb_toml_take_newline(&ahead));
    *ps = ahead;
    return true;
}

static size_t count_quotes(const struct cb_toml_parser *ps, int quote)
{
    size_t n = 0;
    while (n < 5 && cb_toml_peek(ps, n) == quote)
        n++;
    return n;
}

static int take_multiline(struct cb_toml_parser *ps, int quote, struct cb_strbuf *out)
{
    (void)cb_toml_take_newline(ps);
    for (;;) {
        size_t quotes = count_quotes(ps, quote);
        /* Up to two quotes may stand right before the closing three. */
        size_t inside = quotes >= 3 ? quotes - 3 : quotes;
        cb_strbuf_add(out, ps->p, inside);
        ps->p += quotes;
        if (quotes >= 3)
            return 0;
        if (quotes)
            continue;
        if (ps->p >= ps->end)
            return cb_toml_fail(ps, "string without end");
        int r = 0;
        if (cb_toml_take_newline(ps)) {
            cb_strbuf_addch(out, '\n');
        } else if (quote == '"' && *ps->p == '\\') {
            ps->p++;
            r = take_line_continuation(ps) ? 0 : take_escape(ps, out);
        } else {
            r = take_character(ps, out);
        }
        if (r < 0)
            return r;
    }
}

int cb_toml_take_string(struct cb_toml_parser *ps, struct cb_strbuf *out, bool allow_multiline)
{
    int quote = cb_toml_peek(ps, 0);
    if (allow_multiline && count_quotes(ps, quote) >= 3) {
        ps->p += 3;
        return take_multiline(ps, quote, out);
    }
    ps->p++;
    while (cb_toml_peek(ps, 0) != quote) {
        int c = cb_toml_peek(ps, 0), r;
        if (c < 0 || c == '\n' || c == '\r')
            return cb_toml_fail(ps, "string without end");
        if (quote == '"' && c == '\\') {
            ps->p++;
            r = take_escape(ps, out);
        } else {
            r = take_character(ps, out);
        }
        if (r < 0)
            return r;
    }
    ps->p++;
    return 0;
}

static bool is_bare(int c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static int take_key_part(struct cb_toml_parser *ps, struct cb_strvec *parts)
{
    cb_cleanup_strbuf struct cb_strbuf part = CB_STRBUF_INIT;
    int c = cb_toml_peek(ps, 0);
    if (c == '"' || c == '\'') {
        int r = cb_toml_take_string(ps, &part, false);
        if (r < 0)
            return r;
    } else if (is_bare(c)) {
        while (is_bare(cb_toml_peek(ps, 0)))
            cb_strbuf_addch(&part, *ps->p++);
    } else {
        return cb_toml_fail(ps, "a key is missing");
    }
    if (parts->n >= CB_MAX_JSON_DEPTH)
        return cb_toml_fail(ps, "a key of over %d parts", CB_MAX_JSON_DEPTH);
    cb_strvec_push(parts, part.buf);
    return 0;
}

int cb_toml_take_key(struct cb_toml_parser *ps, struct cb_strvec *parts)
{
    for (;;) {
        cb_toml_skip_blanks(ps);
        int r = take_key_part(ps, parts);
        if (r < 0)
            return r;
        cb_toml_skip_blanks(ps);
        if (cb_toml_peek(ps, 0) != '.')
            return 0;
        ps->p++;
    }
}

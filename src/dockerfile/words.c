/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/encode.h"
#include "util/utf8.h"

size_t cb_df_space_len(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (n >= 1 && cb_df_is_blank(*s))
        return 1;
    if (n >= 2 && u[0] == 0xc2)
        return u[1] == 0x85 || u[1] == 0xa0 ? 2 : 0;
    if (n < 3 || (u[0] != 0xe1 && u[0] != 0xe2 && u[0] != 0xe3))
        return 0;
    uint32_t cp;
    if (cb_utf8_decode(s, strnlen(s, 3), &cp) != 3)
        return 0;
    bool space = cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
        cp == 0x205f || cp == 0x3000;
    return space ? 3 : 0;
}

struct cb_slice cb_df_trim_left(struct cb_slice s)
{
    for (size_t n; s.len > 0 && (n = cb_df_space_len(s.ptr, s.len)) > 0;)
        s = (struct cb_slice){ s.ptr + n, s.len - n };
    return s;
}

/* Of the white space at the end, 0: there is none. */
static size_t space_before_end(struct cb_slice s)
{
    for (size_t n = 1; n <= CB_DF_SPACE_MAX && n <= s.len; n++) {
        if (cb_df_space_len(s.ptr + s.len - n, n) == n)
            return n;
    }
    return 0;
}

struct cb_slice cb_df_trim(struct cb_slice s)
{
    s = cb_df_trim_left(s);
    for (size_t n; (n = space_before_end(s)) > 0;)
        s.len -= n;
    return s;
}

void cb_df_split_blank(struct cb_strvec *out, const char *s)
{
    for (;;) {
        while (cb_df_is_blank(*s))
            s++;
        size_t n = 0;
        while (s[n] && !cb_df_is_blank(s[n]))
            n++;
        if (n == 0)
            return;
        cb_strvec_take(out, cb_strndup(s, n));
        s += n;
    }
}

/* The end of the word at s. */
static const char *quoted_word(const char *s, char escape, struct cb_strbuf *word, bool *closed)
{
    char quote = 0;
    for (; *s && (quote || !cb_df_space_len(s, CB_DF_SPACE_MAX)); s++) {
        if (*s == escape && quote != '\'') {
            if (!s[1])
                continue; /* an escape at the very end is dropped */
            cb_strbuf_addch(word, *s++);
        } else if (quote ? *s == quote : *s == '\'' || *s == '"') {
            quote = quote ? 0 : *s;
        }
        cb_strbuf_addch(word, *s);
    }
    *closed = quote == 0;
    return s;
}

bool cb_df_split_quoted(struct cb_strvec *out, const char *s, char escape)
{
    cb_cleanup_strbuf struct cb_strbuf word = CB_STRBUF_INIT;
    for (bool closed = true;;) {
        for (size_t n; (n = cb_df_space_len(s, CB_DF_SPACE_MAX)) > 0;)
            s += n;
        if (!*s)
            return closed;
        cb_strbuf_reset(&word);
        s = quoted_word(s, escape, &word, &closed);
        if (word.len > 0)
            cb_strvec_push(out, word.buf);
    }
}

static int csv_quoted(struct cb_strbuf *field, const char **ps, struct cb_error *err)
{
    const char *s = *ps + 1;
    for (; *s; s++) {
        if (*s == '"' && s[1] == '"')
            s++;
        else if (*s == '"')
            break;
        cb_strbuf_addch(field, *s);
    }
    if (*s != '"')
        return cb_df_fail(err, "%s: the quote is not closed", CB_DF_SHOW(*ps));
    *ps = ++s;
    if (*s && *s != ',')
        return cb_df_fail(err, "%s: a comma is missing behind the closing quote", CB_DF_SHOW(s));
    return 0;
}

int cb_df_csv(struct cb_strvec *out, const char *s, struct cb_error *err)
{
    for (;;) {
        cb_cleanup_strbuf struct cb_strbuf field = CB_STRBUF_INIT;
        if (*s == '"') {
            int r = csv_quoted(&field, &s, err);
            if (r < 0)
                return r;
        }
        size_t n = strcspn(s, ",");
        if (memchr(s, '"', n))
            return cb_df_fail(err, "%s: put the whole field in quotes, not a part of it", CB_DF_SHOWN(s, n));
        cb_strbuf_add(&field, s, n);
        cb_strvec_push(out, field.buf);
        if (!s[n])
            return 0;
        s += n + 1;
    }
}

bool cb_df_parse_bool(const char *s, bool *out)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    for (size_t i = 0; i < CB_COUNTOF(yes); i++) {
        if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
            *out = strcmp(s, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

struct unit {
    const char *name;
    uint64_t ns;
};

/* Longest names first. */
static const struct unit units[] = {
    { "ns", 1 }, { "us", 1000 }, { "\xc2\xb5s", 1000 }, { "\xce\xbcs", 1000 }, { "ms", 1000000 },
    { "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 },
};

static const struct unit *unit_at(const char *s)
{
    for (size_t i = 0; i < CB_COUNTOF(units); i++) {
        if (strncmp(s, units[i].name, strlen(units[i].name)) == 0)
            return &units[i];
    }
    return NULL;
}

/* Digits behind the point, as a part of one unit; those beyond 18 are below a nanosecond. */
static uint64_t fraction(const char *s, size_t n, uint64_t unit)
{
    double part = 0, scale = 1;
    for (size_t i = 0; i < n && i < 18; i++) {
        scale /= 10;
        part += (s[i] - '0') * scale;
    }
    return (uint64_t)(part * (double)unit + 0.5);
}

static bool duration_part(const char **ps, uint64_t *total)
{
    const char *s = *ps;
    uint64_t whole = 0;
    size_t n = strspn(s, "0123456789");
    cb_autofree char *digits = cb_strndup(s, n);
    if (n > 0 && !cb_parse_u64(digits, INT64_MAX, &whole))
        return false;
    s += n;
    const char *frac = s;
    size_t nf = 0;
    if (*s == '.') {
        frac++;
        nf = strspn(frac, "0123456789");
        s = frac + nf;
    }
    const struct unit *u = unit_at(s);
    if (!u || n + nf == 0)
        return false;
    *ps = s + strlen(u->name);
    return !cb_mul_overflow(whole, u->ns, &whole) && !cb_add_overflow(whole, fraction(frac, nf, u->ns), &whole) &&
        !cb_add_overflow(*total, whole, total) && *total <= INT64_MAX;
}

bool cb_df_parse_duration(const char *s, int64_t *ns)
{
    uint64_t total = 0;
    if (*s == '+')
        s++;
    if (!*s)
        return false;
    while (*s && strcmp(s, "0") != 0) {
        if (!duration_part(&s, &total))
            return false;
        if (*s == '0' && !s[1])
            return false; /* only a lone "0" goes without a unit */
    }
    *ns = (int64_t)total;
    return true;
}

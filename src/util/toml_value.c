/* SPDX-License-Identifier: Apache-2.0 */
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/toml_private.h"

static int take_string_value(struct cb_toml_parser *ps, struct cb_toml **out)
{
    cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
    struct cb_toml *t = cb_toml_new(ps, CB_TOML_STRING, CB_TOML_LEAF);
    int r = cb_toml_take_string(ps, &s, true);
    if (r < 0) {
        cb_toml_free(t);
        return r;
    }
    t->string = cb_strbuf_detach(&s, NULL);
    *out = t;
    return 0;
}

/* Copies digits, each underscore between two of them left out. How many digits, 0 if the form is wrong. */
static size_t take_digits(const char **s, unsigned base, struct cb_strbuf *out)
{
    static const char all[] = "0123456789abcdef";
    size_t n = 0;
    for (bool after_digit = false;; (*s)++) {
        const char *d = **s ? memchr(all, **s >= 'A' && **s <= 'F' ? **s | 0x20 : **s, base) : NULL;
        if (d) {
            cb_strbuf_addch(out, *d);
            n++;
        } else if (**s != '_' || !after_digit) {
            return after_digit ? n : 0;
        }
        after_digit = d != NULL;
    }
}

static bool to_integer(const char *digits, unsigned base, bool negative, int64_t *out)
{
    uint64_t v = 0;
    for (; *digits; digits++) {
        unsigned d = *digits <= '9' ? (unsigned)(*digits - '0') : (unsigned)(*digits - 'a' + 10);
        if (cb_mul_overflow(v, base, &v) || cb_add_overflow(v, d, &v))
            return false;
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool take_prefixed(const char *s, int64_t *out)
{
    cb_cleanup_strbuf struct cb_strbuf digits = CB_STRBUF_INIT;
    unsigned base = s[0] != '0' ? 0 : s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : s[1] == 'b' ? 2 : 0;
    if (!base)
        return false;
    s += 2;
    return take_digits(&s, base, &digits) > 0 && !*s && to_integer(digits.buf, base, false, out);
}

/* The fraction and exponent behind the whole part; false if they are malformed. */
static bool take_float_tail(const char **s, struct cb_strbuf *text)
{
    if (**s == '.') {
        cb_strbuf_addch(text, *(*s)++);
        if (!take_digits(s, 10, text))
            return false;
    }
    if ((**s | 0x20) == 'e') {
        cb_strbuf_addch(text, 'e');
        (*s)++;
        if (**s == '+' || **s == '-')
            cb_strbuf_addch(text, *(*s)++);
        if (!take_digits(s, 10, text))
            return false;
    }
    return !**s;
}

static int parse_number(const struct cb_toml_parser *ps, const char *word, struct cb_toml *t)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    const char *s = word;
    if (take_prefixed(s, &t->integer))
        return 0;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+')
        cb_strbuf_addch(&text, *s++);
    size_t sign = text.len;
    if (strcmp(s, "inf") == 0 || strcmp(s, "nan") == 0) {
        t->type = CB_TOML_FLOAT;
        t->string = cb_strdup(word);
        return 0;
    }
    size_t n = take_digits(&s, 10, &text);
    if (n >= 4 && (*s == '-' || *s == ':'))
        return cb_toml_fail(ps, "dates are not supported: %s", word);
    if (!n || (n > 1 && text.buf[sign] == '0'))
        return cb_toml_fail(ps, "not a value: %s", word);
    if (!*s) {
        if (!to_integer(text.buf + sign, 10, negative, &t->integer))
            return cb_toml_fail(ps, "number out of range: %s", word);
        return 0;
    }
    if (!take_float_tail(&s, &text))
        return cb_toml_fail(ps, "not a value: %s", word);
    t->type = CB_TOML_FLOAT;
    t->string = cb_strbuf_detach(&text, NULL);
    return 0;
}

static bool is_word_char(int c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '+' || c == '.' || c == ':';
}

static int take_word(struct cb_toml_parser *ps, struct cb_toml **out)
{
    const char *start = ps->p;
    while (is_word_char(cb_toml_peek(ps, 0)))
        ps->p++;
    if (ps->p == start)
        return cb_toml_fail(ps, "a value is missing");
    if (ps->p - start > 64)
        return cb_toml_fail(ps, "not a value: %.64s…", start);
    cb_autofree char *word = cb_strndup(start, (size_t)(ps->p - start));
    CB_AUTO(cb_toml_free) struct cb_toml *t = cb_toml_new(ps, CB_TOML_INT, CB_TOML_LEAF);
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        t->type = CB_TOML_BOOL;
        t->integer = word[0] == 't';
    } else {
        int r = parse_number(ps, word, t);
        if (r < 0)
            return r;
    }
    *out = CB_TAKE(t);
    return 0;
}

static int take_array_items(struct cb_toml_parser *ps, struct cb_toml *array)
{
    for (;;) {
        int r = cb_toml_skip_space(ps);
        if (r < 0)
            return r;
        if (cb_toml_peek(ps, 0) == ']')
            break;
        struct cb_toml *item;
        r = cb_toml_take_value(ps, &item);
        if (r == 0)
            r = cb_toml_append(ps, array, item);
        if (r == 0)
            r = cb_toml_skip_space(ps);
        if (r < 0)
            return r;
        if (cb_toml_peek(ps, 0) == ']')
            break;
        if (cb_toml_peek(ps, 0) != ',')
            return cb_toml_fail(ps, "',' or ']' expected in the array that begins on line %u", array->line);
        ps->p++;
    }
    ps->p++;
    return 0;
}

static int take_inline_pairs(struct cb_toml_parser *ps, struct cb_toml *table)
{
    cb_toml_skip_blanks(ps);
    if (cb_toml_peek(ps, 0) == '}') {
        ps->p++;
        return 0;
    }
    for (;;) {
        int r = cb_toml_take_pair(ps, table);
        if (r < 0)
            return r;
        cb_toml_skip_blanks(ps);
        int c = cb_toml_peek(ps, 0);
        if (c != '}' && c != ',')
            return cb_toml_fail(ps, "',' or '}' expected in an inline table, which is one line");
        ps->p++;
        if (c == '}')
            return 0;
    }
}

static int take_nested(struct cb_toml_parser *ps, bool array, struct cb_toml **out)
{
    if (ps->depth >= CB_MAX_JSON_DEPTH)
        return cb_toml_fail(ps, "values nested over %d deep", CB_MAX_JSON_DEPTH);
    CB_AUTO(cb_toml_free) struct cb_toml *t = cb_toml_new(ps, array ? CB_TOML_ARRAY : CB_TOML_TABLE, CB_TOML_LEAF);
    ps->p++;
    ps->depth++;
    int r = array ? take_array_items(ps, t) : take_inline_pairs(ps, t);
    ps->depth--;
    if (r < 0)
        return r;
    *out = CB_TAKE(t);
    return 0;
}

int cb_toml_take_value(struct cb_toml_parser *ps, struct cb_toml **out)
{
    switch (cb_toml_peek(ps, 0)) {
    case '"':
    case '\'':
        return take_string_value(ps, out);
    case '[':
        return take_nested(ps, true, out);
    case '{':
        return take_nested(ps, false, out);
    default:
        return take_word(ps, out);
    }
}

/* The table that the parts before the last name, each made if absent. */
static int open_dotted(struct cb_toml_parser *ps, struct cb_toml **table, const struct cb_strvec *parts)
{
    for (size_t i = 0; i + 1 < parts->n; i++) {
        struct cb_toml *next = cb_toml_find(*table, parts->v[i]);
        if (next && next->origin != CB_TOML_DOTTED)
            return cb_toml_fail(ps, "\"%s\" is already defined on line %u", parts->v[i], next->line);
        if (!next) {
            next = cb_toml_new(ps, CB_TOML_TABLE, CB_TOML_DOTTED);
            next->key = cb_strdup(parts->v[i]);
            int r = cb_toml_append(ps, *table, next);
            if (r < 0)
                return r;
        }
        *table = next;
    }
    return 0;
}

int cb_toml_take_pair(struct cb_toml_parser *ps, struct cb_toml *table)
{
    cb_cleanup_strvec struct cb_strvec parts = CB_STRVEC_INIT;
    int r = cb_toml_take_key(ps, &parts);
    if (r < 0)
        return r;
    const char *key = parts.v[parts.n - 1];
    if (cb_toml_peek(ps, 0) != '=')
        return cb_toml_fail(ps, "'=' expected behind \"%s\"", key);
    ps->p++;
    cb_toml_skip_blanks(ps);
    r = open_dotted(ps, &table, &parts);
    if (r < 0)
        return r;
    const struct cb_toml *old = cb_toml_find(table, key);
    if (old)
        return cb_toml_fail(ps, "\"%s\" is already defined on line %u", key, old->line);
    struct cb_toml *value;
    r = cb_toml_take_value(ps, &value);
    if (r < 0)
        return r;
    value->key = cb_strdup(key);
    return cb_toml_append(ps, table, value);
}

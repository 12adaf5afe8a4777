/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <ctype.h>

#include "util/alloc.h"

struct expander {
    const char *p;
    const struct cb_df_scope *scope;
    struct cb_error *err;
    char escape;
    bool quotes;      /* they are taken off */
    unsigned depth;   /* of ${…} */
    unsigned dry;     /* > 0: what is read is not needed */
    size_t made;      /* bytes, over all levels */
};

/* Where text goes: one string, or words that end at blanks outside of quotes. */
struct sink {
    struct cb_strbuf text; /* in words mode: the current word */
    struct cb_strvec *words;
};
#define SINK_INIT { .text = CB_STRBUF_INIT }

static void sink_done(struct sink *s)
{
    cb_strbuf_done(&s->text);
}

static int put(struct expander *x, struct sink *s, const char *p, size_t n)
{
    x->made += n;
    if (x->made > CB_DF_MAX_EXPANDED)
        return cb_df_fail(x->err, "the text grows beyond %u bytes", CB_DF_MAX_EXPANDED);
    cb_strbuf_add(&s->text, p, n);
    return 0;
}

static void end_word(struct sink *s)
{
    if (s->text.len == 0)
        return;
    cb_strvec_push(s->words, s->text.buf);
    cb_strbuf_reset(&s->text);
}

static int put_unquoted(struct expander *x, struct sink *s, const char *p, size_t n)
{
    if (!s->words)
        return put(x, s, p, n);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n;) {
        size_t space = cb_df_space_len(p + i, n - i);
        if (space > 0)
            end_word(s);
        else
            r = put(x, s, p + i, 1);
        i += CB_MAX(space, (size_t)1);
    }
    return r;
}

static int until(struct expander *x, char stop, bool keep_escapes, struct sink *out);
static int dollar(struct expander *x, struct sink *out);

static struct cb_slice read_name(struct expander *x)
{
    const char *s = x->p;
    if (isdigit((unsigned char)*x->p)) {
        while (isdigit((unsigned char)*x->p))
            x->p++;
    } else if (*x->p && strchr("@*#?-$!", *x->p)) {
        x->p++;
    } else {
        for (size_t n; (n = cb_df_name_char_len(x->p)) > 0;)
            x->p += n;
    }
    return (struct cb_slice){ s, (size_t)(x->p - s) };
}

static const char *look_up(struct expander *x, const char *name, bool has_default)
{
    if (x->dry && !x->scope->seen)
        return NULL;
    const char *value = x->scope->lookup(x->scope->arg, name);
    if (x->scope->seen)
        x->scope->seen(x->scope->arg, name, value != NULL);
    if (x->dry)
        return NULL;
    if (!value && !has_default && x->scope->undefined)
        x->scope->undefined(x->scope->arg, name);
    return value;
}

static int no_brace(struct expander *x)
{
    return cb_df_fail(x->err, "} is missing behind ${");
}

/* The word up to stop; read without effect unless wanted. */
static int word(struct expander *x, char stop, bool keep_escapes, bool wanted, struct sink *out)
{
    x->dry += !wanted;
    int r = until(x, stop, keep_escapes, out);
    x->dry -= !wanted;
    return r;
}

static int missing(struct expander *x, const char *name, const char *value, const struct cb_strbuf *message)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&text, message->buf, CB_MIN(message->len, (size_t)1000), false);
    return cb_df_fail(x->err, "%s: %s", name, text.len ? text.buf : value ? "it must not be empty" : "it must be set");
}

/* ${v-w} ${v+w} ${v?w}, with or without a colon. */
static int conditional(struct expander *x, const char *name, char op, bool colon, struct sink *out)
{
    CB_CLEANUP(sink_done) struct sink w = SINK_INIT;
    const char *value = look_up(x, name, true);
    bool have = value && (*value || !colon);
    int r = word(x, '}', false, have == (op == '+') && !x->dry, &w);
    if (r < 0 || x->dry)
        return r;
    if (op == '?' && !have)
        return missing(x, name, value, &w.text);
    if (have == (op == '+'))
        return put(x, out, w.text.buf, w.text.len);
    return op == '+' ? 0 : put(x, out, value, strlen(value));
}

/* ${v#p} ${v##p} ${v%p} ${v%%p} */
static int trim(struct expander *x, const char *name, char op, struct sink *out)
{
    CB_CLEANUP(sink_done) struct sink w = SINK_INIT;
    const char *value = look_up(x, name, false);
    bool longest = *x->p == op;
    x->p += longest;
    int r = until(x, '}', true, &w);
    if (r < 0 || x->dry)
        return r;
    CB_AUTO(cb_df_shell_pattern_free) struct cb_df_shell_pattern *p =
        cb_df_shell_pattern_new(w.text.buf, x->escape, x->err);
    if (!p)
        return -CB_ECONF;
    struct cb_slice v = CB_SLICE(value ? value : "");
    size_t cut = op == '#' ? cb_df_shell_prefix(p, v, longest) : cb_df_shell_suffix(p, v, longest);
    if (cut == CB_DF_NO_MATCH)
        return put(x, out, v.ptr, v.len);
    return op == '#' ? put(x, out, v.ptr + cut, v.len - cut) : put(x, out, v.ptr, cut);
}

struct substitution {
    const struct cb_df_shell_pattern *pattern;
    struct cb_slice with;
    bool all;
};

static int substitute(struct expander *x, const struct substitution *s, struct cb_slice v, struct sink *out)
{
    size_t done = 0, pos = 0;
    struct cb_slice m;
    int r = 0;
    while (r == 0 && pos <= v.len && cb_df_shell_find(s->pattern, v, pos, &m)) {
        size_t begin = (size_t)(m.ptr - v.ptr);
        pos = begin + m.len;
        /* An empty match right behind the last one counts for nothing. */
        if (m.len > 0 || begin == 0 || begin > done) {
            r = put(x, out, v.ptr + done, begin - done);
            if (r == 0)
                r = put(x, out, s->with.ptr, s->with.len);
            done = pos;
            if (!s->all)
                break;
        }
        if (m.len == 0)
            pos += pos < v.len ? cb_df_char_len(v.ptr + pos, v.len - pos) : 1;
    }
    return r < 0 ? r : put(x, out, v.ptr + done, v.len - done);
}

/* ${v/p/r} ${v//p/r} */
static int replace(struct expander *x, const char *name, struct sink *out)
{
    CB_CLEANUP(sink_done) struct sink w = SINK_INIT, with = SINK_INIT;
    const char *value = look_up(x, name, false);
    bool all = *x->p == '/';
    x->p += all;
    int r = until(x, '/', true, &w);
    if (r == 0)
        r = until(x, '}', true, &with);
    if (r < 0 || x->dry)
        return r;
    CB_AUTO(cb_df_shell_pattern_free) struct cb_df_shell_pattern *p =
        cb_df_shell_pattern_new(w.text.buf, x->escape, x->err);
    if (!p)
        return -CB_ECONF;
    struct substitution s = { p, { with.text.buf, with.text.len }, all };
    return substitute(x, &s, CB_SLICE(value ? value : ""), out);
}

static int bad_modifier(struct expander *x, const char *name, struct cb_slice op)
{
    return cb_df_fail(x->err, "${%s…}: unknown modifier %s; there are :- :+ :? - + ? # ## %% %%%% / and //", name,
                      CB_DF_SHOWN(op.ptr, op.len));
}

/* Behind "${name". */
static int modifier(struct expander *x, const char *name, struct sink *out)
{
    struct cb_slice op = { x->p, 0 };
    bool colon = *x->p == ':';
    x->p += colon;
    char c = *x->p;
    if (!c)
        return no_brace(x);
    x->p += cb_df_char_len(x->p, strnlen(x->p, 4));
    op.len = (size_t)(x->p - op.ptr);
    if (c == '-' || c == '+' || c == '?')
        return conditional(x, name, c, colon, out);
    if (colon)
        return bad_modifier(x, name, op);
    if (c == '#' || c == '%')
        return trim(x, name, c, out);
    return c == '/' ? replace(x, name, out) : bad_modifier(x, name, op);
}

static int value_of(struct expander *x, const char *name, struct sink *out)
{
    const char *value = look_up(x, name, false);
    return value ? put(x, out, value, strlen(value)) : 0;
}

/* Behind "${". */
static int braced(struct expander *x, struct sink *out)
{
    if (!*x->p)
        return no_brace(x);
    struct cb_slice s = read_name(x);
    if (s.len == 0)
        return cb_df_fail(x->err, "${…}: a name stands behind ${, not %s",
                          CB_DF_SHOWN(x->p, cb_df_char_len(x->p, strnlen(x->p, 4))));
    cb_autofree char *name = cb_strndup(s.ptr, s.len);
    if (*x->p == '}') {
        x->p++;
        return value_of(x, name, out);
    }
    if (x->depth >= CB_DF_MAX_NESTING)
        return cb_df_fail(x->err, "${…} stand in one another more than %d deep", CB_DF_MAX_NESTING);
    x->depth++;
    int r = modifier(x, name, out);
    x->depth--;
    return r;
}

/* At a '$'. */
static int dollar(struct expander *x, struct sink *out)
{
    x->p++;
    if (*x->p == '{') {
        x->p++;
        return braced(x, out);
    }
    struct cb_slice s = read_name(x);
    if (s.len == 0)
        return put(x, out, "$", 1);
    cb_autofree char *name = cb_strndup(s.ptr, s.len);
    return value_of(x, name, out);
}

static int single_quotes(struct expander *x, struct sink *out)
{
    const char *end = strchr(x->p + 1, '\'');
    if (!end)
        return cb_df_fail(x->err, "the quote ' is not closed");
    int r = put(x, out, x->p + 1, (size_t)(end - x->p - 1));
    x->p = end + 1;
    return r;
}

static int double_quotes(struct expander *x, bool keep_escapes, struct sink *out)
{
    CB_CLEANUP(sink_done) struct sink in = SINK_INIT;
    int r = 0;
    x->p++;
    while (r == 0 && *x->p != '"') {
        if (!*x->p)
            return cb_df_fail(x->err, "the quote \" is not closed");
        if (*x->p == '$') {
            r = dollar(x, &in);
            continue;
        }
        if (*x->p == x->escape && x->p[1] && (strchr("\"$", x->p[1]) || x->p[1] == x->escape)) {
            if (keep_escapes)
                r = put(x, &in, x->p, 1);
            x->p++;
        }
        if (r == 0)
            r = put(x, &in, x->p++, 1);
    }
    if (r < 0)
        return r;
    x->p++;
    return put(x, out, in.text.buf, in.text.len);
}

/* At the escape character. */
static int escaped(struct expander *x, bool keep_escapes, struct sink *out)
{
    int r = keep_escapes ? put(x, out, x->p, 1) : 0;
    x->p++;
    if (r < 0 || !*x->p)
        return r;
    size_t n = cb_df_char_len(x->p, strnlen(x->p, 4));
    r = put(x, out, x->p, n);
    x->p += n;
    return r;
}

static int unquoted_dollar(struct expander *x, struct sink *out)
{
    CB_CLEANUP(sink_done) struct sink value = SINK_INIT;
    if (!out->words)
        return dollar(x, out);
    int r = dollar(x, &value);
    return r < 0 ? r : put_unquoted(x, out, value.text.buf, value.text.len);
}

/* Reads up to stop, which is taken, or to the end where stop is NUL. keep_escapes: for patterns, which read them. */
static int until(struct expander *x, char stop, bool keep_escapes, struct sink *out)
{
    const char special[] = { '$', x->escape, x->quotes ? '\'' : '$', x->quotes ? '"' : '$', stop, '\0' };
    int r = 0;
    while (r == 0 && *x->p != stop) {
        size_t plain = strcspn(x->p, special);
        if (!*x->p)
            return stop == '/' ? cb_df_fail(x->err, "the second / of ${…/…/…} is missing") : no_brace(x);
        if (plain > 0) {
            r = put_unquoted(x, out, x->p, plain);
            x->p += plain;
        } else if (*x->p == '$') {
            r = unquoted_dollar(x, out);
        } else if (*x->p == x->escape) {
            r = escaped(x, keep_escapes, out);
        } else {
            r = *x->p == '"' ? double_quotes(x, keep_escapes, out) : single_quotes(x, out);
        }
    }
    if (r == 0 && stop)
        x->p++;
    return r;
}

static int run(const char *text, const struct cb_df_scope *scope, bool quotes, struct sink *out, struct cb_error *err)
{
    struct expander x = {
        .p = text, .scope = scope, .err = err, .quotes = quotes,
        .escape = quotes && scope->escape ? scope->escape : '\\',
    };
    if (until(&x, '\0', false, out) == 0)
        return 0;
    (void)cb_error_wrap(err, "cannot expand %s", CB_DF_SHOW(text));
    return -CB_ECONF;
}

static int to_text(struct cb_strbuf *out, const char *text, const struct cb_df_scope *scope, bool quotes,
                   struct cb_error *err)
{
    CB_CLEANUP(sink_done) struct sink s = SINK_INIT;
    int r = run(text, scope, quotes, &s, err);
    if (r == 0)
        cb_strbuf_add(out, s.text.buf, s.text.len);
    return r;
}

int cb_df_expand(struct cb_strbuf *out, const char *text, const struct cb_df_scope *scope, struct cb_error *err)
{
    return to_text(out, text, scope, true, err);
}

int cb_df_expand_raw(struct cb_strbuf *out, const char *text, const struct cb_df_scope *scope, struct cb_error *err)
{
    return to_text(out, text, scope, false, err);
}

int cb_df_expand_words(struct cb_strvec *out, const char *text, const struct cb_df_scope *scope, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec words = CB_STRVEC_INIT;
    CB_CLEANUP(sink_done) struct sink s = SINK_INIT;
    s.words = &words;
    int r = run(text, scope, true, &s, err);
    if (r < 0)
        return r;
    end_word(&s);
    for (size_t i = 0; i < words.n; i++)
        cb_strvec_take(out, CB_TAKE(words.v[i]));
    words.n = 0;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <strings.h>

#include "cmd/template_private.h"
#include "oci/json.h"
#include "util/alloc.h"

/* ---- members ---- */

static int no_field(const json_t *root, const char *name, struct cb_error *err)
{
    struct cb_strbuf all cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
        cb_strbuf_addf(&all, "%s%s", all.len ? ", " : "", key);
    return cb_error_set(err, CB_EUSAGE, "there is no field %s; there are %s", name, all.buf);
}

static const json_t *member(const struct template_scope *s, const json_t *v, const char *name)
{
    const json_t *exact = json_object_get(v, name);
    const char *key;
    json_t *value;
    if (exact || !s->go)
        return exact;
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
        if (!strcasecmp(key, name))
            return value;
    return NULL;
}

int template_find(const struct template_scope *s, const json_t *v, const char *path, const json_t **out,
                  struct cb_error *err)
{
    for (const char *p = path; *p && p[1];) {
        size_t n = strcspn(p + 1, ".");
        cb_autofree char *name = cb_strndup(p + 1, n);
        if (v && !json_is_object(v) && !json_is_null(v))
            return cb_error_set(err, CB_EUSAGE, "%.*s has no fields", p > path ? (int)(p - path) : 1, path);
        const json_t *next = member(s, v, name);
        if (!next && v == s->root)
            next = json_object_get(s->more, name);
        if (!next && v == s->root)
            return no_field(s->root, name, err);
        v = next;
        p += n + 1;
    }
    *out = v;
    return 0;
}

bool template_is_true(const json_t *v)
{
    return json_is_string(v)   ? json_string_length(v) > 0
           : json_is_array(v)  ? json_array_size(v) > 0
           : json_is_object(v) ? json_object_size(v) > 0
           : json_is_number(v) ? json_number_value(v) != 0
                               : json_is_true(v);
}

/* ---- as text ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_map(struct cb_strbuf *out, const json_t *v)
{
    cb_autofree const char **keys = cb_calloc(json_object_size(v) + 1, sizeof *keys);
    size_t n = 0;
    for (void *it = json_object_iter((json_t *)(uintptr_t)v); it;
         it = json_object_iter_next((json_t *)(uintptr_t)v, it))
        keys[n++] = json_object_iter_key(it);
    qsort(keys, n, sizeof *keys, compare);
    cb_strbuf_adds(out, "map[");
    for (size_t i = 0; i < n; i++) {
        cb_strbuf_addf(out, "%s%s:", i ? " " : "", keys[i]);
        template_print_value(out, json_object_get(v, keys[i]));
    }
    cb_strbuf_adds(out, "]");
}

/* Depth is bounded by the JSON parser. */
void template_print_value(struct cb_strbuf *out, const json_t *v)
{
    if (!v || json_is_null(v))
        cb_strbuf_adds(out, "<no value>");
    else if (json_is_string(v))
        cb_strbuf_add(out, json_string_value(v), json_string_length(v));
    else if (json_is_boolean(v))
        cb_strbuf_adds(out, json_is_true(v) ? "true" : "false");
    else if (json_is_object(v))
        print_map(out, v);
    else if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            cb_strbuf_addch(out, i ? ' ' : '[');
            template_print_value(out, json_array_get(v, i));
        }
        cb_strbuf_adds(out, json_array_size(v) ? "]" : "[]");
    } else
        cb_json_print(out, v);
}

static json_t *text_of(const struct cb_strbuf *s)
{
    return json_stringn_nocheck(s->buf, s->len);
}

/* ---- functions ---- */

static bool is_there(const json_t *v)
{
    return v && !json_is_null(v);
}

static int do_json(const struct template_call *c, json_t **out, struct cb_error *err CB_UNUSED)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (c->v[0])
        cb_json_print(&text, c->v[0]);
    else
        cb_strbuf_adds(&text, "null");
    *out = text_of(&text);
    return 0;
}

/* A map's missing member is nothing, a list's an error. */
static int do_index(const struct template_call *c, json_t **out, struct cb_error *err)
{
    json_t *v = c->v[0];
    bool map = false;
    for (size_t i = 1; i < c->n; i++) {
        const json_t *at = c->v[i];
        map = json_is_string(at);
        if ((!map && !json_is_integer(at)) || (is_there(v) && !(map ? json_is_object(v) : json_is_array(v))))
            return cb_error_set(err, CB_EUSAGE, "index: a %s does not fit there", map ? "string" : "number");
        json_int_t k = json_integer_value(at);
        if (!map && (k < 0 || (size_t)k >= json_array_size(v)))
            return cb_error_set(err, CB_EUSAGE, "index: the list has %zu entries, there is no %lld",
                                json_array_size(v), (long long)k);
        v = map ? json_object_get(v, json_string_value(at)) : json_array_get(v, (size_t)k);
    }
    *out = v || !map ? json_incref(v) : json_string("");
    return 0;
}

static int do_join(const struct template_call *c, json_t **out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!json_is_string(c->v[1]))
        return cb_error_set(err, CB_EUSAGE, "write {{join .Field \"separator\"}}");
    if (is_there(c->v[0]) && !json_is_array(c->v[0]))
        return cb_error_set(err, CB_EUSAGE, "join: that is no list");
    for (size_t i = 0; i < json_array_size(c->v[0]); i++) {
        cb_strbuf_adds(&text, i ? json_string_value(c->v[1]) : "");
        template_print_value(&text, json_array_get(c->v[0], i));
    }
    *out = text_of(&text);
    return 0;
}

static int do_len(const struct template_call *c, json_t **out, struct cb_error *err CB_UNUSED)
{
    const json_t *v = c->v[0];
    size_t n = json_is_string(v)   ? json_string_length(v)
               : json_is_object(v) ? json_object_size(v)
                                   : json_array_size(v);
    *out = json_integer((json_int_t)n);
    return 0;
}

/* Go's: print puts blanks between values of which neither is a string, println between all. */
static int do_print(const struct template_call *c, json_t **out, struct cb_error *err CB_UNUSED)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool line = !strcmp(c->name, "println");
    for (size_t i = 0; i < c->n; i++) {
        bool texts = i && (json_is_string(c->v[i]) || json_is_string(c->v[i - 1]));
        cb_strbuf_adds(&text, i && (line || !texts) ? " " : "");
        template_print_value(&text, c->v[i]);
    }
    cb_strbuf_adds(&text, line ? "\n" : "");
    *out = text_of(&text);
    return 0;
}

static int do_printf(const struct template_call *c, json_t **out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t next = 1;
    if (!json_is_string(c->v[0]))
        return cb_error_set(err, CB_EUSAGE, "printf: the format is no string");
    for (const char *p = json_string_value(c->v[0]); *p; p++) {
        if (*p != '%' || p[1] == '%') {
            cb_strbuf_addch(&text, *p);
            p += *p == '%';
            continue;
        }
        p++;
        if (!*p || !strchr("svdq", *p))
            return cb_error_set(err, CB_EUSAGE, "printf: only %%s, %%v, %%d and %%q are done here");
        if (next >= c->n)
            return cb_error_set(err, CB_EUSAGE, "printf: there are fewer values than the format has places");
        if (*p == 'q')
            cb_json_print(&text, c->v[next]);
        else
            template_print_value(&text, c->v[next]);
        next++;
    }
    *out = text_of(&text);
    return next == c->n ? 0 : cb_error_set(err, CB_EUSAGE, "printf: there are more values than the format has places");
}

static int do_case(const struct template_call *c, json_t **out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool upper = !strcmp(c->name, "upper");
    if (!json_is_string(c->v[0]))
        return cb_error_set(err, CB_EUSAGE, "%s: that is no string", c->name);
    for (const char *p = json_string_value(c->v[0]); *p; p++)
        cb_strbuf_addch(&text, (char)(upper ? toupper((unsigned char)*p) : tolower((unsigned char)*p)));
    *out = text_of(&text);
    return 0;
}

static int do_split(const struct template_call *c, json_t **out, struct cb_error *err)
{
    const char *p = json_string_value(c->v[0]), *by = json_string_value(c->v[1]);
    if (!p || !by || !*by)
        return cb_error_set(err, CB_EUSAGE, "write {{split .Field \"separator\"}} of a string");
    *out = json_array();
    for (const char *q; (q = strstr(p, by)); p = q + strlen(by))
        json_array_append_new(*out, json_stringn_nocheck(p, (size_t)(q - p)));
    json_array_append_new(*out, json_string_nocheck(p));
    return 0;
}

/* From, and perhaps to, of a string or list. */
static int do_slice(const struct template_call *c, json_t **out, struct cb_error *err)
{
    json_t *v = c->v[0];
    size_t n = json_is_string(v) ? json_string_length(v) : json_array_size(v);
    json_int_t from = c->n > 1 ? json_integer_value(c->v[1]) : 0;
    json_int_t to = c->n > 2 ? json_integer_value(c->v[2]) : (json_int_t)n;
    if (c->n > 3 || from < 0 || to < from || (size_t)to > n)
        return cb_error_set(err, CB_EUSAGE, "slice: there are %zu, not %lld to %lld", n, (long long)from,
                            (long long)to);
    if (json_is_string(v)) {
        *out = json_stringn(json_string_value(v) + from, (size_t)(to - from));
        return *out ? 0 : cb_error_set(err, CB_EUSAGE, "slice: that cuts a character");
    }
    *out = json_array();
    for (json_int_t i = from; i < to; i++)
        json_array_append(*out, json_array_get(v, (size_t)i));
    return 0;
}

/* ---- comparisons ---- */

static int do_eq(const struct template_call *c, json_t **out, struct cb_error *err CB_UNUSED)
{
    bool any = false;
    for (size_t i = 1; i < c->n; i++)
        any = any || json_equal(c->v[0], c->v[i]) || (!is_there(c->v[0]) && !is_there(c->v[i]));
    *out = json_boolean(any == !strcmp(c->name, "eq"));
    return 0;
}

static int do_order(const struct template_call *c, json_t **out, struct cb_error *err)
{
    const json_t *a = c->v[0], *b = c->v[1];
    double d = 0;
    if (json_is_number(a) && json_is_number(b))
        d = json_number_value(a) - json_number_value(b);
    else if (json_is_string(a) && json_is_string(b))
        d = strcmp(json_string_value(a), json_string_value(b));
    else
        return cb_error_set(err, CB_EUSAGE, "%s compares two numbers or two strings", c->name);
    bool less = c->name[0] == 'l', equal = c->name[1] == 'e';
    *out = json_boolean((less ? d < 0 : d > 0) || (equal && d == 0));
    return 0;
}

static int do_not(const struct template_call *c, json_t **out, struct cb_error *err CB_UNUSED)
{
    *out = json_boolean(!template_is_true(c->v[0]));
    return 0;
}

/* The first that decides, else the last. */
static int do_and_or(const struct template_call *c, json_t **out, struct cb_error *err CB_UNUSED)
{
    size_t i = 0;
    while (i + 1 < c->n && template_is_true(c->v[i]) == !strcmp(c->name, "and"))
        i++;
    *out = json_incref(c->v[i]);
    return 0;
}

static const struct function {
    const char *name;
    size_t min, max; /* of its values */
    int (*run)(const struct template_call *c, json_t **out, struct cb_error *err);
} functions[] = {
    { "json", 1, 1, do_json },      { "index", 1, SIZE_MAX, do_index }, { "join", 2, 2, do_join },
    { "len", 1, 1, do_len },        { "print", 0, SIZE_MAX, do_print }, { "println", 0, SIZE_MAX, do_print },
    { "lower", 1, 1, do_case },     { "upper", 1, 1, do_case },         { "printf", 1, SIZE_MAX, do_printf },
    { "split", 2, 2, do_split },    { "slice", 1, 3, do_slice },        { "eq", 2, SIZE_MAX, do_eq },
    { "ne", 2, 2, do_eq },          { "lt", 2, 2, do_order },           { "le", 2, 2, do_order },
    { "gt", 2, 2, do_order },       { "ge", 2, 2, do_order },           { "not", 1, 1, do_not },
    { "and", 1, SIZE_MAX, do_and_or }, { "or", 1, SIZE_MAX, do_and_or },
};

static const struct function *function_of(const char *name)
{
    for (size_t i = 0; i < CB_COUNTOF(functions); i++)
        if (!strcmp(functions[i].name, name))
            return &functions[i];
    return NULL;
}

bool template_has_function(const char *name)
{
    return function_of(name) != NULL;
}

int template_call(const struct template_call *c, json_t **out, struct cb_error *err)
{
    const struct function *f = function_of(c->name);
    if (c->n < f->min || c->n > f->max)
        return cb_error_set(err, CB_EUSAGE, "%s wants %s%zu value%s, not %zu", c->name,
                            f->max == f->min ? "" : c->n > f->max ? "no more than " : "at least ",
                            c->n > f->max ? f->max : f->min, (c->n > f->max ? f->max : f->min) == 1 ? "" : "s", c->n);
    return f->run(c, out, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include "util/alloc.h"
#include "util/limits.h"
#include "util/utf8.h"

/* jansson's own limit is 2048 and it recurses: this stops before it begins. Brackets in strings do not count. */
static bool is_too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > CB_MAX_JSON_DEPTH)
                return true;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return false;
}

json_t *cb_json_parse(const char *text, size_t len, struct cb_error *err)
{
    if (is_too_deep(text, len)) {
        cb_error_set(err, CB_EVERIFY, "JSON: nested deeper than %d", CB_MAX_JSON_DEPTH);
        return NULL;
    }
    json_error_t e;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        cb_error_set(err, CB_EVERIFY, "JSON: line %d: %s", e.line, e.text);
    return j;
}

/* One character of a key as Go's decoder folds it: two letters outside ASCII fold to 'k' and 's'. */
static char fold(const char **p)
{
    const char *s = *p;
    if (strncmp(s, "\xe2\x84\xaa", 3) == 0) { /* U+212A KELVIN SIGN */
        *p = s + 3;
        return 'k';
    }
    if (strncmp(s, "\xc5\xbf", 2) == 0) { /* U+017F LATIN SMALL LETTER LONG S */
        *p = s + 2;
        return 's';
    }
    *p = s + 1;
    return *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;
}

static bool same_folded(const char *a, const char *b)
{
    while (*a && *b)
        if (fold(&a) != fold(&b))
            return false;
    return !*a && !*b;
}

int cb_json_check_keys(const json_t *o, const char *const known[], struct cb_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o, key, value) {
        for (size_t i = 0; known[i]; i++)
            if (strcmp(key, known[i]) != 0 && same_folded(key, known[i]))
                return cb_error_set(err, CB_EVERIFY, "JSON: \"%.64s\" is another spelling of \"%s\"", key, known[i]);
    }
    return 0;
}

/* *out stays NULL where the member is absent or null. */
static int get(const json_t *o, const char *key, json_type want, const json_t **out, struct cb_error *err)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_TRUE] = "true or false",
    };
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v))
        return 0;
    json_type type = json_typeof(v);
    if (type == JSON_FALSE)
        type = JSON_TRUE;
    if (type != want)
        return cb_error_set(err, CB_EVERIFY, "JSON: \"%s\" is not %s", key, names[want]);
    *out = v;
    return 0;
}

int cb_json_get_string(const json_t *o, const char *key, const char **out, struct cb_error *err)
{
    const json_t *v = NULL;
    int r = get(o, key, JSON_STRING, &v, err);
    if (r == 0 && v)
        *out = json_string_value(v);
    return r;
}

int cb_json_get_i64(const json_t *o, const char *key, int64_t *out, struct cb_error *err)
{
    const json_t *v = NULL;
    int r = get(o, key, JSON_INTEGER, &v, err);
    if (r == 0 && v)
        *out = json_integer_value(v);
    return r;
}

int cb_json_get_u64(const json_t *o, const char *key, uint64_t *out, struct cb_error *err)
{
    const json_t *v = NULL;
    int r = get(o, key, JSON_INTEGER, &v, err);
    if (r < 0 || !v)
        return r;
    if (json_integer_value(v) < 0)
        return cb_error_set(err, CB_EVERIFY, "JSON: \"%s\" is negative", key);
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

int cb_json_get_bool(const json_t *o, const char *key, bool *out, struct cb_error *err)
{
    const json_t *v = NULL;
    int r = get(o, key, JSON_TRUE, &v, err);
    if (r == 0 && v)
        *out = json_is_true(v);
    return r;
}

int cb_json_get_object(const json_t *o, const char *key, const json_t **out, struct cb_error *err)
{
    return get(o, key, JSON_OBJECT, out, err);
}

int cb_json_get_array(const json_t *o, const char *key, const json_t **out, struct cb_error *err)
{
    return get(o, key, JSON_ARRAY, out, err);
}

int cb_json_get_strvec(const json_t *o, const char *key, struct cb_strvec *out, struct cb_error *err)
{
    const json_t *a = NULL;
    int r = cb_json_get_array(o, key, &a, err);
    if (r < 0 || !a)
        return r;
    cb_cleanup_strvec struct cb_strvec list = CB_STRVEC_INIT;
    size_t i;
    json_t *v;
    json_array_foreach(a, i, v) {
        if (!json_is_string(v))
            return cb_error_set(err, CB_EVERIFY, "JSON: \"%s\"[%zu] is not a string", key, i);
        cb_strvec_push(&list, json_string_value(v));
    }
    cb_strvec_done(out);
    *out = list;
    list = (struct cb_strvec)CB_STRVEC_INIT;
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct cb_strmap_entry *)a)->key, ((const struct cb_strmap_entry *)b)->key);
}

int cb_json_get_strmap(const json_t *o, const char *key, struct cb_strmap *out, struct cb_error *err)
{
    const json_t *m = NULL;
    int r = cb_json_get_object(o, key, &m, err);
    if (r < 0 || !m)
        return r;
    cb_autofree struct cb_strmap_entry *sorted = cb_calloc(json_object_size(m) + 1, sizeof *sorted);
    size_t n = 0;
    const char *k;
    json_t *v;
    json_object_foreach((json_t *)m, k, v) {
        if (!json_is_string(v))
            return cb_error_set(err, CB_EVERIFY, "JSON: \"%s\".\"%.64s\" is not a string", key, k);
        sorted[n++] = (struct cb_strmap_entry){ (char *)k, (char *)json_string_value(v) };
    }
    /* In order, so that each goes to the end: inserting in a hostile order would take quadratic time. */
    qsort(sorted, n, sizeof *sorted, compare_entries);
    cb_strmap_done(out);
    for (size_t i = 0; i < n; i++)
        cb_strmap_set(out, sorted[i].key, sorted[i].value);
    return 0;
}

/* jansson refuses text that is no UTF-8, and a member would silently be missing. */
static char *to_utf8(const char *s)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = cb_utf8_decode(s + i, n - i, &cp);
        cb_strbuf_add(&sb, len ? s + i : "\xef\xbf\xbd", len ? len : 3);
        i += len ? len : 1;
    }
    return cb_strbuf_detach(&sb, NULL);
}

static json_t *must(json_t *j)
{
    if (!j)
        abort(); /* memory, or a caller that passes no UTF-8 */
    return j;
}

json_t *cb_json_string(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    cb_autofree char *clean = to_utf8(s);
    return must(json_string(clean));
}

void cb_json_put(json_t *o, const char *key, json_t *value)
{
    must(value);
    json_incref(value); /* survives a failing set, which drops it */
    if (json_object_set_new(o, key, value) < 0) {
        cb_autofree char *clean = to_utf8(key);
        if (json_object_set(o, clean, value) < 0)
            abort();
    }
    json_decref(value);
}

void cb_json_put_string(json_t *o, const char *key, const char *value_or_null)
{
    if (value_or_null)
        cb_json_put(o, key, cb_json_string(value_or_null));
}

json_t *cb_json_from_strvec(const struct cb_strvec *sv)
{
    json_t *a = must(json_array());
    for (size_t i = 0; i < sv->n; i++)
        if (json_array_append_new(a, cb_json_string(sv->v[i])) < 0)
            abort();
    return a;
}

json_t *cb_json_from_strmap(const struct cb_strmap *m)
{
    json_t *o = must(json_object());
    for (size_t i = 0; i < m->n; i++)
        cb_json_put_string(o, m->v[i].key, m->v[i].value);
    return o;
}

static int append(const char *buf, size_t n, void *out)
{
    cb_strbuf_add(out, buf, n);
    return 0;
}

void cb_json_print(struct cb_strbuf *out, const json_t *j)
{
    if (json_dump_callback(j, append, out, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
        abort();
}

void cb_json_print_pretty(struct cb_strbuf *out, const json_t *j)
{
    if (json_dump_callback(j, append, out, JSON_INDENT(2) | JSON_ENCODE_ANY) < 0)
        abort();
    cb_strbuf_addch(out, '\n');
}

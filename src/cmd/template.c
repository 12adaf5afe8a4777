/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/template.h"

#include <ctype.h>
#include <strings.h>

#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

#define MAX_WORDS 16

/* A word of an action: a path, a string or a number. */
struct word {
    enum { WORD_PATH, WORD_TEXT, WORD_NUMBER } kind;
    char *text; /* ".A.B"; what the string means */
    uint64_t number;
};
struct action {
    char *function; /* NULL: print the one word */
    struct word words[MAX_WORDS];
    size_t n;
};

static void action_done(struct action *a)
{
    free(a->function);
    for (size_t i = 0; i < a->n; i++)
        free(a->words[i].text);
}

/* ---- reading ---- */

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t\n");
}

static int not_ours(const char *what, size_t n, struct cb_error *err)
{
    return cb_error_set(err, CB_EUSAGE,
                        "\"%.*s\" is not done here: write {{.Field}}, {{json .Field}}, {{index .Field \"key\"}}, "
                        "{{join .Field \",\"}} or {{len .Field}}, or take the JSON to jq",
                        (int)CB_MIN(n, (size_t)60), what);
}

/* ".": the whole; ".A.B". */
static int read_path(const char **p, struct word *w, struct cb_error *err)
{
    const char *at = *p;
    for (const char *q = at; *q == '.'; at = q) {
        size_t n = 0;
        for (q++; isalnum((unsigned char)q[n]) || q[n] == '_'; n++)
            ;
        q += n;
        if (!n && (q - *p > 1 || *q == '.'))
            return not_ours(*p, strcspn(*p, " }"), err);
    }
    w->kind = WORD_PATH;
    w->text = cb_strndup(*p, (size_t)(at - *p));
    *p = at;
    return 0;
}

/* "…" with JSON's escapes, which are Go's as far as anybody writes them; `…` as it stands. */
static int read_text(const char **p, struct word *w, struct cb_error *err)
{
    char quote = **p;
    size_t n = 1;
    while ((*p)[n] && (*p)[n] != quote)
        n += quote == '"' && (*p)[n] == '\\' && (*p)[n + 1] ? 2 : 1;
    if (!(*p)[n])
        return cb_error_set(err, CB_EUSAGE, "a string has no end");
    w->kind = WORD_TEXT;
    if (quote == '`')
        w->text = cb_strndup(*p + 1, n - 1);
    else {
        cb_autofree char *list = cb_asprintf("[%.*s]", (int)n + 1, *p);
        cb_autojson json_t *j = cb_json_parse(list, strlen(list), NULL);
        if (!j)
            return cb_error_set(err, CB_EUSAGE, "%.*s is no string", (int)n + 1, *p);
        w->text = cb_strdup(json_string_value(json_array_get(j, 0)));
    }
    *p += n + 1;
    return 0;
}

static int read_number(const char **p, struct word *w, struct cb_error *err)
{
    size_t n = strspn(*p, "0123456789");
    w->kind = WORD_NUMBER;
    w->text = cb_strndup(*p, n);
    *p += n;
    return cb_parse_u64(w->text, UINT32_MAX, &w->number) ? 0 : cb_error_set(err, CB_EUSAGE, "%s is too large", w->text);
}

static int read_word(const char **p, struct action *a, struct cb_error *err)
{
    struct word *w = &a->words[a->n];
    if (a->n == MAX_WORDS)
        return cb_error_set(err, CB_EUSAGE, "more than %d words in one action", MAX_WORDS);
    *w = (struct word){ 0 };
    int r;
    if (**p == '.')
        r = read_path(p, w, err);
    else if (**p == '"' || **p == '`')
        r = read_text(p, w, err);
    else if (isdigit((unsigned char)**p))
        r = read_number(p, w, err);
    else
        return not_ours(*p, strcspn(*p, " }"), err);
    a->n++;
    return r;
}

/* p is behind "{{"; the end is behind "}}". */
static int read_action(const char **p, struct action *a, struct cb_error *err)
{
    const char *q = skip_blanks(*p);
    if (isalpha((unsigned char)*q)) {
        size_t n = strcspn(q, " \t\n}");
        a->function = cb_strndup(q, n);
        q = skip_blanks(q + n);
    }
    int r = 0;
    while (r == 0 && *q && !cb_starts_with(q, "}}")) {
        r = read_word(&q, a, err);
        if (r == 0 && !strchr(" \t\n}", *q))
            r = not_ours(q, 1, err);
        q = skip_blanks(q);
    }
    if (r == 0 && !*q)
        r = cb_error_set(err, CB_EUSAGE, "{{ has no }}");
    *p = r == 0 ? q + 2 : q;
    return r;
}

/* ---- values: NULL is what is not there ---- */

static int no_field(const json_t *root, const char *name, struct cb_error *err)
{
    struct cb_strbuf all cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
        cb_strbuf_addf(&all, "%s%s", all.len ? ", " : "", key);
    return cb_error_set(err, CB_EUSAGE, "there is no field %s; there are %s", name, all.buf);
}

struct scope {
    const json_t *root, *more;
    bool go; /* Go's names of fields stand for those of their JSON */
};

static const json_t *member(const struct scope *s, const json_t *v, const char *name)
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

static int find(const struct scope *s, const char *path, const json_t **out, struct cb_error *err)
{
    const json_t *root = s->root, *v = root;
    for (const char *p = path; *p && p[1];) {
        size_t n = strcspn(p + 1, ".");
        cb_autofree char *name = cb_strndup(p + 1, n);
        if (v && !json_is_object(v) && !json_is_null(v))
            return cb_error_set(err, CB_EUSAGE, "%.*s has no fields", (int)(p - path), path);
        const json_t *next = member(s, v, name);
        if (!next && v == root)
            next = json_object_get(s->more, name);
        if (!next && v == root)
            return no_field(root, name, err);
        v = next;
        p += n + 1;
    }
    *out = v;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_value(struct cb_strbuf *out, const json_t *v);

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
        print_value(out, json_object_get(v, keys[i]));
    }
    cb_strbuf_adds(out, "]");
}

/* As Go's %v. Depth is bounded by the JSON parser. */
static void print_value(struct cb_strbuf *out, const json_t *v)
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
            print_value(out, json_array_get(v, i));
        }
        cb_strbuf_adds(out, json_array_size(v) ? "]" : "[]");
    } else
        cb_json_print(out, v);
}

/* ---- actions ---- */

static int do_index(struct cb_strbuf *out, const json_t *v, const struct action *a, struct cb_error *err)
{
    bool map = false;
    for (size_t i = 1; i < a->n; i++) {
        const struct word *w = &a->words[i];
        map = w->kind == WORD_TEXT;
        if (w->kind == WORD_PATH || (v && !json_is_null(v) && !(map ? json_is_object(v) : json_is_array(v))))
            return cb_error_set(err, CB_EUSAGE, "index: %s does not fit %s", w->text, a->words[0].text);
        if (!map && w->number >= json_array_size(v))
            return cb_error_set(err, CB_EUSAGE, "index: %s has %zu entries, there is no %s", a->words[0].text,
                                json_array_size(v), w->text);
        v = map ? json_object_get(v, w->text) : json_array_get(v, (size_t)w->number);
    }
    if (v || !map)
        print_value(out, v);
    return 0;
}

static int do_join(struct cb_strbuf *out, const json_t *v, const struct action *a, struct cb_error *err)
{
    if (a->n != 2 || a->words[1].kind != WORD_TEXT)
        return cb_error_set(err, CB_EUSAGE, "write {{join .Field \"separator\"}}");
    if (v && !json_is_null(v) && !json_is_array(v))
        return cb_error_set(err, CB_EUSAGE, "join: %s is no list", a->words[0].text);
    for (size_t i = 0; i < json_array_size(v); i++) {
        cb_strbuf_adds(out, i ? a->words[1].text : "");
        print_value(out, json_array_get(v, i));
    }
    return 0;
}

static int do_len(struct cb_strbuf *out, const json_t *v, const struct action *a, struct cb_error *err)
{
    if (a->n != 1)
        return cb_error_set(err, CB_EUSAGE, "write {{len .Field}}");
    cb_strbuf_addf(out, "%zu",
                   json_is_string(v)   ? json_string_length(v)
                   : json_is_object(v) ? json_object_size(v)
                                       : json_array_size(v));
    return 0;
}

static int do_json(struct cb_strbuf *out, const json_t *v, const struct action *a, struct cb_error *err)
{
    if (a->n != 1)
        return cb_error_set(err, CB_EUSAGE, "write {{json .Field}}");
    if (v)
        cb_json_print(out, v);
    else
        cb_strbuf_adds(out, "null");
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct cb_strbuf *out, const json_t *v, const struct action *a, struct cb_error *err);
} functions[] = { { "json", do_json }, { "index", do_index }, { "join", do_join }, { "len", do_len } };

static int call(struct cb_strbuf *out, const struct action *a, const struct scope *s, struct cb_error *err)
{
    const json_t *v = NULL;
    for (size_t i = 0; i < CB_COUNTOF(functions); i++) {
        if (strcmp(functions[i].name, a->function) != 0)
            continue;
        if (!a->n || a->words[0].kind != WORD_PATH)
            return cb_error_set(err, CB_EUSAGE, "%s wants a field first", a->function);
        int r = find(s, a->words[0].text, &v, err);
        return r < 0 ? r : functions[i].run(out, v, a, err);
    }
    return not_ours(a->function, strlen(a->function), err);
}

static int run_action(struct cb_strbuf *out, const struct action *a, const struct scope *s, struct cb_error *err)
{
    const json_t *v = NULL;
    if (a->function)
        return call(out, a, s, err);
    if (a->n != 1)
        return cb_error_set(err, CB_EUSAGE, a->n ? "several values in one action" : "an action is empty");
    const struct word *w = &a->words[0];
    int r = w->kind == WORD_PATH ? find(s, w->text, &v, err) : 0;
    if (r == 0 && w->kind == WORD_PATH)
        print_value(out, v);
    else if (r == 0)
        cb_strbuf_adds(out, w->text);
    return r;
}

/* Up to the next action. */
static const char *copy_text(struct cb_strbuf *out, const char *p)
{
    for (; *p && !cb_starts_with(p, "{{"); p++) {
        bool escape = *p == '\\' && (p[1] == 'n' || p[1] == 't');
        cb_strbuf_addch(out, !escape ? *p : p[1] == 'n' ? '\n' : '\t');
        p += escape;
    }
    return p;
}

static int print(struct cb_strbuf *out, const char *format, const struct scope *s, struct cb_error *err)
{
    for (const char *p = copy_text(out, format); *p; p = copy_text(out, p)) {
        CB_CLEANUP(action_done) struct action a = { 0 };
        const char *begin = p;
        p += 2;
        int r = read_action(&p, &a, err);
        if (r == 0)
            r = run_action(out, &a, s, err);
        if (r < 0) {
            cb_error_wrap(err, "--format, at \"%.20s\"", begin);
            return r;
        }
    }
    return 0;
}

int cb_template_print(struct cb_strbuf *out, const char *format, const json_t *root, struct cb_error *err)
{
    return print(out, format, &(struct scope){ .root = root }, err);
}

int cb_template_print_with(struct cb_strbuf *out, const char *format, const json_t *root, const json_t *more,
                           struct cb_error *err)
{
    return print(out, format, &(struct scope){ .root = root, .more = more }, err);
}

int cb_template_print_go(struct cb_strbuf *out, const char *format, const json_t *root, struct cb_error *err)
{
    return print(out, format, &(struct scope){ .root = root, .go = true }, err);
}

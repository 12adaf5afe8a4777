/* SPDX-License-Identifier: Apache-2.0 */
#include "util/toml.h"

#include "util/alloc.h"
#include "util/toml_private.h"

/* Keys are found by looking at each: this keeps a hostile file from making that slow. */
#define MAX_ITEMS 10000u

void cb_toml_free(struct cb_toml *t)
{
    if (!t)
        return;
    /* The depth is bounded: keys have few parts and values do not nest deep. */
    for (size_t i = 0; i < t->n; i++)
        cb_toml_free(t->item[i]);
    free(t->item);
    free(t->key);
    free(t->string);
    free(t);
}

struct cb_toml *cb_toml_new(const struct cb_toml_parser *ps, enum cb_toml_type type, enum cb_toml_origin origin)
{
    struct cb_toml *t = CB_NEW(struct cb_toml);
    t->type = type;
    t->line = ps->line;
    t->origin = (unsigned char)origin;
    return t;
}

int cb_toml_append(const struct cb_toml_parser *ps, struct cb_toml *parent, struct cb_toml *child)
{
    if (parent->n >= MAX_ITEMS) {
        cb_toml_free(child);
        return cb_toml_fail(ps, "over %u entries in one table or array", MAX_ITEMS);
    }
    CB_GROW(parent->item, parent->n, parent->cap);
    parent->item[parent->n++] = child;
    return 0;
}

struct cb_toml *cb_toml_find(const struct cb_toml *table, const char *key)
{
    for (size_t i = 0; table->type == CB_TOML_TABLE && i < table->n; i++) {
        if (strcmp(table->item[i]->key, key) == 0)
            return table->item[i];
    }
    return NULL;
}

static int add_table(struct cb_toml_parser *ps, struct cb_toml *table, const char *key, struct cb_toml *child)
{
    child->key = cb_strdup(key);
    return cb_toml_append(ps, table, child);
}

/* One step of a header's way: into a table, or into the last table of an array of tables. */
static int enter_table(struct cb_toml_parser *ps, struct cb_toml **table, const char *key)
{
    struct cb_toml *next = cb_toml_find(*table, key);
    if (!next) {
        next = cb_toml_new(ps, CB_TOML_TABLE, CB_TOML_IMPLICIT);
        int r = add_table(ps, *table, key, next);
        if (r < 0)
            return r;
    }
    if (next->origin == CB_TOML_LEAF)
        return cb_toml_fail(ps, "\"%s\" is already defined on line %u", key, next->line);
    *table = next->origin == CB_TOML_TABLES ? next->item[next->n - 1] : next;
    return 0;
}

static int define_table(struct cb_toml_parser *ps, struct cb_toml **table, const char *key)
{
    struct cb_toml *t = cb_toml_find(*table, key);
    if (t && t->origin != CB_TOML_IMPLICIT)
        return cb_toml_fail(ps, "\"%s\" is already defined on line %u", key, t->line);
    int r = 0;
    if (t) {
        t->origin = CB_TOML_HEADER;
        t->line = ps->line;
    } else {
        t = cb_toml_new(ps, CB_TOML_TABLE, CB_TOML_HEADER);
        r = add_table(ps, *table, key, t);
    }
    if (r == 0)
        *table = t;
    return r;
}

static int define_array_table(struct cb_toml_parser *ps, struct cb_toml **table, const char *key)
{
    struct cb_toml *array = cb_toml_find(*table, key);
    if (array && array->origin != CB_TOML_TABLES)
        return cb_toml_fail(ps, "\"%s\" is already defined on line %u", key, array->line);
    if (!array) {
        array = cb_toml_new(ps, CB_TOML_ARRAY, CB_TOML_TABLES);
        int r = add_table(ps, *table, key, array);
        if (r < 0)
            return r;
    }
    struct cb_toml *t = cb_toml_new(ps, CB_TOML_TABLE, CB_TOML_HEADER);
    int r = cb_toml_append(ps, array, t);
    if (r == 0)
        *table = t;
    return r;
}

/* "[a.b]" or "[[a.b]]": *table becomes what it names. */
static int take_header(struct cb_toml_parser *ps, struct cb_toml *root, struct cb_toml **table)
{
    cb_cleanup_strvec struct cb_strvec parts = CB_STRVEC_INIT;
    size_t brackets = cb_toml_peek(ps, 1) == '[' ? 2 : 1;
    ps->p += brackets;
    int r = cb_toml_take_key(ps, &parts);
    if (r < 0)
        return r;
    for (size_t i = 0; i < brackets; i++) {
        if (cb_toml_peek(ps, i) != ']')
            return cb_toml_fail(ps, "\"%s\" expected behind the table's name", brackets == 2 ? "]]" : "]");
    }
    ps->p += brackets;
    *table = root;
    for (size_t i = 0; i + 1 < parts.n; i++) {
        r = enter_table(ps, table, parts.v[i]);
        if (r < 0)
            return r;
    }
    const char *last = parts.v[parts.n - 1];
    return brackets == 2 ? define_array_table(ps, table, last) : define_table(ps, table, last);
}

static int take_document(struct cb_toml_parser *ps, struct cb_toml *root)
{
    struct cb_toml *table = root;
    for (;;) {
        int r = cb_toml_skip_space(ps);
        if (r < 0 || ps->p >= ps->end)
            return r;
        r = *ps->p == '[' ? take_header(ps, root, &table) : cb_toml_take_pair(ps, table);
        if (r < 0)
            return r;
        cb_toml_skip_blanks(ps);
        r = cb_toml_skip_comment(ps);
        if (r < 0)
            return r;
        if (ps->p < ps->end && !cb_toml_take_newline(ps))
            return cb_toml_fail(ps, "end of the line expected");
    }
}

struct cb_toml *cb_toml_parse(const char *text, size_t len, struct cb_error *err)
{
    /* A byte order mark is what Windows editors leave. */
    size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    struct cb_toml_parser ps = { .p = text + bom, .end = text + len, .line = 1, .err = err };
    CB_AUTO(cb_toml_free) struct cb_toml *root = cb_toml_new(&ps, CB_TOML_TABLE, CB_TOML_HEADER);
    if (take_document(&ps, root) < 0)
        return NULL;
    return CB_TAKE(root);
}

const struct cb_toml *cb_toml_get(const struct cb_toml *table, const char *key)
{
    return cb_toml_find(table, key);
}

int cb_toml_get_string(const struct cb_toml *table, const char *key, const char **out, struct cb_error *err)
{
    const struct cb_toml *t = cb_toml_find(table, key);
    if (t && t->type != CB_TOML_STRING)
        return cb_error_set(err, CB_ECONF, "line %u: \"%s\" must be a string", t->line, key);
    if (t)
        *out = t->string;
    return 0;
}

int cb_toml_get_bool(const struct cb_toml *table, const char *key, bool *out, struct cb_error *err)
{
    const struct cb_toml *t = cb_toml_find(table, key);
    if (t && t->type != CB_TOML_BOOL)
        return cb_error_set(err, CB_ECONF, "line %u: \"%s\" must be true or false", t->line, key);
    if (t)
        *out = t->integer != 0;
    return 0;
}

int cb_toml_get_strings(const struct cb_toml *table, const char *key, bool or_one, struct cb_strvec *out,
                        struct cb_error *err)
{
    const struct cb_toml *t = cb_toml_find(table, key);
    if (t && or_one && t->type == CB_TOML_STRING)
        cb_strvec_push(out, t->string);
    if (!t || (or_one && t->type == CB_TOML_STRING))
        return 0;
    if (t->type != CB_TOML_ARRAY)
        return cb_error_set(err, CB_ECONF, "line %u: \"%s\" must be an array of strings", t->line, key);
    for (size_t i = 0; i < t->n; i++) {
        if (t->item[i]->type != CB_TOML_STRING)
            return cb_error_set(err, CB_ECONF, "line %u: \"%s\" must hold strings only", t->item[i]->line, key);
        cb_strvec_push(out, t->item[i]->string);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/select.h"

#include "util/alloc.h"
#include "util/path.h"

static const struct cb_entry root_entry = { .path = "", .type = CB_ENTRY_DIR, .mode = 0755 };

struct select {
    struct cb_stack *stack;
    struct cb_selection *out;
    const struct cb_filter *filter; /* of the source at hand */
    const char *below;              /* its pattern of --parents, or NULL */
    bool wildcard;
};

/* A hard link stays one where its first name is part of what is copied and is still that file: it may have been
 * replaced in a higher layer. */
static void relink(const struct select *s, struct cb_item *it, const char *root)
{
    size_t n = strlen(root);
    const char *link = it->link;
    if (it->type != CB_ENTRY_HARDLINK)
        return;
    const struct cb_stack_entry *to = cb_stack_find(s->stack, link);
    bool inside = n == 0 || (!strncmp(link, root, n) && link[n] == '/');
    if (inside && to && it->se->data && to->data == it->se->data) {
        it->link = n ? link + n + 1 : link;
    } else {
        it->type = CB_ENTRY_FILE;
        it->link = NULL;
    }
}

static struct cb_item *add_entry(const struct select *s, struct cb_match *m, const struct cb_stack_entry *se,
                                 const char *root)
{
    const char *path = se->e->path;
    size_t skip = *root ? strlen(root) + 1 : 0;
    struct cb_item *it = cb_match_add_se(m, strlen(path) > skip ? path + skip : "", se);
    relink(s, it, root);
    return it;
}

/* Directories that were added for what might be below them, and have nothing. */
static void drop_empty(struct cb_match *m, const char *next)
{
    while (m->n > 1 && m->items[m->n - 1]->on_the_way) {
        const char *dir = m->items[m->n - 1]->rel;
        size_t n = strlen(dir);
        if (next && !strncmp(next, dir, n) && next[n] == '/')
            return;
        cb_match_pop(m);
    }
}

/* Everything below a directory, or of the root: entries from index `from` on. */
static void add_subtree(const struct select *s, struct cb_match *m, const char *root, size_t from)
{
    size_t to = *root ? cb_stack_subtree_end(s->stack, from) : cb_stack_count(s->stack);
    size_t skip = *root ? strlen(root) + 1 : 0;
    for (size_t i = *root ? from + 1 : from; i < to; i++) {
        const struct cb_stack_entry *se = cb_stack_at(s->stack, i);
        const char *rel = se->e->path + skip;
        bool out = cb_filter_leaves_out(s->filter, rel), dir = se->e->type == CB_ENTRY_DIR;
        if (out && dir && !cb_filter_may_take(s->filter, rel))
            i = cb_stack_subtree_end(s->stack, i) - 1;
        else if (!out || dir) {
            drop_empty(m, rel);
            add_entry(s, m, se, root)->on_the_way = out;
        }
    }
    drop_empty(m, NULL);
}

static int not_found(const char *path, struct cb_error *err)
{
    return cb_error_set(err, CB_ECONF, "\"/%s\": not found in what it is copied from", path);
}

static int select_path(const struct select *s, const char *path, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_stack_entry *hit;
    int r = cb_stack_resolve(s->stack, path, CB_FOLLOW_ALL, &real, &hit, err);
    if (r < 0)
        return r;
    if (!hit && real.len)
        return not_found(path, err);
    bool dir = !hit || hit->e->type == CB_ENTRY_DIR;
    struct cb_match *m = cb_selection_add(s->out, *path ? cb_path_base(path) : "", dir, s->wildcard);
    struct cb_item *it = hit ? add_entry(s, m, hit, real.buf) : cb_match_add(m, "", &root_entry);
    it->on_the_way = dir && (!hit || s->below);
    if (dir)
        add_subtree(s, m, real.buf, hit ? cb_stack_lower_bound(s->stack, real.buf) : 0);
    return 0;
}

/* All paths that a pattern matches, below the directory in front of its first wildcard. */
static int select_pattern(const struct select *s, const char *pattern, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = cb_copy_plain_prefix(pattern);
    cb_autofree char *prefix = cb_strndup(pattern, n ? n - 1 : 0);
    const struct cb_stack_entry *hit;
    int r = cb_stack_resolve(s->stack, prefix, CB_FOLLOW_ALL, &real, &hit, err);
    if (r == 0 && real.len && !hit)
        return not_found(prefix, err);
    size_t at = hit ? cb_stack_lower_bound(s->stack, real.buf) : 0;
    size_t to = hit ? cb_stack_subtree_end(s->stack, at) : cb_stack_count(s->stack);
    for (size_t i = hit ? at + 1 : 0; r == 0 && i < to; i++) {
        const char *path = cb_stack_at(s->stack, i)->e->path;
        bool yes = false;
        r = cb_df_match(pattern + n, path + (hit ? real.len + 1 : 0), &yes, err);
        if (r == 0 && yes)
            r = select_path(s, path, err);
    }
    return r;
}

/* A path of --parents without a wildcard has to be there. */
static int check_below(const struct select *s, const char *source, struct cb_error *err)
{
    if (!s->below || s->wildcard || cb_df_has_wildcard(s->below) || s->out->v[s->out->n - 1].n > 1)
        return 0;
    cb_autofree char *whole = cb_asprintf("%s%s%s", source, *source ? "/" : "", s->below);
    return not_found(whole, err);
}

static int select_source(struct select *s, const char *source, struct cb_error *err)
{
    s->wildcard = cb_df_has_wildcard(source);
    int r = s->wildcard ? select_pattern(s, source, err) : select_path(s, source, err);
    return r < 0 ? r : check_below(s, source, err);
}

int cb_stage_select(struct cb_stack *stack, const struct cb_copy_op *op, struct cb_selection *out, struct cb_error *err)
{
    int r = 0;
    out->stack = cb_stack_ref(stack);
    for (size_t i = 0; r == 0 && i < op->sources.n; i++) {
        struct cb_filter filter cb_cleanup_filter = { 0 };
        const char *source = strcmp(op->sources.v[i], ".") ? op->sources.v[i] : "";
        struct select s = { .stack = stack, .out = out, .filter = &filter, .below = cb_copy_below(op, i) };
        r = cb_filter_open(&filter, op, s.below, err);
        if (r == 0)
            r = select_source(&s, source, err);
    }
    return r;
}

int cb_stage_select_path(struct cb_stack *stack, const char *path, struct cb_selection *out, struct cb_error *err)
{
    struct select s = { .stack = stack, .out = out };
    out->stack = cb_stack_ref(stack);
    return select_path(&s, path, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/select.h"

#include "util/alloc.h"
#include "util/path.h"

static const struct cb_entry root_entry = { .path = "", .type = CB_ENTRY_DIR, .mode = 0755 };

struct select {
    struct cb_stack *stack;
    struct cb_df_ignore *exclude; /* or NULL */
    struct cb_selection *out;
    bool wildcard;                /* of the source at hand */
};

/* A hard link stays one where its first name is part of what is copied and is still that file: it may have been
 * replaced in a higher layer. */
static void relink(const struct select *s, struct cb_entry *e, const struct cb_stack_entry *se, const char *root)
{
    size_t n = strlen(root);
    const char *link = se->e->link;
    if (e->type != CB_ENTRY_HARDLINK)
        return;
    const struct cb_stack_entry *to = cb_stack_find(s->stack, link);
    bool inside = n == 0 || (!strncmp(link, root, n) && link[n] == '/');
    if (inside && to && se->data && to->data == se->data) {
        e->link = n ? link + n + 1 : link;
    } else {
        e->type = CB_ENTRY_FILE;
        e->link = NULL;
    }
}

static void add_entry(const struct select *s, struct cb_match *m, const struct cb_stack_entry *se, const char *root)
{
    struct cb_entry e = *se->e;
    size_t skip = *root ? strlen(root) + 1 : 0;
    const char *rel = strlen(e.path) > skip ? e.path + skip : "";
    relink(s, &e, se, root);
    if (se->data) {
        e.size = se->data->size;
        e.digest = se->data->digest;
    }
    cb_match_add(m, rel, &e)->se = se;
}

/* Everything below a directory, or of the root: entries from index `from` on. */
static void add_subtree(const struct select *s, struct cb_match *m, const char *root, size_t from)
{
    size_t to = *root ? cb_stack_subtree_end(s->stack, from) : cb_stack_count(s->stack);
    size_t skip = *root ? strlen(root) + 1 : 0;
    for (size_t i = *root ? from + 1 : from; i < to; i++) {
        const struct cb_stack_entry *se = cb_stack_at(s->stack, i);
        if (!cb_df_ignored(s->exclude, se->e->path + skip))
            add_entry(s, m, se, root);
    }
}

static int select_path(const struct select *s, const char *path, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_stack_entry *hit;
    int r = cb_stack_resolve(s->stack, path, CB_FOLLOW_ALL, &real, &hit, err);
    if (r < 0)
        return r;
    if (!hit && real.len)
        return cb_error_set(err, CB_ECONF, "\"/%s\": not found in what it is copied from", path);
    bool dir = !hit || hit->e->type == CB_ENTRY_DIR;
    struct cb_match *m = cb_selection_add(s->out, *path ? cb_path_base(path) : "", dir, s->wildcard);
    if (hit)
        add_entry(s, m, hit, real.buf);
    else
        cb_match_add(m, "", &root_entry);
    if (dir)
        add_subtree(s, m, real.buf, hit ? cb_stack_lower_bound(s->stack, real.buf) : 0);
    return 0;
}

/* All paths of the stack that a pattern matches. */
static int select_pattern(const struct select *s, const char *pattern, struct cb_error *err)
{
    for (size_t i = 0; i < cb_stack_count(s->stack); i++) {
        const char *path = cb_stack_at(s->stack, i)->e->path;
        bool yes = false;
        int r = cb_df_match(pattern, path, &yes, err);
        if (r == 0 && yes && !cb_df_ignored(s->exclude, cb_path_base(path)))
            r = select_path(s, path, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int cb_stage_select(struct cb_stack *stack, const struct cb_copy_op *op, struct cb_selection *out, struct cb_error *err)
{
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *exclude = NULL;
    int r = 0;
    if (op->exclude.n && !(exclude = cb_df_ignore_from_patterns(&op->exclude, err)))
        return -CB_ECONF;
    out->stack = cb_stack_ref(stack);
    struct select s = { .stack = stack, .exclude = exclude, .out = out };
    for (size_t i = 0; r == 0 && i < op->sources.n; i++) {
        const char *src = op->sources.v[i];
        s.wildcard = cb_df_has_wildcard(src);
        r = s.wildcard ? select_pattern(&s, src, err) : select_path(&s, strcmp(src, ".") ? src : "", err);
    }
    return r;
}

int cb_stage_select_path(struct cb_stack *stack, const char *path, struct cb_selection *out, struct cb_error *err)
{
    struct select s = { .stack = stack, .out = out };
    out->stack = cb_stack_ref(stack);
    return select_path(&s, path, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/select.h"

#include "util/alloc.h"
#include "util/path.h"

static const struct cb_entry root_entry = { .path = "", .type = CB_ENTRY_DIR, .mode = 0755 };

/* A hard link whose first name is not part of what is copied becomes a file of its own. */
static void relink(struct cb_entry *e, const struct cb_stack_entry *se, const char *root)
{
    size_t n = strlen(root);
    const char *link = se->e->link;
    if (e->type != CB_ENTRY_HARDLINK)
        return;
    if (n == 0) {
        e->link = link;
    } else if (!strncmp(link, root, n) && link[n] == '/') {
        e->link = link + n + 1;
    } else {
        e->type = CB_ENTRY_FILE;
        e->link = NULL;
    }
}

static void add_entry(struct cb_match *m, const char *rel, const struct cb_stack_entry *se, const char *root)
{
    struct cb_entry e = *se->e;
    relink(&e, se, root);
    if (se->data) {
        e.size = se->data->size;
        e.digest = se->data->digest;
    }
    cb_match_add(m, rel, &e)->se = se;
}

static void add_subtree(struct cb_stack *s, struct cb_match *m, const char *root, size_t from, size_t to,
                        const struct cb_df_ignore *exclude)
{
    size_t skip = *root ? strlen(root) + 1 : 0;
    for (size_t i = from; i < to; i++) {
        const struct cb_stack_entry *se = cb_stack_at(s, i);
        const char *rel = se->e->path + skip;
        if (!cb_df_ignored(exclude, rel))
            add_entry(m, rel, se, root);
    }
}

static int select_path(struct cb_stack *s, const char *path, bool wildcard, const struct cb_df_ignore *exclude,
                       struct cb_selection *out, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_stack_entry *hit;
    int r = cb_stack_resolve(s, path, CB_FOLLOW_ALL, &real, &hit, err);
    if (r < 0)
        return r;
    if (!hit && real.len)
        return cb_error_set(err, CB_ECONF, "\"/%s\": not found in what it is copied from", path);
    bool dir = !hit || hit->e->type == CB_ENTRY_DIR;
    struct cb_match *m = cb_selection_add(out, real.len ? cb_path_base(path) : "", dir, wildcard);
    if (!hit)
        cb_match_add(m, "", &root_entry);
    else
        add_entry(m, "", hit, real.buf);
    if (!dir)
        return 0;
    size_t at = hit ? cb_stack_lower_bound(s, real.buf) : 0;
    size_t end = hit ? cb_stack_subtree_end(s, at) : cb_stack_count(s);
    add_subtree(s, m, real.buf, hit ? at + 1 : 0, end, exclude);
    return 0;
}

/* All paths of the stack that a pattern matches: a pattern never crosses '/', so only entries of its depth are tried. */
static int select_pattern(struct cb_stack *s, const char *pattern, const struct cb_df_ignore *exclude,
                          struct cb_selection *out, struct cb_error *err)
{
    for (size_t i = 0; i < cb_stack_count(s); i++) {
        bool yes = false;
        int r = cb_df_match(pattern, cb_stack_at(s, i)->e->path, &yes, err);
        if (r == 0 && yes)
            r = select_path(s, cb_stack_at(s, i)->e->path, true, exclude, out, err);
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
    for (size_t i = 0; r == 0 && i < op->sources.n; i++) {
        const char *src = op->sources.v[i];
        r = cb_df_has_wildcard(src) ? select_pattern(stack, src, exclude, out, err)
                                    : select_path(stack, strcmp(src, ".") ? src : "", false, exclude, out, err);
    }
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/select.h"

#include "build/entry_hash.h"
#include "util/alloc.h"

static void item_done(struct cb_item *it)
{
    for (size_t i = 0; i < it->e.n_xattrs; i++) {
        free((void *)(uintptr_t)it->e.xattrs[i].name);
        free((void *)(uintptr_t)it->e.xattrs[i].value);
    }
    free((void *)(uintptr_t)it->e.xattrs);
    free((void *)(uintptr_t)it->e.link);
    free(it->rel);
    free(it->path);
}

void cb_selection_pop(struct cb_selection *s)
{
    struct cb_match *m = &s->v[--s->n];
    for (size_t j = 0; j < m->n; j++)
        item_done(&m->items[j]);
    free(m->items);
    free(m->name);
}

void cb_selection_done(struct cb_selection *s)
{
    while (s->n)
        cb_selection_pop(s);
    free(s->v);
    cb_stack_unref(s->stack);
    *s = (struct cb_selection){ 0 };
}

struct cb_match *cb_selection_add(struct cb_selection *s, const char *name, bool is_dir, bool wildcard)
{
    CB_GROW(s->v, s->n, s->cap);
    s->v[s->n] = (struct cb_match){ .name = cb_strdup(name), .is_dir = is_dir, .wildcard = wildcard };
    return &s->v[s->n++];
}

static const struct cb_xattr *copy_xattrs(const struct cb_xattr *from, size_t n)
{
    if (n == 0)
        return NULL;
    struct cb_xattr *to = cb_calloc(n, sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = (struct cb_xattr){ cb_strdup(from[i].name), cb_memdup(from[i].value, from[i].len), from[i].len };
    return to;
}

struct cb_item *cb_match_add(struct cb_match *m, const char *rel, const struct cb_entry *e)
{
    CB_GROW(m->items, m->n, m->cap);
    struct cb_item *it = &m->items[m->n++];
    *it = (struct cb_item){ .rel = cb_strdup(rel), .e = *e };
    it->e.path = it->rel;
    it->e.link = cb_strdup_or_null(e->link);
    it->e.xattrs = copy_xattrs(e->xattrs, e->n_xattrs);
    it->e.inline_data = NULL;
    return it;
}

void cb_selection_digest(const struct cb_selection *s, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, "cbpush-selection/1");
    for (size_t i = 0; i < s->n; i++) {
        const struct cb_match *m = &s->v[i];
        cb_hasher_field(h, m->name);
        cb_hasher_field_u64(h, m->is_dir);
        cb_hasher_field_u64(h, m->n);
        for (size_t j = 0; j < m->n; j++)
            cb_hash_entry(h, &m->items[j].e);
    }
    cb_hasher_finish(h, out);
}

void cb_match_pop(struct cb_match *m)
{
    item_done(&m->items[--m->n]);
}

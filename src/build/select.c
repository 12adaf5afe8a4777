/* SPDX-License-Identifier: Apache-2.0 */
#include "build/select.h"

#include "build/entry_hash.h"
#include "util/alloc.h"

void cb_item_done(struct cb_item *it)
{
    struct cb_item_more *more = it->se ? NULL : CB_TAKE(cb_item_found(it)->more);
    for (size_t i = 0; more && i < more->n_xattrs; i++) {
        free((void *)(uintptr_t)more->xattrs[i].name);
        free((void *)(uintptr_t)more->xattrs[i].value);
    }
    if (more)
        free(more->xattrs);
    free(more);
}

void cb_selection_pop(struct cb_selection *s)
{
    struct cb_match *m = &s->v[--s->n];
    for (size_t j = 0; j < m->n; j++)
        cb_item_done(m->items[j]);
    for (size_t j = 0; j < m->n_arenas; j++)
        cb_arena_done(&m->arenas[j]);
    free(m->arenas);
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

struct cb_item *cb_item_new(struct cb_arena *a)
{
    struct cb_context_item *it = cb_arena_alloc(a, sizeof *it);
    *it = (struct cb_context_item){ 0 };
    return &it->item;
}

struct cb_item_more *cb_item_more(struct cb_item *it)
{
    if (!cb_item_found(it)->more)
        cb_item_found(it)->more = CB_NEW(struct cb_item_more);
    return cb_item_found(it)->more;
}

void cb_match_take(struct cb_match *m, struct cb_item *it)
{
    CB_GROW(m->items, m->n, m->cap);
    m->items[m->n++] = it;
}

void cb_match_take_arena(struct cb_match *m, struct cb_arena *a)
{
    m->arenas = cb_reallocarray(m->arenas, m->n_arenas + 1, sizeof *m->arenas);
    m->arenas[m->n_arenas++] = *a;
    *a = (struct cb_arena){ 0 };
}

static struct cb_arena *arena_of(struct cb_match *m)
{
    if (!m->n_arenas)
        cb_match_take_arena(m, &(struct cb_arena){ 0 });
    return &m->arenas[0];
}

struct cb_item *cb_match_add(struct cb_match *m, const char *rel, const struct cb_entry *e)
{
    struct cb_item *it = cb_item_new(arena_of(m));
    it->rel = rel;
    it->link = e->link;
    it->type = (uint8_t)e->type;
    it->mode = (uint16_t)e->mode;
    *cb_item_found(it) = (struct cb_found){ .mtime = e->mtime, .size = e->size, .digest = e->digest };
    cb_match_take(m, it);
    return it;
}

struct cb_item *cb_match_add_se(struct cb_match *m, const char *rel, const struct cb_stack_entry *se)
{
    struct cb_item *it = cb_arena_alloc(arena_of(m), sizeof *it);
    *it = (struct cb_item){ .rel = rel, .link = se->e->link, .se = se, .type = (uint8_t)se->e->type,
                            .mode = (uint16_t)se->e->mode };
    cb_match_take(m, it);
    return it;
}

void cb_item_set_xattrs(struct cb_item *it, const struct cb_xattr *v, uint32_t n)
{
    if (n == 0)
        return;
    struct cb_item_more *more = cb_item_more(it);
    more->xattrs = cb_calloc(n, sizeof *more->xattrs);
    more->n_xattrs = n;
    for (size_t i = 0; i < n; i++)
        more->xattrs[i] = (struct cb_xattr){ cb_strdup(v[i].name), cb_memdup(v[i].value, v[i].len), v[i].len };
}

static struct cb_entry entry_found(const struct cb_found *f)
{
    static const struct cb_item_more none;
    const struct cb_item_more *more = f->more ? f->more : &none;
    return (struct cb_entry){ .dev_major = more->dev_major, .dev_minor = more->dev_minor, .xattrs = more->xattrs,
                              .n_xattrs = more->n_xattrs, .mtime = f->mtime, .size = f->size, .digest = f->digest };
}

void cb_item_entry(const struct cb_item *it, struct cb_entry *out)
{
    *out = it->se ? *it->se->e : entry_found(cb_item_found(it));
    out->path = it->rel;
    out->type = (enum cb_entry_type)it->type;
    out->mode = it->mode;
    out->link = it->link;
    out->inline_data = NULL;
    if (it->se && it->se->data) {
        out->size = it->se->data->size;
        out->digest = it->se->data->digest;
    }
}

void cb_selection_digest(const struct cb_selection *s, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_entry e;
    cb_hasher_field(h, "cbpush-selection/2");
    for (size_t i = 0; i < s->n; i++) {
        const struct cb_match *m = &s->v[i];
        cb_hasher_field(h, m->name);
        cb_hasher_field_u64(h, m->is_dir);
        cb_hasher_field_u64(h, m->n);
        for (size_t j = 0; j < m->n; j++) {
            cb_item_entry(m->items[j], &e);
            cb_hash_entry(h, &e);
            cb_hasher_field_u64(h, m->items[j]->on_the_way);
        }
    }
    cb_hasher_finish(h, out);
}

/* ---- filters ---- */

size_t cb_copy_plain_prefix(const char *pattern)
{
    size_t n = 0;
    for (;;) {
        const char *end = strchrnul(pattern + n, '/');
        cb_autofree char *component = cb_strndup(pattern + n, (size_t)(end - pattern) - n);
        if (!*end || cb_df_has_wildcard(component))
            return n;
        n = (size_t)(end - pattern) + 1;
    }
}

const char *cb_copy_below(const struct cb_copy_op *op, size_t i)
{
    return i < op->below.n ? op->below.v[i] : NULL;
}

int cb_filter_open(struct cb_filter *f, const struct cb_copy_op *op, const char *below, struct cb_error *err)
{
    struct cb_strvec rules cb_cleanup_strvec = CB_STRVEC_INIT;
    if (below) {
        cb_strvec_push(&rules, "**");
        cb_strvec_pushf(&rules, "!%s", below);
    }
    if (below && !(f->parents = cb_df_ignore_from_patterns(&rules, err)))
        return -CB_ECONF;
    if (op->exclude.n && !(f->exclude = cb_df_ignore_from_patterns(&op->exclude, err)))
        return -CB_ECONF;
    return 0;
}

void cb_filter_done(struct cb_filter *f)
{
    cb_df_ignore_free(f->exclude);
    cb_df_ignore_free(f->parents);
    *f = (struct cb_filter){ 0 };
}

bool cb_filter_leaves_out(const struct cb_filter *f, const char *rel)
{
    return f && (cb_df_ignored(f->exclude, rel) || cb_df_ignored(f->parents, rel));
}

bool cb_filter_may_take(const struct cb_filter *f, const char *rel)
{
    return (!cb_df_ignored(f->exclude, rel) || cb_df_ignore_may_reinclude(f->exclude, rel)) &&
           (!cb_df_ignored(f->parents, rel) || cb_df_ignore_may_reinclude(f->parents, rel));
}

void cb_match_pop(struct cb_match *m)
{
    cb_item_done(m->items[--m->n]);
}

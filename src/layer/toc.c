/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/toc.h"

#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/limits.h"

/* The end sorts first, then '/', then every other byte. */
static unsigned rank_of(unsigned char c)
{
    return c == 0 ? 0 : c == '/' ? 1 : c + 1u;
}

int cb_entry_path_cmp(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] == b[i]) {
        if (!a[i])
            return 0;
        i++;
    }
    return rank_of((unsigned char)a[i]) < rank_of((unsigned char)b[i]) ? -1 : 1;
}

static int mark_rank(enum cb_entry_type t)
{
    return t == CB_ENTRY_WHITEOUT ? 0 : t == CB_ENTRY_OPAQUE ? 1 : 2;
}

int cb_entry_cmp(const struct cb_entry *a, const struct cb_entry *b)
{
    int c = cb_entry_path_cmp(a->path, b->path);
    return c ? c : mark_rank(a->type) - mark_rank(b->type);
}

bool cb_path_is_below(const char *path, const char *dir, size_t dirlen)
{
    return strncmp(path, dir, dirlen) == 0 && path[dirlen] == '/';
}

static const struct cb_xattr *copy_xattrs(struct cb_arena *a, const struct cb_xattr *v, size_t n)
{
    if (!n)
        return NULL;
    struct cb_xattr *to = cb_arena_alloc(a, n * sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = (struct cb_xattr){
            .name = cb_arena_strndup(a, v[i].name, strlen(v[i].name)),
            .value = cb_arena_strndup(a, v[i].value, v[i].len),
            .len = v[i].len,
        };
    return to;
}

struct cb_entry cb_entry_copy(struct cb_arena *a, const struct cb_entry *e)
{
    struct cb_entry to = *e;
    to.path = cb_arena_strndup(a, e->path, strlen(e->path));
    to.link = e->link ? cb_arena_strndup(a, e->link, strlen(e->link)) : NULL;
    to.xattrs = copy_xattrs(a, e->xattrs, e->n_xattrs);
    to.inline_data = e->inline_data ? cb_arena_strndup(a, e->inline_data, e->size) : NULL;
    return to;
}

struct cb_toc *cb_toc_take(struct cb_entry *v, size_t n, struct cb_arena *arena)
{
    struct cb_toc *t = CB_NEW(struct cb_toc);
    atomic_init(&t->refs, 1);
    t->v = v;
    t->n = n;
    t->arena = *arena;
    *arena = (struct cb_arena){ 0 };
    return t;
}

struct cb_toc *cb_toc_ref(struct cb_toc *t)
{
    if (t)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void cb_toc_unref(struct cb_toc *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    cb_toc_unref(t->base);
    free(t->v);
    cb_arena_done(&t->arena);
    free(t);
}

struct cb_toc *cb_toc_with_sums(struct cb_toc *t, const struct cb_sum *v)
{
    struct cb_arena none = { 0 };
    struct cb_entry *to = t->n ? cb_reallocarray(NULL, t->n, sizeof *to) : NULL;
    for (size_t i = 0; i < t->n; i++) {
        to[i] = t->v[i];
        to[i].digest = v[i];
    }
    struct cb_toc *made = cb_toc_take(to, t->n, &none);
    made->base = cb_toc_ref(t);
    return made;
}

size_t cb_toc_count(const struct cb_toc *t)
{
    return t->n;
}

const struct cb_entry *cb_toc_at(const struct cb_toc *t, size_t i)
{
    return i < t->n ? &t->v[i] : NULL;
}

size_t cb_toc_lower_bound(const struct cb_toc *t, const char *path)
{
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cb_entry_path_cmp(t->v[mid].path, path) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct cb_entry *cb_toc_find(const struct cb_toc *t, const char *path)
{
    for (size_t i = cb_toc_lower_bound(t, path); i < t->n && cb_streq(t->v[i].path, path); i++)
        if (!cb_entry_is_mark(&t->v[i]))
            return &t->v[i];
    return NULL;
}

/* Where other distributions keep what /etc/passwd is a link to: in the Nix store, beside the base system. */
static bool is_linked_database(const char *path)
{
    if (cb_streq(path, "usr/lib/passwd") || cb_streq(path, "usr/lib/group") || cb_streq(path, "usr/etc/passwd") ||
        cb_streq(path, "usr/etc/group"))
        return true;
    return cb_starts_with(path, "nix/store/") && (cb_ends_with(path, "passwd") || cb_ends_with(path, "group"));
}

bool cb_toc_wants_inline(const char *path, uint64_t size)
{
    if (cb_streq(path, "etc/passwd") || cb_streq(path, "etc/group"))
        return size <= CB_MAX_PASSWD;
    return size <= (16u << 10) && is_linked_database(path);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/stack.h"

#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/limits.h"

/* What no layer lists as it is: a directory that must be there, or what a link into a lower layer is. Shared by every
 * stack that came from the one that made it. */
struct implied {
    atomic_size_t refs;
    struct cb_entry e;
    char path[];
};

struct cb_stack {
    atomic_size_t refs;
    struct cb_toc **tocs;
    size_t n_tocs;
    struct cb_stack_entry *v;
    size_t n, cap;
    struct implied **implied;
    size_t n_implied, cap_implied;
};

struct cb_stack *cb_stack_ref(struct cb_stack *s)
{
    if (s)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void cb_stack_unref(struct cb_stack *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->n_tocs; i++)
        cb_toc_unref(s->tocs[i]);
    for (size_t i = 0; i < s->n_implied; i++)
        if (atomic_fetch_sub_explicit(&s->implied[i]->refs, 1, memory_order_acq_rel) == 1)
            free(s->implied[i]);
    free(s->tocs);
    free(s->implied);
    free(s->v);
    free(s);
}

size_t cb_stack_layers(const struct cb_stack *s)
{
    return s->n_tocs;
}

struct cb_toc *cb_stack_toc(const struct cb_stack *s, size_t layer)
{
    return layer < s->n_tocs ? s->tocs[layer] : NULL;
}

size_t cb_stack_count(const struct cb_stack *s)
{
    return s->n;
}

const struct cb_stack_entry *cb_stack_at(const struct cb_stack *s, size_t i)
{
    return i < s->n ? &s->v[i] : NULL;
}

static size_t bound_in(const struct cb_stack *s, size_t lo, size_t hi, const char *path)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cb_entry_path_cmp(s->v[mid].e->path, path) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t cb_stack_lower_bound(const struct cb_stack *s, const char *path)
{
    return bound_in(s, 0, s->n, path);
}

/* The same from lo on, where the answer is likely to be near: doubling steps first. */
static size_t bound_near(const struct cb_stack *s, size_t lo, const char *path)
{
    size_t step = 1;
    while (lo + step < s->n && cb_entry_path_cmp(s->v[lo + step].e->path, path) < 0) {
        lo += step;
        step *= 2;
    }
    return bound_in(s, lo, CB_MIN(lo + step, s->n), path);
}

static bool has_at(const struct cb_stack *s, size_t i, const char *path)
{
    return i < s->n && cb_streq(s->v[i].e->path, path);
}

const struct cb_stack_entry *cb_stack_find(const struct cb_stack *s, const char *path)
{
    size_t i = bound_in(s, 0, s->n, path);
    return has_at(s, i, path) ? &s->v[i] : NULL;
}

static int find_in_stack(void *arg, const char *path, const struct cb_stack_entry **hit, CB_UNUSED struct cb_error *err)
{
    *hit = cb_stack_find(arg, path);
    return 0;
}

struct cb_finder cb_stack_finder(const struct cb_stack *s)
{
    return (struct cb_finder){ find_in_stack, (void *)(uintptr_t)s };
}

/* First index ≥ lo whose path is not below dir; everything below it starts at lo. */
static size_t below_end(const struct cb_stack *s, size_t lo, const char *dir)
{
    size_t hi = s->n, len = strlen(dir);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cb_path_is_below(s->v[mid].e->path, dir, len))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t cb_stack_subtree_end(const struct cb_stack *s, size_t i)
{
    return i < s->n ? below_end(s, i + 1, s->v[i].e->path) : s->n;
}

/* ---- one layer on top of a view ---- */

struct merge {
    const struct cb_stack *base;
    struct cb_stack *out;
    const struct cb_toc *on;
    size_t layer;       /* of `on` */
    size_t at;          /* next entry of base */
    size_t hidden_to;   /* entries of base before this are hidden */
    struct cb_slice parent; /* the last directory that ensure_parent saw to */
};

static void append(struct cb_stack *s, struct cb_stack_entry e)
{
    CB_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = e;
}

static void copy_base(struct merge *m, size_t to)
{
    size_t from = CB_MAX(m->at, m->hidden_to);
    m->at = CB_MAX(m->at, to);
    if (from >= to)
        return;
    size_t n = to - from;
    if (m->out->cap - m->out->n < n) {
        m->out->cap = CB_MAX(m->out->cap * 2, m->out->n + n);
        m->out->v = cb_reallocarray(m->out->v, m->out->cap, sizeof *m->out->v);
    }
    memcpy(m->out->v + m->out->n, m->base->v + from, n * sizeof *m->out->v);
    m->out->n += n;
}

static void keep_implied(struct cb_stack *s, struct implied *d)
{
    CB_GROW(s->implied, s->n_implied, s->cap_implied);
    s->implied[s->n_implied++] = d;
}

static const struct cb_entry *imply(struct merge *m, const struct cb_entry *e, const char *path, size_t len)
{
    struct implied *d = cb_calloc(1, sizeof *d + len + 1);
    atomic_init(&d->refs, 1);
    memcpy(d->path, path, len);
    d->e = *e;
    d->e.path = d->path;
    keep_implied(m->out, d);
    return &d->e;
}

static struct cb_stack_entry imply_dir(struct merge *m, const char *path, size_t len)
{
    static const struct cb_entry dir = { .type = CB_ENTRY_DIR, .mode = 0755 };
    return (struct cb_stack_entry){ .e = imply(m, &dir, path, len), .layer = m->layer };
}

/* One directory whose parents are there. False where this very layer says that it is something else. */
static bool ensure_one(struct merge *m, const char *path)
{
    size_t i = bound_in(m->out, 0, m->out->n, path);
    if (!has_at(m->out, i, path)) {
        append(m->out, imply_dir(m, path, strlen(path)));
        return true;
    }
    if (m->out->v[i].e->type == CB_ENTRY_DIR)
        return true;
    if (m->out->v[i].layer == m->layer)
        return false;
    m->out->v[i] = imply_dir(m, path, strlen(path));
    return true;
}

/* Sees to it that path is a directory of the view. What base has before it has been copied, so a new one goes to the
 * end. */
static bool ensure_dir(struct merge *m, const char *path, size_t len)
{
    char name[CB_MAX_PATH + 1];
    if (len > CB_MAX_PATH)
        return false;
    memcpy(name, path, len);
    name[len] = '\0';
    size_t i = bound_in(m->out, 0, m->out->n, name);
    if (has_at(m->out, i, name) && m->out->v[i].e->type == CB_ENTRY_DIR)
        return true;
    for (char *p = strchr(name, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        bool ok = ensure_one(m, name);
        *p = '/';
        if (!ok)
            return false;
    }
    return ensure_one(m, name);
}

static bool ensure_parent(struct merge *m, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (!len || (len == m->parent.len && memcmp(path, m->parent.ptr, len) == 0))
        return true;
    if (!ensure_dir(m, path, len))
        return false;
    m->parent = (struct cb_slice){ path, len };
    return true;
}

static void hide(struct merge *m, size_t to)
{
    m->hidden_to = CB_MAX(m->hidden_to, to);
}

static void find_data(struct merge *m, struct cb_stack_entry *se)
{
    if (se->e->type == CB_ENTRY_FILE) {
        se->data = se->e;
        se->data_layer = se->layer;
        return;
    }
    if (se->e->type != CB_ENTRY_HARDLINK)
        return;
    /* Without a digest the layer had no such file when the link was made: what it has had since is another one. */
    const struct cb_entry *to = se->e->digest.known ? cb_toc_find(m->on, se->e->link) : NULL;
    if (to && to->type == CB_ENTRY_FILE) {
        se->data = to;
        se->data_layer = m->layer;
        return;
    }
    const struct cb_stack_entry *lower = to ? NULL : cb_stack_find(m->base, se->e->link);
    if (!lower || (!lower->data && !cb_entry_is_node(lower->e)))
        return;
    struct cb_entry linked = cb_entry_linked(lower->e, se->e);
    se->e = imply(m, &linked, se->e->path, strlen(se->e->path));
    se->data = lower->data;
    se->data_layer = lower->data_layer;
}

static void apply_mark(struct merge *m, const struct cb_entry *e, size_t i)
{
    bool there = has_at(m->base, i, e->path);
    if (e->type == CB_ENTRY_WHITEOUT) {
        ensure_parent(m, e->path);
        hide(m, below_end(m->base, i + there, e->path));
        return;
    }
    if (there)
        copy_base(m, i + 1);
    ensure_dir(m, e->path, strlen(e->path));
    hide(m, below_end(m->base, i + there, e->path));
}

static void apply_entry(struct merge *m, const struct cb_entry *e, size_t i)
{
    bool there = has_at(m->base, i, e->path);
    struct cb_stack_entry se = { .e = e, .layer = m->layer };
    if (!ensure_parent(m, e->path))
        return;
    find_data(m, &se);
    /* An opaque mark of the same layer has put the directory in already. */
    if (m->out->n && cb_streq(m->out->v[m->out->n - 1].e->path, e->path))
        m->out->n--;
    append(m->out, se);
    if (e->type != CB_ENTRY_DIR)
        hide(m, below_end(m->base, i + there, e->path));
    else
        hide(m, i + there);
}

static void merge_layer(struct merge *m)
{
    for (size_t k = 0; k < m->on->n; k++) {
        const struct cb_entry *e = &m->on->v[k];
        size_t i = bound_near(m->base, m->at, e->path);
        copy_base(m, i);
        if (cb_entry_is_mark(e))
            apply_mark(m, e, i);
        else
            apply_entry(m, e, i);
    }
    copy_base(m, m->base->n);
}

static struct cb_stack *empty_stack(void)
{
    struct cb_stack *s = CB_NEW(struct cb_stack);
    atomic_init(&s->refs, 1);
    return s;
}

struct cb_stack *cb_stack_push(const struct cb_stack *base, struct cb_toc *on)
{
    struct cb_stack *s = empty_stack();
    s->tocs = cb_reallocarray(NULL, base->n_tocs + 1, sizeof(struct cb_toc *));
    for (size_t i = 0; i < base->n_tocs; i++)
        s->tocs[i] = cb_toc_ref(base->tocs[i]);
    s->tocs[base->n_tocs] = cb_toc_ref(on);
    s->n_tocs = base->n_tocs + 1;
    for (size_t i = 0; i < base->n_implied; i++) {
        atomic_fetch_add_explicit(&base->implied[i]->refs, 1, memory_order_relaxed);
        keep_implied(s, base->implied[i]);
    }
    s->cap = base->n + on->n;
    s->v = s->cap ? cb_reallocarray(NULL, s->cap, sizeof *s->v) : NULL;
    struct merge m = { .base = base, .out = s, .on = on, .layer = base->n_tocs };
    merge_layer(&m);
    return s;
}

struct cb_stack *cb_stack_new(struct cb_toc *const *tocs, size_t n)
{
    struct cb_stack *s = empty_stack();
    for (size_t i = 0; i < n; i++) {
        struct cb_stack *next = cb_stack_push(s, tocs[i]);
        cb_stack_unref(s);
        s = next;
    }
    return s;
}

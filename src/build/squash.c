/* SPDX-License-Identifier: Apache-2.0 */
/* --squash: the layers of this build merged into one, those of the parent image left as they are; --squash-all: all. */
#include "build/failed.h"
#include "build/internal.h"
#include "util/alloc.h"
#include "util/hashmap.h"

struct item {
    struct cb_entry e;
    const struct cb_stack_entry *from; /* whose bytes it has, or NULL */
};
struct squash {
    struct cb_build *b;
    struct cb_solved *made;     /* of one platform */
    struct cb_step *step;
    size_t kept;                /* layers below, which stay */
    struct cb_stack *all, *below;
    struct item *v;
    size_t n, cap;
    struct cb_layer *layers;
    size_t n_layers;
    struct cb_files *files;
};

static void squash_done(struct squash *q)
{
    cb_files_free(q->files);
    for (size_t i = 0; q->layers && i < q->n_layers; i++)
        cb_layer_done(&q->layers[i]);
    free(q->layers);
    free(q->v);
    cb_stack_unref(q->all);
    cb_stack_unref(q->below);
}

static void add(struct squash *q, const struct cb_entry *e, enum cb_entry_type type, const struct cb_stack_entry *from)
{
    CB_GROW(q->v, q->n, q->cap);
    q->v[q->n] = (struct item){ .e = *e, .from = from };
    q->v[q->n++].e.type = type;
}

/* ---- what the one layer holds ---- */

/* The first path in order carries the bytes, the others become links to it, whatever the layers did: the file that a
 * link names may have become another one since, or lie below. */
static void add_entry(struct squash *q, struct cb_hashmap *first, const struct cb_stack_entry *se)
{
    char key[32];
    snprintf(key, sizeof key, "%p", (const void *)se->data);
    const char *to = se->data ? cb_hashmap_get(first, key) : NULL;
    bool file = se->data && !to;
    add(q, se->e, to ? CB_ENTRY_HARDLINK : file ? CB_ENTRY_FILE : se->e->type, file ? se : NULL);
    struct cb_entry *e = &q->v[q->n - 1].e;
    if (to)
        e->link = to;
    if (!file)
        return;
    e->link = NULL;
    e->size = se->data->size;
    cb_hashmap_put(first, key, (void *)(uintptr_t)e->path);
}

static int add_new(struct squash *q, struct cb_error *err)
{
    int r = 0;
    struct cb_hashmap *first = cb_hashmap_new(); /* address of the bytes' entry → path */
    for (size_t i = 0; r == 0 && i < cb_stack_count(q->all); i++) {
        const struct cb_stack_entry *se = cb_stack_at(q->all, i);
        if (se->layer < q->kept)
            continue;
        if (se->e->type == CB_ENTRY_HARDLINK && !se->data)
            r = cb_error_set(err, CB_EVERIFY, "%s is a hard link to %s, which is no file of its layer or one below",
                             se->e->path, se->e->link);
        else
            add_entry(q, first, se);
    }
    cb_hashmap_free(first);
    return r;
}

/* Of what is gone only the topmost: what was below it goes with it, as it does below a directory that became a file. */
static void add_removed(struct squash *q)
{
    for (size_t i = 0; i < cb_stack_count(q->below);) {
        const struct cb_stack_entry *old = cb_stack_at(q->below, i);
        const struct cb_stack_entry *now = cb_stack_find(q->all, old->e->path);
        if (!now) {
            struct cb_entry gone = { .path = old->e->path, .type = CB_ENTRY_WHITEOUT };
            add(q, &gone, CB_ENTRY_WHITEOUT, NULL);
        }
        bool dir = old->e->type == CB_ENTRY_DIR;
        i = dir && (!now || now->e->type != CB_ENTRY_DIR) ? cb_stack_subtree_end(q->below, i) : i + 1;
    }
}

static int by_path(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    bool x_link = x->e.type == CB_ENTRY_HARDLINK, y_link = y->e.type == CB_ENTRY_HARDLINK;
    return x_link != y_link ? x_link - y_link : cb_entry_path_cmp(x->e.path, y->e.path);
}

static int collect(struct squash *q, struct cb_error *err)
{
    add_removed(q);
    int r = add_new(q, err);
    if (r == 0 && q->n)
        qsort(q->v, q->n, sizeof *q->v, by_path);
    return r;
}

/* ---- writing it ---- */

static int open_files(struct squash *q, struct cb_error *err)
{
    const struct cb_stack_entry **wanted = cb_calloc(q->n + 1, sizeof *wanted);
    size_t n = 0;
    q->n_layers = q->made->n;
    q->layers = cb_calloc(q->n_layers + 1, sizeof *q->layers);
    for (size_t i = 0; i < q->n_layers; i++)
        cb_slot_layer(q->made->layers[i], &q->layers[i]);
    for (size_t i = 0; i < q->n; i++)
        if (q->v[i].from)
            wanted[n++] = q->v[i].from;
    struct cb_files_options o = { .store = q->b->env->store, .stack = q->all, .layers = q->layers, .wanted = wanted,
                                  .n_wanted = n, .cancel = q->b->cancel };
    int r = cb_files_open(&o, &q->files, err);
    free(wanted);
    return r;
}

static int write_entries(struct squash *q, struct cb_layer_writer *w, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < q->n; i++) {
        cb_autosource struct cb_blob_source *data = NULL;
        r = cb_cancel_check(q->b->cancel, err);
        if (r == 0 && q->v[i].from)
            r = cb_files_source(q->files, q->v[i].from, &data, err);
        if (r == 0)
            r = cb_layer_writer_add(w, &q->v[i].e, data, err);
        if (r < 0)
            cb_error_wrap(err, "/%s", q->v[i].e.path);
    }
    return r;
}

static int write_layer(struct squash *q, struct cb_slot **out, struct cb_error *err)
{
    struct cb_solver *s = &q->b->solver;
    struct cb_layer layer cb_cleanup_layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    cb_autosink struct cb_blob_sink *sink = NULL;
    int r = cb_store_blob_sink_known(s->env->store, &sink, err);
    if (r < 0)
        return r;
    struct cb_layer_write_options wo = cb_solver_write_options(s, NULL, sink);
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, err);
    if (!w)
        return cb_failed(err);
    r = write_entries(q, w, err);
    if (r == 0)
        r = cb_layer_writer_finish(w, &layer, &toc, err);
    if (r == 0)
        r = cb_solver_keep_layer(s, &layer, toc, err);
    if (r == 0)
        *out = cb_slots_made(s->slots, &layer, toc);
    return r;
}

static int merge(struct squash *q, struct cb_error *err)
{
    struct cb_slots *slots = q->b->slots;
    struct cb_solved *m = q->made;
    struct cb_slot *one = NULL;
    int r = cb_slots_need(slots, m->layers, m->n, CB_NEED_TOC, q->step, err);
    if (r == 0)
        r = cb_slots_need(slots, m->layers + q->kept, m->n - q->kept, CB_NEED_DATA, q->step, err);
    if (r < 0)
        return r;
    q->all = cb_slots_stack(slots, m->layers, m->n);
    q->below = cb_slots_stack(slots, m->layers, q->kept);
    r = collect(q, err);
    if (r == 0 && q->n)
        r = open_files(q, err);
    if (r == 0 && q->n)
        r = write_layer(q, &one, err);
    if (r < 0)
        return r;
    m->n = q->kept;
    if (one)
        m->layers[m->n++] = one;
    return 0;
}

static int squash_image(struct cb_build *b, size_t index, struct cb_error *err)
{
    const struct cb_plan_source *base = b->plan.images[index].base;
    struct squash q CB_CLEANUP(squash_done) = { .b = b, .made = &b->solver.images[index] };
    q.kept = !b->o->squash_all && base ? base->image.manifest.n_layers : 0;
    if (q.made->n <= q.kept + 1)
        return 0;
    q.step = cb_step_new(b->env->progress, "squashing layers");
    cb_step_begin(q.step);
    int r = merge(&q, err);
    if (r < 0) {
        cb_error_wrap(err, "squash");
        cb_step_error(q.step, cb_error_text(err));
    } else {
        cb_step_done(q.step);
    }
    return r;
}

int cb_build_squash(struct cb_build *b, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && (b->o->squash || b->o->squash_all) && i < b->plan.n_images; i++)
        r = squash_image(b, i, err);
    return r;
}

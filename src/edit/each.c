/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "edit/private.h"
#include "util/alloc.h"
#include "util/thread.h"

#define SIDE_BY_SIDE 4

struct each {
    int (*job)(void *arg, size_t i, struct cb_error *err);
    void *arg;
    const struct cb_cancel *cancel;
    atomic_bool failed;
};
struct one {
    struct each *each;
    size_t i;
    int r;
    struct cb_error err;
};

static void run_one(void *arg)
{
    struct one *o = arg;
    struct each *e = o->each;
    if (atomic_load(&e->failed))
        return;
    o->r = cb_cancel_check(e->cancel, &o->err);
    if (o->r == 0)
        o->r = e->job(e->arg, o->i, &o->err);
    if (o->r < 0)
        atomic_store(&e->failed, true);
}

int cb_edit_each(const struct cb_edit_env *env, size_t n, int (*job)(void *arg, size_t i, struct cb_error *err),
                 void *arg, struct cb_error *err)
{
    struct each e = { .job = job, .arg = arg, .cancel = env->cancel };
    struct one *v = cb_calloc(n + 1, sizeof *v);
    struct cb_pool *pool = cb_pool_new("edit", SIDE_BY_SIDE);
    int r = 0;
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct one){ .each = &e, .i = i };
        cb_pool_submit(pool, run_one, &v[i]);
    }
    cb_pool_free(pool);
    for (size_t i = 0; i < n; i++) {
        if (r == 0 && v[i].r < 0)
            r = cb_error_move(err, &v[i].err);
        cb_error_done(&v[i].err);
    }
    free(v);
    return r;
}

/* ---- a source that is watched ---- */

#define TELL_EVERY (256u << 10)

struct watched {
    struct cb_blob_source base;
    struct cb_blob_source *inner;
    struct cb_step *step;
    char id[32];
    uint64_t n, told, total;
};

static int watched_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct watched *w = (struct watched *)b;
    int r = cb_blob_read(w->inner, buf, n, got, err);
    if (r < 0)
        return r;
    w->n += *got;
    if (*got == 0)
        cb_step_status_done(w->step, w->id);
    else if (w->n - w->told >= TELL_EVERY)
        cb_step_status(w->step, w->id, w->told = w->n, w->total);
    return 0;
}

static void watched_close(struct cb_blob_source *b)
{
    struct watched *w = (struct watched *)b;
    w->inner->ops->close(w->inner);
    free(w);
}

struct cb_blob_source *cb_edit_watched(struct cb_blob_source *src, struct cb_step *step, const struct cb_descriptor *d)
{
    static const struct cb_blob_source_ops ops = { watched_read, watched_close };
    struct watched *w = CB_NEW(struct watched);
    char text[CB_DIGEST_TEXT_MAX];
    w->base.ops = &ops;
    w->inner = src;
    w->step = step;
    w->total = d->size;
    snprintf(w->id, sizeof w->id, "%.19s", cb_digest_text(&d->digest, text));
    cb_step_status(step, w->id, 0, d->size);
    return &w->base;
}

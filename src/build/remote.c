/* SPDX-License-Identifier: Apache-2.0 */
/* Files and repositories that a build fetches: what they are now, and how they become layers. */
#include <fcntl.h>

#include "build/failed.h"
#include "build/solve.h"
#include "util/alloc.h"
#include "util/thread.h"

#define RESOLVERS 8 /* at a time */

static int git_resolve(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_fetcher f = cb_fetcher_of(s->env, s->o);
    v->remote.commit = cb_git_resolve(&f, &v->remote.git, v->step, &v->remote.authorized, err);
    return v->remote.commit ? 0 : cb_failed(err);
}

struct job {
    struct cb_solver *s;
    struct cb_vertex *v;
    int result;
    struct cb_error err;
};

static void resolve_one(void *arg)
{
    struct job *j = arg;
    bool http = j->v->kind == CB_VERTEX_HTTP;
    cb_step_begin(j->v->step);
    j->result = http ? cb_http_resolve(j->s, j->v, &j->err) : git_resolve(j->s, j->v, &j->err);
    if (j->result == -CB_ECANCELED)
        cb_step_canceled(j->v->step);
    else if (j->result < 0)
        cb_step_error(j->v->step, cb_error_text(&j->err));
    if (j->result < 0)
        cb_cancel_trigger(j->s->cancel, 0);
}

/* What was only given up because of another says nothing; NULL: all are there. */
static struct job *first_failed(struct job *jobs, size_t n)
{
    struct job *failed = NULL;
    for (size_t i = 0; i < n; i++)
        if (jobs[i].result < 0 &&
            (!failed || (failed->result == -CB_ECANCELED && jobs[i].result != -CB_ECANCELED)))
            failed = &jobs[i];
    return failed;
}

int cb_remotes_resolve(struct cb_solver *s, struct cb_vertex **failed, struct cb_error *err)
{
    struct job *jobs = cb_calloc(s->plan->n + 1, sizeof *jobs);
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (v->kind == CB_VERTEX_HTTP || v->kind == CB_VERTEX_GIT)
            jobs[n++] = (struct job){ .s = s, .v = v };
    }
    struct cb_pool *pool = n > 1 ? cb_pool_new("remote", (unsigned)CB_MIN(n, (size_t)RESOLVERS)) : NULL;
    for (size_t i = 0; i < n; i++)
        if (pool)
            cb_pool_submit(pool, resolve_one, &jobs[i]);
        else
            resolve_one(&jobs[i]);
    cb_pool_free(pool);
    struct job *first = first_failed(jobs, n);
    if (first) {
        r = cb_error_move(err, &first->err);
        *failed = first->v;
    }
    for (size_t i = 0; i < n; i++)
        cb_error_done(&jobs[i].err);
    free(jobs);
    return r;
}

static void set_times(struct cb_selection *sel, int64_t mtime)
{
    for (size_t i = 0; mtime != INT64_MAX && i < sel->n; i++)
        for (size_t k = 0; k < sel->v[i].n; k++)
            cb_item_found(sel->v[i].items[k])->mtime = mtime;
}

int cb_remote_place(struct cb_solver *s, struct cb_vertex *v, int dirfd, int64_t mtime, struct cb_error *err)
{
    CB_AUTO(cb_context_free) struct cb_context *context = cb_context_from_fd(dirfd, NULL);
    struct cb_selection *sel = &v->state->selection;
    int r = cb_context_select(context, &v->copy, s->env, sel, err);
    set_times(sel, mtime);
    if (r == 0)
        r = cb_op_copy.execute(s, v, err);
    cb_selection_done(sel);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Parent images: those that FROM and --from name, resolved all at once. */
#include <pthread.h>

#include "build/plan_private.h"
#include "util/alloc.h"
#include "util/thread.h"

#define RESOLVERS 16 /* at a time */

struct cb_plan_source *plan_source(struct planner *p, const struct plan_source_name *name, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_plan *plan = p->plan;
    if (cb_reference_parse(&ref, name->text, err) < 0) {
        if (err)
            err->code = CB_ECONF;
        return NULL;
    }
    cb_reference_default_tag(&ref);
    cb_autofree char *text = cb_reference_text(&ref);
    for (size_t i = 0; i < plan->n_sources; i++)
        if (!strcmp(plan->sources[i]->text, text) && cb_platform_eq(&plan->sources[i]->platform, name->platform))
            return plan->sources[i];
    struct cb_plan_source *s = CB_NEW(struct cb_plan_source);
    s->text = cb_strdup(text);
    s->span = name->span;
    cb_reference_copy(&s->ref, &ref);
    cb_platform_copy(&s->platform, name->platform);
    CB_GROW(plan->sources, plan->n_sources, plan->cap_sources);
    plan->sources[plan->n_sources++] = s;
    return s;
}

struct cb_vertex *plan_source_vertex(struct planner *p, struct cb_plan_source *s)
{
    if (!s->vertex) {
        struct cb_vertex *v = plan_vertex(p, CB_VERTEX_SOURCE);
        v->source = s;
        v->span = s->span;
        v->note = cb_asprintf("FROM %s", s->text);
        v->name = cb_strdup(v->note);
        v->step = s->step;
        s->vertex = v;
    }
    return s->vertex;
}

struct group {
    const struct cb_plan_options *o;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    size_t left;
};

struct job {
    struct group *group;
    struct cb_plan_source *source;
};

static void resolve_one(void *arg)
{
    struct job *j = arg;
    struct cb_plan_source *s = j->source;
    struct group *g = j->group;
    cb_step_begin(s->step);
    s->result = g->o->resolve(g->o->resolve_arg, s, &s->err);
    if (s->result < 0)
        cb_step_error(s->step, cb_error_text(&s->err));
    else
        cb_step_done(s->step);
    pthread_mutex_lock(&g->mu);
    if (--g->left == 0)
        pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->mu);
}

static void run_all(struct group *g, struct job *jobs, size_t n)
{
    CB_AUTO(cb_pool_free) struct cb_pool *pool = cb_pool_new("resolve", (unsigned)CB_MIN(n, (size_t)RESOLVERS));
    for (size_t i = 1; i < n; i++)
        cb_pool_submit(pool, resolve_one, &jobs[i]);
    resolve_one(&jobs[0]);
    pthread_mutex_lock(&g->mu);
    while (g->left)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
}

int plan_resolve(struct planner *p, size_t from, struct cb_error *err)
{
    size_t n = p->plan->n_sources - from;
    struct group g = { .o = p->o, .left = n };
    if (n == 0)
        return 0;
    struct job *jobs = cb_calloc(n, sizeof *jobs);
    for (size_t i = 0; i < n; i++) {
        struct cb_plan_source *s = p->plan->sources[from + i];
        cb_autofree char *name = cb_asprintf("[internal] load metadata for %s", s->text);
        s->step = cb_step_new(p->o->progress, name);
        jobs[i] = (struct job){ &g, s };
    }
    pthread_mutex_init(&g.mu, NULL);
    pthread_cond_init(&g.cond, NULL);
    run_all(&g, jobs, n);
    pthread_cond_destroy(&g.cond);
    pthread_mutex_destroy(&g.mu);
    free(jobs);
    for (size_t i = from; i < p->plan->n_sources; i++)
        if (p->plan->sources[i]->result < 0) {
            cb_error_move(err, &p->plan->sources[i]->err);
            return plan_error(p, p->plan->sources[i]->span, err);
        }
    return 0;
}

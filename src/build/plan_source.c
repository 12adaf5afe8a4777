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
        cb_platform_copy(&v->platform, &s->image.config.platform);
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

/* One name, for one platform or several, one after the other. */
struct job {
    struct group *group;
    struct cb_plan_source **v;
    size_t n;
};

/* A lone manifest has no index that would have to have the platform: it is taken, as buildx does. The checks of the
 * Dockerfile tell so, but they look at one platform. */
static void check_platform(const struct cb_plan_source *s)
{
    struct cb_strbuf want cb_cleanup_strbuf = CB_STRBUF_INIT, have cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_platform *is = &s->image.config.platform;
    if (!is->arch || cb_platform_match(&s->platform, is) > 0)
        return;
    cb_strbuf_add_platform(&want, &s->platform);
    cb_strbuf_add_platform(&have, is);
    cb_step_warn(s->step, "%s is for %s, and %s was asked for", s->text, have.buf, want.buf);
}

static void resolve_source(const struct group *g, struct cb_plan_source *s)
{
    cb_step_begin(s->step);
    struct cb_span span cb_cleanup_span = cb_span_begin("resolve", "resolve %s", s->text);
    s->result = g->o->resolve(g->o->resolve_arg, s, &s->err);
    cb_span_digest(&span, "digest", s->result < 0 ? NULL : &s->image.desc.digest);
    cb_span_end(&span);
    if (s->result == 0 && g->o->build->n_platforms > 1)
        check_platform(s);
    if (s->result == 0)
        cb_step_done(s->step);
    else if (s->result == -CB_ECANCELED)
        cb_step_canceled(s->step);
    else
        cb_step_error(s->step, cb_error_text(&s->err));
    if (s->result < 0 && g->o->cancel)
        cb_cancel_trigger(g->o->cancel, 0);
}

/* What the name stood for when it was asked for the first platform is what the others get: a tag that moves meanwhile
 * must not mix two images. */
static void resolve_one(void *arg)
{
    struct job *j = arg;
    struct group *g = j->group;
    for (size_t i = 0; i < j->n; i++) {
        if (i > 0 && j->v[0]->host && cb_digest_is_set(&j->v[0]->top))
            j->v[i]->ref.digest = j->v[0]->top;
        resolve_source(g, j->v[i]);
    }
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

/* Sources from index `from` on, those of one name together; returns the number of jobs. */
static size_t make_jobs(struct planner *p, size_t from, struct group *g, struct job *jobs)
{
    struct cb_plan_source **all = p->plan->sources;
    size_t n = 0;
    for (size_t i = from; i < p->plan->n_sources; i++) {
        size_t k = 0;
        while (k < n && strcmp(jobs[k].v[0]->text, all[i]->text) != 0)
            k++;
        if (k == n)
            jobs[n++] = (struct job){ .group = g };
        jobs[k].v = cb_reallocarray(jobs[k].v, jobs[k].n + 1, sizeof(struct cb_plan_source *));
        jobs[k].v[jobs[k].n++] = all[i];
    }
    return n;
}

static void make_steps(struct planner *p, size_t from)
{
    for (size_t i = from; i < p->plan->n_sources; i++) {
        struct cb_plan_source *s = p->plan->sources[i];
        struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_adds(&name, "[");
        if (p->plan->n_images > 1) {
            cb_strbuf_add_platform(&name, &s->platform);
            cb_strbuf_addch(&name, ' ');
        }
        cb_strbuf_addf(&name, "internal] load metadata for %s", s->text);
        s->step = cb_step_new(p->o->progress, name.buf);
    }
}

/* What was only given up because of another says nothing; NULL: all are there. */
static struct cb_plan_source *first_failed(const struct planner *p, size_t from)
{
    struct cb_plan_source *failed = NULL;
    for (size_t i = from; i < p->plan->n_sources; i++) {
        struct cb_plan_source *s = p->plan->sources[i];
        if (s->result < 0 && (!failed || (failed->result == -CB_ECANCELED && s->result != -CB_ECANCELED)))
            failed = s;
    }
    return failed;
}

int plan_resolve(struct planner *p, size_t from, struct cb_error *err)
{
    struct group g = { .o = p->o };
    size_t n = p->plan->n_sources - from;
    if (n == 0)
        return 0;
    struct job *jobs = cb_calloc(n, sizeof *jobs);
    make_steps(p, from);
    g.left = make_jobs(p, from, &g, jobs);
    size_t n_jobs = g.left;
    pthread_mutex_init(&g.mu, NULL);
    pthread_cond_init(&g.cond, NULL);
    run_all(&g, jobs, n_jobs);
    pthread_cond_destroy(&g.cond);
    pthread_mutex_destroy(&g.mu);
    for (size_t i = 0; i < n_jobs; i++)
        free(jobs[i].v);
    free(jobs);
    struct cb_plan_source *failed = first_failed(p, from);
    if (!failed)
        return 0;
    cb_error_move(err, &failed->err);
    if (failed == p->scanner && !failed->span.first)
        cb_error_wrap(err, "the scanner of the SBOM");
    return plan_error_for(p, &failed->platform, failed->span, err);
}

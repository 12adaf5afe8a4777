/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"

#include "util/alloc.h"
#include "util/limits.h"
#include "util/timeutil.h"

void cb_solve_open(struct cb_solver *s)
{
    s->steps = cb_pool_new("step", s->o->jobs ? s->o->jobs : cb_cpu_count() + 2);
    s->seals = cb_pool_new("seal", 2);
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->cond, NULL);
    s->open = true;
}

/* Under s->mu. What took a RUN an hour is not thrown away because the next one fails while it becomes a layer: that
 * needs nothing but this machine, and is over soon. */
static void give_up(struct cb_solver *s)
{
    if (s->error.code && !s->sealing)
        cb_cancel_trigger(s->cancel, 0);
}

void cb_solver_fail(struct cb_solver *s, struct cb_vertex *v, struct cb_error *e)
{
    pthread_mutex_lock(&s->mu);
    if (!s->error.code) {
        cb_error_move(&s->error, e);
        s->failed = v;
        give_up(s);
    }
    pthread_mutex_unlock(&s->mu);
    cb_error_done(e);
}

void cb_solver_sealed(struct cb_solver *s)
{
    pthread_mutex_lock(&s->mu);
    s->sealing--;
    give_up(s);
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

/* ---- telling of layers ---- */

static void tell_layers(struct cb_solver *s, const struct cb_vertex *v, size_t from)
{
    for (size_t i = from; s->on_layer && i < v->state->n_layers; i++)
        cb_slot_on_ready(v->state->layers[i], s->on_layer, s->on_layer_arg);
}

/* Those that are known before anything runs: of the topmost vertex of a goal's chain that is done. */
static void tell_known(struct cb_solver *s, const struct cb_plan_image *image)
{
    const struct cb_vertex *v = image->goal;
    while (v && !v->state->done)
        v = v->base;
    if (v)
        tell_layers(s, v, 0);
}

static void tell_parent(void *arg)
{
    const struct cb_vertex *v = arg;
    const struct cb_solve_state *st = v->base->state;
    struct cb_solver *s = v->state->solver;
    cb_slots_await_settled(st->layers, st->n_layers);
    for (size_t i = 0; i < st->n_layers; i++)
        s->on_parent(s->on_layer_arg, st->layers[i]);
}

void cb_solve_has_looked_below(struct cb_solver *s, struct cb_vertex *v)
{
    if (s->on_parent && v->state->on_goal_chain && v->base && v->base->kind == CB_VERTEX_SOURCE)
        cb_pool_submit(s->seals, tell_parent, v);
}

/* ---- the work ---- */

static const struct cb_op *const ops[] = {
    [CB_VERTEX_RUN] = &cb_op_run,
    [CB_VERTEX_COPY] = &cb_op_copy,
    [CB_VERTEX_MKDIR] = &cb_op_mkdir,
    [CB_VERTEX_LINK] = &cb_op_link,
    [CB_VERTEX_HTTP] = &cb_op_http,
    [CB_VERTEX_GIT] = &cb_op_git,
};

static void vertex_job(void *arg);

/* Under s->mu. */
static void start(struct cb_solver *s, struct cb_vertex *v)
{
    s->active++;
    cb_pool_submit(s->steps, vertex_job, v);
}

/* Then there is time for what was put off, and no step on its way to a process that it would hold up. Under s->mu. */
static bool all_are_aside(const struct cb_solver *s)
{
    return s->aside && s->aside == s->active;
}

static void go_on(struct cb_solver *s)
{
    cb_store_go_on(s->env->store);
    cb_slots_begin_to_settle(s->slots);
}

static void set_aside(struct cb_solver *s, bool aside)
{
    pthread_mutex_lock(&s->mu);
    s->aside = aside ? s->aside + 1 : s->aside - 1;
    bool now = all_are_aside(s);
    pthread_mutex_unlock(&s->mu);
    if (now)
        go_on(s);
}

void cb_solve_process(struct cb_solver *s, bool runs)
{
    cb_slots_step_runs(s->slots, runs);
    set_aside(s, runs);
    if (!runs)
        go_on(s);
}

static void finish_vertex(struct cb_solver *s, struct cb_vertex *v, int r)
{
    pthread_mutex_lock(&s->mu);
    v->state->done = r == 0;
    if (v->state->on_goal_chain)
        atomic_fetch_sub(&s->to_come, 1);
    for (size_t i = 0; r == 0 && i < v->state->n_dependents; i++)
        if (--v->state->dependents[i]->state->waiting == 0 && !s->error.code && !cb_canceled(s->cancel))
            start(s, v->state->dependents[i]);
    if (--s->active == 0)
        pthread_cond_signal(&s->cond);
    bool now = all_are_aside(s);
    pthread_mutex_unlock(&s->mu);
    if (now)
        go_on(s);
}

/* What it is made from is done. */
static bool stands_on_unsure(const struct cb_vertex *v)
{
    bool unsure = (v->base && v->base->state->unsure) || (v->from && v->from->state->unsure);
    for (size_t i = 0; i < v->n_inputs; i++)
        unsure = unsure || v->inputs[i]->state->unsure;
    return unsure;
}

static int run_op(struct cb_solver *s, struct cb_vertex *v, struct cb_error *e)
{
    if ((size_t)v->kind >= CB_COUNTOF(ops) || !ops[v->kind])
        return cb_error_set(e, CB_EINTERNAL, "a vertex that cannot be executed");
    if (v->base)
        cb_state_copy_layers(v->state, v->base->state);
    v->state->unsure = stands_on_unsure(v);
    return ops[v->kind]->execute(s, v, e);
}

static int may_begin(struct cb_solver *s, struct cb_error *err)
{
    int r = cb_cancel_check(s->cancel, err);
    pthread_mutex_lock(&s->mu);
    if (r == 0 && s->error.code)
        r = cb_error_set(err, CB_ECANCELED, "another step has failed");
    pthread_mutex_unlock(&s->mu);
    return r;
}

static int execute(struct cb_solver *s, struct cb_vertex *v, struct cb_error *e)
{
    int r = may_begin(s, e);
    if (r < 0) {
        cb_step_canceled(v->step);
        return r;
    }
    int64_t begin = cb_time_monotonic();
    struct cb_span span cb_cleanup_span = cb_span_begin("step", "%s", v->name);
    cb_step_begin(v->step);
    r = run_op(s, v, e);
    const char *done = r == CB_OP_WAITS ? "waits" : v->state->hit ? "cached" : "run";
    cb_span_text(&span, "outcome", r < 0 ? "failed" : done);
    v->state->ns += cb_time_monotonic() - begin;
    if (r == CB_OP_WAITS)
        return r;
    if (r == -CB_ECANCELED)
        cb_step_canceled(v->step);
    else if (r < 0)
        cb_step_error(v->step, cb_error_text(e));
    else if (v->state->hit)
        cb_step_cached(v->step);
    else
        cb_step_done(v->step);
    return r;
}

static void resume(void *arg)
{
    struct cb_vertex *v = arg;
    set_aside(v->state->solver, false);
    cb_pool_submit(v->state->solver->steps, vertex_job, v);
}

static void vertex_job(void *arg)
{
    struct cb_vertex *v = arg;
    struct cb_solver *s = v->state->solver;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (s->on_step)
        s->on_step(s->on_layer_arg, atomic_load(&s->to_come));
    int r = execute(s, v, &e);
    if (r == CB_OP_WAITS) { /* from here on it may be another thread's */
        set_aside(s, true);
        cb_claims_wait(s->claims, v, resume, v);
        return;
    }
    if (r < 0)
        cb_solver_fail(s, v, &e);
    else if (v->state->on_goal_chain)
        tell_layers(s, v, v->base ? v->base->state->n_layers : 0);
    if (r == 0 && v->kind != CB_VERTEX_RUN && v->kind != CB_VERTEX_LINK)
        cb_solve_has_looked_below(s, v);
    finish_vertex(s, v, r);
    if (r == 0)
        cb_solver_record_late(s, v);
}

static void mark_cached(struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (v->kind == CB_VERTEX_SOURCE || v->state->vertex != v || (v->state->needed && !v->state->done))
            continue;
        struct cb_span span cb_cleanup_span = cb_span_begin("step", "%s", v->name);
        cb_span_text(&span, "outcome", "cached");
        cb_step_cached(v->step);
    }
}

static bool is_to_be_done(const struct cb_vertex *v)
{
    return v->state->vertex == v && v->state->needed && !v->state->done;
}

static void run_all(struct cb_solver *s)
{
    struct cb_vertex **ready = cb_calloc(s->plan->n + 1, sizeof(struct cb_vertex *));
    size_t n = 0;
    pthread_mutex_lock(&s->mu);
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (is_to_be_done(v) && v->state->waiting == 0)
            ready[n++] = v;
        if (is_to_be_done(v) && v->state->on_goal_chain)
            atomic_fetch_add(&s->to_come, 1);
    }
    for (size_t i = 0; i < n; i++)
        start(s, ready[i]);
    while (s->active || (s->error.code && s->sealing))
        pthread_cond_wait(&s->cond, &s->mu);
    pthread_mutex_unlock(&s->mu);
    free(ready);
}

/* The first that was made on layers of which one is wrong. */
static struct cb_vertex *find_deceived(const struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (v->kind != CB_VERTEX_SOURCE && cb_slots_settle(v->state->layers, v->state->n_layers, NULL) < 0)
            return v;
    }
    return NULL;
}

/* A parent that is not what it says explains what failed on it; why else one could not be kept comes after that. */
static void settle_layers(struct cb_solver *s)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_solver_settle(s, &e);
    if (r == 0)
        return;
    struct cb_vertex *v = find_deceived(s);
    pthread_mutex_lock(&s->mu);
    if (r == -CB_EVERIFY || !s->error.code) {
        cb_error_done(&s->error);
        cb_error_move(&s->error, &e);
        s->failed = v;
    }
    pthread_mutex_unlock(&s->mu);
}

/* The failure that came first, if any: the others come of it. */
static int first_failure(struct cb_solver *s, struct cb_error *err)
{
    pthread_mutex_lock(&s->mu);
    int r = s->error.code ? cb_error_copy(err, &s->error) : 0;
    pthread_mutex_unlock(&s->mu);
    return r;
}

/* Empty differences are dropped from the result; the others must be made. */
static int settle(struct cb_solver *s, const struct cb_solve_state *goal, struct cb_solved *out, struct cb_error *err)
{
    int r = 0;
    out->layers = cb_calloc(goal->n_layers + 1, sizeof(struct cb_slot *));
    for (size_t i = 0; r == 0 && i < goal->n_layers; i++) {
        bool empty = false;
        r = cb_slot_wait(goal->layers[i], &empty, err);
        if (r == 0 && !empty)
            out->layers[out->n++] = goal->layers[i];
    }
    if (r == 0 && out->n > CB_MAX_LAYERS)
        r = cb_error_set(err, CB_ECONF, "the image would have %zu layers: more than %d", out->n, CB_MAX_LAYERS);
    return r < 0 ? r : cb_cancel_check(s->cancel, err);
}

static int settle_all(struct cb_solver *s, struct cb_error *err)
{
    const struct cb_plan *p = s->plan;
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n_images; i++)
        if (p->images[i].goal)
            r = settle(s, p->images[i].goal->state, &s->images[i], err);
    return r;
}

bool cb_solver_added_layer(const struct cb_vertex *v)
{
    size_t below = v->base ? v->base->state->n_layers : 0;
    bool empty = true;
    if (v->state->n_layers <= below)
        return false;
    return cb_slot_wait(v->state->layers[v->state->n_layers - 1], &empty, NULL) == 0 && !empty;
}

int cb_solve(struct cb_solver *s, struct cb_error *err)
{
    s->images = cb_calloc(s->plan->n_images, sizeof *s->images);
    mark_cached(s);
    for (size_t i = 0; i < s->plan->n_images; i++)
        tell_known(s, &s->plan->images[i]);
    cb_solve_expect(s);
    cb_solve_claim_ahead(s);
    cb_solve_forget_files(s);
    run_all(s);
    settle_layers(s);
    int r = first_failure(s, err);
    if (r == 0 && (r = settle_all(s, err)) < 0) {
        int first = first_failure(s, err);
        r = first < 0 ? first : r;
    }
    return r;
}

void cb_solve_stop(struct cb_solver *s)
{
    cb_pool_free(CB_TAKE(s->steps));
    cb_pool_free(CB_TAKE(s->seals));
}

void cb_solve_done(struct cb_solver *s)
{
    cb_solve_stop(s);
    cb_seals_free(CB_TAKE(s->seal_list));
    for (size_t i = 0; s->images && i < s->plan->n_images; i++)
        free(s->images[i].layers);
    free(CB_TAKE(s->images));
    free(CB_TAKE(s->unrecorded));
    cb_hashmap_free(CB_TAKE(s->by_key));
    /* Whose state it is comes before those that share it. */
    for (size_t i = s->plan ? s->plan->n : 0; i-- > 0;) {
        struct cb_vertex *v = s->plan->vertices[i];
        struct cb_solve_state *st = CB_TAKE(v->state);
        if (st && st->vertex == v)
            cb_solve_state_free(st);
    }
    cb_error_done(&s->error);
    if (s->open) {
        pthread_cond_destroy(&s->cond);
        pthread_mutex_destroy(&s->mu);
    }
    s->open = false;
}

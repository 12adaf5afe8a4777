/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"

#include "util/alloc.h"
#include "util/limits.h"
#include "util/timeutil.h"

/* ---- keys and records, ahead of the work ---- */

static int source_layers(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_plan_source *src = v->source;
    const struct cb_image *img = &src->image;
    int r = cb_image_config_check(&img->config, img->manifest.n_layers, err);
    if (r < 0)
        return cb_error_wrap(err, "%s", src->text);
    for (size_t i = 0; i < img->manifest.n_layers; i++)
        cb_state_push_layer(v->state, cb_slots_parent(s->slots, &img->config.diff_ids[i], &img->manifest.layers[i], src->host, src->repo));
    int64_t created = 0;
    if (img->config.created && cb_time_parse(img->config.created, &created))
        v->state->created = created;
    return 0;
}

static int select_context(struct cb_solver *s, struct cb_vertex *v, struct cb_digest *out, struct cb_error *err)
{
    if (v->copy.sources.n && !s->context)
        return cb_error_set(err, CB_EINTERNAL, "no build context is open");
    int r = v->copy.sources.n ? cb_context_select(s->context, &v->copy, s->env, &v->state->selection, err) : 0;
    cb_selection_digest(&v->state->selection, out);
    return r;
}

static int make_key(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_solve_state *st = v->state;
    struct cb_digest selected;
    const struct cb_digest *from = NULL;
    if (v->kind == CB_VERTEX_SOURCE) {
        cb_key_source(&v->source->image.config, &st->key);
        return source_layers(s, v, err);
    }
    if (v->kind == CB_VERTEX_COPY && v->from) {
        from = &v->from->state->key;
    } else if (v->kind == CB_VERTEX_COPY && !v->from_scratch) {
        int r = select_context(s, v, &selected, err);
        if (r < 0)
            return r;
        from = &selected;
    }
    cb_key_definition(&s->kb, v, v->base ? &v->base->state->key : NULL, from, &st->key);
    return 0;
}

/* A record of the whole result counts only if every layer of it can still be had. */
static bool look_up(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_solve_state *st = v->state;
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    size_t n_base = 0;
    if (s->o->no_cache || cb_store_cache_get(s->env->store, &st->key, &rec, NULL) < 0 || !rec.whole)
        return false;
    const struct cb_vertex *root = v;
    while (root->base)
        root = root->base;
    if (root->kind == CB_VERTEX_SOURCE)
        n_base = root->state->n_layers;
    for (size_t i = 0; i < rec.n_layers; i++) {
        struct cb_slot *slot;
        if (i < n_base && cb_digest_eq(&rec.layers[i], &cb_slot_layer(root->state->layers[i])->diff_id))
            slot = root->state->layers[i];
        else if (cb_slots_stored(s->slots, &rec.layers[i], i >= n_base, &slot, NULL) < 0)
            break;
        cb_state_push_layer(st, slot);
    }
    st->hit = st->n_layers == rec.n_layers;
    st->created = rec.created;
    if (!st->hit)
        st->n_layers = 0;
    return st->hit;
}

static bool is_prefix(const struct cb_solve_state *a, const struct cb_solve_state *of)
{
    bool same = a->n_layers <= of->n_layers;
    for (size_t i = 0; same && i < a->n_layers; i++)
        same = a->layers[i] == of->layers[i];
    return same;
}

/* v and everything it stands on: the history of an image tells of each step whether it made a layer, and when. */
static bool look_up_chain(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_solve_state *st = v->state;
    if (v->kind == CB_VERTEX_SOURCE || st->hit)
        return true;
    if (!look_up(s, v))
        return false;
    if (!v->base || (look_up_chain(s, v->base) && is_prefix(v->base->state, st)))
        return true;
    st->hit = false;
    st->n_layers = 0;
    return false;
}

static void add_dependent(struct cb_vertex *input, struct cb_vertex *v)
{
    struct cb_solve_state *st = input->state;
    if (st->done)
        return;
    CB_GROW(st->dependents, st->n_dependents, st->cap_dependents);
    st->dependents[st->n_dependents++] = v;
    v->state->waiting++;
}

/* Marks what has to be there for v; what has a record needs nothing below it. */
static void need(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_solve_state *st = v->state;
    if (st->needed)
        return;
    st->needed = true;
    if (look_up_chain(s, v)) {
        st->done = true;
        return;
    }
    if (v->base) {
        need(s, v->base);
        add_dependent(v->base, v);
    }
    if (v->from) {
        need(s, v->from);
        add_dependent(v->from, v);
    }
}

static int set_failed(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    s->failed = v;
    cb_step_error(v->step, cb_error_text(err));
    return -(int)err->code;
}

int cb_solve_prepare(struct cb_solver *s, bool *all_hit, struct cb_error *err)
{
    struct cb_error local cb_cleanup_error = CB_ERROR_INIT;
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        v->state = CB_NEW(struct cb_solve_state);
        v->state->solver = s;
        if (make_key(s, v, &local) < 0) {
            set_failed(s, v, &local);
            return cb_error_move(err, &local);
        }
    }
    if (s->plan->goal)
        need(s, s->plan->goal);
    *all_hit = !s->plan->goal || s->plan->goal->state->done;
    return 0;
}

/* ---- the work ---- */

static const struct cb_op *const ops[] = {
    [CB_VERTEX_SOURCE] = &cb_op_source,
    [CB_VERTEX_RUN] = &cb_op_run,
    [CB_VERTEX_COPY] = &cb_op_copy,
    [CB_VERTEX_MKDIR] = &cb_op_mkdir,
};

static void vertex_job(void *arg);

/* Under s->mu. */
static void start(struct cb_solver *s, struct cb_vertex *v)
{
    s->open++;
    cb_pool_submit(s->steps, vertex_job, v);
}

static bool on_goal_chain(const struct cb_solver *s, const struct cb_vertex *v)
{
    for (const struct cb_vertex *x = s->plan->goal; x; x = x->base)
        if (x == v)
            return true;
    return false;
}

static void tell_layers(struct cb_solver *s, const struct cb_vertex *v)
{
    const struct cb_solve_state *st = v->state;
    size_t from = v->base && v->base->state->done && !st->hit ? v->base->state->n_layers : 0;
    if (!s->on_layer || !on_goal_chain(s, v))
        return;
    for (size_t i = from; i < st->n_layers; i++)
        cb_slot_on_ready(st->layers[i], s->on_layer, s->on_layer_arg);
}

static void finish_vertex(struct cb_solver *s, struct cb_vertex *v, int r, struct cb_error *e)
{
    pthread_mutex_lock(&s->mu);
    if (r == 0) {
        v->state->done = true;
        for (size_t i = 0; i < v->state->n_dependents; i++)
            if (--v->state->dependents[i]->state->waiting == 0 && !cb_canceled(s->cancel))
                start(s, v->state->dependents[i]);
    } else if (!s->error.code) {
        cb_error_move(&s->error, e);
        s->failed = v;
        cb_cancel_trigger(s->cancel, 0);
    }
    if (--s->open == 0)
        pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

static int execute(struct cb_solver *s, struct cb_vertex *v, struct cb_error *e)
{
    int r = cb_cancel_check(s->cancel, e);
    if (r < 0) {
        cb_step_canceled(v->step);
        return r;
    }
    cb_step_begin(v->step);
    if (v->base)
        cb_state_copy_layers(v->state, v->base->state);
    r = ops[v->kind]->execute(s, v, e);
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

static void vertex_job(void *arg)
{
    struct cb_vertex *v = arg;
    struct cb_solver *s = v->state->solver;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = execute(s, v, &e);
    if (r == 0)
        tell_layers(s, v);
    finish_vertex(s, v, r, &e);
}

static void mark_cached(struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (v->kind != CB_VERTEX_SOURCE && (v->state->done || !v->state->needed))
            cb_step_cached(v->step);
    }
}

/* Empty differences are dropped from the result; the others must be made. */
static int settle(struct cb_solver *s, struct cb_vertex *goal, struct cb_error *err)
{
    const struct cb_solve_state *st = goal->state;
    s->result = cb_calloc(st->n_layers + 1, sizeof(struct cb_slot *));
    for (size_t i = 0; i < st->n_layers; i++) {
        bool empty;
        int r = cb_slot_wait(st->layers[i], &empty, err);
        if (r < 0)
            return r;
        if (!empty)
            s->result[s->n_result++] = st->layers[i];
    }
    if (s->n_result > CB_MAX_LAYERS)
        return cb_error_set(err, CB_ECONF, "the image would have %zu layers: more than %d", s->n_result, CB_MAX_LAYERS);
    return cb_cancel_check(s->cancel, err);
}

bool cb_solver_added_layer(const struct cb_vertex *v)
{
    size_t below = v->base ? v->base->state->n_layers : 0;
    bool empty = true;
    if (v->state->n_layers <= below)
        return false;
    return cb_slot_wait(v->state->layers[v->state->n_layers - 1], &empty, NULL) == 0 && !empty;
}

/* A RUN that will be executed needs the trees of what is there below it: told ahead, so that a COPY that only asks for the
 * table does not make the same layer be inflated twice. */
static void expect_trees(struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i], *b = v->base;
        if (v->kind != CB_VERTEX_RUN || !v->state->needed || v->state->done)
            continue;
        while (b && !b->state->done)
            b = b->base;
        for (size_t k = 0; b && k < b->state->n_layers; k++)
            cb_slot_expect(b->state->layers[k], CB_NEED_TREE);
    }
}

int cb_solve(struct cb_solver *s, struct cb_error *err)
{
    struct cb_vertex *goal = s->plan->goal;
    if (!goal)
        return 0;
    mark_cached(s);
    expect_trees(s);
    tell_layers(s, goal);
    for (const struct cb_vertex *v = goal->base; v && !goal->state->hit; v = v->base)
        if (v->state->done)
            tell_layers(s, v);
    struct cb_vertex **ready = cb_calloc(s->plan->n + 1, sizeof(struct cb_vertex *));
    size_t n_ready = 0;
    pthread_mutex_lock(&s->mu);
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (v->state->needed && !v->state->done && v->state->waiting == 0)
            ready[n_ready++] = v;
    }
    for (size_t i = 0; i < n_ready; i++)
        start(s, ready[i]);
    while (s->open)
        pthread_cond_wait(&s->cond, &s->mu);
    pthread_mutex_unlock(&s->mu);
    free(ready);
    if (s->error.code)
        return cb_error_move(err, &s->error);
    return settle(s, goal, err);
}

void cb_solve_done(struct cb_solver *s)
{
    cb_pool_free(s->steps);
    cb_pool_free(s->seals);
    s->steps = s->seals = NULL;
    cb_seals_free(CB_TAKE(s->seal_list));
    free(CB_TAKE(s->result));
    for (size_t i = 0; s->plan && i < s->plan->n; i++) {
        struct cb_solve_state *st = s->plan->vertices[i]->state;
        if (!st)
            continue;
        cb_selection_done(&st->selection);
        free(st->layers);
        free(st->dependents);
        free(st);
        s->plan->vertices[i]->state = NULL;
    }
    cb_error_done(&s->error);
}

static int execute_source(struct cb_solver *s CB_UNUSED, struct cb_vertex *v CB_UNUSED, struct cb_error *err CB_UNUSED)
{
    return 0;
}

const struct cb_op cb_op_source = { execute_source };

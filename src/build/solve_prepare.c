/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"

#include "build/run_mounts.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* ---- keys ---- */

static int source_layers(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_plan_source *src = v->source;
    const struct cb_image *img = &src->image;
    int r = cb_image_config_check(&img->config, img->manifest.n_layers, err);
    if (r < 0)
        return cb_error_wrap(err, "%s", src->text);
    for (size_t i = 0; i < img->manifest.n_layers; i++) {
        struct cb_slot_parent p = { .desc = &img->manifest.layers[i], .host = src->host, .repo = src->repo,
                                    .preferred = src == s->plan->base };
        cb_state_push_layer(v->state, cb_slots_parent(s->slots, &img->config.diff_ids[i], &p));
    }
    int64_t created = 0;
    if (img->config.created && cb_time_parse(img->config.created, &created))
        v->state->created = created;
    return 0;
}

static int select_context(struct cb_solver *s, struct cb_vertex *v, struct cb_digest *out, struct cb_error *err)
{
    struct cb_context *context = v->local ? v->local->context : s->context;
    if (v->copy.sources.n && !context)
        return cb_error_set(err, CB_EINTERNAL, "no build context is open");
    int r = v->copy.sources.n ? cb_context_select(context, &v->copy, s->env, &v->state->selection, err) : 0;
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
    if (v->run.n_mounts) {
        int r = cb_run_mounts_prepare(s, v, &selected, err);
        if (r < 0)
            return r;
        from = &selected;
    } else if (v->from) {
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

/* ---- records ---- */

/* The layers at the bottom are the parent's as it is now. */
static struct cb_slot *parent_layer(const struct cb_vertex *root, size_t i, const struct cb_digest *diff_id)
{
    if (root->kind != CB_VERTEX_SOURCE || i >= root->state->n_layers)
        return NULL;
    struct cb_slot *slot = root->state->layers[i];
    return cb_digest_eq(diff_id, cb_slot_diff_id(slot)) ? slot : NULL;
}

/* A record of the whole result counts only if every layer of it can still be had. */
static bool look_up(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_solve_state *st = v->state;
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    const struct cb_vertex *root = v;
    if (s->o->no_cache || v->no_cache || cb_store_cache_get(s->env->store, &st->key, &rec, NULL) < 0 || !rec.whole)
        return false;
    while (root->base)
        root = root->base;
    for (size_t i = 0; i < rec.n_layers; i++) {
        struct cb_slot *slot = parent_layer(root, i, &rec.layers[i]);
        if (!slot && cb_slots_stored(s->slots, &rec.layers[i], &slot, NULL) < 0)
            return false;
        cb_state_push_layer(st, slot);
    }
    st->created = rec.created;
    return true;
}

/* Records are written one at a time, perhaps by several builds at once: v's counts only where it is its base's with at
 * most one layer more, or image and history would not agree. */
static bool stands_on(const struct cb_solve_state *base, const struct cb_solve_state *v)
{
    size_t below = base ? base->n_layers : 0;
    bool same = below <= v->n_layers && v->n_layers - below <= 1;
    for (size_t i = 0; same && i < below; i++)
        same = base->layers[i] == v->layers[i];
    return same;
}

/* v and everything it stands on: the history of an image tells of each step whether it made a layer, and when. */
static bool look_up_chain(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_solve_state *st = v->state;
    if (v->kind == CB_VERTEX_SOURCE)
        return true;
    if (st->looked_up)
        return st->hit;
    st->looked_up = true;
    st->hit =
        look_up(s, v) && (!v->base || look_up_chain(s, v->base)) && stands_on(v->base ? v->base->state : NULL, st);
    if (!st->hit) {
        st->n_layers = 0;
        st->created = 0;
    }
    return st->hit;
}

/* ---- what has to run ---- */

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
    for (size_t i = 0; i < v->n_inputs; i++) {
        need(s, v->inputs[i]);
        add_dependent(v->inputs[i], v);
    }
}

int cb_solve_prepare(struct cb_solver *s, bool *all_hit, struct cb_error *err)
{
    struct cb_error local cb_cleanup_error = CB_ERROR_INIT;
    for (size_t i = 0; i < s->plan->n; i++) {
        s->plan->vertices[i]->state = CB_NEW(struct cb_solve_state);
        s->plan->vertices[i]->state->solver = s;
    }
    if (cb_remotes_resolve(s, &s->failed, &local) < 0)
        return cb_error_move(err, &local);
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (make_key(s, v, &local) < 0) {
            s->failed = v;
            cb_step_error(v->step, cb_error_text(&local));
            return cb_error_move(err, &local);
        }
    }
    for (struct cb_vertex *v = s->plan->goal; v; v = v->base)
        v->state->on_goal_chain = true;
    if (s->plan->goal)
        need(s, s->plan->goal);
    *all_hit = !s->plan->goal || s->plan->goal->state->done;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"

#include "build/run_mounts.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* ---- keys ---- */

static bool is_base(const struct cb_plan *p, const struct cb_plan_source *src)
{
    for (size_t i = 0; i < p->n_images; i++)
        if (p->images[i].base == src)
            return true;
    return false;
}

static int source_layers(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_plan_source *src = v->source;
    const struct cb_image *img = &src->image;
    int r = cb_image_config_check(&img->config, img->manifest.n_layers, err);
    if (r < 0)
        return cb_error_wrap(err, "%s", src->text);
    for (size_t i = 0; i < img->manifest.n_layers; i++) {
        struct cb_slot_parent p = { .desc = &img->manifest.layers[i], .host = src->host, .repo = src->repo,
                                    .preferred = is_base(s->plan, src) };
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
        cb_key_source(&v->source->image.config, &v->source->image.manifest, &st->key);
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
    v = st->vertex;
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

void cb_solve_state_free(struct cb_solve_state *st)
{
    cb_selection_done(&st->selection);
    for (size_t k = 0; st->mounts && k < st->vertex->run.n_mounts; k++)
        cb_selection_done(&st->mounts[k]);
    free(st->mounts);
    cb_http_file_free(st->file);
    free(st->layers);
    free(st->dependents);
    free(st);
}

/* The same step on the same things is one step, whichever stages and platforms it stands in. Parents stay apart: their
 * keys leave out where they come from. */
static void share(struct cb_solver *s, struct cb_vertex *v)
{
    char text[CB_DIGEST_TEXT_MAX];
    if (v->kind == CB_VERTEX_SOURCE)
        return;
    cb_digest_text(&v->state->key, text);
    struct cb_vertex *first = cb_hashmap_get(s->by_key, text);
    if (!first) {
        cb_hashmap_put(s->by_key, text, v);
        return;
    }
    cb_solve_state_free(v->state);
    v->state = first->state;
}

static int prepare_vertex(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    int r = make_key(s, v, err);
    if (r == 0)
        share(s, v);
    if (v->state->vertex == v && !v->step && v->kind != CB_VERTEX_LINK)
        v->step = cb_step_new(s->env->progress, v->name);
    return r;
}

/* True where nothing has to be done for it. */
static bool need_image(struct cb_solver *s, struct cb_plan_image *image)
{
    for (struct cb_vertex *v = image->goal; v; v = v->base)
        v->state->on_goal_chain = true;
    if (image->goal)
        need(s, image->goal);
    return !image->goal || image->goal->state->done;
}

int cb_solve_prepare(struct cb_solver *s, bool *all_hit, struct cb_error *err)
{
    struct cb_error local cb_cleanup_error = CB_ERROR_INIT;
    s->by_key = cb_hashmap_new();
    for (size_t i = 0; i < s->plan->n; i++) {
        s->plan->vertices[i]->state = CB_NEW(struct cb_solve_state);
        s->plan->vertices[i]->state->solver = s;
        s->plan->vertices[i]->state->vertex = s->plan->vertices[i];
    }
    if (cb_remotes_resolve(s, &s->failed, &local) < 0)
        return cb_error_move(err, &local);
    for (size_t i = 0; i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (prepare_vertex(s, v, &local) < 0) {
            s->failed = v;
            cb_step_error(v->step, cb_error_text(&local));
            return cb_error_move(err, &local);
        }
    }
    *all_hit = true;
    for (size_t i = 0; i < s->plan->n_images; i++)
        *all_hit = need_image(s, &s->plan->images[i]) && *all_hit;
    return 0;
}

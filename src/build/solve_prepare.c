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

static void tell_early(struct cb_solver *s, const struct cb_vertex *v)
{
    for (size_t i = 0; i < v->state->n_layers; i++)
        cb_slot_on_ready(v->state->layers[i], s->on_layer, s->on_layer_arg);
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
        int r = source_layers(s, v, err);
        if (r == 0 && s->early && is_base(s->plan, v->source))
            tell_early(s, v);
        return r;
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
    if (v->kind == CB_VERTEX_SOURCE || cb_look_up(s, v)) {
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
    cb_strbuf_done(&st->noted.hashes);
    for (size_t k = 0; st->mounts && k < st->vertex->run.n_mounts; k++)
        cb_selection_done(&st->mounts[k]);
    free(st->mounts);
    cb_http_file_free(st->file);
    cb_recorded_done(&st->lookup);
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
    if (first) {
        cb_solve_state_free(v->state);
        v->state = first->state;
    } else {
        cb_hashmap_put(s->by_key, text, v);
    }
    v->state->no_cache = v->state->no_cache || v->no_cache;
}

static bool is_anew(const struct cb_vertex *v)
{
    bool anew = v->state->no_cache || (v->base && v->base->state->anew) || (v->from && v->from->state->anew);
    for (size_t i = 0; i < v->n_inputs; i++)
        anew = anew || v->inputs[i]->state->anew;
    return anew;
}

/* Also what comes before the stage for which the cache is off, where it stands on a step of it: a key has one outcome,
 * or which of two is recorded, and so the next build, would be left to chance. */
static void mark_anew(const struct cb_plan *p)
{
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < p->n; i++) {
            struct cb_solve_state *st = p->vertices[i]->state;
            if (!st->anew && is_anew(p->vertices[i]))
                found = st->anew = true;
        }
    }
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
    for (struct cb_vertex *v = image->goal; v; v = v->base) {
        v->state->on_goal_chain = v->state->in_result = true;
        if (v->kind == CB_VERTEX_LINK)
            v->from->state->in_result = true;
    }
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
            if (local.code == CB_ECANCELED)
                cb_step_canceled(v->step);
            else
                cb_step_error(v->step, cb_error_text(&local));
            return cb_error_move(err, &local);
        }
    }
    mark_anew(s->plan);
    cb_look_up_ahead(s);
    *all_hit = true;
    for (size_t i = 0; i < s->plan->n_images; i++) {
        struct cb_vertex *scan = s->plan->images[i].scan;
        *all_hit = need_image(s, &s->plan->images[i]) && *all_hit;
        if (scan)
            need(s, scan);
        *all_hit = *all_hit && (!scan || scan->state->done);
    }
    return 0;
}

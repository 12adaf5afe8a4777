/* SPDX-License-Identifier: Apache-2.0 */
#include "build/cache_out.h"
#include "build/solve.h"
#include "util/alloc.h"
#include "util/limits.h"
#include "util/timeutil.h"

void cb_state_push_layer(struct cb_solve_state *st, struct cb_slot *slot)
{
    CB_GROW(st->layers, st->n_layers, st->cap_layers);
    st->layers[st->n_layers++] = slot;
    st->changed = true;
}

void cb_state_copy_layers(struct cb_solve_state *st, const struct cb_solve_state *from)
{
    st->n_layers = 0;
    for (size_t i = 0; i < from->n_layers; i++)
        cb_state_push_layer(st, from->layers[i]);
    st->changed = false;
    st->created = from->created;
}

int cb_solver_stack(struct cb_solver *s, struct cb_vertex *v, struct cb_step *step, struct cb_stack **out,
                    struct cb_error *err)
{
    if (!v) {
        *out = cb_stack_new(NULL, 0);
        return 0;
    }
    int r = cb_slots_need(s->slots, v->state->layers, v->state->n_layers, CB_NEED_TOC, step, err);
    if (r == 0)
        *out = cb_slots_stack(s->slots, v->state->layers, v->state->n_layers);
    return r;
}

int cb_solver_below(struct cb_solver *s, struct cb_vertex *v, unsigned needs, struct cb_lookup **out,
                    struct cb_error *err)
{
    const struct cb_solve_state *st = v->base ? v->base->state : NULL;
    int r = st ? cb_slots_need(s->slots, st->layers, st->n_layers, needs, v->step, err) : 0;
    if (r == 0)
        *out = cb_slots_lookup(st ? st->layers : NULL, st ? st->n_layers : 0);
    return r;
}

struct cb_layer_write_options cb_solver_write_options(const struct cb_solver *s, const struct cb_vertex *v,
                                                      struct cb_blob_sink *sink)
{
    bool aside = v && !v->state->on_goal_chain && cb_format_check(&s->format_aside, NULL) == 0;
    return (struct cb_layer_write_options){ .format = aside ? s->format_aside : s->format, .pool = s->env->cpu,
                                            .clamp_mtime = s->kb.clamp_mtime,
                                            .exact_mtime = s->kb.exact_mtime, .sink = sink, .cancel = s->cancel };
}

int cb_solver_keep_layer(const struct cb_solver *s, const struct cb_layer *layer, const struct cb_toc *toc,
                         struct cb_error *err)
{
    int r = cb_store_toc_put(s->env->store, &layer->diff_id, toc, err);
    return r < 0 ? r : cb_store_layer_put(s->env->store, layer, err);
}

/* ---- records ---- */

static int put_whole(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_solve_state *st = v->state;
    struct cb_cache_record rec = { .whole = true, .created = st->created, .note = v->note };
    rec.layers = cb_calloc(st->n_layers + 1, sizeof *rec.layers);
    int r = 0;
    for (size_t i = 0; r == 0 && i < st->n_layers; i++) {
        bool empty = false;
        r = cb_slot_wait(st->layers[i], &empty, err);
        if (r == 0 && !empty)
            rec.layers[rec.n_layers++] = *cb_slot_diff_id(st->layers[i]);
    }
    /* More are refused when the image is put together. */
    if (r == 0 && rec.n_layers <= CB_MAX_LAYERS)
        r = cb_store_cache_put(s->env->store, &st->key, &rec, err);
    free(rec.layers);
    return r;
}

static int put_difference(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content,
                          struct cb_error *err)
{
    const struct cb_solve_state *st = v->state;
    struct cb_cache_record rec = { .created = st->created, .note = v->note };
    struct cb_digest diff_id;
    bool empty = !st->changed;
    int r = empty ? 0 : cb_slot_wait(st->layers[st->n_layers - 1], &empty, err);
    if (r == 0 && !empty) {
        diff_id = *cb_slot_diff_id(st->layers[st->n_layers - 1]);
        rec.layers = &diff_id;
        rec.n_layers = 1;
    }
    return r < 0 ? r : cb_store_cache_put(s->env->store, content, &rec, err);
}

/* True where it was. */
static bool put_off(struct cb_solver *s, struct cb_vertex *v)
{
    if (cb_slots_are_settled(v->state->layers, v->state->n_layers))
        return false;
    pthread_mutex_lock(&s->mu);
    bool late = s->settled;
    if (!late) {
        CB_GROW(s->unrecorded, s->n_unrecorded, s->cap_unrecorded);
        s->unrecorded[s->n_unrecorded++] = v;
    }
    pthread_mutex_unlock(&s->mu);
    return !late;
}

/* Mostly that has been done while a step ran: only what takes longer is shown. */
static int settle_slots(struct cb_solver *s, struct cb_error *err)
{
    bool late = !cb_slots_settle_within(s->slots, 500);
    struct cb_step *step = late ? cb_step_new(s->env->progress, "[internal] check what the parents hold") : NULL;
    cb_step_begin(step);
    int r = cb_slots_settle_all(s->slots, err);
    cb_step_end(step, r, err);
    return r;
}

int cb_solver_settle(struct cb_solver *s, struct cb_error *err)
{
    int r = settle_slots(s, err);
    pthread_mutex_lock(&s->mu);
    s->settled = true;
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; r == 0 && i < s->n_unrecorded; i++) {
        const struct cb_solve_state *st = s->unrecorded[i]->state;
        cb_solver_record(s, s->unrecorded[i], cb_digest_is_set(&st->content) ? &st->content : NULL);
    }
    return r;
}

void cb_solver_record(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (v->state->unsure)
        return;
    if (content)
        v->state->content = *content;
    if (put_off(s, v))
        return;
    int r = put_whole(s, v, &e);
    if (r == 0 && s->cache_out)
        cb_cache_out_step(s->cache_out, v);
    if (r == 0 && content)
        r = put_difference(s, v, content, &e);
    if (r < 0 && !cb_canceled(s->cancel))
        cb_step_warn(v->step, "not recorded in the build cache: %s", cb_error_text(&e));
}

static bool recall_stored(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content)
{
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    struct cb_slot *slot = NULL;
    if (cb_store_cache_get(s->env->store, content, &rec, NULL) < 0)
        return false;
    if (rec.whole || rec.n_layers > 1 || rec.created < s->newer_than)
        return false;
    if (rec.n_layers == 1 && cb_slots_stored(s->slots, &rec.layers[0], &slot, NULL) < 0)
        return false;
    if (slot)
        cb_state_push_layer(v->state, slot);
    v->state->created = rec.created;
    v->state->hit = true;
    return true;
}

/* What a cache says does not get into the store. */
bool cb_solver_recall(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content)
{
    if (s->o->no_cache || v->state->no_cache)
        return false;
    v->state->content = *content;
    if (recall_stored(s, v, content)) {
        cb_solver_record(s, v, NULL);
        return true;
    }
    bool hit = cb_look_up_content(s, v, content);
    if (hit && s->cache_out)
        cb_cache_out_step(s->cache_out, v);
    return hit;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"
#include "util/alloc.h"
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

int cb_solver_stack(struct cb_solver *s, struct cb_vertex *v, struct cb_step *step, struct cb_stack **out, struct cb_error *err)
{
    if (!v) {
        *out = cb_stack_new(NULL, 0);
        return 0;
    }
    int r = cb_slots_need(s->slots, v->state->layers, v->state->n_layers, CB_NEED_TOC, step, err);
    if (r == 0)
        *out = cb_slots_stack(v->state->layers, v->state->n_layers);
    return r;
}

static int put_whole(struct cb_solver *s, struct cb_vertex *v, struct cb_slot *const *layers, size_t n, struct cb_error *err)
{
    struct cb_cache_record rec = { .whole = true, .created = v->state->created, .note = v->note };
    rec.layers = cb_calloc(n + 1, sizeof *rec.layers);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        bool empty;
        r = cb_slot_wait(layers[i], &empty, err);
        if (r == 0 && !empty)
            rec.layers[rec.n_layers++] = cb_slot_layer(layers[i])->diff_id;
    }
    if (r == 0)
        r = cb_store_cache_put(s->env->store, &v->state->key, &rec, err);
    free(rec.layers);
    return r;
}

int cb_solver_record(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content, struct cb_error *err)
{
    struct cb_solve_state *st = v->state;
    if (!st->created || (st->executed && v->kind != CB_VERTEX_RUN))
        st->created = cb_time_now();
    int r = put_whole(s, v, st->layers, st->n_layers, err);
    if (r < 0 || !content)
        return r;
    struct cb_cache_record rec = { .created = st->created, .note = v->note };
    bool empty = !st->changed;
    if (!empty)
        r = cb_slot_wait(st->layers[st->n_layers - 1], &empty, err);
    if (r == 0 && !empty) {
        rec.layers = (struct cb_digest *)(uintptr_t)&cb_slot_layer(st->layers[st->n_layers - 1])->diff_id;
        rec.n_layers = 1;
    }
    return r < 0 ? r : cb_store_cache_put(s->env->store, content, &rec, err);
}

int cb_solver_recall(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content, struct cb_slot **out,
                     struct cb_error *err)
{
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    *out = NULL;
    int r = cb_store_cache_get(s->env->store, content, &rec, err);
    if (r == 0 && (rec.whole || rec.n_layers > 1))
        r = cb_error_set(err, CB_ENOTFOUND, "the record is of another kind");
    if (r == 0 && rec.n_layers == 1)
        r = cb_slots_stored(s->slots, &rec.layers[0], true, out, err);
    if (r == 0)
        v->state->created = rec.created;
    return r;
}

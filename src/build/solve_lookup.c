/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the store and of caches, and what is made of them. */
#include "build/failed.h"
#include "build/solve.h"
#include "util/alloc.h"

void cb_recorded_done(struct cb_recorded *l)
{
    for (size_t i = 0; i < CB_LOOKUP_N; i++)
        cb_cache_record_done(&l->record[i]);
}

/* ---- what is recorded ---- */

static bool is_too_old(const struct cb_solver *s, int64_t created)
{
    return created < s->newer_than;
}

static void ask_store(struct cb_solver *s, struct cb_solve_state *st)
{
    struct cb_cache_record *rec = &st->lookup.record[CB_LOOKUP_STORE];
    if (cb_store_cache_get(s->env->store, &st->key, rec, NULL) < 0 || is_too_old(s, rec->created))
        cb_cache_record_done(rec);
}

static void ask_cache(struct cb_solver *s, struct cb_solve_state *st)
{
    struct cb_recorded *l = &st->lookup;
    struct cb_cache_record *rec = &l->record[CB_LOOKUP_CACHE];
    if (!s->cache_in || !cb_cache_in_find(s->cache_in, &st->key, &l->hit))
        return;
    const struct cb_cache_step *step = l->hit.step;
    *rec = (struct cb_cache_record){ .whole = step->whole, .created = step->created, .n_layers = step->n_layers };
    rec->layers = cb_calloc(step->n_layers + 1, sizeof *rec->layers);
    for (size_t i = 0; i < step->n_layers; i++)
        rec->layers[i] = l->hit.set->layers[step->layers[i]].diff_id;
}

/* NULL: none of the whole result. */
static const struct cb_cache_record *record_of(struct cb_solver *s, struct cb_vertex *v, enum cb_lookup_from from)
{
    struct cb_recorded *l = &v->state->lookup;
    if (s->o->no_cache || v->state->anew)
        return NULL;
    if (!l->asked[from] && from == CB_LOOKUP_STORE)
        ask_store(s, v->state);
    else if (!l->asked[from])
        ask_cache(s, v->state);
    l->asked[from] = true;
    return l->record[from].whole ? &l->record[from] : NULL;
}

/* ---- the layers of a record ---- */

/* The layers at the bottom are the parent's as it is now. */
static struct cb_slot *parent_layer(const struct cb_vertex *root, size_t i, const struct cb_digest *diff_id)
{
    if (root->kind != CB_VERTEX_SOURCE || i >= root->state->n_layers)
        return NULL;
    struct cb_slot *slot = root->state->layers[i];
    return cb_digest_eq(diff_id, cb_slot_diff_id(slot)) ? slot : NULL;
}

/* A cache may know what is in it. */
static void tell_parent(const struct cb_solve_state *st, enum cb_lookup_from from, struct cb_slot *slot, size_t i)
{
    const struct cb_cache_hit *hit = &st->lookup.hit;
    if (from == CB_LOOKUP_CACHE)
        cb_slot_parent_cached(slot, &(struct cb_slot_cached){ &hit->set->layers[hit->step->layers[i]], hit->place });
}

static struct cb_slot *cached_layer(struct cb_solver *s, const struct cb_cache_hit *hit, const struct cb_cache_layer *l)
{
    struct cb_slot *slot = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (cb_slots_cached(s->slots, &(struct cb_slot_cached){ l, hit->place }, &slot, &e) == 0)
        return slot;
    cb_progress_note(s->env->progress, true, "warning: a layer in %s is not used: %s", hit->place->text,
                     cb_error_text(&e));
    return NULL;
}

static struct cb_slot *layer_of(struct cb_solver *s, const struct cb_solve_state *st, enum cb_lookup_from from,
                                size_t i)
{
    const struct cb_cache_hit *hit = &st->lookup.hit;
    const struct cb_cache_layer *l = from == CB_LOOKUP_CACHE ? &hit->set->layers[hit->step->layers[i]] : NULL;
    struct cb_slot *slot = NULL;
    if (l && cb_digest_is_set(&l->blob.digest))
        return cached_layer(s, hit, l);
    return cb_slots_stored(s->slots, &st->lookup.record[from].layers[i], &slot, NULL) < 0 ? NULL : slot;
}

/* It counts only if every layer of it can still be had. */
static bool take(struct cb_solver *s, struct cb_vertex *v, enum cb_lookup_from from)
{
    struct cb_solve_state *st = v->state;
    const struct cb_cache_record *rec = &st->lookup.record[from];
    const struct cb_vertex *root = v;
    while (root->base)
        root = root->base;
    for (size_t i = 0; i < rec->n_layers; i++) {
        struct cb_slot *slot = parent_layer(root, i, &rec->layers[i]);
        if (slot)
            tell_parent(st, from, slot, i);
        else
            slot = layer_of(s, st, from, i);
        if (!slot) {
            st->n_layers = 0;
            st->lost = rec->layers[i];
            return false;
        }
        cb_state_push_layer(st, slot);
    }
    st->created = rec->created;
    st->lookup.used = from == CB_LOOKUP_CACHE ? st->lookup.hit.place : NULL;
    return true;
}

/* ---- chains ---- */

/* Records are written one at a time, perhaps by several builds at once: one counts only where it is its base's with at
 * most one layer more, or image and history would not agree. */
static bool stands_on(const struct cb_cache_record *above, const struct cb_digest *below, size_t n)
{
    bool fits = n <= above->n_layers && above->n_layers - n <= 1;
    for (size_t i = 0; fits && i < n; i++)
        fits = cb_digest_eq(&above->layers[i], &below[i]);
    return fits;
}

static bool stands_on_state(const struct cb_cache_record *above, const struct cb_solve_state *st)
{
    struct cb_digest *below = cb_calloc(st->n_layers + 1, sizeof *below);
    for (size_t i = 0; i < st->n_layers; i++)
        below[i] = *cb_slot_diff_id(st->layers[i]);
    bool fits = stands_on(above, below, st->n_layers);
    free(below);
    return fits;
}

/* v and everything it stands on: the history of an image tells of each step whether it made a layer, and when. above:
 * the record of what stands on v, which says what v must be; or NULL. */
static bool chain_hits(struct cb_solver *s, struct cb_vertex *v, const struct cb_cache_record *above)
{
    if (v->kind == CB_VERTEX_SOURCE || v->state->hit)
        return !above || stands_on_state(above, v->state);
    for (enum cb_lookup_from from = 0; !v->state->hit && from < CB_LOOKUP_N; from++) {
        const struct cb_cache_record *rec = record_of(s, v, from);
        if (rec && (!above || stands_on(above, rec->layers, rec->n_layers)) &&
            (v->base ? chain_hits(s, v->base, rec) : stands_on(rec, NULL, 0)))
            v->state->hit = take(s, v, from);
    }
    return v->state->hit;
}

bool cb_look_up(struct cb_solver *s, struct cb_vertex *v)
{
    bool hit = chain_hits(s, v, NULL);
    char hex[CB_DIGEST_TEXT_MAX];
    if (!hit && v->note)
        cb_progress_debug(s->env->progress, "cache: no record of %.12s: %s", cb_digest_hex(&v->state->key, hex),
                          v->note);
    return hit;
}

/* ---- by content ---- */

/* Only what the step itself added is taken: below it is what this build has. */
static bool take_added(struct cb_solver *s, struct cb_solve_state *st, const struct cb_cache_hit *hit, bool added)
{
    const struct cb_cache_step *step = hit->step;
    struct cb_slot *slot = NULL;
    if (added && !(slot = cached_layer(s, hit, &hit->set->layers[step->layers[step->n_layers - 1]])))
        return false;
    if (slot)
        cb_state_push_layer(st, slot);
    st->lookup.hit = *hit;
    st->lookup.used = hit->place;
    st->created = step->created;
    st->hit = true;
    return true;
}

bool cb_look_up_again(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_solve_state *st = v->state;
    struct cb_cache_hit hit;
    size_t n = 0;
    if (!s->cache_in || !cb_cache_in_find(s->cache_in, &st->key, &hit) || !hit.step->whole)
        return false;
    bool fits = true;
    for (size_t i = 0; fits && i < st->n_layers; i++) {
        bool empty = false;
        if (cb_slot_wait(st->layers[i], &empty, NULL) < 0)
            return false;
        if (!empty)
            fits = n < hit.step->n_layers && cb_digest_eq(cb_slot_diff_id(st->layers[i]),
                                                          &hit.set->layers[hit.step->layers[n++]].diff_id);
    }
    return fits && hit.step->n_layers - n <= 1 && take_added(s, st, &hit, hit.step->n_layers > n);
}

bool cb_look_up_content(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content)
{
    struct cb_cache_hit hit;
    return s->cache_in && cb_cache_in_find_content(s->cache_in, content, &hit) &&
           take_added(s, v->state, &hit, hit.step->added);
}

/* ---- all at once ---- */

/* Without the caches, which are not there yet for this look. */
static bool store_has_all(struct cb_solver *s)
{
    struct cb_cache_in *in = CB_TAKE(s->cache_in);
    bool all = true;
    for (size_t i = 0; all && i < s->plan->n_images; i++)
        all = !s->plan->images[i].goal || chain_hits(s, s->plan->images[i].goal, NULL);
    for (size_t i = 0; i < s->plan->n; i++)
        s->plan->vertices[i]->state->lookup.asked[CB_LOOKUP_CACHE] = false;
    s->cache_in = in;
    return all;
}

/* Also where no step on it hits: a file that has changed asks for no byte of the parent. */
static void tell_parents(struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        for (size_t k = 0; v->kind == CB_VERTEX_SOURCE && k < v->state->n_layers; k++) {
            struct cb_slot *slot = v->state->layers[k];
            struct cb_slot_cached c = { NULL, NULL };
            c.layer = cb_cache_in_table(s->cache_in, cb_slot_diff_id(slot), &c.place);
            if (c.layer)
                cb_slot_parent_cached(slot, &c);
        }
    }
}

void cb_look_up_ahead(struct cb_solver *s)
{
    struct cb_digest *keys = NULL;
    size_t n = 0, cap = 0;
    if (!s->cache_in || s->o->no_cache || store_has_all(s))
        return;
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        if (v->kind == CB_VERTEX_SOURCE || v->state->anew || v->state->vertex != v)
            continue;
        CB_GROW(keys, n, cap);
        keys[n++] = v->state->key;
    }
    if (n)
        cb_cache_in_fetch(s->cache_in, keys, n);
    tell_parents(s);
    free(keys);
}

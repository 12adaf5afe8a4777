/* SPDX-License-Identifier: Apache-2.0 */
#include "build/cache_out_private.h"
#include "build/failed.h"
#include "util/alloc.h"
#include "util/encode.h"

void cache_step_free(struct cache_step *x)
{
    if (!x)
        return;
    for (size_t i = 0; x->tocs && i < x->set.n_layers; i++)
        cb_toc_unref(x->tocs[i]);
    free(x->tocs);
    free(x->from);
    free(x->slots);
    free(x->own);
    cb_cache_set_done(&x->set);
    free(x);
}

CB_DEFINE_CLEANUP(struct cache_step *, cache_step_free)

static struct cb_toc *table_of(const struct cb_build_env *env, struct cb_slot *s)
{
    struct cb_toc *toc = cb_slot_toc(s);
    if (toc)
        return cb_toc_ref(toc);
    return cb_store_toc_get(env->store, cb_slot_diff_id(s), &toc, NULL) < 0 ? NULL : toc;
}

/* Of a layer of the parent, which has the blob, the table is what a cache can tell. */
static bool tells(const struct cb_cache_layer *l, const struct cb_digest *diff_id, bool parents)
{
    return cb_digest_eq(&l->diff_id, diff_id) && cb_digest_is_set(parents ? &l->toc : &l->blob.digest);
}

/* As a cache told of it, of this step or of one below, if one did. */
static const struct cb_cache_layer *told(const struct cb_vertex *v, const struct cb_digest *diff_id, bool parents,
                                         struct cb_cache_place **from)
{
    for (; v; v = v->base) {
        const struct cb_recorded *l = &v->state->lookup;
        for (size_t i = 0; l->used && i < l->hit.step->n_layers; i++) {
            const struct cb_cache_layer *layer = &l->hit.set->layers[l->hit.step->layers[i]];
            if (tells(layer, diff_id, parents)) {
                *from = l->hit.place;
                return layer;
            }
        }
    }
    return NULL;
}

static void print_table(const struct cb_toc *toc, struct cb_cache_layer *l)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_print(&text, toc);
    if (text.len > CB_CACHE_MAX_TOC)
        return;
    cb_digest_of(&l->toc, text.buf, text.len);
    l->toc_size = text.len;
    if (text.len > CB_TOC_SMALL)
        return;
    struct cb_strbuf data = CB_STRBUF_INIT;
    cb_base64_encode(&data, text.buf, text.len);
    l->toc_data = cb_strbuf_detach(&data, NULL);
}

/* A layer of the parent is the parent's to keep, and to give; its table unless the parent's manifest names it. */
static struct cb_toc *table_to_keep(const struct cb_cache_out_options *o, struct cb_slot *s, bool parents)
{
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    struct cb_toc_pin pin;
    if (parents)
        cb_slot_annotations(s, &annotations);
    cb_autofree char *foreign = cb_foreign_pin(&annotations);
    return foreign || cb_toc_pin_read(&pin, &annotations) ? NULL : table_of(o->env, s);
}

static int add_layer(struct cache_step *x, const struct cb_cache_out_options *o, struct cb_slot *s, bool parents,
                     struct cb_error *err)
{
    struct cb_layer known cb_cleanup_layer = { 0 };
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    struct cb_cache_place *from = NULL;
    const struct cb_cache_layer *by_cache = told(x->v, cb_slot_diff_id(s), parents, &from);
    cb_slot_layer(s, &known);
    struct cb_cache_layer l = { .diff_id = known.diff_id, .size = parents ? UINT64_MAX : known.size };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = by_cache ? NULL : table_to_keep(o, s, parents);
    int r = parents || by_cache ? 0 : cb_slot_encoding(s, &o->format, &e, err);
    if (r < 0)
        return r;
    if (by_cache && !parents) {
        l = *by_cache;
    } else if (by_cache) {
        l.toc = by_cache->toc;
        l.toc_size = by_cache->toc_size;
        l.toc_data = by_cache->toc_data;
    } else {
        l.blob = e;
    }
    if (toc)
        print_table(toc, &l);
    size_t before = x->set.n_layers;
    uint32_t at = cb_cache_set_layer(&x->set, &l);
    if (toc)
        free(l.toc_data);
    if (x->set.n_layers > before) {
        x->slots[at] = s;
        x->from[at] = from;
        x->tocs[at] = cb_digest_is_set(&l.toc) ? CB_TAKE(toc) : NULL;
    }
    cb_cache_step_add(&x->set.steps[0], at);
    return 0;
}

/* Of this build, or as the cache told of it that has the step. */
static void tell_content(struct cache_step *x)
{
    const struct cb_solve_state *st = x->v->state;
    const struct cb_recorded *l = &st->lookup;
    struct cb_cache_step *step = &x->set.steps[0];
    step->content = cb_digest_is_set(&st->content) ? st->content : l->used ? l->hit.step->content : step->content;
    step->added = cb_digest_is_set(&step->content) && x->n_own > 0;
}

static int add_layers(struct cache_step *x, const struct cb_cache_out_options *o, struct cb_error *err)
{
    const struct cb_solve_state *st = x->v->state;
    const struct cb_vertex *root = x->v;
    while (root->base)
        root = root->base;
    size_t parents = root->kind == CB_VERTEX_SOURCE ? root->state->n_layers : 0;
    /* By place: what a step adds may be a layer that is below it as well. */
    size_t below = x->v->base ? x->v->base->state->n_layers : 0;
    for (size_t i = 0; i < st->n_layers; i++) {
        bool empty = false;
        int r = cb_slot_wait(st->layers[i], &empty, err);
        if (r < 0)
            return r;
        if (empty)
            continue;
        r = add_layer(x, o, st->layers[i], i < parents, err);
        if (r < 0)
            return r;
        if (i >= below)
            x->own[x->n_own++] = x->set.steps[0].layers[x->set.steps[0].n_layers - 1];
    }
    tell_content(x);
    for (size_t i = 0; i < parents && i < x->set.steps[0].n_layers; i++) /* their tables, if anything */
        x->own[x->n_own++] = x->set.steps[0].layers[i];
    return 0;
}

struct cache_step *cache_describe(const struct cb_cache_out_options *o, struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_solve_state *st = v->state;
    CB_AUTO(cache_step_free) struct cache_step *x = CB_NEW(struct cache_step);
    x->env = o->env;
    x->v = v;
    x->slots = cb_calloc(st->n_layers + 1, sizeof(struct cb_slot *));
    x->tocs = cb_calloc(st->n_layers + 1, sizeof(struct cb_toc *));
    x->from = cb_calloc(st->n_layers + 1, sizeof(struct cb_cache_place *));
    x->own = cb_calloc(st->n_layers + 1, sizeof *x->own);
    struct cb_cache_step *step = cb_cache_set_step(&x->set, &st->key);
    step->whole = true;
    step->created = st->created;
    step->note = cb_strdup_or_null(v->note);
    return add_layers(x, o, err) < 0 ? NULL : CB_TAKE(x);
}

/* ---- tables that a cache told of ---- */

int cache_step_table(const struct cache_step *x, uint32_t at, struct cb_blob_source **out, struct cb_error *err)
{
    const struct cb_cache_layer *l = &x->set.layers[at];
    struct cb_descriptor d = { .media_type = (char *)(uintptr_t)CB_MT_TOC, .digest = l->toc, .size = l->toc_size };
    struct cb_toc_pin pin = { 0 };
    if (x->tocs[at])
        return cb_cache_toc_source(x->tocs[at], out);
    CB_AUTO(cb_toc_unref) struct cb_toc *own = table_of(x->env, x->slots[at]);
    if (own)
        cb_toc_pin_of(&pin, own);
    return cb_digest_eq(&pin.digest, &l->toc) ? cb_cache_toc_source(own, out)
                                              : x->from[at]->ops->blob(x->from[at], &d, out, err);
}

bool cache_step_drop_lost(struct cache_step *x, struct cb_cache_place *to)
{
    bool dropped = false;
    for (size_t i = 0; i < x->set.n_layers; i++) {
        struct cb_cache_layer *l = &x->set.layers[i];
        struct cb_descriptor d = { .media_type = (char *)(uintptr_t)CB_MT_TOC, .digest = l->toc,
                                   .size = l->toc_size };
        if (!x->from[i] || !cb_digest_is_set(&l->toc) || l->toc_data || to->ops->has(to, &d, NULL) != 0 ||
            x->from[i]->ops->has(x->from[i], &d, NULL) != 0)
            continue;
        l->toc = (struct cb_digest){ 0 };
        l->toc_size = 0;
        dropped = true;
    }
    return dropped;
}

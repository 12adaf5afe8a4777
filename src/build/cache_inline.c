/* SPDX-License-Identifier: Apache-2.0 */
/* --cache-to type=inline: the records of an image's steps in its own configuration. Where the blobs of its layers are
 * stands in its manifest. */
#include "build/internal.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* v gave the layers of st from number `first` on. */
static void add_step(const struct cb_build *b, const struct cb_vertex *v, const struct cb_solve_state *st, size_t first,
                     struct cb_cache_set *set)
{
    const struct cb_digest *key = &v->state->key;
    if (v->kind == CB_VERTEX_SOURCE || v->state->unsure || cb_cache_set_find(set, key))
        return;
    struct cb_cache_step *step = cb_cache_set_step(set, key);
    step->whole = true;
    step->created = b->epoch == INT64_MAX ? st->created : b->epoch * CB_SECOND;
    step->note = cb_strdup_or_null(v->note);
    for (size_t i = first; i < st->n_layers; i++) {
        bool empty = true;
        struct cb_cache_layer l = { .size = UINT64_MAX };
        if (cb_slot_wait(st->layers[i], &empty, NULL) < 0 || empty)
            continue;
        l.diff_id = *cb_slot_diff_id(st->layers[i]);
        cb_cache_step_add(step, cb_cache_set_layer(set, &l));
    }
}

/* What is linked says nothing where the linking was a hit: then a store need not know it. But it is what is linked. */
static void add_linked(const struct cb_build *b, const struct cb_vertex *link, struct cb_cache_set *set)
{
    add_step(b, link->from, link->state, link->base ? link->base->state->n_layers : 0, set);
}

void cb_build_inline_cache(const struct cb_build *b, const struct cb_plan_image *image, struct cb_image_config *c)
{
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool wanted = false;
    for (size_t i = 0; i < b->o->n_cache_to; i++)
        wanted = wanted || b->o->cache_to[i].type == CB_CACHE_INLINE;
    if (!wanted)
        return;
    for (struct cb_vertex *v = image->goal; v; v = v->base) {
        add_step(b, v, v->state, 0, &set);
        if (v->kind == CB_VERTEX_LINK)
            add_linked(b, v, &set);
    }
    cb_cache_set_print(&text, &set);
    free(c->cache);
    c->cache = cb_strbuf_detach(&text, NULL);
}

int cb_build_check_inline(const struct cb_build_options *o, struct cb_error *err)
{
    for (size_t i = 0; i < o->n_cache_to; i++)
        if (o->cache_to[i].type == CB_CACHE_INLINE && (o->squash || o->squash_all))
            return cb_error_set(err, CB_EUSAGE, "--cache-to type=inline: a squashed image does not have the layers of "
                                                "its steps: write the cache elsewhere");
    return 0;
}

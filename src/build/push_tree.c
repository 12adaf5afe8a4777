/* SPDX-License-Identifier: Apache-2.0 */
/* Images of the store, each maybe an index of several: the `push` verb, and the blobs that `save` needs. */
#include "build/failed.h"
#include "build/internal.h"
#include "util/alloc.h"

/* The slots of what is an image; NULL where the manifest is no image. */
static int part_slots(struct cb_slots *slots, const struct cb_image_part *part, struct cb_slot ***out,
                      struct cb_error *err)
{
    *out = NULL;
    if (!part->is_image)
        return 0;
    *out = cb_build_slots(slots, &(struct cb_found_image){ .image = part->image }, err); /* borrowed */
    return *out ? 0 : -CB_EVERIFY;
}

static int fetch_part(const struct cb_build_env *env, const struct cb_image_part *part, struct cb_step *step,
                      struct cb_error *err)
{
    CB_AUTO(cb_slots_free) struct cb_slots *slots = cb_slots_new(env);
    struct cb_slot **v = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = part_slots(slots, part, &v, &e);
    if (r == 0 && v)
        r = cb_slots_need(slots, v, part->image.manifest.n_layers, CB_NEED_BLOB, step, &e);
    if (cb_slots_have_lost(slots, env, &e))
        cb_image_advise_lost(&e);
    free(v);
    return e.code ? cb_error_move(err, &e) : r;
}

int cb_build_fetch_tree(const struct cb_build_env *env, const struct cb_image_tree *tree, struct cb_step *step,
                        struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < tree->n; i++)
        r = fetch_part(env, &tree->v[i], step, err);
    return r;
}

/* ---- push ---- */

static void report_current(const struct cb_push_tree_options *o, const struct cb_digest *digest,
                           struct cb_build_result *res)
{
    res->was_current = true;
    res->tags = cb_calloc(o->n_targets + 1, sizeof *res->tags);
    for (; res->n_tags < o->n_targets; res->n_tags++)
        res->tags[res->n_tags] = (struct cb_build_tag){ .name = cb_reference_text(&o->targets[res->n_tags]),
                                                        .pushed = true, .old = *digest };
}

/* Each image has slots of its own: one layer may be in two of them under different encodings. */
static int push_parts(struct cb_pusher *p, const struct cb_image_tree *tree, struct cb_build_result *res,
                      const struct cb_build_env *env, struct cb_error *err)
{
    struct cb_push_set set = { .v = cb_calloc(tree->n, sizeof *set.v) };
    struct cb_slots **slots = cb_calloc(tree->n, sizeof(struct cb_slots *));
    bool lost = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < tree->n; i++) {
        struct cb_push_part *part = &set.v[set.n++];
        part->desc = &tree->v[i].image.desc;
        part->manifest = tree->v[i].is_index ? NULL : &tree->v[i].image.manifest;
        slots[i] = cb_slots_new(env);
        r = part_slots(slots[i], &tree->v[i], &part->layers, err);
    }
    if (r == 0)
        r = cb_pusher_finish(p, &set, res, err);
    for (size_t i = 0; i < set.n; i++) {
        lost = (r < 0 && slots[i] && cb_slots_have_lost(slots[i], env, err)) || lost;
        free(set.v[i].layers);
        cb_slots_free(slots[i]);
    }
    if (lost)
        cb_image_advise_lost(err);
    free(slots);
    free(set.v);
    return r;
}

int cb_build_push_tree(const struct cb_build_env *env, const struct cb_image_tree *tree,
                       const struct cb_push_tree_options *o, struct cb_build_result *res, struct cb_error *err)
{
    const struct cb_descriptor *desc = &tree->v[tree->n - 1].image.desc;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    bool current = false;
    CB_AUTO(cb_pusher_free) struct cb_pusher *p = cb_pusher_new(env, o, &e);
    int r = p ? cb_pusher_current(p, desc, &current, &e) : cb_failed(&e);
    if (r == 0 && current)
        report_current(o, &desc->digest, res);
    else if (r == 0)
        r = push_parts(p, tree, res, env, &e);
    return r < 0 ? cb_error_move(err, &e) : 0;
}

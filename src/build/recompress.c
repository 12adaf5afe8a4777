/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of parents that are to be of the format as well: each tar stays what it is, and so does its diff id. */
#include "build/internal.h"
#include "util/alloc.h"

bool cb_build_forces_compression(const struct cb_build_options *o)
{
    bool force = o->force_compression;
    for (size_t i = 0; i < o->n_outputs; i++)
        force = force || o->outputs[i].force;
    return force;
}

struct work {
    struct cb_build *b;
    bool push;
    struct cb_step *step; /* NULL: nothing had to be done yet */
};

static int convert(struct work *w, struct cb_slot *s, struct cb_error *err)
{
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    if (!cb_slot_is_parent(s) || cb_slot_encoding_known(s, &w->b->format, &e))
        return 0;
    if (!w->step) {
        w->step = cb_step_new(w->b->env->progress, "compressing layers of parents again");
        cb_step_begin(w->step);
    }
    int r = cb_slots_need(w->b->slots, &s, 1, CB_NEED_BLOB, w->step, err);
    if (r == 0)
        r = cb_slot_encoding(s, &w->b->format, &e, err);
    if (r == 0 && w->push)
        cb_pusher_layer(w->b->pusher, s);
    return r;
}

int cb_build_recompress(struct cb_build *b, bool push, struct cb_error *err)
{
    struct work w = { b, push, NULL };
    int r = 0;
    if (!cb_build_forces_compression(b->o) || b->format.chunked)
        return 0;
    for (size_t i = 0; i < b->plan.n_images; i++)
        for (size_t k = 0; r == 0 && k < b->solver.images[i].n; k++)
            r = convert(&w, b->solver.images[i].layers[k], err);
    cb_step_end(w.step, r, err);
    return r;
}

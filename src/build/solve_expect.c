/* SPDX-License-Identifier: Apache-2.0 */
/* What will be needed of layers that are there before anything runs, told ahead: so that a COPY that only asks for the
 * table does not make the same layer be read twice, or its table be taken on somebody's word where the layer itself
 * will come anyway. */
#include "build/solve.h"

/* The topmost vertex of a chain that is done: the layers that are known are its. */
static const struct cb_vertex *known_below(const struct cb_vertex *v)
{
    while (v && !v->state->done)
        v = v->base;
    return v;
}

static void expect(const struct cb_vertex *v, unsigned needs)
{
    for (size_t k = 0; v && k < v->state->n_layers; k++)
        cb_slot_expect(v->state->layers[k], needs);
}

static void warm_up(void *isolator)
{
    cb_exec_warm_up();
    cb_isolator_decide(isolator);
}

/* A RUN that will be executed needs the trees of what is there below it. What every RUN needs is made meanwhile. */
static void expect_trees(const struct cb_solver *s)
{
    const struct cb_vertex *last = NULL;
    bool any = false;
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        if (v->kind != CB_VERTEX_RUN || !v->state->needed || v->state->done)
            continue;
        if (!any)
            cb_pool_submit(s->env->cpu, warm_up, s->env->isolator);
        any = true;
        const struct cb_vertex *below = known_below(v->base);
        if (below != last)
            expect(below, CB_NEED_TREE);
        last = below;
        for (size_t k = 0; k < v->n_inputs; k++)
            expect(known_below(v->inputs[k]), CB_NEED_TREE);
    }
    if (!any)
        cb_store_go_on(s->env->store);
}

/* Whose files of users are read: tables that layers carry with them are without them. */
static void expect_names(const struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        const char *owner = NULL;
        if (v->kind == CB_VERTEX_COPY)
            owner = v->copy.chown;
        else if (v->kind == CB_VERTEX_MKDIR)
            owner = v->mkdir.user;
        const struct cb_vertex *below = owner && v->state->needed ? known_below(v->base) : NULL;
        for (size_t k = 0; below && k < below->state->n_layers; k++)
            if (!cb_streq(owner, "root") && owner[strspn(owner, "0123456789:")])
                cb_slot_expect_names(below->state->layers[k]);
    }
}

/* Which layers of another result a COPY takes files from is known when it has looked at their tables. */
static void suppose_data(const struct cb_solver *s)
{
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        const struct cb_vertex *from = v->kind == CB_VERTEX_COPY && v->state->needed ? known_below(v->from) : NULL;
        for (size_t k = 0; from && !v->state->done && k < from->state->n_layers; k++)
            cb_slot_suppose(from->state->layers[k], CB_NEED_DATA);
    }
}

static unsigned needs_of_outputs(const struct cb_build_options *o)
{
    unsigned needs = o->squash_all ? CB_NEED_DATA : 0;
    for (size_t i = 0; i < o->n_outputs; i++) {
        enum cb_output_type t = o->outputs[i].type;
        if (t == CB_OUTPUT_LOCAL || t == CB_OUTPUT_TAR)
            needs |= CB_NEED_DATA;
        else if (t == CB_OUTPUT_OCI || t == CB_OUTPUT_DOCKER)
            needs |= CB_NEED_BLOB;
    }
    return needs;
}

void cb_solve_expect(const struct cb_solver *s)
{
    unsigned needs = needs_of_outputs(s->o);
    expect_trees(s);
    expect_names(s);
    suppose_data(s);
    for (size_t i = 0; needs && i < s->plan->n_images; i++)
        expect(known_below(s->plan->images[i].goal), needs);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/inputs.h"

void cb_solve_forget_files(struct cb_solver *s)
{
    bool any = false;
    for (size_t i = 0; i < s->plan->n; i++)
        any = any || (s->plan->vertices[i]->state->needed && !s->plan->vertices[i]->state->done);
    for (size_t i = 0; any && i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        if (v->state->vertex == v && (v->state->done || !v->state->needed))
            cb_solve_forget_files_of(s, v);
    }
}

void cb_solve_forget_files_of(struct cb_solver *s, struct cb_vertex *v)
{
    if (!s->o->explain)
        cb_inputs_note(&v->state->noted, &v->state->selection);
}

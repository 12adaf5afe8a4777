/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"

#include "util/alloc.h"

static bool claims(const struct cb_solver *s, const struct cb_vertex *v)
{
    return s->claims && !v->state->anew;
}

/* Nothing has to be done before it but RUNs that are under way, and what no other build is waited for. Of several
 * inputs all others must be there: who knows when they will be. Under s->mu. */
static bool is_next(const struct cb_vertex *v)
{
    const struct cb_vertex *b = v;
    for (bool at_run = false; b && !at_run; b = b->base) {
        bool others = !b->from || b->from->state->done;
        for (size_t i = 0; i < b->n_inputs; i++)
            others = others && b->inputs[i]->state->done;
        if (!others)
            return false;
        if (!b->base || b->base->state->done)
            return true;
        at_run = b->base->kind == CB_VERTEX_RUN;
    }
    return !b || b->state->executed;
}

static void ask_for(struct cb_solver *s, const struct cb_vertex *v)
{
    struct cb_claims_step step = { v, v->state->key };
    cb_claims_begin(s->claims, &step);
}

void cb_solve_executes(struct cb_solver *s, struct cb_vertex *v)
{
    pthread_mutex_lock(&s->mu);
    v->state->executed = true;
    pthread_mutex_unlock(&s->mu);
}

void cb_solve_claim_ahead(struct cb_solver *s)
{
    struct cb_vertex **next = cb_calloc(s->plan->n + 1, sizeof(struct cb_vertex *));
    size_t n = 0;
    if (s->claims) {
        pthread_mutex_lock(&s->mu);
        for (size_t i = 0; i < s->plan->n; i++) {
            struct cb_vertex *v = s->plan->vertices[i];
            const struct cb_solve_state *st = v->state;
            if (v->kind == CB_VERTEX_RUN && st->vertex == v && claims(s, v) && st->needed && !st->done &&
                !st->executed && is_next(v))
                next[n++] = v;
        }
        pthread_mutex_unlock(&s->mu);
    }
    for (size_t i = 0; i < n; i++)
        ask_for(s, next[i]);
    free(next);
}

enum cb_claims_answer cb_solve_claim(struct cb_solver *s, struct cb_vertex *v, bool wait)
{
    if (!claims(s, v))
        return CB_CLAIMS_RUN;
    ask_for(s, v);
    enum cb_claims_answer answer = wait ? cb_claims_ask(s->claims, v) : cb_claims_now(s->claims, v);
    if (answer == CB_CLAIMS_WAIT)
        cb_step_logf(v->step, "waiting for another build that runs this step");
    return answer;
}

void cb_solve_disclaim(struct cb_solver *s, const struct cb_vertex *v)
{
    if (!claims(s, v))
        return;
    cb_claims_stored(s->claims, v);
    cb_claims_written(s->claims, v);
}

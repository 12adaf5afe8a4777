/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Of builds at the same time that miss the same RUN one runs it: of those of one store by a lock there, of those that
 * write one cache by a claim in it (cache/cache.h), or a lock where it is a directory. A build that waits for another
 * has its workers free for everything else: so builds never wait for one another in a circle. */

#include "build/build.h"
#include "build/graph.h"

struct cb_cache_in;
struct cb_cache_out;
struct cb_claims;
struct cb_claims_options {
    const struct cb_build_env *env;
    struct cb_cache_in *in;   /* or NULL */
    struct cb_cache_out *out; /* or NULL */
    /* Where in out a step is claimed: cb_cache_out_claims. */
    struct cb_cache_place *(*place_of)(struct cb_cache_out *out, const struct cb_vertex *v,
                                       const struct cb_cache_spec **spec);
    int64_t newer_than;       /* ns: older records of the store do not count */
    struct cb_cancel *cancel; /* nobody waits any longer */
};
struct cb_claims *cb_claims_new(const struct cb_claims_options *o);
/* Whoever runs a step of ours need not be waited for any more; nothing of them is left anywhere. The places are open
 * still. */
void cb_claims_free(struct cb_claims *c);

enum cb_claims_answer {
    CB_CLAIMS_ASKING,
    CB_CLAIMS_RUN,      /* nobody else runs it, or it cannot be known */
    CB_CLAIMS_STORED,   /* the same, but the store has a record */
    CB_CLAIMS_RECORDED, /* a cache has one by now: cache_in finds it */
    CB_CLAIMS_WAIT      /* another build runs it */
};
/* All of these may be called from any thread, with the vertex whose state it is. */
struct cb_claims_step {
    const struct cb_vertex *v;
    struct cb_digest key;
};
/* Asks for it, if it was not; returns at once. */
void cb_claims_begin(struct cb_claims *c, const struct cb_claims_step *step);
enum cb_claims_answer cb_claims_now(struct cb_claims *c, const struct cb_vertex *v);
/* Waits for an answer, which takes a few round trips at most. Never ASKING. */
enum cb_claims_answer cb_claims_ask(struct cb_claims *c, const struct cb_vertex *v);
/* Calls fn, from any thread, when the answer is no longer WAIT; at once where it is not. */
void cb_claims_wait(struct cb_claims *c, const struct cb_vertex *v, void (*fn)(void *arg), void *arg);
/* What was asked for is not needed any more: the store has its record, the cache has it; or neither will. */
void cb_claims_stored(struct cb_claims *c, const struct cb_vertex *v);
void cb_claims_written(struct cb_claims *c, const struct cb_vertex *v);

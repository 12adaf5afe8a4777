/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The caches of --cache-to: each step goes there behind the build, as soon as its layer is made; at the end what the
 * store had already, and the run index. */

#include "build/cache_in.h"
#include "build/graph.h"
#include "build/slot.h"

struct cb_pusher;
struct cb_cache_out;
struct cb_cache_out_options {
    const struct cb_build_env *env;   /* one that the build's failure does not end */
    const struct cb_build_options *o;
    struct cb_cache_in *in;           /* or NULL */
    struct cb_pusher *pusher;         /* what it pushes is mounted from there; or NULL */
    const char *run;                  /* as of cb_cache_in_open */
    struct cb_format format;          /* of new layers */
};
/* *out NULL: there are none. */
int cb_cache_out_open(const struct cb_cache_out_options *o, struct cb_cache_out **out, struct cb_error *err) CB_WUR;
/* v is made, its layers too. From any thread; returns at once. */
void cb_cache_out_step(struct cb_cache_out *out, struct cb_vertex *v);
/* Where a step that is missing is claimed before it is run, so that builds at the same time wait for it: a place that
 * it will be written to, and that is read. NULL: nowhere. *spec is borrowed, as the place is. */
struct cb_cache_place *cb_cache_out_claims(struct cb_cache_out *out, const struct cb_vertex *v,
                                           const struct cb_cache_spec **spec);
/* fn is called when a step was written to all places, or was not: from any thread, until drain returns. */
void cb_cache_out_on_written(struct cb_cache_out *out, void (*fn)(void *arg, struct cb_vertex *v), void *arg);
void cb_cache_out_drain(struct cb_cache_out *out); /* waits for what is under way; nothing more may come */
/* The same after a failure: only as long as it moves, then it is given up, with the pusher. Claims can be taken back
 * for a moment from then on. */
void cb_cache_out_stop(struct cb_cache_out *out);
/* The build is done: the rest, and what came of it all. */
int cb_cache_out_finish(struct cb_cache_out *out, const struct cb_plan *plan, struct cb_error *err) CB_WUR;
void cb_cache_out_free(struct cb_cache_out *out); /* waits for what is under way */
CB_DEFINE_CLEANUP(struct cb_cache_out *, cb_cache_out_free)

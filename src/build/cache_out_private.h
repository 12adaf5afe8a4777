/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What cache_out.c (places, jobs, the run index) and cache_describe.c (records of steps) share. */

#include <pthread.h>

#include "build/cache_out.h"
#include "build/solve.h"

/* A step as it is recorded: a set of one. */
struct cache_step {
    const struct cb_build_env *env;
    struct cb_vertex *v;
    struct cb_cache_set set;
    struct cb_slot **slots;  /* parallel to the set's layers */
    uint32_t *own;           /* positions of the layers that the step itself made */
    size_t n_own;
    struct cb_toc **tocs;    /* parallel to the set's layers; NULL where there is none, or a cache has it */
    struct cb_cache_place **from; /* parallel to the set's layers: the cache that told of it, or NULL */
};
void cache_step_free(struct cache_step *x);
/* Reads the vertex's state, which does not change any more. NULL where it cannot be told. */
struct cache_step *cache_describe(const struct cb_cache_out_options *o, struct cb_vertex *v, struct cb_error *err);
/* A table of one of its layers: our own where it is that very one, else that of the cache which told of it. */
int cache_step_table(const struct cache_step *x, uint32_t at, struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* The record says nothing any more of tables that neither the cache which told of them has, nor this place: whether
 * there are any. */
bool cache_step_drop_lost(struct cache_step *x, struct cb_cache_place *to);

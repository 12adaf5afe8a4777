/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What cache_out.c (places, jobs, the run index) and cache_describe.c (records of steps) share. */

#include <pthread.h>

#include "build/cache_out.h"
#include "build/solve.h"

/* A step as it is recorded: a set of one. */
struct cache_step {
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

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What slot.c (the table, waiting) and slot_bring.c (fetching, unpacking, recompressing) share. */

#include <pthread.h>

#include "build/slot.h"

struct cb_slot_ready {
    void (*fn)(void *arg, struct cb_slot *s);
    void *arg;
};

struct cb_slot {
    struct cb_slots *owner;
    const struct cb_build_env *env;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool pending;              /* in the making */
    bool busy;                 /* somebody is bringing something */
    bool empty;                /* made, and nothing */
    bool parent;               /* of a parent image: identity is its diff id, encoding that of its manifest */
    int failed;
    struct cb_error error;
    unsigned have;             /* CB_NEED_* known to be there */
    unsigned expected;         /* CB_NEED_* that will be needed */
    struct cb_layer layer;
    struct cb_digest manifest_digest; /* parent: the encoding that its manifest names */
    struct cb_toc *toc;
    int tree_fd;               /* of a tree that is not (yet) in trees/, or -1 */
    struct cb_slot_ready *ready;
    size_t n_ready, cap_ready;
};

/* Brings what is missing of one slot. */
int cb_slot_bring(struct cb_slot *s, unsigned needs, struct cb_step *step, struct cb_error *err) CB_WUR;

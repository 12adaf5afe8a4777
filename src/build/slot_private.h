/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What slot.c (the table, waiting), slot_need.c (many at once), slot_bring.c (fetching, unpacking) and slot_encode.c
 * (other encodings) share. */

#include <pthread.h>

#include "build/slot.h"
#include "build/stack_cache.h"
#include "util/hashmap.h"

struct cb_slots {
    const struct cb_build_env *env;
    pthread_mutex_t mu;              /* taken before that of a slot */
    struct cb_hashmap *by_diff_id;
    struct cb_slot **all;
    size_t n, cap;
    struct cb_pool *fetchers;        /* never wait for a slot in the making: what makes it may need them */
    struct cb_pool *publishers;      /* give blobs their names */
    struct cb_stack_cache *views;
};

struct cb_slot_ready {
    void (*fn)(void *arg, struct cb_slot *s);
    void *arg;
};

/* layer.diff_id and toc do not change once they are set; all else is read and written under mu. */
struct cb_slot {
    struct cb_slots *owner;
    size_t seq;                /* in the order of making: who brings a slot may wait for earlier ones only */
    const struct cb_build_env *env;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool pending;              /* in the making */
    bool busy;                 /* somebody is bringing something */
    bool publishing;           /* its blob is whole and gets its name; table and tree are there */
    struct cb_error unpublished; /* why it did not */
    bool empty;                /* made, and nothing */
    bool parent;               /* of a parent image: identity is its diff id, encoding that of its manifest */
    int failed;
    struct cb_error error;
    unsigned have;             /* CB_NEED_* known to be there */
    unsigned expected;         /* CB_NEED_* that will be needed */
    struct cb_layer layer;
    struct cb_digest manifest_digest; /* parent: the encoding that its manifest names */
    struct cb_digest content;  /* once it was asked for */
    struct cb_toc *toc;
    int tree_fd;               /* of a tree that is not (yet) in trees/, or -1; from the beginning to the end */
    struct cb_slot_ready *ready;
    size_t n_ready, cap_ready;
};

struct cb_slot_want {
    unsigned needs;
    struct cb_step *step;
    struct cb_slot *const *below; /* the layers that it stands on, for a tree; lowest first */
    size_t n_below;
};
/* Brings what is missing of one slot. */
int cb_slot_bring(struct cb_slot *s, const struct cb_slot_want *w, struct cb_error *err) CB_WUR;
/* A blob of l in the store, of whatever encoding, or NULL. */
const struct cb_layer_encoding *cb_slot_stored_encoding(const struct cb_slot *s, const struct cb_layer *l);
/* The bytes of one encoding: the store's, else an origin's. */
int cb_slot_open_blob(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                      struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* "sha256:0123456789ab": what people are shown of a digest. */
void cb_slot_short_digest(char out[32], const struct cb_digest *d);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What slot.c (the table, waiting), slot_need.c (many at once), slot_bring.c (fetching, unpacking), slot_early.c (trees
 * before digests), slot_table.c and slot_foreign.c (tables without their layers), slot_encode.c (other encodings) and
 * slot_lost.c (what is nowhere any more) share. */

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
    struct cb_pool *askers;          /* for tables that are told: small, so that what they cost is round trips */
    struct cb_pool *fetchers;        /* never wait for a slot in the making: what makes it may need them */
    struct cb_pool *hashers;         /* digests of layers whose trees are in use already */
    uint64_t early_left;             /* bytes of blobs that may be early, under mu; 0: none */
    const struct cb_cancel *early_cancel;
    bool converts;                   /* parents' layers: cb_slots_convert_parents; before any slot is there */
    bool steps_run;                  /* what is early need not wait for a better time */
    unsigned running;                /* steps, now; under mu */
    size_t tars;                     /* bytes that slots keep, under mu */
    struct cb_stack_cache *views;
};

struct cb_slot_ready {
    void (*fn)(void *arg, struct cb_slot *s);
    void *arg;
};

/* layer.diff_id does not change once it is set, nor do toc, but for told, and index; all else is read and written
 * under mu. */
struct cb_slot {
    struct cb_slots *owner;
    size_t seq;                /* in the order of making: who brings a slot may wait for earlier ones only */
    const struct cb_build_env *env;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool pending;              /* in the making */
    bool busy;                 /* somebody is bringing something */
    bool empty;                /* made, and nothing */
    bool fresh;                /* made by this build */
    bool parent;               /* of a parent image: identity is its diff id, encoding that of its manifest */
    int failed;
    struct cb_error error;
    unsigned have;             /* CB_NEED_* known to be there */
    unsigned expected;         /* CB_NEED_* that will be needed */
    unsigned supposed;         /* … that may be: brought only where the layer is read anyway */
    struct cb_layer layer;
    struct cb_digest manifest_digest; /* parent: the encoding that its manifest names */
    struct cb_strmap annotations;     /* … with */
    struct cb_digest named;           /* the encoding that the manifest in the making names, once it does */
    struct cb_toc_pin pin;     /* of the table: what all parents that have it say */
    struct cb_strbuf small;    /* the table that pin means, where who pins it gives it along; else empty */
    bool unpinned;             /* it was of no use */
    bool unproven;             /* toc is what was told, and nobody has read the layer */
    struct cb_toc_pin own_pin; /* of a table that was read or made, once it was asked for */
    struct cb_cache_place *place; /* a cache that has it, or NULL */
    bool hearsay;              /* nobody but the cache says what it unpacks to */
    bool pinned_by_cache;      /* pin is its word */
    struct cb_digest content;  /* once it was asked for */
    struct cb_toc *toc;
    struct cb_toc_index *index; /* of the store's table, used where toc is not there */
    bool foreign;              /* all parents name the same table in the blob (layer/foreign.h), and it may be had */
    bool by_foreign;           /* toc was made of that */
    enum cb_foreign_toc_kind foreign_kind;
    struct cb_digest foreign_digest;
    struct cb_toc *told;       /* what toc was until the layer was read, or NULL */
    bool names;                /* somebody will look up users or groups */
    struct cb_strbuf tar;      /* of a small layer that this build wrote, until it has a tree; else empty */
    struct cb_slot_early *early; /* the tree can be used, and the rest is being computed; busy, then */
    struct cb_toc *sketch;     /* of a layer that is or was early: its table without digests; stays */
    int tree_fd;               /* of a tree that is not (yet) in trees/, or -1; from the beginning to the end */
    struct cb_slot_ready *ready;
    size_t n_ready, cap_ready;
};

/* What a table that is told serves for, as far as it is believed. */
#define CB_NEED_TOLD (CB_NEED_TOC | CB_NEED_LOOKUP | CB_NEED_SKETCH | CB_NEED_CONTENT)
#define CB_NEED_PROOF 16 /* of the table: the layer was read, and the store has it */
struct cb_slot_want {
    unsigned needs;
    bool told_only;            /* a table that can be had without the layer, or nothing */
    struct cb_step *step;
    struct cb_slot *const *below; /* the layers that it stands on, for a tree; lowest first */
    size_t n_below;
    bool lower_there;          /* and that their tables and trees are there, also of those that were made later */
};
/* Brings what is missing of one slot. 1: only a table that is told was wanted, and there is none. */
int cb_slot_bring(struct cb_slot *s, const struct cb_slot_want *w, struct cb_error *err) CB_WUR;
/* ChainID of v[0], …, v[n - 1]. False: a step of this build made one of them. */
bool cb_slots_chain(struct cb_slot *const *v, size_t n, struct cb_digest *out);
/* Under s->mu. Which of CB_NEED_* are there, as far as needs asks; no tree that is one for certain layers below. */
unsigned cb_slot_check_have(struct cb_slot *s, unsigned needs);
/* Only a blob that was seen to unpack to this diff id is recorded as an encoding of it: what manifests claim would let
 * one image plant a blob in another. */
int cb_slot_record_verified(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                            struct cb_error *err) CB_WUR;
/* Under s->mu. What an earlier build has noted of it. */
void cb_slot_recall_content(struct cb_slot *s);
/* A blob of l in the store, of whatever encoding, or NULL. */
const struct cb_layer_encoding *cb_slot_stored_encoding(const struct cb_slot *s, const struct cb_layer *l);
/* Whether its blob is in the store, or a place is known that should have it. */
bool cb_slot_encoding_there(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e);
/* The one that is had most easily; NULL where none is known. */
const struct cb_layer_encoding *cb_slot_any_encoding(const struct cb_slot *s, const struct cb_layer *l);
/* The bytes of one encoding: the store's, else an origin's. */
int cb_slot_open_blob(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                      struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* Its entries written again. *toc may be NULL. */
int cb_slot_transcode(struct cb_slot *s, const struct cb_layer_write_options *wo, struct cb_layer *out,
                      struct cb_toc **toc, struct cb_error *err) CB_WUR;

void cb_slots_release_tar(struct cb_slots *t, size_t n); /* of a slot that has freed its own */

/* ---- slot_early.c: a tree before the digests of its layer ---- */
void cb_slot_early_free(struct cb_slot_early *e); /* which is not being worked on */
/* Whether a blob of that size may be, and it counts. */
bool cb_slots_let_early(struct cb_slots *t, uint64_t size);
/* Of a slot that is busy with us: it is so until the rest is done. Takes work. e: the encoding that was read. */
void cb_slot_begin_early(struct cb_slot *s, struct cb_layer_early *work, const struct cb_layer *layer,
                         const struct cb_layer_encoding *e, struct cb_toc *sketch);
bool cb_slot_has_early(const struct cb_slot *s, const struct cb_slot_want *w); /* all of it, now; under s->mu */
bool cb_slot_is_on_chain(struct cb_slot *s); /* the tree that is there is one for certain layers below */
/* 0: *fd; 1: it is not early, or not for who stands on this chain. NULL: on none that is known. */
int cb_slot_early_tree(struct cb_slot *s, const struct cb_digest *below, int *fd, struct cb_error *err) CB_WUR;
/* Under s->mu: somebody waits for the rest. */
void cb_slot_hurry(struct cb_slot *s);
/* Waits until nothing of it is early; fails where the slot has. */
int cb_slot_settle(struct cb_slot *s, struct cb_error *err) CB_WUR;

/* ---- slot_table.c: a table without its layer ---- */
/* Whether there is somebody to ask. Under s->mu. */
bool cb_slot_is_told(const struct cb_slot *s);
uint64_t cb_slot_blob_size(const struct cb_slot *s); /* of what the manifest names; under s->mu */
/* *out NULL: nobody told one that can be used. Only a cancellation is an error. */
int cb_slot_told(struct cb_slot *s, const struct cb_layer *l, struct cb_step *step, struct cb_toc **out,
                 struct cb_error *err) CB_WUR;
/* The layer was read: whether a table that was told is its own. -CB_EVERIFY with both. */
int cb_slot_prove(struct cb_slot *s, struct cb_error *err) CB_WUR;

/* ---- slot_foreign.c: one that the layer carries with it ---- */
struct cb_slot_foreign {
    struct cb_toc *toc;
    enum cb_foreign_toc_kind kind;
    struct cb_digest digest;
};
/* Under s->mu, both. */
bool cb_slot_has_foreign(const struct cb_slot *s);
void cb_slot_learn_foreign(struct cb_slot *s, const struct cb_descriptor *d);
int cb_slot_told_foreign(struct cb_slot *s, const struct cb_layer *l, struct cb_slot_foreign *out,
                         struct cb_error *err) CB_WUR;
int cb_slot_prove_foreign(struct cb_slot *s, struct cb_error *err) CB_WUR;

/* "sha256:0123456789ab": what people are shown of a digest. */
void cb_slot_short_digest(char out[32], const struct cb_digest *d);

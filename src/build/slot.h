/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A layer that a build works with: known from a parent or a record, or still in the making (the difference of a RUN
 * that is being hashed and compressed while the next step already runs on its directory). What is missing of it —
 * table, tree, blob — is brought when somebody needs it, once, however many ask. Thread-safe.
 *
 * A table alone may come without its layer: where the manifest of every parent that has the layer pins the same table,
 * that is asked for by its digest, or read out of the layer by ranges where it carries one. It is the word of who made
 * the parent: it serves this build, is never put into the store, and is compared with what the layer holds as soon as
 * somebody reads that. */

#include "build/build.h"

#define CB_SLOT_FETCHERS 4u /* layers that are fetched at a time */

struct cb_slot;
struct cb_slots; /* the table of one build: slots by diff id; owns them */

struct cb_slots *cb_slots_new(const struct cb_build_env *env);
void cb_slots_free(struct cb_slots *t); /* nothing may be in the making any more */
CB_DEFINE_CLEANUP(struct cb_slots *, cb_slots_free)
const struct cb_build_env *cb_slots_env(const struct cb_slots *t);

/* From now on the encoding of a parent's layer is not that of its manifest, but one of the format that is asked for. */
void cb_slots_convert_parents(struct cb_slots *t);

/* How a parent image has a layer. */
struct cb_slot_parent {
    const struct cb_descriptor *desc;  /* what its manifest says */
    const char *host, *repo;           /* the repository that has it; NULL: only the store */
    bool preferred;                    /* where several parents have it in several encodings: this one's is used */
};
struct cb_slot *cb_slots_parent(struct cb_slots *t, const struct cb_digest *diff_id, const struct cb_slot_parent *p);
/* A layer that the store knows. -CB_ENOTFOUND where its bytes can be had nowhere. */
int cb_slots_stored(struct cb_slots *t, const struct cb_digest *diff_id, struct cb_slot **out,
                    struct cb_error *err) CB_WUR;
/* After a failure: asks the repositories by which alone the store knows a layer. Those that say that they do not have
 * it are forgotten, so that the next look is another. Asked through env; nothing may use the slots meanwhile. */
struct cb_slots_lost {
    size_t recorded, parents; /* layers of which a blob is nowhere any more: of records, and of images */
};
int cb_slots_forget_lost(struct cb_slots *t, const struct cb_build_env *env, struct cb_slots_lost *out,
                         struct cb_error *err) CB_WUR;
/* The same of an image that is there: whether its layers being lost is why. */
bool cb_slots_have_lost(struct cb_slots *t, const struct cb_build_env *env, const struct cb_error *why);
/* A layer that a cache has: its word for what the blob unpacks to, and for the table, which is fetched instead of the
 * layer. The place outlives the slots. What is not in a repository is brought at once. */
struct cb_slot_cached {
    const struct cb_cache_layer *layer;
    struct cb_cache_place *place;
};
int cb_slots_cached(struct cb_slots *t, const struct cb_slot_cached *c, struct cb_slot **out,
                    struct cb_error *err) CB_WUR;
/* A parent's layer, which the parent has: the cache's word for its table, where no manifest pins that. */
void cb_slot_parent_cached(struct cb_slot *s, const struct cb_slot_cached *c);
/* The cache by whose word it is pinned, and which has that table; or NULL. */
struct cb_cache_place *cb_slot_pinned_by(struct cb_slot *s);
/* Whether nobody but a cache says what its blob unpacks to. */
bool cb_slot_is_hearsay(struct cb_slot *s);
/* A new layer that is complete. Takes nothing; copies. One of the same diff id may be returned instead. */
struct cb_slot *cb_slots_made(struct cb_slots *t, const struct cb_layer *layer, struct cb_toc *toc);
/* Its tar, while that is known: a tree of it is then made without reading the layer again. Emptied where it is kept,
 * which it is not where there are many. */
#define CB_SLOT_TAR_MAX ((size_t)256 << 10)
void cb_slot_keep_tar(struct cb_slot *s, struct cb_strbuf *tar);
/* A new layer in the making, with a tree that can be used already (a descriptor of its own is kept). */
int cb_slots_pending(struct cb_slots *t, int tree_fd, struct cb_slot **out, struct cb_error *err) CB_WUR;
/* Ends the making: with a layer, as an empty difference (layer NULL, err NULL), or with an error. */
void cb_slot_complete(struct cb_slot *s, const struct cb_layer *layer, struct cb_toc *toc, const struct cb_error *err);

/* Waits until it is made. 0, or why it could not be. *empty (may be NULL): the step changed nothing: it counts for
 * nothing. */
int cb_slot_wait(struct cb_slot *s, bool *empty, struct cb_error *err) CB_WUR;
bool cb_slot_is_pending(struct cb_slot *s);
bool cb_slot_is_parent(struct cb_slot *s);
bool cb_slot_is_fresh(struct cb_slot *s); /* this build made it, and nobody else is known to have it */
/* Called with the slot once it is made (at once where it is), from any thread; not called where making it failed. */
void cb_slot_on_ready(struct cb_slot *s, void (*fn)(void *arg, struct cb_slot *s), void *arg);

/* Everything below needs a slot that is made. */
const struct cb_digest *cb_slot_diff_id(const struct cb_slot *s); /* borrowed */
/* All that is known of it now: a copy, which is the caller's. */
void cb_slot_layer(struct cb_slot *s, struct cb_layer *out);
#define CB_NEED_DATA 8 /* tree or blob, whichever is there */
#define CB_NEED_LOOKUP 32 /* table, or an index of it: enough for cb_slots_lookup */
#define CB_NEED_CONTENT 64 /* enough for cb_slot_content */
/* The same as LOOKUP for who compares no contents: digests may be deferred (cb_sum_defer). */
#define CB_NEED_SKETCH 128
/* From now on a tree or sketch may be there before it is known that the layer is what its diff id says. Nobody else may
 * learn of what comes of it before these are settled: cb_slots_settle waits for that, and tells what was wrong.
 * max: bytes of blobs, all together; CB_EARLY_AS_FITS: as long as what is read twice so stays in memory. cancel: gives
 * up what is computed; a step that fails does not, or its parent would have to be unpacked again. */
#define CB_EARLY_AS_FITS UINT64_MAX
void cb_slots_may_be_early(struct cb_slots *t, uint64_t max, const struct cb_cancel *cancel);
/* From now on there is time for it, and else when somebody waits. */
void cb_slots_begin_to_settle(struct cb_slots *t);
/* A step's process is there, or has ended: meanwhile a processor is its own, where there is more than one. */
void cb_slots_step_runs(struct cb_slots *t, bool runs);
/* Without hurry, so not for what a step waits for; and whatever comes of it. */
void cb_slots_await_settled(struct cb_slot *const *v, size_t n);
bool cb_slots_are_settled(struct cb_slot *const *v, size_t n);
int cb_slots_settle(struct cb_slot *const *v, size_t n, struct cb_error *err) CB_WUR;
int cb_slots_settle_all(struct cb_slots *t, struct cb_error *err) CB_WUR;
bool cb_slots_settle_within(struct cb_slots *t, unsigned ms); /* whether all are, in that time, and however */
/* Makes table, tree, blob of all of them present, several at once; progress goes to step. Slots in the making are
 * waited for, but a tree alone is there from the start. */
int cb_slots_need(struct cb_slots *t, struct cb_slot *const *v, size_t n, unsigned needs, struct cb_step *step,
                  struct cb_error *err) CB_WUR;
/* Somebody will need this later: whoever brings something of the slot first brings it too, in the same pass. */
void cb_slot_expect(struct cb_slot *s, unsigned needs);
/* Somebody will look up users or groups: a table that is told without them is of no use. */
void cb_slot_expect_names(struct cb_slot *s);
/* Somebody may need this later: whoever has to read the layer anyway brings it too. */
void cb_slot_suppose(struct cb_slot *s, unsigned needs);
struct cb_toc *cb_slot_toc(struct cb_slot *s); /* borrowed, after NEED_TOC; NULL: empty */
/* A descriptor for the tree of v[i], which stands on those before it, the caller's; after NEED_TREE of all these. */
int cb_slot_tree(struct cb_slot *const *v, size_t i, int *fd, struct cb_error *err) CB_WUR;
/* The merged view of these layers, empty ones passed over; after NEED_TOC. */
struct cb_stack *cb_slots_stack(struct cb_slots *t, struct cb_slot *const *v, size_t n);
/* What answers the same questions one by one; after NEED_LOOKUP or NEED_SKETCH. */
struct cb_lookup *cb_slots_lookup(struct cb_slot *const *v, size_t n);
/* What it holds, whatever the times: the identity that content keys are made from; after NEED_CONTENT. Of a parent's
 * layer it is its diff id. False: empty. */
bool cb_slot_content(struct cb_slot *s, struct cb_digest *out);
/* How a manifest names it in this format (cb_format_serves), a parent's layer as it is there: made from what is there
 * where nobody has it yet. */
int cb_slot_encoding(struct cb_slot *s, const struct cb_format *f, struct cb_layer_encoding *out,
                     struct cb_error *err) CB_WUR;
/* The same where it is there already; false else. */
bool cb_slot_encoding_known(struct cb_slot *s, const struct cb_format *f, struct cb_layer_encoding *out);
/* That a manifest names it so: CB_NEED_BLOB means this blob from then on, and no other encoding of it. */
void cb_slot_name(struct cb_slot *s, const struct cb_digest *blob);
/* Its bytes in this encoding, from wherever they are: for who writes them elsewhere. */
int cb_slot_source(struct cb_slot *s, const struct cb_digest *blob, struct cb_blob_source **out,
                   struct cb_error *err) CB_WUR;
/* What its descriptor in a manifest is annotated with: of a parent's layer what that manifest has, else nothing. */
void cb_slot_annotations(struct cb_slot *s, struct cb_strmap *out);
/* By what a manifest pins its table: the word of a parent's manifest, else what its table is. False where that is not
 * known here. */
bool cb_slot_pin(struct cb_slot *s, struct cb_toc_pin *out);
/* Adds the table of that pin to *out (may be NULL), if it is small (CB_TOC_SMALL), and here. */
bool cb_slot_small_table(struct cb_slot *s, const struct cb_toc_pin *pin, struct cb_strbuf *out);

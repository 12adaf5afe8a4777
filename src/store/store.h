/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The local store: blobs, tables of contents, unpacked layers, names, layer facts, cache records. DESIGN §8.
 *
 *   oci-layout index.json blobs/<alg>/<hex>   an OCI image layout that others can read; index.json: the truth for names
 *   version                                   "1"
 *   toc/<alg>/<hex of diff id>                tables of contents, the 32 bytes of their sha256 behind them
 *   trees/<hex of diff id>[+<hex of chain>][-form]/{fs,state}  unpacked layers, overlay form
 *   cache/<2 hex>/<hex of key>                cache records, one small file each
 *   inputs/<hex>                              what the steps of builds were made from, for --explain (30 days)
 *   mounts/<hex of key>[-form]/<n>/{fs,lock}  directories of RUN --mount=type=cache; `lock` is flock'd by who uses fs
 *   stats/<hex of key>                        digests of files in build contexts (src/build/stat_cache.h)
 *   steps/<hex of key>                        steps that are being run; flock'd by who does, and gone with the step
 *   uploads/<hex>                             uploads that were begun: where they go on (secret; one day)
 *   index.sqlite                              layers, encodings, origins, last use; can be rebuilt from the files
 *   leases/ tmp/ trash/ lock index.lock
 *
 * Nothing has a name in blobs/ before digest and size hold and it is on the disk (R5, R6). Trees, tables and
 * records are derived: they are not synced. `state` holds the boot id of the system that finished a tree, and a tree
 * of another boot that was never synced (gc does that) is dropped when it is met; the others have checksums. kill -9
 * at any moment leaves a store that needs no cleaning: what is in tmp/ under no live lease goes at the next open.
 * All functions are thread-safe. A handle is not used across fork(2). Directories are 0700 (A8).
 *
 * A handle's lease lists every blob and layer that it has opened, found or published, so gc, in whatever process,
 * leaves them and all below them alone until the handle is closed. Names and cb_store_find hold nothing. So who
 * wants to free what it has used itself closes its handle first. */

#include "layer/layer.h"
#include "oci/blob_io.h"
#include "oci/descriptor.h"
#include "oci/reference.h"
#include "util/cancel.h"

struct cb_store;
enum cb_store_images {
    CB_STORE_IMAGES_NONE,
    CB_STORE_IMAGES_LARGE, /* a few files are sooner made than mounted, and cheaper to run from */
    CB_STORE_IMAGES_ALL
};
struct cb_store_options {
    /* NULL: CBPUSH_ROOT, else /var/lib/cbpush for root, else $XDG_DATA_HOME/cbpush (~/.local/share/cbpush) */
    const char *root;
    bool as_root; /* whether we were started as root (inside our user namespace everybody is) */
    /* NULL or [a-z0-9]{1,31}: trees of different forms (owners set or not, user.* or trusted.* overlay marks) stand
     * side by side under trees/<hex>-<form> and are never taken for one another */
    const char *tree_form;
    /* Layers may be EROFS images (layer/erofs.h) instead of directories, where the kernel and our rights allow it:
     * only trees without a form. CBPUSH_TREES=directories says no, =images says ALL; anything else
     * that is not empty is -CB_EUSAGE. */
    enum cb_store_images images;
    /* Ends waits for what another process has (the store's lock, the index): -CB_ECANCELED. Outlives the store. Or
     * NULL. */
    const struct cb_cancel *cancel;
    /* Once per wait that takes longer than a second, from the waiting thread; or NULL. */
    void (*busy)(void *arg, const char *line);
    void *busy_arg;
};
int cb_store_open(const struct cb_store_options *o, struct cb_store **out, struct cb_error *err) CB_WUR;
/* For one call: in a new directory below $TMPDIR (/tmp), which goes when the store is closed, or after kill -9 when
 * the next such store is opened. o->root is not looked at. */
int cb_store_open_passing(const struct cb_store_options *o, struct cb_store **out, struct cb_error *err) CB_WUR;
void cb_store_close(struct cb_store *s);
CB_DEFINE_CLEANUP(struct cb_store *, cb_store_close)
const char *cb_store_root(const struct cb_store *s);
int cb_store_root_fd(const struct cb_store *s); /* borrowed */

/* ---- blobs ---- */
/* A blob that was committed is there for this handle at once, and for others as soon as the disk has it: R6 is kept
 * beside the work. A name waits for that; who tells of blobs in another way settles first. */
int cb_store_blob_sink(struct cb_store *s, struct cb_blob_sink **out, struct cb_error *err) CB_WUR;
/* For who knows the digest when he commits: he has computed it of what he wrote, or has read that from a source that
 * verifies, to its end. It is not computed again; the size, which must be said, is checked. */
int cb_store_blob_sink_known(struct cb_store *s, struct cb_blob_sink **out, struct cb_error *err) CB_WUR;
/* -CB_ENOTFOUND */
int cb_store_blob_open(struct cb_store *s, const struct cb_digest *d, int *fd, uint64_t *size, struct cb_error *err)
    CB_WUR;
int cb_store_blob_source(struct cb_store *s, const struct cb_digest *d, struct cb_blob_source **out,
                         struct cb_error *err) CB_WUR;
bool cb_store_blob_has(struct cb_store *s, const struct cb_digest *d, uint64_t *size /* may be NULL */);
bool cb_store_has_no_blob(struct cb_store *s); /* of sha256, which is what there is */
int cb_store_blob_put(struct cb_store *s, const void *buf, size_t n, struct cb_digest *out, struct cb_error *err)
    CB_WUR;
/* All that was committed is on the disk, or why something is not. */
int cb_store_settle(struct cb_store *s, struct cb_error *err) CB_WUR;
/* The same of what was committed before this call, whoever commits more; nothing is said of what has failed. */
void cb_store_settle_so_far(struct cb_store *s);
/* From here on the disk is waited for only where somebody asks (cb_store_settle and what it is a part of) or it gets
 * much, until cb_store_go_on: a sync holds up all that writes to the same file system. */
void cb_store_put_off(struct cb_store *s);
void cb_store_go_on(struct cb_store *s);
/* Whole, re-hashed; -CB_EVERIFY where the file is damaged. For manifests and configs. */
int cb_store_blob_get(struct cb_store *s, const struct cb_digest *d, size_t max, struct cb_strbuf *out,
                      struct cb_error *err) CB_WUR;

/* ---- layers ---- */
/* Merges what is known of l->diff_id with what is recorded. An encoding is to be put only by who has seen that blob
 * unpack to that diff id: a manifest's word for it is not enough, the next image with this layer would get the blob. */
int cb_store_layer_put(struct cb_store *s, const struct cb_layer *l, struct cb_error *err) CB_WUR;
/* -CB_ENOTFOUND */
int cb_store_layer_get(struct cb_store *s, const struct cb_digest *diff_id, struct cb_layer *out,
                       struct cb_error *err) CB_WUR;
/* That the repository of origin i of l does not have that blob of it any more. */
int cb_store_origin_forget(struct cb_store *s, const struct cb_layer *l, size_t i, struct cb_error *err) CB_WUR;
int cb_store_toc_put(struct cb_store *s, const struct cb_digest *diff_id, const struct cb_toc *toc,
                     struct cb_error *err) CB_WUR;
/* -CB_ENOTFOUND */
int cb_store_toc_get(struct cb_store *s, const struct cb_digest *diff_id, struct cb_toc **out, struct cb_error *err)
    CB_WUR;
/* What answers questions about single paths of it: the table where it is small, else its index. -CB_ENOTFOUND */
int cb_store_toc_open(struct cb_store *s, const struct cb_digest *diff_id, struct cb_lookup_layer *out,
                      struct cb_error *err) CB_WUR;
/* What the stored table is pinned by, as a table of today's format; -CB_ENOTFOUND. */
int cb_store_toc_pin(struct cb_store *s, const struct cb_digest *diff_id, struct cb_toc_pin *out, struct cb_error *err)
    CB_WUR;
/* Its bytes, verified before they are given, and as they are read. -CB_ENOTFOUND where there is none, or another one;
 * one that is damaged is removed. */
int cb_store_toc_source(struct cb_store *s, const struct cb_digest *diff_id, const struct cb_toc_pin *pin,
                        struct cb_blob_source **out, struct cb_error *err) CB_WUR;

/* ---- trees ---- */
/* Whether a new one may be an image: tried once. */
bool cb_store_wants_images(struct cb_store *s);
/* Whether it should be, with so many entries and bytes. */
bool cb_store_wants_image_of(struct cb_store *s, size_t entries, uint64_t size);
/* The same, and why not: a text of ours, or NULL; owned by s. */
const char *cb_store_images_refused(struct cb_store *s);
/* What a tree is of. Most layers say all that is in their trees: below is NULL. One that only implies directories, or
 * has hard links into lower layers, has a tree for each ChainID that it stands on (unset: on nothing). */
struct cb_tree_name {
    const struct cb_digest *diff_id, *below; /* borrowed */
};
/* O_PATH descriptor of trees/<name>/fs, or of the root of trees/<name>/image, which is mounted nowhere, and only as
 * long as the store or the descriptor is open; -CB_ENOTFOUND. With a chain: one that takes nothing from it serves,
 * too. */
int cb_store_tree_open(struct cb_store *s, const struct cb_tree_name *name, int *fd, struct cb_error *err) CB_WUR;
/* A private directory below tmp/ with an empty "fs" in it (mode 0755), under this process's lease. */
struct cb_store_tmp {
    struct cb_store *store;
    char name[64];
    int fd; /* the directory itself, O_RDONLY|O_DIRECTORY */
};
#define CB_STORE_TMP_INIT                                                                                            \
    {                                                                                                                \
        .fd = -1                                                                                                     \
    }
int cb_store_tmp_new(struct cb_store *s, const char *prefix, struct cb_store_tmp *out, struct cb_error *err) CB_WUR;
/* A file without a name on the store's disk, for what is read more than once and may be larger than memory: read-write,
 * at its beginning, the caller's. */
int cb_store_spool(struct cb_store *s, int *fd, struct cb_error *err) CB_WUR;
/* Moves its directory `sub` ("fs", "upper") to trees/<name>/fs, or a file, which is an image, to
 * trees/<name>/image. One that exists wins and is no error. */
int cb_store_tree_publish(struct cb_store *s, struct cb_store_tmp *t, const char *sub,
                          const struct cb_tree_name *name, struct cb_error *err) CB_WUR;
/* The root of its file "image", mounted nowhere: for who may use it before it has a name. The caller's. */
int cb_store_tmp_mount(const struct cb_store_tmp *t, int *fd, struct cb_error *err) CB_WUR;
/* Such a mount, of what has become trees/<name>: cb_store_tree_open needs no other. Borrowed. */
void cb_store_tree_mounted(struct cb_store *s, const struct cb_tree_name *name, int fd);
/* Those that are kept for who opens the same tree again: unmounting takes a while, and here is time for it. */
void cb_store_drop_mounts(struct cb_store *s);
void cb_store_tmp_done(struct cb_store_tmp *t); /* removes what is left */
#define cb_cleanup_store_tmp CB_CLEANUP(cb_store_tmp_done)

/* ---- directories of RUN --mount=type=cache ----
 *
 * They outlive builds and hold whatever steps put there: no name, lease or record keeps them, and cb_store_gc leaves
 * them alone. A key may have several, as BuildKit does it: a step that shares joins those that share; one that wants
 * its own (private) takes one that nobody has, or a new one; `locked` waits until it may have one alone. The locks are
 * flocks: they hold between threads and between processes, and end with their holder. */
enum cb_mount_sharing { CB_SHARING_SHARED, CB_SHARING_PRIVATE, CB_SHARING_LOCKED };
struct cb_store_mount_spec {
    struct cb_digest key;
    enum cb_mount_sharing sharing;
    /* Gives a new one, which is empty, 0755 and ours, its owner, mode and contents; no lock is held. May be NULL. */
    int (*fill)(void *arg, int fs_fd, struct cb_error *err);
    void (*waiting)(void *arg);      /* told once, where somebody else has it; may be NULL */
    void *arg;
    const struct cb_cancel *cancel;  /* or NULL */
};
struct cb_store_mount {
    int fd;   /* the directory, O_RDONLY|O_DIRECTORY */
    int lock;
    char name[24]; /* which one of its key */
};
#define CB_STORE_MOUNT_FS "fs" /* what fd is called in the directory above it: who has it alone may put another there */
#define CB_STORE_MOUNT_INIT { .fd = -1, .lock = -1 }
int cb_store_mount_take(struct cb_store *s, const struct cb_store_mount_spec *spec, struct cb_store_mount *out,
                        struct cb_error *err) CB_WUR;
/* One that was had before, to be read, beside others that read or share it. Never waits: -CB_ENOTFOUND where it has
 * been removed, -CB_ELOCAL (sys_errno EWOULDBLOCK) where somebody has it alone. */
int cb_store_mount_again(struct cb_store *s, const struct cb_digest *key, const char *name, struct cb_store_mount *out,
                         struct cb_error *err) CB_WUR;
/* Removes those of the key that are empty and that nobody uses: the next that is taken is a new one. */
int cb_store_mount_drop_empty(struct cb_store *s, const struct cb_digest *key, struct cb_error *err) CB_WUR;
void cb_store_mount_done(struct cb_store_mount *m);
struct cb_store_mounts {
    uint64_t n, bytes; /* removed, or to be removed */
    uint64_t in_use;   /* left alone */
};
/* Removes those that nobody uses, of every form. */
int cb_store_mounts_prune(struct cb_store *s, bool dry_run, struct cb_store_mounts *res, struct cb_error *err) CB_WUR;

/* ---- names ---- */
/* Moves a name to a manifest or index that is in the store whole; a manifest's config must be there too, layers need
 * not. NULL desc: removes it (-CB_ENOTFOUND). canonical NULL: keeps an image without a name; it is removed by its
 * digest as text, and by giving it a name. */
int cb_store_name_set(struct cb_store *s, const char *canonical, const struct cb_descriptor *desc,
                      struct cb_error *err) CB_WUR;
/* -CB_ENOTFOUND */
int cb_store_name_get(struct cb_store *s, const char *canonical, struct cb_descriptor *out, struct cb_error *err)
    CB_WUR;
struct cb_store_name {
    char *name; /* canonical reference, or NULL for an untagged image kept by digest */
    struct cb_descriptor desc;
    int64_t created; /* when the name was set, ns */
};
struct cb_store_names {
    struct cb_store_name *v;
    size_t n, cap;
};
void cb_store_names_done(struct cb_store_names *l);
/* newest first */
int cb_store_name_list(struct cb_store *s, struct cb_store_names *out, struct cb_error *err) CB_WUR;
/* The same of a store that is not opened, and not made where there is none: index.json as it is, without a lock. */
int cb_store_peek(const struct cb_store_options *o, struct cb_store_names *out, struct cb_error *err) CB_WUR;
/* What a user typed: a reference, or (a prefix of ≥ 4 digits of) a manifest's or config's digest; of several manifests
 * with one config the newest. -CB_ENOTFOUND; ambiguous: -CB_EUSAGE. */
int cb_store_find(struct cb_store *s, const char *text, struct cb_descriptor *out, char **canonical /* or NULL */,
                  struct cb_error *err) CB_WUR;
/* The same, for what cb_store_name_set removes: that name, or every name under which a digest is there (itself, its
 * manifests, an index with it); an image without a name by its digest. */
int cb_store_find_names(struct cb_store *s, const char *text, struct cb_strvec *out, struct cb_error *err) CB_WUR;

/* ---- cache records: immutable, key → layers ---- */
struct cb_cache_record {
    bool whole;               /* layers is the whole result; else only what the step added (0 or 1) on any base */
    struct cb_digest *layers; /* diff ids, lowest first */
    size_t n_layers;
    int64_t created; /* ns */
    char *note;      /* what made it, for people: "RUN make" */
};
void cb_cache_record_done(struct cb_cache_record *r);
#define cb_cleanup_cache_record CB_CLEANUP(cb_cache_record_done)
/* -CB_ENOTFOUND */
int cb_store_cache_get(struct cb_store *s, const struct cb_digest *key, struct cb_cache_record *out,
                       struct cb_error *err) CB_WUR;
int cb_store_cache_put(struct cb_store *s, const struct cb_digest *key, const struct cb_cache_record *r,
                       struct cb_error *err) CB_WUR;

bool cb_store_cache_is_empty(struct cb_store *s); /* there is not one record */
/* Opens the index, which the first question to it does otherwise: for who is about to wait for something else. */
void cb_store_warm(struct cb_store *s);
/* Brings what was written to the index so far to the disk, as closing it does otherwise: for who waits anyway. */
void cb_store_settle_index(struct cb_store *s);

/* ---- what the steps of a build were made from: one text a build of the same Dockerfile, context and target; derived,
 * not synced, so the text has to show by itself that it is whole. gc removes those that nobody asked for in 30 days */
/* The first max bytes of it, or all; -CB_ENOTFOUND. */
int cb_store_inputs_get(struct cb_store *s, const struct cb_digest *id, size_t max, struct cb_strbuf *out,
                        struct cb_error *err) CB_WUR;
int cb_store_inputs_put(struct cb_store *s, const struct cb_digest *id, struct cb_slice text,
                        struct cb_error *err) CB_WUR;

/* ---- small facts that outlive a run (resolved configs by reference, …): key/value in the index, may vanish ---- */
/* -CB_ENOTFOUND */
int cb_store_fact_get(struct cb_store *s, const char *kind, const char *key, struct cb_strbuf *out,
                      struct cb_error *err) CB_WUR;
int cb_store_fact_put(struct cb_store *s, const char *kind, const char *key, const char *value, struct cb_error *err)
    CB_WUR;

/* ---- what is known of the files of a build context: of this boot, checksummed; may vanish ---- */
#define CB_STORE_STATS_MAX (96u << 20) /* bytes; more is not kept */
/* Appends to out, which is empty. -CB_ENOTFOUND also for what is damaged or of another boot. */
int cb_store_stats_get(struct cb_store *s, const struct cb_digest *key, struct cb_strbuf *out, struct cb_error *err)
    CB_WUR;
/* content is added to. Of two at once the last stays. */
int cb_store_stats_put(struct cb_store *s, const struct cb_digest *key, struct cb_strbuf *content,
                       struct cb_error *err) CB_WUR;

/* ---- uploads that were begun, so that another process can go on with one whose process died ---- */
struct cb_store_upload; /* ours as long as it is open */
struct cb_store_upload_id {
    const char *host, *repo;
    const struct cb_digest *digest;
};
struct cb_store_upload_state {
    char *location; /* owned; NULL: nothing was left, or it is older than a day */
    uint64_t offset;
};
/* *out NULL: another process or thread that lives has it. */
int cb_store_upload_take(struct cb_store *s, const struct cb_store_upload_id *id, struct cb_store_upload **out,
                         struct cb_store_upload_state *state, struct cb_error *err) CB_WUR;
/* Cheap: written, not synced. NULL location: there is nothing to go on with. */
int cb_store_upload_note(struct cb_store_upload *u, const char *location, uint64_t offset, struct cb_error *err)
    CB_WUR;
void cb_store_upload_close(struct cb_store_upload *u, bool done); /* done: it is forgotten */
/* Removes those that nobody has; *n: how many. */
int cb_store_uploads_prune(struct cb_store *s, bool dry_run, uint64_t *n, struct cb_error *err) CB_WUR;

/* ---- steps that are being run, so that two builds of one store do not run the same ---- */
/* 1: it is ours until it is dropped, or this process ends; 0: another build has it. */
int cb_store_step_take(struct cb_store *s, const struct cb_digest *key, int *fd, struct cb_error *err) CB_WUR;
void cb_store_step_drop(struct cb_store *s, const struct cb_digest *key, int *fd); /* *fd -1: nothing to drop */

/* ---- keeping house ---- */
struct cb_store_gc_options {
    bool all; /* also cache records, and the trees and layers that only they hold */
    bool dry_run;
    int64_t keep_newer_ns; /* grace for what no name holds; default 24 h when negative */
};
struct cb_store_gc_result {
    uint64_t blobs, trees, records, bytes; /* removed, or to be removed */
};
/* Marks from names, live leases (ours too) and (unless all) cache records, moves the rest to trash/ under the store
 * lock, then removes it. */
int cb_store_gc(struct cb_store *s, const struct cb_store_gc_options *o, struct cb_store_gc_result *res,
                struct cb_error *err) CB_WUR;
struct cb_store_usage {
    uint64_t blobs, blob_bytes, trees, tree_bytes, records, names;
};
int cb_store_usage_get(struct cb_store *s, struct cb_store_usage *out, struct cb_error *err) CB_WUR;

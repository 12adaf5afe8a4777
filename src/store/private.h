/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside of the store. Locks, in the order in which they may be taken: the flock of `lock`, then db.mutex, then
 * hold_mutex, dir_mutex or publishing.mutex (none of which is ever held while another is taken, but for hold_mutex
 * around a shared flock of `lock`: so who has `lock` exclusively never calls cb_store_hold). */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "oci/manifest.h"
#include "store/store.h"
#include "util/fs.h"
#include "util/hashmap.h"
#include "util/thread.h"

struct sqlite3;
struct sqlite3_stmt;

#define CB_STORE_VERSION 1
#define CB_STORE_PATH_MAX 256 /* of anything inside the store, relative to its root */
#define CB_STORE_TREE_FORM_MAX 32
#define CB_DB_STATEMENTS 24

struct cb_store_db {
    pthread_mutex_t mutex;
    struct sqlite3 *handle; /* NULL until first use */
    pid_t pid;              /* that opened it: SQLite handles do not survive a fork */
    bool corrupt;           /* a statement said so; the runner repairs and tries once more */
    int64_t busy_since;     /* monotonic; of the wait that on_busy is in */
    bool told;              /* that it takes long */
    struct sqlite3_stmt *stmt[CB_DB_STATEMENTS];
};

/* Blobs that have no name yet. */
struct cb_unpublished;
struct cb_publishing {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct cb_unpublished *list;
    size_t n_waiting;       /* of the list: the rest failed */
    uint64_t serial;        /* of the last one */
    struct cb_pool *pool;   /* NULL until first use */
    bool hold;              /* cb_store_put_off */
    uint64_t held;          /* bytes, since then */
    atomic_bool met;        /* there is a blob whose name another process may not have synced yet */
    struct cb_error error;  /* of the first that failed */
};

struct cb_image_mount;
struct cb_passing {
    int place, lock; /* the directory that it is in, and its own, flock'd; -1: the store is one that stays */
    char name[64];
};
#define CB_PASSING_INIT { .place = -1, .lock = -1 }

struct cb_store {
    char *root; /* absolute */
    int root_fd;
    char tree_form[CB_STORE_TREE_FORM_MAX];
    char boot[64];  /* "" where unknown */
    const struct cb_cancel *cancel;
    void (*busy)(void *arg, const char *line);
    void *busy_arg;
    pthread_mutex_t images_mutex;
    enum { CB_IMAGES_UNTRIED, CB_IMAGES_NO, CB_IMAGES_YES } images;
    char *images_why; /* NO: the reason */
    bool images_of_all;
    struct cb_image_mount *mounts;
    char lease[64]; /* file name in leases/; starts our names in tmp/ and trash/ */
    int lease_fd;
    pthread_mutex_t dir_mutex;  /* tmp_fd, trash_fd */
    int tmp_fd, trash_fd;       /* tmp/<lease>, trash; -1 until needed */
    pthread_mutex_t hold_mutex; /* held */
    struct cb_hashmap *held;    /* digests that stand in the lease file */
    atomic_uint serial;         /* for names in tmp and trash */
    struct cb_publishing publishing;
    struct cb_store_db db;
    struct cb_passing passing;
};

/* ---- passing.c ---- */
void cb_passing_done(struct cb_passing *p); /* the directory goes */

/* ---- layout.c ---- */
/* Both fill buf of CB_STORE_PATH_MAX bytes and return it. */
const char *cb_store_blob_path(char *buf, const struct cb_digest *d);
const char *cb_store_toc_path(char *buf, const struct cb_digest *diff_id);
const char *cb_store_tree_path(const struct cb_store *s, char *buf, const struct cb_tree_name *name);
/* Any lock of the store that another process may have for long. */
int cb_store_lock_wait(struct cb_store *s, int fd, bool exclusive, struct cb_error *err) CB_WUR;
/* The flock of `lock`, held until *fd is closed. Each call opens the file anew, so threads exclude one another
 * too. */
int cb_store_lock(struct cb_store *s, bool exclusive, int *fd, struct cb_error *err) CB_WUR;
/* Borrowed descriptors of tmp/<lease>, made at first use, and of trash. */
int cb_store_tmp_dir(struct cb_store *s, int *fd, struct cb_error *err) CB_WUR;
int cb_store_trash_dir(struct cb_store *s, int *fd, struct cb_error *err) CB_WUR;
/* A name that this handle has not given before. */
void cb_store_serial_name(struct cb_store *s, const char *prefix, char name[static 64]);
/* Replaces a file atomically; its directory is made where it is missing. durable: on the disk when this returns; else
 * a power cut may leave anything in it, which the reader must notice (a checksum). */
int cb_store_put_file(struct cb_store *s, const char *path, struct cb_slice content, bool durable,
                      struct cb_error *err) CB_WUR;
/* Moves what is at path into the trash under a name of our lease, which it tells. Absent is success with name "".
 * Needs no room on the disk. */
#define CB_STORE_TRASH_NAME 96
int cb_store_trash(struct cb_store *s, const char *path, char name[static CB_STORE_TRASH_NAME], struct cb_error *err)
    CB_WUR;
int cb_store_sync_parent(struct cb_store *s, const char *path, struct cb_error *err) CB_WUR;
/* Calls fn for each entry of a directory below the root but "." and ".."; an absent directory has none. */
typedef int cb_store_visit_fn(void *arg, int dirfd, const char *name, struct cb_error *err);
int cb_store_each(struct cb_store *s, const char *dir, cb_store_visit_fn *fn, void *arg, struct cb_error *err) CB_WUR;
/* A digest from the hex part of a file name, told by its length; false for other names. */
bool cb_store_digest_of_hex(struct cb_digest *out, const char *hex, size_t len);

/* ---- leases.c ---- */
int cb_lease_take(struct cb_store *s, struct cb_error *err) CB_WUR;
void cb_lease_drop(struct cb_store *s);
/* Removes what dead processes left in leases/, tmp/ and trash/. */
int cb_lease_clean(struct cb_store *s, struct cb_error *err) CB_WUR;
/* Writes the digest of a blob or of a layer into our lease, so that gc leaves it and all below it alone. To be called
 * before the thing is opened or published, never with `lock` held. */
int cb_store_hold(struct cb_store *s, const struct cb_digest *d, struct cb_error *err) CB_WUR;
/* Every digest in every live lease, ours too; *oldest_other: when the oldest of the others began (ns), INT64_MAX for
 * none. */
int cb_lease_each(struct cb_store *s, int (*fn)(void *arg, const struct cb_digest *d, struct cb_error *err),
                  void *arg, int64_t *oldest_other, struct cb_error *err) CB_WUR;

/* ---- uploads.c ---- */
/* Removes those that are older than a day. */
int cb_store_uploads_expire(struct cb_store *s, struct cb_error *err) CB_WUR;

/* ---- steps.c ---- */
/* Removes the files of those whose process is dead. */
int cb_steps_clean(struct cb_store *s, struct cb_error *err) CB_WUR;

/* ---- publish.c ---- */
void cb_publishing_init(struct cb_publishing *p);
void cb_publishing_done(struct cb_publishing *p); /* waits */
/* Takes what is in *tmp, whose bytes were seen to have this digest and size, unless the same is on its way. */
void cb_publish_later(struct cb_store *s, struct cb_tmpfile *tmp, const struct cb_digest *d, uint64_t size);
/* cb_store_settle, and the names of what was found are on the disk too: before something else names blobs. */
int cb_publish_settle(struct cb_store *s, struct cb_error *err) CB_WUR;
/* A descriptor of one that is on its way, or -1. */
int cb_publish_peek(struct cb_store *s, const struct cb_digest *d);
bool cb_publish_any(struct cb_store *s); /* has no name yet */

/* ---- content.c ---- */
int cb_store_hash_file(int fd, enum cb_digest_alg alg, struct cb_digest *out, struct cb_error *err) CB_WUR;
/* cb_store_blob_open and cb_store_blob_get that leave no trace in the lease. */
int cb_store_blob_peek(struct cb_store *s, const struct cb_digest *d, int *fd, uint64_t *size, struct cb_error *err)
    CB_WUR;
int cb_store_blob_read(struct cb_store *s, const struct cb_digest *d, size_t max, struct cb_strbuf *out,
                       struct cb_error *err) CB_WUR;

/* ---- names.c ---- */
int cb_store_index_read(struct cb_store *s, struct cb_index *out, struct cb_error *err) CB_WUR;
int cb_store_index_write(struct cb_store *s, const struct cb_index *idx, struct cb_error *err) CB_WUR;

/* ---- db.c ---- */
/* Runs fn with the database open and ours alone in this process. A file that turns out corrupt is set aside and
 * rebuilt, and fn is run once more. */
int cb_db_run(struct cb_store *s, int (*fn)(struct cb_store *s, void *arg, struct cb_error *err), void *arg,
              struct cb_error *err) CB_WUR;
void cb_db_close(struct cb_store *s);
/* The statement number `id` of text sql, prepared once, reset and without bindings; NULL and err. */
struct sqlite3_stmt *cb_db_stmt(struct cb_store *s, unsigned id, const char *sql, struct cb_error *err);
/* Steps to the end; for statements without rows. */
int cb_db_exec(struct cb_store *s, struct sqlite3_stmt *st, struct cb_error *err) CB_WUR;
/* 1: a row, 0: the end. */
int cb_db_step(struct cb_store *s, struct sqlite3_stmt *st, struct cb_error *err) CB_WUR;
int cb_db_text(struct cb_store *s, const char *sql, struct cb_error *err) CB_WUR;
/* fn between BEGIN IMMEDIATE and COMMIT, rolled back where it fails. To be called inside cb_db_run. */
int cb_db_transaction(struct cb_store *s, int (*fn)(struct cb_store *s, void *arg, struct cb_error *err), void *arg,
                      struct cb_error *err) CB_WUR;

/* ---- layer_table.c: to be called inside cb_db_run ---- */
int cb_layer_table_put(struct cb_store *s, const struct cb_layer *l, struct cb_error *err) CB_WUR;
/* cb_store_layer_get without hold. */
int cb_layer_table_get(struct cb_store *s, const struct cb_digest *diff_id, struct cb_layer *out,
                       struct cb_error *err) CB_WUR;
/* When each layer was last asked for. */
typedef int cb_layer_use_fn(void *arg, const struct cb_digest *diff_id, int64_t last_use, struct cb_error *err);
int cb_layer_table_each_use(struct cb_store *s, cb_layer_use_fn *fn, void *arg, struct cb_error *err) CB_WUR;
int cb_layer_table_forget(struct cb_store *s, const struct cb_digest *diff_ids, size_t n, int64_t facts_before,
                          struct cb_error *err) CB_WUR;

/* ---- cache_table.c ---- */
int cb_cache_record_parse(struct cb_cache_record *out, const char *text, size_t len, struct cb_error *err) CB_WUR;
/* Reads the record of this file; -CB_ENOTFOUND for a torn one. */
int cb_cache_record_read(int dirfd, const char *name, struct cb_cache_record *out, struct cb_error *err) CB_WUR;

/* ---- mark.c ---- */
/* What must stay. */
struct cb_marks {
    struct cb_store *store;
    struct cb_hashmap *blobs;  /* digest texts */
    struct cb_hashmap *layers; /* texts of diff ids */
    struct cb_hashmap *seen;   /* manifests that were gone through */
    int64_t oldest_other;      /* start of the oldest foreign lease, INT64_MAX */
};
/* Marks from names and live leases, and from cache records where cache_too. With `lock` held exclusively. */
int cb_marks_collect(struct cb_marks *m, struct cb_store *s, bool cache_too, struct cb_error *err) CB_WUR;
/* Adds what the index knows: layers used less than keep_newer ns ago, and the blobs of all marked layers. */
int cb_marks_expand(struct cb_marks *m, int64_t keep_newer, struct cb_error *err) CB_WUR;
bool cb_marks_blob(const struct cb_marks *m, const struct cb_digest *d);
bool cb_marks_layer(const struct cb_marks *m, const struct cb_digest *diff_id);
void cb_marks_done(struct cb_marks *m);

/* ---- tree_image.c ---- */
struct cb_image_mount {
    struct cb_image_mount *next;
    char *path;
    int fd;
};
/* The root of the image in a tree's directory, O_PATH, of a mount that is nowhere; a negative errno. */
int cb_tree_image_open(struct cb_store *s, int tree, const char *path) CB_WUR;

/* ---- trees.c ---- */
/* Syncs the file system once, so that the trees of this boot outlive it. */
int cb_trees_settle(struct cb_store *s, struct cb_error *err) CB_WUR;

/* ---- rebuild.c ---- */
/* Fills the empty layer table from the files: pairs of diff id and blob that named images state and that are read to
 * be so. */
int cb_store_rebuild(struct cb_store *s, struct cb_error *err) CB_WUR;

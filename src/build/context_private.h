/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What context.c (which sources), context_walk.c (what is in them) and context_hash.c (their bytes) share. */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "build/select.h"
#include "build/stat_cache.h"

struct cb_context {
    int fd;
    const struct cb_df_ignore *ignore;
    pthread_mutex_t mu;
    struct cb_context_work work;  /* under mu */
    struct cb_stat_cache *stats;  /* NULL: every file is read */
    struct cb_store *store;       /* borrowed: where those are kept; or NULL */
    dev_t store_dev;              /* the directory of the store, which is no part of any context; or 0 */
    ino_t store_ino;
    atomic_bool met_store;
};

/* Fills the last match of sel with what is at path (no links on the way, "" = the root), and what filter takes of what
 * is below it. */
struct cb_context_walk {
    struct cb_context *c;
    const struct cb_filter *filter;
    const struct cb_cancel *cancel;
    struct cb_pool *cpu;           /* helps with large trees; or NULL */
    struct cb_match *match;
};
int cb_context_walk(const struct cb_context_walk *w, const char *path, struct cb_error *err) CB_WUR;

/* An item's file: -CB_ELOCAL where it is no longer what was found. */
/* By a cursor in c->fd. */
int cb_context_open_item(struct cb_path_cursor *in, const struct cb_item *it, int *fd, struct cb_error *err) CB_WUR;
/* Extended attributes of what is open, as far as they may be in a layer, into the item. */
int cb_context_xattrs(struct cb_item *it, int fd, struct cb_error *err) CB_WUR;

/* Digests and extended attributes of all files of a selection, on env's pool. */
int cb_context_hash(struct cb_context *c, struct cb_selection *sel, const struct cb_build_env *env,
                    struct cb_error *err) CB_WUR;

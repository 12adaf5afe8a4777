/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A walk below a directory that needs neither stack nor descriptors nor path names in proportion to the depth: it goes
 * up again by ".." and checks that it is where it was. Links are never followed, mounts never entered. Inside util
 * only. */

#include <stdbool.h>
#include <sys/stat.h>

#include "util/error.h"

#define CB_WALK_IS_DIR 1 /* from file: it is a directory after all */
#define CB_WALK_AGAIN 2  /* from leave: walk that directory once more */

struct cb_fs_walk {
    void *ctx;
    /* Everything but directories. 0, CB_WALK_IS_DIR or an error. */
    int (*file)(void *ctx, int dirfd, const char *name, struct cb_error *err);
    /* A directory has been opened; its entries have not been read yet. May be NULL. */
    int (*enter)(void *ctx, int fd, const struct stat *st, struct cb_error *err);
    /* A directory could not be opened for want of permission: true if that has been mended. May be NULL. */
    bool (*denied)(void *ctx, int dirfd, const char *name);
    /* All in it is done. 0, CB_WALK_AGAIN or an error. May be NULL. */
    int (*leave)(void *ctx, int dirfd, const char *name, struct cb_error *err);
    bool skip_mounts; /* else a mount is an error (sys_errno EXDEV) */
};

/* The contents of dirfd, then not dirfd itself. What vanishes meanwhile is passed over. */
int cb_fs_walk(int dirfd, const struct cb_fs_walk *walk, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A root file system without overlayfs: the files of stacked directories in overlay form, copied into one plain
 * directory. Names that shared an inode below become files of their own, as overlayfs makes them when one is written
 * to. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "util/cancel.h"
#include "util/error.h"

struct cb_tree_copy {
    const int *lower_fds;          /* lowest first; borrowed */
    size_t n_lower;
    int to;                        /* an empty directory; its own attributes are left alone */
    bool user_xattrs;              /* marks are user.overlay.* instead of trusted.overlay.* */
    const char *const *left_empty; /* names at the top whose contents are not copied; NULL-terminated, or NULL */
    const struct cb_cancel *cancel;
};
int cb_tree_copy(const struct cb_tree_copy *c, struct cb_error *err) CB_WUR;

/* Contents, attributes and nothing of overlayfs: everything below the open directory `from` onto the empty `to`. Names
 * of one inode stay that. */
int cb_tree_copy_plain(int from, int to, const struct cb_cancel *cancel, struct cb_error *err) CB_WUR;

/* user.* and security.capability of one open file or directory onto another, without overlayfs's own marks. */
int cb_tree_copy_xattrs(int from, int to); /* 0 or a negative errno */
/* Takes the marks of overlayfs off, which a step may have put on itself. */
int cb_tree_strip_marks(int fd); /* 0 or a negative errno */
/* Owner, mode, time. */
int cb_tree_set_attrs(int fd, const struct stat *st); /* 0 or a negative errno */

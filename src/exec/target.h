/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Mount targets inside a root that we do not trust: found as chroot(2) would, made where they are missing, and taken
 * away afterwards by directory, name and inode (G5), so that a layer made of the upper directory shows nothing of
 * them. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "util/error.h"
#include "util/strbuf.h"

enum cb_made_kind {
    CB_MADE_FILE,
    CB_MADE_DIR,
    CB_MADE_COPY_UP, /* a lower directory that was copied because something was made in it */
};
struct cb_made {
    int dir;           /* of the upper directory, or of the mount it lies in */
    char *name;
    dev_t dev;
    ino_t ino;
    struct timespec changed;
    enum cb_made_kind kind;
    bool gone;         /* not ours any more: leave it alone */
};
struct cb_targets {
    int root;          /* the merged root, attached in the calling thread's namespace; borrowed */
    int upper;         /* its upper directory; borrowed */
    bool dev_refused;  /* /dev is not there yet: nothing is to be put into what will be hidden by it */
    struct cb_made *v;
    size_t n, cap;
};

/* O_PATH descriptor of path in the root, a directory if want_dir, else no directory. */
int cb_target_open(struct cb_targets *t, const char *path, bool want_dir, struct cb_error *err) CB_WUR;
/* The same, and where in the root it is: a normal form without links. */
int cb_target_locate(struct cb_targets *t, const char *path, bool want_dir, struct cb_strbuf *where,
                     struct cb_error *err) CB_WUR;
/* The same for one of the kernel's own directories at the top, "proc" or "sys", to which the other refuses to lead. */
int cb_target_open_top(struct cb_targets *t, const char *name, struct cb_error *err) CB_WUR;
/* Everything is made and the step has not begun. */
void cb_targets_settle(struct cb_targets *t);
/* The step is over and its mounts are gone. */
void cb_targets_remove(struct cb_targets *t);
void cb_targets_done(struct cb_targets *t);

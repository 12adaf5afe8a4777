/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a step changed in a plain directory, found by comparing: where there is no overlayfs to keep it apart. A file
 * counts as changed when its mode, owner, size, inode, modification or change time is another: the change time is the
 * kernel's own and cannot be set back. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "util/cancel.h"
#include "util/error.h"

/* Paths of our own, which are neither remembered nor compared: a normal form relative to the root each. */
struct cb_tree_ours {
    char **v;      /* owned */
    ino_t *inodes; /* of files: left out wherever the step has moved them; 0: none */
    int *files;    /* those, held open: else the number goes to the step's next file where it removes ours; -1 */
    size_t n, cap;
};
void cb_tree_ours_add(struct cb_tree_ours *o, const char *path, int file); /* a descriptor, taken; -1: a directory */
void cb_tree_ours_done(struct cb_tree_ours *o);

struct cb_tree_scan;
struct cb_tree_scan *cb_tree_scan_new(int root, const struct cb_tree_ours *ours, const struct cb_cancel *cancel,
                                      struct cb_error *err); /* remembers what is there; NULL on failure */
void cb_tree_scan_free(struct cb_tree_scan *s);
CB_DEFINE_CLEANUP(struct cb_tree_scan *, cb_tree_scan_free)
/* Of two looks at one directory, of which the attributes of itself are no part. */
bool cb_tree_scan_same(const struct cb_tree_scan *a, const struct cb_tree_scan *b);
/* Whether something that was seen has more names than were seen. */
bool cb_tree_scan_is_linked(const struct cb_tree_scan *s);
/* Moves what is new or other into `upper`, an empty directory of the same file system, in overlay form: whiteouts for
 * what is gone, no opaque marks, directories above a change with their attributes. The root is spoilt by it. */
int cb_tree_scan_take(struct cb_tree_scan *s, int upper, struct cb_error *err) CB_WUR;

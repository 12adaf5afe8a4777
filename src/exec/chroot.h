/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `chroot`: neither namespaces nor mount(2). The root is a plain copy of the layers, and what a step needs to see in it
 * (devices, /etc/hosts, read-only binds) is put there as files, which the difference leaves out. */

#include "exec/sandbox.h"
#include "exec/tree_scan.h"

struct cb_chroot {
    struct cb_tree_ours ours;
    struct cb_tree_scan *scan;
    struct cb_chroot_spot *spots; /* chroot_keep.c; in the order in which they came into the root */
    size_t n_spots, cap_spots;
};
/* chroot_files.c: steps of the thread. sb->root is the copy, open for reading. */
int cb_chroot_dev(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_chroot_network(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_chroot_mounts(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;

/* chroot_keep.c: before something is put at `path` of the root, which is `name` of dir, … */
int cb_chroot_make_room(struct cb_sandbox *sb, int dir, const char *name, const char *path,
                        struct cb_error *err) CB_WUR;
/* … when it is there, and a mount that is kept; … */
void cb_chroot_keep_add(struct cb_sandbox *sb, const char *path, struct cb_mount_keep *keep);
/* … when all are there; … */
int cb_chroot_keep_remember(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
/* … when the step has ended and the layer has what is its: what fails stands in each one's `keep`. */
void cb_chroot_keep(struct cb_sandbox *sb);
void cb_chroot_keep_done(struct cb_chroot *c);

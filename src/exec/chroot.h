/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `chroot`: neither namespaces nor mount(2). The root is a plain copy of the layers, and what a step needs to see in it
 * (devices, /etc/hosts, read-only binds) is put there as files, which the difference leaves out. */

#include "exec/sandbox.h"
#include "exec/tree_scan.h"

struct cb_chroot {
    struct cb_tree_ours ours;
    struct cb_tree_scan *scan;
};
/* chroot_files.c: steps of the thread. sb->root is the copy, open for reading. */
int cb_chroot_dev(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_chroot_network(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_chroot_mounts(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* overlayfs over directories that are known by descriptor. Directory layers are given topmost first. */

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

struct cb_overlay {
    int *lower;      /* topmost first; borrowed descriptors */
    size_t n;
    int upper, work; /* borrowed */
    bool devices;    /* device nodes work */
    bool user_xattrs; /* marks in user.overlay.* instead of trusted.overlay.* */
};
void cb_overlay_done(struct cb_overlay *o);

/* o->lower from `lowest first` plus `bottom` below all. A directory that stands twice is kept at its upper place
 * only: what the lower one says is hidden by it, and the kernel refuses doubles. */
int cb_overlay_set_lower(struct cb_overlay *o, const int *lowest_first, size_t n, int bottom,
                         struct cb_error *err) CB_WUR;

enum cb_overlay_how {
    CB_OVERLAY_FDS,     /* Linux 6.13: descriptors */
    CB_OVERLAY_NAMES,   /* Linux 6.8: one name a layer */
    CB_OVERLAY_CLASSIC, /* mount(2): one string for all */
};
/* A mount that is nowhere yet; called in the mount namespace in which the descriptors were opened. By `how` or, where
 * the kernel is too old for it, by the next. CLASSIC is not done here: -ENOSYS (no message), and
 * cb_overlay_mount_classic is to be called once that namespace has been left. */
int cb_overlay_create(const struct cb_overlay *o, enum cb_overlay_how how, struct cb_error *err) CB_WUR;
/* The same in a mount namespace that is a copy of that one. scratch: a directory of that one too, where a mount point
 * "root" is made. The directories must be reachable by name. */
int cb_overlay_mount_classic(const struct cb_overlay *o, int scratch, struct cb_error *err) CB_WUR;
/* overlayfs, and whoever mounts, takes directories of its own mount namespace only: that directory once more (O_PATH),
 * by the name it has there. A negative errno where it cannot be found. */
int cb_overlay_reopen(int fd);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The mount system calls (Linux 5.12 and newer), by number: no C library of the supported systems has all of them.
 * Everything here is async-signal-safe, allocates nothing and returns a descriptor (O_CLOEXEC) or 0, or a negative
 * errno. A descriptor of a mount that was never moved into place takes the mount with it when closed. */

#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

/* What the step may write to never honours set-uid bits or device nodes of foreign origin. */
#define CB_MNT_SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define CB_MNT_SAFEST (CB_MNT_SAFE | MOUNT_ATTR_NOEXEC)

struct cb_mnt_opt {
    const char *key;
    const char *value; /* NULL: a flag */
};

/* A new file system of that type, mounted nowhere yet. opts ends with a NULL key; NULL for none. */
int cb_mnt_new(const char *type, const struct cb_mnt_opt *opts, unsigned attrs);
int cb_mnt_fsopen(const char *type);
int cb_mnt_option(int fsfd, const char *key, const char *value);
int cb_mnt_option_fd(int fsfd, const char *key, int fd);
int cb_mnt_create(int fsfd, unsigned attrs); /* the mount; fsfd stays open */
/* What the kernel has to say of a failure, without its "e " mark; buf is empty if nothing. */
void cb_mnt_message(int fsfd, char *buf, size_t size);

/* A detached copy of what dirfd + path show; the empty path is dirfd itself. Links in path are not followed at the
 * end. */
int cb_mnt_clone(int dirfd, const char *path, bool recursive);
int cb_mnt_set(int fd, uint64_t attrs, bool recursive);
/* Puts a detached mount onto what `target` (O_PATH) is. */
int cb_mnt_move(int mnt, int target);
/* The same onto the root directory of the calling thread; the thread itself keeps seeing what is below. */
int cb_mnt_move_root(int mnt);
int cb_mnt_private(void);              /* nothing of this namespace propagates anywhere */
int cb_mnt_detach(const char *path);
int cb_mnt_pivot(int root);            /* makes that mount (and nothing else) the file system of the caller */
int cb_mnt_id(int fd, uint64_t *id);   /* tells mounts apart */
bool cb_kernel_at_least(unsigned version, unsigned patch);

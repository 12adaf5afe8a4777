/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A layer as an EROFS image: its tar, as it is, with the metadata of a file system around it, so that the kernel mounts
 * it and no file has to be made. The format is that of Linux (Documentation/filesystems/erofs.rst, "On-disk details"):
 * blocks of 512 bytes, as a tar has, extended inodes, data in one piece (FLAT_PLAIN) where the tar has it, symbolic
 * links behind their inode (FLAT_INLINE). No compression, no checksum, no shared attributes.
 *
 *   0        zeros, the superblock at 1024
 *   4096     the tar
 *   ...      from the next block on: inodes, root first, then directories and long links
 *
 * What it shows is what overlayfs wants of a layer: whiteouts are devices 0:0, opaque directories have
 * trusted.overlay.opaque. */

#include "layer/toc.h"

#define CB_EROFS_TAR 4096 /* where the tar begins */

struct cb_erofs_options {
    const struct cb_toc *toc;
    uint64_t tar_size;
    /* A directory that the layer implies and does not list, as the layers below have it: NULL for none (0755 0:0).
     * Valid until the next call. */
    const struct cb_entry *(*inherit)(void *arg, const char *path);
    void *arg;
};
/* fd: a file that has the tar at CB_EROFS_TAR already. 1: nothing is written, as this layer cannot be shown so (sparse
 * files, links into layers below, attributes beyond the limits of the format). The table may be hostile. */
int cb_erofs_write(int fd, const struct cb_erofs_options *o, struct cb_error *err) CB_WUR;

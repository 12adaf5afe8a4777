/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The extended attributes of an open file that may be in a layer (R4). */

#include "layer/toc.h"
#include "util/limits.h"

/* R4: user.* without user.overlay., user.containers., user.fuseoverlayfs.; security.capability. */
bool cb_xattr_allowed(const char *name);

struct cb_xattrs {
    struct cb_xattr v[CB_MAX_XATTRS]; /* sorted by name */
    uint32_t n;
    struct cb_strbuf names;           /* of all that there are */
};
#define CB_XATTRS_INIT { .names = CB_STRBUF_INIT }
/* 0, or -1 and errno: E2BIG where there are too many or one is too large. x is empty before. */
int cb_xattrs_read(struct cb_xattrs *x, int fd) CB_WUR;
void cb_xattrs_done(struct cb_xattrs *x);
#define cb_cleanup_xattrs CB_CLEANUP(cb_xattrs_done)

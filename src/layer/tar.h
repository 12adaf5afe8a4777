/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tar headers: how we write them, and a strict second reading of those of others. */

#include "layer/toc.h"

#define CB_TAR_BLOCK 512u
#define CB_WHITEOUT_PREFIX ".wh."
#define CB_WHITEOUT_META ".wh..wh."   /* aufs's own names */
#define CB_WHITEOUT_OPAQUE ".wh..wh..opq"
#define CB_MAX_DEV_MAJOR 0xfffu       /* what Linux can represent */
#define CB_MAX_DEV_MINOR 0xfffffu

static inline uint64_t cb_tar_padding(uint64_t size)
{
    return -size & (CB_TAR_BLOCK - 1);
}

/* Appends the header of e: ustar, with a PAX block in front where ustar cannot hold it. HARDLINK: without its
 * attributes. e is checked: a name that is not in normal form or would read as a whiteout is an error. */
int cb_tar_header(struct cb_strbuf *out, const struct cb_entry *e, struct cb_error *err) CB_WUR;

/* Appends the name that the header of e has, with the '/' of a directory and the marks of whiteouts. */
void cb_tar_name(struct cb_strbuf *out, const struct cb_entry *e);

/* One block of 512 bytes: whether its checksum holds and it is not empty. */
bool cb_tar_is_header(const uint8_t *block);

/* ---- the guard ---- */
/* Parsers of tar differ in what they make of odd archives (rule A9). The guard sees the same bytes as libarchive,
 * allows only what has one meaning, and says what it has seen, entry by entry, so that the reader can compare. It is
 * fed by one thread and asked by another. */
struct cb_tar_guard;
struct cb_tar_member {
    char *name;        /* without trailing '/', owned */
    char type;         /* '0' to '6' */
    bool sparse;       /* the data is not there as it stands */
    uint64_t size;     /* bytes of data in the archive */
    uint64_t offset;   /* of the first of them */
    bool has_mtime;    /* by a PAX record: */
    int64_t mtime;     /* s, rounded down */
};
struct cb_tar_guard *cb_tar_guard_new(void);
void cb_tar_guard_free(struct cb_tar_guard *g);
CB_DEFINE_CLEANUP(struct cb_tar_guard *, cb_tar_guard_free)
int cb_tar_guard_feed(struct cb_tar_guard *g, const void *buf, size_t n, struct cb_error *err) CB_WUR;
int cb_tar_guard_end(struct cb_tar_guard *g, struct cb_error *err) CB_WUR; /* the bytes have ended: in a fit place? */
/* The next member in order; false where none is known. Free name. */
bool cb_tar_guard_take(struct cb_tar_guard *g, struct cb_tar_member *out);

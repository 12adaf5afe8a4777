/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The two halves of the layer reader: inflate_thread.c makes plain bytes, hashes and guards them; reader_entry.c makes
 * checked entries of what libarchive reads. layer_reader.c ties them together; reader.c is
 * the interface, behind which another process may do all of this. */

#include "layer/archive_lib.h"
#include "layer/layer.h"
#include "layer/tar.h"
#include "util/limits.h"

/* ---- plain bytes, from a thread ---- */
struct cb_plain;
struct cb_plain_options {
    struct cb_blob_source *source; /* owned */
    bool foreign;                  /* bzip2 and xz too */
    uint64_t max_size;             /* 0: none */
    int copy_fd;                   /* what the reader was given is written there; borrowed; 0: nowhere */
    bool unhashed;                 /* the diff id is NONE */
    unsigned threads;              /* as in cb_layer_read_options */
    const struct cb_cancel *cancel;
};
struct cb_plain_result {
    struct cb_digest diff_id;
    uint64_t size;
};
/* NULL and err; the source is closed either way. */
struct cb_plain *cb_plain_start(const struct cb_plain_options *o, struct cb_error *err);
void cb_plain_free(struct cb_plain *p); /* stops the thread where it runs */
/* More bytes, valid until the next call; 0 at the end, and on failure, which cb_plain_finish then tells. */
size_t cb_plain_next(struct cb_plain *p, const void **at);
/* What the guard has seen; the member of a header that was read is always known. */
bool cb_plain_member(struct cb_plain *p, struct cb_tar_member *out);
/* Reads what is left and waits for the thread. */
int cb_plain_finish(struct cb_plain *p, struct cb_plain_result *out, struct cb_error *err) CB_WUR;
/* After a failure elsewhere: 0, or why the bytes themselves were bad, which then is the better reason. Stops the
 * thread. */
int cb_plain_blame(struct cb_plain *p, struct cb_error *err) CB_WUR;

/* ---- entries ---- */
struct cb_entry_maker {
    bool raw;                          /* no whiteout meaning */
    struct cb_toc_builder *seen;       /* what the layer has had so far; borrowed */
    struct cb_entry e;                 /* the result; what it points to is held below or by archive and builder */
    struct cb_strbuf path, link, scratch;
    struct cb_xattr xattrs[CB_MAX_XATTRS];
};
/* *skip: the entry has no effect (the root, aufs's own). For FILE, digest is still to come. */
int cb_entry_make(struct cb_entry_maker *m, struct archive_entry *ae, const struct cb_tar_member *member, bool *skip,
                  struct cb_error *err) CB_WUR;

/* layer_reader.c: a reader whose work is done here. */
struct cb_layer_reader *cb_layer_reader_here(const struct cb_layer_read_options *o, struct cb_error *err);

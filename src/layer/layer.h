/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Layers: the value, and the streams that make and read one. Trees and streams, no images, no store.
 *
 * Bytes never depend on threads, CPU, read sizes or clock: gzip is libdeflate (ISA-L for "fast") over fixed 1 MiB
 * blocks, each its own member (header mtime 0, OS 255); zstd has fixed 4 MiB frames; those of chunked formats are in
 * chunked.h. Incompressible blocks are stored. Headers are ustar, PAX where ustar cannot say it; times are whole
 * seconds; user and group names are never written. */

#include "layer/erofs.h"
#include "layer/foreign.h"
#include "layer/format.h"
#include "layer/lookup.h"
#include "layer/stack.h"
#include "layer/toc.h"
#include "layer/toc_index.h"
#include "layer/xattr.h"
#include "oci/blob_io.h"
#include "util/cancel.h"
#include "util/owner_table.h"
#include "util/strvec.h"
#include "util/thread.h"
#include "util/trace.h"

struct cb_layer_encoding {
    struct cb_digest digest;          /* of the blob */
    uint64_t size;
    enum cb_compression compression;
    char *media_type;                 /* as it was named by its manifest, or the OCI type of ours */
    char *engine;                     /* "libdeflate-1.14/5", "" for foreign ones */
    struct cb_strmap annotations;     /* of its descriptor: those that tell of a table in it (foreign.h) */
};
void cb_layer_encoding_done(struct cb_layer_encoding *e);
#define cb_cleanup_layer_encoding CB_CLEANUP(cb_layer_encoding_done)
void cb_layer_encoding_copy(struct cb_layer_encoding *dst, const struct cb_layer_encoding *src);
/* Takes of a descriptor's annotations what belongs there. */
void cb_layer_encoding_annotate(struct cb_layer_encoding *e, const struct cb_strmap *annotations);
bool cb_layer_encoding_serves(const struct cb_layer_encoding *e, const struct cb_format *f); /* cb_format_serves */
struct cb_layer_origin {              /* a repository known to have one of the encodings */
    struct cb_digest digest;
    char *host, *repo;
};
struct cb_layer {
    struct cb_digest diff_id;
    uint64_t size;                    /* of the uncompressed tar; UINT64_MAX: not known */
    struct cb_layer_encoding *encodings;
    size_t n_encodings;
    struct cb_layer_origin *origins;
    size_t n_origins;
};
void cb_layer_done(struct cb_layer *l);
#define cb_cleanup_layer CB_CLEANUP(cb_layer_done)
void cb_layer_copy(struct cb_layer *dst, const struct cb_layer *src);
void cb_layer_drop_encodings(struct cb_layer *l); /* the origins stay */
/* Both add only what is not there yet; of an encoding that is, the engine becomes that of e (where e has one). */
void cb_layer_add_encoding(struct cb_layer *l, const struct cb_layer_encoding *e);
void cb_layer_add_origin(struct cb_layer *l, const struct cb_digest *digest, const char *host, const char *repo);
/* image-spec config.md "Layer ChainID": of one layer more (an unset chain is that of none), of diff ids, lowest
 * first. */
void cb_chain_add(struct cb_digest *chain, const struct cb_digest *diff_id);
void cb_chain_id(struct cb_digest *out, const struct cb_digest *diff_ids, size_t n);

/* ---- writing ---- */
struct cb_layer_write_options {
    struct cb_format format;
    /* CPU jobs: blocks are compressed there, in any order, written in order; NULL: inline */
    struct cb_pool *pool;
    int64_t clamp_mtime;              /* newer times become this; INT64_MAX: none */
    bool exact_mtime;                 /* older ones too */
    /* borrowed; receives the encoded bytes, committed by finish; NULL: only diff id and TOC, no encoding, and the
     * format is not chunked */
    struct cb_blob_sink *sink;
    /* gets the tar too, as long as that is no larger than tar_max, and is emptied else; or NULL */
    struct cb_strbuf *tar;
    size_t tar_max;
    const struct cb_cancel *cancel;
};
struct cb_layer_writer;
struct cb_layer_writer *cb_layer_writer_new(const struct cb_layer_write_options *o, struct cb_error *err);
void cb_layer_writer_free(struct cb_layer_writer *w);
CB_DEFINE_CLEANUP(struct cb_layer_writer *, cb_layer_writer_free)
int64_t cb_layer_writer_mtime(const struct cb_layer_writer *w, int64_t mtime); /* what a time becomes in the layer */
/* eStargz: the tar itself has two files more, and so another diff id; its table lists them. Each name may stand in a
 * chunked layer once.
 *
 * Appends one entry. data: exactly e->size bytes for FILE (fewer or more: -CB_ELOCAL "changed while being read"), else
 * NULL. WHITEOUT and OPAQUE are written as .wh. files. e->digest and offset are computed here. Entries should come
 * sorted. HARDLINK: link is a FILE that was added before, whose attributes it takes. xattrs outside R4 are left out. A
 * name that begins with .wh. is -CB_ECONF. After a failure the writer is good for nothing but free. */
int cb_layer_writer_add(struct cb_layer_writer *w, const struct cb_entry *e, struct cb_blob_source *data,
                        struct cb_error *err) CB_WUR;
/* End blocks, flush, sink commit. *layer gets diff_id, size and the one encoding; *toc (may be NULL) the table. */
int cb_layer_writer_finish(struct cb_layer_writer *w, struct cb_layer *layer, struct cb_toc **toc,
                           struct cb_error *err) CB_WUR;
uint64_t cb_layer_writer_written(const struct cb_layer_writer *w); /* uncompressed bytes so far, for progress */

/* A tar that is there already, as it is: compressed in the blocks that a writer makes, into o->sink (never NULL, and
 * committed). The format is not chunked; times are not touched. *layer as from cb_layer_writer_finish. */
int cb_layer_compress(struct cb_blob_source *tar, const struct cb_layer_write_options *o, struct cb_layer *layer,
                      struct cb_error *err) CB_WUR;

/* ---- reading ---- */
struct cb_layer_read_options {
    struct cb_blob_source *source;    /* compressed bytes; owned by the reader */
    /* ADD of archives: entries above the root etc. still refused, but no whiteout meaning */
    bool raw_tar_ok;
    uint64_t max_size;                /* uncompressed budget; 0: none */
    uint64_t max_entries;             /* 0: CB_MAX_LAYER_ENTRIES */
    int plain_fd;                     /* the uncompressed bytes are written there too; borrowed; 0: nowhere */
    /* with plain_fd: nothing is hashed. The diff id is NONE, those of the table are deferred: they are made of what was
     * written there (cb_layer_copy) */
    bool defer_digests;
    unsigned threads;                 /* that may inflate what is not needed yet; 0, 1: none */
    const struct cb_cancel *cancel;
};
struct cb_layer_reader;
/* Loads libarchive, as the first reader does: to be called by who is about to change the root directory. */
int cb_layer_load(struct cb_error *err) CB_WUR;
const char *cb_layer_library(void); /* "libarchive 3.6.2", or that it cannot be loaded; static */
/* Compression is found by content (gzip, zstd, and with raw_tar_ok bzip2 and xz by libarchive); inflating runs in a
 * thread of its own, or all of it in a process of its own. Who only wants the table calls finish alone. */
struct cb_layer_reader *cb_layer_reader_new(const struct cb_layer_read_options *o, struct cb_error *err);
void cb_layer_reader_free(struct cb_layer_reader *r);
CB_DEFINE_CLEANUP(struct cb_layer_reader *, cb_layer_reader_free)
/* The next entry, checked and in normal form (A1, A5, A9): `..` fails the layer, absolute names are re-rooted,
 * whiteouts are recognised, xattrs outside the allow-list R4 are dropped. *e is NULL at the end; valid until the next
 * call. Parents that are symbolic links of the same layer are followed inside its root: path is where the entry lands.
 * A hard link to a link, device or pipe comes as another one of those. What tar parsers could read in two ways is
 * refused. */
int cb_layer_reader_next(struct cb_layer_reader *r, const struct cb_entry **e, struct cb_error *err) CB_WUR;
/* Data of the current FILE; what is not read is skipped (and still hashed). */
int cb_layer_reader_read(struct cb_layer_reader *r, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
/* Reads the stream to its real end, all bytes hashed (A10); gives diff id, size and table. expect: -CB_EVERIFY where
 * the diff id is another; may be NULL. toc may be NULL. */
int cb_layer_reader_finish(struct cb_layer_reader *r, const struct cb_digest *expect, struct cb_digest *diff_id,
                           uint64_t *size, struct cb_toc **toc, struct cb_error *err) CB_WUR;

/* ---- what was written here: read again without being parsed ---- */
struct cb_layer_known {
    struct cb_toc *toc;
    const char *tar;
    uint64_t size;
    struct cb_digest diff_id;
};
struct cb_layer_reader *cb_layer_reader_of(const struct cb_layer_known *of); /* borrowed */

/* ---- what was not hashed in reading ---- */
struct cb_layer_copy {
    int fd;                           /* where its tar is, as it is; borrowed */
    uint64_t at, size;                /* from where on, and how much */
};
int cb_layer_copy_diff_id(const struct cb_layer_copy *c, const struct cb_cancel *cancel, struct cb_digest *out,
                          struct cb_error *err) CB_WUR;
/* Its table once more, with the digests of all files. -CB_EVERIFY where a file is not in it in one piece, or is not
 * what the table has inline. *out: the caller's. */
int cb_layer_copy_toc(const struct cb_layer_copy *c, struct cb_toc *toc, const struct cb_cancel *cancel,
                      struct cb_toc **out, struct cb_error *err) CB_WUR;

/* ---- reading elsewhere (rule R3): image has processes for that ---- */
struct cb_layer_read_result {
    bool want_toc;
    bool deferred; /* digests were to be */
    struct cb_digest diff_id;
    uint64_t size;
    struct cb_toc *toc; /* the caller's */
};
/* What the functions of the same names promise. */
struct cb_layer_reader_ops {
    int (*next)(struct cb_layer_reader *r, const struct cb_entry **e, struct cb_error *err);
    int (*read)(struct cb_layer_reader *r, void *buf, size_t n, size_t *got, struct cb_error *err);
    int (*finish)(struct cb_layer_reader *r, const struct cb_digest *expect, struct cb_layer_read_result *out,
                  struct cb_error *err);
    void (*free)(struct cb_layer_reader *r);
};
struct cb_layer_reader {
    const struct cb_layer_reader_ops *ops;
    struct cb_span span;
};
struct cb_layer_elsewhere {
    /* Takes o->source, whatever comes of it. */
    struct cb_layer_reader *(*reader)(const struct cb_layer_read_options *o, struct cb_error *err);
    int (*begins_archive)(struct cb_blob_source *src, struct cb_error *err); /* 1, 0; what cannot be inflated is none */
    int (*foreign_table)(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err);
};
/* From then on it is they that read; NULL: all is read here again. Before there are threads. */
void cb_layer_read_elsewhere(const struct cb_layer_elsewhere *e);
const struct cb_layer_elsewhere *cb_layer_elsewhere(void); /* or NULL */
/* Whether a tar begins there, compressed or not. Here. */
bool cb_layer_begins_archive(struct cb_blob_source *src);
int cb_layer_check_diff_id(const struct cb_digest *expect /* or NULL */, const struct cb_digest *is,
                           struct cb_error *err) CB_WUR;

/* Whether bytes begin like an archive that ADD extracts: tar, gzip, bzip2, xz, zstd (of a tar). Reads from fd by pread.
 * 1, 0; fails where it cannot be found out. */
int cb_layer_is_archive(int fd, struct cb_error *err) CB_WUR;

/* ---- the difference of a RUN ---- */
struct cb_diff_options {
    int upper_fd;                     /* overlayfs upper directory */
    bool userxattr;                   /* user.overlay.* instead of trusted.overlay.* */
    /* ownership cannot be on the disk: what `lower` has keeps its owner, new files are 0:0 */
    bool single_id;
    const struct cb_owner_table *owners; /* single_id: what chown(2) asked for, or NULL */
    const struct cb_finder *lower;    /* entries equal to its in all but access time are left out; NULL: not known */
};
/* Feeds what changed to the writer, sorted; hard links inside the upper directory are kept as such. Overlay's private
 * xattrs and what R4 does not allow are never emitted (A6). Directories above something that
 * changed are listed too. A socket is as if it were not there. *n_entries may be NULL. */
int cb_diff_overlay(const struct cb_diff_options *o, struct cb_layer_writer *w, size_t *n_entries,
                    struct cb_error *err) CB_WUR;

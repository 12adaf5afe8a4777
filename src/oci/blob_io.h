/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where `registry` and `store` meet: streams of blob bytes, pulled by the reader, pushed by the writer. A source
 * or sink belongs to one thread at a time. Implementations embed the base struct first. */

#include "oci/digest.h"
#include "util/cancel.h"
#include "util/error.h"

struct cb_blob_source;
struct cb_blob_source_ops {
    /* Up to n bytes; *got = 0 only at the end. */
    int (*read)(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err);
    void (*close)(struct cb_blob_source *s); /* frees s */
    /* The next read is from this byte on; NULL: only forward, by reading. */
    int (*seek)(struct cb_blob_source *s, uint64_t offset, struct cb_error *err);
    /* As read, but of bytes where they are, valid until the next call; NULL: only by reading. */
    int (*lend)(struct cb_blob_source *s, const void **p, size_t *got, struct cb_error *err);
};
struct cb_blob_source {
    const struct cb_blob_source_ops *ops;
};

struct cb_blob_sink;
struct cb_blob_sink_ops {
    int (*write)(struct cb_blob_sink *s, const void *buf, size_t n, struct cb_error *err);
    /* Publishes under its digest if what was written has it, and the size where that is not UINT64_MAX; else
     * -CB_EVERIFY. */
    int (*commit)(struct cb_blob_sink *s, const struct cb_digest *digest, uint64_t size, struct cb_error *err);
    void (*close)(struct cb_blob_sink *s); /* frees s; drops what was not committed */
};
struct cb_blob_sink {
    const struct cb_blob_sink_ops *ops;
};

static inline CB_UNUSED void cb_blob_source_close_p(struct cb_blob_source **s)
{
    if (*s)
        (*s)->ops->close(*s);
}
static inline CB_UNUSED void cb_blob_sink_close_p(struct cb_blob_sink **s)
{
    if (*s)
        (*s)->ops->close(*s);
}
#define cb_autosource __attribute__((cleanup(cb_blob_source_close_p)))
#define cb_autosink __attribute__((cleanup(cb_blob_sink_close_p)))

/* n ≥ 1. */
int cb_blob_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
/* Fills buf unless the end comes first. */
int cb_blob_read_full(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;

/* -CB_EINTERNAL for a source without seek. */
int cb_blob_seek(struct cb_blob_source *s, uint64_t offset, struct cb_error *err) CB_WUR;

/* The rest, appended to out; -CB_EVERIFY past max bytes. Has seen the end. */
int cb_blob_read_all(struct cb_blob_source *s, size_t max, struct cb_strbuf *out, struct cb_error *err) CB_WUR;
/* The rest, written to the sink (not committed); *copied may be NULL. Has seen the end. */
int cb_blob_copy(struct cb_blob_source *s, struct cb_blob_sink *to, uint64_t *copied, struct cb_error *err) CB_WUR;

/* The rest, written to a file; cancel is asked before each piece, and may be NULL. Has seen the end. */
int cb_blob_copy_fd(struct cb_blob_source *s, int fd, const struct cb_cancel *cancel, struct cb_error *err) CB_WUR;

/* Reads by pread, so that several sources may share one open file by dup. A file that ends before `len` is
 * -CB_EVERIFY. */
struct cb_blob_source *cb_blob_source_from_fd(int fd /* taken */, uint64_t offset,
                                              uint64_t len /* UINT64_MAX: to the end */);
struct cb_blob_source *cb_blob_source_from_mem(const void *buf /* borrowed */, size_t n);
/* Wraps and owns inner: passes bytes through, fails with -CB_EVERIFY at byte size+1, and unless digest and size match
 * at the end, or (where the size is known) instead of giving the last bytes. digest NONE or size UINT64_MAX: not
 * checked. A reader that has seen *got = 0 has verified bytes. It can seek where inner can; bytes that are read twice
 * count once; once some were passed over, only the size is checked. */
struct cb_blob_source *cb_blob_source_verify(struct cb_blob_source *inner, const struct cb_digest *digest,
                                             uint64_t size);
/* Wraps and owns inner: every byte that is read is also written to the sink (which is not committed here). */
struct cb_blob_source *cb_blob_source_tee(struct cb_blob_source *inner, struct cb_blob_sink *to /* borrowed */);

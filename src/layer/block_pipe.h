/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bytes in, cut into blocks, compressed in a pool, out in order. At most threads + 2 blocks are in memory, in and out.
 * The caller's thread feeds, hashes what comes out and writes it to the sink. A block ends where it is full, or where
 * the caller says so. */

#include "layer/codec.h"
#include "oci/blob_io.h"
#include "util/thread.h"

struct cb_block_pipe;
/* A block that was marked and is out. */
struct cb_block_made {
    size_t mark;
    uint64_t offset, end;    /* in what the sink got */
    struct cb_digest digest; /* of the marked bytes */
};
struct cb_block_pipe_options {
    const struct cb_codec *codec; /* NULL: as it is */
    int level;
    size_t block_size;            /* 0: the codec's */
    void (*on_block)(void *arg, const struct cb_block_made *m); /* in the caller's thread, in order */
    void *arg;
    struct cb_pool *pool;         /* NULL: in the caller's thread */
    struct cb_blob_sink *sink;    /* borrowed; NULL: bytes are dropped */
};
struct cb_block_pipe *cb_block_pipe_new(const struct cb_block_pipe_options *o);
void cb_block_pipe_free(struct cb_block_pipe *p); /* waits for the blocks that are being compressed */
CB_DEFINE_CLEANUP(struct cb_block_pipe *, cb_block_pipe_free)
/* Room for the next bytes, at least one; to be filled and then committed. */
int cb_block_pipe_room(struct cb_block_pipe *p, uint8_t **buf, size_t *room, struct cb_error *err) CB_WUR;
int cb_block_pipe_commit(struct cb_block_pipe *p, size_t n, struct cb_error *err) CB_WUR;
/* The block ends here; where it is empty nothing happens. */
int cb_block_pipe_cut(struct cb_block_pipe *p, struct cb_error *err) CB_WUR;
/* Of a block that begins now: on_block tells what became of it, and of its first n bytes. */
void cb_block_pipe_mark(struct cb_block_pipe *p, size_t mark, size_t n);
/* Cuts, and waits until all is out. *size: bytes in the sink. */
int cb_block_pipe_drain(struct cb_block_pipe *p, uint64_t *size, struct cb_error *err) CB_WUR;
/* Behind a drain: these bytes as they are. */
int cb_block_pipe_raw(struct cb_block_pipe *p, const void *buf, size_t n, struct cb_error *err) CB_WUR;
/* The last block, and all that is under way. The sink is not committed. digest: NONE without a codec, because the
 * feeder has hashed the very same bytes. */
int cb_block_pipe_finish(struct cb_block_pipe *p, struct cb_digest *digest, uint64_t *size,
                         struct cb_error *err) CB_WUR;

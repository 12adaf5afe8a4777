/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The table that eStargz and zstd:chunked layers carry: what layer_writer.c tells of each entry, and the text that
 * comes of it when all is compressed. Files begin a gzip member or zstd frame of their own, and every 4 MiB another. */

#include "layer/block_pipe.h"
#include "layer/crc64.h"
#include "layer/foreign.h"
#include "layer/format.h"
#include "util/strbuf.h"

#define CB_CHUNK ((size_t)4 << 20)
/* What a block of the pipe has to hold: a chunk, its padding, and some of the headers that follow. */
#define CB_CHUNKED_BLOCK (CB_CHUNK + ((size_t)64 << 10))
#define CB_ESTARGZ_LANDMARK ".no.prefetch.landmark" /* a file of one byte: nothing is to be fetched ahead */
#define CB_ESTARGZ_LANDMARK_BYTE "\x0f"

struct cb_chunked;
struct cb_chunked *cb_chunked_new(enum cb_foreign_toc_kind kind);
void cb_chunked_free(struct cb_chunked *c);
CB_DEFINE_CLEANUP(struct cb_chunked *, cb_chunked_free)
/* Suits cb_block_pipe_options.on_block. */
void cb_chunked_on_block(void *chunked, const struct cb_block_made *m);

/* Whether the table can name it: UTF-8, and not one of the format's own files. -CB_ECONF. */
int cb_chunked_check(const struct cb_chunked *c, const struct cb_entry *e, struct cb_error *err) CB_WUR;
/* The next entry, and its header as it stands in the tar. */
int cb_chunked_entry(struct cb_chunked *c, const struct cb_entry *e, const struct cb_strbuf *header,
                     struct cb_error *err) CB_WUR;
/* The next n ≤ CB_CHUNK bytes of its data are a chunk: sees to the block that it begins. */
int cb_chunked_begin_chunk(struct cb_chunked *c, struct cb_block_pipe *pipe, size_t n, struct cb_error *err) CB_WUR;
void cb_chunked_data(struct cb_chunked *c, const void *buf, size_t n);
/* All of an entry has been told, also where there is no data. e->digest: of a FILE. */
int cb_chunked_end(struct cb_chunked *c, struct cb_block_pipe *pipe, const struct cb_entry *e,
                   struct cb_error *err) CB_WUR;

/* When all blocks are out (cb_block_pipe_drain). ESTARGZ: the text of the table, to be written as the file
 * CB_ESTARGZ_TOC, and at the end of the blob the footer, where toc_offset is that of the member that begins with its
 * header. */
void cb_chunked_estargz_text(const struct cb_chunked *c, struct cb_strbuf *out);
void cb_chunked_estargz_footer(struct cb_strbuf *out, uint64_t toc_offset);
/* ZSTD_CHUNKED: the frames behind a layer of blob_size bytes, whose tar ends with two empty blocks, and the annotations
 * that tell of them. */
int cb_chunked_zstd_tail(struct cb_chunked *c, uint64_t blob_size, struct cb_strbuf *out,
                         struct cb_strmap *annotations, struct cb_error *err) CB_WUR;

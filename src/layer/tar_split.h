/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tar-split (github.com/vbatts/tar-split): a tar without the data of its files, as a line of JSON for every stretch of
 * other bytes and for every file, so that the tar can be made again from a directory. zstd, as it goes into a
 * zstd:chunked layer. */

#include "util/error.h"
#include "util/strbuf.h"

struct cb_tar_split;
struct cb_tar_split *cb_tar_split_new(void);
void cb_tar_split_free(struct cb_tar_split *t);
CB_DEFINE_CLEANUP(struct cb_tar_split *, cb_tar_split_free)
/* Bytes that are no file's: headers, with the padding before them, and the end. */
int cb_tar_split_bytes(struct cb_tar_split *t, const void *buf, size_t n, struct cb_error *err) CB_WUR;
/* Each header is followed by one of these, whatever it is of. name: as in the tar; crc: cb_crc64 of size bytes. */
int cb_tar_split_file(struct cb_tar_split *t, const char *name, uint64_t size, uint64_t crc,
                      struct cb_error *err) CB_WUR;
/* The compressed text, which is t's, and its size before. */
int cb_tar_split_finish(struct cb_tar_split *t, const struct cb_strbuf **out, uint64_t *text_size,
                        struct cb_error *err) CB_WUR;

/* One zstd frame, written bit by bit: both texts of a zstd:chunked layer. */
struct cb_zstd_text;
struct cb_zstd_text *cb_zstd_text_new(void);
void cb_zstd_text_free(struct cb_zstd_text *z);
CB_DEFINE_CLEANUP(struct cb_zstd_text *, cb_zstd_text_free)
int cb_zstd_text_add(struct cb_zstd_text *z, const void *buf, size_t n, struct cb_error *err) CB_WUR;
int cb_zstd_text_finish(struct cb_zstd_text *z, const struct cb_strbuf **out, uint64_t *text_size,
                        struct cb_error *err) CB_WUR;

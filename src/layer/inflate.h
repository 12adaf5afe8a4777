/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The plain bytes of a stream whose compression is found by its first bytes. All in-process: never a program (A12).
 * What follows the last gzip member or zstd frame must be another; anything else, a bad checksum or a cut end is
 * -CB_EVERIFY. */

#include "oci/blob_io.h"

struct cb_inflate;
/* src is borrowed. foreign: bzip2 and xz too (archives that ADD extracts). Nothing is read yet. */
struct cb_inflate *cb_inflate_new(struct cb_blob_source *src, bool foreign);
/* Before the first read: so many threads may work on what is not needed yet. 0, the default, and 1: none. */
void cb_inflate_ahead(struct cb_inflate *i, unsigned threads);
/* How many of the bytes so far were there before they were asked for. */
uint64_t cb_inflate_were_ahead(const struct cb_inflate *i);
void cb_inflate_free(struct cb_inflate *i);
CB_DEFINE_CLEANUP(struct cb_inflate *, cb_inflate_free)
/* Up to n bytes; *got = 0 only at the end, which has then been verified. */
int cb_inflate_read(struct cb_inflate *i, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
/* Whether nothing would have to be inflated of what begins so. */
bool cb_inflate_is_plain(const void *buf, size_t n);
/* "gzip", "zstd", "bzip2", "xz", "plain"; "" before the first read. */
const char *cb_inflate_kind(const struct cb_inflate *i);

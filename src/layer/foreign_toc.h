/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* From the text of a foreign table (foreign.h) to one of ours, and to where in the blob the data of files is. */

#include "layer/foreign.h"

/* A piece of a file's data that can be had by itself. */
struct cb_foreign_part {
    uint64_t at, size;       /* in the file */
    uint64_t offset, end;    /* in the blob: a gzip member or zstd frame begins at offset; all of it is before end */
    uint64_t inner;          /* uncompressed bytes from there that belong to others */
    struct cb_digest digest; /* of these bytes; NONE: only the file's is known */
};
/* place->offset is where data ends in the blob. -CB_EVERIFY for anything malformed. */
int cb_foreign_toc_parse(const struct cb_foreign_place *place, const char *text, size_t len,
                         struct cb_foreign_toc **out, struct cb_error *err) CB_WUR;
/* The parts of a FILE (of a HARDLINK: ask for its link), in order and without gaps; NULL where it is empty or none. */
const struct cb_foreign_part *cb_foreign_toc_parts(const struct cb_foreign_toc *t, const char *path, size_t *n);

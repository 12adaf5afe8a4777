/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tables of contents that two formats of layers carry with them: eStargz's stargz.index.json (stargz-snapshotter,
 * docs/estargz.md) and zstd:chunked's manifest (containers/storage, pkg/chunked). Pure: from the text to a table of
 * ours, with the rules that hold for tar headers (reader_entry.c), and to where in the blob the data of files is.
 *
 * What our tables have and these lack:
 * - offset in the uncompressed tar: always UINT64_MAX ("not in one piece"); the parts say where in the blob data is.
 * - inline_data (etc/passwd): to be read from its parts.
 * - xattrs: only those that tar had as SCHILY.xattr; LIBARCHIVE.xattr is lost.
 * - mtime: eStargz rounds to seconds, no time at all means 0.
 * - names that are no UTF-8: their writers put U+FFFD there, so a name with one is refused.
 * - eStargz lists neither stargz.index.json itself nor any diff id; zstd:chunked has no diff id either, but the digest
 *   of its tar-split, which with the files' data would give the tar.
 * - a digest of every file's data: first stargz had none. Such a table is refused.
 * Nothing ties the text to the tar: who trusts the digest of the text (an annotation of the layer's descriptor) trusts
 * the image, but what is made here may differ from what unpacking makes, and is no table for toc/<diffid>. */

#include "layer/toc.h"
#include "util/strvec.h"

enum cb_foreign_toc_kind { CB_FOREIGN_ESTARGZ, CB_FOREIGN_ZSTD_CHUNKED };

/* Annotations of a layer's descriptor. */
#define CB_ANNOTATION_ESTARGZ_TOC "containerd.io/snapshot/stargz/toc.digest"
#define CB_ANNOTATION_ESTARGZ_SIZE "io.containers.estargz.uncompressed-size"
#define CB_ANNOTATION_CHUNKED_TOC "io.github.containers.zstd-chunked.manifest-checksum"
#define CB_ANNOTATION_CHUNKED_AT "io.github.containers.zstd-chunked.manifest-position"
#define CB_ANNOTATION_CHUNKED_TAR_SPLIT "io.github.containers.zstd-chunked.tarsplit-position"
#define CB_ESTARGZ_FOOTER 51u /* bytes at the end of the blob */
#define CB_MAX_FOREIGN_TOC (64u << 20) /* the text, and as it stands in the blob */

/* Where the table is in a blob, and what vouches for it. */
struct cb_foreign_place {
    enum cb_foreign_toc_kind kind;
    uint64_t offset, length;
    uint64_t text_length;    /* ZSTD_CHUNKED: uncompressed; ESTARGZ: not known, 0 */
    struct cb_digest digest; /* ZSTD_CHUNKED: of the length bytes in the blob; ESTARGZ: of the text */
};
/* By annotations and, for eStargz, the last bytes of the blob (NULL: they have to be read; *needs_footer is set then
 * and all but kind and digest is missing). -CB_ENOTFOUND where the annotations name no table. */
int cb_foreign_place_find(const struct cb_strmap *annotations, uint64_t blob_size, const uint8_t *footer,
                          struct cb_foreign_place *out, bool *needs_footer, struct cb_error *err) CB_WUR;

/* A piece of a file's data that can be had by itself. */
struct cb_foreign_part {
    uint64_t at, size;       /* in the file */
    uint64_t offset, end;    /* in the blob: a gzip member or zstd frame begins at offset; all of it is before end */
    uint64_t inner;          /* uncompressed bytes from there that belong to others */
    struct cb_digest digest; /* of these bytes; NONE: only the file's is known */
};
struct cb_foreign_toc;
/* place->offset is where data ends in the blob. -CB_EVERIFY for anything malformed. */
int cb_foreign_toc_parse(const struct cb_foreign_place *place, const char *text, size_t len,
                         struct cb_foreign_toc **out, struct cb_error *err) CB_WUR;
void cb_foreign_toc_free(struct cb_foreign_toc *t);
CB_DEFINE_CLEANUP(struct cb_foreign_toc *, cb_foreign_toc_free)
struct cb_toc *cb_foreign_toc_table(const struct cb_foreign_toc *t); /* borrowed */
/* The parts of a FILE (of a HARDLINK: ask for its link), in order and without gaps; NULL where it is empty or none. */
const struct cb_foreign_part *cb_foreign_toc_parts(const struct cb_foreign_toc *t, const char *path, size_t *n);

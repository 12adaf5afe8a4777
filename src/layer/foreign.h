/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tables of contents that two formats of layers carry with them: eStargz's stargz.index.json (stargz-snapshotter,
 * docs/estargz.md) and zstd:chunked's manifest (containers/storage, pkg/chunked). Pure: from bytes to a table of
 * ours, with the rules that hold for tar headers (reader_entry.c).
 *
 * What our tables have and these lack:
 * - offset in the uncompressed tar: always UINT64_MAX ("not in one piece"); the parts (foreign_toc.h) say where in the
 *   blob data is.
 * - inline_data (etc/passwd): to be read from its parts.
 * - xattrs: only those that tar had as SCHILY.xattr; LIBARCHIVE.xattr is lost.
 * - mtime: eStargz rounds to seconds, no time at all means 0.
 * - names that are no UTF-8: their writers put U+FFFD there, so a name with one is refused.
 * - eStargz does not list stargz.index.json itself, which is a file of the tar all the same: it is added. Neither has a
 *   diff id; zstd:chunked has the digest of its tar-split, which with the files' data would give the tar.
 * - a digest of every file's data: first stargz had none. Such a table is refused.
 * Nothing ties the text to the tar: who trusts the digest of the text (an annotation of the layer's descriptor) trusts
 * the image, but what is made here may differ from what unpacking makes, and is no table for toc/<diffid>. */

#include "layer/toc.h"
#include "util/cancel.h"
#include "util/strbuf.h"
#include "util/strvec.h"

enum cb_foreign_toc_kind { CB_FOREIGN_ESTARGZ, CB_FOREIGN_ZSTD_CHUNKED };

/* Annotations of a layer's descriptor. */
#define CB_ANNOTATION_ESTARGZ_TOC "containerd.io/snapshot/stargz/toc.digest"
#define CB_ANNOTATION_ESTARGZ_SIZE "io.containers.estargz.uncompressed-size"
#define CB_ANNOTATION_CHUNKED_TOC "io.github.containers.zstd-chunked.manifest-checksum"
#define CB_ANNOTATION_CHUNKED_AT "io.github.containers.zstd-chunked.manifest-position"
#define CB_ANNOTATION_CHUNKED_TAR_SPLIT "io.github.containers.zstd-chunked.tarsplit-position"
#define CB_ESTARGZ_TOC "stargz.index.json"
#define CB_ESTARGZ_FOOTER 51u /* bytes at the end of the blob */
#define CB_MAX_FOREIGN_TOC (64u << 20) /* the text, and as it stands in the blob */

/* What these annotations say of a table, as one text: what the table is hangs on nothing else. The caller's; NULL where
 * they say nothing. */
char *cb_foreign_pin(const struct cb_strmap *annotations);

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

struct cb_foreign_toc;
void cb_foreign_toc_free(struct cb_foreign_toc *t);
CB_DEFINE_CLEANUP(struct cb_foreign_toc *, cb_foreign_toc_free)
struct cb_toc *cb_foreign_toc_table(const struct cb_foreign_toc *t); /* borrowed */

/* ---- foreign_load.c: from what stands in the blob ---- */
/* raw: the place->length bytes at place->offset. Verified by place->digest. What the digest does not vouch for has to
 * be as the format's own writer has it: the table is the same whoever sends these bytes. */
int cb_foreign_toc_load(const struct cb_foreign_place *place, const void *raw, size_t len, struct cb_foreign_toc **out,
                        struct cb_error *err) CB_WUR;
/* Bytes of the blob from offset on, appended to out. */
struct cb_foreign_reader {
    int (*read)(void *arg, uint64_t offset, uint64_t len, struct cb_strbuf *out, struct cb_error *err);
    void *arg;
};
/* All of it, as this process or another reads it (rule R3). users: the user databases are read too; or NULL. Ranges are
 * asked for in the calling thread, each of no more than CB_MAX_FOREIGN_PART bytes. */
#define CB_MAX_FOREIGN_PART (1u << 20)
struct cb_foreign_work {
    struct cb_foreign_place place;
    struct cb_slice raw; /* as cb_foreign_toc_load has it */
    const struct cb_foreign_reader *users;
    const struct cb_cancel *cancel; /* or NULL */
};
int cb_foreign_table(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err) CB_WUR;
int cb_foreign_table_here(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err) CB_WUR;
/* The user databases (cb_toc_wants_inline) read from their parts, verified by their digests, and kept inline. The table
 * must not be shared yet. -CB_EVERIFY too where they are too many or lie among too much else. */
int cb_foreign_toc_fill(struct cb_foreign_toc *t, const struct cb_foreign_reader *r, struct cb_error *err) CB_WUR;
/* A path of which such a table says something else than what was read from the layer, or NULL. Passed over: what these
 * tables lack, and a time that eStargz has rounded up. */
const char *cb_foreign_toc_differs(enum cb_foreign_toc_kind kind, const struct cb_toc *told, const struct cb_toc *real);

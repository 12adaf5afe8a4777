/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The table of contents of one layer: what its tar holds, sorted, made in the same pass that makes or first reads the
 * layer. It answers every question about a layer that is not "give me the bytes of a file". doc/toc.md has the format.
 *
 * Paths are in normal form: no leading or trailing '/', no ".", no "..", not empty (the root directory itself is never
 * listed). Order: bytewise with '/' below every other byte, so that a directory is followed by all that is in it.
 * Where a tar names a path twice the last wins. Whiteouts are entries of their own, sorted before an entry of the same
 * path. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/digest.h"
#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

enum cb_entry_type {
    CB_ENTRY_WHITEOUT = 1, /* path: what it removes from the layers below */
    CB_ENTRY_OPAQUE,       /* path: the directory whose lower contents are hidden */
    CB_ENTRY_DIR,
    CB_ENTRY_FILE,
    CB_ENTRY_SYMLINK,
    /* link: normal-form path of the target; mode, owner, size, digest are those of the inode. Where the target is in a
     * lower layer: what the header said, digest NONE. */
    CB_ENTRY_HARDLINK,
    CB_ENTRY_CHAR,
    CB_ENTRY_BLOCK,
    CB_ENTRY_FIFO,
};

struct cb_xattr {
    const char *name;
    const void *value;
    size_t len;
};

/* Borrows all it points to. */
struct cb_entry {
    const char *path;
    enum cb_entry_type type;
    uint32_t mode;               /* permission bits and S_ISUID, S_ISGID, S_ISVTX; no type bits */
    uint32_t uid, gid;
    uint32_t dev_major, dev_minor;
    int64_t mtime;               /* s */
    uint64_t size;               /* of FILE data */
    const char *link;            /* SYMLINK: text, verbatim; HARDLINK: see above; else NULL */
    uint64_t offset;             /* of FILE data in the uncompressed tar; UINT64_MAX: not there in one piece (sparse) */
    /* size bytes and a NUL, of small files that later steps read (etc/passwd, etc/group), or NULL */
    const char *inline_data;
    const struct cb_xattr *xattrs;
    uint32_t n_xattrs;           /* sorted by name */
    struct cb_sum digest;        /* of FILE (and its HARDLINKs') data */
};

/* The order described above. */
int cb_entry_path_cmp(const char *a, const char *b);

struct cb_toc;                   /* immutable once built; reference counted, safe from any thread */
struct cb_toc *cb_toc_ref(struct cb_toc *t);
void cb_toc_unref(struct cb_toc *t);
CB_DEFINE_CLEANUP(struct cb_toc *, cb_toc_unref)
size_t cb_toc_count(const struct cb_toc *t);
const struct cb_entry *cb_toc_at(const struct cb_toc *t, size_t i);
/* The entry (no whiteout) of that path or NULL. */
const struct cb_entry *cb_toc_find(const struct cb_toc *t, const char *path);
/* Index of the first entry whose path is ≥ path. */
size_t cb_toc_lower_bound(const struct cb_toc *t, const char *path);

/* Serialised form, versioned, bounds-checked when read: -CB_EVERIFY for anything malformed. */
void cb_toc_print(struct cb_strbuf *out, const struct cb_toc *t);
int cb_toc_parse(struct cb_toc **out, const void *buf, size_t len, struct cb_error *err) CB_WUR;
bool cb_toc_is_current(const void *buf, size_t len); /* begins as cb_toc_print begins */

/* One entry alone in that form, as it goes from one process to another. Parsing checks as much as is true of one entry;
 * *e is good until the next one is parsed. */
void cb_entry_print(struct cb_strbuf *out, const struct cb_entry *e);
struct cb_entry_parser;
struct cb_entry_parser *cb_entry_parser_new(void);
void cb_entry_parser_free(struct cb_entry_parser *p);
CB_DEFINE_CLEANUP(struct cb_entry_parser *, cb_entry_parser_free)
int cb_entry_parse(struct cb_entry_parser *p, const void *buf, size_t len, const struct cb_entry **e,
                   struct cb_error *err) CB_WUR;
#define CB_MAX_ENTRY_TEXT (20u << 20) /* bytes: paths, and as many attributes of as many bytes as there may be */

/* What a manifest says of the table of one of its layers, by annotations of the layer's descriptor: the digest and
 * size of what cb_toc_print writes. It is the word of who made the manifest, as the layer is. */
#define CB_ANN_TOC_DIGEST "vnd.cbpush.toc.digest"
#define CB_ANN_TOC_SIZE "vnd.cbpush.toc.size"
#define CB_ANN_TOC_DATA "vnd.cbpush.toc.data" /* the table itself, base64 */
#define CB_TOC_SMALL 512 /* bytes: tables up to here stand in the manifest, and are no blobs */
struct cb_toc_pin {
    struct cb_digest digest; /* NONE: nothing is said */
    uint64_t size;           /* bytes */
};
void cb_toc_pin_of(struct cb_toc_pin *out, const struct cb_toc *t);
/* False, and *out says nothing, where there is none, or one that is malformed or larger than CB_MAX_TOC_BLOB. */
bool cb_toc_pin_read(struct cb_toc_pin *out, const struct cb_strmap *annotations);
/* Whether data (base64, may be NULL) is the table that is pinned; its bytes are added to *out, which may be NULL. */
bool cb_toc_pin_decode(const struct cb_toc_pin *pin, const char *data, struct cb_strbuf *out);
/* Whether the annotations hold it. */
bool cb_toc_pin_has_data(const struct cb_toc_pin *pin, const struct cb_strmap *annotations);
/* table: what cb_toc_print wrote, where it is to stand there too, or NULL. */
void cb_toc_pin_write(const struct cb_toc_pin *pin, const struct cb_strbuf *table, struct cb_strmap *annotations);
void cb_toc_pin_remove(struct cb_strmap *annotations);
bool cb_toc_pin_eq(const struct cb_toc_pin *a, const struct cb_toc_pin *b);

/* Building: entries in any order; strings are copied. Later ones of the same path (and whiteout-ness) replace earlier
 * ones. What is no directory takes away all that was added below it before, as unpacking would, and where a directory
 * comes in its place, that is OPAQUE; a hard link to a file that was replaced afterwards becomes a FILE with the old
 * bytes. */
struct cb_toc_builder;
struct cb_toc_builder *cb_toc_builder_new(void);
void cb_toc_builder_free(struct cb_toc_builder *b);
CB_DEFINE_CLEANUP(struct cb_toc_builder *, cb_toc_builder_free)
/* -CB_EVERIFY past CB_MAX_LAYER_ENTRIES. */
int cb_toc_builder_add(struct cb_toc_builder *b, const struct cb_entry *e, struct cb_error *err) CB_WUR;
/* What was added last of that path, or NULL: hard links need their target. Valid until the next call. */
const struct cb_entry *cb_toc_builder_find(const struct cb_toc_builder *b, const char *path);
/* Whether marks that were added hide what lower layers have at that path; below: what they have in that directory. */
bool cb_toc_builder_hides(const struct cb_toc_builder *b, const char *path, bool below);
/* Whether what was added has that path as a directory on its way, be it listed or not. */
bool cb_toc_builder_implies(struct cb_toc_builder *b, const char *path);
struct cb_toc *cb_toc_builder_finish(struct cb_toc_builder *b); /* b is empty then */
/* Whether the data of this path is kept inline. */
bool cb_toc_wants_inline(const char *path, uint64_t size);

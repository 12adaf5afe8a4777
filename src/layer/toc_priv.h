/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files that make tables share; nobody outside src/layer includes it. */

#include <stdatomic.h>

#include "util/arena.h"
#include "layer/toc.h"

/* Paths, links, attribute values and inline files of one table together. */
#define CB_TOC_MAX_BYTES ((uint64_t)2 << 30)
/* Inline files of one table together: past it files are still listed, without their bytes. */
#define CB_TOC_MAX_INLINE ((uint64_t)32 << 20)

/* Entries that an index (toc_index.h) reads at once. */
#define CB_TOC_RUN ((size_t)64)
#define CB_TOC_SUM_LEN 32 /* at the end of a table */

struct cb_toc {
    atomic_size_t refs;
    struct cb_entry *v; /* in order */
    size_t n;
    struct cb_arena arena; /* of every string in v */
    struct cb_toc *base;   /* or they are this one's, which is held */
};

/* Takes v and the arena. v is in order. */
struct cb_toc *cb_toc_take(struct cb_entry *v, size_t n, struct cb_arena *arena);
/* The same entries with other digests: n of them, v[i] for the i-th. */
struct cb_toc *cb_toc_with_sums(struct cb_toc *t, const struct cb_sum *v);
static inline bool cb_entry_is_mark(const struct cb_entry *e) /* a whiteout of either kind */
{
    return e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE;
}
static inline bool cb_entry_is_node(const struct cb_entry *e) /* neither directory nor file, nor a name of one */
{
    return e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK ||
           e->type == CB_ENTRY_FIFO;
}
/* What a link into a lower layer is: the inode there, whatever the link's own header says of it. */
static inline struct cb_entry cb_entry_linked(const struct cb_entry *lower, const struct cb_entry *link)
{
    struct cb_entry e = *lower;
    e.path = link->path;
    if (!cb_entry_is_node(lower)) {
        e.type = CB_ENTRY_HARDLINK;
        e.link = link->link;
        e.inline_data = NULL;
    }
    return e;
}
/* Names of one file of this layer, by where its bytes are. */
static inline bool cb_entry_same_file(const struct cb_entry *a, const struct cb_entry *b)
{
    return (a->type == CB_ENTRY_FILE || a->type == CB_ENTRY_HARDLINK) && a->offset == b->offset &&
           cb_sum_eq(&a->digest, &b->digest);
}
/* Path order, and within a path WHITEOUT, OPAQUE, the entry. */
int cb_entry_cmp(const struct cb_entry *a, const struct cb_entry *b);
/* Whether path is in dir (at any depth), both in normal form; dir is not "". */
bool cb_path_is_below(const char *path, const char *dir, size_t dirlen);
/* Strings, attributes and inline data are copied. */
struct cb_entry cb_entry_copy(struct cb_arena *a, const struct cb_entry *e);
/* cb_toc_print; runs may be NULL, else gets where in the table each CB_TOC_RUN entries begin. */
void cb_toc_print_runs(struct cb_strbuf *out, const struct cb_toc *t, uint64_t *runs);
/* n entries that are bytes, behind an entry of path `before`. What they point to is in the arena, which is the caller's
 * to free whatever comes out. */
bool cb_toc_take_run(struct cb_slice bytes, const char *before, struct cb_entry *v, size_t n, struct cb_arena *arena);

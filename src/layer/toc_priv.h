/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files that make tables share; nobody outside src/layer includes it. */

#include <stdatomic.h>

#include "layer/arena.h"
#include "layer/toc.h"

/* Paths, links, attribute values and inline files of one table together. */
#define CB_TOC_MAX_BYTES ((uint64_t)2 << 30)
/* Inline files of one table together: past it files are still listed, without their bytes. */
#define CB_TOC_MAX_INLINE ((uint64_t)32 << 20)

struct cb_toc {
    atomic_size_t refs;
    struct cb_entry *v; /* in order */
    size_t n;
    struct cb_arena arena; /* of every string in v */
};

/* Takes v and the arena. v is in order. */
struct cb_toc *cb_toc_take(struct cb_entry *v, size_t n, struct cb_arena *arena);
static inline bool cb_entry_is_mark(const struct cb_entry *e) /* a whiteout of either kind */
{
    return e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE;
}
/* Path order, and within a path WHITEOUT, OPAQUE, the entry. */
int cb_entry_cmp(const struct cb_entry *a, const struct cb_entry *b);
/* Whether path is in dir (at any depth), both in normal form; dir is not "". */
bool cb_path_is_below(const char *path, const char *dir, size_t dirlen);

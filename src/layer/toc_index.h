/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A table in a file, with an index behind it: single entries are read without the rest of it. doc/toc.md has the form.
 * What is read is checked: the index by its sum when it is opened, each run of entries by its own. */

#include "layer/toc.h"

/* Table, index, tail: the whole file. */
void cb_toc_index_print(struct cb_strbuf *out, const struct cb_toc *t);

/* Whether these are the bytes of such a file; its table is the first *table of them. The index alone is checked. */
bool cb_toc_index_of(const void *buf, size_t len, size_t *table);

struct cb_toc_index; /* immutable; reference counted, safe from any thread; keeps its file open */
/* Takes fd. -CB_EVERIFY: it is damaged, cut, of another version, or has no index. */
int cb_toc_index_open(int fd, struct cb_toc_index **out, struct cb_error *err) CB_WUR;
struct cb_toc_index *cb_toc_index_ref(struct cb_toc_index *x);
void cb_toc_index_unref(struct cb_toc_index *x);
CB_DEFINE_CLEANUP(struct cb_toc_index *, cb_toc_index_unref)
size_t cb_toc_index_count(const struct cb_toc_index *x); /* entries */
void cb_toc_index_pin(const struct cb_toc_index *x, struct cb_toc_pin *out); /* of the table alone */

/* A place in it, of one thread. */
struct cb_toc_cursor;
struct cb_toc_cursor *cb_toc_cursor_new(struct cb_toc_index *x); /* takes a reference */
void cb_toc_cursor_free(struct cb_toc_cursor *c);
CB_DEFINE_CLEANUP(struct cb_toc_cursor *, cb_toc_cursor_free)
/* As cb_toc_at and cb_toc_lower_bound; an entry is valid until the next call. -CB_EVERIFY: it is damaged. */
int cb_toc_cursor_at(struct cb_toc_cursor *c, size_t i, const struct cb_entry **e, struct cb_error *err) CB_WUR;
int cb_toc_cursor_bound(struct cb_toc_cursor *c, const char *path, size_t *i, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The questions of a stack, one path at a time: for who asks little of much. No view of all layers is made, and of
 * tables that lie in files with an index only what is asked for is read. The answers are those of cb_stack_find. */

#include "layer/stack.h"
#include "layer/toc_index.h"

struct cb_lookup_layer { /* one of them */
    struct cb_toc *toc;
    struct cb_toc_index *index;
};
struct cb_lookup; /* of one thread */
/* Lowest first; references are taken. */
struct cb_lookup *cb_lookup_new(const struct cb_lookup_layer *v, size_t n);
void cb_lookup_free(struct cb_lookup *l);
CB_DEFINE_CLEANUP(struct cb_lookup *, cb_lookup_free)
/* *hit is valid until l is freed; NULL where there is none. Cheap where paths come in order, directory by directory.
 * -CB_EVERIFY where a table turns out to be damaged. */
int cb_lookup_find(struct cb_lookup *l, const char *path, const struct cb_stack_entry **hit, struct cb_error *err)
    CB_WUR;
struct cb_finder cb_lookup_finder(struct cb_lookup *l);

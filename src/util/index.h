/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Finds the elements of an array by their names, eight bytes an element: the names stay where they are, and do not
 * change. Seeded hash, open addressing. Not thread-safe. */

#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

#define CB_INDEX_NONE UINT32_MAX
/* The name of element i of what arg is. */
typedef const char *cb_index_name(const void *arg, uint32_t i);

struct cb_index;
struct cb_index *cb_index_new(cb_index_name *name, const void *arg); /* arg is borrowed */
void cb_index_free(struct cb_index *x);
CB_DEFINE_CLEANUP(struct cb_index *, cb_index_free)
uint32_t cb_index_find(const struct cb_index *x, const char *name, size_t len); /* CB_INDEX_NONE: no element */
/* Element i, which is in the array, and whose name is new. */
void cb_index_add(struct cb_index *x, uint32_t i);
void cb_index_remove(struct cb_index *x, uint32_t i); /* which was added */

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Views of layer lists that were made lately. A step's list is its base's plus one, so that a view costs one layer more
 * instead of all of them: a chain of n steps would make n²/2 of them otherwise. Thread-safe. */

#include "layer/layer.h"

struct cb_stack_cache;
struct cb_stack_cache *cb_stack_cache_new(void);
void cb_stack_cache_free(struct cb_stack_cache *c);
CB_DEFINE_CLEANUP(struct cb_stack_cache *, cb_stack_cache_free)
/* cb_stack_new(tocs, n), by the longest beginning of the list that is there. The reference is the caller's. */
struct cb_stack *cb_stack_cache_get(struct cb_stack_cache *c, struct cb_toc *const *tocs, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Memory that is given back all at once: the strings of a table, the items of a selection. */

#include <stddef.h>
#include <stdint.h>

struct cb_arena_chunk;
struct cb_arena {
    struct cb_arena_chunk *head;
    uint64_t total; /* bytes handed out */
};

void *cb_arena_alloc(struct cb_arena *a, size_t n); /* aligned for any pointer */
char *cb_arena_chars(struct cb_arena *a, size_t n); /* n bytes to be filled and a NUL */
char *cb_arena_strndup(struct cb_arena *a, const void *p, size_t n); /* n bytes and a NUL */
void cb_arena_done(struct cb_arena *a);
void cb_arena_reset(struct cb_arena *a); /* nothing is handed out any more; some memory is kept for what comes */

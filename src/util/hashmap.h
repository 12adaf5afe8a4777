/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* String keys (copied) to borrowed pointers. Open addressing, seeded hash. Not thread-safe. */

#include <stdbool.h>
#include <stddef.h>

#include "util/macros.h"

struct cb_hashmap;
struct cb_hashmap *cb_hashmap_new(void);
void cb_hashmap_free(struct cb_hashmap *m);
CB_DEFINE_CLEANUP(struct cb_hashmap *, cb_hashmap_free)
void *cb_hashmap_get(const struct cb_hashmap *m, const char *key); /* NULL where absent */
void *cb_hashmap_getn(const struct cb_hashmap *m, const char *key, size_t len);
void *cb_hashmap_put(struct cb_hashmap *m, const char *key, void *value); /* the old value or NULL; value is not NULL */
void *cb_hashmap_remove(struct cb_hashmap *m, const char *key);
size_t cb_hashmap_size(const struct cb_hashmap *m);
/* Walk: size_t it = 0; while (cb_hashmap_next(m, &it, &k, &v)). Order is unspecified; do not change m meanwhile. */
bool cb_hashmap_next(const struct cb_hashmap *m, size_t *it, const char **key, void **value);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* SipHash-1-3 with a seed that nobody knows: for tables whose keys come from outside. */

#include <stddef.h>
#include <stdint.h>

struct cb_hash_seed {
    uint64_t v[2];
};
void cb_hash_seed_new(struct cb_hash_seed *s);
uint64_t cb_hash_bytes(const struct cb_hash_seed *s, const void *p, size_t len);

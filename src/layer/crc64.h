/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* CRC-64 as ISO 3309 has it and Go's hash/crc64 computes it: what tar-split knows files by. */

#include <stddef.h>
#include <stdint.h>

struct cb_crc64 {
    uint64_t value; /* of the bytes so far; 0 at the beginning */
    uint64_t table[8][256];
};

void cb_crc64_init(struct cb_crc64 *c);
void cb_crc64_update(struct cb_crc64 *c, const void *buf, size_t n);

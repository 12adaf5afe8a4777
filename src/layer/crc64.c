/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/crc64.h"

#include <endian.h>
#include <string.h>

#define POLYNOMIAL UINT64_C(0xd800000000000000) /* x^64 + x^4 + x^3 + x + 1, reflected */

void cb_crc64_init(struct cb_crc64 *c)
{
    c->value = 0;
    for (unsigned i = 0; i < 256; i++) {
        uint64_t v = i;
        for (unsigned k = 0; k < 8; k++)
            v = v >> 1 ^ (v & 1 ? POLYNOMIAL : 0);
        c->table[0][i] = v;
    }
    for (unsigned t = 1; t < 8; t++)
        for (unsigned i = 0; i < 256; i++)
            c->table[t][i] = c->table[0][c->table[t - 1][i] & 0xff] ^ c->table[t - 1][i] >> 8;
}

/* Eight bytes at a time, a table for the distance of each from the end. */
void cb_crc64_update(struct cb_crc64 *c, const void *buf, size_t n)
{
    const uint8_t *p = buf;
    uint64_t v = ~c->value, w;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&w, p, sizeof w);
        v ^= le64toh(w);
        v = c->table[7][v & 0xff] ^ c->table[6][v >> 8 & 0xff] ^ c->table[5][v >> 16 & 0xff] ^
            c->table[4][v >> 24 & 0xff] ^ c->table[3][v >> 32 & 0xff] ^ c->table[2][v >> 40 & 0xff] ^
            c->table[1][v >> 48 & 0xff] ^ c->table[0][v >> 56];
    }
    for (; n; n--, p++)
        v = c->table[0][(v ^ *p) & 0xff] ^ v >> 8;
    c->value = ~v;
}

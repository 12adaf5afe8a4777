/* SPDX-License-Identifier: Apache-2.0 */
#include "util/siphash.h"

#include <string.h>

#include "util/random.h"

static uint64_t rotl(uint64_t x, unsigned b)
{
    return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[static 4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

void cb_hash_seed_new(struct cb_hash_seed *s)
{
    cb_random_bytes(s->v, sizeof s->v);
}

uint64_t cb_hash_bytes(const struct cb_hash_seed *s, const void *p, size_t len)
{
    const char *key = p;
    uint64_t v[4] = { s->v[0] ^ 0x736f6d6570736575u, s->v[1] ^ 0x646f72616e646f6du, s->v[0] ^ 0x6c7967656e657261u,
                      s->v[1] ^ 0x7465646279746573u };
    uint64_t word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, key + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, key + i, len - i);
    word |= (uint64_t)len << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int k = 0; k < 3; k++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

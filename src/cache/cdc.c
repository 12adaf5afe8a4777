/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/cdc.h"

#include <pthread.h>

#include "util/macros.h"

/* The highest bits know the most bytes. AVG is 2^17: below it a cut needs two bits more, above it two less. */
#define TOP(bits) (~UINT64_C(0) << (64 - (bits)))
#define MASK_BELOW TOP(19)
#define MASK_ABOVE TOP(15)

static uint64_t gear[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* splitmix64 of 0, 1, 2, …: any fixed table of random numbers would do. */
static void make_gear(void)
{
    uint64_t state = 0;
    for (size_t i = 0; i < CB_COUNTOF(gear); i++) {
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        gear[i] = z ^ (z >> 31);
    }
}

static size_t find(const uint8_t *p, size_t from, size_t to, uint64_t *hash, uint64_t mask)
{
    uint64_t h = *hash;
    size_t i = from;
    while (i < to) {
        h = (h << 1) + gear[p[i++]];
        if (!(h & mask)) {
            *hash = h;
            return i;
        }
    }
    *hash = h;
    return 0;
}

size_t cache_cdc_cut(const uint8_t *p, size_t n)
{
    uint64_t hash = 0;
    if (n <= CACHE_CDC_MIN)
        return n;
    pthread_once(&once, make_gear);
    n = CB_MIN(n, (size_t)CACHE_CDC_MAX);
    size_t normal = CB_MIN(n, (size_t)CACHE_CDC_AVG);
    size_t cut = find(p, CACHE_CDC_MIN, normal, &hash, MASK_BELOW);
    if (!cut)
        cut = find(p, normal, n, &hash, MASK_ABOVE);
    return cut ? cut : n;
}

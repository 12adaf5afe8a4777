/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Content-defined chunks: where a stream is cut depends on the bytes just before the cut, so that what is put in or
 * taken out moves only the cuts near it. FastCDC (Xia et al., USENIX ATC 2016): a gear hash, and two masks that pull
 * sizes towards the average. The same everywhere and for ever: places hold chunks that were cut by it. */

#include <stddef.h>
#include <stdint.h>

#define CACHE_CDC_MIN (32u << 10)
#define CACHE_CDC_AVG (128u << 10)
#define CACHE_CDC_MAX (512u << 10)

/* The length of the first chunk of p, at most n and at most CACHE_CDC_MAX. n is less than that only at the end. */
size_t cache_cdc_cut(const uint8_t *p, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One block of a layer at a time: each becomes a gzip member or a zstd frame of its own, so that blocks can be made in
 * any order and the bytes depend on nothing but the block and the level. */

#include <stddef.h>
#include <stdint.h>

#include "layer/format.h"

struct cb_codec {
    size_t block_size;
    int default_level, min_level, max_level;
    const char *name;                              /* "gzip" */
    void (*engine)(char *buf, size_t n, int level); /* "libdeflate-1.14/5"; distinct names for distinct bytes */
    size_t (*bound)(size_t n);                     /* output that is always enough for n bytes */
    void *(*context_new)(int level);               /* scratch of one thread at a time */
    void (*context_free)(void *ctx);
    /* How much was written, 0 on failure. */
    size_t (*compress)(void *ctx, const void *in, size_t n, void *out, size_t cap);
};

extern const struct cb_codec cb_codec_gzip, cb_codec_gzip_fast, cb_codec_zstd;
/* NULL for NONE. The level's engine may not be here: see cb_format_check. */
const struct cb_codec *cb_codec_find(const struct cb_format *f);
/* The level that a codec is told: never the default. */
int cb_codec_level(const struct cb_codec *c, const struct cb_format *f);

enum cb_engine_state { CB_ENGINE_HERE, CB_ENGINE_NOT_BUILT, CB_ENGINE_OTHER_CPU };
enum cb_engine_state cb_codec_gzip_fast_state(void);

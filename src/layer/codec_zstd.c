/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>

#include "layer/codec.h"

static size_t bound(size_t n)
{
    return ZSTD_compressBound(n);
}

static void context_free(void *ctx)
{
    ZSTD_freeCCtx(ctx);
}

static void *context_new(int level)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    if (!c)
        return NULL;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1))) {
        context_free(c);
        return NULL;
    }
    return c;
}

static size_t compress(void *ctx, const void *in, size_t n, void *out, size_t cap)
{
    size_t got = ZSTD_compress2(ctx, out, cap, in, n);
    return ZSTD_isError(got) ? 0 : got;
}

static void engine(char *buf, size_t n, int level)
{
    snprintf(buf, n, "zstd-%s/%d", ZSTD_versionString(), level);
}

const struct cb_codec cb_codec_zstd = {
    .block_size = (size_t)4 << 20,
    .default_level = 3,
    .min_level = 1,
    .max_level = 22,
    .name = "zstd",
    .engine = engine,
    .bound = bound,
    .context_new = context_new,
    .context_free = context_free,
    .compress = compress,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include <libdeflate.h>

#include "layer/codec.h"
#include "util/alloc.h"

#define BLOCK ((size_t)1 << 20)
#define PROBES 4
#define PROBE ((size_t)16 << 10)

struct context {
    struct libdeflate_compressor *main, *probe, *store;
    uint8_t *sample; /* PROBES * PROBE bytes, and room for what they compress to */
    int level;
};

static size_t bound(size_t n)
{
    return libdeflate_gzip_compress_bound(NULL, n);
}

static void context_free(void *ctx)
{
    struct context *c = ctx;
    if (c->main)
        libdeflate_free_compressor(c->main);
    if (c->probe)
        libdeflate_free_compressor(c->probe);
    if (c->store)
        libdeflate_free_compressor(c->store);
    free(c->sample);
    free(c);
}

static void *context_new(int level)
{
    struct context *c = CB_NEW(struct context);
    c->level = level;
    c->main = libdeflate_alloc_compressor(level);
    c->probe = libdeflate_alloc_compressor(1);
    c->store = libdeflate_alloc_compressor(0);
    c->sample = cb_malloc(PROBES * PROBE + bound(PROBES * PROBE));
    if (c->main && c->probe && c->store)
        return c;
    context_free(c);
    return NULL;
}

/* Whether Huffman codes alone would save more than a 64th. Two bytes of it are alike twice as often as in noise: then
 * there are at most 7.83 bits in each. */
static bool is_uneven(const uint8_t *p, size_t n)
{
    uint32_t count[256] = { 0 };
    uint64_t alike = 0;
    for (size_t i = 0; i < n; i++)
        count[p[i]]++;
    for (size_t i = 0; i < CB_COUNTOF(count); i++)
        alike += (uint64_t)count[i] * count[i];
    return alike >= (uint64_t)n * n / 128;
}

/* A cheap look at evenly spaced pieces: compressed media and archives would cost full time and yield nothing. What
 * else there is, nearly all of it, is told from them by counting bytes. */
static bool looks_incompressible(struct context *c, const uint8_t *in, size_t n)
{
    const size_t total = PROBES * PROBE;
    if (n < 2 * total)
        return false;
    for (size_t i = 0; i < PROBES; i++)
        memcpy(c->sample + i * PROBE, in + i * ((n - PROBE) / (PROBES - 1)), PROBE);
    if (is_uneven(c->sample, total))
        return false;
    size_t got = libdeflate_deflate_compress(c->probe, c->sample, total, c->sample + total, bound(total));
    return !got || got > total - total / 64;
}

/* libdeflate writes the header that the format of ours wants: no time, no name, OS 255. */
static size_t compress(void *ctx, const void *in, size_t n, void *out, size_t cap)
{
    struct context *c = ctx;
    if (c->level > 0 && !looks_incompressible(c, in, n)) {
        size_t got = libdeflate_gzip_compress(c->main, in, n, out, cap);
        if (got && got < n)
            return got;
    }
    return libdeflate_gzip_compress(c->store, in, n, out, cap);
}

static void engine(char *buf, size_t n, int level)
{
    snprintf(buf, n, "libdeflate-%s/%d", LIBDEFLATE_VERSION_STRING, level);
}

const struct cb_codec cb_codec_gzip = {
    .block_size = BLOCK,
    .default_level = 5,
    .min_level = 0,
    .max_level = 12,
    .name = "gzip",
    .engine = engine,
    .bound = bound,
    .context_new = context_new,
    .context_free = context_free,
    .compress = compress,
};

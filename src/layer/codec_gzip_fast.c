/* SPDX-License-Identifier: Apache-2.0 */
/* ISA-L's level 1. From SSE4.2 on all x86-64 processors make the same of it (its level 3 is another matter); the
 * portable code, for older ones, hashes otherwise, and so does that for ARM. */
#include "layer/codec.h"
#include "layer/isal_lib.h"
#include "util/alloc.h"

#define BLOCK ((size_t)1 << 20)

#if defined(HAVE_ISAL) && defined(__x86_64__)

#include <libdeflate.h>
#include <nmmintrin.h>
#include <pthread.h>
#include <sys/mman.h>

enum cb_engine_state cb_codec_gzip_fast_state(void)
{
    return __builtin_cpu_supports("sse4.2") ? CB_ENGINE_HERE : CB_ENGINE_OTHER_CPU;
}

struct context {
    struct isal_zstream z; /* first */
    struct libdeflate_compressor *store;
    struct context *next;
    uint8_t level_buf[ISAL_DEF_LVL1_EXTRA_LARGE]; /* its size decides where blocks end */
};

/* ---- where contexts are ----
 *
 * At the first byte of a block ISA-L (2.30; isal_deflate_icf_body_hash_hist_01, _02, _04) hashes bits 16 to 47 of the
 * address of its stream where it should hash data, and notes a position under that. Which bytes come of a block so
 * depends on where the stream is, now and then. So all streams are where this hash is the same: nobody asks for these
 * addresses but us, and they are not given back. */

#define UNIT 16                /* bits; a stream begins with a unit */
#define FIRST_UNIT 0x7e900000u /* mostly free: below what mmap gives first */
#define LAST_UNIT 0x7ff00000u
#define OTHER_UNITS 0x60000000u
#define HASH_MASK 0x7fffu      /* of the largest table */
#define HASH 0x1234u           /* any; 0 is that of zeros */

static pthread_mutex_t places_mu = PTHREAD_MUTEX_INITIALIZER;
static uint32_t next_unit = FIRST_UNIT;
static struct context *unused;

__attribute__((target("sse4.2"))) static uint32_t find_unit(void)
{
    uint32_t at = next_unit, end = next_unit < FIRST_UNIT ? FIRST_UNIT : LAST_UNIT;
    while (at < end && (_mm_crc32_u32(0, at) & HASH_MASK) != HASH)
        at++;
    return at < end ? at : 0;
}

/* Under places_mu. */
static struct context *place_context(void)
{
    for (;;) {
        uint32_t at = find_unit();
        if (!at && next_unit < FIRST_UNIT)
            return NULL;
        next_unit = at ? at + 1 : OTHER_UNITS;
        if (!at)
            continue;
        void *want = (void *)((uintptr_t)at << UNIT);
        void *got = mmap(want, sizeof(struct context), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (got == want)
            return got;
        if (got == MAP_FAILED)
            cb_out_of("cbpush: out of memory\n");
        munmap(got, sizeof(struct context)); /* something is there */
    }
}

static struct context *take_context(void)
{
    pthread_mutex_lock(&places_mu);
    struct context *c = unused;
    if (c)
        unused = c->next;
    else
        c = place_context();
    pthread_mutex_unlock(&places_mu);
    return c;
}

static void context_free(void *ctx)
{
    struct context *c = ctx;
    libdeflate_free_compressor(c->store);
    pthread_mutex_lock(&places_mu);
    c->next = unused;
    unused = c;
    pthread_mutex_unlock(&places_mu);
}

static void *context_new(CB_UNUSED int level)
{
    struct context *c = cb_isal_load(NULL) == 0 ? take_context() : NULL;
    if (!c)
        return NULL;
    c->store = libdeflate_alloc_compressor(0);
    if (c->store)
        return c;
    context_free(c);
    return NULL;
}

static size_t bound(size_t n)
{
    return libdeflate_gzip_compress_bound(NULL, n);
}

/* The header is as libdeflate's: no time, no name, OS 255. What does not become smaller is stored. */
static size_t compress(void *ctx, const void *in, size_t n, void *out, size_t cap)
{
    struct context *c = ctx;
    isal_deflate_init(&c->z);
    c->z.level = 1;
    c->z.level_buf = c->level_buf;
    c->z.level_buf_size = sizeof c->level_buf;
    c->z.gzip_flag = IGZIP_GZIP;
    c->z.end_of_stream = 1;
    c->z.next_in = (uint8_t *)(uintptr_t)in;
    c->z.avail_in = (uint32_t)n;
    c->z.next_out = out;
    c->z.avail_out = (uint32_t)cap;
    if (isal_deflate_stateless(&c->z) == COMP_OK && c->z.total_out < n)
        return c->z.total_out;
    return libdeflate_gzip_compress(c->store, in, n, out, cap);
}

static void engine(char *buf, size_t n, CB_UNUSED int level)
{
    snprintf(buf, n, CB_ENGINE_FAST "x86-%d.%d.%d/1", ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, ISAL_PATCH_VERSION);
}

#else

enum cb_engine_state cb_codec_gzip_fast_state(void)
{
#ifdef HAVE_ISAL
    return CB_ENGINE_OTHER_CPU;
#else
    return CB_ENGINE_NOT_BUILT;
#endif
}

static void context_free(CB_UNUSED void *ctx)
{
}

static void *context_new(CB_UNUSED int level)
{
    return NULL;
}

static size_t bound(size_t n)
{
    return n;
}

static size_t compress(CB_UNUSED void *ctx, CB_UNUSED const void *in, CB_UNUSED size_t n, CB_UNUSED void *out,
                       CB_UNUSED size_t cap)
{
    return 0;
}

static void engine(char *buf, size_t n, CB_UNUSED int level)
{
    snprintf(buf, n, CB_ENGINE_FAST "none");
}

#endif

const struct cb_codec cb_codec_gzip_fast = {
    .block_size = BLOCK,
    .default_level = 1,
    .min_level = 1,
    .max_level = 1,
    .name = "gzip",
    .engine = engine,
    .bound = bound,
    .context_new = context_new,
    .context_free = context_free,
    .compress = compress,
};

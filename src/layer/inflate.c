/* SPDX-License-Identifier: Apache-2.0 */
#include <zstd.h>

#include "layer/inflate_priv.h"
#include "util/alloc.h"
#include "util/limits.h"

#define INPUT ((size_t)128 << 10)

struct cb_inflate {
    struct cb_inflate_input in;
    bool foreign;
    const struct cb_inflate_engine *engine; /* NULL before the first read */
    void *state;
    const char *kind;
};

int cb_inflate_fill(struct cb_inflate_input *in, struct cb_error *err)
{
    if (in->n || in->ended)
        return 0;
    const void *p = in->buf;
    int r = in->src->ops->lend ? in->src->ops->lend(in->src, &p, &in->n, err)
                               : cb_blob_read(in->src, in->buf, INPUT, &in->n, err);
    if (r < 0)
        return r;
    in->p = p;
    in->ended = !in->n;
    return 0;
}

/* ---- as it is ---- */

static void *plain_open(struct cb_inflate_input *in, CB_UNUSED struct cb_error *err)
{
    return in;
}

static int plain_read(void *state, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct cb_inflate_input *in = state;
    int r = cb_inflate_fill(in, err);
    if (r < 0)
        return r;
    *got = CB_MIN(n, in->n);
    memcpy(buf, in->p, *got);
    in->p += *got;
    in->n -= *got;
    return 0;
}

static void plain_close(CB_UNUSED void *state)
{
}

const struct cb_inflate_engine cb_inflate_plain = { "plain", plain_open, plain_read, plain_close };

/* ---- zstd ---- */

struct zstd {
    struct cb_inflate_input *in;
    ZSTD_DCtx *ctx;
    bool in_frame;
};

static void zstd_close(void *state)
{
    struct zstd *z = state;
    ZSTD_freeDCtx(z->ctx);
    free(z);
}

static void *zstd_open(struct cb_inflate_input *in, struct cb_error *err)
{
    struct zstd *z = CB_NEW(struct zstd);
    z->in = in;
    z->ctx = ZSTD_createDCtx();
    if (z->ctx && !ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, CB_MAX_ZSTD_WINDOWLOG)))
        return z;
    zstd_close(z);
    cb_error_set(err, CB_EINTERNAL, "cannot start zstd");
    return NULL;
}

static int zstd_read(void *state, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct zstd *z = state;
    ZSTD_outBuffer out = { buf, n, 0 };
    *got = 0;
    while (!out.pos) {
        int r = cb_inflate_fill(z->in, err);
        if (r < 0)
            return r;
        if (!z->in->n && !z->in_frame)
            return 0;
        ZSTD_inBuffer in = { z->in->p, z->in->n, 0 };
        size_t left = ZSTD_decompressStream(z->ctx, &out, &in);
        if (ZSTD_isError(left))
            return cb_error_set(err, CB_EVERIFY, "zstd: %s", ZSTD_getErrorName(left));
        if (!in.pos && !out.pos && z->in->ended)
            return cb_error_set(err, CB_EVERIFY, "zstd: the stream is cut off");
        z->in->p += in.pos;
        z->in->n -= in.pos;
        z->in_frame = left != 0;
    }
    *got = out.pos;
    return 0;
}

const struct cb_inflate_engine cb_inflate_zstd = { "zstd", zstd_open, zstd_read, zstd_close };

/* ---- which one ---- */

static bool begins(const struct cb_inflate_input *in, const char *magic, size_t n)
{
    return in->n >= n && memcmp(in->p, magic, n) == 0;
}

static bool begins_skippable(const struct cb_inflate_input *in)
{
    return in->n >= 4 && (in->p[0] & 0xf0) == 0x50 && memcmp(in->p + 1, "\x2a\x4d\x18", 3) == 0;
}

static const struct cb_inflate_engine *engine_of(const struct cb_inflate_input *in)
{
    if (begins(in, "\x1f\x8b", 2))
        return &cb_inflate_gzip;
    if (begins(in, "\x28\xb5\x2f\xfd", 4) || begins_skippable(in))
        return &cb_inflate_zstd;
    bool foreign = begins(in, "BZh", 3) || begins(in, "\xfd" "7zXZ\0", 6);
    return foreign ? &cb_inflate_foreign : &cb_inflate_plain;
}

bool cb_inflate_is_plain(const void *buf, size_t n)
{
    return engine_of(&(struct cb_inflate_input){ .p = buf, .n = n }) == &cb_inflate_plain;
}

static int choose(struct cb_inflate *i, struct cb_error *err)
{
    /* Short reads must not hide the first bytes. */
    int r = cb_blob_read_full(i->in.src, i->in.buf, INPUT, &i->in.n, err);
    if (r < 0)
        return r;
    i->in.p = i->in.buf;
    i->in.ended = !i->in.n;
    const struct cb_inflate_engine *e = engine_of(&i->in);
    i->kind = e != &cb_inflate_foreign ? e->name : *i->in.p == 'B' ? "bzip2" : "xz";
    if (e == &cb_inflate_foreign && !i->foreign)
        return cb_error_set(err, CB_EVERIFY, "%s is not a compression of layers", i->kind);
    i->state = e->open(&i->in, err);
    if (!i->state)
        return err ? -(int)err->code : -CB_EINTERNAL;
    i->engine = e;
    return 0;
}

struct cb_inflate *cb_inflate_new(struct cb_blob_source *src, bool foreign)
{
    struct cb_inflate *i = CB_NEW(struct cb_inflate);
    i->in = (struct cb_inflate_input){ .src = src, .buf = cb_malloc(INPUT) };
    i->foreign = foreign;
    i->kind = "";
    return i;
}

void cb_inflate_ahead(struct cb_inflate *i, unsigned threads)
{
    i->in.threads = threads;
}

uint64_t cb_inflate_were_ahead(const struct cb_inflate *i)
{
    return i->in.ahead;
}

void cb_inflate_free(struct cb_inflate *i)
{
    if (!i)
        return;
    if (i->engine)
        i->engine->close(i->state);
    free(i->in.buf);
    free(i);
}

int cb_inflate_read(struct cb_inflate *i, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    int r = i->engine ? 0 : choose(i, err);
    return r < 0 ? r : i->engine->read(i->state, buf, n, got, err);
}

const char *cb_inflate_kind(const struct cb_inflate *i)
{
    return i->kind;
}

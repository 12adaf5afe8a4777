/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a gzip stream, inflated several at a time. Where one begins is guessed: where the header of the one
 * before it is repeated byte by byte, as whoever writes many members writes them (cbpush, eStargz). What is made of a
 * guess counts only where whole members fill it exactly, and it follows such. All else is left to who reads the stream
 * member by member, with the bytes that were gathered; what is wrong with a stream is found only there. */
#include <libdeflate.h>
#include <pthread.h>

#include "layer/gzip_header.h"
#include "layer/inflate_priv.h"
#include "util/alloc.h"
#include "util/thread.h"

#define FIXED_HEADER 10
#define TRAILER 8
#define STEP ((size_t)64 << 10)       /* gathered at a time */
#define PIECE_MIN ((size_t)128 << 10) /* small members share a piece */
#define PIECE_MAX ((size_t)4 << 20)
#define PLAIN_MAX ((size_t)8 << 20)   /* of a piece: chunks of eStargz are of 4 MiB */
#define AHEAD 2                       /* pieces, besides one for each thread */
#define THREADS_MAX 4u                /* nobody reads tar as fast as these inflate */

struct piece {
    struct cb_members *owner;
    uint8_t *raw, *plain; /* PIECE_MAX + STEP, PLAIN_MAX */
    size_t n, made, given;
    struct libdeflate_decompressor *engine;
    bool done, good; /* under mu */
};

struct cb_members {
    struct cb_blob_source base; /* of rest: the bytes that nothing was made of */
    struct cb_inflate_input rest;
    struct cb_inflate_input *up;
    struct cb_pool *pool;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct piece *pieces;
    unsigned n_pieces;
    unsigned first, count; /* those in turn; the one behind them is being gathered */
    bool lent;             /* rest has bytes of the one before the first */
};

static struct piece *piece_at(const struct cb_members *m, unsigned i)
{
    return &m->pieces[(m->first + i) % m->n_pieces];
}

/* ---- threads ---- */

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool inflate_member(struct piece *c, const uint8_t **p, size_t *n)
{
    struct cb_gzip_header header = { 0 };
    const char *bad = NULL;
    size_t took = cb_gzip_header_take(&header, *p, *n, &bad), in = 0, out = 0;
    if (bad || !header.whole)
        return false;
    uint8_t *at = c->plain + c->made;
    if (libdeflate_deflate_decompress_ex(c->engine, *p + took, *n - took, at, PLAIN_MAX - c->made, &in, &out) !=
            LIBDEFLATE_SUCCESS || *n - took - in < TRAILER)
        return false;
    const uint8_t *trailer = *p + took + in;
    if (le32(trailer) != libdeflate_crc32(0, at, out) || le32(trailer + 4) != (uint32_t)out)
        return false;
    c->made += out;
    *n -= took + in + TRAILER;
    *p = trailer + TRAILER;
    return true;
}

static void inflate_piece(void *arg)
{
    struct piece *c = arg;
    struct cb_members *m = c->owner;
    const uint8_t *p = c->raw;
    size_t n = c->n;
    bool good = true;
    while (good && n)
        good = inflate_member(c, &p, &n);
    pthread_mutex_lock(&m->mu);
    c->good = good;
    c->done = true;
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->mu);
}

/* ---- gathering ---- */

static int open_piece(struct cb_members *m, struct piece *c, struct cb_error *err)
{
    if (c->raw)
        return 0;
    c->owner = m;
    c->engine = libdeflate_alloc_decompressor();
    if (!c->engine)
        return cb_error_set(err, CB_EINTERNAL, "cannot start gzip");
    c->raw = cb_malloc(PIECE_MAX + STEP);
    c->plain = cb_malloc(PLAIN_MAX);
    return 0;
}

/* The one that was gathered ends with its first n bytes; the next one begins with the rest. */
static int close_piece(struct cb_members *m, size_t n, bool whole, struct cb_error *err)
{
    struct piece *c = piece_at(m, m->count), *next = piece_at(m, m->count + 1);
    int r = open_piece(m, next, err);
    if (r < 0)
        return r;
    next->n = c->n - n;
    memcpy(next->raw, c->raw + n, next->n);
    c->n = n;
    c->made = c->given = 0;
    c->done = !whole;
    c->good = false;
    m->count++;
    if (whole)
        cb_pool_submit(m->pool, inflate_piece, c);
    return 0;
}

static bool may_gather(const struct cb_members *m)
{
    return m->count + 1 < m->n_pieces && !(m->up->ended && !piece_at(m, m->count)->n);
}

static int gather(struct cb_members *m, struct cb_error *err)
{
    struct piece *c = piece_at(m, m->count);
    int r = open_piece(m, c, err);
    if (r == 0)
        r = cb_inflate_fill(m->up, err);
    if (r < 0)
        return r;
    if (m->up->ended)
        return c->n ? close_piece(m, c->n, true, err) : 0;
    const size_t n = CB_MIN(m->up->n, STEP), from = CB_MAX(c->n, PIECE_MIN + FIXED_HEADER - 1) - (FIXED_HEADER - 1);
    memcpy(c->raw + c->n, m->up->p, n);
    c->n += n;
    m->up->p += n;
    m->up->n -= n;
    const uint8_t *next = c->n > from ? memmem(c->raw + from, c->n - from, c->raw, FIXED_HEADER) : NULL;
    if (next)
        return close_piece(m, (size_t)(next - c->raw), true, err);
    return c->n >= PIECE_MAX ? close_piece(m, c->n, false, err) : 0;
}

/* ---- in turn ---- */

static bool is_done(struct cb_members *m, struct piece *c)
{
    pthread_mutex_lock(&m->mu);
    bool done = c->done;
    pthread_mutex_unlock(&m->mu);
    return done;
}

static void await(struct cb_members *m, struct piece *c)
{
    pthread_mutex_lock(&m->mu);
    while (!c->done)
        pthread_cond_wait(&m->cond, &m->mu);
    pthread_mutex_unlock(&m->mu);
}

static void drop_first(struct cb_members *m)
{
    piece_at(m, 0)->n = 0;
    m->first = (m->first + 1) % m->n_pieces;
    m->count--;
}

static size_t take(struct cb_members *m, struct piece *c, void *buf, size_t n)
{
    const size_t k = CB_MIN(n, c->made - c->given);
    memcpy(buf, c->plain + c->given, k);
    c->given += k;
    m->up->ahead += k;
    if (c->given == c->made)
        drop_first(m);
    return k;
}

static int read_ahead(struct cb_members *m, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    int r = 0;
    while (r == 0 && *got == 0) {
        struct piece *c = m->count ? piece_at(m, 0) : NULL;
        if (c && is_done(m, c)) {
            if (!c->good)
                return 0;
            *got = take(m, c, buf, n);
        } else if (may_gather(m)) {
            r = gather(m, err);
        } else if (c) {
            await(m, c);
        } else {
            return 0;
        }
    }
    return r;
}

/* At the start of a member: whether what was gathered begins there, too. */
static bool is_in_step(struct cb_members *m)
{
    struct cb_inflate_input *in = &m->rest;
    if (in->n && m->lent)
        return false; /* within a piece */
    if (m->lent)
        drop_first(m);
    m->lent = false;
    if (in->n) {
        m->up->p = in->p;
        m->up->n = in->n;
        in->n = 0;
    }
    return true;
}

int cb_members_read(struct cb_members *m, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    return is_in_step(m) ? read_ahead(m, buf, n, got, err) : 0;
}

/* ---- the rest, in the order of the stream ---- */

static int lend(struct cb_blob_source *b, const void **p, size_t *got, struct cb_error *err)
{
    struct cb_members *m = (struct cb_members *)b;
    if (m->lent)
        drop_first(m);
    m->lent = false;
    struct piece *c = piece_at(m, 0);
    int r = m->count || !c->n ? 0 : close_piece(m, c->n, false, err);
    if (r == 0 && !m->count)
        r = cb_inflate_fill(m->up, err);
    if (r < 0)
        return r;
    m->lent = m->count != 0;
    if (m->lent)
        await(m, c);
    *p = m->lent ? c->raw : m->up->p;
    *got = m->lent ? c->n : m->up->n;
    if (!m->lent)
        m->up->n = 0;
    return 0;
}

static void close_nothing(CB_UNUSED struct cb_blob_source *b)
{
}

struct cb_members *cb_members_new(struct cb_inflate_input *in)
{
    static const struct cb_blob_source_ops ops = { .lend = lend, .close = close_nothing };
    struct cb_members *m = CB_NEW(struct cb_members);
    m->base.ops = &ops;
    m->up = in;
    m->rest.src = &m->base;
    const unsigned threads = CB_MIN(in->threads, THREADS_MAX);
    m->pool = cb_pool_new("members", threads);
    m->n_pieces = threads + AHEAD;
    m->pieces = cb_calloc(m->n_pieces, sizeof *m->pieces);
    pthread_mutex_init(&m->mu, NULL);
    pthread_cond_init(&m->cond, NULL);
    return m;
}

void cb_members_free(struct cb_members *m)
{
    if (!m)
        return;
    cb_pool_free(m->pool);
    for (unsigned i = 0; i < m->n_pieces; i++) {
        if (m->pieces[i].engine)
            libdeflate_free_decompressor(m->pieces[i].engine);
        free(m->pieces[i].raw);
        free(m->pieces[i].plain);
    }
    pthread_cond_destroy(&m->cond);
    pthread_mutex_destroy(&m->mu);
    free(m->pieces);
    free(m);
}

struct cb_inflate_input *cb_members_rest(struct cb_members *m)
{
    return &m->rest;
}

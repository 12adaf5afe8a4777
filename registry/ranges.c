/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/blob.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define PIECE (8u << 20)
#define STREAMS 4u
#define ALL_BUFFERS 8u     /* of all blobs of a client: 64 MiB */
#define STEP (256u << 10)  /* as much as is read at a time, and then handed on */
#define WORTH (32u << 20)  /* less that is left is not worth it */
#define TRIAL_NS (2 * INT64_C(1000000000))

/* A piece of the blob on its way. Free: from is UINT64_MAX. */
struct piece {
    uint64_t from;
    size_t len, filled; /* filled: bytes that may be read */
    bool failed;
    char *buf;
};

struct stream {
    struct ranges *all;
    struct piece piece;
    struct remote *remote; /* its thread's own */
    pthread_t thread;
    bool started;
};

/* A blob begins as one stream. Where that keeps its reader waiting, several are tried; they are kept only while they
 * are faster than the one was. Each fetches one piece after the other into its buffer, no further ahead than there are
 * streams; the reader takes them in their order. Where one fails, or is given more than its range, all end, and one
 * stream goes on from where the reader is: it knows how to resume, and where else to ask. */
struct ranges {
    struct cb_blob_source base;
    struct cb_registry *r;
    char *host, *repo;
    struct cb_descriptor desc;
    uint64_t offset; /* of the reader */
    unsigned n;
    struct stream streams[STREAMS];
    struct remote *single; /* where there is one only */
    struct reg_givers gave; /* of the streams that are over */
    int64_t since, waited; /* of the measure that runs; waited: for bytes */
    uint64_t from, rate;   /* its beginning; what one stream gave, bytes a second */
    bool begun, tried, settled;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    uint64_t claimed; /* pieces before this are taken */
    atomic_bool stop; /* set under mu */
};

/* ---- the streams ---- */

/* Under the lock. False: there is no more to do. */
static bool claim(struct stream *s)
{
    struct ranges *x = s->all;
    while (!atomic_load(&x->stop) && s->piece.from != UINT64_MAX)
        pthread_cond_wait(&x->changed, &x->mu);
    if (atomic_load(&x->stop) || x->claimed >= x->desc.size)
        return false;
    s->piece.from = x->claimed;
    s->piece.len = (size_t)CB_MIN((uint64_t)PIECE, x->desc.size - x->claimed);
    s->piece.filled = 0;
    x->claimed += s->piece.len;
    return true;
}

static bool hand_on(struct stream *s, size_t filled, bool failed)
{
    struct ranges *x = s->all;
    pthread_mutex_lock(&x->mu);
    s->piece.filled = filled;
    s->piece.failed = failed;
    bool go_on = !atomic_load(&x->stop) && !failed;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->mu);
    return go_on;
}

static int reach(struct stream *s)
{
    struct ranges *x = s->all;
    struct reg_blob_place at = { x->host, x->repo, s->piece.from, s->piece.from + s->piece.len };
    if (!s->remote) {
        int r = reg_remote_open(x->r, &at, &x->desc, &s->remote, NULL);
        if (r == 0)
            s->remote->stop = &x->stop;
        return r;
    }
    if (s->remote->offset != at.offset || s->remote->end != at.end)
        reg_remote_part(s->remote, at.offset, at.end);
    return 0;
}

static void fetch(struct stream *s)
{
    size_t got = 1, filled = 0;
    if (reach(s) < 0) {
        (void)hand_on(s, 0, true);
        return;
    }
    while (filled < s->piece.len) {
        size_t n = CB_MIN((size_t)STEP, s->piece.len - filled);
        int r = cb_blob_read(&s->remote->base, s->piece.buf + filled, n, &got, NULL);
        filled += r == 0 ? got : 0;
        if (!hand_on(s, filled, r < 0 || !got || s->remote->whole))
            return;
    }
}

static void *stream_main(void *arg)
{
    struct stream *s = arg;
    struct ranges *x = s->all;
    pthread_mutex_lock(&x->mu);
    while (claim(s)) {
        pthread_mutex_unlock(&x->mu);
        fetch(s);
        pthread_mutex_lock(&x->mu);
    }
    pthread_mutex_unlock(&x->mu);
    return NULL;
}

/* ---- the reader ---- */

static void end_remote(struct ranges *x, struct remote *r)
{
    reg_givers_add(&x->gave, r);
    r->base.ops->close(&r->base);
}

static void end_streams(struct ranges *x)
{
    pthread_mutex_lock(&x->mu);
    atomic_store(&x->stop, true);
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->mu);
    for (unsigned i = 0; i < x->n; i++) {
        struct stream *s = &x->streams[i];
        if (s->started)
            pthread_join(s->thread, NULL);
        s->started = false;
        if (s->remote)
            end_remote(x, CB_TAKE(s->remote));
        free(CB_TAKE(s->piece.buf));
    }
    pthread_mutex_lock(&x->r->known->mu);
    x->r->known->ranges.buffers -= x->n;
    pthread_mutex_unlock(&x->r->known->mu);
    x->n = 0;
}

static int go_single(struct ranges *x, struct cb_error *err)
{
    struct reg_blob_place at = { .host = x->host, .repo = x->repo, .offset = x->offset };
    end_streams(x);
    return reg_remote_open(x->r, &at, &x->desc, &x->single, err);
}

/* Under the lock. */
static struct piece *piece_at(struct ranges *x)
{
    for (unsigned i = 0; i < x->n; i++) {
        struct piece *p = &x->streams[i].piece;
        if (p->from != UINT64_MAX && x->offset >= p->from && x->offset < p->from + p->len)
            return p;
    }
    return NULL;
}

/* Under the lock. The piece that the reader is in has something for it, or has failed. */
static struct piece *wait_for_piece(struct ranges *x)
{
    for (;;) {
        struct piece *p = piece_at(x);
        if (p && (p->failed || x->offset < p->from + p->filled))
            return p;
        pthread_cond_wait(&x->changed, &x->mu);
    }
}

static size_t take(struct ranges *x, struct piece *p, void *buf, size_t n)
{
    size_t at = (size_t)(x->offset - p->from);
    n = CB_MIN(n, p->filled - at);
    pthread_mutex_unlock(&x->mu); /* what is filled is not touched again before the piece is free */
    memcpy(buf, p->buf + at, n);
    pthread_mutex_lock(&x->mu);
    x->offset += n;
    if (at + n == p->len) {
        p->from = UINT64_MAX;
        pthread_cond_broadcast(&x->changed);
    }
    return n;
}

/* False where the piece that the reader is in has failed. */
static bool read_piece(struct ranges *x, void *buf, size_t n, size_t *got)
{
    pthread_mutex_lock(&x->mu);
    struct piece *p = wait_for_piece(x);
    bool usable = x->offset < p->from + p->filled;
    if (usable)
        *got = take(x, p, buf, n);
    pthread_mutex_unlock(&x->mu);
    return usable;
}

/* ---- from one stream to several, and back ---- */

/* How many buffers this blob may have; fewer than two are none. */
static unsigned take_buffers(struct cb_registry *r)
{
    pthread_mutex_lock(&r->known->mu);
    unsigned n = CB_MIN(STREAMS, ALL_BUFFERS - r->known->ranges.buffers);
    n = n < 2 ? 0 : n;
    r->known->ranges.buffers += n;
    pthread_mutex_unlock(&r->known->mu);
    return n;
}

static void begin_measure(struct ranges *x)
{
    x->since = cb_time_monotonic();
    x->from = x->offset;
    x->waited = 0;
}

/* Bytes a second since the measure began; 0 where it is too early to tell. */
static uint64_t measured(const struct ranges *x)
{
    int64_t trial = x->r->known->ranges.trial_ns ? x->r->known->ranges.trial_ns : TRIAL_NS;
    int64_t ns = CB_MAX(cb_time_monotonic() - x->since, INT64_C(1));
    uint64_t n = x->offset - x->from;
    return ns < trial || n < PIECE ? 0 : (uint64_t)((double)n * 1e9 / (double)ns);
}

static int start_streams(struct ranges *x, struct cb_error *err)
{
    int s = 0;
    atomic_store(&x->stop, false);
    x->claimed = x->offset;
    for (unsigned i = 0; s == 0 && i < x->n; i++) {
        struct stream *t = &x->streams[i];
        *t = (struct stream){ .all = x, .piece = { .from = UINT64_MAX, .buf = cb_malloc(PIECE) } };
        s = cb_thread_start(&t->thread, "range", stream_main, t, err);
        t->started = s == 0;
    }
    return s;
}

/* One stream that keeps its reader waiting may be held back by its window, or by what a server gives to a connection;
 * several are tried once, where there is enough left. */
static void maybe_widen(struct ranges *x)
{
    uint64_t rate = x->tried ? 0 : measured(x);
    bool enough = x->desc.size - x->offset >= WORTH;
    bool slow = x->waited >= (cb_time_monotonic() - x->since) / 100 * x->r->known->ranges.waits;
    if (!rate)
        return;
    if (!enough || !slow || !reg_remote_ranges(x->single) || !(x->n = take_buffers(x->r))) {
        begin_measure(x);
        return;
    }
    x->tried = true;
    x->rate = rate;
    end_remote(x, CB_TAKE(x->single));
    if (start_streams(x, NULL) < 0)
        end_streams(x); /* the next read opens one again */
    begin_measure(x);
}

/* Several that are not clearly faster than one were are a burden to the server. */
static int maybe_narrow(struct ranges *x, struct cb_error *err)
{
    uint64_t rate = x->settled ? 0 : measured(x);
    if (!rate)
        return 0;
    x->settled = true;
    return rate < x->rate / 100 * (uint64_t)(100 + x->r->known->ranges.gain) ? go_single(x, err) : 0;
}

/* ---- the source ---- */

static int read_single(struct ranges *x, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    if (!x->begun) /* it may have been opened long ago */
        begin_measure(x);
    x->begun = true;
    int64_t since = cb_time_monotonic();
    int s = cb_blob_read(&x->single->base, buf, n, got, err);
    x->waited += cb_time_monotonic() - since;
    x->offset += s == 0 ? *got : 0;
    if (s == 0)
        maybe_widen(x);
    return s;
}

static int ranges_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct ranges *x = (struct ranges *)b;
    *got = 0;
    int s = x->n || x->single ? 0 : go_single(x, err);
    if (s == 0 && x->n) {
        if (x->offset == x->desc.size)
            return 0;
        bool failed = !read_piece(x, buf, n, got);
        s = failed ? go_single(x, err) : maybe_narrow(x, err);
        if (!failed || s < 0)
            return s;
    }
    return s < 0 ? s : read_single(x, buf, n, got, err);
}

static int ranges_seek(struct cb_blob_source *b, uint64_t offset, struct cb_error *err)
{
    struct ranges *x = (struct ranges *)b;
    if (offset == x->offset)
        return 0;
    x->offset = offset;
    begin_measure(x);
    return x->single ? cb_blob_seek(&x->single->base, offset, err) : go_single(x, err);
}

static void ranges_close(struct cb_blob_source *b)
{
    struct ranges *x = (struct ranges *)b;
    end_streams(x);
    if (x->single)
        end_remote(x, x->single);
    reg_givers_done(&x->gave);
    cb_descriptor_done(&x->desc);
    pthread_cond_destroy(&x->changed);
    pthread_mutex_destroy(&x->mu);
    free(x->host);
    free(x->repo);
    free(x);
}

/* The bytes are wrong, so no more are wanted: it comes to its end, and all have given what they gave. */
static void givers(const struct cb_blob_source *b, struct reg_givers *out)
{
    struct ranges *x = (struct ranges *)(uintptr_t)b;
    end_streams(x);
    if (x->single)
        end_remote(x, CB_TAKE(x->single));
    *out = x->gave;
    x->gave = (struct reg_givers){ 0 };
}

int reg_ranges_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                    struct cb_blob_source **out, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { ranges_read, ranges_close, ranges_seek };
    struct remote *first = NULL;
    int s = reg_remote_open(r, at, desc, &first, err);
    if (s < 0)
        return s;
    struct ranges *x = CB_NEW(struct ranges);
    x->base.ops = &ops;
    x->r = r;
    x->host = cb_strdup(at->host);
    x->repo = cb_strdup(at->repo);
    x->single = first;
    x->offset = at->offset;
    pthread_mutex_init(&x->mu, NULL);
    pthread_cond_init(&x->changed, NULL);
    cb_descriptor_copy(&x->desc, desc);
    begin_measure(x);
    struct reg_judged_source j = { &x->base, givers };
    *out = reg_judged(r, desc, &j);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/inflate.h"
#include "layer/reader_priv.h"
#include "util/alloc.h"
#include "util/fd.h"

#define CHUNK ((size_t)256 << 10)
#define RING ((size_t)1 << 20)

struct cb_plain {
    struct cb_plain_options o;
    struct cb_inflate *inflate;
    struct cb_hasher *hasher;
    struct cb_tar_guard *guard;
    struct cb_ring *ring;
    pthread_t thread;
    bool running;
    size_t lent; /* bytes in the ring that the reader looks at */
    int copied;  /* what came of writing them to copy_fd */
    struct cb_error copy_err;
    /* Written by the thread before it ends. */
    int result;
    struct cb_error err;
    uint64_t size;
    bool whole; /* the stream was seen to its end */
};

static int handle_chunk(struct cb_plain *p, const uint8_t *buf, size_t n)
{
    p->size += n;
    if (p->o.max_size && p->size > p->o.max_size)
        return cb_error_set(&p->err, CB_EVERIFY, "unpacks to more than the allowed %llu bytes",
                            (unsigned long long)p->o.max_size);
    if (p->hasher)
        cb_hasher_update(p->hasher, buf, n);
    return cb_tar_guard_feed(p->guard, buf, n, &p->err);
}

/* Straight into the ring. What the guard refuses is not shown to the reader. */
static int pump(struct cb_plain *p)
{
    for (;;) {
        void *at;
        size_t room = cb_ring_reserve(p->ring, &at), n;
        if (!room)
            return 0; /* the reader has gone */
        int r = cb_cancel_check(p->o.cancel, &p->err);
        if (r < 0 || (r = cb_inflate_read(p->inflate, at, CB_MIN(room, CHUNK), &n, &p->err)) < 0)
            return r;
        if (!n)
            break;
        if ((r = handle_chunk(p, at, n)) < 0)
            return r;
        cb_ring_commit(p->ring, n);
    }
    p->whole = true;
    return cb_tar_guard_end(p->guard, &p->err);
}

static void *run(void *arg)
{
    struct cb_plain *p = arg;
    p->result = pump(p);
    cb_ring_close_write(p->ring);
    return NULL;
}

struct cb_plain *cb_plain_start(const struct cb_plain_options *o, struct cb_error *err)
{
    struct cb_plain *p = CB_NEW(struct cb_plain);
    p->o = *o;
    p->inflate = cb_inflate_new(o->source, o->foreign);
    cb_inflate_ahead(p->inflate, o->threads);
    p->hasher = o->unhashed ? NULL : cb_hasher_new(CB_DIGEST_SHA256);
    p->guard = cb_tar_guard_new();
    p->ring = cb_ring_new(RING);
    if (cb_thread_start(&p->thread, "inflate", run, p, err) < 0) {
        cb_plain_free(p);
        return NULL;
    }
    p->running = true;
    return p;
}

static void join(struct cb_plain *p)
{
    if (p->running)
        pthread_join(p->thread, NULL);
    p->running = false;
}

void cb_plain_free(struct cb_plain *p)
{
    if (!p)
        return;
    cb_ring_close_read(p->ring);
    join(p);
    cb_ring_free(p->ring);
    cb_inflate_free(p->inflate);
    cb_hasher_free(p->hasher);
    cb_tar_guard_free(p->guard);
    p->o.source->ops->close(p->o.source);
    cb_error_done(&p->err);
    cb_error_done(&p->copy_err);
    free(p);
}

static void give_back(struct cb_plain *p)
{
    if (p->lent)
        cb_ring_release(p->ring, p->lent);
    p->lent = 0;
}

/* Not all that is there: the thread goes on in the rest. */
size_t cb_plain_next(struct cb_plain *p, const void **at)
{
    give_back(p);
    size_t there = cb_ring_peek(p->ring, at);
    p->lent = CB_MIN(there, CHUNK);
    if (p->o.copy_fd <= 0 || !p->lent || p->copied < 0)
        return p->lent;
    p->copied = cb_fd_write_all(p->o.copy_fd, *at, p->lent, &p->copy_err);
    if (p->copied == 0)
        return p->lent;
    give_back(p);
    cb_ring_close_read(p->ring);
    return 0;
}

bool cb_plain_member(struct cb_plain *p, struct cb_tar_member *out)
{
    return cb_tar_guard_take(p->guard, out);
}

int cb_plain_finish(struct cb_plain *p, struct cb_plain_result *out, struct cb_error *err)
{
    const void *at;
    while (p->running && cb_plain_next(p, &at))
        ;
    join(p);
    if (p->copied < 0)
        return cb_error_copy(err, &p->copy_err);
    if (p->result < 0)
        return cb_error_copy(err, &p->err);
    if (!p->whole)
        return cb_error_set(err, CB_EINTERNAL, "layer was not read to its end");
    if (p->hasher)
        cb_hasher_finish(p->hasher, &out->diff_id);
    out->size = p->size;
    return 0;
}

int cb_plain_blame(struct cb_plain *p, struct cb_error *err)
{
    cb_ring_close_read(p->ring);
    join(p);
    if (p->copied < 0)
        return cb_error_copy(err, &p->copy_err);
    return p->result < 0 ? cb_error_copy(err, &p->err) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of thread.h. One writer and one reader: the free part belongs to the one and the filled part to the other,
 * so bytes are copied outside the lock. */
#include "util/alloc.h"
#include "util/thread.h"

struct side {
    pthread_cond_t wake;
    bool waiting; /* blocked in wake */
    bool wants;   /* got 0 from a try_* and is to be called */
    bool closed;
    void (*fn)(void *);
    void *arg;
};

struct cb_ring {
    pthread_mutex_t lock;
    char *buf;
    size_t cap, head /* of the filled part */, len;
    struct side writer, reader;
};

struct cb_ring *cb_ring_new(size_t capacity)
{
    struct cb_ring *r = CB_NEW(struct cb_ring);
    r->cap = CB_MAX(capacity, (size_t)1);
    r->buf = cb_malloc(r->cap);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->writer.wake, NULL);
    pthread_cond_init(&r->reader.wake, NULL);
    return r;
}

void cb_ring_free(struct cb_ring *r)
{
    if (!r)
        return;
    pthread_cond_destroy(&r->writer.wake);
    pthread_cond_destroy(&r->reader.wake);
    pthread_mutex_destroy(&r->lock);
    free(r->buf);
    free(r);
}

/* Takes the lock as held and gives it up: the callback runs outside. */
static void unlock_and_notify(struct cb_ring *r, struct side *other)
{
    void (*fn)(void *) = other->wants ? other->fn : NULL;
    void *arg = other->arg;
    if (fn)
        other->wants = false;
    if (other->waiting)
        pthread_cond_signal(&other->wake);
    pthread_mutex_unlock(&r->lock);
    if (fn)
        fn(arg);
}

static void wait_in(struct cb_ring *r, struct side *s)
{
    s->waiting = true;
    pthread_cond_wait(&s->wake, &r->lock);
    s->waiting = false;
}

static void copy_in(struct cb_ring *r, size_t at, const void *buf, size_t n)
{
    size_t until_end = CB_MIN(n, r->cap - at);
    memcpy(r->buf + at, buf, until_end);
    if (n > until_end)
        memcpy(r->buf, (const char *)buf + until_end, n - until_end);
}

static void copy_out(const struct cb_ring *r, size_t at, void *buf, size_t n)
{
    size_t until_end = CB_MIN(n, r->cap - at);
    memcpy(buf, r->buf + at, until_end);
    if (n > until_end)
        memcpy((char *)buf + until_end, r->buf, n - until_end);
}

/* Under the lock. */
static void wait_for_room(struct cb_ring *r)
{
    while (r->len == r->cap && !r->reader.closed)
        wait_in(r, &r->writer);
}

static void wait_for_data(struct cb_ring *r)
{
    while (r->len == 0 && !r->writer.closed)
        wait_in(r, &r->reader);
}

size_t cb_ring_reserve(struct cb_ring *r, void **p)
{
    pthread_mutex_lock(&r->lock);
    wait_for_room(r);
    size_t at = (r->head + r->len) % r->cap;
    size_t n = r->reader.closed ? 0 : CB_MIN(r->cap - r->len, r->cap - at);
    pthread_mutex_unlock(&r->lock);
    *p = r->buf + at;
    return n;
}

void cb_ring_commit(struct cb_ring *r, size_t n)
{
    pthread_mutex_lock(&r->lock);
    r->len += n;
    unlock_and_notify(r, &r->reader);
}

size_t cb_ring_peek(struct cb_ring *r, const void **p)
{
    pthread_mutex_lock(&r->lock);
    wait_for_data(r);
    size_t n = CB_MIN(r->len, r->cap - r->head);
    *p = r->buf + r->head;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void cb_ring_release(struct cb_ring *r, size_t n)
{
    pthread_mutex_lock(&r->lock);
    r->head = (r->head + n) % r->cap;
    r->len -= n;
    unlock_and_notify(r, &r->writer);
}

static size_t ring_write(struct cb_ring *r, const void *buf, size_t n, bool block, bool *closed)
{
    if (n == 0)
        block = false;
    pthread_mutex_lock(&r->lock);
    if (block)
        wait_for_room(r);
    *closed = r->reader.closed;
    size_t take = r->reader.closed ? 0 : CB_MIN(n, r->cap - r->len);
    size_t at = (r->head + r->len) % r->cap;
    if (take == 0)
        r->writer.wants = n > 0 && !r->reader.closed;
    pthread_mutex_unlock(&r->lock);
    if (take == 0)
        return 0;
    copy_in(r, at, buf, take);
    cb_ring_commit(r, take);
    return take;
}

static size_t ring_read(struct cb_ring *r, void *buf, size_t n, bool block, bool *ended)
{
    if (n == 0)
        block = false;
    pthread_mutex_lock(&r->lock);
    if (block)
        wait_for_data(r);
    *ended = r->len == 0 && r->writer.closed;
    size_t take = CB_MIN(n, r->len);
    size_t at = r->head;
    if (take == 0)
        r->reader.wants = n > 0 && !r->writer.closed;
    pthread_mutex_unlock(&r->lock);
    if (take == 0)
        return 0;
    copy_out(r, at, buf, take);
    cb_ring_release(r, take);
    return take;
}

size_t cb_ring_write(struct cb_ring *r, const void *buf, size_t n)
{
    bool closed;
    return ring_write(r, buf, n, true, &closed);
}

size_t cb_ring_try_write(struct cb_ring *r, const void *buf, size_t n, bool *closed)
{
    return ring_write(r, buf, n, false, closed);
}

size_t cb_ring_read(struct cb_ring *r, void *buf, size_t n)
{
    bool ended;
    return ring_read(r, buf, n, true, &ended);
}

size_t cb_ring_try_read(struct cb_ring *r, void *buf, size_t n, bool *ended)
{
    return ring_read(r, buf, n, false, ended);
}

void cb_ring_close_write(struct cb_ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->writer.closed = true;
    unlock_and_notify(r, &r->reader);
}

void cb_ring_close_read(struct cb_ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->reader.closed = true;
    unlock_and_notify(r, &r->writer);
}

static void set_callback(struct cb_ring *r, struct side *s, void (*fn)(void *), void *arg)
{
    pthread_mutex_lock(&r->lock);
    s->fn = fn;
    s->arg = arg;
    pthread_mutex_unlock(&r->lock);
}

void cb_ring_on_room(struct cb_ring *r, void (*fn)(void *), void *arg)
{
    set_callback(r, &r->writer, fn, arg);
}

void cb_ring_on_data(struct cb_ring *r, void (*fn)(void *), void *arg)
{
    set_callback(r, &r->reader, fn, arg);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "http/private.h"
#include "util/alloc.h"

#define CHUNK (64u << 10)

static int pull_mem(struct cb_http_pump *p, void *buf, size_t n, size_t *got)
{
    const struct cb_http_body *body = &p->req->body;
    *got = CB_MIN(n, body->mem_len - p->mem_pos);
    memcpy(buf, (const char *)body->mem + p->mem_pos, *got);
    p->mem_pos += *got;
    return 0;
}

struct room {
    char *buf;
    size_t n;
};

/* As much as there is room for, never past the length that was announced. */
static int pull_chunk(struct cb_http_pump *p, const struct cb_http_transfer *t, const struct room *room, size_t *got,
                      struct cb_error *err)
{
    const struct cb_http_body *body = &p->req->body;
    uint64_t left = t->body_length - p->pulled;
    size_t n = left < room->n ? (size_t)left : room->n;
    *got = 0;
    p->touched = true;
    int r = body->mem ? pull_mem(p, room->buf, n, got) : n ? body->pull(body->arg, room->buf, n, got, err) : 0;
    if (r < 0)
        return r;
    if (*got > n)
        return cb_error_set(err, CB_EINTERNAL, "request body: more bytes than there was room for");
    p->pulled += *got;
    if (!*got && t->body_length != UINT64_MAX && p->pulled < t->body_length)
        return cb_error_set(err, CB_EVERIFY, "request body ended after %llu of %llu bytes",
                            (unsigned long long)p->pulled, (unsigned long long)t->body_length);
    return 0;
}

/* Under the lock. */
static bool is_over(const struct cb_http_transfer *t)
{
    bool all_gone = t->body_ended && !t->out.len;
    return t->finished || (t->header_done && (t->status >= 300 || all_gone));
}

static bool can_take(const struct cb_http_transfer *t)
{
    /* Nothing is pulled before curl asks: a 401 in place of "100 Continue" then leaves the body whole. */
    return t->body_wanted && !t->body_ended && cb_http_ring_room(&t->out) >= CHUNK;
}

static void report(struct cb_http_pump *p, struct cb_http_transfer *t, uint64_t *told)
{
    if (t->body_taken == *told || !p->req->on_sent)
        return;
    *told = t->body_taken;
    pthread_mutex_unlock(&t->lock);
    p->req->on_sent(p->req->on_sent_arg, *told);
    pthread_mutex_lock(&t->lock);
}

/* Entered and left with the lock held. Into the ring itself: nobody else makes it longer, or larger. */
static int feed(struct cb_http_pump *p, struct cb_http_transfer *t, struct cb_error *err)
{
    struct room room;
    size_t got = 0;
    room.n = cb_http_ring_reserve(&t->out, CHUNK, &room.buf);
    pthread_mutex_unlock(&t->lock);
    int r = pull_chunk(p, t, &room, &got, err);
    pthread_mutex_lock(&t->lock);
    if (r < 0)
        return r;
    cb_http_ring_commit(&t->out, got);
    t->body_ended = !got || p->pulled == t->body_length;
    if (t->read_paused) {
        pthread_mutex_unlock(&t->lock);
        cb_http_command(t->h, t, CB_HTTP_RESUME);
        pthread_mutex_lock(&t->lock);
    }
    return 0;
}

int cb_http_pump_run(struct cb_http_pump *p, struct cb_http_transfer *t, struct cb_error *err)
{
    uint64_t told = 0;
    int r = 0;
    pthread_mutex_lock(&t->lock);
    while (r == 0 && !is_over(t)) {
        report(p, t, &told);
        if (is_over(t))
            break;
        if (can_take(t))
            r = feed(p, t, err);
        else
            pthread_cond_wait(&t->changed, &t->lock);
    }
    if (r == 0)
        report(p, t, &told);
    pthread_mutex_unlock(&t->lock);
    return r;
}

bool cb_http_pump_can_rewind(const struct cb_http_pump *p)
{
    return !p->touched || p->req->body.mem || p->req->body.rewind;
}

int cb_http_pump_rewind(struct cb_http_pump *p, struct cb_error *err)
{
    const struct cb_http_body *body = &p->req->body;
    int r = 0;
    if (p->touched && !body->mem)
        r = body->rewind ? body->rewind(body->arg, err)
                         : cb_error_set(err, CB_ENET, "the request's body cannot be sent a second time");
    p->mem_pos = 0;
    p->pulled = 0;
    p->touched = false;
    return r;
}

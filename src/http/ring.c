/* SPDX-License-Identifier: Apache-2.0 */
#include "http/private.h"
#include "util/alloc.h"

/* Most replies are small: a ring begins with one curl buffer and grows only for who is slower than the network; in
 * few steps, as each leaves a hole in the heap. */
#define RING_FIRST (16u << 10)
#define RING_STEP 4

void cb_http_ring_done(struct cb_http_ring *r)
{
    free(r->buf);
    *r = (struct cb_http_ring){ .max = r->max };
}

size_t cb_http_ring_room(const struct cb_http_ring *r)
{
    return r->max - r->len;
}

static void grow(struct cb_http_ring *r, size_t need)
{
    size_t cap = r->cap ? r->cap : RING_FIRST;
    while (cap < need)
        cap = CB_MIN(cap * RING_STEP, r->max);
    if (cap == r->cap)
        return;
    struct cb_http_ring bigger = { .buf = cb_malloc(cap), .cap = cap, .max = r->max };
    bigger.len = cb_http_ring_pop(r, bigger.buf, r->len);
    cb_http_ring_done(r);
    *r = bigger;
}

void cb_http_ring_push(struct cb_http_ring *r, const void *p, size_t n)
{
    if (!n)
        return;
    grow(r, r->len + n);
    size_t tail = (r->head + r->len) % r->cap;
    size_t first = CB_MIN(n, r->cap - tail);
    memcpy(r->buf + tail, p, first);
    memcpy(r->buf, (const char *)p + first, n - first);
    r->len += n;
}

size_t cb_http_ring_reserve(struct cb_http_ring *r, size_t want, char **p)
{
    grow(r, r->len + want);
    size_t tail = (r->head + r->len) % r->cap;
    *p = r->buf + tail;
    return CB_MIN(want, r->cap - tail);
}

void cb_http_ring_commit(struct cb_http_ring *r, size_t n)
{
    r->len += n;
}

size_t cb_http_ring_pop(struct cb_http_ring *r, void *p, size_t n)
{
    n = CB_MIN(n, r->len);
    if (!n)
        return 0;
    size_t first = CB_MIN(n, r->cap - r->head);
    memcpy(p, r->buf + r->head, first);
    memcpy((char *)p + first, r->buf, n - first);
    r->head = (r->head + n) % r->cap;
    r->len -= n;
    return n;
}

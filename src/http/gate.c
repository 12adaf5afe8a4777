/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/random.h>

#include "http/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* Those who wait for a gate do not all start in the instant in which it opens. */
#define MAX_SPREAD_NS (2 * CB_SEC_NS)

static uint64_t random_below(uint64_t n)
{
    uint64_t v = 0;
    if (!n || getrandom(&v, sizeof v, GRND_NONBLOCK) != (ssize_t)sizeof v)
        v = (uint64_t)cb_time_monotonic();
    return n ? v % n : 0;
}

int64_t cb_http_jitter(int64_t d)
{
    return d - d / 4 + (int64_t)random_below((uint64_t)(d / 2 + 1));
}

struct cb_http_origin *cb_http_gate_origin(struct cb_http *h, const struct cb_url *u)
{
    cb_cleanup_strbuf struct cb_strbuf key = CB_STRBUF_INIT;
    cb_strbuf_add_origin(&key, u);
    pthread_mutex_lock(&h->lock);
    struct cb_http_origin *o = cb_hashmap_get(h->origins, key.buf);
    if (!o) {
        o = CB_NEW(struct cb_http_origin);
        o->limit = h->o.max_host_connections;
        cb_hashmap_put(h->origins, key.buf, o);
    }
    pthread_mutex_unlock(&h->lock);
    return o;
}

static void wait_until(struct cb_http *h, int64_t when)
{
    struct timespec ts = { .tv_sec = when / CB_SEC_NS, .tv_nsec = when % CB_SEC_NS };
    pthread_cond_timedwait(&h->gate, &h->lock, &ts);
}

/* 0 to go on, 1 to look again, or an error. Under the lock; waits once. */
static int enter_or_wait(struct cb_http_transfer *t, int64_t when, struct cb_error *err)
{
    struct cb_http *h = t->h;
    if (h->stop || cb_http_is_canceled(h, t))
        return cb_error_set(err, CB_ECANCELED, "interrupted");
    if (cb_time_monotonic() < when)
        wait_until(h, when);
    else if (t->origin->active >= t->origin->limit)
        pthread_cond_wait(&h->gate, &h->lock);
    else
        return 0;
    return 1;
}

int cb_http_gate_enter(struct cb_http_transfer *t, int64_t not_before, struct cb_error *err)
{
    struct cb_http *h = t->h;
    struct cb_http_origin *o = t->origin;
    int r;
    int64_t closed = 0, spread = 0;
    pthread_mutex_lock(&h->lock);
    do {
        int64_t now = cb_time_monotonic();
        if (o->not_before > closed && o->not_before > now) {
            closed = o->not_before;
            spread = (int64_t)random_below((uint64_t)CB_MIN((closed - now) / 4, MAX_SPREAD_NS));
        }
        r = enter_or_wait(t, CB_MAX(not_before, closed + spread), err);
    } while (r > 0);
    if (r == 0)
        o->active++;
    pthread_mutex_unlock(&h->lock);
    return r;
}

void cb_http_gate_retake(struct cb_http *h, struct cb_http_origin *o)
{
    pthread_mutex_lock(&h->lock);
    o->active++;
    pthread_mutex_unlock(&h->lock);
}

void cb_http_gate_leave(struct cb_http *h, struct cb_http_origin *o)
{
    pthread_mutex_lock(&h->lock);
    o->active--;
    pthread_cond_broadcast(&h->gate);
    pthread_mutex_unlock(&h->lock);
}

void cb_http_gate_close(struct cb_http *h, struct cb_http_origin *o, int64_t until)
{
    pthread_mutex_lock(&h->lock);
    o->not_before = CB_MAX(o->not_before, until);
    o->limit = CB_MAX(o->limit / 2, 1u);
    o->good = 0;
    pthread_mutex_unlock(&h->lock);
}

void cb_http_gate_good(struct cb_http *h, struct cb_http_origin *o)
{
    pthread_mutex_lock(&h->lock);
    if (o->limit < h->o.max_host_connections && ++o->good >= o->limit) {
        o->limit++;
        o->good = 0;
        pthread_cond_broadcast(&h->gate);
    }
    pthread_mutex_unlock(&h->lock);
}

void cb_http_gate_budget(struct cb_http *h, struct cb_http_origin *o, uint64_t left, int64_t until)
{
    pthread_mutex_lock(&h->lock);
    if (left < o->limit) {
        o->limit = (unsigned)CB_MAX(left, UINT64_C(1));
        o->good = 0;
    }
    if (!left)
        o->not_before = CB_MAX(o->not_before, until);
    pthread_mutex_unlock(&h->lock);
}

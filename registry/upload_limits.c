/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"

#define MIB (UINT64_C(1) << 20)
#define CHUNKED_FROM (64 * MIB) /* below, one request is quicker and everywhere known */
#define FIRST_CHUNK (32 * MIB)
#define LARGEST_CHUNK (1024 * MIB)
#define SMALLEST_CHUNK (64u << 10)  /* who refuses that takes none */
/* Between two chunks the line is idle for a round trip and what the registry still has to take, so a chunk should be
 * seconds long; a fault may cost one, so it should not be many. */
#define FAST_NS (2 * INT64_C(1000000000))
#define SLOW_NS (8 * FAST_NS)

static struct reg_host *host_of(const struct upload *u)
{
    return (struct reg_host *)(uintptr_t)u->b->p->e.h;
}

static uint64_t wanted_size(const struct upload *u)
{
    return u->b->p->r->o.chunk_size;
}

bool upload_wants_chunks(const struct upload *u)
{
    struct reg_host *h = host_of(u);
    uint64_t size = u->b->desc.size, wanted = wanted_size(u);
    pthread_mutex_lock(&h->mu);
    bool refused = h->limits.whole && size >= h->limits.whole;
    bool can = !u->whole && !h->limits.no_chunks;
    pthread_mutex_unlock(&h->mu);
    if (!can || !size || wanted == UINT64_MAX)
        return false;
    return refused || (wanted ? size > wanted : size >= CHUNKED_FROM);
}

/* Under the host's lock. */
static uint64_t current(const struct reg_host *h, uint64_t wanted)
{
    uint64_t n = h->limits.chunk ? h->limits.chunk : wanted ? wanted : FIRST_CHUNK;
    if (h->limits.too_large && n >= h->limits.too_large)
        n = h->limits.too_large / 2;
    return CB_MAX(n, UINT64_C(1));
}

uint64_t upload_chunk_size(const struct upload *u)
{
    struct reg_host *h = host_of(u);
    pthread_mutex_lock(&h->mu);
    uint64_t n = current(h, wanted_size(u));
    pthread_mutex_unlock(&h->mu);
    return CB_MAX(n, u->at.chunk_min);
}

void upload_chunk_taken(const struct upload *u, uint64_t n, int64_t ns)
{
    struct reg_host *h = host_of(u);
    pthread_mutex_lock(&h->mu);
    /* Half of an odd size that was refused is no room for twice the half. */
    bool room = 2 * n <= LARGEST_CHUNK && (!h->limits.too_large || n < h->limits.too_large / 2);
    if (!wanted_size(u) && n == current(h, 0)) {
        if (ns < FAST_NS && room)
            h->limits.chunk = 2 * n;
        else if (ns > SLOW_NS && n > FIRST_CHUNK)
            h->limits.chunk = n / 2;
    }
    pthread_mutex_unlock(&h->mu);
}

int upload_chunk_refused(const struct upload *u, uint64_t n, struct cb_error *err)
{
    struct reg_host *h = host_of(u);
    uint64_t least = CB_MAX((uint64_t)SMALLEST_CHUNK, u->at.chunk_min);
    pthread_mutex_lock(&h->mu);
    if (!h->limits.too_large || n < h->limits.too_large)
        h->limits.too_large = n;
    h->limits.chunk = CB_MAX(n / 2, least);
    pthread_mutex_unlock(&h->mu);
    if (n > least)
        return 0;
    return cb_error_set(err, CB_ENET, "registry %s refuses a chunk of %llu bytes%s", h->name, (unsigned long long)n,
                        u->at.chunk_min ? ", and wants none that is smaller" : ", and so any");
}

void upload_whole_refused(const struct upload *u, uint64_t n)
{
    struct reg_host *h = host_of(u);
    pthread_mutex_lock(&h->mu);
    if (!h->limits.whole || n < h->limits.whole)
        h->limits.whole = n;
    if (!h->limits.too_large || n < h->limits.too_large)
        h->limits.too_large = n;
    pthread_mutex_unlock(&h->mu);
}

static bool *trait(struct reg_host *h, enum upload_trait t)
{
    switch (t) {
    case UPLOAD_CHUNKS_WORK:
        return &h->limits.chunks_work;
    case UPLOAD_NO_CHUNKS:
        return &h->limits.no_chunks;
    case UPLOAD_RANGE_STUCK:
        break;
    }
    return &h->limits.range_stuck;
}

void upload_learn(const struct upload *u, enum upload_trait t)
{
    struct reg_host *h = host_of(u);
    pthread_mutex_lock(&h->mu);
    *trait(h, t) = true;
    pthread_mutex_unlock(&h->mu);
}

bool upload_knows(const struct upload *u, enum upload_trait t)
{
    struct reg_host *h = host_of(u);
    pthread_mutex_lock(&h->mu);
    bool known = *trait(h, t);
    pthread_mutex_unlock(&h->mu);
    return known;
}

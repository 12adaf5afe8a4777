/* SPDX-License-Identifier: Apache-2.0 */
#include "build/claims.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "build/cache_in.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/timeutil.h"

#define WIDTH 8
#define LOCK_POLL (INT64_C(100) * 1000000) /* ns */
#define GRACE (INT64_C(3) * 1000000000) /* ns: for giving claims up when the build is interrupted */
#define STALE (INT64_C(5) * 1000000000) /* ns: who does not claim looks again where the first look is older */

enum stage {
    IN_STORE, /* the lock of the store */
    IN_PLACE, /* the claim or lock of the cache */
    HELD,     /* only a claim that is renewed has anything to do */
    OVER
};

struct guard {
    struct guard *next;
    struct cb_claims *c;
    struct cb_claims_step step;
    const struct cb_cache_spec *spec;
    struct cb_cache_place *place; /* where it is claimed, or NULL */
    enum cb_claims_answer answer; /* as it was found last */
    bool busy;                    /* a thread works on it: stage, found, locks and claim are that thread's */
    enum stage stage;
    enum cb_claims_answer found;
    bool refused;                 /* it was not even known whether somebody has it */
    bool stored, written;         /* what it is for is done */
    int64_t due, since;           /* monotonic */
    int store_fd, place_fd;
    char *name;                   /* of the lock in the place */
    struct cb_cache_claim *claim;
    void (*fn)(void *arg);        /* who waits; or NULL */
    void *arg;
};

struct cb_claims {
    struct cb_claims_options o;
    int64_t opened;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct guard *list;
    struct cb_pool *pool;
    pthread_t thread;
    bool started, stop;
    bool refused; /* a place takes no claims, or does not answer: the next steps are run at once */
    int wake; /* eventfd */
};

/* ---- one guard, by one thread ---- */

static int64_t now_of(CB_UNUSED void *arg)
{
    return cb_time_monotonic();
}

static bool recorded(void *arg)
{
    const struct guard *g = arg;
    return g->c->o.in && cb_cache_in_again(g->c->o.in, g->place, &g->step.key);
}

/* Maybe since before it was looked up, when a layer of it had no name yet. */
static bool is_stored(const struct guard *g)
{
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    return cb_store_cache_get(g->c->o.env->store, &g->step.key, &rec, NULL) == 0 &&
           rec.created >= g->c->o.newer_than;
}

static int64_t decide(struct guard *g, enum cb_claims_answer answer)
{
    g->found = answer;
    g->stage = HELD;
    return INT64_MAX;
}

static int64_t hold_off(struct guard *g)
{
    int64_t now = cb_time_monotonic();
    if (!g->since)
        g->since = now;
    g->found = CB_CLAIMS_WAIT;
    return now + LOCK_POLL;
}

static bool waited_enough(const struct guard *g, int64_t most)
{
    return g->since && cb_time_monotonic() - g->since > most;
}

static int64_t go_store(struct guard *g)
{
    int r = cb_store_step_take(g->c->o.env->store, &g->step.key, &g->store_fd, NULL);
    if (r == 0 && !waited_enough(g, CB_CACHE_CLAIM_WAIT))
        return hold_off(g);
    if (is_stored(g))
        return decide(g, CB_CLAIMS_STORED);
    g->stage = IN_PLACE;
    if (g->place)
        return 0;
    /* Readers do not claim; what has come meanwhile they take. */
    bool look = g->c->o.in && cb_time_monotonic() - g->c->opened > STALE;
    return decide(g, look && recorded(g) ? CB_CLAIMS_RECORDED : CB_CLAIMS_RUN);
}

static int64_t go_lock(struct guard *g)
{
    bool enough = waited_enough(g, g->spec->claim_wait);
    if (!g->name)
        g->name = cb_cache_claim_name(&g->step.key);
    int r = enough ? -CB_ELOCAL : g->place->ops->lock(g->place, g->name, &g->place_fd, NULL);
    if (r == 0)
        return hold_off(g);
    return decide(g, r > 0 && recorded(g) ? CB_CLAIMS_RECORDED : CB_CLAIMS_RUN);
}

static int64_t go_claim(struct guard *g)
{
    static const enum cb_claims_answer means[] = {
        [CB_CLAIM_ASKING] = CB_CLAIMS_ASKING, [CB_CLAIM_OURS] = CB_CLAIMS_RUN, [CB_CLAIM_OTHERS] = CB_CLAIMS_WAIT,
        [CB_CLAIM_RECORDED] = CB_CLAIMS_RECORDED, [CB_CLAIM_NONE] = CB_CLAIMS_RUN,
    };
    enum cb_cache_claim_state state;
    if (!g->claim) {
        struct cb_cache_claim_options o = { .place = g->place, .key = g->step.key, .now = now_of,
                                            .max_wait = g->spec->claim_wait, .recorded = recorded, .arg = g };
        g->claim = cb_cache_claim_new(&o);
    }
    bool asking = g->found == CB_CLAIMS_ASKING;
    int64_t due = cb_cache_claim_go(g->claim, &state);
    g->refused = g->refused || (asking && state == CB_CLAIM_NONE);
    g->found = means[state];
    if (g->found == CB_CLAIMS_RUN || g->found == CB_CLAIMS_RECORDED)
        g->stage = HELD;
    return due;
}

static void end_place(struct guard *g)
{
    cb_cache_claim_free(CB_TAKE(g->claim));
    if (g->place_fd >= 0)
        g->place->ops->unlock(g->place, g->name, &g->place_fd);
}

/* Records are there before their layers have their names, which may wait for a slow disk. */
static void end_store(struct guard *g)
{
    struct cb_store *store = g->c->o.env->store;
    if (g->store_fd >= 0 && !cb_canceled(g->c->o.cancel))
        cb_store_settle_so_far(store);
    cb_store_step_drop(store, &g->step.key, &g->store_fd);
}

/* What is due of it; when there is more to do. */
static int64_t go(struct guard *g)
{
    switch (g->stage) {
    case IN_STORE:
        return go_store(g);
    case IN_PLACE:
        return g->place->ops->lock ? go_lock(g) : go_claim(g);
    case HELD:
        return g->claim ? go_claim(g) : INT64_MAX;
    case OVER:
        break;
    }
    return INT64_MAX;
}

/* ---- all of them ---- */

static void wake(struct cb_claims *c)
{
    uint64_t one = 1;
    if (c->started && write(c->wake, &one, sizeof one) < 0)
        return; /* it is as full as it can be: it will wake */
}

/* Under mu. */
static bool is_over(const struct guard *g)
{
    return g->stored && g->written;
}

/* Under mu, which is left for the call. */
static void tell(struct cb_claims *c, struct guard *g)
{
    void (*fn)(void *) = NULL;
    if (g->answer != CB_CLAIMS_WAIT || cb_canceled(c->o.cancel))
        fn = CB_TAKE(g->fn);
    void *arg = g->arg;
    pthread_cond_broadcast(&c->cond);
    if (!fn)
        return;
    pthread_mutex_unlock(&c->mu);
    fn(arg);
    pthread_mutex_lock(&c->mu);
}

/* A claim that is over goes; one that goes on is told of. */
static void work_on(void *arg)
{
    struct guard *g = arg;
    struct cb_claims *c = g->c;
    pthread_mutex_lock(&c->mu);
    bool stored = g->stored, written = g->written;
    pthread_mutex_unlock(&c->mu);
    int64_t due = INT64_MAX;
    if (stored)
        end_store(g);
    if (written)
        end_place(g);
    if (stored && written)
        g->stage = OVER;
    else if (written && g->stage == IN_PLACE)
        g->stage = HELD;
    else
        due = go(g);
    pthread_mutex_lock(&c->mu);
    g->busy = false;
    g->answer = g->found;
    c->refused = c->refused || g->refused;
    g->due = stored != g->stored || written != g->written ? 0 : due;
    tell(c, g);
    wake(c);
    pthread_mutex_unlock(&c->mu);
}

/* Under mu: hands out what is due, and tells how long that is all; ms. */
static int hand_out(struct cb_claims *c)
{
    int64_t now = cb_time_monotonic(), next = INT64_MAX;
    for (struct guard *g = c->list; g; g = g->next) {
        if (cb_canceled(c->o.cancel))
            tell(c, g);
        if (g->busy || g->stage == OVER)
            continue;
        if (g->due <= now || is_over(g)) {
            g->busy = true;
            cb_pool_submit(c->pool, work_on, g);
        } else {
            next = CB_MIN(next, g->due);
        }
    }
    return next == INT64_MAX ? -1 : (int)CB_MIN((next - now) / 1000000 + 1, INT64_C(60000));
}

static bool all_over(const struct cb_claims *c)
{
    bool over = true;
    for (const struct guard *g = c->list; over && g; g = g->next)
        over = !g->busy && g->stage == OVER;
    return over;
}

static void *keep_going(void *arg)
{
    struct cb_claims *c = arg;
    struct pollfd p[] = { { .fd = c->wake, .events = POLLIN }, { .fd = cb_cancel_fd(c->o.cancel), .events = POLLIN } };
    for (;;) {
        pthread_mutex_lock(&c->mu);
        int timeout = hand_out(c);
        bool end = c->stop && all_over(c);
        pthread_mutex_unlock(&c->mu);
        if (end)
            return NULL;
        if (cb_canceled(c->o.cancel)) /* it stays readable */
            p[1].fd = -1;
        uint64_t n;
        if (poll(p, 2, timeout) > 0 && (p[0].revents & POLLIN) && read(c->wake, &n, sizeof n) < 0)
            continue;
    }
}

/* Under mu. A build of its own store and no cache that is written needs none of it, unless it waits. */
static void start(struct cb_claims *c)
{
    if (c->started)
        return;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->started = c->wake >= 0 && cb_thread_start(&c->thread, "claims", keep_going, c, NULL) == 0;
    if (c->started)
        c->pool = cb_pool_new("claims", WIDTH);
}

/* Under mu. */
static struct guard *find(struct cb_claims *c, const struct cb_vertex *v)
{
    struct guard *g = c->list;
    while (g && g->step.v != v)
        g = g->next;
    return g;
}

/* Under mu. */
static struct guard *guard_new(struct cb_claims *c, const struct cb_claims_step *step)
{
    struct guard *g = CB_NEW(struct guard);
    *g = (struct guard){ .c = c, .step = *step, .store_fd = -1, .place_fd = -1, .busy = true };
    g->place = c->o.out && !c->refused ? c->o.place_of(c->o.out, step->v, &g->spec) : NULL;
    g->written = !g->place;
    return g;
}

void cb_claims_begin(struct cb_claims *c, const struct cb_claims_step *step)
{
    pthread_mutex_lock(&c->mu);
    struct guard *g = find(c, step->v);
    if (g) {
        pthread_mutex_unlock(&c->mu);
        return;
    }
    g = guard_new(c, step);
    g->next = c->list;
    c->list = g;
    pthread_mutex_unlock(&c->mu);
    int64_t due = go(g); /* the lock of the store: it takes no time */
    pthread_mutex_lock(&c->mu);
    g->busy = false;
    if (due != INT64_MAX)
        start(c);
    g->due = due == INT64_MAX || c->started ? due : decide(g, CB_CLAIMS_RUN);
    g->answer = g->found;
    tell(c, g);
    wake(c);
    pthread_mutex_unlock(&c->mu);
}

enum cb_claims_answer cb_claims_now(struct cb_claims *c, const struct cb_vertex *v)
{
    pthread_mutex_lock(&c->mu);
    const struct guard *g = find(c, v);
    enum cb_claims_answer answer = !g ? CB_CLAIMS_RUN : g->answer;
    pthread_mutex_unlock(&c->mu);
    return answer;
}

enum cb_claims_answer cb_claims_ask(struct cb_claims *c, const struct cb_vertex *v)
{
    pthread_mutex_lock(&c->mu);
    const struct guard *g = find(c, v);
    while (g && g->answer == CB_CLAIMS_ASKING && !cb_canceled(c->o.cancel))
        pthread_cond_wait(&c->cond, &c->mu);
    enum cb_claims_answer answer = !g || g->answer == CB_CLAIMS_ASKING ? CB_CLAIMS_RUN : g->answer;
    pthread_mutex_unlock(&c->mu);
    return answer;
}

void cb_claims_wait(struct cb_claims *c, const struct cb_vertex *v, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&c->mu);
    struct guard *g = find(c, v);
    g->fn = fn;
    g->arg = arg;
    if (!g->busy)
        tell(c, g);
    pthread_mutex_unlock(&c->mu);
}

/* ---- the end ---- */

static void end(struct cb_claims *c, const struct cb_vertex *v, bool stored, bool written)
{
    pthread_mutex_lock(&c->mu);
    struct guard *g = find(c, v);
    if (g) {
        g->stored = g->stored || stored;
        g->written = g->written || written;
        g->due = 0;
        start(c);
    }
    wake(c);
    pthread_mutex_unlock(&c->mu);
}

void cb_claims_stored(struct cb_claims *c, const struct cb_vertex *v)
{
    end(c, v, true, false);
}

/* One that is interrupted ends its claims when it is freed: until then no request would be let through. */
void cb_claims_written(struct cb_claims *c, const struct cb_vertex *v)
{
    end(c, v, false, !cb_canceled(c->o.cancel));
}

/* Whether there was a claim in a registry. Under mu. */
static bool has_claims(const struct cb_claims *c)
{
    const struct guard *g = c->list;
    while (g && (!g->place || g->place->ops->lock))
        g = g->next;
    return g;
}

struct cb_claims *cb_claims_new(const struct cb_claims_options *o)
{
    struct cb_claims *c = CB_NEW(struct cb_claims);
    c->o = *o;
    c->opened = cb_time_monotonic();
    c->wake = -1;
    pthread_mutex_init(&c->mu, NULL);
    pthread_cond_init(&c->cond, NULL);
    return c;
}

void cb_claims_free(struct cb_claims *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->mu);
    c->stop = true;
    if (has_claims(c))
        cb_registry_grace(c->o.env->registry, GRACE);
    for (struct guard *g = c->list; g; g = g->next)
        g->stored = g->written = true;
    wake(c);
    pthread_mutex_unlock(&c->mu);
    if (c->started)
        pthread_join(c->thread, NULL);
    cb_pool_free(c->pool);
    while (c->list) {
        struct guard *g = c->list;
        c->list = g->next;
        end_place(g);
        end_store(g);
        free(g->name);
        free(g);
    }
    cb_close_p(&c->wake);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

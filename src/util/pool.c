/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of thread.h. Threads are started when there is work and nobody idle: a short run starts few. */
#include "util/alloc.h"
#include "util/thread.h"

struct job {
    struct job *next;
    void (*fn)(void *arg);
    void *arg;
};

struct cb_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *first, *last;
    size_t queued, idle;
    unsigned threads, started, running, limit;
    pthread_t *ids;
    bool closing;
    char *name;
};

struct cb_pool *cb_pool_new(const char *name, unsigned threads)
{
    struct cb_pool *p = CB_NEW(struct cb_pool);
    p->threads = p->limit = CB_MAX(threads, 1u);
    p->ids = cb_calloc(p->threads, sizeof *p->ids);
    p->name = cb_strdup(name);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    return p;
}

/* Under the lock. NULL when the pool closes and all is done. */
static struct job *next_job(struct cb_pool *p)
{
    while (p->first ? p->running >= p->limit : !p->closing) {
        p->idle++;
        pthread_cond_wait(&p->work, &p->lock);
        p->idle--;
    }
    struct job *job = p->first;
    if (job) {
        p->first = job->next;
        if (!p->first)
            p->last = NULL;
        p->queued--;
        p->running++;
    }
    return job;
}

static void *pool_main(void *arg)
{
    struct cb_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (struct job *job; (job = next_job(p));) {
        pthread_mutex_unlock(&p->lock);
        job->fn(job->arg);
        free(job);
        pthread_mutex_lock(&p->lock);
        p->running--;
        if (p->idle && (p->first || p->closing)) /* somebody may wait for the limit */
            pthread_cond_broadcast(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Under the lock. A machine that gives no thread at all is treated like one that gives no memory. */
static void start_one(struct cb_pool *p)
{
    if (cb_thread_start(&p->ids[p->started], p->name, pool_main, p, NULL) == 0) {
        p->started++;
        return;
    }
    if (p->started)
        return;
    cb_out_of("cbpush: cannot start a thread (limits of processes, `ulimit -u` or those of the container, and of "
              "memory, `ulimit -v`)\n");
}

void cb_pool_submit(struct cb_pool *p, void (*fn)(void *arg), void *arg)
{
    struct job *job = CB_NEW(struct job);
    job->fn = fn;
    job->arg = arg;
    pthread_mutex_lock(&p->lock);
    if (p->last)
        p->last->next = job;
    else
        p->first = job;
    p->last = job;
    p->queued++;
    /* idle counts threads that were woken but have not run yet, hence the comparison with what is queued. */
    if (p->queued > p->idle && p->started < p->threads)
        start_one(p);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

void cb_pool_free(struct cb_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->work);
    /* A job may still submit another and so start a thread: read `started` anew each time. */
    for (unsigned i = 0; i < p->started; i++) {
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->ids[i], NULL);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p->ids);
    free(p->name);
    free(p);
}

void cb_pool_limit(struct cb_pool *p, unsigned n)
{
    pthread_mutex_lock(&p->lock);
    p->limit = CB_MAX(n, 1u);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
}

unsigned cb_pool_threads(const struct cb_pool *p)
{
    return p->threads;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"
#include "util/thread.h"

struct each {
    int (*fn)(void *arg, size_t i, struct cb_error *err);
    void *arg;
    size_t n, next;
    pthread_mutex_t mu;
    struct cb_error error;
};

/* The next one to do, or n. */
static size_t take(struct each *e)
{
    pthread_mutex_lock(&e->mu);
    size_t i = e->error.code ? e->n : e->next;
    if (i < e->n)
        e->next++;
    pthread_mutex_unlock(&e->mu);
    return i;
}

static void work(void *arg)
{
    struct each *e = arg;
    for (size_t i = take(e); i < e->n; i = take(e)) {
        struct cb_error error cb_cleanup_error = CB_ERROR_INIT;
        if (e->fn(e->arg, i, &error) == 0)
            continue;
        pthread_mutex_lock(&e->mu);
        if (!e->error.code)
            cb_error_move(&e->error, &error);
        pthread_mutex_unlock(&e->mu);
    }
}

int cb_copy_each(size_t n, unsigned jobs, int (*fn)(void *arg, size_t i, struct cb_error *err), void *arg,
              struct cb_error *err)
{
    struct each e = { .fn = fn, .arg = arg, .n = n };
    unsigned threads = (unsigned)CB_MIN((size_t)CB_MAX(jobs, 1u), n);
    pthread_mutex_init(&e.mu, NULL);
    struct cb_pool *pool = threads > 1 ? cb_pool_new("copy", threads - 1) : NULL;
    for (unsigned i = 1; i < threads; i++)
        cb_pool_submit(pool, work, &e);
    work(&e);
    cb_pool_free(pool);
    pthread_mutex_destroy(&e.mu);
    return e.error.code ? cb_error_move(err, &e.error) : 0;
}

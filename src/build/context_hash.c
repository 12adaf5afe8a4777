/* SPDX-License-Identifier: Apache-2.0 */
#include "build/context_private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/thread.h"

#define BATCH 32
#define BUF (256u << 10)

struct group {
    struct cb_context *c;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    size_t left;
    struct cb_error error;
    const struct cb_cancel *cancel;
};

struct job {
    struct group *group;
    struct cb_item **items;
    size_t n;
};

struct reader {
    struct cb_hasher *h;
    char *buf;
    const struct cb_cancel *cancel;
    struct cb_path_cursor *in;
};

static int hash_fd(const struct reader *rd, int fd, const struct cb_item *it, struct cb_digest *sum,
                   struct cb_error *err)
{
    uint64_t total = 0, size = cb_item_found(it)->size;
    for (size_t got = 1; got && total < size; total += got) {
        int r = cb_cancel_check(rd->cancel, err);
        if (r < 0)
            return r;
        r = cb_fd_read_full(fd, rd->buf, (size_t)CB_MIN(size - total, (uint64_t)BUF), &got, err);
        if (r < 0)
            return cb_error_wrap(err, "%s", cb_item_path(it));
        cb_hasher_update(rd->h, rd->buf, got);
    }
    cb_hasher_finish(rd->h, sum);
    return total == size ? 0 : cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", cb_item_path(it));
}

static int hash_item(struct cb_context *c, struct cb_item *it, const struct reader *rd, struct cb_error *err)
{
    cb_autoclose int fd = -1;
    struct cb_found *f = cb_item_found(it);
    struct cb_digest sum;
    struct stat st;
    int r = cb_context_open_item(rd->in, it, &fd, err);
    bool keep = r == 0 && cb_stat_cache_watch(c->stats, fd, &st);
    if (r == 0)
        r = cb_context_xattrs(it, fd, err);
    if (r == 0)
        r = hash_fd(rd, fd, it, &sum, err);
    if (r < 0)
        return r;
    cb_sum_take(&f->digest, &sum);
    if (keep && !f->more)
        cb_stat_cache_put(c->stats, fd, &st, &f->digest);
    pthread_mutex_lock(&c->mu);
    c->work.files++;
    c->work.bytes += f->size;
    pthread_mutex_unlock(&c->mu);
    return 0;
}

static void run(void *arg)
{
    struct job *j = arg;
    struct group *g = j->group;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_autofree char *buf = cb_malloc(BUF);
    struct cb_path_cursor in cb_cleanup_path_cursor = cb_context_cursor(g->c);
    struct reader rd = { h, buf, g->cancel, &in };
    int r = cb_cancel_check(g->cancel, &e);
    for (size_t i = 0; r == 0 && i < j->n; i++)
        r = hash_item(g->c, j->items[i], &rd, &e);
    pthread_mutex_lock(&g->mu);
    if (r < 0 && !g->error.code)
        cb_error_move(&g->error, &e);
    if (--g->left == 0)
        pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->mu);
}

static int hash_all(struct group *g, struct cb_item **items, size_t n, struct cb_pool *pool, struct cb_error *err)
{
    size_t n_jobs = (n + BATCH - 1) / BATCH;
    if (n == 0)
        return 0;
    struct job *jobs = cb_calloc(n_jobs, sizeof *jobs);
    pthread_mutex_init(&g->mu, NULL);
    pthread_cond_init(&g->cond, NULL);
    g->left = n_jobs;
    for (size_t i = 0; i < n_jobs; i++) {
        jobs[i] = (struct job){ g, items + i * BATCH, CB_MIN(n - i * BATCH, (size_t)BATCH) };
        cb_pool_submit(pool, run, &jobs[i]);
    }
    pthread_mutex_lock(&g->mu);
    while (g->left)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
    pthread_cond_destroy(&g->cond);
    pthread_mutex_destroy(&g->mu);
    free(jobs);
    return g->error.code ? cb_error_move(err, &g->error) : 0;
}

/* Hard links share what the file that they name has. */
static void link_digests(struct cb_match *m)
{
    for (size_t i = 0; i < m->n; i++) {
        struct cb_item *it = m->items[i];
        struct cb_found *f = cb_item_found(it);
        if (it->type != CB_ENTRY_HARDLINK)
            continue;
        const struct cb_found *to = cb_item_found(m->items[f->more->target]);
        f->digest = to->digest;
        f->size = to->size;
        if (to->more)
            cb_item_set_xattrs(it, to->more->xattrs, to->more->n_xattrs);
    }
}

int cb_context_hash(struct cb_context *c, struct cb_selection *sel, const struct cb_build_env *env,
                    struct cb_error *err)
{
    struct group g = { .c = c, .cancel = env->cancel };
    struct cb_item **items = NULL;
    size_t n = 0, cap = 0;
    uint64_t known = 0;
    for (size_t i = 0; i < sel->n; i++)
        for (size_t j = 0; j < sel->v[i].n; j++) {
            struct cb_item *it = sel->v[i].items[j];
            if (it->type != CB_ENTRY_FILE || it->is_socket)
                continue;
            if (cb_item_found(it)->digest.known) {
                known++;
                continue;
            }
            CB_GROW(items, n, cap);
            items[n++] = it;
        }
    pthread_mutex_lock(&c->mu);
    c->work.known += known;
    pthread_mutex_unlock(&c->mu);
    int r = hash_all(&g, items, n, env->cpu, err);
    free(items);
    for (size_t i = 0; r == 0 && i < sel->n; i++)
        link_digests(&sel->v[i]);
    return r;
}

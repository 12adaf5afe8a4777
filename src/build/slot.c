/* SPDX-License-Identifier: Apache-2.0 */
#include "build/slot.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "build/key.h"
#include "build/slot_private.h"
#include "util/alloc.h"
#include "util/hashmap.h"

struct cb_slots {
    const struct cb_build_env *env;
    pthread_mutex_t mu;
    struct cb_hashmap *by_diff_id;
    struct cb_slot **all;
    size_t n, cap;
    struct cb_pool *fetchers;
};

#define FETCHERS 4

struct cb_slots *cb_slots_new(const struct cb_build_env *env)
{
    struct cb_slots *t = CB_NEW(struct cb_slots);
    t->env = env;
    pthread_mutex_init(&t->mu, NULL);
    t->by_diff_id = cb_hashmap_new();
    t->fetchers = cb_pool_new("fetch", FETCHERS);
    return t;
}

static void slot_free(struct cb_slot *s)
{
    cb_layer_done(&s->layer);
    cb_toc_unref(s->toc);
    cb_error_done(&s->error);
    if (s->tree_fd >= 0)
        close(s->tree_fd);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mu);
    free(s->ready);
    free(s);
}

void cb_slots_free(struct cb_slots *t)
{
    if (!t)
        return;
    cb_pool_free(t->fetchers);
    for (size_t i = 0; i < t->n; i++)
        slot_free(t->all[i]);
    free(t->all);
    cb_hashmap_free(t->by_diff_id);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

const struct cb_build_env *cb_slots_env(const struct cb_slots *t)
{
    return t->env;
}

static struct cb_slot *slot_new(struct cb_slots *t)
{
    struct cb_slot *s = CB_NEW(struct cb_slot);
    s->owner = t;
    s->env = t->env;
    s->tree_fd = -1;
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->cond, NULL);
    CB_GROW(t->all, t->n, t->cap);
    t->all[t->n++] = s;
    return s;
}

/* Under t->mu. */
static struct cb_slot *find_or_new(struct cb_slots *t, const struct cb_digest *diff_id, bool *found)
{
    char hex[CB_DIGEST_TEXT_MAX];
    struct cb_slot *s = cb_hashmap_get(t->by_diff_id, cb_digest_text(diff_id, hex));
    *found = s != NULL;
    if (s)
        return s;
    s = slot_new(t);
    s->layer.diff_id = *diff_id;
    s->layer.size = UINT64_MAX;
    cb_hashmap_put(t->by_diff_id, hex, s);
    return s;
}

struct cb_slot *cb_slots_parent(struct cb_slots *t, const struct cb_digest *diff_id, const struct cb_descriptor *desc,
                                const char *host, const char *repo)
{
    bool found;
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, diff_id, &found);
    if (!found) {
        struct cb_layer known = { 0 };
        if (cb_store_layer_get(t->env->store, diff_id, &known, NULL) == 0) {
            cb_layer_done(&s->layer);
            s->layer = known;
        }
    }
    pthread_mutex_lock(&s->mu);
    s->parent = true;
    int c = cb_mt_layer_compression(desc->media_type);
    struct cb_layer_encoding e = { .digest = desc->digest, .size = desc->size, .media_type = desc->media_type,
                                   .compression = c < 0 ? CB_COMPRESSION_NONE : (enum cb_compression)c, .engine = (char *)"" };
    cb_layer_add_encoding(&s->layer, &e);
    if (host)
        cb_layer_add_origin(&s->layer, &desc->digest, host, repo);
    s->manifest_digest = desc->digest;
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
    return s;
}

static bool obtainable(const struct cb_build_env *env, const struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_store_blob_has(env->store, &l->encodings[i].digest, NULL))
            return true;
    return l->n_origins > 0 && l->n_encodings > 0;
}

int cb_slots_stored(struct cb_slots *t, const struct cb_digest *diff_id, bool ours, struct cb_slot **out, struct cb_error *err)
{
    struct cb_layer known cb_cleanup_layer = { 0 };
    bool found;
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, diff_id, &found);
    int r = 0;
    if (!found || s->layer.n_encodings == 0) {
        r = cb_store_layer_get(t->env->store, diff_id, &known, err);
        if (r == 0 && !obtainable(t->env, &known))
            r = cb_error_set(err, CB_ENOTFOUND, "the bytes of a recorded layer are gone");
        if (r == 0) {
            cb_layer_done(&s->layer);
            s->layer = known;
            known = (struct cb_layer){ 0 };
            s->parent = !ours;
        }
    }
    pthread_mutex_unlock(&t->mu);
    if (r == 0)
        *out = s;
    return r;
}

struct cb_slot *cb_slots_made(struct cb_slots *t, const struct cb_layer *layer, struct cb_toc *toc)
{
    bool found;
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, &layer->diff_id, &found);
    if (!found || s->layer.n_encodings == 0)
        cb_layer_copy(&s->layer, layer);
    pthread_mutex_lock(&s->mu);
    if (!s->toc && toc)
        s->toc = cb_toc_ref(toc);
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
    return s;
}

struct cb_slot *cb_slots_pending(struct cb_slots *t, int tree_fd)
{
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = slot_new(t);
    s->pending = true;
    s->tree_fd = fcntl(tree_fd, F_DUPFD_CLOEXEC, 3);
    pthread_mutex_unlock(&t->mu);
    return s;
}

void cb_slot_complete(struct cb_slot *s, const struct cb_layer *layer, struct cb_toc *toc, const struct cb_error *err)
{
    struct cb_slot_ready *ready = NULL;
    size_t n = 0;
    pthread_mutex_lock(&s->mu);
    if (layer) {
        cb_layer_copy(&s->layer, layer);
        s->toc = cb_toc_ref(toc);
    } else if (err) {
        s->failed = cb_error_copy(&s->error, err);
    } else {
        s->empty = true;
    }
    s->pending = false;
    if (!s->failed) {
        ready = CB_TAKE(s->ready);
        n = s->n_ready;
        s->n_ready = 0;
    }
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; i < n; i++)
        ready[i].fn(ready[i].arg, s);
    free(ready);
}

int cb_slot_wait(struct cb_slot *s, bool *empty, struct cb_error *err)
{
    pthread_mutex_lock(&s->mu);
    while (s->pending)
        pthread_cond_wait(&s->cond, &s->mu);
    int r = s->failed ? cb_error_copy(err, &s->error) : 0;
    if (empty)
        *empty = s->empty;
    pthread_mutex_unlock(&s->mu);
    return r;
}

bool cb_slot_is_pending(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool p = s->pending;
    pthread_mutex_unlock(&s->mu);
    return p;
}

bool cb_slot_is_parent(const struct cb_slot *s)
{
    return s->parent;
}

void cb_slot_on_ready(struct cb_slot *s, void (*fn)(void *arg, struct cb_slot *s), void *arg)
{
    pthread_mutex_lock(&s->mu);
    bool now = !s->pending && !s->failed;
    if (s->pending) {
        CB_GROW(s->ready, s->n_ready, s->cap_ready);
        s->ready[s->n_ready++] = (struct cb_slot_ready){ fn, arg };
    }
    pthread_mutex_unlock(&s->mu);
    if (now)
        fn(arg, s);
}

const struct cb_layer *cb_slot_layer(const struct cb_slot *s)
{
    return &s->layer;
}

struct cb_toc *cb_slot_toc(struct cb_slot *s)
{
    return s->toc;
}

int cb_slot_tree(struct cb_slot *s, int *fd, struct cb_error *err)
{
    pthread_mutex_lock(&s->mu);
    int have = s->tree_fd >= 0 ? fcntl(s->tree_fd, F_DUPFD_CLOEXEC, 3) : -1;
    pthread_mutex_unlock(&s->mu);
    if (have < 0)
        return cb_store_tree_open(s->env->store, &s->layer.diff_id, fd, err);
    *fd = have;
    return 0;
}

struct cb_stack *cb_slots_stack(struct cb_slot *const *v, size_t n)
{
    struct cb_toc **tocs = cb_calloc(n + 1, sizeof *tocs);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i]->toc)
            tocs[m++] = v[i]->toc;
    struct cb_stack *s = cb_stack_new(tocs, m);
    free(tocs);
    return s;
}

void cb_slot_content(struct cb_slot *s, struct cb_digest *out)
{
    if (s->parent || !s->toc) {
        *out = s->layer.diff_id;
        return;
    }
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, "cbpush-content/1");
    for (size_t i = 0; i < cb_toc_count(s->toc); i++)
        cb_hash_entry(h, cb_toc_at(s->toc, i));
    cb_hasher_finish(h, out);
}

/* ---- many at once ---- */

struct need_group {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    size_t left;
    struct cb_error error;
    unsigned needs;
    struct cb_step *step;
};

struct need_job {
    struct need_group *group;
    struct cb_slot *slot;
};

static void need_run(void *arg)
{
    struct need_job *j = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_slot_bring(j->slot, j->group->needs, j->group->step, &e);
    pthread_mutex_lock(&j->group->mu);
    if (r < 0 && !j->group->error.code)
        cb_error_move(&j->group->error, &e);
    if (--j->group->left == 0)
        pthread_cond_signal(&j->group->cond);
    pthread_mutex_unlock(&j->group->mu);
}

static bool satisfied(struct cb_slot *s, unsigned needs)
{
    pthread_mutex_lock(&s->mu);
    bool ok = !s->pending && !s->busy && (s->have & needs) == needs;
    if (s->tree_fd >= 0 && !(needs & ~(unsigned)CB_NEED_TREE))
        ok = true;
    pthread_mutex_unlock(&s->mu);
    return ok;
}

int cb_slots_need(struct cb_slots *t, struct cb_slot *const *v, size_t n, unsigned needs, struct cb_step *step,
                  struct cb_error *err)
{
    struct need_group g = { .left = 0, .needs = needs, .step = step };
    struct need_job *jobs = cb_calloc(n + 1, sizeof *jobs);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (!satisfied(v[i], needs))
            jobs[m++] = (struct need_job){ &g, v[i] };
    if (m == 0) {
        free(jobs);
        return 0;
    }
    pthread_mutex_init(&g.mu, NULL);
    pthread_cond_init(&g.cond, NULL);
    g.left = m;
    for (size_t i = 1; i < m; i++)
        cb_pool_submit(t->fetchers, need_run, &jobs[i]);
    need_run(&jobs[0]); /* the caller's thread does its share: no waiting behind other groups for a single layer */
    pthread_mutex_lock(&g.mu);
    while (g.left)
        pthread_cond_wait(&g.cond, &g.mu);
    pthread_mutex_unlock(&g.mu);
    pthread_cond_destroy(&g.cond);
    pthread_mutex_destroy(&g.mu);
    free(jobs);
    return g.error.code ? cb_error_move(err, &g.error) : 0;
}

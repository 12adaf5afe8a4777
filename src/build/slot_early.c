/* SPDX-License-Identifier: Apache-2.0 */
/* A layer whose tree is used before its digests are known: image.h, "early". The blob's own digest has been checked;
 * diff id and table are computed beside the step that runs on the tree, by threads that give way to it. */
#include "build/slot_private.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "util/alloc.h"
#include "util/quota.h"

#define NICE 5       /* a step gets three times as much of a processor that both want */
/* What is hashed behind its reading should not have to come from the disk again: */
#define UNPACKS_TO 4 /* times the size of the blob, mostly less */
#define OF_MEMORY 4  /* … of which all together take a part, if that much is free */

struct cb_slot_early {
    struct cb_layer_early *work;
    struct cb_layer layer;              /* what is recorded of it in the end */
    struct cb_layer_encoding encoding;  /* … as seen to unpack to that */
    bool started;
    unsigned begun, ended;              /* parts */
    unsigned have;
    bool on_chain;                      /* the tree is one for layers on this: */
    struct cb_digest below;
    struct cb_error error;              /* the first */
};

void cb_slot_early_free(struct cb_slot_early *e)
{
    if (!e)
        return;
    cb_layer_early_free(e->work);
    cb_layer_done(&e->layer);
    cb_layer_encoding_done(&e->encoding);
    cb_error_done(&e->error);
    free(e);
}

/* What a manifest says of its layer is kept only here, where it was seen to be true. */
static int conclude(struct cb_slot *s, struct cb_slot_early *e, struct cb_toc **toc, struct cb_error *err)
{
    char id[32];
    int r = e->error.code ? cb_error_move(err, &e->error) : cb_layer_early_finish(e->work, toc, err);
    if (r == 0)
        r = cb_slot_record_verified(s, &e->layer, &e->encoding, err);
    cb_slot_short_digest(id, &e->encoding.digest);
    if (r < 0)
        cb_error_wrap(err, "layer %s", id);
    return r < 0 ? r : cb_slot_prove(s, err);
}

static void finish(struct cb_slot *s, struct cb_slot_early *e)
{
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    int r = conclude(s, e, &toc, &err);
    pthread_mutex_lock(&s->mu);
    if (r < 0)
        s->failed = cb_error_move(&s->error, &err);
    else if (!s->toc)
        s->toc = CB_TAKE(toc);
    s->have |= cb_slot_check_have(s, CB_NEED_TOC | CB_NEED_TREE);
    struct cb_layer_early *done = CB_TAKE(e->work);
    pthread_mutex_unlock(&s->mu);
    cb_layer_early_free(done); /* before anybody goes on: nothing of it is left in tmp/ then */
    pthread_mutex_lock(&s->mu);
    s->early = NULL;
    s->busy = false;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    cb_slot_early_free(e);
}

static void work(void *arg)
{
    struct cb_slot *s = arg;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    if (getpriority(PRIO_PROCESS, 0) < NICE)
        (void)!setpriority(PRIO_PROCESS, 0, NICE); /* of this thread alone */
    pthread_mutex_lock(&s->mu);
    struct cb_slot_early *e = s->early;
    unsigned part = e->begun++;
    pthread_mutex_unlock(&s->mu);
    int r = cb_layer_early_hash(e->work, part, s->owner->early_cancel, &err);
    pthread_mutex_lock(&s->mu);
    if (r < 0 && !e->error.code)
        cb_error_move(&e->error, &err);
    bool last = ++e->ended == CB_LAYER_EARLY_PARTS;
    pthread_mutex_unlock(&s->mu);
    if (last)
        finish(s, e);
}

void cb_slot_hurry(struct cb_slot *s)
{
    if (!s->early || s->early->started)
        return;
    s->early->started = true;
    for (unsigned i = 0; i < CB_LAYER_EARLY_PARTS; i++)
        cb_pool_submit(s->owner->hashers, work, s);
}

void cb_slot_begin_early(struct cb_slot *s, struct cb_layer_early *early, const struct cb_layer *layer,
                         const struct cb_layer_encoding *encoding, struct cb_toc *sketch)
{
    struct cb_slot_early *e = CB_NEW(struct cb_slot_early);
    e->work = early;
    cb_layer_copy(&e->layer, layer);
    cb_layer_encoding_copy(&e->encoding, encoding);
    const struct cb_digest *below = cb_layer_early_below(early);
    e->on_chain = below != NULL;
    if (below)
        e->below = *below;
    pthread_mutex_lock(&s->mu);
    s->layer.size = layer->size;
    e->have = CB_NEED_SKETCH | CB_NEED_TREE | (cb_slot_check_have(s, 0) & (CB_NEED_BLOB | CB_NEED_DATA));
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_lock(&s->owner->mu);
    pthread_mutex_lock(&s->mu);
    s->sketch = cb_toc_ref(sketch);
    s->early = e;
    if (s->owner->steps_run)
        cb_slot_hurry(s);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&s->owner->mu);
}

static bool serves(const struct cb_slot_early *e, const struct cb_digest *below)
{
    return !e->on_chain || (below && cb_digest_eq(&e->below, below));
}

bool cb_slot_has_early(const struct cb_slot *s, const struct cb_slot_want *w)
{
    struct cb_digest below;
    if (!s->early || (w->needs & ~(s->early->have | s->have)))
        return false;
    if (!(w->needs & CB_NEED_TREE) || !s->early->on_chain)
        return true;
    return cb_slots_chain(w->below, w->n_below, &below) && serves(s->early, &below);
}

bool cb_slot_is_on_chain(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool is = s->early ? s->early->on_chain : !(s->have & CB_NEED_TREE);
    pthread_mutex_unlock(&s->mu);
    return is;
}

/* Or is. */
static bool was_early(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool was = s->sketch != NULL;
    pthread_mutex_unlock(&s->mu);
    return was;
}

int cb_slot_settle(struct cb_slot *s, struct cb_error *err)
{
    pthread_mutex_lock(&s->mu);
    cb_slot_hurry(s);
    while (s->early)
        pthread_cond_wait(&s->cond, &s->mu);
    int r = s->failed ? cb_error_copy(err, &s->error) : 0;
    pthread_mutex_unlock(&s->mu);
    return r;
}

int cb_slot_early_tree(struct cb_slot *s, const struct cb_digest *below, int *fd, struct cb_error *err)
{
    *fd = -1;
    pthread_mutex_lock(&s->mu);
    int r = 1;
    if (s->early && s->early->work && serves(s->early, below)) {
        *fd = fcntl(cb_layer_early_tree(s->early->work), F_DUPFD_CLOEXEC, 3);
        r = *fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor") : 0;
    } else if (s->failed) {
        r = cb_error_copy(err, &s->error);
    }
    pthread_mutex_unlock(&s->mu);
    return r;
}

bool cb_slots_are_settled(struct cb_slot *const *v, size_t n)
{
    bool all = true;
    for (size_t i = 0; all && i < n; i++) {
        pthread_mutex_lock(&v[i]->mu);
        all = !v[i]->early;
        pthread_mutex_unlock(&v[i]->mu);
    }
    return all;
}

void cb_slots_begin_to_settle(struct cb_slots *t)
{
    pthread_mutex_lock(&t->mu);
    bool first = !t->steps_run;
    t->steps_run = true;
    for (size_t i = 0; first && i < t->n; i++) {
        pthread_mutex_lock(&t->all[i]->mu);
        cb_slot_hurry(t->all[i]);
        pthread_mutex_unlock(&t->all[i]->mu);
    }
    pthread_mutex_unlock(&t->mu);
}

/* A niceness counts only among those of one scheduling group. Where a step has its own (autogroups of sessions), it
 * would share each processor evenly with us. */
void cb_slots_step_runs(struct cb_slots *t, bool runs)
{
    unsigned all = cb_pool_threads(t->hashers);
    pthread_mutex_lock(&t->mu);
    t->running = runs ? t->running + 1 : t->running - 1;
    cb_pool_limit(t->hashers, all - CB_MIN(t->running, all));
    pthread_mutex_unlock(&t->mu);
}

void cb_slots_await_settled(struct cb_slot *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&v[i]->mu);
        while (v[i]->early)
            pthread_cond_wait(&v[i]->cond, &v[i]->mu);
        pthread_mutex_unlock(&v[i]->mu);
    }
}

void cb_slots_may_be_early(struct cb_slots *t, uint64_t max, const struct cb_cancel *cancel)
{
    t->early_left = max;
    t->early_cancel = cancel;
}

/* Asked when the first layer comes: most builds have none. Where it is not known nothing is early. */
static uint64_t as_fits(void)
{
    return cb_memory_available() / (UNPACKS_TO * OF_MEMORY);
}

bool cb_slots_let_early(struct cb_slots *t, uint64_t size)
{
    pthread_mutex_lock(&t->mu);
    if (t->early_left == CB_EARLY_AS_FITS)
        t->early_left = as_fits();
    bool fits = size <= t->early_left && t->early_left;
    if (fits)
        t->early_left -= size;
    pthread_mutex_unlock(&t->mu);
    return fits;
}

int cb_slots_settle(struct cb_slot *const *v, size_t n, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; i < n; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (cb_slot_settle(v[i], &e) < 0 && r == 0)
            r = cb_error_move(err, &e);
    }
    return r;
}

/* Those that are early, or were. The caller frees the list. */
static struct cb_slot **list_early(struct cb_slots *t, size_t *n)
{
    pthread_mutex_lock(&t->mu);
    struct cb_slot **v = cb_calloc(t->n + 1, sizeof(struct cb_slot *));
    for (size_t i = 0; i < t->n; i++)
        if (was_early(t->all[i]))
            v[(*n)++] = t->all[i];
    pthread_mutex_unlock(&t->mu);
    return v;
}

int cb_slots_settle_all(struct cb_slots *t, struct cb_error *err)
{
    size_t n = 0;
    cb_autofree struct cb_slot **v = list_early(t, &n);
    return cb_slots_settle(v, n, err);
}

static bool settle_until(struct cb_slot *s, const struct timespec *end)
{
    int e = 0;
    pthread_mutex_lock(&s->mu);
    while (s->early && e == 0)
        e = pthread_cond_timedwait(&s->cond, &s->mu, end);
    bool settled = !s->early;
    pthread_mutex_unlock(&s->mu);
    return settled;
}

bool cb_slots_settle_within(struct cb_slots *t, unsigned ms)
{
    struct timespec end;
    size_t n = 0;
    bool all = true;
    cb_autofree struct cb_slot **v = list_early(t, &n);
    cb_slots_begin_to_settle(t);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    end.tv_sec += ms / 1000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    for (size_t i = 0; all && i < n; i++)
        all = settle_until(v[i], &end);
    return all;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/slot_private.h"
#include "util/alloc.h"

struct group {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    size_t left;
    struct cb_error error;
};

struct job {
    struct cb_slots *table;
    struct group *group;
    struct cb_slot *slot;
    struct cb_slot_want want;
};

static void run(void *arg)
{
    struct job *j = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_slot_bring(j->slot, &j->want, &e);
    if (r > 0) {
        j->want.told_only = false;
        cb_pool_submit(j->table->fetchers, run, j);
        return;
    }
    pthread_mutex_lock(&j->group->mu);
    if (r < 0 && !j->group->error.code)
        cb_error_move(&j->group->error, &e);
    if (--j->group->left == 0)
        pthread_cond_signal(&j->group->cond);
    pthread_mutex_unlock(&j->group->mu);
}

/* *late: it is in the making. */
static bool satisfied(struct cb_slot *s, const struct cb_slot_want *w, bool *late)
{
    const unsigned needs = w->needs;
    pthread_mutex_lock(&s->mu);
    *late = s->pending;
    bool ok = !s->pending && !s->busy && !s->failed && (s->empty || (s->have & needs) == needs);
    ok = (ok && (!s->unproven || !(needs & ~(unsigned)CB_NEED_TOLD))) || cb_slot_has_early(s, w);
    pthread_mutex_unlock(&s->mu);
    return ok || (s->tree_fd >= 0 && needs == CB_NEED_TREE);
}

static bool is_told(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool told = cb_slot_is_told(s);
    pthread_mutex_unlock(&s->mu);
    return told;
}

/* What may be told is asked for first, many at a time. */
static void begin(struct cb_slots *t, struct job *j)
{
    j->want.told_only = !(j->want.needs & ~(unsigned)CB_NEED_TOLD) && is_told(j->slot);
    cb_pool_submit(j->want.told_only ? t->askers : t->fetchers, run, j);
}

/* Slots in the making come last and in the caller's thread: the fetchers must stay free for those who make them. */
static void run_all(struct cb_slots *t, struct group *g, struct job *jobs, size_t n_now, size_t n_late)
{
    g->left = n_now + n_late;
    for (size_t i = 1; i < n_now; i++)
        begin(t, &jobs[i]);
    if (n_now)
        run(&jobs[0]); /* the caller does its share: no waiting behind other groups for a single layer */
    for (size_t i = 0; i < n_late; i++)
        run(&jobs[n_now + i]);
    pthread_mutex_lock(&g->mu);
    while (g->left)
        pthread_cond_wait(&g->cond, &g->mu);
    pthread_mutex_unlock(&g->mu);
}

int cb_slots_need(struct cb_slots *t, struct cb_slot *const *v, size_t n, unsigned needs, struct cb_step *step,
                  struct cb_error *err)
{
    struct group g = { .left = 0 };
    struct job *jobs = cb_calloc(n + 1, sizeof *jobs), *late = cb_calloc(n + 1, sizeof *late);
    size_t n_now = 0, n_late = 0;
    for (size_t i = 0; i < n; i++) {
        struct job j = { t, &g, v[i], { .needs = needs, .step = step, .below = v, .n_below = i } };
        bool is_late;
        if (satisfied(v[i], &j.want, &is_late))
            continue;
        if (is_late)
            late[n_late++] = j;
        else
            jobs[n_now++] = j;
    }
    memcpy(jobs + n_now, late, n_late * sizeof *jobs);
    if (n_now + n_late > 0) {
        pthread_mutex_init(&g.mu, NULL);
        pthread_cond_init(&g.cond, NULL);
        run_all(t, &g, jobs, n_now, n_late);
        pthread_cond_destroy(&g.cond);
        pthread_mutex_destroy(&g.mu);
    }
    free(late);
    free(jobs);
    return g.error.code ? cb_error_move(err, &g.error) : 0;
}

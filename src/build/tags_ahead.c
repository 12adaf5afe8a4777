/* SPDX-License-Identifier: Apache-2.0 */
/* An unchanged build waits for two answers: what the parents are now, and what the tags are that it is pushed to. They
 * are asked for at once. */
#include "build/internal.h"
#include "util/alloc.h"
#include "util/thread.h"
#include "util/timeutil.h"

#define ASKERS 8 /* at a time */
#define FRESH (2 * CB_SECOND)

struct asked {
    const struct cb_build_env *env;
    const struct cb_reference *ref;
    struct cb_tag_state state;
    int64_t at;
    int result;
};

struct cb_tags_ahead {
    struct cb_pool *pool; /* NULL: all have answered */
    struct asked *v;
    size_t n;
};

/* Who does not answer is asked again at the end, and what is wrong is told then. */
static void ask(void *arg)
{
    struct asked *a = arg;
    a->result = cb_registry_target_tag(a->env->registry, a->ref, &a->state, NULL);
    a->at = cb_time_monotonic();
}

struct cb_tags_ahead *cb_tags_ahead_new(const struct cb_build_env *env, const struct cb_reference *tags, size_t n)
{
    struct cb_tags_ahead *t = CB_NEW(struct cb_tags_ahead);
    *t = (struct cb_tags_ahead){ .pool = cb_pool_new("tags", (unsigned)CB_MIN(n, (size_t)ASKERS)),
                                 .v = cb_calloc(n, sizeof *t->v), .n = n };
    for (size_t i = 0; i < n; i++) {
        t->v[i] = (struct asked){ .env = env, .ref = &tags[i] };
        cb_pool_submit(t->pool, ask, &t->v[i]);
    }
    return t;
}

void cb_tags_ahead_free(struct cb_tags_ahead *t)
{
    if (!t)
        return;
    cb_pool_free(t->pool);
    for (size_t i = 0; i < t->n; i++)
        cb_tag_state_done(&t->v[i].state);
    free(t->v);
    free(t);
}

int cb_tags_ahead_are(struct cb_tags_ahead *t, const struct cb_digest *digest)
{
    int64_t now;
    bool all = true;
    cb_pool_free(CB_TAKE(t->pool));
    now = cb_time_monotonic();
    for (size_t i = 0; i < t->n; i++) {
        const struct asked *a = &t->v[i];
        if (a->result < 0 || now - a->at > FRESH)
            return -CB_ENOTFOUND;
        all = all && a->state.there && cb_digest_eq(&a->state.digest, digest);
    }
    return all;
}

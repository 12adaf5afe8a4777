/* SPDX-License-Identifier: Apache-2.0 */
/* An unchanged build waits for two answers: what the parents are now, and what the tags are that it is pushed to. They
 * are asked for at once. */
#include "build/tags_ahead.h"

#include "build/solve.h"

#include "util/alloc.h"
#include "util/thread.h"
#include "util/timeutil.h"

#define ASKERS 8 /* at a time */
#define FRESH (2 * CB_SECOND)

struct asked {
    struct cb_registry *registry;
    const struct cb_cancel *cancel;
    const struct cb_reference *ref;
    struct cb_tag_state state;
    struct cb_error error;
    int64_t at;
    int result;
};

struct cb_tags_ahead {
    struct cb_cancel *cancel;
    struct cb_pool *pool; /* NULL: all have answered */
    struct asked *v;
    size_t n;
};

static void ask(void *arg)
{
    struct asked *a = arg;
    a->result = cb_registry_target_tag(a->registry, a->ref, a->cancel, &a->state, &a->error);
    a->at = cb_time_monotonic();
}

struct cb_tags_ahead *cb_tags_ahead_new(const struct cb_build_env *env, const struct cb_reference *tags, size_t n)
{
    struct cb_tags_ahead *t = CB_NEW(struct cb_tags_ahead);
    *t = (struct cb_tags_ahead){ .cancel = cb_cancel_new((struct cb_cancel *)(uintptr_t)env->cancel),
                                 .pool = cb_pool_new("tags", (unsigned)CB_MIN(n, (size_t)ASKERS)),
                                 .v = cb_calloc(n, sizeof *t->v) };
    for (size_t i = 0; i < n; i++) {
        struct asked *a = &t->v[t->n];
        if (!tags[i].tag)
            continue;
        *a = (struct asked){ .registry = env->registry, .cancel = t->cancel, .ref = &tags[i] };
        t->n++;
        cb_pool_submit(t->pool, ask, a);
    }
    return t;
}

void cb_tags_ahead_free(struct cb_tags_ahead *t)
{
    if (!t)
        return;
    cb_cancel_trigger(t->cancel, 0);
    cb_pool_free(t->pool);
    for (size_t i = 0; i < t->n; i++) {
        cb_tag_state_done(&t->v[i].state);
        cb_error_done(&t->v[i].error);
    }
    cb_cancel_free(t->cancel);
    free(t->v);
    free(t);
}

static void settle(struct cb_tags_ahead *t)
{
    cb_pool_free(CB_TAKE(t->pool));
}

static bool is_young(const struct asked *a)
{
    return cb_time_monotonic() - a->at <= FRESH;
}

/* Who has just not answered, in all the tries there are, is not asked again; other troubles are told by a look that is
 * made for it. */
int cb_tags_ahead_are(struct cb_tags_ahead *t, const struct cb_digest *digest, struct cb_error *err)
{
    bool all = true;
    settle(t);
    for (size_t i = 0; i < t->n; i++) {
        const struct asked *a = &t->v[i];
        if (a->result == -CB_ENET && is_young(a))
            return cb_error_copy(err, &a->error);
        if (a->result < 0 || !is_young(a))
            return -CB_ENOTFOUND;
        all = all && a->state.there && cb_digest_eq(&a->state.digest, digest);
    }
    return all;
}

bool cb_tags_ahead_only(struct cb_tags_ahead *t, struct cb_tag_state *out)
{
    cb_cancel_trigger(t->cancel, 0);
    settle(t);
    if (t->n != 1 || t->v[0].result < 0 || !is_young(t->v))
        return false;
    *out = t->v[0].state;
    out->etag = out->etag ? cb_strdup(out->etag) : NULL;
    return true;
}

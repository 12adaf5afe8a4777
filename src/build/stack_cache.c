/* SPDX-License-Identifier: Apache-2.0 */
#include "build/stack_cache.h"

#include <pthread.h>

#include "util/alloc.h"

#define VIEWS 4

struct view {
    struct cb_stack *stack; /* holds its tables, so that a pointer to one means the same as long as the view is here */
    uint64_t used;
};

struct cb_stack_cache {
    pthread_mutex_t mu;
    struct view v[VIEWS];
    uint64_t clock;
};

struct cb_stack_cache *cb_stack_cache_new(void)
{
    struct cb_stack_cache *c = CB_NEW(struct cb_stack_cache);
    pthread_mutex_init(&c->mu, NULL);
    return c;
}

void cb_stack_cache_free(struct cb_stack_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < VIEWS; i++)
        cb_stack_unref(c->v[i].stack);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

static bool begins(const struct cb_stack *s, struct cb_toc *const *tocs, size_t n)
{
    size_t have = cb_stack_layers(s);
    if (have > n)
        return false;
    for (size_t i = 0; i < have; i++)
        if (cb_stack_toc(s, i) != tocs[i])
            return false;
    return true;
}

static struct cb_stack *longest(struct cb_stack_cache *c, struct cb_toc *const *tocs, size_t n)
{
    struct view *best = NULL;
    pthread_mutex_lock(&c->mu);
    for (size_t i = 0; i < VIEWS; i++) {
        struct view *v = &c->v[i];
        if (v->stack && begins(v->stack, tocs, n) &&
            (!best || cb_stack_layers(v->stack) > cb_stack_layers(best->stack)))
            best = v;
    }
    struct cb_stack *s = best ? cb_stack_ref(best->stack) : NULL;
    if (best)
        best->used = ++c->clock;
    pthread_mutex_unlock(&c->mu);
    return s;
}

static void keep(struct cb_stack_cache *c, struct cb_stack *s)
{
    struct view *oldest = &c->v[0];
    pthread_mutex_lock(&c->mu);
    for (size_t i = 1; i < VIEWS; i++)
        if (c->v[i].used < oldest->used)
            oldest = &c->v[i];
    struct cb_stack *old = oldest->stack;
    *oldest = (struct view){ cb_stack_ref(s), ++c->clock };
    pthread_mutex_unlock(&c->mu);
    cb_stack_unref(old);
}

struct cb_stack *cb_stack_cache_get(struct cb_stack_cache *c, struct cb_toc *const *tocs, size_t n)
{
    struct cb_stack *s = longest(c, tocs, n);
    size_t from = s ? cb_stack_layers(s) : 0;
    if (!s)
        s = cb_stack_new(NULL, 0);
    for (size_t i = from; i < n; i++) {
        struct cb_stack *more = cb_stack_push(s, tocs[i]);
        cb_stack_unref(s);
        s = more;
    }
    if (n > from)
        keep(c, s);
    return s;
}

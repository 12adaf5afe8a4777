/* SPDX-License-Identifier: Apache-2.0 */
#include "util/index.h"

#include <string.h>

#include "util/alloc.h"
#include "util/siphash.h"

struct slot {
    uint32_t place; /* the element's number plus one; 0: free */
    uint32_t hash;
};

struct cb_index {
    cb_index_name *name;
    const void *arg;
    struct slot *slots;
    size_t mask; /* number of slots - 1; slots is NULL while it is 0 */
    size_t n;
    struct cb_hash_seed seed;
};

struct cb_index *cb_index_new(cb_index_name *name, const void *arg)
{
    struct cb_index *x = CB_NEW(struct cb_index);
    x->name = name;
    x->arg = arg;
    cb_hash_seed_new(&x->seed);
    return x;
}

void cb_index_free(struct cb_index *x)
{
    if (!x)
        return;
    free(x->slots);
    free(x);
}

static size_t first_free(const struct cb_index *x, uint32_t hash)
{
    size_t at = hash & x->mask;
    while (x->slots[at].place)
        at = (at + 1) & x->mask;
    return at;
}

static void grow(struct cb_index *x)
{
    size_t n_old = x->slots ? x->mask + 1 : 0;
    struct slot *old = x->slots;
    x->mask = n_old ? n_old * 2 - 1 : 15;
    x->slots = cb_calloc(x->mask + 1, sizeof *x->slots);
    for (size_t i = 0; i < n_old; i++)
        if (old[i].place)
            x->slots[first_free(x, old[i].hash)] = old[i];
    free(old);
}

static uint32_t hash_of(const struct cb_index *x, const char *name, size_t len)
{
    return (uint32_t)cb_hash_bytes(&x->seed, name, len);
}

uint32_t cb_index_find(const struct cb_index *x, const char *name, size_t len)
{
    uint32_t hash = hash_of(x, name, len);
    if (!x->slots)
        return CB_INDEX_NONE;
    for (size_t at = hash & x->mask; x->slots[at].place; at = (at + 1) & x->mask) {
        const struct slot *s = &x->slots[at];
        const char *own = s->hash == hash ? x->name(x->arg, s->place - 1) : NULL;
        if (own && strncmp(own, name, len) == 0 && !own[len])
            return s->place - 1;
    }
    return CB_INDEX_NONE;
}

void cb_index_add(struct cb_index *x, uint32_t i)
{
    const char *name = x->name(x->arg, i);
    uint32_t hash = hash_of(x, name, strlen(name));
    /* At most three quarters full. */
    if (!x->slots || (x->n + 1) * 4 > (x->mask + 1) * 3)
        grow(x);
    x->slots[first_free(x, hash)] = (struct slot){ i + 1, hash };
    x->n++;
}

/* Moves back what a probe could no longer reach across the gap: no tombstones. */
static void close_gap(struct cb_index *x, size_t gap)
{
    for (size_t at = (gap + 1) & x->mask; x->slots[at].place; at = (at + 1) & x->mask) {
        size_t home = x->slots[at].hash & x->mask;
        if (((at - home) & x->mask) >= ((at - gap) & x->mask)) {
            x->slots[gap] = x->slots[at];
            gap = at;
        }
    }
    x->slots[gap] = (struct slot){ 0 };
}

void cb_index_remove(struct cb_index *x, uint32_t i)
{
    const char *name = x->name(x->arg, i);
    size_t at = hash_of(x, name, strlen(name)) & x->mask;
    while (x->slots[at].place != i + 1)
        at = (at + 1) & x->mask;
    x->n--;
    close_gap(x, at);
}

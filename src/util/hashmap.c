/* SPDX-License-Identifier: Apache-2.0 */
#include "util/hashmap.h"

#include <stdint.h>

#include "util/alloc.h"
#include "util/siphash.h"

struct slot {
    char *key; /* NULL: free */
    size_t len;
    uint64_t hash;
    void *value;
};

struct cb_hashmap {
    struct slot *slots;
    size_t mask; /* number of slots - 1; slots is NULL while it is 0 */
    size_t n;
    struct cb_hash_seed seed; /* keys are names out of foreign images: collisions must not be predictable */
};

struct cb_hashmap *cb_hashmap_new(void)
{
    struct cb_hashmap *m = CB_NEW(struct cb_hashmap);
    cb_hash_seed_new(&m->seed);
    return m;
}

void cb_hashmap_free(struct cb_hashmap *m)
{
    if (!m)
        return;
    for (size_t i = 0; m->slots && i <= m->mask; i++)
        free(m->slots[i].key);
    free(m->slots);
    free(m);
}

/* The slot that holds the key, or the free one where it would go. There is always a free one. */
static struct slot *find_slot(const struct cb_hashmap *m, const char *key, size_t len, uint64_t hash)
{
    size_t i = (size_t)hash & m->mask;
    for (;; i = (i + 1) & m->mask) {
        struct slot *s = &m->slots[i];
        if (!s->key || (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0))
            return s;
    }
}

static void grow(struct cb_hashmap *m)
{
    size_t old_count = m->slots ? m->mask + 1 : 0;
    struct slot *old = m->slots;
    size_t count = old_count ? old_count * 2 : 16;
    m->slots = cb_calloc(count, sizeof *m->slots);
    m->mask = count - 1;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].key)
            *find_slot(m, old[i].key, old[i].len, old[i].hash) = old[i];
    }
    free(old);
}

void *cb_hashmap_getn(const struct cb_hashmap *m, const char *key, size_t len)
{
    if (!m->slots)
        return NULL;
    const struct slot *s = find_slot(m, key, len, cb_hash_bytes(&m->seed, key, len));
    return s->key ? s->value : NULL;
}

void *cb_hashmap_get(const struct cb_hashmap *m, const char *key)
{
    return cb_hashmap_getn(m, key, strlen(key));
}

void *cb_hashmap_put(struct cb_hashmap *m, const char *key, void *value)
{
    /* At most three quarters full. */
    if (!m->slots || (m->n + 1) * 4 > (m->mask + 1) * 3)
        grow(m);
    size_t len = strlen(key);
    uint64_t hash = cb_hash_bytes(&m->seed, key, len);
    struct slot *s = find_slot(m, key, len, hash);
    if (s->key) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    *s = (struct slot){ .key = cb_strndup(key, len), .len = len, .hash = hash, .value = value };
    m->n++;
    return NULL;
}

/* Closes the gap at i by moving back what a probe could no longer reach: no tombstones. */
static void close_gap(struct cb_hashmap *m, size_t gap)
{
    for (size_t i = (gap + 1) & m->mask; m->slots[i].key; i = (i + 1) & m->mask) {
        size_t home = (size_t)m->slots[i].hash & m->mask;
        if (((i - home) & m->mask) >= ((i - gap) & m->mask)) {
            m->slots[gap] = m->slots[i];
            gap = i;
        }
    }
    m->slots[gap] = (struct slot){ 0 };
}

void *cb_hashmap_remove(struct cb_hashmap *m, const char *key)
{
    if (!m->slots)
        return NULL;
    size_t len = strlen(key);
    struct slot *s = find_slot(m, key, len, cb_hash_bytes(&m->seed, key, len));
    if (!s->key)
        return NULL;
    void *value = s->value;
    free(s->key);
    m->n--;
    close_gap(m, (size_t)(s - m->slots));
    return value;
}

size_t cb_hashmap_size(const struct cb_hashmap *m)
{
    return m->n;
}

bool cb_hashmap_next(const struct cb_hashmap *m, size_t *it, const char **key, void **value)
{
    while (m->slots && *it <= m->mask) {
        const struct slot *s = &m->slots[(*it)++];
        if (!s->key)
            continue;
        if (key)
            *key = s->key;
        if (value)
            *value = s->value;
        return true;
    }
    return false;
}

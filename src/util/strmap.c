/* SPDX-License-Identifier: Apache-2.0 */
/* The sorted map of strvec.h. */
#include "util/alloc.h"
#include "util/strvec.h"

void cb_strmap_done(struct cb_strmap *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].key);
        free(m->v[i].value);
    }
    free(m->v);
    *m = (struct cb_strmap){ 0 };
}

/* The first place whose key is not below `key`; *found where it is equal. */
static size_t strmap_search(const struct cb_strmap *m, const char *key, bool *found)
{
    size_t low = 0, high = m->n;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(m->v[mid].key, key);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void cb_strmap_set(struct cb_strmap *m, const char *key, const char *value)
{
    bool found;
    size_t at = strmap_search(m, key, &found);
    char *copy = cb_strdup(value);
    if (found) {
        free(m->v[at].value);
        m->v[at].value = copy;
        return;
    }
    CB_GROW(m->v, m->n, m->cap);
    memmove(m->v + at + 1, m->v + at, (m->n - at) * sizeof *m->v);
    m->v[at] = (struct cb_strmap_entry){ .key = cb_strdup(key), .value = copy };
    m->n++;
}

const char *cb_strmap_get(const struct cb_strmap *m, const char *key)
{
    bool found;
    size_t at = strmap_search(m, key, &found);
    return found ? m->v[at].value : NULL;
}

bool cb_strmap_remove(struct cb_strmap *m, const char *key)
{
    bool found;
    size_t at = strmap_search(m, key, &found);
    if (!found)
        return false;
    free(m->v[at].key);
    free(m->v[at].value);
    m->n--;
    memmove(m->v + at, m->v + at + 1, (m->n - at) * sizeof *m->v);
    return true;
}

void cb_strmap_copy(struct cb_strmap *dst, const struct cb_strmap *src)
{
    if (dst == src)
        return;
    cb_strmap_done(dst);
    for (size_t i = 0; i < src->n; i++)
        cb_strmap_set(dst, src->v[i].key, src->v[i].value);
}

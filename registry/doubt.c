/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

static char *key_of(const struct reg_endpoint *e, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/%s %s", e->host, e->repo, cb_digest_text(d, text));
}

void reg_doubt(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *d)
{
    cb_autofree char *key = key_of(e, d);
    pthread_mutex_lock(&r->mu);
    cb_hashmap_put(r->doubted, key, r);
    pthread_mutex_unlock(&r->mu);
}

static bool is_doubted(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *d)
{
    cb_autofree char *key = key_of(e, d);
    pthread_mutex_lock(&r->mu);
    bool doubted = cb_hashmap_get(r->doubted, key) != NULL;
    pthread_mutex_unlock(&r->mu);
    return doubted;
}

void reg_doubt_order(struct cb_registry *r, struct reg_endpoints *all, const struct cb_digest *d)
{
    cb_autofree struct reg_endpoint *v = cb_calloc(all->n + 1, sizeof *v);
    size_t n = 0;
    for (int doubted = 0; doubted < 2; doubted++)
        for (size_t i = 0; i < all->n; i++)
            if (is_doubted(r, &all->v[i], d) == (doubted == 1))
                v[n++] = all->v[i];
    memcpy(all->v, v, n * sizeof *v);
}

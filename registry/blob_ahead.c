/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs that are asked for before somebody reads them: what is between (redirects, a token, the registry's own time)
 * goes by while something else is asked. Their first bytes wait in the connection. */
#include "registry/private.h"
#include "util/alloc.h"

struct ahead {
    struct ahead *next;
    struct reg_ahead *all;
    char *host, *repo;
    struct cb_descriptor desc;
    pthread_t thread;
    struct cb_blob_source *source; /* what came of it, once the thread has ended: this, or */
    struct cb_error error;
};

/* Of one client or view. */
struct reg_ahead {
    struct cb_registry *r;
    struct cb_cancel *cancel; /* ends what nobody took */
    struct ahead *first;      /* under the mu of what all views know */
};

static void *ask(void *arg)
{
    struct ahead *a = arg;
    struct reg_blob_place at = { .host = a->host, .repo = a->repo, .cancel = a->all->cancel, .once = true };
    if (reg_blob_any(a->all->r, &at, &a->desc, &a->source, &a->error) < 0)
        a->source = NULL;
    return NULL;
}

static void ahead_free(struct ahead *a)
{
    if (a->source)
        a->source->ops->close(a->source);
    cb_error_done(&a->error);
    cb_descriptor_done(&a->desc);
    free(a->host);
    free(a->repo);
    free(a);
}

static struct reg_ahead *all_of(struct cb_registry *r)
{
    if (!r->ahead) {
        r->ahead = CB_NEW(struct reg_ahead);
        r->ahead->r = r;
        r->ahead->cancel = cb_cancel_new((struct cb_cancel *)(uintptr_t)r->o.cancel);
    }
    return r->ahead;
}

static bool is_it(const struct ahead *a, const struct reg_blob_place *at, const struct cb_descriptor *desc)
{
    return cb_digest_eq(&a->desc.digest, &desc->digest) && a->desc.size == desc->size && cb_streq(a->host, at->host) &&
           cb_streq(a->repo, at->repo);
}

/* Under the mu. Where it is linked to; NULL: nowhere. */
static struct ahead **find(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc)
{
    struct ahead **p = r->ahead ? &r->ahead->first : NULL;
    while (p && *p && !is_it(*p, at, desc))
        p = &(*p)->next;
    return p && *p ? p : NULL;
}

/* An image may have a layer twice, which is read once. */
void reg_ahead_begin(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc)
{
    struct ahead *a = CB_NEW(struct ahead);
    a->host = cb_strdup(at->host);
    a->repo = cb_strdup(at->repo);
    cb_descriptor_copy(&a->desc, desc);
    pthread_mutex_lock(&r->known->mu);
    a->all = all_of(r);
    bool begun = !find(r, at, desc) && cb_thread_start(&a->thread, "ahead", ask, a, NULL) == 0;
    if (begun) {
        a->next = a->all->first;
        a->all->first = a;
    }
    pthread_mutex_unlock(&r->known->mu);
    if (!begun) /* by us: it will be asked for when it is read */
        ahead_free(a);
}

static struct ahead *unlink_one(struct cb_registry *r, const struct reg_blob_place *at,
                                const struct cb_descriptor *desc)
{
    struct ahead *found = NULL;
    pthread_mutex_lock(&r->known->mu);
    struct ahead **p = find(r, at, desc);
    if (p) {
        found = *p;
        *p = found->next;
    }
    pthread_mutex_unlock(&r->known->mu);
    return found;
}

int reg_ahead_take(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                   struct cb_blob_source **out, struct cb_error *err)
{
    struct ahead *a = unlink_one(r, at, desc);
    if (!a)
        return 1;
    pthread_join(a->thread, NULL);
    *out = CB_TAKE(a->source);
    int s = *out ? 0 : a->error.code == CB_ENET ? 1 : cb_error_move(err, &a->error);
    ahead_free(a);
    return s;
}

void reg_ahead_done(struct cb_registry *r)
{
    struct reg_ahead *all = CB_TAKE(r->ahead);
    if (!all)
        return;
    cb_cancel_trigger(all->cancel, 0);
    while (all->first) {
        struct ahead *a = all->first;
        all->first = a->next;
        pthread_join(a->thread, NULL);
        ahead_free(a);
    }
    cb_cancel_free(all->cancel);
    free(all);
}

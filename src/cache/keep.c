/* SPDX-License-Identifier: Apache-2.0 */
/* What a place has, and what of it can go. Steps are never written again, so their age says nothing of their use: a run
 * index that is used is, and names its steps. */
#include "cache/mount_parts.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/hashmap.h"
#include "util/thread.h"
#include "util/timeutil.h"

#define WIDTH 16

static void item_done(struct cb_cache_item *i)
{
    free(i->name);
    free(i->note);
    cb_strvec_done(&i->keys);
}

void cb_cache_items_done(struct cb_cache_items *l)
{
    for (size_t i = 0; i < l->n; i++)
        item_done(&l->v[i]);
    free(l->v);
    *l = (struct cb_cache_items){ 0 };
}

/* ---- listing ---- */

struct look {
    struct cb_cache_place *place;
    const char *name;
    struct cb_cache_item item; /* name NULL: nothing of ours */
    struct cb_error error;
};

static bool is_key(const char *name)
{
    cb_autofree char *text = cb_asprintf("sha256:%s", name);
    struct cb_digest d;
    return cb_digest_parse(&d, text, NULL) == 0;
}

static void describe(struct cb_cache_item *item, const struct cb_cache_artifact *a, const struct cb_cache_set *set)
{
    const char *created = cb_strmap_get(&a->manifest.annotations, "org.opencontainers.image.created");
    char hex[CB_DIGEST_TEXT_MAX];
    if (!created || !cb_time_parse(created, &item->created))
        item->created = 0;
    for (size_t i = 0; i < a->manifest.n_layers; i++)
        if (cb_add_overflow(item->size, a->manifest.layers[i].size, &item->size))
            item->size = UINT64_MAX;
    item->run = !strcmp(a->manifest.artifact_type, CB_MT_CACHE_RUN);
    if (!item->run && set->n_steps)
        item->note = cb_strdup_or_null(set->steps[0].note);
    for (size_t i = 0; item->run && i < set->n_steps; i++)
        cb_strvec_push(&item->keys, cb_digest_hex(&set->steps[i].key, hex));
}

static int describe_mount(struct cb_cache_item *item, const struct cb_cache_artifact *a, struct cb_error *err)
{
    struct cache_mount_head h cb_cleanup_mount_head = { 0 };
    struct cb_cache_set none = { 0 };
    int r = cache_mount_head_parse(&h, a->config.buf, a->config.len, err);
    describe(item, a, &none);
    item->mount = true;
    item->note = r == 0 ? cb_asprintf("cache mount %s", h.id) : NULL;
    return r;
}

static int describe_any(struct cb_cache_item *item, const struct cb_cache_artifact *a, struct cb_error *err)
{
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    if (cb_streq(a->manifest.artifact_type, CB_MT_CACHE_MOUNT))
        return describe_mount(item, a, err);
    int r = cb_cache_set_parse(&set, a->config.buf, a->config.len, err);
    if (r == 0)
        describe(item, a, &set);
    return r;
}

/* Old ones are of builds that were killed, or of a registry that does not delete for builds. */
static void look_at_claim(struct look *l)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool live = false;
    int r = l->place->ops->get(l->place, l->name, &body, &l->error);
    if (r == -CB_ENOTFOUND)
        cb_error_done(&l->error);
    if (r < 0 || !cb_cache_claim_read(body.buf, body.len, &l->item.created, &live))
        return;
    l->item.name = cb_strdup(l->name);
    l->item.claim = true;
    l->item.ended = !live;
}

static void look(void *arg)
{
    struct look *l = arg;
    if (cb_cache_claim_is_name(l->name)) {
        look_at_claim(l);
        return;
    }
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool key = is_key(l->name);
    int r = cache_get(l->place, l->name, &a, &body, &l->error);
    if (r == 0)
        r = describe_any(&l->item, &a, &l->error);
    bool broken = r == -CB_EVERIFY && (key || cb_streq(a.manifest.artifact_type, CB_MT_CACHE_RUN) ||
                                       cb_streq(a.manifest.artifact_type, CB_MT_CACHE_MOUNT));
    /* Somebody may have removed it meanwhile; another thing is not for us to judge. */
    if (r == -CB_ENOTFOUND || r == -CB_EVERIFY)
        cb_error_done(&l->error);
    if (r == 0 || broken) {
        l->item.name = cb_strdup(l->name);
        l->item.broken = broken;
    }
}

static int newer(const void *a, const void *b)
{
    const struct cb_cache_item *x = a, *y = b;
    if (x->created != y->created)
        return x->created > y->created ? -1 : 1;
    return strcmp(x->name, y->name);
}

int cb_cache_list(struct cb_cache_place *p, struct cb_cache_items *out, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = p->ops->list(p, &names, err);
    if (r < 0)
        return r;
    struct look *v = cb_calloc(names.n + 1, sizeof *v);
    struct cb_pool *pool = cb_pool_new("cache", WIDTH);
    for (size_t i = 0; i < names.n; i++) {
        v[i] = (struct look){ .place = p, .name = names.v[i] };
        cb_pool_submit(pool, look, &v[i]);
    }
    cb_pool_free(pool);
    for (size_t i = 0; i < names.n; i++) {
        if (r == 0 && v[i].error.code)
            r = cb_error_move(err, &v[i].error);
        cb_error_done(&v[i].error);
        if (!v[i].item.name) {
            item_done(&v[i].item);
            continue;
        }
        CB_GROW(out->v, out->n, out->cap);
        out->v[out->n++] = v[i].item;
    }
    free(v);
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, newer);
    return r;
}

/* ---- pruning ---- */

static void keep_used(const struct cb_cache_items *items, int64_t older_than, struct cb_hashmap *kept)
{
    for (size_t i = 0; i < items->n; i++) {
        const struct cb_cache_item *item = &items->v[i];
        for (size_t k = 0; item->created >= older_than && k < item->keys.n; k++)
            cb_hashmap_put(kept, item->keys.v[k], kept);
    }
}

int cb_cache_prune(struct cb_cache_place *p, const struct cb_cache_prune_options *o, struct cb_error *err)
{
    CB_CLEANUP(cb_cache_items_done) struct cb_cache_items items = { 0 };
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *kept = cb_hashmap_new();
    size_t steps = 0;
    int r = cb_cache_list(p, &items, err);
    keep_used(&items, o->older_than, kept);
    for (size_t i = 0; r == 0 && i < items.n; i++) {
        const struct cb_cache_item *item = &items.v[i];
        bool newest = !item->run && !item->mount && !item->claim && !item->broken && steps++ < o->keep;
        if (!item->broken && !item->ended &&
            (newest || item->created >= o->older_than || cb_hashmap_get(kept, item->name)))
            continue;
        if (o->each)
            o->each(o->arg, item);
        r = o->dry_run ? 0 : p->ops->remove(p, item->name, !item->broken, err);
        if (r == -CB_ENOTFOUND) /* somebody else was faster */
            r = 0;
    }
    return r < 0 || o->dry_run || !p->ops->sweep ? r : p->ops->sweep(p, err);
}

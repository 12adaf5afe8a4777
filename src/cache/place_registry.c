/* SPDX-License-Identifier: Apache-2.0 */
/* A repository: artifacts are manifests under tags. */
#include "cache/private.h"
#include "util/alloc.h"

/* Bytes that an upload may ask for again, as long as the push lives. */
struct kept {
    struct kept *next;
    struct cb_strbuf bytes;
};

struct remote {
    struct cb_cache_place base;
    struct cb_registry *r;
    struct cb_reference ref; /* host and repository */
    struct cb_push *push;    /* where it is written */
    pthread_mutex_t mu;
    struct kept *kept;
};

static struct cb_reference name_ref(const struct remote *x, const char *name)
{
    struct cb_reference ref = { .host = x->ref.host, .repo = x->ref.repo };
    if (!strchr(name, ':') || cb_digest_parse(&ref.digest, name, NULL) < 0)
        ref.tag = (char *)(uintptr_t)name;
    return ref;
}

/* ---- reading ---- */

static int get(struct cb_cache_place *p, const char *name, struct cb_strbuf *out, struct cb_error *err)
{
    const struct remote *x = (const struct remote *)p;
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_reference ref = name_ref(x, name);
    int r = cb_registry_manifest(x->r, &ref, &f, err);
    if (r == 0)
        cb_strbuf_add(out, f.body.buf, f.body.len);
    return r;
}

static int blob(struct cb_cache_place *p, const struct cb_descriptor *d, struct cb_blob_source **out,
                struct cb_error *err)
{
    const struct remote *x = (const struct remote *)p;
    return cb_registry_blob(x->r, x->ref.host, x->ref.repo, d, out, err);
}

static int has(struct cb_cache_place *p, const struct cb_descriptor *d, struct cb_error *err)
{
    const struct remote *x = (const struct remote *)p;
    struct cb_reference ref = { .host = x->ref.host, .repo = x->ref.repo, .digest = d->digest };
    uint64_t size = UINT64_MAX;
    int r = cb_registry_blob_head(x->r, &ref, &size, err);
    if (r < 0)
        return r == -CB_ENOTFOUND ? 0 : r;
    return size == d->size || size == UINT64_MAX;
}

static int list(struct cb_cache_place *p, struct cb_strvec *out, struct cb_error *err)
{
    const struct remote *x = (const struct remote *)p;
    return cb_registry_tags(x->r, x->ref.host, x->ref.repo, &(struct cb_list_options){ 0 }, out, err);
}

/* A manifest of ours has one tag: its key stands in it. To delete that is something that every registry can do. */
static int remove_name(struct cb_cache_place *p, const char *name, bool ours, struct cb_error *err)
{
    const struct remote *x = (const struct remote *)p;
    struct cb_reference ref = name_ref(x, name);
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    if (!ours)
        return cb_registry_tag_delete(x->r, &ref, err);
    int r = cb_registry_head(x->r, &ref, &d, err);
    ref.digest = d.digest;
    ref.tag = NULL;
    return r < 0 ? r : cb_registry_manifest_delete(x->r, &ref, err);
}

/* ---- writing ---- */

static int exists(struct cb_cache_place *p, const char *name, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = cb_push_tag_head(((struct remote *)p)->push, name, &d, err);
    return r == -CB_ENOTFOUND ? 0 : r < 0 ? r : 1;
}

static int add(struct cb_cache_place *p, const struct cb_push_blob *b, struct cb_error *err)
{
    return cb_push_add(((struct remote *)p)->push, b, err);
}

static int open_kept(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out,
                     struct cb_error *err CB_UNUSED)
{
    const struct kept *k = arg;
    *out = cb_blob_source_from_mem(k->bytes.buf, k->bytes.len);
    return 0;
}

static int add_bytes(struct remote *x, const struct cb_descriptor *d, const char *buf, size_t n, struct cb_error *err)
{
    struct kept *k = CB_NEW(struct kept);
    k->bytes = (struct cb_strbuf)CB_STRBUF_INIT;
    cb_strbuf_add(&k->bytes, buf, n);
    pthread_mutex_lock(&x->mu);
    k->next = x->kept;
    x->kept = k;
    pthread_mutex_unlock(&x->mu);
    return cb_push_add(x->push, &(struct cb_push_blob){ .desc = *d, .open = open_kept, .arg = k }, err);
}

static int put(struct cb_cache_place *p, const char *name, const struct cb_cache_artifact *a, bool replace,
               struct cb_error *err)
{
    struct remote *x = (struct remote *)p;
    const struct cb_manifest *m = &a->manifest;
    int r = add_bytes(x, &m->config, a->config.buf, a->config.len, err);
    if (r == 0 && !strcmp(m->layers[0].media_type, CB_MT_OCI_EMPTY))
        r = add_bytes(x, &m->layers[0], "{}", 2, err);
    for (size_t i = 0; r == 0 && i < m->n_layers; i++)
        r = cb_push_wait_blob(x->push, &m->layers[i].digest, err);
    if (r == 0)
        r = cb_push_wait_blob(x->push, &m->config.digest, err);
    int there = r == 0 && !replace ? exists(p, name, err) : 0;
    if (r < 0 || there != 0)
        return r < 0 ? r : CB_MIN(there, 0);
    return cb_push_manifest_blind(x->push, &a->desc, (struct cb_slice){ a->body.buf, a->body.len }, name, err);
}

/* ---- claims ---- */

static int peek(struct cb_cache_place *p, const char *name, struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = cb_push_tag_get(((struct remote *)p)->push, name, &f, err);
    if (r == 0)
        cb_strbuf_add(out, f.body.buf, f.body.len);
    return r;
}

static int mark(struct cb_cache_place *p, const char *name, const struct cb_descriptor *d, struct cb_slice body,
                struct cb_error *err)
{
    return cb_push_manifest_blind(((struct remote *)p)->push, d, body, name, err);
}

static int unmark(struct cb_cache_place *p, const struct cb_digest *d, struct cb_error *err)
{
    return cb_push_manifest_remove(((struct remote *)p)->push, d, err);
}

static int64_t heard(const struct cb_cache_place *p)
{
    return cb_push_heard(((const struct remote *)p)->push);
}

static void stop(struct cb_cache_place *p)
{
    cb_push_stop(((struct remote *)p)->push);
}

/* ---- opening ---- */

static void close_it(struct cb_cache_place *p)
{
    struct remote *x = (struct remote *)p;
    cb_push_free(x->push);
    while (x->kept) {
        struct kept *k = x->kept;
        x->kept = k->next;
        cb_strbuf_done(&k->bytes);
        free(k);
    }
    cb_reference_done(&x->ref);
    pthread_mutex_destroy(&x->mu);
    free(x);
}

static const struct cb_cache_place_ops ops = {
    .get = get, .blob = blob, .has = has, .list = list, .remove = remove_name, .exists = exists, .add = add,
    .put = put, .peek = peek, .mark = mark, .unmark = unmark, .heard = heard, .stop = stop, .close = close_it,
};

int cache_registry_open(const struct cb_cache_place_options *o, struct cb_cache_place **out, struct cb_error *err)
{
    struct remote *x = CB_NEW(struct remote);
    x->base.ops = &ops;
    x->base.text = cb_asprintf("registry %s/%s", o->spec->ref.host, o->spec->ref.repo);
    x->r = o->registry;
    pthread_mutex_init(&x->mu, NULL);
    cb_reference_copy(&x->ref, &o->spec->ref);
    x->base.host = x->ref.host;
    x->base.repo = x->ref.repo;
    struct cb_push_options po = { .target = &x->ref, .keep_going = true, .mount_first = true };
    int r = o->write ? cb_push_begin(o->registry, &po, &x->push, err) : 0;
    if (r < 0) {
        cb_cache_place_close(&x->base);
        return r;
    }
    *out = &x->base;
    return 0;
}

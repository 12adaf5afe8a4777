/* SPDX-License-Identifier: Apache-2.0 */
/* Images of the local store. A layer that was never brought here is had from where it was seen. */
#include "copy/private.h"
#include "util/alloc.h"

struct stored {
    struct cb_copy_source base;
    pthread_mutex_t mu;
    struct cb_hashmap *layers; /* digest of a blob → struct cb_layer */
};

static int get_stored(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_descriptor *desc,
                      struct cb_strbuf *body, struct cb_error *err)
{
    int r = cb_store_blob_get(s->env->store, &d->digest, CB_MAX_MANIFEST, body, err);
    return r < 0 ? r : copy_describe(d, body, desc, err);
}

static void remember(struct stored *x, const struct cb_digest *blob, const struct cb_digest *diff_id)
{
    char text[CB_DIGEST_TEXT_MAX];
    struct cb_layer *l = CB_NEW(struct cb_layer);
    cb_digest_text(blob, text);
    if (cb_store_layer_get(x->base.env->store, diff_id, l, NULL) < 0 || cb_hashmap_get(x->layers, text)) {
        cb_layer_done(l);
        free(l);
        return;
    }
    cb_hashmap_put(x->layers, text, l);
}

/* Origins are recorded by diff id. */
static void learn_layers(struct stored *x, const struct cb_descriptor *desc)
{
    struct cb_image image cb_cleanup_image = { 0 };
    if (!cb_mt_is_manifest(desc->media_type) || cb_image_load(x->base.env->store, desc, NULL, &image, NULL) < 0)
        return;
    pthread_mutex_lock(&x->mu);
    for (size_t i = 0; i < image.manifest.n_layers && i < image.config.n_diff_ids; i++)
        remember(x, &image.manifest.layers[i].digest, &image.config.diff_ids[i]);
    pthread_mutex_unlock(&x->mu);
}

static int get_manifest(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                        struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autofree char *name = cb_asprintf("%s%s%s", s->place->path, tag ? ":" : "", tag ? tag : "");
    if (cb_digest_is_set(digest))
        d.digest = *digest;
    int r = cb_digest_is_set(digest) ? 0 : cb_store_find(s->env->store, name, &d, NULL, err);
    if (r == 0)
        r = get_stored(s, &d, desc, body, err);
    if (r == 0)
        learn_layers((struct stored *)s, desc);
    return r;
}

static void get_origins(struct cb_copy_source *s, const struct cb_digest *d, struct cb_strvec *hosts,
                        struct cb_strvec *repos)
{
    struct stored *x = (struct stored *)s;
    char text[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&x->mu);
    const struct cb_layer *l = cb_hashmap_get(x->layers, cb_digest_text(d, text));
    for (size_t i = 0; l && i < l->n_origins; i++)
        if (cb_digest_eq(&l->origins[i].digest, d)) {
            cb_strvec_push(hosts, l->origins[i].host);
            cb_strvec_push(repos, l->origins[i].repo);
        }
    pthread_mutex_unlock(&x->mu);
}

static int get_blob(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                    struct cb_error *err)
{
    struct cb_strvec hosts cb_cleanup_strvec = CB_STRVEC_INIT, repos cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_blob_source *src = NULL;
    int r = cb_store_blob_source(s->env->store, &d->digest, &src, err);
    if (r == 0) {
        *out = cb_blob_source_verify(src, &d->digest, d->size);
        return 0;
    }
    get_origins(s, &d->digest, &hosts, &repos);
    for (size_t i = 0; r == -CB_ENOTFOUND && i < hosts.n; i++)
        r = cb_registry_blob(s->env->registry, hosts.v[i], repos.v[i], d, out, err);
    if (r < 0)
        cb_image_advise_lost(err);
    return r;
}

static void close_it(struct cb_copy_source *s)
{
    struct stored *x = (struct stored *)s;
    size_t it = 0;
    const char *key;
    void *value;
    while (cb_hashmap_next(x->layers, &it, &key, &value)) {
        cb_layer_done(value);
        free(value);
    }
    cb_hashmap_free(x->layers);
    pthread_mutex_destroy(&x->mu);
    free(x);
}

static const struct cb_copy_source_ops ops = { get_manifest, get_blob, NULL, NULL, get_origins, false, close_it };

int copy_source_store(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                      struct cb_error *err CB_UNUSED)
{
    struct stored *x = CB_NEW(struct stored);
    x->base = (struct cb_copy_source){ &ops, env, p, false };
    x->layers = cb_hashmap_new();
    pthread_mutex_init(&x->mu, NULL);
    *out = &x->base;
    return 0;
}

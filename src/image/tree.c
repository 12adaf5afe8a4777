/* SPDX-License-Identifier: Apache-2.0 */
/* An index and everything below it. */
#include "image/private.h"
#include "util/alloc.h"

void cb_image_tree_done(struct cb_image_tree *t)
{
    for (size_t i = 0; i < t->n; i++)
        cb_image_done(&t->v[i].image);
    free(t->v);
    *t = (struct cb_image_tree){ 0 };
}

struct loader {
    struct cb_store *s;
    struct cb_image_tree *out;
    unsigned depth;
};

static bool has(const struct cb_image_tree *t, const struct cb_digest *d)
{
    for (size_t i = 0; i < t->n; i++)
        if (cb_digest_eq(&t->v[i].image.desc.digest, d))
            return true;
    return false;
}

static int load_manifest(struct loader *l, struct cb_image_part *p, const struct cb_strbuf *body, struct cb_error *err)
{
    struct cb_manifest *m = &p->image.manifest;
    struct cb_strbuf config cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_manifest_parse(m, body->buf, body->len, p->image.desc.media_type, err);
    if (r < 0 || !cb_manifest_is_image(m))
        return r;
    p->is_image = true;
    r = cb_store_blob_get(l->s, &m->config.digest, CB_MAX_MANIFEST, &config, err);
    if (r == 0)
        r = cb_image_config_parse(&p->image.config, config.buf, config.len, err);
    return r < 0 ? r : cb_image_config_check(&p->image.config, m->n_layers, err);
}

static int load(struct loader *l, const struct cb_descriptor *d, struct cb_error *err);

static int load_index(struct loader *l, const struct cb_descriptor *d, const struct cb_strbuf *body,
                      struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_index_parse(&idx, body->buf, body->len, d->media_type, err);
    if (r == 0 && l->depth >= CB_MAX_INDEX_DEPTH)
        r = cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    l->depth++;
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        r = load(l, &idx.manifests[i], err);
    l->depth--;
    return r;
}

static int load(struct loader *l, const struct cb_descriptor *d, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_image_part p = { .is_index = cb_mt_is_index(d->media_type) };
    char text[CB_DIGEST_TEXT_MAX];
    if (has(l->out, &d->digest))
        return 0;
    cb_descriptor_copy(&p.image.desc, d);
    int r = cb_store_blob_get(l->s, &d->digest, CB_MAX_MANIFEST, &body, err);
    if (r == 0)
        r = p.is_index ? load_index(l, d, &body, err) : load_manifest(l, &p, &body, err);
    if (r < 0) {
        cb_image_done(&p.image);
        return cb_error_wrap(err, "%s", cb_digest_text(&d->digest, text));
    }
    CB_GROW(l->out->v, l->out->n, l->out->cap);
    l->out->v[l->out->n++] = p;
    return 0;
}

int cb_image_tree_load(struct cb_store *s, const struct cb_descriptor *desc, struct cb_image_tree *out,
                       struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct loader l = { .s = s, .out = out };
    *out = (struct cb_image_tree){ 0 };
    int r = load(&l, desc, &e);
    if (r < 0) {
        cb_image_tree_done(out);
        return cb_error_move(err, &e);
    }
    return 0;
}

const struct cb_image *cb_image_tree_pick(const struct cb_image_tree *t, const struct cb_platform *platform)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    const struct cb_image *best = NULL;
    int best_score = -1;
    cb_platform_host(&host);
    for (size_t i = 0; i < t->n; i++) {
        const struct cb_image *image = &t->v[i].image;
        if (!t->v[i].is_image)
            continue;
        const struct cb_platform *is = image->desc.platform ? image->desc.platform : &image->config.platform;
        int score = cb_platform_match(platform ? platform : &host, is);
        if (score > best_score) {
            best = image;
            best_score = score;
        }
    }
    return best;
}

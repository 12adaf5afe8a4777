/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"
#include "oci/mediatype.h"
#include "util/limits.h"

void cb_resolved_done(struct cb_resolved *x)
{
    cb_reference_done(&x->ref);
    cb_descriptor_done(&x->top);
    cb_descriptor_done(&x->desc);
    cb_strbuf_done(&x->index_body);
    cb_strbuf_done(&x->manifest_body);
    cb_strbuf_done(&x->config_body);
    cb_manifest_done(&x->manifest);
    cb_image_config_done(&x->config);
}

static bool have(const struct cb_resolve_options *o, const struct cb_digest *d, struct cb_strbuf *out)
{
    return o->cached && cb_digest_is_set(d) && o->cached(o->cached_arg, d, out);
}

/* The body of a manifest or index, from the cache or the registry; desc is filled from what it is. */
static int get(struct cb_registry *r, const struct cb_reference *ref, const struct cb_resolve_options *o,
               struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    if (have(o, &ref->digest, body)) {
        const char *mt = cb_manifest_detect(body->buf, body->len, NULL, err);
        if (mt) {
            cb_descriptor_of(desc, mt, body->buf, body->len);
            desc->digest = ref->digest;
            return 0;
        }
        cb_strbuf_reset(body);
    }
    int s = cb_registry_manifest(r, ref, &f, err);
    if (s < 0)
        return s;
    cb_descriptor_copy(desc, &f.desc);
    cb_strbuf_add(body, f.body.buf, f.body.len);
    return 0;
}

/* A tag becomes a digest by HEAD where bodies may be cached: that costs no pull quota. */
static int pin(struct cb_registry *r, const struct cb_resolve_options *o, struct cb_reference *ref,
               struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_digest_is_set(&ref->digest) || !o->cached)
        return 0;
    int s = cb_registry_head(r, ref, &d, err);
    if (s == 0 && have(o, &d.digest, &body))
        ref->digest = d.digest;
    return s;
}

/* What the index in manifest_body has for the platform takes its place: maybe another index. */
static int select_entry(struct cb_registry *r, const struct cb_resolve_options *o, struct cb_resolved *x,
                        struct cb_reference *ref, struct cb_error *err)
{
    struct cb_index index cb_cleanup_index = { 0 };
    int s = cb_index_parse(&index, x->manifest_body.buf, x->manifest_body.len, NULL, err);
    if (s < 0)
        return s;
    const struct cb_descriptor *d = cb_index_select(&index, o->platform);
    if (!d) {
        struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_add_platform(&p, o->platform);
        return cb_error_set(err, CB_ECONF, "the image has no variant for %s", p.buf);
    }
    ref->digest = d->digest;
    cb_strbuf_reset(&x->manifest_body);
    cb_descriptor_done(&x->desc);
    s = get(r, ref, o, &x->desc, &x->manifest_body, err);
    if (s == 0 && x->desc.size != d->size)
        s = cb_error_set(err, CB_EVERIFY, "the manifest has not the size that the index says");
    return s;
}

static int select_manifest(struct cb_registry *r, const struct cb_resolve_options *o, struct cb_resolved *x,
                           struct cb_reference *ref, struct cb_error *err)
{
    int s = 0;
    for (unsigned depth = 0; s == 0 && cb_mt_is_index(x->desc.media_type); depth++) {
        if (depth > CB_MAX_INDEX_DEPTH)
            return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
        s = select_entry(r, o, x, ref, err);
    }
    return s;
}

static int read_once(struct cb_registry *r, const struct cb_reference *ref, const struct cb_descriptor *c,
                     struct cb_strbuf *out, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    char buf[16384];
    int s = cb_registry_blob(r, ref->host, ref->repo, c, &src, err);
    cb_strbuf_reset(out);
    for (size_t got = 1; s == 0 && got;) {
        s = cb_blob_read(src, buf, sizeof buf, &got, err);
        if (s == 0)
            cb_strbuf_add(out, buf, got);
    }
    return s;
}

static int read_config(struct cb_registry *r, const struct cb_reference *ref, const struct cb_descriptor *c,
                       struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int s = read_once(r, ref, c, out, &e);
    while (s == -CB_EVERIFY && cb_registry_blob_again(r, &c->digest)) { /* from elsewhere perhaps */
        cb_error_done(&e);
        s = read_once(r, ref, c, out, &e);
    }
    return s < 0 ? cb_error_move(err, &e) : 0;
}

static void ask_for_layers(struct cb_registry *r, const struct cb_resolve_options *o, const struct cb_manifest *m,
                           const struct cb_reference *ref)
{
    struct reg_blob_place at = { .host = ref->host, .repo = ref->repo };
    for (size_t i = 0; o->wanted && cb_manifest_is_image(m) && i < m->n_layers; i++)
        if (o->wanted(o->wanted_arg, &m->layers[i]))
            reg_ahead_begin(r, &at, &m->layers[i]);
}

static int get_config(struct cb_registry *r, const struct cb_resolve_options *o, struct cb_resolved *x,
                      const struct cb_reference *ref, struct cb_error *err)
{
    const struct cb_descriptor *c = &x->manifest.config;
    if (c->size > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_EVERIFY, "the image configuration is too large (%llu bytes)",
                            (unsigned long long)c->size);
    bool known = have(o, &c->digest, &x->config_body);
    if (!known)
        ask_for_layers(r, o, &x->manifest, ref);
    int s = known ? 0 : read_config(r, ref, c, &x->config_body, err);
    if (s < 0)
        return s;
    s = cb_image_config_parse(&x->config, x->config_body.buf, x->config_body.len, err);
    /* Configurations of other types are taken where they are an image's all the same. */
    if (!cb_manifest_is_image(&x->manifest) && (s < 0 || x->config.n_diff_ids != x->manifest.n_layers))
        s = cb_manifest_no_image(&x->manifest, err);
    return s;
}

static int resolve(struct cb_registry *r, const struct cb_resolve_options *o, struct cb_resolved *x,
                   struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_reference_copy(&ref, &x->ref);
    int s = pin(r, o, &ref, err);
    if (s == 0)
        s = get(r, &ref, o, &x->top, &body, err);
    if (s < 0)
        return s;
    cb_descriptor_copy(&x->desc, &x->top);
    cb_strbuf_add(&x->manifest_body, body.buf, body.len);
    if (cb_mt_is_index(x->top.media_type)) {
        cb_strbuf_add(&x->index_body, body.buf, body.len);
        s = select_manifest(r, o, x, &ref, err);
    }
    if (s == 0)
        s = cb_manifest_parse(&x->manifest, x->manifest_body.buf, x->manifest_body.len, x->desc.media_type, err);
    return s < 0 ? s : get_config(r, o, x, &ref, err);
}

int cb_registry_resolve(struct cb_registry *r, const struct cb_reference *ref, const struct cb_resolve_options *o,
                        struct cb_resolved *out, struct cb_error *err)
{
    *out = (struct cb_resolved){ .index_body = CB_STRBUF_INIT,
                                 .manifest_body = CB_STRBUF_INIT,
                                 .config_body = CB_STRBUF_INIT };
    cb_reference_copy(&out->ref, ref);
    cb_reference_default_tag(&out->ref);
    int s = resolve(r, o, out, err);
    if (s < 0) {
        cb_autofree char *text = cb_reference_text(ref);
        return cb_error_wrap(err, "%s", text);
    }
    return 0;
}

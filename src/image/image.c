/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "util/alloc.h"

void cb_image_done(struct cb_image *i)
{
    cb_descriptor_done(&i->desc);
    cb_manifest_done(&i->manifest);
    cb_image_config_done(&i->config);
}

static int read_desc(struct cb_store *s, const struct cb_descriptor *d, const char *what, struct cb_strbuf *out,
                     struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    int r = cb_store_blob_get(s, &d->digest, CB_MAX_MANIFEST, out, err);
    if (r == 0 && out->len != d->size)
        r = cb_error_set(err, CB_EVERIFY, "it has %zu bytes instead of %llu", out->len, (unsigned long long)d->size);
    if (r < 0)
        cb_error_wrap(err, "%s %s", what, cb_digest_text(&d->digest, text));
    return r;
}

/* From an index, maybe through further ones, to the manifest that serves the platform best. */
static int select_manifest(struct cb_store *s, const struct cb_descriptor *from, const struct cb_platform *want,
                           struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_descriptor at cb_cleanup_descriptor = { 0 };
    cb_descriptor_copy(&at, from);
    for (int depth = 0; cb_mt_is_index(at.media_type); depth++) {
        struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_index idx cb_cleanup_index = { 0 };
        if (depth > CB_MAX_INDEX_DEPTH)
            return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
        int r = read_desc(s, &at, "index", &body, err);
        if (r < 0 || (r = cb_index_parse(&idx, body.buf, body.len, at.media_type, err)) < 0)
            return r;
        const struct cb_descriptor *best = cb_index_select(&idx, want);
        if (!best) {
            struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
            cb_strbuf_add_platform(&name, want);
            return cb_error_set(err, CB_ENOTFOUND, "the image has no manifest for %s", name.buf);
        }
        struct cb_descriptor next = { 0 };
        cb_descriptor_copy(&next, best);
        cb_descriptor_done(&at);
        at = next;
    }
    *out = at;
    at = (struct cb_descriptor){ 0 };
    return 0;
}

static int load_manifest(struct cb_store *s, struct cb_image *i, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_desc(s, &i->desc, "manifest", &body, err);
    if (r < 0 || (r = cb_manifest_parse(&i->manifest, body.buf, body.len, i->desc.media_type, err)) < 0)
        return r;
    cb_strbuf_reset(&body);
    if ((r = read_desc(s, &i->manifest.config, "config", &body, err)) < 0)
        return r;
    r = cb_image_config_parse(&i->config, body.buf, body.len, err);
    if (r == 0)
        r = cb_image_config_check(&i->config, i->manifest.n_layers, err);
    return r < 0 && !cb_manifest_is_image(&i->manifest) ? cb_manifest_no_image(&i->manifest, err) : r;
}

int cb_image_load(struct cb_store *s, const struct cb_descriptor *desc, const struct cb_platform *platform,
                  struct cb_image *out, struct cb_error *err)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_image i cb_cleanup_image = { 0 };
    if (!platform)
        cb_platform_host(&host);
    int r = select_manifest(s, desc, platform ? platform : &host, &i.desc, err);
    if (r < 0 || (r = load_manifest(s, &i, err)) < 0) {
        char text[CB_DIGEST_TEXT_MAX];
        cb_error_wrap(err, "image %s", cb_digest_text(&desc->digest, text));
        return r;
    }
    *out = i;
    i = (struct cb_image){ 0 };
    return 0;
}

struct cb_layer *cb_image_layers(const struct cb_image *i)
{
    struct cb_layer *v = cb_calloc(i->config.n_diff_ids + 1, sizeof *v);
    char none[1] = "";
    for (size_t k = 0; k < i->config.n_diff_ids && k < i->manifest.n_layers; k++) {
        const struct cb_descriptor *d = &i->manifest.layers[k];
        int c = cb_mt_layer_compression(d->media_type);
        struct cb_layer_encoding e = {
            .digest = d->digest, .size = d->size, .media_type = d->media_type, .engine = none
        };
        e.compression = c < 0 ? CB_COMPRESSION_NONE : (enum cb_compression)c;
        v[k].diff_id = i->config.diff_ids[k];
        v[k].size = UINT64_MAX;
        cb_layer_encoding_annotate(&e, &d->annotations);
        cb_layer_add_encoding(&v[k], &e);
        cb_strmap_done(&e.annotations);
    }
    return v;
}

void cb_image_layers_free(struct cb_layer *v, size_t n)
{
    for (size_t i = 0; v && i < n; i++)
        cb_layer_done(&v[i]);
    free(v);
}

const struct cb_layer_encoding *cb_layer_stored(struct cb_store *s, const struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_store_blob_has(s, &l->encodings[i].digest, NULL))
            return &l->encodings[i];
    return NULL;
}

/* A table that is missing is made from the blob. */
static int make_toc(struct cb_store *s, const struct cb_image *i, size_t k, const struct cb_cancel *cancel,
                    struct cb_error *err)
{
    struct cb_layer_intake in = { .store = s, .diff_id = i->config.diff_ids[k], .cancel = cancel };
    int r = cb_store_blob_source(s, &i->manifest.layers[k].digest, &in.source, err);
    return r < 0 ? r : cb_image_intake(&in, NULL, NULL, err);
}

int cb_image_stack(struct cb_store *s, const struct cb_image *i, const struct cb_cancel *cancel,
                   struct cb_stack **out, struct cb_error *err)
{
    size_t n = CB_MIN(i->config.n_diff_ids, i->manifest.n_layers);
    cb_autofree struct cb_toc **tocs = cb_calloc(n + 1, sizeof *tocs);
    int r = 0;
    for (size_t k = 0; r == 0 && k < n; k++) {
        r = cb_store_toc_get(s, &i->config.diff_ids[k], &tocs[k], err);
        if (r == -CB_ENOTFOUND && (r = make_toc(s, i, k, cancel, err)) == 0)
            r = cb_store_toc_get(s, &i->config.diff_ids[k], &tocs[k], err);
    }
    if (r == 0)
        *out = cb_stack_new(tocs, n);
    for (size_t k = 0; k < n; k++)
        cb_toc_unref(tocs[k]);
    return r;
}

void cb_image_advise_lost(struct cb_error *err)
{
    if (err && err->code == CB_ENOTFOUND)
        cb_error_append(err, ": a layer of the image is nowhere any more: build or pull it again");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "util/alloc.h"

static const char *layer_type(const struct cb_layer_encoding *e, bool docker)
{
    /* A type that its first manifest gave it stays (non-distributable layers!) as long as it is of the right
     * family. */
    if (e->media_type && cb_mt_is_layer(e->media_type) && cb_mt_is_docker(e->media_type) == docker)
        return e->media_type;
    return cb_mt_layer(e->compression, docker);
}

static int add_layers(struct cb_manifest *m, const struct cb_commit_options *o, struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    if (o->n_layers > CB_MAX_LAYERS)
        return cb_error_set(err, CB_ECONF, "%zu layers; an image may have %d", o->n_layers, CB_MAX_LAYERS);
    m->layers = cb_calloc(o->n_layers + 1, sizeof *m->layers);
    for (size_t i = 0; i < o->n_layers; i++) {
        const struct cb_layer *l = &o->layers[i];
        if (l->n_encodings == 0)
            return cb_error_set(err, CB_EINTERNAL, "no blob is known of layer %s", cb_digest_text(&l->diff_id, text));
        if (!cb_digest_eq(&l->diff_id, &o->config->diff_ids[i]))
            return cb_error_set(err, CB_EINTERNAL, "layer %zu is not the one that the config names", i);
        const struct cb_layer_encoding *e = &l->encodings[0];
        if (o->docker_types && e->compression == CB_COMPRESSION_ZSTD)
            return cb_error_set(err, CB_EUSAGE,
                                "layer %s is compressed with zstd, which Docker's media types have no name for;"
                                " use OCI media types",
                                cb_digest_text(&l->diff_id, text));
        struct cb_descriptor *d = &m->layers[m->n_layers++];
        d->media_type = cb_strdup(layer_type(e, o->docker_types));
        d->digest = e->digest;
        d->size = e->size;
        if (o->docker_types)
            continue;
        cb_strmap_copy(&d->annotations, &e->annotations);
        for (size_t k = 0; o->layer_annotations && k < o->layer_annotations[i].n; k++)
            cb_strmap_set(&d->annotations, o->layer_annotations[i].v[k].key, o->layer_annotations[i].v[k].value);
    }
    return 0;
}

static int put_config(struct cb_store *s, const struct cb_commit_options *o, struct cb_manifest *m,
                      struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (o->config_text)
        cb_strbuf_add(&body, o->config_text->buf, o->config_text->len);
    else
        cb_image_config_print(&body, o->config);
    if (body.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ECONF, "the image's config has %zu bytes; %u are allowed", body.len,
                            CB_MAX_MANIFEST);
    cb_descriptor_of(&m->config, o->docker_types ? CB_MT_DOCKER_CONFIG : CB_MT_OCI_CONFIG, body.buf, body.len);
    return cb_store_blob_put(s, body.buf, body.len, NULL, err);
}

static int put_manifest(struct cb_store *s, struct cb_image *i, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_manifest_print(&body, &i->manifest);
    if (body.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ECONF, "the image's manifest has %zu bytes; %u are allowed", body.len,
                            CB_MAX_MANIFEST);
    cb_descriptor_of(&i->desc, i->manifest.media_type, body.buf, body.len);
    i->desc.platform = CB_NEW(struct cb_platform);
    cb_platform_copy(i->desc.platform, &i->config.platform);
    return cb_store_blob_put(s, body.buf, body.len, NULL, err);
}

int cb_image_commit(struct cb_store *s, const struct cb_commit_options *o, struct cb_image *out, struct cb_error *err)
{
    struct cb_image i cb_cleanup_image = { 0 };
    int r = cb_image_config_check(o->config, o->n_layers, err);
    if (r < 0 || (r = add_layers(&i.manifest, o, err)) < 0)
        return r;
    i.manifest.media_type = cb_strdup(o->docker_types ? CB_MT_DOCKER_MANIFEST : CB_MT_OCI_MANIFEST);
    if (o->annotations)
        cb_strmap_copy(&i.manifest.annotations, o->annotations);
    cb_image_config_copy(&i.config, o->config);
    if ((r = put_config(s, o, &i.manifest, err)) < 0 || (r = put_manifest(s, &i, err)) < 0)
        return r;
    *out = i;
    i = (struct cb_image){ 0 };
    return 0;
}

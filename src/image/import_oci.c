/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "oci/json.h"
#include "util/alloc.h"

static int check_layout(struct cb_importer *m, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_import_text(m, "oci-layout", &text, err);
    if (r < 0)
        return r;
    cb_autojson json_t *o = cb_json_parse(text.buf, text.len, err);
    const char *version = NULL;
    if (!o)
        r = -CB_EVERIFY;
    else
        r = cb_json_get_string(o, "imageLayoutVersion", &version, err);
    if (r < 0) {
        cb_error_wrap(err, "oci-layout");
        return r;
    }
    if (!version || !cb_starts_with(version, "1."))
        return cb_error_set(err, CB_EVERIFY, "an OCI layout of version %s is not known here",
                            version ? version : "(none)");
    return 0;
}

/* A manifest, its config and layers. One that can be run is counted, and each of its layers read through. */
static int take_manifest(struct cb_importer *m, const struct cb_descriptor *d, const struct cb_strbuf *body,
                         struct cb_error *err)
{
    struct cb_manifest man cb_cleanup_manifest = { 0 };
    struct cb_image_config config cb_cleanup_image_config = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_manifest_parse(&man, body->buf, body->len, d->media_type, err);
    if (r < 0 || (r = cb_import_blob(m, &man.config, err)) < 0)
        return r;
    for (size_t i = 0; i < man.n_layers; i++)
        if ((r = cb_import_blob(m, &man.layers[i], err)) < 0)
            return r;
    if (!cb_manifest_is_image(&man))
        return 0; /* an attestation or another artifact: carried along */
    if ((r = cb_store_blob_get(m->store, &man.config.digest, CB_MAX_MANIFEST, &text, err)) < 0 ||
        (r = cb_image_config_parse(&config, text.buf, text.len, err)) < 0 ||
        (r = cb_image_config_check(&config, man.n_layers, err)) < 0)
        return r;
    for (size_t i = 0; i < man.n_layers; i++)
        if ((r = cb_import_layer(m, &man.layers[i], &config.diff_ids[i], err)) < 0)
            return r;
    m->images++;
    return 0;
}

static int take_one(struct cb_importer *m, const struct cb_descriptor *d, unsigned depth, struct cb_error *err);

/* Other tools copy one platform of an index and leave the rest out: what is missing whole is passed over. */
static int take_index(struct cb_importer *m, const struct cb_strbuf *body, const struct cb_descriptor *d,
                      unsigned depth, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_index_parse(&idx, body->buf, body->len, d->media_type, err);
    if (r < 0)
        return r;
    if (depth > CB_MAX_INDEX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    for (size_t i = 0; i < idx.n_manifests; i++) {
        if (cb_import_blob(m, &idx.manifests[i], err) == -CB_ENOTFOUND)
            continue;
        if ((r = take_one(m, &idx.manifests[i], depth + 1, err)) < 0)
            return r;
    }
    return 0;
}

static int take_one(struct cb_importer *m, const struct cb_descriptor *d, unsigned depth, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    int r = cb_import_blob(m, d, err);
    if (r == 0)
        r = cb_store_blob_get(m->store, &d->digest, CB_MAX_MANIFEST, &body, err);
    if (r == 0)
        r = cb_mt_is_index(d->media_type) ? take_index(m, &body, d, depth, err) : take_manifest(m, d, &body, err);
    if (r < 0)
        cb_error_wrap(err, "manifest %s", cb_digest_text(&d->digest, text));
    return r;
}

/* A full name, or NULL. A bare tag names nothing by itself: taken for a reference it would be another image's
 * name. */
static char *name_of(const struct cb_descriptor *d)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    const char *name = cb_strmap_get(&d->annotations, CB_ANN_IMAGE_NAME);
    if (!name) {
        name = cb_strmap_get(&d->annotations, CB_ANN_REF_NAME);
        if (name && !strchr(name, '/') && !strchr(name, ':'))
            name = NULL;
    }
    if (!name || cb_reference_parse(&ref, name, NULL) < 0)
        return NULL;
    cb_reference_default_tag(&ref);
    return cb_reference_text(&ref);
}

/* The best match for this machine, or where an index has none, any that is there. */
static int load_any(struct cb_importer *m, const struct cb_descriptor *d, struct cb_image *out, struct cb_error *err)
{
    int r = cb_image_load(m->store, d, NULL, out, err);
    if (r != -CB_ENOTFOUND || !cb_mt_is_index(d->media_type))
        return r;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_index idx cb_cleanup_index = { 0 };
    if (cb_store_blob_get(m->store, &d->digest, CB_MAX_MANIFEST, &body, NULL) < 0 ||
        cb_index_parse(&idx, body.buf, body.len, d->media_type, NULL) < 0)
        return r;
    for (size_t i = 0; i < idx.n_manifests; i++)
        if (idx.manifests[i].platform &&
            cb_image_load(m->store, &idx.manifests[i], idx.manifests[i].platform, out, NULL) == 0)
            return 0;
    return r;
}

int cb_import_oci_index(struct cb_importer *m, struct cb_index *idx, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = check_layout(m, err);
    if (r < 0 || (r = cb_import_text(m, "index.json", &text, err)) < 0)
        return r;
    if ((r = cb_index_parse(idx, text.buf, text.len, CB_MT_OCI_INDEX, err)) < 0)
        cb_error_wrap(err, "index.json");
    return r;
}

int cb_import_oci_one(struct cb_importer *m, const struct cb_descriptor *d, struct cb_error *err)
{
    return take_one(m, d, 0, err);
}

int cb_import_oci(struct cb_importer *m, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_import_oci_index(m, &idx, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < idx.n_manifests; i++) {
        const struct cb_descriptor *d = &idx.manifests[i];
        struct cb_image img cb_cleanup_image = { 0 };
        m->images = 0;
        if ((r = take_one(m, d, 0, err)) < 0)
            return r;
        if (m->images == 0)
            continue;
        if ((r = load_any(m, d, &img, err)) < 0)
            return r;
        cb_autofree char *name = name_of(d);
        cb_descriptor_done(&img.desc);
        img.desc = (struct cb_descriptor){ 0 };
        cb_descriptor_copy(&img.desc, d);
        cb_strmap_remove(&img.desc.annotations, CB_ANN_IMAGE_NAME);
        cb_strmap_remove(&img.desc.annotations, CB_ANN_REF_NAME);
        cb_import_add(m, &img, name);
    }
    return m->out->n ? 0 : cb_error_set(err, CB_EVERIFY, "it holds no image");
}

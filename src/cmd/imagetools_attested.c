/* SPDX-License-Identifier: Apache-2.0 */
/* Attestations that stand in an index beside its images, where BuildKit puts them. */
#include "cmd/imagetools.h"
#include "util/alloc.h"
#include "util/limits.h"

static bool is_attestation(const struct cb_descriptor *d)
{
    return cb_streq(cb_strmap_get(&d->annotations, CB_ANN_REFERENCE_TYPE), CB_REFERENCE_ATTESTATION);
}

/* What its annotation says it is. */
static bool is_of_kind(const struct cb_descriptor *layer, const struct imagetools_attested *a)
{
    const char *type = cb_strmap_get(&layer->annotations, CB_ANN_PREDICATE_TYPE);
    return type && cb_starts_with(type, a->type) && cb_streq(layer->media_type, CB_MT_IN_TOTO);
}

/* What the statement says, or NULL and err. */
static json_t *predicate(struct cb_remote *re, const struct cb_descriptor *d, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const json_t *said = NULL;
    int r = d->size > CB_MAX_ATTESTATION
                ? cb_error_set(err, CB_EVERIFY, "%llu bytes are too many", (unsigned long long)d->size)
                : cb_registry_blob(re->s.registry, re->ref.host, re->ref.repo, d, &src, err);
    if (r == 0)
        r = cb_blob_read_all(src, CB_MAX_ATTESTATION, &text, err);
    cb_autojson json_t *o = r == 0 ? cb_json_parse(text.buf, text.len, err) : NULL;
    if (!o || cb_json_get_object(o, "predicate", &said, err) < 0)
        return NULL;
    if (!said)
        (void)!cb_error_set(err, CB_EVERIFY, "it has no predicate");
    return json_incref((json_t *)(uintptr_t)said);
}

/* The first is the image's own. */
static void put(json_t *o, const struct imagetools_attested *a, json_t *said /* taken */)
{
    if (!json_object_get(o, a->member)) {
        json_object_set_new(o, a->member, said);
        return;
    }
    if (a->others && !json_object_get(o, a->others))
        json_object_set_new(o, a->others, json_array());
    json_array_append(json_object_get(o, a->others), said);
    json_decref(said);
}

/* *out stays NULL where the manifest has none of that kind. */
static int read_one(struct cb_remote *re, const struct cb_descriptor *d, const struct imagetools_attested *a,
                    json_t **out, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_reference ref = { .host = re->ref.host, .repo = re->ref.repo, .digest = d->digest };
    int r = cb_registry_manifest(re->s.registry, &ref, &f, err);
    if (r == 0)
        r = cb_manifest_parse(&m, f.body.buf, f.body.len, f.desc.media_type, err);
    for (size_t i = 0; r == 0 && i < m.n_layers; i++) {
        if (!is_of_kind(&m.layers[i], a) || (*out && !a->others))
            continue;
        json_t *said = predicate(re, &m.layers[i], err);
        if (!said)
            return -CB_EVERIFY;
        *out = *out ? *out : json_object();
        put(*out, a, said);
    }
    return r;
}

/* The image that an attestation is about, and how many there are. */
static const struct cb_descriptor *image_of(const struct cb_index *x, const char *digest, size_t *n)
{
    const struct cb_descriptor *image = NULL;
    char text[CB_DIGEST_TEXT_MAX];
    *n = 0;
    for (size_t i = 0; i < x->n_manifests; i++) {
        const struct cb_descriptor *d = &x->manifests[i];
        *n += d->platform && !is_attestation(d);
        if (d->platform && cb_streq(cb_digest_text(&d->digest, text), digest))
            image = d;
    }
    return image;
}

static int add(struct cb_remote *re, const struct cb_index *x, const struct cb_descriptor *d,
               const struct imagetools_attested *a, json_t *all, struct cb_error *err)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t images = 0;
    const struct cb_descriptor *image = image_of(x, cb_strmap_get(&d->annotations, CB_ANN_REFERENCE_DIGEST),
                                                 &images);
    cb_autojson json_t *said = NULL;
    if (!image)
        return 0;
    int r = read_one(re, d, a, &said, err);
    if (r < 0 || !said)
        return r;
    cb_strbuf_add_platform(&name, image->platform);
    if (images == 1)
        json_object_update(all, said);
    else
        json_object_set(all, name.buf, said);
    return 0;
}

json_t *imagetools_attested(struct cb_remote *re, const struct cb_index *x, const struct imagetools_attested *a,
                            struct cb_error *err)
{
    cb_autojson json_t *all = json_object();
    char digest[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; i < x->n_manifests; i++) {
        const struct cb_descriptor *d = &x->manifests[i];
        if (!is_attestation(d) || cb_mt_is_index(d->media_type))
            continue;
        if (add(re, x, d, a, all, err) < 0) {
            cb_error_wrap(err, "attestation %s", cb_digest_text(&d->digest, digest));
            return NULL;
        }
    }
    return json_incref(all);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"
#include "oci/mediatype.h"
#include "util/alloc.h"

const char cb_image_tables_config[] = "{}";

static bool lists(const struct cb_manifest *m, const struct cb_digest *d)
{
    for (size_t i = 0; i < m->n_layers; i++)
        if (cb_digest_eq(&m->layers[i].digest, d))
            return true;
    return false;
}

static void list_tables(const struct cb_image_tables *t, struct cb_manifest *out)
{
    out->layers = cb_calloc(t->manifest->n_layers + 1, sizeof *out->layers);
    for (size_t i = 0; i < t->manifest->n_layers; i++) {
        const struct cb_strmap *annotations = &t->manifest->layers[i].annotations;
        struct cb_toc_pin pin;
        if (cb_toc_pin_read(&pin, annotations) && !cb_toc_pin_has_data(&pin, annotations) &&
            !lists(out, &pin.digest) && t->has(t->arg, &pin))
            out->layers[out->n_layers++] = (struct cb_descriptor){ .media_type = cb_strdup(CB_MT_TOC),
                                                                   .digest = pin.digest, .size = pin.size };
    }
}

static bool is_there(void *arg CB_UNUSED, const struct cb_toc_pin *pin CB_UNUSED)
{
    return true;
}

bool cb_image_tables_set(const struct cb_manifest *image, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    list_tables(&(struct cb_image_tables){ .manifest = image, .has = is_there }, &m);
    cb_hasher_field(h, "cbpush-tables/1");
    for (size_t i = 0; i < m.n_layers; i++)
        cb_hasher_field_digest(h, &m.layers[i].digest);
    cb_hasher_finish(h, out);
    return m.n_layers > 0;
}

bool cb_image_tables_artifact(const struct cb_image_tables *t, struct cb_descriptor *desc, struct cb_strbuf *body)
{
    struct cb_manifest m cb_cleanup_manifest = { .media_type = cb_strdup(CB_MT_OCI_MANIFEST),
                                                 .artifact_type = cb_strdup(CB_MT_TOC) };
    list_tables(t, &m);
    if (!m.n_layers)
        return false;
    cb_descriptor_of(&m.config, CB_MT_OCI_EMPTY, cb_image_tables_config, strlen(cb_image_tables_config));
    m.subject = CB_NEW(struct cb_descriptor);
    *m.subject = (struct cb_descriptor){ .media_type = cb_strdup(t->image->media_type), .digest = t->image->digest,
                                         .size = t->image->size };
    cb_manifest_print(body, &m);
    cb_descriptor_of(desc, m.media_type, body->buf, body->len);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* image-spec manifest.md, "Guidelines for Artifact Usage". The records are the config, and stand also in the manifest
 * itself (descriptor.md, "Embedded Content"), so that one GET brings both. */
#include "cache/private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/timeutil.h"

/* What registries take of a manifest is 4 MiB; some take less. */
#define EMBED_MAX (512u << 10)
#define EMPTY "{}"

void cb_cache_artifact_done(struct cb_cache_artifact *a)
{
    cb_descriptor_done(&a->desc);
    cb_strbuf_done(&a->body);
    cb_strbuf_done(&a->config);
    cb_manifest_done(&a->manifest);
}

static struct cb_descriptor *add_blob(struct cb_manifest *m, const char *type, const struct cb_digest *d, uint64_t size)
{
    m->layers = cb_reallocarray(m->layers, m->n_layers + 1, sizeof *m->layers);
    struct cb_descriptor *to = &m->layers[m->n_layers++];
    *to = (struct cb_descriptor){ .media_type = cb_strdup(type), .digest = *d, .size = size };
    return to;
}

static bool has_blob(const struct cb_manifest *m, const struct cb_digest *d)
{
    for (size_t i = 0; i < m->n_layers; i++)
        if (cb_digest_eq(&m->layers[i].digest, d))
            return true;
    return false;
}

/* More than a manifest may have are left to the artifacts of their own steps. */
static void add_layer(struct cb_manifest *m, const struct cb_cache_layer *l)
{
    if (m->n_layers + 2 > CB_MAX_LAYERS)
        return;
    if (cb_digest_is_set(&l->blob.digest) && !has_blob(m, &l->blob.digest))
        add_blob(m, l->blob.media_type, &l->blob.digest, l->blob.size);
    if (cb_digest_is_set(&l->toc) && !l->toc_data && !has_blob(m, &l->toc))
        add_blob(m, CB_MT_TOC, &l->toc, l->toc_size);
}

static void add_blobs(struct cb_manifest *m, const struct cb_cache_artifact_options *o)
{
    for (size_t i = 0; i < (o->layers ? o->n_layers : o->set->n_layers); i++)
        add_layer(m, &o->set->layers[o->layers ? o->layers[i] : i]);
    if (m->n_layers == 0) {
        struct cb_digest empty;
        cb_digest_of(&empty, EMPTY, strlen(EMPTY));
        add_blob(m, CB_MT_OCI_EMPTY, &empty, strlen(EMPTY));
    }
}

void cache_artifact_embed(struct cb_cache_artifact *a)
{
    struct cb_strbuf data cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *o = a->config.len <= EMBED_MAX ? cb_json_parse(a->body.buf, a->body.len, NULL) : NULL;
    if (o) {
        cb_base64_encode(&data, a->config.buf, a->config.len);
        cb_json_put_string(json_object_get(o, "config"), "data", data.buf);
        cb_strbuf_reset(&a->body);
        cb_json_print(&a->body, o);
    }
    cb_descriptor_of(&a->desc, CB_MT_OCI_MANIFEST, a->body.buf, a->body.len);
}

int cb_cache_artifact_make(struct cb_cache_artifact *out, const struct cb_cache_artifact_options *o,
                           struct cb_error *err)
{
    struct cb_manifest *m = &out->manifest;
    struct cb_strbuf when cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_cache_set_print(&out->config, o->set);
    if (out->config.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ECONF, "the cache records of so many steps are too large");
    m->artifact_type = cb_strdup(o->type);
    cb_descriptor_of(&m->config, CB_MT_CACHE_RECORDS, out->config.buf, out->config.len);
    add_blobs(m, o);
    cb_time_format(&when, o->created);
    cb_strmap_set(&m->annotations, "org.opencontainers.image.created", when.buf);
    cb_manifest_print(&out->body, m);
    cache_artifact_embed(out);
    return 0;
}

/* ---- reading ---- */

static int take_data(struct cb_cache_artifact *a, struct cb_error *err)
{
    cb_autojson json_t *o = cb_json_parse(a->body.buf, a->body.len, err);
    struct cb_digest d;
    const char *data = NULL;
    int r = o ? cb_json_get_string(json_object_get(o, "config"), "data", &data, err) : -CB_EVERIFY;
    if (r < 0 || !data)
        return r;
    if (!cb_base64_decode(&a->config, data, strlen(data)))
        return cb_error_set(err, CB_EVERIFY, "the data of its config is no base64");
    cb_digest_of(&d, a->config.buf, a->config.len);
    if (!cb_digest_eq(&d, &a->manifest.config.digest) || a->config.len != a->manifest.config.size)
        return cb_error_set(err, CB_EVERIFY, "the data of its config is not what the digest says");
    return 0;
}

int cb_cache_artifact_parse(struct cb_cache_artifact *out, const char *body, size_t len, struct cb_error *err)
{
    int r = cb_manifest_parse(&out->manifest, body, len, NULL, err);
    if (r < 0)
        return r;
    const char *type = out->manifest.artifact_type;
    bool mount = cb_streq(type, CB_MT_CACHE_MOUNT);
    if (!mount && !cb_streq(type, CB_MT_CACHE_STEP) && !cb_streq(type, CB_MT_CACHE_RUN))
        return cb_error_set(err, CB_EVERIFY, "it is no artifact of a build cache");
    if (strcmp(out->manifest.config.media_type, mount ? CB_MT_CACHE_MOUNT_CONFIG : CB_MT_CACHE_RECORDS) ||
        out->manifest.config.size > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_EVERIFY, "its config holds no cache records");
    cb_strbuf_add(&out->body, body, len);
    cb_descriptor_of(&out->desc, CB_MT_OCI_MANIFEST, body, len);
    return take_data(out, err);
}

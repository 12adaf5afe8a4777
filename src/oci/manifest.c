/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/manifest.h"

#include "oci/json.h"
#include "oci/manifest_priv.h"
#include "oci/mediatype.h"
#include "util/alloc.h"
#include "util/limits.h"

void cb_descriptors_free(struct cb_descriptor *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cb_descriptor_done(&v[i]);
    free(v);
}

void cb_manifest_done(struct cb_manifest *m)
{
    free(m->media_type);
    free(m->artifact_type);
    cb_descriptor_done(&m->config);
    cb_descriptors_free(m->layers, m->n_layers);
    cb_descriptors_free(m->subject, m->subject ? 1 : 0);
    cb_strmap_done(&m->annotations);
    *m = (struct cb_manifest){ 0 };
}

static int read_list(struct cb_descriptor **out, size_t *n, const json_t *a, const char *name, struct cb_error *err)
{
    *out = cb_calloc(json_array_size(a), sizeof **out);
    size_t i;
    json_t *item;
    json_array_foreach(a, i, item) {
        int r = cb_descriptor_from_json(*out + i, item, err);
        if (r < 0) {
            cb_error_wrap(err, "%s[%zu]", name, i);
            return r;
        }
        *n = i + 1;
    }
    return 0;
}

static int read_subject(struct cb_descriptor **out, const json_t *o, struct cb_error *err)
{
    const json_t *s = NULL;
    int r = cb_json_get_object(o, "subject", &s, err);
    if (r < 0 || !s)
        return r;
    *out = CB_NEW(struct cb_descriptor);
    if ((r = cb_descriptor_from_json(*out, s, err)) < 0)
        cb_error_wrap(err, "subject");
    return r;
}

static int read_artifact_type(char **out, const json_t *o, struct cb_error *err)
{
    const char *type = NULL;
    int r = cb_json_get_string(o, "artifactType", &type, err);
    if (r < 0 || !type || !*type)
        return r;
    if (!cb_mt_is_valid(type))
        return cb_error_set(err, CB_EVERIFY, "\"artifactType\" is no media type");
    *out = cb_strdup(type);
    return 0;
}

int cb_manifest_read_common(const struct cb_manifest_common *c, const json_t *o, const char *list, size_t max,
                            struct cb_error *err)
{
    const json_t *a = NULL;
    int r;
    if ((r = read_artifact_type(c->artifact_type, o, err)) < 0 || (r = read_subject(c->subject, o, err)) < 0 ||
        (r = cb_json_get_strmap(o, "annotations", c->annotations, err)) < 0 ||
        (r = cb_json_get_array(o, list, &a, err)) < 0)
        return r;
    if (json_array_size(a) > max)
        return cb_error_set(err, CB_EVERIFY, "%zu entries in \"%s\" are more than %zu", json_array_size(a), list, max);
    return read_list(c->list, c->n, a, list, err);
}

static int read_manifest(struct cb_manifest *m, const char *body, size_t len, const char *content_type,
                         struct cb_error *err)
{
    const char *type = NULL;
    cb_autojson json_t *o = cb_manifest_open(body, len, content_type, &type, err);
    if (!o)
        return -CB_EVERIFY;
    if (!cb_mt_is_manifest(type))
        return cb_error_set(err, CB_EVERIFY, "it is an index (%s)", type);
    m->media_type = cb_strdup(type);
    const json_t *config = NULL;
    int r = cb_json_get_object(o, "config", &config, err);
    if (r < 0)
        return r;
    if (!config)
        return cb_error_set(err, CB_EVERIFY, "it has no \"config\"");
    if ((r = cb_descriptor_from_json(&m->config, config, err)) < 0) {
        cb_error_wrap(err, "config");
        return r;
    }
    struct cb_manifest_common c = { &m->artifact_type, &m->subject, &m->annotations, &m->layers, &m->n_layers };
    return cb_manifest_read_common(&c, o, "layers", CB_MAX_LAYERS, err);
}

int cb_manifest_parse(struct cb_manifest *out, const char *body, size_t len, const char *content_type,
                      struct cb_error *err)
{
    cb_cleanup_manifest struct cb_manifest m = { 0 };
    int r = read_manifest(&m, body, len, content_type, err);
    if (r < 0) {
        cb_error_wrap(err, "manifest");
        return r;
    }
    cb_manifest_done(out);
    *out = m;
    m = (struct cb_manifest){ 0 };
    return 0;
}

json_t *cb_manifest_print_head(const char *media_type, const char *artifact_type)
{
    json_t *o = json_object();
    cb_json_put(o, "schemaVersion", json_integer(2));
    cb_json_put_string(o, "mediaType", media_type);
    cb_json_put_string(o, "artifactType", artifact_type);
    return o;
}

void cb_manifest_print_list(json_t *o, const char *key, const struct cb_descriptor *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(a, cb_descriptor_to_json(&v[i])) < 0)
            abort();
    cb_json_put(o, key, a);
}

void cb_manifest_print_tail(json_t *o, const struct cb_descriptor *subject, const struct cb_strmap *annotations)
{
    if (subject)
        cb_json_put(o, "subject", cb_descriptor_to_json(subject));
    if (annotations->n)
        cb_json_put(o, "annotations", cb_json_from_strmap(annotations));
}

void cb_manifest_print(struct cb_strbuf *out, const struct cb_manifest *m)
{
    cb_autojson json_t *o =
        cb_manifest_print_head(m->media_type ? m->media_type : CB_MT_OCI_MANIFEST, m->artifact_type);
    cb_json_put(o, "config", cb_descriptor_to_json(&m->config));
    cb_manifest_print_list(o, "layers", m->layers, m->n_layers);
    cb_manifest_print_tail(o, m->subject, &m->annotations);
    cb_json_print(out, o);
}

bool cb_manifest_is_image(const struct cb_manifest *m)
{
    bool yes = cb_streq(m->config.media_type, CB_MT_OCI_CONFIG) || cb_streq(m->config.media_type, CB_MT_DOCKER_CONFIG);
    for (size_t i = 0; i < m->n_layers; i++)
        yes = yes && cb_mt_is_layer(m->layers[i].media_type);
    return yes && !m->artifact_type;
}

int cb_manifest_no_image(const struct cb_manifest *m, struct cb_error *err)
{
    const char *type = m->artifact_type ? m->artifact_type : m->config.media_type;
    bool config = cb_streq(type, CB_MT_OCI_CONFIG) || cb_streq(type, CB_MT_DOCKER_CONFIG);
    for (size_t i = 0; config && i < m->n_layers; i++)
        if (!cb_mt_is_layer(m->layers[i].media_type)) {
            type = m->layers[i].media_type;
            break;
        }
    return cb_error_set(err, CB_ECONF, "it is no image but an artifact (%s)", type);
}

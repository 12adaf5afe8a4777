/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of manifest a body is. Every registry and every client must come to the same answer, or one body could be
 * an image here and a list of others there; so whatever could be read in two ways is refused. */
#include "oci/json.h"
#include "oci/manifest_priv.h"
#include "oci/mediatype.h"
#include "util/limits.h"

#define SCHEMA1 "application/vnd.docker.distribution.manifest.v1+json"
#define SCHEMA1_SIGNED "application/vnd.docker.distribution.manifest.v1+prettyjws"

/* The constant that a media type of ours is, case and parameters (; charset=utf-8) disregarded; NULL for all others. */
static const char *known_type(const char *mt)
{
    static const char *const types[] = { CB_MT_OCI_INDEX,      CB_MT_OCI_MANIFEST, CB_MT_DOCKER_LIST,
                                         CB_MT_DOCKER_MANIFEST, SCHEMA1,            SCHEMA1_SIGNED };
    size_t n = mt ? strcspn(mt, "; \t\r\n") : 0;
    for (size_t i = 0; n && i < CB_COUNTOF(types); i++) {
        size_t at = 0;
        while (at < n && types[i][at] && (mt[at] | (mt[at] >= 'A' && mt[at] <= 'Z' ? 0x20 : 0)) == types[i][at])
            at++;
        if (at == n && !types[i][at])
            return types[i];
    }
    return NULL;
}

static int schema1(struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "this is Docker's manifest schema 1, which cbpush does not read: "
                                         "push the image again with a tool from after 2017");
}

static bool has(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

static int check_schema_version(const json_t *o, struct cb_error *err)
{
    int64_t version = 0;
    int r = cb_json_get_i64(o, "schemaVersion", &version, err);
    if (r < 0)
        return r;
    if (version == 1)
        return schema1(err);
    if (version != 2)
        return cb_error_set(err, CB_EVERIFY, "\"schemaVersion\" is not 2");
    return 0;
}

/* The body's own mediaType, or NULL where it has none; Content-Type must not say otherwise. */
static int stated_type(const json_t *o, const char *content_type, const char **out, struct cb_error *err)
{
    const char *text = NULL, *header = known_type(content_type);
    int r = cb_json_get_string(o, "mediaType", &text, err);
    if (r < 0)
        return r;
    *out = NULL;
    if (!text || !*text)
        return 0;
    /* In the body only the exact spelling counts: what else has its own meaning to other clients. */
    *out = known_type(text);
    if (!*out || strcmp(*out, text) != 0)
        return cb_error_set(err, CB_EVERIFY, "\"%.128s\" is no media type of a manifest or an index", text);
    if (header && header != *out)
        return cb_error_set(err, CB_EVERIFY, "the body says that it is %s, its Content-Type says %s", *out, header);
    return 0;
}

/* From what it holds: image-spec lets mediaType be absent, Docker never did, so OCI's names are the default. */
static const char *guessed_type(const json_t *o, const char *content_type)
{
    const char *header = known_type(content_type);
    if (has(o, "manifests"))
        return cb_mt_is_index(header) ? header : CB_MT_OCI_INDEX;
    if (!has(o, "config") && !has(o, "layers"))
        return header;
    const char *config = json_string_value(json_object_get(json_object_get(o, "config"), "mediaType"));
    if (cb_mt_is_manifest(header))
        return header;
    return cb_streq(config, CB_MT_DOCKER_CONFIG) ? CB_MT_DOCKER_MANIFEST : CB_MT_OCI_MANIFEST;
}

/* The members must be those of the type, and the header of the same kind. */
static int check_shape(const json_t *o, const char *type, const char *content_type, struct cb_error *err)
{
    const char *header = known_type(content_type);
    bool index = cb_mt_is_index(type);
    if (index && (has(o, "layers") || has(o, "config")))
        return cb_error_set(err, CB_EVERIFY, "it is an index, but has \"%s\"", has(o, "layers") ? "layers" : "config");
    if (!index && has(o, "manifests"))
        return cb_error_set(err, CB_EVERIFY, "it is a manifest, but has \"manifests\"");
    if (header && cb_mt_is_index(header) != index)
        return cb_error_set(err, CB_EVERIFY, "it is %s, its Content-Type says %s", index ? "an index" : "a manifest",
                            header);
    return 0;
}

static int identify(const json_t *o, const char *content_type, const char **media_type, struct cb_error *err)
{
    static const char *const known[] = { "schemaVersion", "mediaType",   "artifactType", "config",  "layers",
                                         "manifests",     "annotations", "subject",      "fsLayers", NULL };
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "it is not a JSON object");
    int r = cb_json_check_keys(o, known, err);
    if (r < 0)
        return r;
    if (has(o, "manifests") && (has(o, "layers") || has(o, "config") || has(o, "fsLayers")))
        return cb_error_set(err, CB_EVERIFY, "it has \"manifests\" and \"%s\", so it could be read in two ways",
                            has(o, "layers") ? "layers" : has(o, "config") ? "config" : "fsLayers");
    if (has(o, "fsLayers") && (has(o, "layers") || has(o, "config")))
        return cb_error_set(err, CB_EVERIFY, "it has \"fsLayers\" and \"%s\", so it could be read in two ways",
                            has(o, "layers") ? "layers" : "config");
    if (has(o, "fsLayers"))
        return schema1(err);
    const char *type;
    if ((r = check_schema_version(o, err)) < 0 || (r = stated_type(o, content_type, &type, err)) < 0)
        return r;
    if (!type)
        type = guessed_type(o, content_type);
    if (!type)
        return cb_error_set(err, CB_EVERIFY, "it is neither a manifest nor an index");
    if (strcmp(type, SCHEMA1) == 0 || strcmp(type, SCHEMA1_SIGNED) == 0)
        return schema1(err);
    if ((r = check_shape(o, type, content_type, err)) < 0)
        return r;
    *media_type = type;
    return 0;
}

json_t *cb_manifest_open(const char *body, size_t len, const char *content_type, const char **media_type,
                         struct cb_error *err)
{
    if (len > CB_MAX_MANIFEST) {
        cb_error_set(err, CB_EVERIFY, "it is larger than %u bytes", CB_MAX_MANIFEST);
        return NULL;
    }
    cb_autojson json_t *o = cb_json_parse(body, len, err);
    if (!o || identify(o, content_type, media_type, err) < 0)
        return NULL;
    return CB_TAKE(o);
}

const char *cb_manifest_detect(const char *body, size_t len, const char *content_type, struct cb_error *err)
{
    const char *type = NULL;
    cb_autojson json_t *o = cb_manifest_open(body, len, content_type, &type, err);
    if (!o)
        cb_error_wrap(err, "manifest");
    return o ? type : NULL;
}

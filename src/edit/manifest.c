/* SPDX-License-Identifier: Apache-2.0 */
/* Members of manifests and indexes, as JSON. */
#include "edit/private.h"
#include "util/alloc.h"

void cb_edit_annotate(json_t *o, const char *key, const char *value)
{
    json_t *a = json_object_get(o, "annotations");
    if (value && !json_is_object(a)) {
        cb_json_put(o, "annotations", json_object());
        a = json_object_get(o, "annotations");
    }
    if (value)
        cb_json_put(a, key, cb_json_string(value));
    else if (json_is_object(a) && json_object_del(a, key) == 0 && json_object_size(a) == 0)
        json_object_del(o, "annotations");
}

const char *cb_edit_attests(const json_t *entry)
{
    return json_string_value(json_object_get(json_object_get(entry, "annotations"), CB_ANN_REFERENCE_DIGEST));
}

void cb_edit_entry_set(json_t *entry, const struct cb_descriptor *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_json_put(entry, "mediaType", cb_json_string(d->media_type));
    cb_json_put(entry, "digest", cb_json_string(cb_digest_text(&d->digest, text)));
    cb_json_put(entry, "size", json_integer((json_int_t)d->size));
    json_object_del(entry, "data");
}

/* ---- Docker's media types ---- */

static const char *oci_type(const char *mt)
{
    static const struct { const char *docker, *oci; } types[] = {
        { CB_MT_DOCKER_LIST, CB_MT_OCI_INDEX },
        { CB_MT_DOCKER_MANIFEST, CB_MT_OCI_MANIFEST },
        { CB_MT_DOCKER_CONFIG, CB_MT_OCI_CONFIG },
        { CB_MT_DOCKER_LAYER, CB_MT_OCI_LAYER },
        { CB_MT_DOCKER_LAYER_GZIP, CB_MT_OCI_LAYER_GZIP },
        { CB_MT_DOCKER_LAYER_ZSTD, CB_MT_OCI_LAYER_ZSTD },
        { CB_MT_DOCKER_FOREIGN_GZIP, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" },
    };
    for (size_t i = 0; mt && i < CB_COUNTOF(types); i++)
        if (!strcmp(mt, types[i].docker))
            return types[i].oci;
    return NULL;
}

static void convert_type(json_t *o)
{
    const char *to = oci_type(json_string_value(json_object_get(o, "mediaType")));
    if (to)
        cb_json_put(o, "mediaType", cb_json_string(to));
}

void cb_edit_to_oci(json_t *o)
{
    size_t i;
    json_t *v;
    convert_type(o);
    convert_type(json_object_get(o, "config"));
    json_array_foreach(json_object_get(o, "layers"), i, v) {
        convert_type(v);
    }
}

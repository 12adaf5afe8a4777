/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "oci/json.h"

static char *blob_path(char buf[static 256], const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, 256, "blobs/%s/%s", cb_digest_alg_name(d->alg), cb_digest_hex(d, hex));
    return buf;
}

static json_t *repo_tags(const struct cb_export_options *o)
{
    json_t *tags = json_array();
    for (size_t i = 0; i < o->n_names; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (cb_reference_parse(&ref, o->names[i], NULL) < 0)
            continue;
        ref.digest.alg = CB_DIGEST_NONE; /* Docker's tags have no digests */
        if (!ref.tag)
            continue;
        cb_strbuf_add_familiar(&name, &ref);
        json_array_append_new(tags, json_string(name.buf));
    }
    return tags;
}

static json_t *image_json(const struct cb_export_options *o)
{
    char path[256];
    const struct cb_manifest *m = &o->image->manifest;
    json_t *one = json_object(), *layers = json_array();
    json_object_set_new(one, "Config", json_string(blob_path(path, &m->config.digest)));
    json_object_set_new(one, "RepoTags", repo_tags(o));
    for (size_t i = 0; i < m->n_layers; i++)
        json_array_append_new(layers, json_string(blob_path(path, &m->layers[i].digest)));
    json_object_set_new(one, "Layers", layers);
    return one;
}

/* What Docker 25 and later write too: paths into the OCI layout that is the same archive. */
static void print_manifest_json(struct cb_strbuf *out, const struct cb_export_options *o)
{
    cb_autojson json_t *list = json_array();
    for (; o; o = o->more)
        json_array_append_new(list, image_json(o));
    cb_json_print(out, list);
}

int cb_export_docker_tar(const struct cb_export_options *o, int fd, struct cb_error *err)
{
    struct cb_tar_out t cb_cleanup_tar_out = { 0 };
    struct cb_strbuf index cb_cleanup_strbuf = CB_STRBUF_INIT, manifest cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_export_index(&index, o, NULL);
    print_manifest_json(&manifest, o);
    int r = cb_tar_out_open(&t, fd, o, err);
    if (r == 0 && (r = cb_export_blobs(&t, o, err)) == 0 &&
        (r = cb_tar_out_text(&t, "index.json", (struct cb_slice){ index.buf, index.len }, err)) == 0 &&
        (r = cb_tar_out_text(&t, "manifest.json", (struct cb_slice){ manifest.buf, manifest.len }, err)) == 0 &&
        (r = cb_tar_out_text(&t, "oci-layout", CB_SLICE(CB_OCI_LAYOUT), err)) == 0)
        r = cb_tar_out_finish(&t, err);
    if (r < 0)
        cb_error_wrap(err, "export as Docker archive");
    return r;
}

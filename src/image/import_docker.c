/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "oci/json.h"
#include "util/alloc.h"

static const char *const item_keys[] = { "Config", "RepoTags", "Layers", "Parent", "LayerSources", NULL };

struct item {
    const char *config; /* borrowed from the JSON */
    struct cb_strbuf text; /* what it names */
    struct cb_strvec tags, layers;
};

static int parse_item(struct item *it, const json_t *o, struct cb_error *err)
{
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "not a list of objects");
    int r = cb_json_check_keys(o, item_keys, err);
    if (r < 0 || (r = cb_json_get_string(o, "Config", &it->config, err)) < 0 ||
        (r = cb_json_get_strvec(o, "RepoTags", &it->tags, err)) < 0 ||
        (r = cb_json_get_strvec(o, "Layers", &it->layers, err)) < 0)
        return r;
    return it->config ? 0 : cb_error_set(err, CB_EVERIFY, "an image without Config");
}

static int take_layer(struct cb_importer *m, const char *path, const struct cb_digest *diff_id, struct cb_layer *out,
                      struct cb_error *err)
{
    const struct cb_import_file *f = cb_import_find(m, path);
    if (!f)
        return cb_error_set(err, CB_EVERIFY, "layer %s is not in the archive", path);
    struct cb_descriptor d = { .digest = f->digest, .size = f->size };
    int r = cb_import_layer(m, &d, diff_id, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", path);
        return r;
    }
    struct cb_layer known cb_cleanup_layer = { 0 };
    if ((r = cb_store_layer_get(m->store, diff_id, &known, err)) < 0)
        return r;
    *out = (struct cb_layer){ .diff_id = *diff_id, .size = known.size };
    for (size_t i = 0; i < known.n_encodings; i++)
        if (cb_digest_eq(&known.encodings[i].digest, &f->digest))
            cb_layer_add_encoding(out, &known.encodings[i]);
    return 0;
}

static int take_layers(struct cb_importer *m, const struct item *it, const struct cb_image_config *c,
                       struct cb_layer *v, struct cb_error *err)
{
    for (size_t i = 0; i < it->layers.n; i++) {
        int r = take_layer(m, it->layers.v[i], &c->diff_ids[i], &v[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void add_named(struct cb_importer *m, const struct cb_image *img, const char *tag)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    cb_autofree char *name = NULL;
    if (tag && cb_reference_parse(&ref, tag, NULL) == 0) {
        cb_reference_default_tag(&ref);
        name = cb_reference_text(&ref);
    }
    struct cb_image copy = { 0 };
    /* Loaded again rather than copied: it is in the store by now. */
    if (cb_image_load(m->store, &img->desc, &img->config.platform, &copy, NULL) == 0)
        cb_import_add(m, &copy, name);
}

/* The archive has a config but no manifest: we write one. */
static int commit_item(struct cb_importer *m, const struct item *it, const struct cb_image_config *c,
                       const struct cb_layer *v, struct cb_error *err)
{
    struct cb_commit_options o = { .config = c, .config_text = &it->text, .layers = v, .n_layers = it->layers.n };
    struct cb_image img cb_cleanup_image = { 0 };
    int r = cb_image_commit(m->store, &o, &img, err);
    if (r < 0) {
        cb_error_wrap(err, "commit the image");
        return r;
    }
    for (size_t i = 0; i < it->tags.n; i++)
        add_named(m, &img, it->tags.v[i]);
    if (it->tags.n == 0)
        cb_import_add(m, &img, NULL);
    return 0;
}

static int take_item(struct cb_importer *m, struct item *it, struct cb_error *err)
{
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    int r = cb_import_text(m, it->config, &it->text, err);
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_EVERIFY, "config %s is not in the archive", it->config);
    if (r < 0 || (r = cb_image_config_parse(&c, it->text.buf, it->text.len, err)) < 0 ||
        (r = cb_image_config_check(&c, it->layers.n, err)) < 0) {
        cb_error_wrap(err, "%s", it->config);
        return r;
    }
    struct cb_layer *v = cb_calloc(it->layers.n + 1, sizeof *v);
    r = take_layers(m, it, &c, v, err);
    if (r == 0)
        r = commit_item(m, it, &c, v, err);
    cb_image_layers_free(v, it->layers.n);
    return r;
}

int cb_import_docker(struct cb_importer *m, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_import_text(m, "manifest.json", &text, err);
    if (r < 0)
        return r;
    cb_autojson json_t *list = cb_json_parse(text.buf, text.len, err);
    if (!list)
        r = -CB_EVERIFY;
    else if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > CB_MAX_INDEX_MANIFESTS)
        r = cb_error_set(err, CB_EVERIFY, "not a list of images");
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        struct item it = { .text = CB_STRBUF_INIT, .tags = CB_STRVEC_INIT, .layers = CB_STRVEC_INIT };
        r = parse_item(&it, json_array_get(list, i), err);
        if (r == 0)
            r = take_item(m, &it, err);
        cb_strbuf_done(&it.text);
        cb_strvec_done(&it.tags);
        cb_strvec_done(&it.layers);
    }
    if (r < 0)
        cb_error_wrap(err, "manifest.json");
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "edit/private.h"
#include "util/alloc.h"

/* Layers are compared by what is in them: the same base, compressed by somebody else, is the same base. */
static int check_prefix(const struct cb_image *i, const struct cb_image *base, struct cb_error *err)
{
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    size_t n = base->config.n_diff_ids;
    if (n > i->config.n_diff_ids)
        return cb_error_set(err, CB_ECONF, "the old base has %zu layers, the image only %zu: it does not stand on it",
                            n, i->config.n_diff_ids);
    for (size_t k = 0; k < n; k++)
        if (!cb_digest_eq(&i->config.diff_ids[k], &base->config.diff_ids[k]))
            return cb_error_set(err, CB_ECONF, "layer %zu of the image (%s) is not that of the old base (%s): it does "
                                               "not stand on it", k, cb_digest_text(&i->config.diff_ids[k], a),
                                cb_digest_text(&base->config.diff_ids[k], b));
    return 0;
}

/* Behind how many history entries the base ends: where its own history says so, else by counting layers. */
static size_t split_history(const json_t *history, const json_t *base, size_t layers)
{
    size_t i, own = json_array_size(base), seen = 0;
    json_t *h;
    bool same = own <= json_array_size(history);
    for (i = 0; same && i < own; i++)
        same = json_equal(json_array_get(history, i), json_array_get(base, i));
    if (same && own)
        return own;
    json_array_foreach(history, i, h) {
        if (seen == layers)
            return i;
        seen += !json_is_true(json_object_get(h, "empty_layer"));
    }
    return json_array_size(history);
}

static void splice(json_t *list, size_t n_old, const json_t *now)
{
    size_t i;
    json_t *v;
    for (i = 0; i < n_old; i++)
        json_array_remove(list, 0);
    json_array_foreach(now, i, v) {
        json_array_insert_new(list, i, json_deep_copy(v));
    }
}

static bool tells_all(const json_t *history, size_t layers)
{
    size_t i, n = 0;
    json_t *h;
    json_array_foreach(history, i, h) {
        n += !json_is_true(json_object_get(h, "empty_layer"));
    }
    return json_array_size(history) && n == layers;
}

static void splice_history(struct cb_edit_draft *d, const json_t *old, const json_t *now, size_t layers)
{
    size_t now_layers = json_array_size(json_object_get(json_object_get(now, "rootfs"), "diff_ids"));
    json_t *mine = json_object_get(d->config, "history");
    const json_t *theirs = json_object_get(now, "history");
    /* Where one side has none, or not of all layers, the other's would not fit the layers. */
    if (!tells_all(mine, d->old->image.config.n_diff_ids) || !tells_all(theirs, now_layers))
        json_object_del(d->config, "history");
    else
        splice(mine, split_history(mine, json_object_get(old, "history"), layers), theirs);
}

static void copy_member(json_t *to, const json_t *from, const char *key)
{
    json_t *v = json_object_get(from, key);
    if (v)
        cb_json_put(to, key, json_deep_copy(v));
    else
        json_object_del(to, key);
}

static int splice_layers(struct cb_edit_draft *d, const struct cb_edit_base *b, const json_t *config,
                         struct cb_error *err)
{
    const struct cb_image *now = &b->now->image;
    size_t n = b->old->image.config.n_diff_ids;
    bool docker = cb_mt_is_docker(json_string_value(json_object_get(d->manifest, "mediaType")));
    cb_autojson json_t *manifest = cb_json_parse(b->now->doc.body.buf, b->now->doc.body.len, err);
    json_t *layers = json_object_get(manifest, "layers");
    if (!manifest)
        return -CB_EVERIFY;
    for (size_t i = 0; i < now->manifest.n_layers; i++) {
        const struct cb_descriptor *l = &now->manifest.layers[i];
        int c = cb_mt_layer_compression(l->media_type);
        bool foreign = cb_mt_is_foreign_layer(l->media_type);
        /* The manifest stays of one family. */
        if (c >= 0 && !foreign && cb_mt_is_docker(l->media_type) != docker)
            cb_json_put(json_array_get(layers, i), "mediaType",
                        cb_json_string(cb_mt_layer((enum cb_compression)c, docker)));
        if (!(foreign && l->urls.n))
            cb_edit_plan_blob(d->plan, b->now_source, l);
    }
    splice(json_object_get(d->manifest, "layers"), n, layers);
    splice(json_object_get(json_object_get(d->config, "rootfs"), "diff_ids"), n,
           json_object_get(json_object_get(config, "rootfs"), "diff_ids"));
    return 0;
}

int cb_edit_rebase(struct cb_edit_draft *d, const struct cb_edit_base *b, struct cb_error *err)
{
    static const char *const platform[] = { "architecture", "os", "os.version", "os.features", "variant" };
    cb_autojson json_t *old = cb_json_parse(b->old->config_body.buf, b->old->config_body.len, err);
    cb_autojson json_t *now = cb_json_parse(b->now->config_body.buf, b->now->config_body.len, err);
    int r = old && now ? check_prefix(&d->old->image, &b->old->image, err) : -CB_EVERIFY;
    if (r < 0)
        return r;
    splice_history(d, old, now, b->old->image.config.n_diff_ids);
    for (size_t i = 0; i < CB_COUNTOF(platform); i++)
        copy_member(d->config, now, platform[i]);
    if (b->created)
        cb_json_put(d->config, "created", cb_json_string(b->created));
    return splice_layers(d, b, now, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Docker archives (`docker save`). Where they hold an OCI index too, as ours and newer Docker's do, the image is taken
 * from there and keeps its digest; else its manifest is made here, of the config and the layers as they stand. */
#include "copy/private.h"
#include "oci/json.h"
#include "util/alloc.h"

struct docker {
    struct cb_copy_source base;
    struct copy_files files;
    struct cb_descriptor desc;
    struct cb_strbuf manifest;
    struct cb_strmap paths; /* digest → path */
};

static int get_manifest(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                        struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct docker *x = (struct docker *)s;
    char text[CB_DIGEST_TEXT_MAX];
    if (tag || (cb_digest_is_set(digest) && !cb_digest_eq(digest, &x->desc.digest)))
        return cb_error_set(err, CB_ENOTFOUND, "%s has no %s", s->place->path,
                            tag ? tag : cb_digest_text(digest, text));
    cb_descriptor_copy(desc, &x->desc);
    cb_strbuf_add(body, x->manifest.buf, x->manifest.len);
    return 0;
}

static int get_blob(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                    struct cb_error *err)
{
    struct docker *x = (struct docker *)s;
    struct cb_blob_source *src = NULL;
    char text[CB_DIGEST_TEXT_MAX];
    const char *path = cb_strmap_get(&x->paths, cb_digest_text(&d->digest, text));
    if (!path)
        return cb_error_set(err, CB_ENOTFOUND, "%s has no blob %s", s->place->path, text);
    int r = copy_files_source(&x->files, path, NULL, NULL, &src, err);
    if (r == 0)
        *out = cb_blob_source_verify(src, &d->digest, d->size);
    return r;
}

static void close_it(struct cb_copy_source *s)
{
    struct docker *x = (struct docker *)s;
    copy_files_close(&x->files);
    cb_descriptor_done(&x->desc);
    cb_strbuf_done(&x->manifest);
    cb_strmap_done(&x->paths);
    free(x);
}

static const struct cb_copy_source_ops ops = { get_manifest, get_blob, NULL, NULL, NULL, false, close_it };

/* ---- the manifest ---- */

static const char *layer_type(struct cb_blob_source *src, struct cb_error *err)
{
    unsigned char b[4] = { 0 };
    size_t got = 0;
    if (cb_blob_read_full(src, b, sizeof b, &got, err) < 0)
        return NULL;
    enum cb_compression c = b[0] == 0x1f && b[1] == 0x8b                                    ? CB_COMPRESSION_GZIP
                            : b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd ? CB_COMPRESSION_ZSTD
                                                                                            : CB_COMPRESSION_NONE;
    return cb_mt_layer(c, false);
}

/* What a file of the archive is as a blob. */
static int describe(struct docker *x, const char *path, const char *media_type, struct cb_descriptor *out,
                    struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    char text[CB_DIGEST_TEXT_MAX];
    int r = copy_files_source(&x->files, path, &out->size, &out->digest, &src, err);
    if (r < 0)
        return r == -CB_ENOTFOUND ? cb_error_set(err, CB_EVERIFY, "%s is not in the archive", path) : r;
    const char *type = media_type ? media_type : layer_type(src, err);
    if (!type)
        return -CB_EVERIFY;
    out->media_type = cb_strdup(type);
    cb_strmap_set(&x->paths, cb_digest_text(&out->digest, text), path);
    return 0;
}

static int check_config(struct docker *x, const char *path, size_t n_layers, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_image_config config cb_cleanup_image_config = { 0 };
    int r = copy_files_text(&x->files, path, &text, err);
    if (r == 0)
        r = cb_image_config_parse(&config, text.buf, text.len, err);
    if (r == 0)
        r = cb_image_config_check(&config, n_layers, err);
    return r < 0 ? cb_error_wrap(err, "%s", path) : 0;
}

static int make_manifest(struct docker *x, const json_t *image, struct cb_error *err)
{
    struct cb_strvec layers cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_manifest m cb_cleanup_manifest = { .media_type = cb_strdup(CB_MT_OCI_MANIFEST) };
    const char *config = NULL;
    int r = cb_json_get_string(image, "Config", &config, err);
    if (r == 0)
        r = cb_json_get_strvec(image, "Layers", &layers, err);
    if (r == 0 && (!config || layers.n > CB_MAX_LAYERS))
        r = cb_error_set(err, CB_EVERIFY, "an image without Config, or with too many layers");
    if (r == 0)
        r = check_config(x, config, layers.n, err);
    if (r == 0)
        r = describe(x, config, CB_MT_OCI_CONFIG, &m.config, err);
    m.layers = cb_calloc(layers.n + 1, sizeof *m.layers);
    for (; r == 0 && m.n_layers < layers.n; m.n_layers++)
        r = describe(x, layers.v[m.n_layers], NULL, &m.layers[m.n_layers], err);
    if (r < 0)
        return r;
    cb_manifest_print(&x->manifest, &m);
    cb_descriptor_of(&x->desc, CB_MT_OCI_MANIFEST, x->manifest.buf, x->manifest.len);
    return 0;
}

static bool has_tag(const json_t *image, const char *name)
{
    struct cb_strvec tags cb_cleanup_strvec = CB_STRVEC_INIT;
    if (cb_json_get_strvec(image, "RepoTags", &tags, NULL) < 0)
        return false;
    for (size_t i = 0; i < tags.n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        if (cb_reference_parse(&ref, tags.v[i], NULL) < 0)
            continue;
        cb_reference_default_tag(&ref);
        cb_autofree char *text = cb_reference_text(&ref);
        if (!strcmp(text, name))
            return true;
    }
    return false;
}

static int read_images(struct docker *x, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *name = x->base.place->name;
    int r = copy_files_text(&x->files, "manifest.json", &text, err);
    if (r < 0)
        return r;
    cb_autojson json_t *list = cb_json_parse(text.buf, text.len, err);
    if (!list)
        return -CB_EVERIFY;
    const json_t *image = !name && json_array_size(list) == 1 ? json_array_get(list, 0) : NULL;
    for (size_t i = 0; name && !image && i < json_array_size(list); i++)
        image = has_tag(json_array_get(list, i), name) ? json_array_get(list, i) : NULL;
    if (!image && name)
        return cb_error_set(err, CB_ENOTFOUND, "it has no image %s", name);
    if (!image)
        return cb_error_set(err, CB_EUSAGE, "it holds %zu images: name one behind the path", json_array_size(list));
    return make_manifest(x, image, err);
}

int copy_source_docker(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                       struct cb_error *err)
{
    cb_autosource struct cb_blob_source *index = NULL;
    struct docker *x = CB_NEW(struct docker);
    x->base = (struct cb_copy_source){ &ops, env, p, true };
    x->manifest = (struct cb_strbuf)CB_STRBUF_INIT;
    int r = copy_files_open(&x->files, env, p->path, err);
    bool oci = r == 0 && copy_files_source(&x->files, "index.json", NULL, NULL, &index, NULL) == 0;
    if (r == 0 && !oci && (r = read_images(x, err)) < 0)
        cb_error_wrap(err, "Docker archive %s", p->path);
    if (r < 0 || oci)
        close_it(&x->base);
    else
        *out = &x->base;
    return oci ? copy_source_layout(env, p, out, err) : r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "oci/json.h"
#include "util/alloc.h"

static int no_platform(const struct cb_platform *want, const char *why, struct cb_error *err)
{
    struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&p, want);
    return cb_error_set(err, CB_ENOTFOUND, "%s for %s", why, p.buf);
}

/* ---- a manifest: it must be for all of them ---- */

static int check_manifest(struct cb_copy_source *from, const struct cb_platform *v, size_t n,
                          const struct cb_descriptor *desc, const struct cb_strbuf *body, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_image_config config cb_cleanup_image_config = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autosource struct cb_blob_source *src = NULL;
    int r = cb_manifest_parse(&m, body->buf, body->len, desc->media_type, err);
    if (r == 0)
        r = from->ops->blob(from, &m.config, &src, err);
    if (r == 0)
        r = cb_blob_read_all(src, CB_MAX_MANIFEST, &text, err);
    if (r == 0 && (r = cb_image_config_parse(&config, text.buf, text.len, err)) < 0)
        cb_error_wrap(err, "--platform needs an image");
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!cb_platform_match(&v[i], &config.platform))
            r = no_platform(&v[i], "it is a single image, and not", err);
    return r;
}

/* ---- an index ---- */

static int pick_one(struct cb_copy_source *from, const struct cb_platform *want, const struct cb_index *idx,
                    struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    const struct cb_descriptor *d = cb_index_select(idx, want);
    if (!d)
        return no_platform(want, "the index has nothing", err);
    struct cb_digest digest = d->digest;
    cb_descriptor_done(desc);
    cb_strbuf_done(body);
    return from->ops->manifest(from, NULL, &digest, desc, body, err);
}

/* BuildKit's provenance and SBOM of a manifest stand beside it in the index, and name it. */
static bool belongs_to(const struct cb_descriptor *d, const struct cb_index *idx, const bool *keep)
{
    const char *of = cb_strmap_get(&d->annotations, CB_ANN_REFERENCE_DIGEST);
    char text[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; of && i < idx->n_manifests; i++)
        if (keep[i] && !strcmp(of, cb_digest_text(&idx->manifests[i].digest, text)))
            return true;
    return false;
}

static int mark(const struct cb_platform *v, size_t n, const struct cb_index *idx, bool *keep, struct cb_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct cb_descriptor *d = cb_index_select(idx, &v[i]);
        if (!d)
            return no_platform(&v[i], "the index has nothing", err);
        if (cb_mt_is_index(d->media_type)) /* it would come whole */
            return cb_error_set(err, CB_EUSAGE, "the index lists another index: one platform can be taken of it, "
                                                "or everything, but not several");
        keep[d - idx->manifests] = true;
    }
    for (size_t i = 0; i < idx->n_manifests; i++)
        keep[i] = keep[i] || belongs_to(&idx->manifests[i], idx, keep);
    return 0;
}

/* The rest of the index stays as it is, unknown members too. */
static int cut(const struct cb_index *idx, const bool *keep, struct cb_descriptor *desc, struct cb_strbuf *body,
               struct cb_error *err)
{
    cb_autojson json_t *o = cb_json_parse(body->buf, body->len, err);
    const json_t *old = NULL;
    if (!o || cb_json_get_array(o, "manifests", &old, err) < 0)
        return -CB_EVERIFY;
    json_t *list = json_array();
    for (size_t i = 0; i < idx->n_manifests; i++)
        if (keep[i])
            json_array_append(list, json_array_get(old, i));
    json_object_set_new(o, "manifests", list);
    cb_autofree char *type = cb_strdup(desc->media_type);
    cb_strbuf_reset(body);
    cb_json_print(body, o);
    cb_descriptor_done(desc);
    cb_descriptor_of(desc, type, body->buf, body->len);
    return 0;
}

static int pick_several(const struct cb_platform *v, size_t n, const struct cb_index *idx, struct cb_descriptor *desc,
                        struct cb_strbuf *body, struct cb_error *err)
{
    cb_autofree bool *keep = cb_calloc(idx->n_manifests + 1, sizeof *keep);
    size_t kept = 0;
    int r = mark(v, n, idx, keep, err);
    for (size_t i = 0; i < idx->n_manifests; i++)
        kept += keep[i];
    return r < 0 || kept == idx->n_manifests ? r : cut(idx, keep, desc, body, err);
}

int copy_pick(struct cb_copy_source *from, const struct cb_platform *v, size_t n, struct cb_descriptor *desc,
              struct cb_strbuf *body, struct cb_error *err)
{
    if (!cb_mt_is_index(desc->media_type))
        return check_manifest(from, v, n, desc, body, err);
    for (unsigned depth = 0; cb_mt_is_index(desc->media_type); depth++) {
        struct cb_index idx cb_cleanup_index = { 0 };
        if (depth > CB_MAX_INDEX_DEPTH)
            return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
        int r = cb_index_parse(&idx, body->buf, body->len, desc->media_type, err);
        if (r == 0)
            r = n == 1 ? pick_one(from, &v[0], &idx, desc, body, err) : pick_several(v, n, &idx, desc, body, err);
        if (r < 0 || n > 1)
            return r;
    }
    return 0;
}

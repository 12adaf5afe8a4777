/* SPDX-License-Identifier: Apache-2.0 */
/* Which manifests an index lists. */
#include "edit/private.h"
#include "util/alloc.h"
#include "util/limits.h"

json_t *cb_edit_index_new(bool docker)
{
    json_t *o = json_object();
    cb_json_put(o, "schemaVersion", json_integer(2));
    cb_json_put(o, "mediaType", cb_json_string(docker ? CB_MT_DOCKER_LIST : CB_MT_OCI_INDEX));
    cb_json_put(o, "manifests", json_array());
    return o;
}

static const char *digest_of(const json_t *entry)
{
    return json_string_value(json_object_get(entry, "digest"));
}

/* Normalised; false where the entry has none. */
static bool platform_of(const json_t *entry, struct cb_platform *out)
{
    const json_t *p = json_object_get(entry, "platform");
    if (!json_is_object(p) || cb_platform_from_json(out, p, NULL) < 0)
        return false;
    cb_platform_normalize(out);
    return true;
}

static bool has_platform(const json_t *entry, const struct cb_platform *want)
{
    struct cb_platform is cb_cleanup_platform = { 0 };
    return platform_of(entry, &is) && cb_platform_eq(&is, want);
}

/* want: as it was written. */
static bool is_meant(const json_t *entry, const struct cb_platform *want)
{
    struct cb_platform is cb_cleanup_platform = { 0 };
    return platform_of(entry, &is) && cb_platform_means(want, &is);
}

/* ---- removing ---- */

static void remove_attestations(struct cb_edit_index *x, const char *of)
{
    json_t *list = json_object_get(x->o, "manifests");
    for (size_t i = json_array_size(list); i-- > 0;)
        if (cb_streq(cb_edit_attests(json_array_get(list, i)), of))
            json_array_remove(list, i);
}

static void remove_at(struct cb_edit_index *x, size_t i)
{
    json_t *list = json_object_get(x->o, "manifests");
    cb_autofree char *digest = cb_strdup_or_null(digest_of(json_array_get(list, i)));
    json_array_remove(list, i);
    if (digest)
        remove_attestations(x, digest);
}

int cb_edit_index_remove(struct cb_edit_index *x, const char *what, struct cb_error *err)
{
    json_t *list = json_object_get(x->o, "manifests");
    struct cb_platform p cb_cleanup_platform = { 0 };
    bool digest = strchr(what, ':') != NULL;
    size_t before = json_array_size(list);
    int r = digest ? 0 : cb_platform_parse(&p, what, err);
    if (r < 0)
        return r;
    for (size_t i = before; i-- > 0;) {
        const json_t *entry = json_array_get(list, i);
        if (entry && (digest ? cb_streq(digest_of(entry), what) : is_meant(entry, &p))) {
            remove_at(x, i);
            x->removed++;
        }
    }
    return json_array_size(list) < before ? 0 : cb_error_set(err, CB_ENOTFOUND, "the index has no %s", what);
}

/* ---- adding ---- */

static bool is_chosen(const struct cb_edit_index *x, const json_t *entry)
{
    for (size_t i = 0; i < x->n_platforms; i++)
        if (is_meant(entry, &x->platforms[i]))
            return true;
    return x->n_platforms == 0;
}

static size_t find_digest(const json_t *list, const char *digest)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) {
        if (cb_streq(digest_of(v), digest))
            return i;
    }
    return SIZE_MAX;
}

static size_t find_platform(const json_t *list, const json_t *entry)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    size_t i;
    json_t *v;
    if (!platform_of(entry, &p))
        return SIZE_MAX;
    json_array_foreach(list, i, v) {
        if (!cb_edit_attests(v) && has_platform(v, &p))
            return i;
    }
    return SIZE_MAX;
}

static int refuse_platform(const json_t *entry, struct cb_error *err)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (platform_of(entry, &p))
        cb_strbuf_add_platform(&name, &p);
    return cb_error_set(err, CB_ECONF, "there are two images for %s: --platform chooses", name.buf);
}

/* Where it stands before, there it stands afterwards: the order of an index is its meaning to old clients. */
static int put_entry(struct cb_edit_index *x, json_t *entry, struct cb_error *err)
{
    json_t *list = json_object_get(x->o, "manifests");
    size_t at = find_digest(list, digest_of(entry));
    if (at != SIZE_MAX)
        return 0;
    at = cb_edit_attests(entry) ? SIZE_MAX : find_platform(list, entry);
    if (at == SIZE_MAX) {
        json_array_append(list, entry);
        x->added++;
        return 0;
    }
    if (x->refuse_same)
        return refuse_platform(entry, err);
    cb_autofree char *old = cb_strdup_or_null(digest_of(json_array_get(list, at)));
    json_array_set(list, at, entry);
    x->replaced++;
    if (old)
        remove_attestations(x, old);
    return 0;
}

static int parse(const struct cb_edit_doc *doc, struct cb_manifest *m, struct cb_error *err)
{
    return cb_manifest_parse(m, doc->body.buf, doc->body.len, doc->desc.media_type, err);
}

static void plan_parts(struct cb_edit_plan *p, const struct cb_edit_source *s, const struct cb_edit_doc *doc,
                       const struct cb_manifest *m)
{
    cb_edit_plan_blob(p, s, &m->config);
    for (size_t i = 0; i < m->n_layers; i++)
        if (!(m->layers[i].urls.n && cb_mt_is_foreign_layer(m->layers[i].media_type)))
            cb_edit_plan_blob(p, s, &m->layers[i]);
    cb_edit_plan_doc(p, &doc->desc, doc->body.buf, doc->body.len);
}

static int plan_doc(struct cb_edit_plan *p, const struct cb_edit_source *s, const struct cb_edit_doc *doc,
                    struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    int r = parse(doc, &m, err);
    if (r == 0)
        plan_parts(p, s, doc, &m);
    return r;
}

/* What somebody says of a manifest takes the place of what it says itself: all annotations, and members of the
 * platform. */
static void describe(json_t *entry, const json_t *as)
{
    const json_t *platform = json_object_get(as, "platform"), *annotations = json_object_get(as, "annotations");
    if (json_is_object(annotations))
        cb_json_put(entry, "annotations", json_deep_copy(annotations));
    if (!json_is_object(platform))
        return;
    cb_autojson json_t *all = json_object();
    json_object_update(all, json_object_get(entry, "platform"));
    json_object_update(all, (json_t *)(uintptr_t)platform);
    json_object_set(entry, "platform", all);
}

/* A manifest alone: what an index says of it beside the digest is in its config. */
static int add_single(struct cb_edit_index *x, const struct cb_edit_source *s, struct cb_edit_doc *doc,
                      struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_edit_image image cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    const struct cb_edit_doc *whole = doc;
    cb_autojson json_t *entry = cb_descriptor_to_json(&doc->desc);
    int r = parse(doc, &m, err);
    if (r < 0)
        return r;
    if (!cb_manifest_is_image(&m)) {
        cb_json_put_string(entry, "artifactType", m.artifact_type ? m.artifact_type : m.config.media_type);
    } else {
        r = cb_edit_image_read(s, doc, &image, err);
        if (r < 0)
            return r;
        whole = &image.doc;
        if (image.image.config.platform.arch)
            cb_json_put(entry, "platform", cb_platform_to_json(&image.image.config.platform));
    }
    describe(entry, x->as);
    if (!is_chosen(x, entry))
        return x->pass_over ? 0 : cb_error_set(err, CB_ECONF, "it is not for a platform of --platform");
    plan_parts(x->plan, s, whole, &m);
    return put_entry(x, entry, err);
}

static int add_entry(struct cb_edit_index *x, const struct cb_edit_source *s, const struct cb_descriptor *d,
                     json_t *entry, struct cb_error *err)
{
    struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    if (cb_mt_is_index(d->media_type))
        return cb_error_set(err, CB_ECONF, "it lists another index: name that one");
    int r = cb_edit_source_doc(s, d, &doc, err);
    if (r == 0)
        r = plan_doc(x->plan, s, &doc, err);
    return r < 0 ? r : put_entry(x, entry, err);
}

/* Of an attestation: whether what it is about is taken. */
static bool is_taken(const struct cb_edit_index *x, const json_t *list, const json_t *entry)
{
    const char *of = cb_edit_attests(entry);
    size_t at = of ? find_digest(list, of) : SIZE_MAX;
    return is_chosen(x, at == SIZE_MAX ? entry : json_array_get(list, at));
}

static int add_index(struct cb_edit_index *x, const struct cb_edit_source *s, const struct cb_edit_doc *doc,
                     struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    cb_autojson json_t *o = cb_json_parse(doc->body.buf, doc->body.len, err);
    int r = o ? cb_index_parse(&idx, doc->body.buf, doc->body.len, doc->desc.media_type, err) : -CB_EVERIFY;
    const json_t *list = json_object_get(o, "manifests");
    size_t taken = 0;
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
        json_t *entry = json_array_get(list, i);
        if (!is_taken(x, list, entry))
            continue;
        taken++;
        r = add_entry(x, s, &idx.manifests[i], entry, err);
    }
    if (r == 0 && !taken && !x->pass_over)
        r = cb_error_set(err, CB_ECONF, "it has no image for a platform of --platform");
    return r;
}

bool cb_edit_index_has(const struct cb_edit_index *x, const struct cb_platform *p)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(x->o, "manifests"), i, v) {
        if (is_meant(v, p))
            return true;
    }
    return false;
}

int cb_edit_index_add(struct cb_edit_index *x, const struct cb_edit_source *s, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    int r = cb_edit_source_top(s, &doc, &e);
    if (r == 0)
        r = cb_mt_is_index(doc.desc.media_type) ? add_index(x, s, &doc, &e) : add_single(x, s, &doc, &e);
    if (r == 0 && json_array_size(json_object_get(x->o, "manifests")) > CB_MAX_INDEX_MANIFESTS)
        r = cb_error_set(&e, CB_ECONF, "the index would have more than %d entries", CB_MAX_INDEX_MANIFESTS);
    if (r < 0) {
        cb_error_wrap(&e, "%s", s->text);
        return cb_error_move(err, &e);
    }
    return 0;
}

/* ---- as it is ---- */

static int plan_tree(struct cb_edit_plan *p, const struct cb_edit_source *s, const struct cb_edit_doc *doc,
                     unsigned depth, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    if (!cb_mt_is_index(doc->desc.media_type))
        return plan_doc(p, s, doc, err);
    if (depth > CB_MAX_INDEX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    int r = cb_index_parse(&idx, doc->body.buf, doc->body.len, doc->desc.media_type, err);
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
        struct cb_edit_doc below cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
        if (edit_plan_has_doc(p, &idx.manifests[i]))
            continue; /* with all below it */
        r = cb_edit_source_doc(s, &idx.manifests[i], &below, err);
        if (r == 0)
            r = plan_tree(p, s, &below, depth + 1, err);
    }
    if (r == 0)
        cb_edit_plan_doc(p, &doc->desc, doc->body.buf, doc->body.len);
    return r;
}

int cb_edit_plan_tree(struct cb_edit_plan *p, const struct cb_edit_source *s, const struct cb_edit_doc *doc,
                      struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (plan_tree(p, s, doc, 0, &e) == 0)
        return 0;
    cb_error_wrap(&e, "%s", s->text);
    return cb_error_move(err, &e);
}

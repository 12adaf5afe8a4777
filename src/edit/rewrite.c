/* SPDX-License-Identifier: Apache-2.0 */
/* An edit of all that a reference names, from the leaves to the root. What an edit does not change keeps its bytes;
 * what is above it changes by nothing but the digest. */
#include "edit/private.h"
#include "util/alloc.h"
#include "util/limits.h"

struct rewrite {
    const struct cb_edit_rewrite *o;
    struct cb_edit_plan *plan;
    bool same_repo; /* what is kept is there already */
    unsigned depth;
    size_t meant;   /* manifests */
};

static void note(const struct rewrite *w, const char *line)
{
    if (w->o->note)
        w->o->note(w->o->note_arg, line);
}

/* ---- what stays as it is ---- */

static void plan_manifest_blobs(struct rewrite *w, const struct cb_manifest *m)
{
    cb_edit_plan_blob(w->plan, w->o->source, &m->config);
    for (size_t i = 0; i < m->n_layers; i++)
        if (!(m->layers[i].urls.n && cb_mt_is_foreign_layer(m->layers[i].media_type)))
            cb_edit_plan_blob(w->plan, w->o->source, &m->layers[i]);
}

static int keep(struct rewrite *w, const struct cb_edit_doc *doc, struct cb_error *err);

static int keep_children(struct rewrite *w, const struct cb_edit_doc *doc, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_index_parse(&idx, doc->body.buf, doc->body.len, doc->desc.media_type, err);
    if (r == 0 && w->depth >= CB_MAX_INDEX_DEPTH)
        r = cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    w->depth++;
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
        struct cb_edit_doc child cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
        r = cb_edit_source_doc(w->o->source, &idx.manifests[i], &child, err);
        if (r == 0)
            r = keep(w, &child, err);
    }
    w->depth--;
    return r;
}

/* In another repository everything below it has to be there first. */
static int keep(struct rewrite *w, const struct cb_edit_doc *doc, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    int r = 0;
    if (cb_mt_is_index(doc->desc.media_type)) {
        r = keep_children(w, doc, err);
    } else {
        r = cb_manifest_parse(&m, doc->body.buf, doc->body.len, doc->desc.media_type, err);
        if (r == 0)
            plan_manifest_blobs(w, &m);
    }
    if (r == 0)
        cb_edit_plan_doc(w->plan, &doc->desc, doc->body.buf, doc->body.len);
    return r;
}

static int keep_entry(struct rewrite *w, const struct cb_descriptor *d, struct cb_error *err)
{
    struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    if (w->same_repo)
        return 0;
    int r = cb_edit_source_doc(w->o->source, d, &doc, err);
    return r < 0 ? r : keep(w, &doc, err);
}

/* ---- one manifest ---- */

/* The bytes of o, or the old ones where it says the same: an edit that changes nothing is no new manifest. */
static void print(const json_t *o, const json_t *old, const struct cb_strbuf *old_body, struct cb_strbuf *out)
{
    if (json_equal(o, old))
        cb_strbuf_add(out, old_body->buf, old_body->len);
    else
        cb_json_print(out, o);
}

static const char *type_of(const json_t *o, const char *fallback)
{
    const char *mt = json_string_value(json_object_get(o, "mediaType"));
    return mt ? mt : fallback;
}

static int set_config(struct cb_edit_draft *d, const json_t *old, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_image_config check cb_cleanup_image_config = { 0 };
    json_t *entry = json_object_get(d->manifest, "config");
    print(d->config, old, &d->old->config_body, &body);
    if (body.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ECONF, "the image configuration would have more than %u bytes", CB_MAX_MANIFEST);
    cb_descriptor_of(&desc, type_of(entry, CB_MT_OCI_CONFIG), body.buf, body.len);
    if (cb_digest_eq(&desc.digest, &d->old->image.manifest.config.digest))
        return 0;
    int r = cb_image_config_parse(&check, body.buf, body.len, err);
    if (r == 0)
        r = cb_image_config_check(&check, json_array_size(json_object_get(d->manifest, "layers")), err);
    if (r < 0)
        return cb_error_wrap(err, "the configuration that would come of it");
    cb_edit_entry_set(entry, &desc);
    cb_edit_plan_bytes(d->plan, &desc, body.buf, body.len);
    return 0;
}

/* Which of its layers the source has: those of before. The others were put into the plan by who added them. */
static void plan_old_layers(struct rewrite *w, const struct cb_edit_image *old, const json_t *manifest)
{
    char text[CB_DIGEST_TEXT_MAX];
    const json_t *layers = json_object_get(manifest, "layers");
    const struct cb_manifest *m = &old->image.manifest;
    for (size_t i = 0; i < m->n_layers; i++) {
        size_t k;
        json_t *v;
        bool used = false;
        cb_digest_text(&m->layers[i].digest, text);
        json_array_foreach(layers, k, v) {
            used = used || cb_streq(json_string_value(json_object_get(v, "digest")), text);
        }
        if (used && !(m->layers[i].urls.n && cb_mt_is_foreign_layer(m->layers[i].media_type)))
            cb_edit_plan_blob(w->plan, w->o->source, &m->layers[i]);
    }
}

static int edit_image(struct rewrite *w, struct cb_edit_doc *doc, json_t *manifest, struct cb_error *err)
{
    struct cb_edit_image old cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    int r = cb_edit_image_read(w->o->source, doc, &old, err);
    if (r < 0)
        return r;
    cb_autojson json_t *before = cb_json_parse(old.config_body.buf, old.config_body.len, err);
    cb_autojson json_t *config = json_deep_copy(before);
    struct cb_edit_draft d = {
        .source = w->o->source, .old = &old, .manifest = manifest, .config = config, .plan = w->plan
    };
    if (!before)
        return -CB_EVERIFY;
    r = w->o->image(w->o->arg, &d, err);
    if (r == 0)
        r = set_config(&d, before, err);
    if (r == 0) {
        plan_old_layers(w, &old, manifest);
        if (json_equal(config, before))
            cb_edit_plan_blob(w->plan, w->o->source, &old.image.manifest.config);
    }
    *doc = old.doc;
    old.doc = (struct cb_edit_doc)CB_EDIT_DOC_INIT;
    return r;
}

/* Docker's manifests have no annotations: clients drop or refuse them. */
static int check_annotations(const json_t *now, const json_t *before, const char *type, struct cb_error *err)
{
    const json_t *a = json_object_get(now, "annotations");
    if (!cb_mt_is_docker(type) || !a || json_equal(a, json_object_get(before, "annotations")))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "Docker's format has no annotations: --oci makes it an OCI image");
}

static int finish_doc(struct rewrite *w, struct cb_edit_doc *doc, json_t *now, const json_t *before,
                      struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    const char *type = type_of(now, doc->desc.media_type);
    int r = check_annotations(now, before, type, err);
    if (r < 0)
        return r;
    print(now, before, &doc->body, &body);
    if (body.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ECONF, "it would have more than %u bytes", CB_MAX_MANIFEST);
    const char *is = cb_manifest_detect(body.buf, body.len, type, err);
    if (!is)
        return -CB_EVERIFY;
    cb_descriptor_of(&desc, is, body.buf, body.len);
    /* What was asked for by another algorithm keeps its name where it keeps its bytes. */
    if (json_equal(now, before))
        desc.digest = doc->desc.digest;
    cb_edit_plan_doc(w->plan, &desc, body.buf, body.len);
    free(doc->desc.media_type);
    doc->desc.media_type = CB_TAKE(desc.media_type);
    doc->desc.digest = desc.digest;
    doc->desc.size = desc.size;
    return 0;
}

/* An artifact in an index is passed over where images are meant. Where they are not, no configuration is read. */
static int edit_manifest(struct rewrite *w, struct cb_edit_doc *doc, const struct cb_manifest *m, json_t *now,
                         struct cb_error *err)
{
    if (cb_manifest_is_image(m) && w->o->image)
        return edit_image(w, doc, now, err);
    if (w->o->image && w->depth == 0)
        return cb_manifest_no_image(m, err);
    plan_manifest_blobs(w, m);
    return 0;
}

/* doc becomes the new one, but for its body. */
static int rewrite_manifest(struct rewrite *w, struct cb_edit_doc *doc, const struct cb_platform *platform,
                            struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    cb_autojson json_t *before = cb_json_parse(doc->body.buf, doc->body.len, err);
    cb_autojson json_t *now = json_deep_copy(before);
    int r = before ? cb_manifest_parse(&m, doc->body.buf, doc->body.len, doc->desc.media_type, err) : -CB_EVERIFY;
    if (r < 0)
        return r;
    bool passed_over = w->o->image && !cb_manifest_is_image(&m);
    if (w->o->oci)
        cb_edit_to_oci(now);
    r = edit_manifest(w, doc, &m, now, err);
    w->meant += !passed_over;
    if (r == 0 && w->o->manifest && !passed_over)
        r = w->o->manifest(w->o->arg, now, platform, err);
    return r < 0 ? r : finish_doc(w, doc, now, before, err);
}

/* ---- an index ---- */

static bool is_chosen(const struct rewrite *w, const struct cb_platform *p)
{
    struct cb_platform is cb_cleanup_platform = { 0 };
    if (!w->o->n_platforms)
        return true;
    if (!p)
        return false;
    cb_platform_copy(&is, p);
    cb_platform_normalize(&is);
    for (size_t i = 0; i < w->o->n_platforms; i++)
        if (cb_platform_means(&w->o->platforms[i], &is))
            return true;
    return false;
}

static int rewrite_index(struct rewrite *w, struct cb_edit_doc *doc, struct cb_error *err);

static bool edits_manifests(const struct cb_edit_rewrite *o)
{
    return o->image || o->manifest || o->entry || o->oci;
}

static int rewrite_entry(struct rewrite *w, const struct cb_descriptor *d, json_t *entry, struct cb_error *err)
{
    struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    bool index = cb_mt_is_index(d->media_type);
    if (!edits_manifests(w->o) || (!index && !is_chosen(w, d->platform)))
        return keep_entry(w, d, err);
    int r = cb_edit_source_doc(w->o->source, d, &doc, err);
    if (r == 0)
        r = index ? rewrite_index(w, &doc, err) : rewrite_manifest(w, &doc, d->platform, err);
    if (r < 0)
        return r;
    if (!cb_digest_eq(&doc.desc.digest, &d->digest))
        cb_edit_entry_set(entry, &doc.desc);
    return !index && w->o->entry ? w->o->entry(w->o->arg, entry, d->platform, err) : 0;
}

/* Whether the entry that had this digest has another one now. */
static bool is_changed(const struct cb_index *before, const json_t *entries, const char *digest)
{
    char text[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; i < before->n_manifests; i++) {
        const json_t *now = json_object_get(json_array_get(entries, i), "digest");
        if (!strcmp(cb_digest_text(&before->manifests[i].digest, text), digest))
            return !cb_streq(json_string_value(now), digest);
    }
    return false;
}

/* What an attestation says is true of the image that it was made for, and of no other one. */
static int settle_attestations(struct rewrite *w, const struct cb_index *before, json_t *entries,
                               struct cb_error *err)
{
    cb_autojson json_t *changed = json_copy(entries);
    int r = 0;
    for (size_t i = before->n_manifests; r == 0 && i-- > 0;) {
        const char *of = cb_edit_attests(json_array_get(entries, i));
        cb_autofree char *line = NULL;
        if (!of)
            continue;
        if (!is_changed(before, changed, of)) {
            r = keep_entry(w, &before->manifests[i], err);
            continue;
        }
        line = cb_asprintf("the attestation of %.19s is left out: it was of the image as it had been", of);
        note(w, line);
        json_array_remove(entries, i);
    }
    return r;
}

static int rewrite_entries(struct rewrite *w, const struct cb_index *before, json_t *entries, struct cb_error *err)
{
    int r = 0;
    char text[CB_DIGEST_TEXT_MAX];
    w->depth++;
    for (size_t i = 0; r == 0 && i < before->n_manifests; i++) {
        json_t *entry = json_array_get(entries, i);
        if (cb_edit_attests(entry))
            continue;
        r = rewrite_entry(w, &before->manifests[i], entry, err);
        if (r < 0)
            cb_error_wrap(err, "%s", cb_digest_text(&before->manifests[i].digest, text));
    }
    w->depth--;
    return r < 0 ? r : settle_attestations(w, before, entries, err);
}

static int rewrite_index(struct rewrite *w, struct cb_edit_doc *doc, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    cb_autojson json_t *before = cb_json_parse(doc->body.buf, doc->body.len, err);
    cb_autojson json_t *now = json_deep_copy(before);
    int r = before ? cb_index_parse(&idx, doc->body.buf, doc->body.len, doc->desc.media_type, err) : -CB_EVERIFY;
    if (r == 0 && w->depth > CB_MAX_INDEX_DEPTH)
        r = cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    if (r < 0)
        return r;
    if (w->o->oci)
        cb_edit_to_oci(now);
    r = rewrite_entries(w, &idx, json_object_get(now, "manifests"), err);
    if (r == 0 && w->depth == 0 && w->o->index)
        r = w->o->index(w->o->arg, now, w->plan, err);
    return r < 0 ? r : finish_doc(w, doc, now, before, err);
}

/* ---- all ---- */

static int check_chosen(const struct rewrite *w, struct cb_error *err)
{
    struct cb_strbuf names cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (w->meant || !w->o->n_platforms)
        return 0;
    for (size_t i = 0; i < w->o->n_platforms; i++) {
        cb_strbuf_adds(&names, i ? ", " : "");
        cb_strbuf_add_platform(&names, &w->o->platforms[i]);
    }
    return cb_error_set(err, CB_ECONF, "it has no image for %s", names.buf);
}

static int rewrite_top(struct rewrite *w, struct cb_edit_doc *top, struct cb_error *err)
{
    if (cb_mt_is_index(top->desc.media_type))
        return rewrite_index(w, top, err);
    if (w->o->only_index)
        return cb_error_set(err, CB_EUSAGE, "it is no index but a single image: `cbpush index create` makes one");
    if (w->o->n_platforms)
        return cb_error_set(err, CB_EUSAGE, "--platform chooses from an index, and this is a single image");
    return rewrite_manifest(w, top, NULL, err);
}

static bool is_same_tag(const struct rewrite *w)
{
    return w->same_repo && w->o->target->tag && cb_streq(w->o->target->tag, w->o->source->ref.tag);
}

/* The tag stands for it already. */
static int unchanged(const struct rewrite *w, const struct cb_edit_doc *top, struct cb_edit_pushed *out)
{
    *out = (struct cb_edit_pushed){ 0 };
    cb_reference_copy(&out->ref, w->o->target);
    out->ref.digest = top->desc.digest;
    cb_descriptor_copy(&out->desc, &top->desc);
    return 0;
}

static int run(struct rewrite *w, struct cb_edit_pushed *out, struct cb_error *err)
{
    struct cb_edit_doc top cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    struct cb_descriptor was cb_cleanup_descriptor = { 0 };
    const struct cb_reference *from = &w->o->source->ref, *to = w->o->target;
    w->same_repo = !strcmp(from->host, to->host) && !strcmp(from->repo, to->repo);
    int r = cb_edit_source_top(w->o->source, &top, err);
    if (r < 0)
        return r;
    cb_descriptor_copy(&was, &top.desc);
    r = rewrite_top(w, &top, err);
    if (r == 0)
        r = check_chosen(w, err);
    if (r == 0 && w->o->ready)
        r = w->o->ready(w->o->arg, err);
    if (r < 0)
        return r;
    if (cb_digest_eq(&top.desc.digest, &was.digest) && is_same_tag(w))
        return unchanged(w, &top, out);
    return cb_edit_plan_push(w->plan, to, is_same_tag(w) ? &was : NULL, out, err);
}

int cb_edit_rewrite(const struct cb_edit_rewrite *o, struct cb_edit_pushed *out, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(o->source->env);
    struct rewrite w = { .o = o, .plan = plan };
    int r = run(&w, out, &e);
    if (r < 0) {
        cb_error_wrap(&e, "%s", o->source->text);
        return cb_error_move(err, &e);
    }
    return 0;
}

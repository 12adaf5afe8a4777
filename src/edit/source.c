/* SPDX-License-Identifier: Apache-2.0 */
#include "edit/private.h"
#include "util/alloc.h"
#include "util/limits.h"

void cb_edit_doc_done(struct cb_edit_doc *d)
{
    cb_descriptor_done(&d->desc);
    cb_strbuf_done(&d->body);
}

void cb_edit_source_done(struct cb_edit_source *s)
{
    cb_reference_done(&s->ref);
    free(s->text);
    *s = (struct cb_edit_source){ 0 };
}

#define STORE_PREFIX "store:"
#define REGISTRY_PREFIX "docker://"

int cb_edit_source_parse(struct cb_edit_source *out, const struct cb_edit_env *env, const char *text,
                         struct cb_error *err)
{
    *out = (struct cb_edit_source){ .env = env };
    if (cb_starts_with(text, STORE_PREFIX)) {
        out->stored = true;
        out->text = cb_strdup(text + strlen(STORE_PREFIX));
        return *out->text ? 0 : cb_error_set(err, CB_EUSAGE, "store: wants the name of an image behind it");
    }
    if (cb_starts_with(text, REGISTRY_PREFIX))
        text += strlen(REGISTRY_PREFIX);
    int r = cb_reference_parse_word(&out->ref, text, err);
    if (r < 0)
        return r;
    cb_reference_default_tag(&out->ref);
    out->text = cb_reference_text(&out->ref);
    return 0;
}

/* ---- documents ---- */

static int from_store(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_edit_doc *out,
                      struct cb_error *err)
{
    int r = cb_store_blob_get(s->env->store, &d->digest, CB_MAX_MANIFEST, &out->body, err);
    if (r == 0)
        cb_descriptor_copy(&out->desc, d);
    return r;
}

static int from_registry(const struct cb_edit_source *s, const struct cb_reference *ref, struct cb_edit_doc *out,
                         struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = cb_registry_manifest(s->env->registry, ref, &f, err);
    if (r < 0)
        return r;
    cb_descriptor_copy(&out->desc, &f.desc);
    cb_strbuf_add(&out->body, f.body.buf, f.body.len);
    return 0;
}

/* Who forgot the prefix is told. */
static int not_found(const struct cb_edit_source *s, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int http_status = err->http_status;
    if (cb_store_name_get(s->env->store, s->text, &d, NULL) == 0)
        cb_error_set(err, CB_ENOTFOUND, "%s (the local store has it: store:%s)", cb_error_text(err), s->text);
    err->http_status = http_status;
    return -CB_ENOTFOUND;
}

int cb_edit_source_top(const struct cb_edit_source *s, struct cb_edit_doc *out, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    *out = (struct cb_edit_doc)CB_EDIT_DOC_INIT;
    int r;
    if (s->stored) {
        r = cb_store_find(s->env->store, s->text, &d, NULL, &e);
        if (r == 0)
            r = from_store(s, &d, out, &e);
    } else {
        r = from_registry(s, &s->ref, out, &e);
        if (r == -CB_ENOTFOUND)
            r = not_found(s, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

static int check_doc(const struct cb_descriptor *d, const struct cb_edit_doc *have, struct cb_error *err)
{
    if (have->body.len != d->size)
        return cb_error_set(err, CB_EVERIFY, "it has %zu bytes, its descriptor says %llu", have->body.len,
                            (unsigned long long)d->size);
    const char *is = cb_manifest_detect(have->body.buf, have->body.len, NULL, err);
    if (!is)
        return -CB_EVERIFY;
    if (strcmp(is, d->media_type) != 0)
        return cb_error_set(err, CB_EVERIFY, "it is %s, its descriptor says %s", is, d->media_type);
    return 0;
}

static int get_doc(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_edit_doc *out,
                   struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (s->stored || (!s->strict && cb_store_blob_has(s->env->store, &d->digest, NULL)))
        return from_store(s, d, out, err);
    cb_reference_copy(&ref, &s->ref);
    ref.digest = d->digest;
    return from_registry(s, &ref, out, err);
}

int cb_edit_source_doc(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_edit_doc *out,
                       struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    *out = (struct cb_edit_doc)CB_EDIT_DOC_INIT;
    int r = get_doc(s, d, out, &e);
    if (r == 0)
        r = check_doc(d, out, &e);
    if (r < 0) {
        cb_edit_doc_done(out);
        cb_error_wrap(&e, "%s %s", cb_mt_is_index(d->media_type) ? "index" : "manifest",
                      cb_digest_text(&d->digest, text));
        return cb_error_move(err, &e);
    }
    cb_descriptor_copy(&out->desc, d);
    return 0;
}

/* ---- blobs ---- */

int cb_edit_source_blob(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                        struct cb_error *err)
{
    struct cb_blob_source *src = NULL;
    if (!s->stored && (s->strict || !cb_store_blob_has(s->env->store, &d->digest, NULL)))
        return cb_registry_blob(s->env->registry, s->ref.host, s->ref.repo, d, out, err);
    int r = cb_store_blob_source(s->env->store, &d->digest, &src, err);
    if (r == 0)
        *out = cb_blob_source_verify(src, &d->digest, d->size);
    return r;
}

static int from_origin(const struct cb_edit_source *s, const struct cb_descriptor *d, const struct cb_digest *diff_id,
                       struct cb_blob_source **out, struct cb_error *err)
{
    struct cb_layer l cb_cleanup_layer = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_store_layer_get(s->env->store, diff_id, &l, &e);
    for (size_t i = 0; r == 0 && i < l.n_origins; i++) {
        if (!cb_digest_eq(&l.origins[i].digest, &d->digest))
            continue;
        r = cb_registry_blob(s->env->registry, l.origins[i].host, l.origins[i].repo, d, out, &e);
        if (r == 0)
            return 0;
        r = r == -CB_ECANCELED ? r : 0; /* the next one may have it */
    }
    if (!e.code)
        cb_error_set(&e, CB_ENOTFOUND, "the store does not have it, and knows no repository that has");
    cb_image_advise_lost(&e);
    return cb_error_move(err, &e);
}

int cb_edit_source_layer(const struct cb_edit_source *s, const struct cb_descriptor *d,
                         const struct cb_digest *diff_id, struct cb_blob_source **out, struct cb_error *err)
{
    if (s->stored && !cb_store_blob_has(s->env->store, &d->digest, NULL))
        return from_origin(s, d, diff_id, out, err);
    return cb_edit_source_blob(s, d, out, err);
}

int cb_edit_source_small(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_strbuf *out,
                         struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    if (d->size > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_EVERIFY, "%llu bytes are more than %u", (unsigned long long)d->size,
                            CB_MAX_MANIFEST);
    int r = cb_edit_source_blob(s, d, &src, err);
    return r < 0 ? r : cb_blob_read_all(src, CB_MAX_MANIFEST, out, err);
}

/* ---- images ---- */

void cb_edit_image_done(struct cb_edit_image *i)
{
    cb_edit_doc_done(&i->doc);
    cb_strbuf_done(&i->config_body);
    cb_image_done(&i->image);
}

static int read_image(const struct cb_edit_source *s, struct cb_edit_image *i, struct cb_error *err)
{
    struct cb_manifest *m = &i->image.manifest;
    const struct cb_descriptor *d = &i->doc.desc;
    if (cb_mt_is_index(d->media_type))
        return cb_error_set(err, CB_EVERIFY, "it is an index");
    int r = cb_manifest_parse(m, i->doc.body.buf, i->doc.body.len, d->media_type, err);
    if (r == 0 && !cb_manifest_is_image(m))
        r = cb_manifest_no_image(m, err);
    if (r == 0)
        r = cb_edit_source_small(s, &m->config, &i->config_body, err);
    if (r == 0)
        r = cb_image_config_parse(&i->image.config, i->config_body.buf, i->config_body.len, err);
    return r < 0 ? r : cb_image_config_check(&i->image.config, m->n_layers, err);
}

int cb_edit_image_read(const struct cb_edit_source *s, struct cb_edit_doc *doc, struct cb_edit_image *out,
                       struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_edit_image i cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    i.doc = *doc;
    *doc = (struct cb_edit_doc)CB_EDIT_DOC_INIT;
    cb_descriptor_copy(&i.image.desc, &i.doc.desc);
    int r = read_image(s, &i, &e);
    if (r < 0) {
        cb_error_wrap(&e, "image %s", cb_digest_text(&i.doc.desc.digest, text));
        return cb_error_move(err, &e);
    }
    *out = i;
    i = (struct cb_edit_image)CB_EDIT_IMAGE_INIT;
    return 0;
}

static int select_entry(const struct cb_edit_doc *index, const struct cb_platform *want, struct cb_descriptor *out,
                        struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_index_parse(&idx, index->body.buf, index->body.len, index->desc.media_type, err);
    if (r < 0)
        return r;
    const struct cb_descriptor *best = cb_index_select(&idx, want);
    if (!best) {
        struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_add_platform(&name, want);
        return cb_error_set(err, CB_ENOTFOUND, "the image has no variant for %s (--platform chooses another)",
                            name.buf);
    }
    cb_descriptor_copy(out, best);
    return 0;
}

/* Through indexes, maybe in one another, to the manifest. */
static int descend(const struct cb_edit_source *s, const struct cb_platform *want, struct cb_edit_doc *at,
                   struct cb_error *err)
{
    for (unsigned depth = 0; cb_mt_is_index(at->desc.media_type); depth++) {
        struct cb_descriptor d cb_cleanup_descriptor = { 0 };
        if (depth > CB_MAX_INDEX_DEPTH)
            return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
        int r = select_entry(at, want, &d, err);
        if (r < 0)
            return r;
        cb_edit_doc_done(at);
        if ((r = cb_edit_source_doc(s, &d, at, err)) < 0)
            return r;
    }
    return 0;
}

int cb_edit_image_open(const struct cb_edit_source *s, const struct cb_platform *platform, struct cb_edit_image *out,
                       struct cb_error *err)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_edit_doc at cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_platform_host(&host);
    *out = (struct cb_edit_image)CB_EDIT_IMAGE_INIT;
    int r = cb_edit_source_top(s, &at, &e);
    if (r == 0)
        r = descend(s, platform ? platform : &host, &at, &e);
    if (r == 0)
        r = cb_edit_image_read(s, &at, out, &e);
    if (r < 0) {
        cb_error_wrap(&e, "%s", s->text);
        return cb_error_move(err, &e);
    }
    return 0;
}

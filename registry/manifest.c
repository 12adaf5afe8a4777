/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"
#include "oci/mediatype.h"
#include "util/limits.h"

void cb_fetched_done(struct cb_fetched *f)
{
    cb_descriptor_done(&f->desc);
    cb_strbuf_done(&f->body);
    free(f->host);
    free(f->repo);
    *f = (struct cb_fetched){ .body = CB_STRBUF_INIT };
}

static char *manifest_path(const char *repo, const struct cb_reference *ref)
{
    char digest[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/manifests/%s", repo, cb_digest_is_set(&ref->digest) ? cb_digest_text(&ref->digest, digest)
                                                : ref->tag                     ? ref->tag
                                                                               : "latest");
}

static int request(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref, const char *method,
                   struct cb_http_reply **out, struct cb_error *err)
{
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *path = manifest_path(e->repo, ref);
    struct cb_scope scope = { e->repo, "pull" };
    struct reg_request q = { .method = method, .path = path, .scopes = &scope, .n_scopes = 1, .headers = &headers,
                             .max_body = CB_MAX_MANIFEST };
    cb_strvec_push(&headers, "Accept: " CB_MT_ACCEPT_MANIFESTS);
    int s = reg_send(r, e, &q, out, err);
    if (s == 0 && cb_http_status(*out) != 200)
        s = reg_reply_error(*out, err, "%s/%s", e->host, path);
    if (s < 0 && *out)
        cb_http_reply_free(CB_TAKE(*out));
    return s;
}

/* The body decides what it is; its digest is ours to compute, and must be the one that was asked for (C4). */
static int take_body(struct cb_http_reply *reply, const struct cb_reference *ref, struct cb_fetched *out, struct cb_error *err)
{
    const char *type = cb_http_header(reply, "Content-Type");
    int r = cb_http_slurp(reply, &out->body, err);
    if (r < 0)
        return r;
    const char *mt = cb_manifest_detect(out->body.buf, out->body.len, type, err);
    if (!mt)
        return -CB_EVERIFY;
    cb_descriptor_of(&out->desc, mt, out->body.buf, out->body.len);
    if (!cb_digest_is_set(&ref->digest))
        return 0;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(ref->digest.alg);
    cb_hasher_update(h, out->body.buf, out->body.len);
    cb_hasher_finish(h, &out->desc.digest);
    if (cb_digest_eq(&out->desc.digest, &ref->digest))
        return 0;
    char want[CB_DIGEST_TEXT_MAX], have[CB_DIGEST_TEXT_MAX];
    return cb_error_set(err, CB_EVERIFY, "the manifest is not the one that was asked for: digest %s instead of %s",
                        cb_digest_text(&out->desc.digest, have), cb_digest_text(&ref->digest, want));
}

static int fetch(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref, struct cb_fetched *out,
                 struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    int s = request(r, e, ref, "GET", &reply, err);
    if (s == 0)
        s = take_body(reply, ref, out, err);
    if (s < 0) {
        cb_strbuf_done(&out->body);
        cb_descriptor_done(&out->desc);
    }
    return s;
}

int cb_registry_manifest(struct cb_registry *r, const struct cb_reference *ref, struct cb_fetched *out, struct cb_error *err)
{
    struct reg_endpoints all = { 0 };
    bool by_digest = cb_digest_is_set(&ref->digest);
    *out = (struct cb_fetched){ .body = CB_STRBUF_INIT };
    int s = reg_endpoints_pull(r, ref->host, ref->repo, ref->tag, by_digest, &all, err);
    if (s == 0)
        s = cb_error_set(err, CB_ENOTFOUND, "%s: no registry serves it", ref->host);
    for (size_t i = 0; i < all.n && s < 0 && s != -CB_ECANCELED; i++)
        s = fetch(r, &all.v[i], ref, out, err);
    reg_endpoints_done(&all);
    if (s == 0) {
        out->host = cb_strdup(ref->host);
        out->repo = cb_strdup(ref->repo);
    }
    return s;
}

/* ---- HEAD ---- */

static int head(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref, struct cb_descriptor *out,
                struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    int s = request(r, e, ref, "HEAD", &reply, err);
    if (s < 0)
        return s;
    const char *digest = cb_http_header(reply, "Docker-Content-Digest"), *type = cb_http_header(reply, "Content-Type");
    out->size = cb_http_content_length(reply);
    out->media_type = cb_strdup(type ? type : "");
    if (!digest || cb_digest_parse(&out->digest, digest, err) < 0 || out->size == UINT64_MAX) {
        cb_descriptor_done(out);
        return cb_error_set(err, CB_EVERIFY, "HEAD has no digest");
    }
    return 0;
}

static int head_any(struct cb_registry *r, const struct cb_reference *ref, struct cb_descriptor *out, struct cb_error *err)
{
    struct reg_endpoints all = { 0 };
    int s = reg_endpoints_pull(r, ref->host, ref->repo, ref->tag, cb_digest_is_set(&ref->digest), &all, err);
    if (s == 0)
        s = cb_error_set(err, CB_ENOTFOUND, "%s: no registry serves it", ref->host);
    for (size_t i = 0; i < all.n && s < 0 && s != -CB_ECANCELED; i++)
        s = head(r, &all.v[i], ref, out, err);
    reg_endpoints_done(&all);
    return s;
}

int cb_registry_head(struct cb_registry *r, const struct cb_reference *ref, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int s = head_any(r, ref, out, err);
    if (s == 0 || s == -CB_ECANCELED || s == -CB_EAUTH || s == -CB_ENOTFOUND)
        return s;
    s = cb_registry_manifest(r, ref, &f, err);
    if (s == 0)
        cb_descriptor_copy(out, &f.desc);
    return s;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

static int put_manifest(struct cb_push *p, const struct cb_descriptor *desc, const void *body, size_t len,
                        const char *name, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *path = cb_asprintf("%s/manifests/%s", p->e.repo, name);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "PUT",
                             .path = path,
                             .scopes = &scope,
                             .n_scopes = 1,
                             .headers = &headers,
                             .body = { .mem = body, .mem_len = len },
                             .repeatable = true };
    cb_strvec_pushf(&headers, "Content-Type: %s", desc->media_type);
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(reply);
    if (status != 201 && status != 200 && status != 202)
        return reg_reply_error(reply, err, "%s/%s", p->e.host, path);
    const char *digest = cb_http_header(reply, "Docker-Content-Digest");
    struct cb_digest d;
    if (digest && cb_digest_parse(&d, digest, NULL) == 0 && d.alg == desc->digest.alg &&
        !cb_digest_eq(&d, &desc->digest))
        return cb_error_set(err, CB_EVERIFY, "%s/%s: the registry stored another manifest than it was sent",
                            p->e.host, path);
    return 0;
}

static int manifest_is(struct cb_push *p, const struct cb_descriptor *desc, const char *name, bool *same,
                       struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *path = cb_asprintf("%s/manifests/%s", p->e.repo, name);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "HEAD", .path = path, .scopes = &scope, .n_scopes = 1, .headers = &headers };
    struct cb_digest d;
    cb_strvec_pushf(&headers, "Accept: %s", desc->media_type);
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    const char *digest = cb_http_status(reply) == 200 ? cb_http_header(reply, "Docker-Content-Digest") : NULL;
    *same = digest && cb_digest_parse(&d, digest, NULL) == 0 && cb_digest_eq(&d, &desc->digest);
    return 0;
}

int cb_push_manifest(struct cb_push *p, const struct cb_descriptor *desc, const void *body, size_t len,
                     struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    bool same = false;
    cb_digest_text(&desc->digest, digest);
    int s = manifest_is(p, desc, digest, &same, err);
    return s < 0 || same ? s : put_manifest(p, desc, body, len, digest, err);
}

int cb_push_tag_current(struct cb_push *p, const struct cb_descriptor *desc, const char *tag, bool *current,
                        struct cb_error *err)
{
    return manifest_is(p, desc, tag, current, err);
}

int cb_push_tag(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, const char *tag,
                bool *moved, struct cb_error *err)
{
    bool same = false;
    int s = manifest_is(p, desc, tag, &same, err);
    if (s == 0 && !same)
        s = put_manifest(p, desc, body.ptr, body.len, tag, err);
    if (moved)
        *moved = s == 0 && !same;
    return s;
}

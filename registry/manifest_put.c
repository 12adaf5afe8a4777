/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

static bool is_of(const struct cb_digest *said, const struct reg_put *put)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(said->alg);
    struct cb_digest have;
    cb_hasher_update(h, put->body.ptr, put->body.len);
    cb_hasher_finish(h, &have);
    return cb_digest_eq(&have, said);
}

/* R13: what the registry says it has must be what it was sent. */
static int check_stored(const struct reg_endpoint *e, const struct reg_put *put, const struct cb_http_reply *reply,
                        struct cb_error *err)
{
    const char *text = cb_http_header(reply, "Docker-Content-Digest");
    struct cb_digest said;
    if (!text || cb_digest_parse(&said, text, NULL) < 0 || is_of(&said, put))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "%s/%s/manifests/%s: the registry stored another manifest than it was sent",
                        e->host, e->repo, put->name);
}

/* 1: it is there. */
static int is_stored(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_put *put)
{
    CB_CLEANUP(cb_tag_state_done) struct cb_tag_state now = { 0 };
    if (reg_tag_state(r, e, put->name, &now, NULL) < 0 || !now.there)
        return 0;
    return is_of(&now.digest, put);
}

static int put_once(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_put *put,
                    struct cb_http_reply **out, struct cb_error *err)
{
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *path = cb_asprintf("%s/manifests/%s", e->repo, put->name);
    struct cb_scope scope = { e->repo, "pull,push" };
    struct reg_request q = { .method = "PUT",
                             .path = path,
                             .scopes = &scope,
                             .n_scopes = 1,
                             .headers = &headers,
                             .body = { .mem = put->body.ptr, .mem_len = put->body.len },
                             .only_harmless = true };
    cb_strvec_pushf(&headers, "Content-Type: %s", put->media_type);
    if (put->condition)
        cb_strvec_push(&headers, put->condition);
    int s = reg_send(r, e, &q, out, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(*out);
    if (status == 412 && put->condition)
        return 1;
    if (status != 201 && status != 200 && status != 202)
        return reg_reply_error(*out, err, "%s/%s", e->host, path);
    return check_stored(e, put, *out, err);
}

/* A failure that http did not repeat, and that may be over next time. */
static bool may_pass(int s, const struct cb_error *e)
{
    return s == -CB_ENET && (!e->http_status || cb_http_status_is_retryable((unsigned)e->http_status)) &&
           e->http_status != 429;
}

/* Only an answer may have been lost: before it is sent again one looks. A condition would refuse our own manifest as
 * that of somebody else. Not where the answer itself is wanted: whether a referrer was indexed, which tags were set. */
int reg_manifest_put(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_put *put,
                     struct cb_http_reply **answer, struct cb_error *err)
{
    struct cb_span span cb_cleanup_span = CB_SPAN_INIT;
    span = cb_span_begin("manifest", "put manifest %s/%s %s", e->host, e->repo, put->name);
    cb_span_number(&span, "bytes", put->body.len);
    for (unsigned i = 0;; i++) {
        CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
        struct cb_error f cb_cleanup_error = CB_ERROR_INIT;
        int s = put_once(r, e, put, &reply, &f);
        if (s >= 0) {
            if (answer)
                *answer = CB_TAKE(reply);
            return s;
        }
        if (put->once || !may_pass(s, &f) || i >= cb_http_retries(r->o.http))
            return cb_error_move(err, &f);
        s = reg_pause(r, e->cancel, cb_http_backoff_base(r->o.http) << CB_MIN(i, 4u), err);
        if (s == 0 && !answer && is_stored(r, e, put))
            return 0;
        if (s < 0)
            return s;
    }
}

int reg_manifest_store(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_put *put,
                       const struct reg_referrer *referrer, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *answer = NULL;
    int s = reg_manifest_put(r, e, put, referrer->entry ? &answer : NULL, err);
    if (s < 0 || !referrer->entry || cb_http_header(answer, "OCI-Subject"))
        return s;
    return reg_fallback_add(r, e, referrer, err);
}

/* The descriptor of the body, by the digest that the reference names, if any. */
static int describe(const struct cb_reference *ref, const char *media_type, struct cb_slice body,
                    struct cb_descriptor *out, struct cb_error *err)
{
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    cb_descriptor_of(out, media_type, body.ptr, body.len);
    if (!cb_digest_is_set(&ref->digest))
        return 0;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(ref->digest.alg);
    cb_hasher_update(h, body.ptr, body.len);
    cb_hasher_finish(h, &out->digest);
    if (cb_digest_eq(&out->digest, &ref->digest))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "the manifest has digest %s, not %s as the reference says",
                        cb_digest_text(&out->digest, a), cb_digest_text(&ref->digest, b));
}

int cb_registry_manifest_put(struct cb_registry *r, const struct cb_reference *ref, const char *media_type,
                             struct cb_slice body, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    CB_CLEANUP(reg_referrer_done) struct reg_referrer referrer = { 0 };
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    char digest[CB_DIGEST_TEXT_MAX];
    int s = describe(ref, media_type, body, &desc, err);
    if (s == 0)
        s = reg_referrer_read(&referrer, &desc, body, err);
    if (s == 0)
        s = reg_endpoint_push(r, ref->host, ref->repo, &e, err);
    if (s < 0)
        return s;
    struct reg_put put = { .name = ref->tag ? ref->tag : cb_digest_text(&desc.digest, digest),
                           .media_type = media_type,
                           .body = body };
    return reg_manifest_store(r, &e, &put, &referrer, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

/* One request for a manifest or blob of the host that the user named. */
static int send_simple(struct cb_registry *r, const struct reg_endpoint *e, const char *method, const char *path,
                       struct cb_http_reply **out, struct cb_error *err)
{
    bool deletes = !strcmp(method, "DELETE");
    struct cb_scope scope = { e->repo, deletes ? "pull,push,delete" : "pull" };
    struct reg_request q = { .method = method, .path = path, .scopes = &scope, .n_scopes = 1 };
    return reg_send(r, e, &q, out, err);
}

static bool is_done(unsigned status)
{
    return status == 200 || status == 202 || status == 204;
}

int reg_manifest_remove(struct cb_registry *r, const struct reg_endpoint *e, const char *name, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    cb_autofree char *path = cb_asprintf("%s/manifests/%s", e->repo, name);
    int s = send_simple(r, e, "DELETE", path, &reply, err);
    if (s < 0 || is_done(cb_http_status(reply)))
        return s;
    return reg_reply_error(reply, err, "delete %s/%s", e->host, path);
}

/* A subject that cannot be read is in no list of ours. */
static void find_subject(const struct cb_fetched *f, struct reg_referrer *out)
{
    if (reg_referrer_read(out, &f->desc, (struct cb_slice){ f->body.buf, f->body.len }, NULL) < 0)
        *out = (struct reg_referrer){ 0 };
}

static int forget_referrer(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_referrer *referrer,
                           const struct cb_digest *digest, struct cb_error *err)
{
    if (!referrer->entry)
        return 0;
    int s = reg_referrers_api(r, e, &referrer->subject.digest, err);
    return s != 0 ? CB_MIN(s, 0) : reg_fallback_remove(r, e, &referrer->subject.digest, digest, err);
}

/* The list is mended after the manifest is gone: a registry that deletes nothing keeps both. */
int cb_registry_manifest_delete(struct cb_registry *r, const struct cb_reference *ref, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    CB_CLEANUP(reg_referrer_done) struct reg_referrer referrer = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_error e404 cb_cleanup_error = CB_ERROR_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    int s = reg_endpoint_push(r, ref->host, ref->repo, &e, err);
    if (s < 0)
        return s;
    s = reg_manifest_fetch(r, &e, ref, &f, &e404);
    if (s == -CB_EVERIFY) /* of a kind that we do not read: it may go all the same */
        s = 0;
    else if (s < 0)
        return cb_error_move(err, &e404);
    else
        find_subject(&f, &referrer);
    cb_error_done(&e404);
    s = reg_manifest_remove(r, &e, cb_digest_text(&ref->digest, digest), &e404);
    if (s < 0 && s != -CB_ENOTFOUND) /* it was there: a request that was sent again finds it gone */
        return cb_error_move(err, &e404);
    return forget_referrer(r, &e, &referrer, &ref->digest, err);
}

/* ---- blobs ---- */

static int blob(struct cb_registry *r, const struct cb_reference *ref, const char *method,
                struct cb_http_reply **reply, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    char digest[CB_DIGEST_TEXT_MAX];
    int s = reg_endpoint_push(r, ref->host, ref->repo, &e, err);
    if (s < 0)
        return s;
    cb_autofree char *path = cb_asprintf("%s/blobs/%s", e.repo, cb_digest_text(&ref->digest, digest));
    s = send_simple(r, &e, method, path, reply, err);
    if (s < 0 || is_done(cb_http_status(*reply)))
        return s;
    return reg_reply_error(*reply, err, "%s/%s", e.host, path);
}

int cb_registry_blob_head(struct cb_registry *r, const struct cb_reference *ref, uint64_t *size, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    int s = blob(r, ref, "HEAD", &reply, err);
    if (s == 0)
        *size = cb_http_content_length(reply);
    return s;
}

int cb_registry_blob_delete(struct cb_registry *r, const struct cb_reference *ref, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    return blob(r, ref, "DELETE", &reply, err);
}

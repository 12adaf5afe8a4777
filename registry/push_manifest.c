/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

#define MAX_LOOKS 3

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

/* MANIFEST_BLOB_UNKNOWN, with status 404 or 400. Blobs are seen by HEAD before, but some registries take a while to
 * agree with themselves, and some clean up in between. */
static bool misses_blobs(const struct cb_error *e)
{
    return (e->http_status == 404 || e->http_status == 400) && strstr(cb_error_text(e), "BLOB_UNKNOWN");
}

/* Another process that sends the same blob links it anew, and for a moment it is not there (Distribution): a push of
 * several blobs does that more than once. */
int push_put(struct cb_push *p, const struct reg_put *put, const struct reg_referrer *referrer, struct cb_error *err)
{
    for (unsigned looks = 0;; looks++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct reg_endpoint at = push_last_words(p);
        int s = referrer ? reg_manifest_store(p->r, &at, put, referrer, &e)
                         : reg_manifest_put(p->r, &at, put, NULL, &e);
        if (s >= 0 || looks == MAX_LOOKS || !misses_blobs(&e))
            return s < 0 ? cb_error_move(err, &e) : s;
        s = push_look_again(p, looks, err);
        if (s < 0)
            return s;
    }
}

/* What is there already is not sent again; but for a referrer, because only the answer to a PUT tells who keeps the
 * list of its subject, and a push that was killed may have left it out. same: NULL to send it in any case. */
static int store(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, const char *name,
                 bool *same, struct cb_error *err)
{
    CB_CLEANUP(reg_referrer_done) struct reg_referrer referrer = { 0 };
    struct reg_put put = { .name = name, .media_type = desc->media_type, .body = body };
    int s = reg_referrer_read(&referrer, desc, body, err);
    if (s == 0 && same)
        s = manifest_is(p, desc, name, same, err);
    if (s < 0 || (same && *same && !referrer.entry))
        return s;
    return push_put(p, &put, &referrer, err);
}

int cb_push_manifest(struct cb_push *p, const struct cb_descriptor *desc, const void *body, size_t len,
                     struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    bool same = false;
    return store(p, desc, (struct cb_slice){ body, len }, cb_digest_text(&desc->digest, digest), &same, err);
}

int cb_push_beside(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, bool *unlisted,
                   struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *answer = NULL;
    char digest[CB_DIGEST_TEXT_MAX];
    bool there = false;
    struct reg_put put = { .name = cb_digest_text(&desc->digest, digest), .media_type = desc->media_type,
                           .body = body };
    int s = push_brings_new(p) ? 0 : manifest_is(p, desc, digest, &there, err);
    if (s == 0 && !there)
        s = reg_manifest_put(p->r, &p->e, &put, unlisted ? &answer : NULL, err);
    if (unlisted)
        *unlisted = s == 0 && !there && !cb_http_header(answer, "OCI-Subject");
    return s;
}

int cb_push_manifest_blind(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, const char *name,
                           struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    return store(p, desc, body, name ? name : cb_digest_text(&desc->digest, digest), NULL, err);
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
    int s = store(p, desc, body, tag, &same, err);
    if (moved)
        *moved = s == 0 && !same;
    return s;
}

/* At the target. */
static void name_tag(const struct cb_push *p, const char *tag, struct cb_reference *ref)
{
    cb_reference_copy(ref, p->o.target);
    ref->digest.alg = CB_DIGEST_NONE;
    free(ref->tag);
    ref->tag = cb_strdup(tag);
}

int cb_push_tag_head(struct cb_push *p, const char *tag, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    name_tag(p, tag, &ref);
    return reg_head(p->r, &p->e, &ref, out, err);
}

int cb_push_tag_get(struct cb_push *p, const char *tag, struct cb_fetched *out, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct reg_endpoint at = push_last_words(p);
    name_tag(p, tag, &ref);
    return reg_manifest_fetch(p->r, &at, &ref, out, err);
}

int cb_push_manifest_remove(struct cb_push *p, const struct cb_digest *d, struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    struct reg_endpoint at = push_last_words(p);
    return reg_manifest_remove(p->r, &at, cb_digest_text(d, text), err);
}

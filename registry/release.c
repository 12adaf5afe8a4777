/* SPDX-License-Identifier: Apache-2.0 */
/* Tags that move together: what they stand for now, whether we may move them, and moving them. */
#include "oci/mediatype.h"
#include "registry/private.h"
#include "util/alloc.h"
#include "util/limits.h"

#define TAGS_AT_ONCE 10 /* as many as every registry has to take that takes several (distribution-spec) */

void cb_tag_state_done(struct cb_tag_state *s)
{
    free(s->etag);
    *s = (struct cb_tag_state){ 0 };
}

/* The whole manifest, where HEAD does not tell its digest. */
static int state_by_get(struct cb_push *p, const char *path, struct cb_tag_state *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "GET", .path = path, .scopes = &scope, .n_scopes = 1, .headers = &headers,
                             .max_body = CB_MAX_MANIFEST };
    cb_strvec_push(&headers, "Accept: " CB_MT_ACCEPT_MANIFESTS);
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    out->there = cb_http_status(reply) == 200;
    if (!out->there)
        return cb_http_status(reply) == 404 ? 0 : reg_reply_error(reply, err, "%s/%s", p->e.host, path);
    s = cb_http_slurp(reply, &body, err);
    if (s == 0)
        cb_digest_of(&out->digest, body.buf, body.len);
    return s;
}

int cb_push_tag_state(struct cb_push *p, const char *tag, struct cb_tag_state *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *path = cb_asprintf("%s/manifests/%s", p->e.repo, tag);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "HEAD", .path = path, .scopes = &scope, .n_scopes = 1, .headers = &headers };
    cb_strvec_push(&headers, "Accept: " CB_MT_ACCEPT_MANIFESTS);
    *out = (struct cb_tag_state){ 0 };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    if (cb_http_status(reply) == 404)
        return 0;
    const char *digest = cb_http_header(reply, "Docker-Content-Digest"), *etag = cb_http_header(reply, "ETag");
    if (cb_http_status(reply) != 200 || !digest || cb_digest_parse(&out->digest, digest, NULL) < 0)
        return state_by_get(p, path, out, err);
    out->there = true;
    out->etag = etag ? cb_strdup(etag) : NULL;
    return 0;
}

/* ---- may we? ---- */

int cb_push_check(struct cb_push *p, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    cb_autofree char *path = cb_asprintf("%s/blobs/uploads/", p->e.repo);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "POST", .path = path, .scopes = &scope, .n_scopes = 1, .repeatable = true };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(reply);
    if (status == 401 || status == 403)
        return reg_reply_error(reply, err, "push to %s/%s", p->e.host, p->e.repo);
    /* Anything else is for the upload itself to find out. */
    cb_autofree char *session = status == 202 ? reg_location(&p->e, reply, NULL) : NULL;
    if (session)
        push_session_cancel(p, session);
    return 0;
}

/* ---- moving ---- */

static int put_refused(struct cb_push *p, struct cb_http_reply *reply, const char *path, struct cb_error *err)
{
    if (cb_http_status(reply) == 412)
        return cb_error_set(err, CB_EVERIFY, "%s/%s was moved by somebody else meanwhile", p->e.host, path);
    return reg_reply_error(reply, err, "%s/%s", p->e.host, path);
}

static int put(struct cb_push *p, const struct cb_tag_manifest *m, const char *path, const char *condition,
               struct cb_http_reply **out, struct cb_error *err)
{
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "PUT", .path = path, .scopes = &scope, .n_scopes = 1, .headers = &headers,
                             .body = { .mem = m->body.ptr, .mem_len = m->body.len }, .only_harmless = true };
    cb_strvec_pushf(&headers, "Content-Type: %s", m->desc->media_type);
    if (condition)
        cb_strvec_push(&headers, condition);
    int s = reg_send(p->r, &p->e, &q, out, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(*out);
    return status == 200 || status == 201 || status == 202 ? 0 : put_refused(p, *out, path, err);
}

/* Whether the reply says that this tag was set: OCI-Tag, once for each or all in one. */
static bool says_tag(const struct cb_http_reply *reply, const char *tag)
{
    const char *value;
    for (size_t i = 0; (value = cb_http_header_nth(reply, "OCI-Tag", i)) != NULL; i++)
        for (const char *p = value; *p;) {
            size_t n = strcspn(p, ",");
            struct cb_slice one = cb_slice_trim((struct cb_slice){ p, n });
            if (one.len == strlen(tag) && !memcmp(one.ptr, tag, one.len))
                return true;
            p += n + (p[n] == ',');
        }
    return false;
}

/* PUT by digest with ?tag=a&tag=b: all of them or none. Registries that do not know it store the manifest. */
static int move_together(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move **v, size_t n,
                         struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_strbuf_addf(&path, "%s/manifests/%s", p->e.repo, cb_digest_text(&m->desc->digest, digest));
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addf(&path, "%ctag=%s", i ? '&' : '?', v[i]->tag);
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int s = put(p, m, path.buf, NULL, &reply, &e);
    if (s == -CB_ECANCELED || s == -CB_EAUTH)
        return cb_error_move(err, &e);
    for (size_t i = 0; s == 0 && i < n; i++)
        v[i]->moved = says_tag(reply, v[i]->tag);
    return 0;
}

/* The ETag that HEAD gave makes it a compare and swap at registries that know it. */
static int move_once(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move *v, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    cb_autofree char *path = cb_asprintf("%s/manifests/%s", p->e.repo, v->tag);
    cb_autofree char *condition = !v->guarded                     ? NULL
                                  : v->old->there && v->old->etag ? cb_asprintf("If-Match: %s", v->old->etag)
                                  : !v->old->there                ? cb_strdup("If-None-Match: *")
                                                                  : NULL;
    int s = put(p, m, path, condition, &reply, err);
    const char *digest = s == 0 ? cb_http_header(reply, "Docker-Content-Digest") : NULL;
    struct cb_digest d;
    if (digest && cb_digest_parse(&d, digest, NULL) == 0 && d.alg == m->desc->digest.alg &&
        !cb_digest_eq(&d, &m->desc->digest))
        return cb_error_set(err, CB_EVERIFY, "%s/%s: the registry stored another manifest than it was sent",
                            p->e.host, path);
    v->moved = s == 0;
    return s;
}

static bool is_moved(struct cb_push *p, const struct cb_tag_manifest *m, const char *tag)
{
    CB_CLEANUP(cb_tag_state_done) struct cb_tag_state now = { 0 };
    return cb_push_tag_state(p, tag, &now, NULL) == 0 && now.there && cb_digest_eq(&now.digest, &m->desc->digest);
}

/* Where an answer was lost one looks: our own move would refuse the second one as that of somebody else. Where blobs
 * are missed, all of them are looked for, once. */
static int move_one(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move *v, struct cb_error *err)
{
    bool looked = false;
    for (unsigned i = 0;; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int s = move_once(p, m, v, &e);
        if (s == 0)
            return 0;
        if (push_misses_blobs(&e) && !looked) {
            looked = true;
            s = push_look_again(p, err);
        } else if (reg_may_pass(s, &e) && i < cb_http_retries(p->r->o.http)) {
            s = reg_pause(p->r, cb_http_backoff_base(p->r->o.http) << CB_MIN(i, 4u), err);
            v->moved = s == 0 && is_moved(p, m, v->tag);
        } else {
            return cb_error_move(err, &e);
        }
        if (s < 0 || v->moved)
            return s;
    }
}

/* A manifest with a subject goes by its digest first: that keeps the list of its subject, where the registry does
 * not. */
static int keep_referrers(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_error *err)
{
    CB_CLEANUP(reg_referrer_done) struct reg_referrer referrer = { 0 };
    int s = reg_referrer_read(&referrer, m->desc, m->body, err);
    return s < 0 || !referrer.entry ? s : cb_push_manifest(p, m->desc, m->body.ptr, m->body.len, err);
}

int cb_push_move_tags(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move *v, size_t n,
                      struct cb_error *err)
{
    struct cb_tag_move *together[TAGS_AT_ONCE];
    size_t k = 0;
    int s = n > 0 ? keep_referrers(p, m, err) : 0;
    for (size_t i = 0; s == 0 && i < n && k < TAGS_AT_ONCE; i++)
        if (!v[i].guarded && !v[i].moved)
            together[k++] = &v[i];
    if (s == 0 && k > 1)
        s = move_together(p, m, together, k, err);
    for (size_t i = 0; s == 0 && i < n; i++)
        if (!v[i].moved)
            s = move_one(p, m, &v[i], err);
    return s;
}

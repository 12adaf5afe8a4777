/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"
#include "oci/mediatype.h"
#include "util/limits.h"

#define MAX_TRIES 3
#define RETRY_NS INT64_C(200000000)

void cb_fetched_done(struct cb_fetched *f)
{
    cb_descriptor_done(&f->desc);
    cb_strbuf_done(&f->body);
    free(f->host);
    free(f->repo);
    free(f->etag);
    *f = (struct cb_fetched){ .body = CB_STRBUF_INIT };
}

static char *manifest_path(const char *repo, const struct cb_reference *ref)
{
    char digest[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/manifests/%s", repo,
                       cb_digest_is_set(&ref->digest) ? cb_digest_text(&ref->digest, digest)
                       : ref->tag                     ? ref->tag
                                                      : "latest");
}

int reg_manifest_not_found(const struct reg_endpoint *e, const struct cb_reference *ref, struct cb_http_reply *reply,
                           struct cb_error *err)
{
    struct cb_strbuf said cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    bool pinned = cb_digest_is_set(&ref->digest);
    reg_reply_words(reply, &said);
    int s =
        cb_error_set(err, CB_ENOTFOUND, "image %s%s%s not found in registry %s%s%s%s", e->repo, pinned ? "@" : ":",
                     pinned     ? cb_digest_text(&ref->digest, digest)
                     : ref->tag ? ref->tag
                                : "latest",
                     e->host, said.len ? " (" : "", said.buf, said.len ? ")" : "");
    if (err)
        err->http_status = 404;
    return s;
}

/* Any answer but 200 is an error. */
static int request(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
                   const char *method, struct cb_http_reply **out, struct cb_error *err)
{
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *path = manifest_path(e->repo, ref);
    struct cb_scope scope = { e->repo, e->push ? "pull,push" : "pull" };
    struct reg_request q = { .method = method,
                             .path = path,
                             .scopes = &scope,
                             .n_scopes = 1,
                             .followed = e->push || cb_streq(method, "GET"),
                             .headers = &headers,
                             .max_body = CB_MAX_MANIFEST };
    cb_strvec_push(&headers, "Accept: " CB_MT_ACCEPT_MANIFESTS);
    int s = reg_send(r, e, &q, out, err);
    if (s < 0 || cb_http_status(*out) == 200)
        return s;
    s = cb_http_status(*out) == 404 ? reg_manifest_not_found(e, ref, *out, err)
                                    : reg_reply_error(*out, err, "%s/%s", e->host, path);
    cb_http_reply_free(CB_TAKE(*out));
    return s;
}

static int check_digest(const struct cb_strbuf *body, const struct cb_digest *want, struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(want->alg);
    struct cb_digest have;
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    cb_hasher_update(h, body->buf, body->len);
    cb_hasher_finish(h, &have);
    if (cb_digest_eq(&have, want))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "the manifest is not the one that was asked for: digest %s instead of %s",
                        cb_digest_text(&have, a), cb_digest_text(want, b));
}

/* The body decides what it is; its digest is ours to compute, and must be the one that was asked for (C4). */
static int take_body(struct cb_http_reply *reply, const struct cb_reference *ref, struct cb_fetched *out,
                     struct cb_error *err)
{
    const char *type = cb_http_header(reply, "Content-Type");
    int r = cb_http_slurp(reply, &out->body, err);
    if (r < 0)
        return r;
    if (cb_digest_is_set(&ref->digest) && (r = check_digest(&out->body, &ref->digest, err)) < 0)
        return r;
    const char *mt = cb_manifest_detect(out->body.buf, out->body.len, type, err);
    if (!mt)
        return -CB_EVERIFY;
    cb_descriptor_of(&out->desc, mt, out->body.buf, out->body.len);
    if (cb_digest_is_set(&ref->digest))
        out->desc.digest = ref->digest;
    return 0;
}

/* Registries send bytes as they are; a proxy on the way may think it knows better. */
static void add_hint(const struct cb_http_reply *reply, struct cb_error *err)
{
    const char *coding = cb_http_header(reply, "Content-Encoding");
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!coding)
        return;
    cb_strbuf_add_sanitized(&shown, coding, CB_MIN(strlen(coding), (size_t)40), false);
    cb_error_wrap(err, "sent with Content-Encoding: %s, by a proxy perhaps", shown.buf);
}

/* A weak one is no condition. */
static char *etag_of(const struct cb_http_reply *reply)
{
    const char *etag = cb_http_header(reply, "ETag");
    return cb_strdup_or_null(etag && *etag == '"' ? etag : NULL);
}

/* 1: the body was at fault. */
static int fetch_once(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
                      struct cb_fetched *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    int s = request(r, e, ref, "GET", &reply, err);
    if (s < 0)
        return s;
    free(out->etag);
    out->etag = etag_of(reply);
    s = take_body(reply, ref, out, err);
    if (s < 0) {
        cb_strbuf_done(&out->body);
        cb_descriptor_done(&out->desc);
        add_hint(reply, err);
        cb_error_wrap(err, "registry %s", e->host);
    }
    return s == -CB_ENET || s == -CB_EVERIFY ? 1 : s;
}

/* What comes before the body is repeated in http; a body that breaks off is begun again here, and so, once, is one that
 * is not what was asked for: what garbled it on its way may be gone. */
int reg_manifest_fetch(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
                       struct cb_fetched *out, struct cb_error *err)
{
    for (unsigned i = 1;; i++) {
        struct cb_error f cb_cleanup_error = CB_ERROR_INIT;
        int s = fetch_once(r, e, ref, out, &f);
        if (s <= 0 || i == (f.code == CB_EVERIFY ? 2 : MAX_TRIES))
            return s ? cb_error_move(err, &f) : 0;
        s = reg_pause(r, e->cancel, RETRY_NS * i, err);
        if (s < 0)
            return s;
    }
}

static int endpoints(struct cb_registry *r, const struct cb_reference *ref, struct reg_endpoints *out,
                     struct cb_error *err)
{
    struct reg_wanted w = { .host = ref->host, .repo = ref->repo, .tag = ref->tag, .digest = &ref->digest };
    return reg_endpoints_pull(r, &w, out, err);
}

int cb_registry_manifest(struct cb_registry *r, const struct cb_reference *ref, struct cb_fetched *out,
                         struct cb_error *err)
{
    CB_CLEANUP(reg_endpoints_done) struct reg_endpoints all = { 0 };
    CB_CLEANUP(reg_failures_done) struct reg_failures failures = { 0 };
    *out = (struct cb_fetched){ .body = CB_STRBUF_INIT };
    int s = endpoints(r, ref, &all, err);
    if (s < 0)
        return s;
    for (size_t i = 0; i < all.n; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        s = reg_manifest_fetch(r, &all.v[i], ref, out, &e);
        if (s == 0) {
            out->host = cb_strdup(ref->host);
            out->repo = cb_strdup(ref->repo);
            return 0;
        }
        if (s == -CB_ECANCELED)
            return cb_error_move(err, &e);
        reg_failures_add(&failures, all.v[i].host, &e);
    }
    return reg_failures_tell(&failures, err);
}

/* ---- HEAD ---- */

static char *type_of(const struct cb_http_reply *reply)
{
    const char *type = cb_http_header(reply, "Content-Type");
    struct cb_slice s = cb_slice_trim((struct cb_slice){ type ? type : "", type ? strcspn(type, ";") : 0 });
    return cb_strndup(s.ptr, s.len);
}

/* 0, or -CB_EVERIFY where its header does not say it all: then a GET does. */
static int read_head(struct cb_http_reply *reply, const struct cb_reference *ref, struct cb_descriptor *out,
                     struct cb_error *err)
{
    const char *text = cb_http_header(reply, "Docker-Content-Digest");
    struct cb_digest digest = ref->digest, said;
    bool pinned = cb_digest_is_set(&digest);
    cb_autofree char *type = type_of(reply);
    uint64_t size = cb_http_content_length(reply);
    bool known = text && cb_digest_parse(&said, text, NULL) == 0;
    if ((!pinned && !known) || size == UINT64_MAX || size == 0 || (!cb_mt_is_index(type) && !cb_mt_is_manifest(type)))
        return cb_error_set(err, CB_EVERIFY, "HEAD does not tell digest, size and type");
    if (pinned && known && said.alg == digest.alg && !cb_digest_eq(&said, &digest))
        return cb_error_set(err, CB_EVERIFY, "HEAD tells another digest than was asked for");
    cb_descriptor_done(out);
    *out = (struct cb_descriptor){ .media_type = CB_TAKE(type), .digest = pinned ? digest : said, .size = size };
    return 0;
}

/* It was answered, in a way that GET may better: HEAD is what some refuse. Not where the host is busy or out of reach.
 */
static bool is_head_to_blame(int s, const struct cb_error *e)
{
    return s == -CB_ENET && e->http_status && e->http_status != 429 && e->http_status != 503;
}

int reg_head(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
             struct cb_descriptor *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_error refusal cb_cleanup_error = CB_ERROR_INIT;
    int s = request(r, e, ref, "HEAD", &reply, &refusal);
    if (s < 0 && !is_head_to_blame(s, &refusal))
        return cb_error_move(err, &refusal);
    if (s == 0 && read_head(reply, ref, out, NULL) == 0)
        return 0;
    s = reg_manifest_fetch(r, e, ref, &f, err);
    if (s == 0)
        cb_descriptor_copy(out, &f.desc);
    return s;
}

/* By the bytes, where HEAD does not tell. What they are does not matter here. */
static int state_by_get(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
                        struct cb_tag_state *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int s = request(r, e, ref, "GET", &reply, err);
    if (s == 0)
        s = cb_http_slurp(reply, &body, err);
    if (s < 0)
        return s;
    out->there = true;
    out->etag = etag_of(reply);
    cb_digest_of(&out->digest, body.buf, body.len);
    return 0;
}

int reg_tag_state(struct cb_registry *r, const struct reg_endpoint *e, const char *tag, struct cb_tag_state *out,
                  struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_reference ref cb_cleanup_reference = { .tag = cb_strdup(tag) };
    struct cb_error refusal cb_cleanup_error = CB_ERROR_INIT;
    *out = (struct cb_tag_state){ 0 };
    int s = request(r, e, &ref, "HEAD", &reply, &refusal);
    const char *digest = s == 0 ? cb_http_header(reply, "Docker-Content-Digest") : NULL;
    if (digest && cb_digest_parse(&out->digest, digest, NULL) == 0) {
        out->there = true;
        out->etag = etag_of(reply);
        return 0;
    }
    if (s == 0 || is_head_to_blame(s, &refusal) || s == -CB_EAUTH) {
        cb_error_done(&refusal);
        s = state_by_get(r, e, &ref, out, &refusal);
    }
    return s < 0 && s != -CB_ENOTFOUND ? cb_error_move(err, &refusal) : 0;
}

int cb_registry_head(struct cb_registry *r, const struct cb_reference *ref, struct cb_descriptor *out,
                     struct cb_error *err)
{
    CB_CLEANUP(reg_endpoints_done) struct reg_endpoints all = { 0 };
    CB_CLEANUP(reg_failures_done) struct reg_failures failures = { 0 };
    *out = (struct cb_descriptor){ 0 };
    int s = endpoints(r, ref, &all, err);
    if (s < 0)
        return s;
    for (size_t i = 0; i < all.n; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        s = reg_head(r, &all.v[i], ref, out, &e);
        if (s == 0)
            return 0;
        if (s == -CB_ECANCELED)
            return cb_error_move(err, &e);
        reg_failures_add(&failures, all.v[i].host, &e);
    }
    return reg_failures_tell(&failures, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_CANDIDATES 3

static bool is_it(const struct cb_http_reply *reply, const struct cb_digest *want)
{
    const char *text = cb_http_header(reply, "Docker-Content-Digest");
    struct cb_digest d;
    return !text || cb_digest_parse(&d, text, NULL) < 0 || d.alg != want->alg || cb_digest_eq(&d, want);
}

/* POST …/blobs/uploads/?mount=D&from=REPO. The token needs two scopes, the target's first. */
static int try_mount(struct push_blob *b, const char *from, struct push_session *session, struct cb_error *err)
{
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    const char *text = cb_digest_text(&b->desc.digest, digest);
    struct cb_span span cb_cleanup_span = cb_span_begin("upload", "mount from %s", from);
    cb_span_digest(&span, "digest", &b->desc.digest);
    struct cb_scope scopes[] = { { p->e.repo, "pull,push" }, { from, "pull" } };
    cb_strbuf_addf(&path, "%s/blobs/uploads/?mount=", p->e.repo);
    cb_percent_encode(&path, text, strlen(text));
    cb_strbuf_adds(&path, "&from=");
    cb_percent_encode(&path, from, strlen(from));
    struct reg_request q = {
        .method = "POST", .path = path.buf, .scopes = scopes, .n_scopes = 2, .repeatable = true
    };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    if (cb_http_status(reply) == 201)
        return is_it(reply, &b->desc.digest);
    /* One that cannot be used is as good as none. */
    if (cb_http_status(reply) == 202 && push_session_take(&p->e, reply, session, NULL) < 0)
        push_session_done(session);
    return 0;
}

/* Repositories of the target's own host that have the blob: those named so, and those that a mirror or location of
 * registries.conf brings there. */
static void candidates(struct push_blob *b, struct cb_strvec *out)
{
    struct cb_push *p = b->p;
    for (size_t i = 0; i < b->hosts.n; i++) {
        struct reg_endpoints all = { 0 };
        struct reg_wanted w = {
            .host = b->hosts.v[i], .repo = b->repos.v[i], .digest = &b->desc.digest, .blob = true
        };
        if (reg_endpoints_pull(p->r, &w, &all, NULL) == 0)
            for (size_t k = 0; k < all.n; k++)
                if (reg_same_host(all.v[k].host, p->e.host) && strcmp(all.v[k].repo, p->e.repo) &&
                    !cb_strvec_has(out, all.v[k].repo))
                    cb_strvec_push(out, all.v[k].repo);
        reg_endpoints_done(&all);
    }
}

/* A mount is an optimisation: whatever goes wrong with it but a cancellation, the blob is sent instead. */
int push_mount(struct push_blob *b, struct push_session *session, struct cb_error *err)
{
    struct cb_strvec repos cb_cleanup_strvec = CB_STRVEC_INIT;
    candidates(b, &repos);
    for (size_t i = 0; i < repos.n && i < MAX_CANDIDATES && !session->url && !push_stopped(b->p); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int s = try_mount(b, repos.v[i], session, &e);
        if (s == -CB_ECANCELED)
            return cb_error_move(err, &e);
        if (s == 1) {
            b->result.mounted_from = cb_strdup(repos.v[i]);
            return 1;
        }
    }
    return 0;
}

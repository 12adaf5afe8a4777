/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"
#include "util/alloc.h"
#include "util/encode.h"

char *reg_location_from(const char *asked, const char *location, struct cb_error *err)
{
    struct cb_url from cb_cleanup_url = { 0 }, to cb_cleanup_url = { 0 };
    cb_autofree char *url = cb_url_resolve(asked, location, err);
    if (!url || cb_url_parse(&from, asked, err) < 0 || cb_url_parse(&to, url, err) < 0)
        return NULL;
    /* A TLS proxy that does not tell its registry so: http for the same host is https. */
    bool same = !strcmp(from.host, to.host) && (to.port == 80 || to.port == from.port);
    if (strcmp(from.scheme, "https") != 0 || strcmp(to.scheme, "http") != 0 || !same)
        return CB_TAKE(url);
    return from.port == 443 ? cb_asprintf("https://%s%s", to.host, to.path_query)
                            : cb_asprintf("https://%s:%u%s", to.host, from.port, to.path_query);
}

char *reg_location(const struct reg_endpoint *e, const struct cb_http_reply *reply, struct cb_error *err)
{
    const char *location = cb_http_header(reply, "Location");
    if (!location || !*location) {
        cb_error_set(err, CB_ENET, "registry %s opened an upload without a Location", e->host);
        return NULL;
    }
    char *url = reg_location_from(cb_http_url(reply), location, err);
    if (!url)
        cb_error_wrap(err, "Location of an upload to registry %s", e->host);
    return url;
}

int push_session_take(const struct reg_endpoint *e, const struct cb_http_reply *reply, struct push_session *out,
                      struct cb_error *err)
{
    const char *least = cb_http_header(reply, "OCI-Chunk-Min-Length");
    uint64_t min = 0;
    if (least && !cb_parse_u64(least, INT64_MAX, &min))
        min = 0;
    char *url = reg_location(e, reply, err);
    if (!url)
        return err ? -(int)err->code : -CB_ENET;
    push_session_done(out);
    *out = (struct push_session){ url, min };
    return 0;
}

/* A Location may hold what lets others write to the upload. */
void push_session_done(struct push_session *s)
{
    if (s->url)
        explicit_bzero(s->url, strlen(s->url));
    free(s->url);
    *s = (struct push_session){ 0 };
}

/* 401: many want another right for this than for the upload itself, and it is no loss. After cb_push_stop the
 * registry has a moment for it. */
void push_session_cancel(struct cb_push *p, const char *url)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "DELETE", .url = url, .scopes = &scope, .n_scopes = 1, .no_retry = true,
                             .keep_401 = true };
    struct reg_endpoint e = push_last_words(p);
    (void)!reg_send(p->r, &e, &q, &reply, NULL);
}

int upload_open(struct upload *u, struct cb_error *err)
{
    struct push_blob *b = u->b;
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    bool sha256 = b->desc.digest.alg == CB_DIGEST_SHA256;
    cb_autofree char *path = cb_asprintf("%s/blobs/uploads/%s%s", p->e.repo, sha256 ? "" : "?digest-algorithm=",
                                         sha256 ? "" : cb_digest_alg_name(b->desc.digest.alg));
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "POST", .path = path, .scopes = &scope, .n_scopes = 1, .repeatable = true };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    if (cb_http_status(reply) == 201 && (s = push_is_there(b, err)) != 0)
        return s < 0 ? s : UPLOAD_DONE;
    if (cb_http_status(reply) != 202)
        return reg_reply_error(reply, err, "open an upload to %s/%s", p->e.host, p->e.repo);
    upload_session_drop(u);
    s = push_session_take(&p->e, reply, &u->at, err);
    return s < 0 ? s : UPLOAD_ON;
}

void upload_session_drop(struct upload *u)
{
    push_session_done(&u->at);
    u->offset = u->reached = u->mark = 0;
    u->gone = u->renewed = u->doubtful = u->spliced = false;
    upload_journal_note(u);
}

int upload_follow(struct upload *u, const struct cb_http_reply *reply, struct cb_error *err)
{
    const char *location = cb_http_header(reply, "Location");
    uint64_t min = u->at.chunk_min;
    if (!location || !*location)
        return 0;
    int s = push_session_take(&u->b->p->e, reply, &u->at, err);
    u->at.chunk_min = CB_MAX(u->at.chunk_min, min);
    return s;
}

uint64_t upload_range(const char *value)
{
    uint64_t end;
    if (value && cb_starts_with(value, "bytes"))
        value += value[5] ? 6 : 5;
    if (!value || !cb_starts_with(value, "0-") || !cb_parse_u64(value + 2, INT64_MAX, &end))
        return UINT64_MAX;
    return end + 1;
}

char *upload_url_with_digest(const char *session, const struct cb_digest *d)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_text(d, text);
    cb_strbuf_addf(&sb, "%s%cdigest=", session, strchr(session, '?') ? '&' : '?');
    cb_percent_encode(&sb, text, strlen(text));
    return cb_strbuf_detach(&sb, NULL);
}

/* ---- how far it is ---- */

/* More than was ever sent is somebody else's upload, or nonsense. "0-0" is one byte or none: what was counted stays,
 * and a refusal of what comes next ends the session. */
static int believe(struct upload *u, uint64_t have)
{
    if (have == UINT64_MAX || upload_knows(u, UPLOAD_RANGE_STUCK)) {
        u->doubtful = true;
        return UPLOAD_ON;
    }
    if (have > u->reached && have != 1)
        return UPLOAD_LOST;
    u->doubtful = have == 1;
    if (have != 1)
        u->offset = have;
    else if (u->offset == 1)
        u->offset = 0;
    return UPLOAD_ON;
}

static bool is_unknown(unsigned status)
{
    /* 416 and 400: a registry whose Location says how far it should be (Distribution), and is not. */
    return status == 404 || status == 410 || status == 416 || status == 400;
}

int upload_ask(struct upload *u, bool refused, struct cb_error *err)
{
    struct cb_push *p = u->b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "GET", .url = u->at.url, .scopes = &scope, .n_scopes = 1 };
    u->said = UINT64_MAX;
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(reply);
    u->gone = is_unknown(status) && !refused;
    if (status == 401 || status == 403)
        return reg_reply_error(reply, err, "status of an upload to %s/%s", p->e.host, p->e.repo);
    if (u->gone)
        return UPLOAD_LOST;
    if (status < 200 || status >= 300) {
        u->doubtful = true;
        return UPLOAD_ON;
    }
    u->said = upload_range(cb_http_header(reply, "Range"));
    s = upload_follow(u, reply, err);
    return s < 0 ? s : believe(u, u->said);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"

#define NS INT64_C(1000000000)
#define MAX_TRIES 4
#define MAX_WAIT_NS (300 * NS)

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

static int open_session(struct push_blob *b, char **session, struct cb_error *err)
{
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    cb_autofree char *path = cb_asprintf("%s/blobs/uploads/", p->e.repo);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "POST", .path = path, .scopes = &scope, .n_scopes = 1, .repeatable = true };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    if (cb_http_status(reply) != 202)
        return reg_reply_error(reply, err, "open an upload to %s/%s", p->e.host, p->e.repo);
    *session = reg_location(&p->e, reply, err);
    return *session ? 0 : -(int)err->code;
}

/* ---- the bytes ---- */

struct body {
    struct push_blob *b;
    struct cb_blob_source *src;
    uint64_t sent; /* of the current try */
};

static int open_source(struct push_blob *b, struct cb_blob_source **out, struct cb_error *err)
{
    int s = b->open ? b->open(b->arg, &b->desc.digest, out, err)
                    : cb_error_set(err, CB_ENOTFOUND, "its bytes are neither here nor in a known repository");
    for (size_t i = 0; s < 0 && s != -CB_ECANCELED && i < b->hosts.n; i++)
        s = cb_registry_blob(b->p->r, b->hosts.v[i], b->repos.v[i], &b->desc, out, err);
    return s;
}

static int pull_body(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct body *x = arg;
    if (push_stopped(x->b->p))
        return cb_error_set(err, CB_ECANCELED, "stopped");
    int s = x->src ? 0 : open_source(x->b, &x->src, err);
    if (s == 0)
        s = cb_blob_read(x->src, buf, n, got, err);
    x->b->source_failed = s < 0;
    return s;
}

static int rewind_body(void *arg, struct cb_error *err CB_UNUSED)
{
    struct body *x = arg;
    if (x->src)
        x->src->ops->close(x->src);
    x->src = NULL;
    return 0;
}

/* total begins anew where a 401 made the body go twice. */
static void sent(void *arg, uint64_t total)
{
    struct body *x = arg;
    x->b->result.sent += total >= x->sent ? total - x->sent : total;
    x->sent = total;
    push_progress(x->b, total);
}

static char *with_digest(const char *session, const struct cb_digest *d)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_text(d, text);
    cb_strbuf_addf(&sb, "%s%cdigest=", session, strchr(session, '?') ? '&' : '?');
    cb_percent_encode(&sb, text, strlen(text));
    return cb_strbuf_detach(&sb, NULL);
}

/* What the registry wants us to wait; a PUT is not repeated in http, as its session serves once. */
static void note_wait(struct push_blob *b, const struct cb_http_reply *reply)
{
    const char *value = cb_http_header(reply, "Retry-After");
    int64_t seconds = value ? cb_http_retry_after(value, cb_time_now() / NS) : -1;
    b->wait_ns = seconds > 0 ? seconds * NS : 0;
}

/* One PUT with everything. Another try begins with another session. */
static int put_all(struct push_blob *b, const char *session, struct cb_error *err)
{
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *url = with_digest(session, &b->desc.digest);
    struct body x = { .b = b };
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "PUT",
                             .url = url,
                             .scopes = &scope,
                             .n_scopes = 1,
                             .headers = &headers,
                             .no_retry = true,
                             .body = { .pull = pull_body, .rewind = rewind_body, .arg = &x, .length = b->desc.size },
                             .on_sent = sent,
                             .on_sent_arg = &x };
    cb_strvec_push(&headers, "Content-Type: application/octet-stream");
    b->source_failed = false;
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    rewind_body(&x, NULL);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(reply);
    if (status == 201 || status == 204 || status == 200)
        return 0;
    note_wait(b, reply);
    return reg_reply_error(reply, err, "upload to %s/%s", p->e.host, p->e.repo);
}

/* 400, 405, 413: it will not like the same any better. 404: the session is gone. */
static bool worth_another(const struct push_blob *b, int s, const struct cb_error *e)
{
    if (b->source_failed)
        return s == -CB_ENET;
    if (s == -CB_ENOTFOUND)
        return e->http_status == 404;
    return s == -CB_ENET && e->http_status != 413 && e->http_status != 400 && e->http_status != 405;
}

static int try_once(struct push_blob *b, char *session, struct cb_error *err)
{
    cb_autofree char *own = session;
    int s = own ? 0 : open_session(b, &own, err);
    return s < 0 ? s : put_all(b, own, err);
}

/* Before another try: a moment, or what the registry asked for. 1: it has the blob after all, and only its answer was
 * lost. */
static int prepare(struct push_blob *b, unsigned tries, struct cb_error *err)
{
    int64_t pause = CB_MAX((INT64_C(1) << tries) * NS / 4, b->wait_ns);
    b->wait_ns = 0;
    int s = reg_pause(b->p->r, pause, err);
    return s < 0 ? s : push_is_there(b, err);
}

static void tell_user(const struct push_blob *b, const struct cb_error *e)
{
    const struct cb_registry_options *o = &b->p->r->o;
    char id[CB_DIGEST_TEXT_MAX];
    if (!o->notice)
        return;
    cb_autofree char *line = cb_asprintf("blob %.19s is sent again: %s", cb_digest_text(&b->desc.digest, id),
                                         cb_error_text(e));
    o->notice(o->notice_arg, line);
}

int push_upload(struct push_blob *b, char *session, struct cb_error *err)
{
    for (unsigned i = 1;; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int s = try_once(b, CB_TAKE(session), &e);
        if (s == 0)
            return 0;
        if (!worth_another(b, s, &e) || i == MAX_TRIES || b->wait_ns > MAX_WAIT_NS || push_stopped(b->p))
            return cb_error_move(err, &e);
        tell_user(b, &e);
        s = prepare(b, i, err);
        if (s != 0)
            return s < 0 ? s : 0;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

static int get_plain(const struct reg_host *h)
{
    struct reg_host *m = (struct reg_host *)(uintptr_t)h;
    pthread_mutex_lock(&m->mu);
    int plain = m->plain;
    pthread_mutex_unlock(&m->mu);
    return plain;
}

static void set_plain(const struct reg_host *h, int plain)
{
    struct reg_host *m = (struct reg_host *)(uintptr_t)h;
    pthread_mutex_lock(&m->mu);
    m->plain = plain;
    pthread_mutex_unlock(&m->mu);
}

/* A TLS server that was spoken to in plain HTTP says so; a Go server does it with status 400. */
static bool wants_tls(struct cb_http_reply *reply)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_http_status(reply) != 400 || cb_http_header(reply, "Docker-Distribution-Api-Version"))
        return false;
    return cb_http_slurp(reply, &body, NULL) == 0 && (strstr(body.buf, "HTTPS server") || strstr(body.buf, "HTTPS port"));
}

/* Which of the two a host speaks, where both are allowed. A loopback registry is mostly a plain one. */
static int find_scheme(struct cb_registry *r, const struct reg_endpoint *e, struct cb_error *err)
{
    int result = 0;
    for (int i = 0; i < 2; i++) {
        CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
        int plain = (i == 0) == e->h->loopback;
        cb_autofree char *url = cb_asprintf("%s://%s/v2/", plain ? "http" : "https", e->h->authority);
        struct cb_http_request req = { .method = "GET", .url = url, .tls = &e->h->tls, .plain_http = plain, .private_ok = true,
                                       .no_redirect = true, .no_retry = true };
        int s = cb_http_send(r->o.http, &req, &reply, err);
        if (s == -CB_ECANCELED)
            return s;
        if (s == 0 && !(plain && wants_tls(reply))) {
            set_plain(e->h, plain);
            return 0;
        }
        result = s < 0 ? s : result;
    }
    return result < 0 ? cb_error_wrap(err, "registry %s", e->host)
                      : cb_error_set(err, CB_ENET, "registry %s speaks neither http nor https", e->host);
}

struct attempt {
    struct cb_registry *r;
    const struct reg_endpoint *e;
    const struct reg_request *q;
    struct cb_auth *auth;
    struct cb_auth_target target;
    bool same_origin;              /* q->url is at the registry itself */
    char *base, *url;
};

static int send_once(struct attempt *a, char **tried, struct cb_http_reply **out, struct cb_error *err)
{
    const struct reg_request *q = a->q;
    *tried = a->same_origin ? cb_auth_header(a->auth, &a->target, q->scopes, q->n_scopes) : NULL;
    struct cb_http_request req = {
        .method = q->method, .url = a->url, .tls = a->same_origin ? &a->e->h->tls : NULL,
        .plain_http = a->same_origin && a->target.plain_http, .private_ok = a->same_origin, .authorization = *tried,
        .headers = q->headers, .body = q->body, .on_sent = q->on_sent, .on_sent_arg = q->on_sent_arg,
        .retry_unsafe = q->repeatable, .no_retry = q->no_retry, .max_body = q->max_body,
    };
    return cb_http_send(a->r->o.http, &req, out, err);
}

/* 401: once for what was missing, and once more where a token had just expired. */
static int authenticate(struct attempt *a, struct cb_http_reply **out, struct cb_error *err)
{
    for (int tries = 0; tries < 3; tries++) {
        cb_autofree char *tried = NULL;
        int r = send_once(a, &tried, out, err);
        if (r < 0 || cb_http_status(*out) != 401 || cb_http_crossed_origin(*out) || !a->same_origin)
            return r;
        if (tries == 2)
            return 0;
        r = cb_auth_challenge(a->auth, &a->target, *out, a->q->scopes, a->q->n_scopes, tried, err);
        if (r < 0)
            return r;
        if (a->q->body.rewind && (r = a->q->body.rewind(a->q->body.arg, err)) < 0)
            return r;
        if (a->q->body.pull && !a->q->body.rewind)
            return 0;
        cb_http_reply_free(CB_TAKE(*out));
    }
    return 0;
}

static int set_url(struct attempt *a, struct cb_error *err)
{
    struct cb_url base cb_cleanup_url = { 0 }, u cb_cleanup_url = { 0 };
    if (!a->q->url) {
        a->url = cb_asprintf("%s/v2/%s", a->base, a->q->path);
        a->same_origin = true;
        return 0;
    }
    int r = cb_url_parse(&base, a->base, err);
    if (r == 0)
        r = cb_url_parse(&u, a->q->url, err);
    a->url = cb_strdup(a->q->url);
    a->same_origin = r == 0 && cb_url_same_origin(&base, &u);
    return r;
}

int reg_send(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_request *q, struct cb_http_reply **out,
             struct cb_error *err)
{
    struct attempt a = { .r = r, .e = e, .q = q, .auth = q->auth ? q->auth : r->o.auth };
    *out = NULL;
    int s = get_plain(e->h) < 0 ? find_scheme(r, e, err) : 0;
    if (s < 0)
        return s;
    bool plain = get_plain(e->h) == 1;
    a.base = cb_asprintf("%s://%s", plain ? "http" : "https", e->h->authority);
    a.target = (struct cb_auth_target){ .host = e->host, .base_url = a.base, .tls = &e->h->tls, .plain_http = plain,
                                        .private_ok = true, .approve_realm = q->approve_realm };
    s = set_url(&a, err);
    if (s == 0)
        s = authenticate(&a, out, err);
    if (s < 0 && *out)
        cb_http_reply_free(CB_TAKE(*out));
    free(a.base);
    free(a.url);
    return s < 0 ? cb_error_wrap(err, "registry %s", e->host) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <strings.h>

#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"

#define NS INT64_C(1000000000)
#define MAX_AUTH_TRIES 2
#define MUCH (64u << 10) /* a body of that many bytes may take its time */
#define MAX_PROBES 4

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

int reg_pause(const struct cb_registry *r, const struct cb_cancel *c, int64_t ns, struct cb_error *err)
{
    const struct cb_cancel *cancel = c ? c : r->o.cancel;
    struct pollfd p = { .fd = cancel ? cb_cancel_fd(cancel) : -1, .events = POLLIN };
    int64_t until = cb_time_monotonic() + ns;
    for (;;) {
        int s = cb_cancel_check(cancel, err);
        int64_t left = until - cb_time_monotonic();
        if (s < 0 || left <= 0)
            return s;
        struct timespec ts = { .tv_sec = left / NS, .tv_nsec = left % NS };
        (void)ppoll(&p, 1, &ts, NULL);
    }
}

static bool may_want_tls(const struct cb_http_reply *reply)
{
    return cb_http_status(reply) == 400 && !cb_http_header(reply, "Docker-Distribution-Api-Version");
}

/* A TLS server that was spoken to in plain HTTP says so: a Go server and nginx with status 400, some lead to https.
 * What may say so has no body any more. */
static bool wants_tls(struct cb_http_reply *reply)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *location = cb_http_header(reply, "Location");
    unsigned status = cb_http_status(reply);
    if (status >= 300 && status < 400)
        return location && !strncasecmp(location, "https://", 8);
    return may_want_tls(reply) && cb_http_slurp(reply, &body, NULL) == 0 &&
           (strstr(body.buf, "HTTPS server") || strstr(body.buf, "HTTPS port"));
}

struct attempt {
    struct cb_registry *r;
    const struct reg_endpoint *e;
    const struct reg_request *q;
    struct cb_auth *auth;
    struct cb_auth_target target;
    bool same_origin; /* q->url is at the registry itself */
    bool reached;     /* a probe found somebody, who then did not answer */
    bool guessing;    /* that the host speaks as most like it do; what is asked shows it */
    bool ruled_out; /* that guess was wrong, so that it need not be tried again */
    struct cb_error wrong; /* how it failed, or nothing: the host wants https */
    char *base, *url;
};

static void set_target(struct attempt *a, bool plain)
{
    free(a->base);
    a->base = cb_asprintf("%s://%s", plain ? "http" : "https", a->e->h->authority);
    a->target = (struct cb_auth_target){ .host = a->e->host,
                                         .base_url = a->base,
                                         .tls = &a->e->h->tls,
                                         .plain_http = plain,
                                         .private_ok = true,
                                         .approve_realm = a->q->approve_realm };
}

static int ask_plainly(struct attempt *a, bool no_retry, struct cb_http_reply **reply, struct cb_error *err)
{
    cb_autofree char *url = cb_asprintf("%s%s/", a->base, a->e->h->api);
    struct cb_http_request req = { .method = "GET",
                                   .url = url,
                                   .cancel = a->e->cancel,
                                   .tls = &a->e->h->tls,
                                   .origin_headers = &a->e->h->headers,
                                   .plain_http = a->target.plain_http,
                                   .private_ok = true,
                                   .no_redirect = true,
                                   .no_retry = no_retry,
                                   .reached = &a->reached };
    return cb_http_send(a->r->o.http, &req, reply, err);
}

/* 1: it is spoken there, 0: not, negative. What a 401 tells of the way to authenticate is not thrown away. */
static int probe(struct attempt *a, bool plain, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    set_target(a, plain);
    int s = ask_plainly(a, true, &reply, err);
    if (s < 0)
        return s;
    cb_auth_learn(a->auth, &a->target, reply);
    return !(plain && wants_tls(reply));
}

static int neither(const struct cb_error *https, const struct cb_error *http, struct cb_error *err)
{
    if (!http->code) /* it is there, and wants https */
        return cb_error_copy(err, https);
    return cb_error_set(err, https->code, "%s; %s", cb_error_text(https), cb_error_text(http));
}

/* A loopback registry is mostly a plain one. */
static bool likely_plain(const struct attempt *a)
{
    return a->e->h->loopback;
}

static int known_wrong(struct attempt *a, struct cb_error *err)
{
    a->ruled_out = false;
    return a->wrong.code ? cb_error_move(err, &a->wrong) : 0;
}

/* Which of the two a host speaks, where both are allowed. */
static int try_schemes(struct attempt *a, struct cb_error *err)
{
    struct cb_error https cb_cleanup_error = CB_ERROR_INIT, http cb_cleanup_error = CB_ERROR_INIT;
    bool plain = likely_plain(a);
    int s = 0;
    for (int i = 0; i < 2; i++, plain = !plain) {
        struct cb_error *e = plain ? &http : &https;
        s = i == 0 && a->ruled_out ? known_wrong(a, e) : probe(a, plain, e);
        if (s == 1) {
            set_plain(a->e->h, plain);
            return 0;
        }
        if (s == -CB_ECANCELED || s == -CB_ELOCAL)
            return cb_error_move(err, e);
    }
    return neither(&https, &http, err);
}

/* Once more where somebody was there and did not answer; where nobody is, that is soon said. */
static int find_scheme(struct attempt *a, struct cb_error *err)
{
    for (int i = 0;; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int s = try_schemes(a, &e);
        if (s == 0)
            return 0;
        if (s != -CB_ENET || !a->reached || i == MAX_PROBES - 1)
            return cb_error_move(err, &e);
        a->reached = false;
        s = reg_pause(a->r, a->e->cancel, cb_http_backoff_base(a->r->o.http) << i, err);
        if (s < 0)
            return s;
    }
}

static int know_scheme(struct attempt *a, struct cb_error *err)
{
    struct reg_host *h = (struct reg_host *)(uintptr_t)a->e->h;
    int s = 0;
    if (get_plain(h) < 0) {
        s = cb_turn_take(&h->probe, a->e->cancel ? a->e->cancel : a->r->o.cancel, err);
        if (s < 0)
            return s;
        s = get_plain(h) < 0 ? find_scheme(a, err) : 0;
        cb_turn_give(&h->probe);
    }
    if (s == 0)
        set_target(a, get_plain(h) == 1);
    return s;
}

static bool sends_much(const struct reg_request *q)
{
    return q->body.pull || q->body.mem_len > MUCH;
}

/* How many requests for blobs will come at once when it is answered. */
static unsigned followers(const struct attempt *a)
{
    const struct reg_known *k = a->r->known;
    return !a->q->followed || !a->same_origin ? 0 : atomic_load(a->e->push ? &k->sent : &k->fetched);
}

static int send_once(struct attempt *a, char **tried, struct cb_http_reply **out, struct cb_error *err)
{
    const struct reg_request *q = a->q;
    struct cb_auth_ask ask = { .scopes = q->scopes, .n = q->n_scopes, .sends = sends_much(q),
                               .cancel = a->e->cancel };
    bool own = a->same_origin && !a->e->h->has_authorization;
    *tried = own ? cb_auth_header(a->auth, &a->target, &ask) : NULL;
    struct cb_http_request req = {
        .method = q->method,
        .url = a->url,
        .cancel = a->e->cancel,
        .tls = a->same_origin ? &a->e->h->tls : NULL,
        .plain_http = a->same_origin && a->target.plain_http,
        .private_ok = a->same_origin,
        .private_redirect_ok = a->same_origin && a->e->h->insecure,
        .authorization = *tried,
        .headers = q->headers,
        .origin_headers = a->same_origin ? &a->e->h->headers : NULL,
        .body = q->body,
        .on_sent = q->on_sent,
        .on_sent_arg = q->on_sent_arg,
        .retry_unsafe = q->repeatable,
        .no_retry = q->no_retry,
        .no_redirect = a->guessing,
        .only_answered = a->guessing,
        .prompt = q->prompt,
        .only_harmless = q->only_harmless,
        .max_body = q->max_body,
        .followed = followers(a),
        .reached = a->guessing ? &a->reached : NULL,
    };
    return cb_http_send(a->r->o.http, &req, out, err);
}

/* Makes ready for another try with the header that the challenge brought. */
static int answer(struct attempt *a, const struct cb_http_reply *reply, const struct cb_auth_ask *ask,
                  struct cb_error *err)
{
    const struct cb_http_body *body = &a->q->body;
    int s = cb_auth_challenge(a->auth, &a->target, reply, ask, err);
    return s == 0 && body->rewind ? body->rewind(body->arg, err) : s;
}

/* 401: once for what was missing, and once more where that was too old or too little. */
static int authenticate(struct attempt *a, struct cb_http_reply **out, struct cb_error *err)
{
    const struct reg_request *q = a->q;
    for (int tries = 0;; tries++) {
        char *tried = NULL;
        int s = send_once(a, &tried, out, err);
        bool asked = s == 0 && cb_http_status(*out) == 401 && !cb_http_crossed_origin(*out) && a->same_origin &&
                     !a->e->h->has_authorization;
        bool again = asked && tries < MAX_AUTH_TRIES && !q->keep_401 && (q->body.rewind || !q->body.pull);
        if (again) {
            struct cb_auth_ask ask = {
                .scopes = q->scopes, .n = q->n_scopes, .tried = tried, .again = tries > 0, .sends = sends_much(q),
                .cancel = a->e->cancel
            };
            s = answer(a, *out, &ask, err);
        }
        if (tried)
            explicit_bzero(tried, strlen(tried));
        free(tried);
        if (!again || s < 0)
            return s;
        cb_http_reply_free(CB_TAKE(*out));
    }
}

static int set_url(struct attempt *a, struct cb_error *err)
{
    struct cb_url base cb_cleanup_url = { 0 }, u cb_cleanup_url = { 0 };
    free(CB_TAKE(a->url));
    if (!a->q->url) {
        const struct reg_host *h = a->e->h;
        struct cb_strbuf url cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_addf(&url, "%s%s/%s", a->base, h->api, a->q->path);
        if (h->ns) {
            cb_strbuf_addf(&url, "%cns=", strchr(a->q->path, '?') ? '&' : '?');
            cb_percent_encode(&url, h->ns, strlen(h->ns));
        }
        a->url = cb_strbuf_detach(&url, NULL);
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

static int ask_knowing(struct attempt *a, struct cb_http_reply **out, struct cb_error *err)
{
    int s = know_scheme(a, err);
    if (s == 0)
        s = set_url(a, err);
    return s == 0 ? authenticate(a, out, err) : s;
}

/* What it is asked for is the probe, where that asks for little and leads nowhere else. To begin an upload is little:
 * who speaks otherwise does not understand it, and what nobody heard of a registry forgets. */
static bool may_guess(const struct attempt *a)
{
    const struct reg_request *q = a->q;
    bool asks = cb_streq(q->method, "GET") || cb_streq(q->method, "HEAD") ||
                (cb_streq(q->method, "POST") && q->repeatable);
    return get_plain(a->e->h) < 0 && asks && q->path && !q->body.pull && !q->body.mem;
}

/* What came of it: the reply stays where it says what was asked for. */
static int judge_guess(struct attempt *a, struct cb_http_reply **reply)
{
    unsigned status = cb_http_status(*reply);
    bool plain = a->target.plain_http, doubtful = plain && may_want_tls(*reply);
    bool useful = status != 401 && !doubtful && !(status >= 300 && status < 400);
    bool mute = doubtful && cb_streq(a->q->method, "HEAD"); /* it cannot say why */
    a->ruled_out = plain && !mute && wants_tls(*reply);
    if (!a->ruled_out && !mute)
        set_plain(a->e->h, plain);
    if (status == 401)
        cb_auth_learn(a->auth, &a->target, *reply);
    if (!useful)
        cb_http_reply_free(CB_TAKE(*reply));
    return 0;
}

/* No reply: it has to be asked again, knowing more. */
static int ask_guessing(struct attempt *a, struct cb_http_reply **out, struct cb_error *err)
{
    char *tried = NULL;
    set_target(a, likely_plain(a));
    int s = set_url(a, err);
    if (s < 0)
        return s;
    a->guessing = true;
    s = send_once(a, &tried, out, &a->wrong);
    a->guessing = false;
    if (tried)
        explicit_bzero(tried, strlen(tried));
    free(tried);
    if (s == -CB_ECANCELED)
        return cb_error_move(err, &a->wrong);
    a->ruled_out = s < 0;
    return s < 0 ? 0 : judge_guess(a, out);
}

int reg_send(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_request *q,
             struct cb_http_reply **out, struct cb_error *err)
{
    struct attempt a = { .r = r, .e = e, .q = q, .auth = q->auth ? q->auth : r->o.auth, .wrong = CB_ERROR_INIT };
    *out = NULL;
    int s = may_guess(&a) ? ask_guessing(&a, out, err) : 0;
    if (s == 0 && !*out)
        s = ask_knowing(&a, out, err);
    if (s == 0 && e->heard)
        atomic_store(e->heard, cb_time_monotonic());
    if (s < 0 && *out)
        cb_http_reply_free(CB_TAKE(*out));
    cb_error_done(&a.wrong);
    free(a.base);
    free(a.url);
    if (s < 0 && err && !cb_starts_with(cb_error_text(err), e->host))
        cb_error_wrap(err, "registry %s", e->host);
    return s;
}

int reg_ping(struct cb_registry *r, const struct reg_endpoint *e, struct cb_auth_target *t, char **base,
             struct cb_http_reply **out, struct cb_error *err)
{
    struct reg_request none = { 0 };
    struct attempt a = { .r = r, .e = e, .q = &none, .auth = r->o.auth, .wrong = CB_ERROR_INIT };
    int s = know_scheme(&a, err);
    *base = a.base;
    *t = a.target;
    return s < 0 ? s : ask_plainly(&a, false, out, err);
}

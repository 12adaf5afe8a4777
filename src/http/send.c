/* SPDX-License-Identifier: Apache-2.0 */
/* cb_http_send: hops around tries around one transfer. */
#include "http/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"

struct exchange {
    struct cb_http *h;
    const struct cb_http_request *req;
    struct cb_http_hop hop;
    struct cb_url first;
    struct cb_http_pump pump;
    unsigned tries;    /* failed ones, over all hops */
    int64_t waited_ns; /* because of Retry-After */
    char *name;        /* of the current hop, redacted */
};

static void exchange_done(struct exchange *x)
{
    cb_url_done(&x->hop.url);
    cb_url_done(&x->first);
    free(x->name);
}

static void set_name(struct exchange *x)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_autofree char *url = cb_url_text(&x->hop.url);
    cb_strbuf_addf(&sb, "%s ", x->hop.method);
    cb_strbuf_add_url_redacted(&sb, url);
    free(x->name);
    x->name = cb_strbuf_detach(&sb, NULL);
}

static void trace(struct exchange *x, int64_t since, const char *outcome)
{
    if (!x->h->o.trace)
        return;
    double seconds = (double)CB_MAX(cb_time_monotonic() - since, INT64_C(0)) / (double)CB_SEC_NS;
    cb_autofree char *line = cb_asprintf("%s: %s (%.3f s)", x->name, outcome, seconds);
    x->h->o.trace(x->h->o.trace_arg, line);
}

/* The header of a reply, or an error. On error nothing is left running. */
static int try_once(struct exchange *x, int64_t not_before, struct cb_http_transfer **out, struct cb_http_failure *f,
                    struct cb_error *err)
{
    CB_AUTO(cb_http_transfer_drop) struct cb_http_transfer *t = cb_http_transfer_new(x->h, &x->hop, err);
    if (!t)
        return err ? -(int)err->code : -CB_ELOCAL;
    cb_http_token_watch(t, x->req->cancel);
    int r = cb_http_gate_enter(t, not_before, err);
    if (r < 0)
        return r;
    t->has_place = true;
    cb_http_span_begin(t, &x->hop, x->tries);
    cb_http_command(x->h, t, CB_HTTP_ADD);
    r = cb_http_pump_run(&x->pump, t, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&t->lock);
    bool answered = t->header_done && !t->canceled;
    /* libcurl takes a header that was cut off for an answer. 417 is one, where it did not ask again after all. */
    if (!answered && t->finished && t->result == CURLE_OK && t->status == 417)
        answered = t->header_done = true;
    pthread_mutex_unlock(&t->lock);
    if (!answered) {
        r = cb_http_failure_of(t, f, err);
        if (x->req->reached && !f->unsent)
            *x->req->reached = true;
        return r;
    }
    *out = CB_TAKE(t);
    return 0;
}

/* Seconds by Retry-After, or -1. */
static int64_t asked_wait(const struct cb_http_transfer *t)
{
    const char *value = cb_http_headers_find(&t->headers, "Retry-After", 0);
    return value && (t->status == 429 || t->status == 503) ? cb_http_retry_after(value, cb_time_now() / CB_SEC_NS)
                                                           : -1;
}

static bool may_repeat(const struct exchange *x, bool harmless)
{
    const struct cb_http_request *req = x->req;
    if (req->no_retry || x->tries >= x->h->o.retries || !cb_http_pump_can_rewind(&x->pump))
        return false;
    return harmless || (!req->only_harmless && (req->retry_unsafe || cb_http_method_is_idempotent(x->hop.method)));
}

/* How long to wait before the next try. */
static int wait_for(struct exchange *x, const struct cb_http_transfer *t, int64_t *wait, struct cb_error *err)
{
    int64_t asked = t ? asked_wait(t) : -1;
    *wait = cb_http_jitter(cb_http_backoff(x->h->o.backoff_ns, x->tries));
    if (asked >= 0) {
        int64_t asked_ns = asked * CB_SEC_NS;
        if (asked_ns > x->h->o.max_wait_ns - x->waited_ns) {
            int r = cb_error_set(err, CB_ENET,
                                 "status %u: the host asks to wait %lld s, which is over the limit of %lld s",
                                 t->status, (long long)asked, (long long)(x->h->o.max_wait_ns / CB_SEC_NS));
            if (err)
                err->http_status = (int)t->status;
            return r;
        }
        x->waited_ns += asked_ns;
        *wait = CB_MAX(asked_ns, *wait / 4);
    }
    return 0;
}

/* What a reply means for its host's gate. */
static void tell_gate(struct exchange *x, struct cb_http_transfer *t, int64_t until)
{
    if (t->status == 429 || asked_wait(t) >= 0)
        cb_http_gate_close(x->h, t->origin, until);
}

static bool number_of(const struct cb_http_transfer *t, const char *name, uint64_t *out)
{
    const char *value = cb_http_headers_find(&t->headers, name, 0);
    cb_autofree char *digits = value ? cb_strndup(value, strspn(value, "0123456789")) : NULL;
    return digits && cb_parse_u64(digits, UINT32_MAX, out);
}

/* RateLimit-Remaining (Docker Hub: "76;w=21600") and RateLimit-Reset in seconds, as the IETF's drafts have them. */
static void heed_budget(struct exchange *x, const struct cb_http_transfer *t)
{
    uint64_t left = 0, reset = 0;
    if (!number_of(t, "RateLimit-Remaining", &left))
        return;
    bool wait = left == 0 && number_of(t, "RateLimit-Reset", &reset) &&
                (int64_t)reset * CB_SEC_NS <= x->h->o.max_wait_ns;
    cb_http_gate_budget(x->h, t->origin, left, wait ? cb_time_monotonic() + (int64_t)reset * CB_SEC_NS : 0);
}

/* After a try that got no reply (t is NULL; e says why) or this one: 1 to try again after *wait, 0 when t is the
 * answer, negative for good. */
static int judge(struct exchange *x, struct cb_http_transfer *t, const struct cb_http_failure *f, int64_t *wait,
                 struct cb_error *e)
{
    if (!t && (!f->retry || x->req->only_answered || !may_repeat(x, f->unsent)))
        return -(int)e->code;
    if (t && !cb_http_status_is_retryable(t->status)) {
        cb_http_gate_good(x->h, t->origin);
        heed_budget(x, t);
        return 0;
    }
    /* Who is told to come back later was turned away, whatever the method. */
    if (t && !may_repeat(x, t->status == 429 || asked_wait(t) >= 0))
        return 0;
    int w = wait_for(x, t, wait, e);
    return w < 0 ? w : 1;
}

static void trace_outcome(struct exchange *x, int64_t since, const struct cb_http_transfer *t,
                          const struct cb_error *err, int64_t wait)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    if (t)
        cb_strbuf_addf(&sb, "%u", t->status);
    else
        cb_strbuf_addf(&sb, "failed: %s", cb_error_text(err));
    if (wait >= 0)
        cb_strbuf_addf(&sb, ", next try in %.1f s", (double)wait / (double)CB_SEC_NS);
    trace(x, since, sb.buf);
}

/* One failure that a moment heals is nobody's concern. */
static void tell_user(struct exchange *x, const struct cb_http_transfer *t, const struct cb_error *err, int64_t wait)
{
    if (!x->h->o.notice || (x->tries == 0 && wait < 2 * CB_SEC_NS))
        return;
    cb_autofree char *status = t ? cb_asprintf("status %u", t->status) : NULL;
    cb_autofree char *line = cb_asprintf("%s: %s: next try in %.0f s", x->name,
                                         status ? status : cb_error_text(err), (double)wait / (double)CB_SEC_NS);
    x->h->o.notice(x->h->o.notice_arg, line);
}

static int send_hop(struct exchange *x, struct cb_http_transfer **out, struct cb_error *err)
{
    int64_t not_before = 0;
    for (;;) {
        cb_cleanup_error struct cb_error e = CB_ERROR_INIT;
        CB_AUTO(cb_http_transfer_drop) struct cb_http_transfer *t = NULL;
        struct cb_http_failure f = { 0 };
        int64_t since = CB_MAX(cb_time_monotonic(), not_before), wait = -1;
        int r = try_once(x, not_before, &t, &f, &e);
        int verdict = r < 0 && e.code == CB_OK ? r : judge(x, t, &f, &wait, &e);
        trace_outcome(x, since, t, &e, verdict > 0 ? wait : -1);
        if (verdict < 0)
            return cb_error_move(err, &e);
        if (verdict == 0) {
            *out = CB_TAKE(t);
            return 0;
        }
        tell_user(x, t, &e, wait);
        not_before = cb_time_monotonic() + wait;
        x->tries++;
        if (t) {
            tell_gate(x, t, not_before);
            cb_http_transfer_drain(t);
        }
        if ((r = cb_http_pump_rewind(&x->pump, err)) < 0)
            return r;
    }
}

static int follow(struct exchange *x, struct cb_http_transfer *t, const char *location, struct cb_error *err)
{
    int r = cb_http_redirect_follow(&x->hop, &x->first, t->status, location, err);
    if (r == 0 && x->hop.with_body)
        r = cb_http_pump_rewind(&x->pump, err);
    else
        x->pump.touched = false; /* what was sent of it is not needed again */
    if (r == 0)
        cb_http_transfer_drain(t);
    return r < 0 ? cb_error_wrap(err, "%s", x->name) : 0;
}

static struct cb_http_reply *make_reply(struct exchange *x, struct cb_http_transfer *t)
{
    struct cb_http_reply *reply = CB_NEW(struct cb_http_reply);
    reply->t = t;
    reply->url = cb_url_text(&x->hop.url);
    reply->name = cb_strdup(x->name);
    reply->crossed = x->hop.foreign;
    reply->max_body = x->req->max_body ? x->req->max_body : CB_MAX_MANIFEST;
    return reply;
}

static int send_all(struct exchange *x, struct cb_http_reply **reply, struct cb_error *err)
{
    for (unsigned hops = 0;; hops++) {
        CB_AUTO(cb_http_transfer_drop) struct cb_http_transfer *t = NULL;
        set_name(x);
        int r = send_hop(x, &t, err);
        if (r < 0) {
            cb_error_wrap(err, "%s", x->name);
            return r;
        }
        const char *location = cb_http_headers_find(&t->headers, "Location", 0);
        if (!cb_http_is_redirect(t->status) || x->req->no_redirect || !location) {
            *reply = make_reply(x, CB_TAKE(t));
            return 0;
        }
        if (hops == CB_MAX_REDIRECTS)
            return cb_error_set(err, CB_EVERIFY, "%s: more than %d redirects", x->name, CB_MAX_REDIRECTS);
        if ((r = follow(x, t, location, err)) < 0)
            return r;
    }
}

static bool is_token(const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p < 'A' || *p > 'Z')
            return false;
    return *s != '\0';
}

static int check_request(const struct cb_http_request *req, const struct cb_url *url, struct cb_error *err)
{
    char ip[CB_HTTP_IP_MAX];
    if (!is_token(req->method))
        return cb_error_set(err, CB_EINTERNAL, "HTTP method is no word");
    if (cb_streq(url->scheme, "http") && !req->plain_http)
        return cb_error_set(err, CB_EVERIFY, "unencrypted http is not allowed for %s", url->host);
    /* A proxy would hide the peer's address from us. */
    if (!req->private_ok && cb_http_host_is_literal(url->host, ip) && cb_http_address_is_private(ip))
        return cb_error_set(err, CB_EVERIFY,
                            "%s is a private address; only hosts that you name yourself may have one", ip);
    return 0;
}

int cb_http_send(struct cb_http *h, const struct cb_http_request *req, struct cb_http_reply **reply,
                 struct cb_error *err)
{
    CB_CLEANUP(exchange_done)
    struct exchange x = {
        .h = h,
        .req = req,
        .hop = { .req = req, .method = req->method, .with_body = true, .private_ok = req->private_ok },
        .pump = { .req = req },
    };
    *reply = NULL;
    int r = cb_url_parse(&x.hop.url, req->url, err);
    if (r == 0)
        r = check_request(req, &x.hop.url, err);
    if (r < 0) {
        cb_cleanup_strbuf struct cb_strbuf shown = CB_STRBUF_INIT;
        cb_strbuf_add_url_redacted(&shown, req->url);
        cb_error_wrap(err, "%.500s", shown.buf);
        return r;
    }
    r = cb_url_parse(&x.first, req->url, err);
    return r < 0 ? r : send_all(&x, reply, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests without a body, against a server that misbehaves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "http/http.h"
#include "http/private.h"
#include "http_server.h"

#define MS INT64_C(1000000)

struct trace {
    pthread_mutex_t lock;
    struct cb_strbuf text;
};

static void on_trace(void *arg, const char *line)
{
    struct trace *t = arg;
    pthread_mutex_lock(&t->lock);
    cb_strbuf_addf(&t->text, "%s\n", line);
    pthread_mutex_unlock(&t->lock);
}

static struct cb_http *client(const struct cb_http_options *more)
{
    struct cb_http_options o = more ? *more : (struct cb_http_options){ 0 };
    o.backoff_ns = 5 * MS;
    o.retries = o.retries ? o.retries : UINT_MAX;
    struct cb_http *h = cb_http_new(&o);
    assert_non_null(h);
    return h;
}

static struct cb_http_request get(const char *url)
{
    return (struct cb_http_request){ .method = "GET", .url = url, .plain_http = true, .private_ok = true };
}

/* Sends and slurps; the status or a negative code. */
static int fetch(struct cb_http *h, const struct cb_http_request *req, struct cb_strbuf *body, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    int code = cb_http_send(h, req, &r, err);
    if (code < 0) {
        assert_null(r);
        return code;
    }
    int status = (int)cb_http_status(r);
    code = cb_http_slurp(r, body, err);
    return code < 0 ? code : status;
}

/* ---- plain replies */

static bool plain(struct server_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->path, "/chunked") == 0)
        return server_puts(
            r,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n");
    if (strcmp(r->path, "/headers") == 0)
        return server_puts(
            r,
            "HTTP/1.1 103 Early Hints\r\nX-A: wrong\r\n\r\nHTTP/1.1 404 Not Found\r\nX-A: 1\r\nx-a:2  \r\nX-Ab: 3\r\n"
            "Empty:\r\nFold: a\r\n  b\r\nContent-Length: 2\r\n\r\nno");
    if (strcmp(r->path, "/close") == 0) {
        server_puts(r, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
        return false;
    }
    return server_reply(r, 200, "Content-Encoding: gzip\r\n", "hello");
}

static void test_plain(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(plain, NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    cb_autofree char *url = server_url(s, "/x?q=%2F");
    cb_autofree char *chunked = server_url(s, "/chunked"), *closing = server_url(s, "/close");
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    struct cb_http_request req = get(url);
    assert_int_equal(fetch(h, &req, &body, NULL), 200);
    assert_string_equal(body.buf, "hello");
    req.url = chunked;
    assert_int_equal(fetch(h, &req, &body, NULL), 200);
    assert_string_equal(body.buf, "helloabcde");
    assert_int_equal(atomic_load(&s->connections), 1);
    req.url = closing;
    assert_int_equal(fetch(h, &req, &body, NULL), 200);
    assert_string_equal(body.buf, "helloabcdeuntil the end");
    assert_true(server_saw(s, "GET /x?q=%2F HTTP/1.1\r\n"));
    assert_true(server_saw(s, "User-Agent: cbpush/"));
    assert_false(server_saw(s, "Accept-Encoding"));
    assert_false(server_saw(s, "Authorization"));
}

static void test_headers_and_head(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(plain, NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    cb_autofree char *url = server_url(s, "/headers"), *head = server_url(s, "/");
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL, *r2 = NULL;
    struct cb_http_request req = get(url);
    assert_int_equal(cb_http_send(h, &req, &r, NULL), 0);
    assert_int_equal(cb_http_status(r), 404);
    assert_string_equal(cb_http_header(r, "x-A"), "1");
    assert_string_equal(cb_http_header_nth(r, "X-A", 1), "2");
    assert_null(cb_http_header_nth(r, "X-A", 2));
    assert_string_equal(cb_http_header(r, "Empty"), "");
    assert_string_equal(cb_http_header(r, "fold"), "a b");
    assert_null(cb_http_header(r, "X-Trailer"));
    assert_int_equal(cb_http_content_length(r), 2);
    assert_string_equal(cb_http_url(r), url);
    assert_false(cb_http_crossed_origin(r));

    size_t got = 1;
    char buf[8];
    req = get(head);
    req.method = "HEAD";
    assert_int_equal(cb_http_send(h, &req, &r2, NULL), 0);
    assert_int_equal(cb_http_content_length(r2), 5);
    assert_int_equal(cb_http_read(r2, buf, sizeof buf, &got, NULL), 0);
    assert_int_equal(got, 0);
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    req.max_body = 1; /* a HEAD announces what it does not send */
    assert_int_equal(fetch(h, &req, &body, NULL), 200);
}

static void test_policy(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(plain, NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    cb_autofree char *url = server_url(s, "/"), *name = cb_asprintf("http://localhost:%u/", s->port);
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_http_request req = get(url);
    req.plain_http = false;
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    assert_non_null(strstr(err.msg, "unencrypted"));
    req = get(url);
    req.private_ok = false;
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    /* A name is looked at after it was resolved: nothing may be sent there. */
    req.url = name;
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    assert_non_null(strstr(err.msg, "private address"));
    req.private_ok = true;
    assert_int_equal(fetch(h, &req, &body, &err), 200);
    /* And a connection that is there already is no way around. */
    req.private_ok = false;
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    assert_int_equal(atomic_load(&s->requests), 1);
    cb_cleanup_strvec struct cb_strvec headers = CB_STRVEC_INIT;
    cb_strvec_push(&headers, "X: a\r\nAuthorization: evil");
    req = get(url);
    req.headers = &headers;
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    req = get(url);
    req.authorization = "Basic x\r\nX: y";
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    req = get("http://user:hunter2@127.0.0.1/?sig=hunter2");
    assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
    assert_null(strstr(err.msg, "hunter2"));
    assert_int_equal(atomic_load(&s->requests), 1);
}

/* ---- redirects */

struct redirect {
    struct server *other;
    unsigned hops;
    const char *location;
    unsigned status;
};

static bool redirecting(struct server_request *r, void *arg)
{
    struct redirect *d = arg;
    cb_autofree char *location = NULL;
    if (strncmp(r->path, "/end", 4) == 0)
        return server_reply(r, 200, "", "end");
    if (d->location)
        location = cb_asprintf("Location: %s\r\n", d->location);
    else if (d->other)
        location = cb_asprintf("Location: http://127.0.0.1:%u/end?X-Sig=hunter2\r\n", d->other->port);
    else
        location = cb_asprintf("Location: %s\r\n", r->nth + 1 < d->hops ? "again" : "/end");
    return server_reply(r, d->status ? d->status : 307, location, "moved");
}

static int follow(struct redirect *d, unsigned *requests, struct cb_error *err)
{
    CB_AUTO(server_stop) struct server *s = server_start(redirecting, d);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    cb_autofree char *url = server_url(s, "/a/b");
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    struct cb_http_request req = get(url);
    int r = fetch(h, &req, &body, err);
    *requests = atomic_load(&s->requests);
    /* Small bodies of redirects do not cost the connection. */
    assert_int_equal(atomic_load(&s->connections), 1);
    return r;
}

static void test_redirect_hops(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    unsigned n = 0;
    assert_int_equal(follow(&(struct redirect){ .hops = 1 }, &n, NULL), 200);
    assert_int_equal(n, 2);
    assert_int_equal(follow(&(struct redirect){ .hops = 10 }, &n, NULL), 200);
    assert_int_equal(n, 11);
    assert_int_equal(follow(&(struct redirect){ .hops = 11 }, &n, &err), -CB_EVERIFY);
    assert_int_equal(n, 11);
    assert_non_null(strstr(err.msg, "10 redirects"));
    assert_int_equal(follow(&(struct redirect){ .location = "b" }, &n, &err), -CB_EVERIFY);
    assert_int_equal(n, 11);
    static const char *const refused[] = { "http://user:hunter2@127.0.0.1/end",
                                           "file:///etc/passwd",
                                           "http://localhost/end",
                                           "http://169.254.169.254/latest",
                                           "https://127.1/",
                                           "/a b",
                                           "https://192.168.0.1/" };
    for (size_t i = 0; i < CB_COUNTOF(refused); i++) {
        assert_int_equal(follow(&(struct redirect){ .location = refused[i] }, &n, &err), -CB_EVERIFY);
        assert_int_equal(n, 1);
        assert_null(strstr(err.msg, "hunter2"));
    }
}

static void test_redirect_not_followed(void **state)
{
    (void)state;
    struct redirect d = { .hops = 1 };
    CB_AUTO(server_stop) struct server *s = server_start(redirecting, &d);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    cb_autofree char *url = server_url(s, "/a");
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    struct cb_http_request req = get(url);
    req.no_redirect = true;
    assert_int_equal(cb_http_send(h, &req, &r, NULL), 0);
    assert_int_equal(cb_http_status(r), 307);
    assert_string_equal(cb_http_header(r, "Location"), "/end");
    assert_int_equal(atomic_load(&s->requests), 1);
}

static void test_redirect_credentials(void **state)
{
    (void)state;
    struct trace trace = { .lock = PTHREAD_MUTEX_INITIALIZER, .text = CB_STRBUF_INIT };
    struct redirect back = { .hops = 0 }, there = { 0 };
    CB_AUTO(server_stop) struct server *e = server_start(redirecting, &back);
    there.other = e;
    CB_AUTO(server_stop) struct server *s = server_start(redirecting, &there);
    CB_AUTO(cb_http_free)
    struct cb_http *h = client(&(struct cb_http_options){ .trace = on_trace, .trace_arg = &trace });
    cb_autofree char *url = server_url(s, "/a");
    cb_cleanup_strvec struct cb_strvec headers = CB_STRVEC_INIT;
    cb_strvec_push(&headers, "cookie: hunter2");
    cb_strvec_push(&headers, "Range: bytes=1-");
    struct cb_http_request req = get(url);
    req.headers = &headers;
    req.authorization = "Bearer hunter2";
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    assert_int_equal(cb_http_send(h, &req, &r, NULL), 0);
    assert_int_equal(cb_http_status(r), 200);
    assert_true(cb_http_crossed_origin(r));
    assert_non_null(strstr(cb_http_url(r), "/end?X-Sig=hunter2"));
    assert_true(server_saw(s, "Authorization: Bearer hunter2\r\n"));
    assert_true(server_saw(s, "cookie: hunter2\r\n"));
    assert_false(server_saw(e, "Bearer"));
    assert_false(server_saw(e, "cookie"));
    assert_true(server_saw(e, "Range: bytes=1-\r\n"));
    assert_non_null(strstr(trace.text.buf, "/end?X-Sig=xxxxx: 200"));
    assert_null(strstr(trace.text.buf, "hunter2"));
    cb_strbuf_done(&trace.text);
}

/* Once a request was away, its credentials do not come back. */
static void test_redirect_there_and_back(void **state)
{
    (void)state;
    struct redirect first = { 0 }, second = { 0 };
    CB_AUTO(server_stop) struct server *s = server_start(redirecting, &first);
    CB_AUTO(server_stop) struct server *e = server_start(redirecting, &second);
    cb_autofree char *away = server_url(e, "/away"), *back = server_url(s, "/end"), *url = server_url(s, "/a");
    first.location = away;
    second.location = back;
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    struct cb_http_request req = get(url);
    req.authorization = "Bearer hunter2";
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    assert_int_equal(fetch(h, &req, &body, NULL), 200);
    assert_true(server_saw(s, "GET /end"));
    const char *end = strstr(s->log.buf, "GET /end");
    assert_null(strstr(end, "hunter2"));
    assert_false(server_saw(e, "hunter2"));
}

/* ---- tries */

struct flaky {
    unsigned failures;
    unsigned status; /* 0: reset */
    const char *extra;
    const char *partial; /* sent before the reset */
};

static bool flaky(struct server_request *r, void *arg)
{
    struct flaky *f = arg;
    if (r->nth >= f->failures)
        return server_reply(r, 200, "", "fine");
    if (f->status)
        return server_reply(r, f->status, f->extra ? f->extra : "", "wrong");
    if (f->partial)
        server_puts(r, f->partial);
    server_reset(r);
    return false;
}

static int try(struct flaky *f, struct cb_http_request *req, const struct cb_http_options *o, unsigned *requests,
               struct cb_error *err)
{
    CB_AUTO(server_stop) struct server *s = server_start(flaky, f);
    CB_AUTO(cb_http_free) struct cb_http *h = client(o);
    cb_autofree char *url = server_url(s, "/a?token=hunter2");
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    req->url = url;
    int r = fetch(h, req, &body, err);
    *requests = atomic_load(&s->requests);
    return r;
}

static void test_retry(void **state)
{
    static const unsigned statuses[] = { 408, 429, 499, 500, 502, 503, 504, 522 };
    struct cb_http_request req = get(NULL);
    unsigned n = 0;
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(statuses); i++) {
        assert_int_equal(try(&(struct flaky){ .failures = 2, .status = statuses[i] }, &req, NULL, &n, NULL), 200);
        assert_int_equal(n, 3);
    }
    assert_int_equal(try(&(struct flaky){ .failures = 5 }, &req, NULL, &n, NULL), 200);
    assert_int_equal(n, 6);
    assert_int_equal(
        try(&(struct flaky){ .failures = 1, .partial = "HTTP/1.1 200 OK\r\nContent-" }, &req, NULL, &n, NULL), 200);
    assert_int_equal(n, 2);
    /* The last answer counts, whatever it is; the last failure is an error that hides the query. */
    assert_int_equal(try(&(struct flaky){ .failures = 99, .status = 503 }, &req, NULL, &n, NULL), 503);
    assert_int_equal(n, 6);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_http_options two = { .retries = 2 };
    assert_int_equal(try(&(struct flaky){ .failures = 99 }, &req, &two, &n, &err), -CB_ENET);
    assert_int_equal(n, 3);
    assert_non_null(strstr(err.msg, "GET http://127.0.0.1"));
    assert_null(strstr(err.msg, "hunter2"));
}

static void test_no_retry(void **state)
{
    struct cb_http_request req = get(NULL);
    unsigned n = 0;
    (void)state;
    static const unsigned finals[] = { 400, 401, 403, 404, 416, 501 };
    for (size_t i = 0; i < CB_COUNTOF(finals); i++) {
        assert_int_equal(try(&(struct flaky){ .failures = 9, .status = finals[i] }, &req, NULL, &n, NULL),
                         (int)finals[i]);
        assert_int_equal(n, 1);
    }
    req.no_retry = true;
    assert_int_equal(try(&(struct flaky){ .failures = 9, .status = 500 }, &req, NULL, &n, NULL), 500);
    assert_int_equal(n, 1);
    req = get(NULL);
    req.method = "POST";
    assert_int_equal(try(&(struct flaky){ .failures = 9, .status = 500 }, &req, NULL, &n, NULL), 500);
    assert_int_equal(n, 1);
    assert_int_equal(try(&(struct flaky){ .failures = 9 }, &req, NULL, &n, NULL), -CB_ENET);
    assert_int_equal(n, 1);
    /* 429: it was refused, so nothing was done. */
    assert_int_equal(try(&(struct flaky){ .failures = 1, .status = 429 }, &req, NULL, &n, NULL), 200);
    assert_int_equal(n, 2);
    req.retry_unsafe = true;
    assert_int_equal(try(&(struct flaky){ .failures = 1, .status = 500 }, &req, NULL, &n, NULL), 200);
    assert_int_equal(n, 2);
}

static void test_connection_refused(void **state)
{
    (void)state;
    struct trace trace = { .lock = PTHREAD_MUTEX_INITIALIZER, .text = CB_STRBUF_INIT };
    struct cb_http_options o = { .retries = 3, .trace = on_trace, .trace_arg = &trace };
    CB_AUTO(cb_http_free) struct cb_http *h = client(&o);
    struct server *s = server_start(plain, NULL);
    cb_autofree char *url = server_url(s, "/");
    server_stop(s);
    struct cb_http_request req = get(url);
    req.method = "POST"; /* never left, so that even a POST is tried again */
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    assert_int_equal(fetch(h, &req, &body, NULL), -CB_ENET);
    unsigned lines = 0;
    for (const char *p = trace.text.buf; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, 4);
    cb_strbuf_done(&trace.text);
}

static void test_retry_after(void **state)
{
    struct cb_http_request req = get(NULL);
    unsigned n = 0;
    (void)state;
    int64_t since = cb_time_monotonic();
    assert_int_equal(
        try(&(struct flaky){ .failures = 1, .status = 429, .extra = "Retry-After: 1\r\n" }, &req, NULL, &n, NULL),
        200);
    int64_t took = cb_time_monotonic() - since;
    assert_int_equal(n, 2);
    assert_in_range(took / MS, 1000, 4000);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    since = cb_time_monotonic();
    assert_int_equal(
        try(&(struct flaky){ .failures = 1, .status = 503, .extra = "Retry-After: 86400\r\n" }, &req, NULL, &n, &err),
        -CB_ENET);
    assert_int_equal(err.http_status, 503);
    assert_non_null(strstr(err.msg, "86400"));
    assert_non_null(strstr(err.msg, "300 s"));
    /* All waits together are bounded. */
    struct cb_http_options o = { .max_wait_ns = 1500 * MS };
    assert_int_equal(
        try(&(struct flaky){ .failures = 9, .status = 429, .extra = "Retry-After: 1\r\n" }, &req, &o, &n, &err),
        -CB_ENET);
    assert_int_equal(n, 2);
    assert_in_range((cb_time_monotonic() - since) / MS, 900, 4000);
    /* What is no time, and a time that is over, fall back to the usual pause. */
    assert_int_equal(
        try(&(struct flaky){ .failures = 1, .status = 429, .extra = "Retry-After: soon\r\n" }, &req, NULL, &n, NULL),
        200);
    assert_int_equal(try(&(struct flaky){ .failures = 1,
                                          .status = 429,
                                          .extra = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n" },
                         &req, NULL, &n, NULL),
                     200);
    assert_int_equal(n, 2);
}

/* ---- broken replies */

static bool broken(struct server_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->path, "/short") == 0) {
        server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        return false;
    }
    if (strcmp(r->path, "/chunk") == 0) {
        server_puts(r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc");
        return false;
    }
    if (strcmp(r->path, "/bomb") == 0) {
        server_puts(r, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 20000; i++)
            if (!server_puts(r, "X-Bomb: 0123456789012345678901234567890123456789\r\n"))
                break;
        return false;
    }
    if (strcmp(r->path, "/line") == 0) {
        server_puts(r, "HTTP/1.1 200 OK\r\nX-Long: ");
        for (int i = 0; i < 20000; i++)
            if (!server_puts(r, "0123456789012345678901234567890123456789"))
                break;
        return false;
    }
    if (strcmp(r->path, "/hints") == 0) {
        for (int i = 0; i < 20000; i++)
            if (!server_puts(r, "HTTP/1.1 103 Early Hints\r\nLink: </0123456789>\r\n\r\n"))
                break;
        return false;
    }
    server_puts(r, "SSH-2.0-OpenSSH_9.2\r\n");
    return false;
}

static void test_broken(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(broken, NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    static const struct {
        const char *path, *says;
        int code;
    } rows[] = {
        { "/short", NULL, -CB_ENET },       { "/chunk", NULL, -CB_ENET },        { "/bomb", "header", -CB_EVERIFY },
        { "/line", "header", -CB_EVERIFY }, { "/hints", "header", -CB_EVERIFY }, { "/ssh", NULL, -CB_ENET },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_autofree char *url = server_url(s, rows[i].path);
        cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        struct cb_http_request req = get(url);
        unsigned before = atomic_load(&s->requests);
        int r = fetch(h, &req, &body, &err);
        if (r != rows[i].code || (rows[i].says && !strstr(err.msg, rows[i].says)))
            fail_msg("%s: %d %s", rows[i].path, r, cb_error_text(&err));
        /* A body that breaks off is for the caller to resume; none of the rest is worth another try. */
        assert_int_equal(atomic_load(&s->requests), before + 1);
    }
}

static bool endless(struct server_request *r, void *arg)
{
    char block[4096];
    (void)arg;
    memset(block, 'x', sizeof block);
    if (strcmp(r->path, "/announced") == 0) {
        server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
        while (server_send(r, block, sizeof block))
            ;
        return false;
    }
    server_puts(r, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while (server_send(r, block, sizeof block))
        ;
    return false;
}

static void test_too_long(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(endless, NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(NULL);
    static const char *const paths[] = { "/announced", "/endless" };
    for (size_t i = 0; i < CB_COUNTOF(paths); i++) {
        cb_autofree char *url = server_url(s, paths[i]);
        cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        struct cb_http_request req = get(url);
        req.max_body = 100000;
        assert_int_equal(fetch(h, &req, &body, &err), -CB_EVERIFY);
        assert_non_null(strstr(err.msg, "longer than 100000 bytes"));
        assert_true(body.len <= 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_headers_and_head),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_redirect_hops),
        cmocka_unit_test(test_redirect_not_followed),
        cmocka_unit_test(test_redirect_credentials),
        cmocka_unit_test(test_redirect_there_and_back),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_no_retry),
        cmocka_unit_test(test_connection_refused),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

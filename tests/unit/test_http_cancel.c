/* SPDX-License-Identifier: Apache-2.0 */
/* Single requests are given up, whatever they wait for; the others and the client go on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include <unistd.h>

#include "http/http.h"
#include "http_server.h"
#include "util/cancel.h"

/* Silent until the client goes, but for what a test asks for. */
static bool mostly_silent(struct server_request *r, void *arg)
{
    char buf[4096];
    (void)arg;
    if (strcmp(r->path, "/ok") == 0)
        return server_reply(r, 200, "", "fine");
    if (strcmp(r->path, "/later") == 0)
        return server_reply(r, 429, "Retry-After: 250\r\n", "");
    if (strcmp(r->path, "/broken") == 0)
        return server_reply(r, 503, "", "");
    if (strcmp(r->path, "/body") == 0)
        server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    while (server_recv(r, buf, sizeof buf))
        ;
    return false;
}

static struct cb_http_request get(const char *url, const struct cb_cancel *cancel)
{
    return (struct cb_http_request){
        .method = "GET", .url = url, .plain_http = true, .private_ok = true, .cancel = cancel
    };
}

static int pull_for_ever(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    (void)arg;
    (void)err;
    memset(buf, 'x', n);
    *got = n;
    return 0;
}

struct call {
    struct cb_http *h;
    struct cb_http_request req;
    struct cb_strbuf body;
    struct cb_error err;
    pthread_t thread;
    int code;
};

static void *run(void *arg)
{
    struct call *c = arg;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    c->code = cb_http_send(c->h, &c->req, &reply, &c->err);
    if (c->code == 0)
        c->code = cb_http_slurp(reply, &c->body, &c->err);
    return NULL;
}

static void begin(struct call *c)
{
    c->body = (struct cb_strbuf)CB_STRBUF_INIT;
    assert_int_equal(pthread_create(&c->thread, NULL, run, c), 0);
}

static int end(struct call *c)
{
    pthread_join(c->thread, NULL);
    cb_strbuf_done(&c->body);
    cb_error_done(&c->err);
    return c->code;
}

static void await_requests(struct server *s, unsigned n)
{
    while (atomic_load(&s->requests) < n)
        usleep(1000);
}

static void await_closed(struct server *s)
{
    while (atomic_load(&s->open_now))
        usleep(1000);
}

static void assert_goes_on(struct cb_http *h, const struct server *s, const struct cb_cancel *cancel)
{
    cb_autofree char *url = server_url(s, "/ok");
    struct call c = { .h = h, .req = get(url, cancel) };
    begin(&c);
    assert_int_equal(end(&c), 0);
}

static struct cb_http *client(unsigned connections)
{
    return cb_http_new(&(struct cb_http_options){ .retries = 9, .max_host_connections = connections,
                                                  .backoff_ns = 200 * INT64_C(1000000000) });
}

/* Silent before the header, in the middle of the body or of ours, and where we wait before another try. */
static void test_stages(void **state)
{
    static const struct { const char *method, *path; bool keeps; } rows[] = {
        { "GET", "/header", false }, { "GET", "/body", false }, { "PUT", "/upload", false },
        { "GET", "/later", true }, { "GET", "/broken", true },
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        CB_AUTO(server_stop) struct server *s = server_start(mostly_silent, NULL);
        CB_AUTO(cb_cancel_free) struct cb_cancel *cancel = cb_cancel_new(NULL);
        CB_AUTO(cb_http_free) struct cb_http *h = client(0);
        cb_autofree char *url = server_url(s, rows[i].path);
        struct call c = { .h = h, .req = get(url, cancel) };
        c.req.method = rows[i].method;
        if (strcmp(rows[i].method, "PUT") == 0)
            c.req.body = (struct cb_http_body){ .pull = pull_for_ever, .length = UINT64_MAX };
        begin(&c);
        await_requests(s, 1);
        usleep(20000); /* on to where it waits; sooner is as well */
        cb_cancel_trigger(cancel, 0);
        assert_int_equal(end(&c), -CB_ECANCELED);
        if (!rows[i].keeps)
            await_closed(s);
        if (strcmp(rows[i].path, "/later") != 0) /* that closes the gate for all */
            assert_goes_on(h, s, NULL);
        /* What comes too late does not begin. */
        struct call late = { .h = h, .req = get(url, cancel) };
        unsigned before = atomic_load(&s->requests);
        begin(&late);
        assert_int_equal(end(&late), -CB_ECANCELED);
        assert_int_equal(atomic_load(&s->requests), before);
    }
}

static void test_tls(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(mostly_silent, NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *cancel = cb_cancel_new(NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    cb_autofree char *url = cb_asprintf("https://127.0.0.1:%u/", s->port);
    struct call c = { .h = h, .req = get(url, cancel) };
    begin(&c);
    while (!atomic_load(&s->open_now))
        usleep(1000);
    cb_cancel_trigger(cancel, 0);
    assert_int_equal(end(&c), -CB_ECANCELED);
    await_closed(s);
    assert_goes_on(h, s, NULL);
}

/* A queue of connections that is full: the kernel answers no more. */
static void test_connect(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), full[4];
    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 0), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    for (size_t i = 0; i < CB_COUNTOF(full); i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(full[i], (struct sockaddr *)&a, sizeof a);
    }
    CB_AUTO(cb_cancel_free) struct cb_cancel *cancel = cb_cancel_new(NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    cb_autofree char *url = cb_asprintf("http://127.0.0.1:%u/", ntohs(a.sin_port));
    struct call c = { .h = h, .req = get(url, cancel) };
    begin(&c);
    usleep(50000);
    cb_cancel_trigger(cancel, 0);
    assert_int_equal(end(&c), -CB_ECANCELED);
    for (size_t i = 0; i < CB_COUNTOF(full); i++)
        close(full[i]);
    close(fd);
}

/* One that waits for a place goes; who has the place keeps it, and so does one with another token. */
static void test_gate(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(mostly_silent, NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *parent = cb_cancel_new(NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *of_one = cb_cancel_new(parent);
    CB_AUTO(cb_cancel_free) struct cb_cancel *of_other = cb_cancel_new(parent);
    CB_AUTO(cb_http_free) struct cb_http *h = client(1);
    cb_autofree char *silent = server_url(s, "/header"), *ok = server_url(s, "/ok");
    struct call has = { .h = h, .req = get(silent, of_other) }, waits = { .h = h, .req = get(ok, of_one) };
    struct call next = { .h = h, .req = get(ok, NULL) };
    begin(&has);
    await_requests(s, 1);
    begin(&waits);
    begin(&next);
    usleep(20000);
    cb_cancel_trigger(of_one, 0);
    assert_int_equal(end(&waits), -CB_ECANCELED);
    assert_int_equal(atomic_load(&s->requests), 1);
    assert_int_equal(atomic_load(&s->open_now), 1);
    cb_cancel_trigger(parent, 0);
    assert_int_equal(end(&has), -CB_ECANCELED);
    assert_int_equal(end(&next), 0);
}

/* Many on one token, which ends and goes while others come and go. */
static void test_many(void **state)
{
    enum { ROUNDS = 8, CALLS = 6 }; /* fewer than the server takes connections */
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(mostly_silent, NULL);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    CB_AUTO(cb_cancel_free) struct cb_cancel *other = cb_cancel_new(NULL);
    cb_autofree char *silent = server_url(s, "/header"), *ok = server_url(s, "/ok");
    struct call stays = { .h = h, .req = get(silent, other) };
    begin(&stays);
    await_requests(s, 1);
    for (int round = 0; round < ROUNDS; round++) {
        CB_AUTO(cb_cancel_free) struct cb_cancel *cancel = cb_cancel_new(NULL);
        struct call c[CALLS], fine = { .h = h, .req = get(ok, other) };
        begin(&fine);
        for (size_t i = 0; i < CALLS; i++) {
            c[i] = (struct call){ .h = h, .req = get(ok, cancel) };
            begin(&c[i]);
        }
        usleep((useconds_t)(round * 400));
        cb_cancel_trigger(cancel, 0);
        for (size_t i = 0; i < CALLS; i++)
            assert_true(end(&c[i]) == -CB_ECANCELED || c[i].code == 0);
        assert_int_equal(end(&fine), 0);
        assert_true(atomic_load(&s->open_now) >= 1);
    }
    cb_cancel_trigger(other, 0);
    assert_int_equal(end(&stays), -CB_ECANCELED);
}

/* A token below the client's is canceled with it, and let through with it, unless it was canceled by itself. */
static void test_grace(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(mostly_silent, NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *top = cb_cancel_new(NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *below = cb_cancel_new(top);
    CB_AUTO(cb_cancel_free) struct cb_cancel *other = cb_cancel_new(top);
    CB_AUTO(cb_http_free) struct cb_http *h = cb_http_new(&(struct cb_http_options){ .cancel = top });
    cb_autofree char *ok = server_url(s, "/ok"), *silent = server_url(s, "/silent");
    struct call waits = { .h = h, .req = get(silent, NULL) }, c = { .h = h };
    begin(&waits);
    await_requests(s, 1);
    cb_cancel_trigger(top, 0);
    assert_int_equal(end(&waits), -CB_ECANCELED);
    c.req = get(ok, below);
    begin(&c);
    assert_int_equal(end(&c), -CB_ECANCELED);
    cb_http_grace(h, INT64_C(300) * 1000000000);
    assert_goes_on(h, s, NULL);
    assert_goes_on(h, s, below);
    cb_cancel_trigger(other, 0);
    c = (struct call){ .h = h, .req = get(ok, other) };
    begin(&c);
    assert_int_equal(end(&c), -CB_ECANCELED);
    cb_http_grace(h, INT64_C(50) * 1000000);
    waits = (struct call){ .h = h, .req = get(silent, below) };
    begin(&waits);
    assert_int_equal(end(&waits), -CB_ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_grace),
    };
    alarm(120); /* for what is never given up */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

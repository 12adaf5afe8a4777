/* SPDX-License-Identifier: Apache-2.0 */
/* Back-pressure, cancel, stalls, and many at once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "http/http.h"
#include "http_server.h"
#include "util/cancel.h"
#include "util/timeutil.h"

#define MS INT64_C(1000000)

static struct cb_http_request get(const char *url)
{
    return (struct cb_http_request){ .method = "GET", .url = url, .plain_http = true, .private_ok = true };
}

static char byte_at(uint64_t pos)
{
    return (char)(pos * 13 + (pos >> 10));
}

static bool pattern(struct server_request *r, void *arg)
{
    uint64_t size = *(uint64_t *)arg, pos = 0;
    char block[8192];
    cb_autofree char *head = cb_asprintf("HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)size);
    if (!server_puts(r, head))
        return false;
    while (pos < size) {
        size_t n = (size_t)CB_MIN((uint64_t)sizeof block, size - pos);
        for (size_t i = 0; i < n; i++)
            block[i] = byte_at(pos++);
        if (!server_send(r, block, n))
            return false;
    }
    return true;
}

struct reader {
    struct cb_http_reply *reply;
    uint64_t total;
    unsigned pause_us;
    bool wrong;
    int code;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;
    char buf[30000];
    size_t got = 1;
    while (r->code == 0 && got) {
        r->code = cb_http_read(r->reply, buf, sizeof buf, &got, NULL);
        for (size_t i = 0; i < got; i++)
            r->wrong = r->wrong || buf[i] != byte_at(r->total + i);
        r->total += got;
        if (r->pause_us && got)
            usleep(r->pause_us);
    }
    return NULL;
}

/* A reader slower than the server, in another thread than the sender: curl is paused and goes on many times. */
static void test_slow_reader(void **state)
{
    uint64_t size = 20000000;
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(pattern, &size);
    CB_AUTO(cb_http_free) struct cb_http *h = cb_http_new(&(struct cb_http_options){ .retries = 0 });
    cb_autofree char *url = server_url(s, "/");
    struct reader r[2] = { { .pause_us = 500 }, { 0 } };
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        struct cb_http_request req = get(url);
        assert_int_equal(cb_http_send(h, &req, &r[i].reply, NULL), 0);
        assert_int_equal(pthread_create(&t[i], NULL, read_all, &r[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(r[i].code, 0);
        assert_int_equal(r[i].total, size);
        assert_false(r[i].wrong);
        cb_http_reply_free(r[i].reply);
    }
}

/* Unread replies hold no place: more of them than connections per host must not block the next request. */
static void test_unread_replies(void **state)
{
    uint64_t size = 5000000;
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(pattern, &size);
    CB_AUTO(cb_http_free)
    struct cb_http *h = cb_http_new(&(struct cb_http_options){ .max_host_connections = 2 });
    cb_autofree char *url = server_url(s, "/");
    struct cb_http_reply *replies[6] = { 0 };
    struct cb_http_request req = get(url);
    for (size_t i = 0; i < CB_COUNTOF(replies); i++)
        assert_int_equal(cb_http_send(h, &req, &replies[i], NULL), 0);
    for (size_t i = 0; i < CB_COUNTOF(replies); i++) {
        struct reader r = { .reply = replies[i] };
        if (i % 2 == 0)
            read_all(&r);
        assert_true(i % 2 || (r.total == size && !r.wrong));
        cb_http_reply_free(replies[i]); /* the others: thrown away in the middle */
    }
}

/* ---- at most so many connections move at once */

struct busy {
    atomic_int now, most;
};

static bool busy(struct server_request *r, void *arg)
{
    struct busy *b = arg;
    int now = atomic_fetch_add(&b->now, 1) + 1, most = atomic_load(&b->most);
    while (now > most && !atomic_compare_exchange_weak(&b->most, &most, now))
        ;
    usleep(30000);
    atomic_fetch_sub(&b->now, 1);
    return server_reply(r, 200, "", "x");
}

struct worker {
    struct cb_http *h;
    const char *url;
    int code;
    unsigned status;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    struct cb_http_request req = get(w->url);
    w->code = cb_http_send(w->h, &req, &r, NULL);
    w->status = w->code == 0 ? cb_http_status(r) : 0;
    return NULL;
}

static void run_workers(struct worker *w, size_t n)
{
    pthread_t t[16];
    assert_true(n <= CB_COUNTOF(t));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    for (size_t i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

static void test_connection_limit(void **state)
{
    struct busy b = { 0 };
    struct worker w[12];
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(busy, &b);
    CB_AUTO(cb_http_free)
    struct cb_http *h = cb_http_new(&(struct cb_http_options){ .max_host_connections = 3 });
    cb_autofree char *url = server_url(s, "/");
    for (size_t i = 0; i < CB_COUNTOF(w); i++)
        w[i] = (struct worker){ .h = h, .url = url };
    run_workers(w, CB_COUNTOF(w));
    for (size_t i = 0; i < CB_COUNTOF(w); i++)
        assert_int_equal(w[i].status, 200);
    assert_int_equal(atomic_load(&b.most), 3);
    assert_true(atomic_load(&s->connections) <= 4);
}

/* ---- one gate a host */

struct limited {
    int64_t open_at;
    atomic_uint refused;
};

static bool limited(struct server_request *r, void *arg)
{
    struct limited *l = arg;
    if (r->nth == 0)
        l->open_at = cb_time_monotonic() + 1000 * MS;
    if (cb_time_monotonic() >= l->open_at)
        return server_reply(r, 200, "", "x");
    atomic_fetch_add(&l->refused, 1);
    return server_reply(r, 429, "Retry-After: 1\r\n", "slow down");
}

static void test_gate(void **state)
{
    struct limited l = { 0 };
    struct worker w[16];
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(limited, &l);
    CB_AUTO(cb_http_free)
    struct cb_http *h =
        cb_http_new(&(struct cb_http_options){ .max_host_connections = 1, .retries = 5, .backoff_ns = MS });
    cb_autofree char *url = server_url(s, "/");
    for (size_t i = 0; i < CB_COUNTOF(w); i++)
        w[i] = (struct worker){ .h = h, .url = url };
    int64_t since = cb_time_monotonic();
    run_workers(w, CB_COUNTOF(w));
    for (size_t i = 0; i < CB_COUNTOF(w); i++)
        assert_int_equal(w[i].status, 200);
    /* One heard of it; the next may have slipped through before the gate was closed; nobody else asked. */
    assert_in_range(atomic_load(&l.refused), 1, 2);
    assert_true(cb_time_monotonic() - since >= 990 * MS);
}

/* Two are left, and then none for a second. */
struct budget {
    struct busy busy;
    int64_t open_at;
    atomic_uint early;
};

static bool budgeted(struct server_request *r, void *arg)
{
    struct budget *b = arg;
    if (strcmp(r->path, "/two") == 0)
        return server_reply(r, 200, "RateLimit-Remaining: 2;w=60\r\n", "x");
    if (strcmp(r->path, "/none") == 0) {
        b->open_at = cb_time_monotonic() + 900 * MS;
        return server_reply(r, 200, "RateLimit-Remaining: 0\r\nRateLimit-Reset: 1\r\n", "x");
    }
    if (cb_time_monotonic() < b->open_at)
        atomic_fetch_add(&b->early, 1);
    int now = atomic_fetch_add(&b->busy.now, 1) + 1, most = atomic_load(&b->busy.most);
    while (now > most && !atomic_compare_exchange_weak(&b->busy.most, &most, now))
        ;
    usleep(20000);
    atomic_fetch_sub(&b->busy.now, 1);
    return server_reply(r, 200, "RateLimit-Remaining: 2\r\n", "x");
}

static void run_one(struct cb_http *h, struct server *s, const char *path)
{
    cb_autofree char *url = server_url(s, path);
    struct worker one = { .h = h, .url = url };
    run_workers(&one, 1);
    assert_int_equal(one.status, 200);
}

static void test_budget(void **state)
{
    struct budget b = { 0 };
    struct worker w[8];
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(budgeted, &b);
    CB_AUTO(cb_http_free) struct cb_http *h = cb_http_new(&(struct cb_http_options){ .max_host_connections = 6 });
    cb_autofree char *url = server_url(s, "/");
    for (size_t i = 0; i < CB_COUNTOF(w); i++)
        w[i] = (struct worker){ .h = h, .url = url };
    run_one(h, s, "/two");
    run_workers(w, CB_COUNTOF(w));
    assert_in_range(atomic_load(&b.busy.most), 1, 2);
    run_one(h, s, "/none");
    run_workers(w, CB_COUNTOF(w));
    assert_int_equal(atomic_load(&b.early), 0);
    for (size_t i = 0; i < CB_COUNTOF(w); i++)
        assert_int_equal(w[i].status, 200);
}

/* ---- cancel */

static bool silent(struct server_request *r, void *arg)
{
    char c;
    (void)arg;
    if (strcmp(r->path, "/body") == 0)
        server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    if (strcmp(r->path, "/later") == 0)
        return server_reply(r, 429, "Retry-After: 60\r\n", "");
    server_recv(r, &c, 1); /* until the client goes */
    return false;
}

static void *cancel_soon(void *arg)
{
    usleep(150000);
    cb_cancel_trigger(arg, 0);
    return NULL;
}

static int pull_slowly(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    (void)arg;
    (void)err;
    memset(buf, 'x', CB_MIN(n, (size_t)1000));
    *got = CB_MIN(n, (size_t)1000);
    usleep(1000);
    return 0;
}

static void cancel_in(const char *path, const char *method)
{
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    CB_AUTO(server_stop) struct server *s = server_start(silent, NULL);
    CB_AUTO(cb_http_free)
    struct cb_http *h = cb_http_new(&(struct cb_http_options){ .cancel = c, .retries = UINT32_MAX });
    cb_autofree char *url = server_url(s, path);
    struct cb_http_request req = get(url);
    req.method = method;
    if (strcmp(method, "PUT") == 0)
        req.body = (struct cb_http_body){ .pull = pull_slowly, .length = UINT64_MAX };
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    pthread_t t;
    int64_t since = cb_time_monotonic();
    assert_int_equal(pthread_create(&t, NULL, cancel_soon, c), 0);
    int code = cb_http_send(h, &req, &r, &err);
    if (code == 0)
        code = cb_http_slurp(r, &body, &err);
    int64_t took = cb_time_monotonic() - since;
    pthread_join(t, NULL);
    assert_int_equal(code, -CB_ECANCELED);
    assert_int_equal(err.code, CB_ECANCELED);
    assert_in_range(took / MS, 100, 1000);
    /* And nothing begins after it. */
    struct cb_http_reply *r2 = NULL;
    assert_int_equal(cb_http_send(h, &req, &r2, NULL), -CB_ECANCELED);
}

static void test_cancel(void **state)
{
    (void)state;
    cancel_in("/header", "GET");
    cancel_in("/body", "GET");
    cancel_in("/later", "GET");
    cancel_in("/upload", "PUT");
}

/* ---- stalls */

static bool trickle(struct server_request *r, void *arg)
{
    (void)arg;
    if (strcmp(r->method, "PUT") == 0) {
        usleep(500000); /* a registry that puts a blob in its place: longer than the limit, but nothing is wrong */
        return server_reply(r, 201, "", "");
    }
    bool in_header = strcmp(r->path, "/header") == 0;
    server_puts(r, in_header ? "HTTP/1.1 200 OK\r\nX-Slow: " : "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    for (int i = 0; i < 100; i++) {
        usleep(20000);
        if (!server_puts(r, "x"))
            break;
    }
    return false;
}

/* A rate is kept: no more can have come than that allows, however little time passed for the test itself. */
static void test_rate(void **state)
{
    (void)state;
    uint64_t size = 300000;
    struct cb_http_options o = { .retries = 0, .rate = 400000 };
    struct server *s = server_start(pattern, &size);
    struct cb_http *h = cb_http_new(&o);
    cb_autofree char *url = server_url(s, "/x");
    struct cb_http_request req = get(url);
    struct reader r[2] = { { 0 }, { 0 } };
    pthread_t threads[2];
    int64_t since = cb_time_monotonic();
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(cb_http_send(h, &req, &r[i].reply, NULL), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &r[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(r[i].code, 0);
        assert_int_equal(r[i].total, size);
        assert_false(r[i].wrong);
        cb_http_reply_free(r[i].reply);
    }
    /* 600000 bytes at 400000 a second, but for a burst and what libcurl holds of each. */
    assert_true(cb_time_monotonic() - since > INT64_C(500) * MS);
    cb_http_free(h);
    server_stop(s);
}

static void test_stall(void **state)
{
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(trickle, NULL);
    CB_AUTO(cb_http_free)
    struct cb_http *h = cb_http_new(&(struct cb_http_options){ .stall_ns = 200 * MS, .retries = 0 });
    static const char *const paths[] = { "/header", "/body" };
    for (size_t i = 0; i < CB_COUNTOF(paths); i++) {
        cb_autofree char *url = server_url(s, paths[i]);
        struct cb_http_request req = get(url);
        CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
        cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        int64_t since = cb_time_monotonic();
        int code = cb_http_send(h, &req, &r, &err);
        if (code == 0)
            code = cb_http_slurp(r, &body, &err);
        assert_int_equal(code, -CB_ENET);
        assert_non_null(strstr(err.msg, "1 KiB/s"));
        assert_in_range((cb_time_monotonic() - since) / MS, 150, 1200);
    }
    cb_autofree char *url = server_url(s, "/put");
    struct cb_http_request req = get(url);
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    req.method = "PUT";
    assert_int_equal(cb_http_send(h, &req, &r, NULL), 0);
    assert_int_equal(cb_http_status(r), 201);
}

/* A consumer or producer of ours that takes its time is no stall. */
struct slow_source {
    unsigned left;
};

static int pull_with_pause(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct slow_source *src = arg;
    (void)n;
    (void)err;
    if (src->left == 2)
        usleep(600000);
    memset(buf, 'x', 10);
    *got = src->left ? 10 : 0;
    src->left -= src->left ? 1 : 0;
    return 0;
}

static bool take_all(struct server_request *r, void *arg)
{
    struct cb_strbuf *got = arg;
    return server_read_body(r, got) && server_reply(r, 201, "", "");
}

static void test_own_pauses(void **state)
{
    uint64_t size = 3000000;
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT;
    CB_AUTO(server_stop) struct server *up = server_start(take_all, &got);
    CB_AUTO(server_stop) struct server *down = server_start(pattern, &size);
    CB_AUTO(cb_http_free)
    struct cb_http *h = cb_http_new(&(struct cb_http_options){ .stall_ns = 200 * MS, .retries = 0 });
    cb_autofree char *up_url = server_url(up, "/"), *down_url = server_url(down, "/");
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL, *r2 = NULL;
    struct cb_http_request req = get(down_url);
    assert_int_equal(cb_http_send(h, &req, &r, NULL), 0);
    struct slow_source src = { .left = 5 };
    req = get(up_url);
    req.method = "PUT";
    req.body = (struct cb_http_body){ .pull = pull_with_pause, .arg = &src, .length = UINT64_MAX };
    assert_int_equal(cb_http_send(h, &req, &r2, NULL), 0);
    assert_int_equal(cb_http_status(r2), 201);
    assert_int_equal(got.len, 50);
    struct reader reader = { .reply = r };
    read_all(&reader);
    assert_int_equal(reader.code, 0);
    assert_int_equal(reader.total, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_reader),      cmocka_unit_test(test_unread_replies),
        cmocka_unit_test(test_connection_limit), cmocka_unit_test(test_gate), cmocka_unit_test(test_budget),
        cmocka_unit_test(test_cancel),           cmocka_unit_test(test_rate),
        cmocka_unit_test(test_stall),
        cmocka_unit_test(test_own_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with a body. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "http/http.h"
#include "http_server.h"

#define MS INT64_C(1000000)

/* Bytes that tell their place. */
struct source {
    uint64_t size, pos;
    unsigned rewinds, pulls;
    size_t step;      /* at most so many at once */
    uint64_t fail_at; /* pull fails there */
    pthread_t caller;
    uint64_t told;     /* by on_sent */
    bool other_thread; /* somebody else called */
};

static char byte_at(uint64_t pos)
{
    return (char)(pos * 7 + (pos >> 8));
}

static int pull(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct source *s = arg;
    s->other_thread = s->other_thread || !pthread_equal(pthread_self(), s->caller);
    s->pulls++;
    if (s->fail_at && s->pos >= s->fail_at)
        return cb_error_set(err, CB_ELOCAL, "the source is broken");
    n = CB_MIN(n, s->step ? s->step : 10000);
    n = (size_t)CB_MIN((uint64_t)n, s->size - s->pos);
    for (size_t i = 0; i < n; i++)
        ((char *)buf)[i] = byte_at(s->pos++);
    *got = n;
    return 0;
}

static int rewind_source(void *arg, struct cb_error *err)
{
    struct source *s = arg;
    (void)err;
    s->pos = 0;
    s->rewinds++;
    return 0;
}

static void on_sent(void *arg, uint64_t total)
{
    struct source *s = arg;
    s->other_thread = s->other_thread || !pthread_equal(pthread_self(), s->caller);
    assert_true(total >= s->told);
    s->told = total;
}

static struct cb_http_request put(const char *url, struct source *s, uint64_t length, bool can_rewind)
{
    s->caller = pthread_self();
    return (struct cb_http_request){
        .method = "PUT",
        .url = url,
        .plain_http = true,
        .private_ok = true,
        .body = { .pull = pull, .rewind = can_rewind ? rewind_source : NULL, .arg = s, .length = length },
        .on_sent = on_sent,
        .on_sent_arg = s,
    };
}

static struct cb_http *client(void)
{
    struct cb_http_options o = { .retries = 3, .backoff_ns = 5 * MS };
    struct cb_http *h = cb_http_new(&o);
    assert_non_null(h);
    return h;
}

static int send_it(struct cb_http *h, const struct cb_http_request *req, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    int code = cb_http_send(h, req, &r, err);
    if (code < 0)
        return code;
    code = cb_http_slurp(r, &body, err);
    return code < 0 ? code : (int)cb_http_status(r);
}

/* ---- whole bodies */

struct sink {
    struct cb_strbuf got;
    unsigned failures;    /* replies of 500 first */
    unsigned reset_after; /* read so much, then reset, once */
    const char *redirect; /* 307 there, before the body is read */
    unsigned early;       /* this status before the body is read */
    size_t read_first;    /* and after so many bytes of it */
    atomic_bool done;
    pthread_mutex_t lock; /* one request at a time: a broken one may still be going */
};
#define SINK_INIT .got = CB_STRBUF_INIT, .lock = PTHREAD_MUTEX_INITIALIZER

/* Declared before its server, so that it outlives it. */
static void sink_done(struct sink *k)
{
    cb_strbuf_done(&k->got);
}

static bool has_expect(struct server_request *r)
{
    cb_autofree char *v = server_header(r, "Expect");
    return v != NULL;
}

static bool take_one(struct server_request *r, struct sink *k)
{
    cb_strbuf_reset(&k->got);
    if (k->reset_after && r->nth == 0) {
        if (has_expect(r))
            server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
        server_read_n(r, &k->got, k->reset_after);
        server_reset(r);
        return false;
    }
    if (k->redirect && r->nth == 0) {
        cb_autofree char *extra = cb_asprintf("Location: %s\r\n", k->redirect);
        server_reply(r, 307, extra, "");
        return false;
    }
    if (k->early) {
        if (k->read_first && has_expect(r))
            server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
        server_read_n(r, &k->got, k->read_first);
        server_reply(r, k->early, "WWW-Authenticate: Bearer realm=\"x\"\r\n", "who are you?");
        /* Not closed with data unread, or the reset would overtake the reply. */
        char sink[4096];
        shutdown(r->fd, SHUT_WR);
        while (server_recv(r, sink, sizeof sink))
            ;
        return false;
    }
    if (!server_read_body(r, &k->got))
        return false;
    return server_reply(r, r->nth < k->failures ? 500 : 201, "", "made");
}

static bool take(struct server_request *r, void *arg)
{
    struct sink *k = arg;
    pthread_mutex_lock(&k->lock);
    bool keep = take_one(r, k);
    pthread_mutex_unlock(&k->lock);
    return keep;
}

static void check_bytes(const struct cb_strbuf *got, uint64_t size)
{
    assert_int_equal(got->len, size);
    for (size_t i = 0; i < size; i++)
        if (got->buf[i] != byte_at(i))
            fail_msg("byte %zu is wrong", i);
}

static void upload(uint64_t size, bool known, size_t step)
{
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *s = server_start(take, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/up");
    struct source src = { .size = size, .step = step };
    struct cb_http_request req = put(url, &src, known ? size : UINT64_MAX, false);
    assert_int_equal(send_it(h, &req, NULL), 201);
    check_bytes(&k.got, size);
    assert_int_equal(src.told, size);
    assert_false(src.other_thread);
    assert_int_equal(server_saw(s, "Transfer-Encoding: chunked"), !known);
    /* The connection is good for the next one. */
    struct source again = { .size = 10 };
    req = put(url, &again, 10, false);
    assert_int_equal(send_it(h, &req, NULL), 201);
    assert_int_equal(atomic_load(&s->connections), 1);
}

static void test_upload(void **state)
{
    (void)state;
    upload(5000000, true, 0);
    upload(5000000, false, 0);
    upload(1000003, false, 997);
    upload(100, true, 1);
    upload(0, true, 0);
    upload(0, false, 0);
}

static void test_memory_and_empty(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *s = server_start(take, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/m");
    cb_cleanup_strvec struct cb_strvec headers = CB_STRVEC_INIT;
    cb_strvec_push(&headers, "Content-Type: application/x");
    struct cb_http_request req = { .method = "PUT",
                                   .url = url,
                                   .plain_http = true,
                                   .private_ok = true,
                                   .headers = &headers,
                                   .body = { .mem = "manifest", .mem_len = 8 } };
    k.failures = 2; /* and again from the start */
    assert_int_equal(send_it(h, &req, NULL), 201);
    assert_string_equal(k.got.buf, "manifest");
    assert_int_equal(atomic_load(&s->requests), 3);
    assert_false(server_saw(s, "Expect"));
    assert_true(server_saw(s, "Content-Type: application/x\r\n"));
    /* POST without a body says so. */
    k.failures = 0;
    req = (struct cb_http_request){ .method = "POST", .url = url, .plain_http = true, .private_ok = true };
    assert_int_equal(send_it(h, &req, NULL), 201);
    assert_true(server_saw(s, "POST /m HTTP/1.1"));
    assert_true(server_saw(s, "Content-Length: 0"));
    assert_false(server_saw(s, "x-www-form-urlencoded"));
}

static void test_rewind(void **state)
{
    (void)state;
    static const struct sink faults[] = { { .failures = 1 }, { .reset_after = 100000 } };
    for (size_t i = 0; i < CB_COUNTOF(faults); i++) {
        CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
        k.failures = faults[i].failures;
        k.reset_after = faults[i].reset_after;
        CB_AUTO(server_stop) struct server *s = server_start(take, &k);
        CB_AUTO(cb_http_free) struct cb_http *h = client();
        cb_autofree char *url = server_url(s, "/r");
        struct source src = { .size = 3000000 };
        struct cb_http_request req = put(url, &src, UINT64_MAX, true);
        req.on_sent = NULL;
        assert_int_equal(send_it(h, &req, NULL), 201);
        check_bytes(&k.got, src.size);
        assert_int_equal(src.rewinds, 1);
        assert_int_equal(atomic_load(&s->requests), 2);
    }
}

static void test_no_rewind(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT, .reset_after = 100000 };
    CB_AUTO(server_stop) struct server *s = server_start(take, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/r");
    struct source src = { .size = 3000000 };
    struct cb_http_request req = put(url, &src, src.size, false);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(send_it(h, &req, &err), -CB_ENET);
    assert_int_equal(atomic_load(&s->requests), 1);
}

/* ---- replies before the body is through */

static void test_early_reply(void **state)
{
    static const struct sink faults[] = { { .early = 401 }, { .early = 413, .read_first = 300000 } };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(faults); i++)
        for (int known = 0; known < 2; known++) {
            CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
            k.early = faults[i].early;
            k.read_first = faults[i].read_first;
            CB_AUTO(server_stop) struct server *s = server_start(take, &k);
            CB_AUTO(cb_http_free) struct cb_http *h = client();
            cb_autofree char *url = server_url(s, "/e");
            struct source src = { .size = 50000000 };
            struct cb_http_request req = put(url, &src, known ? src.size : UINT64_MAX, false);
            CB_AUTO(cb_http_reply_free) struct cb_http_reply *r = NULL;
            cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
            assert_int_equal(cb_http_send(h, &req, &r, NULL), 0);
            assert_int_equal(cb_http_status(r), k.early);
            assert_non_null(cb_http_header(r, "www-authenticate"));
            assert_int_equal(cb_http_slurp(r, &body, NULL), 0);
            assert_string_equal(body.buf, "who are you?");
            assert_true(src.pos < src.size / 2);
            /* Refused in place of "100 Continue": the body is still whole. */
            if (!k.read_first)
                assert_int_equal(src.pulls, 0);
        }
}

/* Without the question, where the body can be sent again; a refusal then comes in the middle. */
static void test_prompt(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        CB_CLEANUP(sink_done) struct sink k = { SINK_INIT, .early = i == 2 ? 401 : 0, .read_first = 300000 };
        CB_AUTO(server_stop) struct server *s = server_start(take, &k);
        CB_AUTO(cb_http_free) struct cb_http *h = client();
        cb_autofree char *url = server_url(s, "/p");
        struct source src = { .size = i == 2 ? 50000000 : 3000000 };
        struct cb_http_request req = put(url, &src, src.size, i > 0);
        req.prompt = true;
        assert_int_equal(send_it(h, &req, NULL), i == 2 ? 401 : 201);
        assert_int_equal(server_saw(s, "Expect"), i == 0);
        assert_true(i < 2 || src.pos < src.size / 2);
    }
}

static void test_redirected_body(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink end = { SINK_INIT }, k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *e = server_start(take, &end);
    cb_autofree char *there = server_url(e, "/there?x=1");
    k.redirect = there;
    CB_AUTO(server_stop) struct server *s = server_start(take, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/u");
    struct source src = { .size = 3000000 };
    struct cb_http_request req = put(url, &src, src.size, false);
    req.authorization = "Basic hunter2";
    assert_int_equal(send_it(h, &req, NULL), 201);
    check_bytes(&end.got, src.size);
    assert_false(server_saw(e, "hunter2"));
}

static bool never_continue(struct server_request *r, void *arg)
{
    struct sink *k = arg;
    cb_autofree char *length = server_header(r, "Content-Length");
    cb_strbuf_reset(&k->got);
    return server_read_n(r, &k->got, strtoul(length, NULL, 10)) && server_reply(r, 201, "", "");
}

static void test_expect_ignored(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *s = server_start(never_continue, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/u");
    struct source src = { .size = 2000000 };
    struct cb_http_request req = put(url, &src, src.size, false);
    int64_t since = cb_time_monotonic();
    assert_int_equal(send_it(h, &req, NULL), 201);
    assert_in_range((cb_time_monotonic() - since) / MS, 900, 5000);
    check_bytes(&k.got, src.size);
}

/* An answer of success while the body is still going: the body is sent to its end. */
static bool answer_first(struct server_request *r, void *arg)
{
    struct sink *k = arg;
    cb_autofree char *length = server_header(r, "Content-Length");
    server_puts(r, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok");
    bool ok = server_read_n(r, &k->got, strtoul(length, NULL, 10));
    atomic_store(&k->done, true);
    return ok;
}

static void test_early_success(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *s = server_start(answer_first, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/u");
    struct source src = { .size = 4000000 };
    struct cb_http_request req = put(url, &src, src.size, false);
    assert_int_equal(send_it(h, &req, NULL), 202);
    for (int i = 0; i < 500 && !atomic_load(&k.done); i++)
        usleep(10000);
    check_bytes(&k.got, src.size);
}

/* ---- sources that fail */

static void test_bad_source(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *s = server_start(take, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/u");
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct source src = { .size = 3000000, .fail_at = 500000 };
    struct cb_http_request req = put(url, &src, UINT64_MAX, true);
    assert_int_equal(send_it(h, &req, &err), -CB_ELOCAL);
    assert_non_null(strstr(err.msg, "the source is broken"));
    assert_int_equal(src.rewinds, 0);
    src = (struct source){ .size = 1000 };
    req = put(url, &src, 2000, true);
    assert_int_equal(send_it(h, &req, &err), -CB_EVERIFY);
    assert_non_null(strstr(err.msg, "1000 of 2000"));
}

/* More than announced: only what was announced goes. */
static void test_long_source(void **state)
{
    (void)state;
    CB_CLEANUP(sink_done) struct sink k = { SINK_INIT };
    CB_AUTO(server_stop) struct server *s = server_start(take, &k);
    CB_AUTO(cb_http_free) struct cb_http *h = client();
    cb_autofree char *url = server_url(s, "/u");
    struct source src = { .size = 3000 };
    struct cb_http_request req = put(url, &src, 2000, true);
    assert_int_equal(send_it(h, &req, NULL), 201);
    check_bytes(&k.got, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload),         cmocka_unit_test(test_memory_and_empty),
        cmocka_unit_test(test_rewind),         cmocka_unit_test(test_no_rewind),
        cmocka_unit_test(test_early_reply),    cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_redirected_body), cmocka_unit_test(test_expect_ignored),
        cmocka_unit_test(test_early_success),  cmocka_unit_test(test_bad_source),
        cmocka_unit_test(test_long_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are opened before there are requests for them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "http/http.h"
#include "http_server.h"
#include "util/timeutil.h"

#define MS INT64_C(1000000)

static bool await_count(const atomic_uint *what, unsigned n)
{
    for (int i = 0; atomic_load(what) != n && i < 1000; i++)
        usleep(5000);
    return atomic_load(what) == n;
}

/* Answers the first request when there are `opened` connections, and further ones when `together` have come. */
struct plan {
    unsigned opened, together;
    atomic_uint waiting;
    const char *location; /* or NULL */
};

static bool answer(struct server_request *r, void *arg)
{
    struct plan *p = arg;
    if (p->location) {
        cb_autofree char *extra = cb_asprintf("Location: %s\r\n", p->location);
        return server_reply(r, 307, extra, "");
    }
    if (cb_streq(r->path, "/first"))
        return server_reply(r, await_count(&r->server->connections, p->opened) ? 200 : 500, "", "list");
    atomic_fetch_add(&p->waiting, 1);
    return server_reply(r, await_count(&p->waiting, p->together) ? 200 : 500, "", "blob");
}

static unsigned ask(struct cb_http *h, const struct server *s, const char *path, unsigned followed)
{
    cb_autofree char *url = server_url(s, path);
    struct cb_http_request req = { .method = "GET", .url = url, .plain_http = true, .private_ok = true,
                                   .private_redirect_ok = true, .followed = followed };
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    return cb_http_send(h, &req, &reply, NULL) == 0 ? cb_http_status(reply) : 0;
}

struct asker {
    struct cb_http *h;
    const struct server *s;
    unsigned status;
};

static void *ask_blob(void *arg)
{
    struct asker *a = arg;
    a->status = ask(a->h, a->s, "/blob", 0);
    return NULL;
}

static void ask_together(struct cb_http *h, const struct server *s, unsigned n)
{
    struct asker a[16];
    pthread_t t[16];
    for (unsigned i = 0; i < n; i++) {
        a[i] = (struct asker){ h, s, 0 };
        assert_int_equal(pthread_create(&t[i], NULL, ask_blob, &a[i]), 0);
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(a[i].status, 200);
    }
}

static struct cb_http *client(unsigned max)
{
    return cb_http_new(&(struct cb_http_options){ .max_host_connections = max, .stall_ns = 10000 * MS });
}

static void test_taken(void **state)
{
    struct plan p = { .opened = 4, .together = 4 };
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(answer, &p);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    assert_int_equal(ask(h, s, "/first", 3), 200);
    ask_together(h, s, 4);
    assert_int_equal(atomic_load(&s->connections), 4);
    assert_int_equal(atomic_load(&s->requests), 5);
}

/* A connection that is used again knows whom it is to. */
static void test_later(void **state)
{
    struct plan p = { .opened = 1, .together = 3 };
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(answer, &p);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    assert_int_equal(ask(h, s, "/first", 0), 200);
    p.opened = 3;
    assert_int_equal(ask(h, s, "/first", 2), 200);
    ask_together(h, s, 3);
    assert_int_equal(atomic_load(&s->connections), 3);
}

static void test_once(void **state)
{
    struct plan p = { .opened = 3 };
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(answer, &p);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(h, s, "/first", 2), 200);
    usleep(50000);
    assert_int_equal(atomic_load(&s->connections), 3);
}

static void test_limit(void **state)
{
    struct plan p = { .opened = 2, .together = 1 };
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(answer, &p);
    CB_AUTO(cb_http_free) struct cb_http *h = client(2);
    assert_int_equal(ask(h, s, "/first", 8), 200);
    usleep(50000);
    assert_int_equal(atomic_load(&s->connections), 2);
}

/* A server does not wait for ever for a request, and neither do we. */
static void test_unused(void **state)
{
    struct plan p = { .opened = 4 };
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(answer, &p);
    {
        CB_AUTO(cb_http_free) struct cb_http *h = client(0);
        assert_int_equal(ask(h, s, "/first", 3), 200);
        assert_true(await_count(&s->open_now, 4));
        assert_true(await_count(&s->open_now, 1));
    }
    assert_true(await_count(&s->open_now, 0));
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    p.opened = 8;
    assert_int_equal(ask(h, s, "/first", 3), 200);
    cb_http_free(CB_TAKE(h));
    assert_true(await_count(&s->open_now, 0));
}

static void test_closed_by_server(void **state)
{
    struct plan p = { .opened = 4, .together = 3 };
    (void)state;
    CB_AUTO(server_stop) struct server *s = server_start(answer, &p);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    assert_int_equal(ask(h, s, "/first", 3), 200);
    assert_true(await_count(&s->open_now, 4));
    for (unsigned i = 1; i < 4; i++)
        shutdown(s->fds[i], SHUT_RDWR);
    assert_true(await_count(&s->open_now, 1));
    ask_together(h, s, 3);
    assert_int_equal(atomic_load(&s->requests), 4);
}

static void test_not_elsewhere(void **state)
{
    struct plan there = { .opened = 1 };
    (void)state;
    CB_AUTO(server_stop) struct server *storage = server_start(answer, &there);
    cb_autofree char *location = server_url(storage, "/first");
    struct plan here = { .location = location };
    CB_AUTO(server_stop) struct server *s = server_start(answer, &here);
    CB_AUTO(cb_http_free) struct cb_http *h = client(0);
    assert_int_equal(ask(h, s, "/", 2), 200);
    usleep(50000);
    assert_int_equal(atomic_load(&storage->connections), 1);
    assert_int_equal(atomic_load(&s->connections), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),  cmocka_unit_test(test_later),
        cmocka_unit_test(test_once),   cmocka_unit_test(test_limit),
        cmocka_unit_test(test_unused), cmocka_unit_test(test_closed_by_server),
        cmocka_unit_test(test_not_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

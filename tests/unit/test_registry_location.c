/* SPDX-License-Identifier: Apache-2.0 */
/* Where an upload goes on (D5): the Location of its session, byte for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "http_server.h"
#include "registry/private.h"

static bool give_location(struct server_request *r, void *arg)
{
    const char *location = arg;
    cb_autofree char *line = *location ? cb_asprintf("Location: %s\r\n", location) : cb_strdup("");
    return server_reply(r, 202, line, "");
}

/* The URL for a Location that `where` of a local server gave, with that server's port written as PORT. */
static char *location(const char *text, struct cb_error *e)
{
    struct server *s = server_start(give_location, (void *)(uintptr_t)text);
    struct cb_http_options o = { .retries = 0 };
    struct cb_http *h = cb_http_new(&o);
    cb_autofree char *url = server_url(s, "/v2/a/blobs/uploads/?mount=x&from=y");
    struct cb_http_request req = { .method = "POST", .url = url, .plain_http = true, .private_ok = true };
    struct cb_http_reply *reply = NULL;
    struct reg_endpoint at = { .host = (char *)"r.example" };
    assert_int_equal(cb_http_send(h, &req, &reply, NULL), 0);
    char *got = reg_location(&at, reply, e);
    cb_autofree char *port = cb_asprintf(":%u", s->port);
    char *p = got ? strstr(got, port) : NULL;
    if (p) {
        char *named = cb_asprintf("%.*s:PORT%s", (int)(p - got), got, p + strlen(port));
        free(got);
        got = named;
    }
    cb_http_reply_free(reply);
    cb_http_free(h);
    server_stop(s);
    return got;
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } t[] = {
        { "/v2/a/blobs/uploads/1", "http://127.0.0.1:PORT/v2/a/blobs/uploads/1" },
        { "/u?_state=a%2Fb%3D%3d&x=1==&&y", "http://127.0.0.1:PORT/u?_state=a%2Fb%3D%3d&x=1==&&y" },
        { "?state=1", "http://127.0.0.1:PORT/v2/a/blobs/uploads/?state=1" },
        { "next", "http://127.0.0.1:PORT/v2/a/blobs/uploads/next" },
        { "../up", "http://127.0.0.1:PORT/v2/a/blobs/up" },
        { "//other.example/x", "http://other.example/x" },
        { "https://storage.example/x?sig=1", "https://storage.example/x?sig=1" },
        { "http://127.0.0.1:1/x", "http://127.0.0.1:1/x" },
        { "", NULL },
        { "ftp://r.example/x", NULL },
        { "file:///etc/passwd", NULL },
        { "https://user:pw@r.example/x", NULL },
        { "https://r.example:99999/x", NULL },
        { "https:///x", NULL },
        { "https://127.1/x", NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        cb_autofree char *got = location(t[i].text, &e);
        if (!cb_streq(got, t[i].want))
            fail_msg("<%s>: %s, expected %s", t[i].text, got ? got : cb_error_text(&e),
                     t[i].want ? t[i].want : "an error");
        if (!got)
            assert_true(e.code == CB_ENET || e.code == CB_EVERIFY);
    }
}

/* http for https of the same host: a TLS proxy in front. */
static void test_https(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *want;
    } t[] = {
        { "https://r.example/v2/", "http://r.example/u?x=1", "https://r.example/u?x=1" },
        { "https://r.example:5000/v2/", "http://r.example:5000/u", "https://r.example:5000/u" },
        { "https://r.example:5000/v2/", "http://r.example/u", "https://r.example:5000/u" },
        { "https://r.example/v2/", "http://R.EXAMPLE/u", "https://r.example/u" },
        { "https://r.example/v2/", "http://other.example/u", "http://other.example/u" },
        { "https://r.example/v2/", "http://r.example:8080/u", "http://r.example:8080/u" },
        { "http://r.example/v2/", "http://r.example/u", "http://r.example/u" },
        { "https://r.example/v2/", "//r.example/u", "https://r.example/u" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_autofree char *got = reg_location_from(t[i].from, t[i].to, NULL);
        if (!cb_streq(got, t[i].want))
            fail_msg("%s from %s: %s, expected %s", t[i].to, t[i].from, got ? got : "none", t[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_table), cmocka_unit_test(test_https) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the user reads when a registry says no: one line, harmless, not long. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "http_server.h"
#include "registry/private.h"

#define SOME_DIGEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct said {
    unsigned status;
    const char *body;
};

static bool say(struct server_request *r, void *arg)
{
    const struct said *x = arg;
    return server_reply(r, x->status, "", x->body);
}

static int error_of(unsigned status, const char *body, struct cb_error *e)
{
    struct said x = { status, body };
    struct server *s = server_start(say, &x);
    struct cb_http_options o = { .retries = 0 };
    struct cb_http *h = cb_http_new(&o);
    cb_autofree char *url = server_url(s, "/v2/");
    struct cb_http_request req = { .method = "GET", .url = url, .plain_http = true, .private_ok = true };
    struct cb_http_reply *reply = NULL;
    assert_int_equal(cb_http_send(h, &req, &reply, NULL), 0);
    int r = reg_reply_error(reply, e, "push of %s", "x");
    cb_http_reply_free(reply);
    cb_http_free(h);
    server_stop(s);
    return r;
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body;
        int code;
        const char *text;
    } t[] = {
        { 404,
          "{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"repository name not known\",\"detail\":{\"a\":1}}]}",
          -CB_ENOTFOUND, "push of x: status 404: NAME_UNKNOWN: repository name not known" },
        { 401, "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}", -CB_EAUTH, "push of x: status 401: UNAUTHORIZED" },
        { 403, "{\"errors\":[{\"message\":\"no\"},{\"code\":\"B\",\"message\":\"\"},{},{\"code\":\"D\"}]}", -CB_EAUTH,
          "push of x: status 403: no; B" },
        { 400, "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown\",\"detail\":\""
               SOME_DIGEST "\"},"
               "{\"code\":\"B\",\"detail\":\"in full sentences\"}]}",
          -CB_ENET, "push of x: status 400: MANIFEST_BLOB_UNKNOWN: blob unknown (" SOME_DIGEST "); B" },
        { 400, "{\"errors\":\"odd\"}", -CB_ENET, "push of x: status 400: {\"errors\":\"odd\"}" },
        { 400, "{\"errors\":[1,{\"code\":2,\"message\":[]}]}", -CB_ENET, NULL },
        { 500, "", -CB_ENET, "push of x: status 500" },
        { 500, "   \r\n ", -CB_ENET, "push of x: status 500" },
        { 413, "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\n<body>long</body></html>",
          -CB_ENET, "push of x: status 413: 413 Request Entity Too Large" },
        { 502, "<html><body><h1>Bad\n\n   Gateway</h1><p>nginx</p></body></html>", -CB_ENET,
          "push of x: status 502: Bad Gateway nginx" },
        { 502, "<html><body", -CB_ENET, "push of x: status 502" },
        { 502, "<title></title><b>x</b>", -CB_ENET, "push of x: status 502: x" },
        { 503, "plain\n words\x1b[31m", -CB_ENET, NULL },
        { 429,
          "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow \\u001b]52;c;aGk=\\u0007 \\u202e down\"}]}",
          -CB_ENET, NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int r = error_of(t[i].status, t[i].body, &e);
        if (r != t[i].code || (t[i].text && strcmp(cb_error_text(&e), t[i].text) != 0))
            fail_msg("%s: %d \"%s\"", t[i].body, r, cb_error_text(&e));
        assert_int_equal(e.http_status, t[i].status);
        assert_null(strpbrk(cb_error_text(&e), "\033\r\n\a"));
        assert_null(strstr(cb_error_text(&e), "\xe2\x80\xae"));
    }
}

static void test_long(void **state)
{
    (void)state;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    for (int i = 0; i < 500000; i++)
        cb_strbuf_adds(&body, "\x01 ");
    assert_int_equal(error_of(500, body.buf, &e), -CB_ENET);
    assert_true(strlen(cb_error_text(&e)) < 1500);
    cb_strbuf_reset(&body);
    cb_strbuf_adds(&body, "{\"errors\":[");
    for (int i = 0; i < 5000; i++)
        cb_strbuf_addf(&body, "%s{\"code\":\"%0200d\",\"message\":\"%0800d\"}", i ? "," : "", 0, 0);
    cb_strbuf_adds(&body, "]}");
    assert_int_equal(error_of(500, body.buf, &e), -CB_ENET);
    assert_true(strlen(cb_error_text(&e)) < 1500);
    /* Past what an error may be long, there is a status all the same. */
    for (int i = 0; i < 5 << 20; i++)
        cb_strbuf_addch(&body, ' ');
    assert_int_equal(error_of(404, body.buf, &e), -CB_ENOTFOUND);
    assert_string_equal(cb_error_text(&e), "push of x: status 404");
}

static void test_failures(void **state)
{
    (void)state;
    CB_CLEANUP(reg_failures_done) struct reg_failures f = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT, got cb_cleanup_error = CB_ERROR_INIT;
    cb_error_set(&e, CB_ENET, "mirror is down");
    reg_failures_add(&f, "m1.example", &e);
    assert_int_equal(e.code, CB_OK);
    assert_int_equal(reg_failures_tell(&f, &got), -CB_ENET);
    assert_string_equal(cb_error_text(&got), "mirror is down");
    cb_error_set(&e, CB_ENET, "second");
    reg_failures_add(&f, "m2.example", &e);
    cb_error_set(&e, CB_ENOTFOUND, "not here");
    e.http_status = 404;
    reg_failures_add(&f, "r.example", &e);
    assert_int_equal(reg_failures_tell(&f, &got), -CB_ENOTFOUND);
    assert_string_equal(cb_error_text(&got), "not here (before that, m1.example: mirror is down)");
    assert_int_equal(got.http_status, 404);
    assert_int_equal(reg_failures_tell(&f, NULL), -CB_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_long),
                                        cmocka_unit_test(test_failures) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

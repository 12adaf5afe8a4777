/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/http.h"
#include "http/private.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text, *scheme, *host, *path;
        unsigned port;
    } good[] = {
        { "https://Example.COM", "https", "example.com", "/", 443 },
        { "HTTP://h:5000/v2/", "http", "h", "/v2/", 5000 },
        { "https://h/a?x=%2F&y=a/b?c", "https", "h", "/a?x=%2F&y=a/b?c", 443 },
        { "https://h?q", "https", "h", "/?q", 443 },
        { "https://h/a#frag", "https", "h", "/a", 443 },
        { "https://[2001:DB8::1]:8443/x", "https", "[2001:db8::1]", "/x", 8443 },
        { "https://my_host-1.local.:443/%zz", "https", "my_host-1.local.", "/%zz", 443 },
        { "http://127.0.0.1/", "http", "127.0.0.1", "/", 80 },
        { "https://h/a@b:c", "https", "h", "/a@b:c", 443 },
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(good); i++) {
        cb_cleanup_url struct cb_url u = { 0 };
        assert_int_equal(cb_url_parse(&u, good[i].text, NULL), 0);
        assert_string_equal(u.scheme, good[i].scheme);
        assert_string_equal(u.host, good[i].host);
        assert_string_equal(u.path_query, good[i].path);
        assert_int_equal(u.port, good[i].port);
    }
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "h",
        "//h/x",
        "ftp://h/",
        "file:///etc/passwd",
        "https:/h",
        "https://",
        "https:///x",
        "https://user@h/",
        "https://user:pw@h/",
        "https://h:0/",
        "https://h:65536/",
        "https://h:/",
        "https://h:8x/",
        "https://h:-1/",
        "https://h/a b",
        "https://h/a\nb",
        "https://h\r\nX: y/",
        "https://h\\@evil/",
        "https://h/\x7f",
        "https://h/\xc3\xa9",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://0x7f000001",
        "https://1.2.3.4.5/",
        "https://127.0.0.01x.8/",
        "https://256.1.1.1/",
        "https://[::1/",
        "https://[::1%25eth0]/",
        "https://[]/",
        "https://a..b/",
        "https://.a/",
        "https://-a/",
        "https://a%2eb/",
        "https://a,b/",
        "https://[1.2.3.4]/",
        "https://[::1]x/",
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_url struct cb_url u = { 0 };
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        if (cb_url_parse(&u, bad[i], &err) != -CB_EVERIFY)
            fail_msg("accepted %s", bad[i]);
        assert_non_null(err.msg);
        assert_null(u.host);
        assert_null(strstr(err.msg, "pw"));
    }
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "https://h/");
    for (int i = 0; i < 70000; i++)
        cb_strbuf_addch(&sb, 'a');
    struct cb_url u = { 0 };
    assert_int_equal(cb_url_parse(&u, sb.buf, NULL), -CB_EVERIFY);
}

static void test_same_origin(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        { "https://h/a", "https://H:443/b?c", true },   { "https://h/", "http://h/", false },
        { "https://h/", "https://h:444/", false },      { "https://h/", "https://h.evil/", false },
        { "https://h/", "https://h./", false },         { "http://h:443/", "https://h/", false },
        { "http://[::1]/", "http://[::1]:80/x", true },
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_url struct cb_url a = { 0 }, b = { 0 };
        assert_int_equal(cb_url_parse(&a, rows[i].a, NULL), 0);
        assert_int_equal(cb_url_parse(&b, rows[i].b, NULL), 0);
        assert_int_equal(cb_url_same_origin(&a, &b), rows[i].same);
        assert_int_equal(cb_url_same_origin(&b, &a), rows[i].same);
    }
}

struct resolve_row {
    const char *ref, *want;
};

static void check_resolve(const char *base, const struct resolve_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_autofree char *got = cb_url_resolve(base, rows[i].ref, &err);
        if (!rows[i].want) {
            assert_null(got);
            assert_int_equal(err.code, CB_EVERIFY);
        } else if (!got || strcmp(got, rows[i].want) != 0) {
            fail_msg("%s + %s = %s, not %s", base, rows[i].ref, got ? got : "(refused)", rows[i].want);
        }
    }
}

static void test_resolve(void **state)
{
    /* The examples of RFC 3986 5.4 that make sense for http. */
    static const struct resolve_row rfc[] = {
        { "g", "http://a/b/c/g" },
        { "./g", "http://a/b/c/g" },
        { "g/", "http://a/b/c/g/" },
        { "/g", "http://a/g" },
        { "//g", "http://g/" },
        { "?y", "http://a/b/c/d;p?y" },
        { "g?y", "http://a/b/c/g?y" },
        { "#s", "http://a/b/c/d;p?q" },
        { "g#s", "http://a/b/c/g" },
        { ";x", "http://a/b/c/;x" },
        { "g;x=1/./y", "http://a/b/c/g;x=1/y" },
        { "", "http://a/b/c/d;p?q" },
        { ".", "http://a/b/c/" },
        { "./", "http://a/b/c/" },
        { "..", "http://a/b/" },
        { "../", "http://a/b/" },
        { "../g", "http://a/b/g" },
        { "../..", "http://a/" },
        { "../../g", "http://a/g" },
        { "../../../g", "http://a/g" },
        { "/./g", "http://a/g" },
        { "/../g", "http://a/g" },
        { "g.", "http://a/b/c/g." },
        { "..g", "http://a/b/c/..g" },
        { "./../g", "http://a/b/g" },
        { "./g/.", "http://a/b/c/g/" },
        { "g/../h", "http://a/b/c/h" },
        { "g?y/../x", "http://a/b/c/g?y/../x" },
        { "//g/..", "http://g/" },
        { "a//b", "http://a/b/c/a//b" },
    };
    static const struct resolve_row registry[] = {
        { "/v2/x/blobs/uploads/1?_state=a%2Fb%3D%3d&sig=+~",
          "https://r:5000/v2/x/blobs/uploads/1?_state=a%2Fb%3D%3d&sig=+~" },
        { "https://cdn.example:443/p?X-Amz-Signature=ab/cd%20", "https://cdn.example/p?X-Amz-Signature=ab/cd%20" },
        { "HTTPS://CDN.example/P", "https://cdn.example/P" },
        { "https://user:pw@cdn.example/P", NULL },
        { "file:///etc/passwd", NULL },
        { "javascript:x", NULL },
        { "/a b", NULL },
        { "/a\r\nX: y", NULL },
        { "https:x", NULL },
        { "//", NULL },
        { "//evil\\@r/", NULL },
    };
    (void)state;
    check_resolve("http://a/b/c/d;p?q", rfc, CB_COUNTOF(rfc));
    check_resolve("https://r:5000/v2/", registry, CB_COUNTOF(registry));
    assert_null(cb_url_resolve("nonsense", "/x", NULL));
}

static void test_redact(void **state)
{
    static const struct resolve_row rows[] = {
        { "https://h/a/b", "https://h/a/b" },
        { "https://user:secret@h:1/a", "https://xxxxx@h:1/a" },
        { "https://a@b@h/x", "https://xxxxx@h/x" },
        { "https://h/p?X-Amz-Signature=secret&n=&secret", "https://h/p?X-Amz-Signature=xxxxx&n=&xxxxx" },
        { "https://h/p?a=b=secret#secret", "https://h/p?a=xxxxx" },
        { "https://h/a@b", "https://h/a@b" },
        { "//u:secret@h/p", "//xxxxx@h/p" },
        { "/v2/x?_state=secret", "/v2/x?_state=xxxxx" },
        { "/x?u=http://a:secret@h", "/x?u=xxxxx" },
        { "https://h/\x1b[2J", "https://h/\\x1b[2J" },
        { "?", "?" },
        { "", "" },
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_add_url_redacted(&sb, rows[i].ref);
        assert_string_equal(sb.buf, rows[i].want);
    }
}

static void test_hide(void **state)
{
    static const struct {
        const char *text, *secret, *want;
    } rows[] = {
        { "you sent s3cret, s3cret", "s3cret", "you sent xxxxx, xxxxx" },
        { "s3crets3cret", "s3cret", "xxxxxxxxxx" },
        { "nothing of it", "s3cret", "nothing of it" },
        { "a pin: 123", "123", "a pin: 123" }, /* too short to hide anything */
        { "", "s3cret", "" },
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_adds(&sb, rows[i].text);
        cb_http_hide(&sb, rows[i].secret, strlen(rows[i].secret));
        assert_string_equal(sb.buf, rows[i].want);
    }
}

static void test_private_addresses(void **state)
{
    static const char *const private[] = {
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "64:ff9b:1::1",
        "nonsense",
        "",
    };
    static const char *const public[] = { "1.1.1.1",        "8.8.8.8",          "172.15.0.1",    "172.32.0.1",
                                          "192.169.0.1",    "100.63.255.255",   "100.128.0.1",   "2606:4700::1111",
                                          "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::" };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(private); i++)
        if (!cb_http_address_is_private(private[i]))
            fail_msg("%s counts as public", private[i]);
    for (size_t i = 0; i < CB_COUNTOF(public); i++)
        if (cb_http_address_is_private(public[i]))
            fail_msg("%s counts as private", public[i]);
}

static void test_redirect_policy(void **state)
{
    static const struct {
        const char *first, *from, *to;
        bool plain, allowed;
    } rows[] = {
        { "https://r/", "https://r/", "https://cdn/", false, true },
        { "https://r/", "https://r/", "http://r/", false, false },
        { "https://r/", "https://r/", "http://r/", true, false },
        { "https://r/", "https://cdn/", "http://cdn/", true, false },
        { "http://r:5000/", "http://r:5000/", "http://r:9000/", true, true },
        { "http://r/", "http://r/", "http://other/", true, false },
        { "http://r/", "http://r/", "https://other/", true, true },
        { "http://r/", "https://other/", "http://r/", true, false },
    };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_url struct cb_url first = { 0 }, from = { 0 }, to = { 0 };
        struct cb_http_request req = { .plain_http = rows[i].plain };
        assert_int_equal(cb_url_parse(&first, rows[i].first, NULL), 0);
        assert_int_equal(cb_url_parse(&from, rows[i].from, NULL), 0);
        assert_int_equal(cb_url_parse(&to, rows[i].to, NULL), 0);
        int want = rows[i].allowed ? 0 : -CB_EVERIFY;
        assert_int_equal(cb_http_redirect_allowed(&req, &first, &from, &to, NULL), want);
    }
}

static void check_hop(const struct cb_http_request *req, const char *method, unsigned status, const char *location,
                      struct cb_http_hop *hop)
{
    cb_cleanup_url struct cb_url first = { 0 };
    *hop = (struct cb_http_hop){ .req = req, .method = method, .with_body = true, .private_ok = req->private_ok };
    assert_int_equal(cb_url_parse(&first, "https://r/v2/", NULL), 0);
    assert_int_equal(cb_url_parse(&hop->url, "https://r/v2/", NULL), 0);
    assert_int_equal(cb_http_redirect_follow(hop, &first, status, location, NULL), 0);
}

static void test_redirect_follow(void **state)
{
    static const struct {
        unsigned status;
        const char *method, *want;
        bool body;
    } rows[] = {
        { 301, "GET", "GET", true },   { 302, "POST", "GET", false }, { 303, "PUT", "GET", false },
        { 303, "HEAD", "HEAD", true }, { 307, "POST", "POST", true }, { 308, "PATCH", "PATCH", true },
        { 301, "PUT", "PUT", true },
    };
    struct cb_http_request req = { .private_ok = true };
    struct cb_http_hop hop;
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        check_hop(&req, rows[i].method, rows[i].status, "x", &hop);
        assert_string_equal(hop.method, rows[i].want);
        assert_int_equal(hop.with_body, rows[i].body);
        assert_false(hop.foreign);
        assert_true(hop.private_ok);
        assert_string_equal(hop.url.path_query, "/v2/x");
        cb_url_done(&hop.url);
    }
    check_hop(&req, "GET", 307, "https://cdn/x", &hop);
    assert_true(hop.foreign);
    assert_true(hop.other_host);
    assert_false(hop.private_ok);
    cb_url_done(&hop.url);
    check_hop(&req, "GET", 307, "https://r:444/x", &hop);
    assert_true(hop.foreign);
    assert_true(hop.private_ok);
    cb_url_done(&hop.url);
    req.private_redirect_ok = true;
    check_hop(&req, "GET", 307, "https://cdn/x", &hop);
    assert_true(hop.private_ok);
    cb_url_done(&hop.url);
}

/* What changes something is for the host that was asked. */
static void test_redirect_to_another_host(void **state)
{
    static const struct {
        unsigned status;
        const char *method;
        bool allowed;
    } rows[] = {
        { 307, "GET", true },   { 307, "HEAD", true },   { 307, "PUT", false },  { 308, "PATCH", false },
        { 307, "POST", false }, { 303, "POST", true },   { 302, "POST", true },  { 303, "PUT", true },
        { 301, "PUT", false },  { 307, "DELETE", false },
    };
    struct cb_http_request req = { .private_ok = true };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct cb_http_hop hop = { .req = &req, .method = rows[i].method, .with_body = true };
        cb_cleanup_url struct cb_url first = { 0 };
        assert_int_equal(cb_url_parse(&first, "https://r/v2/", NULL), 0);
        assert_int_equal(cb_url_parse(&hop.url, "https://r/v2/", NULL), 0);
        int want = rows[i].allowed ? 0 : -CB_EVERIFY;
        assert_int_equal(cb_http_redirect_follow(&hop, &first, rows[i].status, "https://other/x", NULL), want);
        cb_url_done(&hop.url);
    }
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *value;
        int64_t want;
    } rows[] = {
        { "0", 0 },
        { "120", 120 },
        { "99999999999999999999999", 1000000000 },
        { "-1", -1 },
        { "1.5", -1 },
        { "", -1 },
        { "soon", -1 },
        { "Sun, 06 Nov 1994 08:49:37 GMT", 37 },
        { "Sunday, 06-Nov-94 08:49:37 GMT", 37 },
        { "Sun Nov  6 08:49:37 1994", 37 },
        { "Sun, 06 Nov 1994 08:48:59 GMT", 0 },
        { "Sun, 06 Nov 1994 08:49:37", -1 },
        { "Sun, 32 Nov 1994 08:49:37 GMT", -1 },
    };
    int64_t now = 784111740; /* 08:49:00 of that day */
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++)
        if (cb_http_retry_after(rows[i].value, now) != rows[i].want)
            fail_msg("%s: %lld", rows[i].value, (long long)cb_http_retry_after(rows[i].value, now));
}

static void test_backoff(void **state)
{
    (void)state;
    assert_int_equal(cb_http_backoff(10, 0), 10);
    assert_int_equal(cb_http_backoff(10, 3), 80);
    assert_int_equal(cb_http_backoff(10, 5), 300);
    assert_int_equal(cb_http_backoff(10, 5000), 300);
    for (int i = 0; i < 1000; i++) {
        int64_t d = cb_http_jitter(1000);
        assert_in_range(d, 750, 1250);
    }
    assert_int_equal(cb_http_jitter(0), 0);
}

static const char *fake_environment(const char *name)
{
    static const char *const vars[][2] = {
        { "HTTPS_PROXY", "http://user:pw@secure:3128" },
        { "HTTP_PROXY", "http://plain:3128" },
        { "no_proxy", "corp.example, .sub.example *.star.example,10.0.0.0/8, 2001:db8::/32,only.port:8443 "
                      "[fd00::1]:444,192.0.2.7" },
        { "NO_PROXY", "*" },
    };
    for (size_t i = 0; i < CB_COUNTOF(vars); i++)
        if (strcmp(vars[i][0], name) == 0)
            return vars[i][1];
    return NULL;
}

static void test_proxy(void **state)
{
    static const struct {
        const char *url;
        bool proxied;
    } rows[] = {
        { "https://public.example/", true },   { "https://corp.example/", false },
        { "https://a.corp.example/", false },  { "https://notcorp.example/", true },
        { "https://sub.example/", true },      { "https://a.sub.example/", false },
        { "https://star.example/", true },     { "https://x.STAR.example/", false },
        { "https://10.1.2.3/", false },        { "https://11.1.2.3/", true },
        { "https://[2001:db8:5::1]/", false }, { "https://[2001:db9::1]/", true },
        { "https://only.port/", true },        { "https://only.port:8443/", false },
        { "https://192.0.2.7/", false },       { "https://192.0.2.8/", true },
        { "https://localhost:5000/", false },  { "https://127.9.9.9/", false },
        { "https://[::1]/", false },
    };
    struct cb_http_env env;
    (void)state;
    cb_http_env_read(&env, fake_environment);
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_url struct cb_url u = { 0 };
        assert_int_equal(cb_url_parse(&u, rows[i].url, NULL), 0);
        const char *want = rows[i].proxied ? "http://user:pw@secure:3128" : "";
        if (strcmp(cb_http_proxy_for(&env, &u), want) != 0)
            fail_msg("%s: %s", rows[i].url, cb_http_proxy_for(&env, &u));
    }
    cb_cleanup_url struct cb_url plain = { 0 };
    assert_int_equal(cb_url_parse(&plain, "http://public.example/", NULL), 0);
    assert_string_equal(cb_http_proxy_for(&env, &plain), "http://plain:3128");
    cb_http_env_done(&env);
}

/* Bytes of a row; by a copy, or straight into the ring in as many pieces as that takes. */
static void ring_put(struct cb_http_ring *r, uint64_t *pushed, size_t n, bool copy)
{
    unsigned char in[1000];
    for (size_t k = 0; copy && k < n; k++)
        in[k] = (unsigned char)((*pushed)++ * 31);
    if (copy)
        cb_http_ring_push(r, in, n);
    while (!copy && n) {
        char *p;
        size_t room = cb_http_ring_reserve(r, n, &p);
        assert_in_range(room, 1, n);
        for (size_t k = 0; k < room; k++)
            p[k] = (char)(unsigned char)((*pushed)++ * 31);
        cb_http_ring_commit(r, room);
        n -= room;
    }
}

static void fill_and_empty(size_t max)
{
    struct cb_http_ring r = { .max = max };
    unsigned char out[1000];
    uint64_t pushed = 0, popped = 0;
    unsigned seed = 7;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245u + 12345u;
        size_t n = CB_MIN((size_t)(seed >> 8) % 1000, cb_http_ring_room(&r));
        ring_put(&r, &pushed, n, seed & 1);
        size_t got = cb_http_ring_pop(&r, out, (seed >> 18) % 900);
        for (size_t k = 0; k < got; k++)
            assert_int_equal(out[k], (unsigned char)(popped++ * 31));
    }
    assert_int_equal(pushed - popped, r.len);
    while (r.len < max)
        ring_put(&r, &pushed, CB_MIN((size_t)1000, cb_http_ring_room(&r)), true);
    assert_int_equal(r.cap, max);
    assert_int_equal(cb_http_ring_room(&r), 0);
    cb_http_ring_done(&r);
}

static void test_ring(void **state)
{
    (void)state;
    fill_and_empty(CB_HTTP_RING_MAX);
    fill_and_empty(CB_HTTP_RING_MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),           cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_same_origin),     cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_redact),          cmocka_unit_test(test_private_addresses),
        cmocka_unit_test(test_redirect_policy), cmocka_unit_test(test_redirect_follow),
        cmocka_unit_test(test_retry_after),     cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_proxy),           cmocka_unit_test(test_ring),
        cmocka_unit_test(test_hide),            cmocka_unit_test(test_redirect_to_another_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

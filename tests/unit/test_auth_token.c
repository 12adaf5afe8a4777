/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens, against a token server that does as it likes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <strings.h>
#include <cmocka.h>

#include "auth_fixture.h"
#include "http_server.h"
#include "util/timeutil.h"

#define SEC INT64_C(1000000000)

struct rig {
    struct home *home;
    struct server *tokens, *evil;
    struct cb_http *http;
    /* what the token server answers */
    unsigned status;
    const char *headers, *body;
    unsigned form_status; /* of POST; 0: as status */
    atomic_uint broken;   /* so many answers end in their middle */
    char *post;           /* last form */
    char *realm, *base;
    struct cb_strbuf big;
};

static bool answer(struct server_request *r, void *arg)
{
    struct rig *x = arg;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_starts_with(r->path, "/401"))
        return server_reply(r, 401, x->headers, "");
    if (atomic_load(&x->broken)) {
        atomic_fetch_sub(&x->broken, 1);
        return server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"token\": \"ab") && false;
    }
    if (strcmp(r->method, "POST"))
        return server_reply(r, x->status, x->headers, x->body);
    if (!server_read_body(r, &body))
        return false;
    free(x->post);
    x->post = cb_strbuf_detach(&body, NULL);
    return server_reply(r, x->form_status ? x->form_status : x->status, x->headers, x->body);
}

static bool refuse(struct server_request *r, void *arg)
{
    (void)arg;
    return server_reply(r, 200, "", "{\"token\": \"evil\"}");
}

static int setup(void **state)
{
    struct rig *x = CB_NEW(struct rig);
    struct cb_http_options o = { .retries = 0, .backoff_ns = 1000000 };
    void *home = NULL;
    if (home_setup(&home) != 0)
        return -1;
    x->home = home;
    x->big = (struct cb_strbuf)CB_STRBUF_INIT;
    x->tokens = server_start(answer, x);
    x->evil = server_start(refuse, NULL);
    x->http = cb_http_new(&o);
    x->realm = server_url(x->tokens, "/token?fixed=1");
    x->base = server_url(x->tokens, "");
    x->status = 200;
    x->headers = "";
    x->body = "{\"token\": \"abc\", \"expires_in\": 300}";
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct rig *x = *state;
    void *home = x->home;
    cb_http_free(x->http);
    server_stop(x->tokens);
    server_stop(x->evil);
    cb_strbuf_done(&x->big);
    free(x->post);
    free(x->realm);
    free(x->base);
    free(x);
    return home_teardown(&home);
}

static int fetch(struct rig *x, const struct cb_credential *cred, struct auth_token *t, struct cb_error *e)
{
    struct cb_strvec scopes cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_auth_target target = {
        .host = "r.example", .base_url = x->base, .plain_http = true, .private_ok = true
    };
    struct auth_token_request q = {
        .target = &target, .realm = x->realm, .service = "the service", .scopes = &scopes, .cred = cred
    };
    cb_strvec_push(&scopes, "repository:a/b:pull,push");
    cb_strvec_push(&scopes, "repository:c:pull");
    return auth_token_fetch(x->http, &q, t, e);
}

/* ---- GET ---- */

static void test_get(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    assert_int_equal(fetch(x, NULL, &t, NULL), 0);
    assert_string_equal(t.value, "abc");
    assert_true(server_saw(x->tokens,
                           "GET /token?fixed=1&service=the%20service&scope=repository%3Aa%2Fb%3Apull%2Cpush"
                           "&scope=repository%3Ac%3Apull HTTP/1.1\r\n"));
    assert_false(server_saw(x->tokens, "Authorization"));
    free(t.value);
    struct cb_credential c = { .username = (char *)"user",
                               .password = (char *)"pass:word",
                               .source = (char *)"test" };
    assert_int_equal(fetch(x, &c, &t, NULL), 0);
    assert_true(server_saw(x->tokens, "Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"));
    free(t.value);
}

static void test_no_query(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    struct cb_strvec scopes cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_auth_target target = {
        .host = "r.example", .base_url = x->base, .plain_http = true, .private_ok = true
    };
    cb_autofree char *realm = server_url(x->tokens, "/plain#fragment");
    struct auth_token_request q = { .target = &target, .realm = realm, .scopes = &scopes };
    assert_int_equal(auth_token_fetch(x->http, &q, &t, NULL), 0);
    free(t.value);
    assert_true(server_saw(x->tokens, "GET /plain HTTP/1.1\r\n"));
    q.service = "s";
    assert_int_equal(auth_token_fetch(x->http, &q, &t, NULL), 0);
    free(t.value);
    assert_true(server_saw(x->tokens, "GET /plain?service=s HTTP/1.1\r\n"));
}

/* ---- answers ---- */

static void test_answers(void **state)
{
    struct rig *x = *state;
    static const struct {
        const char *body, *token;
        int64_t life;
        int code;
    } t[] = {
        { "{\"token\":\"a\"}", "a", 60, 0 },
        { "{\"access_token\":\"b\",\"expires_in\":600}", "b", 600, 0 },
        { "{\"token\":\"a\",\"access_token\":\"b\"}", "a", 60, 0 },
        { "{\"token\":\"\",\"access_token\":\"b\"}", "b", 60, 0 },
        { "{\"token\":null,\"access_token\":\"b\"}", "b", 60, 0 },
        { "{\"token\":\"a\",\"expires_in\":1}", "a", 60, 0 },
        { "{\"token\":\"a\",\"expires_in\":0}", "a", 60, 0 },
        { "{\"token\":\"a\",\"expires_in\":-5}", "a", 60, 0 },
        { "{\"token\":\"a\",\"expires_in\":120.5}", "a", 120, 0 },
        { "{\"token\":\"a\",\"expires_in\":\"300\"}", "a", 60, 0 },
        { "{\"token\":\"a\",\"expires_in\":1e300}", "a", 86400, 0 },
        { "{\"token\":\"a\",\"expires_in\":9000000000000000000}", "a", 86400, 0 },
        { "{\"token\":\"a\",\"issued_at\":\"nonsense\",\"scope\":7}", "a", 60, 0 },
        { "{}", NULL, 0, -CB_EAUTH },
        { "{\"token\":\"\"}", NULL, 0, -CB_EAUTH },
        { "{\"token\":\"a b\"}", NULL, 0, -CB_EAUTH },
        { "{\"token\":\"a\\r\\nX-Evil: 1\"}", NULL, 0, -CB_EAUTH },
        { "{\"token\":\"\\u00e9\"}", NULL, 0, -CB_EAUTH },
        { "{\"token\":\"a\\u0000b\"}", NULL, 0, -CB_EVERIFY },
        { "{\"token\":1}", NULL, 0, -CB_EVERIFY },
        { "[]", NULL, 0, -CB_EVERIFY },
        { "", NULL, 0, -CB_EVERIFY },
        { "<html>", NULL, 0, -CB_EVERIFY },
        { "{\"token\":\"a\",\"token\":\"b\"}", NULL, 0, -CB_EVERIFY },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct auth_token token = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        x->body = t[i].body;
        int64_t before = cb_time_monotonic();
        int r = fetch(x, NULL, &token, &e);
        if (r != t[i].code)
            fail_msg("%s: %d (%s)", t[i].body, r, cb_error_text(&e));
        if (r < 0) {
            assert_null(token.value);
            assert_non_null(strstr(cb_error_text(&e), "token server"));
            continue;
        }
        assert_string_equal(token.value, t[i].token);
        int64_t renew = token.renew_at - before;
        assert_true(renew >= t[i].life * 9 / 10 * SEC && renew < (t[i].life * 9 / 10 + 10) * SEC);
        free(token.value);
    }
}

static void test_huge_answer(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    cb_strbuf_adds(&x->big, "{\"token\": \"");
    for (int i = 0; i < 2 << 20; i++)
        cb_strbuf_addch(&x->big, 'a');
    cb_strbuf_adds(&x->big, "\"}");
    x->body = x->big.buf;
    assert_int_equal(fetch(x, NULL, &t, NULL), -CB_EVERIFY);
    assert_null(t.value);
}

/* An answer that breaks off is asked for again, and not for ever. */
static void test_broken_answer(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    atomic_store(&x->broken, 2);
    assert_int_equal(fetch(x, NULL, &t, NULL), 0);
    assert_string_equal(t.value, "abc");
    free(t.value);
    t = (struct auth_token){ 0 };
    atomic_store(&x->broken, 100);
    assert_int_equal(fetch(x, NULL, &t, NULL), -CB_ENET);
    assert_int_equal(atomic_load(&x->broken), 97);
    assert_null(t.value);
}

static void test_refused(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_credential c = { .username = (char *)"user",
                               .password = (char *)"canary",
                               .source = (char *)"/x/config.json" };
    x->status = 401;
    x->body = "{\"details\": \"incorrect \\u001b[31m password\"}";
    assert_int_equal(fetch(x, &c, &t, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "refuses the credentials from /x/config.json (status 401: incorrect "));
    assert_null(strchr(cb_error_text(&e), '\033'));
    assert_null(strstr(cb_error_text(&e), "canary"));
    assert_null(strstr(cb_error_text(&e), "fixed=1"));
    assert_int_equal(e.http_status, 401);
    assert_int_equal(fetch(x, NULL, &t, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "log in first"));
    x->status = 404;
    x->body = "no such page";
    assert_int_equal(fetch(x, NULL, &t, &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "status 404"));
    assert_null(t.value);
}

/* ---- refresh tokens ---- */

static void test_refresh(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    struct cb_credential c = { .identity_token = (char *)"r&t=1", .source = (char *)"test" };
    x->body = "{\"access_token\": \"fresh\", \"expires_in\": 300}";
    assert_int_equal(fetch(x, &c, &t, NULL), 0);
    assert_string_equal(t.value, "fresh");
    free(CB_TAKE(t.value));
    assert_true(server_saw(x->tokens, "POST /token?fixed=1 HTTP/1.1\r\n"));
    assert_true(server_saw(x->tokens, "Content-Type: application/x-www-form-urlencoded\r\n"));
    assert_string_equal(x->post,
                        "grant_type=refresh_token&service=the%20service&client_id=cbpush"
                        "&scope=repository%3Aa%2Fb%3Apull%2Cpush%20repository%3Ac%3Apull&refresh_token=r%26t%3D1");
    assert_false(server_saw(x->tokens, "Authorization"));
    /* A server without OAuth2: nothing else to try with, or the password. */
    x->form_status = 404;
    assert_int_equal(fetch(x, &c, &t, NULL), -CB_ENET);
    c.username = (char *)"u";
    c.password = (char *)"p";
    assert_int_equal(fetch(x, &c, &t, NULL), 0);
    assert_true(server_saw(x->tokens, "Authorization: Basic dTpw\r\n"));
    free(t.value);
}

/* A token server that has only the OAuth2 form gets the password in it, once. */
static void test_password_form(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    struct cb_credential c = { .username = (char *)"u", .password = (char *)"p&w", .source = (char *)"test" };
    static const unsigned lacking[] = { 404, 405 };
    x->form_status = 200;
    x->body = "{\"access_token\": \"by-form\"}";
    for (size_t i = 0; i < CB_COUNTOF(lacking); i++) {
        x->status = lacking[i];
        assert_int_equal(fetch(x, &c, &t, NULL), 0);
        assert_string_equal(t.value, "by-form");
        free(CB_TAKE(t.value));
        assert_non_null(strstr(x->post, "grant_type=password&service=the%20service&client_id=cbpush&scope="));
        assert_non_null(strstr(x->post, "&username=u&password=p%26w"));
    }
    unsigned before = atomic_load(&x->tokens->requests);
    x->status = 401; /* refused is refused */
    assert_int_equal(fetch(x, &c, &t, NULL), -CB_EAUTH);
    assert_int_equal(atomic_load(&x->tokens->requests), before + 1);
    x->status = x->form_status = 404;
    assert_int_equal(fetch(x, &c, &t, NULL), -CB_ENET);
    assert_int_equal(atomic_load(&x->tokens->requests), before + 3);
}

/* Artifactory refuses identity tokens with 401: the password beside it is tried. */
static void test_refresh_refused(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    struct cb_credential c = {
        .identity_token = (char *)"r", .username = (char *)"u", .password = (char *)"p", .source = (char *)"test"
    };
    x->form_status = 401;
    assert_int_equal(fetch(x, &c, &t, NULL), 0);
    assert_string_equal(t.value, "abc");
    free(CB_TAKE(t.value));
    c.username = c.password = NULL;
    assert_int_equal(fetch(x, &c, &t, NULL), -CB_EAUTH);
}

/* A refresh token is in the body; it follows no redirect. */
static void test_refresh_redirect(void **state)
{
    struct rig *x = *state;
    struct auth_token t = { 0 };
    struct cb_credential c = { .identity_token = (char *)"canary", .source = (char *)"test" };
    cb_autofree char *to = server_url(x->evil, "/take");
    cb_autofree char *headers = cb_asprintf("Location: %s\r\n", to);
    static const unsigned codes[] = { 301, 302, 303, 307, 308 };
    x->headers = headers;
    for (size_t i = 0; i < CB_COUNTOF(codes); i++) {
        x->status = codes[i];
        assert_int_equal(fetch(x, &c, &t, NULL), -CB_ENET);
    }
    assert_int_equal(atomic_load(&x->evil->requests), 0);
    /* A GET may be led elsewhere, but goes without the password. */
    struct cb_credential basic = { .username = (char *)"u", .password = (char *)"p", .source = (char *)"test" };
    x->status = 307;
    assert_int_equal(fetch(x, &basic, &t, NULL), 0);
    assert_int_equal(atomic_load(&x->evil->requests), 1);
    assert_false(server_saw(x->evil, "Authorization"));
    free(t.value);
}

/* ---- a challenge, whole ---- */

static struct cb_http_reply *get_401(struct rig *x)
{
    struct cb_http_reply *reply = NULL;
    cb_autofree char *url = server_url(x->tokens, "/401");
    struct cb_http_request req = { .method = "GET", .url = url, .plain_http = true, .private_ok = true };
    assert_int_equal(cb_http_send(x->http, &req, &reply, NULL), 0);
    assert_int_equal(cb_http_status(reply), 401);
    return reply;
}

static int challenge(struct rig *x, struct cb_auth *a, const char *header, const struct cb_auth_ask *more,
                     struct cb_error *e)
{
    const char *old = x->headers;
    struct cb_scope scope = { "a/b", "pull" };
    struct cb_auth_ask ask = more ? *more : (struct cb_auth_ask){ 0 };
    struct cb_auth_target t = { .host = "r.example", .base_url = x->base, .plain_http = true, .private_ok = true };
    ask.scopes = &scope;
    ask.n = 1;
    cb_autofree char *line = cb_asprintf("WWW-Authenticate: %s\r\n", header);
    x->headers = line;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = get_401(x);
    x->headers = old;
    return cb_auth_challenge(a, &t, reply, &ask, e);
}

static char *header_now(struct rig *x, struct cb_auth *a, const char *repo)
{
    struct cb_scope scope = { repo, "pull" };
    struct cb_auth_target t = { .host = "r.example", .base_url = x->base, .plain_http = true, .private_ok = true };
    struct cb_auth_ask ask = { .scopes = &scope, .n = 1 };
    return cb_auth_header(a, &t, &ask);
}

static struct cb_auth *new_auth(struct rig *x)
{
    struct cb_auth_options o = { .http = x->http, .creds = "u:p" };
    struct cb_auth *a = cb_auth_new(&o);
    cb_auth_set_creds_host(a, "r.example");
    return a;
}

static void test_challenge_basic(void **state)
{
    struct rig *x = *state;
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *none = header_now(x, a, "a/b");
    assert_null(none);
    assert_int_equal(challenge(x, a, "Basic realm=x", NULL, &e), 0);
    cb_autofree char *h = header_now(x, a, "a/b");
    assert_string_equal(h, "Basic dTpw");
    cb_autofree char *other = header_now(x, a, "other"); /* without another 401 */
    assert_string_equal(other, "Basic dTpw");
    assert_int_equal(challenge(x, a, "Basic realm=x", &(struct cb_auth_ask){ .tried = h, .again = true }, &e),
                     -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "r.example"));
    assert_non_null(strstr(cb_error_text(&e), "the command line"));
    assert_non_null(strstr(cb_error_text(&e), "repository:a/b:pull"));
    assert_null(strstr(cb_error_text(&e), "dTpw"));
}

static void test_challenge_bearer(void **state)
{
    struct rig *x = *state;
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *bearer =
        cb_asprintf("Bearer realm=\"%s\",service=\"s\",scope=\"repository:a/b:pull\"", x->realm);
    assert_int_equal(challenge(x, a, bearer, NULL, &e), 0);
    cb_autofree char *h = header_now(x, a, "a/b");
    assert_string_equal(h, "Bearer abc");
    cb_autofree char *realm = cb_auth_last_realm(a);
    assert_string_equal(realm, x->realm);
    assert_true(server_saw(x->tokens, "scope=repository%3Aa%2Fb%3Apull HTTP"));
    assert_true(server_saw(x->tokens, "Authorization: Basic dTpw"));

    /* Another repository: a token ahead of its 401. */
    unsigned before = atomic_load(&x->tokens->requests);
    cb_autofree char *h2 = header_now(x, a, "other");
    assert_string_equal(h2, "Bearer abc");
    assert_true(server_saw(x->tokens, "scope=repository%3Aother%3Apull HTTP"));
    assert_int_equal(atomic_load(&x->tokens->requests), before + 1);
    free(header_now(x, a, "other")); /* kept */
    assert_int_equal(atomic_load(&x->tokens->requests), before + 1);

    /* Too old: another. Fresh, and refused for what was asked: no other. */
    x->body = "{\"token\": \"def\"}";
    assert_int_equal(challenge(x, a, bearer, &(struct cb_auth_ask){ .tried = h }, &e), 0);
    cb_autofree char *h4 = header_now(x, a, "a/b");
    assert_string_equal(h4, "Bearer def");
    before = atomic_load(&x->tokens->requests);
    assert_int_equal(challenge(x, a, bearer, &(struct cb_auth_ask){ .tried = h4, .again = true }, &e), -CB_EAUTH);
    cb_autofree char *insufficient = cb_asprintf("%s,error=\"insufficient_scope\"", bearer);
    assert_int_equal(challenge(x, a, insufficient, &(struct cb_auth_ask){ .tried = h4 }, &e), -CB_EAUTH);
    assert_int_equal(atomic_load(&x->tokens->requests), before + 2); /* the 401s alone */
    /* One that somebody else has replaced meanwhile: nothing to do. */
    assert_int_equal(challenge(x, a, bearer, &(struct cb_auth_ask){ .tried = h, .again = true }, &e), 0);
    assert_int_equal(atomic_load(&x->tokens->requests), before + 3);
}

static void age(struct cb_auth *a)
{
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(a->entries, &it, &key, &v);)
        ((struct auth_entry *)v)->renew_at = 0;
    for (size_t it = 0; cb_hashmap_next(a->tokens, &it, &key, &v);)
        ((struct auth_kept_token *)v)->token.renew_at = 0;
}

/* A token that has grown old before its request had its turn: another, also the second time. */
static void test_challenge_old(void **state)
{
    struct rig *x = *state;
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    cb_autofree char *bearer = cb_asprintf("Bearer realm=\"%s\"", x->realm);
    assert_int_equal(challenge(x, a, bearer, NULL, NULL), 0);
    cb_autofree char *h = header_now(x, a, "a/b");
    age(a);
    x->body = "{\"token\": \"new\"}";
    assert_int_equal(challenge(x, a, bearer, &(struct cb_auth_ask){ .tried = h, .again = true }, NULL), 0);
    cb_autofree char *h2 = header_now(x, a, "a/b");
    assert_string_equal(h2, "Bearer new");
    /* Nor is one sent that is about to end. */
    age(a);
    x->body = "{\"token\": \"newer\"}";
    cb_autofree char *h3 = header_now(x, a, "a/b");
    assert_string_equal(h3, "Bearer newer");
}

/* The challenge wants more than was asked: once with that. */
static void test_challenge_more_scope(void **state)
{
    struct rig *x = *state;
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *more = cb_asprintf(
        "Bearer realm=\"%s\",error=\"insufficient_scope\",scope=\"repository:a/b:pull repository:src:pull\"",
        x->realm);
    assert_int_equal(challenge(x, a, more, NULL, &e), 0);
    assert_false(server_saw(x->tokens, "src"));
    cb_autofree char *h = header_now(x, a, "a/b");
    assert_int_equal(challenge(x, a, more, &(struct cb_auth_ask){ .tried = h, .again = true }, &e), 0);
    assert_true(server_saw(x->tokens, "scope=repository%3Aa%2Fb%3Apull&scope=repository%3Asrc%3Apull HTTP"));
    assert_int_equal(challenge(x, a, more, &(struct cb_auth_ask){ .tried = h, .again = true }, &e), -CB_EAUTH);
}

/* Two hosts with one token server and one login share tokens; another secret, or none, does not get them. */
static void test_shared(void **state)
{
    struct rig *x = *state;
    cb_autofree char *bearer = cb_asprintf("Bearer realm=\"%s\",service=\"s\"", x->realm);
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    assert_int_equal(challenge(x, a, bearer, NULL, NULL), 0);
    unsigned before = atomic_load(&x->tokens->requests);
    struct auth_token_request q = { .realm = x->realm, .service = "s" };
    struct cb_strvec scopes cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_credential same = { .username = (char *)"u", .password = (char *)"p" },
                         other = { .username = (char *)"u", .password = (char *)"P" };
    cb_strvec_push(&scopes, "repository:a/b:pull");
    q.scopes = &scopes;
    q.cred = &same;
    assert_string_equal(auth_token_kept(a, &q)->token.value, "abc");
    q.cred = &other;
    assert_null(auth_token_kept(a, &q)->token.value);
    q.cred = NULL;
    assert_null(auth_token_kept(a, &q)->token.value);
    q.cred = &same;
    q.service = "t";
    assert_null(auth_token_kept(a, &q)->token.value);
    assert_int_equal(atomic_load(&x->tokens->requests), before);
    cb_auth_set_creds_host(a, "second.example");
    struct cb_auth_target t = {
        .host = "second.example", .base_url = x->base, .plain_http = true, .private_ok = true
    };
    struct cb_scope scope = { "a/b", "pull" };
    struct cb_auth_ask ask = { .scopes = &scope, .n = 1 };
    free(cb_auth_header(a, &t, &ask));
    assert_int_equal(atomic_load(&x->tokens->requests), before);
}

/* The order in which scopes are asked for is kept, and does not make two tokens of one. */
static void test_scope_order(void **state)
{
    struct rig *x = *state;
    cb_autofree char *bearer = cb_asprintf("Bearer realm=\"%s\",service=\"s\"", x->realm);
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    assert_int_equal(challenge(x, a, bearer, NULL, NULL), 0);
    struct cb_auth_target t = { .host = "r.example", .base_url = x->base, .plain_http = true, .private_ok = true };
    struct cb_scope ab[] = { { "z/dst", "pull,push" }, { "a/src", "pull" } }, ba[] = { ab[1], ab[0] };
    unsigned before = atomic_load(&x->tokens->requests);
    free(cb_auth_header(a, &t, &(struct cb_auth_ask){ .scopes = ab, .n = 2 }));
    free(cb_auth_header(a, &t, &(struct cb_auth_ask){ .scopes = ba, .n = 2 }));
    assert_int_equal(atomic_load(&x->tokens->requests), before + 1);
    assert_true(server_saw(x->tokens, "scope=repository%3Az%2Fdst%3Apull%2Cpush&scope=repository%3Aa%2Fsrc%3Apull "));
}

/* What still has a tenth of its life is good for a short request, but not for a body of some length. */
static void test_sends(void **state)
{
    struct rig *x = *state;
    cb_autofree char *bearer = cb_asprintf("Bearer realm=\"%s\",service=\"s\"", x->realm);
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    assert_int_equal(challenge(x, a, bearer, NULL, NULL), 0);
    const char *key;
    void *v;
    int64_t now = cb_time_monotonic();
    for (size_t it = 0; cb_hashmap_next(a->entries, &it, &key, &v);)
        ((struct auth_entry *)v)->ends = now + 10 * SEC;
    for (size_t it = 0; cb_hashmap_next(a->tokens, &it, &key, &v);)
        ((struct auth_kept_token *)v)->token.ends = now + 10 * SEC;
    x->body = "{\"token\": \"second\"}";
    struct cb_auth_target t = { .host = "r.example", .base_url = x->base, .plain_http = true, .private_ok = true };
    struct cb_scope scope = { "a/b", "pull" };
    struct cb_auth_ask ask = { .scopes = &scope, .n = 1 };
    cb_autofree char *h = cb_auth_header(a, &t, &ask);
    assert_string_equal(h, "Bearer abc");
    ask.sends = true;
    cb_autofree char *h2 = cb_auth_header(a, &t, &ask);
    assert_string_equal(h2, "Bearer second");
}

static void test_challenge_bad(void **state)
{
    struct rig *x = *state;
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    assert_int_equal(challenge(x, a, "Negotiate", NULL, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "Bearer, Basic"));
    assert_int_equal(challenge(x, a, "Bearer service=x", NULL, &e), -CB_EVERIFY);
    assert_int_equal(challenge(x, a, "Bearer realm=\"x", NULL, &e), -CB_EVERIFY);
    assert_int_equal(challenge(x, a, "Bearer realm=\"/token\"", NULL, &e), -CB_EVERIFY);
    assert_int_equal(challenge(x, a, "Bearer realm=\"file:///etc/passwd\"", NULL, &e), -CB_EVERIFY);
    cb_autofree char *h = header_now(x, a, "a/b");
    assert_null(h);
}

/* D4: the realm is elsewhere, and not approved. The credentials stay here, and the user is told so. */
static void test_realm_elsewhere(void **state)
{
    struct rig *x = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_auth_free) struct cb_auth *a = new_auth(x);
    cb_autofree char *bearer = cb_asprintf("Bearer realm=\"http://127.0.0.1:%u/token\"", x->evil->port);
    free(x->base);
    x->base = cb_strdup("https://r.example");
    assert_int_equal(challenge(x, a, bearer, NULL, &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), "did not get the credentials from the command line"));
    assert_non_null(strstr(cb_error_text(&e), "cbpush login r.example"));
    cb_autofree char *private = cb_asprintf("Bearer realm=\"https://127.0.0.1:%u/token\"", x->evil->port);
    assert_int_equal(challenge(x, a, private, NULL, &e), -CB_EVERIFY);
    assert_int_equal(atomic_load(&x->evil->connections), 0); /* nor does a public registry make us knock there */
}

static void test_registry_token(void **state)
{
    struct rig *x = *state;
    home_put(x->home, ".docker/config.json", "{\"auths\": {\"r.example\": {\"registrytoken\": \"ready\"}}}");
    struct cb_auth_options o = { .http = x->http };
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&o);
    cb_autofree char *bearer = cb_asprintf("Bearer realm=\"%s\"", x->realm);
    unsigned before = atomic_load(&x->tokens->requests);
    assert_int_equal(challenge(x, a, bearer, NULL, NULL), 0);
    cb_autofree char *h = header_now(x, a, "a/b");
    assert_string_equal(h, "Bearer ready");
    assert_int_equal(atomic_load(&x->tokens->requests), before + 1);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_get),
        RIG_TEST(test_no_query),
        RIG_TEST(test_answers),
        RIG_TEST(test_huge_answer),
        RIG_TEST(test_broken_answer),
        RIG_TEST(test_refused),
        RIG_TEST(test_refresh),
        RIG_TEST(test_password_form),
        RIG_TEST(test_refresh_refused),
        RIG_TEST(test_refresh_redirect),
        RIG_TEST(test_challenge_basic),
        RIG_TEST(test_challenge_bearer),
        RIG_TEST(test_challenge_old),
        RIG_TEST(test_challenge_more_scope),
        RIG_TEST(test_shared),
        RIG_TEST(test_scope_order),
        RIG_TEST(test_sends),
        RIG_TEST(test_challenge_bad),
        RIG_TEST(test_realm_elsewhere),
        RIG_TEST(test_registry_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

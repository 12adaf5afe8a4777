/* SPDX-License-Identifier: Apache-2.0 */
/* Which secret is for which server (R14), and in what form. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "build/fetch.h"
#include "util/alloc.h"

#define SECRETS 6

static const struct given {
    const char *id, *text;
} none, all[SECRETS] = {
    { "GIT_AUTH_TOKEN", "general" },
    { "GIT_AUTH_TOKEN.a.example", "of a" },
    { "GIT_AUTH_HEADER.b.example:8443", "Bearer b\n" },
    { "GIT_AUTH_TOKEN.b.example:8443", "never" },
    { "HTTP_AUTH_TOKEN_a.example", " of a\r\n" },
    { "HTTP_AUTH_HEADER_[::1]:8080", "Custom x" },
};

struct secrets {
    struct cb_build_secret v[SECRETS];
    struct cb_fetcher f;
};

static void make(struct secrets *s, const struct given *g, size_t n)
{
    *s = (struct secrets){ .f = { .secrets = s->v } };
    for (size_t i = 0; i < n && g[i].id; i++) {
        s->v[i] = (struct cb_build_secret){ .id = g[i].id,
                                            .value = cb_secret_new(g[i].text, strlen(g[i].text), NULL) };
        assert_non_null(s->v[i].value);
        s->f.n_secrets++;
    }
}

static void drop(struct secrets *s)
{
    for (size_t i = 0; i < s->f.n_secrets; i++)
        cb_secret_free((struct cb_secret *)(uintptr_t)s->v[i].value);
}

/* ---- what a server is sent, of all of these; value NULL: nothing; "!": refused ---- */

static const struct {
    const char *url, *value;
} git[] = {
    { "https://a.example/x.git", "Basic eC1hY2Nlc3MtdG9rZW46b2YgYQ==" },
    { "https://A.example:443/x.git", "Basic eC1hY2Nlc3MtdG9rZW46b2YgYQ==" },
    { "https://a.example:444/x.git", "Basic eC1hY2Nlc3MtdG9rZW46Z2VuZXJhbA==" },
    { "https://b.example:8443/x.git", "Bearer b" },
    { "https://b.example/x.git", "Basic eC1hY2Nlc3MtdG9rZW46Z2VuZXJhbA==" },
    { "https://a.example.evil/x.git", "Basic eC1hY2Nlc3MtdG9rZW46Z2VuZXJhbA==" },
    { "http://a.example/x.git", "!" },
    { "http://c.example/x.git", NULL },
    { "http://127.0.0.1.example/x.git", NULL },
    { "http://127.0.0.1:80/x.git", "Basic eC1hY2Nlc3MtdG9rZW46Z2VuZXJhbA==" },
    { "http://localhost:3000/x.git", "Basic eC1hY2Nlc3MtdG9rZW46Z2VuZXJhbA==" },
    { "ssh://git@a.example/x.git", NULL },
    { "git://a.example/x.git", NULL },
}, http[] = {
    { "https://a.example/x", "Bearer of a" },
    { "https://a.example:8443/x", NULL },
    { "https://xa.example/x", NULL },
    { "https://b.example:8443/x", NULL },
    { "http://a.example/x", "!" },
    { "http://[::1]:8080/x", "Custom x" },
    { "https://[::1]/x", NULL },
};

static void test_git(void **state)
{
    (void)state;
    struct secrets s;
    make(&s, all, SECRETS);
    for (size_t i = 0; i < CB_COUNTOF(git); i++) {
        struct cb_git_ref g cb_cleanup_git_ref = { 0 };
        struct cb_git_auth a cb_cleanup_git_auth = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        assert_int_equal(cb_git_ref_parse(&g, git[i].url, NULL), 0);
        int r = cb_git_auth(&s.f, g.url, g.submodules, &a, &err);
        if (cb_streq(git[i].value, "!")) {
            assert_int_equal(r, -CB_EUSAGE);
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(a.n, 1);
        if (!cb_streq(a.v->value, git[i].value))
            fail_msg("%s: %s", git[i].url, a.v->value ? a.v->value : "none");
    }
    drop(&s);
}

static void test_http(void **state)
{
    (void)state;
    struct secrets s;
    make(&s, all, SECRETS);
    for (size_t i = 0; i < CB_COUNTOF(http); i++) {
        struct cb_remote_auth a cb_cleanup_remote_auth = { 0 };
        int r = cb_http_auth(&s.f, http[i].url, &a, NULL);
        if ((r == -CB_EUSAGE) != cb_streq(http[i].value, "!") ||
            (r == 0 && !cb_streq(a.value, http[i].value)))
            fail_msg("%s: %d %s", http[i].url, r, a.value ? a.value : "none");
    }
    drop(&s);
}

/* ---- submodules: every server that a secret names, and none that is a pattern ---- */

static void test_submodules(void **state)
{
    (void)state;
    struct cb_git_ref g cb_cleanup_git_ref = { 0 }, ssh cb_cleanup_git_ref = { 0 };
    struct cb_git_auth a cb_cleanup_git_auth = { 0 }, b cb_cleanup_git_auth = { 0 };
    struct secrets s;
    make(&s, all, SECRETS);
    assert_int_equal(cb_git_ref_parse(&g, "https://c.example/x.git?submodules=true", NULL), 0);
    assert_int_equal(cb_git_auth(&s.f, g.url, g.submodules, &a, NULL), 0);
    assert_int_equal(a.n, 3);
    assert_string_equal(a.v[0].origin, "https://c.example");
    assert_string_equal(a.v[1].origin, "https://a.example");
    assert_string_equal(a.v[2].origin, "https://b.example:8443");
    assert_string_equal(a.v[2].value, "Bearer b");
    assert_int_equal(cb_git_ref_parse(&ssh, "ssh://git@a.example/x.git?submodules=true", NULL), 0);
    assert_int_equal(cb_git_auth(&s.f, ssh.url, ssh.submodules, &b, NULL), 0);
    assert_int_equal(b.n, 3);
    assert_null(b.v[0].value);
    drop(&s);
    static const char *const wrong[] = { "*.example", "", "a/b", "a?b", "u@a", "a:", "a:0", "a#b", "a\\b" };
    for (size_t i = 0; i < CB_COUNTOF(wrong); i++) {
        struct cb_git_auth none_of_it cb_cleanup_git_auth = { 0 };
        cb_autofree char *id = cb_asprintf("GIT_AUTH_TOKEN.%s", wrong[i]);
        make(&s, &(struct given){ id, "x" }, 1);
        if (cb_git_auth(&s.f, g.url, g.submodules, &none_of_it, NULL) != -CB_EUSAGE)
            fail_msg("%s", id);
        drop(&s);
    }
}

/* ---- values ---- */

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int r;
    } rows[] = { { "canary\nX: y", -CB_EUSAGE }, { "canary\ry", -CB_EUSAGE }, { "canary\x7f", -CB_EUSAGE },
                 { "\n", 0 }, { "", 0 }, { "canary\r\n", 0 } };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct cb_remote_auth a cb_cleanup_remote_auth = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        struct secrets s;
        make(&s, &(struct given){ "HTTP_AUTH_TOKEN_h", rows[i].text }, 1);
        assert_int_equal(cb_http_auth(&s.f, "https://h/x", &a, &err), rows[i].r);
        assert_true(rows[i].r == 0 || (!a.value && !strstr(cb_error_text(&err), "canary")));
        assert_int_equal(a.value != NULL, i + 1 == CB_COUNTOF(rows));
        drop(&s);
    }
}

static void test_advice(void **state)
{
    (void)state;
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_remote_auth a cb_cleanup_remote_auth = { 0 };
    struct secrets s;
    make(&s, &none, 1);
    assert_int_equal(cb_http_auth(&s.f, "https://h:8443/x", &a, NULL), 0);
    cb_remote_auth_advise(&a, "HTTP_AUTH_TOKEN_", &sb);
    assert_string_equal(sb.buf, "it wants credentials: give them by --secret id=HTTP_AUTH_TOKEN_h:8443,env=VARIABLE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_git),    cmocka_unit_test(test_http),   cmocka_unit_test(test_submodules),
        cmocka_unit_test(test_values), cmocka_unit_test(test_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

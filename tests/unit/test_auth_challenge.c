/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate (D8), and how scopes cover each other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/private.h"
#include "util/alloc.h"

/* "scheme name=value name=value; scheme …" with names sorted. */
static void show(const struct auth_challenges *c, struct cb_strbuf *out)
{
    for (size_t i = 0; i < c->n; i++) {
        cb_strbuf_addf(out, "%s%s", i ? "; " : "", c->v[i].scheme);
        for (size_t k = 0; k < c->v[i].params.n; k++)
            cb_strbuf_addf(out, " %s=<%s>", c->v[i].params.v[k].key, c->v[i].params.v[k].value);
    }
}

static const struct {
    const char *text, *want; /* NULL: refused */
} table[] = {
    { "Basic", "basic" },
    { "", "" },
    { "Basic realm=\"x\"", "basic realm=<x>" },
    { "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
      "bearer realm=<https://a/t> scope=<repository:a/b:pull,push> service=<s>" },
    { "  BEARER  Realm = \"r\" ,  SERVICE=s ", "bearer realm=<r> service=<s>" },
    { "Bearer realm=https://a.example:5000/t?x=1,service=s",
      "bearer realm=<https://a.example:5000/t?x=1> service=<s>" },
    { "Bearer realm=\"a\\\"b\\\\c\"", "bearer realm=<a\"b\\c>" },
    { "Basic realm=\"x, Bearer realm=y\"", "basic realm=<x, Bearer realm=y>" },
    { "Basic realm=\"x\", Bearer realm=\"y\", error=\"invalid_token\"",
      "basic realm=<x>; bearer error=<invalid_token> realm=<y>" },
    { "Bearer realm=\"y\", Basic", "bearer realm=<y>; basic" },
    { ", ,Basic realm=\"\"", "basic realm=<>" },
    { "Negotiate, Basic realm=x", "negotiate; basic realm=<x>" },
    { "Negotiate YII/a+b==, Basic realm=x", "negotiate; basic realm=<x>" },
    { "NTLM TlRMTVNT", "ntlm" },
    { "Bearer realm=\"a\",", "bearer realm=<a>" },
    { "Bearer realm=\"a\",,service=\"b\"", "bearer realm=<a> service=<b>" },
    { "Bearer realm=\"a\" service=\"b\"", NULL },
    { "Bearer realm=\"a\"service=\"b\"", NULL },
    { "Bearer realm=\"a\", realm=\"b\"", NULL },
    { "Bearer realm=\"a\", REALM=\"b\"", NULL },
    { "Bearer realm=\"a", NULL },
    { "Bearer realm=\"a\\", NULL },
    { "Bearer realm=", "bearer" }, /* RFC 9110 takes that for a blob; without a realm it is of no use */
    { "Bearer realm=\"a\nb\"", NULL },
    { "Bearer realm=\"a\r\nX-Evil: 1\"", NULL },
    { "Bearer realm=\"a\",scope=\"repository:x:pull\npush\"", NULL },
    { "Bearer realm=\"a\\\nb\"", NULL },
    { "Bearer realm=\"a\x7f\"", NULL },
    { "Bearer\nrealm=\"a\"", NULL },
    { "\"Bearer\" realm=\"a\"", NULL },
    { "=x", NULL },
    { "Bearer realm=\"a\" garbage/\"x\"", NULL },
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(table); i++) {
        CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
        struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int r = auth_challenge_parse(&c, table[i].text, &e);
        show(&c, &got);
        if (table[i].want ? r != 0 || strcmp(got.buf, table[i].want) != 0 : r != -CB_EVERIFY)
            fail_msg("<%s>: %d <%s>, expected <%s>", table[i].text, r, got.buf,
                     table[i].want ? table[i].want : "an error");
        if (!table[i].want)
            assert_non_null(strstr(cb_error_text(&e), "WWW-Authenticate"));
    }
}

static void test_several_values(void **state)
{
    (void)state;
    CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
    assert_int_equal(auth_challenge_parse(&c, "Negotiate", NULL), 0);
    assert_int_equal(auth_challenge_parse(&c, "Basic realm=x", NULL), 0);
    assert_int_equal(c.n, 2);
    assert_string_equal(c.v[1].scheme, "basic");
    assert_string_equal(cb_strmap_get(&c.v[1].params, "realm"), "x");
}

static void test_huge(void **state)
{
    (void)state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&text, "Bearer realm=\"");
    for (int i = 0; i < 1 << 20; i++)
        cb_strbuf_addch(&text, 'a');
    cb_strbuf_addch(&text, '"');
    CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
    assert_int_equal(auth_challenge_parse(&c, text.buf, NULL), -CB_EVERIFY);

    cb_strbuf_reset(&text);
    cb_strbuf_adds(&text, "Bearer p0=x");
    for (int i = 1; i < 100; i++)
        cb_strbuf_addf(&text, ",p%d=x", i);
    assert_int_equal(auth_challenge_parse(&c, text.buf, NULL), -CB_EVERIFY);

    cb_strbuf_reset(&text);
    for (int i = 0; i < 1000; i++)
        cb_strbuf_adds(&text, "Basic,");
    assert_int_equal(auth_challenge_parse(&c, text.buf, NULL), -CB_EVERIFY);
    assert_true(c.n <= 64);
}

/* Every prefix and every single changed byte of a good value: an answer, and never anything out of bounds. */
static void test_mutations(void **state)
{
    (void)state;
    static const char good[] =
        "Basic realm=\"a\\\"b\", Negotiate YII==, Bearer realm=\"https://a/t\" , service=s,scope=\"x y\"";
    for (size_t n = 0; n < sizeof good; n++) {
        CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
        cb_autofree char *text = cb_strndup(good, n);
        int r = auth_challenge_parse(&c, text, NULL);
        assert_true(r == 0 || r == -CB_EVERIFY);
    }
    for (size_t n = 0; n + 1 < sizeof good; n++)
        for (int b = 1; b < 256; b++) {
            CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
            cb_autofree char *text = cb_strdup(good);
            text[n] = (char)b;
            int r = auth_challenge_parse(&c, text, NULL);
            assert_true(r == 0 || r == -CB_EVERIFY);
            for (size_t i = 0; i < c.n; i++)
                for (size_t k = 0; k < c.v[i].params.n; k++)
                    for (const char *p = c.v[i].params.v[k].value; *p; p++)
                        assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
        }
}

static void test_scopes(void **state)
{
    (void)state;
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT;
    const struct cb_scope wanted[] = { { "a/b", "pull,push" }, { "c", "pull" }, { "a/b", "pull,push" } };
    auth_scope_list(wanted, 3, &list);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.v[0], "repository:a/b:pull,push");
    assert_string_equal(list.v[1], "repository:c:pull");
    auth_scope_add(&list, "repository:a/b:push,pull repository:c:pull  repository:a/b:push");
    assert_int_equal(list.n, 2);
    auth_scope_add(&list, "repository:a/b:pull,delete");
    auth_scope_add(&list, " registry:catalog:*");
    auth_scope_add(&list, "repository:c:pul");
    auth_scope_add(&list, "odd");
    auth_scope_add(&list, "odd");
    auth_scope_add(&list, NULL);
    assert_int_equal(list.n, 6);
    struct cb_strbuf many cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (int i = 0; i < 1000; i++)
        cb_strbuf_addf(&many, "repository:r%d:pull ", i);
    auth_scope_add(&list, many.buf);
    assert_int_equal(list.n, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),     cmocka_unit_test(test_several_values), cmocka_unit_test(test_huge),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

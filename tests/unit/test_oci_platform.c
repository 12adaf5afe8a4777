/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/platform.h"
#include "util/alloc.h"

static char *text_of(const struct cb_platform *p)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&sb, p);
    return cb_strbuf_detach(&sb, NULL);
}

static void test_parse(void **state)
{
    (void)state;
    static const char *const t[][2] = {
        { "linux/amd64", "linux/amd64" },          { "Linux/X86_64", "linux/amd64" },
        { "linux/x86-64", "linux/amd64" },         { "linux/amd64/v1", "linux/amd64" },
        { "linux/amd64/v3", "linux/amd64/v3" },    { "linux/aarch64", "linux/arm64" },
        { "linux/arm64/v8", "linux/arm64" },       { "linux/arm64/8", "linux/arm64" },
        { "linux/arm64/v9", "linux/arm64/v9" },    { "linux/arm", "linux/arm/v7" },
        { "linux/arm/6", "linux/arm/v6" },         { "linux/arm/v5", "linux/arm/v5" },
        { "linux/armhf", "linux/arm/v7" },         { "linux/armel", "linux/arm/v6" },
        { "linux/i386", "linux/386" },             { "linux/i686", "linux/386" },
        { "macos/arm64", "darwin/arm64" },         { "windows/amd64", "windows/amd64" },
        { "linux/riscv64", "linux/riscv64" },      { "linux/ppc64le", "linux/ppc64le" },
        { "freebsd/someday", "freebsd/someday" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_cleanup_platform struct cb_platform p = { 0 };
        assert_int_equal(cb_platform_parse(&p, t[i][0], NULL), 0);
        cb_autofree char *have = text_of(&p);
        assert_string_equal(have, t[i][1]);
    }
}

static void test_one_word(void **state)
{
    (void)state;
    cb_cleanup_platform struct cb_platform host = { 0 }, p = { 0 };
    cb_platform_host(&host);
    assert_string_equal(host.os, "linux");
    assert_non_null(host.arch);
    assert_int_equal(cb_platform_parse(&p, "linux", NULL), 0);
    assert_true(cb_platform_eq(&p, &host));
    assert_int_equal(cb_platform_parse(&p, "s390x", NULL), 0);
    assert_string_equal(p.os, host.os);
    assert_string_equal(p.arch, "s390x");
    assert_int_equal(cb_platform_parse(&p, "aarch64", NULL), 0);
    assert_string_equal(p.arch, "arm64");
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           "/",         "linux/",   "/amd64",         "linux//v7", "a/b/c/d",
        "linux/am d", "lin\nux/a", "nonsense", "linux/\xc3\xa9", "all",       "linux/amd64,linux/arm64",
        "linux/amd64/", "linux/../x/y",
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_platform struct cb_platform p = { .os = cb_strdup("kept") };
        assert_int_equal(cb_platform_parse(&p, bad[i], &err), -CB_EUSAGE);
        assert_non_null(err.msg);
        assert_string_equal(p.os, "kept");
    }
}

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *lists[3];
        const char *expected; /* NULL: refused */
    } t[] = {
        { { NULL }, "" },
        { { "linux/amd64" }, "linux/amd64 " },
        { { "linux/amd64,linux/arm64" }, "linux/amd64 linux/arm64 " },
        { { "linux/arm64,linux/amd64", "s390x" }, "linux/arm64 linux/amd64 linux/s390x " },
        { { " linux/amd64 , linux/arm64/v8\t" }, "linux/amd64 linux/arm64 " },
        { { "linux/arm,linux/arm/v7,linux/arm64,linux/arm64/v8", "linux/aarch64" }, "linux/arm/v7 linux/arm64 " },
        { { "linux/amd64/v2,linux/amd64" }, "linux/amd64/v2 linux/amd64 " },
        { { "linux/amd64,", NULL }, NULL },
        { { "" }, NULL },
        { { "linux/amd64,,linux/arm64" }, NULL },
        { { "linux/amd64", "all" }, NULL },
        { { "linux/amd64 linux/arm64" }, NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_strvec lists cb_cleanup_strvec = CB_STRVEC_INIT;
        struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        struct cb_platform *v = NULL;
        size_t n = 0;
        for (size_t k = 0; k < 3 && t[i].lists[k]; k++)
            cb_strvec_push(&lists, t[i].lists[k]);
        int r = cb_platforms_parse(&lists, &v, &n, &err);
        assert_int_equal(r, t[i].expected ? 0 : -CB_EUSAGE);
        for (size_t k = 0; k < n; k++) {
            cb_strbuf_add_platform(&got, &v[k]);
            cb_strbuf_addch(&got, ' ');
        }
        if (t[i].expected)
            assert_string_equal(got.buf, t[i].expected);
        cb_platforms_free(v, n);
    }
}

static void test_local(void **state)
{
    (void)state;
    struct cb_strvec lists cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_cleanup_platform struct cb_platform host = { 0 };
    struct cb_platform *v = NULL;
    size_t n = 0;
    cb_strvec_push(&lists, "local,linux/mips64le,local");
    assert_int_equal(cb_platforms_parse(&lists, &v, &n, NULL), 0);
    cb_platform_host(&host);
    assert_int_equal(n, 2);
    assert_true(cb_platform_eq(&v[0], &host));
    cb_platforms_free(v, n);
}

static int match(const char *want, const char *have)
{
    cb_cleanup_platform struct cb_platform w = { 0 }, h = { 0 };
    assert_int_equal(cb_platform_parse(&w, want, NULL), 0);
    assert_int_equal(cb_platform_parse(&h, have, NULL), 0);
    return cb_platform_match(&w, &h);
}

/* Each list is in falling order of preference; what follows the NULL does not serve at all. */
static void test_match_order(void **state)
{
    (void)state;
    static const struct {
        const char *want;
        const char *best[10];
        const char *no[6];
    } t[] = {
        { "linux/arm/v7",
          { "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
          { "linux/arm/v8", "linux/arm64", "windows/arm/v7" } },
        { "linux/arm/v6",
          { "linux/arm/v6", "linux/arm/v5" },
          { "linux/arm/v7", "linux/arm" } },
        { "linux/amd64",
          { "linux/amd64", "linux/386" },
          { "linux/amd64/v2", "linux/arm64", "darwin/amd64" } },
        { "linux/amd64/v3",
          { "linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386" },
          { "linux/amd64/v4" } },
        { "linux/arm64",
          { "linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6" },
          { "linux/arm64/v9", "linux/amd64" } },
        { "linux/arm64/v9",
          { "linux/arm64/v9", "linux/arm64/v8.5", "linux/arm64/v8.2", "linux/arm64" },
          { "linux/arm64/v9.1", "linux/arm64/v8.6" } },
        { "linux/386",
          { "linux/386" },
          { "linux/amd64" } },
        { "linux/mips/odd",
          { "linux/mips/odd" },
          { "linux/mips", "linux/mips/other" } },
        { "linux/amd64/odd",
          { "linux/amd64/odd", "linux/386" },
          { "linux/amd64", "linux/amd64/v2" } },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        for (size_t k = 0; t[i].best[k]; k++) {
            assert_true(match(t[i].want, t[i].best[k]) > 0);
            if (k)
                assert_true(match(t[i].want, t[i].best[k - 1]) > match(t[i].want, t[i].best[k]));
        }
        for (size_t k = 0; t[i].no[k]; k++)
            assert_int_equal(match(t[i].want, t[i].no[k]), 0);
    }
}

static void test_match_partial(void **state)
{
    (void)state;
    char os[] = "linux", arch[] = "X86_64", win[] = "windows", amd[] = "amd64", v1[] = "10.0.17763.1",
        v2[] = "10.0.17763.99",
         v3[] = "10.0.20348.1", empty[] = "", other[] = "arm64";
    struct cb_platform want = { .os = os, .arch = amd }, none = { 0 }, blank = { .os = empty, .arch = empty };
    struct cb_platform raw = { .os = os, .arch = arch }, only_os = { .os = os }, wrong_os = { .os = win };
    struct cb_platform only_arch = { .arch = other };
    assert_true(cb_platform_match(&want, &raw) > cb_platform_match(&want, &only_os)); /* neither need be normalised */
    assert_int_equal(cb_platform_match(&want, &none), 1);
    assert_int_equal(cb_platform_match(&want, &blank), 1);
    assert_int_equal(cb_platform_match(&want, &only_os), 1);
    assert_int_equal(cb_platform_match(&want, &wrong_os), 0);
    assert_int_equal(cb_platform_match(&want, &only_arch), 0);
    struct cb_platform w = { .os = win, .arch = amd, .os_version = v1 }, same = { .os = win, .arch = amd,
        .os_version = v2 };
    struct cb_platform newer = { .os = win, .arch = amd, .os_version = v3 }, silent = { .os = win, .arch = amd };
    assert_true(cb_platform_match(&w, &same) > 0);
    assert_int_equal(cb_platform_match(&w, &newer), 0);
    assert_true(cb_platform_match(&w, &silent) > 0);
}

static void test_copy_and_eq(void **state)
{
    (void)state;
    cb_cleanup_platform struct cb_platform a = { 0 }, b = { 0 };
    assert_int_equal(cb_platform_parse(&a, "linux/arm/v6", NULL), 0);
    assert_false(cb_platform_eq(&a, &b));
    cb_platform_copy(&b, &a);
    assert_true(cb_platform_eq(&a, &b));
    assert_ptr_not_equal(a.variant, b.variant);
    b.os_version = cb_strdup("1");
    assert_false(cb_platform_eq(&a, &b));
    assert_true(cb_platform_means(&a, &b));
    assert_false(cb_platform_means(&b, &a));
    cb_platform_copy(&b, &b);
    assert_string_equal(b.os_version, "1");
    cb_cleanup_platform struct cb_platform none = { 0 };
    cb_autofree char *unknown = text_of(&none);
    assert_string_equal(unknown, "unknown/unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),       cmocka_unit_test(test_one_word),      cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_lists),       cmocka_unit_test(test_local),
        cmocka_unit_test(test_match_order), cmocka_unit_test(test_match_partial), cmocka_unit_test(test_copy_and_eq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

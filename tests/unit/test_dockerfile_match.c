/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "dockerfile/dockerfile.h"
#include "util/alloc.h"

enum { NO, YES, BAD };

static const struct {
    const char *pattern, *name;
    int expected;
} rows[] = {
    { "", "", YES },
    { "", "a", NO },
    { "abc", "abc", YES },
    { "abc", "abcd", NO },
    { "abcd", "abc", NO },
    { "*", "abc", YES },
    { "*", "", YES },
    { "*", "a/b", NO },
    { "*c", "abc", YES },
    { "a*", "a", YES },
    { "a*", "abc", YES },
    { "a*", "ab/c", NO },
    { "a*/b", "abc/b", YES },
    { "a*/b", "a/c/b", NO },
    { "a*b*c*d*e*/f", "axbxcxdxe/f", YES },
    { "a*b*c*d*e*/f", "axbxcxdxexxx/f", YES },
    { "a*b*c*d*e*/f", "axbxcxdxe/xxx/f", NO },
    { "a*b?c*x", "abxbbxdbxebxczzx", YES },
    { "a*b?c*x", "abxbbxdbxebxczzy", NO },
    { "**", "abc", YES },
    { "**", "a/b", NO },
    { "a**b", "axyb", YES },
    { "ab[c]", "abc", YES },
    { "ab[b-d]", "abc", YES },
    { "ab[e-g]", "abc", NO },
    { "ab[^c]", "abc", NO },
    { "ab[^e-g]", "abc", YES },
    { "ab[cd-f]x", "abex", YES },
    { "[!a]", "!", YES },
    { "[!a]", "b", NO },
    { "a\\*b", "a*b", YES },
    { "a\\*b", "ab", NO },
    { "a?b", "a\xc3\xa9" "b", YES },
    { "a[^a]b", "a\xc3\xa9" "b", YES },
    { "a???b", "a\xc3\xa9" "b", NO },
    { "[a-\xce\xb6]*", "\xce\xb1", YES },
    { "*[a-\xce\xb6]", "A", NO },
    { "a?b", "a/b", NO },
    { "a*b", "a/b", NO },
    { "[\\]a]", "]", YES },
    { "[\\-]", "-", YES },
    { "[x\\-]", "x", YES },
    { "[x\\-]", "z", NO },
    { "[\\-x]", "a", NO },
    { "[z-a]", "m", NO },
    { "*x", "xxx", YES },
    { "]", "]", YES },
    { "a]b", "a]b", YES },
    { "[a]]", "a]", YES },
    { "[]a]", "]", BAD },
    { "[-]", "-", BAD },
    { "[x-]", "x", BAD },
    { "[-x]", "x", BAD },
    { "\\", "a", BAD },
    { "[a-b-c]", "a", BAD },
    { "[", "a", BAD },
    { "[^", "a", BAD },
    { "[^bc", "a", BAD },
    { "a[", "a", BAD },
    { "a[", "ab", BAD },
    { "a[", "x", BAD },
    { "a/b[", "x", BAD },
    { "[\\", "a", BAD },
    { "[a-\\", "a", BAD },
    { "[a-", "a", BAD },
    { "[]", "a", BAD },
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        bool matched = rows[i].expected == NO;
        int e = cb_df_match(rows[i].pattern, rows[i].name, &matched, &err);
        int got = e < 0 ? BAD : matched ? YES : NO;
        if (got != rows[i].expected)
            fail_msg("%s on %s: expected %d, got %d", rows[i].pattern, rows[i].name, rows[i].expected, got);
        if (got == BAD) {
            assert_int_equal(e, -CB_ECONF);
            assert_non_null(strstr(cb_error_text(&err), "bad pattern \""));
        }
    }
}

static void test_has_wildcard(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        bool has;
    } r[] = {
        { "", false }, { "a/b", false }, { "*", true }, { "a?", true }, { "[a]", true }, { "\\*", false },
        { "\\", false },
        { "a\\[b", false }, { "\\\\*", true }, { "]", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(r); i++)
        assert_int_equal(cb_df_has_wildcard(r[i].s), r[i].has);
}

static void test_hostile(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf p = CB_STRBUF_INIT, s = CB_STRBUF_INIT;
    for (int i = 0; i < 2000; i++) {
        cb_strbuf_adds(&p, "*a");
        cb_strbuf_adds(&s, "aa");
    }
    cb_strbuf_adds(&p, "b");
    bool matched = true;
    assert_int_equal(cb_df_match(p.buf, s.buf, &matched, NULL), 0);
    assert_false(matched);
    cb_strbuf_adds(&p, s.buf);
    assert_int_equal(cb_df_match(p.buf, s.buf, &matched, NULL), -CB_ECONF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_has_wildcard), cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

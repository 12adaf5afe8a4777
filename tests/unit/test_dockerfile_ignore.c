/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "dockerfile/dockerfile.h"
#include "util/alloc.h"
#include "util/limits.h"

static struct cb_df_ignore *parsed(const char *text)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_df_ignore *i = cb_df_ignore_parse(".dockerignore", text, strlen(text), &err);
    if (!i)
        fail_msg("%s: %s", text, cb_error_text(&err));
    return i;
}

static const struct {
    const char *rules, *path;
    bool ignored;
} rows[] = {
    { "", "a", false },
    { "# a\n\n  \n", "a", false },
    { " # a", "# a", true },
    { "a", "a", true },
    { "a", "a/b/c", true },
    { "a", "b/a", false },
    { "a", "ab", false },
    { "a/b", "a", false },
    { "a/b", "a/b", true },
    { "a/b", "a/b/c", true },
    { "a/b", "a/bc", false },
    { "a/b", "x/a/b", false },
    { "/a", "a", true },
    { "/a/", "a/b", true },
    { "./a", "a", true },
    { "a/", "a", true },
    { "a//b/./c", "a/b/c", true },
    { "a/../b", "b", true },
    { "a/../b", "a", false },
    { "../a", "a", false },
    { "/../a", "a", true },
    { "/", "a", false },
    { ".", "a", false },
    { "  a  ", "a", true },
    { "a\r\nb\r\n", "b", true },
    { "\xef\xbb\xbf" "a", "a", true },
    { "\xef\xbb\xbf# a", "a", false },
    { "*", "a", true },
    { "*", "a/b", true },
    { "*.log", "x.log", true },
    { "*.log", ".log", true },
    { "*.log", "a/x.log", false },
    { "*.log", "x.log/a", true },
    { "a*", "b", false },
    { "a*c", "abbc", true },
    { "a*c", "ac", true },
    { "a*c", "aXcX", false },
    { "aba*aba", "ababa", false },
    { "*/b", "a/b", true },
    { "*/b", "b", false },
    { "*/b", "a/c/b", false },
    { "*/*", "a", false },
    { "*/*", "a/b", true },
    { "a?c", "abc", true },
    { "a?c", "ac", false },
    { "a?c", "a/c", false },
    { "?", "\xc3\xa9", true },
    { "??", "\xc3\xa9", false },
    { "?", "\xff", true },
    { "\xff*", "\xff" "a", true },
    { "[a-c]x", "bx", true },
    { "[a-c]x", "dx", false },
    { "[^a-c]x", "dx", true },
    { "[^a-c]x", "ax", false },
    { "[\\]]", "]", true },
    { "[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true },
    { "\\*", "*", true },
    { "\\*", "a", false },
    { "\\!a", "!a", true },
    { "\\#a", "#a", true },
    { "a+(b).c", "a+(b).c", true },
    { "a.c", "abc", false },
    { "**", "a/b", true },
    { "**", "a", true },
    { "**/", "a/b", true },
    { "**/a", "a", true },
    { "**/a", "x/y/a", true },
    { "**/a", "x/y/a/z", true },
    { "**/a", "xa", false },
    { "**/*.o", "x.o", true },
    { "**/*.o", "a/b/x.o", true },
    { "**/*.o", "a/b/x.oo", false },
    { "**/a*b", "x/ab/y", true },
    { "**/a/b", "x/a/b", true },
    { "**/a/b", "a/b", true },
    { "**/a/b", "x/a/c/b", false },
    { "**.log", "a/x.log", true },
    { "**.log", "x.log", true },
    { "**foo", "a/barfoo", true },
    { "**foo*", "a/barfoo", false },
    { "**foo*", "a/foobar", true },
    { "a/**", "a", false },
    { "a/**", "a/b/c", true },
    { "a**", "abc/d", true },
    { "a/**/b", "a/b", true },
    { "a/**/b", "a/x/y/b", true },
    { "a/**/b", "a/xb", false },
    { "a/**/b", "ab", false },
    { "**/**/a", "x/a", true },
    { "**/x/**", "a/x/b", true },
    { "**/x/**", "a/x", false },
    { "a/*/**/c", "a/b/c", true },
    { "a/*/**/c", "a/c", false },
    { "***", "a/b", true },
    { "*\n!a", "a", false },
    { "*\n!a", "a/b", false },
    { "*\n!a", "b", true },
    { "*\n!a/b", "a/b/c", false },
    { "*\n!a/b", "a/c", true },
    { "*\n! a ", "a", false },
    { "!a\n*", "a", true },
    { "a\n!a/b\na/b/c", "a/b/c", true },
    { "a\n!a/b\na/b/c", "a/b/d", false },
    { "*.md\n!README*.md\nREADME-secret.md", "README.md", false },
    { "*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true },
    { "**\n!**/*.c", "a/b.c", false },
    { "**\n!**/*.c", "a/b.h", true },
    { "!../x\n*", "x", true },
    { "a", ".", false },
    { "*", "", false },
    { "a", "a/", true },
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = parsed(rows[i].rules);
        if (cb_df_ignored(ig, rows[i].path) != rows[i].ignored)
            fail_msg("rules \"%s\", path \"%s\": expected %d", rows[i].rules, rows[i].path, rows[i].ignored);
    }
    assert_false(cb_df_ignored(NULL, "a"));
    assert_false(cb_df_ignore_may_reinclude(NULL, "a"));
}

static void test_reinclude(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *dir;
        bool may;
    } r[] = {
        { "a", "a", false },
        { "a\n!b", "a", false },
        { "a\n!a/b", "a", true },
        { "a\n!a/b/c", "a", true },
        { "a\n!a/b/c", "a/b", true },
        { "a\n!a/b/c", "a/x", false },
        { "!a/b\na", "a", false },
        { "a\n!**/x", "a", true },
        { "a\n!**/x", "a/b/c", true },
        { "*\n!*.c", "a", false },
        { "*\n!*/x", "a", true },
        { "*\n!*/x", "a/b", false },
        { "a\n!a*/x", "a", true },
        { "a\n!ab", "a", false },
        { "a\n!a?/x", "a", false },
        { "a\n!**.c", "a", true },
        { "a\n!a/b\na", "a", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(r); i++) {
        CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = parsed(r[i].rules);
        if (cb_df_ignore_may_reinclude(ig, r[i].dir) != r[i].may)
            fail_msg("rules \"%s\", dir \"%s\": expected %d", r[i].rules, r[i].dir, r[i].may);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *message;
    } r[] = {
        { "a\n!\n", "D:2: \"!\" names no pattern: write !pattern" },
        { "!  ", "D:1: \"!\" names no pattern: write !pattern" },
        { "# x\n\n[a", "D:3: bad pattern \"[a\": ] is missing" },
        { "[]", "D:1: bad pattern \"[]\": there is nothing between [ and ]" },
        { "[^]", "D:1: bad pattern \"[^]\": there is nothing between [ and ]" },
        { "[a-]", "D:1: bad pattern \"[a-]\": there is nothing between [ and ]" },
        { "[-a]", "D:1: bad pattern \"[-a]\": write \\- for a dash between [ and ]" },
        { "a\\", "D:1: bad pattern \"a\\\": a character is missing behind \\" },
        { "!x[", "D:1: bad pattern \"x[\": ] is missing" },
        { "\x1b[", "D:1: bad pattern \"\\x1b[\": ] is missing" },
        { "\xff\xfe" "a", "D:1: the file is UTF-16: save it as UTF-8" },
    };
    for (size_t i = 0; i < CB_COUNTOF(r); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        assert_null(cb_df_ignore_parse("D", r[i].rules, strlen(r[i].rules), &err));
        assert_int_equal(err.code, CB_ECONF);
        assert_string_equal(cb_error_text(&err), r[i].message);
    }
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_null(cb_df_ignore_parse("D", "a\nb\0c", 5, &err));
    assert_string_equal(cb_error_text(&err), "D:2: NUL byte: this is no text file");
}

static void test_patterns(void **state)
{
    (void)state;
    cb_cleanup_strvec struct cb_strvec v = CB_STRVEC_INIT;
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *none = cb_df_ignore_from_patterns(&v, NULL);
    assert_non_null(none);
    assert_false(cb_df_ignored(none, "a"));
    cb_strvec_push(&v, "#a");
    cb_strvec_push(&v, " ");
    cb_strvec_push(&v, "*.o");
    cb_strvec_push(&v, "/*.c");
    cb_strvec_push(&v, "!keep.o");
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = cb_df_ignore_from_patterns(&v, NULL);
    assert_true(cb_df_ignored(ig, "#a")); /* no comments here */
    assert_true(cb_df_ignored(ig, "x.o"));
    assert_false(cb_df_ignored(ig, "x.c")); /* only the reader of a file takes the slash away */
    assert_false(cb_df_ignored(ig, "keep.o"));
    cb_strvec_push(&v, "[");
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_null(cb_df_ignore_from_patterns(&v, &err));
    assert_string_equal(cb_error_text(&err), "bad pattern \"[\": ] is missing");
}

static char *repeat(const char *s, size_t n, const char *tail)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    for (size_t i = 0; i < n; i++)
        cb_strbuf_adds(&sb, s);
    cb_strbuf_adds(&sb, tail);
    return cb_strbuf_detach(&sb, NULL);
}

/* F1: patterns that make a backtracking matcher run for years. */
static void test_hostile(void **state)
{
    (void)state;
    cb_autofree char *a = repeat("a", 4000, ""), *dirs = repeat("a/", 2000, "a");
    static const struct {
        const char *unit;
        size_t n;
        const char *tail;
    } r[] = {
        { "*a", 1900, "b" }, { "**/a/", 600, "b" }, { "*", 4000, "b" }, { "**/*a", 800, "b" }, { "?*", 2000, "b" },
        { "[a-z]*", 600, "0" }, { "**a", 1300, "b" },
    };
    struct timespec t0, t1;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (size_t i = 0; i < CB_COUNTOF(r); i++) {
        cb_autofree char *rule = repeat(r[i].unit, r[i].n, r[i].tail);
        CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = parsed(rule);
        assert_false(cb_df_ignored(ig, a));
        assert_false(cb_df_ignored(ig, dirs));
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    assert_true(t1.tv_sec - t0.tv_sec < 20); /* under sanitizers on a busy machine; a fraction of a second otherwise */
}

static void test_many_rules(void **state)
{
    (void)state;
    cb_autofree char *same = repeat("**/x\n", 100000, "");
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = parsed(same);
    assert_true(cb_df_ignored(ig, "a/b/c/d/x"));
    assert_false(cb_df_ignored(ig, "a/b/c/d/y"));
    cb_autofree char *one_line = repeat("**/", 1300, "x");
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig2 = parsed(one_line);
    assert_true(cb_df_ignored(ig2, "a/b/x"));
    assert_true(cb_df_ignored(ig2, "x"));
    assert_false(cb_df_ignored(ig2, "ax"));
}

static void test_limits(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_autofree char *longest = repeat("a", CB_MAX_PATH, ""), *more = repeat("a", CB_MAX_PATH + 1, "");
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = parsed(longest);
    assert_true(cb_df_ignored(ig, longest));
    assert_null(cb_df_ignore_parse("D", more, strlen(more), &err));
    assert_non_null(strstr(cb_error_text(&err), "4097 bytes are too many, at most 4096"));
    cb_autofree char *big = repeat("a\n", CB_MAX_DOCKERIGNORE / 2, "b");
    assert_null(cb_df_ignore_parse("D", big, strlen(big), &err));
    assert_string_equal(cb_error_text(&err), "D:1: 1048577 bytes are too many: at most 1048576 are read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_reinclude), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_patterns), cmocka_unit_test(test_hostile), cmocka_unit_test(test_many_rules),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

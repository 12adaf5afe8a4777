/* SPDX-License-Identifier: Apache-2.0 */
/* How people write repositories and URLs, and what they must not be taken for (F5). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "build/fetch.h"
#include "util/alloc.h"

/* ---- what is a repository at all ---- */

static const struct {
    const char *text;
    bool add, context;
} forms[] = {
    { "https://h/x.git", true, true },
    { "HTTPS://h/x.git", true, true },
    { "http://h/x.git", true, true },
    { "https://h/x.git#main", true, true },
    { "https://h/x.git?ref=main", true, true },
    { "https://h/a/b/x.git#main:dir", true, true },
    { "https://h/x", false, false },
    { "https://h/x.git/y", false, false },
    { "https://h/.git", true, true },
    { "https://h/x?y.git", false, false },
    { "https://h/x#y.git", false, false },
    { "https://x.git", false, false },
    { "ssh://git@h/x", true, true },
    { "ssh://h/x.git", true, true },
    { "git://h/x", true, true },
    { "git@h:x", true, true },
    { "me@host.example:a/b.git#dev", true, true },
    { "github.com/a/b", false, true },
    { "github.company.com/a/b", false, false },
    { "./git@h:x", false, false },
    { "a/git@h:x", false, false },
    { "git@h/x", false, false },
    { "@h:x", false, false },
    { "file:///x.git", false, false },
    { "ftp://h/x.git", false, false },
    { "ext::sh -c touch% /x", false, false },
    { "docker-image://x", false, false },
    { "x.git", false, false },
    { "-", false, false },
    { "", false, false },
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(forms); i++)
        if (cb_git_is_ref(forms[i].text, false) != forms[i].add ||
            cb_git_is_ref(forms[i].text, true) != forms[i].context)
            fail_msg("%s", forms[i].text);
}

/* ---- what is in it; url NULL: refused ---- */

enum { KEEP = 1, MODULES = 2, CHECKOUT = 4, BY_COMMIT = 8 };
#define SHA "0123456789abcdef0123456789abcdef01234567"

static const struct {
    const char *text, *url, *ref, *checksum, *subdir;
    unsigned flags;
} rows[] = {
    { "https://h/x.git", "https://h/x.git", NULL, NULL, NULL, 0 },
    { "HTTPS://h/x.git", "https://h/x.git", NULL, NULL, NULL, 0 },
    { "http://h:8080/x.git", "http://h:8080/x.git", NULL, NULL, NULL, 0 },
    { "https://h/x.git#", "https://h/x.git", NULL, NULL, NULL, 0 },
    { "https://h/x.git#main", "https://h/x.git", "main", NULL, NULL, 0 },
    { "https://h/x.git#:dir", "https://h/x.git", NULL, NULL, "dir", 0 },
    { "https://h/x.git#:/dir/", "https://h/x.git", NULL, NULL, "dir", 0 },
    { "https://h/x.git#main:a/b", "https://h/x.git", "main", NULL, "a/b", 0 },
    { "https://h/x.git#main:/", "https://h/x.git", "main", NULL, NULL, 0 },
    { "https://h/x.git#feature/a.b-c_d", "https://h/x.git", "feature/a.b-c_d", NULL, NULL, 0 },
    { "https://h/x.git#a%2Fb", "https://h/x.git", "a/b", NULL, NULL, 0 },
    { "https://h/x.git#refs/pull/1/head", "https://h/x.git", "refs/pull/1/head", NULL, NULL, 0 },
    { "https://h/x.git#" SHA, "https://h/x.git", SHA, NULL, NULL, 0 },
    { "https://h/x.git?ref=main", "https://h/x.git", "main", NULL, NULL, 0 },
    { "https://h/x.git?ref=main#main", "https://h/x.git", "main", NULL, NULL, 0 },
    { "https://h/x.git?tag=v1", "https://h/x.git", "refs/tags/v1", NULL, NULL, 0 },
    { "https://h/x.git?tag=refs/tags/v1", "https://h/x.git", "refs/tags/v1", NULL, NULL, 0 },
    { "https://h/x.git?branch=dev&subdir=a", "https://h/x.git", "refs/heads/dev", NULL, "a", 0 },
    { "https://h/x.git?commit=" SHA, "https://h/x.git", SHA, SHA, NULL, 0 },
    { "https://h/x.git?checksum=0123456#main", "https://h/x.git", "main", "0123456", NULL, 0 },
    { "https://h/x.git?keep-git-dir", "https://h/x.git", NULL, NULL, NULL, KEEP },
    { "https://h/x.git?keep-git-dir=true&submodules=1", "https://h/x.git", NULL, NULL, NULL, KEEP | MODULES },
    { "https://h/x.git?keep-git-dir=false&submodules=F", "https://h/x.git", NULL, NULL, NULL, 0 },
    { "https://h/x.git?mtime=checkout", "https://h/x.git", NULL, NULL, NULL, CHECKOUT },
    { "https://h/x.git?mtime=commit", "https://h/x.git", NULL, NULL, NULL, 0 },
    { "https://h/x.git?commit=" SHA "&fetch-by-commit=true", "https://h/x.git", SHA, SHA, NULL, BY_COMMIT },
    { "https://h/x.git?&ref=a&", "https://h/x.git", "a", NULL, NULL, 0 },
    { "ssh://git@h:2222/a/x.git#v1", "ssh://git@h:2222/a/x.git", "v1", NULL, NULL, 0 },
    { "ssh://h/x", "ssh://h/x", NULL, NULL, NULL, 0 },
    { "ssh://git@[::1]:22/x", "ssh://git@[::1]:22/x", NULL, NULL, NULL, 0 },
    { "git://h/x.git", "git://h/x.git", NULL, NULL, NULL, 0 },
    { "git@h:a/x.git#main:d", "git@h:a/x.git", "main", NULL, "d", 0 },
    { "git@h:/abs/x.git?ref=q", "git@h:/abs/x.git", "q", NULL, NULL, 0 },
    { "github.com/a/b#c", "https://github.com/a/b", "c", NULL, NULL, 0 },
    /* options in disguise */
    { "https://h/x.git#--upload-pack=touch", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#-u", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?ref=--upload-pack%3Dx", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#%2D-upload-pack=x", NULL, NULL, NULL, NULL, 0 },
    { "ssh://-oProxyCommand=touch/x", NULL, NULL, NULL, NULL, 0 },
    { "ssh://-oProxyCommand=touch@h/x", NULL, NULL, NULL, NULL, 0 },
    { "ssh://h/-x", NULL, NULL, NULL, NULL, 0 },
    { "git@-oProxyCommand=x:y", NULL, NULL, NULL, NULL, 0 },
    { "git@-h:y", NULL, NULL, NULL, NULL, 0 },
    { "-x@h:y", NULL, NULL, NULL, NULL, 0 },
    { "git@h:-x", NULL, NULL, NULL, NULL, 0 },
    { "git@h:", NULL, NULL, NULL, NULL, 0 },
    { "git://-h/x", NULL, NULL, NULL, NULL, 0 },
    /* credentials */
    { "https://u:p@h/x.git", NULL, NULL, NULL, NULL, 0 },
    { "https://token@h/x.git", NULL, NULL, NULL, NULL, 0 },
    { "ssh://u:p@h/x.git", NULL, NULL, NULL, NULL, 0 },
    { "git://u@h/x.git", NULL, NULL, NULL, NULL, 0 },
    /* names that are no names */
    { "https://h/x.git#a..b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a%20b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a^{tree}", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#HEAD~1", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#@{-1}", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#@", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#+a", "https://h/x.git", "+a", NULL, NULL, 0 },
    { "https://h/x.git#a*", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#x.lock", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#/a", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git##ref=a", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a$(id)", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a;b", NULL, NULL, NULL, NULL, 0 },
    /* directories that lead out */
    { "https://h/x.git#main:../up", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#main:a/../../up", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#main:%2e%2e/up", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?subdir=..", NULL, NULL, NULL, NULL, 0 },
    /* control characters */
    { "https://h/x.git#a\rb", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a%0ab", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#a%00b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?ref=a%0d", NULL, NULL, NULL, NULL, 0 },
    { "https://h/\nx.git", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git#%zz", NULL, NULL, NULL, NULL, 0 },
    /* queries */
    { "https://h/x.git?nosuch=1", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?ref=", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?ref=a&ref=a", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?ref=a#b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?tag=a&branch=b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?tag=a#b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?subdir=a#m:b", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?keep-git-dir=maybe", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?mtime=now", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?commit=xyz", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?commit=012345", NULL, NULL, NULL, NULL, 0 },
    { "https://h/x.git?fetch-by-commit=true", NULL, NULL, NULL, NULL, 0 },
    { "https://h:99999/x.git", NULL, NULL, NULL, NULL, 0 },
    { "ssh://h:0/x", NULL, NULL, NULL, NULL, 0 },
    { "ssh:///x", NULL, NULL, NULL, NULL, 0 },
    { "ssh://h", NULL, NULL, NULL, NULL, 0 },
};

static unsigned flags_of(const struct cb_git_ref *g)
{
    return (g->keep_git_dir ? KEEP : 0u) | (g->submodules ? MODULES : 0u) | (g->mtime_checkout ? CHECKOUT : 0u) |
           (g->fetch_by_commit ? BY_COMMIT : 0u);
}

static void test_rows(void **state)
{
    (void)state;
    assert_true(CB_COUNTOF(rows) > 60);
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct cb_git_ref g cb_cleanup_git_ref = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        int r = cb_git_ref_parse(&g, rows[i].text, &err);
        if ((r == 0) != (rows[i].url != NULL))
            fail_msg("%s: %d %s", rows[i].text, r, cb_error_text(&err));
        if (r < 0) {
            assert_int_equal(r, -CB_ECONF);
            assert_null(strstr(cb_error_text(&err), "u:p@"));
            assert_null(g.url);
            continue;
        }
        if (!cb_streq(g.url, rows[i].url) || !cb_streq(g.ref, rows[i].ref) ||
            !cb_streq(g.checksum, rows[i].checksum) || !cb_streq(g.subdir, rows[i].subdir) ||
            flags_of(&g) != rows[i].flags)
            fail_msg("%s: %s %s %s %s %u", rows[i].text, g.url, g.ref ? g.ref : "-", g.checksum ? g.checksum : "-",
                     g.subdir ? g.subdir : "-", flags_of(&g));
    }
}

/* ---- the name of a file ---- */

static const struct {
    const char *url, *name;
} names[] = {
    { "http://h/x.txt", "x.txt" },
    { "http://h/a/b/x.txt?q=/y#/z", "x.txt" },
    { "http://h/a%20b", "a b" },
    { "http://h/a%2Fb", "b" },
    { "http://h/%2e%2e%2fpasswd", "passwd" },
    { "http://h/..", NULL },
    { "http://h/a/%2e%2e", NULL },
    { "http://h/.", NULL },
    { "http://h/", NULL },
    { "http://h", NULL },
    { "http://h?x", NULL },
    { "http://h/a/", NULL },
    { "http://h/a%0ab", NULL },
    { "http://h/a%00b", NULL },
    { "http://h/a%zz", NULL },
    { "no url", NULL },
};

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        cb_autofree char *name = cb_url_file_name(names[i].url);
        if (!cb_streq(name, names[i].name))
            fail_msg("%s: %s", names[i].url, name ? name : "none");
    }
    cb_autofree char *a = cb_asprintf("http://h/%0300d", 1), *none = cb_url_file_name(a);
    assert_null(none);
}

static void test_words(void **state)
{
    (void)state;
    cb_autofree char *scheme = cb_url_scheme("FTP://x"), *none = cb_url_scheme("C:\\x"), *empty = cb_url_scheme("://x");
    assert_string_equal(scheme, "ftp");
    assert_null(none);
    assert_null(empty);
    assert_true(cb_url_is_http("Http://x"));
    assert_false(cb_url_is_http("httpx://x"));
    assert_true(cb_git_is_commit(SHA));
    assert_false(cb_git_is_commit("0123456"));
    assert_true(cb_git_is_checksum("0123456"));
    assert_false(cb_git_is_checksum("012345G"));
    assert_int_equal(cb_http_mtime("Thu, 04 Mar 2021 05:06:07 GMT"), 1614834367);
    assert_int_equal(cb_http_mtime("nonsense"), 0);
    assert_int_equal(cb_http_mtime(NULL), 0);
}

static void test_context_names(void **state)
{
    (void)state;
    static const char *const v[][2] = {
        { "busybox", "busybox" }, { "docker.io/library/busybox:latest", "busybox" }, { "busybox:1", "busybox:1" },
        { "ghcr.io/a/b:latest", "ghcr.io/a/b" }, { "lib", "lib" }, { "Not A Name", "Not A Name" },
        { "busybox:latest::linux/arm64", "busybox::linux/arm64" },
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        cb_autofree char *name = cb_context_name(v[i][0]);
        assert_string_equal(name, v[i][1]);
    }
}

static void test_context_check(void **state)
{
    (void)state;
    static const char *const good[] = { ".", "dir", "https://h/x.tar", "https://h/x.git#a:b", "git@h:x", "ext::sh" };
    static const char *const bad[] = { "ftp://h/x", "file:///x", "https://h/x.git#-a", "s3://b/k" };
    for (size_t i = 0; i < CB_COUNTOF(good); i++)
        assert_int_equal(cb_context_check("x", good[i], false, NULL), 0);
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_int_equal(cb_context_check("x", bad[i], true, NULL), -CB_EUSAGE);
    assert_int_equal(cb_context_check("x", "docker-image://y", true, NULL), 0);
    assert_int_equal(cb_context_check("x", "docker-image://y", false, NULL), -CB_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms), cmocka_unit_test(test_rows), cmocka_unit_test(test_names),
        cmocka_unit_test(test_words), cmocka_unit_test(test_context_names), cmocka_unit_test(test_context_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/reference.h"
#include "util/alloc.h"

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define D "@sha256:" HEX
#define D512 "@sha512:" HEX HEX
#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X120 X50 X50 X10 X10

/* Text, canonical form, familiar form where it is another than the text. */
static const struct {
    const char *text, *canonical, *familiar;
} valid[] = {
    { "busybox", "docker.io/library/busybox", NULL },
    { "busybox:1.36", "docker.io/library/busybox:1.36", NULL },
    { "busybox" D, "docker.io/library/busybox" D, NULL },
    { "busybox:1.36" D, "docker.io/library/busybox:1.36" D, NULL },
    { "busybox" D512, "docker.io/library/busybox" D512, NULL },
    { "scratch", "docker.io/library/scratch", NULL },
    { "library/busybox", "docker.io/library/busybox", "busybox" },
    { "docker.io/busybox", "docker.io/library/busybox", "busybox" },
    { "docker.io/library/busybox:x", "docker.io/library/busybox:x", "busybox:x" },
    { "index.docker.io/busybox", "docker.io/library/busybox", "busybox" },
    { "index.docker.io/me/app" D, "docker.io/me/app" D, "me/app" D },
    { "me/app", "docker.io/me/app", NULL },
    { "me/app/part:v1", "docker.io/me/app/part:v1", NULL },
    { "library/a/b", "docker.io/library/a/b", NULL },
    { "docker.io/library", "docker.io/library/library", "library" },
    { "localhost", "docker.io/library/localhost", NULL },
    { "localhost:5000", "docker.io/library/localhost:5000", NULL }, /* no slash: a tag */
    { "localhost/x", "localhost/x", NULL },
    { "localhost:5000/x", "localhost:5000/x", NULL },
    { "localhost:5000/x:y" D, "localhost:5000/x:y" D, NULL },
    { "docker.io/localhost/x", "docker.io/localhost/x", NULL }, /* shorter would name another host */
    { "docker.io/a.b/c", "docker.io/a.b/c", NULL },
    { "registry.example/team/myapp:1.0", "registry.example/team/myapp:1.0", NULL },
    { "registry.example:443/a", "registry.example:443/a", NULL },
    { "h:1/x", "h:1/x", NULL },
    { "h:65535/x", "h:65535/x", NULL },
    { "127.0.0.1:5000/x", "127.0.0.1:5000/x", NULL },
    { "10.0.0.1/x", "10.0.0.1/x", NULL },
    { "[::1]:5000/x", "[::1]:5000/x", NULL },
    { "[::1]/x:t", "[::1]/x:t", NULL },
    { "[2001:DB8::1]:5000/x" D, "[2001:DB8::1]:5000/x" D, NULL },
    { "A/b", "A/b", NULL }, /* upper case makes it a host */
    { "Example.com/b", "Example.com/b", NULL },
    { "xn--n3h.com/b", "xn--n3h.com/b", NULL },
    { "my-host.local/b", "my-host.local/b", NULL },
    { "a.b.c/d/e/f/g:h", "a.b.c/d/e/f/g:h", NULL },
    { "a--b/c__d/e_f/g.h/i---j", "docker.io/a--b/c__d/e_f/g.h/i---j", NULL },
    { "0/1", "docker.io/0/1", NULL },
    { "x:_", "docker.io/library/x:_", NULL },
    { "x:A.b-c_D", "docker.io/library/x:A.b-c_D", NULL },
    { "x:" X120 "12345678", "docker.io/library/x:" X120 "12345678", NULL }, /* 128 */
    { "x:" HEX, "docker.io/library/x:" HEX, NULL },
    { "library/" HEX, "docker.io/library/" HEX, NULL }, /* the short form is an image id */
    { "h.x/" X120 X120 X10 "abcde", "h.x/" X120 X120 X10 "abcde", NULL }, /* 255 */
    { "docker.io", "docker.io/library/docker.io", NULL }, /* no slash: a name */
    { HEX "0", "docker.io/library/" HEX "0", NULL },
};

static const char *const invalid[] = {
    "",
    " ",
    "/",
    "/x",
    "x/",
    "x//y",
    "docker.io/",
    "localhost:5000/",
    "Busybox",
    "me/App",
    "h.x/A/b",
    "-x/y",
    "x-/y",
    "_x",
    ".x",
    "x.",
    "x..y",
    "x._y",
    "x___y",
    "a/../b",
    "../a",
    "./a",
    "h.x/a/../b",
    "x y",
    "x\ty",
    "x\ny",
    "x:",
    "x:-t",
    "x:.t",
    "x:t:u",
    "x:t/u",                /* "x:t" is then a host whose port is no number */
    "x:" X120 "123456789",  /* 129 */
    "x:t\xc3\xa9",
    "\xc3\xa9/x",
    "x@",
    "x@y",
    "x@y@z",
    "x" D "@" "y",
    "x" D ":t",
    "@sha256:" HEX,
    "x@sha256:" "abc",
    "x@sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "x@sha512:" HEX,
    "x@SHA256:" HEX,
    "x@md5:d41d8cd98f00b204e9800998ecf8427e",
    "x@sha256:../../" HEX,
    HEX,
    "h:99999/x",
    "h:65536/x",
    "h:0/x",
    "h:/x",
    "h:-1/x",
    "h:5a/x",
    "h:000080/x",
    "-h.x/y",
    "h-.x/y",
    "h..x/y",
    "h_h.x/y",
    ".x/y",
    "user@h.x/y",
    "http://h.x/y",
    "h.x?/y",
    "[::1/x",
    "[::1]x/y",
    "[::1]:/x",
    "[::1]",
    "[]/x",
    "[:::]/x",
    "[12345::]/x",
    "[fe80::1%eth0]/x",
    "[127.0.0.1]/x",
    "h.x/" X120 X120 X10 "abcdef", /* 256 */
    "h.x/" X120 X120 "/" X120 X120 "/" X50, /* too long altogether */
};

static void check_valid(const char *text, const char *canonical, const char *familiar)
{
    cb_cleanup_reference struct cb_reference r = { 0 }, again = { 0 };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    if (cb_reference_parse(&r, text, &err) < 0)
        fail_msg("%s: %s", text, cb_error_text(&err));
    cb_autofree char *have = cb_reference_text(&r);
    assert_string_equal(have, canonical);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_familiar(&sb, &r);
    assert_string_equal(sb.buf, familiar);
    /* Both forms mean the same. */
    assert_int_equal(cb_reference_parse(&again, sb.buf, NULL), 0);
    cb_autofree char *from_familiar = cb_reference_text(&again);
    assert_string_equal(from_familiar, canonical);
    assert_int_equal(cb_reference_parse(&again, canonical, NULL), 0);
    cb_autofree char *from_canonical = cb_reference_text(&again);
    assert_string_equal(from_canonical, canonical);
}

static void test_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(valid); i++)
        check_valid(valid[i].text, valid[i].canonical, valid[i].familiar ? valid[i].familiar : valid[i].text);
}

static void test_invalid(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(invalid); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_reference struct cb_reference r = { .repo = cb_strdup("kept") };
        if (cb_reference_parse(&r, invalid[i], &err) != -CB_ECONF)
            fail_msg("\"%s\" was taken", invalid[i]);
        assert_int_equal(err.code, CB_ECONF);
        assert_true(strncmp(err.msg, "image reference \"", 17) == 0);
        assert_string_equal(r.repo, "kept");
        assert_null(r.host);
    }
    assert_int_equal(cb_reference_parse(&(struct cb_reference){ 0 }, NULL, NULL), -CB_ECONF);
}

static void test_parts(void **state)
{
    (void)state;
    cb_cleanup_reference struct cb_reference r = { 0 }, copy = { 0 };
    assert_int_equal(cb_reference_parse(&r, "[::1]:5000/a/b:c" D512, NULL), 0);
    assert_string_equal(r.host, "[::1]:5000");
    assert_string_equal(r.repo, "a/b");
    assert_string_equal(r.tag, "c");
    assert_int_equal(r.digest.alg, CB_DIGEST_SHA512);
    cb_reference_copy(&copy, &r);
    cb_reference_copy(&copy, &copy);
    assert_string_equal(copy.tag, "c");
    assert_true(cb_digest_eq(&copy.digest, &r.digest));
    assert_ptr_not_equal(copy.host, r.host);
    assert_int_equal(cb_reference_parse(&r, "x", NULL), 0);
    assert_null(r.tag);
    assert_false(cb_digest_is_set(&r.digest));
}

static void test_default_tag(void **state)
{
    (void)state;
    static const char *const t[][2] = {
        { "x", "docker.io/library/x:latest" },
        { "x:1", "docker.io/library/x:1" },
        { "x" D, "docker.io/library/x" D },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_cleanup_reference struct cb_reference r = { 0 };
        assert_int_equal(cb_reference_parse(&r, t[i][0], NULL), 0);
        cb_reference_default_tag(&r);
        cb_autofree char *text = cb_reference_text(&r);
        assert_string_equal(text, t[i][1]);
    }
}

static void test_messages(void **state)
{
    (void)state;
    static const char *const t[][2] = {
        { "me/App", "image reference \"me/App\": the repository name must be lower case" },
        { "", "image reference \"\": it is empty" },
        { "https://h.x/a:1", "image reference \"https://h.x/a:1\": leave out https://: a name begins with the "
                             "registry's host" },
        { "docker://h.x/a", "image reference \"docker://h.x/a\": leave out docker://: a name begins with the "
                            "registry's host" },
        { "http:/x", "image reference \"http:/x\": \"http:\" is no host or host:port" },
        { "h:99999/x", "image reference \"h:99999/x\": \"h:99999\" is no host or host:port" },
        { "x:-", "image reference \"x:-\": \"-\" is no tag (letters, digits, _ . -, at most 128)" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        assert_int_equal(cb_reference_parse(&(struct cb_reference){ 0 }, t[i][0], &err), -CB_ECONF);
        assert_string_equal(err.msg, t[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid), cmocka_unit_test(test_invalid),     cmocka_unit_test(test_parts),
        cmocka_unit_test(test_default_tag), cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "copy/copy.h"
#include "util/alloc.h"

#define D "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void places_are_told_apart_by_their_transport(void **state)
{
    (void)state;
    static const struct { const char *text; enum cb_transport transport; const char *path, *name; bool digest; } t[] = {
        { "busybox", CB_AT_REGISTRY, NULL, NULL, false },
        { "docker://h:5000/a/b:1", CB_AT_REGISTRY, NULL, NULL, false },
        { "oci:dir", CB_AT_OCI_DIR, "dir", NULL, false },
        { "oci:/a/b:1.0", CB_AT_OCI_DIR, "/a/b", "1.0", false },
        { "oci:/a/b:docker.io/library/x:1", CB_AT_OCI_DIR, "/a/b", "docker.io/library/x:1", false },
        { "oci:/a/b@" D, CB_AT_OCI_DIR, "/a/b", NULL, true },
        { "oci-archive:x.tar:v", CB_AT_OCI_ARCHIVE, "x.tar", "v", false },
        { "docker-archive:x.tar:a/b", CB_AT_DOCKER_ARCHIVE, "x.tar", "docker.io/a/b:latest", false },
        { "docker-archive:x.tar", CB_AT_DOCKER_ARCHIVE, "x.tar", NULL, false },
        { "store:my/app:1", CB_AT_STORE, "my/app:1", NULL, false },
        { "dir:/a/b:c@d", CB_AT_DIR, "/a/b:c@d", NULL, false },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_place p cb_cleanup_place = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (cb_place_parse(&p, t[i].text, &e) < 0)
            fail_msg("%s: %s", t[i].text, cb_error_text(&e));
        assert_int_equal(p.transport, t[i].transport);
        assert_true(cb_streq(p.path, t[i].path));
        assert_true(cb_streq(p.name, t[i].name));
        assert_int_equal(cb_digest_is_set(&p.digest), t[i].digest);
    }
}

static void what_is_no_place_is_refused_with_what_to_write(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } t[] = {
        { "containers-storage:x", "podman save" }, { "docker-daemon:x:1", "docker save" },
        { "dir:", "needs a path" },                { "oci-layout://x", "oci:DIR" },
        { "docker:x", "docker://" },               { "http://h/x", "--insecure-registry" },
        { "oci:", "path is missing" },             { "oci::tag", "path is missing" },
        { "oci:x:a b", "no name" },                { "oci:x@sha256:12", "sha256" },
        { "store:", "needs the name" },            { "docker-archive:x:UPPER CASE", "no name" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_place p cb_cleanup_place = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        assert_int_equal(cb_place_parse(&p, t[i].text, &e), -CB_EUSAGE);
        if (!strstr(cb_error_text(&e), t[i].says))
            fail_msg("%s: %s", t[i].text, cb_error_text(&e));
    }
}

static void a_target_has_the_tag_that_was_written_or_a_default(void **state)
{
    (void)state;
    static const struct { const char *text, *tag; } t[] = {
        { "h.example/a", "latest" },   { "h.example/a:2", "2" },     { "h.example/a@" D, NULL },
        { "oci:x", NULL },             { "oci:x:3", "3" },           { "store:a/b", "latest" },
        { "store:h.example/b:4", "4" }, { "docker-archive:x", NULL }, { "docker-archive:x:a/b:5", "5" },
        { "dir:x", NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_place p cb_cleanup_place = { 0 };
        assert_int_equal(cb_place_parse(&p, t[i].text, NULL), 0);
        cb_autofree char *tag = cb_place_target_tag(&p);
        if (!cb_streq(tag, t[i].tag))
            fail_msg("%s: %s", t[i].text, tag ? tag : "(none)");
    }
}

static void lists_of_referrers_are_known_by_their_tag(void **state)
{
    (void)state;
    static const char hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    cb_autofree char *list = cb_asprintf("sha256-%s", hex), *cosign = cb_asprintf("sha256-%s.sig", hex);
    cb_autofree char *longer = cb_asprintf("sha512-%s", hex);
    assert_true(cb_copy_is_fallback_tag(list));
    assert_true(cb_copy_is_fallback_tag(longer)); /* the tag has room for 64 digits of it */
    assert_false(cb_copy_is_fallback_tag(cosign));
    assert_false(cb_copy_is_fallback_tag("sha256-12"));
    assert_false(cb_copy_is_fallback_tag("1.0"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_told_apart_by_their_transport),
        cmocka_unit_test(what_is_no_place_is_refused_with_what_to_write),
        cmocka_unit_test(a_target_has_the_tag_that_was_written_or_a_default),
        cmocka_unit_test(lists_of_referrers_are_known_by_their_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/cache.h"
#include "util/alloc.h"

static void specs_are_read_as_others_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool to;
        enum cb_cache_type type;
        const char *repo, *tag, *path;
        bool max, ignore;
    } t[] = {
        { "h:5000/a/b", false, CB_CACHE_REGISTRY, "a/b", NULL, NULL, false, false },
        { "h:5000/a/b:main", true, CB_CACHE_REGISTRY, "a/b", "main", NULL, false, false },
        { "type=registry,ref=h:5000/a/b:x,mode=max", true, CB_CACHE_REGISTRY, "a/b", "x", NULL, true, false },
        { "type=registry,ref=h:1/a/b,mode=min,image-manifest=true,oci-mediatypes=true,ignore-error=true", true,
          CB_CACHE_REGISTRY, "a/b", NULL, NULL, false, true },
        { "ref=h.x/a,type=registry,compression=gzip,force-compression=false", true, CB_CACHE_REGISTRY, "a", NULL, NULL,
          false, false },
        { "type=local,dest=some/dir,mode=max", true, CB_CACHE_LOCAL, NULL, NULL, "some/dir", true, false },
        { "type=local,\"src=some,dir\",tag=x", false, CB_CACHE_LOCAL, NULL, NULL, "some,dir", false, false },
        { "type=registry,ref=h:1/a/b,claim=false,claim-wait=10m", true, CB_CACHE_REGISTRY, "a/b", NULL, NULL, false,
          false },
        { "type=inline", true, CB_CACHE_INLINE, NULL, NULL, NULL, false, false },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_cache_spec s = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (cb_cache_spec_parse(&s, t[i].text, t[i].to, &e) < 0)
            fail_msg("%s: %s", t[i].text, cb_error_text(&e));
        assert_int_equal(s.type, t[i].type);
        assert_true(cb_streq(s.ref.repo, t[i].repo));
        assert_true(cb_streq(s.ref.tag, t[i].tag));
        assert_true(cb_streq(s.path, t[i].path));
        assert_int_equal(s.all_steps, t[i].max);
        assert_int_equal(s.ignore_error, t[i].ignore);
        assert_int_equal(s.no_claim, strstr(t[i].text, "claim=false") != NULL);
        assert_true(s.claim_wait == (s.no_claim ? INT64_C(600000000000) : CB_CACHE_CLAIM_WAIT));
        cb_cache_spec_done(&s);
    }
}

static void what_means_something_else_is_refused(void **state)
{
    (void)state;
    static const struct { const char *text; bool to; } bad[] = {
        { "", true }, { "type=s3,bucket=x", true }, { "type=gha", true }, { "ref=h/x", true },
        { "type=registry", true }, { "type=registry,ref=h/x,dest=d", true }, { "type=local", true },
        { "type=local,src=x", true }, { "type=local,dest=x", false }, { "type=local,dest=x,ref=h/x", true },
        { "type=inline", false }, { "type=inline,mode=max", true }, { "type=registry,ref=h/x,mode=most", true },
        { "type=registry,ref=h/x,mode=max", false }, { "type=registry,ref=h/x,image-manifest=false", true },
        { "type=registry,ref=h/x,oci-mediatypes=false", true }, { "type=registry,ref=h/x,force-compression=1", true },
        { "type=registry,ref=h/x,compression=estargz", true }, { "type=registry,ref=h/x,ref=h/y", true },
        { "type=registry,ref=h/x,ignore-error=maybe", true }, { "type=registry,ref=h/x,sign-key=", true },
        { "type=registry,ref=H/:x", true }, { "type=local,dest=x,tag=a/b", true }, { "type=registry,\"ref=h/x", true },
        { "type=registry,ref=h/x,claim=perhaps", true }, { "type=registry,ref=h/x,claim-wait=-1s", true },
        { "type=registry,ref=h/x,claim-wait=10", true }, { "type=registry,ref=h/x,claim=false", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct cb_cache_spec s = { 0 };
        int r = cb_cache_spec_parse(&s, bad[i].text, bad[i].to, NULL);
        if (r != -CB_EUSAGE && r != -CB_ECONF)
            fail_msg("accepted: %s", bad[i].text);
        cb_cache_spec_done(&s);
    }
}

static void those_of_cache_mounts_name_a_repository_or_a_directory(void **state)
{
    (void)state;
    static const struct { const char *text; bool to; int r; } t[] = {
        { "h:5000/a/b", true, 0 }, { "h:5000/a/b", false, 0 },
        { "type=registry,ref=h:1/a,sign-key=k,ignore-error=true", true, 0 },
        { "type=registry,ref=h:1/a,verify-key=k", false, 0 },
        { "type=local,dest=d", true, 0 }, { "type=local,src=d", false, 0 },
        { "", true, -CB_EUSAGE }, { "h:5000/a/b:tag", true, -CB_EUSAGE },
        { "type=registry,ref=h:1/a:x", false, -CB_EUSAGE }, { "type=inline", true, -CB_EUSAGE },
        { "type=registry,ref=h:1/a,mode=max", true, -CB_EUSAGE },
        { "type=registry,ref=h:1/a,compression=zstd", true, -CB_EUSAGE },
        { "type=registry,ref=h:1/a,image-manifest=true", true, -CB_EUSAGE },
        { "type=local,dest=d,tag=x", true, -CB_EUSAGE }, { "type=local,src=d", true, -CB_EUSAGE },
        { "type=registry,ref=h:1/a,sign-key=k", false, -CB_EUSAGE },
        { "type=registry,ref=h:1/a,ignore-error=true", false, -CB_EUSAGE },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_cache_spec s = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (cb_cache_mount_spec_parse(&s, t[i].text, t[i].to, &e) != t[i].r)
            fail_msg("%s: %s", t[i].text, cb_error_text(&e));
        if (t[i].r && !strstr(cb_error_text(&e), t[i].to ? "--cache-mount-to" : "--cache-mount-from"))
            fail_msg("%s: which flag? %s", t[i].text, cb_error_text(&e));
        cb_cache_spec_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs_are_read_as_others_write_them),
        cmocka_unit_test(what_means_something_else_is_refused),
        cmocka_unit_test(those_of_cache_mounts_name_a_repository_or_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "mirror/semver.h"

static struct mirror_version version(const char *text)
{
    struct mirror_version v;
    if (!mirror_version_parse(&v, text))
        fail_msg("%s is refused", text);
    return v;
}

static void versions_are_ordered_as_semver_says(void **state)
{
    (void)state;
    /* semver.org 11.4, and numbers that are left out. */
    static const char *const order[] = {
        "0.9",        "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
        "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",       "v1.0.1",           "1.2",        "1.10.0",
        "2",
    };
    for (size_t i = 0; i < CB_COUNTOF(order); i++)
        for (size_t k = 0; k < CB_COUNTOF(order); k++) {
            struct mirror_version a = version(order[i]), b = version(order[k]);
            int c = mirror_version_cmp(&a, &b);
            if ((c > 0) - (c < 0) != (i > k) - (i < k))
                fail_msg("%s and %s: %d", order[i], order[k], c);
        }
    struct mirror_version a = version("1"), b = version("v1.0.0");
    assert_int_equal(mirror_version_cmp(&a, &b), 0);
}

static void what_is_no_version_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",       "v",      "1.",         "1.2.3.4",  "01.2.3",        "1.2.03", "1.2-rc",
        "latest", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3-\xc3\xbc", "1.x",    "1234567890.0.0",
    };
    struct mirror_version v;
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        if (mirror_version_parse(&v, bad[i]))
            fail_msg("%s is taken", bad[i]);
}

static void ranges_hold_what_they_say(void **state)
{
    (void)state;
    static const struct { const char *range, *in, *out; } t[] = {
        { "1.2.3", "1.2.3 v1.2.3", "1.2.4 1.2.2" },
        { "=1.2", "1.2.0 1.2.9", "1.3.0 1.1.9" },
        { ">=1.2 <3", "1.2.0 2.99.0", "1.1.9 3.0.0 3.0.0-rc.1" },
        { ">= 1.2, < 3", "1.2.0 2.99.0", "1.1.9 3.0.0" },
        { ">1.2", "1.3.0", "1.2.0 1.2.9" },
        { ">1.2.3", "1.2.4", "1.2.3" },
        { "<=1.2", "1.2.9 0.1.0", "1.3.0" },
        { "<=1.2.3", "1.2.3", "1.2.4" },
        { "~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2" },
        { "~1", "1.0.0 1.9.0", "2.0.0" },
        { "^1.2.3", "1.2.3 1.9.0", "2.0.0 1.2.2" },
        { "^0.2.3", "0.2.3 0.2.9", "0.3.0" },
        { "^0.0.3", "0.0.3", "0.0.4" },
        { "^0", "0.9.9", "1.0.0" },
        { "1.x", "1.0.0 1.99.1", "2.0.0 0.9.0" },
        { "1.2.*", "1.2.0 1.2.7", "1.3.0" },
        { "*", "0.0.1 99.0.0", "1.0.0-rc.1" },
        { "~1.4 || 2.x", "1.4.7 2.5.0", "1.5.0 3.0.0" },
        { ">=1.2.3-rc.1", "1.2.3-rc.2 1.2.3 2.0.0", "1.2.3-beta 2.0.0-rc.1" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct mirror_range *r = mirror_range_new(t[i].range, &e);
        if (!r)
            fail_msg("%s", cb_error_text(&e));
        for (int side = 0; side < 2; side++) {
            char words[128];
            snprintf(words, sizeof words, "%s", side ? t[i].out : t[i].in);
            for (char *p = words, *next; p; p = next) {
                next = strchr(p, ' ');
                if (next)
                    *next++ = '\0';
                struct mirror_version v = version(p);
                if (mirror_range_has(r, &v, false) != !side)
                    fail_msg("%s: %s is %s", t[i].range, p, side ? "in" : "out");
            }
        }
        mirror_range_free(r);
    }
}

static void pre_releases_can_be_let_in(void **state)
{
    (void)state;
    struct mirror_range *r = mirror_range_new(">=1 <3", NULL);
    struct mirror_version in = version("2.0.0-rc.1"), out = version("3.0.0-rc.1");
    assert_false(mirror_range_has(r, &in, false));
    assert_true(mirror_range_has(r, &in, true));
    assert_false(mirror_range_has(r, &out, true));
    mirror_range_free(r);
}

static void what_is_no_range_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",  " ",  ">>1",    "1 ||",    "|| 1", "1 | 2",
                                       ">", "<*", "latest", "1.2.3.4", "1 - 2" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct mirror_range *r = mirror_range_new(bad[i], &e);
        if (r)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_int_equal(e.code, CB_ECONF);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_ordered_as_semver_says), cmocka_unit_test(what_is_no_version_is_refused),
        cmocka_unit_test(ranges_hold_what_they_say),           cmocka_unit_test(pre_releases_can_be_let_in),
        cmocka_unit_test(what_is_no_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

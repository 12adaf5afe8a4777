/* SPDX-License-Identifier: Apache-2.0 */
/* --chmod: what the library that BuildKit uses makes of the same texts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "build/chmod.h"

#define WRONG UINT32_MAX

static const struct { const char *text; uint32_t before; bool dir; uint32_t after; } cases[] = {
    { "u=rwX,go=rX", 0600, false, 0644 },
    { "u=rwX,go=rX", 0600, true, 0755 },
    { "u=rwX,go=rX", 0711, false, 0755 },
    { "a+x", 0644, false, 0755 },
    { "+x", 0644, false, 0755 },
    { "x", 0644, false, WRONG },
    { "a+X", 0644, false, 0644 },
    { "a+X", 0654, false, 0755 },
    { "a+X", 0600, true, 0711 },
    { "+X", 00, true, 0111 },
    { "u+x", 0644, false, 0744 },
    { "go-w", 0666, false, 0644 },
    { "go-w", 0777, true, 0755 },
    { "-w", 0777, false, 0555 },
    { "-x", 0755, false, 0644 },
    { "-X", 0755, false, 0644 },
    { "a-X", 0755, true, 0644 },
    { "a=", 0777, false, 00 },
    { "=", 07777, false, 01000 },
    { "go=", 0755, false, 0700 },
    { "u=", 04755, false, 055 },
    { "g=", 02755, false, 0705 },
    { "o=", 01755, false, 01750 },
    { "u=r", 0777, false, 0477 },
    { "=r", 0777, false, 0444 },
    { "=rw,+X", 0711, false, 0777 },
    { "=rw,+X", 0600, false, 0666 },
    { "=rw,+X", 0600, true, 0777 },
    { "a=rwx", 00, false, 0777 },
    { "ugo=rx", 0600, false, 0555 },
    { "ug=rw,o=r", 0777, false, 0664 },
    { "u=rw,g=r,o=r", 0777, false, 0644 },
    { "g=u", 0640, false, 0660 },
    { "o=g", 0750, false, 0755 },
    { "u=g", 0470, false, 0770 },
    { "go=u", 0700, false, 0777 },
    { "go=u-w", 0700, false, 0755 },
    { "u=rwx,go=u-w", 00, false, 0755 },
    { "g+u", 0700, false, 0770 },
    { "g-u", 0770, false, 0700 },
    { "o-g", 0777, false, 0770 },
    { "a=u", 0640, false, 0666 },
    { "=u", 0640, false, 0666 },
    { "+u", 0640, false, 0666 },
    { "-o", 0777, false, 00 },
    { "g=ur", 0640, false, 0640 },
    { "g=u+r", 0210, false, 0260 },
    { "g=o=r", 0777, false, 0747 },
    { "u+rw-x", 0100, false, 0600 },
    { "u=r+w=x", 00, false, 0100 },
    { "u+s", 0755, false, 04755 },
    { "g+s", 0755, true, 02755 },
    { "ug+s", 0755, false, 06755 },
    { "+s", 0755, false, 06755 },
    { "a+s", 0755, false, 06755 },
    { "o+s", 0755, false, 0755 },
    { "u-s", 06755, false, 02755 },
    { "-s", 06755, false, 0755 },
    { "a-s", 06755, false, 0755 },
    { "u=s", 0755, false, 04055 },
    { "+t", 0755, true, 01755 },
    { "a+t", 0755, false, 01755 },
    { "u+t", 0755, false, 01755 },
    { "o+t", 0755, false, 0755 },
    { "-t", 01777, true, 0777 },
    { "=t", 0777, false, 01777 },
    { "+tr", 00, false, 01000 },
    { "+rt", 00, false, 01000 },
    { "u+tr", 00, false, 01400 },
    { "u+t+r", 00, false, 01400 },
    { "uu+x", 0644, false, 0744 },
    { "au=r", 0777, false, 0444 },
    { "rx", 00, false, WRONG },
    { "u", 00, false, WRONG },
    { "+", 0644, false, 0644 },
    { "u+", 0644, false, 0644 },
    { "u+x,", 0644, false, WRONG },
    { ",u+x", 0644, false, WRONG },
    { "u+x,,g+x", 0644, false, WRONG },
    { "u+q", 0644, false, WRONG },
    { "u+x;g+x", 0644, false, WRONG },
    { "u@x", 0644, false, WRONG },
    { "U+x", 0644, false, WRONG },
    { "+755", 0644, false, WRONG },
    { "u=7", 0644, false, WRONG },
    { "8", 00, false, WRONG },
    { "0o755", 00, false, WRONG },
    { "64a", 00, false, WRONG },
    { "10000", 00, false, WRONG },
    { "-1", 00, false, WRONG },
    { "+xu", 0640, false, 0777 },
    { "+Xu", 0640, true, 0777 },
    { "u=Xr", 0700, false, 0500 },
    { "u-rwx,u+X", 0700, false, 0100 },
    { "u-x,+X", 0700, false, 0711 },
    { "a+X,a-x", 0700, false, 0600 },
    { "u+w,u-w", 0400, false, 0400 },
    { "0", 0777, false, 00 },
    { "7777", 00, true, 07777 },
    { "0755", 0600, false, 0755 },
    { "00000644", 0777, false, 0644 },
    { "644", 04755, true, 0644 },
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        struct cb_chmod c;
        int r = cb_chmod_parse(&c, cases[i].text, &err);
        uint32_t got = r < 0 ? WRONG : cb_chmod_apply(&c, cases[i].before, cases[i].dir);
        if (got != cases[i].after)
            fail_msg("%s on %o: %o", cases[i].text, cases[i].before, got);
        if (r < 0) {
            assert_int_equal(r, -CB_ECONF);
            assert_non_null(strstr(cb_error_text(&err), cases[i].text));
        }
    }
}

static void test_nothing_is_changed(void **state)
{
    (void)state;
    const char *const none[] = { NULL, "" };
    for (size_t i = 0; i < CB_COUNTOF(none); i++) {
        struct cb_chmod c;
        assert_int_equal(cb_chmod_parse(&c, none[i], NULL), 0);
        assert_int_equal(cb_chmod_apply(&c, 04711, false), 04711);
        assert_int_equal(cb_chmod_made(&c), 0755);
    }
}

static void test_made_directories(void **state)
{
    (void)state;
    struct cb_chmod c;
    assert_int_equal(cb_chmod_parse(&c, "7700", NULL), 0);
    assert_int_equal(cb_chmod_made(&c), 0700);
    assert_int_equal(cb_chmod_parse(&c, "0", NULL), 0);
    assert_int_equal(cb_chmod_made(&c), 0);
    assert_int_equal(cb_chmod_parse(&c, "a=rx", NULL), 0);
    assert_int_equal(cb_chmod_made(&c), 0755);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nothing_is_changed),
        cmocka_unit_test(test_made_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

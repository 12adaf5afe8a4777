/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "util/alloc.h"
#include "util/error.h"

static void test_set_and_wrap(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_error_set(&err, CB_ENET, "reply %d", 503), -CB_ENET);
    assert_int_equal(cb_error_wrap(&err, "registry %s", "r.example"), -CB_ENET);
    assert_int_equal(cb_error_wrap(&err, "push"), -CB_ENET);
    assert_string_equal(cb_error_text(&err), "push: registry r.example: reply 503");
    /* The new text may quote the old one. */
    assert_int_equal(cb_error_set(&err, CB_EAUTH, "after %s", err.msg), -CB_EAUTH);
    assert_string_equal(cb_error_text(&err), "after push: registry r.example: reply 503");
    assert_int_equal(err.code, CB_EAUTH);
}

static void test_sys(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_error_sys(&err, CB_ENET, ECONNREFUSED, "connect to %s", "x"), -CB_ENET);
    assert_string_equal(cb_error_text(&err), "connect to x: Connection refused");
    assert_int_equal(err.sys_errno, ECONNREFUSED);
    static const int resources[] = { ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM };
    for (size_t i = 0; i < CB_COUNTOF(resources); i++) {
        assert_int_equal(cb_error_sys(&err, CB_ENET, resources[i], "x"), -CB_ELOCAL);
        assert_int_equal(err.code, CB_ELOCAL);
        assert_int_equal(cb_error_sys(NULL, CB_ENET, resources[i], "x"), -CB_ELOCAL);
    }
    assert_int_equal(cb_error_set(&err, CB_ECONF, "y"), -CB_ECONF);
    assert_int_equal(err.sys_errno, 0);
}

static void test_null(void **state)
{
    (void)state;
    assert_int_equal(cb_error_set(NULL, CB_ECONF, "x"), -CB_ECONF);
    assert_int_equal(cb_error_wrap(NULL, "x"), -CB_EINTERNAL);
    struct cb_error empty = CB_ERROR_INIT;
    assert_int_equal(cb_error_wrap(&empty, "x"), -CB_EINTERNAL);
    assert_null(empty.msg);
    assert_string_equal(cb_error_text(&empty), "no error");
}

static void test_move_and_copy(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error a = CB_ERROR_INIT, b = CB_ERROR_INIT;
    cb_error_set(&a, CB_EVERIFY, "digest");
    a.http_status = 200;
    cb_error_set(&b, CB_ENET, "old");
    assert_int_equal(cb_error_copy(&b, &a), -CB_EVERIFY);
    assert_ptr_not_equal(a.msg, b.msg);
    assert_string_equal(b.msg, "digest");
    assert_int_equal(b.http_status, 200);
    assert_int_equal(cb_error_move(&b, &a), -CB_EVERIFY);
    assert_null(a.msg);
    assert_int_equal(a.code, CB_OK);
    assert_string_equal(b.msg, "digest");
    assert_int_equal(cb_error_move(NULL, &b), -CB_EVERIFY);
    assert_null(b.msg);
}

static void test_exit_codes(void **state)
{
    (void)state;
    static const struct {
        enum cb_code code;
        int http_status, exit;
    } rows[] = {
        { CB_OK, 0, 0 },         { CB_ESTEP, 0, 1 },     { CB_EUSAGE, 0, 2 },      { CB_EAUTH, 401, 3 },
        { CB_ENET, 503, 4 },     { CB_ECONF, 0, 5 },     { CB_ELOCAL, 0, 6 },      { CB_EVERIFY, 200, 7 },
        { CB_ENOTFOUND, 404, 4 }, { CB_ENOTFOUND, 0, 5 }, { CB_ECANCELED, 0, 130 }, { CB_EINTERNAL, 0, 70 },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct cb_error err = { .code = rows[i].code, .http_status = rows[i].http_status };
        assert_int_equal(cb_error_exit_code(&err), rows[i].exit);
        assert_true(strlen(cb_error_text(&err)) > 3);
    }
}

static void test_alloc(void **state)
{
    (void)state;
    cb_autofree char *empty = cb_malloc(0);
    assert_non_null(empty);
    cb_autofree int *zeroed = cb_calloc(4, sizeof *zeroed);
    assert_int_equal(zeroed[3], 0);
    cb_autofree char *cut = cb_strndup("abcdef", 3);
    assert_string_equal(cut, "abc");
    cb_autofree char *whole = cb_strndup("ab", 30);
    assert_string_equal(whole, "ab");
    assert_null(cb_strdup_or_null(NULL));
    int *v = NULL;
    size_t n = 0, cap = 0;
    for (int i = 0; i < 100; i++) {
        CB_GROW(v, n, cap);
        v[n++] = i;
    }
    assert_int_equal(v[99], 99);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_wrap), cmocka_unit_test(test_sys),
        cmocka_unit_test(test_null),         cmocka_unit_test(test_move_and_copy),
        cmocka_unit_test(test_exit_codes),   cmocka_unit_test(test_alloc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

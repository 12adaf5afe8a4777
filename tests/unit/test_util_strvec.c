/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/alloc.h"
#include "util/strvec.h"

static void test_vector(void **state)
{
    (void)state;
    cb_cleanup_strvec struct cb_strvec sv = CB_STRVEC_INIT, copy = CB_STRVEC_INIT;
    assert_false(cb_strvec_has(&sv, "a"));
    for (int i = 99; i >= 0; i--) {
        cb_strvec_pushf(&sv, "%02d", i);
        assert_null(sv.v[sv.n]);
    }
    cb_strvec_take(&sv, cb_strdup("\xff"));
    cb_strvec_push(&sv, "A");
    cb_strvec_push(&copy, "gone");
    cb_strvec_copy(&copy, &sv);
    cb_strvec_sort(&sv);
    assert_string_equal(sv.v[0], "00");
    assert_string_equal(sv.v[100], "A");
    assert_string_equal(sv.v[101], "\xff"); /* bytewise: above ASCII */
    assert_int_equal(copy.n, 102);
    assert_string_equal(copy.v[0], "99");
    assert_ptr_not_equal(copy.v[0], sv.v[99]);
    assert_true(cb_strvec_has(&sv, "42"));
    assert_false(cb_strvec_has(&sv, "gone"));
}

static void test_env(void **state)
{
    (void)state;
    cb_cleanup_strvec struct cb_strvec env = CB_STRVEC_INIT;
    cb_env_set(&env, "PATH", "/bin");
    cb_env_set(&env, "PATHX", "x");
    cb_env_set(&env, "EMPTY", "");
    cb_env_set(&env, "PATH", "/usr/bin=y");
    assert_int_equal(env.n, 3);
    assert_string_equal(env.v[0], "PATH=/usr/bin=y");
    assert_string_equal(cb_env_get(&env, "PATH"), "/usr/bin=y");
    assert_string_equal(cb_env_get(&env, "EMPTY"), "");
    assert_null(cb_env_get(&env, "PAT"));
    assert_null(cb_env_get(&env, "path"));
}

static void test_map(void **state)
{
    (void)state;
    cb_cleanup_strmap struct cb_strmap m = { 0 }, copy = { 0 };
    assert_null(cb_strmap_get(&m, "a"));
    assert_false(cb_strmap_remove(&m, "a"));
    static const char *const keys[] = { "m", "c", "z", "a", "q", "b", "zz", "", "aa", "B" };
    for (size_t i = 0; i < CB_COUNTOF(keys); i++)
        cb_strmap_set(&m, keys[i], "1");
    cb_strmap_set(&m, "q", "2");
    assert_int_equal(m.n, CB_COUNTOF(keys));
    for (size_t i = 1; i < m.n; i++)
        assert_true(strcmp(m.v[i - 1].key, m.v[i].key) < 0);
    assert_string_equal(cb_strmap_get(&m, "q"), "2");
    cb_strmap_copy(&copy, &m);
    assert_true(cb_strmap_remove(&m, "m"));
    assert_true(cb_strmap_remove(&m, ""));
    assert_null(cb_strmap_get(&m, "m"));
    assert_string_equal(cb_strmap_get(&copy, "m"), "1");
    assert_int_equal(m.n + 2, copy.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

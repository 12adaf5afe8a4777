/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/macros.h"

static int next(int *n)
{
    return (*n)++;
}

static void test_min_and_max_evaluate_once(CB_UNUSED void **state)
{
    int n = 0;
    assert_int_equal(CB_MIN(next(&n), 5), 0);
    assert_int_equal(n, 1);
    assert_int_equal(CB_MAX(-1, next(&n)), 1);
    assert_int_equal(n, 2);
    assert_int_equal(CB_MIN(CB_MAX(next(&n), 1), next(&n) + 10), 2);
    assert_int_equal(n, 4);
}

static void test_min_and_max_keep_the_type(CB_UNUSED void **state)
{
    size_t large = SIZE_MAX;
    assert_true(CB_MIN(large, (size_t)7) == 7);
    assert_true(CB_MAX(large, (size_t)7) == SIZE_MAX);
    assert_true(CB_MIN(0.5, 1.5) < 0.6);
    assert_true(CB_MAX(INT64_MIN, INT64_C(-3)) == -3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_min_and_max_evaluate_once),
        cmocka_unit_test(test_min_and_max_keep_the_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

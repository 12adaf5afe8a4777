/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/index.h"

#define NAMES 5000u

struct array {
    char v[NAMES][32];
};

static const char *name_of(const void *arg, uint32_t i)
{
    return ((const struct array *)arg)->v[i];
}

static uint32_t find(const struct cb_index *x, const char *name)
{
    return cb_index_find(x, name, strlen(name));
}

static void test_basic(void **state)
{
    (void)state;
    static const struct array a = { { "x", "xy", "" } };
    CB_AUTO(cb_index_free) struct cb_index *x = cb_index_new(name_of, &a);
    assert_int_equal(find(x, "x"), CB_INDEX_NONE);
    cb_index_add(x, 1);
    assert_int_equal(find(x, "x"), CB_INDEX_NONE);
    cb_index_add(x, 0);
    cb_index_add(x, 2);
    assert_int_equal(find(x, "x"), 0);
    assert_int_equal(find(x, "xy"), 1);
    assert_int_equal(find(x, ""), 2);
    assert_int_equal(cb_index_find(x, "xyz", 1), 0);
    assert_int_equal(cb_index_find(x, "xyz", 3), CB_INDEX_NONE);
    cb_index_remove(x, 0);
    assert_int_equal(find(x, "x"), CB_INDEX_NONE);
    assert_int_equal(find(x, "xy"), 1);
}

/* Removals leave gaps in the probes of others. */
static void test_many(void **state)
{
    (void)state;
    static struct array a;
    CB_AUTO(cb_index_free) struct cb_index *x = cb_index_new(name_of, &a);
    for (uint32_t i = 0; i < NAMES; i++) {
        /* Lengths around the hash's word size. */
        snprintf(a.v[i], sizeof a.v[i], "%0*u", 4 + (int)(i % 20), i);
        cb_index_add(x, i);
        if (i % 3 == 2)
            cb_index_remove(x, i / 3 * 2);
    }
    unsigned left = 0;
    for (uint32_t i = 0; i < NAMES; i++) {
        bool removed = i % 2 == 0 && i / 2 * 3 + 2 < NAMES;
        assert_int_equal(find(x, a.v[i]), removed ? CB_INDEX_NONE : i);
        left += !removed;
    }
    assert_int_equal(left, NAMES - NAMES / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

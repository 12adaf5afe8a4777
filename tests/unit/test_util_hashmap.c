/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "util/hashmap.h"

#define KEYS 5000u

static void key_of(char buf[static 32], unsigned i)
{
    /* Lengths around the hash's word size. */
    snprintf(buf, 32, "%0*u", 4 + (int)(i % 20), i);
}

static void test_basic(void **state)
{
    (void)state;
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *m = cb_hashmap_new();
    int a, b;
    assert_null(cb_hashmap_get(m, "x"));
    assert_null(cb_hashmap_remove(m, "x"));
    assert_null(cb_hashmap_put(m, "x", &a));
    assert_ptr_equal(cb_hashmap_put(m, "x", &b), &a);
    assert_int_equal(cb_hashmap_size(m), 1);
    assert_null(cb_hashmap_put(m, "", &a));
    assert_ptr_equal(cb_hashmap_get(m, ""), &a);
    assert_ptr_equal(cb_hashmap_getn(m, "xyz", 1), &b);
    assert_null(cb_hashmap_getn(m, "xyz", 2));
    assert_ptr_equal(cb_hashmap_remove(m, "x"), &b);
    assert_null(cb_hashmap_get(m, "x"));
    assert_int_equal(cb_hashmap_size(m), 1);
}

/* Against a plain array, with removals in between that leave gaps to close. */
static void test_many(void **state)
{
    (void)state;
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *m = cb_hashmap_new();
    static int values[KEYS];
    static bool there[KEYS];
    char key[32];
    size_t n = 0;
    uint32_t x = 12345;
    for (unsigned step = 0; step < 40000; step++) {
        x = x * 1664525 + 1013904223;
        unsigned i = (x >> 8) % KEYS;
        key_of(key, i);
        if (x >> 30) {
            assert_ptr_equal(cb_hashmap_put(m, key, &values[i]), there[i] ? &values[i] : NULL);
            n += !there[i];
            there[i] = true;
        } else {
            assert_ptr_equal(cb_hashmap_remove(m, key), there[i] ? &values[i] : NULL);
            n -= there[i];
            there[i] = false;
        }
    }
    assert_int_equal(cb_hashmap_size(m), n);
    for (unsigned i = 0; i < KEYS; i++) {
        key_of(key, i);
        assert_ptr_equal(cb_hashmap_get(m, key), there[i] ? &values[i] : NULL);
    }
    size_t it = 0, walked = 0;
    const char *k;
    void *v;
    while (cb_hashmap_next(m, &it, &k, &v)) {
        assert_ptr_equal(cb_hashmap_get(m, k), v);
        walked++;
    }
    assert_int_equal(walked, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_basic), cmocka_unit_test(test_many) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/lazy.h"

static double (*cube_root)(double);
static int (*nothing)(void);

static const struct cb_lazy_symbol good[] = { { "cbrt", &cube_root } };
static const struct cb_lazy_symbol bad[] = { { "cbrt", &cube_root }, { "cb_there_is_no_such_function", &nothing } };

static void test_load(void **state)
{
    (void)state;
    struct cb_lazy l = CB_LAZY_INIT("libm.so.6", good);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cb_lazy_load(&l, &err), 0);
        assert_true(cube_root(27) > 2.9 && cube_root(27) < 3.1);
    }
}

static void test_absent(void **state)
{
    (void)state;
    struct cb_lazy l = CB_LAZY_INIT("libcb-none.so.7", good);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cb_lazy_load(&l, &err), -CB_ELOCAL);
        assert_non_null(strstr(cb_error_text(&err), "libcb-none.so.7 cannot be loaded"));
        assert_non_null(strstr(cb_error_text(&err), "--disable-lazy-libs"));
        cb_error_done(&err);
    }
    assert_int_equal(cb_lazy_load(&l, NULL), -CB_ELOCAL);
    cb_error_done(&l.why);
}

static void test_function_that_is_missing(void **state)
{
    (void)state;
    struct cb_lazy l = CB_LAZY_INIT("libm.so.6", bad);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_lazy_load(&l, &err), -CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&err), "cb_there_is_no_such_function"));
    cb_error_done(&l.why);
}

/* What is loaded stays usable; nothing more is, although it is there. */
static void test_forbidden(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct cb_lazy before = CB_LAZY_INIT("libm.so.6", good), after = CB_LAZY_INIT("libm.so.6", good);
        bool ok = cb_lazy_load(&before, NULL) == 0;
        cb_lazy_forbid();
        ok = ok && cb_lazy_load(&before, NULL) == 0 && cb_lazy_load(&after, NULL) == -CB_ELOCAL;
        _exit(ok ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_function_that_is_missing),
        cmocka_unit_test(test_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/input.h"

static void test_pipe(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    int fds[2];
    assert_int_equal(cb_pipe(fds, NULL), 0);
    struct cb_input in = { fds[0], NULL };
    char buf[10];
    size_t got;
    assert_int_equal(cb_fd_write_all(fds[1], "012345678901234567", 18, NULL), 0);
    close(fds[1]);
    assert_int_equal(cb_input_read(&in, buf, 4, &got, NULL), 0);
    assert_int_equal(got, 4);
    cb_strbuf_adds(&sb, "<");
    assert_int_equal(cb_input_slurp(&in, 14, &sb, NULL), 0);
    assert_string_equal(sb.buf, "<45678901234567");
    assert_int_equal(cb_input_read(&in, buf, sizeof buf, &got, NULL), 0);
    assert_int_equal(got, 0);
    close(fds[0]);
}

static void test_too_long(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_autoclose int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct cb_input in = { zero, NULL };
    assert_int_equal(cb_input_slurp(&in, 1u << 20, &sb, NULL), -CB_EVERIFY);
    assert_int_equal(sb.len, 0);
}

static void test_copy(void **state)
{
    (void)state;
    cb_autoclose int to = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cb_autoclose int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cb_autoclose int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct cb_input in = { zero, NULL };
    uint64_t n;
    assert_int_equal(cb_input_copy(&in, to, (1u << 20) + 1, &n, NULL), 0);
    assert_int_equal(n, (1u << 20) + 1);
    assert_int_equal(lseek(to, 0, SEEK_END), n);
    assert_int_equal(cb_fd_write_all(file, "abc", 3, NULL), 0);
    assert_int_equal(lseek(file, 1, SEEK_SET), 1);
    in.fd = file;
    assert_int_equal(cb_input_copy(&in, to, UINT64_MAX, &n, NULL), 0);
    assert_int_equal(n, 2);
}

static void *trigger(void *arg)
{
    usleep(50000);
    cb_cancel_trigger(arg, SIGTERM);
    return NULL;
}

/* Who writes has said nothing, and may never. */
static void test_canceled(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    pthread_t t;
    int fds[2];
    char c1;
    size_t got;
    assert_int_equal(cb_pipe(fds, NULL), 0);
    struct cb_input in = { fds[0], c };
    assert_int_equal(pthread_create(&t, NULL, trigger, c), 0);
    assert_int_equal(cb_input_slurp(&in, 100, &sb, &err), -CB_ECANCELED);
    pthread_join(t, NULL);
    assert_int_equal(cb_fd_write_all(fds[1], "x", 1, NULL), 0);
    assert_int_equal(cb_input_read(&in, &c1, 1, &got, NULL), -CB_ECANCELED);
    close(fds[0]);
    close(fds[1]);
}

/* What `<(…)` and /dev/null are; a file that is none of that is refused as ever. */
static void test_path(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    char path[32];
    int fds[2];
    assert_int_equal(cb_pipe(fds, NULL), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    assert_int_equal(cb_fd_write_all(fds[1], "FROM x", 6, NULL), 0);
    close(fds[1]);
    assert_int_equal(cb_input_slurp_path(path, NULL, 6, &sb, &err), 0);
    assert_string_equal(sb.buf, "FROM x");
    close(fds[0]);
    assert_int_equal(cb_input_slurp_path("/dev/null", NULL, 6, &sb, &err), 0);
    assert_int_equal(sb.len, 6);
    assert_int_equal(cb_input_slurp_path("/proc/self/comm", NULL, 100, &sb, &err), 0);
    assert_true(sb.len > 6);
    assert_int_equal(cb_input_slurp_path("/dev/zero", NULL, 6, &sb, &err), -CB_EVERIFY);
    assert_non_null(strstr(err.msg, "/dev/zero"));
    assert_int_equal(cb_input_slurp_path("/tmp", NULL, 6, &sb, &err), -CB_ELOCAL);
    assert_int_equal(cb_input_slurp_path("/nonexistent/x", NULL, 6, &sb, &err), -CB_ENOTFOUND);
}

/* A pipe with a name that nobody writes to. */
static void test_path_canceled(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    char dir[] = "/tmp/cb-test-XXXXXX";
    char path[64];
    pthread_t t;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&t, NULL, trigger, c), 0);
    assert_int_equal(cb_input_slurp_path(path, c, 100, &sb, &err), -CB_ECANCELED);
    pthread_join(t, NULL);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_canceled),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_path_canceled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

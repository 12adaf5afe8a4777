/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fd.h"

#define BIG ((size_t)3 << 20)

static int anonymous_file(const void *data, size_t n)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(cb_fd_write_all(fd, data, n, NULL), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static char *pattern(size_t n)
{
    char *p = cb_malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + (i >> 12));
    return p;
}

static void test_read_write(void **state)
{
    (void)state;
    cb_autofree char *data = pattern(BIG);
    cb_autofree char *back = cb_malloc(BIG + 1);
    cb_autoclose int fd = anonymous_file(data, BIG);
    size_t got;
    assert_int_equal(cb_fd_read_full(fd, back, BIG + 1, &got, NULL), 0);
    assert_int_equal(got, BIG);
    assert_memory_equal(data, back, BIG);
    assert_int_equal(cb_fd_pread_full(fd, back, 100, BIG - 40, &got, NULL), 0);
    assert_int_equal(got, 40);
    assert_memory_equal(back, data + BIG - 40, 40);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_fd_pread_full(fd, back, 1, UINT64_MAX, &got, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, EOVERFLOW);
    assert_int_equal(cb_fd_sync(fd, &err), 0);
    assert_int_equal(cb_fd_write_all(-1, "x", 1, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, EBADF);
}

static void test_full_disk(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_autoclose int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(cb_fd_write_all(fd, "x", 1, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, ENOSPC);
}

static void test_slurp(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "<");
    cb_autoclose int fd = anonymous_file("0123456789", 10);
    assert_int_equal(cb_fd_slurp(fd, 10, &sb, &err), 0);
    assert_string_equal(sb.buf, "<0123456789");
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(cb_fd_slurp(fd, 9, &sb, &err), -CB_EVERIFY);
    assert_string_equal(sb.buf, "<0123456789");
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(cb_fd_slurp(fd, SIZE_MAX, &sb, &err), 0);
    assert_int_equal(sb.len, 21);
    cb_autofree char *data = pattern(BIG);
    cb_autoclose int big = anonymous_file(data, BIG);
    cb_strbuf_reset(&sb);
    assert_int_equal(cb_fd_slurp(big, BIG, &sb, &err), 0);
    assert_int_equal(sb.len, BIG);
    assert_memory_equal(sb.buf, data, BIG);
}

static void test_file_slurp(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    assert_int_equal(cb_file_slurp("/nonexistent/x", 10, &sb, &err), -CB_ENOTFOUND);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_int_equal(cb_file_slurp("/tmp", 10, &sb, &err), -CB_ELOCAL);
    assert_int_equal(cb_file_slurp("/dev/zero", 10, &sb, &err), -CB_ELOCAL);
    assert_non_null(strstr(err.msg, "not a regular file"));
    char fifo[] = "/tmp/cb-test-XXXXXX";
    assert_non_null(mkdtemp(fifo));
    cb_autofree char *path = cb_asprintf("%s/fifo", fifo);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(cb_file_slurp(path, 10, &sb, &err), -CB_ELOCAL); /* and does not hang */
    unlink(path);
    rmdir(fifo);
    assert_int_equal(cb_file_slurp("/proc/self/comm", 100, &sb, &err), 0);
    assert_true(sb.len > 0);
    assert_int_equal(cb_file_slurp("/proc/self/status", 5, &sb, &err), -CB_EVERIFY);
    assert_non_null(strstr(err.msg, "/proc/self/status"));
}

static void test_copy_files(void **state)
{
    (void)state;
    cb_autofree char *data = pattern(BIG);
    cb_autofree char *back = cb_malloc(BIG);
    cb_autoclose int in = anonymous_file(data, BIG);
    cb_autoclose int out = anonymous_file("", 0);
    uint64_t copied;
    assert_int_equal(cb_fd_copy(in, out, 1000, &copied, NULL), 0);
    assert_int_equal(copied, 1000);
    assert_int_equal(cb_fd_copy(in, out, UINT64_MAX, &copied, NULL), 0);
    assert_int_equal(copied, BIG - 1000);
    size_t got;
    assert_int_equal(cb_fd_pread_full(out, back, BIG, 0, &got, NULL), 0);
    assert_int_equal(got, BIG);
    assert_memory_equal(back, data, BIG);
    assert_int_equal(cb_fd_copy(in, out, 5, &copied, NULL), 0);
    assert_int_equal(copied, 0);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_fd_copy(-1, out, 5, &copied, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, EBADF);
}

/* Files that say they are empty, and descriptors that no offload takes. */
static void test_copy_odd(void **state)
{
    (void)state;
    uint64_t copied;
    cb_autoclose int proc = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    cb_autoclose int out = anonymous_file("", 0);
    assert_int_equal(cb_fd_copy(proc, out, UINT64_MAX, &copied, NULL), 0);
    assert_true(copied > 100);
    int fds[2];
    assert_int_equal(cb_pipe(fds, NULL), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(cb_fd_write_all(fds[1], "hello", 5, NULL), 0);
    close(fds[1]);
    cb_autoclose int appended = open("/proc/self/fd", O_RDONLY | O_CLOEXEC); /* a directory: cannot be copied */
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_fd_copy(appended, out, 5, &copied, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, EISDIR);
    assert_int_equal(cb_fd_copy(fds[0], out, UINT64_MAX, &copied, NULL), 0);
    assert_int_equal(copied, 5);
    close(fds[0]);
}

static void test_lift_and_limit(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), old = fd;
    assert_int_equal(cb_fd_lift(&fd, NULL), 0);
    assert_true(fd >= 4);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    if (fd != old)
        assert_int_equal(fcntl(old, F_GETFD), -1);
    errno = EXDEV;
    cb_close_p(&fd);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    struct rlimit lim;
    cb_fd_raise_limit();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
    assert_true(lim.rlim_cur == lim.rlim_max);
}

static void closed_is_forgotten(CB_UNUSED void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    cb_close_p(&fd);
    assert_int_equal(fd, -1);
    cb_close_p(&fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_is_forgotten),
        cmocka_unit_test(test_read_write), cmocka_unit_test(test_full_disk),      cmocka_unit_test(test_slurp),
        cmocka_unit_test(test_file_slurp), cmocka_unit_test(test_copy_files),     cmocka_unit_test(test_copy_odd),
        cmocka_unit_test(test_lift_and_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/secret.h"
#include "util/strvec.h"

static void test_copy(void **state)
{
    (void)state;
    char text[] = "pass\0word";
    CB_AUTO(cb_secret_free) struct cb_secret *s = cb_secret_new(text, sizeof text - 1, NULL);
    assert_non_null(s);
    memset(text, 0, sizeof text);
    assert_int_equal(cb_secret_size(s), 9);
    assert_memory_equal(cb_secret_data(s), "pass\0word", 10);
    CB_AUTO(cb_secret_free) struct cb_secret *none = cb_secret_new(NULL, 0, NULL);
    assert_int_equal(cb_secret_size(none), 0);
    assert_string_equal(cb_secret_data(none), "");
}

/* A whole number of pages has its NUL too. */
static void test_page(void **state)
{
    (void)state;
    static char page[65536];
    memset(page, 'x', sizeof page);
    CB_AUTO(cb_secret_free) struct cb_secret *s = cb_secret_new(page, sizeof page, NULL);
    assert_int_equal(strlen(cb_secret_data(s)), sizeof page);
}

static void test_file(void **state)
{
    (void)state;
    char path[] = "/tmp/cbpush-test-XXXXXX";
    int fd = mkstemp(path);
    struct cb_secret *s = NULL;
    struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(write(fd, "12345", 5), 5);
    assert_int_equal(cb_secret_read(path, 5, &s, &err), 0);
    assert_string_equal(cb_secret_data(s), "12345");
    cb_secret_free(s);
    assert_int_equal(cb_secret_read(path, 4, &s, &err), -CB_EUSAGE);
    assert_null(strstr(cb_error_text(&err), "12345"));
    unlink(path);
    assert_int_equal(cb_secret_read(path, 4, &s, &err), -CB_EUSAGE);
    assert_int_equal(cb_secret_read("/tmp", 4, &s, &err), -CB_ELOCAL);
    cb_error_done(&err);
    close(fd);
}

/* `--secret src=<(pass show x)` */
static void test_pipe(void **state)
{
    (void)state;
    int fds[2];
    char path[32];
    struct cb_secret *s = NULL;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "piped", 5), 5);
    close(fds[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    assert_int_equal(cb_secret_read(path, 100, &s, NULL), 0);
    assert_string_equal(cb_secret_data(s), "piped");
    cb_secret_free(s);
    close(fds[0]);
}

/* A child does not have it: it touches the page and dies. */
static void test_not_in_children(void **state)
{
    (void)state;
    CB_AUTO(cb_secret_free) struct cb_secret *s = cb_secret_new("x", 1, NULL);
    int status = 0;
    pid_t pid = fork();
    if (pid == 0 && signal(SIGSEGV, SIG_DFL) != SIG_ERR) /* cmocka would tell of it */
        _exit(*(const volatile char *)cb_secret_data(s) == 'x' ? 3 : 4);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void test_not_in_dumps(void **state)
{
    (void)state;
    CB_AUTO(cb_secret_free) struct cb_secret *s = cb_secret_new("x", 1, NULL);
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool ours = false, marked = false;
    unsigned long from, to, at = (unsigned long)(uintptr_t)cb_secret_data(s);
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            ours = at >= from && at < to;
        if (ours && !strncmp(line, "VmFlags:", 8))
            marked = strstr(line, " dd") && strstr(line, " dc");
    }
    fclose(f);
    assert_true(marked);
}

static void test_wipe(void **state)
{
    (void)state;
    struct cb_strvec v = CB_STRVEC_INIT;
    cb_strvec_push(&v, "K=secret");
    cb_strvec_wipe(&v);
    assert_int_equal(v.n, 0);
    assert_null(v.v);
    cb_strvec_wipe(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy), cmocka_unit_test(test_page),            cmocka_unit_test(test_file),
        cmocka_unit_test(test_pipe), cmocka_unit_test(test_not_in_children), cmocka_unit_test(test_not_in_dumps),
        cmocka_unit_test(test_wipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

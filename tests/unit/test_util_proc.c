/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/proc.h"
#include "util/thread.h"
#include "util/timeutil.h"

static int run_shell(const char *script, struct cb_proc_spec spec, struct cb_proc_result *res, struct cb_error *err)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    spec.argv = argv;
    return cb_proc_run(&spec, res, err);
}

static void test_output_and_status(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    assert_int_equal(run_shell("echo out; echo err >&2; exit 3", (struct cb_proc_spec){ 0 }, &res, &err), 0);
    assert_string_equal(res.out.buf, "out\n");
    assert_string_equal(res.err.buf, "err\n");
    assert_int_equal(res.status, 3);
    cb_proc_result_done(&res);
    assert_int_equal(run_shell("kill -TERM $$", (struct cb_proc_spec){ 0 }, &res, &err), 0);
    assert_int_equal(res.status, 128 + SIGTERM);
}

static void test_input(void **state)
{
    (void)state;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    size_t n = 900000;
    cb_autofree char *data = cb_malloc(n);
    memset(data, 'q', n);
    struct cb_proc_spec spec = { .input = data, .input_len = n };
    assert_int_equal(run_shell("cat", spec, &res, NULL), 0);
    assert_int_equal(res.out.len, n);
    assert_memory_equal(res.out.buf, data, n);
    cb_proc_result_done(&res);
    /* None is an end of file, not our standard input. */
    assert_int_equal(run_shell("wc -c", (struct cb_proc_spec){ 0 }, &res, NULL), 0);
    assert_int_equal(res.out.buf[strspn(res.out.buf, " ")], '0');
    cb_proc_result_done(&res);
    /* Input that nobody reads: no SIGPIPE, now or later. */
    assert_int_equal(run_shell("exit 0", spec, &res, NULL), 0);
    assert_int_equal(res.status, 0);
    sigset_t pending;
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
}

static void test_limits(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    assert_int_equal(run_shell("yes", (struct cb_proc_spec){ .max_output = 5000 }, &res, &err), -CB_EVERIFY);
    assert_int_equal(res.out.len, 5000);
    cb_proc_result_done(&res);
    assert_int_equal(run_shell("yes >&2", (struct cb_proc_spec){ 0 }, &res, &err), -CB_EVERIFY);
    cb_proc_result_done(&res);
    int64_t start = cb_time_monotonic();
    /* Grandchildren in the group go too, or their pipes would keep them known; TERM is not asked. */
    assert_int_equal(run_shell("trap '' TERM; echo before; sleep 60 & sleep 60",
                               (struct cb_proc_spec){ .timeout_ms = 300 }, &res, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, ETIMEDOUT);
    assert_string_equal(res.out.buf, "before\n");
    assert_true(cb_time_monotonic() - start < INT64_C(20000000000));
}

static void test_left_behind(void **state)
{
    (void)state;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    int64_t start = cb_time_monotonic();
    assert_int_equal(run_shell("sleep 30 & echo $!; exit 0", (struct cb_proc_spec){ 0 }, &res, NULL), 0);
    assert_true(cb_time_monotonic() - start < INT64_C(20000000000));
    int64_t pid = 0;
    for (const char *p = res.out.buf; *p >= '0' && *p <= '9'; p++)
        pid = pid * 10 + (*p - '0');
    assert_true(pid > 1);
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
}

static void *cancel_soon(void *arg)
{
    nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
    cb_cancel_trigger(arg, 0);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    CB_AUTO(cb_cancel_free) struct cb_cancel *root = cb_cancel_new(NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(root);
    pthread_t t;
    assert_int_equal(cb_thread_start(&t, "cancel", cancel_soon, root, NULL), 0);
    int64_t start = cb_time_monotonic();
    int r = run_shell("sleep 25", (struct cb_proc_spec){ .cancel = c }, &res, &err);
    pthread_join(t, NULL);
    assert_int_equal(r, -CB_ECANCELED);
    assert_true(cb_time_monotonic() - start < INT64_C(20000000000));
    cb_proc_result_done(&res);
    assert_int_equal(run_shell("exit 0", (struct cb_proc_spec){ .cancel = c }, &res, &err), -CB_ECANCELED);
}

static void test_environment(void **state)
{
    (void)state;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    setenv("CB_TEST_SECRET", "do-not-pass", 1);
    setenv("XDG_CONFIG_HOME", "/xdg", 1);
    assert_int_equal(run_shell("env", (struct cb_proc_spec){ 0 }, &res, NULL), 0);
    assert_null(strstr(res.out.buf, "do-not-pass"));
    assert_non_null(strstr(res.out.buf, "XDG_CONFIG_HOME=/xdg\n"));
    assert_non_null(strstr(res.out.buf, "PATH="));
    cb_proc_result_done(&res);
    static const char *const env[] = { "ONLY=this", NULL };
    struct cb_proc_spec spec = { .env = env };
    assert_int_equal(run_shell("echo $ONLY; /usr/bin/env | grep -c '^HOME'", spec, &res, NULL), 0);
    assert_string_equal(res.out.buf, "this\n0\n");
    unsetenv("CB_TEST_SECRET");
}

static void test_child_state(void **state)
{
    (void)state;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    /* Not O_CLOEXEC, on purpose. */
    int leaked = open("/dev/null", O_RDONLY), moved = fcntl(leaked, F_DUPFD, 77);
    sigset_t block, old;
    sigfillset(&block);
    pthread_sigmask(SIG_SETMASK, &block, &old);
    void (*old_pipe)(int) = signal(SIGPIPE, SIG_IGN);
    assert_int_equal(run_shell("ls /proc/self/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status; "
                               "cut -d' ' -f1,5 /proc/$$/stat", (struct cb_proc_spec){ 0 }, &res, NULL), 0);
    signal(SIGPIPE, old_pipe);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(leaked);
    close(moved);
    /* 3 is the directory that ls reads. */
    assert_true(cb_starts_with(res.out.buf, "0\n1\n2\n3\nSig"));
    assert_non_null(strstr(res.out.buf, "SigBlk:\t0000000000000000\n"));
    const char *ignored = strstr(res.out.buf, "SigIgn:\t");
    assert_non_null(ignored);
    char *end;
    /* 32 and 33 are the C library's own, out of everybody's reach; make(1) lets one of them be ignored. */
    assert_int_equal(strtoull(ignored + 8, &end, 16) & ~0x180000000ull, 0);
    unsigned long pid = strtoul(end, &end, 10);
    unsigned long group = strtoul(end, NULL, 10);
    assert_true(pid > 0 && pid == group);
}

static void test_which(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_proc_result struct cb_proc_result res = { 0 };
    const char *argv[] = { "no-such-program-here", NULL };
    assert_int_equal(cb_proc_run(&(struct cb_proc_spec){ .argv = argv }, &res, &err), -CB_ENOTFOUND);
    cb_autofree char *old = cb_strdup(getenv("PATH"));
    char dir[] = "/tmp/cb-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    cb_autofree char *prog = cb_asprintf("%s/prog", dir), *plain = cb_asprintf("%s/plain", dir);
    int fd = open(prog, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_int_equal(cb_fd_write_all(fd, "#!/nonexistent/interpreter\n", 27, NULL), 0);
    close(fd);
    close(open(plain, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    cb_autofree char *path = cb_asprintf("::relative:.:%s/none:%s", dir, dir);
    setenv("PATH", path, 1);
    cb_autofree char *found = cb_proc_which("prog"), *no_exec = cb_proc_which("plain"), *is_dir = cb_proc_which("");
    cb_autofree char *relative = cb_proc_which("./prog"), *absolute = cb_proc_which(prog), *dirs = cb_proc_which(dir);
    /* Found, but cannot be run: told by the exec in the child. */
    const char *broken[] = { "prog", NULL };
    int r = cb_proc_run(&(struct cb_proc_spec){ .argv = broken }, &res, &err);
    unsetenv("PATH");
    cb_autofree char *without = cb_proc_which("sh");
    setenv("PATH", old, 1);
    unlink(prog);
    unlink(plain);
    rmdir(dir);
    assert_string_equal(found, prog);
    assert_string_equal(absolute, prog);
    assert_null(no_exec);
    assert_null(is_dir);
    assert_null(relative);
    assert_null(dirs);
    assert_null(without);
    assert_int_equal(r, -CB_ENOTFOUND);
    assert_int_equal(err.sys_errno, ENOENT);
}

static void *run_many(void *arg)
{
    int *bad = arg;
    for (int i = 0; i < 15; i++) {
        cb_cleanup_proc_result struct cb_proc_result res = { 0 };
        if (run_shell("cat; echo done", (struct cb_proc_spec){ .input = "in ", .input_len = 3 }, &res, NULL) < 0 ||
            strcmp(res.out.buf, "in done\n") != 0)
            ++*bad;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    int bad[4] = { 0 };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(cb_thread_start(&t[i], "run", run_many, &bad[i], NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(bad[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_status),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_child_state),
        cmocka_unit_test(test_which),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

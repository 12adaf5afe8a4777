/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "util/cancel.h"

#define expect_out(text) assert_string_equal(fx.out.buf, text)

/* ---- results ---- */

static void exit_codes(void **state)
{
    (void)state;
    need_sandbox();
    static const int codes[] = { 0, 1, 42, 255 };
    for (size_t i = 0; i < CB_COUNTOF(codes); i++) {
        char script[32];
        struct cb_exec_spec spec = plain_spec();
        snprintf(script, sizeof script, "exit %d", codes[i]);
        run_script(&spec, script);
        assert_int_equal(fx.result, 0);
        assert_int_equal(fx.status, codes[i]);
    }
}

static void death_by_signal(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    run_script(&spec, "kill -TERM $$");
    assert_int_equal(fx.status, 128 + SIGTERM);
    run_script(&spec, "kill -KILL $$");
    assert_int_equal(fx.status, 128 + SIGKILL);
}

static void both_streams(void **state)
{
    (void)state;
    need_sandbox();
    ok("echo one; echo two >&2; echo three >/dev/stdout; echo four >/dev/stderr");
    expect_out("one\nthree\n");
    assert_string_equal(fx.err.buf, "two\nfour\n");
}

static void one_stream(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.one_stream = true;
    run_script(&spec, "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; echo last >/dev/stderr");
    expect_out("out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nout 4\nerr 4\nout 5\nerr 5\nlast\n");
    assert_string_equal(fx.err.buf, "");
}

static void much_output(void **state)
{
    (void)state;
    need_sandbox();
    ok("dd if=/dev/zero bs=1000 count=3000 2>/dev/null");
    assert_int_equal(fx.out.len, 3000000);
}

static void no_input(void **state)
{
    (void)state;
    need_sandbox();
    ok("cat; test \"$(readlink /proc/self/fd/0)\" = /dev/null");
    expect_out("");
}

static void handed_over_descriptors(void **state)
{
    (void)state;
    need_sandbox();
    int in[2], out[2];
    char buf[64] = "";
    struct cb_exec_spec spec = plain_spec();
    assert_int_equal(cb_pipe(in, NULL), 0);
    assert_int_equal(cb_pipe(out, NULL), 0);
    assert_int_equal(write(in[1], "hello", 5), 5);
    close(in[1]);
    spec.stdin_fd = in[0];
    spec.stdout_fd = out[1];
    run_script(&spec, "cat; echo err >&2");
    assert_int_equal(fx.status, 0);
    assert_int_equal(read(out[0], buf, sizeof buf), 5);
    assert_string_equal(buf, "hello");
    assert_string_equal(fx.err.buf, "err\n");
    expect_out("");
    close(in[0]);
    close(out[0]);
    close(out[1]);
}

static void without_an_init(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.init = false;
    run_script(&spec, "echo $$; sleep 100 & exit 4");
    assert_int_equal(fx.result, 0);
    assert_int_equal(fx.status, 4);
    expect_out("1\n");
    run_script(&spec, "exec nosuch");
    assert_int_equal(fx.status, 127);
    spec.cwd = "/etc/passwd";
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
}

/* ---- start-up failures of the step ---- */

static void run_argv(const char *arg0)
{
    const char *argv[] = { arg0, NULL };
    struct cb_exec_spec spec = plain_spec();
    spec.argv = argv;
    run_spec(&spec);
    assert_int_equal(fx.result, 0);
}

static void program_not_found(void **state)
{
    (void)state;
    need_sandbox();
    run_argv("nosuch");
    assert_int_equal(fx.status, 127);
    assert_string_equal(fx.err.buf, "exec: \"nosuch\": executable file not found in $PATH\n");
    run_argv("/bin/nosuch");
    assert_int_equal(fx.status, 127);
    assert_string_equal(fx.err.buf, "exec: \"/bin/nosuch\": no such file or directory\n");
    run_argv("");
    assert_int_equal(fx.status, 127);
}

static void program_not_executable(void **state)
{
    (void)state;
    need_sandbox();
    put_file(fx.lower, "plain", "#!/bin/sh\n", 0644);
    run_argv("/plain");
    assert_int_equal(fx.status, 126);
    assert_string_equal(fx.err.buf, "exec: \"/plain\": permission denied\n");
    put_file(fx.lower, "garbage", "\x7f\x45garbage", 0755);
    run_argv("/garbage");
    assert_int_equal(fx.status, 126);
    assert_non_null(strstr(fx.err.buf, "exec format error"));
    put_file(fx.lower, "orphan", "#!/no/interpreter\n", 0755);
    run_argv("/orphan");
    assert_int_equal(fx.status, 127);
    assert_non_null(strstr(fx.err.buf, "interpreter"));
    run_argv("/etc");
    assert_int_equal(fx.status, 126);
}

static void terminal_escapes_are_printed_safely(void **state)
{
    (void)state;
    need_sandbox();
    run_argv("\x1b]0;evil\a");
    assert_int_equal(fx.status, 127);
    assert_null(strchr(fx.err.buf, '\x1b'));
}

static void path_look_up(void **state)
{
    (void)state;
    need_sandbox();
    static const char *const env[] = { "PATH=/nowhere::/bin", NULL };
    static const char *const none[] = { NULL };
    const char *argv[] = { "echo", "found", NULL };
    struct cb_exec_spec spec = plain_spec();
    spec.argv = argv;
    spec.env = env;
    run_spec(&spec);
    assert_int_equal(fx.status, 0);
    expect_out("found\n");
    spec.env = none;
    run_spec(&spec);
    assert_int_equal(fx.status, 0); /* the usual directories */
    /* An empty entry is the working directory. */
    put_file(fx.lower, "here", "#!/bin/sh\n/bin/echo $0\n", 0755);
    argv[0] = "here";
    spec.env = env;
    run_spec(&spec);
    assert_int_equal(fx.status, 0);
    expect_out("./here\n");
}

/* ---- environment ---- */

static void environment_is_exact(void **state)
{
    (void)state;
    need_sandbox();
    static const char *const env[] = { "B=2", "A=1 with blanks", "EMPTY=", NULL };
    const char *argv[] = { "/bin/env", NULL };
    struct cb_exec_spec spec = plain_spec();
    assert_int_equal(setenv("CB_HOST_CANARY", "secret", 1), 0);
    spec.argv = argv;
    spec.env = env;
    run_spec(&spec);
    expect_out("B=2\nA=1 with blanks\nEMPTY=\n");
    ok("cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -c CB_HOST_[C]ANARY || true");
    expect_out("0\n");
    unsetenv("CB_HOST_CANARY");
}

static void working_directory(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.cwd = "/etc/";
    run_script(&spec, "pwd; ls");
    expect_out("/etc\nhosts\npasswd\nresolv.conf\n");
    spec.cwd = "/no//where/";
    run_script(&spec, "pwd; stat -c '%a %u:%g' /no /no/where");
    expect_out("/no/where\n755 0:0\n755 0:0\n");
    spec.cwd = "/etc/passwd/x";
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
    assert_non_null(strstr(fx.error.msg, "working directory /etc/passwd/x"));
    spec.cwd = "etc";
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
}

static void working_directory_stays_inside(void **state)
{
    (void)state;
    need_sandbox();
    static const char *const bad[] = { "/proc",   "/proc/self/fd",   "/proc/self/cwd", "/proc/1/root",
                                       "/sneaky", "/proc/self/fd/3", "/proc/self/fd/7" };
    struct cb_exec_spec spec = plain_spec();
    assert_int_equal(symlinkat("/proc/self/task", fx.lower, "sneaky"), 0);
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        spec.cwd = bad[i];
        run_script(&spec, "true");
        assert_int_equal(fx.result, -CB_ECONF);
    }
    spec.cwd = "/../../etc";
    run_script(&spec, "pwd");
    expect_out("/etc\n");
}

static void host_name_and_hosts(void **state)
{
    (void)state;
    need_sandbox();
    ok("hostname; cat /etc/hosts");
    assert_true(cb_starts_with(fx.out.buf, "buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n"));
    struct cb_strvec extra = CB_STRVEC_INIT;
    struct cb_exec_spec spec = plain_spec();
    cb_strvec_push(&extra, "db 10.1.2.3");
    spec.extra_hosts = &extra;
    spec.hostname = "box";
    run_script(&spec, "hostname; grep db /etc/hosts; echo more >>/etc/hosts");
    expect_out("box\n10.1.2.3\tdb\n");
    assert_int_equal(count_entries(fx.upper), 0);
    cb_strvec_push(&extra, "x;y 10.1.2.3");
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
    cb_strvec_done(&extra);
}

static void resolv_conf_is_the_hosts(void **state)
{
    (void)state;
    need_sandbox();
    cb_cleanup_strbuf struct cb_strbuf ours = CB_STRBUF_INIT;
    if (cb_file_slurp("/etc/resolv.conf", 1u << 16, &ours, NULL) < 0)
        skip();
    ok("cat /etc/resolv.conf");
    expect_out(ours.buf);
}

/* ---- users ---- */

static void becomes_a_user(void **state)
{
    (void)state;
    need_sandbox();
    static const uint32_t groups[] = { 5, 77 };
    struct cb_exec_spec spec = plain_spec();
    spec.uid = 1000;
    spec.gid = 1001;
    spec.groups = groups;
    spec.n_groups = 2;
    run_script(&spec, "id -u; id -g; id -G; grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status; echo x >/dev/stdout");
    if (fx.mode == CB_ID_SINGLE) {
        /* all there is: it runs as the one id */
        assert_int_equal(fx.result, 0);
        assert_true(cb_starts_with(fx.out.buf, "0\n0\n"));
        return;
    }
    expect_out("1000\n1001\n1001 5 77\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
               "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\nx\n");
}

static void root_has_no_groups(void **state)
{
    (void)state;
    need_sandbox();
    if (fx.mode == CB_ID_SINGLE)
        return; /* one id only: the other two modes show it */
    ok("id -u; id -G");
    expect_out("0\n0\n");
}

/* ---- the root ---- */

static void changes_go_to_the_upper_directory(void **state)
{
    (void)state;
    need_sandbox();
    struct stat st;
    char value = 0;
    put_file(fx.lower, "old", "x", 0644);
    close(make_dir(fx.lower, "tree"));
    ok("echo data >/new; rm /old; rm -r /tree; mkdir /tree; chmod 700 /etc/passwd");
    assert_int_equal(fstatat(fx.upper, "new", &st, 0), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(fstatat(fx.upper, "old", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
    int tree = openat(fx.upper, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *name = fx.mode == CB_ID_REAL_ROOT ? "trusted.overlay.opaque" : "user.overlay.opaque";
    assert_int_equal(fgetxattr(tree, name, &value, 1), 1);
    assert_int_equal(value, 'y');
    close(tree);
    assert_int_equal(fstatat(fx.upper, "etc/passwd", &st, 0), 0);
    assert_int_equal(count_entries(fx.upper), 4);
}

static void nothing_of_ours_is_left(void **state)
{
    (void)state;
    need_sandbox();
    ok("true");
    assert_int_equal(count_entries(fx.upper), 0);
    ok("ls /proc /sys /dev /etc >/dev/null; touch /etc/new");
    assert_int_equal(count_entries(fx.upper), 1);
    int etc = openat(fx.upper, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(count_entries(etc), 1);
    close(etc);
}

static void no_layers_at_all(void **state)
{
    (void)state;
    need_sandbox();
    int bin = openat(fx.lower, "bin", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct cb_mount m = { .kind = CB_MOUNT_BIND, .source_fd = bin, .target = "/bin", .readonly = true };
    struct cb_exec_spec spec = plain_spec();
    spec.root.n_lower = 0;
    spec.mounts = &m;
    spec.n_mounts = 1;
    run_script(&spec, "echo /*; echo x >/file");
    expect_out("/bin /dev /etc /proc /sys\n");
    assert_int_equal(count_entries(fx.upper), 1);
    close(bin);
}

static void many_layers(void **state)
{
    (void)state;
    need_sandbox();
    enum { N = 300 };
    int fds[N + 1] = { fx.lower };
    char name[16], text[16];
    int layers = make_dir(fx.base, "layers");
    for (int i = 1; i <= N; i++) {
        snprintf(name, sizeof name, "%d", i);
        fds[i] = make_dir(layers, name);
        snprintf(text, sizeof text, "%d\n", i);
        put_file(fds[i], "top", text, 0644);
        put_file(fds[i], name, text, 0644);
    }
    struct cb_exec_spec spec = plain_spec();
    spec.root.lower_fds = fds;
    spec.root.n_lower = N + 1;
    run_script(&spec, "cat /top; ls / | grep -c '^[0-9]'");
    assert_int_equal(fx.result, 0);
    expect_out("300\n300\n");
    for (int i = 1; i <= N; i++)
        close(fds[i]);
    close(layers);
}

static void a_layer_that_stands_twice(void **state)
{
    (void)state;
    need_sandbox();
    int other = make_dir(fx.base, "other");
    put_file(other, "who", "other\n", 0644);
    put_file(fx.lower, "who", "lower\n", 0644);
    int fds[] = { other, fx.lower, other, fx.lower };
    struct cb_exec_spec spec = plain_spec();
    spec.root.lower_fds = fds;
    spec.root.n_lower = 4;
    run_script(&spec, "cat /who");
    expect_out("lower\n");
    close(other);
}

static void readonly_root(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_mount m = { .kind = CB_MOUNT_TMPFS, .target = "/scratch" };
    struct cb_exec_spec spec = plain_spec();
    spec.readonly_root = true;
    spec.mounts = &m;
    spec.n_mounts = 1;
    run_script(&spec, "touch /x 2>/dev/null && exit 1; touch /scratch/x && touch /dev/shm/x");
    assert_int_equal(fx.status, 0);
    assert_int_equal(count_entries(fx.upper), 0);
}

/* The whole way as older kernels need it: stubs on the disk, layers by name, or mount(2) and one string. */
static void as_on_older_kernels(void **state)
{
    static const enum cb_overlay_how hows[] = { CB_OVERLAY_NAMES, CB_OVERLAY_CLASSIC };
    for (size_t i = 0; i < CB_COUNTOF(hows); i++) {
        fx.how = hows[i];
        nothing_of_ours_is_left(state);
        changes_go_to_the_upper_directory(state);
        no_layers_at_all(state);
        if (!fx.again)
            many_layers(state);
        ok("stat -c %i / /.. | busybox sort -u | wc -l; cat /proc/self/mountinfo | grep -c ' / / '");
        expect_out("1\n1\n");
    }
    fx.how = CB_OVERLAY_FDS;
}

/* ---- the end ---- */

static void background_processes_die(void **state)
{
    (void)state;
    need_sandbox();
    int source = make_dir(fx.base, "alive");
    struct cb_mount m = { .kind = CB_MOUNT_BIND, .source_fd = source, .target = "/alive" };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = &m;
    spec.n_mounts = 1;
    /* It holds stdout open, ignores what it can and has a session of its own. */
    run_script(&spec, "(trap '' HUP TERM INT; while :; do echo x >>/alive/log; sleep 0.05; done) & sleep 0.2; exit 3");
    assert_int_equal(fx.status, 3);
    assert_true(fx.ns < INT64_C(5000000000));
    struct stat a, b;
    assert_int_equal(fstatat(source, "log", &a, 0), 0);
    usleep(300000);
    assert_int_equal(fstatat(source, "log", &b, 0), 0);
    assert_int_equal(a.st_size, b.st_size);
    close(source);
}

/* As soon as the step has said something. */
static void cancel_on_output(void *arg, int stream, const char *buf, size_t n)
{
    on_output(NULL, stream, buf, n);
    cb_cancel_trigger(arg, SIGINT);
}

static void run_canceled(const char *script)
{
    struct cb_exec_spec spec = plain_spec();
    struct cb_cancel *cancel = cb_cancel_new(NULL);
    spec.cancel = cancel;
    spec.on_output = cancel_on_output;
    spec.on_output_arg = cancel;
    run_script(&spec, script);
    assert_int_equal(fx.result, -CB_ECANCELED);
    cb_cancel_free(cancel);
}

static void cancel_terminates(void **state)
{
    (void)state;
    need_sandbox();
    run_canceled("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done");
    expect_out("ready\nbye\n");
    assert_true(fx.ns < INT64_C(5000000000));
}

static void cancel_kills_in_the_end(void **state)
{
    (void)state;
    need_sandbox();
    if (fx.again)
        return; /* nine seconds: once is enough */
    run_canceled("trap '' TERM INT HUP; echo ready; while :; do sleep 1; done");
    assert_true(fx.ns >= INT64_C(9000000000));
    assert_true(fx.ns < INT64_C(14000000000));
}

static void canceled_before_it_starts(void **state)
{
    (void)state;
    struct cb_cancel *c = cb_cancel_new(NULL);
    const char *argv[] = { "true", NULL };
    struct cb_exec_spec spec = plain_spec();
    struct cb_error err = CB_ERROR_INIT;
    int status = 0;
    cb_cancel_trigger(c, 0);
    spec.cancel = c;
    spec.argv = argv;
    assert_int_equal(cb_exec_run(&spec, &status, &err), -CB_ECANCELED);
    cb_error_done(&err);
    cb_cancel_free(c);
}

static void no_descriptor_is_leaked(void **state)
{
    (void)state;
    need_sandbox();
    int before = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok("true");
    size_t n = count_entries(before);
    ok("true");
    run_argv("/nosuch");
    struct cb_exec_spec spec = plain_spec();
    spec.cwd = "/nowhere";
    run_script(&spec, "true");
    assert_int_equal(count_entries(before), n);
    close(before);
}

static void memory_limit(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.limits = &(struct cb_limits){ .memory = 32u << 20 };
    run_script(&spec, "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null");
    if (fx.result == -CB_ELOCAL) {
        assert_int_not_equal(fx.mode, CB_ID_REAL_ROOT); /* root can have a cgroup */
        assert_non_null(strstr(fx.error.msg, "memory limit"));
        return;
    }
    assert_int_not_equal(fx.status, 0);
    run_script(&spec, "dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null");
    assert_int_equal(fx.status, 0);
}

struct parallel {
    int dir;
    int failures;
};

static void *many_steps(void *arg)
{
    struct parallel *p = arg;
    static const char *const argv[] = { "/bin/true", NULL };
    for (int i = 0; i < 10; i++) {
        char name[64];
        int status = -1, dir = -1;
        if (cb_fs_mkdtempat(p->dir, "par-", name, 0755, &dir, NULL) < 0)
            return NULL;
        struct cb_exec_spec spec = plain_spec();
        spec.argv = argv;
        spec.on_output = NULL;
        spec.root.upper_fd = mkdirat(dir, "u", 0755) < 0 ? -1 : openat(dir, "u", O_RDONLY | O_CLOEXEC);
        spec.root.work_fd = mkdirat(dir, "w", 0755) < 0 ? -1 : openat(dir, "w", O_RDONLY | O_CLOEXEC);
        spec.scratch_fd = mkdirat(dir, "s", 0755) < 0 ? -1 : openat(dir, "s", O_RDONLY | O_CLOEXEC);
        p->failures += cb_exec_run(&spec, &status, NULL) < 0 || status != 0;
        close(spec.root.upper_fd);
        close(spec.root.work_fd);
        close(spec.scratch_fd);
        close(dir);
    }
    return NULL;
}

static void steps_in_parallel(void **state)
{
    (void)state;
    need_sandbox();
    enum { N = 6 };
    pthread_t t[N];
    struct parallel p[N];
    for (int i = 0; i < N; i++) {
        p[i] = (struct parallel){ .dir = fx.base };
        assert_int_equal(pthread_create(&t[i], NULL, many_steps, &p[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(p[i].failures, 0);
    }
}

static void a_start_costs_little(void **state)
{
    (void)state;
    need_sandbox();
    const int n = fx.again ? 10 : 50;
    int64_t best = INT64_MAX, sum = 0;
    for (int i = 0; i < n; i++) {
        run_argv("/bin/true");
        assert_int_equal(fx.status, 0);
        sum += fx.ns;
        best = CB_MIN(best, fx.ns);
    }
    print_message("a step of `true`: best %.2f ms, mean %.2f ms\n", (double)best / 1e6, (double)sum / n / 1e6);
    assert_true(best < INT64_C(100000000)); /* a machine under load; the figure above is what counts */
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(death_by_signal),
        cmocka_unit_test(both_streams),
        cmocka_unit_test(one_stream),
        cmocka_unit_test(much_output),
        cmocka_unit_test(no_input),
        cmocka_unit_test(handed_over_descriptors),
        cmocka_unit_test(without_an_init),
        cmocka_unit_test(program_not_found),
        cmocka_unit_test(program_not_executable),
        cmocka_unit_test(terminal_escapes_are_printed_safely),
        cmocka_unit_test(path_look_up),
        cmocka_unit_test(environment_is_exact),
        cmocka_unit_test(working_directory),
        cmocka_unit_test(working_directory_stays_inside),
        cmocka_unit_test(host_name_and_hosts),
        cmocka_unit_test(resolv_conf_is_the_hosts),
        cmocka_unit_test(becomes_a_user),
        cmocka_unit_test(root_has_no_groups),
        cmocka_unit_test(changes_go_to_the_upper_directory),
        cmocka_unit_test(nothing_of_ours_is_left),
        cmocka_unit_test(no_layers_at_all),
        cmocka_unit_test(many_layers),
        cmocka_unit_test(a_layer_that_stands_twice),
        cmocka_unit_test(readonly_root),
        cmocka_unit_test(as_on_older_kernels),
        cmocka_unit_test(background_processes_die),
        cmocka_unit_test(cancel_terminates),
        cmocka_unit_test(cancel_kills_in_the_end),
        cmocka_unit_test(canceled_before_it_starts),
        cmocka_unit_test(no_descriptor_is_leaked),
        cmocka_unit_test(memory_limit),
        cmocka_unit_test(steps_in_parallel),
        cmocka_unit_test(a_start_costs_little),
    };
    return cmocka_run_group_tests_name("exec run", tests, NULL, NULL);
}

int main(void)
{
    return run_groups(group);
}

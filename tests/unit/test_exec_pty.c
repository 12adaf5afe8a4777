/* SPDX-License-Identifier: Apache-2.0 */
/* A step with a terminal; the caller's terminal is a pty of the test. */
#include "exec_fixture.h"

#include <pthread.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

struct user {
    int master;
    const char *types;
    bool saw_raw;
    struct winsize later;
    struct cb_strbuf screen;
};

/* Waits for "ready", types, and reads until the other side is closed. */
static void *user_thread(void *arg)
{
    struct user *u = arg;
    char buf[512];
    bool typed = false;
    ssize_t n;
    while ((n = read(u->master, buf, sizeof buf)) > 0) {
        cb_strbuf_add(&u->screen, buf, (size_t)n);
        if (!typed && strstr(u->screen.buf, "ready")) {
            struct termios t;
            u->saw_raw = tcgetattr(u->master, &t) == 0 && !(t.c_lflag & (ICANON | ECHO));
            if (u->later.ws_row)
                ioctl(u->master, TIOCSWINSZ, &u->later);
            typed = write(u->master, u->types, strlen(u->types)) > 0;
        }
    }
    return NULL;
}

static void run_on_terminal(struct user *u, struct winsize *size, const char *script)
{
    int slave;
    struct termios before, after;
    pthread_t thread;
    struct cb_exec_spec spec = plain_spec();
    u->screen = (struct cb_strbuf)CB_STRBUF_INIT;
    assert_int_equal(openpty(&u->master, &slave, NULL, NULL, size), 0);
    assert_int_equal(tcgetattr(slave, &before), 0);
    assert_int_equal(pthread_create(&thread, NULL, user_thread, u), 0);
    spec.tty = true;
    spec.stdin_fd = spec.stdout_fd = spec.stderr_fd = slave;
    run_script(&spec, script);
    assert_int_equal(tcgetattr(slave, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    assert_int_equal(after.c_iflag, before.c_iflag);
    assert_int_equal(after.c_oflag, before.c_oflag);
    close(slave);
    pthread_join(thread, NULL);
    close(u->master);
}

static void a_terminal_of_its_own(void **state)
{
    (void)state;
    need_sandbox();
    struct user u = { .types = "hello\n" };
    struct winsize ws = { .ws_row = 33, .ws_col = 99 };
    run_on_terminal(&u, &ws,
                    "tty; stty size; echo ready; read line; echo got $line; : </dev/tty && echo owned; exit 7");
    assert_int_equal(fx.result, 0);
    assert_int_equal(fx.status, 7);
    assert_true(u.saw_raw);
    assert_non_null(strstr(u.screen.buf, "/dev/pts/0\r\n33 99\r\nready\r\n"));
    assert_non_null(strstr(u.screen.buf, "got hello\r\nowned\r\n"));
    cb_strbuf_done(&u.screen);
}

static void interrupt_from_the_keyboard(void **state)
{
    (void)state;
    need_sandbox();
    struct user u = { .types = "\003" };
    struct winsize ws = { .ws_row = 24, .ws_col = 80 };
    run_on_terminal(&u, &ws, "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done");
    assert_int_equal(fx.status, 5);
    assert_non_null(strstr(u.screen.buf, "caught"));
    cb_strbuf_done(&u.screen);
}

static void a_new_size_is_passed_on(void **state)
{
    (void)state;
    need_sandbox();
    struct user u = { .types = "x", .later = { .ws_row = 50, .ws_col = 132 } };
    struct winsize ws = { .ws_row = 24, .ws_col = 80 };
    run_on_terminal(&u, &ws,
                    "echo ready; i=0; while [ $i -lt 50 ]; do [ \"$(stty size)\" = '50 132' ] && exit 9; sleep 0.1; "
                    "i=$((i+1)); done; exit 1");
    assert_int_equal(fx.status, 9);
    cb_strbuf_done(&u.screen);
}

static void end_of_input_ends_the_shell(void **state)
{
    (void)state;
    need_sandbox();
    int in[2];
    struct cb_exec_spec spec = plain_spec();
    const char *argv[] = { "sh", NULL };
    assert_int_equal(cb_pipe(in, NULL), 0);
    assert_int_equal(write(in[1], "exit 6\n", 7), 7);
    close(in[1]);
    spec.tty = true;
    spec.stdin_fd = in[0];
    spec.argv = argv;
    run_spec(&spec);
    assert_int_equal(fx.status, 6);
    close(in[0]);
}

static void output_without_a_caller_terminal(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.tty = true;
    run_script(&spec, "test -t 0 && test -t 1 && test -t 2 && echo yes");
    assert_int_equal(fx.status, 0);
    assert_string_equal(fx.out.buf, "yes\r\n");
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_of_its_own),       cmocka_unit_test(interrupt_from_the_keyboard),
        cmocka_unit_test(a_new_size_is_passed_on),     cmocka_unit_test(end_of_input_ends_the_shell),
        cmocka_unit_test(output_without_a_caller_terminal),
    };
    return cmocka_run_group_tests_name("exec pty", tests, NULL, NULL);
}

int main(void)
{
    return run_groups(group);
}

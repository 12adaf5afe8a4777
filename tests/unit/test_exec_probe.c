/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_fixture.h"

#include <sys/syscall.h>

static const struct cb_probe *find(const struct cb_probes *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++) {
        if (cb_streq(p->v[i].name, name))
            return &p->v[i];
    }
    return NULL;
}

static void tells_what_works(void **state)
{
    (void)state;
    struct cb_probes p = { 0 };
    assert_int_equal(cb_exec_probe(fx.base, fx.mode, &p, NULL), 0);
    static const char *const names[] = { "kernel",           "seccomp", "user namespaces", "subuid range", "overlayfs",
                                         "native isolation", "pasta",   "/dev/net/tun",    "memory limits" };
    for (size_t i = 0; i < p.n; i++) {
        const struct cb_probe *q = &p.v[i];
        print_message("%-17s %d %s%s%s\n", q->name, q->state, q->detail, q->remedy ? " -> " : "",
                      q->remedy ? q->remedy : "");
        assert_non_null(q->detail);
        /* A remedy exactly where something is wrong. */
        assert_int_equal(q->remedy != NULL, q->state != CB_PROBE_OK);
    }
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        assert_non_null(find(&p, names[i]));
    if (!fx.why_not)
        assert_int_equal(find(&p, "native isolation")->state, CB_PROBE_OK);
    if (fx.mode == CB_ID_SINGLE)
        assert_int_not_equal(find(&p, "subuid range")->state, CB_PROBE_OK);
    cb_probes_done(&p);
    assert_int_equal(count_entries(fx.base), 1); /* nothing is left but our own rootfs */
}

static void a_place_that_cannot_work(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_probes p = { 0 };
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(cb_exec_probe(proc, fx.mode, &p, NULL), 0);
    assert_int_equal(find(&p, "overlayfs")->state, CB_PROBE_BROKEN);
    assert_int_equal(find(&p, "native isolation")->state, CB_PROBE_BROKEN);
    cb_probes_done(&p);
    close(proc);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(cb_exec_probe(file, fx.mode, &p, NULL), -CB_ELOCAL);
    close(file);
}

static void without_any_right(void **state)
{
    (void)state;
    /* A child that has given up its capabilities is told so, and does not crash. */
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct cb_error err = CB_ERROR_INIT;
        struct cb_exec_spec spec = plain_spec();
        const char *argv[] = { "true", NULL };
        int status = 0;
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        for (int cap = 0; cap < 64; cap++)
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        struct {
            uint32_t version;
            int pid;
        } head = { 0x20080522, 0 };
        uint32_t none[6] = { 0 };
        syscall(SYS_capset, &head, none);
        spec.argv = argv;
        spec.root.upper_fd = spec.root.work_fd = spec.scratch_fd = fx.base;
        int r = cb_exec_run(&spec, &status, &err);
        print_message("%s\n", cb_error_text(&err));
        _exit(r == -CB_ELOCAL && err.msg ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_works),
        cmocka_unit_test(a_place_that_cannot_work),
        cmocka_unit_test(without_any_right),
    };
    return cmocka_run_group_tests_name("exec probe", tests, NULL, NULL);
}

int main(void)
{
    return run_groups(group);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/child_step.h"
#include "util/mnt.h"

/* ---- PID 1: what needs to be in the new pid namespace ---- */

CB_AFTER_CLONE static void hide(const struct cb_child *c, int proc, const char *name)
{
    struct stat st;
    int target = openat(proc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 && errno == ENOENT)
        return;
    if (target < 0 || fstat(target, &st) < 0)
        cb_child_die(c, CB_STAGE_HIDE, errno, name);
    bool dir = S_ISDIR(st.st_mode);
    uint64_t attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | (dir ? MOUNT_ATTR_NODEV : 0);
    int mnt = cb_mnt_clone(dir ? c->empty : c->null, "", false);
    int r = mnt < 0 ? mnt : cb_mnt_set(mnt, attrs, false);
    if (r < 0 || (r = cb_mnt_move(mnt, target)) < 0)
        cb_child_die(c, CB_STAGE_HIDE, -r, name);
    close(mnt);
    close(target);
}

CB_AFTER_CLONE static void make_readonly(const struct cb_child *c, int proc, const char *name)
{
    int target = openat(proc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 && errno == ENOENT)
        return;
    int mnt = target < 0 ? -errno : cb_mnt_clone(proc, name, true);
    int r = mnt < 0 ? mnt : cb_mnt_set(mnt, MOUNT_ATTR_RDONLY, true);
    if (r < 0 || (r = cb_mnt_move(mnt, target)) < 0)
        cb_child_die(c, CB_STAGE_HIDE, -r, name);
    close(mnt);
    close(target);
}

CB_AFTER_CLONE static void mount_proc(const struct cb_child *c)
{
    static const char *const hidden[] = { "acpi",        "asound",      "interrupts",  "kcore", "keys",
                                          "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats" };
    static const char *const readonly[] = { "bus", "fs", "irq", "sys", "sysrq-trigger" };
    int proc = cb_mnt_new("proc", NULL, CB_MNT_SAFEST);
    int r = proc < 0 ? proc : cb_mnt_move(proc, c->proc);
    if (r < 0)
        cb_child_die(c, CB_STAGE_PROC, -r, NULL);
    for (size_t i = 0; !c->insecure && i < CB_COUNTOF(hidden); i++)
        hide(c, proc, hidden[i]);
    for (size_t i = 0; !c->insecure && i < CB_COUNTOF(readonly); i++)
        make_readonly(c, proc, readonly[i]);
}

/* ---- PID 1 again: reap and forward ---- */

CB_AFTER_CLONE static void reap(pid_t step)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (pid == step) /* when PID 1 ends, the kernel ends everything else in the namespace */
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    if (pid < 0 && errno == ECHILD)
        _exit(124);
}

CB_AFTER_CLONE static CB_NORETURN void init_loop(pid_t step)
{
    static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGWINCH, SIGCONT };
    sigset_t all;
    siginfo_t info;
    sigfillset(&all);
    for (;;) {
        int s = sigwaitinfo(&all, &info);
        if (s == SIGCHLD)
            reap(step);
        for (size_t i = 0; i < CB_COUNTOF(forwarded); i++) {
            if (s == forwarded[i])
                kill(step, s);
        }
    }
}

CB_AFTER_CLONE static void keep_what_init_needs(void)
{
    syscall(SYS_close_range, 0, ~0U, 0);
    /* One capability that no process of the step can have keeps all of them from tracing this one. */
    cb_child_capabilities(UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_SYS_PTRACE);
    cb_child_control(PR_SET_DUMPABLE, 0, 0); /* the step's process has shared our memory, and with it this mark */
}

CB_AFTER_CLONE void cb_child_native_main(struct cb_child *c)
{
    cb_child_take_signals();
    cb_child_wait(c);
    setsid();
    mount_proc(c);
    cb_child_cgroup(c);
    int r = cb_mnt_pivot(c->root);
    if (r < 0)
        cb_child_die(c, CB_STAGE_PIVOT, -r, NULL);
    cb_child_stdio(c);
    cb_child_limits();
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    cb_child_forget(c);
    if (!c->init)
        cb_child_step(c);
    pid_t step = vfork();
    if (step == 0)
        cb_child_step(c);
    if (step < 0)
        cb_child_die(c, CB_STAGE_FORK, errno, NULL);
    keep_what_init_needs();
    init_loop(step);
}

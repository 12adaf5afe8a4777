/* SPDX-License-Identifier: Apache-2.0 */
/* The first process of `oci`: PID 1 of a namespace in which the runtime and all of its container are. Whatever ends it
 * ends them too, so nothing has to be deleted afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/child_step.h"
#include "util/mnt.h"

#define NO_CONTAINER 124 /* the runtime says that it has started one, and nobody knows how that ended */

/* The runtime looks for its own processes there. */
CB_AFTER_CLONE static void own_proc(const struct cb_child *c)
{
    int target = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int proc = target < 0 ? -errno : cb_mnt_new("proc", NULL, CB_MNT_SAFEST);
    int r = proc < 0 ? proc : cb_mnt_move(proc, target);
    if (r < 0)
        cb_child_die(c, CB_STAGE_PROC, -r, NULL);
}

/* crun takes either version of cgroups and refuses both at once: it is shown the first only, and uses neither. */
CB_AFTER_CLONE static int hide_second_version(const struct cb_child *c)
{
    int target = open("/sys/fs/cgroup/unified", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target < 0)
        return errno == ENOENT ? 0 : -errno;
    int mnt = cb_mnt_clone(c->empty, "", false);
    return mnt < 0 ? mnt : cb_mnt_move(mnt, target);
}

/* It makes no cgroups: limits are on ours. In a copy of the mounts, or ours could not be removed. */
CB_AFTER_CLONE static void protect_cgroups(const struct cb_child *c)
{
    int hidden = hide_second_version(c);
    if (hidden < 0)
        cb_child_die(c, CB_STAGE_CGROUP, -hidden, NULL);
    if (unshare(CLONE_NEWNS) < 0)
        cb_child_die(c, CB_STAGE_CGROUP, errno, NULL);
    int fd = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : cb_mnt_set(fd, MOUNT_ATTR_RDONLY, true);
    if (r < 0 && r != -ENOENT && r != -EINVAL) /* there is none, or it is no mount */
        cb_child_die(c, CB_STAGE_CGROUP, -r, NULL);
}

CB_AFTER_CLONE static CB_NORETURN void runtime(const struct cb_child *c)
{
    struct sigaction sa = { 0 };
    sigset_t none;
    sa.sa_handler = SIG_DFL;
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (c->filter && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, c->filter) < 0)
        cb_child_die(c, CB_STAGE_SECCOMP, errno, NULL);
    execve(c->candidates[0], (char *const *)c->argv, (char *const *)c->env);
    cb_child_die(c, CB_STAGE_RUNTIME, errno, c->candidates[0]);
}

/* The runtime starts the container and ends; what is left to us then is the container's own first process. That may
 * have ended before: it is our child as soon as the runtime is about to end, and a zombie in no time. A runtime that
 * stays (runsc) is that itself. */
struct watch {
    pid_t runtime; /* 0: it has ended */
    int status;    /* of the last other child that ended; -1: there was none */
};

CB_AFTER_CLONE static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

CB_AFTER_CLONE static void reap(const struct cb_child *c, struct watch *w)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (pid != w->runtime) {
            w->status = exit_status(status);
            continue;
        }
        w->runtime = 0;
        if (!c->detached)
            _exit(exit_status(status));
        if (exit_status(status) != 0)
            cb_child_die(c, CB_STAGE_RUNTIME, 0, c->candidates[0]);
    }
    if (pid < 0 && errno == ECHILD)
        _exit(w->status >= 0 ? w->status : NO_CONTAINER);
}

/* To all in the namespace: which of them is the container's first process need not be known. */
CB_AFTER_CLONE static CB_NORETURN void watch_container(const struct cb_child *c, pid_t runtime)
{
    static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGCONT };
    struct watch w = { .runtime = runtime, .status = -1 };
    sigset_t all;
    siginfo_t info;
    sigfillset(&all);
    for (;;) {
        int s = sigwaitinfo(&all, &info);
        if (s == SIGCHLD)
            reap(c, &w);
        for (size_t i = 0; i < CB_COUNTOF(forwarded); i++) {
            if (s == forwarded[i])
                kill(-1, s);
        }
    }
}

CB_AFTER_CLONE void cb_child_oci_main(struct cb_child *c)
{
    cb_child_take_signals();
    cb_child_wait(c);
    setsid();
    own_proc(c);
    cb_child_cgroup(c);
    protect_cgroups(c);
    cb_child_stdio(c);
    cb_child_limits();
    cb_child_forget(c);
    pid_t pid = vfork();
    if (pid == 0)
        runtime(c);
    if (pid < 0)
        cb_child_die(c, CB_STAGE_FORK, errno, NULL);
    for (int i = 0; i < 3; i++)
        close(i);
    cb_child_capabilities(UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_SYS_PTRACE);
    cb_child_control(PR_SET_DUMPABLE, 0, 0);
    watch_container(c, pid);
}

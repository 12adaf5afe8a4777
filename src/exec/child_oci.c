/* SPDX-License-Identifier: Apache-2.0 */
/* The first process of `oci`: PID 1 of a namespace in which the runtime and all of its container are. Whatever ends it
 * ends them too, so nothing has to be deleted afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec/child_step.h"
#include "exec/mnt.h"

/* The runtime looks for its own processes there. */
CB_AFTER_CLONE static void own_proc(const struct cb_child *c)
{
    int target = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int proc = target < 0 ? -errno : cb_mnt_new("proc", NULL, CB_MNT_SAFEST);
    int r = proc < 0 ? proc : cb_mnt_move(proc, target);
    if (r < 0)
        cb_child_die(c, CB_STAGE_PROC, -r, NULL);
}

/* It makes no cgroups: limits are on ours. In a copy of the mounts, or ours could not be removed. */
CB_AFTER_CLONE static void protect_cgroups(const struct cb_child *c)
{
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
    execve(c->candidates[0], (char *const *)c->argv, (char *const *)c->env);
    cb_child_die(c, CB_STAGE_RUNTIME, errno, c->candidates[0]);
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
    cb_child_init(pid);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "util/proc_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "util/fd.h"

struct child_plan {
    const struct cb_proc_image *image;
    int report; /* receives errno if exec fails */
    pid_t parent;
    int max_fd; /* for kernels without close_range */
};

static void restore_signals(void)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &dfl, NULL);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_others(const struct child_plan *plan)
{
    if (close_range(4, ~0u, 0) == 0)
        return;
    for (int fd = 4; fd < plan->max_fd; fd++)
        close(fd);
}

/* In the child; returns only on failure. */
static void become(const struct child_plan *plan)
{
    (void)setpgid(0, 0);
    restore_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return;
    if (plan->image->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return;
    /* The parent may have died before that. */
    if (getppid() != plan->parent)
        _exit(127);
    for (int i = 0; i < 3; i++) {
        if (dup2(plan->image->stdio[i], i) < 0)
            return;
    }
    if (plan->report != 3 && dup3(plan->report, 3, O_CLOEXEC) < 0)
        return;
    close_others(plan);
    execve(plan->image->path, (char *const *)plan->image->argv, (char *const *)plan->image->env);
}

static CB_NORETURN void child_main(const struct child_plan *plan)
{
    become(plan);
    int e = errno;
    /* Behind dup3 it is 3; before that its old number. Writing to both would tell it twice: the parent reads once. */
    ssize_t unused = write(plan->report, &e, sizeof e);
    if (unused < 0)
        unused = write(3, &e, sizeof e);
    (void)unused;
    _exit(127);
}

static int await_exec(int report, pid_t pid, const char *path, struct cb_error *err)
{
    int e = 0;
    size_t got;
    int r = cb_fd_read_full(report, &e, sizeof e, &got, err);
    if (r == 0 && got == 0)
        return 0;
    if (r == 0)
        r = cb_error_sys(err, e == ENOENT ? CB_ENOTFOUND : CB_ELOCAL, e, "run %s", path);
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return r;
}

static int max_descriptor(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur > 1 << 20)
        return 1 << 20;
    return (int)lim.rlim_cur;
}

int cb_proc_spawn(const struct cb_proc_image *image, pid_t *pid, struct cb_error *err)
{
    int fds[2];
    int r = cb_pipe(fds, err);
    if (r < 0)
        return r;
    cb_autoclose int reader = fds[0], writer = fds[1];
    r = cb_fd_lift(&writer, err);
    if (r < 0)
        return r;
    struct child_plan plan = { .image = image, .report = writer, .parent = getpid(), .max_fd = max_descriptor() };
    /* All blocked: a handler of ours that ran in the child would act on what it shares with us. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    *pid = fork();
    int fork_errno = errno;
    if (*pid == 0)
        child_main(&plan);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (*pid < 0)
        return cb_error_sys(err, CB_ELOCAL, fork_errno, "start %s", image->path);
    (void)setpgid(*pid, *pid);
    close(CB_TAKE_FD(writer));
    return await_exec(reader, *pid, image->path, err);
}

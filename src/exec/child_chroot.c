/* SPDX-License-Identifier: Apache-2.0 */
/* The first process of `chroot`. There is no pid namespace whose end ends everything: it is the subreaper of all that
 * the step starts, so that each orphan becomes a child of its own, and kills children until there are none. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/child_step.h"

#define KILL_ROUNDS 5000 /* of 2 ms: what forks faster than that is left to the outer container */
#define ENDED_BY_KILL (128 + SIGKILL)

struct dirent64_raw {
    uint64_t ino, off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* What stands behind "pid (name) S " in its stat; the name may hold anything. */
CB_AFTER_CLONE static pid_t parent_of(int proc, const char *pid)
{
    char path[32], buf[512];
    size_t n = strlen(pid);
    if (n > sizeof path - sizeof "/stat")
        return 0;
    memcpy(path, pid, n);
    memcpy(path + n, "/stat", sizeof "/stat");
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return 0;
    buf[got] = '\0';
    const char *p = strrchr(buf, ')');
    pid_t parent = 0;
    for (p = p && strlen(p) > 4 ? p + 4 : ""; *p >= '0' && *p <= '9'; p++)
        parent = parent * 10 + (*p - '0');
    return parent;
}

CB_AFTER_CLONE static void kill_if_child(int proc, const char *name)
{
    pid_t pid = 0;
    for (const char *p = name; *p; p++) {
        if (*p < '0' || *p > '9')
            return;
        pid = pid * 10 + (*p - '0');
    }
    if (parent_of(proc, name) == getpid())
        kill(pid, SIGKILL);
}

CB_AFTER_CLONE static void kill_children(int proc)
{
    _Alignas(struct dirent64_raw) char buf[4096];
    long n;
    lseek(proc, 0, SEEK_SET);
    while ((n = syscall(SYS_getdents64, proc, buf, sizeof buf)) > 0) {
        for (long at = 0; at < n;) {
            const struct dirent64_raw *e = (const void *)(buf + at);
            kill_if_child(proc, e->name);
            at += e->reclen;
        }
    }
}

CB_AFTER_CLONE static CB_NORETURN void end(int proc, int status)
{
    for (int i = 0; i < KILL_ROUNDS; i++) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
            ;
        if (pid < 0 && errno == ECHILD)
            _exit(status);
        kill_children(proc);
        poll(NULL, 0, i ? 2 : 0);
    }
    _exit(124);
}

CB_AFTER_CLONE static void reap(int proc, pid_t step)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (pid == step)
            end(proc, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

CB_AFTER_CLONE static void on_signal(int signals, int proc, pid_t step)
{
    static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGTERM, SIGWINCH, SIGCONT };
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    int s = (int)info.ssi_signo;
    if (s == CB_CHILD_KILL_ALL)
        end(proc, ENDED_BY_KILL);
    if (s == SIGCHLD)
        reap(proc, step);
    for (size_t i = 0; i < CB_COUNTOF(forwarded); i++) {
        if (s == forwarded[i])
            kill(step, s);
    }
}

/* The other end of `alive` is the parent's: its end of file is the parent's death. */
CB_AFTER_CLONE static CB_NORETURN void watch(int alive, int proc, pid_t step)
{
    sigset_t all;
    sigfillset(&all);
    int signals = signalfd(-1, &all, SFD_CLOEXEC);
    struct pollfd p[2] = { { .fd = signals, .events = POLLIN }, { .fd = alive, .events = POLLIN } };
    if (signals < 0)
        end(proc, 124);
    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            end(proc, 124);
        if (p[1].revents)
            end(proc, ENDED_BY_KILL);
        if (p[0].revents)
            on_signal(signals, proc, step);
    }
}

CB_AFTER_CLONE void cb_child_chroot_main(struct cb_child *c)
{
    char byte;
    cb_child_take_signals();
    close(c->go_write);
    if (read(c->go_read, &byte, 1) != 1)
        _exit(124);
    setsid();
    cb_child_control(PR_SET_CHILD_SUBREAPER, 1, 0);
    c->keep[1] = c->go_read;
    cb_child_stdio(c);
    cb_child_limits();
    cb_child_forget(c);
    pid_t step = vfork();
    if (step == 0)
        cb_child_step(c);
    if (step < 0)
        cb_child_die(c, CB_STAGE_FORK, errno, NULL);
    for (int i = 0; i <= 3; i++)
        close(i);
    watch(c->keep[1], c->keep[2], step);
}

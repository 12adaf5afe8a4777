/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/mnt.h"

#define FIRST_FREE_FD 10
#define REPORT_FD 3
#define SOFT_OPEN_FILES 1024
/* The address sanitizer takes a lock before each call that does not return. A thread that held it is not here any
 * more. */
#define AFTER_CLONE __attribute__((no_sanitize("address")))
#define OOM_SCORE 300 /* the step goes before the builder */

AFTER_CLONE static int control(int option, unsigned long a, unsigned long b)
{
    return (int)syscall(SYS_prctl, option, a, b, 0UL, 0UL); /* the sanitizer's own prctl takes a lock too */
}

AFTER_CLONE static CB_NORETURN void die(const struct cb_child *c, enum cb_stage stage, int sys_errno, const char *what)
{
    struct cb_report r = { .stage = (int32_t)stage, .sys_errno = sys_errno };
    for (size_t i = 0; what && what[i] && i < sizeof r.what - 1; i++)
        r.what[i] = what[i];
    ssize_t n = write(c->report, &r, sizeof r);
    _exit(n == (ssize_t)sizeof r ? 125 : 124);
}

/* ---- PID 1: what needs to be in the new pid namespace ---- */

AFTER_CLONE static void wait_for_parent(struct cb_child *c)
{
    char byte;
    struct pollfd p = { .fd = c->go_read, .events = POLLIN };
    close(c->go_write);
    if (read(c->go_read, &byte, 1) != 1)
        _exit(124);
    control(PR_SET_PDEATHSIG, SIGKILL, 0);
    /* The parent may have died before that line: then nobody has the other end. */
    if (poll(&p, 1, 0) != 0)
        _exit(124);
}

AFTER_CLONE static void hide(const struct cb_child *c, int proc, const char *name)
{
    struct stat st;
    int target = openat(proc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 && errno == ENOENT)
        return;
    if (target < 0 || fstat(target, &st) < 0)
        die(c, CB_STAGE_HIDE, errno, name);
    bool dir = S_ISDIR(st.st_mode);
    uint64_t attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | (dir ? MOUNT_ATTR_NODEV : 0);
    int mnt = cb_mnt_clone(dir ? c->empty : c->null, "", false);
    int r = mnt < 0 ? mnt : cb_mnt_set(mnt, attrs, false);
    if (r < 0 || (r = cb_mnt_move(mnt, target)) < 0)
        die(c, CB_STAGE_HIDE, -r, name);
    close(mnt);
    close(target);
}

AFTER_CLONE static void make_readonly(const struct cb_child *c, int proc, const char *name)
{
    int target = openat(proc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 && errno == ENOENT)
        return;
    int mnt = target < 0 ? -errno : cb_mnt_clone(proc, name, true);
    int r = mnt < 0 ? mnt : cb_mnt_set(mnt, MOUNT_ATTR_RDONLY, true);
    if (r < 0 || (r = cb_mnt_move(mnt, target)) < 0)
        die(c, CB_STAGE_HIDE, -r, name);
    close(mnt);
    close(target);
}

AFTER_CLONE static void mount_proc(const struct cb_child *c)
{
    static const char *const hidden[] = { "acpi",        "asound",      "interrupts",  "kcore", "keys",
                                          "latency_stats", "sched_debug", "scsi", "timer_list", "timer_stats" };
    static const char *const readonly[] = { "bus", "fs", "irq", "sys", "sysrq-trigger" };
    int proc = cb_mnt_new("proc", NULL, CB_MNT_SAFEST);
    int r = proc < 0 ? proc : cb_mnt_move(proc, c->proc);
    if (r < 0)
        die(c, CB_STAGE_PROC, -r, NULL);
    for (size_t i = 0; !c->insecure && i < CB_COUNTOF(hidden); i++)
        hide(c, proc, hidden[i]);
    for (size_t i = 0; !c->insecure && i < CB_COUNTOF(readonly); i++)
        make_readonly(c, proc, readonly[i]);
}

/* Our own cgroup as the root of the tree, read-only; where that cannot be had (cgroup v1, no permission), nothing at
 * all. */
AFTER_CLONE static void mount_cgroup(const struct cb_child *c)
{
    if (c->cgroup < 0)
        return;
    uint64_t readonly = c->insecure ? 0 : MOUNT_ATTR_RDONLY;
    int mnt = c->cgroup2 ? cb_mnt_new("cgroup2", NULL, CB_MNT_SAFEST | (unsigned)readonly) : -ENODEV;
    int r = 0;
    if (mnt < 0 && c->insecure)
        mnt = cb_mnt_clone(AT_FDCWD, "/sys/fs/cgroup", true);
    if (mnt < 0) {
        mnt = cb_mnt_clone(c->empty, "", false);
        r = mnt < 0 ? mnt : cb_mnt_set(mnt, CB_MNT_SAFEST | MOUNT_ATTR_RDONLY, false);
    }
    if (r == 0)
        r = cb_mnt_move(mnt, c->cgroup);
    if (r < 0)
        die(c, CB_STAGE_CGROUP, -r, NULL);
}

AFTER_CLONE static void set_stdio(struct cb_child *c)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int from[3], report = fcntl(c->report, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (null < 0 || report < 0)
        die(c, CB_STAGE_STDIO, errno, "/dev/null");
    for (int i = 0; i < 3; i++) {
        from[i] = fcntl(c->std[i] < 0 ? null : c->std[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if (from[i] < 0 || (c->own_std[i] && fchown(from[i], c->uid, (gid_t)-1) < 0 && errno != EINVAL))
            die(c, CB_STAGE_STDIO, errno, NULL);
    }
    /* Numbers 0 to 2 may have been among the sources: every source has a copy above by now. */
    for (int i = 0; i < 3; i++)
        dup2(from[i], i);
    c->report = dup3(report, REPORT_FD, O_CLOEXEC);
    syscall(SYS_close_range, REPORT_FD + 1, ~0U, 0);
}

AFTER_CLONE static void set_limits(void)
{
    struct rlimit files = { 0 }, none = { 0 };
    setrlimit(RLIMIT_CORE, &none);
    /* Ours is raised; many programs loop over all descriptors that they might have. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > SOFT_OPEN_FILES) {
        files.rlim_cur = SOFT_OPEN_FILES;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

AFTER_CLONE static void set_oom_score(void)
{
    char text[16];
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    int score = 0;
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        score = score * 10 + (text[i] - '0');
    if (n > 0 && score < OOM_SCORE)
        n = pwrite(fd, "300", 3, 0);
    if (fd >= 0)
        close(fd);
}

/* ---- the step's own process ---- */

AFTER_CLONE static void set_ulimits(const struct cb_child *c)
{
    for (size_t i = 0; i < c->n_ulimits; i++) {
        const struct cb_ulimit *u = &c->ulimits[i];
        struct rlimit l = { .rlim_cur = (rlim_t)u->soft, .rlim_max = (rlim_t)u->hard };
        if (syscall(SYS_prlimit64, 0, u->resource, &l, NULL) < 0)
            die(c, CB_STAGE_ULIMIT, errno, cb_ulimit_name(u->resource));
    }
}

AFTER_CLONE static void reset_signals(void)
{
    struct sigaction sa = { 0 };
    sigset_t none;
    sa.sa_handler = SIG_DFL;
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

AFTER_CLONE static void enter_cwd(const struct cb_child *c)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    struct statfs fs;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = (int)syscall(SYS_openat2, root, c->cwd, &how, sizeof how);
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        die(c, CB_STAGE_CWD, errno, c->cwd);
    if (fs.f_type == PROC_SUPER_MAGIC)
        die(c, CB_STAGE_CWD_PROC, EPERM, c->cwd);
    if (fchdir(fd) < 0)
        die(c, CB_STAGE_CWD, errno, c->cwd);
    close(fd);
    close(root);
}

uint64_t cb_default_capabilities(void)
{
    static const uint8_t caps[] = { CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,  CAP_FOWNER,  CAP_MKNOD,
                                    CAP_NET_RAW, CAP_SETGID,       CAP_SETUID,  CAP_SETFCAP, CAP_SETPCAP,
                                    CAP_KILL,    CAP_AUDIT_WRITE,  CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT };
    uint64_t mask = 0;
    for (size_t i = 0; i < CB_COUNTOF(caps); i++)
        mask |= UINT64_C(1) << caps[i];
    return mask;
}

/* Permitted and effective become mask; inheritable always empty (G8). */
AFTER_CLONE static int set_capabilities(uint64_t mask)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    for (int i = 0; i < 2; i++)
        data[i].permitted = data[i].effective = (uint32_t)(mask >> (32 * i));
    return (int)syscall(SYS_capset, &head, data);
}

AFTER_CLONE static void cut_bounding_set(const struct cb_child *c, uint64_t keep)
{
    for (int cap = 0; cap < 64; cap++) {
        if (keep >> cap & 1)
            continue;
        if (control(PR_CAPBSET_DROP, (unsigned long)cap, 0) < 0) {
            if (errno == EINVAL)
                break; /* past the kernel's last */
            die(c, CB_STAGE_CAPS, errno, NULL);
        }
    }
    control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0);
}

AFTER_CLONE static uint64_t permitted_now(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    syscall(SYS_capget, &head, data);
    return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

/* By system call: the C library's wrappers would signal the threads of a parent that is not here. */
AFTER_CLONE static void become_user(const struct cb_child *c)
{
    uint64_t caps = (c->insecure ? UINT64_MAX : cb_default_capabilities()) & permitted_now();
    cut_bounding_set(c, caps);
    if (c->set_groups && syscall(SYS_setgroups, c->n_groups, c->groups) < 0)
        die(c, CB_STAGE_GROUPS, errno, NULL);
    if (syscall(SYS_setresgid, c->gid, c->gid, c->gid) < 0)
        die(c, CB_STAGE_GID, errno, NULL);
    if (syscall(SYS_setresuid, c->uid, c->uid, c->uid) < 0)
        die(c, CB_STAGE_UID, errno, NULL);
    if (set_capabilities(c->uid == 0 ? caps : 0) < 0)
        die(c, CB_STAGE_CAPS, errno, NULL);
}

AFTER_CLONE static CB_NORETURN void execute(const struct cb_child *c)
{
    int best = ENOENT;
    const char *const *p = c->candidates;
    for (; *p; p++) {
        struct stat st;
        execve(*p, (char *const *)c->argv, (char *const *)c->env);
        int e = errno;
        if (e == ENOENT && stat(*p, &st) == 0)
            die(c, CB_STAGE_INTERPRETER, e, *p);
        if (e == EACCES)
            best = e;
        else if (e != ENOENT && e != ENOTDIR)
            die(c, CB_STAGE_EXEC, e, *p);
    }
    die(c, CB_STAGE_EXEC, best, NULL);
}

AFTER_CLONE static CB_NORETURN void step_main(const struct cb_child *c)
{
    setsid();
    if (c->tty && ioctl(0, TIOCSCTTY, 0) < 0)
        die(c, CB_STAGE_TTY, errno, NULL);
    enter_cwd(c);
    reset_signals();
    umask(022);
    set_ulimits(c);
    /* Without no_new_privs (RUN sudo has to work) the filter needs CAP_SYS_ADMIN, so it comes first. */
    if (c->filter && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, c->filter) < 0)
        die(c, CB_STAGE_SECCOMP, errno, NULL);
    become_user(c);
    control(PR_SET_PDEATHSIG, SIGKILL, 0); /* the change of user has cleared it */
    execute(c);
}

/* ---- PID 1 again: reap and forward ---- */

AFTER_CLONE static void reap(pid_t step)
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

AFTER_CLONE static CB_NORETURN void init_loop(pid_t step)
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

/* Nothing of the program that we were is to be had from inside: not its memory, environment or arguments. Before
 * anything of the step runs, so all that the step is started with are copies. */
AFTER_CLONE static void forget_ourselves(struct cb_child *c)
{
    memset(c->args, 0, c->args_len);
    control(PR_SET_NAME, (unsigned long)"cbpush-init", 0);
    control(PR_SET_DUMPABLE, 0, 0);
}

AFTER_CLONE static void keep_what_init_needs(void)
{
    syscall(SYS_close_range, 0, ~0U, 0);
    /* One capability that no process of the step can have keeps all of them from tracing this one. */
    set_capabilities(UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_SYS_PTRACE);
    control(PR_SET_DUMPABLE, 0, 0); /* the step's process has shared our memory, and with it this mark */
}

AFTER_CLONE static void take_signals(void)
{
    struct sigaction sa = { 0 };
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sa.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &sa, NULL);
}

AFTER_CLONE void cb_child_main(struct cb_child *c)
{
    take_signals();
    wait_for_parent(c);
    setsid();
    if (unshare(CLONE_NEWCGROUP) < 0)
        die(c, CB_STAGE_CGROUP, errno, NULL);
    mount_proc(c);
    mount_cgroup(c);
    int r = cb_mnt_pivot(c->root);
    if (r < 0)
        die(c, CB_STAGE_PIVOT, -r, NULL);
    set_stdio(c);
    set_limits();
    set_oom_score();
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    forget_ourselves(c);
    if (!c->init)
        step_main(c);
    pid_t step = vfork();
    if (step == 0)
        step_main(c);
    if (step < 0)
        die(c, CB_STAGE_FORK, errno, NULL);
    keep_what_init_needs();
    init_loop(step);
}

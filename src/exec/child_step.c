/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/child_step.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/mnt.h"
#include "util/secret.h"

#define FIRST_FREE_FD 10
#define KEPT_FD 4
#define SOFT_OPEN_FILES 1024
#define OOM_SCORE 300 /* the step goes before the builder */

CB_AFTER_CLONE int cb_child_control(int option, unsigned long a, unsigned long b)
{
    return (int)syscall(SYS_prctl, option, a, b, 0UL, 0UL); /* the sanitizer's own prctl takes a lock too */
}

CB_AFTER_CLONE CB_NORETURN void cb_child_die(const struct cb_child *c, enum cb_stage stage, int sys_errno,
                                             const char *what)
{
    struct cb_report r = { .stage = (int32_t)stage, .sys_errno = sys_errno };
    for (size_t i = 0; what && what[i] && i < sizeof r.what - 1; i++)
        r.what[i] = what[i];
    ssize_t n = write(c->report, &r, sizeof r);
    _exit(n == (ssize_t)sizeof r ? 125 : 124);
}

CB_AFTER_CLONE void cb_child_wait(struct cb_child *c)
{
    char byte;
    struct pollfd p = { .fd = c->go_read, .events = POLLIN };
    close(c->go_write);
    if (read(c->go_read, &byte, 1) != 1)
        _exit(124);
    cb_child_control(PR_SET_PDEATHSIG, SIGKILL, 0);
    /* The parent may have died before that line: then nobody has the other end. */
    if (poll(&p, 1, 0) != 0)
        _exit(124);
}

CB_AFTER_CLONE void cb_child_take_signals(void)
{
    struct sigaction sa = { 0 };
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sa.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &sa, NULL);
}

CB_AFTER_CLONE void cb_child_cgroup(const struct cb_child *c)
{
    if (unshare(CLONE_NEWCGROUP) < 0)
        cb_child_die(c, CB_STAGE_CGROUP, errno, NULL);
    if (c->cgroup < 0)
        return;
    unsigned readonly = c->insecure ? 0 : MOUNT_ATTR_RDONLY;
    int mnt = c->cgroup2 ? cb_mnt_new("cgroup2", NULL, CB_MNT_SAFEST | readonly) : -ENODEV;
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
        cb_child_die(c, CB_STAGE_CGROUP, -r, NULL);
}

/* ---- what it inherits ---- */

/* To where they are to be, above what is closed. Where one lies another may go, so all are copied first. */
CB_AFTER_CLONE static unsigned keep_fds(struct cb_child *c)
{
    unsigned next = KEPT_FD;
    for (size_t i = 0; i < CB_COUNTOF(c->keep); i++) {
        if (c->keep[i] >= 0)
            c->keep[i] = fcntl(c->keep[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    }
    for (size_t i = 0; i < CB_COUNTOF(c->keep); i++) {
        if (c->keep[i] >= 0)
            c->keep[i] = dup3(c->keep[i], (int)next++, O_CLOEXEC);
    }
    return next;
}

CB_AFTER_CLONE void cb_child_stdio(struct cb_child *c)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int from[3], report = fcntl(c->report, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (null < 0 || report < 0)
        cb_child_die(c, CB_STAGE_STDIO, errno, "/dev/null");
    for (int i = 0; i < 3; i++) {
        from[i] = fcntl(c->std[i] < 0 ? null : c->std[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if (from[i] < 0 || (c->own_std[i] && fchown(from[i], c->uid, (gid_t)-1) < 0 && errno != EINVAL))
            cb_child_die(c, CB_STAGE_STDIO, errno, NULL);
    }
    /* Numbers 0 to 2 may have been among the sources: every source has a copy above by now. */
    for (int i = 0; i < 3; i++)
        dup2(from[i], i);
    c->report = dup3(report, CB_REPORT_FD, O_CLOEXEC);
    unsigned next = keep_fds(c);
    syscall(SYS_close_range, next, ~0U, 0);
}

CB_AFTER_CLONE static void set_rlimits(void)
{
    struct rlimit files = { 0 }, none = { .rlim_cur = CB_NO_CORE, .rlim_max = CB_NO_CORE };
    setrlimit(RLIMIT_CORE, &none);
    /* Ours is raised; many programs loop over all descriptors that they might have. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > SOFT_OPEN_FILES) {
        files.rlim_cur = SOFT_OPEN_FILES;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

CB_AFTER_CLONE static void set_oom_score(void)
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

CB_AFTER_CLONE void cb_child_limits(void)
{
    set_rlimits();
    set_oom_score();
}

CB_AFTER_CLONE void cb_child_forget(struct cb_child *c)
{
    memset(c->args, 0, c->args_len);
    cb_child_control(PR_SET_NAME, (unsigned long)"cbpush-init", 0);
    cb_child_control(PR_SET_DUMPABLE, 0, 0);
}

/* ---- the step's own process ---- */

CB_AFTER_CLONE static void set_ulimits(const struct cb_child *c)
{
    for (size_t i = 0; i < c->n_ulimits; i++) {
        const struct cb_ulimit *u = &c->ulimits[i];
        struct rlimit l = { .rlim_cur = (rlim_t)u->soft, .rlim_max = (rlim_t)u->hard };
        if (syscall(SYS_prlimit64, 0, u->resource, &l, NULL) < 0)
            cb_child_die(c, CB_STAGE_ULIMIT, errno, cb_ulimit_name(u->resource));
    }
}

CB_AFTER_CLONE static void reset_signals(void)
{
    struct sigaction sa = { 0 };
    sigset_t none;
    sa.sa_handler = SIG_DFL;
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

CB_AFTER_CLONE static int open_dir(int root, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* What WORKDIR names may be gone, and is made again, as runtimes do; nothing leads out of the root. */
CB_AFTER_CLONE static int make_cwd(int root, const char *cwd)
{
    char path[PATH_MAX];
    int dir = open_dir(root, "/");
    for (size_t n = 0, end; cwd[n] && dir >= 0; n = end) {
        while (cwd[n] == '/')
            n++;
        for (end = n; cwd[end] && cwd[end] != '/'; end++)
            ;
        if (end == n)
            break;
        if (end >= sizeof path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(path, cwd, end);
        path[end] = '\0';
        int next = open_dir(root, path);
        if (next < 0 && errno == ENOENT && mkdirat(dir, path + n, 0755) == 0)
            next = open_dir(root, path);
        close(dir);
        dir = next;
    }
    return dir;
}

CB_AFTER_CLONE static void enter_cwd(const struct cb_child *c)
{
    struct statfs fs;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = open_dir(root, c->cwd);
    if (fd < 0 && errno == ENOENT)
        fd = make_cwd(root, c->cwd);
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        cb_child_die(c, CB_STAGE_CWD, errno, c->cwd);
    if (fs.f_type == PROC_SUPER_MAGIC)
        cb_child_die(c, CB_STAGE_CWD_PROC, EPERM, c->cwd);
    if (fchdir(fd) < 0)
        cb_child_die(c, CB_STAGE_CWD, errno, c->cwd);
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

CB_AFTER_CLONE int cb_child_capabilities(uint64_t mask)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    for (int i = 0; i < 2; i++)
        data[i].permitted = data[i].effective = (uint32_t)(mask >> (32 * i));
    return (int)syscall(SYS_capset, &head, data);
}

CB_AFTER_CLONE static void cut_bounding_set(const struct cb_child *c, uint64_t keep)
{
    for (int cap = 0; cap < 64; cap++) {
        if (keep >> cap & 1)
            continue;
        if (cb_child_control(PR_CAPBSET_DROP, (unsigned long)cap, 0) < 0) {
            if (errno == EINVAL || c->chroot)
                break; /* past the kernel's last, or not for us to do */
            cb_child_die(c, CB_STAGE_CAPS, errno, NULL);
        }
    }
    cb_child_control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0);
}

CB_AFTER_CLONE static uint64_t permitted_now(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    syscall(SYS_capget, &head, data);
    return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

/* By system call: the C library's wrappers would signal the threads of a parent that is not here. */
CB_AFTER_CLONE static void become_user(const struct cb_child *c)
{
    uint64_t caps = (c->insecure ? UINT64_MAX : cb_default_capabilities()) & permitted_now();
    cut_bounding_set(c, caps);
    if (c->set_groups && syscall(SYS_setgroups, c->n_groups, c->groups) < 0)
        cb_child_die(c, CB_STAGE_GROUPS, errno, NULL);
    if (syscall(SYS_setresgid, c->gid, c->gid, c->gid) < 0)
        cb_child_die(c, CB_STAGE_GID, errno, NULL);
    if (syscall(SYS_setresuid, c->uid, c->uid, c->uid) < 0)
        cb_child_die(c, CB_STAGE_UID, errno, NULL);
    if (cb_child_capabilities(c->uid == 0 ? caps : 0) < 0)
        cb_child_die(c, CB_STAGE_CAPS, errno, NULL);
}

CB_AFTER_CLONE static void check_programs(const struct cb_child *c)
{
    for (const char *const *p = c->candidates; *p; p++) {
        int e = cb_child_program_check(*p);
        if (e > 0)
            cb_child_die(c, CB_STAGE_EXEC, e, *p);
    }
}

/* Where there cannot be a listener (an older kernel, or one of an outer container) the step does without. */
CB_AFTER_CLONE static void install_notifier(const struct cb_child *c)
{
    int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, c->notify);
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } u = { 0 };
    char byte = 0;
    struct iovec iov = { &byte, 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof u.room };
    if (fd < 0)
        return;
    u.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&u.head), &fd, sizeof fd);
    if (syscall(SYS_sendmsg, c->keep[0], &m, MSG_NOSIGNAL) != 1)
        cb_child_die(c, CB_STAGE_SECCOMP, errno, NULL);
    close(fd);
}

CB_AFTER_CLONE CB_NORETURN void cb_child_step(const struct cb_child *c)
{
    setsid();
    if (c->tty && ioctl(0, TIOCSCTTY, 0) < 0)
        cb_child_die(c, CB_STAGE_TTY, errno, NULL);
    if (c->chroot && (fchdir(c->keep[0]) < 0 || syscall(SYS_chroot, ".") < 0))
        cb_child_die(c, CB_STAGE_PIVOT, errno, NULL);
    enter_cwd(c);
    reset_signals();
    umask(022);
    check_programs(c);
    int starter = cb_child_starter();
    if (starter < 0)
        cb_child_die(c, CB_STAGE_STARTER, errno, NULL);
    set_ulimits(c);
    if (c->notify)
        install_notifier(c);
    /* Without no_new_privs (RUN sudo has to work) the filter needs CAP_SYS_ADMIN, so it comes first. */
    if (c->filter && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, c->filter) < 0 &&
        !(c->chroot && errno == EACCES))
        cb_child_die(c, CB_STAGE_SECCOMP, errno, NULL);
    become_user(c);
    cb_child_control(PR_SET_PDEATHSIG, SIGKILL, 0); /* the change of user has cleared it */
    cb_child_start(c, starter);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that the filter or missing capabilities refuse. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CALL(v, name, ...) denied(v, #name, syscall(SYS_##name, __VA_ARGS__))

void p_mount_calls(struct verdict *v)
{
    char attr[32] = "";
    CALL(v, mount, "none", "/tmp", "tmpfs", 0, NULL);
    denied(v, "bind", syscall(SYS_mount, "/proc", "/tmp", NULL, MS_BIND, NULL));
    denied(v, "remount", syscall(SYS_mount, NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
    denied(v, "propagation", syscall(SYS_mount, NULL, "/", NULL, MS_SHARED | MS_REC, NULL));
    CALL(v, umount2, "/proc", MNT_DETACH);
    CALL(v, pivot_root, ".", ".");
    CALL(v, fsopen, "tmpfs", 0);
    CALL(v, fspick, AT_FDCWD, "/", 0);
    CALL(v, open_tree, AT_FDCWD, "/", 1);
    CALL(v, move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/etc", 0);
    CALL(v, mount_setattr, AT_FDCWD, "/sys", 0, attr, sizeof attr);
    CALL(v, setns, 0, 0);
    denied(v, "32-bit mount", call32(21, 0, 0, 0));
    denied(v, "32-bit umount2", call32(52, 0, 0, 0));
    denied(v, "32-bit umount", call32(22, 0, 0, 0));
    denied(v, "32-bit setns", call32(346, 0, 0, 0));
    denied(v, "32-bit pivot_root", call32(217, 0, 0, 0));
    denied(v, "x32 mount", call_x32(165, 0, 0, 0));
}

void p_namespaces(struct verdict *v)
{
    static const struct {
        const char *name;
        uint64_t flag;
    } kinds[] = { { "NEWUSER", CLONE_NEWUSER }, { "NEWNS", CLONE_NEWNS },   { "NEWPID", CLONE_NEWPID },
                  { "NEWNET", CLONE_NEWNET },   { "NEWIPC", CLONE_NEWIPC }, { "NEWUTS", CLONE_NEWUTS },
                  { "NEWCGROUP", CLONE_NEWCGROUP } };
    uint64_t args[11] = { 0 };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        denied(v, kinds[i].name, syscall(SYS_unshare, kinds[i].flag));
        long r = syscall(SYS_clone, kinds[i].flag | SIGCHLD, 0, NULL, NULL, 0);
        if (r == 0)
            _exit(0);
        denied(v, "clone", r);
        args[0] = kinds[i].flag;
        r = syscall(SYS_clone3, args, sizeof args);
        if (r == 0)
            _exit(0);
        denied(v, "clone3", r);
        denied(v, "32-bit unshare", call32(310, (long)kinds[i].flag, 0, 0));
    }
}

/* ---- P11 ---- */

static void try_mknod(struct verdict *v, mode_t type, uint64_t number)
{
    char what[64];
    snprintf(what, sizeof what, "mknod %c %llx", S_ISBLK(type) ? 'b' : 'c', (unsigned long long)number);
    denied(v, what, syscall(SYS_mknodat, AT_FDCWD, "/tmp/probe-node", type | 0666, number));
    unlink("/tmp/probe-node");
}

static void look_at_node(const char *path, void *arg)
{
    static const unsigned known[][2] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 5, 0 }, { 5, 2 } };
    struct verdict *v = arg;
    struct stat st;
    if (lstat(path, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode))
        each_entry(path, look_at_node, v);
    bool ok = S_ISCHR(st.st_mode) && major(st.st_rdev) == 136;
    for (size_t i = 0; S_ISCHR(st.st_mode) && i < COUNT(known); i++)
        ok = ok || st.st_rdev == makedev(known[i][0], known[i][1]);
    if (S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !ok))
        bad(v, "%s is device %u:%u", path, major(st.st_rdev), minor(st.st_rdev));
}

void p_devices(struct verdict *v)
{
    static const unsigned chars[][2] = { { 1, 1 }, { 1, 2 }, { 1, 3 }, { 1, 11 }, { 5, 1 }, { 10, 200 }, { 4, 1 } };
    for (size_t i = 0; i < COUNT(chars); i++)
        try_mknod(v, S_IFCHR, makedev(chars[i][0], chars[i][1]));
    try_mknod(v, S_IFBLK, makedev(8, 0));
    try_mknod(v, S_IFBLK, makedev(254, 0));
    try_mknod(v, S_IFBLK, 0);
    try_mknod(v, S_IFCHR, UINT64_C(0x100000000) | makedev(1, 1));
    char *path = low_memory();
    if (path) {
        memcpy(path, "/tmp/probe-node", 16);
        denied(v, "32-bit mknod", call32(14, (long)path, S_IFCHR | 0666, (long)makedev(1, 1)));
        denied(v, "32-bit mknodat", call32(297, AT_FDCWD, (long)path, S_IFBLK | 0666));
    }
    each_entry("/dev", look_at_node, v);
    /* What overlayfs and programs for archives make. */
    if (mknod("/tmp/probe-node", S_IFIFO | 0666, 0) < 0)
        bad(v, "a FIFO cannot be made: %s", strerrorname_np(errno));
    unlink("/tmp/probe-node");
}

/* ---- P12, P13 ---- */

void p_kernel_calls(struct verdict *v)
{
    struct perf_event_attr perf = { .size = sizeof perf };
    char buf[256] = "";
    CALL(v, bpf, 0, buf, 64);
    CALL(v, perf_event_open, &perf, 0, -1, -1, 0);
    CALL(v, userfaultfd, 0);
    CALL(v, keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    CALL(v, add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING);
    CALL(v, request_key, "user", "x", NULL, 0);
    CALL(v, kexec_load, 0, 0, NULL, 0);
#ifdef SYS_kexec_file_load
    CALL(v, kexec_file_load, -1, -1, 0, "", 0);
#endif
    CALL(v, init_module, buf, 0, "");
    CALL(v, finit_module, -1, "", 0);
    CALL(v, delete_module, "nosuchmodule", 0);
    CALL(v, reboot, 0, 0, 0, NULL);
    CALL(v, syslog, 3, buf, 10);
    CALL(v, sethostname, "x", 1);
    CALL(v, settimeofday, NULL, NULL);
    denied(v, "32-bit keyctl", call32(288, 0, 0, 0));
    denied(v, "32-bit bpf", call32(357, 0, 0, 0));
    denied(v, "32-bit init_module", call32(128, 0, 0, 0));
    denied(v, "x32 keyctl", call_x32(250, 0, 0, 0));
}

void p_other_calls(struct verdict *v)
{
    char buf[256] = "";
    CALL(v, open_by_handle_at, AT_FDCWD, buf, 0);
    CALL(v, io_uring_setup, 1, buf);
    CALL(v, process_vm_readv, 1, NULL, 0, NULL, 0, 0);
    CALL(v, process_vm_writev, 1, NULL, 0, NULL, 0, 0);
    CALL(v, quotactl, 0, NULL, 0, NULL);
    CALL(v, swapon, "/x", 0);
    CALL(v, swapoff, "/x");
    CALL(v, acct, "/tmp/acct");
    /* PTRACE_SEIZE of PID 1; where its program can be seen the step is that itself, and there is no outsider. */
    if (access("/proc/1/exe", F_OK) < 0)
        fails(v, "ptrace of PID 1", syscall(SYS_ptrace, 0x4206, 1, 0, 0));
    denied(v, "32-bit open_by_handle_at", call32(342, 0, 0, 0));
    denied(v, "32-bit io_uring_setup", call32(425, 1, 0, 0));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "util/mnt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MNT_DETACH_FLAG 2
#define MAX_STACKED 64

static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

int cb_mnt_fsopen(const char *type)
{
    return result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int cb_mnt_option(int fsfd, const char *key, const char *value)
{
    unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
    return result(syscall(SYS_fsconfig, fsfd, cmd, key, value, 0));
}

int cb_mnt_option_fd(int fsfd, const char *key, int fd)
{
    return result(syscall(SYS_fsconfig, fsfd, FSCONFIG_SET_FD, key, NULL, fd));
}

int cb_mnt_create(int fsfd, unsigned attrs)
{
    long r = syscall(SYS_fsconfig, fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    return r < 0 ? -errno : result(syscall(SYS_fsmount, fsfd, FSMOUNT_CLOEXEC, attrs));
}

void cb_mnt_message(int fsfd, char *buf, size_t size)
{
    ssize_t n = read(fsfd, buf, size - 1);
    if (n < 2) {
        buf[0] = '\0';
        return;
    }
    /* "e text": the letter is the severity */
    memmove(buf, buf + 2, (size_t)n - 2);
    buf[n - 2] = '\0';
}

int cb_mnt_new(const char *type, const struct cb_mnt_opt *opts, unsigned attrs)
{
    cb_autoclose int fs = cb_mnt_fsopen(type);
    if (fs < 0)
        return fs;
    cb_mnt_option(fs, "source", type); /* only for the eye, in /proc/mounts */
    for (; opts && opts->key; opts++) {
        int r = cb_mnt_option(fs, opts->key, opts->value);
        if (r < 0)
            return r;
    }
    return cb_mnt_create(fs, attrs);
}

int cb_mnt_clone(int dirfd, const char *path, bool recursive)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
    flags |= recursive ? 0x8000u /* AT_RECURSIVE */ : 0;
    flags |= path[0] ? 0 : AT_EMPTY_PATH;
    return result(syscall(SYS_open_tree, dirfd, path, flags));
}

int cb_mnt_set(int fd, uint64_t attrs, bool recursive)
{
    struct mount_attr a = { .attr_set = attrs };
    unsigned flags = AT_EMPTY_PATH | (recursive ? 0x8000u : 0);
    return result(syscall(SYS_mount_setattr, fd, "", flags, &a, sizeof a));
}

int cb_mnt_move(int mnt, int target)
{
    return result(syscall(SYS_move_mount, mnt, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int cb_mnt_move_root(int mnt)
{
    return result(syscall(SYS_move_mount, mnt, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
}

int cb_mnt_private(void)
{
    return result(syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

int cb_mnt_detach(const char *path)
{
    return result(syscall(SYS_umount2, path, MNT_DETACH_FLAG));
}

/* Whether something is mounted on the directory that we are in: ".." of a root directory climbs what is stacked on
 * it. */
static int is_covered(bool *covered)
{
    struct statx here, top;
    if (statx(AT_FDCWD, ".", 0, STATX_MNT_ID, &here) < 0 || statx(AT_FDCWD, "..", 0, STATX_MNT_ID, &top) < 0)
        return -errno;
    *covered = here.stx_mnt_id != top.stx_mnt_id;
    return 0;
}

int cb_mnt_pivot(int root)
{
    bool covered = true;
    if (fchdir(root) < 0)
        return -errno;
    if (syscall(SYS_pivot_root, ".", ".") < 0) {
        if (errno != EINVAL)
            return -errno;
        /* An initramfs cannot be pivoted away. The new root lies on top of "/" there, so ".." never leads below it. */
        return result(syscall(SYS_chroot, "."));
    }
    /* The old root lies on the new one now, and on it what was mounted on its own "/". "." means the topmost of them.
     */
    for (int i = 0; i < MAX_STACKED; i++) {
        int r = is_covered(&covered);
        if (r < 0 || !covered)
            return r;
        if ((r = cb_mnt_detach(".")) < 0)
            return r;
    }
    return -ELOOP;
}

int cb_mnt_id(int fd, uint64_t *id)
{
    struct statx st;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
        return -errno;
    *id = st.stx_mnt_id;
    return 0;
}

bool cb_kernel_at_least(unsigned version, unsigned patch)
{
    struct utsname u;
    unsigned v = 0, p = 0;
    if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &v, &p) != 2)
        return false;
    return v > version || (v == version && p >= patch);
}

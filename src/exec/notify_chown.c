/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/notify_private.h"
#include "util/limits.h"
#include "util/path.h"

#define MAX_TRIES 16 /* while something is renamed */

/* What is chowned: `path` below what dirfd is in the thread, or dirfd itself. */
struct target {
    int dirfd, flags;
    uint64_t path_at;   /* in its memory; 0: none */
    uint32_t uid, gid;
};

static uint32_t wanted_id(const struct cb_notify_call *c, uint64_t value)
{
    return c->narrow ? (uint16_t)value == UINT16_MAX ? CB_OWNER_KEEP : (uint16_t)value : (uint32_t)value;
}

/* ---- opening it as the thread itself would ---- */

static int open_of_thread(const struct cb_notifier *n, pid_t tid, const char *what, int number)
{
    char name[64];
    if (number >= 0)
        snprintf(name, sizeof name, "%d/fd/%d", tid, number);
    else
        snprintf(name, sizeof name, "%d/%s", tid, what);
    int fd = openat(n->proc, name, O_PATH | O_CLOEXEC);
    return fd >= 0 ? fd : errno == ENOENT && number >= 0 ? -EBADF : -errno;
}

static int change_root(int root)
{
    return fchdir(root) < 0 || syscall(SYS_chroot, ".") < 0 ? -errno : 0;
}

/* Links and ".." as in the thread: this thread has the root directory of the other one for a moment. */
static int open_path(const struct cb_notifier *n, const struct target *t, const char *path, int root, int base)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
    if (t->flags & AT_SYMLINK_NOFOLLOW)
        how.flags |= O_NOFOLLOW;
    int r = change_root(root);
    if (r == 0) {
        r = (int)syscall(SYS_openat2, base, path, &how, sizeof how);
        r = r < 0 ? -errno : r;
    }
    int back = change_root(n->root);
    if (back < 0 && r >= 0)
        close(r);
    return back < 0 ? back : r;
}

static int open_base(const struct cb_notifier *n, const struct cb_notify_call *c, const struct target *t)
{
    return t->dirfd == AT_FDCWD ? open_of_thread(n, c->tid, "cwd", -1)
           : t->dirfd < 0       ? -EBADF
                                : open_of_thread(n, c->tid, NULL, t->dirfd);
}

static int open_target(const struct cb_notifier *n, const struct cb_notify_call *c, const struct target *t)
{
    char path[CB_MAX_PATH] = "";
    int r = t->path_at ? cb_notify_read_text(c->tid, t->path_at, path, sizeof path) : 0;
    if (r)
        return -r;
    if (path[0] == '\0' && !(t->flags & AT_EMPTY_PATH))
        return -ENOENT;
    cb_autoclose int root = open_of_thread(n, c->tid, "root", -1);
    cb_autoclose int base = path[0] == '/' ? fcntl(root, F_DUPFD_CLOEXEC, 0) : open_base(n, c, t);
    if (root < 0 || base < 0)
        return root < 0 ? root : base;
    if (!cb_notify_valid(n, c)) /* or these may be another process's */
        return -ESRCH;
    return path[0] ? open_path(n, t, path, root, base) : CB_TAKE_FD(base);
}

/* ---- remembering it ---- */

/* Where it is in the step's root, or -errno. "" is the root itself. */
static int find_path(const struct cb_notifier *n, int fd, char *path, size_t size)
{
    char name[40];
    snprintf(name, sizeof name, "self/fd/%d", fd);
    ssize_t len = readlinkat(n->proc, name, path, size - 1);
    if (len < 0)
        return -errno;
    if ((size_t)len >= size - 1)
        return -ENAMETOOLONG;
    path[len] = '\0';
    if (path[0] != '/')
        return -ENOENT;
    memmove(path, path + 1, (size_t)len);
    return 0;
}

/* The inode in the upper directory that stands for fd; it has been copied up. */
static int open_upper(const struct cb_notifier *n, int fd, char *path, size_t size)
{
    struct stat here, there;
    int r = fstat(fd, &here) < 0 ? -errno : -ENOENT;
    for (int i = 0; i < MAX_TRIES && r == -ENOENT; i++) {
        r = find_path(n, fd, path, size);
        if (r == 0)
            r = cb_path_openat(n->upper, path, O_PATH | O_NOFOLLOW, 0, CB_RESOLVE_NOFOLLOW);
        if (r >= 0 && (fstat(r, &there) < 0 || (here.st_mode ^ there.st_mode) & S_IFMT)) {
            close(r);
            r = -ENOENT;
        }
    }
    return r;
}

static int remember(const struct cb_notifier *n, int fd, const struct target *t)
{
    struct stat st;
    uint64_t mount;
    char path[CB_MAX_PATH + 2];
    /* Other mounts are in no layer. */
    if (!n->owners || cb_mnt_id(fd, &mount) < 0 || mount != n->root_mount)
        return 0;
    if (fstat(fd, &st) == 0 && st.st_nlink == 0)
        return 0;
    cb_autoclose int upper = open_upper(n, fd, path, sizeof path);
    if (upper < 0)
        return fstat(fd, &st) == 0 && st.st_nlink == 0 ? 0 : upper;
    return cb_owner_table_put(n->owners, upper, path, t->uid, t->gid) ? 0 : -ENOSPC;
}

/* ---- the call ---- */

static bool is_own(uint32_t id)
{
    return id == 0 || id == CB_OWNER_KEEP;
}

static bool may_chown(const struct cb_notifier *n, pid_t tid)
{
    uint64_t caps;
    return cb_notify_status(n, tid, "CapEff:", 16, &caps) && (caps >> CAP_CHOWN & 1);
}

static int chown_target(struct cb_notifier *n, const struct cb_notify_call *c, const struct target *t)
{
    cb_autoclose int fd = open_target(n, c, t);
    if (fd < 0)
        return fd;
    if (fchownat(fd, "", t->uid == CB_OWNER_KEEP ? t->uid : 0, t->gid == CB_OWNER_KEEP ? t->gid : 0, AT_EMPTY_PATH) < 0)
        return -errno;
    return remember(n, fd, t);
}

static void answer(struct cb_notifier *n, const struct cb_notify_call *c, const struct target *t,
                   struct cb_notify_reply *r)
{
    bool own = is_own(t->uid) && is_own(t->gid), nothing = t->uid == CB_OWNER_KEEP && t->gid == CB_OWNER_KEEP;
    if (nothing || (own && !may_chown(n, c->tid)))
        r->kernel = true;
    else if (!own && !may_chown(n, c->tid))
        r->error = EPERM;
    else
        r->error = -chown_target(n, c, t);
}

void cb_notify_chown(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    struct target t = { .dirfd = AT_FDCWD, .flags = (int)c->arg, .path_at = c->args[0],
                        .uid = wanted_id(c, c->args[1]), .gid = wanted_id(c, c->args[2]) };
    answer(n, c, &t, r);
}

void cb_notify_fchown(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    struct target t = { .dirfd = (int)c->args[0], .flags = AT_EMPTY_PATH, .uid = wanted_id(c, c->args[1]),
                        .gid = wanted_id(c, c->args[2]) };
    if (t.dirfd < 0)
        r->error = EBADF;
    else
        answer(n, c, &t, r);
}

void cb_notify_fchownat(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    struct target t = { .dirfd = (int)c->args[0], .flags = (int)c->args[4], .path_at = c->args[1],
                        .uid = wanted_id(c, c->args[2]), .gid = wanted_id(c, c->args[3]) };
    if (t.flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        r->error = EINVAL;
    else
        answer(n, c, &t, r);
}

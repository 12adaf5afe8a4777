/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/chroot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/pump.h"
#include "exec/tree_copy.h"
#include "util/alloc.h"

#define REFUSED "isolation chroot has no %s: use native or oci (`cbpush doctor` says what they need)"

static int check_mount(const struct cb_mount *m, struct cb_error *err)
{
    if (m->kind == CB_MOUNT_DATA)
        return cb_error_set(err, CB_ELOCAL, "mount %s: " REFUSED, m->target, "file system that is never on a disk");
    if ((m->kind == CB_MOUNT_BIND || m->kind == CB_MOUNT_TREE) && !m->readonly && !m->scratch)
        return cb_error_set(err, CB_ELOCAL, "mount %s: " REFUSED, m->target, "mounts that are written to");
    return 0;
}

static int check(const struct cb_exec_spec *spec, struct cb_error *err)
{
    int r = cb_isolation_only_native(spec, "chroot", err);
    if (spec->network != CB_NETWORK_HOST)
        return cb_error_set(err, CB_ELOCAL, REFUSED, "network namespace, only --network=host");
    if (spec->readonly_root)
        return cb_error_set(err, CB_ELOCAL, REFUSED, "read-only root file system");
    if (spec->limits && spec->limits->shm_size)
        return cb_error_set(err, CB_ELOCAL, REFUSED, "/dev/shm of a size of its own");
    for (size_t i = 0; r == 0 && i < spec->n_mounts; i++)
        r = check_mount(&spec->mounts[i], err);
    return r;
}

/* ---- steps of the thread ---- */

static int copy_root(struct cb_sandbox *sb, struct cb_error *err)
{
    static const char *const left_empty[] = { "dev", "proc", "sys", NULL };
    const struct cb_rootfs *root = &sb->spec->root;
    struct cb_tree_copy copy = { .lower_fds = root->lower_fds, .n_lower = root->n_lower,
                                       .user_xattrs = sb->spec->id_mode != CB_ID_REAL_ROOT, .left_empty = left_empty,
                                       .cancel = sb->spec->cancel };
    sb->chroot = CB_NEW(struct cb_chroot);
    if (mkdirat(root->work_fd, "root", 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make the root directory");
    sb->root = openat(root->work_fd, "root", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sb->root < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open the root directory");
    sb->targets.root = sb->targets.upper = sb->root;
    copy.to = sb->root;
    return cb_tree_copy(&copy, err);
}

static int open_terminal(struct cb_sandbox *sb, struct cb_error *err)
{
    if (!sb->spec->tty)
        return 0;
    sb->dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return sb->dev < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "/dev") : cb_pty_open(sb, err);
}

/* Everything of ours is there and nothing of the step is. */
static int remember(struct cb_sandbox *sb, struct cb_error *err)
{
    sb->chroot->scan = cb_tree_scan_new(sb->root, &sb->chroot->ours, sb->spec->cancel, err);
    if (!sb->chroot->scan)
        return -CB_ELOCAL;
    int r = cb_chroot_keep_remember(sb, err);
    if (r < 0)
        return r;
    sb->child.chroot = true;
    sb->child.keep[0] = sb->root;
    sb->child.keep[2] = sb->child.proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return sb->child.proc < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "/proc") : 0;
}

/* Not a thread with a working directory of its own: that is unshare(2), and nothing here depends on it. */
static const cb_sandbox_step steps[] = {
    copy_root, cb_rootfs_check, cb_chroot_dev,          cb_chroot_network, cb_chroot_mounts,
    open_terminal, remember,    cb_sandbox_make_cgroup, cb_sandbox_clone,  NULL,
};

/* What a failed step did is of no use to anybody, but for what it has in caches. */
static int end(struct cb_sandbox *sb, struct cb_pump_result *res, struct cb_error *err)
{
    bool ended = !res->failed && !res->canceled;
    int r = ended && res->status == 0 ? cb_tree_scan_take(sb->chroot->scan, sb->spec->root.upper_fd, err) : 0;
    if (ended)
        cb_chroot_keep(sb);
    return r;
}

static void done(struct cb_sandbox *sb)
{
    if (!sb->chroot)
        return;
    cb_tree_scan_free(sb->chroot->scan);
    cb_tree_ours_done(&sb->chroot->ours);
    cb_chroot_keep_done(sb->chroot);
    free(CB_TAKE(sb->chroot));
}

const struct cb_isolation_ops cb_isolation_chroot = {
    .name = "chroot", .check = check, .steps = steps, .child = cb_child_chroot_main,
    .kill_signal = CB_CHILD_KILL_ALL, .end = end, .done = done,
};

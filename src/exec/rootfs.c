/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/sandbox.h"
#include "exec/userns.h"
#include "util/alloc.h"
#include "util/path.h"
#include "util/strbuf.h"

/* ---- stubs ---- */

/* path: absolute, from the build, not from an image. What cannot be made here (a file stands where a directory is
 * wanted) is found out again, with an error, when the target is opened in the root. */
static void make_stub(int stubs, const char *path, bool is_dir)
{
    cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
    if (!cb_path_normalize(&clean, path, strlen(path)) || clean.len == 0)
        return;
    char *slash = strrchr(clean.buf, '/');
    const char *name = slash ? slash + 1 : clean.buf;
    cb_autofree char *dir = cb_strndup(clean.buf, slash ? (size_t)(slash - clean.buf) : 0);
    cb_autoclose int fd = cb_path_mkdirs(stubs, dir, 0755, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return;
    if (is_dir)
        mkdirat(fd, name, 0755);
    else
        close(openat(fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
}

static bool source_is_dir(const struct cb_mount *m)
{
    struct stat st;
    return m->kind == CB_MOUNT_TMPFS || m->kind == CB_MOUNT_OWN ||
           (m->kind == CB_MOUNT_BIND && fstat(m->source_fd, &st) == 0 && S_ISDIR(st.st_mode));
}

/* As the lowest layer they give every image the mount points that it lacks, and leave nothing in the upper directory.
 */
static int make_stubs(struct cb_sandbox *sb, int dir, struct cb_error *err)
{
    static const char *const dirs[] = { "proc", "sys", "dev" };
    const struct cb_exec_spec *spec = sb->spec;
    if (mkdirat(dir, "stubs", 0755) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a scratch directory");
    sb->stubs = openat(dir, "stubs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sb->stubs < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open a scratch directory");
    for (size_t i = 0; i < CB_COUNTOF(dirs); i++) {
        if (mkdirat(sb->stubs, dirs[i], 0755) < 0 && errno != EEXIST)
            return cb_error_sys(err, CB_ELOCAL, errno, "make a scratch directory");
    }
    make_stub(sb->stubs, "/etc/hosts", false);
    make_stub(sb->stubs, "/etc/resolv.conf", false);
    for (size_t i = 0; i < spec->n_mounts; i++)
        if (spec->mounts[i].kind != CB_MOUNT_TREE) /* file or directory: only seen once it is mounted */
            make_stub(sb->stubs, spec->mounts[i].target, source_is_dir(&spec->mounts[i]));
    return 0;
}

/* ---- the overlay ---- */

/* Since Linux 6.15 a layer may lie on a mount that is nowhere yet. */
static bool layers_may_be_detached(const struct cb_sandbox *sb)
{
    return sb->how == CB_OVERLAY_FDS && cb_kernel_at_least(6, 15);
}

int cb_rootfs_stage(struct cb_sandbox *sb, struct cb_error *err)
{
    static const struct cb_mnt_opt tmpfs[] = { { "mode", "0700" }, { "size", "16m" }, { NULL, NULL } };
    sb->stage = cb_mnt_new("tmpfs", tmpfs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (sb->stage == -EPERM) {
        cb_autofree char *remedy = cb_privilege_remedy();
        return cb_error_sys(err, CB_ELOCAL, EPERM, "cannot mount file systems (%s)", remedy);
    }
    if (sb->stage < 0)
        return cb_error_sys(err, CB_ELOCAL, -sb->stage, "mount a tmpfs");
    if (mkdirat(sb->stage, "empty", 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount a tmpfs");
    /* On a disk these few files would cost as much as all the rest. */
    return make_stubs(sb, layers_may_be_detached(sb) ? sb->stage : sb->spec->scratch_fd, err);
}

int cb_rootfs_overlay(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_rootfs *root = &sb->spec->root;
    sb->overlay.upper = root->upper_fd;
    sb->overlay.work = root->work_fd;
    sb->overlay.devices = sb->spec->insecure;
    sb->overlay.user_xattrs = sb->spec->id_mode != CB_ID_REAL_ROOT;
    int r = cb_overlay_set_lower(&sb->overlay, root->lower_fds, root->n_lower, sb->stubs, err);
    if (r < 0)
        return r;
    r = cb_overlay_create(&sb->overlay, sb->how, err);
    if (r == -ENOSYS)
        return 0; /* an older kernel: it is mounted once we are in our own namespace */
    if (r < 0)
        return r;
    sb->root = r;
    return 0;
}

/* On "/", above what this thread sees there: a place that exists on every machine, and from which the pivot works. */
int cb_rootfs_attach(struct cb_sandbox *sb, struct cb_error *err)
{
    int r = sb->root >= 0 ? 0 : cb_overlay_mount_classic(&sb->overlay, sb->spec->scratch_fd, err);
    if (r < 0)
        return r;
    if (sb->root < 0)
        sb->root = r;
    r = cb_mnt_move_root(sb->stage);
    if (r == 0)
        r = cb_mnt_move_root(sb->root);
    sb->targets.root = sb->root;
    sb->targets.upper = sb->spec->root.upper_fd;
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "mount the root file system") : 0;
}

/* R22, G7: an image whose /proc, /dev or /sys leads elsewhere gets nothing mounted there. */
int cb_rootfs_check(struct cb_sandbox *sb, struct cb_error *err)
{
    static const char *const dirs[] = { "proc", "sys", "dev" };
    for (size_t i = 0; i < CB_COUNTOF(dirs); i++) {
        struct stat st;
        if (fstatat(sb->root, dirs[i], &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno != ENOENT)
                return cb_error_sys(err, CB_ELOCAL, errno, "/%s of the image", dirs[i]);
            continue;
        }
        if (!S_ISDIR(st.st_mode))
            return cb_error_set(err, CB_ECONF, "/%s of the image is %s, not a directory: nothing can run on it",
                                dirs[i], S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
    }
    return 0;
}

int cb_rootfs_put(struct cb_sandbox *sb, int mnt, const char *path, uint64_t attrs, struct cb_error *err)
{
    cb_autoclose int owned = mnt;
    struct stat st;
    if (mnt < 0 || fstat(mnt, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, mnt < 0 ? -mnt : errno, "mount %s", path);
    cb_autoclose int target = cb_target_open(&sb->targets, path, S_ISDIR(st.st_mode), err);
    if (target < 0)
        return target;
    int r = attrs ? cb_mnt_set(owned, attrs, true) : 0;
    if (r == 0)
        r = cb_mnt_move(owned, target);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "mount %s", path) : 0;
}

int cb_rootfs_seal(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_targets_settle(&sb->targets);
    int r = sb->spec->readonly_root ? cb_mnt_set(sb->root, MOUNT_ATTR_RDONLY, false) : 0;
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "make the root file system read-only") : 0;
}

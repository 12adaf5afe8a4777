/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/sandbox.h"
#include "util/alloc.h"
#include "util/fd.h"

/* The sources belong to the namespace that we are about to leave: copied while it is ours. */
int cb_mounts_clone(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_exec_spec *spec = sb->spec;
    sb->binds = cb_calloc(spec->n_mounts + 1, sizeof *sb->binds);
    for (size_t i = 0; i < spec->n_mounts; i++)
        sb->binds[i] = -1;
    for (size_t i = 0; i < spec->n_mounts; i++) {
        const struct cb_mount *m = &spec->mounts[i];
        if (m->kind != CB_MOUNT_BIND)
            continue;
        sb->binds[i] = cb_mnt_clone(m->source_fd, "", true);
        if (sb->binds[i] < 0)
            return cb_error_sys(err, CB_ELOCAL, -sb->binds[i], "mount %s: its source", m->target);
    }
    return cb_trees_create(sb, err);
}

/* Those that every step has in /dev. Docker lets them be opened wherever they are: -v /dev/null:/root/.bashrc. */
static bool is_usual_device(const struct stat *st)
{
    static const unsigned minors[] = { 3, 5, 7, 8, 9 };
    bool usual = false;
    for (size_t i = 0; i < CB_COUNTOF(minors); i++)
        usual = usual || st->st_rdev == makedev(1, minors[i]);
    return usual && S_ISCHR(st->st_mode);
}

uint64_t cb_mounts_bind_attrs(const struct cb_mount *m, const struct stat *st)
{
    uint64_t attrs = is_usual_device(st) ? MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC : CB_MNT_SAFE;
    return attrs | (m->readonly ? MOUNT_ATTR_RDONLY : 0);
}

static int put_bind(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    struct stat st = { 0 };
    if (fstat(sb->binds[i], &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s: its source", m->target);
    return cb_rootfs_put(sb, CB_TAKE_FD(sb->binds[i]), m->target, cb_mounts_bind_attrs(m, &st), err);
}

static int put_tmpfs(struct cb_sandbox *sb, const struct cb_mount *m, struct cb_error *err)
{
    char mode[16], size[24];
    snprintf(mode, sizeof mode, "%04o", m->mode ? m->mode : 01777);
    snprintf(size, sizeof size, "%" PRIu64, m->size);
    const struct cb_mnt_opt opts[] = { { "mode", mode }, { m->size ? "size" : NULL, size }, { NULL, NULL } };
    unsigned attrs = CB_MNT_SAFE | (m->readonly ? MOUNT_ATTR_RDONLY : 0);
    return cb_rootfs_put(sb, cb_mnt_new("tmpfs", opts, attrs), m->target, 0, err);
}

/* Where the ramfs of one file is mounted, out of the step's sight; only the file is shown. */
static int ram_directory(struct cb_sandbox *sb, const char *name)
{
    static const struct cb_mnt_opt opts[] = { { "mode", "0700" }, { NULL, NULL } };
    if (mkdirat(sb->stage, name, 0700) < 0)
        return -errno;
    cb_autoclose int at = openat(sb->stage, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int ram = at < 0 ? -errno : cb_mnt_new("ramfs", opts, CB_MNT_SAFE);
    int r = ram < 0 ? ram : cb_mnt_move(ram, at);
    if (ram >= 0 && r < 0)
        close(ram);
    return r < 0 ? r : ram;
}

/* own: whose it is to be is ours to say; where one id is mapped all belongs to that. */
static int write_data(int ram, const struct cb_mount *m, bool own, struct cb_error *err)
{
    cb_autoclose int fd = openat(ram, "data", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s", m->target);
    int r = cb_fd_write_all(fd, m->data, m->data_len, err);
    if (r < 0)
        return cb_error_wrap(err, "mount %s", m->target);
    if ((own && fchown(fd, m->uid, m->gid) < 0) || fchmod(fd, (m->mode ? m->mode : 0400) & 0777) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s: owner %u:%u", m->target, m->uid, m->gid);
    return 0;
}

static int put_data(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    char name[32];
    snprintf(name, sizeof name, "data-%zu", i);
    cb_autoclose int ram = ram_directory(sb, name);
    if (ram < 0)
        return cb_error_sys(err, CB_ELOCAL, -ram, "mount %s: a ramfs", m->target);
    int r = write_data(ram, m, sb->spec->id_mode != CB_ID_SINGLE, err);
    if (r < 0)
        return r;
    uint64_t attrs = (m->mode & 0111 ? CB_MNT_SAFE : CB_MNT_SAFEST) | MOUNT_ATTR_RDONLY;
    return cb_rootfs_put(sb, cb_mnt_clone(ram, "data", false), m->target, attrs, err);
}

/* Above itself: a mount has a read-only mark of its own. */
static int put_own(struct cb_sandbox *sb, const struct cb_mount *m, struct cb_error *err)
{
    cb_autoclose int target = cb_target_open(&sb->targets, m->target, true, err);
    if (target < 0)
        return target;
    cb_autoclose int mnt = cb_mnt_clone(target, "", false);
    int r = mnt < 0 ? mnt : cb_mnt_move(mnt, target);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "mount %s", m->target) : 0;
}

int cb_mounts_put(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    switch (sb->spec->mounts[i].kind) {
    case CB_MOUNT_BIND:
        return put_bind(sb, i, err);
    case CB_MOUNT_TMPFS:
        return put_tmpfs(sb, &sb->spec->mounts[i], err);
    case CB_MOUNT_DATA:
        return put_data(sb, i, err);
    case CB_MOUNT_TREE:
        return cb_tree_put(sb, i, err);
    case CB_MOUNT_OWN:
        return put_own(sb, &sb->spec->mounts[i], err);
    }
    return cb_error_set(err, CB_EINTERNAL, "mount of an unknown kind");
}

static size_t depth(const char *path)
{
    size_t n = 0;
    for (; *path; path++)
        n += path[0] == '/' && path[1] && path[1] != '/';
    return n;
}

void cb_mounts_order(const struct cb_exec_spec *spec, size_t *order)
{
    size_t n = 0;
    for (size_t level = 0; n < spec->n_mounts; level++) {
        for (size_t i = 0; i < spec->n_mounts; i++) {
            if (depth(spec->mounts[i].target) == level)
                order[n++] = i;
        }
    }
}

int cb_mounts_attach(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_autofree size_t *order = cb_calloc(sb->spec->n_mounts + 1, sizeof *order);
    cb_mounts_order(sb->spec, order);
    for (size_t i = 0; i < sb->spec->n_mounts; i++) {
        int r = cb_mounts_put(sb, order[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

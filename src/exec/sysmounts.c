/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/sandbox.h"
#include "util/fd.h"

#define TTY_GROUP "5"
#define CPUS "devices/system/cpu"
#define SHM_SIZE (UINT64_C(64) << 20)

/* ---- /dev ---- */

static const struct {
    const char *name;
    unsigned minor_number, major_number;
} devices[] = {
    { "null", 3, 1 }, { "zero", 5, 1 }, { "full", 7, 1 }, { "random", 8, 1 }, { "urandom", 9, 1 }, { "tty", 0, 5 },
};

static const struct {
    const char *name, *target;
} links[] = {
    { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
    { "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },         { "core", "/proc/kcore" },
};

static int move_onto(int mnt, int dir, const char *name)
{
    cb_autoclose int target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return target < 0 ? -errno : cb_mnt_move(mnt, target);
}

/* As root nodes of our own, so that `RUN chmod /dev/null` is not felt by the host. In a user namespace nobody could
 * make nodes, nor chmod the host's. Either way each is a mount of its own on a file of a tmpfs that honours no device
 * nodes. */
static int device_source(struct cb_sandbox *sb, size_t i)
{
    const char *name = devices[i].name;
    dev_t number = makedev(devices[i].major_number, devices[i].minor_number);
    if (sb->spec->id_mode == CB_ID_REAL_ROOT) {
        if (mknodat(sb->stage, name, S_IFCHR | 0666, number) == 0)
            return cb_mnt_clone(sb->stage, name, false);
        if (errno != EPERM)
            return -errno;
    }
    char path[32];
    snprintf(path, sizeof path, "/dev/%s", name);
    return cb_mnt_clone(AT_FDCWD, path, false);
}

static int add_device(struct cb_sandbox *sb, size_t i)
{
    cb_autoclose int file = openat(sb->dev, devices[i].name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    cb_autoclose int mnt = file < 0 ? -errno : device_source(sb, i);
    if (mnt < 0)
        return mnt;
    int r = cb_mnt_set(mnt, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, false);
    return r < 0 ? r : move_onto(mnt, sb->dev, devices[i].name);
}

static int add_directory_mount(struct cb_sandbox *sb, const char *name, const char *type, const struct cb_mnt_opt *opts,
                               unsigned attrs)
{
    if (mkdirat(sb->dev, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    cb_autoclose int mnt = cb_mnt_new(type, opts, attrs);
    return mnt < 0 ? mnt : move_onto(mnt, sb->dev, name);
}

static int add_pts(struct cb_sandbox *sb)
{
    static const struct cb_mnt_opt with_group[] = {
        { "ptmxmode", "0666" }, { "mode", "0620" }, { "gid", TTY_GROUP }, { NULL, NULL }
    };
    static const struct cb_mnt_opt plain[] = { { "ptmxmode", "0666" }, { "mode", "0620" }, { NULL, NULL } };
    unsigned attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    int r = add_directory_mount(sb, "pts", "devpts", with_group, attrs);
    /* The group may not be mapped. */
    return r == -EINVAL ? add_directory_mount(sb, "pts", "devpts", plain, attrs) : r;
}

static int add_devices(struct cb_sandbox *sb, struct cb_error *err)
{
    for (size_t i = 0; i < CB_COUNTOF(devices); i++) {
        int r = add_device(sb, i);
        if (r < 0)
            return cb_error_sys(err, CB_ELOCAL, -r, "fill /dev: /dev/%s", devices[i].name);
    }
    return 0;
}

static int fill_dev(struct cb_sandbox *sb)
{
    const struct cb_limits *l = sb->spec->limits;
    char size[24];
    snprintf(size, sizeof size, "%llu", (unsigned long long)(l && l->shm_size ? l->shm_size : SHM_SIZE));
    const struct cb_mnt_opt shm[] = { { "mode", "1777" }, { "size", size }, { NULL, NULL } };
    int r = 0;
    for (size_t i = 0; i < CB_COUNTOF(links) && r == 0; i++)
        r = symlinkat(links[i].target, sb->dev, links[i].name) < 0 ? -errno : 0;
    if (r == 0)
        r = add_pts(sb);
    if (r == 0)
        r = add_directory_mount(sb, "shm", "tmpfs", shm, CB_MNT_SAFEST);
    if (r == 0)
        r = add_directory_mount(sb, "mqueue", "mqueue", NULL, CB_MNT_SAFEST);
    return r == -ENODEV ? 0 : r; /* a kernel without POSIX message queues */
}

int cb_sysmounts_dev(struct cb_sandbox *sb, struct cb_error *err)
{
    static const struct cb_mnt_opt tmpfs[] = { { "mode", "0755" }, { "size", "64k" }, { NULL, NULL } };
    sb->dev = cb_mnt_new("tmpfs", tmpfs, CB_MNT_SAFE);
    if (sb->dev < 0)
        return cb_error_sys(err, CB_ELOCAL, -sb->dev, "mount /dev");
    cb_autoclose int target = cb_target_open(&sb->targets, "/dev", true, err);
    if (target < 0)
        return target;
    int r = cb_mnt_move(sb->dev, target);
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "mount /dev");
    if ((r = add_devices(sb, err)) < 0)
        return r;
    if ((r = fill_dev(sb)) < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "fill /dev");
    sb->child.empty = openat(sb->stage, "empty", O_PATH | O_DIRECTORY | O_CLOEXEC);
    sb->child.null = openat(sb->dev, "null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (sb->child.null < 0 || sb->child.empty < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "/dev/null");
    return 0;
}

/* ---- /sys ---- */

/* A user namespace may mount sysfs only for a network namespace of its own; otherwise the one that is there is shown,
 * read-only with all that is mounted in it. */
static int make_sys(bool writable)
{
    unsigned readonly = writable ? 0 : MOUNT_ATTR_RDONLY;
    int mnt = cb_mnt_new("sysfs", NULL, CB_MNT_SAFEST | readonly);
    if (mnt != -EPERM)
        return mnt;
    mnt = cb_mnt_clone(AT_FDCWD, "/sys", true);
    if (mnt < 0)
        return mnt;
    int r = cb_mnt_set(mnt, CB_MNT_SAFEST | readonly, true);
    if (r == 0)
        return mnt;
    close(mnt);
    return r;
}

static int hide_sys(struct cb_sandbox *sb, const char *path)
{
    cb_autoclose int target = openat(sb->sys, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0)
        return errno == ENOENT ? 0 : -errno;
    cb_autoclose int mnt = cb_mnt_clone(sb->stage, "empty", false);
    int r = mnt < 0 ? mnt : cb_mnt_set(mnt, CB_MNT_SAFEST | MOUNT_ATTR_RDONLY, false);
    return r < 0 ? r : cb_mnt_move(mnt, target);
}

/* How hot each processor has been tells what others compute. */
static int hide_throttling(struct cb_sandbox *sb)
{
    int fd = openat(sb->sys, CPUS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    int r = 0;
    if (!d) {
        r = errno == ENOENT ? 0 : -errno;
        cb_close_p(&fd);
        return r;
    }
    while (r == 0 && (e = readdir(d))) {
        char path[sizeof CPUS + NAME_MAX + 32];
        snprintf(path, sizeof path, CPUS "/%s/thermal_throttle", e->d_name);
        if (strncmp(e->d_name, "cpu", 3) == 0 && e->d_name[3] >= '0' && e->d_name[3] <= '9')
            r = hide_sys(sb, path);
    }
    closedir(d);
    return r;
}

static int hide_all(struct cb_sandbox *sb)
{
    int r = hide_sys(sb, "firmware");
    if (r == 0)
        r = hide_sys(sb, "devices/virtual/powercap");
    return r < 0 ? r : hide_throttling(sb);
}

int cb_sysmounts_sys(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_autoclose int target = cb_target_open_top(&sb->targets, "sys", err);
    if (target < 0)
        return target;
    sb->sys = make_sys(sb->spec->insecure);
    int r = sb->sys < 0 ? sb->sys : cb_mnt_move(sb->sys, target);
    if (r == 0 && !sb->spec->insecure)
        r = hide_all(sb);
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "mount /sys");
    sb->child.cgroup = openat(sb->sys, "fs/cgroup", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    sb->child.cgroup2 = cb_cgroup_kind() == CB_CGROUP_V2;
    sb->child.proc = cb_target_open_top(&sb->targets, "proc", err);
    return sb->child.proc < 0 ? sb->child.proc : 0;
}

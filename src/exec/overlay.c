/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/mnt.h"
#include "util/alloc.h"
#include "util/limits.h"
#include "util/strbuf.h"

#define KERNEL_MAX_LOWER 500

void cb_overlay_done(struct cb_overlay *o)
{
    free(o->lower);
    *o = (struct cb_overlay){ 0 };
}

static bool has_directory(const struct stat *seen, size_t n, const struct stat *st)
{
    for (size_t i = 0; i < n; i++) {
        if (seen[i].st_ino == st->st_ino && seen[i].st_dev == st->st_dev)
            return true;
    }
    return false;
}

int cb_overlay_set_lower(struct cb_overlay *o, const int *lowest_first, size_t n, int bottom, struct cb_error *err)
{
    cb_autofree struct stat *seen = cb_calloc(n + 1, sizeof *seen);
    o->lower = cb_calloc(n + 1, sizeof *o->lower);
    o->n = 0;
    for (size_t i = n; i-- > 0;) {
        struct stat *st = &seen[o->n];
        int e = fstat(lowest_first[i], st) < 0 ? errno : S_ISDIR(st->st_mode) ? 0 : ENOTDIR;
        if (e)
            return cb_error_sys(err, CB_ELOCAL, e, "layer %zu of the root", i);
        if (!has_directory(seen, o->n, st))
            o->lower[o->n++] = lowest_first[i];
    }
    o->lower[o->n++] = bottom;
    if (o->n > KERNEL_MAX_LOWER)
        return cb_error_set(err, CB_ELOCAL, "the image has %zu layers; the kernel's overlayfs takes %d", o->n - 1,
                            KERNEL_MAX_LOWER - 1);
    return 0;
}

/* `volatile` spares the step every fsync: its upper directory is thrown away if we die. Redirects and metacopy would
 * put into the upper directory what no layer can hold, and would follow what an image made up (A6). */
static const struct cb_mnt_opt options[] = {
    { "redirect_dir", "nofollow" }, { "metacopy", "off" }, { "index", "off" }, { "xino", "off" }, { "uuid", "off" },
    { "volatile", NULL },
};

static int set_options(int fs, const struct cb_overlay *o)
{
    int r = o->user_xattrs ? cb_mnt_option(fs, "userxattr", NULL) : 0;
    cb_mnt_option(fs, "source", "overlay");
    for (size_t i = 0; i < CB_COUNTOF(options) && r == 0; i++)
        r = cb_mnt_option(fs, options[i].key, options[i].value);
    return r;
}

static int set_directory(int fs, const char *key, int dir, enum cb_overlay_how how)
{
    if (how == CB_OVERLAY_FDS)
        return cb_mnt_option_fd(fs, key, dir);
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", dir);
    return cb_mnt_option(fs, key, name);
}

static int set_directories(int fs, const struct cb_overlay *o, enum cb_overlay_how how)
{
    int r = 0;
    for (size_t i = 0; i < o->n && r == 0; i++)
        r = set_directory(fs, "lowerdir+", o->lower[i], how);
    if (r == 0)
        r = set_directory(fs, "upperdir", o->upper, how);
    return r < 0 ? r : set_directory(fs, "workdir", o->work, how);
}

static int fail(int fs, int r, struct cb_error *err)
{
    char text[512] = "";
    if (fs >= 0)
        cb_mnt_message(fs, text, sizeof text);
    return cb_error_sys(err, CB_ELOCAL, -r, "mount overlayfs%s%s", text[0] ? ": " : "", text);
}

/* By version: older kernels take an option that they do not know, and a failed mount has spoilt the work directory. */
static enum cb_overlay_how what_the_kernel_knows(enum cb_overlay_how how)
{
    if (how == CB_OVERLAY_FDS && !cb_kernel_at_least(6, 13))
        how = CB_OVERLAY_NAMES;
    return how == CB_OVERLAY_NAMES && !cb_kernel_at_least(6, 8) ? CB_OVERLAY_CLASSIC : how;
}

int cb_overlay_create(const struct cb_overlay *o, enum cb_overlay_how how, struct cb_error *err)
{
    how = what_the_kernel_knows(how);
    if (how == CB_OVERLAY_CLASSIC)
        return -ENOSYS;
    cb_autoclose int fs = cb_mnt_fsopen("overlay");
    int r = fs < 0 ? fs : set_directories(fs, o, how);
    if (r == 0)
        r = set_options(fs, o);
    if (r == 0)
        r = cb_mnt_create(fs, o->devices ? 0 : MOUNT_ATTR_NODEV);
    return r < 0 ? fail(fs, r, err) : r;
}

/* ---- mount(2) ---- */

int cb_overlay_reopen(int fd)
{
    char link[40], path[CB_MAX_PATH + 1];
    struct stat a, b;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    int again = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (again < 0)
        return -errno;
    if (fstat(fd, &a) == 0 && fstat(again, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
        return again;
    close(again);
    return -ESTALE;
}

struct reopened {
    int *fds;
    size_t n;
};

static void reopened_done(struct reopened *r)
{
    for (size_t i = 0; i < r->n; i++)
        close(r->fds[i]);
    free(r->fds);
}

static int reopen_into(struct reopened *all, int fd, struct cb_error *err)
{
    int again = cb_overlay_reopen(fd);
    if (again < 0)
        return cb_error_sys(err, CB_ELOCAL, -again, "find a layer directory again in a mount namespace");
    all->fds[all->n++] = again;
    return again;
}

/* Names relative to /proc/self/fd keep hundreds of layers within the one page that mount(2) takes. */
static int classic_data(const struct cb_overlay *o, struct reopened *all, struct cb_strbuf *data, struct cb_error *err)
{
    all->fds = cb_calloc(o->n + 2, sizeof *all->fds);
    for (size_t i = 0; i < o->n; i++) {
        int fd = reopen_into(all, o->lower[i], err);
        if (fd < 0)
            return fd;
        cb_strbuf_addf(data, "%s%d", i ? ":" : "lowerdir=", fd);
    }
    int upper = reopen_into(all, o->upper, err);
    int work = upper < 0 ? upper : reopen_into(all, o->work, err);
    if (work < 0)
        return work;
    cb_strbuf_addf(data, ",upperdir=%d,workdir=%d%s", upper, work, o->user_xattrs ? ",userxattr" : "");
    for (size_t i = 0; i < CB_COUNTOF(options); i++)
        cb_strbuf_addf(data, ",%s%s%s", options[i].key, options[i].value ? "=" : "",
                       options[i].value ? options[i].value : "");
    return 0;
}

static int classic_mount_point(int dir, int *point, struct cb_error *err)
{
    if (mkdirat(dir, "root", 0700) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a mount point");
    *point = openat(dir, "root", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *point < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "mount point") : 0;
}

static int classic_mount(const char *data, int point, unsigned long flags, struct cb_error *err)
{
    char target[40];
    snprintf(target, sizeof target, "/proc/self/fd/%d", point);
    cb_autoclose int fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fds < 0 || fchdir(fds) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "/proc/self/fd");
    if (syscall(SYS_mount, "overlay", target, "overlay", flags, data) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount overlayfs");
    return 0;
}

/* Taken off again as a mount without a place, which is what the newer ways give. */
static int classic_take(int dir, struct cb_error *err)
{
    int mnt = cb_mnt_clone(dir, "root", false);
    int r = fchdir(dir) < 0 ? -errno : cb_mnt_detach("root");
    if (mnt >= 0 && r < 0)
        close(mnt);
    if (mnt < 0 || r < 0)
        return cb_error_sys(err, CB_ELOCAL, mnt < 0 ? -mnt : -r, "take the overlay mount");
    return mnt;
}

int cb_overlay_mount_classic(const struct cb_overlay *o, int scratch, struct cb_error *err)
{
    struct reopened all CB_CLEANUP(reopened_done) = { 0 };
    cb_cleanup_strbuf struct cb_strbuf data = CB_STRBUF_INIT;
    cb_autoclose int dir = cb_overlay_reopen(scratch);
    cb_autoclose int point = -1;
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, -dir, "scratch directory");
    int r = classic_data(o, &all, &data, err);
    if (r == 0)
        r = classic_mount_point(dir, &point, err);
    if (r == 0 && data.len >= 4096)
        r = cb_error_set(err, CB_ELOCAL, "%zu layers are too many for this kernel: use Linux 6.8 or newer", o->n);
    if (r == 0)
        r = classic_mount(data.buf, point, o->devices ? 0 : MS_NODEV, err);
    return r < 0 ? r : classic_take(dir, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "exec/chroot.h"
#include "exec/network.h"
#include "exec/tree_copy.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/path.h"

/* ---- places in the root ---- */

/* Where something of ours goes: nothing is there any more, and the directory's time is put back when it is done. */
struct spot {
    struct cb_strbuf path; /* normal form, without links */
    const char *name;      /* its last component */
    int dir;
    struct timespec mtime;
};
#define SPOT_INIT { .path = CB_STRBUF_INIT, .dir = -1 }

static void spot_done(struct spot *s)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, s->mtime };
    if (s->dir >= 0)
        (void)!futimens(s->dir, times);
    cb_close_p(&s->dir);
    cb_strbuf_done(&s->path);
}

static int spot_open(struct cb_sandbox *sb, struct spot *s, const char *target, bool want_dir, struct cb_error *err)
{
    struct stat st;
    cb_autoclose int found = cb_target_locate(&sb->targets, target, want_dir, &s->path, err);
    if (found < 0)
        return found;
    const char *slash = strrchr(s->path.buf, '/');
    cb_autofree char *dir = cb_strndup(s->path.buf, slash ? (size_t)(slash - s->path.buf) : 0);
    s->name = slash ? slash + 1 : s->path.buf;
    s->dir = cb_path_openat(sb->root, dir, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (s->dir < 0 || fstat(s->dir, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, s->dir < 0 ? -s->dir : errno, "mount target %s", target);
    s->mtime = st.st_mtim;
    return cb_chroot_make_room(sb, s->dir, s->name, s->path.buf, err);
}

static void spot_is_ours(struct cb_sandbox *sb, const struct spot *s)
{
    struct stat st;
    int fd = openat(s->dir, s->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)))
        cb_close_p(&fd);
    cb_tree_ours_add(&sb->chroot->ours, s->path.buf, fd);
}

/* A new file there, of which attributes are not set yet. */
static int spot_create(const struct spot *s, const char *target, struct cb_error *err)
{
    int fd = openat(s->dir, s->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "put %s into the root", target) : fd;
}

static int spot_mkdir(const struct spot *s, const char *target, struct cb_error *err)
{
    if (mkdirat(s->dir, s->name, 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "put %s into the root", target);
    int fd = openat(s->dir, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "put %s into the root", target) : fd;
}

/* ---- /dev, /proc, /sys ---- */

static int make_node(int dev, const char *name, unsigned major_number, unsigned minor_number, struct cb_error *err)
{
    if (mknodat(dev, name, S_IFCHR | 0666, makedev(major_number, minor_number)) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno,
                            "make /dev/%s (isolation chroot needs CAP_MKNOD, not of a user namespace)", name);
    if (fchmodat(dev, name, 0666, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chmod /dev/%s", name);
    return 0;
}

static int make_nodes(int dev, struct cb_error *err)
{
    static const struct {
        const char *name;
        unsigned major_number, minor_number;
    } nodes[] = {
        { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(nodes); i++)
        r = make_node(dev, nodes[i].name, nodes[i].major_number, nodes[i].minor_number, err);
    if (r < 0)
        return r;
    cb_autoclose int null = openat(dev, "null", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    return null < 0 ? cb_error_sys(err, CB_ELOCAL, errno,
                                   "open /dev/null in the root (put the store, CBPUSH_ROOT, on a file system that is "
                                   "not mounted nodev)")
                    : 0;
}

static int fill_dev(int dev, struct cb_error *err)
{
    static const char *const links[][2] = { { "/proc/self/fd", "fd" },       { "/proc/self/fd/0", "stdin" },
                                            { "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" } };
    int r = make_nodes(dev, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < CB_COUNTOF(links); i++) {
        if (symlinkat(links[i][0], dev, links[i][1]) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "fill /dev");
    }
    if (mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 01777) < 0 || fchmodat(dev, "shm", 01777, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "fill /dev");
    return 0;
}

/* The two of the kernel stay empty: there is no mount(2). */
int cb_chroot_dev(struct cb_sandbox *sb, struct cb_error *err)
{
    static const char *const dirs[] = { "proc", "sys", "dev" };
    for (size_t i = 0; i < CB_COUNTOF(dirs); i++) {
        if (mkdirat(sb->root, dirs[i], 0755) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "make /%s", dirs[i]);
        cb_tree_ours_add(&sb->chroot->ours, dirs[i], -1);
    }
    cb_autoclose int dev = openat(sb->root, "dev", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return dev < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "/dev") : fill_dev(dev, err);
}

/* ---- /etc/hosts, /etc/resolv.conf ---- */

static int put_text(struct cb_sandbox *sb, const char *target, const struct cb_strbuf *text, struct cb_error *err)
{
    struct spot s CB_CLEANUP(spot_done) = SPOT_INIT;
    int r = spot_open(sb, &s, target, false, err);
    cb_autoclose int fd = r < 0 ? r : spot_create(&s, target, err);
    if (fd < 0)
        return fd;
    spot_is_ours(sb, &s);
    return cb_fd_write_all(fd, text->buf, text->len, err);
}

int cb_chroot_network(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf hosts = CB_STRBUF_INIT, resolv = CB_STRBUF_INIT;
    int r = cb_network_texts(sb->spec, &hosts, &resolv, err);
    if (r == 0)
        r = put_text(sb, "/etc/hosts", &hosts, err);
    return r < 0 ? r : put_text(sb, "/etc/resolv.conf", &resolv, err);
}

/* ---- mounts ---- */

static int put_file(const struct spot *s, const struct cb_mount *m, int source, const struct stat *st,
                    struct cb_error *err)
{
    char path[40];
    uint64_t copied = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", source);
    cb_autoclose int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s: its source", m->target);
    cb_autoclose int out = spot_create(s, m->target, err);
    int r = out < 0 ? out : cb_fd_copy(in, out, UINT64_MAX, &copied, err);
    if (r < 0)
        return cb_error_wrap(err, "mount %s", m->target);
    r = cb_tree_set_attrs(out, st);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "mount %s", m->target) : 0;
}

static int put_dir(struct cb_sandbox *sb, const struct spot *s, const struct cb_mount *m, int source,
                   struct cb_error *err)
{
    struct stat st;
    cb_autoclose int in = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s: its source", m->target);
    cb_autoclose int out = spot_mkdir(s, m->target, err);
    int r = out < 0 ? out : cb_tree_copy_plain(in, out, sb->spec->cancel, err);
    if (r < 0)
        return cb_error_wrap(err, "mount %s", m->target);
    r = cb_tree_copy_xattrs(in, out);
    if (r == 0)
        r = cb_tree_set_attrs(out, &st);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "mount %s", m->target) : 0;
}

static int put_copy(struct cb_sandbox *sb, const struct cb_mount *m, int source, struct cb_error *err)
{
    struct spot s CB_CLEANUP(spot_done) = SPOT_INIT;
    struct stat st;
    if (fstat(source, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s: its source", m->target);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_ELOCAL, "mount %s: isolation chroot shows files and directories only", m->target);
    int r = spot_open(sb, &s, m->target, S_ISDIR(st.st_mode), err);
    if (r == 0)
        r = S_ISDIR(st.st_mode) ? put_dir(sb, &s, m, source, err) : put_file(&s, m, source, &st, err);
    if (r == 0)
        spot_is_ours(sb, &s);
    if (r == 0 && m->keep && S_ISDIR(st.st_mode))
        cb_chroot_keep_add(sb, s.path.buf, m->keep);
    return r;
}

/* The layers of another root, put together beside ours. */
static int put_tree(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    char name[32];
    snprintf(name, sizeof name, "tree-%zu", i);
    if (mkdirat(sb->spec->root.work_fd, name, 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s", m->target);
    cb_autoclose int tree = openat(sb->spec->root.work_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (tree < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mount %s", m->target);
    const struct cb_tree_copy copy = { .lower_fds = m->tree->lower_fds, .n_lower = m->tree->n_lower, .to = tree,
                                       .user_xattrs = sb->spec->id_mode != CB_ID_REAL_ROOT,
                                       .cancel = sb->spec->cancel };
    int r = cb_tree_copy(&copy, err);
    cb_autoclose int shown = r < 0 ? -1 : cb_path_openat(tree, m->sub, O_PATH, 0, CB_RESOLVE_IN_ROOT);
    if (r == 0 && shown < 0)
        r = cb_error_sys(err, CB_ECONF, -shown, "mount %s: its source /%s", m->target, m->sub);
    return r < 0 ? r : put_copy(sb, m, shown, err);
}

/* On the disk, and gone with the root. */
static int put_tmpfs(struct cb_sandbox *sb, const struct cb_mount *m, struct cb_error *err)
{
    struct spot s CB_CLEANUP(spot_done) = SPOT_INIT;
    int r = spot_open(sb, &s, m->target, true, err);
    cb_autoclose int fd = r < 0 ? r : spot_mkdir(&s, m->target, err);
    if (fd < 0)
        return fd;
    spot_is_ours(sb, &s);
    return fchmod(fd, m->mode ? m->mode : 01777) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "mount %s", m->target) : 0;
}

static int put_mount(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    switch (m->kind) {
    case CB_MOUNT_TMPFS:
        return put_tmpfs(sb, m, err);
    case CB_MOUNT_TREE:
        return put_tree(sb, i, err);
    case CB_MOUNT_BIND:
        return put_copy(sb, m, m->source_fd, err);
    case CB_MOUNT_OWN: /* no root is read-only here */
        return 0;
    case CB_MOUNT_DATA:
        break;
    }
    return cb_error_set(err, CB_EINTERNAL, "mount of an unknown kind");
}

int cb_chroot_mounts(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_autofree size_t *order = cb_calloc(sb->spec->n_mounts + 1, sizeof *order);
    int r = 0;
    cb_mounts_order(sb->spec, order);
    for (size_t i = 0; r == 0 && i < sb->spec->n_mounts; i++)
        r = put_mount(sb, order[i], err);
    return r;
}

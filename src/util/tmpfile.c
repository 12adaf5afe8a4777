/* SPDX-License-Identifier: Apache-2.0 */
/* Files that get their name when they are complete (fs.h). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/random.h"

#define NAME_TRIES 100

static void random_name(char name[static 32])
{
    uint8_t raw[8];
    cb_random_bytes(raw, sizeof raw);
    memcpy(name, ".tmp-", 5);
    cb_hex_encode(name + 5, raw, sizeof raw);
}

static int open_named(struct cb_tmpfile *t, mode_t mode, struct cb_error *err)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        random_name(t->name);
        t->fd = openat(t->dirfd, t->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (t->fd >= 0)
            return 0;
        if (errno != EEXIST)
            break;
    }
    t->name[0] = '\0';
    return cb_error_sys(err, CB_ELOCAL, errno, "create a temporary file");
}

int cb_tmpfile_open(struct cb_tmpfile *t, int dirfd, mode_t mode, struct cb_error *err)
{
    *t = (struct cb_tmpfile)CB_TMPFILE_INIT;
    t->dirfd = dirfd;
    t->fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    if (t->fd >= 0)
        return 0;
    /* EISDIR and EINVAL come from kernels and file systems that do not know O_TMPFILE. */
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return cb_error_sys(err, CB_ELOCAL, errno, "create a temporary file");
    return open_named(t, mode, err);
}

/* 0 or a negative errno. Linking a bare descriptor takes a capability; its /proc name does not. */
static int link_unnamed(const struct cb_tmpfile *t, int dst_dirfd, const char *name)
{
    if (linkat(t->fd, "", dst_dirfd, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno == EEXIST)
        return -EEXIST;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", t->fd);
    return linkat(AT_FDCWD, path, dst_dirfd, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

static int publish(struct cb_tmpfile *t, int dst_dirfd, const char *name)
{
    if (!t->name[0])
        return link_unnamed(t, dst_dirfd, name);
    int r = cb_fs_rename_noreplace(t->dirfd, t->name, dst_dirfd, name);
    if (r == 0)
        t->name[0] = '\0';
    return r;
}

int cb_tmpfile_publish(struct cb_tmpfile *t, int dst_dirfd, const char *name, bool *existed, struct cb_error *err)
{
    /* Asked first to spare the sync; the link decides. */
    *existed = faccessat(dst_dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (!*existed) {
        int r = cb_fd_sync(t->fd, err);
        if (r < 0)
            return r;
        r = publish(t, dst_dirfd, name);
        *existed = r == -EEXIST;
        if (r < 0 && !*existed)
            return cb_error_sys(err, CB_ELOCAL, -r, "give %s its name", name);
    }
    return cb_fs_sync_dir(dst_dirfd, err);
}

/* An unnamed file cannot replace another: it gets a name beside it first. */
static int name_it(struct cb_tmpfile *t, int dst_dirfd)
{
    int r = -EEXIST;
    for (int i = 0; i < NAME_TRIES && r == -EEXIST; i++) {
        random_name(t->name);
        r = link_unnamed(t, dst_dirfd, t->name);
    }
    if (r < 0)
        t->name[0] = '\0';
    else
        t->dirfd = dst_dirfd;
    return r;
}

int cb_tmpfile_replace(struct cb_tmpfile *t, int dst_dirfd, const char *name, struct cb_error *err)
{
    int r = cb_fd_sync(t->fd, err);
    if (r < 0)
        return r;
    if (!t->name[0]) {
        int e = name_it(t, dst_dirfd);
        if (e < 0)
            return cb_error_sys(err, CB_ELOCAL, -e, "name the new %s", name);
    }
    if (renameat(t->dirfd, t->name, dst_dirfd, name) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "replace %s", name);
    t->name[0] = '\0';
    return cb_fs_sync_dir(dst_dirfd, err);
}

void cb_tmpfile_done(struct cb_tmpfile *t)
{
    if (t->name[0])
        (void)unlinkat(t->dirfd, t->name, 0);
    cb_close_p(&t->fd);
    *t = (struct cb_tmpfile)CB_TMPFILE_INIT;
}

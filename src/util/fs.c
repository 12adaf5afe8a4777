/* SPDX-License-Identifier: Apache-2.0 */
#include "util/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/random.h"

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Ancestors may be read-only, mounted on demand or otherwise refuse a mkdir: a directory that is there is good. */
static int make_one(const char *path, mode_t mode, struct cb_error *err)
{
    if (mkdir(path, mode) == 0)
        return 0;
    int e = errno;
    if (is_directory(path))
        return 0;
    return cb_error_sys(err, CB_ELOCAL, e == EEXIST ? ENOTDIR : e, "create directory %s", path);
}

int cb_fs_mkdirs(const char *path, mode_t mode, struct cb_error *err)
{
    if (is_directory(path))
        return 0;
    cb_autofree char *copy = cb_strdup(path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    for (char *p = copy + 1; *copy && *p; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        int r = make_one(copy, 0755, err);
        if (r < 0)
            return r;
        *p = '/';
    }
    return make_one(copy, mode, err);
}

int cb_fs_mkdtempat(int dirfd, const char *prefix, char name[static 64], mode_t mode, int *fd, struct cb_error *err)
{
    if (strlen(prefix) > 40 || strchr(prefix, '/'))
        return cb_error_set(err, CB_EINTERNAL, "\"%s\" cannot begin a directory's name", prefix);
    int e = EEXIST;
    for (int i = 0; i < 100 && e == EEXIST; i++) {
        uint8_t raw[8];
        char hex[2 * sizeof raw + 1];
        cb_random_bytes(raw, sizeof raw);
        cb_hex_encode(hex, raw, sizeof raw);
        snprintf(name, 64, "%s%s", prefix, hex);
        e = mkdirat(dirfd, name, mode) == 0 ? 0 : errno;
    }
    if (e != 0)
        return cb_error_sys(err, CB_ELOCAL, e, "create a temporary directory");
    *fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd >= 0)
        return 0;
    e = errno;
    (void)unlinkat(dirfd, name, AT_REMOVEDIR);
    return cb_error_sys(err, CB_ELOCAL, e, "open the new directory %s", name);
}

/* For file systems without RENAME_NOREPLACE. A file by a second link, which is as safe; a directory cannot have one: a
 * non-empty directory in the way is still refused by rename itself, an empty one loses nothing. */
static int rename_by_link(int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    if (linkat(from_dirfd, from, to_dirfd, to, 0) == 0)
        return unlinkat(from_dirfd, from, 0) == 0 ? 0 : -errno;
    if (errno != EPERM)
        return -errno;
    if (faccessat(to_dirfd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    return renameat(from_dirfd, from, to_dirfd, to) == 0 ? 0 : -errno;
}

int cb_fs_rename_noreplace(int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    if (renameat2(from_dirfd, from, to_dirfd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    return rename_by_link(from_dirfd, from, to_dirfd, to);
}

int cb_fs_exchange(int a_dirfd, const char *a, int b_dirfd, const char *b)
{
    return renameat2(a_dirfd, a, b_dirfd, b, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

int cb_fs_sync_dir(int dirfd, struct cb_error *err)
{
    /* dirfd may be a path descriptor, which cannot be synced. */
    cb_autoclose int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory to sync it");
    int r;
    do
        r = fsync(fd);
    while (r < 0 && errno == EINTR);
    /* EINVAL: this file system has nothing to sync for a directory. */
    if (r < 0 && errno != EINVAL)
        return cb_error_sys(err, CB_ELOCAL, errno, "write directory to disk");
    return 0;
}

int cb_fs_write_file(int dirfd, const char *name, const void *buf, size_t n, mode_t mode, struct cb_error *err)
{
    cb_cleanup_tmpfile struct cb_tmpfile t = CB_TMPFILE_INIT;
    int r = cb_tmpfile_open(&t, dirfd, mode, err);
    if (r == 0)
        r = cb_fd_write_all(t.fd, buf, n, err);
    if (r == 0)
        r = cb_tmpfile_replace(&t, dirfd, name, err);
    if (r < 0)
        (void)cb_error_wrap(err, "write %s", name);
    return r;
}

/* Whether the file that is locked still has the name: it may have been removed between open and lock. */
static bool is_still(int dirfd, const char *path, int fd)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && fstatat(dirfd, path, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

int cb_fs_lock_file(int dirfd, const char *path, int flags, int *fd, struct cb_error *err)
{
    for (;;) {
        cb_autoclose int f = openat(dirfd, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (f < 0)
            return cb_error_sys(err, errno == ENOENT ? CB_ENOTFOUND : CB_ELOCAL, errno, "open %s", path);
        if (flock(f, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "lock %s", path);
        if (is_still(dirfd, path, f)) {
            *fd = CB_TAKE_FD(f);
            return 1;
        }
    }
}

int cb_fs_lock(int fd, struct cb_error *err)
{
    int r;
    do
        r = flock(fd, LOCK_EX);
    while (r < 0 && errno == EINTR);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "lock") : 0;
}

bool cb_fs_is_empty(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    bool empty = d != NULL;
    if (!d) {
        cb_close_p(&fd);
        return false;
    }
    for (struct dirent *de; empty && (de = readdir(d));)
        empty = !strcmp(de->d_name, ".") || !strcmp(de->d_name, "..");
    closedir(d);
    return empty;
}

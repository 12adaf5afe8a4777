/* SPDX-License-Identifier: Apache-2.0 */
/* What fs.h does with whole trees. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/fs.h"
#include "util/fs_walk.h"
#include "util/hashmap.h"
#include "util/openat2.h"

static int remove_file(void *ctx, int dirfd, const char *name, struct cb_error *err)
{
    (void)ctx;
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return errno == EISDIR ? CB_WALK_IS_DIR : cb_error_sys(err, CB_ELOCAL, errno, "remove %s", name);
}

static int make_accessible(void *ctx, int fd, const struct stat *st, struct cb_error *err)
{
    (void)ctx;
    (void)err;
    /* Whether a refusal matters shows when the entries are removed. */
    if ((st->st_mode & 0700) != 0700)
        (void)fchmod(fd, 0700);
    return 0;
}

/* chmod of what cannot be opened for reading, without following a link: through a path descriptor. */
static bool permit(void *ctx, int dirfd, const char *name)
{
    (void)ctx;
    cb_autoclose int fd = cb_openat2(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd < 0)
        return false;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return chmod(link, 0700) == 0;
}

static int remove_dir(void *ctx, int dirfd, const char *name, struct cb_error *err)
{
    (void)ctx;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    /* Some file systems let a directory listing miss entries while others are being removed. */
    return errno == ENOTEMPTY ? CB_WALK_AGAIN : cb_error_sys(err, CB_ELOCAL, errno, "remove directory %s", name);
}

static const struct cb_fs_walk removal = {
    .file = remove_file,
    .enter = make_accessible,
    .denied = permit,
    .leave = remove_dir,
};

int cb_fs_remove_contents(int dirfd, struct cb_error *err)
{
    return cb_fs_walk(dirfd, &removal, err);
}

static int open_top(int dirfd, const char *name)
{
    const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    int fd = cb_openat2(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, resolve);
    if (fd == -EACCES && permit(NULL, dirfd, name))
        fd = cb_openat2(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, resolve);
    return fd;
}

/* Through the ".." that it is, the caller's own directory would go. */
static bool is_removable_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *last = slash ? slash + 1 : name;
    return *last && strcmp(last, ".") != 0 && strcmp(last, "..") != 0;
}

static int remove_directory(int dirfd, const char *name, struct cb_error *err)
{
    for (int tries = 0; tries < 8; tries++) {
        cb_autoclose int fd = open_top(dirfd, name);
        if (fd == -ENOENT)
            return 0;
        if (fd == -EXDEV)
            return cb_error_sys(err, CB_ELOCAL, EXDEV, "remove %s: something is mounted there", name);
        if (fd < 0)
            return cb_error_sys(err, CB_ELOCAL, -fd, "remove %s", name);
        int r = cb_fs_remove_contents(fd, err);
        if (r < 0) {
            (void)cb_error_wrap(err, "remove %s", name);
            return r;
        }
        if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != ENOTEMPTY)
            return cb_error_sys(err, CB_ELOCAL, errno, "remove %s", name);
    }
    return cb_error_sys(err, CB_ELOCAL, ENOTEMPTY, "remove %s", name);
}

int cb_fs_remove_tree(int dirfd, const char *name, struct cb_error *err)
{
    if (!is_removable_name(name))
        return cb_error_set(err, CB_EINTERNAL, "remove \"%s\": not the name of an entry", name);
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno == EISDIR)
        return remove_directory(dirfd, name, err);
    return cb_error_sys(err, CB_ELOCAL, errno, "remove %s", name);
}

struct usage {
    uint64_t bytes;
    struct cb_hashmap *linked; /* "dev:ino" of files with several names */
};

static void usage_add(struct usage *u, const struct stat *st)
{
    if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
        char key[48];
        snprintf(key, sizeof key, "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
        if (cb_hashmap_put(u->linked, key, u))
            return;
    }
    u->bytes += (uint64_t)st->st_blocks * 512;
}

static int usage_file(void *ctx, int dirfd, const char *name, struct cb_error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "stat %s", name);
    if (S_ISDIR(st.st_mode))
        return CB_WALK_IS_DIR;
    usage_add(ctx, &st);
    return 0;
}

static int usage_dir(void *ctx, int fd, const struct stat *st, struct cb_error *err)
{
    (void)fd;
    (void)err;
    usage_add(ctx, st);
    return 0;
}

int cb_fs_disk_usage(int dirfd, const char *name, uint64_t *bytes, struct cb_error *err)
{
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *linked = cb_hashmap_new();
    struct usage u = { .linked = linked };
    struct cb_fs_walk walk = { .ctx = &u, .file = usage_file, .enter = usage_dir, .skip_mounts = true };
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat %s", name);
    if (!S_ISDIR(st.st_mode)) {
        *bytes = (uint64_t)st.st_blocks * 512;
        return 0;
    }
    cb_autoclose int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory %s", name);
    int r = cb_fs_walk(fd, &walk, err);
    if (r < 0) {
        (void)cb_error_wrap(err, "disk usage of %s", name);
        return r;
    }
    *bytes = u.bytes;
    return 0;
}

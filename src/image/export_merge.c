/* SPDX-License-Identifier: Apache-2.0 */
/* A tree that was unpacked beside what a directory has, put into it. Links that were there are not followed: what the
 * image has in the place of one replaces it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/private.h"
#include "util/fs.h"

static int failed(const char *name, struct cb_error *err)
{
    return cb_error_sys(err, CB_ELOCAL, errno, "put %s into its place", name);
}

static bool is_dir(int dirfd, const char *name, bool *there)
{
    struct stat st;
    *there = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return *there && S_ISDIR(st.st_mode);
}

static int open_dir(int dirfd, const char *name, struct cb_error *err)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open %s", name) : fd;
}

/* A directory that both have becomes the image's, but for what else is in it. */
static int take_attributes(int from, int to, const char *name, struct cb_error *err)
{
    struct stat st;
    if (fstat(from, &st) < 0 || (geteuid() == 0 && fchown(to, st.st_uid, st.st_gid) < 0) ||
        fchmod(to, st.st_mode & 07777) < 0 ||
        futimens(to, (struct timespec[]){ st.st_atim, st.st_mtim }) < 0)
        return failed(name, err);
    return 0;
}

static int merge_dirs(int from, int to, const char *name, struct cb_error *err)
{
    cb_autoclose int a = open_dir(from, name, err);
    cb_autoclose int b = a < 0 ? -1 : open_dir(to, name, err);
    int r = b < 0 ? -CB_ELOCAL : cb_export_merge(a, b, err);
    return r < 0 ? cb_error_wrap(err, "%s", name) : take_attributes(a, b, name, err);
}

static int put(int from, int to, const char *name, struct cb_error *err)
{
    bool there;
    bool dir = is_dir(from, name, &there), full = is_dir(to, name, &there);
    if (dir && full)
        return merge_dirs(from, to, name, err);
    int r = there && dir != full ? cb_fs_remove_tree(to, name, err) : 0;
    if (r == 0 && renameat(from, name, to, name) < 0)
        r = failed(name, err);
    return r;
}

int cb_export_merge(int from, int to, struct cb_error *err)
{
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    int r = d ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "read what was unpacked");
    for (const struct dirent *e; r == 0 && (errno = 0, e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = put(from, to, e->d_name, err);
    if (r == 0 && errno)
        r = cb_error_sys(err, CB_ELOCAL, errno, "read what was unpacked");
    if (d)
        closedir(d);
    return r;
}

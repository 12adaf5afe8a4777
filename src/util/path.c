/* SPDX-License-Identifier: Apache-2.0 */
#include "util/path.h"

#include <errno.h>
#include <sys/syscall.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/openat2.h"

#define EAGAIN_SPINS 64
#define EAGAIN_TRIES 1064 /* the rest sleep a millisecond each */

int cb_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC), .resolve = resolve };
    /* The kernel refuses a mode where none applies, and bits that are no permissions. */
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE)
        how.mode = mode & 07777;
    for (int i = 0;; i++) {
        long r = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (r >= 0)
            return (int)r;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (i >= EAGAIN_TRIES)
            return -EAGAIN;
        if (i >= EAGAIN_SPINS)
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

static uint64_t resolve_flags(enum cb_resolve how)
{
    switch (how) {
    case CB_RESOLVE_IN_ROOT:
        return RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    case CB_RESOLVE_BENEATH:
        return RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    case CB_RESOLVE_NOFOLLOW:
        break;
    }
    return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
}

/* Behind the slashes in front: names are relative to the root descriptor, and BENEATH takes no absolute one. */
static const char *relative(const char *path)
{
    path += strspn(path, "/");
    return *path ? path : ".";
}

int cb_path_openat(int rootfd, const char *path, int flags, mode_t mode, enum cb_resolve how)
{
    return cb_openat2(rootfd, relative(path), flags, mode, resolve_flags(how));
}

static int open_quietly(int dirfd, const char *path, int flags)
{
    int fd = cb_path_openat(dirfd, path, flags | O_NOATIME, 0, CB_RESOLVE_NOFOLLOW);
    return fd == -EPERM ? cb_path_openat(dirfd, path, flags, 0, CB_RESOLVE_NOFOLLOW) : fd; /* not ours */
}

int cb_path_cursor_open(struct cb_path_cursor *c, const char *path, int flags)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return open_quietly(c->root, path, flags);
    size_t len = (size_t)(slash - path);
    if (!c->dir || strncmp(c->dir, path, len) != 0 || c->dir[len]) {
        cb_path_cursor_done(c);
        c->dir = cb_strndup(path, len);
        c->fd = cb_path_openat(c->root, c->dir, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    }
    return c->fd < 0 ? c->fd : open_quietly(c->fd, slash + 1, flags);
}

void cb_path_cursor_done(struct cb_path_cursor *c)
{
    cb_close_p(&c->fd);
    free(c->dir);
    c->dir = NULL;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int cb_path_open_parent(int rootfd, const char *path, enum cb_resolve how, const char **base)
{
    const char *name = cb_path_base(path);
    /* A name with a slash behind it is followed in spite of O_NOFOLLOW: none is let through. */
    if (*name == '\0' || is_dots(name))
        return -EINVAL;
    *base = name;
    cb_autofree char *parent = cb_strndup(path, (size_t)(name - path));
    return cb_path_openat(rootfd, parent, O_PATH | O_DIRECTORY, 0, how);
}

/* Opens the longest part of `path` that exists and cuts path behind it (at its front, if that is the root itself).
 * *rest is what is missing, NULL where nothing is. */
static int open_existing(int rootfd, char *path, enum cb_resolve how, char **rest)
{
    *rest = NULL;
    for (;;) {
        int fd = cb_path_openat(rootfd, path, O_PATH | O_DIRECTORY, 0, how);
        if (fd != -ENOENT || *path == '\0')
            return fd;
        char *slash = strrchr(path, '/');
        if (*rest)
            (*rest)[-1] = '/';
        *rest = slash ? slash + 1 : path;
        if (!slash)
            return cb_path_openat(rootfd, ".", O_PATH | O_DIRECTORY, 0, how);
        *slash = '\0';
    }
}

struct maker {
    int rootfd;
    int dirfd; /* where we stand */
    mode_t mode;
    enum cb_resolve how;
};

static void maker_done(struct maker *m)
{
    cb_close_p(&m->dirfd);
}

/* One step down to `name`, the end of `prefix`. */
static int make_one(struct maker *m, const char *prefix, const char *name)
{
    int fd;
    if (mkdirat(m->dirfd, name, m->mode) == 0)
        fd = cb_openat2(m->dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    else if (errno == EEXIST)
        /* "..", another thread's work, or a dangling link: that one fails here, with ENOENT. */
        fd = cb_path_openat(m->rootfd, prefix, O_PATH | O_DIRECTORY, 0, m->how);
    else
        fd = -errno;
    if (fd < 0)
        return fd;
    close(m->dirfd);
    m->dirfd = fd;
    return 0;
}

int cb_path_mkdirs(int rootfd, const char *path, mode_t mode, enum cb_resolve how)
{
    cb_autofree char *copy = cb_strdup(path + strspn(path, "/"));
    for (size_t n = strlen(copy); n > 0 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    char *rest;
    CB_CLEANUP(maker_done) struct maker m = { .rootfd = rootfd, .mode = mode, .how = how };
    m.dirfd = open_existing(rootfd, copy, how, &rest);
    if (m.dirfd < 0)
        return m.dirfd;
    while (rest) {
        if (rest > copy)
            rest[-1] = '/';
        char *slash = strchr(rest, '/');
        if (slash)
            *slash = '\0';
        int r = *rest ? make_one(&m, copy, rest) : 0;
        if (r < 0)
            return r;
        rest = slash ? slash + 1 : NULL;
    }
    return cb_openat2(m.dirfd, ".", O_RDONLY | O_DIRECTORY, 0, 0);
}

int cb_path_lstat(int rootfd, const char *path, struct stat *st, enum cb_resolve how)
{
    cb_autoclose int fd = cb_path_openat(rootfd, path, O_PATH | O_NOFOLLOW, 0, how);
    if (fd < 0)
        return fd;
    return fstat(fd, st) < 0 ? -errno : 0;
}

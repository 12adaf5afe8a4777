/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/tree_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"
#include "util/strbuf.h"
#include "util/strvec.h"

struct copy {
    const struct cb_tree_copy *o;
    bool plain;            /* a character device 0:0 is one, and no directory is opaque */
    struct cb_hashmap *links; /* device and inode → the path of its first name; NULL: each name gets a file */
    struct cb_strbuf path; /* where we are */
    unsigned depth;
};

/* One name of the directory that is being copied. */
struct item {
    int from, to; /* directories */
    const char *name;
    struct stat st;
};

static int fail(const struct copy *c, const char *what, int sys_errno, struct cb_error *err)
{
    return cb_error_sys(err, CB_ELOCAL, sys_errno, "copy the root file system: %s /%s", what, c->path.buf);
}

/* ---- attributes ---- */

static bool is_mark(const char *name)
{
    return cb_starts_with(name, "user.overlay.") || cb_starts_with(name, "trusted.overlay.");
}

static bool is_wanted(const char *name)
{
    return cb_streq(name, "security.capability") || (cb_starts_with(name, "user.") && !is_mark(name));
}

/* A list of names, each with its NUL behind it. */
static int list_xattrs(int fd, struct cb_strbuf *names)
{
    ssize_t n = flistxattr(fd, NULL, 0);
    if (n < 0)
        return errno == ENOTSUP ? 0 : -errno;
    if ((size_t)n > CB_MAX_XATTRS * (CB_MAX_NAME + 1u))
        return -E2BIG;
    cb_strbuf_reserve(names, (size_t)n);
    n = flistxattr(fd, names->buf, (size_t)n);
    if (n < 0)
        return -errno;
    cb_strbuf_setlen(names, (size_t)n);
    return 0;
}

static int copy_xattr(int from, int to, const char *name)
{
    cb_autofree char *value = cb_malloc(CB_MAX_XATTR_VALUE);
    ssize_t n = fgetxattr(from, name, value, CB_MAX_XATTR_VALUE);
    return n < 0 || fsetxattr(to, name, value, (size_t)n, 0) < 0 ? -errno : 0;
}

int cb_tree_copy_xattrs(int from, int to)
{
    cb_cleanup_strbuf struct cb_strbuf names = CB_STRBUF_INIT;
    int r = list_xattrs(from, &names);
    for (const char *p = names.buf; r == 0 && p < names.buf + names.len; p += strlen(p) + 1)
        r = is_wanted(p) ? copy_xattr(from, to, p) : 0;
    return r;
}

static int remove_xattrs(int fd, bool (*which)(const char *name))
{
    cb_cleanup_strbuf struct cb_strbuf names = CB_STRBUF_INIT;
    int r = list_xattrs(fd, &names);
    for (const char *p = names.buf; r == 0 && p < names.buf + names.len; p += strlen(p) + 1)
        r = which(p) && fremovexattr(fd, p) < 0 ? -errno : 0;
    return r;
}

int cb_tree_strip_marks(int fd)
{
    return remove_xattrs(fd, is_mark);
}

int cb_tree_set_attrs(int fd, const struct stat *st)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };
    /* In this order: a change of the owner takes set-uid bits away. */
    if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0)
        return -errno;
    return 0;
}

/* Capabilities go with a change of the owner, and a time with any change: so owner, then those, then time. */
static int set_all(int from, int to, const struct stat *st)
{
    int r = fchown(to, st->st_uid, st->st_gid) < 0 ? -errno : cb_tree_copy_xattrs(from, to);
    if (r < 0)
        return r;
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };
    return fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0 ? -errno : 0;
}

static bool is_opaque(const struct copy *c, int fd)
{
    char value = 0;
    const char *name = c->o->user_xattrs ? "user.overlay.opaque" : "trusted.overlay.opaque";
    return !c->plain && fgetxattr(fd, name, &value, 1) == 1 && value == 'y';
}

/* ---- one entry ---- */

static int copy_file(struct copy *c, const struct item *i, struct cb_error *err)
{
    uint64_t copied = 0;
    cb_autoclose int in = openat(i->from, i->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return fail(c, "open", errno, err);
    cb_autoclose int out = openat(i->to, i->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return fail(c, "create", errno, err);
    int r = cb_fd_copy(in, out, UINT64_MAX, &copied, err);
    if (r < 0)
        return cb_error_wrap(err, "copy the root file system: /%s", c->path.buf);
    r = set_all(in, out, &i->st);
    return r < 0 ? fail(c, "set the attributes of", -r, err) : 0;
}

static int copy_link(struct copy *c, const struct item *i, struct cb_error *err)
{
    char text[CB_MAX_PATH + 1];
    ssize_t n = readlinkat(i->from, i->name, text, sizeof text - 1);
    if (n < 0)
        return fail(c, "read the link", errno, err);
    text[n] = '\0';
    return symlinkat(text, i->to, i->name) < 0 ? fail(c, "make the link", errno, err) : 0;
}

static int copy_node(struct copy *c, const struct item *i, struct cb_error *err)
{
    return mknodat(i->to, i->name, (i->st.st_mode & S_IFMT) | 0600, i->st.st_rdev) < 0
               ? fail(c, "make the device or pipe", errno, err) : 0;
}

static int copy_other(struct copy *c, const struct item *i, struct cb_error *err)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, i->st.st_mtim };
    int r = S_ISLNK(i->st.st_mode) ? copy_link(c, i, err) : copy_node(c, i, err);
    if (r < 0)
        return r;
    /* A change of the owner takes set-uid bits away, as above. */
    if (fchownat(i->to, i->name, i->st.st_uid, i->st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISLNK(i->st.st_mode) && fchmodat(i->to, i->name, i->st.st_mode & 07777, 0) < 0) ||
        utimensat(i->to, i->name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(c, "set the attributes of", errno, err);
    return 0;
}

static int copy_tree(struct copy *c, int from, int to, struct cb_error *err);

static int copy_contents(struct copy *c, const struct item *i, struct cb_error *err)
{
    cb_autoclose int in = openat(i->from, i->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cb_autoclose int out = openat(i->to, i->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || out < 0)
        return fail(c, "open", errno, err);
    int r = is_opaque(c, in) ? cb_fs_remove_contents(out, err) : 0;
    if (r == 0)
        r = copy_tree(c, in, out, err);
    if (r < 0)
        return r;
    r = remove_xattrs(out, is_wanted); /* of the directory as a lower layer has it */
    if (r == 0)
        r = set_all(in, out, &i->st);
    return r < 0 ? fail(c, "set the attributes of", -r, err) : 0;
}

static int copy_dir(struct copy *c, const struct item *i, struct cb_error *err)
{
    struct stat old;
    if (c->depth > CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_ELOCAL, "directories more than %d deep: %s", CB_MAX_TREE_DEPTH, c->path.buf);
    if (fstatat(i->to, i->name, &old, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(old.st_mode) &&
        unlinkat(i->to, i->name, 0) < 0)
        return fail(c, "replace", errno, err);
    if (mkdirat(i->to, i->name, 0700) < 0 && errno != EEXIST)
        return fail(c, "make", errno, err);
    return copy_contents(c, i, err);
}

static bool is_whiteout(const struct copy *c, const struct stat *st)
{
    return !c->plain && S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static bool is_left_empty(const struct copy *c, const char *name)
{
    for (const char *const *p = c->depth == 1 ? c->o->left_empty : NULL; p && *p; p++) {
        if (cb_streq(*p, name))
            return true;
    }
    return false;
}

/* 1: a name of what was copied before. */
static int link_again(struct copy *c, const struct item *i, struct cb_error *err)
{
    char id[48];
    if (!c->links || i->st.st_nlink < 2)
        return 0;
    snprintf(id, sizeof id, "%ju:%ju", (uintmax_t)i->st.st_dev, (uintmax_t)i->st.st_ino);
    const char *first = cb_hashmap_get(c->links, id), *slash = first ? strrchr(first, '/') : NULL;
    if (!first) {
        cb_hashmap_put(c->links, id, cb_strdup(c->path.buf));
        return 0;
    }
    cb_autofree char *dir = cb_strndup(first, slash ? (size_t)(slash - first) : 0);
    cb_autoclose int fd = cb_path_openat(c->o->to, dir, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return fail(c, "link", -fd, err);
    if (linkat(fd, slash ? slash + 1 : first, i->to, i->name, 0) == 0)
        return 1;
    return errno == EMLINK ? 0 : fail(c, "link", errno, err);
}

static int copy_item(struct copy *c, struct item *i, struct cb_error *err)
{
    if (fstatat(i->from, i->name, &i->st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(c, "look at", errno, err);
    bool dir = S_ISDIR(i->st.st_mode), empty = is_left_empty(c, i->name);
    if (dir && !empty)
        return copy_dir(c, i, err);
    int r = cb_fs_remove_tree(i->to, i->name, err);
    if (r < 0 || is_whiteout(c, &i->st) || dir)
        return r;
    if ((r = link_again(c, i, err)) != 0)
        return CB_MIN(r, 0);
    return S_ISREG(i->st.st_mode) ? copy_file(c, i, err) : copy_other(c, i, err);
}

/* ---- all ---- */

static int list_names(int dir, struct cb_strvec *names)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        cb_close_p(&fd);
        return -errno;
    }
    const struct dirent *e;
    while (errno = 0, e = readdir(d))
        if (!cb_streq(e->d_name, ".") && !cb_streq(e->d_name, ".."))
            cb_strvec_push(names, e->d_name);
    int failed = errno;
    closedir(d);
    return -failed;
}

static int copy_tree(struct copy *c, int from, int to, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec names = CB_STRVEC_INIT;
    size_t len = c->path.len;
    int r = list_names(from, &names);
    if (r < 0)
        return fail(c, "list", -r, err);
    c->depth++;
    for (size_t k = 0; r == 0 && k < names.n; k++) {
        struct item i = { .from = from, .to = to, .name = names.v[k] };
        cb_strbuf_addf(&c->path, "%s%s", len ? "/" : "", i.name);
        r = cb_cancel_check(c->o->cancel, err);
        if (r == 0)
            r = copy_item(c, &i, err);
        cb_strbuf_setlen(&c->path, len);
    }
    c->depth--;
    return r;
}

int cb_tree_copy(const struct cb_tree_copy *o, struct cb_error *err)
{
    struct copy c = { .o = o, .path = CB_STRBUF_INIT };
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->n_lower; i++)
        r = copy_tree(&c, o->lower_fds[i], o->to, err);
    cb_strbuf_done(&c.path);
    return r;
}

int cb_tree_copy_plain(int from, int to, const struct cb_cancel *cancel, struct cb_error *err)
{
    const struct cb_tree_copy o = { .to = to, .cancel = cancel };
    struct copy c = { .o = &o, .plain = true, .links = cb_hashmap_new(), .path = CB_STRBUF_INIT };
    size_t it = 0;
    const char *id;
    void *first;
    int r = copy_tree(&c, from, to, err);
    while (cb_hashmap_next(c.links, &it, &id, &first))
        free(first);
    cb_hashmap_free(c.links);
    cb_strbuf_done(&c.path);
    return r;
}

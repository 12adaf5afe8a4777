/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

int cb_unpack_times(int fd, int64_t mtime)
{
    const struct timespec t[2] = { { .tv_sec = mtime }, { .tv_sec = mtime } };
    return futimens(fd, t);
}

int cb_unpack_xattrs(int fd, const struct cb_xattr *v, size_t n, struct cb_error *err)
{
    for (size_t i = 0; i < n; i++) {
        /* The reader has dropped what may not be; this is the last gate before the disk (A6). */
        if (!cb_xattr_allowed(v[i].name) || fsetxattr(fd, v[i].name, v[i].value, v[i].len, 0) == 0)
            continue;
        if (errno != ENOTSUP && errno != EPERM && errno != EINVAL && errno != EACCES)
            return cb_error_sys(err, CB_ELOCAL, errno, "set %s", v[i].name);
    }
    return 0;
}

static bool wants_chown(const struct cb_unpack *u, const struct cb_entry *e)
{
    return !u->o.single_id && (e->uid || e->gid || u->chown_all);
}

static int64_t mtime_of(const struct cb_unpack *u, const struct cb_entry *e)
{
    return CB_MIN(e->mtime, u->o.clamp_mtime);
}

/* Attributes of what has no descriptor of its own: one component of a directory that we hold. */
static int set_node(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                    struct cb_error *err)
{
    const struct timespec t[2] = { { .tv_sec = mtime_of(u, e) }, { .tv_sec = mtime_of(u, e) } };
    if (wants_chown(u, e) && fchownat(p->dirfd, p->base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chown to %u:%u", e->uid, e->gid);
    if (e->type != CB_ENTRY_SYMLINK && fchmodat(p->dirfd, p->base, e->mode & 07777, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chmod");
    if (utimensat(p->dirfd, p->base, t, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set the time");
    return 0;
}

static int copy_data(struct cb_unpack *u, int fd, uint64_t size, struct cb_layer_reader *r, struct cb_error *err)
{
    while (size > 0) {
        size_t got = 0;
        int e = cb_layer_reader_read(r, u->buf, (size_t)CB_MIN(size, (uint64_t)CB_UNPACK_BUF), &got, err);
        if (e < 0)
            return e;
        if (got == 0)
            return cb_error_set(err, CB_EVERIFY, "the data ends too early");
        if ((e = cb_fd_write_all(fd, u->buf, got, err)) < 0)
            return e;
        size -= got;
    }
    return 0;
}

/* Attributes need a file that we may write to, owners come before set-id bits: then the mode is set at the end. */
static bool late_mode(const struct cb_unpack *u, const struct cb_entry *e)
{
    return e->n_xattrs || (e->mode & 07000) || (e->mode & u->umask);
}

int cb_unpack_create(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p, int *fd,
                     struct cb_error *err)
{
    mode_t mode = late_mode(u, e) ? 0600 : e->mode & 07777;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    *fd = openat(p->dirfd, p->base, flags, mode);
    if (*fd < 0 && errno == EEXIST) {
        int r = cb_unpack_clear(u, p, err);
        if (r < 0)
            return r;
        *fd = openat(p->dirfd, p->base, flags, mode);
    }
    return *fd >= 0 ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "create the file");
}

int cb_unpack_seal(struct cb_unpack *u, const struct cb_entry *e, int fd, struct cb_error *err)
{
    if (wants_chown(u, e) && fchown(fd, e->uid, e->gid) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chown to %u:%u", e->uid, e->gid);
    int r = cb_unpack_xattrs(fd, e->xattrs, e->n_xattrs, err);
    if (r < 0)
        return r;
    if (late_mode(u, e) && fchmod(fd, e->mode & 07777) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chmod");
    if (cb_unpack_times(fd, mtime_of(u, e)) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set the time");
    return 0;
}

static int put_file(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                    struct cb_layer_reader *reader, struct cb_error *err)
{
    cb_autoclose int fd = -1;
    int r = cb_unpack_create(u, e, p, &fd, err);
    if (r < 0 || (r = copy_data(u, fd, e->size, reader, err)) < 0)
        return r;
    return cb_unpack_seal(u, e, fd, err);
}

int cb_unpack_symlink(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                      struct cb_error *err)
{
    if (symlinkat(e->link, p->dirfd, p->base) < 0) {
        int r = errno == EEXIST ? cb_unpack_clear(u, p, err) : 0;
        if (r < 0)
            return r;
        if (symlinkat(e->link, p->dirfd, p->base) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "create the symbolic link");
    }
    return set_node(u, e, p, err);
}

int cb_unpack_node(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                   struct cb_error *err)
{
    int r = cb_unpack_clear(u, p, err);
    if (r < 0)
        return r;
    /* 0:0 is overlayfs's whiteout: an image must not make one of its own (A6). It is only kept in mind. */
    if (mknodat(p->dirfd, p->base, S_IFIFO | 0600, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create the pipe or device");
    if (e->type == CB_ENTRY_FIFO)
        return set_node(u, e, p, err);
    struct cb_unpack_device d = {
        .mode = (e->mode & 07777) | (e->type == CB_ENTRY_CHAR ? S_IFCHR : S_IFBLK), .dev_major = e->dev_major,
        .dev_minor = e->dev_minor, .uid = e->uid, .gid = e->gid, .mtime = mtime_of(u, e),
    };
    cb_unpack_marks_add(&u->marks, p->path, &d);
    return 0;
}

static void copy_dir_xattrs(struct cb_unpack_dir *d, const struct cb_entry *e)
{
    size_t bytes = e->n_xattrs * sizeof *d->xattrs;
    for (size_t i = 0; i < e->n_xattrs; i++)
        bytes += strlen(e->xattrs[i].name) + 1 + e->xattrs[i].len;
    free(d->xattrs);
    d->xattrs = NULL;
    d->n_xattrs = e->n_xattrs;
    if (e->n_xattrs == 0)
        return;
    d->xattrs = cb_malloc(bytes);
    char *to = (char *)(d->xattrs + e->n_xattrs);
    for (size_t i = 0; i < e->n_xattrs; i++) {
        const struct cb_xattr *x = &e->xattrs[i];
        size_t n = strlen(x->name) + 1;
        memcpy(to, x->name, n);
        if (x->len)
            memcpy(to + n, x->value, x->len);
        d->xattrs[i] = (struct cb_xattr){ to, to + n, x->len };
        to += n + x->len;
    }
}

static int put_dir(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                   struct cb_error *err)
{
    bool opaque = cb_hashmap_get(u->whiteouts, p->path) != NULL;
    struct stat st;
    if (mkdirat(p->dirfd, p->base, 0700) < 0) {
        if (errno != EEXIST)
            return cb_error_sys(err, CB_ELOCAL, errno, "create the directory");
        if (fstatat(p->dirfd, p->base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
            int r = cb_unpack_clear(u, p, err);
            if (r < 0)
                return r;
            if (mkdirat(p->dirfd, p->base, 0700) < 0)
                return cb_error_sys(err, CB_ELOCAL, errno, "create the directory");
            opaque = true; /* what was there had removed what lower layers have */
        }
    }
    struct cb_unpack_dir *d = cb_unpack_dir(u, p->path);
    d->listed = true;
    d->fresh = d->fresh || opaque;
    d->opaque = d->opaque || opaque;
    d->mode = e->mode;
    d->uid = e->uid;
    d->gid = e->gid;
    d->mtime = mtime_of(u, e);
    copy_dir_xattrs(d, e);
    return 0;
}

/* The copy that was made for the first link into a lower layer serves the further ones; flat: the first link does. */
static int link_to_copy(struct cb_unpack *u, const char *copy, const struct cb_unpack_place *p, struct cb_error *err)
{
    const char *base;
    cb_autoclose int dir = cb_path_open_parent(u->o.root_fd, copy, CB_RESOLVE_NOFOLLOW, &base);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, -dir, "open the directory of %s", copy);
    if (linkat(dir, base, p->dirfd, p->base, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "hard link to %s", copy);
    const struct cb_unpack_device *device = cb_hashmap_get(u->marks.devices, copy);
    if (device)
        cb_unpack_marks_add(&u->marks, p->path, device);
    return 0;
}

/* flat: the file itself, where it lies. */
static int link_to_lower(struct cb_unpack *u, const char *path, const struct cb_unpack_place *p, struct cb_error *err)
{
    struct stat st;
    int r = cb_path_lstat(u->o.root_fd, path, &st, CB_RESOLVE_NOFOLLOW);
    if (r == 0 && S_ISDIR(st.st_mode))
        return cb_error_set(err, CB_EVERIFY, "hard link to %s, which is a directory", path);
    if (r == 0 && !cb_hashmap_get(u->own, path))
        return link_to_copy(u, path, p, err);
    bool gone = r == 0 || r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EXDEV;
    return cb_error_set(err, gone ? CB_ENOTFOUND : CB_ELOCAL, "no lower layer has the file %s", path);
}

static int link_from_lower(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                           struct cb_error *err)
{
    const char *copy = cb_hashmap_get(u->copies, e->link);
    if (copy && strcmp(copy, p->path) == 0)
        return 0;
    int r = cb_unpack_clear(u, p, err);
    copy = cb_hashmap_get(u->copies, e->link);
    if (r == 0 && copy)
        r = link_to_copy(u, copy, p, err);
    else if (r == 0)
        r = u->o.flat ? link_to_lower(u, e->link, p, err) : cb_lower_copy(u, e->link, p, err);
    if (r == 0 && !copy)
        cb_hashmap_put(u->copies, e->link, cb_strdup(p->path));
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_EVERIFY, "hard link to %s, which neither this layer nor one below holds",
                            e->link);
    return r;
}

/* The digest tells that the layer had the file before; what it has had under that name since is another one. */
static int put_hardlink(struct cb_unpack *u, const struct cb_entry *e, struct cb_error *err)
{
    struct cb_unpack_place target, p;
    int r = 0;
    if (!e->digest.known)
        return (r = cb_unpack_place(u, e->path, &p, err)) < 0 ? r : link_from_lower(u, e, &p, err);
    if ((r = cb_unpack_place(u, e->link, &target, err)) < 0)
        return r;
    cb_autoclose int dir = fcntl(target.dirfd, F_DUPFD_CLOEXEC, 3);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "hold the directory of %s", e->link);
    if ((r = cb_unpack_place(u, e->path, &p, err)) < 0 || (r = cb_unpack_clear(u, &p, err)) < 0)
        return r;
    if (linkat(dir, target.base, p.dirfd, p.base, 0) == 0)
        return 0;
    return cb_error_sys(err, errno == ENOENT || errno == EPERM ? CB_EVERIFY : CB_ELOCAL, errno, "hard link to %s",
                        e->link);
}

/* flat: the directories above it are this layer's own from now on, by a mark as by a file in them. */
static void own_parents(struct cb_unpack *u, const char *path)
{
    char p[CB_MAX_PATH + 1];
    snprintf(p, sizeof p, "%s", path);
    for (char *slash; (slash = strrchr(p, '/')) != NULL;) {
        *slash = '\0';
        if (cb_hashmap_get(u->own, p))
            return;
        cb_hashmap_put(u->own, p, CB_OWN_IMPLIED);
    }
}

static void own(struct cb_unpack *u, const char *path, void *how)
{
    if (how == CB_OWN_LISTED || !cb_hashmap_get(u->own, path))
        cb_hashmap_put(u->own, path, how);
    own_parents(u, path);
}

static int put_whiteout(struct cb_unpack *u, const struct cb_entry *e, struct cb_error *err)
{
    struct cb_unpack_place p;
    int r = cb_unpack_place(u, e->path, &p, err);
    if (r < 0)
        return r;
    if (u->o.flat) {
        own_parents(u, p.path);
        return cb_unpack_remove_lower(u, p.path, false, err);
    }
    struct stat st;
    if (fstatat(p.dirfd, p.base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        /* It hides what is below, never what this layer itself brings, wherever in the tar that stood. */
        if (S_ISDIR(st.st_mode)) {
            struct cb_unpack_dir *d = cb_unpack_dir(u, p.path);
            d->opaque = d->fresh = true;
        }
        return 0;
    }
    if (mknodat(p.dirfd, p.base, S_IFCHR | 0600, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create a whiteout");
    cb_hashmap_put(u->whiteouts, p.path, u);
    return 0;
}

static int put_opaque(struct cb_unpack *u, const struct cb_entry *e, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_unpack_mkdirs(u, e->path, &real, err);
    if (r < 0)
        return r;
    if (u->o.flat) {
        own(u, real.buf, CB_OWN_IMPLIED);
        return cb_unpack_remove_lower(u, real.buf, true, err);
    }
    cb_unpack_dir(u, real.buf)->opaque = true;
    return 0;
}

static int put_at(struct cb_unpack *u, const struct cb_entry *e, struct cb_layer_reader *reader, struct cb_error *err)
{
    struct cb_unpack_place p;
    int r = cb_unpack_place(u, e->path, &p, err);
    if (r < 0)
        return r;
    switch (e->type) {
    case CB_ENTRY_DIR:
        return put_dir(u, e, &p, err);
    case CB_ENTRY_FILE:
        return put_file(u, e, &p, reader, err);
    case CB_ENTRY_SYMLINK:
        return cb_unpack_symlink(u, e, &p, err);
    default:
        return cb_unpack_node(u, e, &p, err);
    }
}

int cb_unpack_entry(struct cb_unpack *u, const struct cb_entry *e, struct cb_layer_reader *reader,
                    struct cb_error *err)
{
    if (e->type == CB_ENTRY_WHITEOUT)
        return put_whiteout(u, e, err);
    if (e->type == CB_ENTRY_OPAQUE)
        return put_opaque(u, e, err);
    int r = e->type == CB_ENTRY_HARDLINK ? put_hardlink(u, e, err) : put_at(u, e, reader, err);
    if (r < 0 || !u->o.flat)
        return r;
    struct cb_unpack_place p;
    if ((r = cb_unpack_place(u, e->path, &p, err)) == 0)
        own(u, p.path, CB_OWN_LISTED);
    return r;
}

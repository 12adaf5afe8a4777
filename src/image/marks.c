/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/path.h"

void cb_unpack_marks_init(struct cb_unpack_marks *m)
{
    *m = (struct cb_unpack_marks){ .opaque = CB_STRVEC_INIT, .devices = cb_hashmap_new() };
}

void cb_unpack_marks_done(struct cb_unpack_marks *m)
{
    size_t it = 0;
    const char *k;
    void *v;
    while (m->devices && cb_hashmap_next(m->devices, &it, &k, &v))
        free(v);
    cb_hashmap_free(m->devices);
    cb_strvec_done(&m->opaque);
    *m = (struct cb_unpack_marks){ .opaque = CB_STRVEC_INIT };
}

void cb_unpack_marks_add(struct cb_unpack_marks *m, const char *path, const struct cb_unpack_device *d)
{
    struct cb_unpack_device *copy = CB_NEW(struct cb_unpack_device);
    *copy = *d;
    free(cb_hashmap_put(m->devices, path, copy));
}

void cb_unpack_marks_forget(struct cb_unpack_marks *m, const char *path)
{
    if (cb_hashmap_size(m->devices))
        free(cb_hashmap_remove(m->devices, path));
}

static int mark_opaque(const struct cb_unpack_marks_options *o, const char *path, struct cb_error *err)
{
    const char *name = o->userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
    cb_autoclose int fd = cb_path_openat(o->root_fd, path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open directory %s again", path);
    if (fsetxattr(fd, name, "y", 1, 0) == 0)
        return 0;
    return cb_error_sys(err, CB_ELOCAL, errno, "set %s on %s", name, path);
}

static int set_attributes(const struct cb_unpack_marks_options *o, int dir, const char *base,
                          const struct cb_unpack_device *d, struct cb_error *err)
{
    const struct timespec t[2] = { { .tv_sec = d->mtime }, { .tv_sec = d->mtime } };
    if (!o->single_id && fchownat(dir, base, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chown to %u:%u", d->uid, d->gid);
    if (fchmodat(dir, base, d->mode & 07777, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chmod");
    if (utimensat(dir, base, t, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set the time");
    return 0;
}

/* 0:0 is overlayfs's whiteout: an image must not make one of its own (A6). */
static bool is_whiteout(const struct cb_unpack_device *d)
{
    return S_ISCHR(d->mode) && d->dev_major == 0 && d->dev_minor == 0;
}

static int put_device(const struct cb_unpack_marks_options *o, int dir, const char *base,
                      const struct cb_unpack_device *d, struct cb_error *err)
{
    struct stat st;
    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISFIFO(st.st_mode))
        return cb_error_set(err, CB_EINTERNAL, "it is not what was put there for a device");
    if (unlinkat(dir, base, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make place for the device");
    if (is_whiteout(d))
        return 0;
    if (mknodat(dir, base, (d->mode & S_IFMT) | 0600, makedev(d->dev_major, d->dev_minor)) < 0)
        return errno == EPERM ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "create the device");
    return set_attributes(o, dir, base, d, err);
}

static int swap_device(const struct cb_unpack_marks_options *o, const char *path, const struct cb_unpack_device *d,
                       struct cb_error *err)
{
    const char *base = cb_path_base(path);
    cb_autofree char *parent = cb_strndup(path, (size_t)(base - path));
    cb_autoclose int dir = cb_path_openat(o->root_fd, parent, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    struct stat st;
    if (dir < 0 || fstat(dir, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, dir < 0 ? -dir : errno, "open its directory");
    int r = put_device(o, dir, base, d, err);
    const struct timespec t[2] = { st.st_atim, st.st_mtim };
    if (r == 0 && futimens(dir, t) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "set the time of its directory");
    return r;
}

int cb_unpack_marks_apply(const struct cb_unpack_marks *m, const struct cb_unpack_marks_options *o,
                          struct cb_error *err)
{
    size_t it = 0;
    const char *path;
    void *d;
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->opaque.n; i++)
        r = mark_opaque(o, m->opaque.v[i], err);
    while (r == 0 && cb_hashmap_next(m->devices, &it, &path, &d))
        if ((r = swap_device(o, path, d, err)) < 0)
            cb_error_wrap(err, "unpack %s", path);
    return r;
}

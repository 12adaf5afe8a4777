/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/fs.h"
#include "util/path.h"

static int names_in(int fd, struct cb_strvec *out)
{
    DIR *d = fdopendir(fd);
    if (!d)
        return -1;
    errno = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            cb_strvec_push(out, e->d_name);
    int bad = errno;
    closedir(d);
    errno = bad;
    return bad ? -1 : 0;
}

static int remove_children(struct cb_unpack *u, const char *path, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    int fd = cb_path_openat(u->o.root_fd, path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open directory %s", path);
    if (names_in(fd, &names) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read directory %s", path);
    for (size_t i = 0; i < names.n; i++) {
        struct cb_strbuf child cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_addf(&child, "%s%s%s", path, *path ? "/" : "", names.v[i]);
        int r = cb_unpack_remove_lower(u, child.buf, false, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A directory on the way to what this layer brings: the lower one is gone, and so is what it was like. */
static void make_new(struct cb_unpack *u, const char *path)
{
    struct cb_unpack_dir *d = cb_unpack_dir(u, path);
    free(d->xattrs);
    *d = (struct cb_unpack_dir){ .path = d->path, .mode = 0755 };
}

/* Depth is bounded: nothing is unpacked below CB_MAX_TREE_DEPTH. */
int cb_unpack_remove_lower(struct cb_unpack *u, const char *path, bool below, struct cb_error *err)
{
    struct stat st;
    int r = *path ? cb_path_lstat(u->o.root_fd, path, &st, CB_RESOLVE_NOFOLLOW) : fstat(u->o.root_fd, &st);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "stat %s", path);
    const void *own = cb_hashmap_get(u->own, path);
    if (!below && own == CB_OWN_IMPLIED && S_ISDIR(st.st_mode))
        make_new(u, path);
    if (below || own)
        return S_ISDIR(st.st_mode) ? remove_children(u, path, err) : 0;
    const char *base;
    cb_autoclose int dir = cb_path_open_parent(u->o.root_fd, path, CB_RESOLVE_NOFOLLOW, &base);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, -dir, "open the directory of %s", path);
    cb_unpack_forget_below(u, path);
    cb_unpack_forget_place(u);
    return cb_fs_remove_tree(dir, base, err);
}

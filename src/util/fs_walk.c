/* SPDX-License-Identifier: Apache-2.0 */
#include "util/fs_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "util/alloc.h"
#include "util/openat2.h"
#include "util/strvec.h"

#define ENTRY_BUFFER ((size_t)32 << 10)
#define MAX_AGAIN 16u

struct level {
    struct cb_strvec dirs; /* still to be entered; the last is the one that we are in, if there is a level below */
    dev_t dev;
    ino_t ino;
    unsigned again; /* how often the last one has been walked anew */
};

struct walker {
    const struct cb_fs_walk *ops;
    struct level *level;
    size_t n, cap;
    int fd; /* of the directory of the last level */
    char *entries;
};

static void walker_done(struct walker *w)
{
    for (size_t i = 0; i < w->n; i++)
        cb_strvec_done(&w->level[i].dirs);
    free(w->level);
    free(w->entries);
    cb_close_p(&w->fd);
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int visit(struct walker *w, struct cb_strvec *dirs, const struct dirent64 *e, struct cb_error *err)
{
    if (is_dots(e->d_name))
        return 0;
    int r = CB_WALK_IS_DIR;
    if (e->d_type != DT_DIR)
        r = w->ops->file(w->ops->ctx, w->fd, e->d_name, err);
    if (r == CB_WALK_IS_DIR)
        cb_strvec_push(dirs, e->d_name);
    return r < 0 ? r : 0;
}

static int read_entries(struct walker *w, struct cb_strvec *dirs, struct cb_error *err)
{
    for (;;) {
        ssize_t got = getdents64(w->fd, w->entries, ENTRY_BUFFER);
        /* ENOENT: the directory was removed while open. */
        if (got == 0 || (got < 0 && errno == ENOENT))
            return 0;
        if (got < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "read directory");
        for (char *p = w->entries; p < w->entries + got;) {
            const struct dirent64 *e = (const struct dirent64 *)(void *)p;
            int r = visit(w, dirs, e, err);
            if (r < 0)
                return r;
            p += e->d_reclen;
        }
    }
}

/* Makes fd, which it owns from now on, the current directory and reads it. */
static int enter(struct walker *w, int fd, struct cb_error *err)
{
    cb_close_p(&w->fd);
    w->fd = fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat directory");
    CB_GROW(w->level, w->n, w->cap);
    struct level *l = &w->level[w->n++];
    *l = (struct level){ .dev = st.st_dev, .ino = st.st_ino };
    int r = w->ops->enter ? w->ops->enter(w->ops->ctx, fd, &st, err) : 0;
    return r < 0 ? r : read_entries(w, &l->dirs, err);
}

static int open_child(struct walker *w, const char *name)
{
    const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    int fd = cb_openat2(w->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOCTTY, 0, resolve);
    if (fd == -EACCES && w->ops->denied && w->ops->denied(w->ops->ctx, w->fd, name))
        fd = cb_openat2(w->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOCTTY, 0, resolve);
    return fd;
}

static void drop_last(struct level *l)
{
    free(l->dirs.v[--l->dirs.n]);
    l->dirs.v[l->dirs.n] = NULL;
    l->again = 0;
}

static int descend(struct walker *w, struct cb_error *err)
{
    struct level *l = &w->level[w->n - 1];
    const char *name = l->dirs.v[l->dirs.n - 1];
    int fd = open_child(w, name);
    if (fd >= 0)
        return enter(w, fd, err);
    if (fd != -ENOENT && !(fd == -EXDEV && w->ops->skip_mounts)) {
        if (fd == -EXDEV)
            return cb_error_sys(err, CB_ELOCAL, EXDEV, "%s: something is mounted there", name);
        return cb_error_sys(err, CB_ELOCAL, -fd, "open directory %s", name);
    }
    drop_last(l);
    return 0;
}

static int ascend(struct walker *w, struct cb_error *err)
{
    cb_strvec_done(&w->level[--w->n].dirs);
    if (w->n == 0)
        return 0;
    struct level *l = &w->level[w->n - 1];
    const char *name = l->dirs.v[l->dirs.n - 1];
    int up = openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (up < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s: go back to its parent", name);
    cb_close_p(&w->fd);
    w->fd = up;
    struct stat st;
    if (fstat(up, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat directory");
    if (st.st_dev != l->dev || st.st_ino != l->ino)
        return cb_error_set(err, CB_ELOCAL, "%s was moved while its tree was walked", name);
    int r = w->ops->leave ? w->ops->leave(w->ops->ctx, up, name, err) : 0;
    if (r < 0)
        return r;
    if (r == CB_WALK_AGAIN && l->again++ < MAX_AGAIN)
        return 0;
    if (r == CB_WALK_AGAIN)
        return cb_error_set(err, CB_ELOCAL, "%s keeps changing", name);
    drop_last(l);
    return 0;
}

int cb_fs_walk(int dirfd, const struct cb_fs_walk *walk, struct cb_error *err)
{
    CB_CLEANUP(walker_done) struct walker w = { .ops = walk, .fd = -1, .entries = cb_malloc(ENTRY_BUFFER) };
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory");
    int r = enter(&w, fd, err);
    while (r == 0 && w.n > 0)
        r = w.level[w.n - 1].dirs.n ? descend(&w, err) : ascend(&w, err);
    return r;
}

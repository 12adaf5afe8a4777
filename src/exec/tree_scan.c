/* SPDX-License-Identifier: Apache-2.0 */
/* The tree was written by a step and is not trusted: every step of the walk is one name below an open directory, and no
 * link is followed. Nothing of the step runs any more. */
#include "exec/tree_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "exec/tree_copy.h"
#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"
#include "util/strbuf.h"
#include "util/timeutil.h"

/* What was at a path. */
struct seen {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    ino_t ino;
    nlink_t nlink;
    dev_t rdev;
    off_t size;
    struct timespec mtime, changed;
    bool here;    /* something is still there … */
    bool is_dir;  /* … namely a directory */
};

/* A directory between the root and where we are. */
struct level {
    DIR *d;
    int upper;        /* the same in the upper directory, -1: nothing in it has changed so far */
    size_t path_len;
    struct stat st;
    char name[CB_MAX_NAME + 1];
};

struct cb_tree_scan {
    int root; /* borrowed */
    const struct cb_tree_ours *ours;
    const struct cb_cancel *cancel;
    struct cb_hashmap *seen; /* path → struct seen */
    int upper;               /* borrowed; -1 while we only remember */
    struct cb_strbuf path;
    struct level *levels;
    size_t n, cap;
};

/* ---- paths of ours ---- */

void cb_tree_ours_add(struct cb_tree_ours *o, const char *path, int file)
{
    struct stat st = { 0 };
    if (file >= 0 && fstat(file, &st) < 0)
        st.st_ino = 0;
    if (o->n == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 8;
        o->v = cb_reallocarray(o->v, o->cap, sizeof(char *));
        o->inodes = cb_reallocarray(o->inodes, o->cap, sizeof *o->inodes);
        o->files = cb_reallocarray(o->files, o->cap, sizeof *o->files);
    }
    o->v[o->n] = cb_strdup(path);
    o->files[o->n] = file;
    o->inodes[o->n++] = st.st_ino;
}

void cb_tree_ours_done(struct cb_tree_ours *o)
{
    for (size_t i = 0; i < o->n; i++) {
        free(o->v[i]);
        cb_close_p(&o->files[i]);
    }
    free(o->v);
    free(o->inodes);
    free(o->files);
    *o = (struct cb_tree_ours){ 0 };
}

static bool is_ours(const struct cb_tree_scan *s, const char *path, const struct stat *st)
{
    for (size_t i = 0; i < s->ours->n; i++) {
        bool same = st && s->ours->inodes[i] == st->st_ino && !S_ISDIR(st->st_mode);
        if (same || cb_streq(s->ours->v[i], path))
            return true;
    }
    return false;
}

/* ---- the walk ---- */

static int fail(const struct cb_tree_scan *s, const char *what, int sys_errno, struct cb_error *err)
{
    return cb_error_sys(err, CB_ELOCAL, sys_errno, "%s /%s after the step", what, s->path.buf);
}

static void level_close(struct level *l)
{
    if (l->d)
        closedir(l->d);
    cb_close_p(&l->upper);
}

static int push(struct cb_tree_scan *s, int dirfd, const char *name, struct cb_error *err)
{
    struct level l = { .upper = -1, .path_len = s->path.len };
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->n > CB_MAX_TREE_DEPTH) {
        cb_close_p(&fd);
        return cb_error_set(err, CB_ELOCAL, "directories more than %d deep: %s", CB_MAX_TREE_DEPTH, s->path.buf);
    }
    l.d = fd < 0 ? NULL : fdopendir(fd);
    if (!l.d || fstat(fd, &l.st) < 0) {
        int e = errno;
        l.d ? (void)closedir(l.d) : cb_close_p(&fd);
        return fail(s, "list", e, err);
    }
    memcpy(l.name, name, strlen(name) + 1);
    CB_GROW(s->levels, s->n, s->cap);
    s->levels[s->n++] = l;
    return 0;
}

/* The directory of the innermost level in the upper directory; those above it come with it. */
static int upper_dir(struct cb_tree_scan *s, size_t depth, struct cb_error *err)
{
    for (size_t i = 1; i <= depth; i++) {
        struct level *l = &s->levels[i];
        int above = i == 1 ? s->upper : s->levels[i - 1].upper;
        if (l->upper >= 0)
            continue;
        if (mkdirat(above, l->name, 0700) < 0)
            return fail(s, "keep the directory above", errno, err);
        l->upper = openat(above, l->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (l->upper < 0)
            return fail(s, "keep the directory above", errno, err);
    }
    return depth ? s->levels[depth].upper : s->upper;
}

/* All in it is done: now nothing changes its time any more. */
static int leave(struct cb_tree_scan *s, struct cb_error *err)
{
    struct level *l = &s->levels[--s->n];
    int r = 0;
    if (l->upper >= 0) {
        r = cb_tree_copy_xattrs(dirfd(l->d), l->upper);
        if (r == 0)
            r = cb_tree_set_attrs(l->upper, &l->st);
    }
    level_close(l);
    cb_strbuf_setlen(&s->path, l->path_len);
    return r < 0 ? fail(s, "keep the directory", -r, err) : 0;
}

static bool is_same(const struct seen *a, const struct stat *st)
{
    return a && a->mode == st->st_mode && a->uid == st->st_uid && a->gid == st->st_gid && a->ino == st->st_ino &&
           a->rdev == st->st_rdev && a->size == st->st_size && cb_same_time(a->mtime, st->st_mtim) &&
           cb_same_time(a->changed, st->st_ctim);
}

static void remember(struct cb_tree_scan *s, const struct stat *st)
{
    struct seen *a = CB_NEW(struct seen);
    *a = (struct seen){ .mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid, .ino = st->st_ino,
                        .nlink = st->st_nlink, .rdev = st->st_rdev, .size = st->st_size, .mtime = st->st_mtim,
                        .changed = st->st_ctim };
    cb_hashmap_put(s->seen, s->path.buf, a);
}

/* A mark that the step has put on a file itself would mean something else in the upper directory. */
static int strip(struct cb_tree_scan *s, int dir, const char *name, const struct stat *st, struct cb_error *err)
{
    if (!S_ISREG(st->st_mode))
        return 0;
    cb_autoclose int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : cb_tree_strip_marks(fd);
    return r < 0 ? fail(s, "read the attributes of", -r, err) : 0;
}

/* No layer can hold it: what it has replaced is gone. */
static bool is_nothing(const struct stat *st)
{
    return S_ISSOCK(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0));
}

static int take_file(struct cb_tree_scan *s, const char *name, const struct stat *st, struct cb_error *err)
{
    size_t depth = s->n - 1;
    int dir = dirfd(s->levels[depth].d);
    int r = strip(s, dir, name, st, err);
    int to = r < 0 ? r : upper_dir(s, depth, err);
    if (to < 0)
        return to;
    return renameat(dir, name, to, name) < 0 ? fail(s, "keep", errno, err) : 0;
}

/* One name of the innermost level. A directory is entered. */
static int visit(struct cb_tree_scan *s, const char *name, struct cb_error *err)
{
    int dir = dirfd(s->levels[s->n - 1].d);
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(s, "look at", errno, err);
    bool is_dir = S_ISDIR(st.st_mode), ours = is_ours(s, s->path.buf, &st);
    struct seen *old = cb_hashmap_get(s->seen, s->path.buf);
    if (ours)
        return 0;
    if (s->upper < 0)
        remember(s, &st);
    bool changed = s->upper >= 0 && !is_same(old, &st), nothing = changed && is_nothing(&st);
    if (old) {
        old->here = !nothing;
        old->is_dir = is_dir;
    }
    if (!is_dir)
        return changed && !nothing ? take_file(s, name, &st, err) : 0;
    int r = push(s, dir, name, err);
    if (r == 0 && changed && (r = upper_dir(s, s->n - 1, err)) > 0)
        r = 0;
    return r;
}

static int walk(struct cb_tree_scan *s, struct cb_error *err)
{
    cb_strbuf_reset(&s->path);
    int r = push(s, s->root, ".", err);
    while (r == 0 && s->n) {
        struct level *l = &s->levels[s->n - 1];
        cb_strbuf_setlen(&s->path, l->path_len);
        const struct dirent *e = (errno = 0, readdir(l->d));
        if (!e) {
            r = errno ? fail(s, "list", errno, err) : leave(s, err);
            continue;
        }
        if (cb_streq(e->d_name, ".") || cb_streq(e->d_name, ".."))
            continue;
        cb_strbuf_addf(&s->path, "%s%s", l->path_len ? "/" : "", e->d_name);
        r = cb_cancel_check(s->cancel, err);
        if (r == 0)
            r = visit(s, e->d_name, err);
    }
    while (s->n)
        level_close(&s->levels[--s->n]);
    return r;
}

/* ---- what is gone ---- */

static int whiteout(struct cb_tree_scan *s, const char *path, struct cb_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    cb_autofree char *dir = cb_strndup(path, slash ? (size_t)(slash - path) : 0);
    cb_autoclose int fd = cb_path_openat(s->upper, dir, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, fd < 0 ? -fd : errno, "note that /%s is gone", path);
    if (mknodat(fd, name, S_IFCHR, makedev(0, 0)) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "note that /%s is gone", path);
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st.st_mtim };
    return dir[0] && futimens(fd, times) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "note that /%s is gone", path) : 0;
}

/* Whether the directory that held it still is one: else what became of that says it all. */
static bool parent_is_there(const struct cb_tree_scan *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return true;
    const struct seen *p = cb_hashmap_getn(s->seen, path, (size_t)(slash - path));
    return p && p->here && p->is_dir;
}

static int take_gone(struct cb_tree_scan *s, struct cb_error *err)
{
    size_t it = 0;
    const char *path;
    void *value;
    int r = 0;
    while (r == 0 && cb_hashmap_next(s->seen, &it, &path, &value)) {
        const struct seen *a = value;
        if (!a->here && parent_is_there(s, path))
            r = whiteout(s, path, err);
    }
    return r;
}

/* ---- two looks ---- */

static bool saw_same(const struct seen *a, const struct seen *b)
{
    return b && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->ino == b->ino && a->rdev == b->rdev &&
           a->size == b->size && cb_same_time(a->mtime, b->mtime) && cb_same_time(a->changed, b->changed);
}

bool cb_tree_scan_same(const struct cb_tree_scan *a, const struct cb_tree_scan *b)
{
    size_t it = 0;
    const char *path;
    void *value;
    bool same = cb_hashmap_size(a->seen) == cb_hashmap_size(b->seen);
    while (same && cb_hashmap_next(a->seen, &it, &path, &value))
        same = saw_same(value, cb_hashmap_get(b->seen, path));
    return same;
}

/* Each name takes one away; what is left of any is the name of something else. */
bool cb_tree_scan_is_linked(const struct cb_tree_scan *s)
{
    struct cb_hashmap *left = cb_hashmap_new();
    size_t it = 0, n = 0;
    const char *path;
    void *value;
    char ino[24];
    while (cb_hashmap_next(s->seen, &it, &path, &value)) {
        const struct seen *a = value;
        if (S_ISDIR(a->mode) || a->nlink < 2)
            continue;
        snprintf(ino, sizeof ino, "%ju", (uintmax_t)a->ino);
        uintptr_t before = (uintptr_t)cb_hashmap_get(left, ino);
        uintptr_t names = before ? before - 1 : a->nlink;
        cb_hashmap_put(left, ino, (void *)names);
        n += before ? 0 : a->nlink;
        n--;
    }
    cb_hashmap_free(left);
    return n > 0;
}

/* ---- all ---- */

struct cb_tree_scan *cb_tree_scan_new(int root, const struct cb_tree_ours *ours, const struct cb_cancel *cancel,
                                      struct cb_error *err)
{
    CB_AUTO(cb_tree_scan_free) struct cb_tree_scan *s = CB_NEW(struct cb_tree_scan);
    *s = (struct cb_tree_scan){ .root = root, .ours = ours, .cancel = cancel, .seen = cb_hashmap_new(), .upper = -1,
                                .path = CB_STRBUF_INIT };
    return walk(s, err) < 0 ? NULL : CB_TAKE(s);
}

void cb_tree_scan_free(struct cb_tree_scan *s)
{
    if (!s)
        return;
    size_t it = 0;
    const char *path;
    void *value;
    while (cb_hashmap_next(s->seen, &it, &path, &value))
        free(value);
    cb_hashmap_free(s->seen);
    cb_strbuf_done(&s->path);
    free(s->levels);
    free(s);
}

int cb_tree_scan_take(struct cb_tree_scan *s, int upper, struct cb_error *err)
{
    s->upper = upper;
    int r = walk(s, err);
    return r < 0 ? r : take_gone(s, err);
}

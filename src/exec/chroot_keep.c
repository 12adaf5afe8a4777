/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts that are kept: the copy that a step had takes the place of what it was made of, in one exchange of names, so
 * whoever is killed leaves one or the other. What the step left is not trusted: no link is followed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/chroot.h"
#include "exec/tree_copy.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/path.h"
#include "util/timeutil.h"

/* A place where a kept mount is, or something within one. */
struct cb_chroot_spot {
    char *path;                 /* in the root: normal form, without links */
    struct cb_mount_keep *keep; /* or NULL */
    bool hides;                 /* what the outer one has there is "hidden-N" in the work directory */
    struct stat st;             /* before the step, where it is kept … */
    struct cb_tree_scan *before; /* … and nothing else is mounted in it */
};

static void name_of(char name[static 32], const char *what, size_t i)
{
    snprintf(name, 32, "%s-%zu", what, i);
}

static struct cb_chroot_spot *add(struct cb_chroot *c, const char *path)
{
    CB_GROW(c->spots, c->n_spots, c->cap_spots);
    struct cb_chroot_spot *s = &c->spots[c->n_spots++];
    *s = (struct cb_chroot_spot){ .path = cb_strdup(path) };
    return s;
}

void cb_chroot_keep_done(struct cb_chroot *c)
{
    for (size_t i = 0; i < c->n_spots; i++) {
        cb_tree_scan_free(c->spots[i].before);
        free(c->spots[i].path);
    }
    free(c->spots);
}

/* ---- before the step ---- */

int cb_chroot_make_room(struct cb_sandbox *sb, int dir, const char *name, const char *path, struct cb_error *err)
{
    struct cb_chroot *c = sb->chroot;
    char hidden[32];
    bool within = false;
    for (size_t i = 0; i < c->n_spots; i++)
        within = within || (c->spots[i].keep && cb_path_is_within(path, c->spots[i].path));
    if (!within)
        return cb_fs_remove_tree(dir, name, err);
    name_of(hidden, "hidden", c->n_spots);
    add(c, path)->hides = true;
    if (renameat(dir, name, sb->spec->root.work_fd, hidden) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "hide /%s", path);
    return 0;
}

void cb_chroot_keep_add(struct cb_sandbox *sb, const char *path, struct cb_mount_keep *keep)
{
    struct cb_chroot *c = sb->chroot;
    struct cb_chroot_spot *last = c->n_spots ? &c->spots[c->n_spots - 1] : NULL;
    /* What it hides has just been moved. */
    bool made = last && !last->keep && cb_streq(last->path, path);
    (made ? last : add(c, path))->keep = keep;
}

static int look(const struct cb_sandbox *sb, int fd, struct cb_tree_scan **out, struct cb_error *err)
{
    static const struct cb_tree_ours none;
    *out = cb_tree_scan_new(fd, &none, sb->spec->cancel, err);
    return *out ? 0 : -CB_ELOCAL;
}

int cb_chroot_keep_remember(struct cb_sandbox *sb, struct cb_error *err)
{
    struct cb_chroot *c = sb->chroot;
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->n_spots; i++) {
        struct cb_chroot_spot *s = &c->spots[i];
        bool alone = s->keep;
        for (size_t k = i + 1; k < c->n_spots; k++)
            alone = alone && !cb_path_is_within(c->spots[k].path, s->path);
        if (!alone)
            continue;
        cb_autoclose int fd = cb_path_openat(sb->root, s->path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
        if (fd < 0 || fstat(fd, &s->st) < 0)
            return cb_error_sys(err, CB_ELOCAL, fd < 0 ? -fd : errno, "mount /%s", s->path);
        r = look(sb, fd, &s->before, err);
    }
    return r;
}

/* ---- after it ---- */

static bool is_unchanged(const struct cb_chroot_spot *s, const struct stat *st, const struct cb_tree_scan *now)
{
    return s->before && s->st.st_ino == st->st_ino && s->st.st_mode == st->st_mode && s->st.st_uid == st->st_uid &&
           s->st.st_gid == st->st_gid && cb_same_time(s->st.st_mtim, st->st_mtim) &&
           cb_same_time(s->st.st_ctim, st->st_ctim) && cb_tree_scan_same(s->before, now);
}

/* A file that the layer has under another name must not change with the cache. */
static int copy_apart(struct cb_sandbox *sb, int from, const char *name, struct cb_error *err)
{
    struct stat st;
    int work = sb->spec->root.work_fd;
    if (fstat(from, &st) < 0 || mkdirat(work, name, 0700) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "copy it");
    cb_autoclose int to = openat(work, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "copy it");
    int r = cb_tree_copy_plain(from, to, sb->spec->cancel, err);
    if (r < 0)
        return r;
    r = cb_tree_copy_xattrs(from, to);
    if (r == 0)
        r = cb_tree_set_attrs(to, &st);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "copy it") : 0;
}

/* What the step has at a spot, and whether that is kept. */
struct left {
    int parent, fd; /* -1: there is no such directory any more */
    const char *name;
    struct cb_tree_scan *now;
    bool keep;
};

static void left_done(struct left *l)
{
    cb_close_p(&l->parent);
    cb_close_p(&l->fd);
    cb_tree_scan_free(l->now);
}

static int find_left(struct cb_sandbox *sb, const struct cb_chroot_spot *s, struct left *l, struct cb_error *err)
{
    struct stat st;
    const char *slash = strrchr(s->path, '/');
    cb_autofree char *dir = cb_strndup(s->path, slash ? (size_t)(slash - s->path) : 0);
    l->name = slash ? slash + 1 : s->path;
    l->parent = cb_path_openat(sb->root, dir, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (!s->keep)
        return 0;
    l->fd = l->parent < 0 ? -1 : openat(l->parent, l->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (l->fd < 0)
        return cb_error_set(err, CB_ELOCAL, "the step has removed the directory, or put something else there");
    if (fstat(l->fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "look at it");
    int r = look(sb, l->fd, &l->now, err);
    l->keep = r == 0 && !is_unchanged(s, &st, l->now);
    return r;
}

/* Out of the root, and what was hidden is where it was: the outer mount is kept as it would be with mounts. */
static int uncover(struct cb_sandbox *sb, size_t i, const struct left *l, struct cb_error *err)
{
    char kept[32], hidden[32];
    int work = sb->spec->root.work_fd;
    name_of(kept, "kept", i);
    name_of(hidden, "hidden", i);
    if (l->parent < 0)
        return 0;
    if (renameat(l->parent, l->name, work, kept) < 0 && errno != ENOENT)
        return cb_error_sys(err, CB_ELOCAL, errno, "take it out of the root");
    if (sb->chroot->spots[i].hides && renameat(work, hidden, l->parent, l->name) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "put back what it hid");
    return 0;
}

static int replace(struct cb_sandbox *sb, size_t i, const struct left *l, struct cb_error *err)
{
    const struct cb_mount_keep *keep = sb->chroot->spots[i].keep;
    char name[32];
    bool apart = cb_tree_scan_is_linked(l->now);
    name_of(name, apart ? "apart" : "kept", i);
    int r = apart ? copy_apart(sb, l->fd, name, err) : 0;
    if (r < 0)
        return r;
    r = cb_fs_exchange(sb->spec->root.work_fd, name, keep->dir, keep->name);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "exchange it with the old one") : 0;
}

static int end_spot(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    struct left l CB_CLEANUP(left_done) = { .parent = -1, .fd = -1 };
    const struct cb_chroot_spot *s = &sb->chroot->spots[i];
    int r = find_left(sb, s, &l, err);
    int e = l.keep || s->hides ? uncover(sb, i, &l, r < 0 ? NULL : err) : 0;
    if (r == 0)
        r = e;
    return r == 0 && l.keep ? replace(sb, i, &l, err) : r;
}

/* The inner ones first: they are no part of the outer ones. */
void cb_chroot_keep(struct cb_sandbox *sb)
{
    for (size_t i = sb->chroot->n_spots; i-- > 0;) {
        struct cb_mount_keep *keep = sb->chroot->spots[i].keep;
        (void)end_spot(sb, i, keep ? &keep->error : NULL);
    }
}

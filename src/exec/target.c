/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/mnt.h"
#include "util/alloc.h"
#include "util/limits.h"
#include "util/path.h"
#include "util/strbuf.h"
#include "util/timeutil.h"

void cb_targets_done(struct cb_targets *t)
{
    for (size_t i = 0; i < t->n; i++) {
        close(t->v[i].dir);
        free(t->v[i].name);
    }
    free(t->v);
    *t = (struct cb_targets){ .root = -1, .upper = -1 };
}

/* ---- what was made ---- */

static int record(struct cb_targets *t, int dir, const char *name, enum cb_made_kind kind)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    int kept = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    if (kept < 0)
        return -errno;
    CB_GROW(t->v, t->n, t->cap);
    t->v[t->n++] = (struct cb_made){ .dir = kept, .name = cb_strdup(name), .dev = st.st_dev, .ino = st.st_ino,
                                    .changed = st.st_ctim, .kind = kind };
    return 0;
}

static int open_dir(int root, const char *path)
{
    return cb_path_openat(root, path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
}

/* The directory of `path` (a normal form without links) opened, and its last component. */
static int open_parent(int root, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    cb_autofree char *dir = cb_strndup(path, slash ? (size_t)(slash - path) : 0);
    return open_dir(root, dir);
}

/* The prefixes of dir that the upper directory lacks: making something in dir will copy them up. */
static size_t missing_above(int upper, const char *dir)
{
    struct stat st;
    cb_autofree char *path = cb_strdup(dir);
    while (path[0] && cb_path_lstat(upper, path, &st, CB_RESOLVE_NOFOLLOW) < 0) {
        char *slash = strrchr(path, '/');
        *(slash ? slash : path) = '\0';
    }
    return strlen(path);
}

/* Records each prefix of dir longer than `from`. */
static int record_copy_ups(struct cb_targets *t, const char *dir, size_t from)
{
    size_t end = from;
    while (dir[end]) {
        end += dir[end] == '/';
        end += strcspn(dir + end, "/");
        const char *name;
        cb_autofree char *path = cb_strndup(dir, end);
        cb_autoclose int parent = open_parent(t->upper, path, &name);
        int r = parent < 0 ? parent : record(t, parent, name, CB_MADE_COPY_UP);
        if (r < 0)
            return r;
    }
    return 0;
}

static int make_entry(int dir, const char *name, bool want_dir)
{
    if (want_dir)
        return mkdirat(dir, name, 0755) < 0 ? -errno : 0;
    cb_autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : 0;
}

/* Whether the directory belongs to the overlay itself and not to something mounted on it. */
static bool in_root_mount(const struct cb_targets *t, int dir)
{
    uint64_t a = 0, b = 0;
    return cb_mnt_id(t->root, &a) == 0 && cb_mnt_id(dir, &b) == 0 && a == b;
}

/* dir is the normal form of the directory behind dirfd, which is open for reading. */
static int make_missing(struct cb_targets *t, int dirfd, const char *dir, const char *name, bool want_dir)
{
    struct stat before;
    bool overlay = in_root_mount(t, dirfd);
    size_t known = overlay ? missing_above(t->upper, dir) : 0;
    if (fstat(dirfd, &before) < 0)
        return -errno;
    int r = make_entry(dirfd, name, want_dir);
    if (r < 0)
        return r;
    /* Nobody is to see by its time that something was made here. */
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, before.st_mtim };
    if (futimens(dirfd, times) < 0)
        return -errno;
    enum cb_made_kind kind = want_dir ? CB_MADE_DIR : CB_MADE_FILE;
    if (!overlay)
        return record(t, dirfd, name, kind);
    r = record_copy_ups(t, dir, known);
    cb_autoclose int upper_dir = r < 0 ? -1 : open_dir(t->upper, dir);
    if (r < 0 || upper_dir < 0)
        return r < 0 ? r : upper_dir;
    return record(t, upper_dir, name, kind);
}

/* ---- finding the way ---- */

struct walk {
    struct cb_strbuf at;   /* where we are: a normal form without links */
    struct cb_strbuf rest; /* what is left to go */
    int dir;               /* `at` opened */
    unsigned links;
    bool refused;          /* it leads to what the kernel shows, not to a directory of the image */
};

static void walk_done(struct walk *w)
{
    cb_strbuf_done(&w->at);
    cb_strbuf_done(&w->rest);
    if (w->dir >= 0)
        close(w->dir);
}

static int walk_reopen(struct walk *w, int root)
{
    int fd = open_dir(root, w->at.buf);
    if (fd < 0)
        return fd;
    if (w->dir >= 0)
        close(w->dir);
    w->dir = fd;
    return 0;
}

/* The next component into name; false at the end. */
static bool walk_next(struct walk *w, char name[static CB_MAX_NAME + 1], int *error)
{
    size_t skip = strspn(w->rest.buf, "/");
    size_t len = strcspn(w->rest.buf + skip, "/");
    *error = len > CB_MAX_NAME ? -ENAMETOOLONG : 0;
    if (len == 0 || *error < 0)
        return false;
    memcpy(name, w->rest.buf + skip, len);
    name[len] = '\0';
    size_t used = skip + len;
    memmove(w->rest.buf, w->rest.buf + used, w->rest.len - used + 1);
    cb_strbuf_setlen(&w->rest, w->rest.len - used);
    return true;
}

static bool walk_at_end(const struct walk *w)
{
    return w->rest.buf[strspn(w->rest.buf, "/")] == '\0';
}

static int walk_up(struct walk *w, int root)
{
    char *slash = strrchr(w->at.buf, '/');
    cb_strbuf_setlen(&w->at, slash ? (size_t)(slash - w->at.buf) : 0);
    return walk_reopen(w, root);
}

static int walk_link(struct walk *w, int root, const char *name)
{
    char target[CB_MAX_PATH + 1];
    if (++w->links > CB_MAX_SYMLINKS)
        return -ELOOP;
    ssize_t n = readlinkat(w->dir, name, target, sizeof target - 1);
    if (n <= 0 || n >= CB_MAX_PATH)
        return n < 0 ? -errno : -ENAMETOOLONG;
    target[n] = '\0';
    cb_autofree char *rest = cb_strdup(w->rest.buf);
    cb_strbuf_reset(&w->rest);
    cb_strbuf_addf(&w->rest, "%s/%s", target, rest);
    if (w->rest.len > CB_MAX_PATH)
        return -ENAMETOOLONG;
    if (target[0] != '/')
        return 0;
    cb_strbuf_reset(&w->at);
    return walk_reopen(w, root);
}

static int walk_down(struct walk *w, const char *name)
{
    int fd = openat(w->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    close(w->dir);
    w->dir = fd;
    cb_strbuf_addf(&w->at, "%s%s", w->at.len ? "/" : "", name);
    return 0;
}

/* The last component exists and is no link. */
static int walk_take(struct walk *w, const char *name, bool want_dir)
{
    int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode) == want_dir)
        return fd;
    close(fd);
    return want_dir ? -ENOTDIR : -EISDIR;
}

/* One component on: 0 to go on, 1 with the target in *out, or a negative errno. */
static int walk_step(struct walk *w, struct cb_targets *t, const char *name, bool want_dir, int *out)
{
    struct stat st;
    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0)
        return walk_up(w, t->root);
    w->refused = w->at.len == 0 && (strcmp(name, "proc") == 0 || strcmp(name, "sys") == 0 ||
                                    (t->dev_refused && strcmp(name, "dev") == 0));
    if (w->refused)
        return -EPERM;
    bool last = walk_at_end(w);
    if (fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        int r = errno == ENOENT ? make_missing(t, w->dir, w->at.buf, name, want_dir || !last) : -errno;
        if (r < 0)
            return r;
    } else if (S_ISLNK(st.st_mode)) {
        return walk_link(w, t->root, name);
    }
    if (!last)
        return walk_down(w, name);
    *out = walk_take(w, name, want_dir);
    cb_strbuf_addf(&w->at, "%s%s", w->at.len ? "/" : "", name);
    return *out < 0 ? *out : 1;
}

static int walk_all(struct walk *w, struct cb_targets *t, bool want_dir, int *out)
{
    char name[CB_MAX_NAME + 1];
    int r = walk_reopen(w, t->root);
    int over = 0;
    while (r == 0 && walk_next(w, name, &over))
        r = walk_step(w, t, name, want_dir, out);
    if (r == 0)
        r = over < 0 ? over : -EBUSY; /* the path is the root itself */
    return r;
}

int cb_target_locate(struct cb_targets *t, const char *path, bool want_dir, struct cb_strbuf *where,
                     struct cb_error *err)
{
    struct walk w CB_CLEANUP(walk_done) = { .at = CB_STRBUF_INIT, .rest = CB_STRBUF_INIT, .dir = -1 };
    int out = -1;
    if (path[0] != '/' || strlen(path) > CB_MAX_PATH)
        return cb_error_set(err, CB_ECONF, "mount target %.200s: not an absolute path of usual length", path);
    cb_strbuf_adds(&w.rest, path);
    int r = walk_all(&w, t, want_dir, &out);
    if (r == 1) {
        cb_strbuf_reset(where);
        cb_strbuf_add(where, w.at.buf, w.at.len);
        return out;
    }
    if (w.refused)
        return cb_error_set(err, CB_ECONF, "mount target %s: nothing is mounted into /proc or /sys%s", path,
                            t->dev_refused ? ", nor by a link into /dev" : "");
    return cb_error_sys(err, CB_ECONF, -r, "mount target %s", path);
}

int cb_target_open(struct cb_targets *t, const char *path, bool want_dir, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf where = CB_STRBUF_INIT;
    return cb_target_locate(t, path, want_dir, &where, err);
}

int cb_target_open_top(struct cb_targets *t, const char *name, struct cb_error *err)
{
    struct stat st;
    cb_autoclose int top = open_dir(t->root, "");
    int r = top < 0 ? top : 0;
    if (r == 0 && fstatat(top, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        r = errno == ENOENT ? make_missing(t, top, "", name, true) : -errno;
    int fd = r < 0 ? r : openat(top, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? cb_error_sys(err, CB_ECONF, r < 0 ? -r : errno, "/%s of the image", name) : fd;
}

/* ---- and back ---- */

void cb_targets_settle(struct cb_targets *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct cb_made *m = &t->v[i];
        struct stat st;
        /* What was made is covered by its mount now; directories on the way have changed with each thing made in
         * them. */
        if (m->kind == CB_MADE_COPY_UP && fstatat(m->dir, m->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            m->changed = st.st_ctim;
    }
}

static bool still_ours(const struct cb_made *m)
{
    struct stat st;
    if (fstatat(m->dir, m->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != m->ino || st.st_dev != m->dev)
        return false;
    if (m->kind == CB_MADE_FILE)
        return S_ISREG(st.st_mode) && st.st_size == 0 && cb_same_time(st.st_ctim, m->changed);
    if (!S_ISDIR(st.st_mode))
        return false;
    /* A copied directory that the step has changed belongs to the step. */
    return m->kind == CB_MADE_DIR || cb_same_time(st.st_ctim, m->changed);
}

static void remove_one(const struct cb_made *m)
{
    struct stat dir;
    if (fstat(m->dir, &dir) < 0)
        return;
    if (unlinkat(m->dir, m->name, m->kind == CB_MADE_FILE ? 0 : AT_REMOVEDIR) < 0)
        return; /* not empty: the step put something there */
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, dir.st_mtim };
    if (futimens(m->dir, times) < 0)
        return;
}

void cb_targets_remove(struct cb_targets *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->v[i].gone = !still_ours(&t->v[i]);
    for (size_t i = t->n; i-- > 0;) {
        if (!t->v[i].gone)
            remove_one(&t->v[i]);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/path.h"

void cb_unpack_forget_place(struct cb_unpack *u)
{
    cb_close_p(&u->at_fd);
    u->at_fd = -1;
}

struct cb_unpack_dir *cb_unpack_dir(struct cb_unpack *u, const char *path)
{
    struct cb_unpack_dir *d = cb_hashmap_get(u->dirs, path);
    if (d)
        return d;
    d = CB_NEW(struct cb_unpack_dir);
    d->path = cb_strdup(path);
    d->mode = 0755;
    cb_hashmap_put(u->dirs, path, d);
    return d;
}

static bool at_or_below(const char *path, const char *top)
{
    size_t len = strlen(top);
    return strncmp(path, top, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void forget_devices(struct cb_unpack *u, const char *path)
{
    size_t it = 0;
    struct cb_strvec gone cb_cleanup_strvec = CB_STRVEC_INIT;
    const char *k;
    void *v;
    while (cb_hashmap_next(u->marks.devices, &it, &k, &v))
        if (at_or_below(k, path))
            cb_strvec_push(&gone, k);
    for (size_t i = 0; i < gone.n; i++)
        cb_unpack_marks_forget(&u->marks, gone.v[i]);
}

void cb_unpack_forget_below(struct cb_unpack *u, const char *path)
{
    size_t it = 0;
    struct cb_strvec gone cb_cleanup_strvec = CB_STRVEC_INIT;
    const char *k;
    void *v;
    while (cb_hashmap_next(u->dirs, &it, &k, &v))
        if (at_or_below(k, path))
            cb_strvec_push(&gone, k);
    for (size_t i = 0; i < gone.n; i++) {
        struct cb_unpack_dir *d = cb_hashmap_remove(u->dirs, gone.v[i]);
        free(d->path);
        free(d->xattrs);
        free(d);
    }
    forget_devices(u, path);
}

/* Copies of files of lower layers that are about to go serve no further hard links. */
static void forget_copies(struct cb_unpack *u, const char *path)
{
    struct cb_strvec gone cb_cleanup_strvec = CB_STRVEC_INIT;
    size_t it = 0;
    const char *k;
    void *v;
    while (cb_hashmap_next(u->copies, &it, &k, &v))
        if (at_or_below(v, path))
            cb_strvec_push(&gone, k);
    for (size_t i = 0; i < gone.n; i++)
        free(cb_hashmap_remove(u->copies, gone.v[i]));
}

int cb_unpack_clear(struct cb_unpack *u, const struct cb_unpack_place *p, struct cb_error *err)
{
    cb_hashmap_remove(u->whiteouts, p->path);
    cb_unpack_marks_forget(&u->marks, p->path);
    if (cb_hashmap_size(u->copies))
        forget_copies(u, p->path);
    if (unlinkat(p->dirfd, p->base, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return cb_error_sys(err, CB_ELOCAL, errno, "remove %s", p->path);
    cb_unpack_forget_below(u, p->path);
    return cb_fs_remove_tree(p->dirfd, p->base, err);
}

/* One directory that is missing. A whiteout of ours in its place means that what comes hides all that lower layers
 * have there. */
static int make_one(struct cb_unpack *u, const struct cb_unpack_place *p, struct cb_error *err)
{
    bool was_whiteout = cb_hashmap_get(u->whiteouts, p->path) != NULL;
    if (was_whiteout) {
        int r = cb_unpack_clear(u, p, err);
        if (r < 0)
            return r;
    }
    struct stat st;
    if (mkdirat(p->dirfd, p->base, 0700) < 0) {
        if (errno != EEXIST)
            return cb_error_sys(err, CB_ELOCAL, errno, "create directory %s", p->path);
        if (fstatat(p->dirfd, p->base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
            return cb_error_set(err, CB_EVERIFY, "%s is no directory", p->path);
        return 0;
    }
    struct cb_unpack_dir *d = cb_unpack_dir(u, p->path);
    d->opaque = d->fresh = was_whiteout;
    return 0;
}

static int append_component(struct cb_strbuf *real, const char *name, size_t n, struct cb_error *err)
{
    if (real->len + n + 1 >= CB_MAX_PATH)
        return cb_error_set(err, CB_EVERIFY, "path too long");
    if (real->len)
        cb_strbuf_addch(real, '/');
    cb_strbuf_add(real, name, n);
    return 0;
}

static void drop_component(struct cb_strbuf *real)
{
    const char *slash = strrchr(real->buf, '/');
    cb_strbuf_setlen(real, slash ? (size_t)(slash - real->buf) : 0);
}

struct walk {
    struct cb_unpack *u;
    struct cb_strbuf *real; /* how far we are, without links */
    struct cb_strbuf todo;  /* components to come */
    unsigned links, depth;
};

/* If the component just appended is a symbolic link, its text goes in front of what is to come. */
static int follow(struct walk *w, const struct cb_unpack_place *p, bool *was_link, struct cb_error *err)
{
    char text[CB_MAX_PATH + 1];
    ssize_t n = readlinkat(p->dirfd, p->base, text, sizeof text - 1);
    *was_link = n >= 0;
    if (n < 0)
        return errno == EINVAL || errno == ENOENT ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "read link %s", p->path);
    if (++w->links > CB_MAX_SYMLINKS)
        return cb_error_set(err, CB_EVERIFY, "too many symbolic links at %s", p->path);
    text[n] = '\0';
    if (text[0] == '/')
        cb_strbuf_setlen(w->real, 0);
    else
        drop_component(w->real);
    struct cb_strbuf next = CB_STRBUF_INIT;
    cb_strbuf_addf(&next, "%s/%s", text, w->todo.buf);
    cb_strbuf_done(&w->todo);
    w->todo = next;
    return w->todo.len > 4 * CB_MAX_PATH ? cb_error_set(err, CB_EVERIFY, "path too long") : 0;
}

/* flat: what a lower layer has in the way of a directory gives place, as it would under overlayfs. */
static int clear_lower(struct cb_unpack *u, const struct cb_unpack_place *p, struct cb_error *err)
{
    struct stat st;
    if (cb_hashmap_get(u->own, p->path) || fstatat(p->dirfd, p->base, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        S_ISDIR(st.st_mode))
        return 0;
    return cb_unpack_clear(u, p, err);
}

static int step(struct walk *w, const char *name, size_t n, struct cb_error *err)
{
    if (n == 0 || (n == 1 && name[0] == '.'))
        return 0;
    if (n == 2 && memcmp(name, "..", 2) == 0) {
        drop_component(w->real); /* the root's parent is the root */
        return 0;
    }
    cb_autoclose int dir =
        cb_path_openat(w->u->o.root_fd, w->real->buf, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, -dir, "open %s", w->real->buf);
    int r = append_component(w->real, name, n, err);
    if (r < 0)
        return r;
    struct cb_unpack_place p = { .dirfd = dir };
    memcpy(p.path, w->real->buf, w->real->len + 1);
    p.base = cb_path_base(p.path);
    bool was_link = false;
    if (w->u->o.flat && (r = clear_lower(w->u, &p, err)) < 0)
        return r;
    r = follow(w, &p, &was_link, err);
    return r < 0 || was_link ? r : make_one(w->u, &p, err);
}

/* The long way, one component after the other, as chroot would go it; a link into nowhere leads to directories that
 * are made. */
static int walk(struct cb_unpack *u, const char *path, struct cb_strbuf *real, struct cb_error *err)
{
    struct walk w = { .u = u, .real = real, .todo = CB_STRBUF_INIT };
    cb_strbuf_setlen(real, 0);
    cb_strbuf_adds(&w.todo, path);
    int r = 0;
    while (r == 0 && w.todo.len) {
        size_t n = strcspn(w.todo.buf, "/");
        char name[CB_MAX_PATH + 1];
        if (n > CB_MAX_NAME) {
            r = cb_error_set(err, CB_EVERIFY, "a name of more than %d bytes", CB_MAX_NAME);
            break;
        }
        memcpy(name, w.todo.buf, n);
        size_t rest = w.todo.len - n - (w.todo.buf[n] == '/');
        memmove(w.todo.buf, w.todo.buf + w.todo.len - rest, rest);
        cb_strbuf_setlen(&w.todo, rest);
        r = step(&w, name, n, err);
    }
    cb_strbuf_done(&w.todo);
    return r;
}

int cb_unpack_mkdirs(struct cb_unpack *u, const char *path, struct cb_strbuf *real, struct cb_error *err)
{
    cb_unpack_forget_place(u);
    return walk(u, path, real, err);
}

static int check_depth(const char *path, struct cb_error *err)
{
    size_t depth = 0;
    for (const char *p = path; (p = strchr(p, '/')) != NULL; p++)
        depth++;
    if (depth >= CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "more than %d directories in one another", CB_MAX_TREE_DEPTH);
    return 0;
}

/* Tars are sorted as a rule: so the directory of the entry before is nearly always the right one already. */
static int enter(struct cb_unpack *u, const char *dir, size_t len, struct cb_error *err)
{
    if (u->at_fd >= 0 && u->at.len == len && memcmp(u->at.buf, dir, len) == 0)
        return 0;
    cb_unpack_forget_place(u);
    cb_strbuf_setlen(&u->at, 0);
    cb_strbuf_add(&u->at, dir, len);
    int r = check_depth(u->at.buf, err);
    if (r < 0)
        return r;
    u->at_fd = cb_path_openat(u->o.root_fd, u->at.buf, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (u->at_fd >= 0) {
        cb_strbuf_setlen(&u->at_real, 0);
        cb_strbuf_add(&u->at_real, dir, len);
        return 0;
    }
    if (u->at_fd != -ENOENT && u->at_fd != -ELOOP && u->at_fd != -ENOTDIR && u->at_fd != -EXDEV) {
        r = cb_error_sys(err, CB_ELOCAL, -u->at_fd, "open directory %s", u->at.buf);
        u->at_fd = -1;
        return r;
    }
    u->at_fd = -1;
    if ((r = walk(u, u->at.buf, &u->at_real, err)) < 0)
        return r;
    u->at_fd = cb_path_openat(u->o.root_fd, u->at_real.buf, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (u->at_fd >= 0)
        return 0;
    r = cb_error_sys(err, CB_ELOCAL, -u->at_fd, "open directory %s", u->at_real.buf);
    u->at_fd = -1;
    return r;
}

int cb_unpack_place(struct cb_unpack *u, const char *path, struct cb_unpack_place *out, struct cb_error *err)
{
    const char *base = cb_path_base(path);
    size_t len = base > path ? (size_t)(base - path) - 1 : 0;
    if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return cb_error_set(err, CB_EVERIFY, "a bad name");
    int r = enter(u, path, len, err);
    if (r < 0)
        return r;
    int n = snprintf(out->path, sizeof out->path, "%s%s%s", u->at_real.buf, u->at_real.len ? "/" : "", base);
    if (n < 0 || (size_t)n >= sizeof out->path)
        return cb_error_set(err, CB_EVERIFY, "path too long");
    out->base = cb_path_base(out->path);
    out->dirfd = u->at_fd;
    return 0;
}

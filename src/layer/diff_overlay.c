/* SPDX-License-Identifier: Apache-2.0 */
/* What an overlayfs upper directory says, as a layer. The tree was written by a build step and is not trusted: every
 * step is one name below an open directory, no link is followed, and no device or pipe is opened (R1, R2, A7). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "layer/layer.h"
#include "layer/xattr.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/strvec.h"

/* One directory being listed. */
struct level {
    int fd;
    struct cb_strvec names;
    size_t next;
    size_t path_len;  /* of the directory's own path */
    bool bare;        /* nothing of the layers below shows here */
    bool listed;      /* it is in the layer, or is the root */
    struct stat st;
    const struct cb_stack_entry *lower;
};

struct walk {
    const struct cb_diff_options *o;
    struct cb_layer_writer *w;
    struct cb_strbuf path;
    struct cb_hashmap *links; /* "dev:ino" → path of the first name of an inode with several */
    struct level *levels;     /* from the root to where we are */
    size_t n_levels, cap_levels;
    size_t n_added;
    bool loudly;              /* reading has to be noted: these are not our files */
};

/* One thing in it. */
struct node {
    int dirfd;
    const char *name;
    int fd;           /* regular files and directories; else -1 */
    struct stat st;
    const struct cb_stack_entry *lower; /* what is at the path below, or NULL */
    bool bare;
};

static void level_done(struct level *l)
{
    cb_close_p(&l->fd);
    cb_strvec_done(&l->names);
}

static int fail(const struct walk *w, const char *what, struct cb_error *err)
{
    return cb_error_sys(err, CB_ELOCAL, errno, "%s %s", what, w->path.len ? w->path.buf : "the changed files");
}

/* ---- extended attributes ---- */

static bool same_xattrs(const struct cb_entry *a, const struct cb_entry *b)
{
    if (a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++)
        if (!cb_streq(a->xattrs[i].name, b->xattrs[i].name) || a->xattrs[i].len != b->xattrs[i].len ||
            memcmp(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len) != 0)
            return false;
    return true;
}

/* overlayfs's own mark of that name: its first letter, 0 where it is not set. */
static char overlay_mark(const struct walk *w, int fd, const char *what)
{
    char name[64], value[256];
    snprintf(name, sizeof name, "%s.overlay.%s", w->o->userxattr ? "user" : "trusted", what);
    ssize_t n = fgetxattr(fd, name, value, sizeof value);
    return n > 0 ? value[0] : n == 0 || errno == ERANGE ? '?' : '\0';
}

/* ---- comparing ---- */

static int find_lower(const struct walk *w, bool bare, const struct cb_stack_entry **hit, struct cb_error *err)
{
    const struct cb_finder *f = w->o->lower;
    *hit = NULL;
    return bare || !f ? 0 : f->find(f->arg, w->path.buf, hit, err);
}

static int same_content(int fd, const struct cb_entry *lower, bool *same, struct cb_error *err)
{
    char buf[64 << 10];
    size_t got = 1;
    struct cb_digest d;
    struct cb_sum sum;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    for (uint64_t off = 0; got; off += got) {
        int r = cb_fd_pread_full(fd, buf, sizeof buf, off, &got, err);
        if (r < 0)
            return r;
        cb_hasher_update(h, buf, got);
    }
    cb_hasher_finish(h, &d);
    cb_sum_take(&sum, &d);
    *same = cb_sum_eq(&sum, &lower->digest);
    return 0;
}

/* What an earlier step has made has the time of its layer where that was unpacked, else its real one. */
static bool same_time(const struct walk *w, const struct cb_entry *lower, const struct cb_entry *e)
{
    return lower->mtime == e->mtime || lower->mtime == cb_layer_writer_mtime(w->w, e->mtime);
}

/* Whether the entry says nothing that the layers below do not say; the content is read only where all else is equal. */
static int is_unchanged(const struct walk *w, const struct node *n, const struct cb_entry *e, bool *same,
                        struct cb_error *err)
{
    const struct cb_entry *l = n->lower ? n->lower->e : NULL;
    *same = false;
    if (!l || (l->type != e->type && !(l->type == CB_ENTRY_HARDLINK && e->type == CB_ENTRY_FILE)))
        return 0;
    if (l->mode != e->mode || l->uid != e->uid || l->gid != e->gid || !same_time(w, l, e) || !same_xattrs(l, e))
        return 0;
    if (e->type == CB_ENTRY_FILE)
        return n->lower->data && l->size == e->size ? same_content(n->fd, n->lower->data, same, err) : 0;
    *same = (e->type != CB_ENTRY_SYMLINK || cb_streq(l->link, e->link)) && l->dev_major == e->dev_major &&
            l->dev_minor == e->dev_minor;
    return 0;
}

/* ---- entries ---- */

/* The owner where the disk has none. */
static void find_owner(const struct walk *w, const struct node *n, struct cb_entry *e)
{
    const struct cb_entry *lower = n->lower ? n->lower->e : NULL;
    uint32_t owner[2] = { lower ? lower->uid : 0, lower ? lower->gid : 0 };
    if (w->o->owners) {
        if (!lower)
            owner[0] = owner[1] = CB_OWNER_KEEP;
        cb_owner_table_get(w->o->owners, n->dirfd, n->name, e->path, owner);
    }
    e->uid = owner[0];
    e->gid = owner[1];
}

static struct cb_entry describe(const struct walk *w, enum cb_entry_type type, const struct node *n, const char *path)
{
    struct cb_entry e = { .path = path, .type = type };
    e.mode = n->st.st_mode & 07777;
    e.uid = n->st.st_uid;
    e.gid = n->st.st_gid;
    e.mtime = n->st.st_mtim.tv_sec;
    if (w->o->single_id)
        find_owner(w, n, &e);
    return e;
}

static int list_level(struct walk *w, struct level *l, struct cb_error *err)
{
    cb_cleanup_xattrs struct cb_xattrs x = CB_XATTRS_INIT;
    cb_autofree char *path = cb_strndup(w->path.buf, l->path_len);
    const struct node n = { .dirfd = l->fd, .name = "", .st = l->st, .lower = l->lower };
    struct cb_entry e = describe(w, CB_ENTRY_DIR, &n, path);
    int r = cb_xattrs_read(&x, l->fd) < 0 ? fail(w, "read attributes above", err) : 0;
    e.xattrs = x.v;
    e.n_xattrs = x.n;
    if (r == 0)
        r = cb_layer_writer_add(w->w, &e, NULL, err);
    l->listed = true;
    w->n_added += r == 0;
    return r;
}

/* The directories above come too, changed or not: who unpacks the layer by itself must not invent their modes. */
static int add(struct walk *w, const struct cb_entry *e, struct cb_blob_source *data, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; i < w->n_levels && r == 0; i++)
        if (!w->levels[i].listed)
            r = list_level(w, &w->levels[i], err);
    if (r == 0)
        r = cb_layer_writer_add(w->w, e, data, err);
    w->n_added += r == 0;
    return r;
}

static int add_unless_same(struct walk *w, const struct node *n, const struct cb_entry *e, struct cb_error *err)
{
    bool same;
    int r = is_unchanged(w, n, e, &same, err);
    return r < 0 || same ? r : add(w, e, NULL, err);
}

static int on_whiteout(struct walk *w, const struct node *n, struct cb_error *err)
{
    if (w->o->lower ? !n->lower : n->bare)
        return 0;
    struct cb_entry e = { .path = w->path.buf, .type = CB_ENTRY_WHITEOUT, .mtime = n->st.st_mtim.tv_sec };
    return add(w, &e, NULL, err);
}

static int on_special(struct walk *w, const struct node *n, struct cb_error *err)
{
    enum cb_entry_type type = S_ISCHR(n->st.st_mode) ? CB_ENTRY_CHAR
                              : S_ISBLK(n->st.st_mode) ? CB_ENTRY_BLOCK : CB_ENTRY_FIFO;
    struct cb_entry e = describe(w, type, n, w->path.buf);
    if (type != CB_ENTRY_FIFO) {
        e.dev_major = major(n->st.st_rdev);
        e.dev_minor = minor(n->st.st_rdev);
    }
    return add_unless_same(w, n, &e, err);
}

static int on_symlink(struct walk *w, const struct node *n, struct cb_error *err)
{
    char text[CB_MAX_PATH + 1];
    ssize_t len = readlinkat(n->dirfd, n->name, text, sizeof text - 1);
    if (len < 0)
        return fail(w, "read link", err);
    text[len] = '\0';
    struct cb_entry e = describe(w, CB_ENTRY_SYMLINK, n, w->path.buf);
    e.link = text;
    return add_unless_same(w, n, &e, err);
}

/* The second and later names of an inode become links to the first. */
static bool link_to_first(struct walk *w, const struct node *n, struct cb_entry *e)
{
    char key[64];
    if (n->st.st_nlink < 2)
        return false;
    snprintf(key, sizeof key, "%llx:%llx", (unsigned long long)n->st.st_dev, (unsigned long long)n->st.st_ino);
    const char *first = cb_hashmap_get(w->links, key);
    if (!first) {
        cb_hashmap_put(w->links, key, cb_strdup(w->path.buf));
        return false;
    }
    e->type = CB_ENTRY_HARDLINK;
    e->link = first;
    e->xattrs = NULL;
    e->n_xattrs = 0;
    return true;
}

static int add_file(struct walk *w, struct node *n, struct cb_entry *e, struct cb_error *err)
{
    if (link_to_first(w, n, e))
        return add(w, e, NULL, err);
    /* A file with several names is always written: what links to it must find it in this layer. */
    bool same = false;
    int r = n->st.st_nlink < 2 ? is_unchanged(w, n, e, &same, err) : 0;
    if (r < 0 || same)
        return r;
    cb_autosource struct cb_blob_source *data = cb_blob_source_from_fd(CB_TAKE_FD(n->fd), 0, e->size);
    return add(w, e, data, err);
}

static int on_file(struct walk *w, struct node *n, struct cb_error *err)
{
    cb_cleanup_xattrs struct cb_xattrs x = CB_XATTRS_INIT;
    struct cb_entry e = describe(w, CB_ENTRY_FILE, n, w->path.buf);
    int r = 0;
    if (cb_xattrs_read(&x, n->fd) < 0)
        r = fail(w, "read attributes of", err);
    else if (x.names.len && overlay_mark(w, n->fd, "metacopy"))
        r = cb_error_set(err, CB_EINTERNAL, "%s: overlay with metacopy, its data is elsewhere", w->path.buf);
    e.size = (uint64_t)n->st.st_size;
    e.xattrs = x.v;
    e.n_xattrs = x.n;
    if (r == 0)
        r = add_file(w, n, &e, err);
    return r;
}

static int add_dir(struct walk *w, const struct node *n, const struct cb_entry *e, struct level *down,
                   struct cb_error *err)
{
    bool lower_dir = n->lower && n->lower->e->type == CB_ENTRY_DIR;
    bool opaque = overlay_mark(w, n->fd, "opaque") == 'y', same = false;
    int r = 0;
    down->bare = n->bare || opaque || (w->o->lower && !lower_dir);
    if (opaque && (w->o->lower ? lower_dir : !n->bare)) {
        struct cb_entry mark = { .path = w->path.buf, .type = CB_ENTRY_OPAQUE, .mtime = e->mtime };
        r = add(w, &mark, NULL, err);
    } else {
        r = is_unchanged(w, n, e, &same, err);
    }
    down->listed = !same;
    return r < 0 || same ? r : add(w, e, NULL, err);
}

static int on_dir(struct walk *w, const struct node *n, struct level *down, struct cb_error *err)
{
    cb_cleanup_xattrs struct cb_xattrs x = CB_XATTRS_INIT;
    struct cb_entry e = describe(w, CB_ENTRY_DIR, n, w->path.buf);
    int r = 0;
    if (overlay_mark(w, n->fd, "redirect"))
        return cb_error_set(err, CB_EINTERNAL, "%s: overlay with redirect_dir, its files are elsewhere", w->path.buf);
    if (cb_xattrs_read(&x, n->fd) < 0)
        r = fail(w, "read attributes of", err);
    e.xattrs = x.v;
    e.n_xattrs = x.n;
    if (r == 0)
        r = add_dir(w, n, &e, down, err);
    return r;
}

/* ---- the walk ---- */

/* Opens what has content, and sees that it still is what lstat said. */
static int open_node(struct walk *w, struct node *n, struct cb_error *err)
{
    struct stat now;
    bool dir = S_ISDIR(n->st.st_mode);
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | (dir ? O_DIRECTORY : 0);
    if (!dir && !S_ISREG(n->st.st_mode))
        return 0;
    n->fd = openat(n->dirfd, n->name, flags | (w->loudly ? 0 : O_NOATIME));
    if (n->fd < 0 && errno == EPERM && !w->loudly) {
        w->loudly = true;
        n->fd = openat(n->dirfd, n->name, flags);
    }
    if (n->fd < 0 || fstat(n->fd, &now) < 0)
        return fail(w, "open", err);
    if (now.st_ino != n->st.st_ino || now.st_dev != n->st.st_dev || (now.st_mode ^ n->st.st_mode) & S_IFMT)
        return cb_error_set(err, CB_ELOCAL, "%s changed while being read", w->path.buf);
    n->st = now;
    return 0;
}

static int list_names(struct level *l)
{
    int fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        cb_close_p(&fd);
        return -1;
    }
    const struct dirent *e;
    while (errno = 0, e = readdir(d))
        if (!cb_streq(e->d_name, ".") && !cb_streq(e->d_name, ".."))
            cb_strvec_push(&l->names, e->d_name);
    int failed = errno;
    closedir(d);
    errno = failed;
    cb_strvec_sort(&l->names);
    return failed ? -1 : 0;
}

static int on_node(struct walk *w, struct node *n, struct level *down, struct cb_error *err)
{
    switch (n->st.st_mode & S_IFMT) {
    case S_IFDIR:
        return on_dir(w, n, down, err);
    case S_IFREG:
        return on_file(w, n, err);
    case S_IFLNK:
        return on_symlink(w, n, err);
    case S_IFCHR:
        return n->st.st_rdev == 0 ? on_whiteout(w, n, err) : on_special(w, n, err);
    case S_IFBLK:
    case S_IFIFO:
        return on_special(w, n, err);
    default: /* a socket is of use only to the process that bound it: what it has replaced is gone */
        return on_whiteout(w, n, err);
    }
}

static int set_path(struct walk *w, const struct level *l, const char *name, struct cb_error *err)
{
    cb_strbuf_setlen(&w->path, l->path_len);
    if (w->path.len)
        cb_strbuf_addch(&w->path, '/');
    cb_strbuf_adds(&w->path, name);
    if (w->path.len > CB_MAX_PATH)
        return cb_error_set(err, CB_ELOCAL, "path of more than %d bytes: %s", CB_MAX_PATH, w->path.buf);
    return 0;
}

/* One name of a level; for a directory *down is it, open and listed. */
static int visit(struct walk *w, const struct level *l, const char *name, struct level *down, struct cb_error *err)
{
    struct node n = { .dirfd = l->fd, .name = name, .fd = -1, .bare = l->bare };
    int r = set_path(w, l, name, err);
    if (r == 0 && fstatat(l->fd, name, &n.st, AT_SYMLINK_NOFOLLOW) < 0)
        r = fail(w, "look at", err);
    if (r == 0)
        r = find_lower(w, l->bare, &n.lower, err);
    if (r == 0)
        r = open_node(w, &n, err);
    if (r == 0)
        r = on_node(w, &n, down, err);
    if (r == 0 && S_ISDIR(n.st.st_mode)) {
        down->fd = CB_TAKE_FD(n.fd);
        down->path_len = w->path.len;
        down->st = n.st;
        down->lower = n.lower;
        if (list_names(down) < 0)
            r = fail(w, "list", err);
    }
    cb_close_p(&n.fd);
    return r;
}

static int push_level(struct walk *w, struct level *l, struct cb_error *err)
{
    if (w->n_levels > CB_MAX_TREE_DEPTH) {
        level_done(l);
        return cb_error_set(err, CB_ELOCAL, "directories more than %d deep: %s", CB_MAX_TREE_DEPTH, w->path.buf);
    }
    CB_GROW(w->levels, w->n_levels, w->cap_levels);
    w->levels[w->n_levels++] = *l;
    return 0;
}

static int descend(struct walk *w, struct cb_error *err)
{
    while (w->n_levels) {
        struct level *l = &w->levels[w->n_levels - 1], down = { .fd = -1 };
        if (l->next == l->names.n) {
            level_done(l);
            w->n_levels--;
            continue;
        }
        int r = visit(w, l, l->names.v[l->next++], &down, err);
        if (r == 0 && down.fd >= 0)
            r = push_level(w, &down, err);
        else
            level_done(&down);
        if (r < 0)
            return r;
    }
    return 0;
}

static int walk_upper(struct walk *w, struct cb_error *err)
{
    struct level top = { .listed = true, .fd = openat(w->o->upper_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
    if (top.fd < 0 || list_names(&top) < 0) {
        int r = fail(w, "open", err);
        level_done(&top);
        return r;
    }
    int r = push_level(w, &top, err);
    return r < 0 ? r : descend(w, err);
}

int cb_diff_overlay(const struct cb_diff_options *o, struct cb_layer_writer *writer, size_t *n_entries,
                    struct cb_error *err)
{
    struct walk w = { .o = o, .w = writer, .path = CB_STRBUF_INIT, .links = cb_hashmap_new() };
    int r = walk_upper(&w, err);
    while (w.n_levels)
        level_done(&w.levels[--w.n_levels]);
    free(w.levels);
    size_t it = 0;
    const char *key;
    void *first;
    while (cb_hashmap_next(w.links, &it, &key, &first))
        free(first);
    cb_hashmap_free(w.links);
    cb_strbuf_done(&w.path);
    if (n_entries)
        *n_entries = w.n_added;
    return r;
}

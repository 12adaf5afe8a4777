/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "build/context_private.h"
#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"

struct walk {
    const struct cb_context_walk *o;
    struct cb_hashmap *inodes;    /* "dev:ino" → index + 1 of the first item, of files with several links */
};

/* A file: its directory and name there, its path in the context and below the match. */
struct place {
    int dirfd;
    const char *name, *path, *rel;
    struct stat st;
};

static int fill_entry(struct cb_entry *e, const struct place *at, struct cb_error *err)
{
    static const struct { mode_t fmt; enum cb_entry_type type; } types[] = {
        { S_IFREG, CB_ENTRY_FILE }, { S_IFDIR, CB_ENTRY_DIR },  { S_IFLNK, CB_ENTRY_SYMLINK },
        { S_IFIFO, CB_ENTRY_FIFO }, { S_IFCHR, CB_ENTRY_CHAR }, { S_IFBLK, CB_ENTRY_BLOCK },
    };
    const struct stat *st = &at->st;
    *e = (struct cb_entry){ .mode = st->st_mode & 07777, .mtime = st->st_mtim.tv_sec };
    for (size_t i = 0; i < CB_COUNTOF(types); i++)
        if ((st->st_mode & S_IFMT) == types[i].fmt)
            e->type = types[i].type;
    if (S_ISSOCK(st->st_mode))
        e->type = CB_ENTRY_FILE; /* an empty one */
    if (!e->type)
        return cb_error_set(err, CB_ECONF, "%s: a kind of file that cannot be copied", at->path);
    if (S_ISREG(st->st_mode))
        e->size = (uint64_t)st->st_size;
    if (e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK) {
        e->dev_major = major(st->st_rdev);
        e->dev_minor = minor(st->st_rdev);
    }
    return 0;
}

/* A second name of a file that is in the match already becomes a hard link to the first. */
static void link_to_first(struct walk *w, const struct stat *st, struct cb_entry *e, size_t *target)
{
    char id[64];
    if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
        return;
    snprintf(id, sizeof id, "%llu:%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    struct cb_match *m = w->o->match;
    size_t first = (size_t)(uintptr_t)cb_hashmap_get(w->inodes, id);
    if (!first) {
        cb_hashmap_put(w->inodes, id, (void *)(uintptr_t)(m->n + 1));
        return;
    }
    e->type = CB_ENTRY_HARDLINK;
    e->link = m->items[first - 1].rel;
    *target = first - 1;
}

static int add_item(struct walk *w, const struct place *at, struct cb_error *err)
{
    struct cb_entry e;
    char link[CB_MAX_PATH + 1];
    size_t target = 0;
    int r = fill_entry(&e, at, err);
    if (r < 0)
        return r;
    if (e.type == CB_ENTRY_SYMLINK) {
        ssize_t n = readlinkat(at->dirfd, at->name, link, CB_MAX_PATH);
        if (n < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "read link %s", at->path);
        link[n] = '\0';
        e.link = link;
    }
    w->o->match->foreign =
        w->o->match->foreign || at->st.st_uid || at->st.st_gid || S_ISFIFO(at->st.st_mode);
    link_to_first(w, &at->st, &e, &target);
    struct cb_item *it = cb_match_add(w->o->match, at->rel, &e);
    it->path = cb_strdup(at->path);
    it->context = w->o->c;
    it->target = target;
    it->is_socket = S_ISSOCK(at->st.st_mode);
    if (it->is_socket)
        cb_digest_of(&it->e.digest, "", 0);
    else if (e.type == CB_ENTRY_FILE)
        (void)cb_stat_cache_get(w->o->c->stats, &at->st, &it->e.digest);
    return 0;
}

static int list_dir(int fd, const char *path, struct cb_strvec *names, struct cb_error *err)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = own < 0 ? NULL : fdopendir(own);
    if (!d) {
        int r = cb_error_sys(err, CB_ELOCAL, errno, "read directory %s", *path ? path : ".");
        cb_close_p(&own);
        return r;
    }
    errno = 0;
    for (struct dirent *de; (de = readdir(d)); errno = 0)
        if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
            cb_strvec_push(names, de->d_name);
    int bad = errno;
    closedir(d);
    cb_strvec_sort(names);
    return bad ? cb_error_sys(err, CB_ELOCAL, bad, "read directory %s", *path ? path : ".") : 0;
}

static void join(struct cb_strbuf *out, const char *dir, const char *name)
{
    cb_strbuf_reset(out);
    if (*dir) {
        cb_strbuf_adds(out, dir);
        cb_strbuf_addch(out, '/');
    }
    cb_strbuf_adds(out, name);
}

static int walk_dir(struct walk *w, int fd, const char *path, const char *rel, unsigned depth, struct cb_error *err);

static int walk_subdir(struct walk *w, const struct place *at, unsigned depth, struct cb_error *err)
{
    cb_autoclose int sub = openat(at->dirfd, at->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory %s", at->path);
    int r = cb_context_xattrs(&w->o->match->items[w->o->match->n - 1], sub, err);
    return r < 0 ? r : walk_dir(w, sub, at->path, at->rel, depth + 1, err);
}

/* Directories that are left out are entered only where something below them may not be; they are then listed only if
 * something is. */
static int walk_child(struct walk *w, const struct place *at, unsigned depth, struct cb_error *err)
{
    const struct cb_df_ignore *ignore = w->o->c->ignore;
    bool dir = S_ISDIR(at->st.st_mode);
    bool ignored = cb_df_ignored(ignore, at->path), filtered = cb_filter_leaves_out(w->o->filter, at->rel);
    if ((ignored && !(dir && cb_df_ignore_may_reinclude(ignore, at->path))) ||
        (filtered && !(dir && cb_filter_may_take(w->o->filter, at->rel)))) {
        w->o->match->partial = true;
        return 0;
    }
    size_t before = w->o->match->n;
    w->o->match->partial = w->o->match->partial || ignored || filtered || S_ISSOCK(at->st.st_mode);
    int r = add_item(w, at, err);
    if (r < 0 || !dir)
        return r;
    w->o->match->items[before].on_the_way = filtered;
    r = walk_subdir(w, at, depth, err);
    if (r == 0 && (ignored || filtered) && w->o->match->n == before + 1)
        cb_match_pop(w->o->match);
    return r;
}

static int walk_dir(struct walk *w, int fd, const char *path, const char *rel, unsigned depth, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT, q cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (depth > CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_ECONF, "%s: directories too deep", path);
    int r = cb_cancel_check(w->o->cancel, err);
    if (r == 0)
        r = list_dir(fd, path, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        join(&p, path, names.v[i]);
        join(&q, rel, names.v[i]);
        struct place at = { .dirfd = fd, .name = names.v[i], .path = p.buf, .rel = q.buf };
        if (fstatat(fd, at.name, &at.st, AT_SYMLINK_NOFOLLOW) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "%s", p.buf);
        r = walk_child(w, &at, depth, err);
    }
    return r;
}

int cb_context_walk(const struct cb_context_walk *o, const char *path, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(o->c->fd, path, O_PATH | O_NOFOLLOW, 0, CB_RESOLVE_NOFOLLOW);
    struct place at = { .dirfd = fd, .name = "", .path = path, .rel = "" };
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "%s", path);
    if (fstat(fd, &at.st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", path);
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *inodes = cb_hashmap_new();
    struct walk w = { .o = o, .inodes = inodes };
    o->match->is_dir = S_ISDIR(at.st.st_mode);
    int r = add_item(&w, &at, err);
    if (r < 0 || !o->match->is_dir)
        return r;
    cb_autoclose int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory %s", *path ? path : ".");
    r = cb_context_xattrs(&o->match->items[0], dir, err);
    return r < 0 ? r : walk_dir(&w, dir, path, "", 0, err);
}

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
#include "util/thread.h"

#define CB_WALK_MANY 4 /* directories in waiting for which another thread is worth its start */

/* A file: its directory and name there, its path in the context and below the match. */
struct place {
    int dirfd;
    const char *name, *path, *rel;
    struct stat st;
};

/* A directory, and what was found in it, in order. They are read in any order, by several threads: an unchanged build
 * does little else. */
struct node {
    struct node *next;             /* to be read */
    struct cb_item *item;          /* the directory itself */
    bool conditional;              /* is meant only if something below it is */
    bool partial, foreign;         /* as in struct cb_match */
    unsigned depth;
    struct found *v;
    size_t n, cap;
    struct linked *linked;         /* of those in v, in that order */
    size_t n_linked, cap_linked;
};
struct found {
    struct node *dir;              /* or, where NULL: */
    struct cb_item *item;
};
/* A file that has other names. */
struct linked {
    const struct cb_item *item;
    dev_t dev;
    ino_t ino;
};

struct walk {
    const struct cb_context_walk *o;
    struct cb_hashmap *inodes;     /* "dev:ino" → index + 1 of the first item, of files with several links */
    pthread_mutex_t mu;            /* of what follows */
    pthread_cond_t cond;
    struct node *todo;
    size_t n_todo, open;           /* waiting; waiting or being read */
    unsigned helpers, max_helpers;
    struct cb_arena *spare;        /* one for each thread that may come; all that is found is in one of them */
    unsigned n_spare;
    struct cb_error error;
};

/* What a thread works on: a directory, and where it puts what it finds. */
struct reading {
    struct walk *w;
    struct node *d;
    struct cb_arena *arena;
    size_t hint;                   /* of cb_stat_cache_get */
};

static void node_done(struct node *d)
{
    free(d->v);
    free(d->linked);
    free(d);
}

static void node_free(struct node *d)
{
    for (size_t i = 0; i < d->n; i++) {
        if (d->v[i].dir)
            node_free(d->v[i].dir);
        else
            cb_item_done(d->v[i].item);
    }
    cb_item_done(d->item);
    node_done(d);
}

/* ---- one file ---- */

static enum cb_entry_type type_of(mode_t mode)
{
    static const struct { mode_t fmt; enum cb_entry_type type; } types[] = {
        { S_IFREG, CB_ENTRY_FILE }, { S_IFDIR, CB_ENTRY_DIR },  { S_IFLNK, CB_ENTRY_SYMLINK },
        { S_IFIFO, CB_ENTRY_FIFO }, { S_IFCHR, CB_ENTRY_CHAR }, { S_IFBLK, CB_ENTRY_BLOCK },
        { S_IFSOCK, CB_ENTRY_FILE }, /* an empty one */
    };
    for (size_t i = 0; i < CB_COUNTOF(types); i++)
        if ((mode & S_IFMT) == types[i].fmt)
            return types[i].type;
    return 0;
}

static int fill_link(struct cb_item *it, const struct place *at, struct cb_arena *arena, struct cb_error *err)
{
    char link[CB_MAX_PATH + 1];
    ssize_t n = readlinkat(at->dirfd, at->name, link, CB_MAX_PATH);
    if (n < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read link %s", at->path);
    it->link = cb_arena_strndup(arena, link, (size_t)n);
    return 0;
}

static int make_item(const struct place *at, struct cb_arena *arena, struct cb_item **out, struct cb_error *err)
{
    const struct stat *st = &at->st;
    struct cb_item *it = cb_item_new(arena);
    size_t n = strlen(at->path);
    it->rel = cb_arena_strndup(arena, at->path, n) + n - strlen(at->rel);
    it->before = (uint16_t)(n - strlen(at->rel));
    it->type = (uint8_t)type_of(st->st_mode);
    it->mode = (uint16_t)(st->st_mode & 07777);
    cb_item_found(it)->mtime = st->st_mtim.tv_sec;
    it->is_socket = S_ISSOCK(st->st_mode);
    *out = it;
    if (!it->type)
        return cb_error_set(err, CB_ECONF, "%s: a kind of file that cannot be copied", at->path);
    if (S_ISREG(st->st_mode))
        cb_item_found(it)->size = (uint64_t)st->st_size;
    if (it->type == CB_ENTRY_CHAR || it->type == CB_ENTRY_BLOCK) {
        cb_item_more(it)->dev_major = major(st->st_rdev);
        cb_item_more(it)->dev_minor = minor(st->st_rdev);
    }
    if (it->is_socket)
        cb_sum_of(&cb_item_found(it)->digest, "", 0);
    return it->type == CB_ENTRY_SYMLINK ? fill_link(it, at, arena, err) : 0;
}

static bool is_foreign(const struct stat *st)
{
    return st->st_uid || st->st_gid || S_ISFIFO(st->st_mode);
}

/* ---- one directory ---- */

static void help(void *arg);

static void add_todo(struct walk *w, struct node *d)
{
    pthread_mutex_lock(&w->mu);
    d->next = w->todo;
    w->todo = d;
    w->open++;
    bool more = ++w->n_todo >= CB_WALK_MANY && w->helpers < w->max_helpers;
    w->helpers += more;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
    if (more)
        cb_pool_submit(w->o->cpu, help, w);
}

static void add_file(struct reading *r, const struct place *at, struct cb_item *it)
{
    struct node *d = r->d;
    if (!S_ISREG(at->st.st_mode))
        return;
    (void)cb_stat_cache_get(r->w->o->c->stats, &at->st, &r->hint, &cb_item_found(it)->digest);
    if (at->st.st_nlink < 2)
        return;
    CB_GROW(d->linked, d->n_linked, d->cap_linked);
    d->linked[d->n_linked++] = (struct linked){ .item = it, .dev = at->st.st_dev, .ino = at->st.st_ino };
}

static bool is_store(struct cb_context *c, const struct stat *st)
{
    if (!c->store_ino || st->st_ino != c->store_ino || st->st_dev != c->store_dev)
        return false;
    atomic_store(&c->met_store, true);
    return true;
}

/* Directories that are left out are entered only where something below them may not be; they are then listed only if
 * something is. */
static int add_found(struct reading *r, const struct place *at, struct cb_error *err)
{
    const struct cb_context_walk *o = r->w->o;
    const struct cb_df_ignore *ignore = o->c->ignore;
    struct node *d = r->d;
    bool dir = S_ISDIR(at->st.st_mode);
    if (dir && is_store(o->c, &at->st)) {
        d->partial = true;
        return 0;
    }
    bool ignored = cb_df_ignored(ignore, at->path), filtered = cb_filter_leaves_out(o->filter, at->rel);
    if ((ignored && !(dir && cb_df_ignore_may_reinclude(ignore, at->path))) ||
        (filtered && !(dir && cb_filter_may_take(o->filter, at->rel)))) {
        d->partial = true;
        return 0;
    }
    struct cb_item *item;
    int code = make_item(at, r->arena, &item, err);
    if (code < 0)
        return code;
    CB_GROW(d->v, d->n, d->cap);
    struct found *f = &d->v[d->n++];
    *f = (struct found){ .dir = dir ? CB_NEW(struct node) : NULL, .item = dir ? NULL : item };
    d->partial = d->partial || ignored || filtered || item->is_socket;
    d->foreign = d->foreign || is_foreign(&at->st);
    if (!dir) {
        add_file(r, at, item);
        return 0;
    }
    item->on_the_way = filtered;
    *f->dir = (struct node){ .item = item, .conditional = ignored || filtered, .depth = d->depth + 1 };
    add_todo(r->w, f->dir);
    return 0;
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

static void closedir_p(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int list_dir(DIR *dir, const char *shown, struct cb_strvec *names, struct cb_error *err)
{
    errno = 0;
    for (struct dirent *de; (de = readdir(dir)); errno = 0)
        if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
            cb_strvec_push(names, de->d_name);
    if (errno)
        return cb_error_sys(err, CB_ELOCAL, errno, "read directory %s", shown);
    cb_strvec_sort(names);
    return 0;
}

static int read_names(struct reading *r, int dirfd, const struct cb_strvec *names, struct cb_error *err)
{
    struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT, q cb_cleanup_strbuf = CB_STRBUF_INIT;
    int code = 0;
    for (size_t i = 0; code == 0 && i < names->n; i++) {
        join(&p, cb_item_path(r->d->item), names->v[i]);
        join(&q, r->d->item->rel, names->v[i]);
        struct place at = { .dirfd = dirfd, .name = names->v[i], .path = p.buf, .rel = q.buf };
        if (fstatat(dirfd, at.name, &at.st, AT_SYMLINK_NOFOLLOW) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "%s", p.buf);
        code = add_found(r, &at, err);
    }
    return code;
}

static int read_node(struct walk *w, struct node *d, struct cb_arena *arena, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    struct reading reading = { .w = w, .d = d, .arena = arena, .hint = SIZE_MAX };
    const char *path = cb_item_path(d->item), *shown = *path ? path : ".";
    if (d->depth > CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_ECONF, "%s: directories too deep", shown);
    int r = cb_cancel_check(w->o->cancel, err);
    if (r < 0)
        return r;
    int fd = cb_path_openat(w->o->c->fd, path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open directory %s", shown);
    CB_CLEANUP(closedir_p) DIR *dir = fdopendir(fd);
    if (!dir) {
        r = cb_error_sys(err, CB_ELOCAL, errno, "read directory %s", shown);
        close(fd);
        return r;
    }
    r = cb_context_xattrs(d->item, fd, err);
    if (r == 0)
        r = list_dir(dir, shown, &names, err);
    return r < 0 ? r : read_names(&reading, fd, &names, err);
}

/* ---- all of them ---- */

/* Under the lock, which is given up meanwhile. Of several failures the first is told. */
static void read_next(struct walk *w, struct cb_arena *arena)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct node *d = w->todo;
    bool skip = w->error.code != 0;
    w->todo = d->next;
    w->n_todo--;
    pthread_mutex_unlock(&w->mu);
    int r = skip ? 0 : read_node(w, d, arena, &e);
    pthread_mutex_lock(&w->mu);
    if (r < 0 && !w->error.code)
        cb_error_move(&w->error, &e);
    if (--w->open == 0)
        pthread_cond_broadcast(&w->cond);
}

static void help(void *arg)
{
    struct walk *w = arg;
    pthread_mutex_lock(&w->mu);
    struct cb_arena arena = w->spare[--w->n_spare];
    while (w->todo)
        read_next(w, &arena);
    w->spare[w->n_spare++] = arena;
    if (--w->helpers == 0)
        pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

static int read_all(struct walk *w, struct node *root, struct cb_arena *arena, struct cb_error *err)
{
    add_todo(w, root);
    pthread_mutex_lock(&w->mu);
    while (w->open || w->helpers) {
        if (w->todo)
            read_next(w, arena);
        else
            pthread_cond_wait(&w->cond, &w->mu);
    }
    pthread_mutex_unlock(&w->mu);
    return w->error.code ? cb_error_move(err, &w->error) : 0;
}

/* ---- into the match ---- */

/* A second name of a file that is in the match already becomes a hard link to the first. */
static void link_to_first(struct walk *w, const struct linked *l, struct cb_item *it)
{
    struct cb_match *m = w->o->match;
    char id[64];
    snprintf(id, sizeof id, "%llu:%llu", (unsigned long long)l->dev, (unsigned long long)l->ino);
    size_t first = (size_t)(uintptr_t)cb_hashmap_get(w->inodes, id);
    if (!first) {
        cb_hashmap_put(w->inodes, id, (void *)(uintptr_t)(m->n + 1));
        return;
    }
    it->type = CB_ENTRY_HARDLINK;
    it->link = m->items[first - 1]->rel;
    cb_item_more(it)->target = first - 1;
}

/* Takes what is in d, and frees it. */
static void take_node(struct walk *w, struct node *d)
{
    struct cb_match *m = w->o->match;
    size_t at = m->n, k = 0;
    m->partial = m->partial || d->partial;
    m->foreign = m->foreign || d->foreign;
    cb_match_take(m, d->item);
    for (size_t i = 0; i < d->n; i++) {
        if (d->v[i].dir) {
            take_node(w, d->v[i].dir);
            continue;
        }
        if (k < d->n_linked && d->linked[k].item == d->v[i].item)
            link_to_first(w, &d->linked[k++], d->v[i].item);
        cb_match_take(m, d->v[i].item);
    }
    if (d->conditional && m->n == at + 1)
        cb_match_pop(m);
    node_done(d);
}

static int walk_root(struct walk *w, const struct place *at, struct cb_arena *arena, struct cb_error *err)
{
    struct cb_item *item;
    size_t hint = SIZE_MAX;
    int r = make_item(at, arena, &item, err);
    if (r < 0)
        return r;
    w->o->match->foreign = w->o->match->foreign || is_foreign(&at->st);
    if (!S_ISDIR(at->st.st_mode)) {
        if (S_ISREG(at->st.st_mode))
            (void)cb_stat_cache_get(w->o->c->stats, &at->st, &hint, &cb_item_found(item)->digest);
        cb_match_take(w->o->match, item);
        return 0;
    }
    struct node *root = CB_NEW(struct node);
    root->item = item;
    r = read_all(w, root, arena, err);
    if (r == 0)
        take_node(w, root);
    else
        node_free(root);
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
    o->match->is_dir = S_ISDIR(at.st.st_mode);
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *inodes = cb_hashmap_new();
    struct walk w = { .o = o, .inodes = inodes, .max_helpers = o->cpu ? cb_pool_threads(o->cpu) - 1 : 0 };
    struct cb_arena arena = { 0 };
    w.n_spare = w.max_helpers;
    w.spare = cb_calloc(w.n_spare + 1, sizeof *w.spare);
    pthread_mutex_init(&w.mu, NULL);
    pthread_cond_init(&w.cond, NULL);
    int r = walk_root(&w, &at, &arena, err);
    cb_match_take_arena(o->match, &arena);
    for (unsigned i = 0; i < w.n_spare; i++)
        cb_match_take_arena(o->match, &w.spare[i]);
    free(w.spare);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.mu);
    return r;
}

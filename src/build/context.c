/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "build/context_match.h"
#include "build/select.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"

struct cb_context {
    int fd;
    char *path;
    const struct cb_df_ignore *ignore;
    pthread_mutex_t mu;
    uint64_t files, bytes;
};

struct cb_context *cb_context_open(const char *path, const struct cb_df_ignore *ignore, struct cb_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        cb_error_sys(err, CB_EUSAGE, errno, "build context %s", path);
        return NULL;
    }
    struct cb_context *c = CB_NEW(struct cb_context);
    c->fd = fd;
    c->path = cb_strdup(path);
    c->ignore = ignore;
    pthread_mutex_init(&c->mu, NULL);
    return c;
}

void cb_context_free(struct cb_context *c)
{
    if (!c)
        return;
    close(c->fd);
    free(c->path);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

int cb_context_fd(const struct cb_context *c)
{
    return c->fd;
}

void cb_context_stats(struct cb_context *c, uint64_t *files, uint64_t *bytes)
{
    pthread_mutex_lock(&c->mu);
    *files = c->files;
    *bytes = c->bytes;
    pthread_mutex_unlock(&c->mu);
}

/* ---- walking ---- */

struct walk {
    struct cb_context *c;
    struct cb_selection *sel;
    size_t match;                       /* index of the match being filled: sel->v may move */
    const struct cb_df_ignore *exclude; /* --exclude: relative to the match, or NULL */
    struct cb_hashmap *inodes;          /* "dev:ino" → index + 1 of the first item, files with several links */
    const struct cb_build_env *env;
};

static int fill_entry(struct cb_entry *e, const struct stat *st, const char *path, struct cb_error *err)
{
    static const struct { mode_t fmt; enum cb_entry_type type; } types[] = {
        { S_IFREG, CB_ENTRY_FILE }, { S_IFDIR, CB_ENTRY_DIR },  { S_IFLNK, CB_ENTRY_SYMLINK },
        { S_IFIFO, CB_ENTRY_FIFO }, { S_IFCHR, CB_ENTRY_CHAR }, { S_IFBLK, CB_ENTRY_BLOCK },
    };
    *e = (struct cb_entry){ .mode = st->st_mode & 07777, .mtime = st->st_mtim.tv_sec };
    for (size_t i = 0; i < CB_COUNTOF(types); i++)
        if ((st->st_mode & S_IFMT) == types[i].fmt)
            e->type = types[i].type;
    if (!e->type)
        return cb_error_set(err, CB_ECONF, "%s: a socket cannot be copied: leave it out with .dockerignore", path);
    if (e->type == CB_ENTRY_FILE)
        e->size = (uint64_t)st->st_size;
    if (e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK) {
        e->dev_major = major(st->st_rdev);
        e->dev_minor = minor(st->st_rdev);
    }
    return 0;
}

static int read_link(int dirfd, const char *name, const char *path, char *buf, struct cb_error *err)
{
    ssize_t n = readlinkat(dirfd, name, buf, CB_MAX_PATH);
    if (n < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read link %s", path);
    buf[n] = '\0';
    return 0;
}

/* A second name of a file that is in the match already becomes a hard link to the first. */
static bool as_hardlink(struct walk *w, const struct stat *st, struct cb_entry *e, size_t *target)
{
    char id[64];
    if (e->type != CB_ENTRY_FILE || st->st_nlink < 2)
        return false;
    snprintf(id, sizeof id, "%llu:%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    struct cb_match *m = &w->sel->v[w->match];
    size_t first = (size_t)(uintptr_t)cb_hashmap_get(w->inodes, id);
    if (!first) {
        cb_hashmap_put(w->inodes, id, (void *)(uintptr_t)(m->n + 1));
        return false;
    }
    e->type = CB_ENTRY_HARDLINK;
    e->link = m->items[first - 1].rel;
    *target = first - 1;
    return true;
}

static int add_item(struct walk *w, int dirfd, const char *name, const char *path, const char *rel, struct cb_error *err)
{
    struct stat st;
    struct cb_entry e;
    char link[CB_MAX_PATH + 1];
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", path);
    int r = fill_entry(&e, &st, path, err);
    if (r == 0 && e.type == CB_ENTRY_SYMLINK) {
        r = read_link(dirfd, name, path, link, err);
        e.link = link;
    }
    if (r < 0)
        return r;
    size_t target = 0;
    (void)as_hardlink(w, &st, &e, &target);
    struct cb_item *it = cb_match_add(&w->sel->v[w->match], rel, &e);
    it->path = cb_strdup(path);
    it->target = target;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_dir(int fd, const char *path, struct cb_strvec *names, struct cb_error *err)
{
    int dup = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dup < 0 ? NULL : fdopendir(dup);
    if (!d) {
        int r = cb_error_sys(err, CB_ELOCAL, errno, "read directory %s", *path ? path : ".");
        cb_close_p(&dup);
        return r;
    }
    for (struct dirent *de; (de = readdir(d));)
        if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
            cb_strvec_push(names, de->d_name);
    closedir(d);
    if (names->n)
        qsort(names->v, names->n, sizeof *names->v, by_name);
    return 0;
}

static void join(struct cb_strbuf *out, const char *dir, const char *name)
{
    cb_strbuf_reset(out);
    if (*dir)
        cb_strbuf_addf(out, "%s/", dir);
    cb_strbuf_adds(out, name);
}

static int walk_dir(struct walk *w, int fd, const char *path, const char *rel, unsigned depth, struct cb_error *err);

/* One child. Directories that are ignored are entered only where a `!` pattern may bring something back; they are then listed
 * only if something below them is. */
static int walk_child(struct walk *w, int fd, const char *path, const char *rel, unsigned depth, struct cb_error *err)
{
    const char *name = cb_path_base(path);
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", path);
    bool left_out = cb_df_ignored(w->c->ignore, path) || cb_df_ignored(w->exclude, rel);
    if (left_out && !(S_ISDIR(st.st_mode) && (cb_df_ignore_may_reinclude(w->c->ignore, path) ||
                                               cb_df_ignore_may_reinclude(w->exclude, rel))))
        return 0;
    size_t before = w->sel->v[w->match].n;
    int r = S_ISSOCK(st.st_mode) ? 0 : add_item(w, fd, name, path, rel, err);
    if (r < 0 || !S_ISDIR(st.st_mode))
        return r;
    cb_autoclose int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory %s", path);
    r = walk_dir(w, sub, path, rel, depth + 1, err);
    struct cb_match *m = &w->sel->v[w->match];
    if (r == 0 && left_out && m->n == before + 1)
        cb_match_pop(m);
    return r;
}

static int walk_dir(struct walk *w, int fd, const char *path, const char *rel, unsigned depth, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strbuf p cb_cleanup_strbuf = CB_STRBUF_INIT, q cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (depth > CB_MAX_TREE_DEPTH)
        return cb_error_set(err, CB_ECONF, "%s: directories too deep", path);
    int r = cb_cancel_check(w->env->cancel, err);
    if (r == 0)
        r = list_dir(fd, path, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        join(&p, path, names.v[i]);
        join(&q, rel, names.v[i]);
        r = walk_child(w, fd, p.buf, q.buf, depth, err);
    }
    return r;
}

static int walk_match(struct walk *w, const char *path, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(w->c->fd, path, O_PATH, 0, CB_RESOLVE_IN_ROOT);
    struct stat st;
    if (fd < 0)
        return cb_error_sys(err, CB_ECONF, -fd, "%s", path);
    if (fstat(fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", path);
    w->sel->v[w->match].is_dir = S_ISDIR(st.st_mode);
    int r = add_item(w, fd, "", path, "", err);
    if (r < 0 || !S_ISDIR(st.st_mode))
        return r;
    cb_autoclose int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory %s", path);
    return walk_dir(w, dir, strcmp(path, ".") ? path : "", "", 0, err);
}

/* ---- hashing ---- */

struct hash_job {
    struct cb_context *c;
    struct cb_item **items;
    size_t n;
    struct hash_group *group;
};

struct hash_group {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    size_t left;
    struct cb_error error;
    const struct cb_cancel *cancel;
};

static int hash_item(struct cb_context *c, struct cb_item *it, struct cb_hasher *h, char *buf, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    int r = cb_context_source(c, it, &src, err);
    uint64_t total = 0;
    for (size_t got = 1; r == 0 && got; total += got) {
        r = cb_blob_read(src, buf, 256u << 10, &got, err);
        if (r == 0)
            cb_hasher_update(h, buf, got);
    }
    cb_hasher_finish(h, &it->e.digest);
    if (r == 0 && total != it->e.size)
        return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", it->path);
    pthread_mutex_lock(&c->mu);
    c->files++;
    c->bytes += total;
    pthread_mutex_unlock(&c->mu);
    return r;
}

static void hash_run_job(void *arg)
{
    struct hash_job *j = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_autofree char *buf = cb_malloc(256u << 10);
    int r = 0;
    for (size_t i = 0; r == 0 && i < j->n; i++) {
        r = cb_cancel_check(j->group->cancel, &e);
        if (r == 0)
            r = hash_item(j->c, j->items[i], h, buf, &e);
    }
    pthread_mutex_lock(&j->group->mu);
    if (r < 0 && !j->group->error.code)
        cb_error_move(&j->group->error, &e);
    if (--j->group->left == 0)
        pthread_cond_signal(&j->group->cond);
    pthread_mutex_unlock(&j->group->mu);
}

#define HASH_BATCH 32

static int hash_all(struct cb_context *c, struct cb_item **items, size_t n, const struct cb_build_env *env, struct cb_error *err)
{
    size_t n_jobs = (n + HASH_BATCH - 1) / HASH_BATCH;
    struct hash_group g = { .left = n_jobs, .cancel = env->cancel };
    if (n == 0)
        return 0;
    struct hash_job *jobs = cb_calloc(n_jobs, sizeof *jobs);
    pthread_mutex_init(&g.mu, NULL);
    pthread_cond_init(&g.cond, NULL);
    for (size_t i = 0; i < n_jobs; i++) {
        jobs[i] = (struct hash_job){ c, items + i * HASH_BATCH, CB_MIN(n - i * HASH_BATCH, (size_t)HASH_BATCH), &g };
        cb_pool_submit(env->cpu, hash_run_job, &jobs[i]);
    }
    pthread_mutex_lock(&g.mu);
    while (g.left)
        pthread_cond_wait(&g.cond, &g.mu);
    pthread_mutex_unlock(&g.mu);
    pthread_cond_destroy(&g.cond);
    pthread_mutex_destroy(&g.mu);
    free(jobs);
    return g.error.code ? cb_error_move(err, &g.error) : 0;
}

/* Hard links share the digest of the file they name. */
static void link_digests(struct cb_match *m)
{
    for (size_t i = 0; i < m->n; i++) {
        struct cb_entry *e = &m->items[i].e;
        if (e->type != CB_ENTRY_HARDLINK)
            continue;
        e->digest = m->items[m->items[i].target].e.digest;
        e->size = m->items[m->items[i].target].e.size;
    }
}

static int hash_selection(struct cb_context *c, struct cb_selection *sel, const struct cb_build_env *env, struct cb_error *err)
{
    struct cb_item **items = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < sel->n; i++)
        for (size_t j = 0; j < sel->v[i].n; j++)
            if (sel->v[i].items[j].e.type == CB_ENTRY_FILE) {
                CB_GROW(items, n, cap);
                items[n++] = &sel->v[i].items[j];
            }
    int r = hash_all(c, items, n, env, err);
    free(items);
    for (size_t i = 0; r == 0 && i < sel->n; i++)
        link_digests(&sel->v[i]);
    return r;
}

/* ---- the whole ---- */

static int select_one(struct walk *w, const char *path, bool wildcard, struct cb_error *err)
{
    const char *name = strcmp(path, ".") ? cb_path_base(path) : "";
    cb_selection_add(w->sel, name, false, wildcard);
    w->match = w->sel->n - 1;
    w->inodes = cb_hashmap_new();
    int r = walk_match(w, path, err);
    cb_hashmap_free(w->inodes);
    return r;
}

int cb_context_select(struct cb_context *c, const struct cb_copy_op *op, const struct cb_build_env *env,
                      struct cb_selection *out, struct cb_error *err)
{
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *exclude = NULL;
    if (op->exclude.n && !(exclude = cb_df_ignore_from_patterns(&op->exclude, err)))
        return -CB_ECONF;
    struct walk w = { .c = c, .sel = out, .exclude = exclude, .env = env };
    for (size_t i = 0; i < op->sources.n; i++) {
        struct cb_strvec paths cb_cleanup_strvec = CB_STRVEC_INIT;
        bool wildcard;
        int r = cb_context_match(c->fd, c->ignore, op->sources.v[i], &paths, &wildcard, err);
        for (size_t k = 0; r == 0 && k < paths.n; k++)
            r = select_one(&w, paths.v[k], wildcard, err);
        if (r < 0)
            return r;
    }
    return hash_selection(c, out, env, err);
}

int cb_context_source(struct cb_context *c, const struct cb_item *it, struct cb_blob_source **out, struct cb_error *err)
{
    enum cb_resolve how = *it->rel ? CB_RESOLVE_BENEATH : CB_RESOLVE_IN_ROOT;
    cb_autoclose int fd = cb_path_openat(c->fd, it->path, O_RDONLY | O_NONBLOCK, 0, how);
    struct stat st;
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", it->path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != it->e.size)
        return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", it->path);
    *out = cb_blob_source_from_fd(CB_TAKE_FD(fd), 0, it->e.size);
    return 0;
}

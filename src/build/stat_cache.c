/* SPDX-License-Identifier: Apache-2.0 */
#include "build/stat_cache.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/vfs.h>

#include "util/alloc.h"
#include "util/timeutil.h"

#define MARGIN (2 * INT64_C(1000000000))
#define IDLE_MAX 16 /* rewrites that an entry lives through without being asked for */
#define SUM_LEN 32

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

struct cb_stat_entry {
    uint64_t ino, size;
    int64_t modified, changed; /* ns: mtime, ctime */
    uint8_t sum[SUM_LEN];
    uint64_t idle; /* rewrites since it was asked for */
};
#define ENTRIES_MAX (CB_STORE_STATS_MAX / sizeof(struct cb_stat_entry))

struct cb_stat_cache {
    struct cb_store *store;
    struct cb_digest key;
    dev_t dev;
    int64_t margin;
    struct cb_strbuf file;
    const struct cb_stat_entry *v; /* in file, by inode */
    size_t n;
    atomic_bool *used;             /* parallel to v */
    pthread_mutex_t mu;            /* of what follows */
    struct cb_stat_entry *fresh;
    size_t n_fresh, cap_fresh;
};

static bool is_known(int dirfd)
{
    static const unsigned known[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
                                      TMPFS_MAGIC };
    struct statfs fs;
    if (fstatfs(dirfd, &fs) < 0)
        return false;
    for (size_t i = 0; i < CB_COUNTOF(known); i++)
        if ((unsigned)fs.f_type == known[i])
            return true;
    return false;
}

static void make_key(struct cb_digest *out, const struct stat *root)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, "cbpush-stats/1");
    cb_hasher_field_u64(h, sizeof(struct cb_stat_entry));
    cb_hasher_field_u64(h, root->st_dev);
    cb_hasher_field_u64(h, root->st_ino);
    cb_hasher_finish(h, out);
}

static void load(struct cb_stat_cache *c)
{
    bool there = cb_store_stats_get(c->store, &c->key, &c->file, NULL) == 0;
    if (there && c->file.len % sizeof *c->v == 0) {
        c->v = (const struct cb_stat_entry *)(const void *)c->file.buf;
        c->n = c->file.len / sizeof *c->v;
    }
    c->used = cb_calloc(c->n + 1, sizeof *c->used);
}

struct cb_stat_cache *cb_stat_cache_open(struct cb_store *store, int dirfd)
{
    struct stat root;
    if (!store || !is_known(dirfd) || fstat(dirfd, &root) < 0)
        return NULL;
    struct cb_stat_cache *c = CB_NEW(struct cb_stat_cache);
    c->store = store;
    c->dev = root.st_dev;
    c->margin = MARGIN;
    c->file = (struct cb_strbuf)CB_STRBUF_INIT;
    pthread_mutex_init(&c->mu, NULL);
    make_key(&c->key, &root);
    load(c);
    return c;
}

void cb_stat_cache_set_margin(struct cb_stat_cache *c, int64_t ns)
{
    c->margin = ns;
}

/* ---- looking up ---- */

static bool in_ns(const struct timespec *t, int64_t *ns)
{
    *ns = 0;
    return !__builtin_mul_overflow((int64_t)t->tv_sec, INT64_C(1000000000), ns) &&
           !__builtin_add_overflow(*ns, (int64_t)t->tv_nsec, ns);
}

/* False for what is never kept. */
static bool take_stat(const struct cb_stat_cache *c, const struct stat *st, struct cb_stat_entry *e)
{
    *e = (struct cb_stat_entry){ .ino = st->st_ino, .size = (uint64_t)st->st_size };
    return S_ISREG(st->st_mode) && st->st_dev == c->dev && in_ns(&st->st_mtim, &e->modified) &&
           in_ns(&st->st_ctim, &e->changed);
}

static bool same(const struct cb_stat_entry *a, const struct cb_stat_entry *b)
{
    return a->ino == b->ino && a->size == b->size && a->modified == b->modified && a->changed == b->changed;
}

static int cmp_ino(const void *a, const void *b)
{
    uint64_t x = ((const struct cb_stat_entry *)a)->ino, y = ((const struct cb_stat_entry *)b)->ino;
    return x < y ? -1 : x > y;
}

/* c->n: none. */
static size_t find(const struct cb_stat_cache *c, const struct cb_stat_entry *e, size_t hint)
{
    if (hint < c->n && c->v[hint].ino == e->ino)
        return hint;
    const struct cb_stat_entry *at = bsearch(e, c->v, c->n, sizeof *c->v, cmp_ino);
    return at ? (size_t)(at - c->v) : c->n;
}

bool cb_stat_cache_get(struct cb_stat_cache *c, const struct stat *st, size_t *hint, struct cb_sum *out)
{
    struct cb_stat_entry e;
    if (!c || !c->n || !take_stat(c, st, &e))
        return false;
    size_t i = find(c, &e, *hint);
    if (i == c->n)
        return false;
    *hint = i + 1;
    if (!same(&c->v[i], &e))
        return false;
    atomic_store_explicit(&c->used[i], true, memory_order_relaxed);
    out->known = true;
    memcpy(out->raw, c->v[i].sum, SUM_LEN);
    return true;
}

/* ---- keeping ---- */

/* A lease that is broken before it is given back is told by SIGURG, which does nothing, in place of SIGIO, which would
 * kill us. */
static bool no_writer(int fd)
{
    if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return false;
    return fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
}

bool cb_stat_cache_watch(const struct cb_stat_cache *c, int fd, struct stat *st)
{
    struct cb_stat_entry e;
    if (!c || fstat(fd, st) < 0 || !take_stat(c, st, &e))
        return false;
    int64_t before = cb_time_now() - c->margin;
    return e.modified < before && e.changed < before && no_writer(fd);
}

void cb_stat_cache_put(struct cb_stat_cache *c, int fd, const struct stat *st, const struct cb_sum *sum)
{
    struct cb_stat_entry was, is;
    struct stat now;
    if (!sum->known || !take_stat(c, st, &was) || fstat(fd, &now) < 0 || !take_stat(c, &now, &is) ||
        !same(&was, &is))
        return;
    memcpy(is.sum, sum->raw, SUM_LEN);
    pthread_mutex_lock(&c->mu);
    if (c->n_fresh < ENTRIES_MAX) {
        CB_GROW(c->fresh, c->n_fresh, c->cap_fresh);
        c->fresh[c->n_fresh++] = is;
    }
    pthread_mutex_unlock(&c->mu);
}

/* ---- the file ---- */

static void add_entry(struct cb_strbuf *out, const struct cb_stat_entry *e)
{
    if (out->len + sizeof *e <= ENTRIES_MAX * sizeof *e)
        cb_strbuf_add(out, e, sizeof *e);
}

static void add_old(const struct cb_stat_cache *c, size_t i, struct cb_strbuf *out)
{
    struct cb_stat_entry e = c->v[i];
    e.idle = c->used[i] ? 0 : e.idle + 1;
    if (e.idle < IDLE_MAX)
        add_entry(out, &e);
}

/* Both sides are in order; of one inode what is new counts, and of that either, for both were seen to be so. */
static void merge(struct cb_stat_cache *c, struct cb_strbuf *out)
{
    size_t i = 0;
    qsort(c->fresh, c->n_fresh, sizeof *c->fresh, cmp_ino);
    for (size_t k = 0; k < c->n_fresh; k++) {
        if (k > 0 && c->fresh[k].ino == c->fresh[k - 1].ino)
            continue;
        for (; i < c->n && c->v[i].ino < c->fresh[k].ino; i++)
            add_old(c, i, out);
        if (i < c->n && c->v[i].ino == c->fresh[k].ino)
            i++;
        add_entry(out, &c->fresh[k]);
    }
    for (; i < c->n; i++)
        add_old(c, i, out);
}

void cb_stat_cache_close(struct cb_stat_cache *c)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!c)
        return;
    if (c->n_fresh) {
        cb_strbuf_reserve(&out, CB_MIN(c->n + c->n_fresh, ENTRIES_MAX) * sizeof *c->v + 256); /* boot id and sum too */
        merge(c, &out);
        /* Without it the next build reads a little more. */
        (void)!cb_store_stats_put(c->store, &c->key, &out, NULL);
    }
    pthread_mutex_destroy(&c->mu);
    cb_strbuf_done(&c->file);
    free(c->used);
    free(c->fresh);
    free(c);
}

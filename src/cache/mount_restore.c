/* SPDX-License-Identifier: Apache-2.0 */
/* A cache directory out of a place. Nothing of it is believed: packs and chunks are verified, the table is one that
 * layers could have, and every path is made and opened below the directory without following links (R1, R2, R11). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zstd.h>

#include "cache/mount_parts.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"
#include "util/path.h"
#include "util/thread.h"

#define WIDTH 4               /* packs at a time */
#define BUF (256u << 10)

/* ---- packs ---- */

struct pack {
    const struct cb_cache_mount *m;
    const struct cache_mount_pack *p;
    bool used;
    int fd;                   /* its bytes, verified; or -1 */
    struct cb_error error;
};

static int copy_pack(struct pack *k, struct cb_error *err)
{
    struct cb_descriptor d = { .media_type = (char *)(uintptr_t)CB_MT_CACHE_MOUNT_PACK, .digest = k->p->digest,
                               .size = k->p->size };
    cb_autosource struct cb_blob_source *src = NULL;
    cb_autofree char *buf = cb_malloc(BUF);
    size_t got = 1;
    int r = k->m->place->ops->blob(k->m->place, &d, &src, err);
    if (r == -CB_ENOTFOUND)
        r = cb_error_set(err, CB_EVERIFY, "it is gone");
    while (r == 0 && got) {
        r = cb_cancel_check(k->m->cancel, err);
        if (r == 0)
            r = cb_blob_read(src, buf, BUF, &got, err);
        if (r == 0)
            r = cb_fd_write_all(k->fd, buf, got, err);
    }
    return r;
}

static void fetch_pack(void *arg)
{
    struct pack *k = arg;
    k->fd = openat(k->m->tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (k->fd < 0)
        cb_error_sys(&k->error, CB_ELOCAL, errno, "make a file for a pack");
    else if (copy_pack(k, &k->error) < 0)
        cb_error_wrap(&k->error, "a pack of chunks");
}

/* ---- the stream ---- */

struct stream {
    const struct cache_mount_index *x;
    struct pack *packs;
    size_t ref;               /* the next one */
    uint8_t *packed, *bytes;  /* of the chunk */
    size_t at, have;
};

static int fetch_packs(struct stream *s, const struct cb_cache_mount *m, struct cb_cache_mount_stats *stats,
                       struct cb_error *err)
{
    int r = 0;
    struct cb_pool *pool = cb_pool_new("cache-mount", WIDTH);
    for (size_t i = 0; i < s->x->n_refs; i++)
        s->packs[s->x->chunks[s->x->refs[i]].pack].used = true;
    for (size_t i = 0; i < s->x->n_packs; i++) {
        struct pack *k = &s->packs[i];
        k->m = m;
        k->p = &s->x->packs[i];
        if (k->used)
            cb_pool_submit(pool, fetch_pack, k);
        stats->moved += k->used ? k->p->size : 0;
    }
    cb_pool_free(pool);
    for (size_t i = 0; r == 0 && i < s->x->n_packs; i++)
        if (s->packs[i].error.code)
            r = cb_error_move(err, &s->packs[i].error);
    return r;
}

static void stream_done(struct stream *s)
{
    for (size_t i = 0; i < s->x->n_packs; i++) {
        cb_close_p(&s->packs[i].fd);
        cb_error_done(&s->packs[i].error);
    }
    free(s->packs);
    free(s->packed);
    free(s->bytes);
}

static int next_chunk(struct stream *s, struct cb_error *err)
{
    const struct cache_mount_chunk *c = &s->x->chunks[s->x->refs[s->ref++]];
    struct cb_digest d;
    size_t got = 0;
    int r = cb_fd_pread_full(s->packs[c->pack].fd, s->packed, c->packed, c->offset, &got, err);
    if (r < 0)
        return r;
    size_t n = ZSTD_decompress(s->bytes, CACHE_CDC_MAX, s->packed, got);
    if (ZSTD_isError(n) || n != c->size)
        return cb_error_set(err, CB_EVERIFY, "a chunk does not unpack to its size");
    cb_digest_of(&d, s->bytes, n);
    if (!cb_digest_eq(&d, &c->digest))
        return cb_error_set(err, CB_EVERIFY, "a chunk is not what its digest says");
    s->at = 0;
    s->have = n;
    return 0;
}

/* All chunks of it are there, as their sizes were added up. */
static int take(struct stream *s, size_t max, const uint8_t **p, size_t *got, struct cb_error *err)
{
    int r = s->at == s->have ? next_chunk(s, err) : 0;
    *p = s->bytes + s->at;
    *got = r < 0 ? 0 : CB_MIN(max, s->have - s->at);
    s->at += *got;
    return r;
}

static int read_table(struct stream *s, struct cb_toc **toc, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = 0;
    while (r == 0 && s->ref < s->x->table_refs) {
        r = next_chunk(s, err);
        if (r == 0)
            cb_strbuf_add(&text, s->bytes, s->have);
    }
    s->at = s->have = 0;
    return r < 0 ? r : cb_toc_parse(toc, text.buf, text.len, err);
}

/* ---- the directory ---- */

struct target {
    const struct cb_cache_mount *m;
    int root;
    const struct cb_toc *toc;
    int at;                   /* the directory that was last used, or -1 */
    struct cb_strbuf at_path;
};

/* What a step may have in a cache, and no more: a link to a file of the same table, files that have their bytes. */
static int check_entry(const struct target *t, const struct cb_entry *e, struct cb_error *err)
{
    const struct cb_entry *to;
    switch (e->type) {
    case CB_ENTRY_DIR:
    case CB_ENTRY_FILE:
    case CB_ENTRY_SYMLINK:
        return 0;
    case CB_ENTRY_HARDLINK:
        to = cb_toc_find(t->toc, e->link);
        if (to && to->type == CB_ENTRY_FILE)
            return 0;
        return cb_error_set(err, CB_EVERIFY, "%s is a link to no file of it", e->path);
    default:
        return cb_error_set(err, CB_EVERIFY, "%s is neither file, directory nor link", e->path);
    }
}

static int check_table(const struct target *t, const struct cache_mount_index *x, struct cb_cache_mount_stats *stats,
                       struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cb_toc_count(t->toc); i++) {
        const struct cb_entry *e = cb_toc_at(t->toc, i);
        r = check_entry(t, e, err);
        stats->files += e->type != CB_ENTRY_DIR;
        stats->bytes += e->type == CB_ENTRY_FILE ? e->size : 0;
        if (r == 0 && (e->size > CB_MAX_CACHE_MOUNT || stats->bytes > CB_MAX_CACHE_MOUNT))
            r = cb_error_set(err, CB_EVERIFY, "its files are larger than may be");
    }
    if (r == 0 && stats->bytes != cache_mount_stream_size(x, x->table_refs))
        r = cb_error_set(err, CB_EVERIFY, "its files have other sizes than its chunks");
    return r;
}

/* The directory of path, held, and the last name. */
static int enter(struct target *t, const char *path, const char **base, struct cb_error *err)
{
    *base = cb_path_base(path);
    size_t len = *base > path ? (size_t)(*base - path) - 1 : 0;
    if (t->at >= 0 && t->at_path.len == len && memcmp(t->at_path.buf, path, len) == 0)
        return 0;
    cb_close_p(&t->at);
    cb_strbuf_reset(&t->at_path);
    cb_strbuf_add(&t->at_path, path, len);
    t->at = cb_path_openat(t->root, t->at_path.buf, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (t->at >= 0)
        return 0;
    int e = -t->at;
    t->at = -1;
    return cb_error_sys(err, e == ENOENT || e == ELOOP || e == ENOTDIR ? CB_EVERIFY : CB_ELOCAL, e, "directory of %s",
                        path);
}

static int set_xattrs(int fd, const struct cb_entry *e, struct cb_error *err)
{
    for (size_t i = 0; i < e->n_xattrs; i++) {
        const struct cb_xattr *x = &e->xattrs[i];
        if (!cb_xattr_allowed(x->name) || !cb_starts_with(x->name, "user.") ||
            fsetxattr(fd, x->name, x->value, x->len, 0) == 0)
            continue;
        if (errno != ENOTSUP && errno != EPERM)
            return cb_error_sys(err, CB_ELOCAL, errno, "set %s of %s", x->name, e->path);
    }
    return 0;
}

/* Of a file or directory that is open. Mounts of steps are nosuid: files have no use for such bits. */
static int set_attributes(const struct target *t, int fd, const struct cb_entry *e, struct cb_error *err)
{
    const struct timespec times[2] = { { .tv_sec = e->mtime }, { .tv_sec = e->mtime } };
    mode_t mode = e->mode & (e->type == CB_ENTRY_FILE ? 0777 : 07777);
    if (!t->m->single_id && fchown(fd, e->uid, e->gid) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "give %s to %u:%u", e->path, e->uid, e->gid);
    int r = set_xattrs(fd, e, err);
    if (r == 0 && (fchmod(fd, mode) < 0 || futimens(fd, times) < 0))
        r = cb_error_sys(err, CB_ELOCAL, errno, "set mode and time of %s", e->path);
    return r;
}

static int make_file(struct target *t, struct stream *s, const struct cb_entry *e, struct cb_error *err)
{
    const char *base = NULL;
    const uint8_t *p = NULL;
    size_t got = 0;
    int r = enter(t, e->path, &base, err);
    if (r < 0)
        return r;
    cb_autoclose int fd = openat(t->at, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s", e->path);
    for (uint64_t left = e->size; r == 0 && left; left -= got) {
        r = take(s, (size_t)CB_MIN(left, (uint64_t)CACHE_CDC_MAX), &p, &got, err);
        if (r == 0)
            r = cb_fd_write_all(fd, p, got, err);
    }
    return r < 0 ? r : set_attributes(t, fd, e, err);
}

static int make_symlink(struct target *t, const struct cb_entry *e, struct cb_error *err)
{
    const struct timespec times[2] = { { .tv_sec = e->mtime }, { .tv_sec = e->mtime } };
    const char *base = NULL;
    int r = enter(t, e->path, &base, err);
    if (r == 0 && (symlinkat(e->link, t->at, base) < 0 ||
                   (!t->m->single_id && fchownat(t->at, base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0) ||
                   utimensat(t->at, base, times, AT_SYMLINK_NOFOLLOW) < 0))
        r = cb_error_sys(err, CB_ELOCAL, errno, "create %s", e->path);
    return r;
}

static int make_entry(struct target *t, struct stream *s, const struct cb_entry *e, struct cb_error *err)
{
    const char *base = NULL;
    int r = cb_cancel_check(t->m->cancel, err);
    if (r < 0 || e->type == CB_ENTRY_HARDLINK)
        return r;
    if (e->type != CB_ENTRY_DIR)
        return e->type == CB_ENTRY_FILE ? make_file(t, s, e, err) : make_symlink(t, e, err);
    r = enter(t, e->path, &base, err);
    return r == 0 && mkdirat(t->at, base, 0700) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "create %s", e->path) : r;
}

static int make_link(struct target *t, const struct cb_entry *e, struct cb_error *err)
{
    const char *base = NULL, *to = NULL;
    int r = enter(t, e->path, &base, err);
    if (r < 0)
        return r;
    cb_autoclose int dir = cb_path_open_parent(t->root, e->link, CB_RESOLVE_NOFOLLOW, &to);
    if (dir < 0 || linkat(dir, to, t->at, base, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, dir < 0 ? -dir : errno, "link %s", e->path);
    return 0;
}

static int finish_dir(struct target *t, const struct cb_entry *e, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(t->root, e->path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", e->path);
    return set_attributes(t, fd, e, err);
}

/* Links name what is there already; directories get their attributes when nothing is made in them any more. */
static int fill(struct target *t, struct stream *s, struct cb_error *err)
{
    int r = 0;
    size_t n = cb_toc_count(t->toc);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = make_entry(t, s, cb_toc_at(t->toc, i), err);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (cb_toc_at(t->toc, i)->type == CB_ENTRY_HARDLINK)
            r = make_link(t, cb_toc_at(t->toc, i), err);
    for (size_t i = n; r == 0 && i-- > 0;)
        if (cb_toc_at(t->toc, i)->type == CB_ENTRY_DIR)
            r = finish_dir(t, cb_toc_at(t->toc, i), err);
    cb_close_p(&t->at);
    cb_strbuf_done(&t->at_path);
    return r;
}

static int set_root(const struct cb_cache_mount *m, int fs_fd, const struct cache_mount_index *x, struct cb_error *err)
{
    if ((!m->single_id && fchown(fs_fd, x->uid, x->gid) < 0) || fchmod(fs_fd, x->mode) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "give the directory to %u:%u", x->uid, x->gid);
    return 0;
}

static int restore(const struct cb_cache_mount *m, int fs_fd, const struct cache_mount_index *x,
                   struct cb_cache_mount_stats *stats, struct cb_error *err)
{
    struct stream s CB_CLEANUP(stream_done) = { .x = x, .packs = cb_calloc(x->n_packs + 1, sizeof *s.packs),
                                                .packed = cb_malloc(CACHE_MOUNT_PACKED_MAX),
                                                .bytes = cb_malloc(CACHE_CDC_MAX) };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    for (size_t i = 0; i < x->n_packs; i++)
        s.packs[i].fd = -1;
    int r = fetch_packs(&s, m, stats, err);
    if (r == 0)
        r = read_table(&s, &toc, err);
    struct target t = { .m = m, .root = fs_fd, .toc = toc, .at = -1, .at_path = CB_STRBUF_INIT };
    if (r == 0)
        r = check_table(&t, x, stats, err);
    if (r == 0)
        r = fill(&t, &s, err);
    return r < 0 ? r : set_root(m, fs_fd, x, err);
}

int cb_cache_mount_restore(const struct cb_cache_mount *m, int fs_fd, struct cb_cache_mount_stats *stats,
                           struct cb_error *err)
{
    struct cache_mount_head h cb_cleanup_mount_head = { 0 };
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    struct cb_digest state;
    *stats = (struct cb_cache_mount_stats){ 0 };
    int r = cache_mount_fetch(m, &h, err);
    if (r == 0 && m->key && !cache_mount_head_verify(m->key, &h))
        r = cb_error_set(err, CB_EVERIFY, "it is not signed by the verify-key");
    if (r == 0)
        r = cache_mount_fetch_index(m, &h, &x, err);
    if (r == 0)
        r = restore(m, fs_fd, &x, stats, err);
    stats->chunks = x.n_chunks;
    if (r == 0 && cache_mount_scan(m, fs_fd, &state, NULL, NULL) == 0)
        cache_mount_remember(m, fs_fd, &h.index, &state);
    return r;
}

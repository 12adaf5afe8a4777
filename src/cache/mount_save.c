/* SPDX-License-Identifier: Apache-2.0 */
/* A cache directory into a place. Chunks that the place has stay in the packs that it has; new ones are packed anew,
 * and only those packs are sent. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "cache/mount_parts.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"
#include "util/thread.h"
#include "util/timeutil.h"

#define LEVEL 3                                /* of zstd */
#define PACK_SIZE (UINT64_C(8) << 20)          /* bytes; of large directories more, so that there are not too many */
#define PACK_SHARE 128                         /* of a directory, at most, in one pack */
#define FEW 16                                 /* small packs that may stand beside large ones */
#define FRESH (INT64_C(24) * 3600 * 1000000000) /* ns: so long a name is good; its age says when it was used last */
#define WIDTH 8

/* A pack that was made here. Uploads have it open as long as the place is. */
struct made {
    struct made *next;
    int fd;
    uint64_t size;
};

struct cb_cache_mount_save {
    struct cb_cache_mount m;
    int fs;
    struct cb_cache_mount_stats stats;
    struct cache_mount_head old_head;          /* index NONE: there is nothing that could be built on */
    struct cache_mount_index old, x;
    struct cb_hashmap *old_chunks, *chunks;    /* digest → position plus one; of old, those that may be used */
    uint32_t *old_packs;                       /* position in x plus one; 0: none yet */
    uint64_t pack_size;
    struct made *made;
    struct cb_hasher *hasher;                  /* of the pack that is being made; NULL: none is */
    ZSTD_CCtx *zstd;
    uint8_t *buf, *packed;                     /* what is not cut yet */
    size_t from, to;
    struct cb_strbuf index;                    /* as it is sent */
    struct cb_digest index_digest, state;
    bool renew;
};

#define BUF (4u * CACHE_CDC_MAX)

/* ---- packs ---- */

static int open_made(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out, struct cb_error *err)
{
    const struct made *k = arg;
    int fd = fcntl(k->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open a pack");
    *out = cb_blob_source_from_fd(fd, 0, k->size);
    return 0;
}

static int add_pack(struct cb_cache_mount_save *s, const struct cache_mount_pack *p, struct made *k,
                    struct cb_error *err)
{
    struct cb_push_blob b = { .desc = { .media_type = (char *)(uintptr_t)CB_MT_CACHE_MOUNT_PACK, .digest = p->digest,
                                        .size = p->size }, .open = k ? open_made : NULL, .arg = k, .fresh = k };
    return s->m.place->ops->add(s->m.place, &b, err);
}

static int begin_pack(struct cb_cache_mount_save *s, struct cb_error *err)
{
    struct made *k = CB_NEW(struct made);
    k->next = s->made;
    s->made = k;
    k->fd = openat(s->m.tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (k->fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a file for a pack");
    s->hasher = cb_hasher_new(CB_DIGEST_SHA256);
    CB_GROW(s->x.packs, s->x.n_packs, s->x.cap_packs);
    s->x.packs[s->x.n_packs++] = (struct cache_mount_pack){ 0 };
    return 0;
}

/* The one that is being made is the last that was begun, but old ones may have come behind it. */
static struct cache_mount_pack *open_pack(struct cb_cache_mount_save *s, uint32_t *at)
{
    for (size_t i = s->x.n_packs; i-- > 0;)
        if (!cb_digest_is_set(&s->x.packs[i].digest)) {
            *at = (uint32_t)i;
            return &s->x.packs[i];
        }
    return NULL;
}

static int end_pack(struct cb_cache_mount_save *s, struct cb_error *err)
{
    uint32_t at = 0;
    struct cache_mount_pack *p = s->hasher ? open_pack(s, &at) : NULL;
    if (!p)
        return 0;
    cb_hasher_finish(s->hasher, &p->digest);
    cb_hasher_free(CB_TAKE(s->hasher));
    p->size = s->made->size;
    s->stats.moved += p->size;
    return add_pack(s, p, s->made, err);
}

static int pack_chunk(struct cb_cache_mount_save *s, const uint8_t *p, struct cache_mount_chunk *c,
                      struct cb_error *err)
{
    size_t n = ZSTD_compressCCtx(s->zstd, s->packed, CACHE_MOUNT_PACKED_MAX, p, c->size, LEVEL);
    if (ZSTD_isError(n))
        return cb_error_set(err, CB_EINTERNAL, "zstd: %s", ZSTD_getErrorName(n));
    int r = s->hasher ? 0 : begin_pack(s, err);
    if (r == 0)
        r = cb_fd_write_all(s->made->fd, s->packed, n, err);
    if (r < 0)
        return r;
    cb_hasher_update(s->hasher, s->packed, n);
    open_pack(s, &c->pack);
    c->offset = s->made->size;
    c->packed = (uint32_t)n;
    s->made->size += n;
    s->stats.chunks_new++;
    return s->made->size < s->pack_size ? 0 : end_pack(s, err);
}

/* ---- chunks ---- */

static size_t position(const struct cb_hashmap *map, const char *hex)
{
    return (size_t)(uintptr_t)cb_hashmap_get(map, hex);
}

static void note(struct cb_hashmap *map, const char *hex, size_t at)
{
    cb_hashmap_put(map, hex, (void *)(uintptr_t)(at + 1));
}

/* The place has it: in which pack. */
static int use_old(struct cb_cache_mount_save *s, size_t at, struct cache_mount_chunk *c, struct cb_error *err)
{
    *c = s->old.chunks[at];
    uint32_t *pack = &s->old_packs[c->pack];
    int r = 0;
    if (!*pack) {
        CB_GROW(s->x.packs, s->x.n_packs, s->x.cap_packs);
        s->x.packs[s->x.n_packs++] = s->old.packs[c->pack];
        *pack = (uint32_t)s->x.n_packs;
        r = add_pack(s, &s->old.packs[c->pack], NULL, err);
    }
    c->pack = *pack - 1;
    return r;
}

static int add_chunk(struct cb_cache_mount_save *s, const uint8_t *p, size_t n, struct cb_error *err)
{
    struct cache_mount_chunk c = { .size = (uint32_t)n };
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&c.digest, p, n);
    size_t at = position(s->chunks, cb_digest_hex(&c.digest, hex));
    if (!at) {
        size_t old = position(s->old_chunks, hex);
        int r = old && s->old.chunks[old - 1].size == n ? use_old(s, old - 1, &c, err) : pack_chunk(s, p, &c, err);
        if (r < 0)
            return r;
        CB_GROW(s->x.chunks, s->x.n_chunks, s->x.cap_chunks);
        s->x.chunks[s->x.n_chunks++] = c;
        at = s->x.n_chunks;
        note(s->chunks, hex, at - 1);
    }
    CB_GROW(s->x.refs, s->x.n_refs, s->x.cap_refs);
    s->x.refs[s->x.n_refs++] = (uint32_t)(at - 1);
    return cb_cancel_check(s->m.cancel, err);
}

/* Cuts as long as a chunk is sure to be whole; at the end all of it. */
static int cut(struct cb_cache_mount_save *s, bool end, struct cb_error *err)
{
    int r = 0;
    while (r == 0 && s->to - s->from >= (end ? 1 : CACHE_CDC_MAX)) {
        size_t n = cache_cdc_cut(s->buf + s->from, s->to - s->from);
        r = add_chunk(s, s->buf + s->from, n, err);
        s->from += n;
    }
    memmove(s->buf, s->buf + s->from, s->to - s->from);
    s->to -= s->from;
    s->from = 0;
    return r;
}

static int feed(struct cb_cache_mount_save *s, const char *p, size_t n, struct cb_error *err)
{
    int r = 0;
    while (r == 0 && n) {
        size_t take = CB_MIN(n, (size_t)BUF - s->to);
        memcpy(s->buf + s->to, p, take);
        s->to += take;
        p += take;
        n -= take;
        r = cut(s, false, err);
    }
    return r;
}

/* ---- the directory ---- */

static int changed(const struct cb_entry *e, struct cb_error *err)
{
    return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read: another build writes to the directory",
                        e->path);
}

static int feed_file(struct cb_cache_mount_save *s, const struct cb_entry *e, struct cb_error *err)
{
    struct stat st;
    bool large = e->size >= CACHE_CDC_MIN; /* has chunks of its own, which are the same wherever it stands */
    cb_autoclose int fd = cb_path_openat(s->fs, e->path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0 && fd != -ENOENT && fd != -ELOOP && fd != -ENOTDIR)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", e->path);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size)
        return changed(e, err);
    int r = large ? cut(s, true, err) : 0;
    for (uint64_t left = e->size; r == 0 && left;) {
        size_t got = 0;
        r = cb_fd_read_full(fd, s->buf + s->to, (size_t)CB_MIN(left, (uint64_t)(BUF - s->to)), &got, err);
        if (r == 0 && got == 0)
            r = changed(e, err);
        s->to += got;
        left -= got;
        if (r == 0)
            r = cut(s, false, err);
    }
    return r == 0 && large ? cut(s, true, err) : r;
}

static int feed_all(struct cb_cache_mount_save *s, const struct cb_toc *toc, struct cb_error *err)
{
    struct cb_strbuf table cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_print(&table, toc);
    if (table.len > CB_MAX_TOC_BLOB)
        return cb_error_set(err, CB_ELOCAL, "it has too many files");
    int r = feed(s, table.buf, table.len, err);
    if (r == 0)
        r = cut(s, true, err);
    s->x.table_refs = s->x.n_refs;
    for (size_t i = 0; r == 0 && i < cb_toc_count(toc); i++)
        if (cb_toc_at(toc, i)->type == CB_ENTRY_FILE)
            r = feed_file(s, cb_toc_at(toc, i), err);
    if (r == 0)
        r = cut(s, true, err);
    return r < 0 ? r : end_pack(s, err);
}

/* ---- what the place has ---- */

struct look {
    struct cb_cache_mount_save *s;
    uint64_t alive;           /* bytes of it that the last save used */
    bool there;
    uint32_t at;
};

static void look(void *arg)
{
    struct look *l = arg;
    const struct cache_mount_pack *p = &l->s->old.packs[l->at];
    struct cb_descriptor d = { .media_type = (char *)(uintptr_t)CB_MT_CACHE_MOUNT_PACK, .digest = p->digest,
                               .size = p->size };
    l->there = l->s->m.place->ops->has(l->s->m.place, &d, NULL) > 0;
}

static bool is_small(const struct cb_cache_mount_save *s, uint64_t size)
{
    return size < s->pack_size / 4;
}

/* A pack that the last save left mostly dead is used no more, nor are small ones when there are many: what of them is
 * still alive is packed anew, out of the directory, which has it all. */
static void choose(struct cb_cache_mount_save *s, struct look *v)
{
    const struct cache_mount_index *old = &s->old;
    size_t small = 0, n = 0;
    for (size_t i = 0; i < old->n_chunks; i++)
        v[old->chunks[i].pack].alive += old->chunks[i].packed;
    for (size_t i = 0; i < old->n_packs; i++)
        small += is_small(s, old->packs[i].size);
    struct cb_pool *pool = cb_pool_new("cache-mount", WIDTH);
    for (size_t i = 0; i < old->n_packs; i++) {
        bool good = v[i].alive >= old->packs[i].size / 2 && (small <= FEW || !is_small(s, old->packs[i].size));
        v[i].s = s;
        v[i].at = (uint32_t)i;
        n += good;
        if (good)
            cb_pool_submit(pool, look, &v[i]);
    }
    cb_pool_free(pool);
    for (size_t i = 0; n + PACK_SHARE + FEW > CACHE_MOUNT_PACKS_MAX && i < old->n_packs; i++)
        v[i].there = false;
}

static void take_old(struct cb_cache_mount_save *s)
{
    const struct cache_mount_index *old = &s->old;
    struct look *v = cb_calloc(old->n_packs + 1, sizeof *v);
    char hex[CB_DIGEST_TEXT_MAX];
    choose(s, v);
    s->old_packs = cb_calloc(old->n_packs + 1, sizeof *s->old_packs);
    for (size_t i = 0; i < old->n_chunks; i++)
        if (v[old->chunks[i].pack].there)
            note(s->old_chunks, cb_digest_hex(&old->chunks[i].digest, hex), i);
    free(v);
}

static bool has_all_packs(struct cb_cache_mount_save *s)
{
    struct look *v = cb_calloc(s->old.n_packs + 1, sizeof *v);
    struct cb_pool *pool = cb_pool_new("cache-mount", WIDTH);
    bool all = true;
    for (size_t i = 0; i < s->old.n_packs; i++) {
        v[i] = (struct look){ .s = s, .at = (uint32_t)i };
        cb_pool_submit(pool, look, &v[i]);
    }
    cb_pool_free(pool);
    for (size_t i = 0; i < s->old.n_packs; i++)
        all = all && v[i].there;
    free(v);
    return all;
}

/* One that is damaged, or that nobody has signed who should have, is not built on. */
static int read_old(struct cb_cache_mount_save *s, struct cb_error *err)
{
    struct cache_mount_head *h = &s->old_head;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cache_mount_fetch(&s->m, h, &e);
    bool none = r == -CB_ENOTFOUND || r == -CB_EVERIFY;
    if (r == 0 && !s->m.anew && (!s->m.key || cache_mount_head_verify(s->m.key, h)))
        return 0;
    cache_mount_head_done(h);
    return r == 0 || none ? 0 : cb_error_move(err, &e);
}

static int read_old_index(struct cb_cache_mount_save *s, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (!cb_digest_is_set(&s->old_head.index))
        return 0;
    int r = cache_mount_fetch_index(&s->m, &s->old_head, &s->old, &e);
    if (r == -CB_EVERIFY || r == -CB_ENOTFOUND) {
        cache_mount_index_done(&s->old);
        s->old_head.index = (struct cb_digest){ 0 };
        r = 0;
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* ---- saving ---- */

static int open_index(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out,
                      struct cb_error *err CB_UNUSED)
{
    const struct cb_cache_mount_save *s = arg;
    *out = cb_blob_source_from_mem(s->index.buf, s->index.len);
    return 0;
}

static int add_index(struct cb_cache_mount_save *s, struct cb_error *err)
{
    cache_mount_index_print(&s->index, &s->x);
    if (s->index.len > CACHE_MOUNT_INDEX_MAX)
        return cb_error_set(err, CB_ELOCAL, "it has too many chunks");
    cb_digest_of(&s->index_digest, s->index.buf, s->index.len);
    struct cb_push_blob b = { .desc = { .media_type = (char *)(uintptr_t)CB_MT_CACHE_MOUNT_INDEX,
                                        .digest = s->index_digest, .size = s->index.len },
                              .open = open_index, .arg = s };
    return s->m.place->ops->add(s->m.place, &b, err);
}

static void count(struct cb_cache_mount_save *s, const struct cb_toc *toc)
{
    for (size_t i = 0; i < cb_toc_count(toc); i++) {
        const struct cb_entry *e = cb_toc_at(toc, i);
        s->stats.files += e->type != CB_ENTRY_DIR;
        s->stats.bytes += e->type == CB_ENTRY_FILE ? e->size : 0;
    }
    s->pack_size = CB_MAX(PACK_SIZE, s->stats.bytes / PACK_SHARE);
}

static int set_root(struct cb_cache_mount_save *s, struct cb_error *err)
{
    struct stat st;
    if (fstat(s->fs, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read a cache directory");
    s->x.mode = st.st_mode & 07777;
    s->x.uid = s->m.single_id ? s->m.uid : st.st_uid;
    s->x.gid = s->m.single_id ? s->m.gid : st.st_gid;
    return 0;
}

static int read_directory(struct cb_cache_mount_save *s, struct cb_error *err)
{
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    int r = cache_mount_scan(&s->m, s->fs, &s->state, &toc, err);
    if (r == 0)
        r = read_old_index(s, err);
    if (r == 0)
        r = set_root(s, err);
    if (r < 0)
        return r;
    count(s, toc);
    take_old(s);
    r = feed_all(s, toc, err);
    s->stats.chunks = s->x.n_chunks;
    return r < 0 ? r : add_index(s, err);
}

/* It is as it was, but its name has not been written for long: with the same index, if the place still has it all. */
static int keep_old(struct cb_cache_mount_save *s, struct cb_error *err)
{
    int r = read_old_index(s, err);
    if (r == 0 && !has_all_packs(s)) {
        cache_mount_index_done(&s->old);
        return read_directory(s, err);
    }
    if (r < 0 || !cb_digest_is_set(&s->old_head.index))
        return r < 0 ? r : read_directory(s, err);
    s->x = s->old;
    s->old = (struct cache_mount_index){ 0 };
    s->stats.files = s->old_head.files;
    s->stats.bytes = s->old_head.bytes;
    s->stats.chunks = s->x.n_chunks;
    for (size_t i = 0; r == 0 && i < s->x.n_packs; i++)
        r = add_pack(s, &s->x.packs[i], NULL, err);
    return r < 0 ? r : add_index(s, err);
}

static int save(struct cb_cache_mount_save *s, struct cb_error *err)
{
    int r = read_old(s, err);
    if (r == 0)
        r = cache_mount_scan(&s->m, s->fs, &s->state, NULL, err);
    if (r < 0)
        return r;
    bool there = cb_digest_is_set(&s->old_head.index);
    s->renew = there && s->old_head.created < cb_time_now() - FRESH;
    if (!there || !cache_mount_is_known(&s->m, s->fs, &s->old_head.index, &s->state))
        return read_directory(s, err);
    s->index_digest = s->old_head.index;
    return s->renew ? keep_old(s, err) : 0;
}

int cb_cache_mount_save(const struct cb_cache_mount *m, int fs_fd, struct cb_cache_mount_save **out,
                        struct cb_error *err)
{
    struct cb_cache_mount_save *s = CB_NEW(struct cb_cache_mount_save);
    s->m = *m;
    s->index = (struct cb_strbuf)CB_STRBUF_INIT;
    s->buf = cb_malloc(BUF);
    s->packed = cb_malloc(CACHE_MOUNT_PACKED_MAX);
    s->zstd = ZSTD_createCCtx();
    s->chunks = cb_hashmap_new();
    s->old_chunks = cb_hashmap_new();
    *out = s;
    s->fs = fcntl(fs_fd, F_DUPFD_CLOEXEC, 3);
    if (s->fs < 0 || !s->zstd)
        return cb_error_sys(err, CB_ELOCAL, s->fs < 0 ? errno : ENOMEM, "read a cache directory");
    return save(s, err);
}

int cb_cache_mount_commit(struct cb_cache_mount_save *s, struct cb_cache_mount_stats *stats, struct cb_error *err)
{
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cache_mount_head h = { .index = s->index_digest, .index_size = s->index.len, .created = cb_time_now(),
                                  .name = (char *)(uintptr_t)s->m.name, .id = (char *)(uintptr_t)s->m.id,
                                  .files = s->stats.files, .bytes = s->stats.bytes };
    bool same = cb_digest_eq(&s->index_digest, &s->old_head.index);
    int r = 0;
    if (!same || s->renew) {
        r = s->m.key ? cache_mount_head_sign(s->m.key, &h, err) : 0;
        if (r == 0) {
            cache_mount_artifact(&a, &h, &s->x);
            r = s->m.place->ops->put(s->m.place, s->m.name, &a, true, err);
        }
    }
    if (r == 0)
        cache_mount_remember(&s->m, s->fs, &s->index_digest, &s->state);
    s->stats.same = same;
    *stats = s->stats;
    return r;
}

void cb_cache_mount_save_free(struct cb_cache_mount_save *s)
{
    if (!s)
        return;
    while (s->made) {
        struct made *k = s->made;
        s->made = k->next;
        cb_close_p(&k->fd);
        free(k);
    }
    cache_mount_head_done(&s->old_head);
    cache_mount_index_done(&s->old);
    cache_mount_index_done(&s->x);
    cb_hashmap_free(s->chunks);
    cb_hashmap_free(s->old_chunks);
    cb_hasher_free(s->hasher);
    ZSTD_freeCCtx(s->zstd);
    cb_strbuf_done(&s->index);
    free(s->old_packs);
    free(s->buf);
    free(s->packed);
    cb_close_p(&s->fs);
    free(s);
}

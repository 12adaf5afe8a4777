/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

#define READ_CHUNK (256u << 10)

char *copy_blob_path(char buf[static 256], const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, 256, "blobs/%s/%s", cb_digest_alg_name(d->alg), cb_digest_hex(d, hex));
    return buf;
}

void copy_files_close(struct copy_files *f)
{
    size_t it = 0;
    const char *key;
    void *value;
    while (f->files && cb_hashmap_next(f->files, &it, &key, &value)) {
        free(((struct copy_file *)value)->link);
        free(value);
    }
    cb_hashmap_free(CB_TAKE(f->files));
    if (f->fd >= 0)
        close(CB_TAKE_FD(f->fd));
}

static struct copy_file *add_file(struct copy_files *f, const struct cb_entry *e)
{
    struct copy_file *one = CB_NEW(struct copy_file), *old;
    *one = (struct copy_file){ .offset = e->offset, .size = e->size, .digest = cb_sum_digest(&e->digest) };
    old = cb_hashmap_put(f->files, e->path, one);
    if (old)
        free(old->link);
    free(old);
    return one;
}

/* Where a link leads, by its text alone: nothing outside of the archive can be meant. NULL: nowhere. */
static char *link_target(const struct cb_entry *e)
{
    struct cb_strbuf dir cb_cleanup_strbuf = CB_STRBUF_INIT, joined cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (e->type == CB_ENTRY_HARDLINK)
        return cb_strdup(e->link);
    cb_strbuf_addch(&dir, '/');
    cb_strbuf_add(&dir, e->path, (size_t)(cb_path_base(e->path) - e->path));
    cb_path_join(&joined, dir.buf, e->link);
    return cb_path_normalize(&normal, joined.buf, joined.len) ? cb_strbuf_detach(&normal, NULL) : NULL;
}

/* ---- a tar ---- */

/* The bytes of the reader's file to the end of the spool. */
static int spool_file(struct copy_files *f, struct cb_layer_reader *r, int spool, struct cb_entry *e,
                      struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_autofree char *buf = cb_malloc(READ_CHUNK);
    off_t at = lseek(spool, 0, SEEK_END);
    int k = at < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "spool") : 0;
    for (size_t got = 1; k == 0 && got > 0;) {
        k = cb_layer_reader_read(r, buf, READ_CHUNK, &got, err);
        if (k == 0 && got > 0) {
            cb_hasher_update(h, buf, got);
            k = cb_fd_write_all(spool, buf, got, err);
        }
    }
    if (k < 0)
        return k;
    e->offset = (uint64_t)at;
    cb_hasher_finish(h, &add_file(f, e)->digest);
    return 0;
}

/* One pass over the archive; spool: where its files go, or -1 where they can be read from the archive itself. */
static int read_entries(struct copy_files *f, struct cb_layer_reader *r, int spool, struct cb_error *err)
{
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    const struct cb_entry *e = NULL;
    struct cb_digest digest;
    uint64_t size = 0;
    int k;
    while ((k = cb_layer_reader_next(r, &e, err)) == 0 && e) {
        struct cb_entry copy = *e;
        if (spool >= 0 && e->type == CB_ENTRY_FILE && (k = spool_file(f, r, spool, &copy, err)) < 0)
            return k;
    }
    if (k == 0)
        k = cb_layer_reader_finish(r, NULL, &digest, &size, &toc, err);
    for (size_t i = 0; k == 0 && i < cb_toc_count(toc); i++) {
        e = cb_toc_at(toc, i);
        if (e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK)
            add_file(f, e)->link = link_target(e);
        else if (e->type == CB_ENTRY_FILE && spool < 0)
            add_file(f, e);
    }
    return k;
}

static bool is_compressed(int fd)
{
    static const struct { const char *magic; size_t n; } kinds[] = {
        { "\x1f\x8b", 2 }, { "\x28\xb5\x2f\xfd", 4 }, { "BZh", 3 }, { "\xfd" "7zXZ", 5 },
    };
    char b[8] = { 0 };
    if (pread(fd, b, sizeof b, 0) != (ssize_t)sizeof b)
        return false;
    bool skippable = (b[0] & 0xf0) == 0x50 && !memcmp(b + 1, "\x2a\x4d\x18", 3); /* zstd's */
    for (size_t i = 0; i < CB_COUNTOF(kinds); i++)
        skippable = skippable || !memcmp(b, kinds[i].magic, kinds[i].n);
    return skippable;
}

static int open_tar(struct copy_files *f, const struct cb_copy_env *env, struct cb_error *err)
{
    cb_autoclose int spool = -1;
    int copy = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open it again");
    struct cb_layer_read_options o = { .source = cb_blob_source_from_fd(copy, 0, UINT64_MAX), .raw_tar_ok = true,
                                       .cancel = env->cancel };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, err);
    if (!reader)
        return -CB_EVERIFY;
    f->files = cb_hashmap_new();
    int r = is_compressed(f->fd) ? cb_store_spool(env->store, &spool, err) : 0;
    if (r == 0)
        r = read_entries(f, reader, spool, err);
    if (r == 0 && spool >= 0) {
        close(f->fd);
        f->fd = CB_TAKE_FD(spool);
    }
    return r;
}

static int open_it(struct copy_files *f, const struct cb_copy_env *env, const char *path, struct cb_error *err)
{
    struct stat st;
    if (!strcmp(path, "-"))
        return cb_error_set(err, CB_EUSAGE, "`cbpush load` reads standard input; a file named - is ./-");
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_EUSAGE : CB_ELOCAL, errno, "open it");
    if (fstat(f->fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat");
    f->dir = S_ISDIR(st.st_mode);
    if (!f->dir && !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EUSAGE, "neither a directory nor a regular file; `cbpush load` reads pipes");
    return f->dir ? 0 : open_tar(f, env, err);
}

int copy_files_open(struct copy_files *f, const struct cb_copy_env *env, const char *path, struct cb_error *err)
{
    *f = (struct copy_files){ .fd = -1 };
    int r = open_it(f, env, path, err);
    if (r < 0) {
        copy_files_close(f);
        cb_error_wrap(err, "%s", path);
    }
    return r;
}

/* ---- one file ---- */

static int open_in_dir(const struct copy_files *f, const char *path, uint64_t *size, struct cb_blob_source **out,
                       struct cb_error *err)
{
    struct stat st;
    cb_autoclose int fd = cb_path_openat(f->fd, path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_BENEATH);
    if (fd == -ENOENT)
        return cb_error_set(err, CB_ENOTFOUND, "there is no %s", path);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EVERIFY, "%s is no regular file", path);
    if (size)
        *size = (uint64_t)st.st_size;
    *out = cb_blob_source_from_fd(CB_TAKE_FD(fd), 0, UINT64_MAX);
    return 0;
}

static const struct copy_file *find(const struct copy_files *f, const char *path)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_path_normalize(&normal, path, strlen(path)))
        return NULL;
    const struct copy_file *one = cb_hashmap_get(f->files, normal.buf);
    for (int i = 0; one && one->link && i < CB_MAX_SYMLINKS; i++)
        one = cb_hashmap_get(f->files, one->link);
    return one && !one->link ? one : NULL;
}

int copy_files_source(const struct copy_files *f, const char *path, uint64_t *size, struct cb_digest *digest,
                      struct cb_blob_source **out, struct cb_error *err)
{
    if (f->dir)
        return open_in_dir(f, path, size, out, err);
    const struct copy_file *one = find(f, path);
    if (!one)
        return cb_error_set(err, CB_ENOTFOUND, "there is no %s", path);
    if (one->offset == UINT64_MAX)
        return cb_error_set(err, CB_EVERIFY, "%s is a sparse member of the archive", path);
    int fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    if (size)
        *size = one->size;
    if (digest)
        *digest = one->digest;
    *out = cb_blob_source_from_fd(fd, one->offset, one->size);
    return 0;
}

int copy_files_text(const struct copy_files *f, const char *path, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    int r = copy_files_source(f, path, NULL, NULL, &src, err);
    return r < 0 ? r : cb_blob_read_all(src, CB_MAX_MANIFEST, out, err);
}

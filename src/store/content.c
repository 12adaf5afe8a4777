/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/limits.h"

#define FLUSH_STEP (8u << 20) /* bytes after which writing back begins, so that the final sync has little left */
#define READ_CHUNK (256u << 10)

struct store_sink {
    struct cb_blob_sink base;
    struct cb_store *store;
    struct cb_tmpfile tmp;
    struct cb_hasher *sha256; /* NULL: who commits knows the digest */
    uint64_t written, flushed;
    bool committed;
};

static int sink_write(struct cb_blob_sink *base, const void *buf, size_t n, struct cb_error *err)
{
    struct store_sink *k = (struct store_sink *)base;
    int r = cb_fd_write_all(k->tmp.fd, buf, n, err);
    if (r < 0) {
        cb_error_wrap(err, "write a blob below %s/tmp", k->store->root);
        return r;
    }
    if (k->sha256)
        cb_hasher_update(k->sha256, buf, n);
    k->written += n;
    if (k->written - k->flushed >= FLUSH_STEP) {
        (void)sync_file_range(k->tmp.fd, (off_t)k->flushed, (off_t)(k->written - k->flushed), SYNC_FILE_RANGE_WRITE);
        k->flushed = k->written;
    }
    return 0;
}

int cb_store_hash_file(int fd, enum cb_digest_alg alg, struct cb_digest *out, struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(alg);
    cb_autofree char *buf = cb_malloc(READ_CHUNK);
    uint64_t off = 0;
    for (;;) {
        size_t got = 0;
        int r = cb_fd_pread_full(fd, buf, READ_CHUNK, off, &got, err);
        if (r < 0)
            return r;
        if (got == 0)
            break;
        cb_hasher_update(h, buf, got);
        off += got;
    }
    cb_hasher_finish(h, out);
    return 0;
}

static int check_written(struct store_sink *k, const struct cb_digest *want, uint64_t size, struct cb_error *err)
{
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    if (!cb_digest_is_set(want))
        return cb_error_set(err, CB_EINTERNAL, "a blob without a digest");
    if (!k->sha256 && size == UINT64_MAX)
        return cb_error_set(err, CB_EINTERNAL, "a blob that is known, without a size");
    if (size != UINT64_MAX && size != k->written)
        return cb_error_set(err, CB_EVERIFY, "blob %s has %llu bytes instead of %llu", cb_digest_text(want, a),
                            (unsigned long long)k->written, (unsigned long long)size);
    if (!k->sha256)
        return 0;
    struct cb_digest have;
    int r = 0;
    if (want->alg == CB_DIGEST_SHA256)
        cb_hasher_finish(k->sha256, &have);
    else
        r = cb_store_hash_file(k->tmp.fd, want->alg, &have, err);
    if (r < 0)
        return r;
    if (!cb_digest_eq(&have, want))
        return cb_error_set(err, CB_EVERIFY, "blob %s: the bytes have the digest %s", cb_digest_text(want, a),
                            cb_digest_text(&have, b));
    return 0;
}

static int sink_commit(struct cb_blob_sink *base, const struct cb_digest *digest, uint64_t size, struct cb_error *err)
{
    struct store_sink *k = (struct store_sink *)base;
    if (k->committed)
        return cb_error_set(err, CB_EINTERNAL, "a blob is committed twice");
    k->committed = true;
    struct cb_span span cb_cleanup_span = cb_span_begin("store", "commit blob");
    cb_span_digest(&span, "digest", digest);
    cb_span_number(&span, "bytes", k->written);
    int r = check_written(k, digest, size, err);
    if (r == 0)
        r = cb_store_hold(k->store, digest, err);
    if (r == 0)
        cb_publish_later(k->store, &k->tmp, digest, k->written);
    return r;
}

static void sink_close(struct cb_blob_sink *base)
{
    struct store_sink *k = (struct store_sink *)base;
    cb_tmpfile_done(&k->tmp);
    cb_hasher_free(k->sha256);
    free(k);
}

static const struct cb_blob_sink_ops sink_ops = { sink_write, sink_commit, sink_close };

static int open_sink(struct cb_store *s, bool known, struct cb_blob_sink **out, struct cb_error *err)
{
    int dir = -1;
    int r = cb_store_tmp_dir(s, &dir, err);
    if (r < 0)
        return r;
    struct cb_tmpfile tmp = CB_TMPFILE_INIT;
    if ((r = cb_tmpfile_open(&tmp, dir, 0600, err)) < 0) {
        cb_error_wrap(err, "%s/tmp", s->root);
        return r;
    }
    struct store_sink *k = CB_NEW(struct store_sink);
    k->base.ops = &sink_ops;
    k->store = s;
    k->tmp = tmp;
    k->sha256 = known ? NULL : cb_hasher_new(CB_DIGEST_SHA256);
    *out = &k->base;
    return 0;
}

int cb_store_blob_sink(struct cb_store *s, struct cb_blob_sink **out, struct cb_error *err)
{
    return open_sink(s, false, out, err);
}

int cb_store_blob_sink_known(struct cb_store *s, struct cb_blob_sink **out, struct cb_error *err)
{
    return open_sink(s, true, out, err);
}

int cb_store_blob_peek(struct cb_store *s, const struct cb_digest *d, int *fd, uint64_t *size, struct cb_error *err)
{
    if (!cb_digest_is_set(d))
        return cb_error_set(err, CB_EINTERNAL, "a blob without a digest");
    char path[CB_STORE_PATH_MAX], text[CB_DIGEST_TEXT_MAX];
    const char *where = cb_store_blob_path(path, d);
    cb_autoclose int f = cb_publish_peek(s, d);
    if (f < 0)
        f = openat(s->root_fd, where, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (f < 0 && errno == ENOENT)
        return cb_error_set(err, CB_ENOTFOUND, "blob %s is not in the store", cb_digest_text(d, text));
    struct stat st;
    if (f < 0 || fstat(f, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path);
    if (!S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EVERIFY, "%s/%s is no regular file", s->root, path);
    *size = (uint64_t)st.st_size;
    *fd = CB_TAKE_FD(f);
    return 0;
}

int cb_store_blob_open(struct cb_store *s, const struct cb_digest *d, int *fd, uint64_t *size, struct cb_error *err)
{
    /* What is not there need not be held; what is there is opened again once gc knows of us. */
    uint64_t n = 0;
    cb_autoclose int probe = -1;
    int r = cb_store_blob_peek(s, d, &probe, &n, err);
    if (r < 0 || (r = cb_store_hold(s, d, err)) < 0)
        return r;
    r = cb_store_blob_peek(s, d, fd, &n, err);
    if (r == 0 && size)
        *size = n;
    return r;
}

int cb_store_blob_source(struct cb_store *s, const struct cb_digest *d, struct cb_blob_source **out,
                         struct cb_error *err)
{
    int fd = -1;
    uint64_t size = 0;
    int r = cb_store_blob_open(s, d, &fd, &size, err);
    if (r < 0)
        return r;
    *out = cb_blob_source_verify(cb_blob_source_from_fd(fd, 0, size), d, size);
    return 0;
}

bool cb_store_blob_has(struct cb_store *s, const struct cb_digest *d, uint64_t *size)
{
    cb_autoclose int fd = -1;
    return cb_store_blob_open(s, d, &fd, size, NULL) == 0;
}

static int stop_at(CB_UNUSED void *arg, CB_UNUSED int dirfd, CB_UNUSED const char *name, struct cb_error *err)
{
    return cb_error_set(err, CB_ELOCAL, "there is one");
}

bool cb_store_has_no_blob(struct cb_store *s)
{
    return !cb_publish_any(s) && cb_store_each(s, "blobs/sha256", stop_at, NULL, NULL) == 0;
}

/* An unchanged build puts what is there: it is read, and written only where it is not sound. */
static bool is_there(struct cb_store *s, const struct cb_digest *d, const void *buf, size_t n)
{
    struct cb_strbuf have cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autoclose int fd = -1;
    uint64_t size = 0;
    if (cb_store_blob_open(s, d, &fd, &size, NULL) < 0 || size != n || cb_fd_slurp(fd, n, &have, NULL) < 0 ||
        have.len != n || memcmp(have.buf, buf, n) != 0)
        return false;
    atomic_store(&s->publishing.met, true);
    return true;
}

static int put_anew(struct cb_store *s, const struct cb_digest *d, const void *buf, size_t n, struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    int r = cb_store_blob_sink(s, &sink, err);
    if (r == 0)
        r = sink->ops->write(sink, buf, n, err);
    return r < 0 ? r : sink->ops->commit(sink, d, n, err);
}

int cb_store_blob_put(struct cb_store *s, const void *buf, size_t n, struct cb_digest *out, struct cb_error *err)
{
    struct cb_digest d;
    cb_digest_of(&d, buf, n);
    int r = is_there(s, &d, buf, n) ? 0 : put_anew(s, &d, buf, n, err);
    if (r == 0 && out)
        *out = d;
    return r;
}

static int check_text(struct cb_store *s, const struct cb_digest *d, const char *p, size_t n, struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(d->alg);
    struct cb_digest have;
    char text[CB_DIGEST_TEXT_MAX];
    cb_hasher_update(h, p, n);
    cb_hasher_finish(h, &have);
    if (cb_digest_eq(&have, d))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "blob %s in the store %s is damaged", cb_digest_text(d, text), s->root);
}

static int slurp_blob(const struct cb_digest *d, int fd, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    int r = cb_fd_slurp(fd, max, out, err);
    if (r < 0)
        cb_error_wrap(err, "blob %s", cb_digest_text(d, text));
    return r;
}

int cb_store_blob_get(struct cb_store *s, const struct cb_digest *d, size_t max, struct cb_strbuf *out,
                      struct cb_error *err)
{
    cb_autoclose int fd = -1;
    int r = cb_store_blob_open(s, d, &fd, NULL, err);
    return r < 0 ? r : cb_store_blob_read(s, d, max, out, err);
}

int cb_store_blob_read(struct cb_store *s, const struct cb_digest *d, size_t max, struct cb_strbuf *out,
                       struct cb_error *err)
{
    cb_autoclose int fd = -1;
    uint64_t size = 0;
    size_t before = out->len;
    int r = cb_store_blob_peek(s, d, &fd, &size, err);
    if (r < 0 || (r = slurp_blob(d, fd, max, out, err)) < 0)
        return r;
    if ((r = check_text(s, d, out->buf + before, out->len - before, err)) < 0)
        cb_strbuf_setlen(out, before);
    return r;
}

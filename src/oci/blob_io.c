/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/blob_io.h"

#include <errno.h>

#include "util/alloc.h"
#include "util/fd.h"

#define COPY_SIZE (256u << 10)

int cb_blob_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    /* A source that answered 0 here would be taken to be at its end. */
    if (!n)
        return cb_error_set(err, CB_EINTERNAL, "read of no bytes");
    return s->ops->read(s, buf, n, got, err);
}

int cb_blob_seek(struct cb_blob_source *s, uint64_t offset, struct cb_error *err)
{
    return s->ops->seek ? s->ops->seek(s, offset, err) : cb_error_set(err, CB_EINTERNAL, "a source that cannot seek");
}

int cb_blob_read_full(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    while (*got < n) {
        size_t part;
        int r = cb_blob_read(s, (char *)buf + *got, n - *got, &part, err);
        if (r < 0)
            return r;
        if (!part)
            break;
        *got += part;
    }
    return 0;
}

int cb_blob_read_all(struct cb_blob_source *s, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    size_t taken = 0;
    for (;;) {
        size_t got;
        cb_strbuf_reserve(out, 16384);
        int r = cb_blob_read(s, out->buf + out->len, 16384, &got, err);
        if (r < 0)
            return r;
        if (!got)
            return 0;
        if (got > max - taken)
            return cb_error_set(err, CB_EVERIFY, "longer than %zu bytes", max);
        taken += got;
        cb_strbuf_setlen(out, out->len + got);
    }
}

int cb_blob_copy(struct cb_blob_source *s, struct cb_blob_sink *to, uint64_t *copied, struct cb_error *err)
{
    cb_autofree char *buf = cb_malloc(COPY_SIZE);
    uint64_t total = 0;
    for (;;) {
        size_t got;
        int r = cb_blob_read(s, buf, COPY_SIZE, &got, err);
        if (r < 0)
            return r;
        if (!got)
            break;
        if ((r = to->ops->write(to, buf, got, err)) < 0)
            return r;
        total += got;
    }
    if (copied)
        *copied = total;
    return 0;
}

int cb_blob_copy_fd(struct cb_blob_source *s, int fd, const struct cb_cancel *cancel, struct cb_error *err)
{
    cb_autofree char *buf = cb_malloc(COPY_SIZE);
    for (;;) {
        size_t got = 0;
        int r = cb_cancel_check(cancel, err);
        if (r < 0 || (r = cb_blob_read(s, buf, COPY_SIZE, &got, err)) < 0)
            return r;
        if (!got)
            return 0;
        if ((r = cb_fd_write_all(fd, buf, got, err)) < 0)
            return r;
    }
}

struct fd_source {
    struct cb_blob_source base;
    int fd;
    uint64_t begin, len; /* of the file; UINT64_MAX: to its end */
    uint64_t offset, left;
};

static int fd_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct fd_source *f = (struct fd_source *)s;
    *got = 0;
    if (f->left < n)
        n = (size_t)f->left;
    if (!n)
        return 0;
    ssize_t r;
    do
        r = pread(f->fd, buf, n, (off_t)f->offset);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read");
    if (!r && f->left != UINT64_MAX)
        return cb_error_set(err, CB_EVERIFY, "the file ends %llu bytes early", (unsigned long long)f->left);
    f->offset += (uint64_t)r;
    if (f->left != UINT64_MAX)
        f->left -= (uint64_t)r;
    *got = (size_t)r;
    return 0;
}

static int fd_seek(struct cb_blob_source *s, uint64_t offset, struct cb_error *err)
{
    struct fd_source *f = (struct fd_source *)s;
    if (f->len != UINT64_MAX && offset > f->len)
        return cb_error_set(err, CB_EINTERNAL, "seek past the end");
    f->offset = f->begin + offset;
    f->left = f->len == UINT64_MAX ? UINT64_MAX : f->len - offset;
    return 0;
}

static void fd_close(struct cb_blob_source *s)
{
    struct fd_source *f = (struct fd_source *)s;
    if (f->fd >= 0)
        close(f->fd);
    free(f);
}

struct cb_blob_source *cb_blob_source_from_fd(int fd, uint64_t offset, uint64_t len)
{
    static const struct cb_blob_source_ops ops = { .read = fd_read, .close = fd_close, .seek = fd_seek };
    struct fd_source *f = CB_NEW(struct fd_source);
    *f = (struct fd_source){ .base = { &ops }, .fd = fd, .begin = offset, .len = len, .offset = offset, .left = len };
    return &f->base;
}

struct mem_source {
    struct cb_blob_source base;
    const char *buf;
    size_t n, at;
};

static int mem_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct mem_source *m = (struct mem_source *)s;
    (void)err;
    *got = CB_MIN(n, m->n - m->at);
    if (*got)
        memcpy(buf, m->buf + m->at, *got);
    m->at += *got;
    return 0;
}

static int mem_seek(struct cb_blob_source *s, uint64_t offset, struct cb_error *err)
{
    struct mem_source *m = (struct mem_source *)s;
    if (offset > m->n)
        return cb_error_set(err, CB_EINTERNAL, "seek past the end");
    m->at = (size_t)offset;
    return 0;
}

static void mem_close(struct cb_blob_source *s)
{
    free(s);
}

struct cb_blob_source *cb_blob_source_from_mem(const void *buf, size_t n)
{
    static const struct cb_blob_source_ops ops = { .read = mem_read, .close = mem_close, .seek = mem_seek };
    struct mem_source *m = CB_NEW(struct mem_source);
    *m = (struct mem_source){ .base = { &ops }, .buf = n ? buf : "", .n = n };
    return &m->base;
}

struct verify_source {
    struct cb_blob_source base;
    struct cb_blob_source *inner;
    struct cb_digest want;
    uint64_t size, seen;
    uint64_t hashed;          /* bytes from the beginning; behind `seen` where some are read again */
    struct cb_hasher *hasher; /* NULL where there is no digest to check, and after the end */
    bool ended;
    struct cb_error failure;  /* said again to who reads on */
};

static int verify_digest(struct verify_source *v, struct cb_error *err)
{
    char want[CB_DIGEST_TEXT_MAX], have[CB_DIGEST_TEXT_MAX];
    struct cb_digest d;
    if (!v->hasher)
        return 0;
    cb_hasher_finish(v->hasher, &d);
    cb_hasher_free(v->hasher);
    v->hasher = NULL;
    if (cb_digest_eq(&d, &v->want))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "the content has digest %s instead of %s", cb_digest_text(&d, have),
                        cb_digest_text(&v->want, want));
}

static int verify_end(struct verify_source *v, struct cb_error *err)
{
    if (v->size != UINT64_MAX && v->seen != v->size)
        return cb_error_set(err, CB_EVERIFY, "ends after %llu bytes instead of %llu", (unsigned long long)v->seen,
                            (unsigned long long)v->size);
    return verify_digest(v, err);
}

static int verify_step(struct verify_source *v, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    /* One byte more than is due shows that there is too much; asking for all of it would be unbounded work. */
    if (v->size != UINT64_MAX && n > v->size - v->seen)
        n = (size_t)(v->size - v->seen) + 1;
    int r = cb_blob_read(v->inner, buf, n, got, err);
    if (r < 0)
        return r;
    if (!*got)
        return verify_end(v, err);
    v->seen += *got;
    if (v->seen > v->size)
        return cb_error_set(err, CB_EVERIFY, "longer than %llu bytes", (unsigned long long)v->size);
    if (v->hasher && v->seen > v->hashed) {
        size_t fresh = (size_t)(v->seen - v->hashed);
        cb_hasher_update(v->hasher, (const char *)buf + (*got - fresh), fresh);
        v->hashed = v->seen;
    }
    /* Who knows how much there is may never ask for more: the last byte goes only when all are right. */
    return v->seen == v->size ? verify_digest(v, err) : 0;
}

static int verify_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct verify_source *v = (struct verify_source *)s;
    *got = 0;
    if (v->failure.code)
        return cb_error_copy(err, &v->failure);
    if (v->ended)
        return 0;
    int r = verify_step(v, buf, n, got, &v->failure);
    if (r < 0) {
        *got = 0;
        if (!v->failure.code) /* the inner source kept silent: success must not come of that */
            cb_error_set(&v->failure, (enum cb_code)-r, "read");
        return cb_error_copy(err, &v->failure);
    }
    v->ended = *got == 0;
    return 0;
}

static int verify_seek(struct cb_blob_source *s, uint64_t offset, struct cb_error *err)
{
    struct verify_source *v = (struct verify_source *)s;
    if (v->failure.code)
        return cb_error_copy(err, &v->failure);
    int r = cb_blob_seek(v->inner, offset, err);
    if (r < 0)
        return r;
    if (offset > v->hashed) {
        cb_hasher_free(v->hasher);
        v->hasher = NULL;
    }
    v->seen = offset;
    v->ended = false;
    return 0;
}

static void verify_close(struct cb_blob_source *s)
{
    struct verify_source *v = (struct verify_source *)s;
    v->inner->ops->close(v->inner);
    cb_hasher_free(v->hasher);
    cb_error_done(&v->failure);
    free(v);
}

struct cb_blob_source *cb_blob_source_verify(struct cb_blob_source *inner, const struct cb_digest *digest,
                                             uint64_t size)
{
    static const struct cb_blob_source_ops ops = { .read = verify_read, .close = verify_close };
    static const struct cb_blob_source_ops seeking = { .read = verify_read, .close = verify_close,
                                                       .seek = verify_seek };
    struct verify_source *v = CB_NEW(struct verify_source);
    v->base.ops = inner->ops->seek ? &seeking : &ops;
    v->inner = inner;
    v->size = size;
    if (digest && cb_digest_is_set(digest)) {
        v->want = *digest;
        v->hasher = cb_hasher_new(digest->alg);
    }
    return &v->base;
}

struct tee_source {
    struct cb_blob_source base;
    struct cb_blob_source *inner;
    struct cb_blob_sink *to;
};

static int tee_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct tee_source *t = (struct tee_source *)s;
    int r = cb_blob_read(t->inner, buf, n, got, err);
    if (r < 0 || !*got)
        return r;
    r = t->to->ops->write(t->to, buf, *got, err);
    if (r < 0)
        *got = 0;
    return r;
}

static void tee_close(struct cb_blob_source *s)
{
    struct tee_source *t = (struct tee_source *)s;
    t->inner->ops->close(t->inner);
    free(t);
}

struct cb_blob_source *cb_blob_source_tee(struct cb_blob_source *inner, struct cb_blob_sink *to)
{
    static const struct cb_blob_source_ops ops = { .read = tee_read, .close = tee_close };
    struct tee_source *t = CB_NEW(struct tee_source);
    *t = (struct tee_source){ .base = { &ops }, .inner = inner, .to = to };
    return &t->base;
}

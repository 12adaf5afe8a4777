/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"
#include "util/fd.h"

/* Table, index and tail, as cb_toc_index_print writes them. Older stores have the table as cb_toc_print writes it, and
 * the 32 raw bytes of its sha256. Tables can be made again from their layers, so they are not synced: after a power cut
 * the sums tell. */
#define SUM_LEN 32
#define TOC_FILE_MAX (2ull << 30)
#define FEW 1024 /* entries: reading them all costs no more than a few look-ups in an index */

int cb_store_toc_put(struct cb_store *s, const struct cb_digest *diff_id, const struct cb_toc *toc,
                     struct cb_error *err)
{
    int r = cb_store_hold(s, diff_id, err);
    if (r < 0)
        return r;
    struct cb_strbuf buf cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_index_print(&buf, toc);
    char path[CB_STORE_PATH_MAX];
    return cb_store_put_file(s, cb_store_toc_path(path, diff_id), (struct cb_slice){ buf.buf, buf.len }, false, err);
}

static int open_toc(struct cb_store *s, const char *path, int *fd, struct cb_error *err)
{
    *fd = openat(s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd >= 0)
        return 0;
    if (errno == ENOENT)
        return cb_error_set(err, CB_ENOTFOUND, "the store has no table of contents %s", path);
    return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path);
}

static int open_held(struct cb_store *s, const struct cb_digest *diff_id, int *fd, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    cb_autoclose int probe = -1;
    int r = open_toc(s, cb_store_toc_path(path, diff_id), &probe, err);
    if (r == 0)
        r = cb_store_hold(s, diff_id, err);
    return r < 0 ? r : open_toc(s, path, fd, err);
}

/* How much of a file is its table; false where it is torn. */
static bool find_table(const struct cb_strbuf *file, size_t *len)
{
    struct cb_digest sum;
    if (cb_toc_index_of(file->buf, file->len, len))
        return true;
    if (file->len < SUM_LEN)
        return false;
    *len = file->len - SUM_LEN;
    cb_digest_of(&sum, file->buf, *len);
    return memcmp(sum.raw, file->buf + *len, SUM_LEN) == 0;
}

/* The bytes of a table, whole; not parsed. */
static int read_toc(struct cb_store *s, const struct cb_digest *diff_id, struct cb_strbuf *out, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    cb_autoclose int fd = -1;
    size_t len;
    int r = open_held(s, diff_id, &fd, err);
    if (r < 0)
        return r;
    cb_store_toc_path(path, diff_id);
    if ((r = cb_fd_slurp(fd, TOC_FILE_MAX, out, err)) < 0) {
        cb_error_wrap(err, "read %s/%s", s->root, path);
        return r;
    }
    if (!find_table(out, &len))
        return cb_error_set(err, CB_ENOTFOUND, "the table of contents %s is torn", path);
    cb_strbuf_setlen(out, len);
    return 0;
}

int cb_store_toc_get(struct cb_store *s, const struct cb_digest *diff_id, struct cb_toc **out, struct cb_error *err)
{
    struct cb_strbuf buf cb_cleanup_strbuf = CB_STRBUF_INIT;
    char path[CB_STORE_PATH_MAX];
    int r = read_toc(s, diff_id, &buf, err);
    if (r < 0)
        return r;
    /* Damaged, or of a format that we do not read: another version made it, ours will replace it. */
    if (cb_toc_parse(out, buf.buf, buf.len, err) < 0) {
        cb_error_wrap(err, "%s/%s", s->root, cb_store_toc_path(path, diff_id));
        if (err)
            err->code = CB_ENOTFOUND;
        return -CB_ENOTFOUND;
    }
    return 0;
}

static int open_index(struct cb_store *s, const struct cb_digest *diff_id, struct cb_toc_index **out,
                      struct cb_error *err)
{
    int fd = -1;
    int r = open_held(s, diff_id, &fd, err);
    return r < 0 ? r : cb_toc_index_open(fd, out, err);
}

int cb_store_toc_open(struct cb_store *s, const struct cb_digest *diff_id, struct cb_lookup_layer *out,
                      struct cb_error *err)
{
    CB_AUTO(cb_toc_index_unref) struct cb_toc_index *x = NULL;
    *out = (struct cb_lookup_layer){ 0 };
    int r = open_index(s, diff_id, &x, NULL);
    if (r == 0 && cb_toc_index_count(x) > FEW) {
        out->index = CB_TAKE(x);
        return 0;
    }
    bool old = r == -CB_EVERIFY;
    r = cb_store_toc_get(s, diff_id, &out->toc, err);
    if (r == 0 && old && cb_store_toc_put(s, diff_id, out->toc, NULL) < 0)
        return 0; /* the next build reads it whole, too */
    return r;
}

int cb_store_toc_pin(struct cb_store *s, const struct cb_digest *diff_id, struct cb_toc_pin *out, struct cb_error *err)
{
    struct cb_strbuf buf cb_cleanup_strbuf = CB_STRBUF_INIT;
    CB_AUTO(cb_toc_index_unref) struct cb_toc_index *x = NULL;
    if (open_index(s, diff_id, &x, NULL) == 0) {
        cb_toc_index_pin(x, out);
        return 0;
    }
    int r = read_toc(s, diff_id, &buf, err);
    if (r == 0 && !cb_toc_is_current(buf.buf, buf.len))
        r = cb_error_set(err, CB_ENOTFOUND, "the table of contents is of another version");
    if (r < 0)
        return r;
    out->size = buf.len;
    cb_digest_of(&out->digest, buf.buf, buf.len);
    return 0;
}

/* Whether the file begins with this table. */
static int check_table(int fd, const struct cb_toc_pin *pin, struct cb_error *err)
{
    char buf[64 << 10];
    struct cb_digest sum;
    size_t got = 1;
    uint64_t at = 0;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    for (; got && at < pin->size; at += got) {
        int r = cb_fd_pread_full(fd, buf, (size_t)CB_MIN(pin->size - at, sizeof buf), at, &got, err);
        if (r < 0)
            return r;
        cb_hasher_update(h, buf, got);
    }
    cb_hasher_finish(h, &sum);
    if (at == pin->size && cb_digest_eq(&sum, &pin->digest))
        return 0;
    return cb_error_set(err, CB_ENOTFOUND, "the store has another table of contents, or a damaged one");
}

/* What pins a table is read from the index alone: a table that is damaged in spite of it is found here, and goes, so
 * that the next build makes it again. */
int cb_store_toc_source(struct cb_store *s, const struct cb_digest *diff_id, const struct cb_toc_pin *pin,
                        struct cb_blob_source **out, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    struct cb_toc_pin claimed;
    cb_autoclose int fd = -1;
    int r = open_held(s, diff_id, &fd, err);
    if (r < 0)
        return r;
    r = check_table(fd, pin, err);
    if (r == -CB_ENOTFOUND && cb_store_toc_pin(s, diff_id, &claimed, NULL) == 0 && cb_toc_pin_eq(&claimed, pin))
        unlinkat(s->root_fd, cb_store_toc_path(path, diff_id), 0);
    if (r == 0)
        *out = cb_blob_source_verify(cb_blob_source_from_fd(CB_TAKE_FD(fd), 0, pin->size), &pin->digest, pin->size);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/path.h"

void cb_import_result_done(struct cb_import_result *r)
{
    for (size_t i = 0; i < r->n; i++) {
        cb_image_done(&r->images[i]);
        free(r->names[i]);
    }
    free(r->images);
    free(r->names);
    *r = (struct cb_import_result){ 0 };
}

void cb_import_add(struct cb_importer *m, struct cb_image *img, const char *name)
{
    struct cb_import_result *o = m->out;
    o->images = cb_reallocarray(o->images, o->n + 1, sizeof *o->images);
    o->names = cb_reallocarray(o->names, o->n + 1, sizeof *o->names);
    o->images[o->n] = *img;
    o->names[o->n++] = cb_strdup_or_null(name);
    *img = (struct cb_image){ 0 };
}

/* ---- the files of a tar ---- */

static void files_free(struct cb_hashmap *files)
{
    size_t it = 0;
    const char *k;
    void *v;
    while (files && cb_hashmap_next(files, &it, &k, &v)) {
        struct cb_import_file *f = v;
        free(f->link);
        free(f);
    }
    cb_hashmap_free(files);
}

static void put_file(struct cb_importer *m, const char *path, struct cb_import_file *f)
{
    struct cb_import_file *old = cb_hashmap_put(m->files, path, f);
    if (old)
        free(old->link);
    free(old);
}

/* Where a link in the archive leads, by its text alone: nothing outside of the archive can be meant. */
static char *link_target(const struct cb_entry *e)
{
    struct cb_strbuf dir cb_cleanup_strbuf = CB_STRBUF_INIT, joined cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (e->type == CB_ENTRY_HARDLINK)
        return cb_strdup(e->link);
    const char *base = cb_path_base(e->path);
    cb_strbuf_addch(&dir, '/');
    cb_strbuf_add(&dir, e->path, (size_t)(base - e->path));
    cb_path_join(&joined, dir.buf, e->link);
    if (!cb_path_normalize(&normal, joined.buf, joined.len))
        return NULL;
    return cb_strbuf_detach(&normal, NULL);
}

const struct cb_import_file *cb_import_find(const struct cb_importer *m, const char *path)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_path_normalize(&normal, path, strlen(path)))
        return NULL;
    const struct cb_import_file *f = cb_hashmap_get(m->files, normal.buf);
    for (int i = 0; f && f->link && i < CB_MAX_SYMLINKS; i++)
        f = cb_hashmap_get(m->files, f->link);
    return f && !f->link ? f : NULL;
}

/* What a blob of an archive is called to people: by the hex in its path, as everywhere; NULL for other files. */
static const char *shown_name(const char *path, char id[static CB_DIGEST_TEXT_MAX])
{
    struct cb_digest d;
    const char *base = cb_path_base(path);
    snprintf(id, CB_DIGEST_TEXT_MAX, "sha256:%.64s", cb_starts_with(path, "blobs/sha256/") ? base : "");
    if (cb_digest_parse(&d, id, NULL) < 0)
        return NULL;
    id[strlen("sha256:") + 12] = '\0';
    return id;
}

/* Before each piece that is taken: what of it is done. id: NULL where nothing is told. */
static int go_on(const struct cb_importer *m, const char *id, uint64_t done, uint64_t total, struct cb_error *err)
{
    if (m->step && id)
        cb_step_status(m->step, id, done, total);
    return cb_cancel_check(m->cancel, err);
}

static void tell_end(const struct cb_importer *m, const char *id)
{
    if (m->step && id)
        cb_step_status_done(m->step, id);
}

/* Every file of the archive becomes a blob of its own digest: what nobody refers to afterwards goes with the next
 * gc. */
static int store_file(struct cb_importer *m, const struct cb_entry *e, struct cb_layer_reader *r, char *buf,
                      struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    char id[CB_DIGEST_TEXT_MAX];
    const char *told = shown_name(e->path, id);
    uint64_t done = 0;
    int k = cb_store_blob_sink_known(m->store, &sink, err);
    for (size_t got = 1; k == 0 && got > 0; done += got) {
        k = cb_layer_reader_read(r, buf, CB_UNPACK_BUF, &got, err);
        if (k == 0 && got > 0) {
            cb_hasher_update(h, buf, got);
            k = sink->ops->write(sink, buf, got, err);
        }
        if (k == 0)
            k = go_on(m, told, done + got, e->size, err);
    }
    if (k < 0)
        return k;
    tell_end(m, told);
    struct cb_import_file *f = CB_NEW(struct cb_import_file);
    cb_hasher_finish(h, &f->digest);
    f->size = e->size;
    put_file(m, e->path, f);
    return sink->ops->commit(sink, &f->digest, e->size, err);
}

static int store_link(struct cb_importer *m, const struct cb_entry *e)
{
    char *target = link_target(e);
    if (!target)
        return 0;
    struct cb_import_file *f = CB_NEW(struct cb_import_file);
    f->link = target;
    put_file(m, e->path, f);
    return 0;
}

static int read_tar(struct cb_importer *m, struct cb_layer_reader *r, struct cb_error *err)
{
    cb_autofree char *buf = cb_malloc(CB_UNPACK_BUF);
    const struct cb_entry *e = NULL;
    for (;;) {
        int k = cb_layer_reader_next(r, &e, err);
        if (k < 0)
            return k;
        if (!e)
            break;
        if (e->type == CB_ENTRY_FILE)
            k = store_file(m, e, r, buf, err);
        else if (e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK)
            k = store_link(m, e);
        if (k < 0) {
            cb_error_wrap(err, "%s", e->path);
            return k;
        }
    }
    struct cb_digest digest;
    uint64_t size = 0;
    return cb_layer_reader_finish(r, NULL, &digest, &size, NULL, err);
}

/* ---- what both kinds of source give ---- */

static int text_of_dir(struct cb_importer *m, const char *path, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(m->dirfd, path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_BENEATH);
    struct stat st;
    if (fd == -ENOENT)
        return cb_error_set(err, CB_ENOTFOUND, "there is no %s", path);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EVERIFY, "%s is no regular file", path);
    return cb_fd_slurp(fd, CB_MAX_MANIFEST, out, err);
}

int cb_import_text(struct cb_importer *m, const char *path, struct cb_strbuf *out, struct cb_error *err)
{
    if (m->dirfd >= 0)
        return text_of_dir(m, path, out, err);
    const struct cb_import_file *f = cb_import_find(m, path);
    if (!f)
        return cb_error_set(err, CB_ENOTFOUND, "there is no %s", path);
    return cb_store_blob_get(m->store, &f->digest, CB_MAX_MANIFEST, out, err);
}

static int copy_from_dir(struct cb_importer *m, const struct cb_descriptor *d, struct cb_error *err)
{
    char path[256], hex[CB_DIGEST_TEXT_MAX];
    snprintf(path, sizeof path, "blobs/%s/%s", cb_digest_alg_name(d->digest.alg), cb_digest_hex(&d->digest, hex));
    int fd = cb_path_openat(m->dirfd, path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_BENEATH);
    struct stat st;
    if (fd < 0)
        return cb_error_sys(err, fd == -ENOENT ? CB_ENOTFOUND : CB_ELOCAL, -fd, "open %s", path);
    cb_autosource struct cb_blob_source *src = cb_blob_source_from_fd(fd, 0, UINT64_MAX);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EVERIFY, "%s is no regular file", path);
    src = cb_blob_source_verify(src, &d->digest, d->size);
    cb_autosink struct cb_blob_sink *sink = NULL;
    cb_autofree char *buf = cb_malloc(CB_UNPACK_BUF);
    char id[CB_DIGEST_TEXT_MAX];
    const char *told = shown_name(path, id);
    uint64_t done = 0;
    int r = cb_store_blob_sink_known(m->store, &sink, err);
    for (size_t got = 1; r == 0 && got > 0; done += got) {
        r = cb_blob_read(src, buf, CB_UNPACK_BUF, &got, err);
        if (r == 0 && got > 0)
            r = sink->ops->write(sink, buf, got, err);
        if (r == 0)
            r = go_on(m, told, done + got, d->size, err);
    }
    if (r < 0)
        return r;
    tell_end(m, told);
    return sink->ops->commit(sink, &d->digest, d->size, err);
}

/* A file of the archive that bears a sha512 in its name is in the store by its sha256 only. */
static int copy_within(struct cb_importer *m, const struct cb_descriptor *d, struct cb_error *err)
{
    char path[256], hex[CB_DIGEST_TEXT_MAX], text[CB_DIGEST_TEXT_MAX];
    snprintf(path, sizeof path, "blobs/%s/%s", cb_digest_alg_name(d->digest.alg), cb_digest_hex(&d->digest, hex));
    const struct cb_import_file *f = cb_import_find(m, path);
    if (!f)
        return cb_error_set(err, CB_ENOTFOUND, "blob %s is not in it", cb_digest_text(&d->digest, text));
    if (f->digest.alg == d->digest.alg)
        return cb_error_set(err, CB_EVERIFY, "%s has other bytes than its name says", path);
    cb_autosource struct cb_blob_source *src = NULL;
    cb_autosink struct cb_blob_sink *sink = NULL;
    cb_autofree char *buf = cb_malloc(CB_UNPACK_BUF);
    int r = cb_store_blob_source(m->store, &f->digest, &src, err);
    if (r == 0)
        r = cb_store_blob_sink(m->store, &sink, err);
    for (size_t got = 1; r == 0 && got > 0;) {
        r = cb_blob_read(src, buf, CB_UNPACK_BUF, &got, err);
        if (r == 0 && got > 0)
            r = sink->ops->write(sink, buf, got, err);
        if (r == 0)
            r = cb_cancel_check(m->cancel, err);
    }
    return r < 0 ? r : sink->ops->commit(sink, &d->digest, d->size, err);
}

int cb_import_blob(struct cb_importer *m, const struct cb_descriptor *d, struct cb_error *err)
{
    uint64_t size = 0;
    char text[CB_DIGEST_TEXT_MAX];
    if (cb_store_blob_has(m->store, &d->digest, &size) && size == d->size)
        return 0;
    if (m->dirfd < 0 && size > 0)
        return cb_error_set(err, CB_EVERIFY, "blob %s has %llu bytes instead of %llu",
                            cb_digest_text(&d->digest, text), (unsigned long long)size, (unsigned long long)d->size);
    return m->dirfd >= 0 ? copy_from_dir(m, d, err) : copy_within(m, d, err);
}

static enum cb_compression compression_of(struct cb_store *s, const struct cb_digest *blob)
{
    cb_autoclose int fd = -1;
    uint8_t b[4] = { 0 };
    if (cb_store_blob_open(s, blob, &fd, NULL, NULL) < 0 || pread(fd, b, sizeof b, 0) != (ssize_t)sizeof b)
        return CB_COMPRESSION_NONE;
    if (b[0] == 0x1f && b[1] == 0x8b)
        return CB_COMPRESSION_GZIP;
    bool skippable = (b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18;
    bool frame = b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd;
    return skippable || frame ? CB_COMPRESSION_ZSTD : CB_COMPRESSION_NONE;
}

int cb_import_layer(struct cb_importer *m, const struct cb_descriptor *d, const struct cb_digest *diff_id,
                    struct cb_error *err)
{
    struct cb_layer_intake in = { .store = m->store, .diff_id = *diff_id, .cancel = m->cancel };
    int r = cb_store_blob_source(m->store, &d->digest, &in.source, err);
    if (r < 0)
        return r;
    struct cb_layer l cb_cleanup_layer = { .diff_id = *diff_id };
    if ((r = cb_image_intake(&in, NULL, &l.size, err)) < 0)
        return r;
    struct cb_layer_encoding e = { .digest = d->digest, .size = d->size, .media_type = d->media_type };
    e.compression = compression_of(m->store, &d->digest);
    if (!e.media_type)
        e.media_type = (char *)(uintptr_t)cb_mt_layer(e.compression, false); /* copied, not kept */
    cb_layer_encoding_annotate(&e, &d->annotations);
    cb_layer_add_encoding(&l, &e);
    cb_strmap_done(&e.annotations);
    return cb_store_layer_put(m->store, &l, err);
}

/* ---- what it is ---- */

static int import_tar(struct cb_importer *m, int fd, struct cb_error *err)
{
    struct cb_layer_read_options o = { .source = cb_blob_source_from_fd(fd, 0, UINT64_MAX), .raw_tar_ok = true,
                                       .cancel = m->cancel };
    int r;
    {
        CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, err);
        if (!reader)
            return -CB_EVERIFY;
        if ((r = read_tar(m, reader, err)) < 0)
            return r;
    }
    if (cb_import_find(m, "index.json"))
        return cb_import_oci(m, err);
    if (cb_import_find(m, "manifest.json"))
        return cb_import_docker(m, err);
    return cb_error_set(err, CB_EVERIFY, "it holds neither index.json nor manifest.json, so it is no image archive");
}

static int import_fd(struct cb_importer *m, int fd /* taken */, struct cb_error *err)
{
    cb_autoclose int f = fd;
    struct stat st;
    if (fstat(f, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat");
    if (!S_ISDIR(st.st_mode))
        return import_tar(m, CB_TAKE_FD(f), err);
    m->dirfd = f;
    return cb_import_oci(m, err);
}

/* A pipe is read into an unlinked file of the store first: archives name things before they have them. */
static int make_seekable(const struct cb_import_options *o, int *fd, struct cb_error *err)
{
    struct cb_input input = { *fd, o->cancel };
    cb_autoclose int spool = -1;
    uint64_t copied = 0;
    if (lseek(*fd, 0, SEEK_CUR) >= 0 || errno != ESPIPE)
        return 0;
    int r = cb_store_spool(o->store, &spool, err);
    if (r == 0)
        r = cb_input_copy(&input, spool, UINT64_MAX, &copied, err);
    if (r == 0 && lseek(spool, 0, SEEK_SET) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "spool standard input");
    if (r < 0)
        return r;
    close(*fd);
    *fd = CB_TAKE_FD(spool);
    return 0;
}

int cb_image_import(const struct cb_import_options *o, struct cb_import_result *out, struct cb_error *err)
{
    const char *path = o->path;
    *out = (struct cb_import_result){ 0 };
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_EUSAGE : CB_ELOCAL, errno, "open %s",
                            standard_input ? "standard input" : path);
    struct cb_importer m = { .store = o->store, .dirfd = -1, .cancel = o->cancel, .step = o->step, .out = out };
    m.files = cb_hashmap_new();
    int r = make_seekable(o, &fd, err);
    if (r == 0)
        r = import_fd(&m, fd, err);
    else
        close(fd);
    files_free(m.files);
    if (r < 0) {
        cb_import_result_done(out);
        cb_error_wrap(err, "import %s", standard_input ? "standard input" : path);
    }
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edit/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/path.h"

void cb_edit_layer_done(struct cb_edit_layer *l)
{
    cb_descriptor_done(&l->desc);
    cb_close_p(&l->fd);
    free(l->name);
}

/* ---- the file ---- */

static int open_input(const struct cb_edit_env *env, const char *path, int *fd, struct cb_error *err)
{
    struct stat st;
    uint64_t copied;
    if (!strcmp(path, "-")) {
        struct cb_input input = { STDIN_FILENO, env->cancel };
        int r = cb_store_spool(env->store, fd, err);
        return r < 0 ? r : cb_input_copy(&input, *fd, UINT64_MAX, &copied, err);
    }
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, &st) < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_EUSAGE : CB_ELOCAL, errno, "open");
    return S_ISREG(st.st_mode) ? 0 : cb_error_set(err, CB_EUSAGE, "it is no regular file (- is standard input)");
}

int cb_edit_compression(const uint8_t *b, size_t n)
{
    if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
        return CB_COMPRESSION_GZIP;
    if (n >= 4 && b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd)
        return CB_COMPRESSION_ZSTD;
    return CB_COMPRESSION_NONE;
}

static int sniff(int fd, enum cb_compression *out, struct cb_error *err)
{
    uint8_t b[4] = { 0 };
    size_t got = 0;
    int r = cb_fd_pread_full(fd, b, sizeof b, 0, &got, err);
    *out = (enum cb_compression)cb_edit_compression(b, got);
    return r;
}

static struct cb_blob_source *source_of(int fd, struct cb_error *err)
{
    int dup = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (dup < 0)
        cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    return dup < 0 ? NULL : cb_blob_source_from_fd(dup, 0, UINT64_MAX);
}

/* Whether it is a layer that everybody can unpack, by the rules for layers; its table is kept. */
static int check_layer(const struct cb_edit_env *env, int fd, struct cb_digest *diff_id, struct cb_error *err)
{
    struct cb_layer_read_options o = { .source = source_of(fd, err), .cancel = env->cancel };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = o.source ? cb_layer_reader_new(&o, err) : NULL;
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    int r = reader ? cb_layer_reader_finish(reader, NULL, diff_id, NULL, &toc, err) : -CB_EVERIFY;
    return r < 0 ? r : cb_store_toc_put(env->store, diff_id, toc, err);
}

int cb_edit_hash_file(int fd, const struct cb_cancel *cancel, struct cb_digest *digest, uint64_t *size,
                      struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = source_of(fd, err);
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    size_t cap = 256u << 10;
    cb_autofree char *buf = cb_malloc(cap);
    int r = src ? 0 : -CB_ELOCAL;
    *size = 0;
    for (size_t got = 1; r == 0 && got;) {
        r = cb_cancel_check(cancel, err);
        if (r == 0)
            r = cb_blob_read(src, buf, cap, &got, err);
        if (r == 0) {
            cb_hasher_update(h, buf, got);
            *size += got;
        }
    }
    cb_hasher_finish(h, digest);
    return r;
}

/* Into the store: it may be larger than memory, and its digest is not known before its end. */
static int compress(const struct cb_edit_env *env, struct cb_edit_layer *l, struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    cb_autosource struct cb_blob_source *tar = source_of(l->fd, err);
    struct cb_layer made cb_cleanup_layer = { 0 };
    int r = tar ? cb_store_blob_sink_known(env->store, &sink, err) : -CB_ELOCAL;
    if (r < 0)
        return r;
    struct cb_layer_write_options o = { .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT }, .pool = env->cpu,
                                        .sink = sink, .cancel = env->cancel };
    r = cb_layer_compress(tar, &o, &made, err);
    if (r == 0 && !cb_digest_eq(&made.diff_id, &l->diff_id))
        r = cb_error_set(err, CB_ELOCAL, "it changed while it was read");
    if (r < 0)
        return r;
    l->desc.media_type = cb_strdup(made.encodings[0].media_type);
    l->desc.digest = made.encodings[0].digest;
    l->desc.size = made.encodings[0].size;
    cb_close_p(&l->fd);
    l->fd = -1;
    return cb_store_layer_put(env->store, &made, err);
}

static int read_layer(const struct cb_edit_env *env, const char *path, struct cb_edit_layer *l, struct cb_error *err)
{
    int r = open_input(env, path, &l->fd, err);
    enum cb_compression c = CB_COMPRESSION_NONE;
    if (r == 0)
        r = sniff(l->fd, &c, err);
    if (r == 0 && (r = check_layer(env, l->fd, &l->diff_id, err)) < 0)
        return cb_error_wrap(err, "it is no layer (a tar, plain, by gzip or by zstd)");
    if (r < 0)
        return r;
    if (c == CB_COMPRESSION_NONE)
        return compress(env, l, err);
    l->desc.media_type = cb_strdup(cb_mt_layer(c, false));
    return cb_edit_hash_file(l->fd, env->cancel, &l->desc.digest, &l->desc.size, err);
}

int cb_edit_layer_read(const struct cb_edit_env *env, const char *path, struct cb_edit_layer *out,
                       struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    *out = (struct cb_edit_layer){ .fd = -1, .name = cb_strdup(cb_path_base(path)) };
    int r = read_layer(env, path, out, &e);
    if (r < 0) {
        cb_edit_layer_done(out);
        *out = (struct cb_edit_layer){ .fd = -1 };
        cb_error_wrap(&e, "%s", path);
        return cb_error_move(err, &e);
    }
    return 0;
}

/* ---- the image ---- */

int cb_edit_draft_add(struct cb_edit_draft *d, const struct cb_descriptor *layer, const struct cb_digest *diff_id,
                      struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    json_t *layers = json_object_get(d->manifest, "layers");
    json_t *ids = json_object_get(json_object_get(d->config, "rootfs"), "diff_ids");
    bool docker = cb_mt_is_docker(json_string_value(json_object_get(d->manifest, "mediaType")));
    int c = cb_mt_layer_compression(layer->media_type);
    if (!json_is_array(layers) || !json_is_array(ids) || c < 0)
        return cb_error_set(err, CB_EVERIFY, "its layers and diff_ids are no lists");
    cb_descriptor_copy(&desc, layer);
    free(desc.media_type);
    desc.media_type = cb_strdup(cb_mt_layer((enum cb_compression)c, docker));
    json_array_append_new(layers, cb_descriptor_to_json(&desc));
    json_array_append_new(ids, cb_json_string(cb_digest_text(diff_id, text)));
    return 0;
}

/* An image without history stays so: with one entry it would be of all layers but one. */
static void add_history(struct cb_edit_draft *d, const char *created, const char *by)
{
    if (json_array_size(json_object_get(d->config, "history")) || !d->old->image.config.n_diff_ids)
        cb_edit_history_add(d->config, created, by, NULL);
    if (created)
        cb_json_put(d->config, "created", cb_json_string(created));
}

int cb_edit_append(struct cb_edit_draft *d, const struct cb_edit_layer *l, const char *created, struct cb_error *err)
{
    cb_autofree char *by = cb_asprintf("cbpush append %s", l->name);
    int r = cb_edit_draft_add(d, &l->desc, &l->diff_id, err);
    if (r < 0)
        return r;
    add_history(d, created, by);
    if (l->fd < 0) {
        cb_edit_plan_stored(d->plan, &l->desc);
        return 0;
    }
    int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    cb_edit_plan_file(d->plan, &l->desc, fd);
    return 0;
}

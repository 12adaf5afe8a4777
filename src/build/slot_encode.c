/* SPDX-License-Identifier: Apache-2.0 */
#include "build/failed.h"
#include "build/slot_private.h"
#include "util/alloc.h"
#include "util/fd.h"

/* A parent's layer stays as its manifest has it, unless all are to be converted; one that is to be had elsewhere (its
 * media type says so) always does. Of any other one that is nowhere any more can be made again. */
static bool serves(const struct cb_slot *s, const struct cb_format *f, const struct cb_layer_encoding *e)
{
    bool elsewhere = e->media_type && cb_mt_is_foreign_layer(e->media_type);
    if (s->parent && (!s->owner->converts || elsewhere))
        return cb_digest_eq(&e->digest, &s->manifest_digest);
    return cb_layer_encoding_serves(e, f) && cb_slot_encoding_there(s, &s->layer, e);
}

bool cb_slot_encoding_known(struct cb_slot *s, const struct cb_format *f, struct cb_layer_encoding *out)
{
    bool found = false;
    pthread_mutex_lock(&s->mu);
    for (size_t i = 0; !found && i < s->layer.n_encodings; i++) {
        const struct cb_layer_encoding *e = &s->layer.encodings[i];
        found = serves(s, f, e);
        if (found)
            cb_layer_encoding_copy(out, e);
    }
    pthread_mutex_unlock(&s->mu);
    return found;
}

void cb_slot_name(struct cb_slot *s, const struct cb_digest *blob)
{
    pthread_mutex_lock(&s->mu);
    s->named = *blob;
    s->have &= ~(unsigned)CB_NEED_BLOB;
    pthread_mutex_unlock(&s->mu);
}

/* ---- another encoding ---- */

struct reader_source {
    struct cb_blob_source base;
    struct cb_layer_reader *reader;
};

static int reader_pull(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    return cb_layer_reader_read(((struct reader_source *)b)->reader, buf, n, got, err);
}

static void reader_pull_close(struct cb_blob_source *b CB_UNUSED)
{
}

static int copy_entries(struct cb_layer_reader *reader, struct cb_layer_writer *w, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { reader_pull, reader_pull_close };
    struct reader_source pull = { { &ops }, reader };
    const struct cb_entry *e;
    int r;
    while ((r = cb_layer_reader_next(reader, &e, err)) == 0 && e) {
        r = cb_layer_writer_add(w, e, e->type == CB_ENTRY_FILE ? &pull.base : NULL, err);
        if (r < 0)
            return r;
    }
    return r;
}

/* Every tar of ours is written by one writer: reading its entries back and writing them again gives the same tar. */
int cb_slot_transcode(struct cb_slot *s, const struct cb_layer_write_options *wo, struct cb_layer *out,
                      struct cb_toc **toc, struct cb_error *err)
{
    struct cb_layer from cb_cleanup_layer = { 0 };
    cb_slot_layer(s, &from);
    const struct cb_layer_encoding *e = cb_slot_any_encoding(s, &from);
    struct cb_layer_read_options ro = { .cancel = s->env->cancel };
    int r = e ? cb_slot_open_blob(s, &from, e, &ro.source, err)
              : cb_error_set(err, CB_ENOTFOUND, "no blob of it is known");
    if (r < 0)
        return r;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return cb_failed(err);
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(wo, err);
    if (!w)
        return cb_failed(err);
    r = copy_entries(reader, w, err);
    if (r == 0)
        r = cb_layer_reader_finish(reader, &from.diff_id, NULL, NULL, NULL, err);
    return r < 0 ? r : cb_layer_writer_finish(w, out, toc, err);
}

/* ---- a tar that others wrote, byte for byte ---- */

static int write_tar(struct cb_slot *s, int fd, struct cb_error *err)
{
    struct cb_layer from cb_cleanup_layer = { 0 };
    cb_slot_layer(s, &from);
    const struct cb_layer_encoding *e = cb_slot_any_encoding(s, &from);
    struct cb_layer_intake in = { .store = s->env->store, .diff_id = from.diff_id, .cancel = s->env->cancel };
    int r = e ? cb_slot_open_blob(s, &from, e, &in.source, err)
              : cb_error_set(err, CB_ENOTFOUND, "no blob of it is known");
    return r < 0 ? r : cb_image_layer_tar(&in, fd, err);
}

static int encode_tar(struct cb_slot *s, const struct cb_layer_write_options *wo, struct cb_layer *out,
                      struct cb_error *err)
{
    cb_autoclose int fd = -1;
    int r = cb_store_spool(s->env->store, &fd, err);
    if (r == 0)
        r = write_tar(s, fd, err);
    if (r < 0)
        return r;
    cb_autosource struct cb_blob_source *tar = cb_blob_source_from_fd(CB_TAKE_FD(fd), 0, UINT64_MAX);
    return cb_layer_compress(tar, wo, out, err);
}

static int make_encoding(struct cb_slot *s, const struct cb_format *f, struct cb_error *err)
{
    struct cb_layer made cb_cleanup_layer = { 0 };
    cb_autosink struct cb_blob_sink *sink = NULL;
    int r = cb_store_blob_sink_known(s->env->store, &sink, err);
    if (r < 0)
        return r;
    struct cb_layer_write_options wo = { .format = *f, .pool = s->env->cpu, .sink = sink,
                                         .clamp_mtime = INT64_MAX, .cancel = s->env->cancel };
    r = cb_slot_is_parent(s) ? encode_tar(s, &wo, &made, err) : cb_slot_transcode(s, &wo, &made, NULL, err);
    if (r < 0)
        return r;
    if (!cb_digest_eq(&made.diff_id, cb_slot_diff_id(s)))
        return cb_error_set(err, CB_EINTERNAL, "it changed on the way");
    pthread_mutex_lock(&s->mu);
    cb_layer_add_encoding(&s->layer, &made.encodings[0]);
    pthread_mutex_unlock(&s->mu);
    return cb_store_layer_put(s->env->store, &made, err);
}

int cb_slot_encoding(struct cb_slot *s, const struct cb_format *f, struct cb_layer_encoding *out,
                     struct cb_error *err)
{
    char id[32];
    if (cb_slot_encoding_known(s, f, out))
        return 0;
    cb_slot_short_digest(id, cb_slot_diff_id(s));
    struct cb_span span cb_cleanup_span = cb_span_begin("compress", "compress layer again");
    cb_span_digest(&span, "diff_id", cb_slot_diff_id(s));
    int r = make_encoding(s, f, err);
    if (r == 0 && !cb_slot_encoding_known(s, f, out))
        r = cb_error_set(err, CB_EINTERNAL, "its new encoding is not found");
    if (r < 0)
        cb_error_wrap(err, "compress layer %s again", id);
    return r;
}

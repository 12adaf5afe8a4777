/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/chunked.h"
#include "layer/layer.h"
#include "layer/tar.h"
#include "util/alloc.h"
#include "util/limits.h"

struct cb_layer_writer {
    struct cb_layer_write_options o;
    struct cb_block_pipe *pipe;
    struct cb_chunked *chunked; /* or NULL */
    struct cb_hasher *diff_hasher, *file_hasher;
    struct cb_toc_builder *builder;
    struct cb_strbuf scratch;   /* headers, then the bytes of an inline file */
    uint64_t written;
    uint64_t toc_offset;        /* of an eStargz table in the blob, and its digest */
    struct cb_digest toc_digest;
    bool broken;                /* a call failed half way, or finish was called */
};

void cb_layer_writer_free(struct cb_layer_writer *w)
{
    if (!w)
        return;
    cb_block_pipe_free(w->pipe);
    cb_chunked_free(w->chunked);
    cb_hasher_free(w->diff_hasher);
    cb_hasher_free(w->file_hasher);
    cb_toc_builder_free(w->builder);
    cb_strbuf_done(&w->scratch);
    free(w);
}

uint64_t cb_layer_writer_written(const struct cb_layer_writer *w)
{
    return w->written;
}

static void keep_tar(struct cb_layer_writer *w, const uint8_t *buf, size_t n)
{
    if (!w->o.tar)
        return;
    if (n <= w->o.tar_max - w->o.tar->len)
        cb_strbuf_add(w->o.tar, (const char *)buf, n);
    else
        cb_strbuf_done(CB_TAKE(w->o.tar));
}

static int commit(struct cb_layer_writer *w, const uint8_t *buf, size_t n, struct cb_error *err)
{
    cb_hasher_update(w->diff_hasher, buf, n);
    keep_tar(w, buf, n);
    w->written += n;
    return cb_block_pipe_commit(w->pipe, n, err);
}

/* p NULL: zeros. */
static int put(struct cb_layer_writer *w, const void *p, size_t n, struct cb_error *err)
{
    uint8_t *buf;
    size_t room;
    for (size_t done = 0; done < n; done += room) {
        int r = cb_block_pipe_room(w->pipe, &buf, &room, err);
        if (r < 0)
            return r;
        room = CB_MIN(room, n - done);
        if (p)
            memcpy(buf, (const char *)p + done, room);
        else
            memset(buf, 0, room);
        if ((r = commit(w, buf, room, err)) < 0)
            return r;
    }
    return 0;
}

static int changed(struct cb_error *err)
{
    return cb_error_set(err, CB_ELOCAL, "changed while being read");
}

static void take_data(struct cb_layer_writer *w, const uint8_t *buf, size_t n, bool keep)
{
    cb_hasher_update(w->file_hasher, buf, n);
    if (w->chunked)
        cb_chunked_data(w->chunked, buf, n);
    if (keep)
        cb_strbuf_add(&w->scratch, buf, n);
}

/* Straight from the source into the block that will be compressed. */
static int copy_data(struct cb_layer_writer *w, uint64_t size, bool keep, struct cb_blob_source *data,
                     struct cb_error *err)
{
    uint8_t *buf;
    size_t room, got;
    uint64_t chunk = w->chunked ? 0 : size; /* what is left of it */
    while (size) {
        int r = cb_cancel_check(w->o.cancel, err);
        if (r == 0 && !chunk) {
            chunk = CB_MIN(size, (uint64_t)CB_CHUNK);
            r = cb_chunked_begin_chunk(w->chunked, w->pipe, (size_t)chunk, err);
        }
        if (r < 0 || (r = cb_block_pipe_room(w->pipe, &buf, &room, err)) < 0)
            return r;
        if ((r = cb_blob_read(data, buf, (size_t)CB_MIN((uint64_t)room, chunk), &got, err)) < 0)
            return r;
        if (!got)
            return changed(err);
        take_data(w, buf, got, keep);
        size -= got;
        chunk -= got;
        if ((r = commit(w, buf, got, err)) < 0)
            return r;
    }
    return 0;
}

static int put_file(struct cb_layer_writer *w, struct cb_entry *e, struct cb_blob_source *data, struct cb_error *err)
{
    char more;
    size_t got = 0;
    struct cb_digest sum;
    bool keep = cb_toc_wants_inline(e->path, e->size);
    if (!data && e->size)
        return cb_error_set(err, CB_EINTERNAL, "no data");
    e->offset = w->written;
    cb_strbuf_reset(&w->scratch);
    int r = copy_data(w, e->size, keep, data, err);
    if (r == 0 && data)
        r = cb_blob_read(data, &more, 1, &got, err);
    if (r < 0)
        return r;
    if (got)
        return changed(err);
    cb_hasher_finish(w->file_hasher, &sum);
    cb_sum_take(&e->digest, &sum);
    e->inline_data = keep ? w->scratch.buf : NULL;
    return 0;
}

/* A link shows the attributes of what it is a link to, and that must be in this layer already. */
static int take_inode(struct cb_layer_writer *w, struct cb_entry *e, struct cb_error *err)
{
    const struct cb_entry *to = e->link ? cb_toc_builder_find(w->builder, e->link) : NULL;
    if (!to || to->type != CB_ENTRY_FILE)
        return cb_error_set(err, CB_EINTERNAL, "hard link to %s, which is no file of this layer so far",
                            e->link ? e->link : "nothing");
    const char *path = e->path, *link = e->link;
    *e = *to;
    e->path = path;
    e->link = link;
    e->type = CB_ENTRY_HARDLINK;
    e->inline_data = NULL;
    return 0;
}

static int check_parent(const struct cb_layer_writer *w, const char *path, struct cb_error *err)
{
    const char *slash = strrchr(path, '/');
    cb_autofree char *dir = slash ? cb_strndup(path, (size_t)(slash - path)) : NULL;
    const struct cb_entry *e = dir ? cb_toc_builder_find(w->builder, dir) : NULL;
    if (e && e->type != CB_ENTRY_DIR)
        return cb_error_set(err, CB_EINTERNAL, "%s is no directory in this layer", dir);
    return 0;
}

static uint32_t allowed_xattrs(const struct cb_entry *e, struct cb_xattr *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < e->n_xattrs && n < CB_MAX_XATTRS; i++)
        if (cb_xattr_allowed(e->xattrs[i].name))
            out[n++] = e->xattrs[i];
    return n;
}

static int check_chunked(const struct cb_layer_writer *w, const struct cb_entry *e, struct cb_error *err)
{
    bool mark = e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE;
    if (!w->chunked)
        return 0;
    if (!mark && cb_toc_builder_find(w->builder, e->path))
        return cb_error_set(err, CB_EINTERNAL, "twice in a chunked layer");
    return cb_chunked_check(w->chunked, e, err);
}

/* Its header is in scratch. */
static int write_entry(struct cb_layer_writer *w, struct cb_entry *e, struct cb_blob_source *data,
                       struct cb_error *err)
{
    int r = put(w, w->scratch.buf, w->scratch.len, err);
    if (r == 0 && w->chunked)
        r = cb_chunked_entry(w->chunked, e, &w->scratch, err);
    if (r == 0 && e->type == CB_ENTRY_FILE)
        r = put_file(w, e, data, err);
    if (r == 0 && w->chunked)
        r = cb_chunked_end(w->chunked, w->pipe, e, err);
    if (r == 0 && e->type == CB_ENTRY_FILE)
        r = put(w, NULL, (size_t)cb_tar_padding(e->size), err);
    return r < 0 ? r : cb_toc_builder_add(w->builder, e, err);
}

int64_t cb_layer_writer_mtime(const struct cb_layer_writer *w, int64_t mtime)
{
    return w->o.exact_mtime ? w->o.clamp_mtime : CB_MIN(mtime, w->o.clamp_mtime);
}

/* e is a copy that is completed for the table. */
static int add(struct cb_layer_writer *w, struct cb_entry *e, struct cb_blob_source *data, struct cb_error *err)
{
    int r = check_parent(w, e->path, err);
    if (r == 0)
        r = check_chunked(w, e, err);
    if (r == 0 && e->type == CB_ENTRY_HARDLINK)
        r = take_inode(w, e, err);
    if (e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE)
        e->mode = e->uid = e->gid = 0;
    e->mode &= 07777;
    e->mtime = cb_layer_writer_mtime(w, e->mtime);
    cb_strbuf_reset(&w->scratch);
    if (r < 0 || (r = cb_tar_header(&w->scratch, e, err)) < 0)
        return r;
    return write_entry(w, e, data, err);
}

int cb_layer_writer_add(struct cb_layer_writer *w, const struct cb_entry *e, struct cb_blob_source *data,
                        struct cb_error *err)
{
    if (w->broken)
        return cb_error_set(err, CB_EINTERNAL, "the layer is finished or has failed");
    struct cb_xattr xattrs[CB_MAX_XATTRS];
    struct cb_entry copy = *e;
    copy.digest = (struct cb_sum){ 0 };
    copy.offset = 0;
    copy.inline_data = NULL;
    copy.xattrs = xattrs;
    copy.n_xattrs = e->type == CB_ENTRY_FILE || e->type == CB_ENTRY_DIR ? allowed_xattrs(e, xattrs) : 0;
    if (copy.type != CB_ENTRY_FILE)
        copy.size = 0;
    w->broken = true;
    int r = cb_cancel_check(w->o.cancel, err);
    if (r == 0)
        r = add(w, &copy, data, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", e->path);
        return r;
    }
    w->broken = false;
    return 0;
}

/* ---- eStargz: two files of its own in the tar, the first and the last ---- */

static enum cb_foreign_toc_kind kind_of(const struct cb_format *f)
{
    return f->compression == CB_COMPRESSION_GZIP ? CB_FOREIGN_ESTARGZ : CB_FOREIGN_ZSTD_CHUNKED;
}

static bool is_estargz(const struct cb_layer_writer *w)
{
    return w->chunked && kind_of(&w->o.format) == CB_FOREIGN_ESTARGZ;
}

static int put_landmark(struct cb_layer_writer *w, struct cb_error *err)
{
    struct cb_entry e = { .path = CB_ESTARGZ_LANDMARK, .type = CB_ENTRY_FILE, .size = 1 };
    cb_autosource struct cb_blob_source *data = cb_blob_source_from_mem(CB_ESTARGZ_LANDMARK_BYTE, 1);
    int r = cb_tar_header(&w->scratch, &e, err);
    return r < 0 ? r : write_entry(w, &e, data, err);
}

/* The table does not list itself. */
static int put_estargz_toc(struct cb_layer_writer *w, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    int r = cb_block_pipe_drain(w->pipe, &w->toc_offset, err);
    if (r < 0)
        return r;
    cb_chunked_estargz_text(w->chunked, &text);
    struct cb_entry e = { .path = CB_ESTARGZ_TOC, .type = CB_ENTRY_FILE, .size = text.len };
    cb_digest_of(&w->toc_digest, text.buf, text.len);
    cb_sum_take(&e.digest, &w->toc_digest);
    cb_strbuf_reset(&w->scratch);
    if ((r = cb_tar_header(&w->scratch, &e, err)) < 0 || (r = put(w, w->scratch.buf, w->scratch.len, err)) < 0)
        return r;
    e.offset = w->written;
    if ((r = put(w, text.buf, text.len, err)) < 0 || (r = put(w, NULL, (size_t)cb_tar_padding(e.size), err)) < 0)
        return r;
    return cb_toc_builder_add(w->builder, &e, err);
}

static void annotate_estargz(const struct cb_layer_writer *w, struct cb_layer_encoding *e)
{
    char digest[CB_DIGEST_TEXT_MAX], size[24];
    snprintf(size, sizeof size, "%llu", (unsigned long long)w->written);
    cb_strmap_set(&e->annotations, CB_ANNOTATION_ESTARGZ_TOC, cb_digest_text(&w->toc_digest, digest));
    cb_strmap_set(&e->annotations, CB_ANNOTATION_ESTARGZ_SIZE, size);
}

/* ---- */

struct cb_layer_writer *cb_layer_writer_new(const struct cb_layer_write_options *o, struct cb_error *err)
{
    const struct cb_codec *codec = cb_codec_find(&o->format);
    if (cb_format_check(&o->format, err) < 0)
        return NULL;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = CB_NEW(struct cb_layer_writer);
    w->o = *o;
    w->chunked = o->format.chunked ? cb_chunked_new(kind_of(&o->format)) : NULL;
    w->pipe = cb_block_pipe_new(&(struct cb_block_pipe_options){
        .codec = codec, .level = codec ? cb_codec_level(codec, &o->format) : 0,
        .block_size = w->chunked ? CB_CHUNKED_BLOCK : 0, .on_block = cb_chunked_on_block, .arg = w->chunked,
        .pool = o->pool, .sink = o->sink });
    w->diff_hasher = cb_hasher_new(CB_DIGEST_SHA256);
    w->file_hasher = cb_hasher_new(CB_DIGEST_SHA256);
    w->builder = cb_toc_builder_new();
    w->scratch = (struct cb_strbuf)CB_STRBUF_INIT;
    if (o->format.chunked && !o->sink) {
        cb_error_set(err, CB_EINTERNAL, "a chunked layer that goes nowhere");
        return NULL;
    }
    return is_estargz(w) && put_landmark(w, err) < 0 ? NULL : CB_TAKE(w);
}

static void describe(const struct cb_layer_writer *w, const struct cb_layer_encoding *e, struct cb_layer *layer)
{
    char engine[64] = "";
    const struct cb_codec *codec = cb_codec_find(&w->o.format);
    struct cb_layer_encoding full = *e;
    if (codec)
        codec->engine(engine, sizeof engine, cb_codec_level(codec, &w->o.format));
    full.compression = w->o.format.compression;
    full.engine = engine;
    full.media_type = (char *)(uintptr_t)cb_mt_layer(full.compression, false); /* copied by add_encoding */
    cb_layer_add_encoding(layer, &full);
}

/* What goes behind the tar, or into its end. */
static int finish_chunked(struct cb_layer_writer *w, struct cb_layer_encoding *e, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    uint64_t size;
    int r = cb_block_pipe_drain(w->pipe, &size, err);
    if (r == 0 && is_estargz(w)) {
        cb_chunked_estargz_footer(&text, w->toc_offset);
        annotate_estargz(w, e);
    } else if (r == 0) {
        r = cb_chunked_zstd_tail(w->chunked, size, &text, &e->annotations, err);
    }
    return r < 0 ? r : cb_block_pipe_raw(w->pipe, text.buf, text.len, err);
}

static int finish_blob(struct cb_layer_writer *w, struct cb_layer_encoding *e, struct cb_error *err)
{
    int r = is_estargz(w) ? put_estargz_toc(w, err) : 0;
    if (r == 0)
        r = put(w, NULL, 2 * CB_TAR_BLOCK, err);
    if (r == 0 && w->chunked)
        r = finish_chunked(w, e, err);
    return r < 0 ? r : cb_block_pipe_finish(w->pipe, &e->digest, &e->size, err);
}

int cb_layer_writer_finish(struct cb_layer_writer *w, struct cb_layer *layer, struct cb_toc **toc,
                           struct cb_error *err)
{
    if (w->broken)
        return cb_error_set(err, CB_EINTERNAL, "the layer is finished or has failed");
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    struct cb_digest diff_id;
    w->broken = true;
    int r = finish_blob(w, &e, err);
    if (r < 0)
        return r;
    cb_hasher_finish(w->diff_hasher, &diff_id);
    if (!cb_digest_is_set(&e.digest))
        e.digest = diff_id;
    if (w->o.sink && (r = w->o.sink->ops->commit(w->o.sink, &e.digest, e.size, err)) < 0)
        return r;
    cb_layer_done(layer);
    layer->diff_id = diff_id;
    layer->size = w->written;
    if (w->o.sink)
        describe(w, &e, layer);
    if (toc)
        *toc = cb_toc_builder_finish(w->builder);
    return 0;
}

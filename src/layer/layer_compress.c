/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/block_pipe.h"
#include "layer/layer.h"

static int feed(struct cb_blob_source *tar, const struct cb_layer_write_options *o, struct cb_block_pipe *pipe,
                struct cb_hasher *hasher, uint64_t *size, struct cb_error *err)
{
    for (size_t got = 1; got;) {
        uint8_t *buf;
        size_t room;
        int r = cb_cancel_check(o->cancel, err);
        if (r < 0 || (r = cb_block_pipe_room(pipe, &buf, &room, err)) < 0 ||
            (r = cb_blob_read(tar, buf, room, &got, err)) < 0)
            return r;
        cb_hasher_update(hasher, buf, got);
        *size += got;
        if (got && (r = cb_block_pipe_commit(pipe, got, err)) < 0)
            return r;
    }
    return 0;
}

int cb_layer_compress(struct cb_blob_source *tar, const struct cb_layer_write_options *o, struct cb_layer *layer,
                      struct cb_error *err)
{
    const struct cb_codec *codec = cb_codec_find(&o->format);
    char engine[64] = "";
    int r = !o->format.chunked ? cb_format_check(&o->format, err)
                              : cb_error_set(err, CB_EINTERNAL, "no format for a tar as it is");
    if (r < 0)
        return r;
    int level = codec ? cb_codec_level(codec, &o->format) : 0;
    CB_AUTO(cb_hasher_free) struct cb_hasher *hasher = cb_hasher_new(CB_DIGEST_SHA256);
    CB_AUTO(cb_block_pipe_free) struct cb_block_pipe *pipe = cb_block_pipe_new(&(struct cb_block_pipe_options){
        .codec = codec, .level = level, .pool = o->pool, .sink = o->sink });
    struct cb_layer_encoding e = { .compression = o->format.compression, .engine = engine };
    struct cb_layer made = { 0 };
    e.media_type = (char *)(uintptr_t)cb_mt_layer(o->format.compression, false); /* copied by add_encoding */
    if (codec)
        codec->engine(engine, sizeof engine, level);
    r = feed(tar, o, pipe, hasher, &made.size, err);
    if (r == 0)
        r = cb_block_pipe_finish(pipe, &e.digest, &e.size, err);
    cb_hasher_finish(hasher, &made.diff_id);
    if (!codec)
        e.digest = made.diff_id;
    if (r == 0)
        r = o->sink->ops->commit(o->sink, &e.digest, e.size, err);
    if (r < 0)
        return r;
    cb_layer_add_encoding(&made, &e);
    cb_layer_done(layer);
    *layer = made;
    return 0;
}

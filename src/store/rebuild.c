/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"
#include "oci/manifest.h"
#include "store/private.h"
#include "util/limits.h"

/* Runs with the database lock held, so nothing here may take a hold; a blob that gc removes meanwhile is only not
 * recorded. */
struct rebuild {
    struct cb_store *s;
    struct cb_hashmap *seen; /* digests of manifests, and of blobs that were read */
};

static bool seen_before(struct rebuild *b, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_hashmap_put(b->seen, cb_digest_text(d, text), b) != NULL;
}

/* A manifest may claim any diff id for any blob. What it says is written down only where the bytes bear it out, or
 * the next image that has this layer would be given the wrong blob. */
static bool really_encodes(struct rebuild *b, const struct cb_descriptor *blob, struct cb_layer *l)
{
    int fd = -1;
    uint64_t size = 0;
    if (cb_store_blob_peek(b->s, &blob->digest, &fd, &size, NULL) < 0)
        return false;
    struct cb_layer_read_options o = { 0 };
    o.source = cb_blob_source_verify(cb_blob_source_from_fd(fd, 0, UINT64_MAX), &blob->digest, blob->size);
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, NULL);
    struct cb_digest diff_id;
    return reader && cb_layer_reader_finish(reader, &l->diff_id, &diff_id, &l->size, NULL, NULL) == 0;
}

static int record_pair(struct rebuild *b, const struct cb_descriptor *blob, const struct cb_digest *diff_id,
                       struct cb_error *err)
{
    int compression = cb_mt_layer_compression(blob->media_type);
    if (compression < 0 || seen_before(b, &blob->digest))
        return 0;
    struct cb_layer l cb_cleanup_layer = { .diff_id = *diff_id, .size = UINT64_MAX };
    if (!really_encodes(b, blob, &l))
        return 0;
    struct cb_layer_encoding e = { .digest = blob->digest, .size = blob->size, .media_type = blob->media_type };
    char none[1] = "";
    e.compression = (enum cb_compression)compression;
    e.engine = none;
    cb_layer_encoding_annotate(&e, &blob->annotations);
    cb_layer_add_encoding(&l, &e);
    cb_strmap_done(&e.annotations);
    return cb_layer_table_put(b->s, &l, err);
}

static int from_manifest(struct rebuild *b, const struct cb_strbuf *body, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_strbuf config cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_manifest_parse(&m, body->buf, body->len, NULL, NULL) < 0 ||
        cb_store_blob_read(b->s, &m.config.digest, CB_MAX_MANIFEST, &config, NULL) < 0 ||
        cb_image_config_parse(&c, config.buf, config.len, NULL) < 0 || c.n_diff_ids != m.n_layers)
        return 0;
    for (size_t i = 0; i < m.n_layers; i++) {
        int r = record_pair(b, &m.layers[i], &c.diff_ids[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int from_digest(struct rebuild *b, const struct cb_digest *d, unsigned depth, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (depth > CB_MAX_INDEX_DEPTH || seen_before(b, d) ||
        cb_store_blob_read(b->s, d, CB_MAX_MANIFEST, &body, NULL) < 0)
        return 0;
    const char *type = cb_manifest_detect(body.buf, body.len, NULL, NULL);
    if (!type)
        return 0;
    if (!cb_mt_is_index(type))
        return from_manifest(b, &body, err);
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = 0;
    if (cb_index_parse(&idx, body.buf, body.len, NULL, NULL) < 0)
        return 0;
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        r = from_digest(b, &idx.manifests[i].digest, depth + 1, err);
    return r;
}

int cb_store_rebuild(struct cb_store *s, struct cb_error *err)
{
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *seen = cb_hashmap_new();
    struct rebuild b = { s, seen };
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_store_index_read(s, &idx, err);
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        r = from_digest(&b, &idx.manifests[i].digest, 0, err);
    if (r < 0)
        cb_error_wrap(err, "rebuild the index");
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer.h"

#include "util/alloc.h"

void cb_layer_encoding_done(struct cb_layer_encoding *e)
{
    free(e->media_type);
    free(e->engine);
    cb_strmap_done(&e->annotations);
    *e = (struct cb_layer_encoding){ 0 };
}

void cb_layer_encoding_copy(struct cb_layer_encoding *dst, const struct cb_layer_encoding *src)
{
    *dst = *src;
    dst->media_type = cb_strdup_or_null(src->media_type);
    dst->engine = cb_strdup(src->engine ? src->engine : "");
    dst->annotations = (struct cb_strmap){ 0 };
    cb_strmap_copy(&dst->annotations, &src->annotations);
}

void cb_layer_encoding_annotate(struct cb_layer_encoding *e, const struct cb_strmap *annotations)
{
    static const char *const keys[] = { CB_ANNOTATION_ESTARGZ_TOC, CB_ANNOTATION_ESTARGZ_SIZE,
                                        CB_ANNOTATION_CHUNKED_TOC, CB_ANNOTATION_CHUNKED_AT,
                                        CB_ANNOTATION_CHUNKED_TAR_SPLIT };
    for (size_t i = 0; i < CB_COUNTOF(keys); i++) {
        const char *value = cb_strmap_get(annotations, keys[i]);
        if (value)
            cb_strmap_set(&e->annotations, keys[i], value);
    }
}

bool cb_layer_encoding_serves(const struct cb_layer_encoding *e, const struct cb_format *f)
{
    return cb_format_serves(f, &(struct cb_format_made){ .compression = e->compression,
                                                         .chunked = e->annotations.n > 0,
                                                         .engine = e->engine ? e->engine : "" });
}

static void origin_done(struct cb_layer_origin *o)
{
    free(o->host);
    free(o->repo);
}

void cb_layer_drop_encodings(struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        cb_layer_encoding_done(&l->encodings[i]);
    free(CB_TAKE(l->encodings));
    l->n_encodings = 0;
}

void cb_layer_done(struct cb_layer *l)
{
    cb_layer_drop_encodings(l);
    for (size_t i = 0; i < l->n_origins; i++)
        origin_done(&l->origins[i]);
    free(l->origins);
    *l = (struct cb_layer){ 0 };
}

void cb_layer_copy(struct cb_layer *dst, const struct cb_layer *src)
{
    if (dst == src)
        return;
    cb_layer_done(dst);
    dst->diff_id = src->diff_id;
    dst->size = src->size;
    for (size_t i = 0; i < src->n_encodings; i++)
        cb_layer_add_encoding(dst, &src->encodings[i]);
    for (size_t i = 0; i < src->n_origins; i++)
        cb_layer_add_origin(dst, &src->origins[i].digest, src->origins[i].host, src->origins[i].repo);
}

/* Of engines and levels that made the same bytes the last one counts: it is what somebody wants now. */
static void know_engine(struct cb_layer_encoding *e, const char *engine)
{
    if (!engine || !*engine || cb_streq(e->engine, engine))
        return;
    free(e->engine);
    e->engine = cb_strdup(engine);
}

void cb_layer_add_encoding(struct cb_layer *l, const struct cb_layer_encoding *e)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_digest_eq(&l->encodings[i].digest, &e->digest)) {
            know_engine(&l->encodings[i], e->engine);
            cb_layer_encoding_annotate(&l->encodings[i], &e->annotations);
            return;
        }
    l->encodings = cb_reallocarray(l->encodings, l->n_encodings + 1, sizeof *l->encodings);
    cb_layer_encoding_copy(&l->encodings[l->n_encodings++], e);
}

void cb_layer_add_origin(struct cb_layer *l, const struct cb_digest *digest, const char *host, const char *repo)
{
    for (size_t i = 0; i < l->n_origins; i++) {
        const struct cb_layer_origin *o = &l->origins[i];
        if (cb_digest_eq(&o->digest, digest) && cb_streq(o->host, host) && cb_streq(o->repo, repo))
            return;
    }
    l->origins = cb_reallocarray(l->origins, l->n_origins + 1, sizeof *l->origins);
    l->origins[l->n_origins++] =
        (struct cb_layer_origin){ .digest = *digest, .host = cb_strdup(host), .repo = cb_strdup(repo) };
}

void cb_chain_add(struct cb_digest *chain, const struct cb_digest *diff_id)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    if (!cb_digest_is_set(chain)) {
        *chain = *diff_id;
        return;
    }
    cb_strbuf_add_digest(&text, chain);
    cb_strbuf_addch(&text, ' ');
    cb_strbuf_add_digest(&text, diff_id);
    cb_digest_of(chain, text.buf, text.len);
}

void cb_chain_id(struct cb_digest *out, const struct cb_digest *diff_ids, size_t n)
{
    *out = (struct cb_digest){ 0 };
    for (size_t i = 0; i < n; i++)
        cb_chain_add(out, &diff_ids[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer.h"

#include "util/alloc.h"

static void encoding_done(struct cb_layer_encoding *e)
{
    free(e->media_type);
    free(e->engine);
}

static void origin_done(struct cb_layer_origin *o)
{
    free(o->host);
    free(o->repo);
}

void cb_layer_drop_encodings(struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        encoding_done(&l->encodings[i]);
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

void cb_layer_add_encoding(struct cb_layer *l, const struct cb_layer_encoding *e)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_digest_eq(&l->encodings[i].digest, &e->digest))
            return;
    struct cb_layer_encoding to = *e;
    to.media_type = cb_strdup_or_null(e->media_type);
    to.engine = cb_strdup(e->engine ? e->engine : "");
    l->encodings = cb_reallocarray(l->encodings, l->n_encodings + 1, sizeof *l->encodings);
    l->encodings[l->n_encodings++] = to;
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

void cb_chain_id(struct cb_digest *out, const struct cb_digest *diff_ids, size_t n)
{
    *out = n ? diff_ids[0] : (struct cb_digest){ 0 };
    for (size_t i = 1; i < n; i++) {
        cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
        cb_strbuf_add_digest(&text, out);
        cb_strbuf_addch(&text, ' ');
        cb_strbuf_add_digest(&text, &diff_ids[i]);
        cb_digest_of(out, text.buf, text.len);
    }
}

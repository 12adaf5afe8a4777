/* SPDX-License-Identifier: Apache-2.0 */
#include "edit/private.h"
#include "util/alloc.h"

/* zstd where every layer is, else what everybody reads. */
static enum cb_compression compression_of(const struct cb_manifest *m)
{
    for (size_t i = 0; i < m->n_layers; i++)
        if (cb_mt_layer_compression(m->layers[i].media_type) != CB_COMPRESSION_ZSTD)
            return CB_COMPRESSION_GZIP;
    return m->n_layers ? CB_COMPRESSION_ZSTD : CB_COMPRESSION_GZIP;
}

static int write_layer(const struct cb_edit_tables *t, struct cb_layer_write_options *o, struct cb_layer *out,
                       struct cb_error *err)
{
    struct cb_store *store = t->source->env->store;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(o, err);
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    int r = w ? cb_edit_flat(t, w, err) : -CB_EINTERNAL;
    if (r == 0)
        r = cb_layer_writer_finish(w, out, &toc, err);
    if (r == 0)
        r = cb_store_toc_put(store, &out->diff_id, toc, err);
    return r < 0 ? r : cb_store_layer_put(store, out, err);
}

static int make_layer(const struct cb_edit_source *s, const struct cb_edit_image *i, struct cb_layer *out,
                      struct cb_error *err)
{
    struct cb_edit_tables t cb_cleanup_edit_tables = { 0 };
    cb_autosink struct cb_blob_sink *sink = NULL;
    int r = cb_edit_tables_read(&t, s, i, SIZE_MAX, true, err);
    if (r == 0)
        r = cb_store_blob_sink_known(s->env->store, &sink, err);
    if (r < 0)
        return r;
    struct cb_layer_write_options o = { .format = { compression_of(&i->image.manifest), CB_LEVEL_DEFAULT },
                                        .pool = s->env->cpu, .clamp_mtime = INT64_MAX, .sink = sink,
                                        .cancel = s->env->cancel };
    return write_layer(&t, &o, out, err);
}

/* What it was made of stays readable, as crane keeps it. */
static void replace_history(struct cb_edit_draft *d, const char *created)
{
    struct cb_strbuf old cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    const json_t *history = json_object_get(d->config, "history");
    cb_autofree char *by = cb_asprintf("cbpush flatten %s", cb_digest_text(&d->old->image.desc.digest, text));
    if (json_array_size(history))
        cb_json_print(&old, history);
    cb_json_put(d->config, "history", json_array());
    cb_edit_history_add(d->config, created, by, old.len ? old.buf : NULL);
    if (created)
        cb_json_put(d->config, "created", cb_json_string(created));
}

int cb_edit_flatten(struct cb_edit_draft *d, const char *created, struct cb_error *err)
{
    struct cb_layer made cb_cleanup_layer = { 0 };
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    if (d->old->image.manifest.n_layers <= 1)
        return 0;
    int r = make_layer(d->source, d->old, &made, err);
    if (r < 0)
        return r;
    desc.media_type = cb_strdup(made.encodings[0].media_type);
    desc.digest = made.encodings[0].digest;
    desc.size = made.encodings[0].size;
    json_array_clear(json_object_get(d->manifest, "layers"));
    json_array_clear(json_object_get(json_object_get(d->config, "rootfs"), "diff_ids"));
    replace_history(d, created);
    cb_edit_plan_stored(d->plan, &desc);
    return cb_edit_draft_add(d, &desc, &made.diff_id, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that eStargz and zstd:chunked layers carry with them, read by ranges where the parent's manifest pins them. */
#include "build/slot_private.h"
#include "util/alloc.h"

/* A smaller layer comes whole in the time of the round trips. */
#define WORTH (UINT64_C(128) << 10)

struct remote {
    const struct cb_slot *slot;
    const struct cb_layer *layer;
    struct cb_descriptor desc;
};

/* Under s->mu. */
bool cb_slot_has_foreign(const struct cb_slot *s)
{
    return s->parent && s->foreign && s->layer.n_origins > 0 && cb_slot_blob_size(s) >= WORTH;
}

/* Two parents that do not say the same of one layer are not believed. Before s->parent and what it has are set. */
void cb_slot_learn_foreign(struct cb_slot *s, const struct cb_descriptor *d)
{
    cb_autofree char *says = cb_foreign_pin(&d->annotations), *said = cb_foreign_pin(&s->annotations);
    if (!s->parent)
        s->foreign = says != NULL;
    else if (!says || !said || !cb_streq(says, said) || !cb_digest_eq(&d->digest, &s->manifest_digest))
        s->foreign = false;
}

static int read_range(void *arg, uint64_t offset, uint64_t len, struct cb_strbuf *out, struct cb_error *err)
{
    const struct remote *x = arg;
    int r = cb_error_set(err, CB_ENOTFOUND, "no repository is known that has it");
    for (size_t i = 0; i < x->layer->n_origins; i++) {
        const struct cb_layer_origin *o = &x->layer->origins[i];
        struct cb_blob_part part = { o->host, o->repo, &x->desc, offset, len };
        if (!cb_digest_eq(&o->digest, &x->desc.digest))
            continue;
        cb_strbuf_reset(out);
        r = cb_registry_blob_part(x->slot->env->registry, &part, out, err);
        if (r == 0 || r == -CB_ECANCELED)
            return r;
    }
    return r;
}

static int find(struct remote *x, struct cb_foreign_place *at, struct cb_error *err)
{
    struct cb_strbuf footer cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool needs_footer;
    int r = cb_foreign_place_find(&x->desc.annotations, x->desc.size, NULL, at, &needs_footer, err);
    if (r < 0 || !needs_footer)
        return r;
    r = read_range(x, x->desc.size - CB_ESTARGZ_FOOTER, CB_ESTARGZ_FOOTER, &footer, err);
    return r < 0 ? r : cb_foreign_place_find(&x->desc.annotations, x->desc.size, (const uint8_t *)footer.buf, at,
                                             &needs_footer, err);
}

static int load(struct remote *x, bool names, struct cb_slot_foreign *out, struct cb_error *err)
{
    struct cb_strbuf raw cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_foreign_reader users = { read_range, x };
    struct cb_foreign_work w = { .users = names ? &users : NULL, .cancel = x->slot->env->cancel };
    int r = find(x, &w.place, err);
    if (r == 0)
        r = read_range(x, w.place.offset, w.place.length, &raw, err);
    w.raw = (struct cb_slice){ raw.buf, raw.len };
    if (r == 0)
        r = cb_foreign_table(&w, &out->toc, err);
    if (r < 0)
        return r;
    out->kind = w.place.kind;
    out->digest = w.place.digest;
    return 0;
}

int cb_slot_told_foreign(struct cb_slot *s, const struct cb_layer *l, struct cb_slot_foreign *out, struct cb_error *err)
{
    struct remote x = { .slot = s, .layer = l };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    pthread_mutex_lock(&s->mu);
    bool names = s->names;
    d.digest = s->manifest_digest;
    d.size = cb_slot_blob_size(s);
    cb_strmap_copy(&d.annotations, &s->annotations);
    pthread_mutex_unlock(&s->mu);
    d.media_type = cb_strdup("");
    x.desc = d;
    return load(&x, names, out, err);
}

/* What was read takes the place of what was told; who borrowed that may still look at it. */
int cb_slot_prove_foreign(struct cb_slot *s, struct cb_error *err)
{
    struct cb_toc *real = NULL;
    char id[32], digest[CB_DIGEST_TEXT_MAX];
    int r = cb_store_toc_get(s->env->store, &s->layer.diff_id, &real, err);
    if (r < 0)
        return r;
    const char *path = cb_foreign_toc_differs(s->foreign_kind, s->toc, real);
    if (!path) {
        pthread_mutex_lock(&s->mu);
        s->told = s->toc;
        s->toc = real;
        s->unproven = false;
        pthread_mutex_unlock(&s->mu);
        return 0;
    }
    cb_slot_short_digest(id, &s->manifest_digest);
    cb_error_set(err, CB_EVERIFY,
                 "layer %s: its own table of contents, %s, which the parent's manifest names, does not say of /%s what "
                 "the layer holds: it is wrong, or was made to deceive",
                 id, cb_digest_text(&s->foreign_digest, digest), path);
    cb_toc_unref(real);
    return -CB_EVERIFY;
}

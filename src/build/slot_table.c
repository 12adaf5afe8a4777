/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of layers that nobody has read here: what others say of them. Each way gives a table that serves this build
 * alone, and only as long as nothing else of the layer is needed. A way that brings tables of another form
 * (slot_foreign.c) needs an answer of its own to the question that cb_slot_prove asks. */
#include "build/slot_private.h"
#include "util/alloc.h"
#include "util/limits.h"

#define PIN_ALWAYS (UINT64_C(1) << 20) /* a table of this size is worth a request, however small the layer */

struct asked {
    struct cb_slot *slot;
    const struct cb_layer *layer;
    struct cb_toc_pin pin;
    struct cb_digest encoding; /* that the manifest names: who has it has the table */
};

/* ---- pinned by the manifest, and beside the layer ---- */

/* From a place, or else an origin. */
static int read_table(const struct asked *a, struct cb_cache_place *place, const struct cb_layer_origin *o,
                      struct cb_toc **out, struct cb_error *err)
{
    struct cb_descriptor d = { .media_type = (char *)(uintptr_t) CB_MT_TOC, .digest = a->pin.digest,
                               .size = a->pin.size };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autosource struct cb_blob_source *src = NULL;
    int r = place ? place->ops->blob(place, &d, &src, err)
                  : cb_registry_blob(a->slot->env->registry, o->host, o->repo, &d, &src, err);
    if (r == 0)
        r = cb_blob_read_all(src, CB_MAX_TOC_BLOB, &text, err);
    return r < 0 ? r : cb_toc_parse(out, text.buf, text.len, err);
}

static int by_pin(const struct asked *a, struct cb_toc **out, struct cb_error *err)
{
    int r = cb_error_set(err, CB_ENOTFOUND, "no repository is known that has it");
    for (size_t i = 0; i < a->layer->n_origins; i++) {
        const struct cb_layer_origin *o = &a->layer->origins[i];
        if (!cb_digest_eq(&o->digest, &a->encoding))
            continue;
        r = read_table(a, NULL, o, out, err);
        if (r == 0 || r == -CB_ECANCELED)
            return r;
    }
    return r;
}

/* ---- kept by a cache ---- */

static int by_place(const struct asked *a, struct cb_toc **out, struct cb_error *err)
{
    return read_table(a, a->slot->place, NULL, out, err);
}

/* ---- who is asked ---- */

uint64_t cb_slot_blob_size(const struct cb_slot *s)
{
    for (size_t i = 0; i < s->layer.n_encodings; i++)
        if (!s->parent || cb_digest_eq(&s->layer.encodings[i].digest, &s->manifest_digest))
            return s->layer.encodings[i].size;
    return 0;
}

/* Under s->mu. */
static bool is_named(const struct cb_slot *s)
{
    bool somewhere = s->pinned_by_cache ? s->place != NULL : s->parent && s->layer.n_origins > 0;
    return (somewhere || s->small.len) && !s->unpinned && cb_digest_is_set(&s->pin.digest) &&
           s->pin.size <= CB_MAX(cb_slot_blob_size(s), PIN_ALWAYS);
}

bool cb_slot_is_told(const struct cb_slot *s)
{
    return is_named(s) || cb_slot_has_foreign(s);
}

static int ask_named(struct cb_slot *s, const struct cb_layer *l, struct cb_toc **out, struct cb_error *err)
{
    struct asked a = { .slot = s, .layer = l };
    pthread_mutex_lock(&s->mu);
    a.pin = s->pin;
    a.encoding = s->manifest_digest;
    bool by_cache = s->pinned_by_cache, here = s->small.len > 0;
    int r = here ? cb_toc_parse(out, s->small.buf, s->small.len, err) : 0;
    pthread_mutex_unlock(&s->mu);
    if (!here)
        r = by_cache ? by_place(&a, out, err) : by_pin(&a, out, err);
    pthread_mutex_lock(&s->mu);
    s->unpinned = r < 0;
    pthread_mutex_unlock(&s->mu);
    return r;
}

static int ask_foreign(struct cb_slot *s, const struct cb_layer *l, struct cb_toc **out, struct cb_error *err)
{
    struct cb_slot_foreign f = { 0 };
    int r = cb_slot_told_foreign(s, l, &f, err);
    pthread_mutex_lock(&s->mu);
    s->foreign = s->by_foreign = r == 0;
    s->foreign_kind = f.kind;
    s->foreign_digest = f.digest;
    pthread_mutex_unlock(&s->mu);
    *out = f.toc;
    return r;
}

/* The tables that are told, the best first. */
int cb_slot_told(struct cb_slot *s, const struct cb_layer *l, struct cb_step *step, struct cb_toc **out,
                 struct cb_error *err)
{
    char id[32];
    pthread_mutex_lock(&s->mu);
    bool ask[] = { is_named(s), cb_slot_has_foreign(s) };
    cb_slot_short_digest(id, s->hearsay ? &l->diff_id : &s->manifest_digest);
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; i < CB_COUNTOF(ask); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (!ask[i])
            continue;
        int r = i == 0 ? ask_named(s, l, out, &e) : ask_foreign(s, l, out, &e);
        if (r == 0)
            return 0;
        if (r == -CB_ECANCELED)
            return cb_error_move(err, &e);
        cb_step_logf(step, "%s is read, as its table cannot be had: %s", id, cb_error_text(&e));
    }
    return 0;
}

int cb_slot_prove(struct cb_slot *s, struct cb_error *err)
{
    char id[32], said[CB_DIGEST_TEXT_MAX], is[CB_DIGEST_TEXT_MAX];
    struct cb_toc_pin pin, real;
    pthread_mutex_lock(&s->mu);
    bool proven = !s->unproven, by_cache = s->pinned_by_cache;
    pin = s->pin;
    pthread_mutex_unlock(&s->mu);
    if (!proven && s->by_foreign)
        return cb_slot_prove_foreign(s, err);
    int r = proven ? 0 : cb_store_toc_pin(s->env->store, &s->layer.diff_id, &real, err);
    if (r < 0 || proven)
        return r;
    pthread_mutex_lock(&s->mu);
    s->unproven = !cb_toc_pin_eq(&pin, &real);
    bool same = !s->unproven;
    pthread_mutex_unlock(&s->mu);
    if (same)
        return 0;
    cb_slot_short_digest(id, s->hearsay ? &s->layer.diff_id : &s->manifest_digest);
    return cb_error_set(err, CB_EVERIFY,
                        "layer %s: %s says that its table is %s, and what it holds has %s: it is wrong, or was made to "
                        "deceive",
                        id, by_cache ? s->place->text : "the parent's manifest", cb_digest_text(&pin.digest, said),
                        cb_digest_text(&real.digest, is));
}

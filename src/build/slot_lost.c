/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that the store knows by a repository alone, and that the repository has no more: it was deleted, or its
 * registry was emptied. */
#include "build/slot_private.h"
#include "util/alloc.h"

/* As whoever needs it asks for it: also the mirrors. */
static int ask_origin(const struct cb_build_env *env, const struct cb_layer_encoding *e,
                      const struct cb_layer_origin *o, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { .media_type = cb_strdup(e->media_type ? e->media_type : ""),
                                                     .digest = e->digest, .size = e->size };
    struct cb_blob_source *src = NULL;
    int r = cb_registry_blob(env->registry, o->host, o->repo, &d, &src, err);
    if (r == 0)
        src->ops->close(src);
    return r;
}

/* 1: nobody has it any more, and that is known for certain; 0: somebody may have it. Only errors that end it all are
 * errors. */
static int is_lost(const struct cb_build_env *env, const struct cb_layer *l, const struct cb_layer_encoding *e,
                   struct cb_error *err)
{
    if (cb_store_blob_has(env->store, &e->digest, NULL))
        return 0;
    for (size_t i = 0; i < l->n_origins; i++) {
        struct cb_error why cb_cleanup_error = CB_ERROR_INIT;
        if (!cb_digest_eq(&l->origins[i].digest, &e->digest))
            continue;
        int r = ask_origin(env, e, &l->origins[i], &why);
        if (r == -CB_ECANCELED)
            return cb_error_move(err, &why);
        if (r != -CB_ENOTFOUND)
            return 0;
        r = cb_store_origin_forget(env->store, l, i, err);
        if (r < 0)
            return r;
    }
    return 1;
}

/* Under s->mu. Whether somebody relied on it: of a parent's layer that is what its manifest names, else what was
 * there. */
static bool counts(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e)
{
    if (e->media_type && cb_mt_is_foreign_layer(e->media_type)) /* is elsewhere, and nobody pushes it */
        return false;
    return s->parent ? cb_digest_eq(&e->digest, &s->manifest_digest) : cb_slot_encoding_there(s, l, e);
}

static int forget(struct cb_slot *s, const struct cb_build_env *env, struct cb_slots_lost *out, struct cb_error *err)
{
    struct cb_layer l cb_cleanup_layer = { 0 };
    bool lost = false;
    int r = 0;
    pthread_mutex_lock(&s->mu);
    bool new = s->pending || s->failed || s->empty || s->fresh, parent = s->parent;
    pthread_mutex_unlock(&s->mu);
    if (new)
        return 0;
    cb_slot_layer(s, &l);
    for (size_t i = 0; r >= 0 && i < l.n_encodings; i++) {
        pthread_mutex_lock(&s->mu);
        bool relied = counts(s, &l, &l.encodings[i]);
        pthread_mutex_unlock(&s->mu);
        r = relied ? is_lost(env, &l, &l.encodings[i], err) : 0;
        lost = lost || r > 0;
    }
    *(parent ? &out->parents : &out->recorded) += lost;
    return CB_MIN(r, 0);
}

int cb_slots_forget_lost(struct cb_slots *t, const struct cb_build_env *env, struct cb_slots_lost *out,
                         struct cb_error *err)
{
    int r = 0;
    *out = (struct cb_slots_lost){ 0 };
    for (size_t i = 0; r == 0 && i < t->n; i++)
        r = forget(t->all[i], env, out, err);
    return r;
}

bool cb_slots_have_lost(struct cb_slots *t, const struct cb_build_env *env, const struct cb_error *why)
{
    struct cb_slots_lost lost;
    return why->code == CB_ENOTFOUND && cb_slots_forget_lost(t, env, &lost, NULL) == 0 && lost.parents;
}

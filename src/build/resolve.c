/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"
#include "build/slot.h"
#include "util/alloc.h"

static bool from_store(void *arg, const struct cb_digest *d, struct cb_strbuf *out)
{
    const struct cb_build_env *env = arg;
    bool there = cb_store_blob_get(env->store, d, CB_MAX_MANIFEST, out, NULL) == 0;
    if (!there) /* nor are its layers, then */
        cb_helpers_expect();
    return there;
}

static int keep(const struct cb_build_env *env, const struct cb_digest *d, const struct cb_strbuf *body,
                struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    if (!body->len || cb_store_blob_has(env->store, d, NULL))
        return 0;
    int r = cb_store_blob_sink(env->store, &sink, err); /* by the algorithm that it is named by */
    if (r == 0)
        r = sink->ops->write(sink, body->buf, body->len, err);
    return r < 0 ? r : sink->ops->commit(sink, d, body->len, err);
}

/* As many as will be read at a time; the others would only keep connections. */
struct ahead {
    const struct cb_build_env *env;
    unsigned left;
};

static bool is_wanted(void *arg, const struct cb_descriptor *layer)
{
    struct ahead *a = arg;
    if (!a->left || cb_store_blob_has(a->env->store, &layer->digest, NULL))
        return false;
    a->left--;
    return true;
}

static int from_registry(const struct cb_build_env *env, const struct cb_reference *ref,
                         const struct cb_find_options *find, struct cb_found_image *found, struct cb_error *err)
{
    struct cb_image *out = &found->image;
    struct cb_resolved x cb_cleanup_resolved = { .index_body = CB_STRBUF_INIT, .manifest_body = CB_STRBUF_INIT,
                                                 .config_body = CB_STRBUF_INIT };
    struct ahead ahead = { env, find->layers ? CB_SLOT_FETCHERS : 0 };
    struct cb_resolve_options o = { .platform = find->platform, .cached = from_store,
                                    .cached_arg = (void *)(uintptr_t)env, .wanted = is_wanted, .wanted_arg = &ahead };
    if (cb_store_has_no_blob(env->store)) { /* on a fresh machine nobody need ask first which one it is */
        o.cached = NULL;
        cb_helpers_expect();
    }
    cb_registry_expect(env->registry, CB_SLOT_FETCHERS, 0);
    int r = cb_registry_resolve(env->registry, ref, &o, &x, err);
    if (r == 0)
        r = keep(env, &x.manifest.config.digest, &x.config_body, err);
    if (r == 0)
        r = keep(env, &x.desc.digest, &x.manifest_body, err);
    if (r == 0)
        r = keep(env, &x.top.digest, &x.index_body, err);
    if (r < 0)
        return r;
    found->top = x.top.digest;
    out->desc = x.desc;
    out->manifest = x.manifest;
    out->config = x.config;
    x.desc = (struct cb_descriptor){ 0 };
    x.manifest = (struct cb_manifest){ 0 };
    x.config = (struct cb_image_config){ 0 };
    return 0;
}

static int by_name(const struct cb_build_env *env, const struct cb_reference *ref, const struct cb_platform *platform,
                   struct cb_found_image *out, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autofree char *name = cb_reference_text(ref);
    int r = cb_store_name_get(env->store, name, &d, err);
    if (r < 0)
        return r;
    out->top = d.digest;
    return cb_image_load(env->store, &d, platform, &out->image, err);
}

/* A plain manifest in the store under the name may be another platform's: then the registry may know better. */
static bool serves(const struct cb_found_image *f, const struct cb_platform *platform)
{
    const struct cb_platform *is = &f->image.config.platform;
    return !is->arch || cb_platform_match(platform, is) > 0;
}

void cb_found_image_done(struct cb_found_image *f)
{
    cb_image_done(&f->image);
    free(f->host);
    free(f->repo);
    *f = (struct cb_found_image){ 0 };
}

/* What is built on may be old, or another platform's: nobody should learn that from the result. */
static int as_stored(const struct cb_build_env *env, const struct cb_reference *ref, const struct cb_error *why)
{
    cb_autofree char *name = cb_reference_text(ref);
    cb_progress_note(env->progress, true, "warning: %s as the store has it, since the registry cannot be asked: %s",
                     name, cb_error_text(why));
    return 0;
}

int cb_build_resolve(const struct cb_build_env *env, const struct cb_find_options *o, struct cb_found_image *out,
                     struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    *out = (struct cb_found_image){ 0 };
    cb_reference_copy(&ref, o->ref);
    cb_reference_default_tag(&ref);
    struct cb_found_image other cb_cleanup_found_image = { 0 };
    bool ask = o->policy == CB_PULL_ALWAYS || o->policy == CB_PULL_NEWER;
    if (!ask && by_name(env, &ref, o->platform, out, NULL) == 0) {
        if (o->policy == CB_PULL_NEVER || serves(out, o->platform))
            return 0;
        other = *out;
        *out = (struct cb_found_image){ 0 };
    }
    cb_found_image_done(out);
    if (o->policy == CB_PULL_NEVER) {
        cb_autofree char *text = cb_reference_text(&ref);
        return cb_error_set(err, CB_ENOTFOUND, "%s is not in the local store, and --pull=never forbids to fetch it",
                            text);
    }
    struct cb_error why cb_cleanup_error = CB_ERROR_INIT;
    int r = from_registry(env, &ref, o, out, &why);
    if (r == -CB_ENET && o->policy == CB_PULL_NEWER && by_name(env, &ref, o->platform, out, NULL) == 0)
        return as_stored(env, &ref, &why);
    if (r < 0 && r != -CB_ECANCELED && other.image.manifest.media_type) {
        *out = other;
        other = (struct cb_found_image){ 0 };
        return as_stored(env, &ref, &why);
    }
    if (r < 0)
        return cb_error_move(err, &why);
    out->host = cb_strdup(ref.host);
    out->repo = cb_strdup(ref.repo);
    return 0;
}

struct cb_slot **cb_build_slots(struct cb_slots *slots, const struct cb_found_image *f, struct cb_error *err)
{
    const struct cb_image *image = &f->image;
    size_t n = image->manifest.n_layers;
    if (cb_image_config_check(&image->config, n, err) < 0)
        return NULL;
    struct cb_slot **v = cb_calloc(n + 1, sizeof(struct cb_slot *));
    for (size_t i = 0; i < n; i++) {
        struct cb_slot_parent p = { .desc = &image->manifest.layers[i], .host = f->host, .repo = f->repo };
        v[i] = cb_slots_parent(slots, &image->config.diff_ids[i], &p);
    }
    return v;
}

int cb_build_fetch_layers(const struct cb_build_env *env, const struct cb_found_image *f, unsigned needs,
                          struct cb_step *step, struct cb_error *err)
{
    CB_AUTO(cb_slots_free) struct cb_slots *slots = cb_slots_new(env);
    struct cb_slot **v = cb_build_slots(slots, f, err);
    int r = v ? cb_slots_need(slots, v, f->image.manifest.n_layers, needs, step, err) : -CB_EVERIFY;
    if (r == 0)
        r = cb_store_settle(env->store, err);
    free(v);
    return r;
}

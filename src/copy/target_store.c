/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"

struct stored {
    struct copy_local local;
};

static bool has(struct copy_local *t, const struct cb_descriptor *d)
{
    uint64_t size = 0;
    return cb_store_blob_has(t->base.env->store, &d->digest, &size) && size == d->size;
}

static int put(struct copy_local *t, const struct cb_descriptor *d, struct cb_blob_source *bytes, struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    int r = cb_store_blob_sink(t->base.env->store, &sink, err);
    if (r == 0)
        r = cb_blob_copy(bytes, sink, NULL, err);
    return r < 0 ? r : sink->ops->commit(sink, &d->digest, d->size, err);
}

static char *name_of(const struct cb_copy_target *t, const char *tag)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (cb_reference_parse(&ref, t->o.to->path, NULL) < 0)
        return NULL;
    free(ref.tag);
    ref.tag = cb_strdup_or_null(tag);
    return cb_reference_text(&ref);
}

static int head(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out, struct cb_error *err)
{
    cb_autofree char *name = name_of(t, tag);
    return name ? cb_store_name_get(t->env->store, name, out, err) : cb_error_set(err, CB_ENOTFOUND, "no such name");
}

/* As a pull leaves it: layers read through, and named. */
static int put_tag(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
                   struct cb_error *err)
{
    cb_autofree char *name = name_of(t, tag);
    int r = name ? copy_local_manifest(t, d, body, false, err)
                 : cb_error_set(err, CB_EUSAGE, "store:%s is no name of an image", t->o.to->path);
    if (r == 0)
        r = cb_image_adopt(t->env->store, d, err);
    return r < 0 ? r : cb_store_name_set(t->env->store, name, d, err);
}

static void close_it(struct cb_copy_target *t)
{
    copy_local_done((struct copy_local *)t);
    free(t);
}

static const struct cb_copy_target_ops ops = {
    .head = head, .blob = copy_local_blob, .wait_blob = copy_local_wait, .manifest = copy_local_manifest,
    .tag = put_tag, .blobs = copy_local_blobs, .no_referrers = true, .close = close_it,
};

int copy_target_store(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                      struct cb_copy_target **out, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    int r = cb_reference_parse(&ref, o->to->path, err);
    if (r < 0)
        return cb_error_wrap(err, "store");
    struct stored *x = CB_NEW(struct stored);
    x->local.base = (struct cb_copy_target){ &ops, env, *o };
    x->local.has = has;
    x->local.put = put;
    copy_local_init(&x->local, env->jobs);
    *out = &x->local.base;
    return 0;
}

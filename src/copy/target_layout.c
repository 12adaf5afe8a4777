/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"

struct layout {
    struct copy_local local;
    struct cb_layout_out out;
};

static bool has(struct copy_local *t, const struct cb_descriptor *d)
{
    return cb_layout_out_has(&((struct layout *)t)->out, d);
}

static int put(struct copy_local *t, const struct cb_descriptor *d, struct cb_blob_source *bytes, struct cb_error *err)
{
    return cb_layout_out_blob(&((struct layout *)t)->out, d, bytes, t->base.env->cancel, err);
}

static int head(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_place place = { .transport = CB_AT_OCI_DIR, .path = t->o.to->path, .text = t->o.to->text };
    CB_AUTO(cb_copy_source_close) struct cb_copy_source *s = NULL;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest none = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = copy_source_layout(t->env, &place, &s, &e);
    /* A layout that has just been made has no index yet. */
    if (r == -CB_ENOTFOUND)
        return cb_error_move(err, &e);
    if (r == 0)
        r = s->ops->manifest(s, tag, &none, out, &body, &e);
    return r < 0 ? cb_error_move(err, &e) : 0;
}

static void print_index(void *arg, const struct cb_index *onto, struct cb_strbuf *out)
{
    copy_local_index(arg, onto, out);
}

static int finish(struct cb_copy_target *t, struct cb_error *err)
{
    struct layout *x = (struct layout *)t;
    struct cb_layout_index index = { print_index, &x->local };
    if (!x->local.n_names)
        return 0;
    int r = cb_layout_out_index(&x->out, &index, err);
    if (r < 0)
        cb_error_wrap(err, "OCI layout %s", t->o.to->path);
    return r;
}

static void close_it(struct cb_copy_target *t)
{
    struct layout *x = (struct layout *)t;
    copy_local_done(&x->local);
    cb_layout_out_done(&x->out);
    free(x);
}

static const struct cb_copy_target_ops ops = {
    .head = head, .blob = copy_local_blob, .wait_blob = copy_local_wait, .manifest = copy_local_manifest,
    .tag = copy_local_tag, .finish = finish, .blobs = copy_local_blobs, .extra = copy_local_extra, .close = close_it,
};

int copy_target_layout(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                       struct cb_copy_target **out, struct cb_error *err)
{
    struct layout *x = CB_NEW(struct layout);
    x->local.base = (struct cb_copy_target){ &ops, env, *o };
    x->local.has = has;
    x->local.put = put;
    copy_local_init(&x->local, env->jobs);
    int r = cb_layout_out_open(&x->out, o->to->path, err);
    if (r < 0) {
        cb_error_wrap(err, "OCI layout %s", o->to->path);
        close_it(&x->local.base);
        return r;
    }
    *out = &x->local.base;
    return 0;
}

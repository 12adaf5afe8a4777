/* SPDX-License-Identifier: Apache-2.0 */
/* OCI and Docker archives: one tar, written in one go by the only worker. */
#include "copy/private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/out_file.h"

struct archive {
    struct copy_local local;
    struct cb_out_file out;
    struct cb_tar_out tar;
    bool docker, dirs[3]; /* blobs/sha256, blobs/sha512 are there */
    struct cb_manifest manifest; /* docker: the image's */
};

/* Every blob is named once, so nothing is there before. */
static int put(struct copy_local *t, const struct cb_descriptor *d, struct cb_blob_source *bytes, struct cb_error *err)
{
    struct archive *x = (struct archive *)t;
    int r = 0;
    if (!x->dirs[d->digest.alg]) {
        cb_autofree char *dir = cb_asprintf("blobs/%s", cb_digest_alg_name(d->digest.alg));
        r = cb_tar_out_dir(&x->tar, dir, err);
        x->dirs[d->digest.alg] = true;
    }
    return r < 0 ? r : cb_tar_out_blob(&x->tar, d, bytes, err);
}

/* It is always written anew. */
static int head(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out CB_UNUSED, struct cb_error *err)
{
    return cb_error_set(err, CB_ENOTFOUND, "%s has no %s yet", t->o.to->path, tag ? tag : "image");
}

static int put_tag(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
                   struct cb_error *err)
{
    struct archive *x = (struct archive *)t;
    int r = x->docker ? cb_manifest_parse(&x->manifest, body.ptr, body.len, d->media_type, err) : 0;
    return r < 0 ? r : copy_local_tag(t, d, body, tag, err);
}

/* What Docker 25 and later write too: paths into the OCI layout that is the same archive. */
static void print_manifest_json(const struct archive *x, struct cb_strbuf *out)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    char path[256];
    cb_autojson json_t *list = json_array();
    json_t *one = json_object(), *layers = json_array(), *tags = json_array();
    const char *text = x->local.base.o.to->name;
    if (text && cb_reference_parse(&ref, text, NULL) == 0) {
        cb_strbuf_add_familiar(&name, &ref);
        json_array_append_new(tags, json_string(name.buf));
    }
    for (size_t i = 0; i < x->manifest.n_layers; i++)
        json_array_append_new(layers, json_string(copy_blob_path(path, &x->manifest.layers[i].digest)));
    json_object_set_new(one, "Config", json_string(copy_blob_path(path, &x->manifest.config.digest)));
    json_object_set_new(one, "RepoTags", tags);
    json_object_set_new(one, "Layers", layers);
    json_array_append_new(list, one);
    cb_json_print(out, list);
}

static int write_end(struct archive *x, struct cb_error *err)
{
    struct cb_strbuf index cb_cleanup_strbuf = CB_STRBUF_INIT, docker cb_cleanup_strbuf = CB_STRBUF_INIT;
    copy_local_index(&x->local, NULL, &index);
    if (x->docker)
        print_manifest_json(x, &docker);
    int r = cb_tar_out_text(&x->tar, "index.json", (struct cb_slice){ index.buf, index.len }, err);
    if (r == 0 && x->docker)
        r = cb_tar_out_text(&x->tar, "manifest.json", (struct cb_slice){ docker.buf, docker.len }, err);
    if (r == 0)
        r = cb_tar_out_text(&x->tar, "oci-layout", CB_SLICE(CB_OCI_LAYOUT), err);
    if (r == 0)
        r = cb_tar_out_finish(&x->tar, err);
    return cb_out_file_close(&x->out, r, err);
}

static int finish(struct cb_copy_target *t, struct cb_error *err)
{
    struct archive *x = (struct archive *)t;
    int r = write_end(x, err);
    if (r < 0)
        cb_error_wrap(err, "write %s", t->o.to->path);
    return r;
}

static void close_it(struct cb_copy_target *t)
{
    struct archive *x = (struct archive *)t;
    copy_local_done(&x->local);
    cb_tar_out_done(&x->tar);
    (void)!cb_out_file_close(&x->out, -CB_ECANCELED, NULL);
    cb_manifest_done(&x->manifest);
    free(x);
}

static const struct cb_copy_target_ops oci_ops = {
    .head = head, .blob = copy_local_blob, .wait_blob = copy_local_wait, .manifest = copy_local_manifest,
    .tag = put_tag, .finish = finish, .blobs = copy_local_blobs,
    .extra = copy_local_extra, .close = close_it,
};
static const struct cb_copy_target_ops docker_ops = {
    .head = head, .blob = copy_local_blob, .wait_blob = copy_local_wait, .manifest = copy_local_manifest,
    .tag = put_tag, .finish = finish, .blobs = copy_local_blobs, .one_image = true, .no_referrers = true,
    .close = close_it,
};

static int open_it(struct archive *x, const char *path, struct cb_error *err)
{
    struct cb_export_options o = { .clamp_mtime = INT64_MAX, .cancel = x->local.base.env->cancel };
    int r = cb_out_file_open(&x->out, path, err);
    if (r == 0)
        r = cb_tar_out_open(&x->tar, x->out.fd, &o, err);
    return r < 0 ? r : cb_tar_out_dir(&x->tar, "blobs", err);
}

int copy_target_archive(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                        struct cb_copy_target **out, struct cb_error *err)
{
    struct archive *x = CB_NEW(struct archive);
    *x = (struct archive){ .out = CB_OUT_FILE_INIT, .docker = o->to->transport == CB_AT_DOCKER_ARCHIVE };
    x->local.base = (struct cb_copy_target){ x->docker ? &docker_ops : &oci_ops, env, *o };
    x->local.put = put;
    x->local.once = true;
    x->local.full_name = x->docker ? o->to->name : NULL;
    copy_local_init(&x->local, 1);
    int r = open_it(x, o->to->path, err);
    if (r < 0) {
        cb_error_wrap(err, "write %s", o->to->path);
        close_it(&x->local.base);
        return r;
    }
    *out = &x->local.base;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/timeutil.h"

/* ---- a tar to a descriptor ---- */

static int out_write(struct cb_blob_sink *s, const void *buf, size_t n, struct cb_error *err)
{
    int r = cb_fd_write_all(((struct cb_tar_out *)s)->fd, buf, n, err);
    if (r < 0)
        cb_error_wrap(err, "write the archive");
    return r;
}

static int out_commit(struct cb_blob_sink *s, const struct cb_digest *digest, uint64_t size, struct cb_error *err)
{
    (void)s;
    (void)digest;
    (void)size;
    (void)err;
    return 0;
}

static void out_close(struct cb_blob_sink *s)
{
    (void)s;
}

static const struct cb_blob_sink_ops out_ops = { out_write, out_commit, out_close };

int cb_tar_out_open(struct cb_tar_out *t, int fd, const struct cb_export_options *o, struct cb_error *err)
{
    *t = (struct cb_tar_out){ .base = { &out_ops },
                              .fd = fd,
                              .mtime = o->clamp_mtime == INT64_MAX ? 0 : o->clamp_mtime };
    struct cb_layer_write_options wo = {
        .format = { CB_COMPRESSION_NONE },
        .clamp_mtime = o->clamp_mtime,
        .sink = &t->base,
        .cancel = o->cancel,
    };
    t->w = cb_layer_writer_new(&wo, err);
    return t->w ? 0 : -CB_ELOCAL;
}

void cb_tar_out_done(struct cb_tar_out *t)
{
    cb_layer_writer_free(t->w);
    t->w = NULL;
}

int cb_tar_out_dir(struct cb_tar_out *t, const char *path, struct cb_error *err)
{
    struct cb_entry e = { .path = path, .type = CB_ENTRY_DIR, .mode = 0755, .mtime = t->mtime };
    return cb_layer_writer_add(t->w, &e, NULL, err);
}

int cb_tar_out_text(struct cb_tar_out *t, const char *path, struct cb_slice text, struct cb_error *err)
{
    struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .mode = 0644, .mtime = t->mtime, .size = text.len };
    cb_autosource struct cb_blob_source *src = cb_blob_source_from_mem(text.ptr, text.len);
    return cb_layer_writer_add(t->w, &e, src, err);
}

int cb_tar_out_blob(struct cb_tar_out *t, const struct cb_descriptor *d, struct cb_blob_source *bytes,
                    struct cb_error *err)
{
    char path[256], hex[CB_DIGEST_TEXT_MAX];
    snprintf(path, sizeof path, "blobs/%s/%s", cb_digest_alg_name(d->digest.alg), cb_digest_hex(&d->digest, hex));
    struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .mode = 0644, .mtime = t->mtime, .size = d->size };
    return cb_layer_writer_add(t->w, &e, bytes, err);
}

int cb_tar_out_finish(struct cb_tar_out *t, struct cb_error *err)
{
    struct cb_layer l cb_cleanup_layer = { 0 };
    return cb_layer_writer_finish(t->w, &l, NULL, err);
}

/* ---- the blobs of an image ---- */

static int by_digest(const void *a, const void *b)
{
    return cb_digest_cmp(&((const struct cb_descriptor *)a)->digest, &((const struct cb_descriptor *)b)->digest);
}

const struct cb_descriptor *cb_export_top(const struct cb_export_options *o)
{
    return o->tree ? &o->tree->v[o->tree->n - 1].image.desc : &o->image->desc;
}

static void list_add(struct cb_export_list *l, const struct cb_descriptor *d)
{
    CB_GROW(l->v, l->n, l->cap);
    l->v[l->n++] = *d;
}

static void list_image(struct cb_export_list *l, const struct cb_image *i)
{
    list_add(l, &i->desc);
    list_add(l, &i->manifest.config);
    for (size_t k = 0; k < i->manifest.n_layers; k++)
        list_add(l, &i->manifest.layers[k]);
}

static void list_one(struct cb_export_list *l, const struct cb_export_options *o)
{
    if (!o->tree)
        list_image(l, o->image);
    for (size_t i = 0; o->tree && i < o->tree->n; i++) {
        if (o->tree->v[i].is_index)
            list_add(l, &o->tree->v[i].image.desc);
        else
            list_image(l, &o->tree->v[i].image);
    }
}

void cb_export_list(const struct cb_export_options *o, struct cb_export_list *out)
{
    struct cb_export_list l = { 0 };
    size_t kept = 0;
    for (; o; o = o->more)
        list_one(&l, o);
    qsort(l.v, l.n, sizeof *l.v, by_digest);
    for (size_t k = 0; k < l.n; k++)
        if (kept == 0 || !cb_digest_eq(&l.v[kept - 1].digest, &l.v[k].digest))
            l.v[kept++] = l.v[k];
    l.n = kept;
    *out = l;
}

void cb_export_tell(const struct cb_export_options *o, const struct cb_descriptor *d, bool done)
{
    char id[CB_DIGEST_TEXT_MAX];
    if (!o->step)
        return;
    cb_digest_text(&d->digest, id);
    id[strcspn(id, ":") + 1 + 12] = '\0';
    cb_step_status(o->step, id, done ? d->size : 0, d->size);
    if (done)
        cb_step_status_done(o->step, id);
}

static int add_blob(struct cb_tar_out *t, const struct cb_export_options *o, const struct cb_descriptor *d,
                    struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    cb_export_tell(o, d, false);
    int r = cb_store_blob_source(o->store, &d->digest, &src, err);
    if (r == 0)
        r = cb_tar_out_blob(t, d, src, err);
    if (r == 0)
        cb_export_tell(o, d, true);
    return r;
}

int cb_export_blobs(struct cb_tar_out *t, const struct cb_export_options *o, struct cb_error *err)
{
    struct cb_export_list list;
    cb_export_list(o, &list);
    enum cb_digest_alg alg = CB_DIGEST_NONE;
    int r = cb_tar_out_dir(t, "blobs", err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        char dir[32];
        snprintf(dir, sizeof dir, "blobs/%s", cb_digest_alg_name(list.v[i].digest.alg));
        if (alg != list.v[i].digest.alg)
            r = cb_tar_out_dir(t, dir, err);
        alg = list.v[i].digest.alg;
        if (r == 0)
            r = add_blob(t, o, &list.v[i], err);
    }
    free(list.v);
    return r;
}

/* ---- index.json ---- */

static void name_entry(struct cb_descriptor *d, const char *name)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    cb_strmap_set(&d->annotations, CB_ANN_IMAGE_NAME, name);
    if (cb_reference_parse(&ref, name, NULL) == 0 && ref.tag)
        cb_strmap_set(&d->annotations, CB_ANN_REF_NAME, ref.tag);
}

static void add_entry(struct cb_index *idx, const struct cb_descriptor *top, const char *name)
{
    idx->manifests = cb_reallocarray(idx->manifests, idx->n_manifests + 1, sizeof *idx->manifests);
    struct cb_descriptor *d = &idx->manifests[idx->n_manifests++];
    *d = (struct cb_descriptor){ 0 };
    cb_descriptor_copy(d, top);
    cb_strmap_remove(&d->annotations, CB_ANN_IMAGE_NAME);
    cb_strmap_remove(&d->annotations, CB_ANN_REF_NAME);
    if (name)
        name_entry(d, name);
}

/* An entry of the old index that a new one takes the place of: of the same full name; of the same tag if it has no
 * full name; of the same digest if it has no name at all. */
static bool is_replaced(const struct cb_descriptor *old, const struct cb_export_options *o)
{
    const char *full = cb_strmap_get(&old->annotations, CB_ANN_IMAGE_NAME);
    const char *tag = cb_strmap_get(&old->annotations, CB_ANN_REF_NAME);
    for (size_t i = 0; i < o->n_names; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        if (full ? cb_streq(full, o->names[i])
                 : tag && cb_reference_parse(&ref, o->names[i], NULL) == 0 && cb_streq(tag, ref.tag))
            return true;
    }
    return !full && !tag && cb_digest_eq(&old->digest, &cb_export_top(o)->digest);
}

static bool is_replaced_by_any(const struct cb_descriptor *old, const struct cb_export_options *o)
{
    for (; o; o = o->more)
        if (is_replaced(old, o))
            return true;
    return false;
}

void cb_export_index(struct cb_strbuf *out, const struct cb_export_options *o, const struct cb_index *onto)
{
    struct cb_index idx cb_cleanup_index = { .media_type = cb_strdup(CB_MT_OCI_INDEX) };
    for (size_t i = 0; onto && i < onto->n_manifests; i++) {
        if (is_replaced_by_any(&onto->manifests[i], o))
            continue;
        idx.manifests = cb_reallocarray(idx.manifests, idx.n_manifests + 1, sizeof *idx.manifests);
        struct cb_descriptor *d = &idx.manifests[idx.n_manifests++];
        *d = (struct cb_descriptor){ 0 };
        cb_descriptor_copy(d, &onto->manifests[i]);
    }
    for (; o; o = o->more) {
        for (size_t i = 0; i < o->n_names; i++)
            add_entry(&idx, cb_export_top(o), o->names[i]);
        if (o->n_names == 0)
            add_entry(&idx, cb_export_top(o), NULL);
    }
    if (onto)
        cb_strmap_copy(&idx.annotations, &onto->annotations);
    cb_index_print(out, &idx);
}

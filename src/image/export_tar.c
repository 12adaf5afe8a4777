/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an image as one tar; of several, each below a directory of its own. */
#include "image/private.h"
#include "util/alloc.h"

struct flat {
    const struct cb_export_options *o;
    const char *dir;                     /* "" or "linux_arm64": what every path stands below */
    struct cb_stack *stack;
    struct cb_hashmap *first;            /* address of the bytes' entry → the first path that has them */
    const struct cb_stack_entry **files; /* which is written with its bytes */
    size_t n_files;
};

static const char *data_key(char buf[static 32], const struct cb_entry *data)
{
    snprintf(buf, 32, "%p", (const void *)data);
    return buf;
}

/* The first path in order carries the bytes, the others become links to it, whatever the layers did. */
static void plan(struct flat *f)
{
    size_t n = cb_stack_count(f->stack);
    f->files = cb_calloc(n + 1, sizeof *f->files);
    f->first = cb_hashmap_new();
    for (size_t i = 0; i < n; i++) {
        const struct cb_stack_entry *e = cb_stack_at(f->stack, i);
        char key[32];
        if (e->data && !cb_hashmap_get(f->first, data_key(key, e->data))) {
            cb_hashmap_put(f->first, key, (void *)(uintptr_t)e->e->path);
            f->files[f->n_files++] = e;
        }
    }
}

/* Below the directory; owned. */
static char *below(const struct flat *f, const char *path)
{
    return cb_asprintf("%s%s%s", f->dir, *f->dir && *path ? "/" : "", path);
}

static int put_entry(struct flat *f, struct cb_tar_out *t, struct cb_entry e, struct cb_blob_source *data,
                     struct cb_error *err)
{
    cb_autofree char *path = below(f, e.path);
    cb_autofree char *link = e.type == CB_ENTRY_HARDLINK ? below(f, e.link) : NULL;
    e.path = path;
    if (link)
        e.link = link;
    return cb_layer_writer_add(t->w, &e, data, err);
}

static int add_entry(struct flat *f, struct cb_files *files, struct cb_tar_out *t, const struct cb_stack_entry *se,
                     struct cb_error *err)
{
    char key[32];
    struct cb_entry e = *se->e;
    if (!se->data && e.type == CB_ENTRY_HARDLINK)
        return cb_error_set(err, CB_EVERIFY, "%s is a hard link to %s, which is no file of its layer or one below",
                            e.path, e.link);
    if (!se->data)
        return put_entry(f, t, e, NULL, err);
    const char *first = cb_hashmap_get(f->first, data_key(key, se->data));
    if (strcmp(first, e.path) != 0) {
        e.type = CB_ENTRY_HARDLINK;
        e.link = first;
        return put_entry(f, t, e, NULL, err);
    }
    cb_autosource struct cb_blob_source *src = NULL;
    int r = cb_files_source(files, se, &src, err);
    if (r < 0)
        return r;
    e.type = CB_ENTRY_FILE;
    e.link = NULL;
    e.size = se->data->size;
    return put_entry(f, t, e, src, err);
}

/* Those that come before that path; NULL: what is left. */
static int add_documents(struct flat *f, struct cb_tar_out *t, const char *before, size_t *at, struct cb_error *err)
{
    int r = 0;
    for (; r == 0 && *at < f->o->n_documents; ++*at) {
        const struct cb_export_document *d = &f->o->documents[*at];
        int order = before ? cb_entry_path_cmp(d->name, before) : -1;
        struct cb_entry e = { .path = d->name, .type = CB_ENTRY_FILE, .mode = 0644, .size = d->len,
                              .mtime = f->o->clamp_mtime == INT64_MAX ? 0 : f->o->clamp_mtime };
        if (order > 0)
            break;
        if (order == 0)
            return cb_error_set(err, CB_ECONF, CB_DOCUMENT_IN_THE_WAY, d->name);
        cb_autosource struct cb_blob_source *src = cb_blob_source_from_mem(d->text, d->len);
        r = put_entry(f, t, e, src, err);
    }
    return r;
}

static int write_flat(struct flat *f, const struct cb_layer *layers, struct cb_tar_out *t, struct cb_error *err)
{
    struct cb_files_options fo = {
        .store = f->o->store,
        .stack = f->stack,
        .layers = layers,
        .wanted = f->files,
        .n_wanted = f->n_files,
        .cancel = f->o->cancel,
    };
    CB_AUTO(cb_files_free) struct cb_files *files = NULL;
    int r = cb_files_open(&fo, &files, err);
    if (r == 0 && *f->dir)
        r = cb_tar_out_dir(t, f->dir, err);
    size_t documents = 0;
    for (size_t i = 0; r == 0 && i < cb_stack_count(f->stack); i++) {
        const struct cb_stack_entry *se = cb_stack_at(f->stack, i);
        r = add_documents(f, t, se->e->path, &documents, err);
        if (r == 0)
            r = add_entry(f, files, t, se, err);
    }
    return r < 0 ? r : add_documents(f, t, NULL, &documents, err);
}

static int write_image(const struct cb_export_options *o, const char *dir, struct cb_tar_out *t, struct cb_error *err)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = NULL;
    int r = cb_image_stack(o->store, o->image, o->cancel, &stack, err);
    if (r < 0)
        return r;
    struct flat f = { .o = o, .dir = dir, .stack = stack };
    struct cb_layer *layers = cb_image_layers(o->image);
    plan(&f);
    r = write_flat(&f, layers, t, err);
    cb_image_layers_free(layers, o->image->config.n_diff_ids);
    cb_hashmap_free(f.first);
    free(f.files);
    return r;
}

int cb_export_tar_split(const struct cb_export_options *v, const char *const *dirs, size_t n, int fd,
                        struct cb_error *err)
{
    struct cb_tar_out t cb_cleanup_tar_out = { 0 };
    int r = cb_tar_out_open(&t, fd, &v[0], err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = write_image(&v[i], dirs[i], &t, err);
    if (r == 0)
        r = cb_tar_out_finish(&t, err);
    if (r < 0)
        cb_error_wrap(err, "export the files as tar");
    return r;
}

int cb_export_tar(const struct cb_export_options *o, int fd, struct cb_error *err)
{
    static const char *const none = "";
    return cb_export_tar_split(o, &none, 1, fd, err);
}

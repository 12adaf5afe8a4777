/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/path.h"

/* ---- a directory: layer after layer, each read once ---- */

static int refuse_full(int fd, const char *path, struct cb_error *err)
{
    int dup = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dup >= 0 ? fdopendir(dup) : NULL;
    if (!d)
        return cb_error_sys(err, CB_ELOCAL, errno, "read %s", path);
    bool full = false;
    errno = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        full = full || (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0);
    int bad = errno;
    closedir(d);
    if (bad)
        return cb_error_sys(err, CB_ELOCAL, bad, "read %s", path);
    return full ? cb_error_set(err, CB_EUSAGE, "%s is not empty", path) : 0;
}

static int unpack_one(struct cb_unpack *u, const struct cb_export_options *o, size_t i, struct cb_error *err)
{
    const struct cb_descriptor *d = &o->image->manifest.layers[i];
    struct cb_layer_read_options ro = { .cancel = o->cancel };
    int r = cb_store_blob_source(o->store, &d->digest, &ro.source, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return -CB_EVERIFY;
    struct cb_layer_intake in = { .cancel = o->cancel };
    struct cb_digest diff_id;
    uint64_t size = 0;
    if ((r = cb_unpack_layer(u, reader, &in, err)) == 0)
        r = cb_layer_reader_finish(reader, &o->image->config.diff_ids[i], &diff_id, &size, NULL, err);
    char text[CB_DIGEST_TEXT_MAX];
    if (r < 0)
        cb_error_wrap(err, "layer %s", cb_digest_text(&d->digest, text));
    return r;
}

static int unpack_all(const struct cb_export_options *o, int root, struct cb_error *err)
{
    struct cb_unpack_options uo = {
        .store = o->store, .root_fd = root, .flat = true, .single_id = geteuid() != 0, .clamp_mtime = o->clamp_mtime
    };
    struct cb_unpack u cb_cleanup_unpack = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    int r = cb_unpack_init(&u, &uo, err);
    for (size_t i = 0; r == 0 && i < o->image->manifest.n_layers; i++)
        r = unpack_one(&u, o, i, err);
    return r == 0 ? cb_unpack_finish(&u, err) : r;
}

int cb_export_local(const struct cb_export_options *o, const char *path, struct cb_error *err)
{
    int r = cb_fs_mkdirs(path, 0755, err);
    if (r < 0)
        return r;
    cb_autoclose int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    if ((r = refuse_full(root, path, err)) < 0)
        return r;
    if ((r = unpack_all(o, root, err)) < 0)
        cb_error_wrap(err, "export to %s", path);
    return r;
}

/* ---- one tar, sorted ---- */

struct flat {
    const struct cb_export_options *o;
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

/* A hard link to what has no bytes: the thing itself once more. */
static int add_special_link(struct flat *f, struct cb_tar_out *t, const struct cb_stack_entry *se,
                            struct cb_error *err)
{
    const struct cb_entry *to = cb_toc_find(cb_stack_toc(f->stack, se->layer), se->e->link);
    if (!to || to->type == CB_ENTRY_FILE || to->type == CB_ENTRY_HARDLINK || to->type == CB_ENTRY_DIR)
        return cb_error_set(err, CB_EVERIFY, "%s is a hard link to %s, which no layer holds", se->e->path,
                            se->e->link);
    struct cb_entry e = *to;
    e.path = se->e->path;
    return cb_layer_writer_add(t->w, &e, NULL, err);
}

static int add_entry(struct flat *f, struct cb_files *files, struct cb_tar_out *t, const struct cb_stack_entry *se,
                     struct cb_error *err)
{
    char key[32];
    struct cb_entry e = *se->e;
    if (!se->data && e.type == CB_ENTRY_HARDLINK)
        return add_special_link(f, t, se, err);
    if (!se->data)
        return cb_layer_writer_add(t->w, &e, NULL, err);
    const char *first = cb_hashmap_get(f->first, data_key(key, se->data));
    if (strcmp(first, e.path) != 0) {
        e.type = CB_ENTRY_HARDLINK;
        e.link = first;
        return cb_layer_writer_add(t->w, &e, NULL, err);
    }
    cb_autosource struct cb_blob_source *src = NULL;
    int r = cb_files_source(files, se, &src, err);
    if (r < 0)
        return r;
    e.type = CB_ENTRY_FILE;
    e.link = NULL;
    e.size = se->data->size;
    return cb_layer_writer_add(t->w, &e, src, err);
}

static int write_flat(struct flat *f, const struct cb_layer *layers, int fd, struct cb_error *err)
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
    struct cb_tar_out t cb_cleanup_tar_out = { 0 };
    int r = cb_files_open(&fo, &files, err);
    if (r == 0)
        r = cb_tar_out_open(&t, fd, f->o, err);
    for (size_t i = 0; r == 0 && i < cb_stack_count(f->stack); i++)
        r = add_entry(f, files, &t, cb_stack_at(f->stack, i), err);
    return r == 0 ? cb_tar_out_finish(&t, err) : r;
}

int cb_export_tar(const struct cb_export_options *o, int fd, struct cb_error *err)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = NULL;
    int r = cb_image_stack(o->store, o->image, o->cancel, &stack, err);
    if (r == 0) {
        struct flat f = { .o = o, .stack = stack };
        struct cb_layer *layers = cb_image_layers(o->image);
        plan(&f);
        r = write_flat(&f, layers, fd, err);
        cb_image_layers_free(layers, o->image->config.n_diff_ids);
        cb_hashmap_free(f.first);
        free(f.files);
    }
    if (r < 0)
        cb_error_wrap(err, "export the files as tar");
    return r;
}

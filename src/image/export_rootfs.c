/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/path.h"

/* ---- a directory: layer after layer, each read once ---- */

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

static int write_document(const struct cb_export_options *o, const struct cb_export_document *d, int root,
                          struct cb_error *err)
{
    const struct timespec clamped[2] = { { .tv_sec = o->clamp_mtime }, { .tv_sec = o->clamp_mtime } };
    struct stat st;
    if (fstatat(root, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return cb_error_set(err, CB_ECONF, CB_DOCUMENT_IN_THE_WAY, d->name);
    int r = cb_fs_write_file(root, d->name, d->text, d->len, 0644, err);
    if (r == 0 && o->clamp_mtime != INT64_MAX && utimensat(root, d->name, clamped, AT_SYMLINK_NOFOLLOW) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "set the time of %s", d->name);
    return r;
}

static int unpack_all(const struct cb_export_options *o, int root, struct cb_error *err)
{
    struct cb_unpack_options uo = {
        .root_fd = root, .flat = true, .single_id = o->users_own, .clamp_mtime = o->clamp_mtime
    };
    struct cb_unpack u cb_cleanup_unpack = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    int r = cb_unpack_init(&u, &uo, err);
    for (size_t i = 0; r == 0 && i < o->image->manifest.n_layers; i++)
        r = unpack_one(&u, o, i, err);
    for (size_t i = 0; r == 0 && i < o->n_documents; i++)
        r = write_document(o, &o->documents[i], root, err);
    if (r == 0)
        r = cb_unpack_finish(&u, err);
    struct cb_unpack_marks_options mo = { .root_fd = root, .single_id = uo.single_id };
    return r < 0 ? r : cb_unpack_marks_apply(&u.marks, &mo, err);
}

/* What is there already stays where the image has nothing. Nothing of the image is seen before all of it is there. */
static int unpack_beside(const struct cb_export_options *o, int root, struct cb_error *err)
{
    char name[64];
    cb_autoclose int fd = -1;
    int r = cb_fs_mkdtempat(root, ".cbpush-export.", name, 0700, &fd, err);
    if (r < 0)
        return r;
    r = unpack_all(o, fd, err);
    if (r == 0)
        r = cb_export_merge(fd, root, err);
    int removed = cb_fs_remove_tree(root, name, r < 0 ? NULL : err);
    return r < 0 ? r : removed;
}

/* Half a tree is of no use to anybody, and what filled the disk goes on filling it. */
static int unpack_alone(const struct cb_export_options *o, int root, struct cb_error *err)
{
    int r = unpack_all(o, root, err);
    int removed = r < 0 ? cb_fs_remove_contents(root, NULL) : 0;
    return CB_MIN(r, removed);
}

int cb_export_local(const struct cb_export_options *o, const char *path, struct cb_error *err)
{
    int r = cb_fs_mkdirs(path, 0755, err);
    if (r < 0)
        return r;
    cb_autoclose int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    r = cb_fs_is_empty(root) ? unpack_alone(o, root, err) : unpack_beside(o, root, err);
    return r < 0 ? cb_error_wrap(err, "export to %s", path) : 0;
}

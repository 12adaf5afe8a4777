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
    return full ? cb_error_set(err, CB_EUSAGE, "%s is not empty, and what is there would be mixed with the image: "
                                               "empty it, or name another directory", path)
                : 0;
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
        .root_fd = root, .flat = true, .single_id = geteuid() != 0, .clamp_mtime = o->clamp_mtime
    };
    struct cb_unpack u cb_cleanup_unpack = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    int r = cb_unpack_init(&u, &uo, err);
    for (size_t i = 0; r == 0 && i < o->image->manifest.n_layers; i++)
        r = unpack_one(&u, o, i, err);
    if (r == 0)
        r = cb_unpack_finish(&u, err);
    struct cb_unpack_marks_options mo = { .root_fd = root, .single_id = uo.single_id };
    return r < 0 ? r : cb_unpack_marks_apply(&u.marks, &mo, err);
}

int cb_export_local_check(const char *path, struct cb_error *err)
{
    cb_autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    return refuse_full(fd, path, err);
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

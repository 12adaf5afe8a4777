/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/fd.h"
#include "util/fs.h"

int cb_export_oci_tar(const struct cb_export_options *o, int fd, struct cb_error *err)
{
    struct cb_tar_out t cb_cleanup_tar_out = { 0 };
    struct cb_strbuf index cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_export_index(&index, o, NULL);
    int r = cb_tar_out_open(&t, fd, o, err);
    if (r == 0 && (r = cb_export_blobs(&t, o, err)) == 0 &&
        (r = cb_tar_out_text(&t, "index.json", (struct cb_slice){ index.buf, index.len }, err)) == 0 &&
        (r = cb_tar_out_text(&t, "oci-layout", CB_SLICE(CB_OCI_LAYOUT), err)) == 0)
        r = cb_tar_out_finish(&t, err);
    if (r < 0)
        cb_error_wrap(err, "export as OCI archive");
    return r;
}

/* ---- into a directory ---- */

static int open_dir(int at, const char *name, int *fd, struct cb_error *err)
{
    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s", name);
    *fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *fd >= 0 ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "open %s", name);
}

static int copy_bytes(struct cb_blob_source *src, int fd, const struct cb_cancel *cancel, struct cb_error *err)
{
    char buf[64 << 10];
    for (;;) {
        size_t got = 0;
        int r = cb_cancel_check(cancel, err);
        if (r < 0 || (r = cb_blob_read(src, buf, sizeof buf, &got, err)) < 0)
            return r;
        if (got == 0)
            return 0;
        if ((r = cb_fd_write_all(fd, buf, got, err)) < 0)
            return r;
    }
}

static int put_blob(const struct cb_export_options *o, int blobs, const struct cb_descriptor *d, struct cb_error *err)
{
    cb_autoclose int dir = -1;
    char hex[CB_DIGEST_TEXT_MAX];
    struct stat st;
    int r = open_dir(blobs, cb_digest_alg_name(d->digest.alg), &dir, err);
    if (r < 0)
        return r;
    cb_digest_hex(&d->digest, hex);
    bool there = fstatat(dir, hex, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size)
        return 0;
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_tmpfile tmp cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    if ((r = cb_store_blob_source(o->store, &d->digest, &src, err)) < 0 ||
        (r = cb_tmpfile_open(&tmp, dir, 0644, err)) < 0 || (r = copy_bytes(src, tmp.fd, o->cancel, err)) < 0)
        return r;
    bool existed = false;
    return there ? cb_tmpfile_replace(&tmp, dir, hex, err) : cb_tmpfile_publish(&tmp, dir, hex, &existed, err);
}

static int put_blobs(const struct cb_export_options *o, int root, struct cb_error *err)
{
    cb_autoclose int blobs = -1;
    struct cb_export_list list;
    int r = open_dir(root, "blobs", &blobs, err);
    cb_export_list(o, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = put_blob(o, blobs, &list.v[i], err);
    free(list.v);
    return r;
}

static int read_small(int root, const char *name, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autoclose int fd = openat(root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", name);
    int r = cb_fd_slurp(fd, CB_MAX_MANIFEST, out, err);
    return r < 0 ? r : 1;
}

static int put_index(const struct cb_export_options *o, int root, struct cb_error *err)
{
    struct cb_strbuf old cb_cleanup_strbuf = CB_STRBUF_INIT, text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_index idx cb_cleanup_index = { 0 };
    int there = read_small(root, "index.json", &old, err);
    if (there < 0)
        return there;
    int r = there ? cb_index_parse(&idx, old.buf, old.len, CB_MT_OCI_INDEX, err) : 0;
    if (r < 0) {
        cb_error_wrap(err, "index.json");
        return r;
    }
    cb_export_index(&text, o, there ? &idx : NULL);
    return cb_fs_write_file(root, "index.json", text.buf, text.len, 0644, err);
}

static int put_layout(int root, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int there = read_small(root, "oci-layout", &text, err);
    if (there < 0)
        return there;
    if (there && !strstr(text.buf, "\"1."))
        return cb_error_set(err, CB_EVERIFY, "oci-layout is of a version that is not known here");
    return there ? 0 : cb_fs_write_file(root, "oci-layout", CB_OCI_LAYOUT, strlen(CB_OCI_LAYOUT), 0644, err);
}

int cb_export_oci_dir(const struct cb_export_options *o, const char *path, struct cb_error *err)
{
    int r = cb_fs_mkdirs(path, 0755, err);
    if (r < 0)
        return r;
    cb_autoclose int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    /* The lock keeps two exports of ours from losing each other's names; blobs come before the index that refers to
     * them. */
    if ((r = cb_fs_lock(root, true, true, err)) == 0 && (r = put_layout(root, err)) == 0 &&
        (r = put_blobs(o, root, err)) == 0)
        r = put_index(o, root, err);
    if (r < 0)
        cb_error_wrap(err, "export to the OCI layout %s", path);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"

static int open_dir(int at, const char *name, int *fd, struct cb_error *err)
{
    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s", name);
    *fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *fd >= 0 ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "open %s", name);
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

int cb_layout_out_open(struct cb_layout_out *l, const char *path, struct cb_error *err)
{
    *l = (struct cb_layout_out)CB_LAYOUT_OUT_INIT;
    int r = cb_fs_mkdirs(path, 0755, err);
    if (r < 0)
        return r;
    l->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->root < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    r = put_layout(l->root, err);
    return r < 0 ? r : open_dir(l->root, "blobs", &l->blobs, err);
}

void cb_layout_out_done(struct cb_layout_out *l)
{
    cb_close_p(&l->blobs);
    cb_close_p(&l->root);
}

/* ---- blobs ---- */

static bool is_there(const struct cb_layout_out *l, const struct cb_descriptor *d, bool *right_size)
{
    char path[256], hex[CB_DIGEST_TEXT_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", cb_digest_alg_name(d->digest.alg), cb_digest_hex(&d->digest, hex));
    bool there = fstatat(l->blobs, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    *right_size = there && S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;
    return there;
}

bool cb_layout_out_has(const struct cb_layout_out *l, const struct cb_descriptor *d)
{
    bool right_size = false;
    return is_there(l, d, &right_size) && right_size;
}

int cb_layout_out_blob(const struct cb_layout_out *l, const struct cb_descriptor *d, struct cb_blob_source *bytes,
                       const struct cb_cancel *cancel, struct cb_error *err)
{
    cb_autoclose int dir = -1;
    struct cb_tmpfile tmp cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    char hex[CB_DIGEST_TEXT_MAX];
    bool right_size = false, existed = false;
    int r = open_dir(l->blobs, cb_digest_alg_name(d->digest.alg), &dir, err);
    if (r == 0)
        r = cb_tmpfile_open(&tmp, dir, 0644, err);
    if (r == 0)
        r = cb_blob_copy_fd(bytes, tmp.fd, cancel, err);
    if (r < 0)
        return r;
    cb_digest_hex(&d->digest, hex);
    return is_there(l, d, &right_size) ? cb_tmpfile_replace(&tmp, dir, hex, err)
                                       : cb_tmpfile_publish(&tmp, dir, hex, &existed, err);
}

/* ---- index.json ---- */

static int put_index(const struct cb_layout_out *l, const struct cb_layout_index *make, struct cb_error *err)
{
    struct cb_strbuf old cb_cleanup_strbuf = CB_STRBUF_INIT, text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_index idx cb_cleanup_index = { 0 };
    int there = read_small(l->root, "index.json", &old, err);
    if (there < 0)
        return there;
    int r = there ? cb_index_parse(&idx, old.buf, old.len, CB_MT_OCI_INDEX, err) : 0;
    if (r < 0) {
        cb_error_wrap(err, "index.json");
        return r;
    }
    make->print(make->arg, there ? &idx : NULL, &text);
    return cb_fs_write_file(l->root, "index.json", text.buf, text.len, 0644, err);
}

int cb_layout_out_index(const struct cb_layout_out *l, const struct cb_layout_index *make, struct cb_error *err)
{
    /* The lock keeps two writers of ours from losing each other's names. It belongs to the open file: a descriptor of
     * its own, so that it ends here. */
    cb_autoclose int lock = openat(l->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "lock the layout");
    int r = cb_fs_lock(lock, err);
    return r < 0 ? r : put_index(l, make, err);
}

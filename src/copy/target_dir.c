/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "copy/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"

struct dir {
    struct copy_local local;
    int fd;
    struct cb_strbuf top;
};

static bool is_manifest(const struct cb_descriptor *d)
{
    return cb_mt_is_manifest(d->media_type) || cb_mt_is_index(d->media_type);
}

static bool has(struct copy_local *t, const struct cb_descriptor *d)
{
    const struct dir *x = (struct dir *)t;
    char name[256];
    struct stat st;
    return fstatat(x->fd, copy_dir_name(name, &d->digest, is_manifest(d)), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;
}

static int put(struct copy_local *t, const struct cb_descriptor *d, struct cb_blob_source *bytes, struct cb_error *err)
{
    const struct dir *x = (struct dir *)t;
    struct cb_tmpfile tmp cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    char name[256];
    int r = cb_tmpfile_open(&tmp, x->fd, 0644, err);
    if (r == 0)
        r = cb_blob_copy_fd(bytes, tmp.fd, t->base.env->cancel, err);
    return r < 0 ? r : cb_tmpfile_replace(&tmp, x->fd, copy_dir_name(name, &d->digest, is_manifest(d)), err);
}

static int head(struct cb_copy_target *t, const char *tag CB_UNUSED, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_place place = { .transport = CB_AT_DIR, .path = t->o.to->path, .text = t->o.to->text };
    CB_AUTO(cb_copy_source_close) struct cb_copy_source *s = NULL;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest none = { 0 };
    if (faccessat(((struct dir *)t)->fd, COPY_DIR_VERSION, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_set(err, CB_ENOTFOUND, "nothing is there yet");
    int r = copy_source_dir(t->env, &place, &s, err);
    return r < 0 ? r : s->ops->manifest(s, NULL, &none, out, &body, err);
}

/* The top is written last, when all that it names is there. */
static int put_tag(struct cb_copy_target *t, const struct cb_descriptor *d CB_UNUSED, struct cb_slice body,
                   const char *tag CB_UNUSED, struct cb_error *err CB_UNUSED)
{
    struct dir *x = (struct dir *)t;
    cb_strbuf_reset(&x->top);
    cb_strbuf_add(&x->top, body.ptr, body.len);
    return 0;
}

/* ---- the end ---- */

/* A blob, a manifest or a signature of the image that was there before. */
static bool is_old(const struct dir *x, const char *name)
{
    size_t n = strspn(name, "0123456789abcdef");
    char other[256];
    if (cb_starts_with(name, "signature-"))
        return true;
    if ((n != 64 && n != 128) || (name[n] && strcmp(name + n, ".manifest.json")))
        return false;
    for (size_t i = 0; i < x->local.n; i++) {
        const struct cb_descriptor *d = &x->local.v[i]->desc;
        if (!strcmp(name, copy_dir_name(other, &d->digest, is_manifest(d))))
            return false;
    }
    return true;
}

static int remove_old(const struct dir *x, struct cb_error *err)
{
    int fd = openat(x->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        cb_close_p(&fd);
        return cb_error_sys(err, CB_ELOCAL, errno, "read it");
    }
    for (const struct dirent *e; (e = readdir(d));)
        if (is_old(x, e->d_name))
            (void)unlinkat(x->fd, e->d_name, 0);
    closedir(d);
    return 0;
}

static int finish(struct cb_copy_target *t, struct cb_error *err)
{
    struct dir *x = (struct dir *)t;
    if (!x->top.len)
        return 0;
    int r = cb_fs_write_file(x->fd, COPY_DIR_VERSION, COPY_DIR_WRITTEN, strlen(COPY_DIR_WRITTEN), 0644, err);
    if (r == 0)
        r = cb_fs_write_file(x->fd, COPY_DIR_TOP, x->top.buf, x->top.len, 0644, err);
    if (r == 0)
        r = remove_old(x, err);
    return r < 0 ? cb_error_wrap(err, "%s", t->o.to->path) : 0;
}

static void close_it(struct cb_copy_target *t)
{
    struct dir *x = (struct dir *)t;
    copy_local_done(&x->local);
    cb_strbuf_done(&x->top);
    cb_close_p(&x->fd);
    free(x);
}

static const struct cb_copy_target_ops ops = {
    .head = head, .blob = copy_local_blob, .wait_blob = copy_local_wait, .manifest = copy_local_manifest,
    .tag = put_tag, .finish = finish, .blobs = copy_local_blobs, .no_referrers = true, .close = close_it,
};

/* Only what another copy has made is replaced. */
static int check(int at, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autoclose int fd = openat(at, COPY_DIR_VERSION, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT)
        return cb_error_sys(err, CB_ELOCAL, errno, "open " COPY_DIR_VERSION);
    if (fd < 0)
        return cb_fs_is_empty(at) ? 0 : cb_error_set(err, CB_EUSAGE, "holds other files, and no image as skopeo "
                                                                     "writes it: name another directory");
    int r = cb_fd_slurp(fd, CB_MAX_MANIFEST, &text, err);
    return r < 0 ? r : copy_dir_check(&text, err);
}

static int open_it(struct dir *x, const char *path, struct cb_error *err)
{
    int r = cb_fs_mkdirs(path, 0755, err);
    if (r < 0)
        return r;
    x->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return x->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open") : check(x->fd, err);
}

int copy_target_dir(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                    struct cb_copy_target **out, struct cb_error *err)
{
    struct dir *x = CB_NEW(struct dir);
    *x = (struct dir){ .fd = -1, .top = CB_STRBUF_INIT };
    x->local.base = (struct cb_copy_target){ &ops, env, *o };
    x->local.has = has;
    x->local.put = put;
    copy_local_init(&x->local, env->jobs);
    int r = open_it(x, o->to->path, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", o->to->path);
        close_it(&x->local.base);
        return r;
    }
    *out = &x->local.base;
    return 0;
}

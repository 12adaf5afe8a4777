/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/lock_wait.h"

const char *cb_store_blob_path(char *buf, const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, CB_STORE_PATH_MAX, "blobs/%s/%s", cb_digest_alg_name(d->alg), cb_digest_hex(d, hex));
    return buf;
}

const char *cb_store_toc_path(char *buf, const struct cb_digest *diff_id)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, CB_STORE_PATH_MAX, "toc/%s/%s", cb_digest_alg_name(diff_id->alg), cb_digest_hex(diff_id, hex));
    return buf;
}

/* Enough of a chain to tell it by, and short enough for a name that may have a digest of sha512 as well. */
#define CHAIN_HEX 64

const char *cb_store_tree_path(const struct cb_store *s, char *buf, const struct cb_tree_name *name)
{
    char hex[CB_DIGEST_TEXT_MAX], chain[CB_DIGEST_TEXT_MAX] = "";
    if (name->below)
        snprintf(chain, sizeof chain, "+%.*s", CHAIN_HEX,
                 cb_digest_is_set(name->below) ? cb_digest_hex(name->below, hex) : "");
    snprintf(buf, CB_STORE_PATH_MAX, "trees/%s%s%s%s", cb_digest_hex(name->diff_id, hex), chain,
             s->tree_form[0] ? "-" : "", s->tree_form);
    return buf;
}

static void lock_is_slow(void *arg)
{
    const struct cb_store *s = arg;
    cb_autofree char *line = cb_asprintf("waiting for another cbpush that has locked %s", s->root);
    s->busy(s->busy_arg, line);
}

int cb_store_lock_wait(struct cb_store *s, int fd, bool exclusive, struct cb_error *err)
{
    struct cb_lock_wait w = { .cancel = s->cancel, .slow = s->busy ? lock_is_slow : NULL, .slow_arg = s };
    return cb_lock_wait(fd, exclusive, &w, err);
}

int cb_store_lock(struct cb_store *s, bool exclusive, int *fd, struct cb_error *err)
{
    cb_autoclose int f = openat(s->root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/lock", s->root);
    int r = cb_store_lock_wait(s, f, exclusive, err);
    if (r < 0) {
        cb_error_wrap(err, "lock %s", s->root);
        return r;
    }
    *fd = CB_TAKE_FD(f);
    return 0;
}

static int own_dir(struct cb_store *s, const char *path, int *slot, struct cb_error *err)
{
    if (*slot >= 0)
        return 0;
    if (mkdirat(s->root_fd, path, 0700) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/%s", s->root, path);
    *slot = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*slot < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path);
    return 0;
}

int cb_store_tmp_dir(struct cb_store *s, int *fd, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "tmp/%s", s->lease);
    pthread_mutex_lock(&s->dir_mutex);
    int r = own_dir(s, path, &s->tmp_fd, err);
    *fd = s->tmp_fd;
    pthread_mutex_unlock(&s->dir_mutex);
    return r;
}

int cb_store_trash_dir(struct cb_store *s, int *fd, struct cb_error *err)
{
    pthread_mutex_lock(&s->dir_mutex);
    int r = own_dir(s, "trash", &s->trash_fd, err);
    *fd = s->trash_fd;
    pthread_mutex_unlock(&s->dir_mutex);
    return r;
}

void cb_store_serial_name(struct cb_store *s, const char *prefix, char name[static 64])
{
    snprintf(name, 64, "%.40s%u", prefix, atomic_fetch_add(&s->serial, 1u));
}

/* The part of path before its last '/', "." where there is none. */
static void parent_of(const char *path, char buf[static CB_STORE_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(buf, CB_STORE_PATH_MAX, "%.*s", (int)(slash - path), path);
    else
        snprintf(buf, CB_STORE_PATH_MAX, ".");
}

int cb_store_sync_parent(struct cb_store *s, const char *path, struct cb_error *err)
{
    char dir[CB_STORE_PATH_MAX];
    parent_of(path, dir);
    cb_autoclose int fd = openat(s->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, dir);
    return cb_fs_sync_dir(fd, err);
}

static int rename_into(struct cb_store *s, int tmp, const char *name, const char *path)
{
    if (renameat(tmp, name, s->root_fd, path) == 0)
        return 0;
    if (errno != ENOENT)
        return -1;
    char dir[CB_STORE_PATH_MAX];
    parent_of(path, dir);
    if (mkdirat(s->root_fd, dir, 0700) < 0 && errno != EEXIST)
        return -1;
    return renameat(tmp, name, s->root_fd, path);
}

static int write_tmp(int tmp, const char *name, struct cb_slice content, bool durable, struct cb_error *err)
{
    cb_autoclose int fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create a file");
    int r = cb_fd_write_all(fd, content.ptr, content.len, err);
    return r == 0 && durable ? cb_fd_sync(fd, err) : r;
}

int cb_store_put_file(struct cb_store *s, const char *path, struct cb_slice content, bool durable,
                      struct cb_error *err)
{
    int tmp = -1;
    int r = cb_store_tmp_dir(s, &tmp, err);
    if (r < 0)
        return r;
    char name[64];
    cb_store_serial_name(s, "f", name);
    r = write_tmp(tmp, name, content, durable, err);
    if (r == 0 && rename_into(s, tmp, name, path) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "rename");
    if (r == 0 && durable)
        return cb_store_sync_parent(s, path, err);
    if (r < 0) {
        unlinkat(tmp, name, 0);
        cb_error_wrap(err, "write %s/%s", s->root, path);
    }
    return r;
}

int cb_store_trash(struct cb_store *s, const char *path, char name[static CB_STORE_TRASH_NAME], struct cb_error *err)
{
    int trash = -1;
    int r = cb_store_trash_dir(s, &trash, err);
    if (r < 0)
        return r;
    snprintf(name, CB_STORE_TRASH_NAME, "%s.%u", s->lease, atomic_fetch_add(&s->serial, 1u));
    if (renameat(s->root_fd, path, trash, name) < 0) {
        if (errno != ENOENT)
            return cb_error_sys(err, CB_ELOCAL, errno, "move %s/%s to the trash", s->root, path);
        name[0] = '\0';
    }
    return 0;
}

static void closedir_p(DIR **d)
{
    if (*d)
        closedir(*d);
}

int cb_store_each(struct cb_store *s, const char *dir, cb_store_visit_fn *fn, void *arg, struct cb_error *err)
{
    cb_autoclose int fd = openat(s->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, dir);
    CB_CLEANUP(closedir_p) DIR *d = fdopendir(fd);
    if (!d)
        return cb_error_sys(err, CB_ELOCAL, errno, "read %s/%s", s->root, dir);
    fd = -1;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e)
            break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int r = fn(arg, dirfd(d), e->d_name, err);
        if (r < 0)
            return r;
    }
    return errno ? cb_error_sys(err, CB_ELOCAL, errno, "read %s/%s", s->root, dir) : 0;
}

bool cb_store_digest_of_hex(struct cb_digest *out, const char *hex, size_t len)
{
    static const enum cb_digest_alg algs[] = { CB_DIGEST_SHA256, CB_DIGEST_SHA512 };
    for (size_t i = 0; i < CB_COUNTOF(algs); i++) {
        size_t n = cb_digest_len(algs[i]);
        if (len != 2 * n)
            continue;
        struct cb_digest d = { .alg = algs[i] };
        if (!cb_hex_decode(d.raw, hex, n))
            return false;
        *out = d;
        return true;
    }
    return false;
}

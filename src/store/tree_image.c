/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that are images: one file, mounted by the kernel where it lies (CONFIG_EROFS_FS_BACKED_BY_FILE, Linux 6.12) and
 * laid below an overlay without a place of its own (Linux 6.15). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/mnt.h"

#define FEW 64
#define SMALL (UINT64_C(4) << 20)

static int mount_image(int dirfd, const char *name)
{
    char source[40];
    cb_autoclose int file = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0)
        return -errno;
    snprintf(source, sizeof source, "/proc/self/fd/%d", file);
    cb_autoclose int fs = cb_mnt_fsopen("erofs");
    int r = fs < 0 ? fs : cb_mnt_option(fs, "source", source);
    /* Set-user-id programs are for steps, which see the layer through an overlay. */
    return r < 0 ? r : cb_mnt_create(fs, MOUNT_ATTR_RDONLY | CB_MNT_SAFE);
}

/* Mounting costs more than the rest of a short step, so a mount is kept. Under images_mutex, all three. */
static void keep(struct cb_store *s, const char *path, int fd)
{
    struct cb_image_mount *m = CB_NEW(struct cb_image_mount);
    *m = (struct cb_image_mount){ s->mounts, cb_strdup(path), fd };
    s->mounts = m;
}

static int keep_mounted(struct cb_store *s, int tree, const char *path)
{
    int fd = mount_image(tree, "image");
    if (fd >= 0)
        keep(s, path, fd);
    return fd;
}

static const struct cb_image_mount *find_mount(const struct cb_store *s, const char *path)
{
    const struct cb_image_mount *m = s->mounts;
    while (m && strcmp(m->path, path) != 0)
        m = m->next;
    return m;
}

int cb_store_tmp_mount(const struct cb_store_tmp *t, int *fd, struct cb_error *err)
{
    *fd = mount_image(t->fd, "image");
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, -*fd, "mount the image of a layer") : 0;
}

void cb_store_tree_mounted(struct cb_store *s, const struct cb_tree_name *name, int fd)
{
    char path[CB_STORE_PATH_MAX];
    cb_store_tree_path(s, path, name);
    pthread_mutex_lock(&s->images_mutex);
    int own = find_mount(s, path) ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own >= 0)
        keep(s, path, own);
    pthread_mutex_unlock(&s->images_mutex);
}

int cb_tree_image_open(struct cb_store *s, int tree, const char *path)
{
    pthread_mutex_lock(&s->images_mutex);
    const struct cb_image_mount *m = find_mount(s, path);
    int fd = m ? m->fd : keep_mounted(s, tree, path);
    int own = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0 && own < 0)
        own = -errno;
    pthread_mutex_unlock(&s->images_mutex);
    return own;
}

void cb_store_drop_mounts(struct cb_store *s)
{
    pthread_mutex_lock(&s->images_mutex);
    struct cb_image_mount *all = CB_TAKE(s->mounts);
    pthread_mutex_unlock(&s->images_mutex);
    while (all) {
        struct cb_image_mount *m = all;
        all = m->next;
        close(m->fd);
        free(m->path);
        free(m);
    }
}

static int try_overlay(int image, int dir)
{
    cb_autoclose int fs = cb_mnt_fsopen("overlay");
    int r = fs < 0 ? fs : cb_mnt_option_fd(fs, "lowerdir+", image);
    if (r == 0)
        r = cb_mnt_option_fd(fs, "lowerdir+", dir);
    cb_autoclose int mnt = r < 0 ? r : cb_mnt_create(fs, MOUNT_ATTR_RDONLY);
    return mnt < 0 ? mnt : 0;
}

static int write_empty(int dir, struct cb_error *err)
{
    cb_autoclose int fd = openat(dir, "image", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create an image");
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    CB_AUTO(cb_toc_unref) struct cb_toc *empty = cb_toc_builder_finish(b);
    return cb_erofs_write(fd, &(struct cb_erofs_options){ .toc = empty }, err);
}

/* By doing it: versions say little of what a kernel was built with, and of what we may where we are. */
static int try_all(struct cb_store *s, struct cb_error *err)
{
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    int r = cb_store_tmp_new(s, "image", &tmp, err);
    if (r < 0 || (r = write_empty(tmp.fd, err)) != 0)
        return r;
    cb_autoclose int image = mount_image(tmp.fd, "image");
    cb_autoclose int dir = openat(tmp.fd, "fs", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (image < 0)
        return cb_error_sys(err, CB_ELOCAL, -image, "mount an EROFS file");
    r = try_overlay(image, dir);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "an overlay on a mounted EROFS file") : 0;
}

static void decide(struct cb_store *s)
{
    const char *wish = getenv("CBPUSH_TREES");
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    if (cb_streq(wish, "directories")) {
        s->images_why = cb_strdup("CBPUSH_TREES says so");
    } else if (try_all(s, &err) < 0) {
        s->images_why = cb_strdup(cb_error_text(&err));
    }
    s->images_of_all = s->images_of_all || cb_streq(wish, "images");
    s->images = s->images_why ? CB_IMAGES_NO : CB_IMAGES_YES;
}

bool cb_store_wants_images(struct cb_store *s)
{
    pthread_mutex_lock(&s->images_mutex);
    if (s->images == CB_IMAGES_UNTRIED)
        decide(s);
    bool yes = s->images == CB_IMAGES_YES;
    pthread_mutex_unlock(&s->images_mutex);
    return yes;
}

bool cb_store_wants_image_of(struct cb_store *s, size_t entries, uint64_t size)
{
    return cb_store_wants_images(s) && (s->images_of_all || entries > FEW || size > SMALL);
}

const char *cb_store_images_refused(struct cb_store *s)
{
    return cb_store_wants_images(s) ? NULL : s->images_why;
}

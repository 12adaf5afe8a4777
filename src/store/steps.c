/* SPDX-License-Identifier: Apache-2.0 */
/* steps/<hex of key>: a step that a build runs, whose process has the flock of the file. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"
#include "util/fd.h"
#include "util/fs.h"

static const char *step_path(char *buf, const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, CB_STORE_PATH_MAX, "steps/%s", cb_digest_hex(key, hex));
    return buf;
}

int cb_store_step_take(struct cb_store *s, const struct cb_digest *key, int *fd, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    step_path(path, key);
    int r = cb_fs_lock_file(s->root_fd, path, O_RDWR | O_CREAT, fd, err);
    if (r != -CB_ENOTFOUND)
        return r;
    if (err)
        cb_error_done(err);
    if (mkdirat(s->root_fd, "steps", 0700) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/steps", s->root);
    return cb_fs_lock_file(s->root_fd, path, O_RDWR | O_CREAT, fd, err);
}

/* Who takes one that is just being looked at looks again in a moment, as for any that another build has. */
static int clean_one(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    cb_autoclose int fd = -1;
    (void)arg;
    int r = cb_fs_lock_file(dirfd, name, O_RDONLY, &fd, err);
    if (r == 1)
        unlinkat(dirfd, name, 0);
    if (r == -CB_ENOTFOUND && err)
        cb_error_done(err);
    return r == -CB_ENOTFOUND ? 0 : CB_MIN(r, 0);
}

int cb_steps_clean(struct cb_store *s, struct cb_error *err)
{
    return cb_store_each(s, "steps", clean_one, NULL, err);
}

void cb_store_step_drop(struct cb_store *s, const struct cb_digest *key, int *fd)
{
    char path[CB_STORE_PATH_MAX];
    if (*fd < 0)
        return;
    unlinkat(s->root_fd, step_path(path, key), 0);
    close(CB_TAKE_FD(*fd));
}

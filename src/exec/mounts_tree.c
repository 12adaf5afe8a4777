/* SPDX-License-Identifier: Apache-2.0 */
/* CB_MOUNT_TREE: overlays of a step besides its root. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/sandbox.h"
#include "util/alloc.h"
#include "util/path.h"

struct cb_tree_mount {
    struct cb_overlay overlay;
    int bottom; /* an empty directory: overlayfs wants one layer at least */
    int mnt;    /* -1: not mounted yet, or none */
};

void cb_trees_done(struct cb_sandbox *sb)
{
    for (size_t i = 0; sb->trees && i < sb->spec->n_mounts; i++) {
        cb_overlay_done(&sb->trees[i].overlay);
        cb_close_p(&sb->trees[i].bottom);
        cb_close_p(&sb->trees[i].mnt);
    }
    free(CB_TAKE(sb->trees));
}

static int open_bottom(const struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "bottom-%zu", i);
    if (mkdirat(sb->spec->scratch_fd, name, 0755) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a scratch directory");
    int fd = openat(sb->spec->scratch_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open a scratch directory") : fd;
}

static int create(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    struct cb_tree_mount *t = &sb->trees[i];
    const struct cb_rootfs *tree = sb->spec->mounts[i].tree;
    t->bottom = open_bottom(sb, i, err);
    if (t->bottom < 0)
        return t->bottom;
    t->overlay.upper = tree->upper_fd;
    t->overlay.work = tree->work_fd;
    t->overlay.user_xattrs = sb->spec->id_mode != CB_ID_REAL_ROOT;
    int r = cb_overlay_set_lower(&t->overlay, tree->lower_fds, tree->n_lower, t->bottom, err);
    if (r == 0)
        t->mnt = r = cb_overlay_create(&t->overlay, sb->how, err);
    if (r == -ENOSYS)
        return 0; /* an older kernel: cb_tree_put does it */
    if (r < 0)
        return cb_error_wrap(err, "mount %s", sb->spec->mounts[i].target);
    return 0;
}

int cb_trees_create(struct cb_sandbox *sb, struct cb_error *err)
{
    size_t n = sb->spec->n_mounts;
    int r = 0;
    sb->trees = cb_calloc(n + 1, sizeof *sb->trees);
    for (size_t i = 0; i < n; i++)
        sb->trees[i].bottom = sb->trees[i].mnt = -1;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (sb->spec->mounts[i].kind == CB_MOUNT_TREE)
            r = create(sb, i, err);
    return r;
}

/* Out of the step's sight: only what is shown of it is mounted into the root. */
static int attach(struct cb_sandbox *sb, size_t i)
{
    char name[32];
    snprintf(name, sizeof name, "tree-%zu", i);
    if (mkdirat(sb->stage, name, 0700) < 0)
        return -errno;
    cb_autoclose int at = openat(sb->stage, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return at < 0 ? -errno : cb_mnt_move(sb->trees[i].mnt, at);
}

int cb_tree_put(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    struct cb_tree_mount *t = &sb->trees[i];
    if (t->mnt < 0)
        t->mnt = cb_overlay_mount_classic(&t->overlay, sb->spec->scratch_fd, err);
    if (t->mnt < 0)
        return cb_error_wrap(err, "mount %s", m->target);
    int r = attach(sb, i);
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "mount %s", m->target);
    cb_autoclose int shown = cb_path_openat(t->mnt, m->sub, O_PATH, 0, CB_RESOLVE_IN_ROOT);
    if (shown < 0)
        return cb_error_sys(err, CB_ECONF, -shown, "mount %s: its source /%s", m->target, m->sub);
    return cb_rootfs_put(sb, cb_mnt_clone(shown, "", false), m->target,
                         CB_MNT_SAFE | (m->readonly ? MOUNT_ATTR_RDONLY : 0), err);
}

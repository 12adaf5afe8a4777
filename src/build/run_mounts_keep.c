/* SPDX-License-Identifier: Apache-2.0 */
/* Where steps get copies (isolation chroot): what of a cache a copy takes the place of when the step has ended. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "build/run_mounts.h"
#include "util/alloc.h"
#include "util/path.h"

static bool is_writable_cache(const struct cb_open_mount *o)
{
    return o->m->type == CB_DF_MOUNT_CACHE && !o->m->readonly;
}

/* Only what has that very name: a source behind a link has another. */
int cb_run_mounts_keep_open(struct cb_open_mount *o, int dir, struct cb_error *err)
{
    const char *source = o->m->source, *slash = strrchr(source, '/');
    cb_autofree char *above = cb_strndup(source, slash ? (size_t)(slash - source) : 0);
    struct stat shown, named;
    o->keep.name = *source ? slash ? slash + 1 : source : CB_STORE_MOUNT_FS;
    o->keep_dir = *source ? cb_path_openat(dir, above, O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW)
                          : openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    o->keep.dir = o->keep_dir;
    if (fstat(o->fd, &shown) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "look at the cache");
    bool same = o->keep_dir >= 0 && S_ISDIR(shown.st_mode) &&
                fstatat(o->keep_dir, o->keep.name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
                named.st_dev == shown.st_dev && named.st_ino == shown.st_ino;
    if (!same) {
        cb_close_p(&o->keep_dir);
        o->keep_dir = -1;
        (void)cb_error_set(&o->keep.error, CB_ELOCAL, "source=/%s is behind a symbolic link, or no directory", source);
    }
    return 0;
}

static bool overlap(const struct cb_open_mount *a, const struct cb_open_mount *b)
{
    return is_writable_cache(b) && cb_digest_eq(&a->key, &b->key) &&
           (cb_path_is_within(a->m->source, b->m->source) || cb_path_is_within(b->m->source, a->m->source));
}

void cb_run_mounts_keep_last(struct cb_run_mounts *rm)
{
    for (size_t i = 0; i < rm->v->run.n_mounts; i++) {
        struct cb_open_mount *o = &rm->open[i];
        for (size_t k = i + 1; o->keep_dir >= 0 && k < rm->v->run.n_mounts; k++) {
            if (!overlap(o, &rm->open[k]))
                continue;
            cb_close_p(&o->keep_dir);
            o->keep_dir = -1;
            (void)cb_error_set(&o->keep.error, CB_ELOCAL, "the step has this cache at %s, too, and what is there is "
                               "kept", rm->open[k].m->target);
        }
    }
}

void cb_run_mounts_kept(struct cb_run_mounts *rm)
{
    for (size_t i = 0; rm->copies && rm->open && i < rm->v->run.n_mounts; i++) {
        const struct cb_open_mount *o = &rm->open[i];
        if (o->keep.error.code && o->keep.error.code != CB_ECANCELED)
            cb_step_warn(rm->v->step, "mount %s: what the step has there is not kept, the cache is as it was: %s",
                         o->m->target, cb_error_text(&o->keep.error));
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A store for one call. Its directory is flock'd as long as its process lives, so that what kill -9 leaves is known by
 * whoever makes the next one. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"

#define PREFIX "cbpush-store-"

static const char *place_of_passing(void)
{
    const char *dir = getenv("TMPDIR");
    return dir && *dir == '/' ? dir : "/tmp";
}

/* In /tmp anybody may have made a directory of such a name: only our own are looked at. */
static void remove_if_left(int place, const char *name)
{
    struct stat st;
    cb_autoclose int fd = openat(place, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)!cb_fs_remove_tree(place, name, NULL);
}

static void remove_left(int place)
{
    struct dirent *e;
    int fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        cb_close_p(&fd);
        return;
    }
    while ((e = readdir(d)))
        if (cb_starts_with(e->d_name, PREFIX))
            remove_if_left(place, e->d_name);
    closedir(d);
}

/* *lost: somebody who cleans took it for a dead one's before we had the lock. */
static int make_one(struct cb_passing *p, bool *lost, struct cb_error *err)
{
    struct stat st;
    int r = cb_fs_mkdtempat(p->place, PREFIX, p->name, 0700, &p->lock, err);
    if (r == 0)
        r = cb_fs_lock(p->lock, err);
    *lost = r == 0 && fstatat(p->place, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0;
    if (*lost)
        cb_close_p(&p->lock);
    return r;
}

static int make(struct cb_passing *p, const char *dir, struct cb_error *err)
{
    bool lost = true;
    p->place = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->place < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", dir);
    remove_left(p->place);
    for (int i = 0; i < 100 && lost; i++) {
        int r = make_one(p, &lost, err);
        if (r < 0)
            return cb_error_wrap(err, "%s", dir);
    }
    return lost ? cb_error_set(err, CB_ELOCAL, "cannot keep a directory in %s", dir) : 0;
}

void cb_passing_done(struct cb_passing *p)
{
    if (p->lock >= 0)
        (void)!cb_fs_remove_tree(p->place, p->name, NULL);
    cb_close_p(&p->lock);
    cb_close_p(&p->place);
}

int cb_store_open_passing(const struct cb_store_options *o, struct cb_store **out, struct cb_error *err)
{
    const char *dir = place_of_passing();
    struct cb_passing p CB_CLEANUP(cb_passing_done) = CB_PASSING_INIT;
    struct cb_store_options own = *o;
    int r = make(&p, dir, err);
    if (r < 0)
        return cb_error_wrap(err, "make a store for this call");
    cb_autofree char *root = cb_asprintf("%s/%s", dir, p.name);
    own.root = root;
    if ((r = cb_store_open(&own, out, err)) < 0)
        return r;
    (*out)->passing = p;
    p = (struct cb_passing)CB_PASSING_INIT;
    return 0;
}

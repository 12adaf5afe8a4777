/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of cgroups. Each is locked by the process that made it, so what was killed leaves one that has no owner,
 * and the next to make one beside it takes it away. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/cgroup.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/strvec.h"

#define REMOVE_TRIES 200
#define REMOVE_WAIT 5 /* ms */
#define MAKE_TRIES 100
#define MAX_DEPTH 32

static int open_dir(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Names of directories in it. */
static void list(int parent, const char *name, struct cb_strvec *out)
{
    int fd = open_dir(parent, name);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    if (!d) {
        cb_close_p(&fd);
        return;
    }
    while ((e = readdir(d)))
        if (e->d_type == DT_DIR && !cb_streq(e->d_name, ".") && !cb_streq(e->d_name, ".."))
            cb_strvec_push(out, e->d_name);
    closedir(d);
}

/* With those that an insecure step made in it. */
static int remove_once(int parent, const char *name, unsigned depth)
{
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
        return 0;
    if (errno != EBUSY || depth > MAX_DEPTH)
        return errno;
    cb_cleanup_strvec struct cb_strvec below = CB_STRVEC_INIT;
    cb_autoclose int dir = open_dir(parent, name);
    list(parent, name, &below);
    for (size_t i = 0; dir >= 0 && i < below.n; i++)
        (void)remove_once(dir, below.v[i], depth + 1);
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}

void cb_cgroup_dir_remove(int parent, const char *name)
{
    /* The kernel lets go of dead processes a moment after they were waited for. */
    for (int i = 0; i < REMOVE_TRIES && remove_once(parent, name, 0) == EBUSY; i++)
        poll(NULL, 0, REMOVE_WAIT);
}

/* cbpush-PID-NUMBER */
static bool is_a_steps(const char *name)
{
    return cb_starts_with(name, CB_CGROUP_PREFIX) && name[strlen(CB_CGROUP_PREFIX)] >= '0' &&
           name[strlen(CB_CGROUP_PREFIX)] <= '9';
}

/* What has an owner, or processes, stays. */
static void sweep(int parent)
{
    cb_cleanup_strvec struct cb_strvec names = CB_STRVEC_INIT;
    list(parent, ".", &names);
    for (size_t i = 0; i < names.n; i++) {
        if (!is_a_steps(names.v[i]))
            continue;
        cb_autoclose int dir = open_dir(parent, names.v[i]);
        if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) == 0)
            (void)remove_once(parent, names.v[i], 0);
    }
}

/* Between being made and being locked it may be taken for one without an owner. */
static int make_once(int parent, const char *name)
{
    struct stat a, b;
    if (mkdirat(parent, name, 0755) < 0)
        return -errno;
    cb_autoclose int dir = open_dir(parent, name);
    if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0 || fstat(dir, &a) < 0 ||
        fstatat(parent, name, &b, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return a.st_ino == b.st_ino ? CB_TAKE_FD(dir) : -EAGAIN;
}

int cb_cgroup_dir_make(int parent, const char *name)
{
    int r = -EAGAIN;
    sweep(parent);
    for (int i = 0; i < MAKE_TRIES && r == -EAGAIN; i++)
        r = make_once(parent, name);
    return r;
}

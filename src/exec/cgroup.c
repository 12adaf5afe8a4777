/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"

#define REMOVE_TRIES 200
#define REMEDY "start cbpush in a delegated cgroup: systemd-run --user --scope -p Delegate=yes cbpush …"

static bool is_type(const char *path, long type)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && (long)fs.f_type == type;
}

enum cb_cgroup_kind cb_cgroup_kind(void)
{
    if (is_type("/sys/fs/cgroup", CGROUP2_SUPER_MAGIC))
        return CB_CGROUP_V2;
    if (is_type("/sys/fs/cgroup/unified", CGROUP2_SUPER_MAGIC))
        return CB_CGROUP_HYBRID;
    return is_type("/sys/fs/cgroup/memory", CGROUP_SUPER_MAGIC) ? CB_CGROUP_V1 : CB_CGROUP_NONE;
}

static bool list_has(struct cb_slice list, const char *word)
{
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma ? (size_t)(comma - list.ptr) : list.len;
        if (cb_slice_eq((struct cb_slice){ list.ptr, n }, word))
            return true;
        n += comma != NULL;
        list = (struct cb_slice){ list.ptr + n, list.len - n };
    }
    return false;
}

/* "4:memory:/path" and, for v2, "0::/path" */
char *cb_cgroup_path(const char *text, const char *controller)
{
    while (*text) {
        const char *end = strchrnul(text, '\n');
        const char *first = memchr(text, ':', (size_t)(end - text));
        const char *second = first ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
        if (second) {
            struct cb_slice list = { first + 1, (size_t)(second - first - 1) };
            if (controller ? list_has(list, controller) : list.len == 0)
                return cb_strndup(second + 1, (size_t)(end - second - 1));
        }
        text = *end ? end + 1 : end;
    }
    return NULL;
}

/* path below base, or base itself where our cgroup namespace shows other names than /proc does */
static int open_below(const char *base, const char *path)
{
    cb_autofree char *full = cb_asprintf("%s%s", base, path);
    int fd = open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int write_file(int dir, const char *name, const char *text)
{
    cb_autoclose int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* With v2 a cgroup with processes gives its children no controllers, so ours is a sister of the one that we are in,
 * and a child only at the top. */
static int open_v2_parent(const char *self)
{
    cb_autofree char *path = cb_cgroup_path(self, NULL);
    char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash)
        return -1;
    *slash = '\0';
    int fd = open_below("/sys/fs/cgroup", path);
    if (fd >= 0 && write_file(fd, "cgroup.subtree_control", "+memory") < 0)
        errno = 0; /* it may be on already; the limit below tells */
    return fd;
}

static int open_parent(bool v2, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf self = CB_STRBUF_INIT;
    int r = cb_file_slurp("/proc/self/cgroup", 1u << 20, &self, err);
    if (r < 0)
        return r;
    if (v2)
        return open_v2_parent(self.buf);
    cb_autofree char *path = cb_cgroup_path(self.buf, "memory");
    return open_below("/sys/fs/cgroup/memory", path ? path : "");
}

static int set_limit(struct cb_cgroup *cg, bool v2, uint64_t max)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)max);
    cb_autoclose int dir = openat(cg->parent, cg->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int r = write_file(dir, v2 ? "memory.max" : "memory.limit_in_bytes", text);
    if (r < 0)
        return r;
    /* Swap counts too, where it is counted at all. */
    r = v2 ? write_file(dir, "memory.swap.max", "0") : write_file(dir, "memory.memsw.limit_in_bytes", text);
    return r == -ENOENT ? 0 : r;
}

int cb_cgroup_make(struct cb_cgroup *cg, uint64_t memory_max, struct cb_error *err)
{
    static atomic_uint counter;
    bool v2 = cb_cgroup_kind() == CB_CGROUP_V2;
    int parent = open_parent(v2, err);
    if (parent < 0)
        return cb_error_set(err, CB_ELOCAL, "memory limit: no cgroup file system with a memory controller; " REMEDY);
    snprintf(cg->name, sizeof cg->name, "cbpush-%d-%u", (int)getpid(), atomic_fetch_add(&counter, 1));
    if (mkdirat(parent, cg->name, 0755) < 0) {
        int e = errno;
        close(parent);
        return cb_error_sys(err, CB_ELOCAL, e, "memory limit: cannot make a cgroup; " REMEDY);
    }
    cg->parent = parent;
    int r = set_limit(cg, v2, memory_max);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "memory limit: not ours to set; " REMEDY) : 0;
}

int cb_cgroup_add(const struct cb_cgroup *cg, pid_t pid, struct cb_error *err)
{
    char text[16], path[80];
    if (cg->parent < 0)
        return 0;
    snprintf(path, sizeof path, "%s/cgroup.procs", cg->name);
    snprintf(text, sizeof text, "%d", (int)pid);
    int r = write_file(cg->parent, path, text);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "memory limit: cannot move a process; " REMEDY) : 0;
}

void cb_cgroup_done(struct cb_cgroup *cg)
{
    if (cg->parent < 0)
        return;
    /* The kernel lets go of dead processes a moment after they were waited for. */
    for (int i = 0; i < REMOVE_TRIES && unlinkat(cg->parent, cg->name, AT_REMOVEDIR) < 0 && errno == EBUSY; i++)
        poll(NULL, 0, 5);
    close(cg->parent);
    cg->parent = -1;
}

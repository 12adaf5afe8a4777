/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

#define ROOT "/sys/fs/cgroup"

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

static const char *const controllers[] = { "memory", "cpu", "cpuset", "pids" };

/* It may be on already; a limit that cannot be set tells. */
static void enable_controllers(int dir)
{
    static const char *const words[] = { "+memory", "+cpu", "+cpuset", "+pids" };
    for (size_t i = 0; i < CB_COUNTOF(words); i++)
        (void)cb_cgroup_write(dir, "cgroup.subtree_control", words[i]);
}

/* ---- the directory that holds it ---- */

/* With v2 a cgroup with processes gives its children no controllers, so ours is a sister of the one that we are in,
 * and a child only at the top. */
static int open_v2_parent(const char *self)
{
    cb_autofree char *path = cb_cgroup_path(self, NULL);
    char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash)
        return -1;
    *slash = '\0';
    int fd = open_below(ROOT, path);
    if (fd >= 0)
        enable_controllers(fd);
    return fd;
}

static int open_own_parent(bool v2, enum cb_cgroup_controller c)
{
    cb_cleanup_strbuf struct cb_strbuf self = CB_STRBUF_INIT;
    if (cb_file_slurp("/proc/self/cgroup", 1u << 20, &self, NULL) < 0)
        return -1;
    if (v2)
        return open_v2_parent(self.buf);
    cb_autofree char *path = cb_cgroup_path(self.buf, controllers[c]);
    cb_autofree char *base = cb_asprintf(ROOT "/%s", controllers[c]);
    return open_below(base, path ? path : "");
}

/* One component of --cgroup-parent. end: bytes of the path up to its end. Returns a descriptor or a negative errno. */
static int step_down(struct cb_cgroup_tree *t, int dir, const char *name, size_t end, bool v2)
{
    if (mkdirat(dir, name, 0755) == 0 && !t->made_from)
        t->made_from = end;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (v2)
        enable_controllers(fd);
    else if (t->made_from)
        cb_cgroup_inherit_cpuset(dir, fd);
    return fd;
}

static int open_named_parent(struct cb_cgroup_tree *t, const char *base, const char *path, bool v2)
{
    cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
    if (!cb_path_normalize(&clean, path, strlen(path)) || !clean.len)
        return -EINVAL;
    t->base = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->base < 0)
        return -errno;
    if (v2)
        enable_controllers(t->base);
    t->made = cb_strdup(clean.buf);
    int dir = fcntl(t->base, F_DUPFD_CLOEXEC, 3);
    for (size_t at = 0; dir >= 0 && at < clean.len;) {
        size_t end = at + strcspn(clean.buf + at, "/");
        cb_autofree char *name = cb_strndup(clean.buf + at, end - at);
        int next = step_down(t, dir, name, end, v2);
        close(dir);
        dir = next;
        at = end + (clean.buf[end] == '/');
    }
    return dir;
}

static int open_parent(struct cb_cgroup_tree *t, bool v2, enum cb_cgroup_controller c, const struct cb_limits *l,
                       struct cb_error *err)
{
    cb_autofree char *base = v2 ? cb_strdup(ROOT) : cb_asprintf(ROOT "/%s", controllers[c]);
    if (l->cgroup_parent) {
        t->parent = open_named_parent(t, base, l->cgroup_parent, v2);
        if (t->parent == -EINVAL)
            return cb_error_set(err, CB_EUSAGE, "--cgroup-parent %s: write a path such as /builds", l->cgroup_parent);
        return t->parent < 0 ? cb_error_sys(err, CB_ELOCAL, -t->parent,
                                            "--cgroup-parent %s: cannot be made in %s; " CB_CGROUP_REMEDY,
                                            l->cgroup_parent, base)
                             : 0;
    }
    t->parent = open_own_parent(v2, c);
    return t->parent < 0 ? cb_error_set(err, CB_ELOCAL,
                                        "%s limit: no cgroup file system with a %s controller; " CB_CGROUP_REMEDY,
                                        controllers[c], controllers[c])
                         : 0;
}

/* ---- the cgroup ---- */

static void remove_tree(struct cb_cgroup_tree *t, const char *name)
{
    if (t->own >= 0)
        cb_cgroup_dir_remove(t->parent, name);
    /* What another build uses by now is busy, and stays. */
    while (t->made_from && strlen(t->made) >= t->made_from && unlinkat(t->base, t->made, AT_REMOVEDIR) == 0) {
        char *slash = strrchr(t->made, '/');
        *(slash ? slash : t->made) = '\0';
    }
    cb_close_p(&t->own);
    cb_close_p(&t->parent);
    cb_close_p(&t->base);
    free(t->made);
}

static int make_in(struct cb_cgroup *cg, struct cb_cgroup_tree *t, enum cb_cgroup_controller c, int *dir,
                   struct cb_error *err)
{
    t->own = *dir = cb_cgroup_dir_make(t->parent, cg->name);
    return *dir < 0 ? cb_error_sys(err, CB_ELOCAL, -*dir, "%s limit: cannot make a cgroup; " CB_CGROUP_REMEDY,
                                   controllers[c])
                    : 0;
}

static int make_v2(struct cb_cgroup *cg, const struct cb_limits *l, struct cb_error *err)
{
    struct cb_cgroup_tree *t = &cg->trees[cg->n++];
    int dir = -1;
    *t = (struct cb_cgroup_tree){ .parent = -1, .base = -1, .own = -1 };
    int r = open_parent(t, true, CB_CGROUP_MEMORY, l, err);
    if (r == 0)
        r = make_in(cg, t, CB_CGROUP_MEMORY, &dir, err);
    for (int c = 0; r == 0 && c < CB_CGROUP_CONTROLLERS; c++)
        r = cb_cgroup_set(dir, true, (enum cb_cgroup_controller)c, l, err);
    return r;
}

static int make_v1(struct cb_cgroup *cg, enum cb_cgroup_controller c, const struct cb_limits *l, struct cb_error *err)
{
    struct cb_cgroup_tree *t = &cg->trees[cg->n++];
    int dir = -1;
    *t = (struct cb_cgroup_tree){ .parent = -1, .base = -1, .own = -1 };
    int r = open_parent(t, false, c, l, err);
    if (r == 0)
        r = make_in(cg, t, c, &dir, err);
    if (r < 0)
        return r;
    if (c == CB_CGROUP_CPUSET)
        cb_cgroup_inherit_cpuset(t->parent, dir);
    return cb_cgroup_set(dir, false, c, l, err);
}

int cb_cgroup_make(struct cb_cgroup *cg, const struct cb_limits *l, struct cb_error *err)
{
    static atomic_uint counter;
    int r = 0;
    if (!cb_limits_need_cgroup(l))
        return 0;
    snprintf(cg->name, sizeof cg->name, CB_CGROUP_PREFIX "%d-%u", (int)getpid(), atomic_fetch_add(&counter, 1));
    if (cb_cgroup_kind() == CB_CGROUP_V2)
        return make_v2(cg, l, err);
    for (int c = 0; r == 0 && c < CB_CGROUP_CONTROLLERS; c++)
        if (cb_cgroup_wants(l, (enum cb_cgroup_controller)c) || (l->cgroup_parent && c != CB_CGROUP_PIDS))
            r = make_v1(cg, (enum cb_cgroup_controller)c, l, err);
    return r;
}

int cb_cgroup_add(const struct cb_cgroup *cg, pid_t pid, struct cb_error *err)
{
    char text[16], path[80];
    snprintf(path, sizeof path, "%s/cgroup.procs", cg->name);
    snprintf(text, sizeof text, "%d", (int)pid);
    for (size_t i = 0; i < cg->n; i++) {
        int r = cb_cgroup_write(cg->trees[i].parent, path, text);
        if (r < 0)
            return cb_error_sys(err, CB_ELOCAL, -r, "limits: cannot move a process into a cgroup; " CB_CGROUP_REMEDY);
    }
    return 0;
}

void cb_cgroup_done(struct cb_cgroup *cg)
{
    for (size_t i = 0; i < cg->n; i++)
        remove_tree(&cg->trees[i], cg->name);
    cg->n = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/rootfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"

static int make_dir(int dirfd, const char *name, mode_t mode, int *fd, struct cb_error *err)
{
    if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "make directory %s", name);
    *fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open directory %s", name);
    return fchmod(*fd, mode) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "chmod %s", name) : 0;
}

/* The tree of a layer, or none of one that is empty. */
static int add_lower(struct cb_run_root *r, struct cb_slot *layer, struct cb_error *err)
{
    bool empty = false;
    int fd = -1;
    int e = cb_slot_is_pending(layer) ? 0 : cb_slot_wait(layer, &empty, err);
    if (e == 0 && !empty)
        e = cb_slot_tree(layer, &fd, err);
    if (e == 0 && fd >= 0)
        r->lower_fds[r->n_lower++] = fd;
    return e;
}

int cb_run_root_open(struct cb_run_root *r, struct cb_slots *slots, struct cb_slot *const *layers, size_t n,
                     struct cb_step *step, struct cb_error *err)
{
    int e = cb_slots_need(slots, layers, n, CB_NEED_TREE, step, err);
    r->layers = layers;
    r->n_layers = n;
    r->lower_fds = cb_calloc(n + 1, sizeof *r->lower_fds);
    for (size_t i = 0; e == 0 && i < n; i++)
        e = add_lower(r, layers[i], err);
    if (e == 0)
        e = cb_store_tmp_new(cb_slots_env(slots)->store, "run", &r->tmp, err);
    if (e == 0)
        e = make_dir(r->tmp.fd, "upper", 0755, &r->upper_fd, err);
    if (e == 0)
        e = make_dir(r->tmp.fd, "work", 0700, &r->work_fd, err);
    if (e == 0)
        e = make_dir(r->tmp.fd, "scratch", 0700, &r->scratch_fd, err);
    if (e < 0)
        cb_error_wrap(err, "prepare the root file system");
    return e;
}

void cb_run_root_done(struct cb_run_root *r)
{
    for (size_t i = 0; i < r->n_lower; i++)
        close(r->lower_fds[i]);
    free(r->lower_fds);
    cb_close_p(&r->upper_fd);
    cb_close_p(&r->work_fd);
    cb_close_p(&r->scratch_fd);
    cb_owner_table_free(CB_TAKE(r->owners));
    cb_store_tmp_done(&r->tmp);
}

bool cb_dir_is_empty(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    bool empty = d != NULL;
    if (!d) {
        cb_close_p(&fd);
        return false;
    }
    for (struct dirent *de; empty && (de = readdir(d));)
        empty = !strcmp(de->d_name, ".") || !strcmp(de->d_name, "..");
    closedir(d);
    return empty;
}

static bool is_root(const char *text)
{
    static const char *const names[] = { "", "0", "root", "0:0", "root:root" };
    for (size_t i = 0; text && i < CB_COUNTOF(names); i++)
        if (!strcmp(text, names[i]))
            return true;
    return !text;
}

/* A layer in the making that has no etc/passwd or etc/group of its own cannot change who root is. */
static bool may_change_users(struct cb_slot *s)
{
    static const char *const files[] = { "etc/passwd", "etc/group" };
    struct stat st;
    cb_autoclose int fd = -1;
    if (!cb_slot_is_pending(s))
        return false;
    if (cb_slot_tree(s, &fd, NULL) < 0)
        return true;
    for (size_t i = 0; i < CB_COUNTOF(files); i++)
        if (fstatat(fd, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    return fstatat(fd, "etc", &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode);
}

int cb_run_root_user(const struct cb_run_root *r, struct cb_slots *slots, const char *text, struct cb_step *step,
                     struct cb_user *out, struct cb_error *err)
{
    struct cb_slot **v = cb_calloc(r->n_layers + 1, sizeof(struct cb_slot *));
    const char *user = text && *text ? text : "0";
    size_t n = 0;
    for (size_t i = 0; i < r->n_layers; i++)
        if (!is_root(text) || !cb_slot_is_pending(r->layers[i]) || may_change_users(r->layers[i]))
            v[n++] = r->layers[i];
    int e = cb_slots_need(slots, v, n, CB_NEED_TOC, step, err);
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = e == 0 ? cb_slots_stack(slots, v, n) : NULL;
    free(v);
    if (e == 0)
        e = cb_stack_user(stack, user, false, out, err);
    if (e < 0)
        cb_error_wrap(err, "user %s", user);
    return e;
}

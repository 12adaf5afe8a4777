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

int cb_run_root_open(struct cb_run_root *r, struct cb_slots *slots, struct cb_slot *const *layers, size_t n, struct cb_step *step,
                     struct cb_error *err)
{
    int e = cb_slots_need(slots, layers, n, CB_NEED_TREE, step, err);
    r->layers = layers;
    r->n_layers = n;
    r->lower_fds = cb_calloc(n + 1, sizeof *r->lower_fds);
    for (size_t i = 0; e == 0 && i < n; i++) {
        int fd = -1;
        bool empty = false;
        if (!cb_slot_is_pending(layers[i]))
            e = cb_slot_wait(layers[i], &empty, err);
        if (e == 0 && !empty)
            e = cb_slot_tree(layers[i], &fd, err);
        if (fd >= 0)
            r->lower_fds[r->n_lower++] = fd;
    }
    if (e == 0)
        e = cb_store_tmp_new(cb_slots_env(slots)->store, "run", &r->tmp, err);
    if (e == 0)
        e = make_dir(r->tmp.fd, "upper", 0755, &r->upper_fd, err);
    if (e == 0)
        e = make_dir(r->tmp.fd, "work", 0700, &r->work_fd, err);
    if (e == 0)
        e = make_dir(r->tmp.fd, "scratch", 0700, &r->scratch_fd, err);
    return e < 0 ? cb_error_wrap(err, "prepare the root file system") : 0;
}

void cb_run_root_done(struct cb_run_root *r)
{
    for (size_t i = 0; i < r->n_lower; i++)
        close(r->lower_fds[i]);
    free(r->lower_fds);
    cb_close_p(&r->upper_fd);
    cb_close_p(&r->work_fd);
    cb_close_p(&r->scratch_fd);
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
    return !text || !*text || !strcmp(text, "0") || !strcmp(text, "root") || !strcmp(text, "0:0") || !strcmp(text, "root:root");
}

/* A layer in the making that has no etc/passwd or etc/group of its own cannot change who root is. */
static bool may_change_users(struct cb_slot *s)
{
    struct stat st;
    int fd = -1;
    if (!cb_slot_is_pending(s))
        return false;
    if (cb_slot_tree(s, &fd, NULL) < 0)
        return true;
    bool yes = fstatat(fd, "etc/passwd", &st, AT_SYMLINK_NOFOLLOW) == 0 || fstatat(fd, "etc/group", &st, AT_SYMLINK_NOFOLLOW) == 0 ||
               (fstatat(fd, "etc", &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode));
    close(fd);
    return yes;
}

int cb_run_root_user(const struct cb_run_root *r, struct cb_slots *slots, const char *text, struct cb_step *step,
                     struct cb_user *out, struct cb_error *err)
{
    struct cb_slot **v = cb_calloc(r->n_layers + 1, sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < r->n_layers; i++)
        if (!cb_slot_is_pending(r->layers[i]) || !is_root(text) || may_change_users(r->layers[i]))
            v[n++] = r->layers[i];
    int e = cb_slots_need(slots, v, n, CB_NEED_TOC, step, err);
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = e == 0 ? cb_slots_stack(v, n) : NULL;
    free(v);
    if (e == 0)
        e = cb_stack_user(stack, text && *text ? text : "0", false, out, err);
    return e < 0 ? cb_error_wrap(err, "user %s", text && *text ? text : "root") : 0;
}

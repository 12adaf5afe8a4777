/* SPDX-License-Identifier: Apache-2.0 */
#include "build/rootfs.h"

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

/* The tree of layer i, or none of one that is empty. */
static int add_lower(struct cb_run_root *r, size_t i, struct cb_error *err)
{
    struct cb_slot *layer = r->layers[i];
    bool empty = false;
    int fd = -1;
    int e = cb_slot_is_pending(layer) ? 0 : cb_slot_wait(layer, &empty, err);
    if (e == 0 && !empty)
        e = cb_slot_tree(r->layers, i, &fd, err);
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
        e = add_lower(r, i, err);
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


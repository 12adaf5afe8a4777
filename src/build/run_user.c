/* SPDX-License-Identifier: Apache-2.0 */
/* USER, looked up in the tables of the layers below. Those of layers that are in the making are only waited for where
 * they have a say: where what they changed stands on the way to the files of users. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "build/rootfs.h"
#include "util/alloc.h"
#include "util/path.h"

struct below {
    struct cb_lookup *made;
    int *pending;     /* trees of layers in the making */
    size_t n_pending;
    const char *mark; /* what an opaque directory has there */
    bool touched;     /* one of them has a say */
};

static void below_done(struct below *b)
{
    cb_lookup_free(b->made);
    for (size_t i = 0; i < b->n_pending; i++)
        close(b->pending[i]);
    free(b->pending);
}

/* Whether a tree in overlay form says more of a path than that it is a directory. A step wrote it: no link is
 * followed. */
static bool has_say(int tree, const char *path, const char *mark)
{
    char value;
    cb_autoclose int fd = cb_path_openat(tree, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return fd != -ENOENT;
    return fgetxattr(fd, mark, &value, sizeof value) >= 0 || (errno != ENODATA && errno != ENOTSUP);
}

static int find_below(void *arg, const char *path, const struct cb_stack_entry **hit, struct cb_error *err)
{
    struct below *b = arg;
    for (size_t i = 0; i < b->n_pending; i++)
        if (has_say(b->pending[i], path, b->mark)) {
            b->touched = true;
            return cb_error_set(err, CB_ENOTFOUND, "/%s is in a layer that is in the making", path);
        }
    return cb_lookup_find(b->made, path, hit, err);
}

struct asked {
    const struct cb_run_root *root;
    struct cb_slots *slots;
    struct cb_step *step;
    const char *user;
};

/* wait: for what is in the making, too. */
static int open_below(const struct asked *a, bool wait, unsigned needs, struct below *b, struct cb_error *err)
{
    size_t n = a->root->n_layers, n_made = 0;
    struct cb_slot **made = cb_calloc(n + 1, sizeof(struct cb_slot *));
    int r = 0;
    b->mark = cb_slots_env(a->slots)->id_mode == CB_ID_REAL_ROOT ? "trusted.overlay.opaque" : "user.overlay.opaque";
    b->pending = cb_calloc(n + 1, sizeof *b->pending);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct cb_slot *s = a->root->layers[i];
        if (wait || !cb_slot_is_pending(s))
            made[n_made++] = s;
        else if ((r = cb_slot_tree(a->root->layers, i, &b->pending[b->n_pending], err)) == 0)
            b->n_pending++;
    }
    if (r == 0)
        r = cb_slots_need(a->slots, made, n_made, needs, a->step, err);
    if (r == 0)
        b->made = cb_slots_lookup(made, n_made);
    free(made);
    return r;
}

static int ask(const struct asked *a, bool wait, unsigned needs, struct cb_user *out, bool *touched,
               struct cb_error *err)
{
    struct below b CB_CLEANUP(below_done) = { 0 };
    struct cb_finder f = { find_below, &b };
    int r = open_below(a, wait, needs, &b, err);
    if (r == 0)
        r = cb_finder_user(&f, a->user, false, out, err);
    *touched = b.touched;
    return r;
}

int cb_run_root_user(const struct cb_run_root *root, struct cb_slots *slots, const char *text, struct cb_step *step,
                     struct cb_user *out, struct cb_error *err)
{
    struct asked a = { root, slots, step, text && *text ? text : "0" };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    bool touched;
    int r = ask(&a, false, CB_NEED_SKETCH, out, &touched, &e);
    if (touched) {
        cb_error_done(&e);
        r = ask(&a, true, CB_NEED_SKETCH, out, &touched, &e);
    }
    if (r == -CB_EVERIFY) { /* an index is damaged: whole tables are checked, and made again */
        cb_error_done(&e);
        r = ask(&a, true, CB_NEED_TOC, out, &touched, &e);
    }
    if (r < 0) {
        if (r != -CB_ECONF) /* that says by itself who is meant */
            cb_error_wrap(&e, "user %s", a.user);
        return cb_error_move(err, &e);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

/* Layers are unpacked side by side: those below may still be on their way. A failure there is told there. */
static void load_tocs(struct cb_unpack *u)
{
    if (u->lower_tocs || !u->o.n_lower)
        return;
    u->lower_tocs = cb_calloc(u->o.n_lower, sizeof *u->lower_tocs);
    if (u->o.need_lower && u->o.need_lower(u->o.need_lower_arg, false, NULL) < 0)
        return;
    for (size_t i = 0; i < u->o.n_lower; i++)
        if (cb_store_toc_get(u->o.store, &u->o.lower[i], &u->lower_tocs[i], NULL) < 0)
            u->lower_tocs[i] = NULL;
}

/* What one layer says of exactly this path. *covers: what layers below it have there does not count. */
static const struct cb_entry *look(const struct cb_toc *t, const char *path, bool is_parent, bool *covers)
{
    const struct cb_entry *hit = NULL;
    for (size_t i = cb_toc_lower_bound(t, path); i < cb_toc_count(t); i++) {
        const struct cb_entry *e = cb_toc_at(t, i);
        if (strcmp(e->path, path) != 0)
            break;
        if (e->type == CB_ENTRY_WHITEOUT)
            *covers = true;
        else if (e->type == CB_ENTRY_OPAQUE)
            *covers = *covers || is_parent;
        else
            hit = e;
    }
    if (hit && hit->type != CB_ENTRY_DIR)
        *covers = true;
    return hit;
}

/* The entry of path in the topmost lower layer that has one; *layer is its index. */
static const struct cb_entry *find(struct cb_unpack *u, const char *path, size_t *layer)
{
    load_tocs(u);
    for (size_t i = u->o.n_lower; i-- > 0;) {
        const struct cb_toc *t = u->lower_tocs[i];
        bool covers = false;
        if (!t)
            continue;
        char parent[CB_MAX_PATH + 1];
        for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
            snprintf(parent, sizeof parent, "%.*s", (int)(p - path), path);
            look(t, parent, true, &covers);
        }
        const struct cb_entry *e = look(t, path, false, &covers);
        *layer = i;
        if (e || covers)
            return e;
    }
    return NULL;
}

const struct cb_entry *cb_lower_dir(struct cb_unpack *u, const char *path)
{
    size_t layer = 0;
    const struct cb_entry *e = *path ? find(u, path, &layer) : NULL;
    return e && e->type == CB_ENTRY_DIR ? e : NULL;
}

static int copy_from_tree(struct cb_unpack *u, const struct cb_digest *diff_id, const struct cb_entry *e, int to,
                          struct cb_error *err)
{
    cb_autoclose int fs = -1;
    int r = u->o.need_lower ? u->o.need_lower(u->o.need_lower_arg, true, err) : 0;
    if (r == 0)
        r = cb_store_tree_open(u->o.store, diff_id, &fs, err);
    if (r < 0)
        return r;
    cb_autoclose int in = cb_path_openat(fs, e->path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, CB_RESOLVE_NOFOLLOW);
    if (in < 0)
        return cb_error_sys(err, CB_ELOCAL, -in, "open %s of a lower layer", e->path);
    struct stat st;
    uint64_t copied = 0;
    if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size)
        return cb_error_set(err, CB_EVERIFY, "%s of a lower layer is not what its table says", e->path);
    return cb_fd_copy(in, to, UINT64_MAX, &copied, err);
}

int cb_lower_copy(struct cb_unpack *u, const char *path, const struct cb_unpack_place *to, struct cb_error *err)
{
    size_t layer = 0;
    const struct cb_entry *e = find(u, path, &layer);
    if (e && e->type == CB_ENTRY_HARDLINK)
        e = cb_toc_find(u->lower_tocs[layer], e->link);
    if (e && e->type == CB_ENTRY_SYMLINK)
        return cb_unpack_symlink(u, e, to, err);
    if (!e || e->type != CB_ENTRY_FILE)
        return cb_error_set(err, CB_ENOTFOUND, "no lower layer has the file %s", path);
    cb_autoclose int fd = -1;
    int r = cb_unpack_create(u, e, to, &fd, err);
    if (r < 0 || (r = copy_from_tree(u, &u->o.lower[layer], e, fd, err)) < 0)
        return r;
    return cb_unpack_seal(u, e, fd, err);
}

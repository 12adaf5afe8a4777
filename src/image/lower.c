/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

/* Layers are unpacked side by side: those below may still be on their way. */
static void load_tocs(struct cb_lower_store *l)
{
    const struct cb_layer_intake *o = l->o;
    if (l->tocs || !o->n_lower)
        return;
    l->tocs = cb_calloc(o->n_lower, sizeof *l->tocs);
    if (o->need_lower && o->need_lower(o->need_lower_arg, false, &l->error) < 0)
        return;
    for (size_t i = 0; i < o->n_lower; i++)
        if (cb_store_toc_get(o->store, &o->lower[i], &l->tocs[i], NULL) < 0)
            l->tocs[i] = NULL;
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

/* The entry of path in the topmost of the n lowest layers that has one; *layer is its index. */
static const struct cb_entry *find(struct cb_lower_store *l, size_t n, const char *path, size_t *layer)
{
    load_tocs(l);
    for (size_t i = n; i-- > 0;) {
        const struct cb_toc *t = l->tocs[i];
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

static const struct cb_entry *lower_dir(struct cb_lower *base, const char *path)
{
    struct cb_lower_store *l = (struct cb_lower_store *)base;
    size_t layer = 0;
    l->asked = l->asked || *path;
    const struct cb_entry *e = *path ? find(l, l->o->n_lower, path, &layer) : NULL;
    return e && e->type == CB_ENTRY_DIR ? e : NULL;
}

static int open_in_tree(struct cb_lower_store *l, size_t layer, const struct cb_entry *e, int *fd,
                        struct cb_error *err)
{
    const struct cb_layer_intake *o = l->o;
    struct cb_digest below;
    const struct cb_tree_name name = { &o->lower[layer], &below };
    cb_autoclose int fs = -1;
    cb_chain_id(&below, o->lower, layer);
    int r = o->need_lower ? o->need_lower(o->need_lower_arg, true, err) : 0;
    if (r == 0)
        r = cb_store_tree_open(o->store, &name, &fs, err);
    if (r < 0)
        return r;
    cb_autoclose int in = cb_path_openat(fs, e->path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, CB_RESOLVE_NOFOLLOW);
    if (in < 0)
        return cb_error_sys(err, CB_ELOCAL, -in, "open %s of a lower layer", e->path);
    struct stat st;
    if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size)
        return cb_error_set(err, CB_EVERIFY, "%s of a lower layer is not what its table says", e->path);
    *fd = CB_TAKE_FD(in);
    return 0;
}

static int lower_file(struct cb_lower *base, const char *path, const struct cb_entry **out, int *fd,
                      struct cb_error *err)
{
    struct cb_lower_store *l = (struct cb_lower_store *)base;
    size_t layer = l->o->n_lower;
    l->asked = true;
    const struct cb_entry *e = find(l, layer, path, &layer);
    /* A link has a digest where its file is in the same layer; else that is in one below. */
    while (e && e->type == CB_ENTRY_HARDLINK)
        e = e->digest.known ? cb_toc_find(l->tocs[layer], e->link) : find(l, layer, e->link, &layer);
    *out = e;
    if (!e)
        return cb_error_set(err, CB_ENOTFOUND, "no lower layer has the file %s", path);
    if (e->type == CB_ENTRY_DIR)
        return cb_error_set(err, CB_EVERIFY, "hard link to %s, which is a directory", path);
    if (e->type != CB_ENTRY_FILE)
        return 0;
    return open_in_tree(l, layer, e, fd, err);
}

void cb_lower_store_init(struct cb_lower_store *l, const struct cb_layer_intake *o)
{
    static const struct cb_lower_ops ops = { lower_dir, lower_file };
    *l = (struct cb_lower_store){ .base = { &ops }, .o = o, .error = CB_ERROR_INIT };
}

void cb_lower_store_done(struct cb_lower_store *l)
{
    for (size_t i = 0; l->tocs && i < l->o->n_lower; i++)
        cb_toc_unref(l->tocs[i]);
    free(l->tocs);
    cb_error_done(&l->error);
}

int cb_lower_copy(struct cb_unpack *u, const char *path, const struct cb_unpack_place *to, struct cb_error *err)
{
    const struct cb_entry *e = NULL;
    cb_autoclose int in = -1, fd = -1;
    uint64_t copied = 0;
    if (!u->o.lower)
        return cb_error_set(err, CB_ENOTFOUND, "no lower layer has the file %s", path);
    int r = u->o.lower->ops->file(u->o.lower, path, &e, &in, err);
    if (r < 0)
        return r;
    if (e->type == CB_ENTRY_SYMLINK)
        return cb_unpack_symlink(u, e, to, err);
    if (e->type != CB_ENTRY_FILE)
        return cb_unpack_node(u, e, to, err);
    if ((r = cb_unpack_create(u, e, to, &fd, err)) < 0 || (r = cb_fd_copy(in, fd, UINT64_MAX, &copied, err)) < 0)
        return r;
    return cb_unpack_seal(u, e, fd, err);
}

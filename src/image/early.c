/* SPDX-License-Identifier: Apache-2.0 */
/* A layer whose tree is there before its digests are. Reading it hashed nothing; its tar lies in the image that is
 * mounted, and is hashed from there while a step already runs on it. What is computed so is our own word: the process
 * that read the layer had no part in it. */
#include <fcntl.h>
#include <unistd.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"

struct cb_layer_early {
    struct cb_store *store;
    struct cb_store_tmp tmp;
    struct cb_digest diff_id; /* expected */
    struct cb_digest room;
    struct cb_tree_name name; /* of these two */
    int image, tree;
    uint64_t size;
    struct cb_toc *draft;
    struct cb_digest is;      /* by part 0 */
    struct cb_toc *toc;       /* by part 1 */
};

void cb_layer_early_free(struct cb_layer_early *e)
{
    if (!e)
        return;
    cb_toc_unref(e->draft);
    cb_toc_unref(e->toc);
    cb_close_p(&e->image);
    cb_close_p(&e->tree);
    cb_store_tmp_done(&e->tmp);
    free(e);
}

int cb_layer_early_new(const struct cb_layer_intake *o, struct cb_store_tmp *tmp, int fd,
                       const struct cb_unpack_result *res, struct cb_error *err)
{
    struct cb_layer_early *e = CB_NEW(struct cb_layer_early);
    *e = (struct cb_layer_early){ .store = o->store, .tmp = *tmp, .diff_id = o->diff_id, .image = fd, .tree = -1,
                                  .size = res->size, .draft = cb_toc_ref(res->toc) };
    *tmp = (struct cb_store_tmp)CB_STORE_TMP_INIT;
    int r = cb_intake_tree_name(o, res, &e->room, &e->name, err);
    e->name.diff_id = &e->diff_id;
    if (r == 0)
        r = cb_store_tmp_mount(&e->tmp, &e->tree, err);
    if (r < 0)
        cb_layer_early_free(e);
    else
        *o->early = e;
    return r;
}

int cb_layer_early_tree(const struct cb_layer_early *e)
{
    return e->tree;
}

const struct cb_digest *cb_layer_early_below(const struct cb_layer_early *e)
{
    return e->name.below;
}

int cb_layer_early_hash(struct cb_layer_early *e, unsigned part, const struct cb_cancel *cancel, struct cb_error *err)
{
    const struct cb_layer_copy c = { e->image, CB_EROFS_TAR, e->size };
    struct cb_span span cb_cleanup_span = cb_span_begin("layer", part == 0 ? "hash layer" : "hash files of layer");
    cb_span_digest(&span, "diff_id", &e->diff_id);
    int r = part == 0 ? cb_layer_copy_diff_id(&c, cancel, &e->is, err)
                      : cb_layer_copy_toc(&c, e->draft, cancel, &e->toc, err);
    if (r < 0)
        cb_layer_wrap(&e->diff_id, err);
    return r;
}

static int publish(struct cb_layer_early *e, struct cb_error *err)
{
    int r = cb_layer_check_diff_id(&e->diff_id, &e->is, err);
    if (r == 0)
        r = cb_store_tree_publish(e->store, &e->tmp, "image", &e->name, err);
    if (r < 0)
        return r;
    cb_store_tree_mounted(e->store, &e->name, e->tree);
    return cb_store_toc_put(e->store, &e->diff_id, e->toc, err);
}

int cb_layer_early_finish(struct cb_layer_early *e, struct cb_toc **toc, struct cb_error *err)
{
    int r = publish(e, err);
    if (r < 0)
        cb_layer_wrap(&e->diff_id, err);
    else
        *toc = CB_TAKE(e->toc);
    return r;
}

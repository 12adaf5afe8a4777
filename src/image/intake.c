/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "image/private.h"
#include "util/path.h"

struct intake {
    const struct cb_layer_intake *o;
    struct cb_layer_reader *reader;
    struct cb_digest diff_id;
    uint64_t size;
    struct cb_toc *toc;
};

static int finish_reading(struct intake *t, struct cb_error *err)
{
    const struct cb_digest *expect = cb_digest_is_set(&t->o->diff_id) ? &t->o->diff_id : NULL;
    return cb_layer_reader_finish(t->reader, expect, &t->diff_id, &t->size, &t->toc, err);
}

static int unpack_tree(struct intake *t, struct cb_store_tmp *tmp, struct cb_error *err)
{
    cb_autoclose int root = cb_path_openat(tmp->fd, "fs", O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (root < 0)
        return cb_error_sys(err, CB_ELOCAL, -root, "open the directory to unpack to");
    struct cb_unpack_options uo = {
        .store = t->o->store,
        .root_fd = root,
        .userxattr = t->o->userxattr,
        .single_id = t->o->single_id,
        .clamp_mtime = INT64_MAX,
        .lower = t->o->lower,
        .n_lower = t->o->n_lower,
        .need_lower = t->o->need_lower,
        .need_lower_arg = t->o->need_lower_arg,
    };
    struct cb_unpack u cb_cleanup_unpack = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    int r = cb_unpack_init(&u, &uo, err);
    if (r < 0 || (r = cb_unpack_layer(&u, t->reader, t->o, err)) < 0 || (r = cb_unpack_finish(&u, err)) < 0)
        return r;
    /* Nothing gets its name before all bytes are known to be the right ones (R5). */
    return finish_reading(t, err);
}

static int with_tree(struct intake *t, struct cb_error *err)
{
    struct cb_store *s = t->o->store;
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    int r = cb_store_tmp_new(s, "layer", &tmp, err);
    if (r < 0 || (r = unpack_tree(t, &tmp, err)) < 0)
        return r;
    return cb_store_tree_publish(s, &tmp, "fs", &t->diff_id, err);
}

static bool has_tree(const struct cb_layer_intake *o)
{
    cb_autoclose int fd = -1;
    return cb_digest_is_set(&o->diff_id) && cb_store_tree_open(o->store, &o->diff_id, &fd, NULL) == 0;
}

static int take_in(struct intake *t, struct cb_error *err)
{
    int r;
    if (t->o->want_tree && !has_tree(t->o)) {
        r = with_tree(t, err);
    } else {
        r = cb_unpack_layer(NULL, t->reader, t->o, err);
        if (r == 0)
            r = finish_reading(t, err);
    }
    return r < 0 ? r : cb_store_toc_put(t->o->store, &t->diff_id, t->toc, err);
}

int cb_image_intake(const struct cb_layer_intake *o, struct cb_digest *diff_id, uint64_t *size, struct cb_error *err)
{
    struct cb_layer_read_options ro = { .source = o->source, .max_size = o->max_size, .cancel = o->cancel };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return -CB_EVERIFY;
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct intake t = { .o = o, .reader = reader };
    int r = take_in(&t, err);
    toc = t.toc;
    if (r < 0) {
        char text[CB_DIGEST_TEXT_MAX];
        if (cb_digest_is_set(&o->diff_id))
            cb_error_wrap(err, "layer %s", cb_digest_text(&o->diff_id, text));
        else
            cb_error_wrap(err, "layer");
        return r;
    }
    if (o->on_progress)
        o->on_progress(o->arg, t.size);
    if (diff_id)
        *diff_id = t.diff_id;
    if (size)
        *size = t.size;
    if (o->toc)
        *o->toc = CB_TAKE(toc);
    return 0;
}

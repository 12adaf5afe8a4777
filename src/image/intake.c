/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "image/helper.h"
#include "util/path.h"

/* ---- reading, and unpacking to root_fd unless it is -1: all of it on the blob's word alone ---- */

static int finish_reading(const struct cb_unpack_job *j, struct cb_layer_reader *reader, struct cb_unpack_result *res,
                          struct cb_error *err)
{
    const struct cb_digest *expect = cb_digest_is_set(&j->diff_id) ? &j->diff_id : NULL;
    return cb_layer_reader_finish(reader, expect, &res->diff_id, &res->size, j->raw ? NULL : &res->toc, err);
}

static int unpack_tree(const struct cb_unpack_job *j, struct cb_unpack *u, struct cb_layer_reader *reader,
                       struct cb_unpack_result *res, struct cb_error *err)
{
    struct cb_layer_intake in = { .cancel = j->cancel, .on_progress = j->on_progress, .arg = j->arg };
    int r = cb_unpack_layer(u, reader, &in, err);
    if (r == 0 && u)
        r = cb_unpack_finish(u, err);
    if (r == 0 && u) {
        res->marks = u->marks;
        cb_unpack_marks_init(&u->marks);
    }
    return r < 0 ? r : finish_reading(j, reader, res, err);
}

void cb_unpack_result_done(struct cb_unpack_result *res)
{
    cb_toc_unref(res->toc);
    cb_unpack_marks_done(&res->marks);
    *res = (struct cb_unpack_result){ 0 };
}

int cb_unpack_read(const struct cb_unpack_job *j, struct cb_unpack *u, struct cb_unpack_result *res,
                   struct cb_error *err)
{
    struct cb_layer_read_options ro = { .source = j->source, .raw_tar_ok = j->raw, .max_size = j->max_size,
                                        .plain_fd = j->plain_fd, .defer_digests = j->defer_digests,
                                        .threads = j->threads, .cancel = j->cancel };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader =
        j->known ? cb_layer_reader_of(j->known) : cb_layer_reader_new(&ro, err);
    return reader ? unpack_tree(j, u, reader, res, err) : -CB_EVERIFY;
}

struct cb_unpack_options cb_unpack_options_of(const struct cb_unpack_job *j)
{
    return (struct cb_unpack_options){ .root_fd = j->root_fd, .flat = j->raw, .single_id = j->single_id,
                                       .clamp_mtime = INT64_MAX, .lower = j->lower };
}

/* ---- here ---- */

static void close_source(struct cb_blob_source *src)
{
    if (src)
        src->ops->close(src);
}

static int read_here(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err)
{
    if (j->root_fd < 0)
        return cb_unpack_read(j, NULL, res, err);
    struct cb_unpack_options uo = cb_unpack_options_of(j);
    struct cb_unpack u cb_cleanup_unpack = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    int r = cb_unpack_init(&u, &uo, err);
    if (r == 0)
        return cb_unpack_read(j, &u, res, err);
    close_source(j->source);
    return r;
}

int cb_unpack_run(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err)
{
    bool kept = j->root_fd >= 0 || j->plain_fd > 0;
    struct cb_span span cb_cleanup_span = cb_span_begin("layer", kept ? "unpack layer" : "inflate layer");
    bool apart = cb_helper_is_there() && !j->known;
    cb_span_digest(&span, "diff_id", &j->diff_id);
    cb_span_text(&span, "where", apart ? "in a process of its own" : "here");
    int r = apart ? cb_helper_read(j, res, err) : read_here(j, res, err);
    cb_span_number(&span, "bytes", r < 0 ? 0 : res->size);
    return r;
}

/* ---- the intake ---- */

/* Where the layer goes besides its table: to one of them or to none. */
struct target {
    int root_fd;  /* a directory, or -1 */
    int plain_fd; /* an image to be, or 0 */
};

static bool may_be_early(const struct cb_layer_intake *o)
{
    return o->early && cb_digest_is_set(&o->diff_id);
}

/* What could not ask has not what it should. */
static int note_lower(const struct cb_layer_intake *o, struct cb_lower_store *l, struct cb_unpack_result *res,
                      struct cb_error *err)
{
    res->took_lower = res->took_lower || l->asked;
    if (l->asked && o->took_lower)
        *o->took_lower = true;
    return l->error.code ? cb_error_move(err, &l->error) : 0;
}

static int read_layer(const struct cb_layer_intake *o, struct target to, struct cb_unpack_result *res,
                      struct cb_error *err)
{
    struct cb_lower_store lower CB_CLEANUP(cb_lower_store_done);
    cb_lower_store_init(&lower, o);
    struct cb_unpack_job j = {
        .source = o->source, .known = o->known, .root_fd = to.root_fd, .plain_fd = to.plain_fd,
        .single_id = o->single_id, .diff_id = o->diff_id, .max_size = o->max_size, .lower = &lower.base,
        .cancel = o->cancel, .defer_digests = to.plain_fd > 0 && may_be_early(o),
        .on_progress = o->on_progress, .arg = o->arg,
    };
    int r = cb_unpack_run(&j, res, err), lowers = note_lower(o, &lower, res, r < 0 ? NULL : err);
    if (r == 0)
        r = lowers;
    if (r == 0 && j.defer_digests)
        res->diff_id = o->diff_id; /* which remains to be seen */
    return r;
}

static int fill_tree(const struct cb_layer_intake *o, struct cb_store_tmp *tmp, struct cb_unpack_result *res,
                     struct cb_error *err)
{
    cb_autoclose int root = cb_path_openat(tmp->fd, "fs", O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (root < 0) {
        close_source(o->source);
        return cb_error_sys(err, CB_ELOCAL, -root, "open the directory to unpack to");
    }
    struct cb_unpack_marks_options mo = { root, o->userxattr, o->single_id };
    /* Nothing gets its name before all bytes are known to be the right ones (R5). */
    int r = read_layer(o, (struct target){ .root_fd = root }, res, err);
    return r < 0 ? r : cb_unpack_marks_apply(&res->marks, &mo, err);
}

/* ---- as an image: layer/erofs.h ---- */

static const struct cb_entry *inherit(void *arg, const char *path)
{
    struct cb_lower *l = arg;
    return l->ops->dir(l, path);
}

/* 1: this layer cannot be one, or should not. */
static int fill_image(const struct cb_layer_intake *o, int fd, struct cb_unpack_result *res, struct cb_error *err)
{
    if (lseek(fd, CB_EROFS_TAR, SEEK_SET) < 0) {
        close_source(o->source);
        return cb_error_sys(err, CB_ELOCAL, errno, "seek in an image");
    }
    int r = read_layer(o, (struct target){ .root_fd = -1, .plain_fd = fd }, res, err);
    if (r < 0)
        return r;
    if (!cb_store_wants_image_of(o->store, cb_toc_count(res->toc), res->size))
        return 1;
    struct cb_span span cb_cleanup_span = cb_span_begin("layer", "write EROFS metadata");
    struct cb_lower_store lower CB_CLEANUP(cb_lower_store_done);
    cb_lower_store_init(&lower, o);
    struct cb_erofs_options eo = { .toc = res->toc, .tar_size = res->size, .inherit = inherit, .arg = &lower.base };
    if ((r = cb_erofs_write(fd, &eo, err)) < 0)
        return r;
    int lowers = note_lower(o, &lower, res, err);
    return lowers < 0 ? lowers : r;
}

/* ---- its name ---- */

int cb_intake_tree_name(const struct cb_layer_intake *o, const struct cb_unpack_result *res, struct cb_digest *room,
                        struct cb_tree_name *name, struct cb_error *err)
{
    *name = (struct cb_tree_name){ &res->diff_id, res->took_lower ? room : NULL };
    if (!res->took_lower)
        return 0;
    if (o->lower_partial)
        return cb_error_set(err, CB_EVERIFY, "it leaves directories or files to the layers below it, which are "
                            "steps of this build");
    cb_chain_id(room, o->lower, o->n_lower);
    return 0;
}

static int publish(const struct cb_layer_intake *o, struct cb_store_tmp *tmp, const char *sub,
                   const struct cb_unpack_result *res, struct cb_error *err)
{
    struct cb_digest room;
    struct cb_tree_name name;
    int r = cb_intake_tree_name(o, res, &room, &name, err);
    return r < 0 ? r : cb_store_tree_publish(o->store, tmp, sub, &name, err);
}

static bool has_tree(const struct cb_layer_intake *o)
{
    cb_autoclose int fd = -1;
    struct cb_digest below;
    const struct cb_tree_name name = { &o->diff_id, o->lower_partial ? NULL : &below };
    cb_chain_id(&below, o->lower, o->n_lower);
    return cb_digest_is_set(&o->diff_id) && cb_store_tree_open(o->store, &name, &fd, NULL) == 0;
}

/* ---- both kinds ---- */

/* The tar is there: what cannot be an image is unpacked from it. */
static int unpack_again(const struct cb_layer_intake *o, struct cb_store_tmp *tmp, int image,
                        struct cb_unpack_result *res, struct cb_error *err)
{
    struct cb_layer_intake again = *o;
    int fd = fcntl(image, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "hold an image");
    again.source = cb_blob_source_from_fd(fd, CB_EROFS_TAR, res->size);
    again.diff_id = res->diff_id;
    cb_unpack_result_done(res);
    return fill_tree(&again, tmp, res, err);
}

static int with_image(const struct cb_layer_intake *o, struct cb_store_tmp *tmp, struct cb_unpack_result *res,
                      struct cb_error *err)
{
    cb_autoclose int fd = openat(tmp->fd, "image", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        close_source(o->source);
        return cb_error_sys(err, CB_ELOCAL, errno, "create an image");
    }
    int r = fill_image(o, fd, res, err);
    if (r == 0 && may_be_early(o))
        return cb_layer_early_new(o, tmp, CB_TAKE_FD(fd), res, err);
    if (r < 1)
        return r < 0 ? r : publish(o, tmp, "image", res, err);
    r = unpack_again(o, tmp, fd, res, err);
    return r < 0 ? r : publish(o, tmp, "fs", res, err);
}

static bool may_be_image(const struct cb_layer_intake *o)
{
    if (o->known)
        return false; /* it is small */
    return o->guess ? cb_store_wants_image_of(o->store, cb_toc_count(o->guess), o->guess_size)
                    : cb_store_wants_images(o->store);
}

static int with_tree(const struct cb_layer_intake *o, struct cb_unpack_result *res, struct cb_error *err)
{
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    int r = cb_store_tmp_new(o->store, "layer", &tmp, err);
    if (r < 0) {
        close_source(o->source);
        return r;
    }
    if (may_be_image(o))
        return with_image(o, &tmp, res, err);
    r = fill_tree(o, &tmp, res, err);
    return r < 0 ? r : publish(o, &tmp, "fs", res, err);
}

static int take_in(const struct cb_layer_intake *o, struct cb_unpack_result *res, struct cb_error *err)
{
    int r = o->want_tree && !has_tree(o) ? with_tree(o, res, err)
                                       : read_layer(o, (struct target){ .root_fd = -1 }, res, err);
    if (r < 0 || o->known || (o->early && *o->early))
        return r;
    return cb_store_toc_put(o->store, &res->diff_id, res->toc, err);
}

int cb_image_layer_tar(const struct cb_layer_intake *o, int fd, struct cb_error *err)
{
    struct cb_unpack_result res CB_CLEANUP(cb_unpack_result_done) = { 0 };
    return read_layer(o, (struct target){ .root_fd = -1, .plain_fd = fd }, &res, err);
}

void cb_layer_wrap(const struct cb_digest *diff_id, struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    if (cb_digest_is_set(diff_id))
        cb_error_wrap(err, "layer with diff ID %s", cb_digest_text(diff_id, text));
    else
        cb_error_wrap(err, "layer");
}

int cb_image_intake(const struct cb_layer_intake *o, struct cb_digest *diff_id, uint64_t *size, struct cb_error *err)
{
    struct cb_unpack_result res CB_CLEANUP(cb_unpack_result_done) = { 0 };
    int r = take_in(o, &res, err);
    if (r < 0) {
        cb_layer_wrap(&o->diff_id, err);
        return r;
    }
    if (o->on_progress)
        o->on_progress(o->arg, res.size);
    if (diff_id)
        *diff_id = res.diff_id;
    if (size)
        *size = res.size;
    if (o->toc)
        *o->toc = CB_TAKE(res.toc);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/op_add.h"

#include <fcntl.h>
#include <unistd.h>

#include "build/failed.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

struct extract {
    struct cb_solver *s;
    struct cb_placer *placer;
    struct cb_spool *spool;
    struct cb_layer_reader *reader;
    const char *root;              /* where it goes, normal form */
    char *buf;
};

#define COPY_BUF (256u << 10)

static int spool_data(struct extract *x, struct cb_placed *placed, struct cb_error *err)
{
    uint64_t start = x->spool->size;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest sum;
    size_t got = 1;
    int r = 0;
    while (r == 0 && got) {
        r = cb_layer_reader_read(x->reader, x->buf, COPY_BUF, &got, err);
        if (r == 0 && got) {
            cb_hasher_update(h, x->buf, got);
            r = cb_fd_write_all(x->spool->fd, x->buf, got, err);
            x->spool->size += got;
        }
    }
    cb_hasher_finish(h, &sum);
    cb_sum_take(&placed->e.digest, &sum);
    placed->e.size = x->spool->size - start;
    placed->kind = CB_DATA_SPOOL;
    placed->spool_offset = start;
    return r;
}

/* The place that dir/name of an archive means: directories on the way may be links of the archive or of what is
 * below. */
static int target_path(struct extract *x, const char *name, struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_strbuf dir cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool exists, is_dir;
    const char *base = cb_path_base(name);
    cb_strbuf_addf(&dir, "%s/", x->root);
    cb_strbuf_add(&dir, name, (size_t)(base - name));
    int r = cb_placer_resolve(x->placer, dir.buf, out, &exists, &is_dir, err);
    if (r == 0)
        r = cb_placer_mkdirs(x->placer, out->buf, err);
    if (out->len)
        cb_strbuf_addch(out, '/');
    cb_strbuf_adds(out, base);
    return r;
}

/* The bytes of a hard link are those its file has now: a later entry may put another file in its place. */
static int link_data(struct extract *x, const char *target, struct cb_placed *placed, struct cb_error *err)
{
    struct cb_placed to;
    if (!cb_placer_find(x->placer, target, &to) || to.e.type != CB_ENTRY_FILE)
        return cb_error_set(err, CB_ECONF, "hard link to %s, which the archive does not hold", target);
    placed->kind = to.kind;
    placed->item = to.item;
    placed->mem = to.mem;
    placed->spool_offset = to.spool_offset;
    placed->e.size = to.e.size;
    placed->e.digest = to.e.digest;
    return 0;
}

static int extract_entry(struct extract *x, const struct cb_entry *e, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, link cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_entry copy = *e;
    struct cb_placed *placed = NULL;
    int r = target_path(x, e->path, &path, err);
    if (r == 0 && e->type == CB_ENTRY_HARDLINK) {
        r = target_path(x, e->link, &link, err);
        copy.link = link.buf;
    }
    if (r == 0)
        r = cb_placer_put(x->placer, path.buf, &copy, &placed, err);
    if (r < 0 || !placed)
        return r;
    if (e->type == CB_ENTRY_HARDLINK)
        return link_data(x, link.buf, placed, err);
    return e->type == CB_ENTRY_FILE ? spool_data(x, placed, err) : 0;
}

static int extract_all(struct extract *x, struct cb_error *err)
{
    const struct cb_entry *e;
    int r;
    while ((r = cb_layer_reader_next(x->reader, &e, err)) == 0 && e) {
        r = extract_entry(x, e, err);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : cb_layer_reader_finish(x->reader, NULL, NULL, NULL, NULL, err);
}

/* The bytes that the key is made of, or -CB_EVERIFY at their end. */
static int open_archive(struct cb_context *context, const struct cb_item *it, struct cb_blob_source **out,
                        struct cb_error *err)
{
    const struct cb_found *f = cb_item_found(it);
    const struct cb_digest hashed = cb_sum_digest(&f->digest);
    struct cb_blob_source *src = NULL;
    int r = cb_context_source(context, it, &src, err);
    if (r == 0)
        *out = cb_blob_source_verify(src, &hashed, f->size);
    return r;
}

static bool has_changed(struct cb_context *context, const struct cb_item *it, char *buf)
{
    cb_autosource struct cb_blob_source *src = NULL;
    size_t got = 1;
    int r = open_archive(context, it, &src, NULL);
    while (r == 0 && got)
        r = cb_blob_read(src, buf, COPY_BUF, &got, NULL);
    return r < 0;
}

static int extract_match(struct extract *x, struct cb_context *context, const struct cb_item *it, const char *dest,
                         struct cb_error *err)
{
    struct cb_strbuf root cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_layer_read_options ro = { .raw_tar_ok = true, .cancel = x->s->cancel };
    bool exists, is_dir;
    cb_placer_set(x->placer, CB_PLACE_ARCHIVE_DEST);
    int r = cb_placer_resolve(x->placer, dest, &root, &exists, &is_dir, err);
    if (r == 0)
        r = cb_placer_mkdirs(x->placer, root.buf, err);
    if (r == 0)
        r = x->spool->fd >= 0 ? 0 : cb_store_spool(x->s->env->store, &x->spool->fd, err);
    if (r == 0)
        r = open_archive(context, it, &ro.source, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return cb_failed(err);
    cb_autofree char *buf = cb_malloc(COPY_BUF);
    x->reader = reader;
    x->root = root.buf;
    x->buf = buf;
    cb_placer_set(x->placer, CB_PLACE_ARCHIVE);
    r = extract_all(x, err);
    if (r == -CB_EVERIFY && has_changed(context, it, buf))
        return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", cb_item_path(it));
    if (r < 0)
        cb_error_wrap(err, "archive %s", cb_item_path(it));
    return r;
}

/* 1, 0. */
static int is_archive(const struct cb_context *context, const struct cb_item *it, struct cb_error *err)
{
    if (it->type != CB_ENTRY_FILE || it->se)
        return 0;
    const char *path = cb_item_path(it);
    cb_autoclose int fd = cb_path_openat(cb_context_fd(context), path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_NOFOLLOW);
    int r = fd >= 0 ? cb_layer_is_archive(fd, err) : 0;
    if (r < 0)
        cb_error_wrap(err, "%s", path);
    return r;
}

int cb_add_place(struct cb_solver *s, struct cb_vertex *v, const struct cb_selection *sel, struct cb_placer *p,
                 struct cb_spool *spool, struct cb_error *err)
{
    struct extract x = { .s = s, .placer = p, .spool = spool };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sel->n; i++) {
        struct cb_selection one = { .v = &sel->v[i], .n = 1 };
        const struct cb_item *first = sel->v[i].items[0];
        cb_placer_set(p, CB_PLACE_COPY);
        r = is_archive(sel->context, first, err);
        if (r >= 0)
            r = r ? extract_match(&x, sel->context, first, v->copy.dest, err)
                  : cb_placer_selection(p, &one, v->copy.dest, err);
    }
    cb_placer_set(p, CB_PLACE_COPY);
    return r;
}

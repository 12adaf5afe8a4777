/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/path.h"

struct slot {
    const struct cb_entry *data;
    uint64_t offset; /* in the spool; NOT_THERE */
};
#define NOT_THERE UINT64_MAX
/* Where the bytes of one layer's files are. */
struct files_layer {
    int tree_fd;              /* O_PATH of its tree, -1 for none */
    struct cb_path_cursor cursor; /* in it */
    int plain_fd;             /* its uncompressed blob, -1 for none: data stands at the table's offsets */
    bool looked_at;           /* which of them there are is known */
    struct slot *slots;       /* what is to be read, where it is not in those: from its blob, by where it is in there */
    size_t n, cap;
    bool spooled;
};
struct cb_files {
    struct cb_store *store;
    struct files_layer *v;
    size_t n;
    const struct cb_layer *layers; /* borrowed */
    struct cb_tmpfile spool;
    uint64_t spooled;
    const struct cb_cancel *cancel;
    bool unverified;
};

static void layer_done(struct files_layer *l)
{
    free(l->slots);
    cb_path_cursor_done(&l->cursor);
    cb_close_p(&l->tree_fd);
    cb_close_p(&l->plain_fd);
}

/* By the offset in the tar, which is where the bytes are whatever has become of their name since. Sparse files have
 * none, nor have those of tables that layers carry with them: they come last, by their path. */
static int by_place(const void *a, const void *b)
{
    const struct cb_entry *x = ((const struct slot *)a)->data, *y = ((const struct slot *)b)->data;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->offset == UINT64_MAX ? cb_entry_path_cmp(x->path, y->path) : 0;
}

static struct slot *find_slot(const struct files_layer *l, const struct cb_entry *e)
{
    const struct slot key = { .data = e };
    return l->n ? bsearch(&key, l->slots, l->n, sizeof key, by_place) : NULL;
}

/* Several links may have wanted one file. */
static void put_in_order(struct files_layer *l)
{
    size_t n = 0;
    for (size_t i = 1; i < l->n; i++)
        if (by_place(&l->slots[i - 1], &l->slots[i]) > 0) {
            qsort(l->slots, l->n, sizeof *l->slots, by_place);
            break;
        }
    for (size_t i = 0; i < l->n; i++)
        if (!n || by_place(&l->slots[n - 1], &l->slots[i]) != 0)
            l->slots[n++] = l->slots[i];
    l->n = n;
}

void cb_files_free(struct cb_files *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        layer_done(&f->v[i]);
    free(f->v);
    cb_tmpfile_done(&f->spool);
    free(f);
}

static int open_in_tree(struct files_layer *l, const struct cb_entry *data)
{
    if (l->tree_fd < 0)
        return -1;
    cb_autoclose int fd = cb_path_cursor_open(&l->cursor, data->path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != data->size)
        return -1;
    return CB_TAKE_FD(fd);
}

/* Sparse files are not in the tar as they stand. */
static bool in_plain(const struct files_layer *l, const struct cb_entry *data)
{
    return l->plain_fd >= 0 && data->offset != UINT64_MAX;
}

/* Nothing of it needs a pass over its blob, as far as can be told without looking at each file. */
static bool is_at_hand(const struct files_layer *l)
{
    bool all = l->tree_fd >= 0 || l->plain_fd >= 0;
    for (size_t i = 0; l->tree_fd < 0 && all && i < l->n; i++)
        all = in_plain(l, l->slots[i].data);
    return all;
}

/* That of the layers below it here, if its own takes from those. */
static int open_tree(const struct cb_files *f, size_t i)
{
    struct cb_digest below = { 0 };
    struct cb_tree_name name = { &f->layers[i].diff_id, NULL };
    int fd = -1;
    if (cb_store_tree_open(f->store, &name, &fd, NULL) == 0)
        return fd;
    name.below = &below;
    for (size_t k = 0; k < i; k++)
        cb_chain_add(&below, &f->layers[k].diff_id);
    return cb_store_tree_open(f->store, &name, &fd, NULL) < 0 ? -1 : fd;
}

/* Looks once where the layer's bytes can be had without a pass over its blob. */
static void look_at_layer(struct cb_files *f, size_t i)
{
    struct files_layer *l = &f->v[i];
    if (l->looked_at)
        return;
    l->looked_at = true;
    l->tree_fd = open_tree(f, i);
    l->cursor.root = l->tree_fd;
    const struct cb_layer_encoding *e = cb_layer_stored(f->store, &f->layers[i]);
    if (e && cb_digest_eq(&e->digest, &f->layers[i].diff_id) &&
        cb_store_blob_open(f->store, &e->digest, &l->plain_fd, NULL, NULL) < 0)
        l->plain_fd = -1;
}

static void want(struct cb_files *f, const struct cb_stack_entry *e)
{
    if (!e->data || e->data->size == 0 || e->data->inline_data || e->data_layer >= f->n)
        return;
    struct files_layer *l = &f->v[e->data_layer];
    look_at_layer(f, e->data_layer);
    CB_GROW(l->slots, l->n, l->cap);
    l->slots[l->n++] = (struct slot){ e->data, NOT_THERE };
}

/* A pass over the blob of one layer. */
struct pass {
    struct cb_files *f;
    struct files_layer *l;
    struct cb_layer_reader *r;
    char *buf;
};

static int spool_bytes(const struct pass *p, struct cb_hasher *h, struct cb_error *err)
{
    for (;;) {
        size_t got = 0;
        int e = cb_layer_reader_read(p->r, p->buf, CB_UNPACK_BUF, &got, err);
        if (e < 0 || got == 0)
            return e;
        if ((e = cb_fd_write_all(p->f->spool.fd, p->buf, got, err)) < 0)
            return e;
        if (h)
            cb_hasher_update(h, p->buf, got);
        p->f->spooled += got;
    }
}

/* The one of that name, where a table does not say where it is. */
static struct slot *find_name(const struct files_layer *l, const struct cb_entry *e)
{
    const struct cb_entry name = { .path = e->path, .offset = UINT64_MAX };
    struct slot *slot = find_slot(l, &name);
    return slot && slot->data->size == e->size ? slot : NULL;
}

static bool wants_sparse(const struct files_layer *l, uint64_t size)
{
    for (size_t i = l->n; i-- > 0 && l->slots[i].data->offset == UINT64_MAX;)
        if (l->slots[i].data->size == size)
            return true;
    return false;
}

static bool is_it(const struct slot *slot, const struct cb_sum *is)
{
    return slot->data->digest.known && cb_sum_eq(&slot->data->digest, is);
}

/* A file that may be wanted, and its bytes tell: of that name (or NULL), or also another, as the name of a sparse file
 * may be another's by the end of the layer. */
static int spool_placeless(const struct pass *p, struct slot *named, bool others, struct cb_error *err)
{
    struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest digest;
    struct cb_sum is;
    uint64_t start = p->f->spooled;
    int e = spool_bytes(p, h, err);
    cb_hasher_finish(h, &digest);
    cb_hasher_free(h);
    cb_sum_take(&is, &digest);
    if (e < 0)
        return e;
    if (named && (!named->data->digest.known || is_it(named, &is))) {
        named->offset = start;
        return 0;
    }
    const struct files_layer *l = p->l;
    for (size_t i = l->n; others && i-- > 0 && l->slots[i].data->offset == UINT64_MAX;)
        if (is_it(&l->slots[i], &is))
            l->slots[i].offset = start;
    return 0;
}

static int spool_entry(const struct pass *p, const struct cb_entry *e, struct cb_error *err)
{
    bool sparse = e->offset == UINT64_MAX;
    struct slot *slot = sparse ? NULL : find_slot(p->l, e), *named = slot ? NULL : find_name(p->l, e);
    if (slot) {
        slot->offset = p->f->spooled;
        return spool_bytes(p, NULL, err);
    }
    bool others = sparse && wants_sparse(p->l, e->size);
    return named || others ? spool_placeless(p, named, others, err) : 0;
}

static int spool_all(struct cb_files *f, size_t i, struct cb_layer_reader *r, struct cb_error *err)
{
    cb_autofree char *buf = cb_malloc(CB_UNPACK_BUF);
    const struct pass p = { f, &f->v[i], r, buf };
    const struct cb_entry *e = NULL;
    for (;;) {
        int k = cb_cancel_check(f->cancel, err);
        if (k < 0 || (k = cb_layer_reader_next(r, &e, err)) < 0 || !e)
            return k;
        if (e->type == CB_ENTRY_FILE && (k = spool_entry(&p, e, err)) < 0)
            return k;
    }
}

static int spool_layer(struct cb_files *f, size_t i, struct cb_error *err)
{
    const struct cb_layer_encoding *enc = cb_layer_stored(f->store, &f->layers[i]);
    struct cb_layer_read_options o = { .cancel = f->cancel };
    char text[CB_DIGEST_TEXT_MAX];
    put_in_order(&f->v[i]);
    f->v[i].spooled = true;
    if (!enc)
        return cb_error_set(err, CB_ENOTFOUND, "no blob of layer %s is in the store",
                            cb_digest_text(&f->layers[i].diff_id, text));
    if (f->spool.fd < 0) {
        struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
        int r = cb_store_tmp_new(f->store, "spool", &tmp, err);
        if (r < 0)
            return r;
        f->spool.fd = openat(tmp.fd, "data", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (f->spool.fd < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "create a file in %s/tmp", cb_store_root(f->store));
    }
    int r = cb_store_blob_source(f->store, &enc->digest, &o.source, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, err);
    if (!reader)
        return -CB_EVERIFY;
    struct cb_digest diff_id;
    uint64_t size = 0;
    if ((r = spool_all(f, i, reader, err)) < 0 ||
        (r = cb_layer_reader_finish(reader, &f->layers[i].diff_id, &diff_id, &size, NULL, err)) < 0)
        cb_error_wrap(err, "layer with diff ID %s", cb_digest_text(&f->layers[i].diff_id, text));
    return r;
}

int cb_files_open(const struct cb_files_options *o, struct cb_files **out, struct cb_error *err)
{
    CB_AUTO(cb_files_free) struct cb_files *f = CB_NEW(struct cb_files);
    f->store = o->store;
    f->layers = o->layers;
    f->cancel = o->cancel;
    f->unverified = o->unverified;
    f->spool = (struct cb_tmpfile)CB_TMPFILE_INIT;
    f->n = cb_stack_layers(o->stack);
    f->v = cb_calloc(f->n + 1, sizeof *f->v);
    for (size_t i = 0; i < f->n; i++)
        f->v[i] = (struct files_layer){ .tree_fd = -1, .cursor = CB_PATH_CURSOR(-1), .plain_fd = -1 };
    for (size_t i = 0; i < o->n_wanted; i++)
        want(f, o->wanted[i]);
    for (size_t i = 0; i < f->n; i++) {
        int r = f->v[i].n && !is_at_hand(&f->v[i]) ? spool_layer(f, i, err) : 0;
        if (r < 0)
            return r;
    }
    *out = CB_TAKE(f);
    return 0;
}

static struct cb_blob_source *from_spool(struct cb_files *f, const struct files_layer *l, const struct cb_entry *data)
{
    const struct slot *slot = find_slot(l, data);
    bool there = slot && slot->offset != NOT_THERE;
    int fd = there ? fcntl(f->spool.fd, F_DUPFD_CLOEXEC, 3) : -1;
    return fd < 0 ? NULL : cb_blob_source_from_fd(fd, slot->offset, data->size);
}

static struct cb_blob_source *at_hand(struct files_layer *l, const struct cb_entry *data)
{
    if (data->inline_data)
        return cb_blob_source_from_mem(data->inline_data, (size_t)data->size);
    if (data->size == 0)
        return cb_blob_source_from_mem("", 0);
    int fd = open_in_tree(l, data);
    if (fd >= 0)
        return cb_blob_source_from_fd(fd, 0, data->size);
    fd = in_plain(l, data) ? fcntl(l->plain_fd, F_DUPFD_CLOEXEC, 3) : -1;
    return fd >= 0 ? cb_blob_source_from_fd(fd, data->offset, data->size) : NULL;
}

/* *out NULL: nobody said that it would be wanted. What a tree lacks all the same comes from the blob, with all that is
 * wanted of that. */
static int find_source(struct cb_files *f, size_t i, const struct cb_entry *data, struct cb_blob_source **out,
                       struct cb_error *err)
{
    struct files_layer *l = &f->v[i];
    *out = at_hand(l, data);
    if (*out)
        return 0;
    int r = l->n && !l->spooled ? spool_layer(f, i, err) : 0;
    if (r == 0)
        *out = from_spool(f, l, data);
    return r;
}

int cb_files_source(struct cb_files *f, const struct cb_stack_entry *e, struct cb_blob_source **out,
                    struct cb_error *err)
{
    if (!e->data || e->data_layer >= f->n)
        return cb_error_set(err, CB_EVERIFY, "no layer holds the bytes of %s", e->e->path);
    struct cb_blob_source *src = NULL;
    int r = find_source(f, e->data_layer, e->data, &src, err);
    if (r < 0)
        return r;
    if (!src)
        return cb_error_set(err, CB_EINTERNAL, "the bytes of %s were not asked for", e->e->path);
    const struct cb_digest want = cb_sum_digest(&e->data->digest);
    *out = f->unverified ? src : cb_blob_source_verify(src, &want, e->data->size);
    return 0;
}

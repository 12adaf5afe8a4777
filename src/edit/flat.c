/* SPDX-License-Identifier: Apache-2.0 */
/* A layer list as one tar, in one pass over each layer. What is visible is known from the tables before the first byte
 * of a file is read, so nothing has to be kept or written twice. Bytes are found by their offset in the uncompressed
 * tar, which is unique where paths are not. */
#include "edit/private.h"
#include "util/alloc.h"

struct wanted {
    uint64_t offset;    /* of the bytes; UINT64_MAX: sparse, known by its path */
    const char *source; /* path in the layer's own table */
    size_t at;          /* in the stack */
};
struct flat {
    const struct cb_edit_tables *t;
    struct cb_stack *stack;
    struct cb_layer_writer *w;
    struct wanted *v; /* of the layer that is read, by offset, then by path */
    size_t n, cap, next;
};

static int compare(const void *pa, const void *pb)
{
    const struct wanted *a = pa, *b = pb;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    int c = a->offset == UINT64_MAX ? strcmp(a->source, b->source) : 0;
    return c ? c : a->at < b->at ? -1 : 1;
}

static void collect(struct flat *f, size_t layer)
{
    f->n = f->next = 0;
    for (size_t i = 0; i < cb_stack_count(f->stack); i++) {
        const struct cb_stack_entry *e = cb_stack_at(f->stack, i);
        if (!e->data || e->data_layer != layer)
            continue;
        CB_GROW(f->v, f->n, f->cap);
        f->v[f->n++] = (struct wanted){ e->data->offset, e->data->path, i };
    }
    if (f->n)
        qsort(f->v, f->n, sizeof *f->v, compare);
}

/* ---- entries ---- */

static int add_without_bytes(struct flat *f, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cb_stack_count(f->stack); i++) {
        const struct cb_stack_entry *se = cb_stack_at(f->stack, i);
        if (se->data)
            continue;
        if (se->e->type == CB_ENTRY_HARDLINK)
            return cb_error_set(err, CB_EVERIFY, "%s is a hard link to %s, which is no file of its layer or one below",
                                se->e->path, se->e->link);
        r = cb_layer_writer_add(f->w, se->e, NULL, err);
    }
    return r;
}

struct pull {
    struct cb_blob_source base;
    struct cb_layer_reader *reader;
};

static int pull_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    return cb_layer_reader_read(((struct pull *)b)->reader, buf, n, got, err);
}

static void pull_close(struct cb_blob_source *b)
{
    free(b);
}

static int add_bytes(struct flat *f, const struct cb_stack_entry *se, struct cb_layer_reader *reader,
                     struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { pull_read, pull_close };
    struct pull *p = CB_NEW(struct pull);
    struct cb_entry e = *se->e;
    const struct cb_digest want = cb_sum_digest(&se->data->digest);
    p->base.ops = &ops;
    p->reader = reader;
    /* A name that stands twice in the tar, sparse both times, could be met at the wrong place: the digest tells. */
    cb_autosource struct cb_blob_source *src = cb_blob_source_verify(&p->base, &want, se->data->size);
    e.type = CB_ENTRY_FILE;
    e.link = NULL;
    e.size = se->data->size;
    return cb_layer_writer_add(f->w, &e, src, err);
}

/* All paths that have these bytes: the first in order as a file, the others as links to it. */
static int add_group(struct flat *f, size_t first, size_t end, struct cb_layer_reader *reader, struct cb_error *err)
{
    const struct cb_stack_entry *se = cb_stack_at(f->stack, f->v[first].at);
    int r = add_bytes(f, se, reader, err);
    for (size_t i = first + 1; r == 0 && i < end; i++) {
        struct cb_entry e = *cb_stack_at(f->stack, f->v[i].at)->e;
        e.type = CB_ENTRY_HARDLINK;
        e.link = se->e->path;
        r = cb_layer_writer_add(f->w, &e, NULL, err);
    }
    return r;
}

static bool same_bytes(const struct wanted *a, const struct wanted *b)
{
    return a->offset == b->offset && (a->offset != UINT64_MAX || strcmp(a->source, b->source) == 0);
}

/* Where the group begins that this entry of the layer belongs to; n for none. */
static size_t find_group(const struct flat *f, const struct cb_entry *e)
{
    if (e->offset != UINT64_MAX) {
        size_t i = f->next;
        while (i < f->n && f->v[i].offset < e->offset)
            i++;
        return i < f->n && f->v[i].offset == e->offset ? i : f->n;
    }
    for (size_t i = f->n; i-- > 0 && f->v[i].offset == UINT64_MAX;)
        if (strcmp(f->v[i].source, e->path) == 0 && (i == 0 || !same_bytes(&f->v[i - 1], &f->v[i])))
            return i;
    return f->n;
}

static int add_entries(struct flat *f, struct cb_layer_reader *reader, struct cb_error *err)
{
    const struct cb_entry *e = NULL;
    size_t done = 0;
    int r;
    while ((r = cb_layer_reader_next(reader, &e, err)) == 0 && e) {
        size_t first = e->type == CB_ENTRY_FILE ? find_group(f, e) : f->n, end = first;
        while (end < f->n && same_bytes(&f->v[first], &f->v[end]))
            end++;
        if (e->type == CB_ENTRY_FILE && e->offset != UINT64_MAX && first < f->n)
            f->next = end;
        if (first < end && (r = add_group(f, first, end, reader, err)) < 0)
            return r;
        done += end - first;
    }
    if (r == 0 && done != f->n)
        r = cb_error_set(err, CB_EVERIFY, "%zu files of its table are not in it", f->n - done);
    return r;
}

static int add_layer(struct flat *f, size_t layer, struct cb_error *err)
{
    const struct cb_edit_tables *t = f->t;
    struct cb_layer_read_options o = { .cancel = t->source->env->cancel };
    collect(f, layer);
    if (f->n == 0)
        return 0;
    int r = cb_edit_tables_blob(t, layer, &o.source, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, err);
    if (!reader)
        return -CB_EVERIFY;
    struct cb_digest diff_id;
    uint64_t size;
    r = add_entries(f, reader, err);
    return r < 0 ? r : cb_layer_reader_finish(reader, &t->image->image.config.diff_ids[layer], &diff_id, &size, NULL,
                                              err);
}

int cb_edit_flat(const struct cb_edit_tables *t, struct cb_layer_writer *w, struct cb_error *err)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = cb_edit_tables_stack(t);
    struct flat f = { .t = t, .stack = stack, .w = w };
    char text[CB_DIGEST_TEXT_MAX];
    int r = add_without_bytes(&f, err);
    for (size_t i = 0; r == 0 && i < t->n; i++)
        if ((r = add_layer(&f, i, err)) < 0)
            cb_error_wrap(err, "layer %s", cb_digest_text(&t->image->image.manifest.layers[i].digest, text));
    free(f.v);
    return r;
}

int cb_edit_export(const struct cb_edit_tables *t, int fd, struct cb_error *err)
{
    struct edit_fd_sink sink;
    struct cb_layer made cb_cleanup_layer = { 0 };
    edit_fd_sink_init(&sink, fd);
    struct cb_layer_write_options o = { .format = { CB_COMPRESSION_NONE }, .clamp_mtime = INT64_MAX,
                                        .sink = &sink.base, .cancel = t->source->env->cancel };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, err);
    int r = w ? cb_edit_flat(t, w, err) : -CB_EINTERNAL;
    return r < 0 ? r : cb_layer_writer_finish(w, &made, NULL, err);
}

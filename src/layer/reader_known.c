/* SPDX-License-Identifier: Apache-2.0 */
/* A layer that was written here a moment ago: its table is known, its tar lies in memory. Nothing is parsed. */
#include "layer/layer.h"
#include "util/alloc.h"

struct known {
    struct cb_layer_reader base;
    const struct cb_layer_known *of;
    size_t next;              /* twice through the table: hard links come behind everything they may name */
    const struct cb_entry *e; /* the last that was given, and how much of it was read */
    uint64_t done;
};

static int known_next(struct cb_layer_reader *b, const struct cb_entry **e, struct cb_error *err CB_UNUSED)
{
    struct known *k = (struct known *)b;
    size_t n = cb_toc_count(k->of->toc);
    k->e = NULL;
    k->done = 0;
    while (!k->e && k->next < 2 * n) {
        const struct cb_entry *at = cb_toc_at(k->of->toc, k->next % n);
        if ((at->type == CB_ENTRY_HARDLINK) == (k->next >= n))
            k->e = at;
        k->next++;
    }
    *e = k->e;
    return 0;
}

static int known_read(struct cb_layer_reader *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct known *k = (struct known *)b;
    const struct cb_entry *e = k->e;
    *got = 0;
    if (!e || e->type != CB_ENTRY_FILE)
        return 0;
    if (e->offset > k->of->size || e->size > k->of->size - e->offset)
        return cb_error_set(err, CB_EINTERNAL, "%s is not where the layer should have it", e->path);
    *got = (size_t)CB_MIN((uint64_t)n, e->size - k->done);
    memcpy(buf, k->of->tar + e->offset + k->done, *got);
    k->done += *got;
    return 0;
}

/* The digests were made of what was written. */
static int known_finish(struct cb_layer_reader *b, const struct cb_digest *expect, struct cb_layer_read_result *out,
                        struct cb_error *err)
{
    const struct known *k = (const struct known *)b;
    out->diff_id = k->of->diff_id;
    out->size = k->of->size;
    if (out->want_toc)
        out->toc = cb_toc_ref(k->of->toc);
    return cb_layer_check_diff_id(expect, &k->of->diff_id, err);
}

static void known_free(struct cb_layer_reader *b)
{
    free(b);
}

struct cb_layer_reader *cb_layer_reader_of(const struct cb_layer_known *of)
{
    static const struct cb_layer_reader_ops ops = { known_next, known_read, known_finish, known_free };
    struct known *k = CB_NEW(struct known);
    k->base.ops = &ops;
    k->base.span = cb_span_begin_apart("read", "read layer");
    cb_span_text(&k->base.span, "where", "in memory");
    k->of = of;
    return &k->base;
}

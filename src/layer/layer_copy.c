/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of a layer that was read without: of its tar, where that was written to a file. */
#include "layer/layer.h"
#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/fd.h"

#define CHUNK ((size_t)256 << 10)

struct pass {
    const struct cb_layer_copy *c;
    const struct cb_cancel *cancel;
    struct cb_hasher *hasher;
    char *buf;
};

static void pass_begin(struct pass *p, const struct cb_layer_copy *c, const struct cb_cancel *cancel)
{
    *p = (struct pass){ c, cancel, cb_hasher_new(CB_DIGEST_SHA256), cb_malloc(CHUNK) };
}

static void pass_done(struct pass *p)
{
    cb_hasher_free(p->hasher);
    free(p->buf);
}

/* Of n bytes from `from` on, both inside of the copy. */
static int hash(struct pass *p, uint64_t from, uint64_t n, struct cb_digest *out, struct cb_error *err)
{
    while (n) {
        size_t want = (size_t)CB_MIN(n, (uint64_t)CHUNK), got = 0;
        int r = cb_cancel_check(p->cancel, err);
        if (r == 0)
            r = cb_fd_pread_full(p->c->fd, p->buf, want, p->c->at + from, &got, err);
        if (r < 0)
            return r;
        if (got < want)
            return cb_error_set(err, CB_ELOCAL, "the copy of a layer is shorter than it was");
        cb_hasher_update(p->hasher, p->buf, got);
        from += got;
        n -= got;
    }
    cb_hasher_finish(p->hasher, out);
    return 0;
}

int cb_layer_copy_diff_id(const struct cb_layer_copy *c, const struct cb_cancel *cancel, struct cb_digest *out,
                          struct cb_error *err)
{
    struct pass p CB_CLEANUP(pass_done);
    pass_begin(&p, c, cancel);
    return hash(&p, 0, c->size, out, err);
}

static bool is_inline(const struct cb_entry *e, const struct cb_sum *is)
{
    struct cb_sum sum;
    cb_sum_of(&sum, e->inline_data, e->size);
    return cb_sum_eq(&sum, is);
}

static int sum_file(struct pass *p, const struct cb_entry *e, struct cb_sum *out, struct cb_error *err)
{
    struct cb_digest d;
    if (e->offset > p->c->size || e->size > p->c->size - e->offset)
        return cb_error_set(err, CB_EVERIFY, "%s is not where the layer should have it", e->path);
    int r = hash(p, e->offset, e->size, &d, err);
    if (r < 0)
        return r;
    cb_sum_take(out, &d);
    if (e->inline_data && !is_inline(e, out))
        return cb_error_set(err, CB_EVERIFY, "%s is not what the table has of it", e->path);
    return 0;
}

/* A link has what its file has; one into a lower layer has none, and keeps that. */
static void sum_links(const struct cb_toc *t, struct cb_sum *sums)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct cb_entry *e = &t->v[i];
        const struct cb_entry *to = e->type == CB_ENTRY_HARDLINK && e->digest.known ? cb_toc_find(t, e->link) : NULL;
        if (to)
            sums[i] = sums[to - t->v];
    }
}

int cb_layer_copy_toc(const struct cb_layer_copy *c, struct cb_toc *toc, const struct cb_cancel *cancel,
                      struct cb_toc **out, struct cb_error *err)
{
    struct pass p CB_CLEANUP(pass_done);
    cb_autofree struct cb_sum *sums = cb_calloc(toc->n + 1, sizeof *sums);
    int r = 0;
    pass_begin(&p, c, cancel);
    for (size_t i = 0; r == 0 && i < toc->n; i++)
        if (toc->v[i].type == CB_ENTRY_FILE)
            r = sum_file(&p, &toc->v[i], &sums[i], err);
    if (r < 0)
        return r;
    sum_links(toc, sums);
    *out = cb_toc_with_sums(toc, sums);
    return 0;
}

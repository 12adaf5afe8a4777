/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"

#define FETCHERS 8 /* manifests at a time */

static void node_free(struct copy_node *n)
{
    if (!n)
        return;
    cb_descriptor_done(&n->desc);
    cb_strbuf_done(&n->body);
    cb_manifest_done(&n->manifest);
    free(n);
}

void copy_tree_done(struct copy_tree *t)
{
    for (size_t i = 0; i < t->n; i++)
        node_free(t->v[i]);
    free(t->v);
    *t = (struct copy_tree){ 0 };
}

static bool has(const struct copy_tree *t, const struct cb_digest *d)
{
    for (size_t i = 0; i < t->n; i++)
        if (cb_digest_eq(&t->v[i]->desc.digest, d))
            return true;
    return false;
}

struct level {
    struct cb_copy_source *from;
    const struct cb_index *index;
    struct copy_node **v;
};

/* One of two sizes is wrong, and is to be found so. */
static bool was_listed(const struct cb_index *idx, size_t i)
{
    const struct cb_descriptor *d = &idx->manifests[i];
    for (size_t k = 0; k < i; k++)
        if (idx->manifests[k].size == d->size && cb_digest_eq(&idx->manifests[k].digest, &d->digest))
            return true;
    return false;
}

/* NULL where it was listed before. */
static int fetch(void *arg, size_t i, struct cb_error *err)
{
    struct level *l = arg;
    const struct cb_descriptor *d = &l->index->manifests[i];
    if (was_listed(l->index, i))
        return 0;
    struct copy_node *n = l->v[i] = CB_NEW(struct copy_node);
    char text[CB_DIGEST_TEXT_MAX];
    n->body = (struct cb_strbuf)CB_STRBUF_INIT;
    int r = cb_cancel_check(l->from->env->cancel, err);
    if (r == 0)
        r = l->from->ops->manifest(l->from, NULL, &d->digest, &n->desc, &n->body, err);
    if (r == 0 && n->body.len != d->size)
        r = cb_error_set(err, CB_EVERIFY, "it has not the size that the index says");
    if (r == -CB_ENOTFOUND)
        return cb_error_wrap(err, "%s is listed by the index but not there (--platform takes a part of it)",
                             cb_digest_text(&d->digest, text));
    return r < 0 ? cb_error_wrap(err, "%s", cb_digest_text(&d->digest, text)) : 0;
}

static int add(struct copy_tree *t, struct cb_copy_source *from, struct copy_node *n, unsigned depth,
               struct cb_error *err);

/* What an index lists may also be plain blobs, which registries do not take as manifests: refused. */
static int check_entries(const struct cb_index *idx, unsigned depth, struct cb_error *err)
{
    if (depth >= CB_MAX_INDEX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    for (size_t i = 0; i < idx->n_manifests; i++)
        if (!cb_mt_is_manifest(idx->manifests[i].media_type) && !cb_mt_is_index(idx->manifests[i].media_type))
            return cb_error_set(err, CB_EVERIFY, "the index lists what is no manifest (%s)",
                                idx->manifests[i].media_type);
    return 0;
}

static int add_children(struct copy_tree *t, struct cb_copy_source *from, struct copy_node *n, unsigned depth,
                        struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_index_parse(&idx, n->body.buf, n->body.len, n->desc.media_type, err);
    if (r == 0)
        r = check_entries(&idx, depth, err);
    if (r < 0)
        return r;
    n->subject = idx.subject;
    struct level l = { from, &idx, cb_calloc(idx.n_manifests + 1, sizeof *l.v) };
    r = cb_copy_each(idx.n_manifests, FETCHERS, fetch, &l, err);
    for (size_t i = 0; i < idx.n_manifests; i++)
        if (r == 0 && l.v[i])
            r = add(t, from, l.v[i], depth + 1, err);
        else
            node_free(l.v[i]);
    free(l.v);
    return r;
}

/* Takes n. */
static int add(struct copy_tree *t, struct cb_copy_source *from, struct copy_node *n, unsigned depth,
               struct cb_error *err)
{
    int r = 0;
    if (has(t, &n->desc.digest)) {
        node_free(n);
        return 0;
    }
    n->is_index = cb_mt_is_index(n->desc.media_type);
    r = n->is_index ? add_children(t, from, n, depth, err)
                    : cb_manifest_parse(&n->manifest, n->body.buf, n->body.len, n->desc.media_type, err);
    if (r < 0) {
        node_free(n);
        return r;
    }
    n->subject = n->subject || n->manifest.subject;
    CB_GROW(t->v, t->n, t->cap);
    t->v[t->n++] = n;
    return 0;
}

int copy_tree_load(struct cb_copy_source *from, struct cb_descriptor *desc, struct cb_strbuf *body,
                   struct copy_tree *out, struct cb_error *err)
{
    struct copy_node *n = CB_NEW(struct copy_node);
    n->desc = *desc;
    n->body = *body;
    *desc = (struct cb_descriptor){ 0 };
    *body = (struct cb_strbuf)CB_STRBUF_INIT;
    *out = (struct copy_tree){ 0 };
    int r = add(out, from, n, 0, err);
    if (r < 0)
        copy_tree_done(out);
    return r;
}

int copy_describe(const struct cb_descriptor *d, const struct cb_strbuf *body, struct cb_descriptor *out,
                  struct cb_error *err)
{
    const char *mt = cb_manifest_detect(body->buf, body->len, d->media_type, err);
    if (!mt)
        return -CB_EVERIFY;
    cb_descriptor_of(out, mt, body->buf, body->len);
    out->digest = d->digest;
    return 0;
}

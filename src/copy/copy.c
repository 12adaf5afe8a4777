/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

void cb_copy_result_done(struct cb_copy_result *r)
{
    cb_descriptor_done(&r->from);
    cb_descriptor_done(&r->to);
    cb_strvec_done(&r->referrers);
}

void cb_copy_manifest_free(struct cb_copy_manifest *m)
{
    if (!m)
        return;
    cb_descriptor_done(&m->desc);
    cb_strbuf_done(&m->body);
    free(m);
}

/* ---- a tree ---- */

/* What the vendor alone may give away stays with him, as everywhere; but where nobody says where that is, it is a blob
 * of this repository like others, and registries miss it. */
static bool travels(const struct cb_descriptor *d)
{
    return !(d->urls.n && cb_mt_is_foreign_layer(d->media_type));
}

static int by_size(const void *a, const void *b)
{
    const struct cb_descriptor *x = *(const struct cb_descriptor *const *)a;
    const struct cb_descriptor *y = *(const struct cb_descriptor *const *)b;
    return x->size < y->size ? 1 : -(x->size > y->size);
}

/* The largest also gets the connection that is open already. */
static int add_blobs(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_node *n,
                     struct cb_error *err)
{
    cb_autofree const struct cb_descriptor **v = cb_calloc(n->manifest.n_layers + 1, sizeof *v);
    size_t count = 0;
    int r = 0;
    if (!n->is_index)
        v[count++] = &n->manifest.config;
    for (size_t i = 0; i < n->manifest.n_layers; i++)
        if (travels(&n->manifest.layers[i]))
            v[count++] = &n->manifest.layers[i];
    if (to->ops->largest_first && count)
        qsort(v, count, sizeof *v, by_size);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = to->ops->blob(to, from, v[i], err);
    return r;
}

static int wait_blobs(struct cb_copy_target *to, const struct copy_node *n, struct cb_error *err)
{
    int r = n->is_index ? 0 : to->ops->wait_blob(to, &n->manifest.config.digest, err);
    for (size_t i = 0; r == 0 && i < n->manifest.n_layers; i++)
        if (travels(&n->manifest.layers[i]))
            r = to->ops->wait_blob(to, &n->manifest.layers[i].digest, err);
    return r;
}

static int put_node(struct cb_copy_target *to, const struct copy_node *n, struct cb_error *err)
{
    char text[CB_DIGEST_TEXT_MAX];
    int r = wait_blobs(to, n, err);
    if (r == 0)
        r = to->ops->manifest(to, &n->desc, (struct cb_slice){ n->body.buf, n->body.len }, n->subject, err);
    return r < 0 ? cb_error_wrap(err, "manifest %.19s", cb_digest_text(&n->desc.digest, text)) : 0;
}

struct putting {
    struct cb_copy_target *to;
    const struct copy_tree *tree;
};

static int put_manifest(void *arg, size_t i, struct cb_error *err)
{
    struct putting *p = arg;
    return p->tree->v[i]->is_index ? 0 : put_node(p->to, p->tree->v[i], err);
}

int copy_put_tree(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_tree *tree, bool last,
                  struct cb_error *err)
{
    struct putting p = { to, tree };
    size_t n = tree->n - (last ? 0 : 1);
    int r = 0;
    for (size_t i = 0; r == 0 && i < tree->n; i++)
        r = add_blobs(from, to, tree->v[i], err);
    if (r == 0)
        r = cb_copy_each(n, cb_push_width(from->env->jobs), put_manifest, &p, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (tree->v[i]->is_index)
            r = put_node(to, tree->v[i], err);
    return r == 0 && !last ? wait_blobs(to, copy_tree_top(tree), err) : r;
}

/* ---- one image ---- */

struct image {
    struct cb_copy_source *from;
    struct cb_copy_target *to;
    const struct cb_copy_options *o;
    struct cb_copy_result *res;
    struct cb_descriptor desc; /* of what goes */
    struct cb_strbuf body;
    struct cb_descriptor there; /* what the tag stands for at the target; no digest: nothing, or it was not asked */
    int there_result;
    struct cb_error there_error;
};

static int read_top(struct image *x, struct cb_error *err)
{
    const struct cb_copy_options *o = x->o;
    int r = 0;
    if (o->manifest) {
        cb_descriptor_copy(&x->desc, &o->manifest->desc);
        cb_strbuf_add(&x->body, o->manifest->body.buf, o->manifest->body.len);
    } else {
        r = x->from->ops->manifest(x->from, o->tag, &o->digest, &x->desc, &x->body, err);
    }
    if (r < 0)
        return r;
    cb_descriptor_copy(&x->res->from, &x->desc);
    x->res->made = x->from->makes_manifest;
    if (o->n_platforms)
        r = copy_pick(x->from, o->platforms, o->n_platforms, &x->desc, &x->body, err);
    if (r == 0)
        cb_descriptor_copy(&x->res->to, &x->desc);
    return r;
}

static void ask_target(struct image *x)
{
    int r = x->to->ops->head(x->to, x->o->to_tag, &x->there, &x->there_error);
    x->there_result = r == -CB_ENOTFOUND ? 0 : r;
}

/* Both ends at once: each may be far away. What the source says goes first. */
static int read_end(void *arg, size_t i, struct cb_error *err)
{
    if (i == 0)
        return read_top(arg, err);
    ask_target(arg);
    return 0;
}

/* Within one registry blobs are mounted, and nobody looks for them before that. */
static void survey_target(const struct image *x)
{
    const struct cb_place *from = x->from->place, *to = x->to->o.to;
    bool mounts = from->transport == CB_AT_REGISTRY && cb_streq(from->ref.host, to->ref.host);
    if (!mounts)
        cb_copy_target_survey(x->to);
}

/* Where it is not known yet how many: as many as most images have. */
#define USUAL_BLOBS 8u

static int read_ends(struct image *x, struct cb_error *err)
{
    bool asks = x->o->to_tag && (!x->o->blind || x->o->no_clobber);
    unsigned n = CB_MIN(USUAL_BLOBS, cb_push_width(x->from->env->jobs));
    if (x->from->env->registry)
        cb_registry_expect(x->from->env->registry, n, n);
    survey_target(x);
    return cb_copy_each(asks ? 2 : 1, 2, read_end, x, err);
}

/* A target without tags is written in any case. */
static int look_at_target(struct image *x, struct cb_error *err)
{
    if (x->there_result < 0)
        return cb_error_move(err, &x->there_error);
    if (!cb_digest_is_set(&x->there.digest))
        return 0;
    if (cb_digest_eq(&x->there.digest, &x->desc.digest)) {
        x->res->outcome = CB_COPY_CURRENT;
    } else if (x->o->no_clobber) {
        x->res->outcome = CB_COPY_KEPT;
        cb_descriptor_done(&x->res->to);
        cb_descriptor_copy(&x->res->to, &x->there);
    }
    return 0;
}

/* From a repository to itself nothing has to go but the name. */
static bool same_place(const struct image *x)
{
    const struct cb_place *a = x->from->place, *b = x->to->o.to;
    return a->transport == CB_AT_REGISTRY && b->transport == CB_AT_REGISTRY && !strcmp(a->ref.host, b->ref.host) &&
           !strcmp(a->ref.repo, b->ref.repo);
}

/* Whoever loads a Docker archive looks for an image, with all its layers. */
static int check_image(const struct image *x, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    const char *to = x->to->o.to->text;
    char text[CB_DIGEST_TEXT_MAX];
    if (cb_mt_is_index(x->desc.media_type))
        return cb_error_set(err, CB_EUSAGE, "%s holds one image, and this is an index of several: --platform OS/ARCH",
                            to);
    int r = cb_manifest_parse(&m, x->body.buf, x->body.len, x->desc.media_type, err);
    if (r == 0 && !cb_manifest_is_image(&m)) {
        r = cb_manifest_no_image(&m, err);
        cb_error_append(err, ", and %s holds an image: oci-archive:FILE takes it", to);
    }
    for (size_t i = 0; r == 0 && i < m.n_layers; i++)
        if (!travels(&m.layers[i]))
            r = cb_error_set(err, CB_ECONF, "layer %s is a foreign one, which is not copied, and %s has to have all: "
                             "oci-archive:FILE takes the rest", cb_digest_text(&m.layers[i].digest, text), to);
    return r;
}

static int check_target(const struct image *x, struct cb_error *err)
{
    const struct cb_copy_target *to = x->to;
    int r = to->ops->one_image ? check_image(x, err) : 0;
    if (r < 0)
        return r;
    if (x->o->referrers && to->ops->no_referrers)
        return cb_error_set(err, CB_EUSAGE, "%s cannot hold what refers to an image: oci:DIR can", to->o.to->text);
    if (x->o->referrers && !x->from->ops->referrers)
        return cb_error_set(err, CB_EUSAGE, "%s has no referrers: leave --referrers out", x->from->place->text);
    return 0;
}

/* The subject by digest, what refers to it, the tag: whoever finds the tag finds the signature. */
static int transfer(struct image *x, bool current, struct cb_error *err)
{
    struct copy_tree tree cb_cleanup_copy_tree = { 0 };
    bool here = current || same_place(x);
    if (here && !x->o->referrers)
        return current ? 0 : x->to->ops->tag(x->to, &x->desc, (struct cb_slice){ x->body.buf, x->body.len },
                                             x->o->to_tag, err);
    int r = copy_tree_load(x->from, &x->desc, &x->body, &tree, err);
    if (r == 0 && !here)
        copy_tables_begin(x->from, x->to, &tree);
    if (r == 0 && !here)
        r = copy_put_tree(x->from, x->to, &tree, x->o->referrers, err);
    if (r == 0 && x->o->referrers && !same_place(x))
        r = copy_referrers(x->from, x->to, &tree, x->o->tags, &x->res->referrers, err);
    if (r < 0 || current)
        return r;
    const struct copy_node *top = copy_tree_top(&tree);
    r = x->to->ops->tag(x->to, &top->desc, (struct cb_slice){ top->body.buf, top->body.len }, x->o->to_tag, err);
    if (r == 0 && !here)
        copy_tables_end(x->to, &tree, &x->res->referrers);
    return r;
}

static int copy_it(struct image *x, struct cb_error *err)
{
    int r = read_ends(x, err);
    if (r == 0)
        r = check_target(x, err);
    if (r == 0)
        r = look_at_target(x, err);
    if (r < 0 || x->res->outcome == CB_COPY_KEPT)
        return r < 0 ? r : 0;
    return transfer(x, x->res->outcome == CB_COPY_CURRENT, err);
}

int cb_copy_image(struct cb_copy_source *from, struct cb_copy_target *to, const struct cb_copy_options *o,
                  struct cb_copy_result *out, struct cb_error *err)
{
    *out = (struct cb_copy_result){ 0 };
    struct image x = { .from = from, .to = to, .o = o, .res = out, .body = CB_STRBUF_INIT };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_span span cb_cleanup_span = cb_span_begin("copy", "copy %s to %s", from->place->text, to->o.to->text);
    int r = cb_cancel_check(from->env->cancel, &e);
    if (r == 0)
        r = copy_it(&x, &e);
    cb_descriptor_done(&x.desc);
    cb_descriptor_done(&x.there);
    cb_strbuf_done(&x.body);
    cb_error_done(&x.there_error);
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* ---- without a target ---- */

/* Only indexes have to be fetched for that. */
static int list_parts(struct cb_copy_source *from, const struct cb_descriptor *desc, const struct cb_strbuf *body,
                      unsigned depth, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    if (!cb_mt_is_index(desc->media_type) || depth >= CB_MAX_INDEX_DEPTH ||
        cb_index_parse(&idx, body->buf, body->len, desc->media_type, NULL) < 0)
        return 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
        const struct cb_descriptor *d = &idx.manifests[i];
        struct cb_descriptor inner cb_cleanup_descriptor = { 0 };
        struct cb_strbuf more cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (cb_strvec_has(out, cb_digest_text(&d->digest, text)))
            continue; /* with all below it */
        cb_strvec_push(out, text);
        if (cb_mt_is_index(d->media_type))
            r = from->ops->manifest(from, NULL, &d->digest, &inner, &more, err);
        if (r == 0 && inner.media_type)
            r = list_parts(from, &inner, &more, depth + 1, out, err);
    }
    return r;
}

int cb_copy_resolve(struct cb_copy_source *from, const struct cb_copy_options *o, struct cb_descriptor *out,
                    struct cb_strvec *parts, struct cb_error *err)
{
    struct cb_copy_result res cb_cleanup_copy_result = { 0 };
    struct image x = { .from = from, .o = o, .res = &res, .body = CB_STRBUF_INIT };
    int r = read_top(&x, err);
    if (r == 0)
        r = list_parts(from, &x.desc, &x.body, 0, parts, err);
    *out = x.desc;
    cb_strbuf_done(&x.body);
    return r;
}

int cb_copy_walk(struct cb_copy_source *from, const struct cb_copy_options *o,
                 void (*blob)(void *arg, const struct cb_descriptor *d), void *arg, struct cb_error *err)
{
    struct cb_copy_result res cb_cleanup_copy_result = { 0 };
    struct copy_tree tree cb_cleanup_copy_tree = { 0 };
    struct image x = { .from = from, .o = o, .res = &res, .body = CB_STRBUF_INIT };
    int r = read_top(&x, err);
    if (r == 0)
        r = copy_tree_load(from, &x.desc, &x.body, &tree, err);
    for (size_t i = 0; i < tree.n; i++) {
        const struct copy_node *n = tree.v[i];
        if (!n->is_index)
            blob(arg, &n->manifest.config);
        for (size_t k = 0; k < n->manifest.n_layers; k++)
            blob(arg, &n->manifest.layers[k]);
    }
    cb_descriptor_done(&x.desc);
    cb_strbuf_done(&x.body);
    return r;
}

static int first_entry(struct cb_copy_source *from, struct cb_descriptor *desc, struct cb_strbuf *body,
                       struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_index_parse(&idx, body->buf, body->len, desc->media_type, err);
    cb_descriptor_done(desc);
    *desc = (struct cb_descriptor){ 0 };
    cb_strbuf_reset(body);
    return r < 0 || !idx.n_manifests ? r : from->ops->manifest(from, NULL, &idx.manifests[0].digest, desc, body, err);
}

/* The first image of an index, or of the index that it begins with; no media type: it has none. */
static int first_image(struct cb_copy_source *from, struct cb_descriptor *desc, struct cb_strbuf *body,
                       struct cb_error *err)
{
    int r = 0;
    for (unsigned depth = 0; r == 0 && desc->media_type && cb_mt_is_index(desc->media_type); depth++)
        r = depth > CB_MAX_INDEX_DEPTH
                ? cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH)
                : first_entry(from, desc, body, err);
    return r;
}

int cb_copy_when_created(struct cb_copy_source *from, const char *tag, int64_t *when, struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT, text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_image_config config cb_cleanup_image_config = { 0 };
    cb_autosource struct cb_blob_source *src = NULL;
    static const struct cb_digest none;
    *when = INT64_MIN;
    int r = from->ops->manifest(from, tag, &none, &desc, &body, err);
    if (r == 0)
        r = first_image(from, &desc, &body, err);
    if (r < 0 || !desc.media_type)
        return r;
    r = cb_manifest_parse(&m, body.buf, body.len, desc.media_type, err);
    if (r == 0)
        r = from->ops->blob(from, &m.config, &src, err);
    if (r == 0)
        r = cb_blob_read_all(src, CB_MAX_MANIFEST, &text, err);
    /* What is no image says nothing. */
    if (r == 0 && cb_image_config_parse(&config, text.buf, text.len, NULL) == 0 && config.created &&
        !cb_time_parse(config.created, when))
        *when = INT64_MIN;
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"

#define MAX_DEPTH 8        /* a signature of an SBOM of … */
#define MAX_REFERRERS 10000

struct walk {
    struct cb_copy_source *from;
    struct cb_copy_target *to;
    const struct cb_strvec *tags; /* of the source, or NULL: not known */
    struct cb_strvec *done;       /* digests and tags that came along */
    size_t n;
};

static int follow(struct walk *w, const struct cb_digest *subject, unsigned depth, struct cb_error *err);

/* ---- referrers of OCI 1.1 ---- */

static int bring(struct walk *w, const struct cb_digest *digest, const char *tag, struct copy_tree *tree,
                 struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = w->from->ops->manifest(w->from, tag, digest, &desc, &body, err);
    if (r == 0)
        r = copy_tree_load(w->from, &desc, &body, tree, err);
    return r < 0 ? r : copy_put_tree(w->from, w->to, tree, !tag, err);
}

static int bring_referrer(struct walk *w, const struct cb_descriptor *d, unsigned depth, struct cb_error *err)
{
    struct copy_tree tree cb_cleanup_copy_tree = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    if (cb_strvec_has(w->done, cb_digest_text(&d->digest, text)))
        return 0;
    if (++w->n > MAX_REFERRERS || depth > MAX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "more than %d referrers, or %d of them upon one another", MAX_REFERRERS,
                            MAX_DEPTH);
    int r = bring(w, &d->digest, NULL, &tree, err);
    if (r < 0)
        return cb_error_wrap(err, "referrer %.19s", text);
    cb_strvec_push(w->done, text);
    return follow(w, &d->digest, depth + 1, err);
}

/* ---- cosign's tags ---- */

static int bring_tag(struct walk *w, const char *tag, struct cb_error *err)
{
    struct copy_tree tree cb_cleanup_copy_tree = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    static const struct cb_digest none;
    int r = bring(w, &none, tag, &tree, &e);
    if (r == -CB_ENOTFOUND && !w->tags && !tree.n)
        return 0;
    if (r < 0) {
        cb_error_wrap(&e, "%s", tag);
        return cb_error_move(err, &e);
    }
    const struct copy_node *top = copy_tree_top(&tree);
    cb_strvec_push(w->done, tag);
    return w->to->ops->tag(w->to, &top->desc, (struct cb_slice){ top->body.buf, top->body.len }, tag, err);
}

static int bring_tags(struct walk *w, const struct cb_digest *subject, struct cb_error *err)
{
    static const char *const kinds[] = { "sig", "att", "sbom" };
    char hex[CB_DIGEST_TEXT_MAX];
    int r = 0;
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(kinds); i++) {
        cb_autofree char *tag = cb_asprintf("%s-%s.%s", cb_digest_alg_name(subject->alg), cb_digest_hex(subject, hex),
                                            kinds[i]);
        if (cb_reference_valid_tag(tag) && (!w->tags || cb_strvec_has(w->tags, tag)) && !cb_strvec_has(w->done, tag))
            r = bring_tag(w, tag, err);
    }
    return r;
}

bool cb_copy_is_fallback_tag(const char *tag)
{
    static const struct { const char *prefix; size_t n; } algs[] = { { "sha256-", 64 }, { "sha512-", 64 } };
    for (size_t i = 0; i < CB_COUNTOF(algs); i++)
        if (cb_starts_with(tag, algs[i].prefix)) {
            const char *hex = tag + strlen(algs[i].prefix);
            return strlen(hex) == algs[i].n && strspn(hex, "0123456789abcdef") == algs[i].n;
        }
    return false;
}

/* ---- both ---- */

static int follow(struct walk *w, const struct cb_digest *subject, unsigned depth, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = w->from->ops->referrers(w->from, subject, &idx, err);
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        r = bring_referrer(w, &idx.manifests[i], depth, err);
    return r < 0 ? r : bring_tags(w, subject, err);
}

/* Above so many subjects one list of tags costs less than asking for each. */
#define MANY_SUBJECTS 4

int copy_referrers(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_tree *tree,
                   const struct cb_strvec *tags, struct cb_strvec *done, struct cb_error *err)
{
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    struct walk w = { from, to, tags, done, 0 };
    bool local = from->place->transport != CB_AT_REGISTRY;
    if (!tags && (local || tree->n > MANY_SUBJECTS) && from->ops->tags && from->ops->tags(from, &all, NULL) == 0)
        w.tags = &all;
    int r = 0;
    for (size_t i = 0; r == 0 && i < tree->n; i++)
        r = follow(&w, &tree->v[i]->desc.digest, 0, err);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/remote.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/limits.h"

struct referrers_options {
    struct cb_common common;
    const char *artifact_type, *platform;
    bool json, tree;
};
#define AT(field) offsetof(struct referrers_options, field)

/* A tag stands for what it points to now. */
static int find_subject(struct cb_remote *x, const struct referrers_options *o, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = 0;
    if (o->platform) {
        r = cb_remote_manifest(x, o->platform, &f, err);
        x->ref.digest = f.desc.digest;
    } else if (!cb_digest_is_set(&x->ref.digest)) {
        r = cb_registry_head(x->s.registry, &x->ref, &d, err);
        x->ref.digest = d.digest;
    }
    return r;
}

static int look_up(struct cb_remote *x, const struct cb_digest *digest, const char *type, struct cb_index *out,
                   struct cb_error *err)
{
    struct cb_reference ref = { .host = x->ref.host, .repo = x->ref.repo, .digest = *digest };
    return cb_registry_referrers(x->s.registry, &ref, type, out, err);
}

static void print_index(const struct cb_index *index)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_index_print(&out, index);
    printf("%s\n", out.buf);
}

/* ---- the tree ---- */

/* What stands in front of a line, and how far down it is. */
struct branch {
    struct cb_remote *x;
    const char *type; /* of the first level */
    struct cb_strbuf lead;
    unsigned depth;
    unsigned n; /* lines so far */
};

static void print_leaf(const struct branch *b, const struct cb_descriptor *d, bool last)
{
    struct cb_strbuf type cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    const char *text = d->artifact_type ? d->artifact_type : d->media_type;
    cb_strbuf_add_sanitized(&type, text, strlen(text), false);
    printf("%s%s%s %s\n", b->lead.buf, last ? "└── " : "├── ", cb_digest_text(&d->digest, digest), type.buf);
}

static int print_below(struct branch *b, const struct cb_digest *digest, struct cb_error *err);

static int print_branch(struct branch *b, const struct cb_descriptor *d, bool last, struct cb_error *err)
{
    size_t lead = b->lead.len;
    if (++b->n > CB_MAX_INDEX_MANIFESTS)
        return cb_error_set(err, CB_EVERIFY, "there are more than %d", CB_MAX_INDEX_MANIFESTS);
    print_leaf(b, d, last);
    cb_strbuf_adds(&b->lead, last ? "    " : "│   ");
    b->depth++;
    int r = print_below(b, &d->digest, err);
    b->depth--;
    cb_strbuf_setlen(&b->lead, lead);
    return r < 0 ? r : cb_stdout_check(err);
}

/* Digests cannot go in a circle, but a registry's lists can, and they can branch without end. */
static int print_below(struct branch *b, const struct cb_digest *digest, struct cb_error *err)
{
    struct cb_index index cb_cleanup_index = { 0 };
    if (b->depth > CB_MAX_INDEX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "what refers to one another is more than %d deep", CB_MAX_INDEX_DEPTH);
    int r = look_up(b->x, digest, b->depth ? NULL : b->type, &index, err);
    for (size_t i = 0; r == 0 && i < index.n_manifests; i++)
        r = print_branch(b, &index.manifests[i], i + 1 == index.n_manifests, err);
    return r;
}

static int print_tree(struct cb_remote *x, const char *type, struct cb_error *err)
{
    struct branch b = { .x = x, .type = type, .lead = CB_STRBUF_INIT };
    char digest[CB_DIGEST_TEXT_MAX];
    printf("%s/%s@%s\n", x->ref.host, x->ref.repo, cb_digest_text(&x->ref.digest, digest));
    int r = print_below(&b, &x->ref.digest, err);
    cb_strbuf_done(&b.lead);
    return r;
}

/* ---- the verb ---- */

static int referrers(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct referrers_options *o = options;
    struct cb_index index cb_cleanup_index = { 0 };
    if (o->json && o->tree)
        return cb_error_set(err, CB_EUSAGE, "--json and --tree contradict each other");
    if (o->artifact_type && !cb_mt_is_valid(o->artifact_type))
        return cb_error_set(err, CB_EUSAGE, "--artifact-type %s is no media type", o->artifact_type);
    int r = find_subject(x, o, err);
    if (r < 0 || o->tree)
        return r < 0 ? r : print_tree(x, o->artifact_type, err);
    r = look_up(x, &x->ref.digest, o->artifact_type, &index, err);
    if (r == 0 && o->json)
        print_index(&index);
    for (size_t i = 0; r == 0 && !o->json && i < index.n_manifests; i++)
        cb_print_digest(&index.manifests[i].digest);
    return r;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct referrers_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.run = referrers;
    return cb_remote_call(p, &c, err);
}

static const struct cb_opt table[] = {
    { "artifact-type", 0, CB_OPT_STRING, AT(artifact_type), "TYPE", "only those of this type", NULL },
    CB_OPT_PLATFORM(referrers_options),
    { "tree", 0, CB_OPT_FLAG, AT(tree), NULL, "with types, and with what refers to them in turn", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "as an OCI index", NULL },
    CB_OPT_REMOTE(referrers_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_referrers = {
    .name = "referrers",
    .alias = "discover",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "list what refers to an image (signatures, SBOMs …), a digest a line",
    .operands = "[OPTIONS] REFERENCE",
    .options = table,
    .run = run,
};

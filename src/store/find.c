/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/manifest.h"
#include "store/private.h"
#include "util/alloc.h"
#include "util/limits.h"

#define PREFIX_MIN 4

struct search {
    struct cb_store *s;
    char prefix[CB_DIGEST_TEXT_MAX]; /* "sha256:ab12…" */
    size_t len;
    const struct cb_store_name *hit; /* whose name is reported */
    struct cb_digest id; /* what begins with the prefix */
    struct cb_descriptor desc;
    bool found, ambiguous;
    struct cb_strvec *all; /* or NULL: the names of every hit, once each */
};

static bool matches(const struct search *q, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return strncmp(cb_digest_text(d, text), q->prefix, q->len) == 0;
}

static void add_name(struct search *q, const struct cb_store_name *n)
{
    char text[CB_DIGEST_TEXT_MAX];
    const char *name = n->name ? n->name : cb_digest_text(&n->desc.digest, text);
    if (q->all && !cb_strvec_has(q->all, name))
        cb_strvec_push(q->all, name);
}

/* Manifests of one configuration (other compression, other annotations) are one image: its ID cannot tell them
 * apart. */
static void take_hit(struct search *q, const struct cb_store_name *n, const struct cb_descriptor *d,
                     const struct cb_digest *id)
{
    add_name(q, n);
    if (q->found && !cb_digest_eq(&q->desc.digest, &d->digest) && !cb_digest_eq(&q->id, id)) {
        q->ambiguous = true;
        return;
    }
    if (!q->found) {
        cb_descriptor_copy(&q->desc, d);
        q->id = *id;
    }
    if (!q->hit || (!q->hit->name && cb_digest_eq(&q->desc.digest, &d->digest)))
        q->hit = n;
    q->found = true;
}

/* Looks at the manifest itself, its config, and, for an index, at all below. What is not in the store or damaged is
 * passed over. */
static void search_in(struct search *q, const struct cb_store_name *n, const struct cb_descriptor *d, unsigned depth)
{
    if (matches(q, &d->digest)) {
        take_hit(q, n, d, &d->digest);
        return;
    }
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (depth > CB_MAX_INDEX_DEPTH || cb_store_blob_read(q->s, &d->digest, CB_MAX_MANIFEST, &body, NULL) < 0)
        return;
    if (!cb_mt_is_index(d->media_type)) {
        struct cb_manifest m cb_cleanup_manifest = { 0 };
        if (cb_manifest_parse(&m, body.buf, body.len, d->media_type, NULL) == 0 && matches(q, &m.config.digest))
            take_hit(q, n, d, &m.config.digest);
        return;
    }
    struct cb_index idx cb_cleanup_index = { 0 };
    if (cb_index_parse(&idx, body.buf, body.len, d->media_type, NULL) < 0)
        return;
    for (size_t i = 0; i < idx.n_manifests; i++)
        search_in(q, n, &idx.manifests[i], depth + 1);
}

static int by_prefix(struct search *q, const struct cb_store_names *names, const char *text, struct cb_error *err)
{
    for (size_t i = 0; i < names->n; i++)
        search_in(q, &names->v[i], &names->v[i].desc, 0);
    if (q->ambiguous)
        return cb_error_set(err, CB_EUSAGE, "%s could be several images; give more digits", text);
    return q->found ? 0 : cb_error_set(err, CB_ENOTFOUND, "no such image: %s", text);
}

/* "sha256:…" or hex digits alone; false where text is neither. */
static bool prefix_of(struct search *q, const char *text)
{
    const char *alg = "sha256:", *hex = text;
    static const char *const algs[] = { "sha256:", "sha512:" };
    for (size_t i = 0; i < CB_COUNTOF(algs); i++)
        if (cb_starts_with(text, algs[i])) {
            alg = algs[i];
            hex = text + strlen(alg);
        }
    size_t n = strlen(hex);
    if (n < PREFIX_MIN || n > 128 || strspn(hex, "0123456789abcdef") != n)
        return false;
    snprintf(q->prefix, sizeof q->prefix, "%s%s", alg, hex);
    q->len = strlen(q->prefix);
    return true;
}

/* repo@digest: an entry of that repository (any tag) with that digest; another repository's copy does not count
 * (C4). */
static bool serves(const struct cb_store_name *n, const struct cb_reference *want)
{
    struct cb_reference have cb_cleanup_reference = { 0 };
    if (!n->name || !cb_digest_eq(&n->desc.digest, &want->digest) || cb_reference_parse(&have, n->name, NULL) < 0)
        return false;
    return cb_streq(have.host, want->host) && cb_streq(have.repo, want->repo);
}

static const struct cb_store_name *by_name(const struct cb_store_names *names, const char *text)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    for (size_t i = 0; i < names->n; i++)
        if (cb_streq(names->v[i].name, text))
            return &names->v[i];
    if (cb_reference_parse(&ref, text, NULL) < 0)
        return NULL;
    cb_reference_default_tag(&ref);
    cb_autofree char *canonical = cb_reference_text(&ref);
    for (size_t i = 0; i < names->n; i++)
        if (cb_streq(names->v[i].name, canonical) || (cb_digest_is_set(&ref.digest) && serves(&names->v[i], &ref)))
            return &names->v[i];
    return NULL;
}

/* names: of the store. The hit is one of them. */
static int search(struct search *q, const struct cb_store_names *names, const char *text, struct cb_error *err)
{
    bool digits = prefix_of(q, text);
    bool whole = digits && (strchr(text, ':') || strlen(text) == 64);
    const struct cb_store_name *n = whole ? NULL : by_name(names, text);
    if (!n)
        return digits ? by_prefix(q, names, text, err) : cb_error_set(err, CB_ENOTFOUND, "no such image: %s", text);
    cb_descriptor_copy(&q->desc, &n->desc);
    q->hit = n;
    add_name(q, n);
    return 0;
}

int cb_store_find(struct cb_store *s, const char *text, struct cb_descriptor *out, char **canonical,
                  struct cb_error *err)
{
    struct cb_store_names names CB_CLEANUP(cb_store_names_done) = { 0 };
    struct search q = { .s = s };
    int r = cb_store_name_list(s, &names, err);
    if (r == 0)
        r = search(&q, &names, text, err);
    if (r < 0) {
        cb_descriptor_done(&q.desc);
        return r;
    }
    *out = q.desc;
    if (canonical)
        *canonical = cb_strdup_or_null(q.hit->name);
    return 0;
}

int cb_store_find_names(struct cb_store *s, const char *text, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_store_names names CB_CLEANUP(cb_store_names_done) = { 0 };
    struct search q = { .s = s, .all = out };
    int r = cb_store_name_list(s, &names, err);
    if (r == 0)
        r = search(&q, &names, text, err);
    cb_descriptor_done(&q.desc);
    return r;
}

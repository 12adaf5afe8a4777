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
    struct cb_descriptor desc;
    bool found, ambiguous;
};

static bool matches(const struct search *q, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return strncmp(cb_digest_text(d, text), q->prefix, q->len) == 0;
}

static void take_hit(struct search *q, const struct cb_store_name *n, const struct cb_descriptor *d)
{
    if (q->found && !cb_digest_eq(&q->desc.digest, &d->digest)) {
        q->ambiguous = true;
        return;
    }
    if (!q->found)
        cb_descriptor_copy(&q->desc, d);
    if (!q->hit || !q->hit->name)
        q->hit = n;
    q->found = true;
}

/* Looks at the manifest itself, its config, and, for an index, at all below. What is not in the store or damaged is
 * passed over. */
static void search_in(struct search *q, const struct cb_store_name *n, const struct cb_descriptor *d, unsigned depth)
{
    if (matches(q, &d->digest)) {
        take_hit(q, n, d);
        return;
    }
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (depth > CB_MAX_INDEX_DEPTH || cb_store_blob_read(q->s, &d->digest, CB_MAX_MANIFEST, &body, NULL) < 0)
        return;
    if (!cb_mt_is_index(d->media_type)) {
        struct cb_manifest m cb_cleanup_manifest = { 0 };
        if (cb_manifest_parse(&m, body.buf, body.len, d->media_type, NULL) == 0 && matches(q, &m.config.digest))
            take_hit(q, n, d);
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

int cb_store_find(struct cb_store *s, const char *text, struct cb_descriptor *out, char **canonical,
                  struct cb_error *err)
{
    struct cb_store_names names CB_CLEANUP(cb_store_names_done) = { 0 };
    int r = cb_store_name_list(s, &names, err);
    if (r < 0)
        return r;
    struct search q = { .s = s };
    bool digits = prefix_of(&q, text);
    bool whole = digits && (strchr(text, ':') || strlen(text) == 64);
    const struct cb_store_name *n = whole ? NULL : by_name(&names, text);
    if (n)
        cb_descriptor_copy(&q.desc, &n->desc);
    else if (!digits)
        return cb_error_set(err, CB_ENOTFOUND, "no such image: %s", text);
    else if ((r = by_prefix(&q, &names, text, err)) < 0) {
        cb_descriptor_done(&q.desc);
        return r;
    }
    if (!n)
        n = q.hit;
    *out = q.desc;
    if (canonical)
        *canonical = cb_strdup_or_null(n->name);
    return 0;
}

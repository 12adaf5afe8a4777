/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"
#include "oci/manifest_priv.h"
#include "oci/mediatype.h"
#include "util/alloc.h"
#include "util/limits.h"

void cb_index_done(struct cb_index *i)
{
    free(i->media_type);
    free(i->artifact_type);
    cb_descriptors_free(i->manifests, i->n_manifests);
    cb_descriptors_free(i->subject, i->subject ? 1 : 0);
    cb_strmap_done(&i->annotations);
    *i = (struct cb_index){ 0 };
}

static int read_index(struct cb_index *i, const char *body, size_t len, const char *content_type, struct cb_error *err)
{
    const char *type = NULL;
    cb_autojson json_t *o = cb_manifest_open(body, len, content_type, &type, err);
    if (!o)
        return -CB_EVERIFY;
    if (!cb_mt_is_index(type))
        return cb_error_set(err, CB_EVERIFY, "it is a manifest (%s)", type);
    i->media_type = cb_strdup(type);
    struct cb_manifest_common c = { &i->artifact_type, &i->subject, &i->annotations, &i->manifests, &i->n_manifests };
    return cb_manifest_read_common(&c, o, "manifests", CB_MAX_INDEX_MANIFESTS, err);
}

int cb_index_parse(struct cb_index *out, const char *body, size_t len, const char *content_type, struct cb_error *err)
{
    cb_cleanup_index struct cb_index i = { 0 };
    int r = read_index(&i, body, len, content_type, err);
    if (r < 0) {
        cb_error_wrap(err, "index");
        return r;
    }
    cb_index_done(out);
    *out = i;
    i = (struct cb_index){ 0 };
    return 0;
}

void cb_index_print(struct cb_strbuf *out, const struct cb_index *i)
{
    cb_autojson json_t *o = cb_manifest_print_head(i->media_type ? i->media_type : CB_MT_OCI_INDEX, i->artifact_type);
    cb_manifest_print_list(o, "manifests", i->manifests, i->n_manifests);
    cb_manifest_print_tail(o, i->subject, &i->annotations);
    cb_json_print(out, o);
}

/* BuildKit's provenance and SBOM entries, which are no images of any platform. */
static bool is_attestation(const struct cb_descriptor *d)
{
    return cb_strmap_get(&d->annotations, CB_ANN_REFERENCE_TYPE) ||
           (d->platform && cb_streq(d->platform->os, "unknown") && cb_streq(d->platform->arch, "unknown"));
}

const struct cb_descriptor *cb_index_select(const struct cb_index *i, const struct cb_platform *want)
{
    const struct cb_descriptor *best = NULL;
    int best_score = 0;
    for (size_t n = 0; n < i->n_manifests; n++) {
        const struct cb_descriptor *d = &i->manifests[n];
        if (is_attestation(d) || !(cb_mt_is_manifest(d->media_type) || cb_mt_is_index(d->media_type)))
            continue;
        int score = d->platform ? cb_platform_match(want, d->platform) : 1;
        /* Of equals the first serves, as everywhere else. */
        if (score > best_score) {
            best = d;
            best_score = score;
        }
    }
    return best;
}

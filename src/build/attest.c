/* SPDX-License-Identifier: Apache-2.0 */
/* Attestations where BuildKit puts them: a manifest of no platform beside each image of an index, which names the image
 * by an annotation. Its config is an image's in form, for registries that take no other. */
#include "build/provenance.h"
#include "build/sbom.h"
#include "util/alloc.h"

static bool is_wanted(const struct cb_build *b)
{
    return b->o->provenance.mode || b->o->sbom.generator;
}

/* Whether something comes out that can have them. */
static bool has_place(const struct cb_build_options *o)
{
    bool place = o->push || !o->n_outputs;
    for (size_t i = 0; i < o->n_outputs; i++)
        place = place || o->outputs[i].type != CB_OUTPUT_DOCKER;
    return place;
}

int cb_attest_check(const struct cb_build *b, struct cb_error *err)
{
    const char *what = b->o->sbom.generator ? "sbom" : "provenance";
    if (!is_wanted(b))
        return 0;
    if (cb_build_docker_types(b))
        return cb_error_set(err, CB_EUSAGE, "--%s needs OCI media types: leave out --format docker and "
                                            "oci-mediatypes=false, or say --%s=false", what, what);
    if (b->o->sbom.generator && !has_place(b->o))
        return cb_error_set(err, CB_EUSAGE, "--sbom: a docker archive holds no SBOM: leave it out, or use type=oci");
    if (b->o->join)
        return cb_error_set(err, CB_EUSAGE, "--join makes its index of images alone: say --%s=false, or push each "
                                            "platform with push-by-digest=true and join them by `imagetools create`, "
                                            "which takes attestations along", what);
    return 0;
}

void cb_attestations_free(struct cb_attestation *v, size_t n)
{
    for (size_t i = 0; v && i < n; i++) {
        cb_descriptor_done(&v[i].desc);
        cb_manifest_done(&v[i].manifest);
    }
    free(v);
}

/* ---- one manifest ---- */

static int put_json(struct cb_build *b, const json_t *o, const char *type, struct cb_descriptor *out,
                    struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_print(&body, o);
    cb_descriptor_of(out, type, body.buf, body.len);
    return cb_store_blob_put(b->env->store, body.buf, body.len, NULL, err);
}

static int put_config(struct cb_build *b, struct cb_manifest *m, struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    json_t *ids = json_array();
    for (size_t i = 0; i < m->n_layers; i++)
        json_array_append_new(ids, json_string(cb_digest_text(&m->layers[i].digest, digest)));
    cb_autojson json_t *o = json_pack("{s:s,s:s,s:{},s:{s:s,s:o}}", "architecture", "unknown", "os", "unknown",
                                      "config", "rootfs", "type", "layers", "diff_ids", ids);
    return put_json(b, o, CB_MT_OCI_CONFIG, &m->config, err);
}

static void describe(const struct cb_digest *of, const struct cb_strbuf *body, struct cb_descriptor *out)
{
    char digest[CB_DIGEST_TEXT_MAX];
    cb_descriptor_of(out, CB_MT_OCI_MANIFEST, body->buf, body->len);
    out->platform = CB_NEW(struct cb_platform);
    out->platform->os = cb_strdup("unknown");
    out->platform->arch = cb_strdup("unknown");
    cb_strmap_set(&out->annotations, CB_ANN_REFERENCE_DIGEST, cb_digest_text(of, digest));
    cb_strmap_set(&out->annotations, CB_ANN_REFERENCE_TYPE, CB_REFERENCE_ATTESTATION);
}

/* SBOMs first, as BuildKit has them. */
static int collect(struct cb_build *b, size_t index, json_t *statements, struct cb_error *err)
{
    const struct cb_provenance p = { b, index, b->o->provenance.mode };
    cb_autojson json_t *subjects = cb_provenance_subjects(b, index);
    int r = cb_sbom_statements(b, index, subjects, statements, NULL, err);
    if (r == 0 && b->o->provenance.mode)
        json_array_append_new(statements, cb_provenance_statement(&p, subjects));
    return r;
}

static int add_layers(struct cb_build *b, const json_t *statements, struct cb_manifest *m, struct cb_error *err)
{
    size_t n = json_array_size(statements);
    int r = 0;
    m->layers = cb_calloc(n, sizeof *m->layers);
    for (; r == 0 && m->n_layers < n; m->n_layers++) {
        const json_t *o = json_array_get(statements, m->n_layers);
        struct cb_descriptor *d = &m->layers[m->n_layers];
        r = put_json(b, o, CB_MT_IN_TOTO, d, err);
        cb_strmap_set(&d->annotations, CB_ANN_PREDICATE_TYPE, json_string_value(json_object_get(o, "predicateType")));
    }
    return r;
}

static int attest(struct cb_build *b, size_t index, struct cb_attestation *out, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_manifest *m = &out->manifest;
    cb_autojson json_t *statements = json_array();
    m->media_type = cb_strdup(CB_MT_OCI_MANIFEST);
    int r = collect(b, index, statements, err);
    if (r == 0)
        r = add_layers(b, statements, m, err);
    if (r == 0)
        r = put_config(b, m, err);
    if (r < 0)
        return r;
    cb_manifest_print(&body, m);
    describe(&b->res->images[index].desc.digest, &body, &out->desc);
    return cb_store_blob_put(b->env->store, body.buf, body.len, NULL, err);
}

/* ---- all of them ---- */

static void tell(struct cb_build *b, size_t index, struct cb_build_predicate *out)
{
    const struct cb_provenance p = { b, index, b->o->provenance.tell };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT, platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *predicate = cb_provenance_predicate(&p);
    cb_json_print(&text, predicate);
    cb_strbuf_add_platform(&platform, &b->plan.images[index].platform);
    out->text = cb_strbuf_detach(&text, NULL);
    out->platform = cb_strbuf_detach(&platform, NULL);
}

int cb_attest(struct cb_build *b, struct cb_error *err)
{
    size_t n = b->res->n_images;
    int r = 0;
    if (is_wanted(b))
        b->attestations = cb_calloc(n, sizeof *b->attestations);
    if (b->o->provenance.tell)
        b->res->predicates = cb_calloc(n, sizeof *b->res->predicates);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (b->attestations)
            r = attest(b, i, &b->attestations[i], err);
        if (b->res->predicates)
            tell(b, i, &b->res->predicates[i]);
    }
    return r < 0 ? cb_error_wrap(err, "attest the image") : 0;
}

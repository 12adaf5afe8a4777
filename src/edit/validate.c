/* SPDX-License-Identifier: Apache-2.0 */
#include "edit/private.h"
#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/limits.h"

struct validation {
    const struct cb_edit_source *s;
    const struct cb_edit_validate_options *o;
    size_t wrong;
    unsigned depth;
    struct cb_hashmap *seen; /* what indexes list: as text */
};

static void tell(struct validation *v, const char *what, const char *wrong)
{
    struct cb_edit_finding f = { what, wrong };
    v->wrong += wrong != NULL;
    v->o->tell(v->o->arg, &f);
}

/* What does not hold, as against what could not be looked at. */
static bool is_finding(int r)
{
    return r == -CB_EVERIFY || r == -CB_ENOTFOUND || r == -CB_ECONF;
}

/* 1: it was told as a finding. 0 and errors pass. */
static int settle(struct validation *v, const char *what, int r, struct cb_error *e, struct cb_error *err)
{
    if (r == 0)
        return 0;
    if (!is_finding(r))
        return cb_error_move(err, e);
    tell(v, what, cb_error_text(e));
    cb_error_done(e);
    *e = (struct cb_error)CB_ERROR_INIT;
    return 1;
}

static char *name_of(const char *kind, const struct cb_descriptor *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s %s", kind, cb_digest_text(&d->digest, text));
}

/* ---- blobs ---- */

/* Remembers how a stream begins. */
struct sniffer {
    struct cb_blob_sink base;
    uint8_t first[4];
    size_t n;
};

static int sniff_write(struct cb_blob_sink *b, const void *buf, size_t n, struct cb_error *err CB_UNUSED)
{
    struct sniffer *s = (struct sniffer *)b;
    size_t take = CB_MIN(n, sizeof s->first - s->n);
    memcpy(s->first + s->n, buf, take);
    s->n += take;
    return 0;
}

static int sniff_commit(struct cb_blob_sink *b CB_UNUSED, const struct cb_digest *d CB_UNUSED,
                        uint64_t size CB_UNUSED, struct cb_error *err CB_UNUSED)
{
    return 0;
}

static void sniff_close(struct cb_blob_sink *b CB_UNUSED)
{
}

static int check_compression(const struct cb_descriptor *d, const struct sniffer *s, struct cb_error *err)
{
    static const char *const names[] = { "no compression", "gzip", "zstd" };
    int says = cb_mt_layer_compression(d->media_type);
    int is = cb_edit_compression(s->first, s->n);
    if (says < 0 || says == is)
        return 0;
    return cb_error_set(err, CB_EVERIFY, "its media type says %s, it is %s", names[says], names[is]);
}

/* Read as who unpacks it would: every byte hashed, every entry looked at. */
static int read_layer(const struct cb_edit_source *s, const struct cb_descriptor *d, const struct cb_digest *diff_id,
                      struct cb_error *err)
{
    static const struct cb_blob_sink_ops ops = { sniff_write, sniff_commit, sniff_close };
    struct sniffer sniffer = { .base = { &ops } };
    struct cb_layer_read_options o = { .cancel = s->env->cancel };
    int r = cb_edit_source_layer(s, d, diff_id, &o.source, err);
    if (r < 0)
        return r;
    o.source = cb_blob_source_tee(cb_edit_watched(o.source, s->env->step, d), &sniffer.base);
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, err);
    if (!reader)
        return -CB_EVERIFY;
    r = cb_layer_reader_finish(reader, diff_id, NULL, NULL, NULL, err);
    return r < 0 ? r : check_compression(d, &sniffer, err);
}

static int read_blob(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    size_t cap = 256u << 10;
    cb_autofree char *buf = cb_malloc(cap);
    int r = cb_edit_source_blob(s, d, &src, err);
    for (size_t got = 1; r == 0 && got;) {
        r = cb_cancel_check(s->env->cancel, err);
        if (r == 0)
            r = cb_blob_read(src, buf, cap, &got, err);
    }
    return r;
}

static int is_there(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    uint64_t size = UINT64_MAX;
    int r = 0;
    if (s->stored) {
        if (!cb_store_blob_has(s->env->store, &d->digest, &size))
            r = cb_error_set(err, CB_ENOTFOUND, "the store does not have it");
    } else {
        cb_reference_copy(&ref, &s->ref);
        ref.digest = d->digest;
        r = cb_registry_blob_head(s->env->registry, &ref, &size, err);
    }
    if (r == 0 && size != UINT64_MAX && size != d->size)
        r = cb_error_set(err, CB_EVERIFY, "it has %llu bytes, its descriptor says %llu", (unsigned long long)size,
                         (unsigned long long)d->size);
    return r;
}

/* A blob that is shorter than it should be looks like a connection that ends too early: the registry is asked which it
 * is. */
static int explain(const struct cb_edit_source *s, const struct cb_descriptor *d, int r, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (r != -CB_ENET || s->stored || is_there(s, d, &e) != -CB_EVERIFY)
        return r;
    return cb_error_move(err, &e);
}

struct layers {
    struct validation *v;
    const struct cb_manifest *m;
    const struct cb_image_config *config; /* NULL: of an artifact */
    struct cb_error *errors;              /* findings, each of its layer */
};

static int look(const struct layers *l, size_t i, struct cb_error *err)
{
    const struct cb_edit_source *s = l->v->s;
    const struct cb_descriptor *d = &l->m->layers[i];
    if (d->urls.n && cb_mt_is_foreign_layer(d->media_type))
        return 0;
    if (l->v->o->fast)
        return is_there(s, d, err);
    int r = l->config ? read_layer(s, d, &l->config->diff_ids[i], err) : read_blob(s, d, err);
    return explain(s, d, r, err);
}

static int look_at_layer(void *arg, size_t i, struct cb_error *err)
{
    const struct layers *l = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = look(l, i, &e);
    if (r == 0)
        return 0;
    if (is_finding(r)) {
        cb_error_move(&l->errors[i], &e);
        return 0;
    }
    return cb_error_move(err, &e);
}

static int check_layers(struct validation *v, const struct cb_manifest *m, const struct cb_image_config *config,
                        struct cb_error *err)
{
    struct layers l = { .v = v, .m = m, .config = config, .errors = cb_calloc(m->n_layers + 1, sizeof *l.errors) };
    int r = cb_edit_each(v->s->env, m->n_layers, look_at_layer, &l, err);
    for (size_t i = 0; i < m->n_layers; i++) {
        cb_autofree char *what = name_of(config ? "layer" : "blob", &m->layers[i]);
        if (r == 0)
            tell(v, what, l.errors[i].code ? cb_error_text(&l.errors[i]) : NULL);
        cb_error_done(&l.errors[i]);
    }
    free(l.errors);
    return r;
}

/* ---- manifests ---- */

static int check_platform(const struct cb_platform *says, const struct cb_image_config *c, struct cb_error *err)
{
    struct cb_platform a cb_cleanup_platform = { 0 }, b cb_cleanup_platform = { 0 };
    struct cb_strbuf x cb_cleanup_strbuf = CB_STRBUF_INIT, y cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!says || !c->platform.arch)
        return 0;
    cb_platform_copy(&a, says);
    cb_platform_copy(&b, &c->platform);
    cb_platform_normalize(&a);
    cb_platform_normalize(&b);
    /* Many configurations have no variant where the index has one. */
    if (cb_streq(a.os, b.os) && cb_streq(a.arch, b.arch) && (!b.variant || cb_streq(a.variant, b.variant)))
        return 0;
    cb_strbuf_add_platform(&x, &a);
    cb_strbuf_add_platform(&y, &b);
    return cb_error_set(err, CB_EVERIFY, "the index says that it is for %s, its configuration %s", x.buf, y.buf);
}

static int read_config(struct validation *v, const struct cb_manifest *m, const struct cb_platform *says,
                       struct cb_image_config *config, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = explain(v->s, &m->config, cb_edit_source_small(v->s, &m->config, &body, err), err);
    if (r < 0 || !cb_manifest_is_image(m))
        return r;
    r = cb_image_config_parse(config, body.buf, body.len, err);
    if (r == 0)
        r = cb_image_config_check(config, m->n_layers, err);
    return r < 0 ? r : check_platform(says, config, err);
}

/* What is wrong in it does not keep the rest from being looked at. */
static int tell_data(struct validation *v, const struct cb_edit_doc *doc, const char *what, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = settle(v, what, cb_edit_check_data(&doc->body, &e), &e, err);
    if (r == 0)
        tell(v, what, NULL);
    return CB_MIN(r, 0);
}

static int check_manifest(struct validation *v, const struct cb_edit_doc *doc, const struct cb_platform *says,
                          struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_image_config config cb_cleanup_image_config = { 0 };
    cb_autofree char *what = name_of("manifest", &doc->desc);
    int r = cb_manifest_parse(&m, doc->body.buf, doc->body.len, doc->desc.media_type, &e);
    if ((r = settle(v, what, r, &e, err)) != 0)
        return r < 0 ? r : 0;
    if ((r = tell_data(v, doc, what, err)) < 0)
        return r;
    cb_autofree char *config_name = name_of("config", &m.config);
    r = settle(v, config_name, read_config(v, &m, says, &config, &e), &e, err);
    if (r < 0)
        return r;
    if (r == 0)
        tell(v, config_name, NULL);
    /* Of layers whose diff ids are not known the bytes can be checked all the same. */
    bool image = r == 0 && cb_manifest_is_image(&m);
    return check_layers(v, &m, image ? &config : NULL, err);
}

/* ---- indexes ---- */

static int check_doc(struct validation *v, struct cb_edit_doc *doc, const struct cb_platform *says,
                     struct cb_error *err);

/* What was described the same, for the same platform, has been told, with all below it. */
static bool was_seen(struct validation *v, const struct cb_descriptor *d)
{
    struct cb_strbuf key cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&key, "%llu %s ", (unsigned long long)d->size, d->media_type);
    cb_strbuf_add_digest(&key, &d->digest);
    if (d->platform && !cb_mt_is_index(d->media_type)) {
        cb_strbuf_addch(&key, ' ');
        cb_strbuf_add_platform(&key, d->platform);
    }
    return cb_hashmap_put(v->seen, key.buf, v) != NULL;
}

static int check_child(struct validation *v, const struct cb_descriptor *d, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_edit_doc doc cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    cb_autofree char *what = name_of(cb_mt_is_index(d->media_type) ? "index" : "manifest", d);
    int r = settle(v, what, cb_edit_source_doc(v->s, d, &doc, &e), &e, err);
    return r != 0 ? CB_MIN(r, 0) : check_doc(v, &doc, d->platform, err);
}

/* An attestation has to be about one of the manifests that stand beside it. */
static bool is_about_nothing(const struct cb_index *idx, const struct cb_descriptor *d)
{
    const char *of = cb_strmap_get(&d->annotations, CB_ANN_REFERENCE_DIGEST);
    char text[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; of && i < idx->n_manifests; i++)
        if (!strcmp(of, cb_digest_text(&idx->manifests[i].digest, text)))
            return false;
    return of != NULL;
}

static int check_index(struct validation *v, const struct cb_edit_doc *doc, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_index idx cb_cleanup_index = { 0 };
    cb_autofree char *what = name_of("index", &doc->desc);
    int r = cb_index_parse(&idx, doc->body.buf, doc->body.len, doc->desc.media_type, &e);
    if (r == 0 && v->depth > CB_MAX_INDEX_DEPTH)
        r = cb_error_set(&e, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
    if ((r = settle(v, what, r, &e, err)) != 0)
        return CB_MIN(r, 0);
    r = tell_data(v, doc, what, err);
    v->depth++;
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
        cb_autofree char *child = name_of("manifest", &idx.manifests[i]);
        if (is_about_nothing(&idx, &idx.manifests[i]))
            tell(v, child, "it is an attestation of an image that the index does not have");
        if (!was_seen(v, &idx.manifests[i]))
            r = check_child(v, &idx.manifests[i], err);
    }
    v->depth--;
    return r;
}

static int check_doc(struct validation *v, struct cb_edit_doc *doc, const struct cb_platform *says,
                     struct cb_error *err)
{
    return cb_mt_is_index(doc->desc.media_type) ? check_index(v, doc, err) : check_manifest(v, doc, says, err);
}

int cb_edit_validate(const struct cb_edit_source *s, const struct cb_edit_validate_options *o, size_t *wrong,
                     struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_edit_doc top cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    struct cb_edit_source strict = *s;
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *seen = cb_hashmap_new();
    struct validation v = { .s = &strict, .o = o, .seen = seen };
    strict.strict = true;
    int r = cb_edit_source_top(&strict, &top, &e);
    if (r == -CB_EVERIFY)
        r = settle(&v, s->text, r, &e, err);
    else if (r == 0)
        r = check_doc(&v, &top, NULL, &e);
    *wrong = v.wrong;
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* created: ns; UNKNOWN: not told. */
#define UNKNOWN INT64_MIN
static void add_history(struct cb_image_config *c, const char *created_by, int64_t created, bool empty)
{
    struct cb_strbuf when cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_history h = { .created_by = (char *)(uintptr_t)created_by, .comment = (char *)(uintptr_t) "cbpush",
                            .empty_layer = empty };
    if (created != UNKNOWN) {
        cb_time_format(&when, created);
        h.created = when.buf;
    }
    cb_image_config_add_history(c, &h);
}

/* The parent's history stays as it is; layers that it does not tell of, the first ones, get a nameless entry each.
 * Where its layers were merged the last entry has what came of it: the parent's where the build has none. */
static void base_history(const struct cb_build *b, size_t index, struct cb_image_config *c)
{
    const struct cb_plan_image *p = &b->plan.images[index];
    const struct cb_image_config *base = &p->base->image.config;
    size_t n_layers = b->solver.images[index].n;
    bool merged = b->o->squash_all && (p->n_history > 0 || n_layers < base->n_diff_ids);
    for (size_t n = merged ? 0 : cb_image_config_untold(base); n > 0; n--)
        cb_image_config_add_history(c, &(struct cb_history){ 0 });
    for (size_t i = 0; i < base->n_history; i++) {
        struct cb_history h = base->history[i];
        bool last = p->n_history == 0 && i + 1 == base->n_history && n_layers > 0;
        h.empty_layer = merged ? !last : h.empty_layer;
        cb_image_config_add_history(c, &h);
    }
}

/* The one layer that others were merged into belongs to the last entry. */
bool cb_build_made_layer(const struct cb_build *b, size_t index, size_t i)
{
    const struct cb_plan_image *p = &b->plan.images[index];
    const struct cb_vertex *v = p->history[i].vertex;
    size_t below = p->base ? p->base->image.manifest.n_layers : 0;
    if (b->o->squash_all)
        return i + 1 == p->n_history && b->solver.images[index].n > 0;
    if (b->o->squash)
        return i + 1 == p->n_history && b->solver.images[index].n > below;
    return v && cb_solver_added_layer(v);
}

/* Times are those of the steps' records, so that an unchanged build makes the same bytes; entries without a step share
 * the time of the step before them. */
static void own_history(struct cb_build *b, size_t index, struct cb_image_config *c)
{
    const struct cb_plan_image *p = &b->plan.images[index];
    int64_t created = UNKNOWN;
    if (p->base && p->base->image.config.created)
        (void)cb_time_parse(p->base->image.config.created, &created);
    for (size_t i = 0; i < p->n_history; i++) {
        const struct cb_plan_history *h = &p->history[i];
        if (h->vertex && h->vertex->state->created && h->vertex->state->created > created)
            created = h->vertex->state->created;
        if (b->epoch != INT64_MAX)
            created = b->epoch * CB_SECOND;
        add_history(c, h->created_by, created, !cb_build_made_layer(b, index, i));
    }
    if (created != UNKNOWN) {
        struct cb_strbuf when cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_time_format(&when, created);
        free(c->created);
        c->created = cb_strbuf_detach(&when, NULL);
    }
}

/* A layer of a parent that nothing needed is still where the parent came from: run, save and push will ask for it. */
static int keep_origins(struct cb_build *b, struct cb_layer *known, const struct cb_digest *blob, struct cb_error *err)
{
    if (!known->n_origins || cb_store_blob_has(b->env->store, blob, NULL))
        return 0;
    return cb_store_layer_put(b->env->store, known, err);
}

static int layer_value(struct cb_build *b, struct cb_slot *s, struct cb_layer *out, struct cb_error *err)
{
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    struct cb_layer known cb_cleanup_layer = { 0 };
    int r = cb_slot_encoding(s, &b->format, &e, err);
    if (r < 0)
        return r;
    cb_slot_name(s, &e.digest);
    if (e.engine && *e.engine && !b->res->engine)
        b->res->engine = cb_strdup(e.engine);
    cb_slot_layer(s, &known);
    out->diff_id = known.diff_id;
    out->size = known.size;
    cb_layer_add_encoding(out, &e);
    if (cb_slot_is_hearsay(s))
        cb_layer_drop_encodings(&known);
    return keep_origins(b, &known, &e.digest, err);
}

static int layer_values(struct cb_build *b, const struct cb_solved *made, struct cb_image_config *c, struct cb_layer *v,
                        struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < made->n; i++) {
        cb_image_config_add_diff_id(c, cb_slot_diff_id(made->layers[i]));
        r = layer_value(b, made->layers[i], &v[i], err);
    }
    return r;
}

bool cb_build_docker_types(const struct cb_build *b)
{
    bool docker = b->o->docker_types;
    for (size_t i = 0; i < b->o->n_outputs; i++)
        docker = docker || b->o->outputs[i].docker_types;
    return docker;
}

static int commit_image(struct cb_build *b, size_t index, struct cb_image *out, struct cb_error *err)
{
    const struct cb_plan_image *p = &b->plan.images[index];
    const struct cb_solved *made = &b->solver.images[index];
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    cb_image_config_copy(&c, &p->config);
    struct cb_layer *v = cb_calloc(made->n + 1, sizeof *v);
    struct cb_strmap *of_layers = cb_calloc(made->n + 1, sizeof *of_layers);
    if (p->base)
        base_history(b, index, &c);
    own_history(b, index, &c);
    cb_annotations_of(b->o->annotations, CB_ANNOTATE_MANIFEST, &p->platform, &annotations);
    cb_build_inline_cache(b, p, &c);
    int r = layer_values(b, made, &c, v, err);
    struct cb_commit_options o = { .config = &c, .layers = v, .n_layers = made->n, .annotations = &annotations,
                                   .layer_annotations = of_layers, .docker_types = cb_build_docker_types(b) };
    if (r == 0)
        r = cb_build_pin_tables(b, index, of_layers, err);
    if (r == 0)
        r = cb_image_commit(b->env->store, &o, out, err);
    for (size_t i = 0; i < made->n; i++) {
        cb_layer_done(&v[i]);
        cb_strmap_done(&of_layers[i]);
    }
    free(v);
    free(of_layers);
    if (r == 0)
        cb_annotations_of(b->o->annotations, CB_ANNOTATE_MANIFEST_DESCRIPTOR, &p->platform, &out->desc.annotations);
    return r;
}

/* As an index lists it: for the platform that was asked for, whatever the parent says of itself, but for the version of
 * its system. */
static void describe(const struct cb_plan_image *p, const struct cb_image *image, struct cb_descriptor *out)
{
    cb_descriptor_copy(out, &image->desc);
    cb_platform_copy(out->platform, &p->platform);
    free(out->platform->os_version);
    out->platform->os_version = cb_strdup_or_null(image->config.platform.os_version);
}

static int commit_index(struct cb_build *b, struct cb_error *err)
{
    size_t n = b->plan.n_images;
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    size_t all = b->attestations ? 2 * n : n;
    struct cb_descriptor *v = cb_calloc(all, sizeof *v);
    struct cb_commit_index_options o = { .manifests = v, .n = all, .annotations = &annotations,
                                         .docker_types = cb_build_docker_types(b) };
    for (size_t i = 0; i < n; i++)
        describe(&b->plan.images[i], &b->res->images[i], &v[i]);
    for (size_t i = n; i < all; i++)
        cb_descriptor_copy(&v[i], &b->attestations[i - n].desc);
    cb_annotations_of(b->o->annotations, CB_ANNOTATE_INDEX, NULL, &annotations);
    int r = cb_image_commit_index(b->env->store, &o, &b->res->desc, err);
    for (size_t i = 0; i < all; i++)
        cb_descriptor_done(&v[i]);
    free(v);
    if (r == 0)
        cb_annotations_of(b->o->annotations, CB_ANNOTATE_INDEX_DESCRIPTOR, NULL, &b->res->desc.annotations);
    return r;
}

int cb_build_commit(struct cb_build *b, struct cb_error *err)
{
    struct cb_span span cb_cleanup_span = cb_span_begin("commit", "commit the image");
    size_t n = b->plan.n_images;
    int r = 0;
    b->res->images = cb_calloc(n, sizeof *b->res->images);
    b->res->n_images = n;
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = commit_image(b, i, &b->res->images[i], err);
        if (r < 0 && n > 1)
            cb_build_wrap_platform(err, &b->plan.images[i].platform);
    }
    if (r == 0)
        r = cb_attest(b, err);
    if (r == 0 && n == 1 && !b->attestations)
        cb_descriptor_copy(&b->res->desc, &b->res->images[0].desc);
    else if (r == 0)
        r = commit_index(b, err);
    if (r < 0)
        cb_error_wrap(err, "commit the image");
    return r;
}

static int set_name(struct cb_build *b, const char *name, struct cb_error *err)
{
    struct cb_descriptor old cb_cleanup_descriptor = { 0 };
    const struct cb_descriptor *new = &b->res->desc;
    if (cb_store_name_get(b->env->store, name, &old, NULL) == 0 && cb_digest_eq(&old.digest, &new->digest))
        return 0;
    return cb_store_name_set(b->env->store, name, new, err);
}

/* Whether an image is made for the sake of its steps alone. */
static bool is_for_the_cache(const struct cb_build_options *o)
{
    bool only = o->n_outputs > 0 && !o->push;
    for (size_t i = 0; i < o->n_outputs; i++)
        only = only && o->outputs[i].type == CB_OUTPUT_NONE;
    return only;
}

/* What the result tells of name number i. That of a push that had something to do is there already, with what became of
 * it. */
static struct cb_build_tag *told(struct cb_build *b, size_t i, const char *name)
{
    struct cb_build_result *res = b->res;
    for (size_t k = 0; k < res->n_tags; k++)
        if (!strcmp(res->tags[k].name, name))
            return &res->tags[k];
    struct cb_build_tag *t = &res->tags[res->n_tags++];
    *t = (struct cb_build_tag){ .name = cb_strdup(name), .pushed = i < b->n_pushed && res->was_current,
                                .by_digest = !b->tags[i].tag };
    if (t->pushed && !t->by_digest)
        t->old = res->desc.digest;
    return t;
}

/* What goes by digest has no name but NAME@DIGEST, and that one only where it is asked for. */
static int name_result(struct cb_build *b, size_t i, struct cb_error *err)
{
    const struct cb_reference *ref = &b->tags[i];
    const struct cb_reference pinned = { .host = ref->host, .repo = ref->repo, .digest = b->res->desc.digest };
    cb_autofree char *name = cb_reference_text(ref), *with_digest = cb_reference_text(&pinned);
    int r = ref->tag ? set_name(b, name, err) : 0;
    if (r == 0 && b->canonical[i])
        r = set_name(b, with_digest, err);
    if (r == 0)
        told(b, i, name)->canonical = b->canonical[i];
    return r;
}

int cb_build_set_names(struct cb_build *b, struct cb_error *err)
{
    int r = cb_store_settle(b->env->store, err);
    if (is_for_the_cache(b->o))
        return r;
    b->res->tags = cb_reallocarray(b->res->tags, b->res->n_tags + b->n_tags + 1, sizeof *b->res->tags);
    for (size_t i = 0; r == 0 && i < b->n_tags; i++)
        r = name_result(b, i, err);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/provenance.h"

#include "util/alloc.h"
#include "util/path.h"
#include "util/timeutil.h"

#define BUILD_TYPE "https://cbpush.dev/provenance/dockerfile/v1"
#define NO_BUILDER "https://cbpush.dev/provenance/unnamed-builder/v1"

/* What the image is made of; inputs have smaller ids. */
static bool *find_used(const struct cb_build *b, const struct cb_plan_image *image)
{
    const struct cb_plan *plan = &b->plan;
    bool *used = cb_calloc(plan->n + 1, sizeof *used);
    if (image->goal)
        used[image->goal->id] = true;
    for (const struct cb_vertex *v = image->scan; v; v = v->base) /* of the scan, by whom it is */
        used[v->id] = v->kind == CB_VERTEX_SOURCE;
    for (size_t i = plan->n; i-- > 0;) {
        const struct cb_vertex *v = plan->vertices[i];
        if (!used[i])
            continue;
        if (v->base)
            used[v->base->id] = true;
        if (v->from)
            used[v->from->id] = true;
        for (size_t k = 0; k < v->n_inputs; k++)
            used[v->inputs[k]->id] = true;
    }
    return used;
}

static bool is_hermetic(const struct cb_provenance_work *w)
{
    bool yes = true;
    for (size_t i = 0; i < w->b->plan.n; i++) {
        const struct cb_vertex *v = w->b->plan.vertices[i];
        yes = yes && !(w->used[i] && v->kind == CB_VERTEX_RUN && v->run.network != CB_NETWORK_NONE);
    }
    return yes;
}

/* ---- times ---- */

struct times {
    int64_t first, last; /* ns; first > last: nobody knows */
};

/* When the image's own steps were really run, as its history has it. */
static struct times times_of(const struct cb_provenance_work *w)
{
    struct times t = { INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < w->plan->n_history; i++) {
        const struct cb_vertex *v = w->plan->history[i].vertex;
        int64_t created = v ? v->state->created : 0;
        if (created <= 0)
            continue;
        t.first = CB_MIN(t.first, created);
        t.last = CB_MAX(t.last, created);
    }
    if (w->b->epoch != INT64_MAX)
        t.first = t.last = w->b->epoch * CB_SECOND;
    return t;
}

static void put_time(json_t *o, const char *key, int64_t ns)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_time_format(&text, ns / CB_SECOND * CB_SECOND);
    json_object_set_new(o, key, json_string(text.buf));
}

/* ---- parts of both versions ---- */

static const char *builder_id(const struct cb_provenance_work *w)
{
    const char *said = w->b->o->provenance.builder_id;
    return said ? said : NO_BUILDER;
}

/* path_key: how the version calls where the Dockerfile is. */
static json_t *config_source(const struct cb_provenance_work *w, const char *path_key)
{
    const struct cb_origin *from = &w->b->origin;
    const struct cb_main_context *c = from->context;
    json_t *o = json_object();
    if (c->uri) {
        cb_json_put(o, "uri", cb_json_string(c->uri));
        json_object_set_new(o, "digest",
                            c->commit ? cb_provenance_commit(c->commit) : cb_provenance_digest(&c->digest));
    }
    cb_json_put(o, path_key,
                cb_json_string(from->in_context ? from->dockerfile : cb_path_base(from->dockerfile)));
    return o;
}

static json_t *internal_parameters(const struct cb_provenance_work *w)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    char engine[64] = "";
    json_t *o = json_object();
    cb_platform_host(&host);
    cb_strbuf_add_platform(&platform, &host);
    cb_format_engine(&w->b->format, engine, sizeof engine);
    json_object_set_new(o, "builderPlatform", json_string(platform.buf));
    json_object_set_new(o, "compression", json_string(cb_format_name(&w->b->format)));
    if (w->b->res->engine || *engine)
        cb_json_put(o, "compressor", cb_json_string(w->b->res->engine ? w->b->res->engine : engine));
    return o;
}

static json_t *build_config(const struct cb_provenance_work *w)
{
    json_t *o = json_object();
    json_object_set_new(o, "steps", cb_provenance_steps(w));
    return o;
}

static json_t *extra_metadata(const struct cb_provenance_work *w)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_dockerfile *d = w->b->res->dockerfile;
    json_t *o = json_object(), *source = json_object();
    cb_strbuf_add(&text, d->text, d->text_len);
    cb_json_put(source, "language", json_string("Dockerfile"));
    cb_json_put(source, "text", cb_provenance_text(text.buf));
    json_object_set_new(o, "source", source);
    json_object_set_new(o, "layers", cb_provenance_layers(w));
    return o;
}

/* What is said, and by whom: of the same there is one name. */
static json_t *name_of(const json_t *predicate)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest digest;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_json_print(&text, predicate);
    cb_digest_of(&digest, text.buf, text.len);
    return json_string(cb_digest_hex(&digest, hex));
}

/* ---- version 1 ---- */

static json_t *run_details(const struct cb_provenance_work *w, bool complete)
{
    json_t *run = json_object(), *builder = json_object(), *meta = json_object();
    struct times t = times_of(w);
    cb_json_put(builder, "id", cb_json_string(builder_id(w)));
    json_object_set_new(builder, "version", json_pack("{s:s}", "cbpush", PACKAGE_VERSION));
    json_object_set_new(meta, "invocationId", json_string(""));
    if (t.first <= t.last) {
        put_time(meta, "startedOn", t.first);
        put_time(meta, "finishedOn", t.last);
    }
    json_object_set_new(meta, "cbpush_completeness",
                        json_pack("{s:b,s:b}", "request", w->p->mode == CB_PROVENANCE_MAX, "resolvedDependencies",
                                  complete));
    json_object_set_new(meta, "cbpush_reproducible", json_boolean(w->b->o->provenance.reproducible));
    json_object_set_new(meta, "cbpush_hermetic", json_boolean(is_hermetic(w)));
    if (w->p->mode == CB_PROVENANCE_MAX)
        json_object_set_new(meta, "cbpush_metadata", extra_metadata(w));
    json_object_set_new(run, "builder", builder);
    json_object_set_new(run, "metadata", meta);
    return run;
}

static json_t *version_1(const struct cb_provenance_work *w)
{
    json_t *predicate = json_object(), *definition = json_object(), *external = json_object();
    bool complete = false;
    json_t *internal = internal_parameters(w), *dependencies = cb_provenance_dependencies(w, &complete);
    json_object_set_new(external, "configSource", config_source(w, "path"));
    json_object_set_new(external, "request", cb_provenance_request(w));
    if (w->p->mode == CB_PROVENANCE_MAX)
        json_object_set_new(internal, "buildConfig", build_config(w));
    json_object_set_new(definition, "buildType", json_string(BUILD_TYPE));
    json_object_set_new(definition, "externalParameters", external);
    json_object_set_new(definition, "internalParameters", internal);
    json_object_set_new(definition, "resolvedDependencies", dependencies);
    json_object_set_new(predicate, "buildDefinition", definition);
    json_t *run = run_details(w, complete);
    json_object_set_new(predicate, "runDetails", run);
    json_object_set_new(json_object_get(run, "metadata"), "invocationId", name_of(predicate));
    return predicate;
}

/* ---- version 0.2 ---- */

static json_t *old_metadata(const struct cb_provenance_work *w, bool complete)
{
    json_t *meta = json_object();
    struct times t = times_of(w);
    json_object_set_new(meta, "buildInvocationID", json_string(""));
    if (t.first <= t.last) {
        put_time(meta, "buildStartedOn", t.first);
        put_time(meta, "buildFinishedOn", t.last);
    }
    json_object_set_new(meta, "completeness",
                        json_pack("{s:b,s:b,s:b}", "parameters", w->p->mode == CB_PROVENANCE_MAX, "environment", true,
                                  "materials", complete));
    json_object_set_new(meta, "reproducible", json_boolean(w->b->o->provenance.reproducible));
    json_object_set_new(meta, BUILD_TYPE "#hermetic", json_boolean(is_hermetic(w)));
    if (w->p->mode == CB_PROVENANCE_MAX)
        json_object_set_new(meta, BUILD_TYPE "#metadata", extra_metadata(w));
    return meta;
}

static json_t *version_02(const struct cb_provenance_work *w)
{
    json_t *predicate = json_object(), *invocation = json_object();
    bool complete = false;
    json_t *materials = cb_provenance_dependencies(w, &complete), *meta = old_metadata(w, complete);
    json_object_set_new(predicate, "builder", json_object());
    cb_json_put(json_object_get(predicate, "builder"), "id", cb_json_string(builder_id(w)));
    json_object_set_new(predicate, "buildType", json_string(BUILD_TYPE));
    json_object_set_new(invocation, "configSource", config_source(w, "entryPoint"));
    json_object_set_new(invocation, "parameters", cb_provenance_request(w));
    json_object_set_new(invocation, "environment", internal_parameters(w));
    json_object_set_new(predicate, "invocation", invocation);
    if (w->p->mode == CB_PROVENANCE_MAX)
        json_object_set_new(predicate, "buildConfig", build_config(w));
    json_object_set_new(predicate, "materials", materials);
    json_object_set_new(predicate, "metadata", meta);
    json_object_set_new(meta, "buildInvocationID", name_of(predicate));
    return predicate;
}

/* ---- the statement ---- */

json_t *cb_provenance_predicate(const struct cb_provenance *p)
{
    const struct cb_build *b = p->b;
    struct cb_provenance_work w = { .p = p, .b = b, .plan = &b->plan.images[p->index],
                                    .image = &b->res->images[p->index] };
    w.used = find_used(b, w.plan);
    json_t *predicate = b->o->provenance.v02 ? version_02(&w) : version_1(&w);
    free(w.used);
    return predicate;
}

static void add_subject(json_t *list, const char *name, const struct cb_digest *d)
{
    json_t *o = json_object();
    cb_json_put(o, "name", cb_json_string(name));
    json_object_set_new(o, "digest", cb_provenance_digest(d));
    json_array_append_new(list, o);
}

json_t *cb_provenance_subjects(const struct cb_build *b, size_t index)
{
    const struct cb_digest *d = &b->res->images[index].desc.digest;
    json_t *list = json_array();
    for (size_t i = 0; i < b->n_tags; i++) {
        cb_autofree char *name = cb_purl_docker(&b->tags[i], &b->plan.images[index].platform);
        add_subject(list, name, d);
    }
    if (!b->n_tags)
        add_subject(list, "_", d);
    return list;
}

json_t *cb_provenance_statement(const struct cb_provenance *p, json_t *subjects)
{
    json_t *o = json_object();
    bool old = p->b->o->provenance.v02;
    json_object_set_new(o, "_type",
                        json_string(old ? "https://in-toto.io/Statement/v0.1" : "https://in-toto.io/Statement/v1"));
    json_object_set(o, "subject", subjects);
    json_object_set_new(o, "predicateType", json_string(old ? CB_PROVENANCE_V02 : CB_PROVENANCE_V1));
    json_object_set_new(o, "predicate", cb_provenance_predicate(p));
    return o;
}

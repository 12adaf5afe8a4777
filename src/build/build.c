/* SPDX-License-Identifier: Apache-2.0 */
#include "build/build.h"

#include <fcntl.h>
#include <unistd.h>

#include "build/cache_out.h"
#include "build/mount_cache.h"
#include "build/check.h"
#include "build/claims.h"
#include "build/failed.h"
#include "build/foreign.h"
#include "build/internal.h"
#include "build/uploads_ahead.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/path.h"
#include "util/timeutil.h"

static void why_done(struct cb_build_why *w)
{
    char *const all[] = { w->place, w->name, w->step, w->reason, w->input, w->was, w->is };
    for (size_t i = 0; i < CB_COUNTOF(all); i++)
        free(all[i]);
}

void cb_build_result_done(struct cb_build_result *r)
{
    cb_descriptor_done(&r->desc);
    cb_descriptor_done(&r->joined);
    for (size_t i = 0; i < r->n_images; i++)
        cb_image_done(&r->images[i]);
    for (size_t i = 0; r->predicates && i < r->n_images; i++) {
        free(r->predicates[i].platform);
        free(r->predicates[i].text);
    }
    free(r->predicates);
    free(r->images);
    for (size_t i = 0; i < r->n_tags; i++)
        free(r->tags[i].name);
    free(r->tags);
    free(r->blobs);
    cb_dockerfile_free(r->dockerfile);
    free(r->failed_trigger);
    free(r->failed_log);
    for (size_t i = 0; i < r->n_step_list; i++) {
        free(r->step_list[i].name);
        free(r->step_list[i].from);
    }
    free(r->step_list);
    for (size_t i = 0; i < r->n_why; i++)
        why_done(&r->why[i]);
    free(r->why);
    free(r->engine);
    *r = (struct cb_build_result){ 0 };
}

/* ---- reading the inputs ---- */

struct inputs {
    struct cb_strbuf dockerfile;
    char *name;                    /* as shown */
    bool in_context;               /* name is relative to the context, not to the working directory */
    struct cb_df_ignore *ignore;
    struct cb_main_context context;
};

static void inputs_done(struct inputs *in)
{
    cb_strbuf_done(&in->dockerfile);
    free(in->name);
    cb_df_ignore_free(in->ignore);
    cb_main_context_done(&in->context);
}

static int read_default(struct inputs *in, const char *context, struct cb_error *err)
{
    static const char *const names[] = { "Dockerfile", "dockerfile", "Containerfile" };
    in->in_context = true;
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        int r = cb_slurp_at(in->context.fd, names[i], CB_MAX_DOCKERFILE, &in->dockerfile, err);
        if (r == -CB_ENOTFOUND)
            continue;
        in->name = cb_strdup(names[i]);
        return r;
    }
    return cb_error_set(err, CB_ECONF, "no Dockerfile in %s: name one with -f FILE", context);
}

static const struct cb_cancel *cancel_of(const struct cb_build *b)
{
    return b->env ? b->env->cancel : b->o->cancel;
}

/* -f is relative to the working directory; one that is not there, to the context. */
static int read_named(struct inputs *in, const struct cb_build *b, const char *path, struct cb_error *err)
{
    in->name = cb_strdup(path);
    int r = in->context.remote ? -CB_ENOTFOUND
                               : cb_input_slurp_path(path, cancel_of(b), CB_MAX_DOCKERFILE, &in->dockerfile, err);
    if (r == -CB_ENOTFOUND) {
        in->in_context = true;
        r = cb_slurp_at(in->context.fd, path, CB_MAX_DOCKERFILE, &in->dockerfile, err);
    }
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_ECONF, "%s: no such Dockerfile", path);
    if (r < 0)
        err->code = CB_ECONF;
    return r < 0 ? -CB_ECONF : 0;
}

static int read_dockerfile(struct inputs *in, const struct cb_build *b, struct cb_error *err)
{
    const char *file = b->o->dockerfile;
    if (!file && !in->context.is_dockerfile)
        return read_default(in, b->o->context, err);
    if (file && strcmp(file, "-") && !cb_url_is_http(file))
        return read_named(in, b, file, err);
    in->name = cb_strdup("Dockerfile");
    in->in_context = true;
    if (!file) {
        cb_strbuf_add(&in->dockerfile, in->context.dockerfile.buf, in->context.dockerfile.len);
        return 0;
    }
    struct cb_fetcher f = cb_fetcher_of(b->env, b->o);
    if (strcmp(file, "-"))
        return cb_dockerfile_fetch(&f, file, &in->dockerfile, err);
    struct cb_input input = { STDIN_FILENO, cancel_of(b) };
    return cb_input_slurp(&input, CB_MAX_DOCKERFILE, &in->dockerfile, err);
}

/* <Dockerfile>.dockerignore next to it wins outright over .dockerignore at the root of the context. */
static int read_ignore(struct inputs *in, const struct cb_build *b, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *own = cb_asprintf("%s.dockerignore", in->name);
    const char *named = b->o->ignorefile, *name = named ? named : own;
    int r = named ? cb_input_slurp_path(named, cancel_of(b), CB_MAX_DOCKERIGNORE, &text, err)
            : in->in_context ? cb_slurp_at(in->context.fd, own, CB_MAX_DOCKERIGNORE, &text, err)
                           : cb_file_slurp(own, CB_MAX_DOCKERIGNORE, &text, err);
    if (r == -CB_ENOTFOUND && named)
        return cb_error_set(err, CB_EUSAGE, "--ignorefile %s: no such file", named);
    if (r == -CB_ENOTFOUND) {
        name = ".dockerignore";
        r = cb_slurp_at(in->context.fd, name, CB_MAX_DOCKERIGNORE, &text, err);
    }
    if (r == -CB_ENOTFOUND)
        return 0;
    if (r == 0) {
        in->ignore = cb_df_ignore_parse(name, text.buf, text.len, err);
        r = in->ignore ? 0 : cb_failed(err);
    }
    return r;
}

static int read_inputs(struct inputs *in, const struct cb_build *b, struct cb_error *err)
{
    int r = cb_main_context_open(b->env, b->o, &in->context, err);
    if (r == 0)
        r = read_dockerfile(in, b, err);
    if (r == 0 && !in->context.remote)
        r = read_ignore(in, b, err);
    if (r < 0)
        return r;
    b->res->dockerfile = cb_dockerfile_parse(in->name, in->dockerfile.buf, in->dockerfile.len, err);
    return b->res->dockerfile ? 0 : cb_failed(err);
}

/* ---- the phases ---- */

/* An unchanged build has been built before. What is expected of tags is looked at when it counts. */
static void ask_ahead(struct cb_build *b)
{
    const struct cb_release_policy *policy = &b->o->release;
    bool expects = policy->immutable || (policy->expect_old && policy->expect_old->n);
    b->again = cb_build_wants_push(b->o) && b->n_pushed && !b->o->join && !b->o->no_cache && !expects &&
               !cb_store_cache_is_empty(b->env->store);
    if (!b->again)
        return;
    if (cb_build_pushed_tags(b))
        b->ahead = cb_tags_ahead_new(b->env, b->tags, b->n_pushed);
    cb_store_warm(b->env->store);
}

static int resolve_source(void *arg, struct cb_plan_source *src, struct cb_error *err)
{
    const struct cb_build *b = arg;
    bool others = b->o->n_cache_from && !b->o->no_cache; /* their records may answer for the RUN */
    struct cb_find_options o = { .ref = &src->ref, .platform = &src->platform, .policy = b->o->pull,
                                 .layers = src->runs && !others };
    struct cb_found_image f = { 0 };
    if (src->layout)
        return cb_image_from_layout(b->env->store, src->layout, &src->platform, &src->image, err);
    int r = cb_build_resolve(b->env, &o, &f, err);
    if (r < 0)
        return r;
    src->image = f.image;
    src->top = f.top;
    src->host = f.host;
    src->repo = f.repo;
    return 0;
}

static int make_plan(struct cb_build *b, struct cb_error *err)
{
    struct cb_plan_options po = { .build = b->o, .dockerfile = b->res->dockerfile, .resolve = resolve_source,
                                  .resolve_arg = b, .cancel = b->cancel, .progress = b->env->progress };
    int64_t t = cb_time_monotonic();
    int r = cb_plan_make(&po, &b->plan, &b->res->failed, err);
    b->res->failed_trigger = CB_TAKE(b->plan.failed_trigger);
    b->res->t_resolve = cb_time_monotonic() - t;
    return r;
}

/* Also where the plan failed: a warning may tell why. */
static int lint(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    struct cb_check c = { .o = b->o, .dockerfile = b->res->dockerfile, .ignore = in->ignore, .plan = &b->plan,
                          .progress = b->env->progress };
    return cb_check_lint(&c, err);
}

static void step_written(void *claims, struct cb_vertex *v)
{
    cb_claims_written(claims, v);
}

static int open_context(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    int fd = fcntl(in->context.fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    b->solver.context = cb_context_from_fd(fd, in->ignore);
    cb_context_leave_out(b->solver.context, b->env->store);
    return 0;
}

/* Digests of its files are kept from build to build. */
static bool remembers(const struct cb_build *b, const struct inputs *in)
{
    return !in->context.remote && !b->o->no_stat_cache;
}

static int set_up_solver(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    struct cb_solver *s = &b->solver;
    s->env = b->env;
    s->o = b->o;
    s->plan = &b->plan;
    s->cancel = b->cancel;
    s->kb = (struct cb_key_base){ .clamp_mtime = b->epoch, .exact_mtime = b->o->exact_times, .hosts = b->o->extra_hosts,
                                  .hostname = b->o->run_hostname,
                                  .single_id = b->env->id_mode == CB_ID_SINGLE };
    s->newer_than = cb_build_cache_limit(b->o);
    s->cache_in = b->cache_in;
    s->cache_out = b->cache_out;
    s->mount_cache = b->mount_cache;
    if (!b->o->no_cache)
        s->claims = b->claims = cb_claims_new(&(struct cb_claims_options){
            .env = b->env, .in = b->cache_in, .out = b->cache_out, .place_of = cb_cache_out_claims,
            .newer_than = s->newer_than, .cancel = b->cancel });
    if (b->cache_out && b->claims)
        cb_cache_out_on_written(b->cache_out, step_written, b->claims);
    b->slots = s->slots = cb_slots_new(b->env);
    if (cb_build_forces_compression(b->o))
        cb_slots_convert_parents(b->slots);
    cb_slots_may_be_early(b->slots, CB_EARLY_AS_FITS, b->whole_env->cancel);
    cb_solve_open(s);
    int r = 0;
    cb_uploads_ahead_settle(b->uploads);
    if (!b->plan.needs_context)
        cb_context_free(CB_TAKE(s->context));
    else if (!s->context)
        r = open_context(b, in, err);
    if (r == 0 && s->context && remembers(b, in))
        cb_context_remember(s->context, b->env->store);
    return r < 0 ? r : cb_named_contexts_open(&b->plan, b->env->store, !b->o->no_stat_cache, err);
}

static void show_context(struct cb_build *b, struct cb_step *step)
{
    struct cb_context_work w;
    char known[64] = "";
    if (!b->solver.context)
        return;
    cb_context_stats(b->solver.context, &w);
    if (cb_context_met_store(b->solver.context))
        cb_step_logf(step, "left out: %s, the store", cb_store_root(b->env->store));
    if (w.known)
        snprintf(known, sizeof known, ", %llu files unchanged", (unsigned long long)w.known);
    cb_step_logf(step, "%llu files, %llu bytes read%s", (unsigned long long)w.files, (unsigned long long)w.bytes,
                 known);
}

static int prepare(struct cb_build *b, bool *all_hit, struct cb_error *err)
{
    struct cb_step *step = b->solver.context ? cb_step_new(b->env->progress, "[internal] load build context") : NULL;
    struct cb_span span cb_cleanup_span = cb_span_begin("cache", "keys and records");
    cb_step_begin(step);
    int r = cb_solve_prepare(&b->solver, all_hit, err);
    b->prepared = r == 0;
    cb_context_found_all(b->solver.context);
    for (size_t i = 0; i < b->plan.n_locals; i++)
        cb_context_found_all(b->plan.locals[i]->context);
    show_context(b, step);
    cb_step_end(step, r, err);
    return r;
}

static int push_rest(struct cb_build *b, struct cb_error *err)
{
    struct cb_build_result *res = b->res;
    struct cb_push_part *v = cb_calloc(2 * res->n_images + 1, sizeof *v);
    struct cb_push_set set = { .v = v };
    for (; set.n < res->n_images; set.n++)
        v[set.n] = (struct cb_push_part){ &res->images[set.n].desc, &res->images[set.n].manifest,
                                          b->solver.images[set.n].layers };
    for (size_t i = 0; b->attestations && i < res->n_images; i++)
        v[set.n++] = (struct cb_push_part){ &b->attestations[i].desc, &b->attestations[i].manifest, NULL };
    if (cb_mt_is_index(res->desc.media_type))
        v[set.n++] = (struct cb_push_part){ .desc = &res->desc };
    int r = cb_pusher_finish(b->pusher, &set, res, err);
    free(v);
    return r;
}

static int push(struct cb_build *b, bool all_hit, struct cb_error *err)
{
    int64_t t = cb_time_monotonic();
    struct cb_span span cb_cleanup_span = CB_SPAN_INIT;
    int r = 0;
    if (b->pusher)
        span = cb_span_begin("push", "push what is left");
    if (b->pusher && all_hit)
        r = cb_pusher_current(b->pusher, &b->res->desc, &b->res->was_current, err);
    if (r == 0 && b->pusher && !b->res->was_current)
        r = push_rest(b, err);
    b->res->t_push = cb_time_monotonic() - t;
    return r;
}

static void count_steps(struct cb_build *b)
{
    for (size_t i = 0; i < b->plan.n; i++) {
        const struct cb_vertex *v = b->plan.vertices[i];
        if (v->kind == CB_VERTEX_SOURCE || v->kind == CB_VERTEX_LINK || v->implied || v->state->vertex != v)
            continue;
        b->res->step_list = cb_reallocarray(b->res->step_list, b->res->steps + 1, sizeof *b->res->step_list);
        const struct cb_cache_place *from = v->state->lookup.used;
        b->res->step_list[b->res->n_step_list++] = (struct cb_build_step){
            cb_strdup(v->name), !v->state->executed, v->state->ns, from ? cb_strdup(from->text) : NULL
        };
        b->res->steps++;
        if (!v->state->executed)
            b->res->cached++;
    }
}

/* Whether it was the pusher that stopped the steps: none of them has failed then. */
static int told_by_pusher(struct cb_build *b, int r, struct cb_error *err)
{
    int e = cb_pusher_early_failure(b->pusher, err);
    if (e < 0)
        b->solver.failed = NULL;
    return e < 0 ? e : r;
}

/* Nothing is there that could make all of the build needless, whatever the context holds. */
static bool must_run(const struct cb_build *b)
{
    bool steps = b->plan.n_images > 0;
    for (size_t i = 0; i < b->plan.n_images; i++)
        steps = steps && b->plan.images[i].goal && b->plan.images[i].goal->kind != CB_VERTEX_SOURCE;
    return steps && (b->o->no_cache || (!b->cache_in && cb_store_cache_is_empty(b->env->store)));
}

static void tell_pusher(struct cb_build *b)
{
    if (!b->pusher || b->o->squash || b->o->squash_all || cb_format_is_estargz(&b->format))
        return;
    b->solver.on_layer = cb_pusher_layer;
    b->solver.on_parent = cb_pusher_parent;
    b->solver.on_step = cb_pusher_ahead;
    b->solver.on_layer_arg = b->pusher;
}

static int solve(struct cb_build *b, bool *all_hit, struct cb_error *err)
{
    int64_t t = cb_time_monotonic();
    if (must_run(b)) {
        tell_pusher(b);
        b->solver.early = b->solver.on_layer != NULL;
    }
    int r = prepare(b, all_hit, err);
    if (r == 0 && !*all_hit)
        tell_pusher(b);
    if (r == 0)
        r = cb_foreign_check(&b->solver, err);
    if (r == 0 && b->pusher && !*all_hit)
        r = cb_pusher_check(b->pusher, b->cancel, err);
    if (r == 0)
        r = cb_solve(&b->solver, err);
    cb_store_go_on(b->env->store);
    if (r == -CB_ECANCELED && b->pusher)
        r = told_by_pusher(b, r, err);
    if (r == 0)
        r = cb_build_squash(b, err);
    if (r == 0)
        r = cb_build_estargz(b, b->pusher && !*all_hit, err);
    if (r == 0)
        r = cb_build_recompress(b, b->pusher && !*all_hit, err);
    b->res->t_build = cb_time_monotonic() - t;
    if (r == 0)
        count_steps(b);
    return r;
}

/* Nothing moves until all are there: our image goes to where they meet. */
static int meet(struct cb_build *b, struct cb_push_tree_options *o, struct cb_error *err)
{
    int r = cb_join_places_make(&b->places, b->o->join, &b->plan.images[0].platform, b->tags, b->n_pushed, err);
    if (r < 0)
        return r;
    b->meetings = cb_calloc(b->places.n, sizeof *b->meetings);
    for (size_t i = 0; i < b->places.n; i++)
        b->meetings[i] = b->places.v[i].meeting;
    *o = (struct cb_push_tree_options){ .targets = b->meetings, .n_targets = b->places.n };
    return 0;
}

static int join(struct cb_build *b, struct cb_error *err)
{
    struct cb_build_result *res = b->res;
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    for (size_t i = 0; i < res->n_tags; i++)
        free(res->tags[i].name);
    res->n_tags = 0;
    res->was_current = false;
    cb_annotations_of(b->o->annotations, CB_ANNOTATE_INDEX, NULL, &annotations);
    struct cb_join_work w = { .env = b->env, .join = b->o->join, .policy = &b->o->release,
                              .own = &b->plan.images[0].platform, .desc = &res->desc, .annotations = &annotations,
                              .docker_types = cb_build_docker_types(b) };
    return cb_join_finish(&w, &b->places, &res->joined, res, err);
}

static int set_up_push(struct cb_build *b, struct cb_error *err)
{
    struct cb_push_tree_options o = { b->tags, b->n_pushed, b->o->release };
    if (!cb_build_wants_push(b->o) || b->pusher)
        return 0;
    int r = b->o->join ? meet(b, &o, err) : 0;
    if (r < 0)
        return r;
    b->pusher = cb_pusher_new(b->env, &o, err);
    if (!b->pusher)
        return cb_failed(err);
    cb_pusher_set_format(b->pusher, &b->format);
    cb_pusher_set_pins(b->pusher, !b->o->no_tables && !cb_build_docker_types(b));
    cb_pusher_set_ahead(b->pusher, b->ahead);
    return 0;
}

static int set_up_caches(struct cb_build *b, struct cb_error *err)
{
    cb_autofree char *run = cb_cache_run_name(b->o, b->n_tags ? &b->tags[0] : NULL);
    bool squash = b->o->squash || b->o->squash_all;
    int r = cb_cache_in_open(b->env, b->o, run, &b->cache_in, err);
    struct cb_cache_out_options co = { .env = b->whole_env, .o = b->o, .in = b->cache_in, .run = run,
                                       .pusher = squash ? NULL : b->pusher, .format = b->solver.format };
    if (r == 0)
        r = cb_cache_out_open(&co, &b->cache_out, err);
    return r < 0 ? r : cb_mount_cache_open(b->env, b->o, &b->mount_cache, err);
}

/* Where it was built before, and what was taken from the context is known: files of other contexts look the same. */
static int open_ahead(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    if (!b->again || !remembers(b, in) || in->context.is_dockerfile || (b->o->contexts && b->o->contexts->n))
        return 0;
    int r = set_up_push(b, err);
    if (r == 0)
        r = open_context(b, in, err);
    if (r == 0)
        b->uploads = cb_uploads_ahead_new(b);
    return r;
}

static int plan(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    int r = make_plan(b, err);
    int v = lint(b, in, r < 0 ? NULL : err);
    return r < 0 ? r : v;
}

static int work(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    bool all_hit = false;
    ask_ahead(b);
    cb_store_put_off(b->env->store); /* until the first RUN is under way */
    int r = open_ahead(b, in, err);
    if (r == 0)
        r = plan(b, in, err);
    if (r == 0)
        r = set_up_push(b, err);
    if (r == 0)
        r = set_up_caches(b, err);
    if (r == 0)
        r = set_up_solver(b, in, err);
    if (r == 0)
        r = solve(b, &all_hit, err);
    if (r == 0)
        cb_mount_cache_begin(b->mount_cache);
    if (r == 0)
        r = cb_build_commit(b, err);
    if (r == 0)
        r = push(b, all_hit, err);
    if (r == 0 && b->o->join)
        r = join(b, err);
    if (r == 0)
        r = cb_build_set_names(b, err);
    if (r == 0)
        r = cb_build_export(b, err);
    if (r == 0 && b->cache_out) /* the last layers are recorded first */
        cb_solve_stop(&b->solver);
    if (r == 0)
        r = cb_cache_out_finish(b->cache_out, &b->plan, err);
    return r < 0 ? r : cb_mount_cache_finish(b->mount_cache, err);
}

/* ---- failure ---- */

/* Of a step that did not even start nothing is shown. */
static void keep_log(struct cb_build *b, const struct cb_vertex *v, const struct cb_error *err)
{
    struct cb_strbuf log cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *last = cb_step_last_lines(v->step);
    if (!*last && err->code != CB_ESTEP)
        return;
    const char *end = *last && !cb_ends_with(last, "\n") ? "\n" : "";
    cb_strbuf_addf(&log, "------\n > %s:\n%s%s------\n", v->name, last, end);
    b->res->failed_log = cb_strbuf_detach(&log, NULL);
}

/* The solver is done. */
static void explain_failure(struct cb_build *b, struct cb_error *err)
{
    const struct cb_vertex *v = b->solver.failed;
    if (!v || err->code == CB_ECANCELED)
        return;
    b->res->failed = v->span;
    b->res->failed_trigger = cb_strdup_or_null(v->trigger);
    if (v->kind == CB_VERTEX_RUN)
        keep_log(b, v, err);
    if (v->trigger) /* the line is that of FROM */
        cb_error_wrap(err, "ONBUILD %s of the parent", v->note);
    if (b->plan.n_images > 1)
        cb_build_wrap_platform(err, &v->platform);
    if (v->span.first)
        cb_error_wrap(err, "%s:%u", b->res->dockerfile->name, v->span.first);
}

/* What still runs tells the pusher of layers, so it ends first. */
static void clean_up(struct cb_build *b)
{
    cb_uploads_ahead_free(b->uploads);
    cb_mount_cache_free(b->mount_cache);
    cb_cache_out_free(b->cache_out);
    cb_pusher_free(b->pusher);
    cb_tags_ahead_free(b->ahead);
    cb_context_free(b->solver.context);
    cb_slots_free(b->slots);
    cb_cache_in_free(b->cache_in);
    cb_registry_free(b->own_env.registry);
    cb_cancel_free(b->cancel);
    cb_plan_done(&b->plan);
    for (size_t i = 0; i < b->n_tags; i++)
        cb_reference_done(&b->tags[i]);
    free(b->tags);
    free(b->canonical);
    free(b->meetings);
    cb_attestations_free(b->attestations, b->res->n_images);
    cb_join_places_done(&b->places);
}

static int check_options(struct cb_build *b, struct cb_error *err)
{
    int r = cb_build_check_epoch(b, err);
    if (r == 0)
        r = cb_build_format(b->o, &b->format, err);
    b->solver.format = cb_build_working_format(&b->format);
    b->solver.format_aside = cb_build_format_aside(b->o, &b->solver.format);
    if (r == 0)
        r = cb_build_check_outputs(b->o, err);
    if (r == 0)
        r = cb_annotations_check(b->o, err);
    if (r == 0)
        r = cb_build_check_inline(b->o, err);
    if (r == 0)
        r = cb_build_parse_names(b, err);
    if (r == 0)
        r = cb_attest_check(b, err);
    if (r == 0 && cb_build_wants_push(b->o) && b->n_pushed == 0)
        r = cb_error_set(err, CB_EUSAGE, "--push needs a name: cbpush build --push REGISTRY/NAME:TAG");
    if (r == 0 && b->o->join && (!cb_build_wants_push(b->o) || b->o->n_platforms > 1))
        r = cb_error_set(err, CB_EUSAGE, "--join is for the push of one platform, the others come from elsewhere");
    if (r == 0)
        r = cb_release_policy_check(&b->o->release, err);
    return r;
}

/* A cache gets what was made, also where the build has failed: as long as it is taken. What it is to have may come
 * through the pusher. */
static void end_writing(struct cb_build *b, bool failed)
{
    if (failed)
        cb_cache_out_stop(b->cache_out);
    else
        cb_cache_out_drain(b->cache_out);
    if (failed && b->pusher)
        cb_pusher_stop(b->pusher);
}

/* Whether it failed for want of a recorded layer that is nowhere any more: the steps that made it miss from now on. */
static bool has_lost_layers(struct cb_build *b, struct cb_error *why)
{
    struct cb_slots_lost lost;
    if (why->code != CB_ENOTFOUND || !b->slots || cb_slots_forget_lost(b->slots, b->whole_env, &lost, NULL) < 0)
        return false;
    if (lost.parents)
        cb_error_append(why, ": a parent's layer is nowhere any more: build or pull the parent again");
    if (lost.parents || !lost.recorded)
        return false;
    cb_progress_note(b->whole_env->progress, true, "warning: %zu layer%s of cached steps can be had nowhere any more",
                     lost.recorded, lost.recorded == 1 ? "" : "s");
    return true;
}

static int run_once(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                    bool *again, struct cb_error *err)
{
    struct cb_build b = { .own_env = *env, .whole_env = env, .o = o, .res = res, .epoch = INT64_MAX };
    struct inputs in = { .dockerfile = CB_STRBUF_INIT, .context = CB_MAIN_CONTEXT_INIT };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    b.cancel = cb_cancel_new((struct cb_cancel *)(uintptr_t)env->cancel);
    b.own_env.cancel = b.cancel;
    b.own_env.registry = env->registry ? cb_registry_until(env->registry, b.cancel) : NULL;
    b.env = &b.own_env;
    int r = check_options(&b, &e);
    if (r == 0)
        r = read_inputs(&in, &b, &e);
    b.origin = (struct cb_origin){ &in.context, in.name, in.in_context };
    if (r == 0)
        r = cb_build_context_epoch(&b, in.context.fd, in.ignore, &e);
    if (r == 0)
        r = work(&b, &in, &e);
    if (r < 0)
        cb_cancel_trigger(b.cancel, 0);
    cb_solve_stop(&b.solver);
    end_writing(&b, r < 0);
    cb_claims_free(b.claims);
    if (b.prepared)
        cb_build_explain(&b, in.context.fd, r < 0);
    cb_solve_done(&b.solver);
    *again = r < 0 && has_lost_layers(&b, &e);
    if (r < 0) {
        explain_failure(&b, &e);
        r = cb_error_move(err, &e);
    }
    clean_up(&b);
    inputs_done(&in);
    return r;
}

/* What came through standard input is not there a second time, and what went to standard output is gone. */
static bool is_for_once(const struct cb_build_options *o)
{
    bool once = cb_streq(o->context, "-") || cb_streq(o->dockerfile, "-");
    for (size_t i = 0; i < o->n_outputs; i++)
        once = once || cb_streq(o->outputs[i].dest, "-");
    return once;
}

int cb_build_run(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                 struct cb_error *err)
{
    bool again = false;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = run_once(env, o, res, &again, &e);
    if (again && is_for_once(o)) {
        cb_error_append(&e, ": the steps that made it run where the build is begun again");
    } else if (again) {
        cb_error_done(&e);
        cb_build_result_done(res);
        cb_progress_note(env->progress, true, "the build begins again: these steps run");
        r = run_once(env, o, res, &again, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* ---- checking ---- */

static int resolve_parents(struct cb_build *b, struct cb_error *err)
{
    struct cb_plan_options po = { .build = b->o, .dockerfile = b->res->dockerfile, .resolve = resolve_source,
                                  .resolve_arg = b, .progress = b->env->progress, .parents_only = true };
    return cb_plan_make(&po, &b->plan, &b->res->failed, err);
}

int cb_build_check(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                   struct cb_error *err)
{
    struct cb_build b = { .env = env, .o = o, .res = res };
    struct inputs in = { .dockerfile = CB_STRBUF_INIT, .context = CB_MAIN_CONTEXT_INIT };
    struct cb_check c = { .o = o, .plan = env ? &b.plan : NULL };
    int r = read_inputs(&in, &b, err), v = 0;
    c.ignore = in.ignore;
    c.dockerfile = res->dockerfile;
    if (r == 0 && env)
        r = resolve_parents(&b, err);
    if (c.dockerfile)
        v = cb_check_lint(&c, r < 0 ? NULL : err);
    cb_plan_done(&b.plan);
    inputs_done(&in);
    return r < 0 ? r : v;
}

int cb_build_outline(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                     struct cb_df_outline *out, struct cb_error *err)
{
    struct cb_build b = { .env = env, .o = o, .res = res };
    struct inputs in = { .dockerfile = CB_STRBUF_INIT, .context = CB_MAIN_CONTEXT_INIT };
    int r = read_inputs(&in, &b, err);
    struct cb_check c = { .o = o, .dockerfile = res->dockerfile };
    *out = (struct cb_df_outline){ 0 };
    if (r == 0)
        r = cb_check_outline(&c, out, err);
    inputs_done(&in);
    return r;
}

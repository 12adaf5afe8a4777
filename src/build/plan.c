/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_private.h"

#include <pthread.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/thread.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int plan_error(struct planner *p, struct cb_df_span span, struct cb_error *err)
{
    if (p->failed && !p->failed->first)
        *p->failed = span;
    return cb_error_wrap(err, "%s:%u", p->df->name, span.first);
}

int plan_not_yet(const char *what, struct cb_error *err)
{
    return cb_error_set(err, CB_ECONF, "%s is understood, but this version of cbpush cannot execute it yet", what);
}

struct cb_vertex *plan_vertex(struct planner *p, enum cb_vertex_kind kind)
{
    struct cb_plan *plan = p->plan;
    struct cb_vertex *v = CB_NEW(struct cb_vertex);
    CB_GROW(plan->vertices, plan->n, plan->cap);
    v->kind = kind;
    v->id = (unsigned)plan->n;
    plan->vertices[plan->n++] = v;
    return v;
}

void plan_history(struct plan_stage *st, const char *created_by, struct cb_vertex *v)
{
    CB_GROW(st->history, st->n_history, st->cap_history);
    st->history[st->n_history++] = (struct cb_plan_history){ cb_strdup(created_by), v };
}

/* ---- FROM ---- */

/* An earlier stage of this name; FROM compares it as written, the others without case. */
static struct plan_stage *find_stage(struct planner *p, const char *name, size_t before, bool ignore_case)
{
    for (size_t i = before; i-- > 0;) {
        const char *have = p->df->stages[i].from.stage_name;
        if (have && (ignore_case ? !strcasecmp(have, name) : !strcmp(have, name)))
            return &p->stages[i];
    }
    return NULL;
}

static struct cb_plan_source *add_source(struct planner *p, const char *text, const struct cb_platform *platform, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_plan *plan = p->plan;
    if (cb_reference_parse(&ref, text, err) < 0)
        return NULL;
    cb_reference_default_tag(&ref);
    cb_autofree char *name = cb_reference_text(&ref);
    for (size_t i = 0; i < plan->n_sources; i++)
        if (!strcmp(plan->sources[i]->text, name) && cb_platform_eq(&plan->sources[i]->platform, platform))
            return plan->sources[i];
    struct cb_plan_source *s = CB_NEW(struct cb_plan_source);
    s->text = cb_strdup(name);
    cb_reference_copy(&s->ref, &ref);
    cb_platform_copy(&s->platform, platform);
    CB_GROW(plan->sources, plan->n_sources, plan->cap_sources);
    plan->sources[plan->n_sources++] = s;
    return s;
}

static int stage_platform(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    cb_autofree char *text = NULL;
    if (!st->df->from.platform) {
        cb_platform_copy(&st->platform, &p->target);
        return 0;
    }
    int r = plan_expand_global(p, st->df->from.platform, &text, err);
    if (r == 0)
        r = cb_platform_parse(&st->platform, text, err);
    if (r < 0 && err)
        err->code = CB_ECONF;
    return r < 0 ? cb_error_wrap(err, "--platform=%s", st->df->from.platform) : 0;
}

static int read_from(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    int r = stage_platform(p, st, err);
    if (r == 0)
        r = plan_expand_global(p, st->df->from.base, &st->base_text, err);
    if (r == 0 && !*st->base_text)
        r = cb_error_set(err, CB_ECONF, "the base name \"%s\" is empty: does an ARG before FROM define it?", st->df->from.base);
    if (r == 0)
        st->base_stage = find_stage(p, st->base_text, st->index, false);
    return r < 0 ? plan_error(p, st->df->from.span, err) : 0;
}

/* ---- what is reachable ---- */

static int number_of(const char *name, size_t before, uint64_t *out)
{
    return *name && cb_parse_u64(name, before ? before - 1 : 0, out) && before > 0;
}

static struct plan_stage *named_stage(struct planner *p, const char *name, size_t before)
{
    uint64_t n;
    struct plan_stage *st = find_stage(p, name, before, true);
    if (!st && number_of(name, before, &n))
        st = &p->stages[n];
    return st;
}

static int reach(struct planner *p, struct plan_stage *st, struct cb_error *err);

static int reach_from(struct planner *p, struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct plan_stage *other = i->from ? named_stage(p, i->from, st->index) : NULL;
    if (!i->from)
        return 0;
    if (other)
        return reach(p, other, err);
    if (strchr(i->from, '$'))
        return cb_error_set(err, CB_ECONF, "--from=%s: variables are not expanded here: name a stage, its number or an image", i->from);
    return add_source(p, i->from, &p->target, err) ? 0 : -CB_ECONF;
}

static int reach(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    int r = 0;
    if (st->reachable)
        return 0;
    st->reachable = true;
    if (st->base_stage) {
        r = reach(p, st->base_stage, err);
    } else if (strcmp(st->base_text, "scratch")) {
        st->source = add_source(p, st->base_text, &st->platform, err);
        if (!st->source)
            return plan_error(p, st->df->from.span, err);
    }
    for (size_t i = 0; r == 0 && i < st->df->n; i++) {
        r = reach_from(p, st, &st->df->instructions[i], err);
        if (r < 0 && !(p->failed && p->failed->first))
            return plan_error(p, st->df->instructions[i].span, err);
    }
    return r;
}

static struct plan_stage *find_target(struct planner *p, struct cb_error *err)
{
    const char *name = p->o->build->target;
    size_t n = p->df->n_stages;
    if (n == 0) {
        cb_error_set(err, CB_ECONF, "%s: no FROM: there is nothing to build", p->df->name);
        return NULL;
    }
    struct plan_stage *st = name && *name ? named_stage(p, name, n) : &p->stages[n - 1];
    if (!st)
        cb_error_set(err, CB_EUSAGE, "--target %s: %s has no such stage", name, p->df->name);
    return st;
}

/* ---- parents, all at once ---- */

struct resolve_job {
    const struct cb_plan_options *o;
    struct cb_plan_source *source;
};

static void *resolve_one(void *arg)
{
    struct resolve_job *j = arg;
    cb_step_begin(j->source->step);
    j->source->result = j->o->resolve(j->o->resolve_arg, j->source, &j->source->err);
    if (j->source->result < 0)
        cb_step_error(j->source->step, cb_error_text(&j->source->err));
    else
        cb_step_done(j->source->step);
    return NULL;
}

static int resolve_all(struct planner *p, size_t from, struct cb_error *err)
{
    size_t n = p->plan->n_sources - from;
    struct resolve_job *jobs = cb_calloc(n + 1, sizeof *jobs);
    pthread_t *threads = cb_calloc(n + 1, sizeof *threads);
    bool *started = cb_calloc(n + 1, sizeof *started);
    for (size_t i = 0; i < n; i++) {
        struct cb_plan_source *s = p->plan->sources[from + i];
        cb_autofree char *name = cb_asprintf("[internal] load metadata for %s", s->text);
        s->step = cb_step_new(p->o->progress, name);
        jobs[i] = (struct resolve_job){ p->o, s };
        started[i] = i + 1 < n && cb_thread_start(&threads[i], "resolve", resolve_one, &jobs[i], NULL) == 0;
    }
    for (size_t i = n; i-- > 0;)
        if (!started[i])
            resolve_one(&jobs[i]);
    for (size_t i = 0; i < n; i++)
        if (started[i])
            pthread_join(threads[i], NULL);
    free(started);
    free(threads);
    free(jobs);
    for (size_t i = from; i < p->plan->n_sources; i++)
        if (p->plan->sources[i]->result < 0)
            return cb_error_move(err, &p->plan->sources[i]->err);
    return 0;
}

/* The instruction that named a parent that cannot be had. */
static int blame_source(struct planner *p, struct cb_error *err)
{
    for (size_t i = 0; i < p->df->n_stages; i++)
        if (p->stages[i].source && p->stages[i].source->result < 0)
            return plan_error(p, p->df->stages[i].from.span, err);
    return err ? -(int)err->code : -CB_ENET;
}

static struct cb_vertex *source_vertex(struct planner *p, struct cb_plan_source *s)
{
    if (!s->vertex) {
        struct cb_vertex *v = plan_vertex(p, CB_VERTEX_SOURCE);
        v->source = s;
        v->note = cb_asprintf("FROM %s", s->text);
        v->name = cb_strdup(v->note);
        v->step = s->step;
        s->vertex = v;
    }
    return s->vertex;
}

/* ---- stages ---- */

static int plan_stage_now(struct planner *p, struct plan_stage *st, struct cb_error *err);

int plan_from(struct plan_stage *st, const char *name, struct cb_vertex **from, bool *scratch, struct cb_error *err)
{
    struct planner *p = st->p;
    struct plan_stage *other = named_stage(p, name, st->index);
    if (other) {
        int r = other->reachable ? 0 : reach(p, other, err);
        if (r == 0)
            r = plan_stage_now(p, other, err);
        *from = r == 0 ? other->top : NULL;
        *scratch = r == 0 && !other->top;
        return r;
    }
    size_t before = p->plan->n_sources;
    struct cb_plan_source *s = add_source(p, name, &p->target, err);
    int r = s ? resolve_all(p, before, err) : -CB_ECONF;
    if (r == 0)
        *from = source_vertex(p, s);
    return r;
}

static unsigned count_steps(const struct cb_df_instruction *v, size_t n)
{
    unsigned steps = 0;
    for (size_t i = 0; i < n; i++)
        steps += !plan_is_config(v[i].kind);
    return steps;
}

static int run_instruction(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    return plan_is_config(i->kind) ? plan_config(st, i, err) : plan_step(st, i, err);
}

/* The parent's triggers run right after FROM and are gone then. */
static int run_triggers(struct plan_stage *st, const struct cb_strvec *triggers, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < triggers->n; i++) {
        struct cb_df_instruction in = { 0 };
        r = cb_df_instruction_parse(&in, triggers->v[i], "ONBUILD", err);
        in.span = st->df->from.span;
        if (r == 0)
            r = run_instruction(st, &in, err);
        cb_df_instruction_done(&in);
        if (r < 0)
            cb_error_wrap(err, "ONBUILD %s of the parent", triggers->v[i]);
    }
    return r < 0 ? plan_error(st->p, st->df->from.span, err) : 0;
}

static void inherit_history(struct plan_stage *st)
{
    for (size_t i = 0; i < st->base_stage->n_history; i++)
        plan_history(st, st->base_stage->history[i].created_by, st->base_stage->history[i].vertex);
}

static void begin_stage(struct planner *p, struct plan_stage *st)
{
    if (st->base_stage) {
        cb_image_config_copy(&st->config, &st->base_stage->config);
        cb_strvec_copy(&st->args, &st->base_stage->args);
        st->top = st->base_stage->top;
        inherit_history(st);
    } else if (st->source) {
        cb_image_config_copy(&st->config, &st->source->image.config);
        st->top = source_vertex(p, st->source);
    } else {
        cb_platform_copy(&st->config.platform, &st->platform);
    }
    if (!cb_env_get(&st->config.env, "PATH"))
        cb_env_set(&st->config.env, "PATH", DEFAULT_PATH);
}

static int plan_stage_now(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    struct cb_strvec triggers cb_cleanup_strvec = CB_STRVEC_INIT;
    if (st->done)
        return 0;
    st->done = true;
    int r = st->base_stage ? plan_stage_now(p, st->base_stage, err) : 0;
    if (r < 0)
        return r;
    begin_stage(p, st);
    cb_strvec_copy(&triggers, &st->config.on_build);
    cb_strvec_done(&st->config.on_build);
    st->steps = 1 + count_steps(st->df->instructions, st->df->n) + (unsigned)triggers.n;
    st->step = 1;
    r = run_triggers(st, &triggers, err);
    for (size_t i = 0; r == 0 && i < st->df->n; i++) {
        r = run_instruction(st, &st->df->instructions[i], err);
        if (r < 0 && !(p->failed && p->failed->first))
            return plan_error(p, st->df->instructions[i].span, err);
    }
    return r;
}

static void take_result(struct planner *p, struct plan_stage *target)
{
    struct cb_plan *plan = p->plan;
    const struct cb_strmap *labels = p->o->build->labels;
    const struct plan_stage *bottom = target;
    while (bottom->base_stage)
        bottom = bottom->base_stage;
    plan->base = bottom->source;
    plan->goal = target->top;
    cb_image_config_copy(&plan->config, &target->config);
    for (size_t i = 0; labels && i < labels->n; i++)
        cb_strmap_set(&plan->config.labels, labels->v[i].key, labels->v[i].value);
    free(plan->config.created);
    plan->config.created = NULL;
    for (size_t i = 0; i < plan->config.n_history; i++) {
        free(plan->config.history[i].created);
        free(plan->config.history[i].created_by);
        free(plan->config.history[i].author);
        free(plan->config.history[i].comment);
    }
    plan->config.n_history = plan->config.n_diff_ids = 0;
    if (bottom->source && bottom->source->image.config.created)
        plan->config.created = cb_strdup(bottom->source->image.config.created);
    plan->history = CB_TAKE(target->history);
    plan->n_history = target->n_history;
    target->n_history = 0;
}

static int plan_all(struct planner *p, struct cb_error *err)
{
    for (size_t i = 0; i < p->df->n_stages; i++) {
        p->stages[i] = (struct plan_stage){ .p = p, .df = &p->df->stages[i], .index = i };
        int r = read_from(p, &p->stages[i], err);
        if (r < 0)
            return r;
    }
    struct plan_stage *target = find_target(p, err);
    if (!target)
        return err && err->code ? -(int)err->code : -CB_ECONF;
    int r = reach(p, target, err);
    if (r == 0 && (r = resolve_all(p, 0, err)) < 0)
        return blame_source(p, err);
    if (r == 0)
        r = plan_stage_now(p, target, err);
    if (r == 0)
        take_result(p, target);
    return r;
}

static void free_history(struct cb_plan_history *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(h[i].created_by);
    free(h);
}

static void planner_done(struct planner *p)
{
    for (size_t i = 0; i < p->df->n_stages; i++) {
        struct plan_stage *st = &p->stages[i];
        free(st->base_text);
        cb_platform_done(&st->platform);
        cb_image_config_done(&st->config);
        cb_strvec_done(&st->args);
        free_history(st->history, st->n_history);
    }
    free(p->stages);
    cb_strvec_done(&p->globals);
    cb_platform_done(&p->target);
    cb_platform_done(&p->host);
}

int cb_plan_make(const struct cb_plan_options *o, struct cb_plan *out, struct cb_df_span *failed, struct cb_error *err)
{
    struct planner p = { .o = o, .df = o->dockerfile, .plan = out, .failed = failed };
    p.stages = cb_calloc(p.df->n_stages + 1, sizeof *p.stages);
    cb_platform_host(&p.host);
    cb_platform_copy(&p.target, o->build->platform ? o->build->platform : &p.host);
    int r = plan_global_args(&p, err);
    if (r == 0)
        r = plan_all(&p, err);
    planner_done(&p);
    return r;
}

static void vertex_free(struct cb_vertex *v)
{
    free(v->name);
    free(v->note);
    cb_strvec_done(&v->run.argv);
    cb_strvec_done(&v->run.env);
    cb_strvec_done(&v->run.key_env);
    free(v->run.cwd);
    free(v->run.user);
    free(v->run.script);
    free(v->run.script_path);
    cb_strvec_done(&v->copy.sources);
    cb_strvec_done(&v->copy.file_names);
    cb_strvec_done(&v->copy.file_bodies);
    cb_strvec_done(&v->copy.exclude);
    free(v->copy.dest);
    free(v->copy.chown);
    free(v->copy.chmod);
    free(v->mkdir.path);
    free(v->mkdir.user);
    free(v);
}

void cb_plan_done(struct cb_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        vertex_free(p->vertices[i]);
    for (size_t i = 0; i < p->n_sources; i++) {
        struct cb_plan_source *s = p->sources[i];
        cb_reference_done(&s->ref);
        cb_platform_done(&s->platform);
        cb_image_done(&s->image);
        cb_error_done(&s->err);
        free(s->text);
        free(s->host);
        free(s->repo);
        free(s);
    }
    free(p->vertices);
    free(p->sources);
    cb_image_config_done(&p->config);
    free_history(p->history, p->n_history);
    *p = (struct cb_plan){ 0 };
}

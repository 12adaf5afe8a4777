/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_private.h"

#include <strings.h>

#include "build/failed.h"
#include "util/alloc.h"
#include "util/encode.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int plan_error(struct planner *p, struct cb_df_span span, struct cb_error *err)
{
    return plan_error_for(p, &p->target, span, err);
}

int plan_error_for(struct planner *p, const struct cb_platform *platform, struct cb_df_span span,
                   struct cb_error *err)
{
    int r = cb_failed(err);
    if (p->failed.first)
        return r;
    p->failed = span;
    if (p->plan->n_images > 1)
        cb_build_wrap_platform(err, platform);
    if (span.first)
        cb_error_wrap(err, "%s:%u", p->df->name, span.first);
    return r;
}

void cb_build_wrap_platform(struct cb_error *err, const struct cb_platform *platform)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&text, platform);
    cb_error_wrap(err, "%s", text.buf);
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
    if (r < 0) {
        err->code = CB_ECONF;
        return cb_error_wrap(err, "--platform=%s", st->df->from.platform);
    }
    return 0;
}

/* A named context may stand for a stage. */
static int replace_stage(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    struct plan_source_name name = { st->df->from.stage_name, &st->platform, st->df->from.span };
    struct plan_named *n = NULL;
    int r = name.text ? plan_named(p, &name, &n, err) : 0;
    if (r == 0 && n) {
        st->replaced = true;
        st->base_stage = NULL;
        plan_named_base(st, n);
    }
    return r < 0 ? plan_error(p, st->df->from.span, err) : 0;
}

static int read_from(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    int r = stage_platform(p, st, err);
    if (r == 0)
        r = plan_expand_global(p, st->df->from.base, &st->base_text, err);
    if (r == 0 && !*st->base_text)
        r = cb_error_set(err, CB_ECONF, "the base name \"%s\" is empty: does an ARG before FROM define it?",
                         st->df->from.base);
    if (r == 0)
        st->base_stage = find_stage(p, st->base_text, st->index, false);
    return r < 0 ? plan_error(p, st->df->from.span, err) : 0;
}

/* ---- what is reachable ---- */

static bool is_number(const char *name)
{
    return *name && name[strspn(name, "0123456789")] == '\0';
}

/* A stage before index `before`, by name or number. */
static struct plan_stage *named_stage(struct planner *p, const char *name, size_t before)
{
    uint64_t n;
    struct plan_stage *st = find_stage(p, name, before, true);
    if (!st && before > 0 && cb_parse_u64(name, before - 1, &n))
        st = &p->stages[n];
    return st;
}

/* The stage that --from names, or NULL for an image. What can only be meant for a stage is no image. */
static int stage_of(struct plan_stage *st, const char *name, struct plan_stage **out, struct cb_error *err)
{
    struct planner *p = st->p;
    *out = named_stage(p, name, st->index);
    if (*out)
        return 0;
    if (is_number(name))
        return cb_error_set(err, CB_ECONF, "--from=%s: this is stage %zu: only earlier ones can be copied from", name,
                            st->index);
    if (find_stage(p, name, p->df->n_stages, true))
        return cb_error_set(err, CB_ECONF, "--from=%s: only a stage that stands before this one can be copied from",
                            name);
    return 0;
}

static int reach(struct planner *p, struct plan_stage *st, struct cb_error *err);

static size_t instructions(const struct plan_stage *st)
{
    return st->replaced ? 0 : st->df->n;
}

static int reach_from(struct planner *p, struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct plan_stage *other = NULL;
    struct plan_source_name name = { i->from, &p->target, i->span };
    if (!i->from)
        return 0;
    int r = stage_of(st, i->from, &other, err);
    if (r < 0)
        return r;
    if (other)
        return reach(p, other, err);
    if (!strcmp(i->from, "scratch"))
        return 0;
    struct plan_named *named = NULL;
    r = plan_named(p, &name, &named, err);
    if (r < 0 || named)
        return r;
    return plan_source(p, &name, err) ? 0 : cb_failed(err);
}

static int reach_mounts(struct planner *p, struct plan_stage *st, const struct cb_df_instruction *i,
                        struct cb_error *err)
{
    int r = 0;
    for (size_t k = 0; r == 0 && k < i->n_mounts; k++) {
        struct cb_df_instruction named = { .from = i->mounts[k].from, .span = i->span };
        if (named.from && strcmp(named.from, "scratch"))
            r = reach_from(p, st, &named, err);
    }
    return r;
}

static int reach_base(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    struct plan_source_name name = { st->base_text, &st->platform, st->df->from.span };
    struct plan_named *named = NULL;
    if (st->base_stage)
        return reach(p, st->base_stage, err);
    if (st->replaced || !strcmp(st->base_text, "scratch"))
        return 0;
    if (plan_named(p, &name, &named, err) < 0)
        return plan_error(p, st->df->from.span, err);
    if (named) {
        plan_named_base(st, named);
        return 0;
    }
    st->source = plan_source(p, &name, err);
    return st->source ? 0 : plan_error(p, st->df->from.span, err);
}

/* Its parent's layers will be unpacked, unless a cache knows what it makes. */
static void note_run(struct plan_stage *st)
{
    while (st->base_stage)
        st = st->base_stage;
    if (st->source)
        st->source->runs = true;
}

static int reach(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    if (st->reachable)
        return 0;
    st->reachable = true;
    int r = replace_stage(p, st, err);
    if (r == 0)
        r = reach_base(p, st, err);
    for (size_t i = 0; r == 0 && i < instructions(st); i++) {
        r = reach_from(p, st, &st->df->instructions[i], err);
        if (r == 0)
            r = reach_mounts(p, st, &st->df->instructions[i], err);
        if (r < 0)
            return plan_error(p, st->df->instructions[i].span, err);
        if (st->df->instructions[i].kind == CB_DF_RUN)
            note_run(st);
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

/* ---- stages ---- */

/* A stage that only a trigger of a parent names is not reached before that parent is known. */
static int plan_other(struct planner *p, struct plan_stage *other, struct cb_error *err)
{
    size_t before = p->plan->n_sources;
    int r = other->reachable ? 0 : reach(p, other, err);
    if (r == 0)
        r = plan_resolve(p, before, err);
    return r < 0 ? r : plan_stage_now(p, other, err);
}

int plan_copy_named(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_plan_local **local,
                    struct cb_error *err)
{
    struct plan_source_name name = { i->from, &st->p->target, i->span };
    struct plan_stage *other = NULL;
    struct plan_named *named = NULL;
    int r = stage_of(st, i->from, &other, err);
    if (r == 0 && !other)
        r = plan_named(st->p, &name, &named, err);
    *local = named ? named->local : NULL;
    return r;
}

int plan_from(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_vertex **from, bool *scratch,
              struct cb_error *err)
{
    struct planner *p = st->p;
    struct plan_stage *other = NULL;
    struct plan_source_name name = { i->from, &p->target, i->span };
    size_t before = p->plan->n_sources;
    int r = stage_of(st, i->from, &other, err);
    if (r == 0 && other)
        r = plan_other(p, other, err);
    if (r < 0)
        return r;
    if (other) {
        *from = other->top;
        *scratch = !other->top;
        return 0;
    }
    *scratch = !strcmp(i->from, "scratch");
    if (*scratch)
        return 0;
    struct plan_named *named = NULL;
    r = plan_named(p, &name, &named, err);
    if (r == 0 && named && !named->source) {
        *from = named->local ? plan_local_vertex(p, named->local) : named->vertex;
        *scratch = !*from;
    }
    if (r < 0 || (named && !named->source))
        return r;
    struct cb_plan_source *s = named ? named->source : plan_source(p, &name, err);
    r = s ? plan_resolve(p, before, err) : cb_failed(err);
    if (r == 0)
        *from = plan_source_vertex(p, s);
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
    int r = plan_is_config(i->kind) ? plan_config(st, i, err) : plan_step(st, i, err);
    return r < 0 ? plan_error(st->p, i->span, err) : 0;
}

/* ---- ONBUILD: the parent's triggers run right after FROM and are gone then ---- */

struct triggers {
    struct cb_df_instruction *v;
    char **shown; /* "ONBUILD of IMAGE: RUN make" */
    size_t n;
};

static void triggers_done(struct triggers *t)
{
    for (size_t i = 0; i < t->n; i++) {
        cb_df_instruction_done(&t->v[i]);
        free(t->shown[i]);
    }
    free(t->v);
    free(t->shown);
}

static int trigger_error(struct plan_stage *st, const char *shown, struct cb_error *err)
{
    free(st->p->plan->failed_trigger);
    st->p->plan->failed_trigger = cb_strdup(shown);
    return plan_error(st->p, st->df->from.span, err);
}

static int take_triggers(struct plan_stage *st, struct triggers *t, struct cb_error *err)
{
    struct cb_strvec text = st->config.on_build;
    int r = 0;
    st->config.on_build = (struct cb_strvec)CB_STRVEC_INIT;
    t->v = cb_calloc(text.n + 1, sizeof *t->v);
    t->shown = cb_calloc(text.n + 1, sizeof *t->shown);
    for (; r == 0 && t->n < text.n; t->n++) {
        r = cb_df_instruction_parse(&t->v[t->n], text.v[t->n], "ONBUILD of the parent", err);
        t->v[t->n].span = st->df->from.span;
        t->shown[t->n] = cb_asprintf("ONBUILD of %s: %s", st->base_text, text.v[t->n]);
    }
    cb_strvec_done(&text);
    return r < 0 ? trigger_error(st, t->shown[t->n - 1], err) : 0;
}

static int run_triggers(struct plan_stage *st, const struct triggers *t, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        const struct cb_df_instruction *in = &t->v[i];
        st->trigger = t->shown[i];
        r = plan_is_config(in->kind) ? plan_config(st, in, err) : plan_step(st, in, err);
        st->trigger = NULL;
        if (r < 0) {
            cb_error_wrap(err, "ONBUILD %s of the parent", in->original);
            r = trigger_error(st, t->shown[i], err);
        }
    }
    return r;
}

/* ---- the instructions of a stage ---- */

void plan_set_path(struct cb_strvec *env)
{
    if (!cb_env_get(env, "PATH"))
        cb_env_set(env, "PATH", DEFAULT_PATH);
}

static void begin_stage(struct planner *p, struct plan_stage *st)
{
    if (st->base_stage) {
        cb_image_config_copy(&st->config, &st->base_stage->config);
        cb_strvec_copy(&st->args, &st->base_stage->args);
        cb_strvec_copy(&st->declared, &st->base_stage->declared);
        st->top = st->base_stage->top;
    } else if (st->source) {
        cb_image_config_copy(&st->config, &st->source->image.config);
        st->top = plan_source_vertex(p, st->source);
    } else {
        st->top = st->base_vertex;
        if (st->top)
            plan_history(st, st->top->note, st->top);
        cb_platform_copy(&st->config.platform, &st->platform);
    }
    plan_set_path(&st->config.env);
}

int plan_stage_now(struct planner *p, struct plan_stage *st, struct cb_error *err)
{
    struct triggers t = { 0 };
    if (st->done)
        return 0;
    st->done = true;
    int r = st->base_stage ? plan_stage_now(p, st->base_stage, err) : 0;
    if (r < 0)
        return r;
    begin_stage(p, st);
    r = take_triggers(st, &t, err);
    st->steps = 1 + count_steps(t.v, t.n) + count_steps(st->df->instructions, instructions(st));
    st->step = 1;
    if (r == 0)
        r = run_triggers(st, &t, err);
    for (size_t i = 0; r == 0 && i < instructions(st); i++)
        r = run_instruction(st, &st->df->instructions[i], err);
    triggers_done(&t);
    return r;
}

/* ---- what is to be planned ---- */

int plan_begin(struct planner *p, struct cb_error *err)
{
    int r = plan_global_args(p, err);
    for (size_t i = 0; r == 0 && i < p->df->n_stages; i++) {
        p->stages[i] = (struct plan_stage){ .p = p, .df = &p->df->stages[i], .index = i };
        r = read_from(p, &p->stages[i], err);
    }
    if (r < 0)
        return r;
    p->goal = find_target(p, err);
    if (!p->goal)
        return cb_failed(err);
    r = plan_no_cache(p, err);
    if (r == 0)
        r = reach(p, p->goal, err);
    if (r == 0)
        r = plan_scanner(p, err);
    for (size_t i = 0; r == 0 && p->o->parents_only && !p->o->build->target && i < p->df->n_stages; i++)
        r = reach(p, &p->stages[i], err);
    return r;
}

void plan_history_free(struct cb_plan_history *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(h[i].created_by);
    free(h);
}

static void vertex_free(struct cb_vertex *v)
{
    free(v->name);
    free(v->note);
    free(v->stage);
    free(v->trigger);
    cb_platform_done(&v->platform);
    cb_strvec_done(&v->run.argv);
    cb_strvec_done(&v->run.env);
    cb_strvec_done(&v->run.key_env);
    cb_strvec_done(&v->run.arg_names);
    free(v->run.cwd);
    free(v->run.user);
    free(v->run.script);
    free(v->run.script_path);
    for (size_t i = 0; i < v->run.n_mounts; i++)
        plan_mount_done(&v->run.mounts[i]);
    free(v->run.mounts);
    free(v->inputs);
    cb_strvec_done(&v->run.devices);
    free(v->run.interpreter);
    cb_strvec_done(&v->copy.sources);
    cb_strvec_done(&v->copy.file_names);
    cb_strvec_done(&v->copy.file_bodies);
    cb_strvec_done(&v->copy.exclude);
    cb_strvec_done(&v->copy.below);
    free(v->copy.dest);
    free(v->copy.chown);
    free(v->copy.chmod);
    free(v->mkdir.path);
    free(v->mkdir.user);
    cb_remote_op_done(&v->remote);
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
        cb_layout_ref_free(s->layout);
        free(s);
    }
    for (size_t i = 0; i < p->n_locals; i++)
        cb_plan_local_free(p->locals[i]);
    free(p->locals);
    free(p->vertices);
    free(p->sources);
    free(p->parents);
    for (size_t i = 0; i < p->n_images; i++) {
        cb_platform_done(&p->images[i].platform);
        cb_image_config_done(&p->images[i].config);
        plan_history_free(p->images[i].history, p->images[i].n_history);
    }
    free(p->images);
    free(p->failed_trigger);
    *p = (struct cb_plan){ 0 };
}

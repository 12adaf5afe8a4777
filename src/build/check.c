/* SPDX-License-Identifier: Apache-2.0 */
#include "build/check.h"

#include "util/alloc.h"

static bool reference_ok(const char *name)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    return cb_reference_parse(&ref, name, NULL) == 0;
}

static bool platform(const char *text, char **os, char **arch)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    if (cb_platform_parse(&p, text, NULL) < 0)
        return false;
    *os = CB_TAKE(p.os);
    *arch = CB_TAKE(p.arch);
    return true;
}

static char *platform_text(const struct cb_platform *given)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_platform_copy(&p, given);
    cb_platform_normalize(&p);
    cb_strbuf_add_platform(&sb, &p);
    return cb_strbuf_detach(&sb, NULL);
}

/* ---- parents ---- */

struct parents {
    const struct cb_plan *plan;
    struct cb_df_parent *v;            /* one a stage */
    char *build, *target;              /* platforms */
};

/* As BuildKit: only system and architecture, and an image without a layer fits everywhere. */
static bool is_foreign(const struct cb_plan_source *s)
{
    const struct cb_platform *is = &s->image.config.platform;
    return is->os && is->arch && s->image.manifest.n_layers > 0 &&
           (strcmp(is->os, s->platform.os) != 0 || strcmp(is->arch, s->platform.arch) != 0);
}

static const struct cb_df_parent *parent(void *arg, size_t stage)
{
    struct parents *p = arg;
    const struct cb_plan_source *s = p->plan && stage < p->plan->n_parents ? p->plan->parents[stage] : NULL;
    struct cb_df_parent *out = &p->v[stage];
    if (!s || s->result < 0)
        return NULL;
    if (!out->env)
        *out = (struct cb_df_parent){
            .env = &s->image.config.env, .on_build = &s->image.config.on_build,
            .has_shell = s->image.config.shell.args.n > 0, .foreign = is_foreign(s),
            .wanted = platform_text(&s->platform), .is = platform_text(&s->image.config.platform),
        };
    return out;
}

static void done(struct parents *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(p->v[i].wanted);
        free(p->v[i].is);
    }
    free(p->v);
    free(p->build);
    free(p->target);
}

static void prepare(struct parents *p, const struct cb_check *c, struct cb_df_lint_options *lo)
{
    const struct cb_build_options *o = c->o;
    struct cb_platform host cb_cleanup_platform = { 0 };
    cb_platform_host(&host);
    p->plan = c->plan;
    p->v = cb_calloc(c->dockerfile->n_stages + 1, sizeof *p->v);
    p->build = platform_text(&host);
    p->target = platform_text(o->n_platforms ? &o->platforms[0] : &host);
    *lo = (struct cb_df_lint_options){
        .check = o->build_args ? cb_env_get(o->build_args, "BUILDKIT_DOCKERFILE_CHECK") : NULL,
        .skip = o->check_skip, .experimental = o->check_experimental, .report_only = o->check_report_only,
        .build_args = o->build_args, .target = o->target, .all_stages = o->check_all && !(o->target && *o->target),
        .build_platform = p->build, .target_platform = p->target, .ignore = c->ignore, .reference_ok = reference_ok,
        .platform = platform, .parent = parent, .arg = p,
    };
}

static void tell(const struct cb_check *c)
{
    const struct cb_dockerfile *d = c->dockerfile;
    if (!c->progress || d->n_warnings == 0)
        return;
    cb_autofree char *name = cb_asprintf("[internal] load build definition from %s", d->name);
    struct cb_step *step = cb_step_new(c->progress, name);
    cb_step_begin(step);
    for (size_t i = 0; i < d->n_warnings; i++) {
        cb_autofree char *text = cb_df_warning_text(&d->warnings[i]);
        cb_step_warn(step, "%s", text);
    }
    cb_step_done(step);
}

int cb_check_lint(const struct cb_check *c, struct cb_error *err)
{
    struct parents p;
    struct cb_df_lint_options lo;
    prepare(&p, c, &lo);
    int r = cb_df_lint(c->dockerfile, &lo, err);
    done(&p, c->dockerfile->n_stages);
    tell(c);
    return r;
}

int cb_check_outline(const struct cb_check *c, struct cb_df_outline *out, struct cb_error *err)
{
    struct parents p;
    struct cb_df_lint_options lo;
    prepare(&p, c, &lo);
    int r = cb_df_outline(out, c->dockerfile, &lo, err);
    done(&p, c->dockerfile->n_stages);
    return r;
}

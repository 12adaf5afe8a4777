/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as a whole: a planner for each platform, all on one graph. */
#include "build/plan_private.h"
#include "util/alloc.h"

/* ---- the result ---- */

/* That of the stages below it first. */
static void take_history(struct cb_plan_image *image, struct plan_stage *st)
{
    struct plan_stage **chain = NULL;
    size_t n = 0, cap = 0;
    for (; st; st = st->base_stage) {
        CB_GROW(chain, n, cap);
        chain[n++] = st;
    }
    while (n-- > 0)
        for (size_t i = 0; i < chain[n]->n_history; i++) {
            CB_GROW(image->history, image->n_history, image->cap_history);
            image->history[image->n_history++] = chain[n]->history[i];
            chain[n]->history[i] = (struct cb_plan_history){ 0 };
        }
    free(chain);
}

static void forget_parent(struct cb_image_config *c)
{
    for (size_t i = 0; i < c->n_history; i++) {
        free(c->history[i].created);
        free(c->history[i].created_by);
        free(c->history[i].author);
        free(c->history[i].comment);
    }
    c->n_history = c->n_diff_ids = 0;
    free(c->created);
    c->created = NULL;
}

/* --env, --unsetenv, --unsetlabel: of the image only, as Buildah has them. */
static void change_image(struct cb_image_config *c, const struct cb_build_options *o)
{
    for (size_t i = 0; o->unset_labels && i < o->unset_labels->n; i++)
        (void)cb_strmap_remove(&c->labels, o->unset_labels->v[i]);
    for (size_t i = 0; o->env && i < o->env->n; i++) {
        const char *eq = strchrnul(o->env->v[i], '=');
        cb_autofree char *key = cb_strndup(o->env->v[i], (size_t)(eq - o->env->v[i]));
        cb_env_set(&c->env, key, *eq ? eq + 1 : "");
    }
    for (size_t i = 0; o->unset_env && i < o->unset_env->n; i++)
        cb_env_remove(&c->env, o->unset_env->v[i]);
}

static void set_text(char **to, const char *from)
{
    free(*to);
    *to = cb_strdup_or_null(from);
}

/* The image is for the platform that was named, whatever its parent is for: what an index says of it has to be what it
 * says of itself. What a name leaves open stays the parent's. */
static void name_platform(struct cb_platform *is, const struct cb_platform *named)
{
    bool same = cb_streq(is->os, named->os) && cb_streq(is->arch, named->arch);
    set_text(&is->os, named->os);
    set_text(&is->arch, named->arch);
    if (named->variant || !same)
        set_text(&is->variant, named->variant);
    if (named->os_version || !same)
        set_text(&is->os_version, named->os_version);
}

static void take_result(struct planner *p)
{
    struct cb_plan_image *image = &p->plan->images[p->index];
    const struct cb_strmap *labels = p->o->build->labels;
    const struct plan_stage *bottom = p->goal;
    while (bottom->base_stage)
        bottom = bottom->base_stage;
    image->base = bottom->source;
    image->goal = p->goal->top;
    cb_image_config_copy(&image->config, &p->goal->config);
    forget_parent(&image->config);
    change_image(&image->config, p->o->build);
    if (p->o->build->n_platforms)
        name_platform(&image->config.platform, &p->target);
    for (size_t i = 0; labels && i < labels->n; i++)
        cb_strmap_set(&image->config.labels, labels->v[i].key, labels->v[i].value);
    if (bottom->source)
        image->config.created = cb_strdup_or_null(bottom->source->image.config.created);
    take_history(image, p->goal);
}

/* ---- planners ---- */

static void planner_open(struct planner *p, const struct cb_plan_options *o, struct cb_plan *plan, size_t index)
{
    const struct cb_build_options *b = o->build;
    *p = (struct planner){ .o = o, .df = o->dockerfile, .plan = plan, .index = index };
    p->stages = cb_calloc(p->df->n_stages + 1, sizeof *p->stages);
    cb_platform_host(&p->host);
    cb_platform_copy(&p->target, b->n_platforms ? &b->platforms[index] : &p->host);
    cb_platform_copy(&plan->images[index].platform, &p->target);
}

static void planner_done(struct planner *p)
{
    for (size_t i = 0; i < p->df->n_stages; i++) {
        struct plan_stage *st = &p->stages[i];
        free(st->base_text);
        cb_platform_done(&st->platform);
        cb_image_config_done(&st->config);
        cb_strvec_done(&st->args);
        cb_strvec_done(&st->declared);
        plan_history_free(st->history, st->n_history);
    }
    free(p->stages);
    plan_named_done(p);
    cb_strvec_done(&p->globals);
    cb_platform_done(&p->target);
    cb_platform_done(&p->host);
}

/* What all platforms need of registries is asked for at once. */
static int plan_all(struct planner *v, size_t n, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = plan_begin(&v[i], err);
    if (r == 0)
        r = plan_resolve(&v[0], 0, err);
    for (size_t i = 0; !v[0].o->parents_only && r == 0 && i < n; i++) {
        r = plan_stage_now(&v[i], v[i].goal, err);
        if (r == 0)
            take_result(&v[i]);
        if (r == 0)
            r = plan_scan(&v[i], err);
    }
    return r;
}

/* They stay when the stages go. */
static void keep_parents(const struct planner *p)
{
    p->plan->parents = cb_calloc(p->df->n_stages + 1, sizeof(struct cb_plan_source *));
    p->plan->n_parents = p->df->n_stages;
    for (size_t i = 0; i < p->df->n_stages; i++)
        p->plan->parents[i] = p->stages[i].source;
}

int cb_plan_make(const struct cb_plan_options *o, struct cb_plan *out, struct cb_df_span *failed,
                 struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    size_t n = o->build->n_platforms ? o->build->n_platforms : 1;
    cb_autofree struct planner *v = cb_calloc(n, sizeof *v);
    out->images = cb_calloc(n, sizeof *out->images);
    out->n_images = n;
    for (size_t i = 0; i < n; i++)
        planner_open(&v[i], o, out, i);
    int r = plan_all(v, n, &e);
    keep_parents(&v[0]);
    for (size_t i = 0; i < n; i++) {
        if (failed && v[i].failed.first)
            *failed = v[i].failed;
        planner_done(&v[i]);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

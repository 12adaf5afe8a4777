/* SPDX-License-Identifier: Apache-2.0 */
/* FROM: its arguments, its platform, its parent, and what a target needs of the other stages. */
#include "dockerfile/lint_private.h"

#include <strings.h>

#include "util/alloc.h"
#include "util/encode.h"

/* Base images must stay valid when no --build-arg is given. */
void cb_df_lint_defaults(struct cb_df_lint *l)
{
    cb_cleanup_strvec struct cb_strvec env = CB_STRVEC_INIT;
    cb_df_lint_platform_args(l, &env);
    if (!cb_df_lint_meta_args(l, false, &env, NULL))
        return;
    for (size_t i = 0; i < l->d->n_stages; i++) {
        CB_CLEANUP(cb_df_lint_expansion_done) struct cb_df_lint_expansion e = { 0 };
        const struct cb_df_instruction *from = &l->d->stages[i].from;
        cb_df_lint_expand(&e, l, &env, from->base, false);
        if (!e.text)
            return;
        if (!l->o->reference_ok(e.text))
            cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_INVALID_DEFAULT_ARG_IN_FROM,
                            "Default value for ARG %s results in empty or invalid base image name", from->base);
    }
}

static bool is_declared(const struct cb_df_lint *l, const char *name)
{
    for (size_t i = 0; i < l->global_args.n; i++)
        if (strcmp(l->global_args.v[i].param.name, name) == 0)
            return true;
    return false;
}

static char *nearest_declared(const struct cb_df_lint *l, const char *name)
{
    cb_cleanup_strvec struct cb_strvec names = CB_STRVEC_INIT;
    for (size_t i = 0; i < l->global_args.n; i++)
        cb_strvec_push(&names, l->global_args.v[i].param.name);
    for (size_t i = 0; i < l->globals.n; i++)
        cb_strvec_push(&names, l->globals.v[i]);
    return cb_df_lint_nearest(name, &names);
}

static void lint_undeclared(struct cb_df_lint *l, const struct cb_df_instruction *from,
                            const struct cb_df_lint_expansion *e)
{
    for (size_t i = 0; i < e->unmatched.n; i++) {
        const char *name = e->unmatched.v[i];
        if (is_declared(l, name))
            continue;
        cb_autofree char *best = nearest_declared(l, name);
        cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_UNDEFINED_ARG_IN_FROM,
                        "FROM argument '%s' is not declared%s%s%s", name, best ? " (did you mean " : "",
                        best ? best : "", best ? "?)" : "");
    }
}

static void lint_redundant(struct cb_df_lint *l, const struct cb_df_instruction *from,
                           const struct cb_df_lint_expansion *e)
{
    const char *target = cb_env_get(&l->globals, "TARGETPLATFORM");
    if (e->matched.n != 1 || e->unmatched.n > 0 || strcmp(e->matched.v[0], "TARGETPLATFORM") != 0 || !e->text ||
        !target || strcmp(e->text, target) != 0)
        return;
    cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_REDUNDANT_TARGET_PLATFORM,
                    "Setting platform to predefined %s in FROM is redundant as this is the default behavior",
                    from->platform);
}

/* A stage whose name tells its platform is meant to have that one. */
static void lint_constant(struct cb_df_lint *l, const struct cb_df_instruction *from,
                          const struct cb_df_lint_expansion *e)
{
    cb_autofree char *os = NULL, *arch = NULL;
    const char *name = from->stage_name ? from->stage_name : "";
    if (e->matched.n > 0 || e->unmatched.n > 0 || !e->text || !l->o->platform(e->text, &os, &arch) ||
        strstr(name, os) || strstr(name, arch))
        return;
    cb_autofree char *shown = cb_df_lint_quoted(e->text);
    cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_FROM_PLATFORM_FLAG_CONST_DISALLOWED,
                    "FROM --platform flag should not use constant value %s", shown);
}

static void take_used(struct cb_df_lint_stage *st, const struct cb_df_lint_expansion *e)
{
    for (size_t i = 0; i < e->matched.n; i++)
        cb_strvec_push(&st->used, e->matched.v[i]);
}

static struct cb_df_lint_stage *find_stage(struct cb_df_lint *l, const char *name, size_t n, bool ignore_case)
{
    for (size_t i = n; i-- > 0;) {
        const char *have = l->d->stages[i].from.stage_name;
        if (have && (ignore_case ? strcasecmp(have, name) : strcmp(have, name)) == 0)
            return &l->stages[i];
    }
    return NULL;
}

static void lint_parent(struct cb_df_lint *l, struct cb_df_lint_stage *st, const char *name)
{
    st->base = find_stage(l, name, st->index, false);
    st->known = st->base || strcmp(name, "scratch") == 0;
    if (st->known)
        return;
    st->parent = l->o->parent ? l->o->parent(l->o->arg, st->index) : NULL;
    if (!st->parent || !st->parent->foreign)
        return;
    cb_autofree char *is = cb_df_lint_quoted(st->parent->is), *wanted = cb_df_lint_quoted(st->parent->wanted);
    cb_df_lint_warn(l, CB_DF_LINT_AT(&st->df->from), CB_DF_INVALID_BASE_IMAGE_PLATFORM,
                    "Base image %s was pulled with platform %s, expected %s for current build", name, is, wanted);
}

void cb_df_lint_from(struct cb_df_lint *l, struct cb_df_lint_stage *st)
{
    CB_CLEANUP(cb_df_lint_expansion_done) struct cb_df_lint_expansion base = { 0 }, platform = { 0 };
    const struct cb_df_instruction *from = &st->df->from;
    cb_df_lint_expand(&base, l, &l->globals, from->base, false);
    lint_undeclared(l, from, &base);
    take_used(st, &base);
    if (from->platform) {
        cb_df_lint_expand(&platform, l, &l->globals, from->platform, false);
        lint_undeclared(l, from, &platform);
        lint_redundant(l, from, &platform);
        lint_constant(l, from, &platform);
        take_used(st, &platform);
    }
    lint_parent(l, st, base.text ? base.text : "");
}

/* ---- what the target needs ---- */

static struct cb_df_lint_stage *named_stage(struct cb_df_lint *l, const char *name, size_t n)
{
    uint64_t index;
    struct cb_df_lint_stage *st = find_stage(l, name, n, true);
    if (!st && n > 0 && cb_parse_u64(name, n - 1, &index))
        st = &l->stages[index];
    return st;
}

static void reach(struct cb_df_lint *l, struct cb_df_lint_stage *st);

static void reach_other(struct cb_df_lint *l, struct cb_df_lint_stage *other)
{
    if (other)
        reach(l, other);
}

static void reach(struct cb_df_lint *l, struct cb_df_lint_stage *st)
{
    if (st->reachable)
        return;
    st->reachable = true;
    if (st->base)
        reach(l, st->base);
    for (size_t i = 0; i < st->df->n; i++) {
        const struct cb_df_instruction *in = &st->df->instructions[i];
        if (in->from)
            reach_other(l, named_stage(l, in->from, st->index));
        /* A mount knows no numbers. */
        for (size_t k = 0; k < in->n_mounts; k++)
            if (in->mounts[k].from)
                reach_other(l, find_stage(l, in->mounts[k].from, st->index, true));
    }
}

bool cb_df_lint_link(struct cb_df_lint *l, struct cb_df_lint_stage **target)
{
    const char *name = l->o->target;
    size_t n = l->d->n_stages;
    *target = name && *name ? named_stage(l, name, n) : n ? &l->stages[n - 1] : NULL;
    if (*target)
        reach(l, *target);
    return *target != NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The walk through a stage: what it begins with, the triggers of its parent, its own instructions. */
#include "dockerfile/lint_private.h"

#include "util/alloc.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void begin(struct cb_df_lint_stage *st)
{
    const struct cb_df_lint_stage *b = st->base;
    const struct cb_df_parent *p = st->parent;
    if (b) {
        cb_strvec_copy(&st->env, &b->env);
        cb_strvec_copy(&st->declared, &b->declared);
        st->workdir_set = b->workdir_set;
        st->has_shell = b->has_shell;
        st->known = b->known;
    } else if (p) {
        cb_strvec_copy(&st->env, p->env);
        st->has_shell = p->has_shell;
        st->known = true;
    }
    if (!cb_env_get(&st->env, "PATH"))
        cb_env_set(&st->env, "PATH", DEFAULT_PATH);
}

static void trigger(struct cb_df_lint *l, struct cb_df_lint_stage *st, const char *text)
{
    CB_CLEANUP(cb_df_instruction_done) struct cb_df_instruction i = { 0 };
    if (cb_df_instruction_parse(&i, text, "ONBUILD", NULL) < 0)
        return;
    cb_df_lint_instruction(l, st, (struct cb_df_lint_at){ &i, st->df->from.span });
}

static void triggers(struct cb_df_lint *l, struct cb_df_lint_stage *st)
{
    const struct cb_df_stage *base = st->base ? st->base->df : NULL;
    for (size_t k = 0; base && k < base->n; k++)
        if (base->instructions[k].onbuild)
            cb_df_lint_instruction(l, st, (struct cb_df_lint_at){ base->instructions[k].onbuild, st->df->from.span });
    for (size_t k = 0; st->parent && k < st->parent->on_build->n; k++)
        trigger(l, st, st->parent->on_build->v[k]);
}

void cb_df_lint_stage(struct cb_df_lint *l, struct cb_df_lint_stage *st)
{
    begin(st);
    if (st->reachable)
        triggers(l, st);
    for (size_t k = 0; k < st->df->n; k++)
        cb_df_lint_instruction(l, st, CB_DF_LINT_AT(&st->df->instructions[k]));
}

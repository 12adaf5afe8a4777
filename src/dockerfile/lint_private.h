/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the checks share: lint.c (order, options), lint_file.c (rules that see lines and names only),
 * lint_from.c (FROM), lint_stage.c and lint_vars.c (the walk through a stage with its variables), outline.c. */

#include "dockerfile/internal.h"

struct cb_df_lint_arg {        /* an ARG as the outline shows it */
    struct cb_df_param param;
    struct cb_strvec deps;     /* names in its default */
};
struct cb_df_lint_args {
    struct cb_df_lint_arg *v;
    size_t n, cap;
};

struct cb_df_lint_stage {
    const struct cb_df_stage *df;
    size_t index;
    struct cb_df_lint_stage *base; /* or NULL: an image, or scratch */
    const struct cb_df_parent *parent;
    bool reachable, known;     /* known: nothing can be in env that is not there */
    bool workdir_set, has_shell;
    struct cb_strvec env;      /* "K=V", ARGs with a value too */
    struct cb_strvec declared; /* names of ARGs */
    struct cb_strvec used;     /* names of ARGs that FROM and ARG name */
    struct cb_df_lint_args args;
    struct cb_df_params secrets, ssh, caches;
    struct cb_df_span last[CB_DF_ONBUILD + 1]; /* of a kind, in this stage; first 0: there is none */
};

struct cb_df_lint {
    const struct cb_dockerfile *d;
    const struct cb_df_lint_options *o;
    struct cb_df_check check;
    struct cb_df_warnings warnings;
    bool violated[CB_DF_N_RULES];
    struct cb_strvec globals;  /* "K=V": platform arguments and ARGs before the first FROM */
    struct cb_strvec global_names; /* those without a value too */
    struct cb_df_lint_args global_args;
    struct cb_df_lint_stage *stages;
};

/* Where a rule looks: an instruction; the span is that of FROM where it is a trigger of a parent. */
struct cb_df_lint_at {
    const struct cb_df_instruction *i;
    struct cb_df_span span;
};
#define CB_DF_LINT_AT(i) ((struct cb_df_lint_at){ (i), (i)->span })
void cb_df_lint_warn(struct cb_df_lint *l, struct cb_df_lint_at at, enum cb_df_rule_id rule, const char *fmt, ...)
    CB_PRINTF(4, 5);
/* An instruction's keyword as it is written. */
struct cb_slice cb_df_lint_keyword(const struct cb_df_instruction *i);
/* s in Go's quotes, to be freed. */
char *cb_df_lint_quoted(const char *s);

/* --- lint_vars.c --- */
/* The nearest of the keys of env ("K=V") at less than three slips, as BuildKit finds it; NULL: none. To be freed. */
char *cb_df_lint_nearest(const char *name, const struct cb_strvec *env);
struct cb_df_lint_expansion {
    char *text;                /* NULL: it could not be expanded */
    struct cb_strvec matched, unmatched;
};
void cb_df_lint_expansion_done(struct cb_df_lint_expansion *e);
/* raw: as cb_df_expand_raw. */
void cb_df_lint_expand(struct cb_df_lint_expansion *e, const struct cb_df_lint *l, const struct cb_strvec *env,
                       const char *text, bool raw);
void cb_df_lint_platform_args(struct cb_df_lint *l, struct cb_strvec *env);
/* ARGs before the first FROM into env. with: their --build-arg. args: may be NULL. False: one cannot be expanded. */
bool cb_df_lint_meta_args(const struct cb_df_lint *l, bool with, struct cb_strvec *env, struct cb_df_lint_args *args);
const char *cb_df_lint_build_arg(const struct cb_df_lint *l, const char *name);
void cb_df_lint_arg_add(struct cb_df_lint_args *args, const struct cb_df_instruction *i, const char *name,
                        const char *value);

/* --- lint_file.c, lint_from.c, lint_stage.c, lint_instr.c --- */
void cb_df_lint_file(struct cb_df_lint *l);
void cb_df_lint_defaults(struct cb_df_lint *l);
void cb_df_lint_from(struct cb_df_lint *l, struct cb_df_lint_stage *st);
/* Finds bases and marks what the target needs. False: there is no such target. */
bool cb_df_lint_link(struct cb_df_lint *l, struct cb_df_lint_stage **target);
void cb_df_lint_stage(struct cb_df_lint *l, struct cb_df_lint_stage *st);
void cb_df_lint_instruction(struct cb_df_lint *l, struct cb_df_lint_stage *st, struct cb_df_lint_at at);

/* --- lint.c --- */
/* Everything; for the outline, too. -CB_ECONF: the options of the check are malformed. */
int cb_df_lint_run(struct cb_df_lint *l, struct cb_df_lint_stage **target, struct cb_error *err) CB_WUR;
void cb_df_lint_done(struct cb_df_lint *l);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Checks of a parsed Dockerfile: the rules of BuildKit's linter, under its names, with its messages and its lines. Part
 * of dockerfile.h. Pure: what stands outside of the text (parents, .dockerignore) is passed in. */

struct cb_dockerfile;
struct cb_df_ignore;

enum cb_df_rule_id {
    CB_DF_STAGE_NAME_CASING, CB_DF_FROM_AS_CASING, CB_DF_NO_EMPTY_CONTINUATION, CB_DF_CONSISTENT_INSTRUCTION_CASING,
    CB_DF_DUPLICATE_STAGE_NAME, CB_DF_RESERVED_STAGE_NAME, CB_DF_JSON_ARGS_RECOMMENDED, CB_DF_MAINTAINER_DEPRECATED,
    CB_DF_UNDEFINED_ARG_IN_FROM, CB_DF_WORKDIR_RELATIVE_PATH, CB_DF_UNDEFINED_VAR,
    CB_DF_MULTIPLE_INSTRUCTIONS_DISALLOWED, CB_DF_LEGACY_KEY_VALUE_FORMAT, CB_DF_INVALID_BASE_IMAGE_PLATFORM,
    CB_DF_REDUNDANT_TARGET_PLATFORM, CB_DF_SECRETS_USED_IN_ARG_OR_ENV, CB_DF_INVALID_DEFAULT_ARG_IN_FROM,
    CB_DF_FROM_PLATFORM_FLAG_CONST_DISALLOWED, CB_DF_COPY_IGNORED_FILE, CB_DF_INVALID_DEFINITION_DESCRIPTION,
    CB_DF_EXPOSE_PROTO_CASING, CB_DF_EXPOSE_INVALID_FORMAT, CB_DF_N_RULES
};

struct cb_df_rule {
    const char *name;        /* "StageNameCasing" */
    const char *description; /* why, one sentence */
    const char *page;        /* of the documentation: CB_DF_RULE_URL in front, '/' behind; NULL: it has none */
    bool experimental;       /* only where it is asked for */
    bool whole_file;         /* a `# check=` comment above an instruction does not reach it, as in BuildKit */
};
#define CB_DF_RULE_URL "https://docs.docker.com/go/dockerfile/rule/"
extern const struct cb_df_rule cb_df_rules[CB_DF_N_RULES];
const struct cb_df_rule *cb_df_rule_find(const char *name); /* NULL: there is none of that name */

/* "skip=A,B;error=true;experimental=all". Names of rules are not looked up: later versions have more. */
struct cb_df_check {
    bool skip_all, experimental_all, error;
    struct cb_strvec skip, experimental;
};
/* *out is overwritten; to be freed also on failure (-CB_ECONF). */
int cb_df_check_parse(struct cb_df_check *out, const char *text, struct cb_error *err) CB_WUR;
void cb_df_check_done(struct cb_df_check *c);

/* What is known of the image that a stage is built from. */
struct cb_df_parent {
    const struct cb_strvec *env;      /* "K=V" */
    const struct cb_strvec *on_build;
    bool has_shell;                   /* its configuration has a SHELL */
    bool foreign;                     /* it is not for the platform that was asked for */
    char *wanted, *is;                /* platforms as text */
};

struct cb_df_lint_options {
    const char *check;                /* in place of the file's `# check=`; NULL: as the file says */
    const struct cb_strvec *skip, *experimental; /* rules, besides; may be NULL */
    bool report_only;                 /* violations are no errors, whatever the check says */
    const struct cb_strvec *build_args; /* "K=V"; may be NULL */
    const char *target;               /* stage; NULL: the last one */
    bool all_stages;                  /* else those that the target needs */
    const char *build_platform, *target_platform; /* "os/arch[/variant]" */
    const struct cb_df_ignore *ignore; /* NULL: ignores nothing */
    bool (*reference_ok)(const char *name);
    /* False: no platform. Strings are the caller's. */
    bool (*platform)(const char *text, char **os, char **arch);
    /* NULL: nothing is known of it: then variables may come from there, and none is called undefined. */
    const struct cb_df_parent *(*parent)(void *arg, size_t stage);
    void *arg;
};
/* Adds to the warnings of d, which are by line then. -CB_ECONF: the options of the check are malformed, or violations
 * are errors ("Dockerfile:2: lint violation found for rules: A, B"; the first line that has one). */
int cb_df_lint(struct cb_dockerfile *d, const struct cb_df_lint_options *o, struct cb_error *err) CB_WUR;

/* What a build of a stage takes from outside, by line. */
struct cb_df_param {
    char *name, *value;               /* value NULL: none */
    char *description;                /* `# name text` above it, or NULL */
    bool required;
    struct cb_df_span span;
};
struct cb_df_params {
    struct cb_df_param *v;
    size_t n, cap;
};
struct cb_df_outline {
    char *name, *description;         /* of the stage, or NULL */
    struct cb_df_params args, secrets, ssh, caches;
};
/* *out is overwritten. -CB_EUSAGE where there is no such target. */
int cb_df_outline(struct cb_df_outline *out, struct cb_dockerfile *d, const struct cb_df_lint_options *o,
                  struct cb_error *err) CB_WUR;
void cb_df_outline_done(struct cb_df_outline *o);
/* The `# name text` comment above i that tells what name is; NULL: there is none. */
const char *cb_df_description(const struct cb_df_instruction *i, const char *name);

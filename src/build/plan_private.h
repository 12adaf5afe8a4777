/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of the planner share: plan.c (stages, parents, order), plan_scope.c (variables), plan_config.c
 * (instructions that only change the configuration), plan_step.c, plan_run.c and plan_copy.c (those that make a
 * vertex), plan_make.c (the whole: one planner a platform). */

#include "build/graph.h"

struct planner;

struct plan_stage {
    struct planner *p;
    const struct cb_df_stage *df;
    size_t index;
    char *base_text;               /* expanded */
    struct plan_stage *base_stage; /* or */
    struct cb_plan_source *source; /* or */
    struct cb_vertex *base_vertex; /* a named context without a configuration; or none of them: scratch */
    bool replaced;                 /* a named context stands for the whole stage: its instructions do not count */
    struct cb_platform platform;
    bool reachable, done, cmd_set, no_cache;
    const char *trigger;           /* of its parent that is being planned, as it is shown; or NULL */
    struct cb_image_config config; /* as it is after the instructions so far */
    struct cb_strvec args;         /* "K=V": ARGs in scope that have a value */
    struct cb_strvec declared;     /* the names of all ARGs in scope, the first declared first */
    struct cb_vertex *top;
    struct cb_plan_history *history; /* its own; that of base_stage stands below */
    size_t n_history, cap_history;
    unsigned steps, step;          /* for names: [builder 2/4] */
};

struct planner {
    const struct cb_plan_options *o;
    const struct cb_dockerfile *df;
    struct cb_plan *plan;
    struct plan_stage *stages;
    struct plan_named **named;     /* contexts that were asked for so far */
    size_t n_named, cap_named;
    size_t index;                  /* of the platform: its image in the plan */
    struct plan_stage *goal;       /* the target stage */
    struct cb_plan_source *scanner; /* of the SBOM; NULL: none is made */
    struct cb_strvec globals;      /* "K=V": ARGs before the first FROM, and the automatic platform ones */
    struct cb_platform target, host;
    struct cb_df_span failed;      /* of the instruction that an error was put to */
};

/* Wraps err with "Dockerfile:12" and remembers the span; only the first time, where the fault is. */
int plan_error(struct planner *p, struct cb_df_span span, struct cb_error *err);
/* The same where it concerns another platform than the planner's own. */
int plan_error_for(struct planner *p, const struct cb_platform *platform, struct cb_df_span span,
                   struct cb_error *err);

/* ---- plan_scope.c ---- */
int plan_global_args(struct planner *p, struct cb_error *err) CB_WUR;
int plan_expand_global(struct planner *p, const char *text, char **out, struct cb_error *err) CB_WUR;
int plan_expand(struct plan_stage *st, const char *text, char **out, struct cb_error *err) CB_WUR;
int plan_expand_words(struct plan_stage *st, const char *text, struct cb_strvec *out, struct cb_error *err) CB_WUR;
int plan_expand_raw(struct plan_stage *st, const char *text, char **out, struct cb_error *err) CB_WUR;
int plan_expand_mount(struct plan_stage *st, const struct cb_df_mount *m, struct cb_df_mount *out,
                      struct cb_error *err) CB_WUR;
/* note: what the history says behind "ARG". */
int plan_arg(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
             struct cb_error *err) CB_WUR;
/* ENV, then ARGs that no ENV shadows; with_proxies adds the predefined proxy arguments that were given. */
void plan_run_env(const struct plan_stage *st, bool with_proxies, struct cb_strvec *out);
/* The names of those ARGs. */
void plan_run_args(const struct plan_stage *st, struct cb_strvec *out);
/* "|2 A=1 B= " for the history, every ARG in scope, or "". */
void plan_args_note(const struct plan_stage *st, struct cb_strbuf *out);

/* ---- plan_config.c ---- */
bool plan_is_config(enum cb_df_kind k);
int plan_config(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err) CB_WUR;
/* SHELL as it stands: at least one word. */
void plan_shell(const struct plan_stage *st, struct cb_strvec *out);

/* ---- plan_step.c, plan_run.c, plan_copy.c ---- */
int plan_step(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err) CB_WUR;
int plan_run(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err) CB_WUR;
int plan_copy(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err) CB_WUR;
/* ---- plan_mount.c ---- */
/* RUN --mount: onto v->run.mounts and v->inputs. plan_mount_from first: it may plan other stages, whose vertices have
 * to stand in front of v. */
struct plan_mount_from {
    struct cb_vertex *vertex;
    bool empty;
};
int plan_mounts_from(struct plan_stage *st, const struct cb_df_instruction *i, struct plan_mount_from *from,
                     struct cb_error *err) CB_WUR;
int plan_mounts(struct plan_stage *st, const struct cb_df_instruction *i, const struct plan_mount_from *from,
                struct cb_vertex *v, struct cb_error *err) CB_WUR;
void plan_mount_done(struct cb_run_mount *m);
void plan_add_input(struct cb_vertex *v, struct cb_vertex *input);
/* plan_allow.c: network, security and devices of a RUN. -CB_ECONF naming the --allow that is missing. */
int plan_allowed(const struct plan_stage *st, const struct cb_df_instruction *i, struct cb_run_op *op,
                 struct cb_error *err) CB_WUR;
int plan_no_cache(struct planner *p, struct cb_error *err) CB_WUR;

/* Where a COPY gets things from, if not from the main context: another result (or an empty one), a directory. */
struct plan_copy_source {
    struct cb_vertex *from;
    bool scratch;
    struct cb_plan_local *local;
    const char *path;              /* the one source, whatever the words are; or NULL */
};
int plan_copy_from(struct plan_stage *st, const struct cb_df_instruction *i, const struct plan_copy_source *src,
                   struct cb_error *err) CB_WUR;

/* ---- plan_remote.c: ADD of URLs and repositories ---- */
bool plan_is_remote(const char *text);
/* Whether some source of an ADD is one. -CB_ECONF for one that is never fetched, and for flags that need one. */
int plan_has_remote(struct plan_stage *st, const struct cb_df_instruction *i, bool *remote,
                    struct cb_error *err) CB_WUR;
int plan_add_remote(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err) CB_WUR;
/* One vertex for each thing that is fetched. op is taken, whatever comes of it; name: of its step. */
struct cb_vertex *plan_remote_vertex(struct planner *p, enum cb_vertex_kind kind, struct cb_remote_op *op,
                                     const char *name);

/* ---- plan_named.c: --build-context ---- */
struct plan_named {
    char *key;                     /* name and platform as they were asked for */
    struct cb_plan_source *source; /* an image, or */
    struct cb_vertex *vertex;      /* something that is fetched, or */
    struct cb_plan_local *local;   /* a directory; or none of them: scratch */
};
/* *out NULL: there is no context of that name. */
struct plan_source_name;
int plan_named(struct planner *p, const struct plan_source_name *name, struct plan_named **out,
               struct cb_error *err) CB_WUR;
/* The whole directory as a result. */
struct cb_vertex *plan_local_vertex(struct planner *p, struct cb_plan_local *local);
/* What stands for a stage, or is its base: sets source, base_vertex. */
void plan_named_base(struct plan_stage *st, struct plan_named *n);
void plan_named_done(struct planner *p);

/* The next numbered step of the stage, on top of what it has; the caller makes it the top. */
struct cb_vertex *plan_add_step(struct plan_stage *st, const struct cb_df_instruction *i, enum cb_vertex_kind kind);

/* ---- plan_scan.c ---- */
int plan_scanner(struct planner *p, struct cb_error *err) CB_WUR; /* its image, to be resolved with the others */
int plan_scan(struct planner *p, struct cb_error *err) CB_WUR;    /* the step, behind all stages */
/* An ARG that is for the scan alone: no RUN gets it, so that it makes no difference to one. */
bool plan_is_scan_arg(const char *name);

/* ---- plan_source.c ---- */
struct plan_source_name {
    const char *text;
    const struct cb_platform *platform;
    struct cb_df_span span;
};
/* One a reference and platform. NULL and err where it is no reference. */
struct cb_plan_source *plan_source(struct planner *p, const struct plan_source_name *name, struct cb_error *err);
struct cb_vertex *plan_source_vertex(struct planner *p, struct cb_plan_source *s);
/* Resolves the sources from index `from` on, several at once. */
int plan_resolve(struct planner *p, size_t from, struct cb_error *err) CB_WUR;

/* ---- plan.c, for plan_make.c ---- */
/* Variables, what each FROM says, and which stages are needed; nothing is resolved yet. Sets goal. */
int plan_begin(struct planner *p, struct cb_error *err) CB_WUR;
int plan_stage_now(struct planner *p, struct plan_stage *st, struct cb_error *err) CB_WUR;
void plan_history_free(struct cb_plan_history *h, size_t n);

/* ---- plan.c, for the others ---- */
void plan_set_path(struct cb_strvec *env); /* the usual one, where there is none */
struct cb_vertex *plan_vertex(struct planner *p, enum cb_vertex_kind kind);
void plan_history(struct plan_stage *st, const char *created_by, struct cb_vertex *v);
/* The directory that COPY --from names, where it is one; else *local is NULL. */
int plan_copy_named(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_plan_local **local,
                    struct cb_error *err) CB_WUR;
/* What COPY --from names: a stage (planned now if it is not yet), a named
 * context, or an image. *from NULL and *scratch for an empty
 * stage. */
int plan_from(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_vertex **from, bool *scratch,
              struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The Dockerfile language: text to typed stages with source spans, variable expansion, .dockerignore and wildcard
 * matching. Pure: opens nothing, prints nothing. Rules: reference/builders-and-registries.md §1.1–1.6 (BuildKit's
 * behaviour).
 *
 * Limits: CB_MAX_DOCKERFILE bytes, CB_MAX_LINE bytes a line (BuildKit's), 10000 instructions; NUL bytes, and text that
 * is no UTF-8 outside of comments, are errors. Time and memory are linear in the text.
 *
 * The whole grammar is parsed. What the builder cannot execute yet is its business to refuse, by line. Nothing is
 * expanded here: values are kept as written, and cb_df_expand is called by the planner with the right scope. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

/* First and last line (1-based) of an instruction, heredoc bodies included. */
struct cb_df_span {
    unsigned first, last;
};

enum cb_df_kind {
    CB_DF_FROM, CB_DF_ARG, CB_DF_ENV, CB_DF_LABEL, CB_DF_MAINTAINER, CB_DF_WORKDIR, CB_DF_COPY, CB_DF_ADD, CB_DF_RUN,
    CB_DF_USER, CB_DF_EXPOSE, CB_DF_CMD, CB_DF_ENTRYPOINT, CB_DF_VOLUME, CB_DF_SHELL, CB_DF_STOPSIGNAL,
    CB_DF_HEALTHCHECK, CB_DF_ONBUILD,
};
const char *cb_df_kind_name(enum cb_df_kind k); /* "RUN" */

struct cb_df_heredoc {
    char *name;      /* delimiter without quotes; also a file's name, so never "", ".", ".." or with '/' */
    char *body;      /* the lines as written, each with its line end; leading tabs are gone already where chomp */
    bool expand;     /* the delimiter was not quoted in any way */
    bool chomp;      /* `<<-` */
    unsigned fd;     /* digits before << (default 0) */
};

/* RUN --mount, options as given; values unexpanded: those that hold a '$' are yet to be checked (a switch counts as
 * unsaid, a type as bind). Unknown keys, contradictions and a target of "/" are parse errors. Without a target, bind,
 * cache and tmpfs mounts have the empty one: relative, so the working directory. */
enum cb_df_mount_type { CB_DF_MOUNT_BIND, CB_DF_MOUNT_CACHE, CB_DF_MOUNT_TMPFS, CB_DF_MOUNT_SECRET, CB_DF_MOUNT_SSH };
struct cb_df_mount {
    char *text;      /* as written */
    enum cb_df_mount_type type;
    char *id, *target, *source, *from, *env, *sharing, *mode, *uid, *gid, *size; /* NULL where absent */
    bool readonly;   /* after defaults of the type */
    bool required;
};

/* Arguments of a command: exec form or text for the shell. */
struct cb_df_command {
    bool exec_form;
    struct cb_strvec args; /* exec form: the array; shell form: one string, continuation lines joined, `<<EOF` kept */
};

struct cb_df_pair {
    char *key, *value; /* value NULL: `ARG K` */
};

struct cb_df_instruction {
    enum cb_df_kind kind;
    struct cb_df_span span;
    char *original;              /* the logical line as written, one line (for errors, history and progress) */
    struct cb_strvec comments;   /* above it, without '#' and blanks around; an empty one forgets those before it */
    char *check;                 /* value of the first `# check=` among them, or NULL */
    unsigned empty_inside;       /* a blank line stands inside of its continued line, which ends here; else 0 */
    bool legacy_form;            /* `ENV k v` */

    struct cb_df_pair *pairs;    /* ARG ENV LABEL */
    size_t n_pairs;
    /* COPY ADD: sources…, destination last; EXPOSE VOLUME: items; WORKDIR USER STOPSIGNAL MAINTAINER: one; FROM: all */
    struct cb_strvec words;
    struct cb_df_command command; /* RUN CMD ENTRYPOINT SHELL, HEALTHCHECK CMD */
    struct cb_df_heredoc *heredocs;
    size_t n_heredocs;
    /* COPY ADD: for each heredoc the index of its `<<X` in words, where its name stands instead. NULL for RUN. */
    size_t *heredoc_word;

    /* flags; NULL or 0 where absent */
    char *from, *chown, *chmod, *checksum, *network, *security, *platform; /* --from= …; FROM --platform */
    struct cb_strvec exclude, devices; /* exclude: checked patterns; devices: checked CSV as written */
    bool link, parents, keep_git_dir, keep_git_dir_set;
    int unpack;                  /* ADD --unpack: -1 absent, 0, 1 */
    struct cb_df_mount *mounts;
    size_t n_mounts;

    /* FROM */
    char *base, *stage_name;     /* stage_name lower-cased, NULL where unnamed */
    /* HEALTHCHECK */
    bool healthcheck_none;
    int64_t hc_interval, hc_timeout, hc_start_period, hc_start_interval; /* ns; 0 = inherit */
    uint64_t hc_retries;
    bool hc_retries_set;
    /* ONBUILD: the wrapped instruction */
    struct cb_df_instruction *onbuild;
};

struct cb_df_stage {
    struct cb_df_instruction from;      /* kind FROM */
    struct cb_df_instruction *instructions;
    size_t n;
};

struct cb_df_warning {
    struct cb_df_span span;
    char *rule;      /* "NoEmptyContinuation", or "" */
    char *text;
};

/* "Rule: text (line 3)" as BuildKit shows it; to be freed. */
char *cb_df_warning_text(const struct cb_df_warning *w);

struct cb_dockerfile {
    char *name;                          /* as shown: "Dockerfile" */
    char *syntax;                        /* # syntax= value or NULL */
    char *check;                         /* # check= value or NULL */
    char escape;                         /* '\\' or '`' */
    struct cb_df_instruction *global_args; /* ARG before the first FROM */
    size_t n_global_args;
    struct cb_df_stage *stages;
    size_t n_stages;
    struct cb_df_warning *warnings;        /* of the parser; cb_df_lint adds its own */
    size_t n_warnings;
    char *text;                          /* the source, for excerpts */
    size_t text_len;
};

/* NULL and err (CB_ECONF): "Dockerfile:7: unknown instruction: RNU (did you mean RUN?)". */
struct cb_dockerfile *cb_dockerfile_parse(const char *name, const char *text, size_t len, struct cb_error *err);
void cb_dockerfile_free(struct cb_dockerfile *d);
CB_DEFINE_CLEANUP(struct cb_dockerfile *, cb_dockerfile_free)
/* One instruction from a string: an ONBUILD trigger out of a parent's config, heredoc bodies included. `where` names it
 * in errors. FROM, MAINTAINER and ONBUILD are refused. *out is overwritten and stays empty on failure. */
int cb_df_instruction_parse(struct cb_df_instruction *out, const char *text, const char *where,
                            struct cb_error *err) CB_WUR;
void cb_df_instruction_done(struct cb_df_instruction *i); /* frees what it holds and zeroes it */
/* The text of an ONBUILD trigger as it goes into config.OnBuild: the wrapped line, then heredocs with delimiters. */
void cb_df_onbuild_text(struct cb_strbuf *out, const struct cb_df_instruction *onbuild);

/* COPY, ADD: whether words.v[word] is the name of an inline file. */
bool cb_df_is_heredoc_word(const struct cb_df_instruction *i, size_t word);

/* How a RUN with heredocs runs. Script: `RUN <<EOF`, the command is exactly one heredoc word; its body is the argument
 * of SHELL or, when it begins with "#!", a file to be executed. Otherwise (`RUN cat <<A <<B >f`) the shell reads the
 * heredocs itself: cb_df_run_text gives command.args[0], then each body and delimiter on lines of their own. */
bool cb_df_run_is_script(const struct cb_df_instruction *run);
void cb_df_run_text(struct cb_strbuf *out, const struct cb_df_instruction *run); /* shell form only */

/* An entry of `devices` taken apart; *name is owned by the caller. */
void cb_df_device_split(const char *value, char **name, bool *required);

/* The candidate (NULL-terminated list) that `word` is a likely slip of, case ignored; NULL: none. */
const char *cb_df_suggest(const char *word, const char *const *candidates);
/* Source lines around a span as BuildKit prints them ("   7 | >>> RUN make"), with rules above and below. beneath:
 * lines that belong to the span and do not stand in the file, or NULL. */
void cb_df_excerpt(struct cb_strbuf *out, const struct cb_dockerfile *d, struct cb_df_span span, const char *beneath);

/* Variable expansion of one word or text (§1.2): $v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?e} ${v?e} ${v#p} ${v##p}
 * ${v%p} ${v%%p} ${v/p/r} ${v//p/r}, quotes and escapes.
 *
 * On failure nothing is appended. The result of one call is at most 8 MiB, `${…}` nest at most 64 deep. Words that are
 * not needed (`${set:-word}`) are read but not evaluated: they neither fail nor count as undefined. */
struct cb_df_scope {
    const char *(*lookup)(void *arg, const char *name); /* NULL: unset */
    void *arg;
    char escape;
    void (*undefined)(void *arg, const char *name);     /* told of each unset variable without a default; may be NULL */
    void (*seen)(void *arg, const char *name, bool set); /* told of each variable, even without effect; or NULL */
};
/* Quotes are removed. -CB_ECONF for bad substitutions and ${v:?e}. */
int cb_df_expand(struct cb_strbuf *out, const char *text, const struct cb_df_scope *scope, struct cb_error *err) CB_WUR;
/* The same, then split into words at unquoted blanks, those in values included (EXPOSE, VOLUME words …). Empty words
 * vanish, quoted or not. */
int cb_df_expand_words(struct cb_strvec *out, const char *text, const struct cb_df_scope *scope,
                       struct cb_error *err) CB_WUR;
/* Variables only; quotes stay (heredoc bodies of COPY and ADD). A backslash quotes the next character and goes,
 * whatever scope->escape is, as in BuildKit. */
int cb_df_expand_raw(struct cb_strbuf *out, const char *text, const struct cb_df_scope *scope,
                     struct cb_error *err) CB_WUR;

/* The mount again with the variables in all values but from's expanded, and everything checked. *out is overwritten and
 * stays empty on failure (-CB_ECONF: "--mount=…: …"). */
int cb_df_mount_expand(struct cb_df_mount *out, const struct cb_df_mount *m, const struct cb_df_scope *scope,
                       struct cb_error *err) CB_WUR;
void cb_df_mount_done(struct cb_df_mount *m);
#define cb_cleanup_df_mount CB_CLEANUP(cb_df_mount_done)

/* .dockerignore (§1.6), and --exclude, which has the same language but for a leading slash, which matches nothing
 * there. Patterns are at most CB_MAX_PATH bytes. NULL and err (CB_ECONF) for a malformed one. The matcher is immutable:
 * threads may share it. */
struct cb_df_ignore;
struct cb_df_ignore *cb_df_ignore_parse(const char *name, const char *text, size_t len, struct cb_error *err);
struct cb_df_ignore *cb_df_ignore_from_patterns(const struct cb_strvec *patterns, struct cb_error *err);
void cb_df_ignore_free(struct cb_df_ignore *i);
CB_DEFINE_CLEANUP(struct cb_df_ignore *, cb_df_ignore_free)
/* path relative to the root, no leading '/'. True: it is left out. A rule matches a path or any of its parents; the
 * last rule that matches decides. Linear in patterns × path length, without backtracking. NULL ignores nothing. */
bool cb_df_ignored(const struct cb_df_ignore *i, const char *path);
/* Appends where the rule stands that leaves path out, and what it says: ".dockerignore:3 (\"*.log\")". False: none
 * does. */
bool cb_df_ignore_why(const struct cb_df_ignore *i, const char *path, struct cb_strbuf *out);
/* For a walker at an ignored directory: might a later `!` pattern bring something below it back? Exact but for paths
 * that later rules without `!` take away again. */
bool cb_df_ignore_may_reinclude(const struct cb_df_ignore *i, const char *dir);

/* Go's filepath.Match: `*` and `?` do not cross '/', [a-z] [^a-z], `\` escapes. -CB_ECONF for a malformed pattern. */
int cb_df_match(const char *pattern, const char *name, bool *matched, struct cb_error *err) CB_WUR;
bool cb_df_has_wildcard(const char *pattern);

#include "dockerfile/checks.h"

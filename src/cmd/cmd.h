/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The verbs. main.c looks a verb up in the table, prepares the process as its flags say, and runs it. */

#include <stdbool.h>

#include "cmd/opt.h"
#include "util/cancel.h"
#include "util/error.h"

/* What main made before any verb runs. */
struct cb_process {
    struct cb_cancel *cancel;
    bool started_as_root;
    char **argv;               /* of main */
    int id_mode;               /* enum cb_id_mode, of exec/exec.h */
    struct cb_error no_userns; /* why nothing can be run, with one id; or without code */
    int64_t started;           /* monotonic */
    struct cb_trace_file *trace; /* of --trace; begun by who reads the verb's options */
};

struct cb_verb;
/* For a process that cbpush has started of itself, called by that name, it does not return. True: that name, but not so
 * started. */
bool cb_process_serves(const char *name);
/* Before any thread exists: the user namespace where the verb works on trees, limits, signals. */
int cb_process_prepare(struct cb_process *p, const struct cb_verb *v, struct cb_error *err) CB_WUR;
/* When the verb has returned, whatever became of it, and nothing that it started runs any more: --trace is written. */
int cb_process_end(struct cb_process *p, struct cb_error *err) CB_WUR;
void cb_process_done(struct cb_process *p);

/* Where `cbpush help` lists it. */
enum cb_topic { CB_TOPIC_IMAGES, CB_TOPIC_BUILD, CB_TOPIC_REGISTRY, CB_TOPIC_HOUSE };

struct cb_verb {
    const char *name;
    const char *alias;         /* another name for it, or NULL */
    enum cb_topic topic;
    const char *summary;       /* one line for `cbpush help` */
    const char *operands;      /* "[OPTIONS] [CONTEXT]" */
    const char *details;       /* paragraphs for --help, or NULL */
    const struct cb_opt *options;
    const struct cb_opt_group *groups; /* more of them, or NULL */
    const struct cb_verb *const *subs; /* of `manifest get`: run is cb_verb_run_sub. NULL-terminated, or NULL */
    bool registry_names;       /* IMAGE is what a registry has, store:IMAGE what the store has */
    bool userns;               /* works on trees: as an ordinary user it needs a user namespace of its own */
    bool userns_to_run;        /* for RUN alone (prune: for what RUNs left): the rest goes on without */
    /* *exit_status: of a run without error; on failure, if it is not 0, it stands for that of a failed build step. */
    int (*run)(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *exit_status,
               struct cb_error *err);
};

extern const struct cb_verb cb_verb_build, cb_verb_run, cb_verb_pull, cb_verb_push, cb_verb_tag, cb_verb_images,
    cb_verb_rmi, cb_verb_inspect, cb_verb_history, cb_verb_save, cb_verb_load, cb_verb_prune, cb_verb_login,
    cb_verb_logout, cb_verb_completion, cb_verb_doctor,
    cb_verb_version, cb_verb_lint, cb_verb_rollback, cb_verb_auth, cb_verb_tags,
    cb_verb_catalog, cb_verb_digest, cb_verb_manifest, cb_verb_blob, cb_verb_config, cb_verb_delete,
    cb_verb_referrers, cb_verb_ping, cb_verb_copy, cb_verb_ls, cb_verb_diff, cb_verb_export, cb_verb_validate,
    cb_verb_mutate, cb_verb_annotate, cb_verb_append, cb_verb_flatten, cb_verb_rebase, cb_verb_index, cb_verb_attach,
    cb_verb_imagetools, cb_verb_mirror, cb_verb_cache;
/* Kaniko's command line, for a program named `executor`; not among cb_verbs. */
extern const struct cb_verb cb_verb_executor;

/* NULL-terminated, in the order of `cbpush help`. */
extern const struct cb_verb *const cb_verbs[];
const struct cb_verb *cb_verb_find(const char *name);
/* The verb that argv begins with, also as docker, podman and buildah spell it ("image ls"); or NULL. *used: its
 * words. */
const struct cb_verb *cb_verb_spelled(int argc, char **argv, int *used);
/* The i-th of these spellings: noun and, where there are two words, the second, else NULL; NULL past the last. */
const struct cb_verb *cb_verb_spelling(size_t i, const char **noun, const char **word);
/* What does the same as a verb of other programs, by noun and, where it has two words, the second; NULL: not known. */
const char *cb_foreign_words(const char *noun, const char *word);
/* argv begins with no verb of ours, however spelled: -CB_EUSAGE, with what to write instead where that is known. */
int cb_foreign_verb(int argc, char **argv, struct cb_error *err) CB_WUR;
/* The one of self->subs that is called so, or NULL. */
const struct cb_verb *cb_verb_find_sub(const struct cb_verb *self, const char *word);
/* Runs the one of self->subs that the first word names; what looks like a reference is for the first of them. */
int cb_verb_run_sub(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *exit_status,
                    struct cb_error *err);
/* `cbpush help [VERB]`: to standard output. */
int cb_help(const char *verb, struct cb_error *err) CB_WUR;
void cb_verb_help(const struct cb_verb *v);
/* `cbpush __man [VERB]`: its page of the manual, or the names of all that have one. */
int cb_man(const char *verb, struct cb_error *err) CB_WUR;

/* `cbpush __complete WORD…`, which the scripts of `cbpush completion` call: a line with the kind and, behind a
 * blank, the prefix; then a line each for the words (complete.h). Words that cannot be made sense of have no answer,
 * and are no error. */
void complete_print(int argc, char **argv);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Works a plan off: keys, cache look-ups ahead of the work, then every vertex that is needed as soon as its inputs are
 * there. */

#include <pthread.h>
#include <stdatomic.h>

#include "build/cache_in.h"
#include "build/claims.h"
#include "build/graph.h"
#include "build/key.h"
#include "build/select.h"
#include "build/slot.h"
#include "util/hashmap.h"


struct cb_solver;
struct cb_cache_out;
struct cb_mount_cache;

/* What is recorded of a step: by the store, and by a cache. */
enum cb_lookup_from { CB_LOOKUP_STORE, CB_LOOKUP_CACHE, CB_LOOKUP_N };
struct cb_recorded {
    bool asked[CB_LOOKUP_N];        /* record says what came of it */
    struct cb_cache_record record[CB_LOOKUP_N]; /* whole: there is one */
    struct cb_cache_hit hit;        /* what record[CACHE] is of */
    const struct cb_cache_place *used; /* of a hit of a cache: whose */
};

/* Of very many files of the context: what is kept of them once the step has been run. */
struct cb_noted_files {
    size_t n;
    uint64_t sum;
    struct cb_strbuf hashes;        /* inputs.h */
};

/* Of one vertex; made by cb_solve_prepare, freed by cb_solve_done. While the vertex runs it is its thread's; once it is
 * done nothing in it changes. */
struct cb_solve_state {
    struct cb_solver *solver;
    struct cb_vertex *vertex;       /* whose state it is; later vertices of the same key share it, and are not run */
    struct cb_digest key;
    struct cb_selection selection;  /* COPY from a context: what it names; or: */
    struct cb_noted_files noted;
    struct cb_selection *mounts;    /* RUN: what each bind of the context shows; one for each mount, or NULL */
    struct cb_http_file *file;      /* HTTP: what was downloaded to know its digest; or NULL */
    struct cb_slot **layers;        /* the result, lowest first; empty differences may be among them */
    size_t n_layers, cap_layers;
    struct cb_digest content;       /* its content key, once it was asked for (of a RUN: when it is recorded) */
    int64_t created;                /* ns: when the step was really run */
    int64_t ns;                     /* how long that took */
    struct cb_digest lost;          /* a record says what it is, but this layer of it can be had nowhere; or NONE */
    struct cb_recorded lookup;
    bool hit, executed, needed, done;
    bool on_goal_chain;
    bool in_result;                 /* an image has its layer */
    bool changed;                   /* put a layer on its base */
    bool no_cache;                  /* the cache is off for it, in one of the stages that it stands in */
    bool anew;                      /* no record of it is asked for, or of something that it stands on */
    bool late;                      /* it is not recorded yet */
    bool unsure;                    /* its key does not say what it was made from: it is not recorded */
    unsigned waiting;               /* inputs that are not done */
    struct cb_vertex **dependents;
    size_t n_dependents, cap_dependents;
};

/* What came out for an image of the plan: its layers, made, none empty. */
struct cb_solved {
    struct cb_slot **layers;
    size_t n;
};

struct cb_solver {
    /* set by the caller */
    const struct cb_build_env *env;
    const struct cb_build_options *o;
    struct cb_plan *plan;
    struct cb_slots *slots;
    struct cb_context *context;     /* NULL where the plan needs none */
    struct cb_key_base kb;
    struct cb_format format;        /* of new layers that the result has */
    struct cb_format format_aside;  /* of those that only other steps need, where this machine can make it */
    int64_t newer_than;             /* ns: older records do not count */
    struct cb_cancel *cancel;       /* child of the build's: the first failure triggers it, when what is sealed is */
    /* Told of every layer of the goals as soon as it is known, lowest first where it can be; may be NULL. */
    void (*on_layer)(void *arg, struct cb_slot *s);
    void *on_layer_arg;
    /* Told of a parent's layers when a step of a goal has looked at them: what they hold is known. On a thread of the
     * seals; may be NULL, and has the same arg. */
    void (*on_parent)(void *arg, struct cb_slot *s);
    /* A step begins; to_come: steps of the goals, with it, that have not ended. May be NULL, and has the same arg. */
    void (*on_step)(void *arg, unsigned to_come);
    atomic_uint to_come;
    struct cb_cache_in *cache_in;   /* NULL: only the store is asked for records */
    struct cb_cache_out *cache_out; /* told of every step that is made; or NULL */
    struct cb_mount_cache *mount_cache; /* what new cache mounts begin with; or NULL */
    struct cb_claims *claims;       /* RUNs that miss are claimed; NULL: nobody is waited for */

    bool early; /* no record can serve: on_layer is told of a parent's layers before anything of the context is read */

    bool open;
    struct cb_pool *steps;          /* long jobs: one a running vertex */
    struct cb_pool *seals;          /* differences of RUNs being made into layers, in order */
    struct cb_seal *seal_list;      /* op_run.c */
    pthread_mutex_t mu;
    pthread_cond_t cond;
    unsigned active;                /* vertices that are queued or running */
    unsigned aside;                 /* … whose processes are there, or that wait for another build */
    unsigned sealing;               /* RUNs that have ended, and are no layers yet */
    struct cb_hashmap *by_key;      /* key → the first vertex that has it */
    struct cb_solved *images;       /* parallel to the plan's, when they are solved */
    struct cb_vertex **unrecorded;  /* done, on layers that were not settled then */
    size_t n_unrecorded, cap_unrecorded;
    bool settled;                   /* there are no such layers any more */
    struct cb_error error;          /* the first failure */
    struct cb_vertex *failed;
};

void cb_solve_open(struct cb_solver *s);
/* Keys and records only: what would have to run. *all_hit: nothing. */
int cb_solve_prepare(struct cb_solver *s, bool *all_hit, struct cb_error *err) CB_WUR;
/* Tells the layers that are there what will be needed of them; part of cb_solve. */
void cb_solve_expect(const struct cb_solver *s);
/* 0: images holds the layers of every goal. */
int cb_solve(struct cb_solver *s, struct cb_error *err) CB_WUR;
/* Waits for all that still runs: nothing calls on_layer after it, and no state changes. */
void cb_solve_stop(struct cb_solver *s);
void cb_solve_done(struct cb_solver *s);

/* ---- solve_files.c: very many files of the context, of which little is kept ---- */
/* Of all steps that need not be run, if any has to be. */
void cb_solve_forget_files(struct cb_solver *s);
void cb_solve_forget_files_of(struct cb_solver *s, struct cb_vertex *v); /* which was run */

/* Whether a vertex of the goal's chain put a layer on its base; after cb_solve. */
bool cb_solver_added_layer(const struct cb_vertex *v);

/* ---- solve_lookup.c: records, before anything runs ---- */
/* Asks the caches for all keys at once, unless the store alone has every goal. */
void cb_look_up_ahead(struct cb_solver *s);
/* Whether v and everything it stands on have records that agree; then v has its layers. */
bool cb_look_up(struct cb_solver *s, struct cb_vertex *v);
/* A record of a cache that has come since: what it added is put onto v's result, which has its base's layers, if those
 * are what it stands on. */
bool cb_look_up_again(struct cb_solver *s, struct cb_vertex *v);
/* A record of a cache whose step got the same as v, which has its base's layers: what it added is put onto them. */
bool cb_look_up_content(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content);
void cb_recorded_done(struct cb_recorded *r);

/* ---- solve_claims.c: RUNs that other builds run, too ---- */
/* v is a RUN that begins now: those behind it look at that from other threads. */
void cb_solve_executes(struct cb_solver *s, struct cb_vertex *v);
/* Claims those that will have to run next, as far as that can be told. */
void cb_solve_claim_ahead(struct cb_solver *s);
/* v's claim, which is asked for if it was not yet; wait: until that is known. RUN: go on; WAIT: return CB_OP_WAITS. */
enum cb_claims_answer cb_solve_claim(struct cb_solver *s, struct cb_vertex *v, bool wait);
/* v is not run. */
void cb_solve_disclaim(struct cb_solver *s, const struct cb_vertex *v);

/* ---- solve.c ---- */
/* A step's process is about to be there, or has ended. */
void cb_solve_process(struct cb_solver *s, bool runs);
/* What v stands on has been brought, as far as v needs it: on_parent is told. */
void cb_solve_has_looked_below(struct cb_solver *s, struct cb_vertex *v);

/* ---- the kinds of vertex ---- */
#define CB_OP_WAITS 1 /* another build runs it: it is executed again when that is over */
/* Runs v with its inputs done; fills v->state->layers and created. In a thread of its own. */
struct cb_op {
    int (*execute)(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err);
};
extern const struct cb_op cb_op_run, cb_op_copy, cb_op_mkdir, cb_op_link, cb_op_http, cb_op_git;

void cb_seals_free(struct cb_seal *x);
void cb_solve_state_free(struct cb_solve_state *st);

/* Finds out what the HTTP and GIT vertices of the plan are now, several at once: keys are made from that. *failed is
 * the one that could not be told. */
int cb_remotes_resolve(struct cb_solver *s, struct cb_vertex **failed, struct cb_error *err) CB_WUR;
int cb_http_resolve(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err) CB_WUR; /* op_http.c */
void cb_http_file_free(struct cb_http_file *f);
/* Puts what a directory holds into a layer on v's (empty) result, as v->copy says; dirfd is taken. mtime: of all files,
 * or INT64_MAX. */
int cb_remote_place(struct cb_solver *s, struct cb_vertex *v, int dirfd, int64_t mtime, struct cb_error *err) CB_WUR;

/* ---- for the ops ---- */
/* The first failure stops everything. e is emptied. */
void cb_solver_fail(struct cb_solver *s, struct cb_vertex *v, struct cb_error *e);
void cb_solver_sealed(struct cb_solver *s); /* a RUN that had ended is a layer, or failed to be */
void cb_state_push_layer(struct cb_solve_state *st, struct cb_slot *slot);
void cb_state_copy_layers(struct cb_solve_state *st, const struct cb_solve_state *from);
/* The view of a vertex's result (NULL vertex: the empty one); tables are brought. */
int cb_solver_stack(struct cb_solver *s, struct cb_vertex *v, struct cb_step *step, struct cb_stack **out,
                    struct cb_error *err) CB_WUR;
/* What answers about v's base (none: the empty one); needs: CB_NEED_SKETCH, or TOC after an answer was -CB_EVERIFY. */
int cb_solver_below(struct cb_solver *s, struct cb_vertex *v, unsigned needs, struct cb_lookup **out,
                    struct cb_error *err) CB_WUR;
/* Writes records for what v made: the whole by its key and, where content is set, the difference by that. Waits for all
 * layers. What stands on a layer that is not settled (cb_slots_may_be_early) is put off until all are. What cannot be
 * recorded is a warning. */
void cb_solver_record(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content);
/* When no vertex runs any more: waits for layers that are not settled, and records what was put off. -CB_EVERIFY where
 * a layer is not what its image says. */
int cb_solver_settle(struct cb_solver *s, struct cb_error *err) CB_WUR;
/* A difference recorded under a content key by the store or a cache, put onto v's result, and recorded under v's own
 * key. False: none, or it is gone. */
bool cb_solver_recall(struct cb_solver *s, struct cb_vertex *v, const struct cb_digest *content);

/* A layer out of placed entries. */
struct cb_placer;
struct cb_files;
struct cb_layer_job {
    struct cb_placer *placer;
    struct cb_files *files;     /* for items of another result, or NULL */
    struct cb_context *context; /* for others, or NULL */
    struct cb_path_cursor *in;  /* … while the layer is written */
    int spool_fd;               /* for CB_DATA_SPOOL, or -1 */
};
struct cb_layer_made {
    struct cb_layer layer;
    struct cb_toc *toc;         /* NULL: there was nothing to write */
    struct cb_strbuf tar;       /* of a small one; else empty */
};
void cb_layer_made_done(struct cb_layer_made *m);
#define cb_cleanup_layer_made CB_CLEANUP(cb_layer_made_done)
int cb_solver_write_layer(struct cb_solver *s, struct cb_vertex *v, const struct cb_layer_job *job,
                          struct cb_layer_made *made, struct cb_error *err) CB_WUR;
/* Keeps it, puts it onto v's result and records that, under content too where it is not NULL: of the last step of a
 * result, which a push may wait for, behind its end (cb_solver_record_late). Takes as much memory as its table again:
 * what the job had is better freed before. */
int cb_solver_take_layer(struct cb_solver *s, struct cb_vertex *v, struct cb_layer_made *made,
                         const struct cb_digest *content, struct cb_error *err) CB_WUR;
/* Of a vertex that is done: what take_layer left. */
void cb_solver_record_late(struct cb_solver *s, struct cb_vertex *v);
/* What a new layer of v is written with; v may be NULL: one of the result. sink is borrowed. */
struct cb_layer_write_options cb_solver_write_options(const struct cb_solver *s, const struct cb_vertex *v,
                                                      struct cb_blob_sink *sink);
/* Table and facts of a layer that was written, into the store. */
int cb_solver_keep_layer(const struct cb_solver *s, const struct cb_layer *layer, const struct cb_toc *toc,
                         struct cb_error *err) CB_WUR;

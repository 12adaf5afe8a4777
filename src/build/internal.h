/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Pieces of cb_build_run: committing, pushing, exporting. */

#include "build/join.h"
#include "build/solve.h"
#include "build/tags_ahead.h"
#include "util/limits.h"

struct cb_cache_out;
struct cb_mount_cache;
struct cb_uploads_ahead;

struct cb_main_context;
/* Where Dockerfile and context came from. */
struct cb_origin {
    const struct cb_main_context *context;
    const char *dockerfile;        /* as shown */
    bool in_context;               /* and relative to it */
};

/* One build under way. */
struct cb_build {
    const struct cb_build_env *env;
    struct cb_build_env own_env;   /* the first failure ends what it asks for, and what still runs: its token, … */
    struct cb_cancel *cancel;
    const struct cb_build_env *whole_env; /* … but not what is asked through this one, the caller's */
    const struct cb_build_options *o;
    struct cb_build_result *res;
    struct cb_plan plan;
    struct cb_solver solver;
    struct cb_format format;       /* of new layers in the result; the solver's may be another (estargz.c) */
    struct cb_slots *slots;
    struct cb_reference *tags;     /* parsed; those that are pushed come first. Without a tag: by digest */
    bool *canonical;               /* parallel: NAME@DIGEST is a name, too */
    size_t n_tags, n_pushed;
    struct cb_join_places places;  /* of --join */
    struct cb_reference *meetings; /* theirs; borrow their text */
    struct cb_cache_in *cache_in;  /* NULL: there is no cache but the store */
    struct cb_cache_out *cache_out; /* NULL: nothing is written but to the store */
    struct cb_mount_cache *mount_cache; /* NULL: cache mounts stay on this machine */
    struct cb_claims *claims;      /* NULL: nobody is waited for */
    struct cb_pusher *pusher;      /* NULL: nothing is pushed */
    bool again;                    /* it may be an unchanged build, and nothing is expected of tags */
    struct cb_tags_ahead *ahead;   /* NULL: nobody looked */
    struct cb_uploads_ahead *uploads; /* NULL: nobody looked */
    int64_t epoch;                 /* s; INT64_MAX: none */
    struct cb_origin origin;
    struct cb_attestation *attestations; /* one an image of the result; NULL: none are made */
    bool prepared;                 /* the keys are there */
};

/* ---- main_context.c ---- */
/* Where files and the Dockerfile come from: the user's directory, or one of ours with what was fetched in it. */
struct cb_main_context {
    int fd;                        /* O_RDONLY|O_DIRECTORY */
    bool remote;                   /* fetched: nothing but what is in there is read, and .dockerignore means nothing */
    bool is_dockerfile;            /* it was no archive, but the Dockerfile itself: `dockerfile`; there are no files */
    struct cb_strbuf dockerfile;
    struct cb_store_tmp tmp;
    char *uri, *commit;            /* what was fetched, for others to read, and of a repository its commit; or NULL */
    struct cb_digest digest;       /* of a file that was fetched */
};
#define CB_MAIN_CONTEXT_INIT { .fd = -1, .dockerfile = CB_STRBUF_INIT, .tmp = CB_STORE_TMP_INIT }
int cb_main_context_open(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_main_context *out,
                         struct cb_error *err) CB_WUR;
void cb_main_context_done(struct cb_main_context *c);
/* A Dockerfile by URL (-f). */
int cb_dockerfile_fetch(const struct cb_fetcher *f, const char *url, struct cb_strbuf *out,
                        struct cb_error *err) CB_WUR;
/* The directories that named contexts are, each with its own .dockerignore. stats: remembers their files. */
int cb_named_contexts_open(struct cb_plan *plan, struct cb_store *store, bool stats, struct cb_error *err) CB_WUR;
/* A small file of a directory that others wrote: links stay inside, only regular files. -CB_ENOTFOUND. */
int cb_slurp_at(int dirfd, const char *path, size_t max, struct cb_strbuf *out, struct cb_error *err) CB_WUR;

/* ---- names.c ---- */
/* Of -t and of the outputs, into b->tags. -CB_EUSAGE for what does not go together with a push by digest. */
int cb_build_parse_names(struct cb_build *b, struct cb_error *err) CB_WUR;
bool cb_build_wants_push(const struct cb_build_options *o);
size_t cb_build_pushed_tags(const struct cb_build *b); /* of the names that are pushed, those that are tags */

/* ---- annotation.c ---- */
/* Those of a level; for a manifest or its descriptor, those of its platform win. platform NULL: an index. */
void cb_annotations_of(const struct cb_annotations *a, enum cb_annotation_level level,
                       const struct cb_platform *platform, struct cb_strmap *out);
/* -CB_EUSAGE for one that would go nowhere. */
int cb_annotations_check(const struct cb_build_options *o, struct cb_error *err) CB_WUR;

/* ---- finish.c: config, manifest, index, names ---- */
int cb_build_commit(struct cb_build *b, struct cb_error *err) CB_WUR;
bool cb_build_docker_types(const struct cb_build *b); /* whether anything asks for Docker's media types */
/* Whether entry i of the history of an image of the plan put a layer on it. */
bool cb_build_made_layer(const struct cb_build *b, size_t index, size_t i);
int cb_build_set_names(struct cb_build *b, struct cb_error *err) CB_WUR;

/* ---- pin.c ---- */
/* What the manifest of an image says of each of its layers (v, parallel to them, empty): what a parent's manifest says,
 * and by which table whoever builds on the image can place files. */
int cb_build_pin_tables(struct cb_build *b, size_t index, struct cb_strmap *v, struct cb_error *err) CB_WUR;
bool cb_build_carries_table(const struct cb_strmap *annotations); /* of another kind, which the layer's own */

/* ---- attest.c: provenance beside each image, as BuildKit stores it ---- */
struct cb_attestation {
    struct cb_descriptor desc;     /* as the index lists it */
    struct cb_manifest manifest;
};
/* What cannot have one. -CB_EUSAGE. */
int cb_attest_check(const struct cb_build *b, struct cb_error *err) CB_WUR;
/* Of the images of the result: into the store and b->attestations, or nothing where none are wanted; the predicates
 * that the result is to tell. */
int cb_attest(struct cb_build *b, struct cb_error *err) CB_WUR;
void cb_attestations_free(struct cb_attestation *v, size_t n); /* v may be NULL */

/* ---- cache_inline.c ---- */
int cb_build_check_inline(const struct cb_build_options *o, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
/* Puts the records of the image's steps into its configuration, where that is wanted. */
void cb_build_inline_cache(const struct cb_build *b, const struct cb_plan_image *image, struct cb_image_config *c);

/* ---- epoch.c: SOURCE_DATE_EPOCH into b->epoch ---- */
int cb_build_check_epoch(struct cb_build *b, struct cb_error *err) CB_WUR; /* a number; -CB_EUSAGE */
int cb_build_context_epoch(struct cb_build *b, int context_fd, const struct cb_df_ignore *ignore,
                           struct cb_error *err) CB_WUR;

/* ---- explain_build.c: what the steps were made from is kept for the next build; with `explain`, res->why. The solver
 * is prepared, and stopped ---- */
void cb_build_explain(struct cb_build *b, int context_fd, bool failed);

/* ---- squash.c: each of solver.images becomes the parent's layers and one more; nothing without --squash ---- */
int cb_build_squash(struct cb_build *b, struct cb_error *err) CB_WUR;

/* ---- estargz.c ---- */
/* An eStargz layer is another tar, with files of its own that no step may see. So steps work with layers of another
 * format, and each of solver.images gets eStargz layers in place of its own ones. Its parent's are left as they are,
 * unless all are to be converted: then these become others, too, also where the format is zstd:chunked. push: each is
 * pushed as soon as it is there. */
int cb_build_estargz(struct cb_build *b, bool push, struct cb_error *err) CB_WUR;
/* recompress.c: the same tars in another encoding, where layers of parents are to be converted and the format is not
 * chunked. */
int cb_build_recompress(struct cb_build *b, bool push, struct cb_error *err) CB_WUR;
bool cb_build_forces_compression(const struct cb_build_options *o);
/* What the solver's layers are made as, for a result in format f. */
struct cb_format cb_build_working_format(const struct cb_format *f);

/* ---- load.c: to docker or podman, whichever is in PATH ---- */
int cb_build_load(const struct cb_export_options *x, struct cb_step *step, struct cb_error *err) CB_WUR;

/* ---- export.c ---- */
/* What an output cannot hold. -CB_EUSAGE. */
int cb_build_check_outputs(const struct cb_build_options *o, struct cb_error *err) CB_WUR;
int cb_build_export(struct cb_build *b, struct cb_error *err) CB_WUR;
/* What new layers are made as: what the outputs say that say it. -CB_EUSAGE where they differ, or where it needs other
 * media types. */
int cb_build_format(const struct cb_build_options *o, struct cb_format *out, struct cb_error *err) CB_WUR;
/* What stays in the store: quickly made, and never taken for what the user asked for. cb_format_check tells whether it
 * can be; that loads a library. */
struct cb_format cb_build_format_aside(const struct cb_build_options *o, const struct cb_format *f);

/* ---- resolve.c ---- */
/* A slot for each of an image's layers, lowest first; free() the array. NULL: layers and diff ids do not match. */
struct cb_slot **cb_build_slots(struct cb_slots *slots, const struct cb_found_image *f, struct cb_error *err);

/* ---- pusher.c: an image or an index to any number of tags, and by digest to where a target has none; each (host,
 * repository) is one push ---- */
struct cb_push_part {
    const struct cb_descriptor *desc;   /* of a manifest or an index in the store */
    const struct cb_manifest *manifest; /* NULL: an index, of parts before it */
    struct cb_slot **layers;            /* parallel to those of the manifest; NULL: their blobs are in the store */
};
/* Lowest first: the last one is what the tags will stand for. Borrows all. */
struct cb_push_set {
    struct cb_push_part *v;
    size_t n;
};
struct cb_pusher;
struct cb_pusher *cb_pusher_new(const struct cb_build_env *env, const struct cb_push_tree_options *o,
                                struct cb_error *err);
/* After a failure: nothing is waited for any more, as cb_push_stop says. What is there stays. */
void cb_pusher_stop(struct cb_pusher *p);
int64_t cb_pusher_heard(const struct cb_pusher *p); /* as cb_push_heard, of all that it pushes to */
void cb_pusher_free(struct cb_pusher *p);
CB_DEFINE_CLEANUP(struct cb_pusher *, cb_pusher_free)
void cb_pusher_set_format(struct cb_pusher *p, const struct cb_format *f);
/* Whether the manifests that will be pushed pin the tables of their new layers: those can go ahead of them. */
void cb_pusher_set_pins(struct cb_pusher *p, bool pins);
/* Who has asked for the tags of the push already (borrowed), and may have answers young enough to be used. */
void cb_pusher_set_ahead(struct cb_pusher *p, struct cb_tags_ahead *ahead);
/* Suits cb_solver.on_layer: starts on a layer whose blob is there (or can be mounted), and leaves others for the
 * end. */
void cb_pusher_layer(void *pusher, struct cb_slot *s);
/* Suits cb_solver.on_parent: a table that our manifest will pin, and the parent's does not, need not wait for that. */
void cb_pusher_parent(void *pusher, struct cb_slot *s);
/* Starts on a layer that an image will have, where that is a push to this host, and waits until it is there: its
 * repository (borrowed), or NULL where nothing is pushed there, or it failed. */
const char *cb_pusher_wait_layer(struct cb_pusher *p, struct cb_slot *s, const struct cb_digest *blob,
                                 const char *host);
/* Suits cb_solver.on_step: uploads are begun for so many layers to come and a configuration. */
void cb_pusher_ahead(void *pusher, unsigned layers);
/* Before the build: what the policy expects of the tags (at once), and, beside what follows, whether we may push there;
 * where we may not, cancel is triggered and cb_pusher_early_failure tells why. */
int cb_pusher_check(struct cb_pusher *p, struct cb_cancel *cancel, struct cb_error *err) CB_WUR;
int cb_pusher_early_failure(struct cb_pusher *p, struct cb_error *err) CB_WUR;
/* Whether every tag is this already, and it is there where it goes by digest; then there is nothing to do. */
int cb_pusher_current(struct cb_pusher *p, const struct cb_descriptor *desc, bool *current, struct cb_error *err)
    CB_WUR;
/* The rest: blobs, configs, manifests by digest, then the tags. Manifests and configs are in the store. */
int cb_pusher_finish(struct cb_pusher *p, const struct cb_push_set *set, struct cb_build_result *res,
                     struct cb_error *err) CB_WUR;

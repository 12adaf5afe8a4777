/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* From a Dockerfile and a context to an image in the store, in files and in registries. DESIGN §2, §3. */

#include "build/isolator.h"
#include "cache/cache.h"
#include "dockerfile/dockerfile.h"
#include "exec/exec.h"
#include "image/image.h"
#include "progress/progress.h"
#include "registry/registry.h"
#include "store/store.h"
#include "util/cancel.h"
#include "util/out_file.h"
#include "util/secret.h"

/* What a build works with; all borrowed, all outlive it. */
struct cb_build_env {
    struct cb_store *store;
    struct cb_registry *registry;
    struct cb_http *http;              /* of ADD and contexts */
    struct cb_progress *progress;
    struct cb_pool *cpu;               /* short CPU jobs: hashing, compressing */
    const struct cb_cancel *cancel;
    enum cb_id_mode id_mode;
    struct cb_isolator *isolator;      /* of RUN; NULL: native */
};

/* Where an annotation goes. The descriptor of a manifest stands in the index, that of the index in an OCI layout. */
enum cb_annotation_level {
    CB_ANNOTATE_MANIFEST, CB_ANNOTATE_INDEX, CB_ANNOTATE_MANIFEST_DESCRIPTOR, CB_ANNOTATE_INDEX_DESCRIPTOR,
};
struct cb_annotation {
    enum cb_annotation_level level;
    struct cb_platform platform;       /* os NULL: every one */
    char *key, *value;
};
struct cb_annotations {
    struct cb_annotation *v;
    size_t n, cap;
};
/* buildx's "[LEVEL[\[PLATFORM]][,…]:]KEY=VALUE", added once for each level; no level: the manifest. -CB_EUSAGE. */
int cb_annotation_parse(struct cb_annotations *to, const char *spec, struct cb_error *err) CB_WUR;
/* One, for a level and maybe a platform: "manifest[linux/amd64]"; NULL: the manifest. -CB_EUSAGE. */
int cb_annotation_add(struct cb_annotations *to, const char *target, const char *key, const char *value,
                      struct cb_error *err) CB_WUR;
void cb_annotations_move(struct cb_annotations *to, struct cb_annotations *from); /* behind those that it has */
void cb_annotations_done(struct cb_annotations *a);

enum cb_output_type {
    CB_OUTPUT_IMAGE, /* store, and push */
    CB_OUTPUT_OCI, CB_OUTPUT_DOCKER, CB_OUTPUT_LOCAL, CB_OUTPUT_TAR,
    CB_OUTPUT_NONE,  /* cacheonly: no more than what steps leave in the store; names are not set */
};
struct cb_output {
    enum cb_output_type type;
    char *dest;                        /* path; "-" is standard output; NULL for IMAGE; DOCKER: NULL is --load */
    bool as_dir;                       /* OCI: a directory (tar=false) */
    bool push;
    bool by_digest;                    /* IMAGE: pushed to its repositories, whatever their tags stand for */
    bool canonical;                    /* IMAGE: the store gets NAME@DIGEST, too */
    bool insecure;                     /* IMAGE: its registries may be without TLS, or without a valid certificate */
    struct cb_strvec names;            /* IMAGE, OCI, DOCKER: name=a,b ; else those of -t */
    struct cb_format format;           /* level CB_LEVEL_DEFAULT: not said */
    bool format_set;                   /* whether its compression was said */
    bool force;                        /* layers of parents, too, are to be of that format */
    bool docker_types;                 /* oci-mediatypes=false */
    struct cb_annotations annotations; /* IMAGE, OCI: annotation.K=V, annotation-index.K=V … */
    char *attestation_prefix;          /* LOCAL, TAR: of the names of attestations; or NULL */
    int platform_split;                /* LOCAL, TAR: a directory for each platform; -1: where there are several */
};
/* "type=oci,dest=out.tar,compression=zstd" or a bare path (= type=local; - is type=tar). -CB_EUSAGE. */
int cb_output_parse(struct cb_output *out, const char *spec, struct cb_error *err) CB_WUR;
void cb_output_done(struct cb_output *o);

enum cb_pull_policy {
    CB_PULL_MISSING, /* a name in the store wins */
    CB_PULL_ALWAYS,
    CB_PULL_NEWER,   /* as ALWAYS, but what the store has will do where the registry cannot be asked */
    CB_PULL_NEVER,
};

/* What RUNs may ask for beyond their sandbox: --allow. */
struct cb_run_rights {
    bool host_network, insecure, any_device;
    const struct cb_strvec *devices;   /* CDI names, or VENDOR/CLASS for all of a class; or NULL */
};

/* What RUN --mount=type=secret and type=ssh may ask for; secrets of certain names are credentials of servers that
 * files and repositories are fetched from (remote_auth.h). */
struct cb_build_secret {
    const char *id;                    /* of two with the same id the later counts */
    const struct cb_secret *value;
    const char *unset;                 /* the variable that it was to be taken from and that is not set, or NULL */
};
struct cb_build_ssh {
    const char *id;
    const char *socket;                /* path of an agent's */
};

/* How the tags of a push may move. */
struct cb_release_policy {
    bool immutable;                    /* none that stands for something else */
    /* What they stand for before: "DIGEST" for every tag, "NAME:TAG=DIGEST" for one; "none" for a tag that is not to be
     * there. A tag that stands for the new manifest already is fine. Or NULL */
    const struct cb_strvec *expect_old;
};
/* What is said of how an image was made: an in-toto statement with SLSA's predicate. doc/provenance.md. */
enum cb_provenance_mode {
    CB_PROVENANCE_OFF,
    CB_PROVENANCE_MIN,                 /* nothing that the user may not want to show: no values of build arguments */
    CB_PROVENANCE_MAX,                 /* with these, the Dockerfile and the steps */
};
struct cb_provenance_options {
    enum cb_provenance_mode mode;      /* OFF: an image without an attestation */
    enum cb_provenance_mode tell;      /* of the result's predicates, apart from that */
    bool v02;                          /* SLSA's version 0.2 instead of 1 */
    bool reproducible;                 /* the user says that it is */
    bool files;                        /* LOCAL and TAR get it, too */
    const char *builder_id;            /* a URI, or NULL */
};
/* An SBOM beside each image, made by a scanner that speaks BuildKit's protocol for SBOM generators. */
struct cb_sbom_options {
    const char *generator;             /* the scanner's image; NULL: no SBOM is made */
    const struct cb_strmap *params;    /* what else it is told, as BUILDKIT_SCAN_<key>; or NULL */
};
/* Platforms built on different machines that become one index. */
struct cb_join {
    const char *id;                    /* the same on each of them, another for the next release */
    const struct cb_platform *expect;  /* in the order of the index */
    size_t n_expect;
};
/* Whether the expectations can be read. -CB_EUSAGE. */
int cb_release_policy_check(const struct cb_release_policy *p, struct cb_error *err) CB_WUR;

struct cb_build_options {
    /* A directory; "-": standard input, a tar or a Dockerfile; an http(s) URL of either; a git repository. */
    const char *context;
    /* Path as given, or a URL. NULL: <context>/Dockerfile; "-": standard input. Of a context that is fetched, a path is
     * one in there. */
    const char *dockerfile;
    const struct cb_strmap *contexts;  /* --build-context: NAME or NAME::PLATFORM → value, names as cb_context_name */
    const char *target;                /* stage name or number, or NULL */
    const struct cb_strvec *tags;      /* references as typed */
    const struct cb_strvec *build_args; /* "K=V", already taken from the environment where bare */
    const char *run_hostname;           /* of RUNs; NULL: the usual one */
    bool keep_git_dir;                  /* of the context, where that is a repository */
    const struct cb_strmap *labels;
    const struct cb_annotations *annotations;
    struct cb_provenance_options provenance;
    struct cb_sbom_options sbom;
    const struct cb_output *outputs;
    size_t n_outputs;                  /* 0: image in the store. All that say a compression say the same */
    bool push;                         /* to every name */
    struct cb_release_policy release;  /* of what is pushed */
    const struct cb_join *join;        /* or NULL; for one platform, with push */
    bool no_cache;
    bool no_stat_cache;                /* every file of the context is read */
    const struct cb_cancel *cancel;    /* of cb_build_check without an env: ends the waiting for standard input */
    const struct cb_strvec *no_cache_filter; /* stages whose steps are all run; or NULL */
    const struct cb_cache_spec *cache_from, *cache_to;
    size_t n_cache_from, n_cache_to;
    const struct cb_cache_spec *mount_from, *mount_to; /* of what cache mounts hold */
    size_t n_mount_from, n_mount_to;
    int64_t cache_ttl;                 /* ns: records that are older do not count; 0: all do */
    enum cb_pull_policy pull;
    const struct cb_platform *platforms; /* each once; several make an index */
    size_t n_platforms;                /* 0: the host's */
    enum cb_network network;           /* of RUN */
    const struct cb_strvec *extra_hosts;
    const struct cb_build_secret *secrets;
    size_t n_secrets;
    const struct cb_build_ssh *ssh;
    size_t n_ssh;
    struct cb_dns dns;
    struct cb_run_rights allow;
    const struct cb_limits *limits;    /* of each RUN, or NULL; not part of the cache keys */
    const struct cb_strvec *cdi_dirs;  /* NULL: the usual ones */
    struct cb_format format;           /* of new layers when no output says it */
    bool docker_types;                 /* Docker's media types */
    bool force_compression;            /* layers of parents, too, are to be of the format; so where an output says it */
    const char *epoch;                 /* "context" or seconds; NULL: SOURCE_DATE_EPOCH of build_args or environment */
    bool no_tables;                    /* manifests of new images do not pin the tables of their layers */
    bool explain;                      /* the result tells why steps were run */
    bool exact_times;                  /* every time in new layers is the epoch, older ones too */
    bool squash, squash_all;
    const struct cb_strvec *env, *unset_env, *unset_labels; /* of the image, at the very end; or NULL */
    const char *ignorefile;            /* instead of .dockerignore, or NULL */
    unsigned jobs;                     /* steps at a time; 0: by processors */
    /* of the checks */
    bool check_all;                    /* all stages, where there is no target */
    bool check_report_only;            /* violations are no errors, whatever the Dockerfile says */
    const struct cb_strvec *check_skip, *check_experimental; /* rules; may be NULL */
};

/* The name of a named context as it is looked up: of "docker.io/library/busybox:latest", "busybox". The platform behind
 * "::" stays. Owned by the caller. */
char *cb_context_name(const char *text);
/* Whether a value can be a context at all, before anything is opened: a directory's path, a URL, a repository; with
 * `named`, docker-image:// and oci-layout:// too, and a path must be one of a directory that is there. -CB_EUSAGE;
 * what: how the message begins. */
int cb_context_check(const char *what, const char *value, bool named, struct cb_error *err) CB_WUR;

/* What came out. */
struct cb_build_tag {
    char *name;                        /* canonical; of one by digest without that */
    bool pushed;
    bool by_digest;                    /* no tag: what its repository has is NAME@DIGEST */
    bool canonical;                    /* the store has NAME@DIGEST */
    bool moved;                        /* the registry's tag changed */
    struct cb_digest old;              /* of a tag that was pushed: what it stood for; unset: it was not there */
};
struct cb_build_blob {                 /* what a push did, over all targets */
    struct cb_digest digest;
    uint64_t size, sent;
    enum cb_blob_outcome outcome;
};
struct cb_build_step {                 /* of the graph */
    char *name;
    bool cached;
    int64_t ns;                        /* how long it took; 0 where it was not run */
    char *from;                        /* the shared cache that its layer was found in, or NULL */
};
/* Why a step was run, or that a parent is another, compared with the last build of this Dockerfile, context, target. */
struct cb_build_why {
    unsigned line;
    char *place, *name, *step;         /* "Dockerfile:7", "[2/4] COPY a /", "COPY a /" */
    char *reason;                      /* for people: "a changed (sha256:ab… → sha256:cd…)" */
    char *input, *was, *is;            /* the first input that differs; each may be NULL: there is none */
};
struct cb_build_predicate {            /* SLSA's, as JSON */
    char *platform, *text;
};
struct cb_build_result {
    /* what the names stand for: the manifest, or the index of several platforms, or of what is attested */
    struct cb_descriptor desc;
    struct cb_image *images;           /* one a platform, in the order asked for */
    size_t n_images;
    struct cb_build_tag *tags;         /* after a failure: those that were moved, and could not be moved back */
    size_t n_tags;
    struct cb_build_blob *blobs;
    size_t n_blobs;
    unsigned steps, cached;            /* of the graph: all, and those that were not run */
    struct cb_build_step *step_list;
    size_t n_step_list;
    struct cb_build_why *why;          /* with `explain`; in the order of the lines */
    size_t n_why;
    struct cb_build_predicate *predicates; /* one an image where provenance.tell wants them, else NULL */
    char *engine;                      /* what new layers were compressed with, or NULL */
    struct cb_descriptor joined;       /* the index that the join made; media_type NULL: others are waited for */
    bool was_current;                  /* pushed to nobody: every tag had this digest already */
    struct cb_dockerfile *dockerfile;  /* kept for warnings and excerpts */
    struct cb_df_span failed;          /* where the failing step stands; first 0: nowhere */
    char *failed_trigger;              /* the ONBUILD of the parent that it is, "ONBUILD of IMAGE: RUN make", or NULL */
    char *failed_log;                  /* "------\n > [2/4] RUN make:\n…", or NULL */
    int64_t t_resolve, t_build, t_push; /* ns, wall clock of the phases (they overlap) */
};
void cb_build_result_done(struct cb_build_result *r);
/* Fills *res also where it fails (dockerfile, failed, failed_trigger, failed_log). */
int cb_build_run(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                 struct cb_error *err) CB_WUR;

/* Reads what a build reads, and checks it: res->dockerfile and its warnings. Runs nothing. env: parents are resolved;
 * NULL: nothing is opened but the files. */
int cb_build_check(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                   struct cb_error *err) CB_WUR;
/* What the target takes from outside. Reads the files only; env may be NULL unless they have to be fetched. */
int cb_build_outline(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                     struct cb_df_outline *out, struct cb_error *err) CB_WUR;
/* Whether Dockerfile or context are not on this machine's file systems. */
bool cb_build_fetches(const struct cb_build_options *o);

/* An image of the store (manifest and config; maybe not its layers), and the repository that has the rest. */
struct cb_found_image {
    struct cb_image image;
    struct cb_digest top;              /* what the reference named: maybe an index */
    char *host, *repo;                 /* NULL: only what the store knows of its layers */
};
void cb_found_image_done(struct cb_found_image *f);
#define cb_cleanup_found_image CB_CLEANUP(cb_found_image_done)

struct cb_find_options {
    const struct cb_reference *ref;
    const struct cb_platform *platform;
    enum cb_pull_policy policy;
    bool layers; /* will be read as soon as the image is known: those that the store lacks are asked for meanwhile */
};
/* A reference to an image in the store, pulled (manifest, config; layers are another call) where the policy says so. */
int cb_build_resolve(const struct cb_build_env *env, const struct cb_find_options *o, struct cb_found_image *out,
                     struct cb_error *err) CB_WUR;
/* Layers of an image made present: for pull (blobs), run (trees), save (blobs). needs: CB_NEED_*. */
enum { CB_NEED_TOC = 1, CB_NEED_TREE = 2, CB_NEED_BLOB = 4 };
int cb_build_fetch_layers(const struct cb_build_env *env, const struct cb_found_image *f, unsigned needs,
                          struct cb_step *step, struct cb_error *err) CB_WUR;
/* Blobs of all that is below it, which may be an index; what is no image has to be there. */
int cb_build_fetch_tree(const struct cb_build_env *env, const struct cb_image_tree *tree, struct cb_step *step,
                        struct cb_error *err) CB_WUR;
/* Pushes an image of the store, or an index with everything that it lists: `push` verb. host/repo origins come from the
 * store's layer rows. */
struct cb_push_tree_options {
    const struct cb_reference *targets; /* without a tag: by digest */
    size_t n_targets;
    struct cb_release_policy release;
};
int cb_build_push_tree(const struct cb_build_env *env, const struct cb_image_tree *tree,
                       const struct cb_push_tree_options *o, struct cb_build_result *res, struct cb_error *err) CB_WUR;

/* A tag as it was before a release: `rollback`. */
struct cb_rollback {
    struct cb_reference ref;           /* with a tag */
    struct cb_digest old, now;         /* old unset: there was none, so the tag is deleted; now: what it was made */
    enum cb_rollback_outcome { CB_ROLLBACK_DONE = 1, CB_ROLLBACK_WAS_SO, CB_ROLLBACK_FAILED } outcome;
};
/* First looks at all of them: one that is neither old nor now was moved by somebody else, and then nothing is done
 * (-CB_EVERIFY) unless force. Then the last first; goes on where one fails, and tells the first failure. */
int cb_build_rollback(const struct cb_build_env *env, struct cb_rollback *v, size_t n, bool force,
                      struct cb_error *err) CB_WUR;

/* One container of an image, to its end: the `run` verb. What it changes is dropped. */
struct cb_run_options {
    const struct cb_strvec *command;   /* replaces CMD; empty: CMD as it is */
    const char *entrypoint;            /* replaces ENTRYPOINT ("" clears it) and drops CMD; or NULL */
    const struct cb_strvec *env;       /* "K=V"; "K" takes it away */
    const char *workdir, *user, *hostname; /* or NULL */
    const struct cb_strvec *volumes;   /* "SOURCE:TARGET[:ro|rw]", source an absolute host path */
    const struct cb_strvec *tmpfs;     /* "TARGET[:OPTION,…]": size=BYTES mode=OCTAL ro rw; or NULL */
    const struct cb_strvec *extra_hosts; /* "name ip", or NULL */
    const struct cb_dns *dns;          /* or NULL */
    const struct cb_limits *limits;    /* or NULL */
    const struct cb_port *ports;
    size_t n_ports;
    enum cb_network network;
    bool interactive, tty, readonly;
};
int cb_build_run_image(const struct cb_build_env *env, const struct cb_found_image *f, const struct cb_run_options *o,
                       int *status, struct cb_error *err) CB_WUR;

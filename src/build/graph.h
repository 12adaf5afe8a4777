/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The plan of a build: what the planner (plan*.c) makes and the solver (solve.c, op_*.c) works off. Everything is
 * expanded and typed; nothing here depends on the text of the Dockerfile any more but names and spans for people.
 *
 * Only reachable stages are in it. Image configuration is computed entirely by the planner: instructions without a
 * file system effect are no vertices. */

#include "build/build.h"
#include "build/fetch.h"

struct cb_vertex;

enum cb_vertex_kind {
    CB_VERTEX_SOURCE,
    CB_VERTEX_RUN,
    CB_VERTEX_COPY,
    CB_VERTEX_MKDIR,
    CB_VERTEX_LINK, /* the layers of base, then those of from: COPY --link, whose COPY has no base */
    CB_VERTEX_HTTP,
    CB_VERTEX_GIT,
};

/* A parent image, resolved. One per distinct (reference, platform). */
struct cb_plan_source {
    char *text;                  /* as written, expanded */
    struct cb_reference ref;
    struct cb_platform platform;
    struct cb_image image;       /* manifest and config; descriptor of the manifest */
    char *host, *repo;           /* where its blobs are; NULL: only in the store */
    struct cb_layout_ref *layout; /* of an OCI layout on the disk, and ref is empty; or NULL */
    struct cb_digest top;        /* what the name stood for: maybe an index */
    struct cb_df_span span;      /* of the first instruction that names it */
    bool runs;                   /* a RUN of a stage that is needed stands on it */
    struct cb_vertex *vertex;
    struct cb_step *step;        /* "[internal] load metadata for …" */
    int result;                  /* of the resolving thread */
    struct cb_error err;
};

/* RUN --mount: variables expanded, defaults filled in, everything checked. */
struct cb_run_mount {
    enum cb_df_mount_type type;
    char *target;                /* absolute, cleaned, not "/"; NULL: a secret that is only a variable */
    /* BIND, CACHE: what is shown, or begun with */
    enum cb_mount_from { CB_MOUNT_FROM_EMPTY, CB_MOUNT_FROM_CONTEXT, CB_MOUNT_FROM_VERTEX } from_kind;
    struct cb_vertex *from;      /* one of the vertex's inputs */
    char *source;                /* cleaned, no leading '/', "" = all of it */
    bool readonly, required;
    char *id;                    /* CACHE (with its name space), SECRET, SSH */
    char *env;                   /* SECRET, or NULL */
    enum cb_mount_sharing sharing;
    bool fresh;                  /* CACHE: a new directory is empty and has this mode and these owners */
    uint32_t mode, uid, gid;     /* CACHE, SECRET, SSH */
    uint64_t size;               /* TMPFS; 0: no limit */
};

struct cb_run_op {
    struct cb_strvec argv;       /* complete: SHELL + text, or the exec form */
    struct cb_strvec
        env; /* image ENV, then in-scope ARGs, then proxy args: what the process gets (PATH always there) */
    struct cb_strvec key_env;    /* the same without predefined proxy args: what goes into the key */
    struct cb_strvec arg_names;  /* of its variables, those that are ARGs */
    char *cwd;
    char *user;                  /* as USER says; NULL: root */
    enum cb_network network;
    char *script; /* RUN heredoc with a shebang: body to be mounted executable at script_path; else NULL */
    char *script_path;           /* "/dev/pipes/EOF" */
    struct cb_run_mount *mounts; /* in the order of the Dockerfile */
    size_t n_mounts;
    bool insecure;
    struct cb_strvec devices;    /* CDI names behind '!' (required) or '?' */
    char *interpreter;           /* of a foreign platform: has to be in the root; NULL in a plan */
};

struct cb_copy_op {
    bool add;                    /* ADD: archives are extracted */
    int unpack;                  /* ADD --unpack: -1 default, 0, 1 */
    struct cb_strvec sources;    /* cleaned, no leading '/', wildcards kept */
    /* --parents: of each source what is copied below it, a pattern of .dockerignore's language; else empty */
    struct cb_strvec below;
    struct cb_strvec file_names, file_bodies; /* inline files (heredocs), bodies expanded */
    char *dest;                  /* absolute (joined with WORKDIR), trailing '/' kept where it means a directory */
    char *chown;                 /* "user:group" or NULL */
    char *chmod;                 /* octal or symbolic, checked; or NULL */
    struct cb_strvec exclude;
};

struct cb_mkdir_op {             /* WORKDIR */
    char *path;                  /* absolute, cleaned */
    char *user;                  /* owner of what is made: USER, or NULL */
};

/* A named context that is a directory. */
struct cb_plan_local {
    char *name, *path;
    struct cb_vertex *vertex;    /* all of it as a layer, where somebody needs that; or NULL */
    struct cb_df_ignore *ignore; /* its own .dockerignore; these two are the solver's */
    struct cb_context *context;
};

void cb_plan_local_free(struct cb_plan_local *l);

/* HTTP, GIT: what is fetched becomes one layer on nothing, put together as a COPY puts it (v->copy). */
struct cb_remote_op {
    char *url;                   /* HTTP */
    char *name;                  /* HTTP: what the file is called; an archive that is unpacked becomes a directory */
    bool unpack;
    bool as_root;                /* HTTP: what was unpacked is the root */
    struct cb_git_ref git;       /* GIT */
    struct cb_digest content;    /* HTTP: --checksum, or what the solver found */
    bool pinned;                 /* content is --checksum: nobody has to be asked */
    char *last_modified;         /* HTTP: found by the solver; NULL where pinned */
    char *commit;                /* GIT: found by the solver */
    bool authorized;             /* found by the solver: credentials may have a part in what is fetched */
};
void cb_remote_op_done(struct cb_remote_op *op);

struct cb_vertex {
    enum cb_vertex_kind kind;
    unsigned id;                 /* index in the graph: inputs have smaller ones */
    struct cb_platform platform; /* of what it works on: for which a RUN's programs are made */
    struct cb_df_span span;
    char *name;                  /* "[builder 2/4] RUN pip install …" */
    char *note;                  /* the instruction: "RUN pip install …"; of URLs, what may be shown */
    char *stage;                 /* whose step it is: name or number; NULL: made for what a name stands for */
    unsigned position;           /* in its stage, from 1 */
    struct cb_vertex *base;      /* the file system it works on; NULL: empty */
    struct cb_vertex *from;      /* COPY --from, or what a LINK puts on; NULL: the context (or inline files only) */
    bool from_scratch;           /* COPY --from of a stage that is empty */
    struct cb_vertex **inputs;   /* what else has to be there: RUN --mount=from=; none twice */
    size_t n_inputs, cap_inputs;
    struct cb_plan_local *local; /* COPY from a named context instead of the main one; or NULL */
    bool implied;                /* made for what a name stands for: no instruction's own step */
    char *trigger;               /* an ONBUILD of its stage's parent, as it is shown: span is that of FROM; or NULL */
    struct cb_plan_source *source; /* SOURCE */
    struct cb_run_op run;
    struct cb_copy_op copy;
    struct cb_mkdir_op mkdir;
    struct cb_remote_op remote;
    struct cb_step *step;
    bool no_cache;               /* no record of it is asked for */
    struct cb_solve_state *state; /* the solver's own; NULL in a plan */
};

/* History entries of the target stage in order; those with a vertex get their time and emptiness from its result. */
struct cb_plan_history {
    char *created_by;
    struct cb_vertex *vertex;    /* NULL: configuration only */
};

#define CB_SBOM_DIR "run/out"

/* What comes out for one platform. */
struct cb_plan_image {
    struct cb_platform platform; /* as asked for */
    struct cb_vertex *goal;      /* of the target stage; NULL: `FROM scratch` with nothing on it */
    struct cb_vertex *scan;      /* the RUN that leaves its SBOM in CB_SBOM_DIR; NULL: none is made */
    struct cb_plan_source *base; /* the parent image at the bottom of the target stage's chain; NULL: scratch */
    struct cb_image_config config; /* of the result; rootfs, created and history still those of nothing */
    struct cb_plan_history *history; /* on top of the base's own, all stages of the chain, in order */
    size_t n_history, cap_history;
};

/* One graph for all platforms. What does not depend on the platform stands in it once for each of them: the solver
 * finds by its keys that it is the same. */
struct cb_plan {
    struct cb_vertex **vertices; /* topological */
    size_t n, cap;
    struct cb_plan_source **sources;
    size_t n_sources, cap_sources;
    struct cb_plan_image *images; /* one a platform, in the order asked for */
    size_t n_images;
    struct cb_plan_source **parents; /* of each stage of the Dockerfile; NULL: another stage, scratch, or not asked */
    size_t n_parents;
    struct cb_plan_local **locals;
    size_t n_locals, cap_locals;
    bool needs_context;          /* some COPY, ADD or mount reads it */
    char *failed_trigger;        /* where planning failed in one */
};

/* How the planner gets at parent images: called from several threads at once. Fills image, host, repo of src. */
struct cb_plan_options {
    const struct cb_build_options *build;
    const struct cb_dockerfile *dockerfile;
    int (*resolve)(void *arg, struct cb_plan_source *src, struct cb_error *err);
    void *resolve_arg;
    struct cb_cancel *cancel;    /* triggered by the first that cannot be resolved; or NULL */
    struct cb_progress *progress;
    bool parents_only;           /* of all stages where there is no target; nothing else is planned */
};
/* -CB_ECONF: "Dockerfile:12: …". *failed (may be NULL) gets the span of an error that belongs to an instruction. */
int cb_plan_make(const struct cb_plan_options *o, struct cb_plan *out, struct cb_df_span *failed,
                 struct cb_error *err) CB_WUR;
void cb_plan_done(struct cb_plan *p);
/* Whether it is one of the predefined arguments by which RUNs learn of proxies. */
bool cb_plan_is_proxy_arg(const char *name);
/* Puts "linux/arm64: " before an error that concerns one of several platforms. */
void cb_build_wrap_platform(struct cb_error *err, const struct cb_platform *platform);

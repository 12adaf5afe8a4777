/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the steps of builds made, told to other machines: records, the artifacts that hold them, and the places
 * (registries, directories) that keep those. doc/cache.md has the format. Nothing of what comes out of a place is
 * believed before it is checked; what is wrong counts as not there. */

#include "layer/layer.h"
#include "oci/blob_io.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "registry/registry.h"
#include "util/cancel.h"

#define CB_MT_CACHE_STEP "application/vnd.cbpush.cache.step.v1"
#define CB_MT_CACHE_RUN "application/vnd.cbpush.cache.run.v1"
#define CB_MT_CACHE_RECORDS "application/vnd.cbpush.cache.records.v1+json"
#define CB_CACHE_MAX_IMAGES 64             /* of an index, whose records are read */
#define CB_CACHE_MAX_STEPS 10000
#define CB_CACHE_MAX_LAYERS 20000
#define CB_CACHE_MAX_TOC (UINT64_C(512) << 20) /* bytes of a table that a place may give */
#define CB_CACHE_SIGNATURE 64              /* bytes: ed25519 */

/* ---- records ---- */
struct cb_cache_layer {
    struct cb_digest diff_id;
    uint64_t size;                 /* of the tar; UINT64_MAX: not known */
    struct cb_layer_encoding blob; /* digest NONE: it is the parent image's, which has it */
    struct cb_digest toc;          /* of its table as a blob of the place; NONE: there is none */
    uint64_t toc_size;
    char *toc_data;                /* base64 of a small one, which is no blob then; or NULL */
};
struct cb_cache_step {
    struct cb_digest key;          /* sha256 */
    bool whole;                    /* layers is the whole result; else only what the step added (0 or 1) on any base */
    int64_t created;               /* ns */
    char *note;                    /* for people: "RUN make"; or NULL */
    uint32_t *layers;              /* positions in the set's, lowest first */
    size_t n_layers;
    struct cb_digest content;      /* sha256 of what the step got, whatever the times (key.h); NONE: not told */
    bool added;                    /* with content: the last layer is the step's own; else it made none */
    bool is_signed;
    uint8_t signature[CB_CACHE_SIGNATURE];
};
/* Records and the layers that they name, each once. */
struct cb_cache_set {
    struct cb_cache_layer *layers;
    size_t n_layers, cap_layers;
    struct cb_cache_step *steps;
    size_t n_steps, cap_steps;
};
void cb_cache_set_done(struct cb_cache_set *s);
#define cb_cleanup_cache_set CB_CLEANUP(cb_cache_set_done)
/* Adds a copy unless the same blob of the same diff id is there; its position. */
uint32_t cb_cache_set_layer(struct cb_cache_set *s, const struct cb_cache_layer *l);
/* Adds an empty one, valid until the next call. */
struct cb_cache_step *cb_cache_set_step(struct cb_cache_set *s, const struct cb_digest *key);
void cb_cache_step_add(struct cb_cache_step *step, uint32_t layer);
/* Adds a copy of a step of another set, with its layers. NULL: there is one of that key already. */
struct cb_cache_step *cb_cache_set_copy(struct cb_cache_set *to, const struct cb_cache_set *from,
                                        const struct cb_cache_step *step);
const struct cb_cache_step *cb_cache_set_find(const struct cb_cache_set *s, const struct cb_digest *key);
/* Strict (-CB_EVERIFY); members that we do not know are passed over. */
int cb_cache_set_parse(struct cb_cache_set *out, const char *text, size_t len, struct cb_error *err) CB_WUR;
void cb_cache_set_print(struct cb_strbuf *out, const struct cb_cache_set *s);

/* ---- signatures ---- */
struct cb_cache_key;
/* An ed25519 key in PEM, without passphrase: a private one to sign, a public one to verify. -CB_EUSAGE. */
int cb_cache_key_read(const char *path, bool secret, struct cb_cache_key **out, struct cb_error *err) CB_WUR;
void cb_cache_key_free(struct cb_cache_key *k);
CB_DEFINE_CLEANUP(struct cb_cache_key *, cb_cache_key_free)
int cb_cache_sign(const struct cb_cache_key *k, const struct cb_cache_set *set, struct cb_cache_step *step,
                  struct cb_error *err) CB_WUR;
bool cb_cache_verify(const struct cb_cache_key *k, const struct cb_cache_set *set, const struct cb_cache_step *step);

/* ---- artifacts: OCI manifests that hold records and the blobs which these name ---- */
struct cb_cache_artifact {
    struct cb_descriptor desc;     /* of body */
    struct cb_strbuf body;         /* the manifest */
    struct cb_strbuf config;       /* the records */
    struct cb_manifest manifest;   /* body, parsed */
};
#define CB_CACHE_ARTIFACT_INIT { .body = CB_STRBUF_INIT, .config = CB_STRBUF_INIT }
void cb_cache_artifact_done(struct cb_cache_artifact *a);
#define cb_cleanup_cache_artifact CB_CLEANUP(cb_cache_artifact_done)
struct cb_cache_artifact_options {
    const struct cb_cache_set *set;
    const char *type;              /* CB_MT_CACHE_STEP or RUN */
    const uint32_t *layers;        /* positions: those whose blobs and tables it keeps alive; NULL: all */
    size_t n_layers;
    int64_t created;               /* ns */
};
/* *out is CB_CACHE_ARTIFACT_INIT. */
int cb_cache_artifact_make(struct cb_cache_artifact *out, const struct cb_cache_artifact_options *o,
                           struct cb_error *err) CB_WUR;
/* The manifest of a place. config is left empty where the records do not stand in it: then the blob that the manifest
 * names has to be asked for. -CB_EVERIFY where it is no artifact of ours. */
int cb_cache_artifact_parse(struct cb_cache_artifact *out, const char *body, size_t len, struct cb_error *err) CB_WUR;

/* ---- --cache-to and --cache-from ---- */
enum cb_cache_type { CB_CACHE_REGISTRY, CB_CACHE_LOCAL, CB_CACHE_INLINE };
struct cb_cache_spec {
    enum cb_cache_type type;
    bool to;                       /* of --cache-to */
    bool mount;                    /* of --cache-mount-to, --cache-mount-from: no tag, no steps */
    char *text;                    /* as written */
    struct cb_reference ref;       /* REGISTRY: its tag is that of the run index; none: it is made up */
    char *path, *tag;              /* LOCAL */
    bool all_steps;                /* mode=max: also those that the result has no layer of */
    bool ignore_error;
    bool compression_set;          /* must be that of the image */
    struct cb_format format;
    char *key_file;                /* sign-key, verify-key; or NULL */
    bool no_claim;                 /* claim=false: nobody is waited for */
    int64_t claim_wait;            /* ns: so long at most */
};
#define CB_CACHE_CLAIM_WAIT (INT64_C(3600) * 1000000000)
/* "type=registry,ref=…", "type=local,dest=…|src=…", "type=inline", or the name of a repository or image. -CB_EUSAGE. */
int cb_cache_spec_parse(struct cb_cache_spec *out, const char *text, bool to, struct cb_error *err) CB_WUR;
/* The same of --cache-mount-to and --cache-mount-from: REGISTRY or LOCAL. */
int cb_cache_mount_spec_parse(struct cb_cache_spec *out, const char *text, bool to, struct cb_error *err) CB_WUR;
void cb_cache_spec_done(struct cb_cache_spec *s);

/* ---- places ---- */
struct cb_cache_place;
/* What a kind of place can do; S3 and the like are another row. Names are tags; of manifests of others (get) also
 * digests as text. Everything may be called from any thread. */
struct cb_cache_place_ops {
    /* A manifest, unchecked but for a digest in its name. -CB_ENOTFOUND. */
    int (*get)(struct cb_cache_place *p, const char *name, struct cb_strbuf *out, struct cb_error *err);
    /* Verified as it streams. */
    int (*blob)(struct cb_cache_place *p, const struct cb_descriptor *d, struct cb_blob_source **out,
                struct cb_error *err);
    int (*has)(struct cb_cache_place *p, const struct cb_descriptor *d, struct cb_error *err); /* 1, 0 */
    /* All names that stand there. */
    int (*list)(struct cb_cache_place *p, struct cb_strvec *out, struct cb_error *err);
    /* The name; with ours, an artifact of ours that no other name has. */
    int (*remove)(struct cb_cache_place *p, const char *name, bool ours, struct cb_error *err);
    /* After removing: frees what nothing names any more, where the place does not do that itself; or NULL. */
    int (*sweep)(struct cb_cache_place *p, struct cb_error *err);
    /* Only where it was opened to be written: */
    int (*exists)(struct cb_cache_place *p, const char *name, struct cb_error *err); /* 1, 0 */
    /* Begins to bring a blob; put waits for it. */
    int (*add)(struct cb_cache_place *p, const struct cb_push_blob *b, struct cb_error *err);
    /* The artifact, when all its blobs are there; its config is brought here. replace: also where the name stands for
     * something else, which else is left alone. */
    int (*put)(struct cb_cache_place *p, const char *name, const struct cb_cache_artifact *a, bool replace,
               struct cb_error *err);
    /* Claims are either locks: 1 with *fd, 0: another process has it; … */
    int (*lock)(struct cb_cache_place *p, const char *name, int *fd, struct cb_error *err);
    void (*unlock)(struct cb_cache_place *p, const char *name, int *fd);
    /* … or (lock NULL) manifests without blobs, which anybody puts in the place of another's. peek never asks a mirror;
     * unmark removes one, with every name that it has. */
    int (*peek)(struct cb_cache_place *p, const char *name, struct cb_strbuf *out, struct cb_error *err);
    int (*mark)(struct cb_cache_place *p, const char *name, const struct cb_descriptor *d, struct cb_slice body,
                struct cb_error *err);
    int (*unmark)(struct cb_cache_place *p, const struct cb_digest *d, struct cb_error *err);
    /* Where writing waits for somebody else: when that was last heard of (monotonic, ns; 0: never), and the end of
     * it. After that claims can be taken back for a moment, and nothing else be done. NULL: it only takes its time. */
    int64_t (*heard)(const struct cb_cache_place *p);
    void (*stop)(struct cb_cache_place *p);
    void (*close)(struct cb_cache_place *p);
};
struct cb_cache_place {
    const struct cb_cache_place_ops *ops;
    char *text;                    /* for people: "registry HOST/REPO", "directory DIR" */
    const char *host, *repo;       /* where blobs can be mounted from, or NULL */
    char *run;                     /* name of its run index */
};
struct cb_cache_place_options {
    const struct cb_cache_spec *spec; /* REGISTRY or LOCAL */
    const char *run;               /* name of the run index where the spec names none */
    struct cb_registry *registry;  /* for REGISTRY */
    const struct cb_cancel *cancel;
    bool write;
};
int cb_cache_place_open(const struct cb_cache_place_options *o, struct cb_cache_place **out,
                        struct cb_error *err) CB_WUR;
void cb_cache_place_close(struct cb_cache_place *p);
CB_DEFINE_CLEANUP(struct cb_cache_place *, cb_cache_place_close)

/* The bytes of a table, as they are kept in places. */
int cb_cache_toc_source(const struct cb_toc *toc, struct cb_blob_source **out);

/* ---- reading ---- */
struct cb_cache_source;
struct cb_cache_source_options {
    struct cb_cache_place_options place;
    struct cb_progress *progress;
    int64_t newer_than;            /* ns: records made before that do not count; INT64_MIN: all do */
    bool (*have)(void *arg, const struct cb_digest *blob); /* it is here: the place need not be asked; or NULL */
    void *arg;
};
int cb_cache_source_open(const struct cb_cache_source_options *o, struct cb_cache_source **out,
                         struct cb_error *err) CB_WUR;
void cb_cache_source_close(struct cb_cache_source *s);
CB_DEFINE_CLEANUP(struct cb_cache_source *, cb_cache_source_close)
struct cb_cache_place *cb_cache_source_place(const struct cb_cache_source *s);
/* Asks for records, all at once: the run index, then what it does not have, then whether the blobs are there. Where the
 * spec has a verify-key, only what that signed counts. What cannot be read is a warning, and the whole place from then
 * on where it does not answer. */
void cb_cache_source_fetch(struct cb_cache_source *s, const struct cb_digest *keys, size_t n);
/* What is known by now; NULL: nothing. Valid until close. */
struct cb_cache_found {
    const struct cb_cache_set *set;
    const struct cb_cache_step *step;
};
bool cb_cache_source_find(struct cb_cache_source *s, const struct cb_digest *key, struct cb_cache_found *out);
/* Of the records that were read, whatever they were asked for by: one whose step got the same (content), and whose own
 * layer is there, which is asked at most once. */
bool cb_cache_source_find_content(struct cb_cache_source *s, const struct cb_digest *content,
                                  struct cb_cache_found *out);
/* Whether one tells the content of a step of this note: else nobody need know the content of anything. */
bool cb_cache_source_has_content(struct cb_cache_source *s, const char *note);
/* Of the records that were read, whatever they were asked for by: one that tells of a table of this layer; or NULL. */
const struct cb_cache_layer *cb_cache_source_table(struct cb_cache_source *s, const struct cb_digest *diff_id);
bool cb_cache_source_answers(struct cb_cache_source *s); /* it did so far */
/* What the place has under the key, as far as that was asked: nothing that is known, a record that counts, or one that
 * does not (damaged, of another step, without its blobs), which had better be replaced. */
enum cb_cache_state { CB_CACHE_UNKNOWN, CB_CACHE_GOOD, CB_CACHE_BAD };
enum cb_cache_state cb_cache_source_state(struct cb_cache_source *s, const struct cb_digest *key);

/* ---- claims: of builds that would run the same step at once, one does. claim.c says how.
 * A claim is only ever a reason to wait a while: nothing depends on its being right. ---- */
#define CB_MT_CACHE_CLAIM "application/vnd.cbpush.cache.claim.v1"
#define CB_CACHE_CLAIM_BEAT (INT64_C(5) * 1000000000)  /* ns: who has one says so at least so often */
#define CB_CACHE_CLAIM_DEAD (INT64_C(20) * 1000000000) /* ns: who has not for so long is dead */
#define CB_CACHE_CLAIM_TURNS 2 /* so many builds one after the other; where those leave no record, everybody runs it */
enum cb_cache_claim_state {
    CB_CLAIM_ASKING,   /* it takes a few round trips to know */
    CB_CLAIM_OURS,     /* run it, and end the claim when the record is there */
    CB_CLAIM_OTHERS,   /* another build runs it */
    CB_CLAIM_RECORDED, /* the record is there */
    CB_CLAIM_NONE      /* run it, whoever else does: the place takes no claims, or it was waited for long enough */
};
struct cb_cache_claim_options {
    struct cb_cache_place *place;     /* that is written */
    struct cb_digest key;
    int64_t max_wait;                 /* ns */
    int64_t (*now)(void *arg);        /* ns, monotonic */
    bool (*recorded)(void *arg);      /* looks again whether there is a record: a round trip */
    void *arg;
};
struct cb_cache_claim;
struct cb_cache_claim *cb_cache_claim_new(const struct cb_cache_claim_options *o);
/* Does what is due, one request or two, and tells when to be called again (INT64_MAX: never). By one thread at a
 * time. */
int64_t cb_cache_claim_go(struct cb_cache_claim *c, enum cb_cache_claim_state *state);
/* Takes it from the place, if anything of it is there. */
void cb_cache_claim_free(struct cb_cache_claim *c);
/* A manifest of a place that is one. *created: ns; *live: it is not what is left of one that could not be deleted. */
bool cb_cache_claim_read(const char *body, size_t len, int64_t *created, bool *live);
/* Its name in a place; the caller's. */
char *cb_cache_claim_name(const struct cb_digest *key);
bool cb_cache_claim_is_name(const char *name);

/* ---- what is in a place ---- */
struct cb_cache_item {
    char *name;
    bool run, mount;               /* a run index, a cache mount; else a step, whose name is its key */
    bool claim, ended;             /* … or the claim of a build that runs one, or what is left of that */
    bool broken;                   /* the name of one of them, but none */
    int64_t created;               /* ns; of a run index or a mount, when it was last used, to a day */
    uint64_t size;                 /* of the blobs that it keeps */
    char *note;                    /* or NULL */
    struct cb_strvec keys;         /* of a run index: the names of its steps */
};
struct cb_cache_items {
    struct cb_cache_item *v;       /* newest first */
    size_t n, cap;
};
void cb_cache_items_done(struct cb_cache_items *l);
/* Of a place that also has other things (images under tags) only what is ours. */
int cb_cache_list(struct cb_cache_place *p, struct cb_cache_items *out, struct cb_error *err) CB_WUR;
struct cb_cache_prune_options {
    int64_t older_than;            /* ns: what was made, or used by a run index, since then stays */
    size_t keep;                   /* so many of the newest steps stay as well */
    bool dry_run;
    void (*each)(void *arg, const struct cb_cache_item *item); /* what is removed, or would be; may be NULL */
    void *arg;
};
int cb_cache_prune(struct cb_cache_place *p, const struct cb_cache_prune_options *o, struct cb_error *err) CB_WUR;

#include "cache/mount.h"

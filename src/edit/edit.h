/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Looking into images and changing them where they are: in a registry, without a copy in the store. What is looked at
 * is fetched and verified as far as a question needs it; what is changed is JSON, edited member by member, so that
 * what we do not know survives, and what is not touched keeps its bytes and its digest. image-spec manifest.md,
 * image-index.md, config.md.
 *
 * Nothing here reads the clock: `created` follows SOURCE_DATE_EPOCH where it is set and stays as it is otherwise, so
 * the same edit of the same image is the same image. */

#include "image/image.h"
#include "layer/layer.h"
#include "oci/json.h"
#include "registry/registry.h"
#include "store/store.h"

/* All borrowed. */
struct cb_edit_env {
    struct cb_registry *registry;
    struct cb_store *store;
    struct cb_pool *cpu;  /* short CPU jobs */
    struct cb_step *step; /* what is fetched and sent is told here; or NULL */
    const struct cb_cancel *cancel;
};

/* ---- source.c: where an image is ---- */
/* "store:NAME" is what the local store has under NAME (as cb_store_find reads it); everything else is a reference, and
 * means what its registry has now, whatever the store may have under that name; "docker://" may stand before it. */
struct cb_edit_source {
    const struct cb_edit_env *env;
    bool stored;
    bool strict;             /* what the store happens to have is not used for what the registry should have */
    struct cb_reference ref; /* of a registry: with tag or digest */
    char *text;              /* for messages */
};
/* A manifest or an index. */
struct cb_edit_doc {
    struct cb_descriptor desc;
    struct cb_strbuf body; /* verbatim */
};
#define CB_EDIT_DOC_INIT { .body = CB_STRBUF_INIT }
void cb_edit_doc_done(struct cb_edit_doc *d);
#define cb_cleanup_edit_doc CB_CLEANUP(cb_edit_doc_done)
void cb_edit_source_done(struct cb_edit_source *s);
#define cb_cleanup_edit_source CB_CLEANUP(cb_edit_source_done)
/* Parses only. -CB_EUSAGE. */
int cb_edit_source_parse(struct cb_edit_source *out, const struct cb_edit_env *env, const char *text,
                         struct cb_error *err) CB_WUR;
/* What it names now. -CB_ENOTFOUND. */
int cb_edit_source_top(const struct cb_edit_source *s, struct cb_edit_doc *out, struct cb_error *err) CB_WUR;
/* What a descriptor found in it names; -CB_EVERIFY unless digest, size and type are as the descriptor says. */
int cb_edit_source_doc(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_edit_doc *out,
                       struct cb_error *err) CB_WUR;
/* A blob, from the store where it is there, else from the registry; verified at its end. */
int cb_edit_source_blob(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                        struct cb_error *err) CB_WUR;
/* The blob of a layer of that diff id. The store need not have the layers of its images: then it comes from where the
 * store knows it to be. */
int cb_edit_source_layer(const struct cb_edit_source *s, const struct cb_descriptor *d,
                         const struct cb_digest *diff_id, struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* A small one, whole: a config. -CB_EVERIFY past CB_MAX_MANIFEST. */
int cb_edit_source_small(const struct cb_edit_source *s, const struct cb_descriptor *d, struct cb_strbuf *out,
                         struct cb_error *err) CB_WUR;

/* One platform's image. */
struct cb_edit_image {
    struct cb_edit_doc doc;
    struct cb_strbuf config_body; /* verbatim */
    struct cb_image image;        /* desc, manifest and config, parsed */
};
#define CB_EDIT_IMAGE_INIT { .doc = CB_EDIT_DOC_INIT, .config_body = CB_STRBUF_INIT }
void cb_edit_image_done(struct cb_edit_image *i);
#define cb_cleanup_edit_image CB_CLEANUP(cb_edit_image_done)
/* Reads the config of a manifest (taken from doc). -CB_EVERIFY where it is no image, or its parts do not agree. */
int cb_edit_image_read(const struct cb_edit_source *s, struct cb_edit_doc *doc, struct cb_edit_image *out,
                       struct cb_error *err) CB_WUR;
/* The image for a platform (NULL: the host's) of what the source names. -CB_ENOTFOUND. */
int cb_edit_image_open(const struct cb_edit_source *s, const struct cb_platform *platform, struct cb_edit_image *out,
                       struct cb_error *err) CB_WUR;

/* ---- tables.c: the tables of contents of an image's layers ---- */
struct cb_edit_tables {
    const struct cb_edit_source *source; /* borrowed, as the image */
    const struct cb_edit_image *image;
    struct cb_toc **tocs;
    int *spools;                         /* unlinked files with a layer's blob, -1 for none */
    size_t n;
};
/* Tables come from the store; a layer whose table is not there is read once (several side by side), checked against
 * its diff id, and its table is kept in the store. only: the number of the one layer that is wanted, SIZE_MAX: all.
 * keep: what has to be fetched for it is kept in a temporary file, because it will be read again. */
int cb_edit_tables_read(struct cb_edit_tables *out, const struct cb_edit_source *s, const struct cb_edit_image *i,
                        size_t only, bool keep, struct cb_error *err) CB_WUR;
void cb_edit_tables_done(struct cb_edit_tables *t);
#define cb_cleanup_edit_tables CB_CLEANUP(cb_edit_tables_done)
struct cb_stack *cb_edit_tables_stack(const struct cb_edit_tables *t);
/* Number of the layer that a text names: a number from 0 (the lowest), from the top with a minus (-1), a digest or a
 * diff id or the beginning of one. -CB_EUSAGE. */
int cb_edit_layer_find(const struct cb_edit_image *i, const char *text, size_t *out, struct cb_error *err) CB_WUR;

/* ---- flat.c ---- */
/* The merged file system, written entry by entry: directories and what else has no bytes first, in the order of their
 * paths, then files in the order of the layers. Each layer that has something visible is read once; nothing grows with
 * the size of files. Whiteouts are applied; hard links stay hard links, whichever layer they came from. */
int cb_edit_flat(const struct cb_edit_tables *t, struct cb_layer_writer *w, struct cb_error *err) CB_WUR;
/* The same as a tar to a descriptor. */
int cb_edit_export(const struct cb_edit_tables *t, int fd, struct cb_error *err) CB_WUR;

/* ---- diff.c ---- */
enum cb_edit_diff_kind { CB_DIFF_REMOVED = '-', CB_DIFF_ADDED = '+', CB_DIFF_CHANGED = '!' };
enum { /* what changed of a file */
    CB_DIFF_TYPE = 1, CB_DIFF_MODE = 2, CB_DIFF_OWNER = 4, CB_DIFF_SIZE = 8, CB_DIFF_CONTENT = 16, CB_DIFF_LINK = 32,
    CB_DIFF_DEVICE = 64, CB_DIFF_XATTR = 128, CB_DIFF_MTIME = 256,
};
struct cb_edit_file_diff {
    enum cb_edit_diff_kind kind;
    unsigned what;                          /* CB_DIFF_*, of CHANGED */
    const struct cb_stack_entry *old, *now; /* NULL where it is not there */
};
/* In path order; ignore: CB_DIFF_* that do not count. Returns how many were told. */
size_t cb_edit_diff_files(const struct cb_stack *old, const struct cb_stack *now, unsigned ignore,
                          void (*tell)(void *arg, const struct cb_edit_file_diff *d), void *arg);
/* Two JSON documents: tell gets a path such as config.Labels."a.b" or history[3].comment, and the values, NULL for
 * none. Environments (arrays at config.Env) are compared by variable. skip: a top-level member that is left out. */
void cb_edit_diff_json(const json_t *old, const json_t *now, const char *skip,
                       void (*tell)(void *arg, const char *path, const json_t *old, const json_t *now), void *arg);

/* ---- validate.c ---- */
struct cb_edit_finding {
    const char *what; /* "layer 2 sha256:…", where it is: "index … → manifest … → layer …" */
    const char *wrong; /* NULL: it holds */
};
struct cb_edit_validate_options {
    bool fast; /* layers: only whether the blob is there, by its size */
    void (*tell)(void *arg, const struct cb_edit_finding *f); /* in order, from the calling thread */
    void *arg;
};
/* Everything below what the source names. *wrong: how many findings are wrong. What keeps us from looking (network,
 * rights) is an error; what is there and does not hold is a finding. */
int cb_edit_validate(const struct cb_edit_source *s, const struct cb_edit_validate_options *o, size_t *wrong,
                     struct cb_error *err) CB_WUR;

/* ---- config.c: changes of an image configuration; pure ---- */
struct cb_edit_config {
    struct cb_strvec env, unset_env;       /* "K=V", "K" */
    struct cb_strmap labels;
    struct cb_strvec unset_labels;
    struct cb_strvec add_ports;            /* "80/tcp" */
    const struct cb_arglist *entrypoint, *cmd; /* NULL: as it is; set and empty: cleared */
    const char *user, *workdir, *stop_signal;  /* NULL: as it is; "": cleared */
    const struct cb_platform *platform;    /* or NULL */
    const char *created;                   /* RFC 3339, or NULL: as it is */
};
void cb_edit_config_done(struct cb_edit_config *c);
/* Whether anything but `created` is asked for. */
bool cb_edit_config_is_empty(const struct cb_edit_config *c);
/* In place. Members that are not named stay as they are and where they are. */
int cb_edit_config_apply(const struct cb_edit_config *c, json_t *config, struct cb_error *err) CB_WUR;
/* Adds a history entry; created may be NULL. */
void cb_edit_history_add(json_t *config, const char *created, const char *created_by, const char *comment);
/* "80", "80/tcp", "53/udp", "8000-8002" to entries of ExposedPorts. -CB_EUSAGE. */
int cb_edit_ports_parse(struct cb_strvec *out, const char *text, struct cb_error *err) CB_WUR;

/* ---- a manifest and its config while they are changed ---- */
struct cb_edit_draft {
    const struct cb_edit_source *source;
    const struct cb_edit_image *old;
    json_t *manifest, *config;
    struct cb_edit_plan *plan; /* blobs that are new are put there */
};

/* ---- plan.c: what has to be in the target repository, and in which order ---- */
struct cb_edit_plan;
struct cb_edit_plan *cb_edit_plan_new(const struct cb_edit_env *env);
void cb_edit_plan_free(struct cb_edit_plan *p);
CB_DEFINE_CLEANUP(struct cb_edit_plan *, cb_edit_plan_free)
/* A blob that the source has: mounted or streamed where the target lacks it. */
void cb_edit_plan_blob(struct cb_edit_plan *p, const struct cb_edit_source *from, const struct cb_descriptor *d);
/* A small new one. */
void cb_edit_plan_bytes(struct cb_edit_plan *p, const struct cb_descriptor *d, const void *buf, size_t n);
/* One that the store has. */
void cb_edit_plan_stored(struct cb_edit_plan *p, const struct cb_descriptor *d);
/* One that is in a file; fd is taken. */
void cb_edit_plan_file(struct cb_edit_plan *p, const struct cb_descriptor *d, int fd);
/* A manifest or index, behind all that it refers to. */
void cb_edit_plan_doc(struct cb_edit_plan *p, const struct cb_descriptor *d, const void *buf, size_t n);
struct cb_edit_pushed {
    struct cb_reference ref;    /* by digest, and the tag that stands for it now or NULL */
    struct cb_descriptor desc;
    bool moved;                 /* the tag */
    size_t present, mounted, sent; /* blobs */
    uint64_t bytes;             /* that went to the registry */
};
void cb_edit_pushed_done(struct cb_edit_pushed *r);
#define cb_cleanup_edit_pushed CB_CLEANUP(cb_edit_pushed_done)
/* Blobs, then documents in their order by digest, then the tag, on the last document. was: what the tag stood for when
 * it was read, or NULL; -CB_ENET where it stands for something else now: nothing is moved then. */
int cb_edit_plan_push(struct cb_edit_plan *p, const struct cb_reference *target, const struct cb_descriptor *was,
                      struct cb_edit_pushed *out, struct cb_error *err) CB_WUR;

/* ---- rewrite.c: one edit of everything that a reference names ---- */
struct cb_edit_rewrite {
    const struct cb_edit_source *source;
    const struct cb_reference *target;     /* with a tag, or by digest: then nothing is tagged */
    const struct cb_platform *platforms;   /* which images of an index; the others stay */
    size_t n_platforms;                    /* 0: all */
    bool oci;                              /* Docker's media types become OCI's */
    bool only_index;                       /* -CB_EUSAGE where it is no index */
    /* Each image that is meant; artifacts and attestations are passed over then. NULL: artifacts are meant too. */
    int (*image)(void *arg, struct cb_edit_draft *d, struct cb_error *err);
    /* Its manifest, after `image`. platform: of its entry in the index, or NULL. May be NULL. */
    int (*manifest)(void *arg, json_t *manifest, const struct cb_platform *platform, struct cb_error *err);
    /* Its entry in the index, after that. May be NULL. */
    int (*entry)(void *arg, json_t *entry, const struct cb_platform *platform, struct cb_error *err);
    /* The index that the reference names, at last. May be NULL. */
    int (*index)(void *arg, json_t *index, struct cb_edit_plan *plan, struct cb_error *err);
    /* Everything is edited, nothing is pushed yet: the last chance to refuse. May be NULL. */
    int (*ready)(void *arg, struct cb_error *err);
    void *arg;
    void (*note)(void *arg, const char *line); /* for the user: an attestation is left out; or NULL */
    void *note_arg;
};
int cb_edit_rewrite(const struct cb_edit_rewrite *o, struct cb_edit_pushed *out, struct cb_error *err) CB_WUR;

/* ---- manifest.c: changes of manifests and indexes; pure ---- */
void cb_edit_annotate(json_t *o, const char *key, const char *value /* NULL: removes it */);
/* Docker's media types become OCI's, in a manifest or index and all its descriptors. */
void cb_edit_to_oci(json_t *o);
/* Digest, size and type of an entry; what it carried along of the old bytes (data) goes. */
void cb_edit_entry_set(json_t *entry, const struct cb_descriptor *d);

/* ---- append.c, flatten.c, rebase.c: images callbacks of rewrite and what they need ---- */
/* A layer from a file: a tar, plain (then it is compressed by gzip into the store, byte for byte the same inside), by
 * gzip or by zstd (the blob is the file). "-": standard input. */
struct cb_edit_layer {
    struct cb_descriptor desc; /* OCI's media type */
    struct cb_digest diff_id;
    int fd;                    /* of the file that is the blob; -1: the store has it */
    char *name;                /* for the history */
};
void cb_edit_layer_done(struct cb_edit_layer *l);
int cb_edit_layer_read(const struct cb_edit_env *env, const char *path, struct cb_edit_layer *out,
                       struct cb_error *err) CB_WUR;
/* Puts it on top. created: as cb_edit_history_add. */
int cb_edit_append(struct cb_edit_draft *d, const struct cb_edit_layer *l, const char *created, struct cb_error *err)
    CB_WUR;
/* All layers become one. */
int cb_edit_flatten(struct cb_edit_draft *d, const char *created, struct cb_error *err) CB_WUR;
/* What stands on old is put on now instead: layers and history. -CB_ECONF where the layers of old are not the lowest
 * ones of the image. */
struct cb_edit_base {
    const struct cb_edit_source *now_source;
    const struct cb_edit_image *old, *now;
    const char *created; /* RFC 3339, or NULL: as it is */
};
int cb_edit_rebase(struct cb_edit_draft *d, const struct cb_edit_base *b, struct cb_error *err) CB_WUR;
#define CB_ANN_BASE_NAME "org.opencontainers.image.base.name"
#define CB_ANN_BASE_DIGEST "org.opencontainers.image.base.digest"

/* ---- index.c ---- */
struct cb_edit_index {
    json_t *o; /* the index as it becomes */
    struct cb_edit_plan *plan;
    const struct cb_platform *platforms; /* of what is added, those; n 0: all */
    size_t n_platforms;
    /* One of a platform that is there already: an error, else it takes its place. */
    bool refuse_same;
    bool pass_over; /* what has no image for one of the platforms is no error */
    /* A descriptor of the manifest that is added next: its annotations count in place of none, its platform in place of
     * what the configuration says. Or NULL. */
    const json_t *as;
    size_t added, replaced, removed;
};
/* An empty one. */
json_t *cb_edit_index_new(bool docker);
/* Adds what the source names: a manifest; of an index its images, each with its attestations. */
int cb_edit_index_add(struct cb_edit_index *x, const struct cb_edit_source *s, struct cb_error *err) CB_WUR;
bool cb_edit_index_has(const struct cb_edit_index *x, const struct cb_platform *p);
/* What the source names (doc), unchanged: all that is below it, and itself last. */
int cb_edit_plan_tree(struct cb_edit_plan *p, const struct cb_edit_source *s, const struct cb_edit_doc *doc,
                      struct cb_error *err) CB_WUR;
/* Removes entries by digest or platform, and their attestations. -CB_ENOTFOUND where there is none. */
int cb_edit_index_remove(struct cb_edit_index *x, const char *what, struct cb_error *err) CB_WUR;

/* ---- attach.c ---- */
struct cb_edit_attach {
    const struct cb_descriptor *subject;
    const char *artifact_type;
    const struct cb_strmap *annotations; /* or NULL */
    const char *created;                 /* RFC 3339, or NULL */
};
/* "FILE[:TYPE]": opens and hashes it, adds it to the plan and to the layers of the artifact. */
int cb_edit_attach_file(json_t *layers, struct cb_edit_plan *plan, const char *text, const struct cb_cancel *cancel,
                        struct cb_error *err) CB_WUR;
/* The artifact's manifest with these layers; *desc describes it. */
void cb_edit_attach_print(const struct cb_edit_attach *a, json_t *layers, struct cb_edit_plan *plan,
                          struct cb_strbuf *body, struct cb_descriptor *desc);

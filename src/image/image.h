/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where store and layer meet: images in the store, unpacking, committing, exporting, importing. */

#include "layer/layer.h"
#include "oci/config.h"
#include "oci/manifest.h"
#include "progress/progress.h"
#include "store/store.h"

/* One platform's image, read from the store. */
struct cb_image {
    struct cb_descriptor desc; /* of the manifest */
    struct cb_manifest manifest;
    struct cb_image_config config;
};
void cb_image_done(struct cb_image *i);
#define cb_cleanup_image CB_CLEANUP(cb_image_done)
/* desc may name an index: platform (NULL: the host's) selects. -CB_ENOTFOUND where a piece is not in the store. */
int cb_image_load(struct cb_store *s, const struct cb_descriptor *desc, const struct cb_platform *platform,
                  struct cb_image *out, struct cb_error *err) CB_WUR;

/* Everything below a descriptor of the store. Lowest first, the last is what it was asked for; each once. */
struct cb_image_part {
    struct cb_image image; /* an index: desc alone; no image: desc and manifest alone */
    bool is_index;
    bool is_image;         /* it can be run: not an attestation or another artifact */
};
struct cb_image_tree {
    struct cb_image_part *v;
    size_t n, cap;
};
void cb_image_tree_done(struct cb_image_tree *t);
#define cb_cleanup_image_tree CB_CLEANUP(cb_image_tree_done)
/* -CB_ENOTFOUND where a manifest or config is not in the store; layers need not be. */
int cb_image_tree_load(struct cb_store *s, const struct cb_descriptor *desc, struct cb_image_tree *out,
                       struct cb_error *err) CB_WUR;
/* The image of the tree that serves the platform best (NULL: the host's), or the first one; NULL where there is
 * none. */
const struct cb_image *cb_image_tree_pick(const struct cb_image_tree *t, const struct cb_platform *platform);

/* Of an image of the store, a layer of which nobody has any more (-CB_ENOTFOUND): adds what helps. */
void cb_image_advise_lost(struct cb_error *err);

/* ---- reading a layer in: one pass for blob, table and tree ---- */
struct cb_layer_intake {
    struct cb_store *store;
    struct cb_blob_source *source; /* compressed bytes, already verified by its own end; owned */
    const struct cb_layer_known *known; /* or this, for its tree alone: its table is in the store */
    struct cb_digest diff_id;      /* expected; NONE: whatever it is */
    const struct cb_toc *guess;    /* its table, as far as is known: what its tree should be; or NULL */
    uint64_t guess_size;           /* and how much it unpacks to */
    bool want_tree;                /* unpack to trees/ */
    bool userxattr;                /* overlay form for an unprivileged mount */
    bool single_id;                /* do not chown: ownership stays in the table */
    /* Diff ids of the layers below, lowest first; may be NULL. Those whose table or tree is there serve hard links into
     * lower layers and the attributes of implied directories. A tree that took such, or would have, is one for
     * layers on their chain. */
    const struct cb_digest *lower;
    size_t n_lower;
    bool lower_partial; /* there are more: such a tree is not made, which is -CB_EVERIFY */
    bool *took_lower;   /* set where it needs one; or NULL */
    /* Called before the first look at `lower`: makes their tables (and trees, for hard links) present; may be NULL. */
    int (*need_lower)(void *arg, bool trees, struct cb_error *err);
    void *need_lower_arg;
    uint64_t max_size; /* budget of uncompressed bytes; 0: none */
    const struct cb_cancel *cancel;
    void (*on_progress)(void *arg, uint64_t uncompressed); /* or NULL */
    void *arg;
    struct cb_toc **toc; /* gets a reference to the table, the caller's; or NULL */
    /* Whoever can use a tree before its digests are known: where there will be one that is an image, and diff_id is
     * set, *early is what is still to be done, the table is one whose digests are deferred, and nothing is published.
     * NULL, or unset: all is done. The blob's own digest holds either way. */
    struct cb_layer_early **early;
};
/* Publishes table (always) and tree; *diff_id, *size may be NULL. Hostile layers: A1–A10. A directory that is only
 * implied by `a/b` gets the attributes that the topmost of `lower` with a table gives it, else 0755 0:0. Device nodes
 * that may not be made here are left out of the tree; the table has them. */
int cb_image_intake(const struct cb_layer_intake *o, struct cb_digest *diff_id, uint64_t *size, struct cb_error *err)
    CB_WUR;

/* The layer's tar, byte for byte, into an empty file. Of o: store, source, diff_id, max_size, cancel. -CB_EVERIFY where
 * it is another, or not a layer. */
int cb_image_layer_tar(const struct cb_layer_intake *o, int fd, struct cb_error *err) CB_WUR;

/* ---- early.c: a tree that can be used, whose digests are still to be computed ---- */
struct cb_layer_early;
void cb_layer_early_free(struct cb_layer_early *e); /* unless it was finished nothing of it stays */
CB_DEFINE_CLEANUP(struct cb_layer_early *, cb_layer_early_free)
int cb_layer_early_tree(const struct cb_layer_early *e); /* O_PATH descriptor of its root, borrowed */
const struct cb_digest *cb_layer_early_below(const struct cb_layer_early *e); /* of its cb_tree_name; borrowed */
/* The work, in parts that may be done at the same time, in any order, each once. */
#define CB_LAYER_EARLY_PARTS 2
int cb_layer_early_hash(struct cb_layer_early *e, unsigned part, const struct cb_cancel *cancel,
                        struct cb_error *err) CB_WUR;
/* When all parts are done: -CB_EVERIFY where the diff id is another; else publishes tree and table. *toc: the whole
 * table, the caller's. */
int cb_layer_early_finish(struct cb_layer_early *e, struct cb_toc **toc, struct cb_error *err) CB_WUR;

/* ---- the processes that layers are read in: helper.h inside of image ---- */
#define CB_HELPERS_NAME "cbpush-layers"
struct cb_helper_options {
    /* What is executed as the server when a layer is first read or expected: its main calls cb_helpers_main where
     * argv[0] is CB_HELPERS_NAME. NULL, or not to be executed: a fork, at once. Borrowed. */
    const char *program;
    char **argv; /* of main, for a fork: what it says is wiped from the memory of the server; or NULL */
    /* Tests: called in the helper once it is shut in. NULL or "": it goes on; else it fails with that text. */
    const char *(*hook)(int root_fd);
};
/* Once, before there are threads; from then on cb_image_intake reads in helpers. Where no process can be forked it
 * reads in this one, as it does without this call; where none can be executed later, it fails. */
void cb_helpers_start(const struct cb_helper_options *o);
/* A layer will be read soon: what has to be started for that is, beside what is done until then. */
void cb_helpers_expect(void);
void cb_helpers_stop(void);
int cb_helpers_main(const struct cb_helper_options *o); /* of the server; -1: it was not started as one */
/* Starts one below a directory, and tells what held it: enum cb_confine of util/confine.h. */
int cb_helpers_try(int root_fd, unsigned *held, struct cb_error *err) CB_WUR;

/* ---- file contents of a layer list ---- */
/* Readers of single files: taken from trees that are there, else from one pass over the layer's blob. */
struct cb_files;
/* `wanted`: the entries whose bytes will be read; blobs must be in the store for layers without a tree. */
struct cb_files_options {
    struct cb_store *store;
    const struct cb_stack *stack;
    const struct cb_layer *layers; /* parallel to the stack */
    const struct cb_stack_entry *const *wanted;
    size_t n_wanted;
    const struct cb_cancel *cancel;
    bool unverified; /* the reader compares digests itself: it computes them anyway */
};
int cb_files_open(const struct cb_files_options *o, struct cb_files **out, struct cb_error *err) CB_WUR;
void cb_files_free(struct cb_files *f);
CB_DEFINE_CLEANUP(struct cb_files *, cb_files_free)
int cb_files_source(struct cb_files *f, const struct cb_stack_entry *e, struct cb_blob_source **out,
                    struct cb_error *err) CB_WUR;

/* ---- making ---- */
struct cb_commit_options {
    const struct cb_image_config *config; /* rootfs and history complete, diff ids = layers */
    const struct cb_strbuf *config_text;  /* its bytes, which stay what they are: they are the image's ID; or NULL */
    const struct cb_layer *layers;        /* the encoding to use is encodings[0] */
    size_t n_layers;
    const struct cb_strmap *layer_annotations; /* parallel to layers, or NULL; Docker's types have no place for them */
    const struct cb_strmap *annotations; /* or NULL */
    bool docker_types;                   /* Docker's media types instead of OCI's */
};
/* Writes the index of these manifests, as they are described: platform and annotations too. */
struct cb_commit_index_options {
    const struct cb_descriptor *manifests;
    size_t n;
    const struct cb_strmap *annotations; /* or NULL */
    bool docker_types;
};
int cb_image_commit_index(struct cb_store *s, const struct cb_commit_index_options *o, struct cb_descriptor *out,
                          struct cb_error *err) CB_WUR;
/* Writes config and manifest blobs; layers need not be in the store. */
int cb_image_commit(struct cb_store *s, const struct cb_commit_options *o, struct cb_image *out, struct cb_error *err)
    CB_WUR;

/* ---- out ---- */
/* A file beside what the image has, at the top. */
struct cb_export_document {
    char *name, *text;
    size_t len;
};
struct cb_export_options {
    struct cb_store *store;
    const struct cb_image *image; /* every layer blob in the store */
    /* OCI: what is written instead of the image, maybe an index with all that it lists; or NULL */
    const struct cb_image_tree *tree;
    const char *const *names;     /* canonical references, may be empty */
    size_t n_names;
    bool users_own;               /* local: whoever a file belongs to in the image, there it is who runs us */
    int64_t clamp_mtime; /* times in tar headers; INT64_MAX: now is never used: 0 */
    const struct cb_cancel *cancel;
    const struct cb_export_options *more; /* Docker and OCI: another image in the same archive; or NULL */
    /* Local and tar, in the order of their names. -CB_ECONF where the image has something of that name. */
    const struct cb_export_document *documents;
    size_t n_documents;
    struct cb_step *step; /* Docker and OCI: told of each blob; or NULL */
};
/* added to a layout that is there */
int cb_export_oci_dir(const struct cb_export_options *o, const char *path, struct cb_error *err) CB_WUR;
int cb_export_oci_tar(const struct cb_export_options *o, int fd, struct cb_error *err) CB_WUR;
/* What `docker load` and `podman load` take: manifest.json, config, uncompressed-or-as-is layers, plus an OCI
 * index. */
int cb_export_docker_tar(const struct cb_export_options *o, int fd, struct cb_error *err) CB_WUR;
/* The flattened tree, as one tar or into a directory (files; devices if root; owners unless users_own), which is made
 * where it is absent; what else it has stays there. */
int cb_export_local(const struct cb_export_options *o, const char *path, struct cb_error *err) CB_WUR;
int cb_export_tar(const struct cb_export_options *o, int fd, struct cb_error *err) CB_WUR;
/* Several images as one tar, each below a directory of its own: dirs is parallel to v, which is in the order of the
 * names of the directories. */
int cb_export_tar_split(const struct cb_export_options *v, const char *const *dirs, size_t n, int fd,
                        struct cb_error *err) CB_WUR;

/* For who writes archives of another kind. */
/* A tar without compression to a descriptor; of the options only clamp_mtime and cancel matter. */
struct cb_tar_out {
    struct cb_blob_sink base;
    int fd;
    struct cb_layer_writer *w;
    int64_t mtime;
};
int cb_tar_out_open(struct cb_tar_out *t, int fd, const struct cb_export_options *o, struct cb_error *err) CB_WUR;
void cb_tar_out_done(struct cb_tar_out *t);
#define cb_cleanup_tar_out CB_CLEANUP(cb_tar_out_done)
int cb_tar_out_dir(struct cb_tar_out *t, const char *path, struct cb_error *err) CB_WUR;
int cb_tar_out_text(struct cb_tar_out *t, const char *path, struct cb_slice text, struct cb_error *err) CB_WUR;
int cb_tar_out_blob(struct cb_tar_out *t, const struct cb_descriptor *d, struct cb_blob_source *bytes,
                    struct cb_error *err) CB_WUR; /* as blobs/ALG/HEX */
int cb_tar_out_finish(struct cb_tar_out *t, struct cb_error *err) CB_WUR;

/* A layout directory that is added to. */
struct cb_layout_out {
    int root, blobs;
};
#define CB_LAYOUT_OUT_INIT { .root = -1, .blobs = -1 }
int cb_layout_out_open(struct cb_layout_out *l, const char *path, struct cb_error *err) CB_WUR; /* made where missing */
void cb_layout_out_done(struct cb_layout_out *l);
#define cb_cleanup_layout_out CB_CLEANUP(cb_layout_out_done)
bool cb_layout_out_has(const struct cb_layout_out *l, const struct cb_descriptor *d);
/* bytes are verified by their own end, and there only when they are whole. Safe from several threads. */
int cb_layout_out_blob(const struct cb_layout_out *l, const struct cb_descriptor *d, struct cb_blob_source *bytes,
                       const struct cb_cancel *cancel, struct cb_error *err) CB_WUR;
/* Writes index.json anew, of what it holds now (onto; NULL: there is none). Others of ours wait meanwhile. */
struct cb_layout_index {
    void (*print)(void *arg, const struct cb_index *onto, struct cb_strbuf *out);
    void *arg;
};
int cb_layout_out_index(const struct cb_layout_out *l, const struct cb_layout_index *make, struct cb_error *err)
    CB_WUR;

/* ---- in ---- */
/* For blobs that came into the store by other ways: reads the layers of every image below desc through, so that their
 * diff ids are known to be right and their tables are there. */
int cb_image_adopt(struct cb_store *s, const struct cb_descriptor *desc, struct cb_error *err) CB_WUR;

/* An image of an OCI layout directory: by tag ("org.opencontainers.image.ref.name"), by digest, or the only one. */
struct cb_layout_ref {
    char *path;
    char *tag;               /* or NULL */
    struct cb_digest digest; /* or NONE */
};
/* "PATH[:TAG][@DIGEST]"; a part behind ':' that has a '/' belongs to the path. NULL and err (-CB_EUSAGE) where it is
 * wrong. */
struct cb_layout_ref *cb_layout_ref_new(const char *text, struct cb_error *err);
void cb_layout_ref_free(struct cb_layout_ref *l);
/* All of it verified and into the store. -CB_ENOTFOUND where the layout has no such image. */
int cb_image_from_layout(struct cb_store *s, const struct cb_layout_ref *l, const struct cb_platform *platform,
                         struct cb_image *out, struct cb_error *err) CB_WUR;
/* A tar, compressed or not, unpacked below root_fd with all of the guards that layers have (A1–A10), but names have no
 * whiteout meaning and owners are left out. source is taken. */
int cb_image_unpack_tar(struct cb_blob_source *source, int root_fd, const struct cb_cancel *cancel,
                        struct cb_error *err) CB_WUR;
/* An OCI layout (directory or tar) or a docker-archive tar, all verified, into the store. Names it carries are
 * reported, and set in the store only by the caller (C7). */
struct cb_import_result {
    /* desc: what the name stands for, so maybe an index; the rest: the best match here */
    struct cb_image *images;
    char **names; /* canonical or NULL, parallel to images */
    size_t n;
};
void cb_import_result_done(struct cb_import_result *r);
struct cb_import_options {
    struct cb_store *store;
    const char *path;        /* "-": standard input */
    struct cb_step *step;    /* told of each blob, or NULL */
    const struct cb_cancel *cancel;
};
int cb_image_import(const struct cb_import_options *o, struct cb_import_result *out, struct cb_error *err) CB_WUR;

/* The artifact that keeps the tables of an image's layers in a registry (doc/toc.md). */
struct cb_image_tables {
    const struct cb_descriptor *image;
    const struct cb_manifest *manifest;
    bool (*has)(void *arg, const struct cb_toc_pin *pin); /* whether a table that is pinned is there */
    void *arg;
};
extern const char cb_image_tables_config[]; /* the bytes of its config */
/* The name of what it lists where all tables are there. False where an image has none. */
bool cb_image_tables_set(const struct cb_manifest *image, struct cb_digest *out);
/* False where no table is there. */
bool cb_image_tables_artifact(const struct cb_image_tables *t, struct cb_descriptor *desc, struct cb_strbuf *body);

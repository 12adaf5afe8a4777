/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside of image: unpacking, and what exporters and importers share. */

#include <sys/stat.h>

#include "image/image.h"
#include "util/hashmap.h"
#include "util/limits.h"

/* ---- unpack.c, unpack_dir.c, unpack_entry.c: entries of layers to a directory ---- Nothing here goes by a path that
 * is not resolved below the root descriptor, and nothing but this writes below it. */
struct cb_unpack_options {
    int root_fd; /* O_RDONLY or O_PATH; borrowed */
    /* several layers into one plain tree: whiteouts remove. Else one layer in overlay form */
    bool flat;
    bool single_id;
    int64_t clamp_mtime;    /* newer times become this; INT64_MAX: none */
    struct cb_lower *lower; /* what the layers below have, or NULL; borrowed */
};

/* What takes more rights than unpacking needs, and is done to a tree when all else is: device nodes, overlayfs's
 * marks. The unpacker puts a FIFO where a device goes, so that whatever comes later meets something there. */
struct cb_unpack_marks {
    struct cb_strvec opaque; /* directories, without links; "" is the root */
    struct cb_hashmap *devices; /* path without links → struct cb_unpack_device, owned */
};
struct cb_unpack_device {
    mode_t mode; /* with the type */
    uint32_t dev_major, dev_minor, uid, gid;
    int64_t mtime;
};
void cb_unpack_marks_init(struct cb_unpack_marks *m);
void cb_unpack_marks_done(struct cb_unpack_marks *m);
void cb_unpack_marks_add(struct cb_unpack_marks *m, const char *path, const struct cb_unpack_device *d);
void cb_unpack_marks_forget(struct cb_unpack_marks *m, const char *path); /* a device at exactly that path */
/* Device nodes that we may not make are left out. Times of the directories stay as they are. */
struct cb_unpack_marks_options {
    int root_fd;
    bool userxattr, single_id;
};
int cb_unpack_marks_apply(const struct cb_unpack_marks *m, const struct cb_unpack_marks_options *o,
                          struct cb_error *err) CB_WUR;

/* A directory, whose attributes are set when nothing will be written into it any more. */
struct cb_unpack_dir {
    char *path; /* without symbolic links; "" is the root */
    uint32_t mode, uid, gid;
    int64_t mtime;
    struct cb_xattr *xattrs; /* owned */
    size_t n_xattrs;
    bool listed; /* by an entry; else only implied */
    bool opaque;
    bool fresh;  /* it is not what a lower layer has there: this one removes that */
};

struct cb_unpack {
    struct cb_unpack_options o;
    struct cb_hashmap *dirs;      /* path → struct cb_unpack_dir */
    struct cb_hashmap *whiteouts; /* paths of overlay whiteouts that we made */
    struct cb_hashmap *own;       /* flat: paths that this layer has brought → CB_OWN_… */
    struct cb_unpack_marks marks;
    struct cb_hashmap *copies;    /* path in a lower layer → path of our link to it, or copy, owned; for hard links */
    struct cb_strbuf at;          /* directory that at_fd is, as it was asked for */
    struct cb_strbuf at_real;     /* and without symbolic links */
    int at_fd;                    /* O_PATH, -1 for none */
    char *buf;                    /* for copying */
    mode_t umask;
    bool chown_all; /* we are not 0:0, so that files are not born so */
};

#define CB_OWN_LISTED ((void *)(uintptr_t)1)
#define CB_OWN_IMPLIED ((void *)(uintptr_t)2) /* a directory on the way */

int cb_unpack_init(struct cb_unpack *u, const struct cb_unpack_options *o, struct cb_error *err) CB_WUR;
void cb_unpack_done(struct cb_unpack *u);
#define cb_cleanup_unpack CB_CLEANUP(cb_unpack_done)
/* All entries of a reader; u NULL: they are only gone through. */
int cb_unpack_layer(struct cb_unpack *u, struct cb_layer_reader *r, const struct cb_layer_intake *o,
                    struct cb_error *err) CB_WUR;
/* Sets the attributes of directories, deepest first. What stands in u->marks is still to be done. */
int cb_unpack_finish(struct cb_unpack *u, struct cb_error *err) CB_WUR;

#define CB_UNPACK_BUF (256u << 10)

/* ---- intake.c: a layer read through once ---- */
struct cb_unpack_job {
    struct cb_blob_source *source; /* taken */
    const struct cb_layer_known *known; /* or this, with root_fd */
    int root_fd;                   /* an empty directory, borrowed; -1: only the table is made */
    int plain_fd;                  /* without root_fd: a file that gets the tar as it is, borrowed; 0: none */
    bool single_id;
    bool raw; /* an archive, no layer: names have no whiteout meaning, and no table is made */
    bool defer_digests; /* with plain_fd: as in cb_layer_read_options */
    unsigned threads;   /* the same */
    struct cb_digest diff_id; /* expected, or NONE */
    uint64_t max_size;
    struct cb_lower *lower; /* borrowed */
    const struct cb_cancel *cancel;
    void (*on_progress)(void *arg, uint64_t uncompressed); /* or NULL */
    void *arg;
};
struct cb_unpack_result {
    struct cb_digest diff_id;
    uint64_t size;
    struct cb_toc *toc;
    struct cb_unpack_marks marks; /* still to be applied */
    bool took_lower;              /* what it made depends on the layers below */
};
void cb_unpack_result_done(struct cb_unpack_result *res);
/* In a helper where there are some, else here. */
int cb_unpack_run(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err) CB_WUR;
/* The work itself. u: initialised by the options, or NULL where there is no root_fd. */
struct cb_unpack_options cb_unpack_options_of(const struct cb_unpack_job *j);
int cb_unpack_read(const struct cb_unpack_job *j, struct cb_unpack *u, struct cb_unpack_result *res,
                   struct cb_error *err) CB_WUR;

/* "layer DIFFID: …", where that is known. */
void cb_layer_wrap(const struct cb_digest *diff_id, struct cb_error *err);

/* early.c: into *o->early. Takes tmp, and fd, which is its "image", whatever comes of it. */
int cb_layer_early_new(const struct cb_layer_intake *o, struct cb_store_tmp *tmp, int fd,
                       const struct cb_unpack_result *res, struct cb_error *err) CB_WUR;
/* The name of a tree that came of it: below is in room, or NULL. -CB_EVERIFY where it can have none. */
int cb_intake_tree_name(const struct cb_layer_intake *o, const struct cb_unpack_result *res, struct cb_digest *room,
                        struct cb_tree_name *name, struct cb_error *err) CB_WUR;

struct cb_unpack_place;
/* unpack_entry.c */
int cb_unpack_entry(struct cb_unpack *u, const struct cb_entry *e, struct cb_layer_reader *r, struct cb_error *err)
    CB_WUR;
/* A regular file in two steps, its data to be written between them. */
int cb_unpack_create(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p, int *fd,
                     struct cb_error *err) CB_WUR;
int cb_unpack_seal(struct cb_unpack *u, const struct cb_entry *e, int fd, struct cb_error *err) CB_WUR;
int cb_unpack_symlink(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                      struct cb_error *err) CB_WUR;
/* A pipe or device. */
int cb_unpack_node(struct cb_unpack *u, const struct cb_entry *e, const struct cb_unpack_place *p,
                   struct cb_error *err) CB_WUR;
/* fd: a regular file or directory that we hold. What the file system or our rights do not allow is left to the
 * table. */
int cb_unpack_xattrs(int fd, const struct cb_xattr *v, size_t n, struct cb_error *err) CB_WUR;
int cb_unpack_times(int fd, int64_t mtime); /* 0 or -1 and errno */

/* unpack_dir.c */
/* Where an entry goes: an open directory, its path without links, and the last component. Valid until the next
 * call. */
struct cb_unpack_place {
    int dirfd;
    const char *base;
    char path[CB_MAX_PATH + 1]; /* without links, base included */
};
int cb_unpack_place(struct cb_unpack *u, const char *path, struct cb_unpack_place *out, struct cb_error *err) CB_WUR;
/* Removes whatever stands there (nothing is fine). */
int cb_unpack_clear(struct cb_unpack *u, const struct cb_unpack_place *p, struct cb_error *err) CB_WUR;
/* The record of that directory, made where missing. */
struct cb_unpack_dir *cb_unpack_dir(struct cb_unpack *u, const char *path);
/* Sees to it that there is a directory at path (links in it resolved). *real: without links. */
int cb_unpack_mkdirs(struct cb_unpack *u, const char *path, struct cb_strbuf *real, struct cb_error *err) CB_WUR;
void cb_unpack_forget_place(struct cb_unpack *u);
/* Forgets what was to be done to directories at and below path. */
void cb_unpack_forget_below(struct cb_unpack *u, const char *path);

/* unpack_flat.c: removes what lower layers have at, or (`below`) below, path; what this layer has brought stays. */
int cb_unpack_remove_lower(struct cb_unpack *u, const char *path, bool below, struct cb_error *err) CB_WUR;

/* lower.c */
/* What the layers below have, found where it is known. */
struct cb_lower;
struct cb_lower_ops {
    /* The directory as the lower layers list it, NULL where none does. Valid until the next call. */
    const struct cb_entry *(*dir)(struct cb_lower *l, const char *path);
    /* A FILE, with its bytes in *fd, or what else is no directory. Valid until the next call. -CB_ENOTFOUND where none
     * has it. */
    int (*file)(struct cb_lower *l, const char *path, const struct cb_entry **e, int *fd, struct cb_error *err);
};
struct cb_lower {
    const struct cb_lower_ops *ops;
};
struct cb_lower_store {
    struct cb_lower base;
    const struct cb_layer_intake *o; /* borrowed */
    struct cb_toc **tocs;            /* parallel to o->lower, NULL where there is none; loaded at first need */
    bool asked;                      /* for anything at all: what came of it may be another thing on other layers */
    struct cb_error error;           /* why none could be loaded */
};
void cb_lower_store_init(struct cb_lower_store *l, const struct cb_layer_intake *o);
void cb_lower_store_done(struct cb_lower_store *l);
/* Copies a file of a lower layer's tree to the place, which is free. -CB_ENOTFOUND where none has it. */
int cb_lower_copy(struct cb_unpack *u, const char *path, const struct cb_unpack_place *to, struct cb_error *err)
    CB_WUR;

/* ---- image.c ---- */
/* The encoding of a layer whose blob is in the store, NULL for none. */
const struct cb_layer_encoding *cb_layer_stored(struct cb_store *s, const struct cb_layer *l);
/* The layers of an image with the encoding that its manifest names; whatever the store knows is not added. Owned by
 * the caller: n = config.n_diff_ids values. */
struct cb_layer *cb_image_layers(const struct cb_image *i);
void cb_image_layers_free(struct cb_layer *v, size_t n);
/* The merged view of an image; tables that are missing are made from the blobs. */
int cb_image_stack(struct cb_store *s, const struct cb_image *i, const struct cb_cancel *cancel,
                   struct cb_stack **out, struct cb_error *err) CB_WUR;

#define CB_DOCUMENT_IN_THE_WAY "/%s is a file of the image, and an attestation would have the same name"

/* ---- export.c ---- */
/* The directories and blobs of an image or tree: manifests, configs, layers, each once, sorted. */
int cb_export_blobs(struct cb_tar_out *t, const struct cb_export_options *o, struct cb_error *err) CB_WUR;
struct cb_export_list {
    struct cb_descriptor *v; /* shallow: borrowed from the image */
    size_t n, cap;
};
void cb_export_list(const struct cb_export_options *o, struct cb_export_list *out); /* sorted, each once; free v */
/* export_merge.c: moves what is in one directory into another one of the same file system. */
int cb_export_merge(int from, int to, struct cb_error *err) CB_WUR;
/* Before and behind a blob that is written. */
void cb_export_tell(const struct cb_export_options *o, const struct cb_descriptor *d, bool done);
/* Of what a name stands for. */
const struct cb_descriptor *cb_export_top(const struct cb_export_options *o);
/* index.json with one entry for each name. */
void cb_export_index(struct cb_strbuf *out, const struct cb_export_options *o, const struct cb_index *onto);

/* ---- import.c ---- */
/* What has been read of a source. For a tar every file is in the store as a blob of its own digest. */
struct cb_import_file {
    struct cb_digest digest;
    uint64_t size;
    char *link; /* of a symbolic or hard link: path of the target */
};
struct cb_importer {
    struct cb_store *store;
    int dirfd;                /* of an OCI layout directory, else -1 */
    struct cb_hashmap *files; /* of a tar: path → struct cb_import_file */
    size_t images;            /* that were met below the entry of the index that is being taken */
    const struct cb_cancel *cancel;
    struct cb_step *step;     /* told of each blob; or NULL */
    struct cb_import_result *out;
};
/* The file of that path, links followed; NULL for none. */
const struct cb_import_file *cb_import_find(const struct cb_importer *m, const char *path);
/* A small file's bytes. -CB_ENOTFOUND. */
int cb_import_text(struct cb_importer *m, const char *path, struct cb_strbuf *out, struct cb_error *err) CB_WUR;
/* Sees to it that the blob is in the store, of that size. */
int cb_import_blob(struct cb_importer *m, const struct cb_descriptor *d, struct cb_error *err) CB_WUR;
/* Reads a layer blob of the store through, so that its diff id is known to be that, and records it. */
int cb_import_layer(struct cb_importer *m, const struct cb_descriptor *d, const struct cb_digest *diff_id,
                    struct cb_error *err) CB_WUR;
/* Takes img (which is emptied) and copies name, which may be NULL. */
void cb_import_add(struct cb_importer *m, struct cb_image *img, const char *name);
int cb_import_oci(struct cb_importer *m, struct cb_error *err) CB_WUR;    /* import_oci.c */
/* Its index.json, of a version that is known. */
int cb_import_oci_index(struct cb_importer *m, struct cb_index *idx, struct cb_error *err) CB_WUR;
/* What a descriptor names, and all below it. */
int cb_import_oci_one(struct cb_importer *m, const struct cb_descriptor *d, struct cb_error *err) CB_WUR;
int cb_import_docker(struct cb_importer *m, struct cb_error *err) CB_WUR; /* import_docker.c */

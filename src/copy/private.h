/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of copying share. A source and a target are vtables; the engine (copy.c) knows no transport. */

#include "copy/copy.h"
#include "oci/mediatype.h"
#include "util/hashmap.h"
#include "util/limits.h"

/* ---- sources ---- */
struct cb_copy_source_ops {
    /* A manifest or index, verbatim and verified: by digest where that is set, else by tag, else what the place names.
     * media_type: what a descriptor said of it, or NULL. -CB_ENOTFOUND. */
    int (*manifest)(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                    struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err);
    /* Verified as it is read. May be called from several threads. */
    int (*blob)(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                struct cb_error *err);
    int (*tags)(struct cb_copy_source *s, struct cb_strvec *out, struct cb_error *err); /* or NULL: has none */
    /* What refers to a manifest; or NULL: nothing can. */
    int (*referrers)(struct cb_copy_source *s, const struct cb_digest *subject, struct cb_index *out,
                     struct cb_error *err);
    /* Repositories that have a blob: pushed to both lists. Or NULL. */
    void (*origins)(struct cb_copy_source *s, const struct cb_digest *d, struct cb_strvec *hosts,
                    struct cb_strvec *repos);
    /* Whether blobs are to be streamed from the origins rather than asked of blob(). */
    bool remote;
    void (*close)(struct cb_copy_source *s);
};
struct cb_copy_source {
    const struct cb_copy_source_ops *ops;
    const struct cb_copy_env *env;
    const struct cb_place *place; /* borrowed */
    bool makes_manifest;          /* it has none by itself */
};
/* tree.c: what a manifest that was asked for as d is, by its bytes (d may not tell type and size). */
int copy_describe(const struct cb_descriptor *d, const struct cb_strbuf *body, struct cb_descriptor *out,
                  struct cb_error *err) CB_WUR;
int copy_source_registry(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                         struct cb_error *err) CB_WUR;
int copy_source_layout(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                       struct cb_error *err) CB_WUR;
int copy_source_docker(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                       struct cb_error *err) CB_WUR;
int copy_source_store(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                      struct cb_error *err) CB_WUR;
int copy_source_dir(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                    struct cb_error *err) CB_WUR;

/* ---- targets ---- */
struct cb_copy_target_ops {
    int (*head)(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out, struct cb_error *err);
    /* Begins to bring it there. The same digest twice is one. */
    int (*blob)(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                struct cb_error *err);
    int (*wait_blob)(struct cb_copy_target *t, const struct cb_digest *d, struct cb_error *err);
    /* By digest; everything that it names is there. subject: whether it refers to another. */
    int (*manifest)(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, bool subject,
                    struct cb_error *err);
    /* tag NULL: it is what the place names by itself. */
    int (*tag)(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
               struct cb_error *err);
    /* Begins to bring what may be missing: of the source, or (text, static) these bytes. Only wait_blob tells of a
     * failure. NULL: there is no room for such. */
    void (*extra)(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                  const char *text);
    /* A manifest that refers to an image and that nobody has to find by it. Or NULL. */
    int (*beside)(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, struct cb_error *err);
    int (*finish)(struct cb_copy_target *t, struct cb_error *err);
    size_t (*blobs)(struct cb_copy_target *t, const struct cb_push_result **out);
    /* Blobs of another place will come: whether it has any at all is found out meanwhile. Or NULL. */
    void (*survey)(struct cb_copy_target *t);
    /* Whether that has told that it has no tags. */
    bool (*bare)(struct cb_copy_target *t);
    bool largest_first; /* the order of blobs is nothing to it: what takes longest begins first */
    bool one_image; /* takes neither an index nor what refers to an image */
    bool no_referrers;
    void (*close)(struct cb_copy_target *t);
};
struct cb_copy_target {
    const struct cb_copy_target_ops *ops;
    const struct cb_copy_env *env;
    struct cb_copy_target_options o;
};
int copy_target_registry(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                         struct cb_copy_target **out, struct cb_error *err) CB_WUR;
int copy_target_layout(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                       struct cb_copy_target **out, struct cb_error *err) CB_WUR;
int copy_target_archive(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                        struct cb_copy_target **out, struct cb_error *err) CB_WUR;
int copy_target_store(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                      struct cb_copy_target **out, struct cb_error *err) CB_WUR;
int copy_target_dir(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                    struct cb_copy_target **out, struct cb_error *err) CB_WUR;

/* ---- source_dir.c: the files of a dir: ---- */
#define COPY_DIR_TOP "manifest.json"
#define COPY_DIR_VERSION "version"
#define COPY_DIR_WRITTEN "Directory Transport Version: 1.1\n"
#define COPY_DIR_KNOWN "Directory Transport Version: 1."
/* Of a blob, or of a manifest that is not the top; returns buf. */
char *copy_dir_name(char buf[static 256], const struct cb_digest *d, bool manifest);
int copy_dir_check(const struct cb_strbuf *version, struct cb_error *err) CB_WUR;

/* ---- local.c: what targets on this machine share ---- */
/* Blobs move in a pool of workers, each digest once. A target embeds it first, and gives the two calls, which run in
 * those workers: with one worker they are never called at the same time. */
struct copy_local_blob {
    struct copy_local *t;
    struct cb_copy_source *from; /* NULL: body */
    struct cb_descriptor desc;
    struct cb_strbuf body;
    struct cb_push_result result;
    struct cb_error error;
    bool done, extra, broke; /* broke: the target, which was in the middle of it */
};
struct copy_local_name {
    struct cb_descriptor desc;
    char *tag;     /* NULL: none */
    bool referrer; /* listed only because it refers to something */
};
struct copy_local {
    struct cb_copy_target base;
    bool (*has)(struct copy_local *t, const struct cb_descriptor *d);
    int (*put)(struct copy_local *t, const struct cb_descriptor *d, struct cb_blob_source *bytes, struct cb_error *err);
    bool once; /* what put has begun cannot be begun again */
    struct cb_pool *pool;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct cb_hashmap *by_digest;
    struct copy_local_blob **v;
    size_t n, cap;
    struct copy_local_name *names;
    size_t n_names, cap_names;
    const char *full_name; /* that index.json gives to every entry with a tag; or NULL */
    struct cb_push_result *results;
    bool failed, stop;
    struct cb_error why; /* of the first that failed */
};
void copy_local_init(struct copy_local *l, unsigned workers);
void copy_local_done(struct copy_local *l); /* cancels, waits */
int copy_local_blob(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                    struct cb_error *err) CB_WUR;
void copy_local_extra(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                      const char *text);
int copy_local_wait(struct cb_copy_target *t, const struct cb_digest *d, struct cb_error *err) CB_WUR;
int copy_local_manifest(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, bool subject,
                        struct cb_error *err) CB_WUR;
/* Remembers the name until the finish. */
int copy_local_tag(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
                   struct cb_error *err) CB_WUR;
size_t copy_local_blobs(struct cb_copy_target *t, const struct cb_push_result **out);
/* The entries of index.json: those of `onto` (may be NULL) that no new name takes the place of, then the new ones. */
void copy_local_index(const struct copy_local *l, const struct cb_index *onto, struct cb_strbuf *out);

/* ---- files.c: a directory or a tar, read-only ---- */
struct copy_file {
    uint64_t offset, size;
    struct cb_digest digest; /* sha256 of the bytes; tar only */
    char *link;              /* path that it leads to, or NULL */
};
struct copy_files {
    int fd;                   /* of the directory; of the tar, or of a file with what was in it */
    bool dir;
    struct cb_hashmap *files; /* tar: path → struct copy_file */
};
/* A tar that is compressed is unpacked into an unlinked file of the store's. */
int copy_files_open(struct copy_files *f, const struct cb_copy_env *env, const char *path, struct cb_error *err)
    CB_WUR;
void copy_files_close(struct copy_files *f);
/* -CB_ENOTFOUND. size, digest may be NULL. */
int copy_files_source(const struct copy_files *f, const char *path, uint64_t *size, struct cb_digest *digest,
                      struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* A small one, up to CB_MAX_MANIFEST. */
int copy_files_text(const struct copy_files *f, const char *path, struct cb_strbuf *out, struct cb_error *err) CB_WUR;
char *copy_blob_path(char buf[static 256], const struct cb_digest *d); /* blobs/ALG/HEX; returns buf */

/* ---- tree.c: a manifest and all below it ---- */
struct copy_node {
    struct cb_descriptor desc;
    struct cb_strbuf body;
    struct cb_manifest manifest; /* of what is no index */
    bool is_index, subject;
};
struct copy_tree {
    struct copy_node **v; /* lowest first, the last is the top; each digest once */
    size_t n, cap;
};
void copy_tree_done(struct copy_tree *t);
#define cb_cleanup_copy_tree CB_CLEANUP(copy_tree_done)
static inline CB_UNUSED struct copy_node *copy_tree_top(const struct copy_tree *t)
{
    return t->v[t->n - 1];
}
/* Takes desc and body of the top (both are emptied) and fetches what it lists, several at a time. */
int copy_tree_load(struct cb_copy_source *from, struct cb_descriptor *desc, struct cb_strbuf *body,
                   struct copy_tree *out, struct cb_error *err) CB_WUR;

/* ---- pick.c: --platform ---- */
/* Turns the top into the manifest (one platform) or a smaller index (several). Taken and given back in desc and body.
 * -CB_ENOTFOUND where there is none for a platform. */
int copy_pick(struct cb_copy_source *from, const struct cb_platform *v, size_t n, struct cb_descriptor *desc,
              struct cb_strbuf *body, struct cb_error *err) CB_WUR;

/* ---- refer.c ---- */
/* Everything that refers to what is in the tree, in turn too, and cosign's tags; all of it is at the target then. */
int copy_referrers(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_tree *tree,
                   const struct cb_strvec *tags, struct cb_strvec *done, struct cb_error *err) CB_WUR;

/* ---- copy.c ---- */
/* Blobs, then manifests by digest; without the top where last is false. */
int copy_put_tree(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_tree *tree, bool last,
                  struct cb_error *err) CB_WUR;

/* ---- tables.c: tables of contents that manifests pin ---- */
void copy_tables_begin(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_tree *tree);
/* Waits for them. done: digests of referrers that came along. */
void copy_tables_end(struct cb_copy_target *to, const struct copy_tree *tree, const struct cb_strvec *done);

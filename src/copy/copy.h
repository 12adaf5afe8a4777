/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Images from one place to another, byte for byte: registry, OCI layout, OCI and Docker archives, the local store.
 *
 * Digests are kept, always: what is written is what was read. Only two things make a new manifest, and both are told:
 * several platforms picked out of an index, and a Docker archive, which has none. Order at the target: blobs, each
 * known to be there, then manifests by digest, then what refers to them, then the tag (R24). Bytes stream: from
 * registry to registry nothing touches the disk, and memory does not grow with the image. */

#include "image/image.h"
#include "oci/reference.h"
#include "registry/registry.h"

/* ---- places: TRANSPORT:WHERE, or a bare reference ---- */
enum cb_transport { CB_AT_REGISTRY, CB_AT_OCI_DIR, CB_AT_OCI_ARCHIVE, CB_AT_DOCKER_ARCHIVE, CB_AT_STORE, CB_AT_DIR };
struct cb_place {
    enum cb_transport transport;
    struct cb_reference ref; /* registry */
    char *path;              /* layout, archive; the store: what the user typed */
    char *name;              /* layout, archive: behind the path, or NULL */
    struct cb_digest digest; /* layout, archive: or NONE */
    char *text;              /* as it was written */
};
void cb_place_done(struct cb_place *p);
#define cb_cleanup_place CB_CLEANUP(cb_place_done)
/* docker://REF, REF, oci:DIR[:TAG][@DIGEST], oci-archive:FILE[:TAG][@DIGEST], docker-archive:FILE[:REF], store:NAME,
 * dir:DIR.
 * -CB_EUSAGE with what to write instead for transports of other programs, and for a reference that is none. */
int cb_place_parse(struct cb_place *out, const char *text, struct cb_error *err) CB_WUR;
/* The i-th prefix of these, with its colon; NULL past the last. */
const char *cb_place_prefix(size_t i, enum cb_transport *transport);
/* The same place with another tag (NULL: without). Owned. */
char *cb_place_text(const struct cb_place *p, const char *tag);

/* The tag that a target gets by what was written: "latest" for a registry or the store where there is none, NULL where
 * only a digest was, or a layout without a name. Owned. */
char *cb_place_target_tag(const struct cb_place *p);

/* ---- what a copy needs ---- */
struct cb_copy_env {
    struct cb_registry *registry;
    struct cb_store *store;
    const struct cb_cancel *cancel;
    struct cb_step *step; /* progress, may be NULL */
    unsigned jobs;        /* blobs that are large at a time; 0: 4 */
};

struct cb_copy_source;
int cb_copy_source_open(const struct cb_copy_env *env, const struct cb_place *from, struct cb_copy_source **out,
                        struct cb_error *err) CB_WUR;
void cb_copy_source_close(struct cb_copy_source *s);
CB_DEFINE_CLEANUP(struct cb_copy_source *, cb_copy_source_close)
/* -CB_EUSAGE where the place has no list of tags. */
int cb_copy_source_tags(struct cb_copy_source *s, struct cb_strvec *out, struct cb_error *err) CB_WUR;

struct cb_copy_target;
struct cb_copy_target_options {
    const struct cb_place *to;
    bool keep_going; /* a blob that fails fails only the images that need it */
    /* Repositories of the target's host that are known to have a blob (parallel, pushed to); may be NULL. Any
     * thread. */
    void (*known)(void *arg, const struct cb_digest *d, struct cb_strvec *hosts, struct cb_strvec *repos);
    /* Told of every blob that is there. Any thread. */
    void (*landed)(void *arg, const struct cb_digest *d);
    /* A blob (never a manifest) that need not come, as it is where the target is for; layouts only. Any thread. */
    bool (*elsewhere)(void *arg, const struct cb_descriptor *d);
    const char *prefix; /* of the names that a layout gives to tags, or NULL */
    void *arg;
};
int cb_copy_target_open(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                        struct cb_copy_target **out, struct cb_error *err) CB_WUR;
/* Archives get their name here, and layouts their index; nothing is to be had before. */
int cb_copy_target_finish(struct cb_copy_target *t, struct cb_error *err) CB_WUR;
void cb_copy_target_close(struct cb_copy_target *t);
CB_DEFINE_CLEANUP(struct cb_copy_target *, cb_copy_target_close)
/* What a tag stands for at the target now; -CB_ENOTFOUND. */
int cb_copy_target_head(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out, struct cb_error *err)
    CB_WUR;
/* Many tags will be asked for: whether there are any is found out first, where that was never seen. Does not wait. */
void cb_copy_target_survey(struct cb_copy_target *t);
/* What came of it: there are none; waits. */
bool cb_copy_target_is_bare(struct cb_copy_target *t);
/* What became of each blob; valid until the close. */
size_t cb_copy_target_blobs(struct cb_copy_target *t, const struct cb_push_result **out);

/* ---- one image ---- */
struct cb_copy_manifest {
    struct cb_descriptor desc;
    struct cb_strbuf body; /* verified */
};
void cb_copy_manifest_free(struct cb_copy_manifest *m);
struct cb_copy_options {
    const char *tag;                 /* at the source; NULL with digest: that one; NULL alone: what the place names */
    struct cb_digest digest;         /* at the source, or NONE; goes before a tag */
    const char *to_tag;              /* NULL: only by digest */
    const struct cb_platform *platforms;
    size_t n_platforms;              /* 0: everything */
    bool no_clobber;                 /* a tag that is there stays as it is */
    bool referrers;                  /* and cosign's tags */
    const struct cb_strvec *tags;    /* all tags of the source where they are known: spares asking for cosign's */
    const struct cb_copy_manifest *manifest; /* borrowed: what the source has for that; NULL: it is asked */
    bool blind;                      /* do not ask first what the target's tag stands for */
};
enum cb_copy_outcome {
    CB_COPY_COPIED,
    CB_COPY_CURRENT, /* the tag stood for it already */
    CB_COPY_KEPT     /* no_clobber */
};
struct cb_copy_result {
    enum cb_copy_outcome outcome;
    struct cb_descriptor from, to; /* differ where an index was cut down to some platforms; KEPT: what is there */
    struct cb_strvec referrers;    /* digests, and tags of cosign's, that came along */
    bool made;                     /* the source had no manifest: one was made */
};
void cb_copy_result_done(struct cb_copy_result *r);
#define cb_cleanup_copy_result CB_CLEANUP(cb_copy_result_done)
/* Safe from several threads for one target. */
int cb_copy_image(struct cb_copy_source *from, struct cb_copy_target *to, const struct cb_copy_options *o,
                  struct cb_copy_result *out, struct cb_error *err) CB_WUR;

/* What would be copied: digest, size and type, after the picking of platforms. parts: the digests of what it lists, and
 * of what that lists in turn; none for a single image. */
int cb_copy_resolve(struct cb_copy_source *from, const struct cb_copy_options *o, struct cb_descriptor *out,
                    struct cb_strvec *parts, struct cb_error *err) CB_WUR;
/* Tells each configuration and layer below it, as often as it is named. */
int cb_copy_walk(struct cb_copy_source *from, const struct cb_copy_options *o,
                 void (*blob)(void *arg, const struct cb_descriptor *d), void *arg, struct cb_error *err) CB_WUR;
/* When an image was made (ns), by its configuration; of an index, its first image. INT64_MIN where it does not say. */
int cb_copy_when_created(struct cb_copy_source *from, const char *tag, int64_t *when, struct cb_error *err) CB_WUR;

/* Whether a tag is the list of referrers that clients keep for a registry without one (distribution-spec "Referrers Tag
 * Schema"): it is made anew at the target. */
bool cb_copy_is_fallback_tag(const char *tag);

/* ---- the same for many, side by side ---- */
/* Calls fn for 0 … n-1 on up to jobs threads; the first failure stops what has not begun and is told. */
int cb_copy_each(size_t n, unsigned jobs, int (*fn)(void *arg, size_t i, struct cb_error *err), void *arg,
              struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The client of the OCI Distribution API (distribution-spec 1.1) and Docker's registry protocol: hosts and mirrors,
 * resolve, pull, push. Never sees the store: blobs come from and go to cb_blob_source and cb_blob_sink. reference
 * §2.2–2.5; safety 1C, 1D, 3a.
 *
 * Everything is thread-safe and blocks only its caller. Retries, tokens, mirrors and redirects happen inside. */

#include "auth/auth.h"
#include "http/http.h"
#include "oci/blob_io.h"
#include "oci/config.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "progress/progress.h"

struct cb_registry;
/* Where it is noted how far uploads are, so that another process can go on with one whose process died. A Location may
 * hold secrets. All of it is an optimisation: an error is told to debug only. From any thread. */
struct cb_upload_id {
    const char *host, *repo;
    const struct cb_digest *digest;
};
struct cb_upload_taken {
    void *entry;     /* NULL: somebody else who lives is at this upload */
    char *location;  /* owned by the taker; NULL: none was left */
    uint64_t offset; /* at least so much was there */
};
struct cb_upload_journal {
    int (*take)(void *arg, const struct cb_upload_id *id, struct cb_upload_taken *out, struct cb_error *err);
    int (*note)(void *entry, const char *location, uint64_t offset, struct cb_error *err); /* NULL: nothing is left */
    void (*close)(void *entry, bool done);
    void *arg;
};
struct cb_registry_options {
    struct cb_http *http; /* borrowed */
    struct cb_auth *auth; /* borrowed */
    const struct cb_cancel *cancel;
    const char *registries_conf; /* NULL: CONTAINERS_REGISTRIES_CONF, ~/.config/containers, /etc/containers (+ .d) */
    const char *cert_dir;        /* --cert-dir, or NULL: certs.d directories */
    const struct cb_strvec
        *insecure;  /* --insecure-registry host[:port], or *: plain http or unverified TLS allowed there */
    const struct cb_strvec *unverified;   /* host[:port], or *: TLS with certificates that are not verified */
    const struct cb_strvec *certs;        /* "HOST=FILE": authorities added for that host */
    const struct cb_strvec *client_certs; /* "HOST=CERT,KEY" */
    /* "HOST=LOCATION": pulls from that host try these first, in order, and then the host unless only_mirrors */
    const struct cb_strvec *mirrors;
    bool only_mirrors;
    int tls_verify; /* -1 not said, 0 --tls-verify=false (for the hosts named on the command line), 1 */
    bool allow_foreign_urls;
    /* Blobs that are larger go in chunks of this many bytes, as far as the registry takes them. 0: what proves best,
     * for blobs of 64 MiB and more; UINT64_MAX: always in one request. */
    uint64_t chunk_size;
    const struct cb_upload_journal *journal; /* borrowed; or NULL */
    void (*debug)(void *arg, const char *line);
    void *debug_arg;
    void (*notice)(void *arg, const char *line); /* for the user: an upload begins anew; may be NULL */
    void *notice_arg;
};
struct cb_registry *cb_registry_new(const struct cb_registry_options *o,
                                    struct cb_error *err); /* NULL: registries.conf is wrong */
void cb_registry_free(struct cb_registry *r);
/* A view: the same client, but what is asked through it ends with c as well, which derives from the client's. Pushes do
 * not: they have cb_push_stop. Freed before both, and when nothing that came through it is left. */
struct cb_registry *cb_registry_until(struct cb_registry *r, const struct cb_cancel *c);
void cb_registry_grace(struct cb_registry *r, int64_t ns); /* cb_http_grace of its client */
CB_DEFINE_CLEANUP(struct cb_registry *, cb_registry_free)

/* credential-helpers of registries.conf, for cb_auth_set_helpers; borrowed. */
const struct cb_strvec *cb_registry_credential_helpers(const struct cb_registry *r);

/* A host that the user named on the command line: --tls-verify=false holds for it. */
void cb_registry_name_host(struct cb_registry *r, const char *host);

/* So many blobs will be fetched from a registry, or sent to one, at once when it has told what there is. From now on
 * connections for them are opened meanwhile, once for each registry, so that their handshakes cost no round trip of
 * their own. */
void cb_registry_expect(struct cb_registry *r, unsigned fetched, unsigned sent);

/* ---- pull ---- */
/* A manifest that was fetched and verified. */
struct cb_fetched {
    struct cb_descriptor desc; /* media type, digest, size of `body` */
    struct cb_strbuf body;     /* verbatim */
    char *host, *repo;         /* the repository it is known to be in: what the reference names, not the mirror */
    char *etag;                /* with its quotes, fit for If-Match; or NULL */
};
void cb_fetched_done(struct cb_fetched *f);
#define cb_cleanup_fetched CB_CLEANUP(cb_fetched_done)
/* What a reference points to now (index or manifest), by mirrors then location. -CB_ENOTFOUND, -CB_EAUTH, -CB_ENET. */
int cb_registry_manifest(struct cb_registry *r, const struct cb_reference *ref, struct cb_fetched *out,
                         struct cb_error *err) CB_WUR;
/* Only digest, size and type, by HEAD (GET where HEAD is refused or has no digest). */
int cb_registry_head(struct cb_registry *r, const struct cb_reference *ref, struct cb_descriptor *out,
                     struct cb_error *err) CB_WUR;

/* An image resolved for one platform: index (if any) → manifest → config, each verified. */
struct cb_resolved {
    struct cb_reference ref;     /* as asked */
    struct cb_descriptor top;    /* what the reference named */
    struct cb_strbuf index_body; /* empty where top is the manifest */
    struct cb_descriptor desc;   /* of the manifest */
    struct cb_strbuf manifest_body, config_body;
    struct cb_manifest manifest;
    struct cb_image_config config;
};
void cb_resolved_done(struct cb_resolved *x);
#define cb_cleanup_resolved CB_CLEANUP(cb_resolved_done)
/* cached: asked for the body of a manifest or config whose digest is known already; returns true and fills out when
 * it has it, so that an unchanged parent costs one HEAD. May be NULL. */
struct cb_resolve_options {
    const struct cb_platform *platform;
    bool (*cached)(void *arg, const struct cb_digest *d, struct cb_strbuf *out);
    void *cached_arg;
    /* Asked of each layer, where the configuration has to be fetched: whether it will be read as soon as that is there.
     * Those are asked for beside it, and cb_registry_blob hands them out. May be NULL. */
    bool (*wanted)(void *arg, const struct cb_descriptor *layer);
    void *wanted_arg;
};
int cb_registry_resolve(struct cb_registry *r, const struct cb_reference *ref, const struct cb_resolve_options *o,
                        struct cb_resolved *out, struct cb_error *err) CB_WUR;
/* A blob by mirrors then location, verified as it streams (digest and size), resumed by Range when the connection
 * breaks. */
int cb_registry_blob(struct cb_registry *r, const char *host, const char *repo, const struct cb_descriptor *desc,
                     struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* len bytes of a blob from `from` on, which is not 0; nothing verifies them: the caller knows another digest.
 * -CB_EVERIFY where nobody knows ranges: the whole blob is not read in their stead. */
struct cb_blob_part {
    const char *host, *repo;
    const struct cb_descriptor *desc;
    uint64_t from, len;
};
int cb_registry_blob_part(struct cb_registry *r, const struct cb_blob_part *part, struct cb_strbuf *out,
                          struct cb_error *err) CB_WUR;
/* After reading one has failed with -CB_EVERIFY: whether it is worth opening again. Every place is asked once, those
 * that served wrong bytes last, and one of them once more: what garbled them on their way may be gone. */
bool cb_registry_blob_again(struct cb_registry *r, const struct cb_digest *d);

/* ---- push ---- */
/* A push of one image (or several manifests) to one repository: blobs may be added while the build still runs, from
 * any thread; manifests and tags go last, when every blob is there. */
struct cb_push;
enum cb_blob_outcome {
    CB_BLOB_PRESENT,
    CB_BLOB_MOUNTED,
    CB_BLOB_UPLOADED,
    CB_BLOB_COPIED /* streamed from another registry */
};
struct cb_push_result {
    struct cb_digest digest;
    uint64_t size; /* of the blob */
    enum cb_blob_outcome outcome;
    uint64_t sent;      /* body bytes that went to the registry */
    char *mounted_from; /* repository, or NULL */
};
#define CB_PUSH_JOBS 4 /* unless the user says otherwise */
/* How many requests at a time: those that carry little wait for round trips, and nothing else. One is one after the
 * other. */
static inline CB_UNUSED unsigned cb_push_width(unsigned jobs)
{
    return jobs == 1 ? 1 : 4 * (jobs ? jobs : CB_PUSH_JOBS);
}
struct cb_push_options {
    const struct cb_reference *target; /* host and repo; the tag is given to cb_push_tag */
    unsigned jobs;                     /* blobs that are sent at a time, 0 = CB_PUSH_JOBS; as long as they come to no
                                        * more than 64 MiB, and of other requests, cb_push_width of it */
    /* Told of each change, from any thread: current of total bytes. done: outcome is final. */
    void (*on_blob)(void *arg, const struct cb_digest *d, uint64_t current, uint64_t total,
                    const struct cb_push_result *done);
    void *arg;
    bool mount_first; /* look for a blob at the target only after a mount that failed */
    bool keep_going; /* a blob that fails does not stop the others; cb_push_wait_blob tells of it, cb_push_wait not */
};
int cb_push_begin(struct cb_registry *r, const struct cb_push_options *o, struct cb_push **out, struct cb_error *err)
    CB_WUR;
/* Gives up all that it asks for, whatever that waits for: -CB_ECANCELED. Uploads that are open are still canceled,
 * where the registry takes that within a moment, and within it manifests without blobs can still be read, put and
 * removed. From any thread; nothing else but cb_push_free goes after it. */
void cb_push_stop(struct cb_push *p);
/* When the registry last took bytes or answered about blobs: monotonic, ns; 0: never. */
int64_t cb_push_heard(const struct cb_push *p);
void cb_push_free(struct cb_push *p); /* nothing more is sent; waits for answers to what was asked */
CB_DEFINE_CLEANUP(struct cb_push *, cb_push_free)
/* Where a blob can be had: a repository of the target's host (mounted), of another host (streamed), or open()
 * (uploaded). */
struct cb_push_blob {
    struct cb_descriptor desc;       /* copied */
    const char *const *origin_hosts; /* parallel arrays, copied */
    const char *const *origin_repos;
    size_t n_origins;
    /* NULL where we do not have the bytes. Called in a worker, possibly again for another try. */
    int (*open)(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err);
    void *arg; /* must live until cb_push_free */
    bool fresh;    /* made just now, so that the target hardly has it: it is sent while one looks */
    bool optional; /* nothing waits for it but cb_push_wait_blob, its failure is none of the push, nor is it a result */
};
/* Starts it at once; the same digest added twice is one. Never blocks for long. */
int cb_push_add(struct cb_push *p, const struct cb_push_blob *b, struct cb_error *err) CB_WUR;
/* Waits for all blobs that are not optional; the first failure. */
int cb_push_wait(struct cb_push *p, struct cb_error *err) CB_WUR;
/* Waits for one blob that was added, and tells its failure. */
int cb_push_wait_blob(struct cb_push *p, const struct cb_digest *d, struct cb_error *err) CB_WUR;
/* PUT by digest of what lies beside an image, whose loss is no harm; skipped when HEAD says it is there, and nobody
 * looks where the push brings a blob that was not there before. Where the registry does not index its subject nobody
 * does: no tag is made for it. *unlisted (may be NULL): it was sent, and that is so. */
int cb_push_beside(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, bool *unlisted,
                   struct cb_error *err) CB_WUR;
/* What a tag stands for at the target (never at a mirror). -CB_ENOTFOUND. */
int cb_push_tag_head(struct cb_push *p, const char *tag, struct cb_descriptor *out, struct cb_error *err) CB_WUR;
int cb_push_tag_get(struct cb_push *p, const char *tag, struct cb_fetched *out, struct cb_error *err) CB_WUR;
/* Removes a manifest without a subject from there, with all its tags: one request. -CB_ENOTFOUND. */
int cb_push_manifest_remove(struct cb_push *p, const struct cb_digest *d, struct cb_error *err) CB_WUR;
/* PUT by digest; skipped when HEAD says it is there. */
int cb_push_manifest(struct cb_push *p, const struct cb_descriptor *desc, const void *body, size_t len,
                     struct cb_error *err) CB_WUR;
/* PUT by tag, last. One HEAD first: a tag that already has this digest costs nothing more. *moved (may be NULL). */
int cb_push_tag(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, const char *tag,
                bool *moved, struct cb_error *err) CB_WUR;
/* Both without asking what is there: name is a tag, or NULL for the digest. */
int cb_push_manifest_blind(struct cb_push *p, const struct cb_descriptor *desc, struct cb_slice body, const char *name,
                           struct cb_error *err) CB_WUR;
/* Whether the tag at the target (never at a mirror) is this manifest already: one HEAD. */
int cb_push_tag_current(struct cb_push *p, const struct cb_descriptor *desc, const char *tag, bool *current,
                        struct cb_error *err) CB_WUR;
/* Whether we may push there, before there is anything to push: an upload is begun, and is the first blob's that is
 * sent, or one was begun already (cb_push_ahead). -CB_EAUTH. */
int cb_push_check(struct cb_push *p, struct cb_error *err) CB_WUR;
/* Asks what the target's repository has, once: where it has no tags, blobs that begin from now on are sent as if they
 * were fresh. Does not wait; where there is no answer soon, nothing is known. */
void cb_push_survey(struct cb_push *p);
/* Whether it has none, for certain; waits for the answer. */
bool cb_push_is_bare(struct cb_push *p);
/* So many fresh blobs will be added: uploads are begun for the first of them, now and whenever one is taken. Does not
 * wait. The last call counts; 0: what is added from now on opens its own. */
void cb_push_ahead(struct cb_push *p, unsigned n);

/* ---- release.c: tags as one act ---- */
/* What a tag at the target (never at a mirror) stands for now: one HEAD. */
struct cb_tag_state {
    bool there;
    struct cb_digest digest;
    char *etag; /* or NULL */
};
void cb_tag_state_done(struct cb_tag_state *s);
#define cb_cleanup_tag_state CB_CLEANUP(cb_tag_state_done)
int cb_push_tag_state(struct cb_push *p, const char *tag, struct cb_tag_state *out, struct cb_error *err) CB_WUR;
/* The same before there is a push; ref has a tag. cancel gives it up: it derives from the client's, or is NULL. */
int cb_registry_target_tag(struct cb_registry *r, const struct cb_reference *ref, const struct cb_cancel *cancel,
                           struct cb_tag_state *out, struct cb_error *err) CB_WUR;
struct cb_tag_manifest {
    const struct cb_descriptor *desc;
    struct cb_slice body;
};
struct cb_tag_move {
    const char *tag;
    const struct cb_tag_state *old;
    bool guarded; /* only from there: -CB_EVERIFY where the registry knows If-Match and the tag has moved */
    bool moved;   /* out; what is true already is left alone */
};
/* Makes the tags stand for a manifest whose blobs are all there; several in one request where the registry takes
 * `?tag=` (distribution-spec, pushing manifests), else one by one. Where it fails `moved` tells how far it came. */
int cb_push_move_tags(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move *v, size_t n,
                      struct cb_error *err) CB_WUR;

/* What became of each blob that is not optional; valid after cb_push_wait until free. */
size_t cb_push_results(const struct cb_push *p, const struct cb_push_result **out);

/* ---- lists ---- */
struct cb_list_options {
    size_t page;      /* n=, 0: 1000, or what the registry likes better */
    const char *last; /* only what comes after it, or NULL */
    uint64_t max;     /* 0: all */
    /* Told of each name as its page comes; then `out` may be NULL, and memory does not grow with the list. An error
     * ends it. May be NULL. */
    int (*each)(void *arg, const char *name, struct cb_error *err);
    void *arg;
};
/* All pages, in the registry's order; of the location, not of mirrors. Names that are no tags or no repositories, pages
 * elsewhere (D6), in a circle or without end are -CB_EVERIFY. What came before an error is in `out`. */
int cb_registry_tags(struct cb_registry *r, const char *host, const char *repo, const struct cb_list_options *o,
                     struct cb_strvec *out, struct cb_error *err) CB_WUR;
int cb_registry_catalog(struct cb_registry *r, const char *host, const struct cb_list_options *o,
                        struct cb_strvec *out, struct cb_error *err) CB_WUR;
/* What refers to the subject (which has a digest), by the API, else by the fallback tag; filtered locally where the
 * registry did not. None is an empty index. Of the location, not of mirrors. */
int cb_registry_referrers(struct cb_registry *r, const struct cb_reference *subject, const char *artifact_type,
                          struct cb_index *out, struct cb_error *err) CB_WUR;

/* 1: the registry lists referrers; 0: clients keep them under the fallback tag. */
int cb_registry_has_referrers(struct cb_registry *r, const struct cb_reference *subject, struct cb_error *err) CB_WUR;

/* ---- single things: at the host that is named, never at a mirror ---- */
/* By tag, or by digest: then the body must have it. A manifest with `subject` also gets into the fallback tag where the
 * registry does not index it (distribution-spec "Pushing Manifests with Subject"). */
int cb_registry_manifest_put(struct cb_registry *r, const struct cb_reference *ref, const char *media_type,
                             struct cb_slice body, struct cb_error *err) CB_WUR;
/* By digest: all tags that point to it go too. With `subject`, it also leaves the fallback tag. -CB_ENOTFOUND. */
int cb_registry_manifest_delete(struct cb_registry *r, const struct cb_reference *ref, struct cb_error *err) CB_WUR;
/* The tag alone: its manifest and the other tags stay. Where the registry cannot delete tags, the tag is moved to a
 * manifest made for that, which then is deleted. */
int cb_registry_tag_delete(struct cb_registry *r, const struct cb_reference *ref, struct cb_error *err) CB_WUR;
/* *size: bytes, UINT64_MAX where the registry does not tell. -CB_ENOTFOUND. */
int cb_registry_blob_head(struct cb_registry *r, const struct cb_reference *ref, uint64_t *size,
                          struct cb_error *err) CB_WUR;
int cb_registry_blob_delete(struct cb_registry *r, const struct cb_reference *ref, struct cb_error *err) CB_WUR;

/* ---- explain.c ---- */
struct cb_explain_options {
    const struct cb_reference *ref;
    bool push;
    const char *mount_from; /* a repository of the same host, or NULL */
};
/* How a pull or push of a reference would go, asked of the registry, without changing anything there: an object for
 * people and programs, never with a secret (doc/auth.md). *out is set as far as it was found out, whatever comes of the
 * request at its end: a code of that is the code that a pull or push would end with. */
int cb_registry_explain(struct cb_registry *r, const struct cb_explain_options *o, json_t **out, struct cb_error *err)
    CB_WUR;

/* ---- other ---- */
/* GET /v2/, with our credentials where it wants some. *url (owned): what answered, "https://HOST/v2/". */
int cb_registry_ping(struct cb_registry *r, const char *host, char **url, struct cb_error *err) CB_WUR;
/* GET /v2/ with these credentials; *realm (owned, may be NULL) is the token realm that took them. For login. */
int cb_registry_check_login(struct cb_registry *r, const char *host, const char *username, const char *password,
                            char **realm, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of the registry client share. */

#include <pthread.h>
#include <stdatomic.h>

#include "oci/json.h"
#include "registry/registry.h"
#include "util/hashmap.h"
#include "util/thread.h"
#include "util/turn.h"

/* ---- registries_conf.c: containers-registries.conf(5), version 2 ---- */
struct reg_mirror {
    char *location;
    bool insecure, digest_only, tag_only;
};
struct reg_rule {
    char *prefix, *location; /* location "" : as the prefix */
    bool insecure, blocked;
    struct reg_mirror *mirrors;
    size_t n_mirrors;
};
struct reg_conf {
    struct reg_rule *rules;
    size_t n, cap;
    struct cb_strvec credential_helpers;
    struct cb_strvec files; /* that were read */
};
int reg_conf_load(struct reg_conf *c, const char *path, struct cb_error *err) CB_WUR;
int reg_conf_parse(struct reg_conf *c, const char *name, const char *text, size_t len, struct cb_error *err) CB_WUR;
void reg_conf_done(struct reg_conf *c);
/* The rule of the longest prefix that matches "host/repo[:tag][@digest]" on a boundary, or NULL. *matched: how much
 * of the name its prefix stands for. */
const struct reg_rule *reg_conf_match(const struct reg_conf *c, const char *name, size_t *matched);

/* ---- endpoint.c ---- */
/* One place that a repository can be reached at. */
struct reg_endpoint {
    char *host; /* whose credentials and certificates */
    char *repo;
    const struct reg_host *h;
    bool push; /* manifests are read with the right to push, so that one token does for all */
    const struct cb_cancel *cancel; /* ends what is asked of it; borrowed, and derives from the client's. NULL: that */
    _Atomic int64_t *heard; /* set when it answers; monotonic, ns; or NULL */
};
/* What is known of a host; kept for the life of the client. */
struct reg_host {
    char *name;      /* "docker.io" */
    char *authority; /* "registry-1.docker.io" */
    char *api;       /* "/v2", or what hosts.toml has in place of it */
    char *ns;        /* the host it stands for, as a mirror by hosts.toml; or NULL */
    struct cb_strvec headers; /* of hosts.toml: for this host alone, and not to be shown */
    bool has_authorization;   /* among them */
    struct cb_http_tls tls;
    bool insecure;         /* plain HTTP may be spoken, certificates need not verify */
    bool loopback;         /* plain HTTP may be spoken */
    struct cb_turn probe;  /* while it is found out */
    pthread_mutex_t mu;
    int plain; /* -1 not known yet, 0 https, 1 http */
    struct reg_limits {
        uint64_t chunk;     /* of uploads, now; 0: not tried yet */
        uint64_t too_large; /* the smallest body that was refused for its size; 0: none was */
        uint64_t whole;     /* the same of bodies that were a whole blob */
        bool chunks_work, no_chunks, range_stuck;
    } limits; /* upload_limits.c */
};

/* What a client and its views share. */
struct reg_known {
    struct reg_conf conf;
    struct cb_strvec named;
    struct {
        unsigned buffers; /* of all blobs that come in ranges; under mu */
        int64_t trial_ns; /* how long one way is tried; 0: 2 s */
        int waits;        /* per cent of the time that one stream's reader has to wait for it */
        int gain;         /* per cent that several streams have to be faster; -100: they are kept anyway */
    } ranges;
    atomic_uint fetched, sent; /* see cb_registry_expect */
    pthread_mutex_t mu;
    struct cb_turn fallback;  /* while a list of referrers is changed */
    struct cb_hashmap *hosts; /* by name and how it may be spoken to → struct reg_host */
    struct cb_hashmap *tomls; /* by host → struct reg_hosts (hosts.h) */
    struct cb_hashmap *doubted; /* "host/repo digest" of places that served other bytes; doubt.c */
};
struct cb_registry {
    struct cb_registry_options o;
    struct reg_known *known;
    struct cb_registry *client;    /* whose view it is; NULL: it is none */
    struct reg_ahead *ahead;       /* blob_ahead.c; NULL: nothing yet */
};
/* What ends all that is asked through it beside the client's token; NULL: nothing. */
const struct cb_cancel *reg_until(const struct cb_registry *r);
struct reg_endpoints {
    struct reg_endpoint *v;
    size_t n, cap;
};
void reg_endpoints_done(struct reg_endpoints *e);
struct reg_wanted {
    const char *host, *repo;
    const char *tag;                /* or NULL */
    const struct cb_digest *digest; /* or NULL */
    bool blob;                      /* any mirror may serve: what comes is verified */
};
/* Mirrors in order, as far as they may serve it, then the location. -CB_EAUTH where the registry is blocked. */
int reg_endpoints_pull(struct cb_registry *r, const struct reg_wanted *w, struct reg_endpoints *out,
                       struct cb_error *err) CB_WUR;
/* The location alone (the last mirror, with only_mirrors): for what a mirror may lack. */
int reg_endpoint_location(struct cb_registry *r, const char *host, const char *repo, struct reg_endpoint *out,
                          struct cb_error *err) CB_WUR;
/* The host itself; mirrors and locations are for pulls only. */
int reg_endpoint_push(struct cb_registry *r, const char *host, const char *repo, struct reg_endpoint *out,
                      struct cb_error *err) CB_WUR;
void reg_endpoint_done(struct reg_endpoint *e);
void reg_host_free(struct reg_host *h);
bool reg_is_loopback(const char *host);

bool reg_same_host(const char *a, const char *b); /* without regard to case */

/* ---- blob.c ---- */
struct reg_blob_place {
    const char *host, *repo;
    uint64_t offset; /* where to begin; from more than 0 on the digest is not checked (cb_blob_seek) */
    uint64_t end;    /* blob.h: behind the last byte that is wanted; 0: all */
    const struct cb_cancel *cancel; /* as of an endpoint */
    bool once;       /* where it cannot be opened nobody is asked again */
};
int reg_blob_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                  struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* The whole blob, in one stream or in several. */
int reg_blob_any(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                 struct cb_blob_source **out, struct cb_error *err) CB_WUR;
/* ---- blob_ahead.c ---- */
void reg_ahead_begin(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc);
/* What was begun, once; waits until it is open. 1: it has to be asked for, as nothing was begun, or somebody has it, or
 * what went wrong may pass: it was tried once. */
int reg_ahead_take(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                   struct cb_blob_source **out, struct cb_error *err) CB_WUR;
void reg_ahead_done(struct cb_registry *r); /* gives up what nobody took; what was taken is closed by now */

/* ---- doubt.c: a place that served other bytes than the digest's is asked last for it from then on ---- */
void reg_doubt(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *d);
void reg_doubt_order(struct cb_registry *r, struct reg_endpoints *all, const struct cb_digest *d);

/* ---- failures.c: what went wrong at several places in turn ---- */
struct reg_failures {
    struct cb_error first, last;
    char *first_host;
    size_t n;
};
void reg_failures_add(struct reg_failures *f, const char *host, struct cb_error *e); /* e is emptied */
/* The last one's code and text, and the first one's text behind it. Returns the negative code. */
int reg_failures_tell(const struct reg_failures *f, struct cb_error *err);
void reg_failures_done(struct reg_failures *f);

/* ---- certs.c ---- */
/* The certs.d directories, in order. */
void reg_certs_dirs(struct cb_strvec *out);
int reg_certs_find(struct cb_http_tls *tls, const char *cert_dir, const char *host, struct cb_error *err) CB_WUR;

/* ---- manifest.c ---- */
/* HEAD of one endpoint; GET where that does not tell enough. */
int reg_head(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
             struct cb_descriptor *out, struct cb_error *err) CB_WUR;

/* As cb_push_tag_state, of one endpoint; a name by digest does as well as a tag. */
int reg_tag_state(struct cb_registry *r, const struct reg_endpoint *e, const char *tag, struct cb_tag_state *out,
                  struct cb_error *err) CB_WUR;

/* ---- request.c ---- */
struct reg_request {
    const char *method;
    const char *path; /* below /v2/, or NULL with url */
    const char *url;  /* a Location, absolute */
    const struct cb_scope *scopes;
    size_t n_scopes;
    const struct cb_strvec *headers;
    struct cb_http_body body;
    void (*on_sent)(void *arg, uint64_t total);
    void *on_sent_arg;
    bool repeatable; /* of a POST, PATCH */
    bool no_retry;
    bool prompt;   /* as in http */
    bool followed; /* by requests for blobs, where any are expected */
    bool keep_401;   /* is not answered but returned: how much of the body arrived has to be asked first */
    bool only_harmless; /* as in http */
    bool approve_realm;   /* login */
    struct cb_auth *auth; /* NULL: the client's */
    size_t max_body;
};
/* Authenticates as needed, finds out http or https once. Any status is success here. */
int reg_send(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_request *q,
             struct cb_http_reply **out, struct cb_error *err) CB_WUR;

/* GET /v2/ without credentials, whatever it answers; *base (owned): the origin that was asked, which t points to. */
int reg_ping(struct cb_registry *r, const struct reg_endpoint *e, struct cb_auth_target *t, char **base,
             struct cb_http_reply **out, struct cb_error *err) CB_WUR;

/* Waits, unless the work is cancelled before or meanwhile: c, or with NULL the client. */
int reg_pause(const struct cb_registry *r, const struct cb_cancel *c, int64_t ns, struct cb_error *err) CB_WUR;

/* ---- link.c: what the value of a Link header (RFC 8288) says of rel=next, or NULL; owned ---- */
char *reg_link_next(const char *value);

/* ---- pages.c ---- */
/* A GET with its whole body, where the status is 200. Any status is success. */
struct reg_answer {
    struct cb_http_reply *reply;
    struct cb_strbuf body;
};
void reg_answer_done(struct reg_answer *a);
int reg_get(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_request *q, struct reg_answer *out,
            struct cb_error *err) CB_WUR;
/* A walk over the pages of a list. */
struct reg_pages {
    char *url; /* of the next page, or NULL */
    char *mark;
    unsigned n, marked;
};
/* Reads what the reply says of the next page. -CB_EVERIFY where it is elsewhere (D6), or there is no end to them. */
int reg_pages_next(struct reg_pages *p, const struct cb_http_reply *reply, struct cb_error *err) CB_WUR;
void reg_pages_done(struct reg_pages *p);

/* ---- manifest.c: from one endpoint; out->host and out->repo stay NULL ---- */
int reg_manifest_fetch(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_reference *ref,
                       struct cb_fetched *out, struct cb_error *err) CB_WUR;

/* ---- fallback.c: distribution-spec, referrers tag schema ---- */
/* A manifest as the list of its subject has it. */
struct reg_referrer {
    struct cb_descriptor subject;
    json_t *entry; /* NULL: it has no subject */
};
int reg_referrer_read(struct reg_referrer *x, const struct cb_descriptor *desc, struct cb_slice body,
                      struct cb_error *err) CB_WUR;
void reg_referrer_done(struct reg_referrer *x);
char *reg_fallback_tag(const struct cb_digest *subject); /* "sha256-…"; owned */
/* -CB_ENOTFOUND; -CB_EVERIFY where something else has that tag. */
int reg_fallback_fetch(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *subject,
                       struct cb_fetched *out, struct cb_error *err) CB_WUR;
int reg_fallback_add(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_referrer *referrer,
                     struct cb_error *err) CB_WUR;
int reg_fallback_remove(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *subject,
                        const struct cb_digest *referrer, struct cb_error *err) CB_WUR;
/* ---- referrers.c: 1: the registry has the API, 0: it has not ---- */
int reg_referrers_api(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *subject,
                      struct cb_error *err) CB_WUR;

/* ---- manifest_put.c ---- */
struct reg_put {
    const char *name; /* tag or digest, and a query */
    const char *media_type;
    struct cb_slice body;
    const char *condition; /* a header such as "If-Match: …", or NULL */
    bool once;             /* what fails is not tried again */
};
/* 1: the condition does not hold (any more). Where it fails in a way that may pass it is sent again, unless it is seen
 * to be there already. *answer (may be NULL): then only an answer will do. */
int reg_manifest_put(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_put *put,
                     struct cb_http_reply **answer, struct cb_error *err) CB_WUR;
/* The same, and the list of its subject is kept, by us where the registry does not. */
int reg_manifest_store(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_put *put,
                       const struct reg_referrer *referrer, struct cb_error *err) CB_WUR;

/* ---- delete.c ---- */
/* DELETE of a manifest by tag or digest; err has the status where the registry refuses. */
int reg_manifest_remove(struct cb_registry *r, const struct reg_endpoint *e, const char *name,
                        struct cb_error *err) CB_WUR;

/* ---- reg_error.c ---- */
/* The registry's own words about a failure, on one line, harmless, at most some hundred bytes; nothing where it has
 * none. */
void reg_reply_words(struct cb_http_reply *reply, struct cb_strbuf *out);
/* Of the answer 404 to what was asked for that reference: -CB_ENOTFOUND. */
int reg_manifest_not_found(const struct reg_endpoint *e, const struct cb_reference *ref, struct cb_http_reply *reply,
                           struct cb_error *err);
/* Turns a reply that is not what was hoped for into an error: code by status, text by the registry's own words. */
int reg_reply_error(struct cb_http_reply *reply, struct cb_error *err, const char *fmt, ...) CB_PRINTF(3, 4);

/* ---- push parts ---- */
/* An upload that the registry has opened. */
struct push_session {
    char *url;          /* its newest Location, absolute; NULL: none */
    uint64_t chunk_min; /* OCI-Chunk-Min-Length, 0: none */
};
struct push_spare {
    struct push_session session;
    int64_t since; /* monotonic, ns */
};
#define PUSH_SPARES 3u /* of two layers and the config */
struct push_blob;
struct cb_push {
    struct cb_registry *r;
    struct cb_push_options o;
    struct reg_endpoint e;
    struct cb_pool *pool, *openers; /* of sources that are far away */
    pthread_mutex_t mu;
    pthread_cond_t cond; /* what is of the whole push */
    pthread_cond_t room; /* for another body */
    struct cb_hashmap *by_digest; /* text → struct push_blob */
    struct push_blob **v;
    size_t n, cap, open;
    unsigned bodies; /* of blobs that are on their way, and what they come to */
    uint64_t body_bytes;
    struct push_spare spares[PUSH_SPARES]; /* begun ahead of their blobs */
    unsigned n_spares, opening;
    unsigned to_come; /* fresh blobs that nobody has added yet */
    unsigned awaited; /* of those that are opening */
    bool let_in; /* an upload was begun ahead, so that we may push there */
    bool surveyed, surveying, bare; /* it was asked; has not answered yet; nothing seems to be there */
    struct cb_cancel *cancel; /* of all that it asks for */
    struct cb_cancel *last;   /* of what is said after that; NULL: it goes on */
    _Atomic int64_t heard;    /* monotonic, ns: when the registry last took bytes or answered about blobs */
    bool stop;
    struct cb_error error;
    struct cb_push_result *results;
};
struct push_blob {
    struct cb_push *p;
    struct cb_descriptor desc;
    struct cb_strvec hosts, repos;
    int (*open)(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err);
    void *arg;
    struct cb_push_result result;
    int64_t wait_ns;    /* what the registry asked for, before another try */
    bool source_failed; /* the last try ended for want of bytes, not because of the target */
    bool done, ended; /* well; anyhow */
    bool optional, fresh, resent;
    pthread_cond_t changed; /* it has ended, or what goes on beside its upload; of the push's mu */
    bool unseen;       /* to be looked for beside its upload */
    bool looking;      /* beside the upload; under the push's mu */
    atomic_bool found; /* it was there: what is sent of it is for nothing */
    struct cb_error error;
};
/* ---- push.c ---- */
/* 1: the target has it; 0: it has not, or does not tell. */
int push_is_there(struct push_blob *b, struct cb_error *err) CB_WUR;
/* Every blob of the push is looked for once more, the longer after the more often that was done before, and sent where
 * it is not there (any more): each only once. */
int push_look_again(struct cb_push *p, unsigned looks, struct cb_error *err) CB_WUR;
/* 0 where it is there for certain; may be none where b->found. */
int push_send(struct push_blob *b, struct push_session *session, struct cb_error *err) CB_WUR;
/* ---- push_fresh.c ---- */
/* Whether it is sent without looking for it first; waits for a survey. */
bool push_is_fresh(struct push_blob *b);
int push_send_fresh(struct push_blob *b, struct push_session *session, struct cb_error *err) CB_WUR;
/* Once its upload is open: then it does not stand in the way of that. */
void push_look_beside(struct push_blob *b);
/* ---- push_manifest.c ---- */
/* reg_manifest_store, or reg_manifest_put where referrer is NULL. Blobs that are missed are looked for again. */
int push_put(struct cb_push *p, const struct reg_put *put, const struct reg_referrer *referrer, struct cb_error *err)
    CB_WUR;
/* Another blob has failed, or nobody waits any more. */
bool push_stopped(struct cb_push *p);
bool push_brings_new(struct cb_push *p); /* a blob that was not there before, or hardly */
/* After such a failure nothing more is said: who got no answer last would only wait for another. */
bool push_is_dead(const struct cb_push *p, const struct cb_error *why);
/* ---- mount.c: 1 mounted, 0 not; *session is set where an upload was opened instead ---- */
int push_mount(struct push_blob *b, struct push_session *session, struct cb_error *err) CB_WUR;
/* ---- push_ahead.c ---- */
/* An upload that was begun ahead, if there is one that the registry will still know; waits for what is being begun. */
void push_spare_take(struct cb_push *p, struct push_session *out);
/* Gives up those that nobody took, when nothing of the push runs any more. */
void push_spares_done(struct cb_push *p);
/* ---- upload.c: session's url may be NULL (taken) ---- */
int push_upload(struct push_blob *b, struct push_session *session, struct cb_error *err) CB_WUR;
/* ---- upload_session.c ---- */
int push_session_take(const struct reg_endpoint *e, const struct cb_http_reply *reply, struct push_session *out,
                      struct cb_error *err) CB_WUR;
void push_session_done(struct push_session *s);
/* DELETE, so that the registry need not keep it. Who does not know that forgets it by itself. */
void push_session_cancel(struct cb_push *p, const char *url);
#define push_cleanup_session CB_CLEANUP(push_session_done)
/* The absolute URL of a Location header (D5). Owned; NULL and err. */
char *reg_location(const struct reg_endpoint *e, const struct cb_http_reply *reply, struct cb_error *err);
char *reg_location_from(const char *asked, const char *location, struct cb_error *err);
void push_progress(struct push_blob *b, uint64_t current);
/* Where manifests are put, and what else can be said after cb_push_stop: the registry has a moment for it. Its answers
 * are not what cb_push_heard tells: claims are renewed however little of the blobs is taken. Borrows p's. */
struct reg_endpoint push_last_words(struct cb_push *p);

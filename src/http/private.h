/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside of src/http. Three kinds of places:
 *   - the requesting thread: send.c (redirects, tries), pump.c (request body), reply.c (reply body);
 *   - the one thread of client.c, which alone touches curl_multi and runs all callbacks of transfer.c;
 *   - pure functions: url, redact, address, proxy, redirect, retry, failure.
 * Locks: cb_http.lock (commands, origins) and cb_http_transfer.lock; a thread holds at most one of them.
 * cb_http.start_lock is taken alone. */

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "http/curl_lib.h"
#include "http/http.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/trace.h"

#define CB_SEC_NS INT64_C(1000000000)
#define CB_HTTP_RING_MAX (256u << 10)  /* of few transfers: fewer switches between threads */
#define CB_HTTP_RING_MANY (128u << 10) /* of each further one, as all of them together are as fast with less */
#define CB_HTTP_FEW 4u
#define CB_HTTP_IP_MAX INET6_ADDRSTRLEN

/* ---- ring.c: bytes between two threads; the transfer's lock guards it. Grows up to max. */
struct cb_http_ring {
    char *buf;
    size_t cap, head, len, max;
};
void cb_http_ring_done(struct cb_http_ring *r);
size_t cb_http_ring_room(const struct cb_http_ring *r);
void cb_http_ring_push(struct cb_http_ring *r, const void *p, size_t n); /* n ≤ room */
/* Where up to `want` bytes may be put, of which there is room for at least one; then committed. Others may pop then,
 * without the lock for who fills it. */
size_t cb_http_ring_reserve(struct cb_http_ring *r, size_t want, char **p); /* 1 ≤ want ≤ room */
void cb_http_ring_commit(struct cb_http_ring *r, size_t n);
size_t cb_http_ring_pop(struct cb_http_ring *r, void *p, size_t n);

/* ---- proxy.c: what the environment says, read once. */
struct cb_http_env {
    char *https_proxy, *http_proxy, *no_proxy; /* "" where there is none */
    char *cert_file, *cert_dir;                /* or NULL */
};
void cb_http_env_read(struct cb_http_env *env, const char *(*get)(const char *name));
void cb_http_env_done(struct cb_http_env *env);
/* The proxy for a URL: "" for none. Loopback is never proxied. Borrowed from env. */
const char *cb_http_proxy_for(const struct cb_http_env *env, const struct cb_url *u);

struct cb_http_peer {
    struct sockaddr_storage at;
    socklen_t len; /* 0: none */
};

/* ---- gate.c: how much may go to one origin at once, and when it wants to be left alone. Under cb_http.lock. */
struct cb_http_origin {
    unsigned active; /* transfers that move; one that waits for our own side has given its place away */
    unsigned limit;  /* halved by 429, grown again by good replies */
    unsigned good;
    int64_t not_before; /* CLOCK_MONOTONIC */
    /* Client thread only: */
    struct cb_http_peer peer; /* the address that answered last */
    bool widened;             /* connections were opened ahead */
};

/* ---- ahead.c: connections that nobody uses yet. */
struct cb_http_ahead {
    int fd; /* -1: none */
    struct cb_http_peer peer;
    int64_t since; /* CLOCK_MONOTONIC */
};
#define CB_HTTP_AHEAD_MAX 32

/* ---- rate.c */
struct cb_http_bucket {
    int64_t have; /* bytes; less than 0: a debt */
    int64_t at;   /* when it was filled last; 0: never */
};

struct cb_http_transfer;

struct cb_http {
    struct cb_http_options o; /* defaults filled in */
    char *user_agent;
    struct cb_http_env env;
    pthread_mutex_t start_lock;
    bool started;  /* under start_lock: libcurl, its handles and the thread come with the first request */
    CURLM *multi;
    CURLSH *share; /* TLS sessions */
    pthread_mutex_t share_lock;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t gate; /* monotonic clock */
    struct cb_hashmap *origins, *ca_cache;
    struct cb_http_transfer **commands;
    size_t n_commands, cap_commands;
    struct cb_http_token *tokens; /* of single requests */
    size_t n_tokens, cap_tokens;
    bool stop;
    bool canceled;       /* nothing is let through */
    bool cancel_seen;    /* what was under way then has ended */
    int64_t grace_until; /* monotonic; 0: there is none */

    atomic_uint transfers;
    struct cb_http_transfer *running; /* list, client thread only, as the next ones */
    struct cb_http_ahead ahead[CB_HTTP_AHEAD_MAX];
    struct cb_http_bucket up, down;
    struct curl_waitfd *fds;
    size_t cap_fds;
};

/* ---- cancel.c: what ends requests. A token is watched by the client's thread as long as a transfer has it. */
struct cb_http_token {
    const struct cb_cancel *cancel;
    size_t users;
    bool seen; /* that it was triggered */
};
void cb_http_token_watch(struct cb_http_transfer *t, const struct cb_cancel *c);
void cb_http_token_unwatch(struct cb_http_transfer *t); /* the owner's, who may free it then */
/* Under cb_http.lock: the client is, or this request alone. */
bool cb_http_is_canceled(const struct cb_http *h, const struct cb_http_transfer *t);
/* For the client's thread: what is to be watched, into h->fds; how many. */
unsigned cb_http_token_fds(struct cb_http *h);
/* For the client's thread: whether a token was triggered since; who waits at a gate is woken. */
bool cb_http_tokens_triggered(struct cb_http *h);

/* The three are for the client's thread. One that is connected to that address, for libcurl; -1: none is. */
int cb_http_ahead_take(struct cb_http_transfer *t, const struct curl_sockaddr *a);
/* The transfer has a connection, to that address: opens those for the requests that will follow it. Errors are none:
 * whoever needs a connection opens his own. */
void cb_http_ahead_open(struct cb_http_transfer *t, const char *peer_ip);
void cb_http_ahead_close(struct cb_http *h, bool all); /* else those that have waited for too long */

/* How many bytes may move now. */
size_t cb_http_rate_allows(struct cb_http *h, struct cb_http_bucket *b);
void cb_http_rate_took(struct cb_http *h, struct cb_http_bucket *b, size_t n);
int64_t cb_http_rate_wait_ms(const struct cb_http *h); /* until any may move again */

/* tls.c; tls may be NULL: the system's trust. */
int cb_http_tls_apply(struct cb_http *h, CURL *easy, const struct cb_http_tls *tls, struct cb_error *err) CB_WUR;
void cb_http_ca_done(struct cb_http *h);

struct cb_http_origin *cb_http_gate_origin(struct cb_http *h, const struct cb_url *u);
/* Waits until `not_before` has come, the origin's gate is open and it has a place; takes the place. -CB_ECANCELED. */
int cb_http_gate_enter(struct cb_http_transfer *t, int64_t not_before, struct cb_error *err) CB_WUR;
void cb_http_gate_retake(struct cb_http *h, struct cb_http_origin *o); /* without waiting: a paused transfer goes on */
void cb_http_gate_leave(struct cb_http *h, struct cb_http_origin *o);
void cb_http_gate_close(struct cb_http *h, struct cb_http_origin *o, int64_t until); /* 429: nobody before that time */
/* What a reply says is left of the origin's budget: no more than that at a time; where nothing is, nobody before
 * `until` (0: not told, so one at a time finds out). */
void cb_http_gate_budget(struct cb_http *h, struct cb_http_origin *o, uint64_t left, int64_t until);
void cb_http_gate_good(struct cb_http *h, struct cb_http_origin *o);
/* d with a random quarter more or less. */
int64_t cb_http_jitter(int64_t d);

/* ---- transfer.c: one try of one request. Counted references: its owner, the list of running ones, the command
 * queue. */
enum { CB_HTTP_ADD = 1, CB_HTTP_RESUME = 2, CB_HTTP_REMOVE = 4 };

struct cb_http_watch { /* client thread only */
    int64_t since;
    uint64_t bytes;
    bool sent_all;
};

struct cb_http_transfer {
    atomic_uint refs;
    struct cb_http *h;
    struct cb_http_origin *origin;
    CURL *easy;
    struct curl_slist *header_list;
    size_t open_headers; /* so many at its front are nobody's secret */
    char errbuf[CURL_ERROR_SIZE];
    bool private_ok, proxied, has_body, is_head;
    unsigned followed; /* by so many requests at once, when it has been answered */
    bool patient; /* changes something over there: the reply may take long after all was sent */
    uint64_t body_length;
    char *host; /* for messages */

    unsigned commands; /* cb_http.lock, as the next two */
    bool queued;
    const struct cb_cancel *cancel; /* of this request alone; NULL once its owner has dropped it */

    struct cb_http_transfer *prev, *next; /* client thread only, as the next four */
    bool in_multi, has_place;
    bool throttled, throttled_up; /* paused because of the rate; of what is sent */
    struct cb_http_watch watch;
    struct cb_http_peer peer;     /* that a socket was opened for last */
    bool opened_ahead;            /* and is connected already */
    uint64_t header_bytes;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    struct cb_http_ring in, out;
    bool read_paused, write_paused; /* curl waits for us: for bytes to send, for room to receive */
    bool body_wanted;               /* curl has asked for the request's body */
    bool body_ended;                /* all of it is in `out` or was taken */
    uint64_t body_taken;            /* by curl */
    uint64_t received;              /* of the reply's body */
    int64_t header_at, ended_at;    /* monotonic; 0: not yet */
    bool connected;                 /* the request may have left */
    bool header_done, finished;
    bool canceled, stalled, peer_refused, header_too_big;
    char refused_ip[CB_HTTP_IP_MAX];
    CURLcode result;
    long connect_code, os_errno; /* of a proxy's CONNECT; of connect(2) */
    int socket_errno;            /* of socket(2), which libcurl tells as a refused connection */
    unsigned status;
    struct cb_strvec headers; /* "Name: value" */

    struct cb_span span; /* the owner's */
};

/* One hop of a request as it goes on the wire. */
struct cb_http_hop {
    const struct cb_http_request *req;
    struct cb_url url;
    const char *method;
    bool with_body;
    bool foreign;    /* left the first origin at some time: no credentials any more */
    bool other_host; /* of another host name than the first */
    bool private_ok;
};
struct cb_http_transfer *cb_http_transfer_new(struct cb_http *h, const struct cb_http_hop *hop, struct cb_error *err);
void cb_http_transfer_ref(struct cb_http_transfer *t);
void cb_http_transfer_unref(struct cb_http_transfer *t);
/* The owner wants no more of it: removed from curl if it still runs; the owner's reference is given up. */
void cb_http_transfer_drop(struct cb_http_transfer *t);
CB_DEFINE_CLEANUP(struct cb_http_transfer *, cb_http_transfer_drop)
/* Waits a moment for the rest of a small body, so that the connection can be used again. */
void cb_http_transfer_drain(struct cb_http_transfer *t);

/* timeline.c: the span of a try, from its place at the gate to the end of the reply's body. */
void cb_http_span_begin(struct cb_http_transfer *t, const struct cb_http_hop *hop, unsigned tries);
void cb_http_span_end(struct cb_http_transfer *t);

/* header.c: lines as libcurl hands them out; under the transfer's lock. True at the end of the final header. */
bool cb_http_header_line(struct cb_http_transfer *t, const char *line, size_t n);
const char *cb_http_headers_find(const struct cb_strvec *headers, const char *name, size_t nth);
uint64_t cb_http_headers_length(const struct cb_strvec *headers);

/* ---- client.c */
/* Before the first handle of libcurl is made; cheap afterwards. */
int cb_http_start(struct cb_http *h, struct cb_error *err) CB_WUR;
void cb_http_command(struct cb_http *h, struct cb_http_transfer *t, unsigned command);

/* ---- pump.c: feeds the request's body in the requesting thread until the header of the reply is there. */
struct cb_http_pump {
    const struct cb_http_request *req;
    size_t mem_pos;
    uint64_t pulled;
    bool touched; /* bytes went since the last rewind */
};
int cb_http_pump_run(struct cb_http_pump *p, struct cb_http_transfer *t, struct cb_error *err) CB_WUR;
bool cb_http_pump_can_rewind(const struct cb_http_pump *p);
int cb_http_pump_rewind(struct cb_http_pump *p, struct cb_error *err) CB_WUR;

/* ---- failure.c: what a transport result means. */
struct cb_http_failure {
    bool retry;  /* may go better next time */
    bool unsent; /* the request never left, so that any method may be tried again */
};
/* Sets err (returns its negative code) for a finished transfer that failed. */
int cb_http_failure_of(const struct cb_http_transfer *t, struct cb_http_failure *f, struct cb_error *err);

/* ---- retry.c */
bool cb_http_method_is_idempotent(const char *method);
int64_t cb_http_backoff(int64_t base, unsigned tries); /* before jitter: base, 2 base, … at most 30 base */

/* ---- redirect.c */
bool cb_http_is_redirect(unsigned status);
/* May a request that began at `first` and stands at `from` go on to `to`? 0 or -CB_EVERIFY. */
int cb_http_redirect_allowed(const struct cb_http_request *req, const struct cb_url *first, const struct cb_url *from,
                             const struct cb_url *to, struct cb_error *err) CB_WUR;
/* Moves the hop to where Location points; method and body follow the status. */
int cb_http_redirect_follow(struct cb_http_hop *hop, const struct cb_url *first, unsigned status, const char *location,
                            struct cb_error *err) CB_WUR;

/* ---- url.c, address.c */
void cb_strbuf_add_origin(struct cb_strbuf *sb, const struct cb_url *u);
char *cb_url_text(const struct cb_url *u);
/* Loopback, link-local, private, shared, multicast, reserved; true for what is no address. */
bool cb_http_address_is_private(const char *ip);
bool cb_http_sockaddr_is_private(const struct sockaddr *sa);
void cb_http_sockaddr_text(const struct sockaddr *sa, char ip[static CB_HTTP_IP_MAX]);
bool cb_http_host_is_literal(const char *host, char ip[static CB_HTTP_IP_MAX]);

/* ---- reply.c */
struct cb_http_reply {
    struct cb_http_transfer *t;
    char *url;
    char *name; /* "GET https://…", redacted, for messages */
    bool crossed;
    size_t max_body;
};

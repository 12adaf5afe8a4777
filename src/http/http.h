/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HTTP for the registry client: libcurl, once. One thread runs curl_multi; callers block on their own request and move
 * bodies through bounded rings, in their own thread. Rules R14, R15, R17, R24.
 *
 * Policy lives here: no FOLLOWLOCATION (our own loop re-runs the rules on every hop), https only unless the request's
 * `plain_http`, no netrc, no cookies, no Accept-Encoding, header size cap, peer address check after connect,
 * connection reuse only within one (origin, TLS configuration) — credentials are never in curl's hands but as a header
 * of one request. Retries of idempotent requests with back-off, jitter, Retry-After and one gate per host. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/cancel.h"
#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

struct cb_http;         /* the client: thread, pool */
struct cb_http_reply;   /* an answer whose body is still to be read */

/* How to speak to one host. Shared by requests; must outlive them. Compared by content for connection reuse. */
struct cb_http_tls {
    bool insecure;              /* do not verify the server's certificate */
    struct cb_strvec ca_files;  /* PEM files added to the system's pool */
    char *client_cert, *client_key; /* PEM files or NULL */
    char *unix_socket;              /* where the host listens, in place of its address; no proxy then. Or NULL */
    int64_t connect_ns;             /* in place of the client's; 0: that */
};
void cb_http_tls_done(struct cb_http_tls *t);

struct cb_http_options {
    const struct cb_cancel *cancel; /* ends every request; or NULL */
    unsigned max_host_connections; /* 0 = 16 */
    unsigned retries;              /* further tries after the first; UINT_MAX = 5 */
    int64_t max_wait_ns;           /* Retry-After is honoured up to this, per request; 0 = 5 minutes */
    int64_t backoff_ns;            /* before the first further try, then doubled up to 30 of it; 0 = 1 s */
    int64_t stall_ns;              /* less than 1 KiB/s for this long aborts a try; 0 = 30 s */
    uint64_t rate;                 /* bytes a second of all bodies together, in each direction; 0: no limit */
    int64_t connect_ns;            /* for name, connection and TLS together; 0 = 30 s */
    const char *user_agent;        /* NULL = "cbpush/VERSION" */
    /* Called for each try with redacted text, for --debug; may be NULL. From the requesting threads, several at
     * once. */
    void (*trace)(void *arg, const char *line);
    void *trace_arg;
    /* One redacted line for the user when a host keeps failing ("GET https://h/v2/x: status 503: next try in 2 s");
     * may be NULL. Not called for a single short hiccup. Threads as for trace. */
    void (*notice)(void *arg, const char *line);
    void *notice_arg;
};
/* Proxies (https_proxy, http_proxy, all_proxy, no_proxy in both cases) and SSL_CERT_FILE, SSL_CERT_DIR are read from
 * the environment here, once. libcurl is loaded, and its thread begins, with the first request. */
struct cb_http *cb_http_new(const struct cb_http_options *o);
/* Once it is canceled: what was under way is ended, and for so long requests are let through again, so that what others
 * would wait for can be taken back. */
void cb_http_grace(struct cb_http *h, int64_t ns);
const char *cb_http_library(void); /* version of libcurl and of what it uses, or that it cannot be loaded; static */
/* As in force: for what only a caller can repeat. */
int64_t cb_http_backoff_base(const struct cb_http *h);
int64_t cb_http_max_wait(const struct cb_http *h);
unsigned cb_http_retries(const struct cb_http *h);
/* All replies have been freed before. */
void cb_http_free(struct cb_http *h);
CB_DEFINE_CLEANUP(struct cb_http *, cb_http_free)

/* The body of a request. Exactly one of: nothing, mem, pull. */
struct cb_http_body {
    const void *mem;
    size_t mem_len;
    /* Up to n bytes, *got = 0 at the end; called in the requesting thread. */
    int (*pull)(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err);
    /* Start again from the first byte; NULL: the body cannot be sent twice and the request is not retried once bytes
     * went. */
    int (*rewind)(void *arg, struct cb_error *err);
    void *arg;
    uint64_t length; /* of pull; UINT64_MAX: unknown, chunked transfer encoding */
};

struct cb_http_request {
    /* Ends this request alone, and the reading of its reply, whatever it waits for: -CB_ECANCELED. Need not derive from
     * the client's. Any thread may trigger it, and it may serve any number of requests; outlives the reply. Or NULL. */
    const struct cb_cancel *cancel;
    const char *method;               /* "GET" … */
    const char *url;                  /* absolute, no userinfo */
    const struct cb_http_tls *tls;    /* or NULL */
    bool plain_http;                  /* http:// is allowed for this origin */
    bool private_ok;                  /* the user typed this host: private, loopback and link-local peers are allowed */
    bool private_redirect_ok;         /* the same for other hosts that redirects lead to; only on the user's word */
    bool no_redirect;                 /* 3xx is returned as it is */
    bool retry_unsafe;                /* a POST or PATCH that the caller knows to be repeatable */
    bool no_retry;
    bool only_answered;               /* tried again only after an answer: nobody may be there who speaks this way */
    bool only_harmless;               /* tried again only where nothing was done: the caller looks before it repeats */
    bool prompt;                      /* the body goes at once, without being waited for (Expect), where it can be
                                       * sent again */
    unsigned followed;                /* so many requests will follow when it is answered: the first time that this is
                                       * said of an origin, connections for them are opened meanwhile */
    bool *reached;                    /* set where a try that failed had a connection; may be NULL */
    const char *authorization;        /* full header value; dropped when a redirect leaves the origin; or NULL */
    const struct cb_strvec *headers;  /* "Name: value", or NULL */
    const struct cb_strvec *origin_headers; /* the same, dropped when a redirect leaves the origin; or NULL */
    struct cb_http_body body;
    /* Told how many body bytes have gone, from the requesting thread; may be NULL. */
    void (*on_sent)(void *arg, uint64_t total);
    void *on_sent_arg;
    size_t max_body;                  /* of a reply read with cb_http_slurp; 0 = CB_MAX_MANIFEST */
};

/* A redirect is followed for at most CB_MAX_REDIRECTS hops; each hop must be https, or http on the first host where
 * plain_http holds, never http after https; what changes something stays on its host. 303, and 301 and 302 of a POST,
 * go on as GET without the body. Where an upload is answered before its body was read (401 by Expect: 100-continue),
 * pull has not been called. Sends and returns once the header of the final reply (after redirects and retries) is
 * there, whatever its status. Errors are those of transport and policy only: -CB_ENET (retryable ones already
 * retried), -CB_EVERIFY for TLS and for addresses and redirects that policy refuses, -CB_EAUTH for a proxy that wants
 * credentials, -CB_ECONF for certificate files that cannot be read, -CB_ECANCELED, and what pull and rewind return. */
int cb_http_send(struct cb_http *h, const struct cb_http_request *req, struct cb_http_reply **reply,
                 struct cb_error *err) CB_WUR;
void cb_http_reply_free(struct cb_http_reply *r); /* aborts what is still running */
CB_DEFINE_CLEANUP(struct cb_http_reply *, cb_http_reply_free)
unsigned cb_http_status(const struct cb_http_reply *r);
/* A trouble that may pass. */
bool cb_http_status_is_retryable(unsigned status);
/* First value of a header of the final reply, name without case; NULL where absent. */
const char *cb_http_header(const struct cb_http_reply *r, const char *name);
/* All values. The n-th or NULL. */
const char *cb_http_header_nth(const struct cb_http_reply *r, const char *name, size_t n);
/* The URL that finally answered (for relative Locations) and whether a redirect left the first origin. */
const char *cb_http_url(const struct cb_http_reply *r);
bool cb_http_crossed_origin(const struct cb_http_reply *r);
/* Content-Length or UINT64_MAX. */
uint64_t cb_http_content_length(const struct cb_http_reply *r);
/* The body as it comes; *got = 0 at the end. A body cut short of Content-Length is -CB_ENET. */
int cb_http_read(struct cb_http_reply *r, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
/* The whole body; -CB_EVERIFY past max_body of the request. */
int cb_http_slurp(struct cb_http_reply *r, struct cb_strbuf *out, struct cb_error *err) CB_WUR;

/* The proxy that a URL would be reached through, redacted, for people; NULL: none. Owned. */
char *cb_http_proxy_shown(const struct cb_http *h, const char *url);
/* Hides in text what the request carried as credentials: a server that repeats them is not repeated. */
void cb_http_scrub(const struct cb_http_reply *r, struct cb_strbuf *text);
/* The same for any secret; one of less than four bytes is left. */
void cb_http_hide(struct cb_strbuf *text, const char *secret, size_t n);
/* What a value of Authorization holds behind its scheme; of Basic the password by itself too. */
void cb_http_hide_authorization(struct cb_strbuf *text, const char *value);

/* URLs. */
struct cb_url {
    char *scheme, *host, *path_query; /* host without port, lower case, IPv6 in brackets; path_query starts with '/' */
    unsigned port;                    /* explicit or the scheme's default */
};
void cb_url_done(struct cb_url *u);
#define cb_cleanup_url CB_CLEANUP(cb_url_done)
/* http and https only, no userinfo, no control characters: -CB_EVERIFY else. */
int cb_url_parse(struct cb_url *out, const char *text, struct cb_error *err) CB_WUR;
bool cb_url_same_origin(const struct cb_url *a, const struct cb_url *b);
unsigned cb_url_default_port(const char *scheme);
/* Of a cb_url: 127.0.0.0/8, [::1] and localhost. A name that only begins like an address is none. */
bool cb_host_is_loopback(const char *host);
/* Reference resolution of RFC 3986 §5; keeps the query byte for byte. Owned by the caller; NULL and err if not
 * valid. */
char *cb_url_resolve(const char *base, const char *ref, struct cb_error *err);
/* Seconds to wait by a Retry-After value (seconds or HTTP-date; 0 for a date in the past), or -1. At most 10^9. */
int64_t cb_http_retry_after(const char *value, int64_t now_sec);

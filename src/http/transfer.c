/* SPDX-License-Identifier: Apache-2.0 */
/* One try: an easy handle, its options, its callbacks (which run in the client's thread). */
#include <errno.h>
#include <strings.h>
#include <time.h>

#include "http/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define CURL_BUFFER (128L << 10)
#define EXPECT_FROM (1u << 20)
#define DRAIN_MAX (64u << 10)
#define DRAIN_WAIT_NS (CB_SEC_NS / 2)

/* libcurl's own default creates sockets that programs we start would inherit; and a refused peer is never even
 * connected to. on_prereq covers connections that are used again. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct cb_http_transfer *t = arg;
    if (purpose == CURLSOCKTYPE_IPCXN && !t->proxied && !t->private_ok && cb_http_sockaddr_is_private(&a->addr)) {
        pthread_mutex_lock(&t->lock);
        t->peer_refused = true;
        cb_http_sockaddr_text(&a->addr, t->refused_ip);
        pthread_mutex_unlock(&t->lock);
        errno = EACCES;
        return CURL_SOCKET_BAD;
    }
    int fd = purpose == CURLSOCKTYPE_IPCXN ? cb_http_ahead_take(t, a) : -1;
    if (fd >= 0)
        return fd;
    fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    if (fd < 0 && purpose == CURLSOCKTYPE_IPCXN) {
        pthread_mutex_lock(&t->lock);
        t->socket_errno = errno;
        pthread_mutex_unlock(&t->lock);
    }
    return fd;
}

static int on_socket(void *arg, curl_socket_t fd CB_UNUSED, curlsocktype purpose)
{
    struct cb_http_transfer *t = arg;
    bool there = purpose == CURLSOCKTYPE_IPCXN && t->opened_ahead;
    t->opened_ahead = false;
    return there ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

static int on_prereq(void *arg, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    struct cb_http_transfer *t = arg;
    (void)local_ip;
    (void)peer_port;
    (void)local_port;
    bool refused = !t->proxied && !t->private_ok && cb_http_address_is_private(peer_ip);
    pthread_mutex_lock(&t->lock);
    t->peer_refused = refused;
    t->connected = !refused;
    if (refused)
        snprintf(t->refused_ip, sizeof t->refused_ip, "%s", peer_ip);
    pthread_mutex_unlock(&t->lock);
    t->watch = (struct cb_http_watch){ .since = cb_time_monotonic() };
    if (!refused)
        cb_http_ahead_open(t, peer_ip);
    return refused ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void give_place_away(struct cb_http_transfer *t)
{
    if (t->has_place)
        cb_http_gate_leave(t->h, t->origin);
    t->has_place = false;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct cb_http_transfer *t = arg;
    n *= size;
    t->header_bytes += n;
    pthread_mutex_lock(&t->lock);
    bool resume = false;
    if (t->header_bytes > CB_MAX_HEADERS)
        t->header_too_big = true;
    else if (cb_http_header_line(t, line, n)) {
        t->header_done = true;
        t->header_at = cb_time_monotonic();
        /* After an early refusal libcurl has stopped sending, yet would wait for a pause to end. */
        resume = t->read_paused && t->status >= 300;
        pthread_cond_broadcast(&t->changed);
    }
    bool ok = !t->header_too_big;
    pthread_mutex_unlock(&t->lock);
    if (resume)
        cb_http_command(t->h, t, CB_HTTP_RESUME);
    return ok ? n : 0;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct cb_http_transfer *t = arg;
    n *= size;
    t->throttled = !cb_http_rate_allows(t->h, &t->h->down);
    t->throttled_up = false;
    pthread_mutex_lock(&t->lock);
    bool full = !t->throttled && cb_http_ring_room(&t->in) < n, paused = full || t->throttled;
    t->write_paused = paused;
    if (!paused) {
        cb_http_ring_push(&t->in, p, n);
        t->received += n;
        pthread_cond_broadcast(&t->changed);
    }
    pthread_mutex_unlock(&t->lock);
    if (full)
        give_place_away(t);
    if (!paused)
        cb_http_rate_took(t->h, &t->h->down, n);
    return paused ? CURL_WRITEFUNC_PAUSE : n;
}

static size_t on_read(char *p, size_t size, size_t n, void *arg)
{
    struct cb_http_transfer *t = arg;
    size_t allowed = cb_http_rate_allows(t->h, &t->h->up); /* once: it grows */
    size_t room = CB_MIN(size * n, allowed);
    pthread_mutex_lock(&t->lock);
    size_t got = room ? cb_http_ring_pop(&t->out, p, room) : 0;
    bool refused = t->header_done && t->status >= 300;
    t->throttled = !room && !refused && (t->out.len || !t->body_ended);
    t->throttled_up = t->throttled;
    bool wait = t->throttled || (!got && !t->body_ended && !refused);
    t->body_taken += got;
    t->body_wanted = true;
    t->read_paused = wait;
    if (wait || t->out.len <= t->out.max / 2)
        pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    cb_http_rate_took(t->h, &t->h->up, got);
    if (wait && !t->throttled)
        give_place_away(t);
    if (!got && refused)
        return CURL_READFUNC_ABORT; /* an end here would make half a body look whole */
    return wait ? CURL_READFUNC_PAUSE : got;
}

static void set_method(struct cb_http_transfer *t, const struct cb_http_hop *hop)
{
    CURL *e = t->easy;
    bool get = cb_streq(hop->method, "GET"), head = cb_streq(hop->method, "HEAD");
    if (head) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    /* PUT, POST and PATCH say "Content-Length: 0" even without a body; some servers insist. */
    bool sends = t->has_body || (!get && !cb_streq(hop->method, "DELETE"));
    if (sends) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE,
                         t->body_length == UINT64_MAX ? (curl_off_t)-1 : (curl_off_t)t->body_length);
    }
    if (sends || !get)
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, hop->method);
}

static bool is_header_safe(const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon || colon == line)
        return false;
    for (const char *p = line; *p; p++)
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f || (p < colon && *p == ' '))
            return false;
    return true;
}

static bool names_header(const char *line, const char *name)
{
    return strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':';
}

/* What must not be sent to another host than the one it was made for, or would describe a body that is gone. */
static bool is_left_out(const char *line, const struct cb_http_hop *hop)
{
    if (hop->foreign && (names_header(line, "Authorization") || names_header(line, "Cookie") ||
                         names_header(line, "Proxy-Authorization")))
        return true;
    return !hop->with_body && (hop->req->body.mem || hop->req->body.pull) && strncasecmp(line, "Content-", 8) == 0;
}

static int add_header(struct cb_http_transfer *t, const char *line, struct cb_error *err)
{
    if (!is_header_safe(line))
        return cb_error_set(err, CB_EVERIFY, "a request header holds a line break or control character");
    t->header_list = curl_slist_append(t->header_list, line);
    return 0;
}

static int set_headers(struct cb_http_transfer *t, const struct cb_http_hop *hop, struct cb_error *err)
{
    const struct cb_strvec *headers = hop->req->headers;
    int r = 0;
    for (size_t i = 0; r == 0 && headers && i < headers->n; i++)
        if (!is_left_out(headers->v[i], hop)) {
            r = add_header(t, headers->v[i], err);
            t->open_headers++;
        }
    headers = hop->foreign ? NULL : hop->req->origin_headers;
    for (size_t i = 0; r == 0 && headers && i < headers->n; i++)
        r = add_header(t, headers->v[i], err);
    if (r == 0 && hop->req->authorization && !hop->foreign) {
        cb_autofree char *line = cb_asprintf("Authorization: %s", hop->req->authorization);
        r = add_header(t, line, err);
        explicit_bzero(line, strlen(line));
    }
    /* Small bodies that can be sent again are not worth a round trip (a second, where the server does not know
     * Expect). */
    const struct cb_http_body *body = &hop->req->body;
    bool prompt = hop->req->prompt || t->body_length <= EXPECT_FROM;
    if (r == 0 && t->has_body && prompt && (body->mem || body->rewind))
        r = add_header(t, "Expect:", err);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->header_list);
    return r;
}

static void set_policy(struct cb_http_transfer *t, const struct cb_http_hop *hop)
{
    CURL *e = t->easy;
    const char *socket = hop->req->tls && !hop->foreign ? hop->req->tls->unix_socket : NULL;
    const char *proxy = socket ? "" : cb_http_proxy_for(&t->h->env, &hop->url);
    curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, socket);
    t->proxied = *proxy != '\0';
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, hop->url.scheme);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    /* Not HTTP/2 (HACKING.md): one TCP window for all streams makes it slow for blobs on long routes, and small
     * requests share the connections that blobs need anyway. So it is not offered either. */
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_PROXY, proxy);
    curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(e, CURLOPT_SOCKOPTDATA, t);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_prereq);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
}

static void set_connect_timeout(struct cb_http_transfer *t, int64_t ns)
{
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)CB_MAX(CB_MIN(ns / 1000000, INT64_C(3600000)), INT64_C(1)));
}

static void set_transport(struct cb_http_transfer *t)
{
    CURL *e = t->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->errbuf);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_USERAGENT, t->h->user_agent);
    set_connect_timeout(t, t->h->o.connect_ns);
    curl_easy_setopt(e, CURLOPT_EXPECT_100_TIMEOUT_MS, 1000L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, CURL_BUFFER);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, CURL_BUFFER);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(e, CURLOPT_READDATA, t);
}

/* Redirected: an extra CA goes on to be trusted (a company's storage beside its registry), but we neither show who
 * we are to others nor believe another host unseen. */
static int apply_tls(struct cb_http_transfer *t, const struct cb_http_hop *hop, struct cb_error *err)
{
    if (hop->req->tls && hop->req->tls->connect_ns && !hop->foreign)
        set_connect_timeout(t, hop->req->tls->connect_ns);
    if (!hop->req->tls)
        return cb_http_tls_apply(t->h, t->easy, NULL, err);
    struct cb_http_tls tls = *hop->req->tls;
    if (hop->foreign)
        tls.client_cert = tls.client_key = NULL;
    if (hop->other_host)
        tls.insecure = false;
    /* Sessions that were made without looking at the certificate stay out of the shared cache. */
    if (tls.insecure)
        curl_easy_setopt(t->easy, CURLOPT_SHARE, NULL);
    return cb_http_tls_apply(t->h, t->easy, &tls, err);
}

static void init_sync(struct cb_http_transfer *t)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&t->lock, NULL);
    atomic_init(&t->refs, 1);
}

static int configure(struct cb_http_transfer *t, const struct cb_http_hop *hop, struct cb_error *err)
{
    const struct cb_http_body *body = &hop->req->body;
    cb_autofree char *url = cb_url_text(&hop->url);
    t->has_body = hop->with_body && (body->mem || body->pull);
    t->body_length = !t->has_body ? 0 : body->mem ? body->mem_len : body->length;
    t->body_ended = !t->has_body;
    if (t->body_length != UINT64_MAX && t->body_length > INT64_MAX)
        return cb_error_set(err, CB_EVERIFY, "request body of %llu bytes", (unsigned long long)t->body_length);
    t->is_head = cb_streq(hop->method, "HEAD");
    t->patient = !t->is_head && !cb_streq(hop->method, "GET");
    t->private_ok = hop->private_ok;
    t->followed = hop->foreign ? 0 : hop->req->followed;
    t->host = cb_strdup(hop->url.host);
    t->origin = cb_http_gate_origin(t->h, &hop->url);
    curl_easy_setopt(t->easy, CURLOPT_URL, url);
    set_transport(t);
    set_policy(t, hop);
    set_method(t, hop);
    curl_easy_setopt(t->easy, CURLOPT_SHARE, t->h->share);
    int r = apply_tls(t, hop, err);
    return r < 0 ? r : set_headers(t, hop, err);
}

struct cb_http_transfer *cb_http_transfer_new(struct cb_http *h, const struct cb_http_hop *hop, struct cb_error *err)
{
    if (cb_http_start(h, err) < 0)
        return NULL;
    struct cb_http_transfer *t = CB_NEW(struct cb_http_transfer);
    init_sync(t);
    t->h = h;
    bool few = atomic_fetch_add(&h->transfers, 1) < CB_HTTP_FEW;
    t->in.max = t->out.max = few ? CB_HTTP_RING_MAX : CB_HTTP_RING_MANY;
    t->easy = curl_easy_init();
    int r = t->easy ? configure(t, hop, err) : cb_error_set(err, CB_ELOCAL, "libcurl has no memory");
    if (r < 0) {
        cb_http_transfer_unref(t);
        return NULL;
    }
    return t;
}

void cb_http_transfer_ref(struct cb_http_transfer *t)
{
    atomic_fetch_add(&t->refs, 1);
}

void cb_http_transfer_unref(struct cb_http_transfer *t)
{
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    atomic_fetch_sub(&t->h->transfers, 1);
    curl_easy_cleanup(t->easy);
    for (struct curl_slist *s = t->header_list; s; s = s->next)
        explicit_bzero(s->data, strlen(s->data));
    curl_slist_free_all(t->header_list);
    cb_http_ring_done(&t->in);
    cb_http_ring_done(&t->out);
    cb_strvec_done(&t->headers);
    free(t->host);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void cb_http_transfer_drop(struct cb_http_transfer *t)
{
    cb_http_token_unwatch(t);
    pthread_mutex_lock(&t->lock);
    bool finished = t->finished;
    pthread_mutex_unlock(&t->lock);
    if (!finished)
        cb_http_command(t->h, t, CB_HTTP_REMOVE);
    cb_http_span_end(t);
    cb_http_transfer_unref(t);
}

void cb_http_transfer_drain(struct cb_http_transfer *t)
{
    int64_t until = cb_time_monotonic() + DRAIN_WAIT_NS;
    struct timespec ts = { .tv_sec = until / CB_SEC_NS, .tv_nsec = until % CB_SEC_NS };
    pthread_mutex_lock(&t->lock);
    bool small = cb_http_headers_length(&t->headers) <= DRAIN_MAX || t->is_head;
    /* A body that curl has not been given whole ends with its connection anyway. */
    bool sent = t->body_ended && !t->out.len;
    while (t->header_done && small && sent && !t->finished && !t->write_paused)
        if (pthread_cond_timedwait(&t->changed, &t->lock, &ts) != 0)
            break;
    pthread_mutex_unlock(&t->lock);
}

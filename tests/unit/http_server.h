/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A tiny HTTP server on loopback for tests, one thread a connection. What it answers is up to the test's handler,
 * which writes raw bytes; so it can misbehave in every way. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "util/alloc.h"
#include "util/macros.h"
#include "util/strbuf.h"
#include "util/timeutil.h"

#define SERVER_MAX_CONNECTIONS 64

struct server;

struct server_request {
    struct server *server;
    int fd;
    char method[16];
    char path[2048];
    const char *head; /* request line and header, NUL-terminated */
    const char *rest; /* bytes of the body that came with the header */
    size_t rest_len;
    unsigned nth; /* of this server, from 0 */
};

/* Answers; false closes the connection. */
typedef bool server_handler(struct server_request *r, void *arg);

struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    server_handler *handler;
    void *arg;
    atomic_uint requests, connections, open_now, most_open;
    pthread_mutex_t lock;
    struct cb_strbuf log; /* heads of all requests */
    pthread_t workers[SERVER_MAX_CONNECTIONS];
    int fds[SERVER_MAX_CONNECTIONS];
};

struct server_worker {
    struct server *server;
    unsigned slot;
};

static CB_UNUSED bool server_send(struct server_request *r, const void *p, size_t n)
{
    const char *s = p;
    while (n) {
        ssize_t sent = send(r->fd, s, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        s += sent;
        n -= (size_t)sent;
    }
    return true;
}

static CB_UNUSED bool server_puts(struct server_request *r, const char *text)
{
    return server_send(r, text, strlen(text));
}

/* A whole reply with Content-Length. `extra` is further header lines, each with CRLF. */
static CB_UNUSED bool server_reply(struct server_request *r, unsigned status, const char *extra, const char *body)
{
    cb_autofree char *head =
        cb_asprintf("HTTP/1.1 %u Text\r\n%sContent-Length: %zu\r\n\r\n", status, extra, strlen(body));
    bool is_head = strcmp(r->method, "HEAD") == 0;
    return server_puts(r, head) && (is_head || server_puts(r, body));
}

/* Value of a request header, or NULL; owned by the caller. */
static CB_UNUSED char *server_header(const struct server_request *r, const char *name)
{
    for (const char *p = strchr(r->head, '\n'); p; p = strchr(p, '\n')) {
        p++;
        size_t n = strlen(name);
        if (strncasecmp(p, name, n) == 0 && p[n] == ':')
            return cb_strndup(p + n + 2, strcspn(p + n + 2, "\r"));
    }
    return NULL;
}

/* The RST that a crashing server gives. */
static CB_UNUSED void server_reset(struct server_request *r)
{
    struct linger l = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static CB_UNUSED size_t server_recv(struct server_request *r, void *buf, size_t n)
{
    if (r->rest_len) {
        n = CB_MIN(n, r->rest_len);
        memcpy(buf, r->rest, n);
        r->rest += n;
        r->rest_len -= n;
        return n;
    }
    ssize_t got = recv(r->fd, buf, n, 0);
    return got > 0 ? (size_t)got : 0;
}

static CB_UNUSED bool server_read_line(struct server_request *r, struct cb_strbuf *line)
{
    char c;
    cb_strbuf_reset(line);
    while (server_recv(r, &c, 1) == 1) {
        if (c == '\n')
            return true;
        if (c != '\r')
            cb_strbuf_addch(line, c);
    }
    return false;
}

static CB_UNUSED bool server_read_n(struct server_request *r, struct cb_strbuf *out, size_t n)
{
    cb_strbuf_reserve(out, n);
    while (n) {
        size_t got = server_recv(r, out->buf + out->len, n);
        if (!got)
            return false;
        cb_strbuf_setlen(out, out->len + got);
        n -= got;
    }
    return true;
}

/* The request's body, by Content-Length or chunked; answers Expect first. */
static CB_UNUSED bool server_read_body(struct server_request *r, struct cb_strbuf *out)
{
    cb_autofree char *expect = server_header(r, "Expect"), *te = server_header(r, "Transfer-Encoding");
    cb_autofree char *length = server_header(r, "Content-Length");
    if (expect)
        server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
    if (length)
        return server_read_n(r, out, strtoul(length, NULL, 10));
    cb_cleanup_strbuf struct cb_strbuf line = CB_STRBUF_INIT;
    while (te && server_read_line(r, &line)) {
        size_t n = strtoul(line.buf, NULL, 16);
        if (n && !server_read_n(r, out, n))
            return false;
        if (!server_read_line(r, &line))
            return false;
        if (!n)
            return true;
    }
    return false;
}

static bool server_one(struct server *s, int fd, struct cb_strbuf *in)
{
    char *end;
    while (!(end = memmem(in->buf, in->len, "\r\n\r\n", 4))) {
        cb_strbuf_reserve(in, 4096);
        ssize_t got = recv(fd, in->buf + in->len, 4096, 0);
        if (got <= 0 || in->len > 1u << 20)
            return false;
        cb_strbuf_setlen(in, in->len + (size_t)got);
    }
    size_t head_len = (size_t)(end - in->buf) + 4;
    cb_autofree char *head = cb_strndup(in->buf, head_len);
    cb_autofree char *rest = cb_memdup(end + 4, in->len - head_len + 1);
    struct server_request r = { .server = s, .fd = fd, .head = head, .rest = rest, .rest_len = in->len - head_len };
    cb_strbuf_reset(in);
    sscanf(head, "%15s %2047s", r.method, r.path);
    r.nth = atomic_fetch_add(&s->requests, 1);
    pthread_mutex_lock(&s->lock);
    cb_strbuf_adds(&s->log, head);
    pthread_mutex_unlock(&s->lock);
    bool keep = s->handler(&r, s->arg);
    cb_strbuf_add(in, r.rest, r.rest_len);
    return keep;
}

static void *server_work(void *arg)
{
    struct server_worker *w = arg;
    struct server *s = w->server;
    unsigned slot = w->slot;
    free(w);
    cb_cleanup_strbuf struct cb_strbuf in = CB_STRBUF_INIT;
    unsigned now = atomic_fetch_add(&s->open_now, 1) + 1, most = atomic_load(&s->most_open);
    while (now > most && !atomic_compare_exchange_weak(&s->most_open, &most, now))
        ;
    while (server_one(s, s->fds[slot], &in))
        ;
    atomic_fetch_sub(&s->open_now, 1);
    pthread_mutex_lock(&s->lock);
    close(s->fds[slot]);
    s->fds[slot] = -1;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *server_accept(void *arg)
{
    struct server *s = arg;
    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        unsigned slot = atomic_load(&s->connections);
        if (slot == SERVER_MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        struct server_worker *w = CB_NEW(struct server_worker);
        *w = (struct server_worker){ s, slot };
        s->fds[slot] = fd;
        atomic_fetch_add(&s->connections, 1); /* before anybody can have an answer */
        if (pthread_create(&s->workers[slot], NULL, server_work, w) != 0)
            abort();
    }
}

/* On a socket that is bound already. */
static CB_UNUSED struct server *server_start_on(int fd, server_handler *handler, void *arg)
{
    struct server *s = CB_NEW(struct server);
    *s = (struct server){ .fd = fd, .handler = handler, .arg = arg, .log = CB_STRBUF_INIT };
    pthread_mutex_init(&s->lock, NULL);
    if (listen(fd, 64) != 0 || pthread_create(&s->thread, NULL, server_accept, s) != 0)
        abort();
    return s;
}

static CB_UNUSED struct server *server_start(server_handler *handler, void *arg)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
        abort();
    getsockname(fd, (struct sockaddr *)&a, &len);
    struct server *s = server_start_on(fd, handler, arg);
    s->port = ntohs(a.sin_port);
    return s;
}

static CB_UNUSED void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < atomic_load(&s->connections); i++)
        if (s->fds[i] >= 0)
            shutdown(s->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < atomic_load(&s->connections); i++)
        pthread_join(s->workers[i], NULL);
    cb_strbuf_done(&s->log);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
CB_DEFINE_CLEANUP(struct server *, server_stop)

static CB_UNUSED char *server_url(const struct server *s, const char *path)
{
    return cb_asprintf("http://127.0.0.1:%u%s", s->port, path);
}

static CB_UNUSED bool server_saw(struct server *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    bool saw = strcasestr(s->log.buf, text) != NULL;
    pthread_mutex_unlock(&s->lock);
    return saw;
}

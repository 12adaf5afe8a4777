/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP proxy that makes a registry of this machine one that is far away.
 *
 *   delay TO-PORT ROUND-TRIP-MS [MBIT-PER-S]
 *
 * Listens on a free port of 127.0.0.1 and prints it. Every byte is half a round trip under way, a connection costs a
 * whole one before its first byte, and of a connection no more than WINDOW is on the line each way: what Linux lets a
 * socket have in flight by default (the end of net.ipv4.tcp_wmem). The bandwidth is what all connections share, each
 * way; where none is given it is not limited. Slow start is not imitated. Ends with its parent.
 *
 * A real line takes no processor time of its ends. So this one, too, takes as little as it can: one thread, and bytes
 * that wait in pipes, into which and out of which splice() moves pages without copying them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PIECE = 64 * 1024,
    PIPE = 2 * PIECE, /* it counts whole pages, of which the bytes may fill parts */
    WINDOW = 4 * 1024 * 1024,
};

#define NEVER INT64_MAX

/* What came at once. Its bytes are in a pipe of its own, so that there is room for them always. */
struct piece {
    struct piece *next;
    int64_t due; /* CLOCK_MONOTONIC, ns */
    size_t len;  /* what is still to give; 0: the end */
    size_t room; /* what is free again when it has been acknowledged */
    int pipe[2];
};

struct queue {
    struct piece *first, **last;
};

/* One direction of a connection. */
struct line {
    int from, to;
    struct queue given;        /* into the line, and under way */
    struct queue acknowledged; /* by the other end, and under way back: their room is not free yet */
    size_t used;
    bool readable; /* there may be something to take */
    bool ended;    /* nothing more is taken */
    bool blocked;  /* the other end takes nothing at present */
    bool over;     /* all that was taken has been given, or nobody takes it */
    int64_t *idle;
};

/* What a descriptor is to them. */
struct end {
    struct line *in, *out;
};

struct connection {
    struct connection *next;
    int client, server; /* server: -1 in the time of the handshake */
    int64_t due;        /* the end of the handshake */
    struct line up, down;
    struct end ends[2];
};

static int64_t half_ns, megabits; /* 0: no limit */
static int64_t up_idle, down_idle; /* what all connections share: from when on it has nothing to send */
static struct sockaddr_in target;
static struct connection *connections;
static struct piece *spare; /* with empty pipes */
static int events;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *need(void *p)
{
    if (!p)
        abort();
    return p;
}

static void queue_put(struct queue *q, struct piece *p)
{
    p->next = NULL;
    *q->last = p;
    q->last = &p->next;
}

static struct piece *queue_get(struct queue *q)
{
    struct piece *p = q->first;
    q->first = p->next;
    if (!q->first)
        q->last = &q->first;
    return p;
}

static struct piece *piece_new(void)
{
    struct piece *p = spare;
    if (p) {
        spare = p->next;
        return p;
    }
    p = need(calloc(1, sizeof *p));
    if (pipe2(p->pipe, O_NONBLOCK | O_CLOEXEC) != 0 || fcntl(p->pipe[0], F_SETPIPE_SZ, PIPE) < 0) {
        perror("delay: pipe");
        exit(1);
    }
    return p;
}

static void piece_free(struct piece *p)
{
    if (p->len) {
        close(p->pipe[0]);
        close(p->pipe[1]);
        free(p);
        return;
    }
    p->next = spare;
    spare = p;
}

static void queue_free(struct queue *q)
{
    while (q->first)
        piece_free(queue_get(q));
}

/* When so many bytes are at the other end. */
static int64_t wire_send(int64_t *idle, size_t n)
{
    int64_t now = now_ns();
    if (!megabits)
        return now + half_ns;
    *idle = (*idle > now ? *idle : now) + (int64_t)n * 8000 / megabits;
    return *idle + half_ns;
}

static void line_start(struct line *l, int from, int to, int64_t *idle)
{
    *l = (struct line){ .from = from, .to = to, .idle = idle };
    l->given.last = &l->given.first;
    l->acknowledged.last = &l->acknowledged.first;
}

static void line_end(struct line *l)
{
    queue_free(&l->given);
    queue_free(&l->acknowledged);
}

/* Frees the room of what has been acknowledged by now. */
static void line_settle(struct line *l, int64_t now)
{
    while (l->acknowledged.first && l->acknowledged.first->due <= now) {
        struct piece *p = queue_get(&l->acknowledged);
        l->used -= p->room;
        piece_free(p);
    }
}

static void line_take(struct line *l)
{
    while (l->readable && !l->ended && l->used < WINDOW) {
        struct piece *p = piece_new();
        ssize_t n = splice(l->from, NULL, p->pipe[1], NULL, PIECE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        p->len = 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            piece_free(p);
            l->readable = errno == EINTR;
            continue;
        }
        p->len = p->room = n > 0 ? (size_t)n : 0;
        p->due = wire_send(l->idle, p->len);
        l->used += p->room;
        l->ended = n <= 0;
        queue_put(&l->given, p);
    }
}

static void line_give(struct line *l, int64_t now)
{
    while (!l->blocked && !l->over && l->given.first && l->given.first->due <= now) {
        struct piece *p = l->given.first;
        ssize_t n = 0;
        if (p->len) {
            n = splice(p->pipe[0], NULL, l->to, NULL, p->len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                l->blocked = errno == EAGAIN;
                continue;
            }
        }
        l->over = n <= 0;
        p->len -= n > 0 ? (size_t)n : 0;
        if (p->len || l->over)
            continue;
        p = queue_get(&l->given);
        p->due = now_ns() + half_ns;
        queue_put(&l->acknowledged, p);
    }
    if (l->over && l->given.first) {
        shutdown(l->to, SHUT_WR);
        shutdown(l->from, SHUT_RD);
        l->ended = true;
        queue_free(&l->given);
    }
}

/* When it has something to do again, if nothing happens at its ends. */
static int64_t line_due(const struct line *l)
{
    int64_t due = NEVER;
    if (l->given.first && !l->blocked && !l->over)
        due = l->given.first->due;
    if (l->used >= WINDOW && l->acknowledged.first && l->acknowledged.first->due < due)
        due = l->acknowledged.first->due;
    return due;
}

static void line_work(struct line *l, int64_t now)
{
    line_settle(l, now);
    line_take(l);
    line_give(l, now);
}

static void watch(int fd, uint32_t what, void *whose)
{
    struct epoll_event e = { .events = what, .data.ptr = whose };
    if (epoll_ctl(events, EPOLL_CTL_ADD, fd, &e) != 0) {
        perror("delay: epoll_ctl");
        exit(1);
    }
}

/* False if nobody listens there. */
static bool connection_open(struct connection *c)
{
    int on = 1;
    c->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->server < 0 || connect(c->server, (struct sockaddr *)&target, sizeof target) != 0)
        return false;
    fcntl(c->server, F_SETFL, O_NONBLOCK);
    setsockopt(c->client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    line_start(&c->up, c->client, c->server, &up_idle);
    line_start(&c->down, c->server, c->client, &down_idle);
    c->ends[0] = (struct end){ &c->up, &c->down };
    c->ends[1] = (struct end){ &c->down, &c->up };
    watch(c->client, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &c->ends[0]);
    watch(c->server, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &c->ends[1]);
    return true;
}

/* False if it is over. */
static bool connection_work(struct connection *c, int64_t now)
{
    if (c->server < 0)
        return c->due > now || connection_open(c);
    line_work(&c->up, now);
    line_work(&c->down, now);
    return !c->up.over || !c->down.over;
}

static int64_t connection_due(const struct connection *c)
{
    if (c->server < 0)
        return c->due;
    int64_t up = line_due(&c->up), down = line_due(&c->down);
    return up < down ? up : down;
}

static void connection_end(struct connection *c)
{
    if (c->server >= 0 && c->up.idle) {
        line_end(&c->up);
        line_end(&c->down);
    }
    if (c->server >= 0)
        close(c->server);
    close(c->client);
    free(c);
}

static void connections_take(int listener)
{
    int client;
    while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = need(calloc(1, sizeof *c));
        *c = (struct connection){ .next = connections, .client = client, .server = -1, .due = now_ns() + 2 * half_ns };
        connections = c;
    }
}

/* All of them are looked at: they are few. Returns when the next one has something to do. */
static int64_t connections_work(void)
{
    int64_t now = now_ns(), next = NEVER;
    for (struct connection **at = &connections, *c; (c = *at);) {
        if (!connection_work(c, now)) {
            *at = c->next;
            connection_end(c);
            continue;
        }
        int64_t due = connection_due(c);
        next = due < next ? due : next;
        at = &c->next;
    }
    return next;
}

/* Or until something happens at an end of a line. True if somebody wants to connect. */
static bool wait_until(int64_t due)
{
    bool wanted = false;
    int64_t now = now_ns(), left = due > now ? due - now : 0;
    struct timespec t = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
    struct epoll_event e[64];
    int n = epoll_pwait2(events, e, 64, due == NEVER ? NULL : &t, NULL);
    for (int i = 0; i < n; i++) {
        const struct end *end = e[i].data.ptr;
        if (!end) {
            wanted = true;
            continue;
        }
        end->in->readable = end->in->readable || (e[i].events & ~(uint32_t)EPOLLOUT);
        end->out->blocked = false;
    }
    return wanted;
}

static int listener_open(struct sockaddr_in *a)
{
    socklen_t len = sizeof *a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)a, sizeof *a) != 0 || listen(fd, 256) != 0)
        return -1;
    return getsockname(fd, (struct sockaddr *)a, &len) == 0 ? fd : -1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: delay TO-PORT ROUND-TRIP-MS [MBIT-PER-S]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    target = a;
    target.sin_port = htons((uint16_t)atoi(argv[1]));
    half_ns = (int64_t)atoi(argv[2]) * 500000;
    megabits = argc > 3 ? atoi(argv[3]) : 0;
    int listener = listener_open(&a);
    events = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || events < 0) {
        perror("delay");
        return 1;
    }
    watch(listener, EPOLLIN, NULL);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int64_t due = connections_work();
        if (wait_until(due))
            connections_take(listener);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP proxy that makes a registry of this machine one that is far away.
 *
 *   delay TO-PORT ROUND-TRIP-MS [MBIT-PER-S]
 *
 * Listens on a free port of 127.0.0.1 and prints it. Every byte is half a round trip under way, a connection costs a
 * whole one before its first byte, and of a connection no more than WINDOW is on the line each way: what Linux lets a
 * socket have in flight by default (the end of net.ipv4.tcp_wmem). The bandwidth is what all connections share, each
 * way; where none is given it is not limited. Slow start is not imitated. Ends with its parent. In C, and not like the
 * system tests' in Python, so that not the proxy is what is measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PIECE = 64 * 1024,
    WINDOW = 4 * 1024 * 1024,
};

struct piece {
    struct piece *next;
    int64_t due; /* CLOCK_MONOTONIC, ns */
    size_t len;  /* 0: the end */
    char data[PIECE];
};

/* One direction: a thread takes, one gives. */
struct line {
    int from, to;
    pthread_mutex_t mu;
    pthread_cond_t change;
    struct piece *first, **last;
    struct piece *acknowledged; /* given, and under way back: their room is not free yet */
    struct piece **last_acknowledged;
    size_t used;
    bool over; /* nobody takes what is given */
    struct way *way;
    struct wire *wire;
};

struct way {
    struct line up, down;
    int ends; /* of four threads */
    pthread_mutex_t mu;
};

/* What all connections share, one way. */
struct wire {
    pthread_mutex_t mu;
    int64_t idle; /* from when on: CLOCK_MONOTONIC, ns */
};

static int64_t half_ns, megabits; /* 0: no limit */
static struct wire upward = { .mu = PTHREAD_MUTEX_INITIALIZER }, downward = { .mu = PTHREAD_MUTEX_INITIALIZER };
static struct sockaddr_in target;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_until(int64_t due)
{
    struct timespec t = { .tv_sec = due / 1000000000, .tv_nsec = due % 1000000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static void *need(void *p)
{
    if (!p)
        abort();
    return p;
}

static void pieces_free(struct piece *p)
{
    while (p) {
        struct piece *next = p->next;
        free(p);
        p = next;
    }
}

static void way_end(struct way *w)
{
    pthread_mutex_lock(&w->mu);
    bool last = ++w->ends == 4;
    pthread_mutex_unlock(&w->mu);
    if (!last)
        return;
    close(w->up.from);
    close(w->up.to);
    pieces_free(w->up.first);
    pieces_free(w->up.acknowledged);
    pieces_free(w->down.first);
    pieces_free(w->down.acknowledged);
    free(w);
}

/* When so many bytes are at the other end. */
static int64_t wire_send(struct wire *w, size_t n)
{
    int64_t now = now_ns();
    if (!megabits)
        return now + half_ns;
    pthread_mutex_lock(&w->mu);
    w->idle = (w->idle > now ? w->idle : now) + (int64_t)n * 8000 / megabits;
    int64_t there = w->idle + half_ns;
    pthread_mutex_unlock(&w->mu);
    return there;
}

/* Frees the room of what has been acknowledged by now. Locked. */
static void line_settle(struct line *l)
{
    struct piece *p;
    while ((p = l->acknowledged) && p->due <= now_ns()) {
        l->acknowledged = p->next;
        l->used -= p->len;
        free(p);
    }
    if (!l->acknowledged)
        l->last_acknowledged = &l->acknowledged;
}

/* Waits for room. Locked. */
static void line_room(struct line *l)
{
    for (line_settle(l); l->used >= WINDOW && !l->over; line_settle(l)) {
        int64_t due = l->acknowledged ? l->acknowledged->due : 0;
        if (!due) {
            pthread_cond_wait(&l->change, &l->mu);
            continue;
        }
        pthread_mutex_unlock(&l->mu);
        sleep_until(due);
        pthread_mutex_lock(&l->mu);
    }
}

static void *line_take(void *arg)
{
    struct line *l = arg;
    for (bool end = false; !end;) {
        struct piece *p = need(malloc(sizeof *p));
        ssize_t n = recv(l->from, p->data, sizeof p->data, 0);
        p->next = NULL;
        p->len = n > 0 ? (size_t)n : 0;
        pthread_mutex_lock(&l->mu);
        line_room(l);
        end = n <= 0 || l->over;
        p->due = wire_send(l->wire, p->len);
        l->used += p->len;
        *l->last = p;
        l->last = &p->next;
        pthread_cond_signal(&l->change);
        pthread_mutex_unlock(&l->mu);
    }
    way_end(l->way);
    return NULL;
}

static bool give_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

static struct piece *line_next(struct line *l)
{
    pthread_mutex_lock(&l->mu);
    while (!l->first)
        pthread_cond_wait(&l->change, &l->mu);
    struct piece *p = l->first;
    l->first = p->next;
    if (!l->first)
        l->last = &l->first;
    pthread_mutex_unlock(&l->mu);
    return p;
}

static void *line_give(void *arg)
{
    struct line *l = arg;
    for (bool end = false; !end;) {
        struct piece *p = line_next(l);
        sleep_until(p->due);
        end = p->len == 0 || !give_all(l->to, p->data, p->len);
        pthread_mutex_lock(&l->mu);
        l->over = end;
        p->next = NULL;
        p->due = now_ns() + half_ns;
        *l->last_acknowledged = p;
        l->last_acknowledged = &p->next;
        pthread_cond_signal(&l->change);
        pthread_mutex_unlock(&l->mu);
    }
    shutdown(l->to, SHUT_WR);
    shutdown(l->from, SHUT_RD);
    way_end(l->way);
    return NULL;
}

static void start(void *(*run)(void *), void *arg)
{
    pthread_t t;
    if (pthread_create(&t, NULL, run, arg) != 0)
        abort();
    pthread_detach(t);
}

static void line_start(struct line *l, struct way *w, struct wire *wire, int from, int to)
{
    *l = (struct line){ .from = from, .to = to, .way = w, .wire = wire };
    l->last = &l->first;
    l->last_acknowledged = &l->acknowledged;
    pthread_mutex_init(&l->mu, NULL);
    pthread_cond_init(&l->change, NULL);
    start(line_take, l);
    start(line_give, l);
}

static void *serve(void *arg)
{
    int client = (int)(intptr_t)arg, on = 1;
    sleep_until(now_ns() + 2 * half_ns); /* the handshake */
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&target, sizeof target) != 0) {
        close(server);
        close(client);
        return NULL;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct way *w = need(calloc(1, sizeof *w));
    pthread_mutex_init(&w->mu, NULL);
    line_start(&w->up, w, &upward, client, server);
    line_start(&w->down, w, &downward, server, client);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: delay TO-PORT ROUND-TRIP-MS [MBIT-PER-S]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    target = a;
    target.sin_port = htons((uint16_t)atoi(argv[1]));
    half_ns = (int64_t)atoi(argv[2]) * 500000;
    megabits = argc > 3 ? atoi(argv[3]) : 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 256) != 0) {
        perror("delay");
        return 1;
    }
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int client = accept(fd, NULL, NULL);
        if (client >= 0)
            start(serve, (void *)(intptr_t)client);
    }
}

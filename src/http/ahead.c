/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are opened while a request is under way, for those that will follow at once when it is answered:
 * their handshakes then cost no round trip of their own. TCP only; whoever takes one speaks TLS on it, or HTTP, as on
 * any other. What nobody takes soon is closed: a server that waits for a request gets impatient. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "http/private.h"
#include "util/timeutil.h"

#define KEPT_NS (2 * CB_SEC_NS)

static void drop(struct cb_http_ahead *a)
{
    close(a->fd);
    *a = (struct cb_http_ahead){ .fd = -1 };
}

static void open_one(struct cb_http_ahead *a, const struct cb_http_peer *peer)
{
    int fd = socket(peer->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    *a = (struct cb_http_ahead){ .fd = fd, .peer = *peer, .since = cb_time_monotonic() };
    if (connect(fd, (const struct sockaddr *)&peer->at, peer->len) < 0 && errno != EINPROGRESS)
        drop(a);
}

static void open_some(struct cb_http *h, const struct cb_http_peer *peer, unsigned n)
{
    for (size_t i = 0; n > 0 && i < CB_COUNTOF(h->ahead); i++)
        if (h->ahead[i].fd < 0) {
            open_one(&h->ahead[i], peer);
            n--;
        }
}

/* Of two addresses that were tried the other one may have answered: then nothing is known, and nothing is opened. */
static void note_peer(struct cb_http_transfer *t, const char *peer_ip)
{
    char ip[CB_HTTP_IP_MAX];
    if (!t->peer.len)
        return;
    cb_http_sockaddr_text((const struct sockaddr *)&t->peer.at, ip);
    if (cb_streq(ip, peer_ip))
        t->origin->peer = t->peer;
}

void cb_http_ahead_open(struct cb_http_transfer *t, const char *peer_ip)
{
    struct cb_http_origin *o = t->origin;
    note_peer(t, peer_ip);
    if (!t->followed || !o->peer.len || o->widened)
        return;
    o->widened = true;
    open_some(t->h, &o->peer, CB_MIN(t->followed, t->h->o.max_host_connections - 1));
}

static bool is_same(const struct cb_http_peer *a, const struct cb_http_peer *b)
{
    return a->len == b->len && memcmp(&a->at, &b->at, a->len) == 0;
}

/* One that is not connected yet is left for the next one. */
static int take(struct cb_http *h, const struct cb_http_peer *peer)
{
    for (size_t i = 0; i < CB_COUNTOF(h->ahead); i++) {
        struct cb_http_ahead *a = &h->ahead[i];
        struct pollfd p = { .fd = a->fd, .events = POLLIN | POLLOUT | POLLRDHUP };
        if (a->fd < 0 || !is_same(&a->peer, peer) || poll(&p, 1, 0) != 1)
            continue;
        int fd = a->fd;
        if (p.revents == POLLOUT && cb_time_monotonic() - a->since < KEPT_NS) {
            a->fd = -1;
            return fd;
        }
        drop(a);
    }
    return -1;
}

int cb_http_ahead_take(struct cb_http_transfer *t, const struct curl_sockaddr *a)
{
    struct cb_http_peer peer = { .len = a->addrlen };
    t->peer.len = 0;
    if (a->socktype != SOCK_STREAM || (a->family != AF_INET && a->family != AF_INET6) || a->addrlen > sizeof peer.at)
        return -1;
    memcpy(&peer.at, &a->addr, a->addrlen);
    t->peer = peer;
    int fd = take(t->h, &peer);
    t->opened_ahead = fd >= 0;
    return fd;
}

void cb_http_ahead_close(struct cb_http *h, bool all)
{
    int64_t now = cb_time_monotonic();
    for (size_t i = 0; i < CB_COUNTOF(h->ahead); i++)
        if (h->ahead[i].fd >= 0 && (all || now - h->ahead[i].since >= KEPT_NS))
            drop(&h->ahead[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets and networks. */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define FAMILY_ALG 38
#define FAMILY_VSOCK 40
#define CONNECT_MS 700

/* ---- P14, G9 ---- */

/* socketcall(SYS_SOCKET, { family, SOCK_SEQPACKET, 0 }) and socket(2) of i386 */
static void try_32(struct verdict *v, const char *name, unsigned family)
{
    char what[64];
    unsigned *args = low_memory();
    if (!args)
        return;
    args[0] = family;
    args[1] = SOCK_SEQPACKET;
    args[2] = 0;
    snprintf(what, sizeof what, "%s by socketcall", name);
    denied(v, what, call32(102, 1, (long)args, 0));
    snprintf(what, sizeof what, "%s by 32-bit socket", name);
    denied(v, what, call32(359, (long)family, SOCK_SEQPACKET, 0));
    snprintf(what, sizeof what, "%s by x32", name);
    denied(v, what, call_x32(41, (long)family, SOCK_SEQPACKET, 0));
}

void p_families(struct verdict *v)
{
    static const struct {
        const char *name;
        unsigned family;
    } refused[] = { { "AF_ALG", FAMILY_ALG }, { "AF_VSOCK", FAMILY_VSOCK } };
    for (size_t i = 0; i < COUNT(refused); i++) {
        denied(v, refused[i].name, syscall(SYS_socket, refused[i].family, SOCK_SEQPACKET, 0));
        /* The kernel looks at 32 bits only. */
        denied(v, "its number with high bits",
               syscall(SYS_socket, UINT64_C(0x100000000) | refused[i].family, SOCK_SEQPACKET, 0));
        try_32(v, refused[i].name, refused[i].family);
    }
    if (socket(AF_INET, SOCK_STREAM, 0) < 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0)
        bad(v, "no socket of any kind can be made");
}

static bool host_network(void)
{
    struct stat st;
    unsigned long long number = strtoull(told("PROBE_NETNS"), NULL, 10);
    return stat("/proc/self/ns/net", &st) < 0 || number == 0 || st.st_ino == number;
}

/* Packets are those of the network namespace that the socket was made in. */
void p_sockets(struct verdict *v)
{
    p_families(v);
    if (host_network())
        bad(v, "the network is the host's, and AF_PACKET with it");
}

/* ---- P15 to P17 ---- */

static bool connects(const struct sockaddr *addr, socklen_t n)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    socklen_t size = sizeof error;
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int r = fd < 0 ? -1 : connect(fd, addr, n);
    if (fd >= 0 && r < 0 && errno == EINPROGRESS && poll(&p, 1, CONNECT_MS) == 1 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        r = 0;
    if (fd >= 0)
        close(fd);
    return r == 0;
}

static bool connects4(uint32_t address, unsigned port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { address } };
    return connects((struct sockaddr *)&in, sizeof in);
}

void p_abstract(struct verdict *v)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const char *name = told("PROBE_ABSTRACT");
    size_t n = strlen(name);
    if (n == 0 || n + 1 > sizeof un.sun_path) {
        bad(v, "not told its name");
        return;
    }
    memcpy(un.sun_path + 1, name, n);
    if (connects((struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)))
        bad(v, "@%s answers", name);
}

/* Of the default route, in the order of the network; 0: there is none. */
static uint32_t gateway(void)
{
    static char text[4096];
    char *save = NULL;
    if (slurp("/proc/net/route", text, sizeof text) < 0)
        return 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned to, by;
        if (sscanf(line, "%*s %x %x", &to, &by) == 2 && to == 0 && by != 0)
            return by;
    }
    return 0;
}

void p_loopback(struct verdict *v)
{
    static const char *const others[] = { "127.0.0.1", "127.0.0.2", "10.0.2.2", "169.254.1.1", "169.254.1.2" };
    unsigned port = (unsigned)strtoul(told("PROBE_PORT"), NULL, 10);
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    if (port == 0)
        bad(v, "not told its port");
    for (size_t i = 0; i < COUNT(others); i++) {
        if (connects4(inet_addr(others[i]), port))
            bad(v, "%s:%u answers", others[i], port);
    }
    if (gateway() && connects4(gateway(), port))
        bad(v, "the gateway leads to it");
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &six.sin6_addr);
    if (connects((struct sockaddr *)&six, sizeof six))
        bad(v, "[::ffff:127.0.0.1]:%u answers", port);
}

void p_metadata(struct verdict *v)
{
    if (host_network())
        bad(v, "the network is the host's");
    if (connects4(inet_addr("169.254.169.254"), 80))
        bad(v, "it answers");
}

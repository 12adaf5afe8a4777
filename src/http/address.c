/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are nobody's business of a public registry (test D10): this machine, its link, private networks and
 * what a cloud hides there. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "http/private.h"

struct range4 {
    uint32_t net;
    unsigned bits;
};

static bool is_private4(uint32_t a)
{
    static const struct range4 ranges[] = {
        { 0x00000000, 8 }, /* this network */
        { 0x0a000000, 8 },  { 0xac100000, 12 }, { 0xc0a80000, 16 },
        { 0x64400000, 10 }, /* shared address space; one cloud's metadata service lives in it */
        { 0x7f000000, 8 },  { 0xa9fe0000, 16 }, { 0xc0000000, 24 }, /* protocol assignments */
        { 0xe0000000, 4 },  { 0xf0000000, 4 },                      /* multicast, reserved, broadcast */
    };
    for (size_t i = 0; i < CB_COUNTOF(ranges); i++)
        if ((a >> (32 - ranges[i].bits)) == (ranges[i].net >> (32 - ranges[i].bits)))
            return true;
    return false;
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool has_prefix(const uint8_t *a, const char *hex_prefix, size_t n)
{
    return memcmp(a, hex_prefix, n) == 0;
}

static bool is_private6(const uint8_t *a)
{
    /* Forms that carry an IPv4 address are judged by it: mapped, compatible (:: and ::1 too), NAT64, 6to4. */
    if (has_prefix(a, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) || has_prefix(a, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12) ||
        has_prefix(a, "\0\0\0\0\0\0\0\0\0\0\0\0", 12))
        return is_private4(load32(a + 12));
    if (has_prefix(a, "\x20\x02", 2))
        return is_private4(load32(a + 2));
    return (a[0] & 0xfe) == 0xfc                      /* unique local */
           || (a[0] == 0xfe && (a[1] & 0x80) == 0x80) /* link-local and the former site-local */
           || a[0] == 0xff                            /* multicast */
           || has_prefix(a, "\0\x64\xff\x9b\0\1", 6); /* NAT64 of a local network */
}

bool cb_http_address_is_private(const char *ip)
{
    struct in_addr a4;
    struct in6_addr a6;
    char text[INET6_ADDRSTRLEN];
    size_t n = strcspn(ip, "%"); /* a zone only ever stands behind a link-local address, and is not for inet_pton */
    if (n >= sizeof text)
        return true;
    memcpy(text, ip, n);
    text[n] = '\0';
    if (inet_pton(AF_INET, text, &a4) == 1)
        return is_private4(ntohl(a4.s_addr));
    if (inet_pton(AF_INET6, text, &a6) == 1)
        return is_private6(a6.s6_addr);
    return true;
}

bool cb_http_sockaddr_is_private(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return is_private4(ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr));
    if (sa->sa_family == AF_INET6)
        return is_private6(((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr);
    return true;
}

void cb_http_sockaddr_text(const struct sockaddr *sa, char ip[static CB_HTTP_IP_MAX])
{
    const void *addr = sa->sa_family == AF_INET6
                           ? (const void *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr
                           : (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    if (!inet_ntop(sa->sa_family, addr, ip, CB_HTTP_IP_MAX))
        ip[0] = '\0';
}

bool cb_http_host_is_literal(const char *host, char ip[static CB_HTTP_IP_MAX])
{
    struct in_addr a4;
    size_t n = strlen(host);
    if (host[0] == '[' && n > 2 && n - 2 < CB_HTTP_IP_MAX) {
        memcpy(ip, host + 1, n - 2);
        ip[n - 2] = '\0';
        return true;
    }
    if (n >= CB_HTTP_IP_MAX || inet_pton(AF_INET, host, &a4) != 1)
        return false;
    memcpy(ip, host, n + 1);
    return true;
}

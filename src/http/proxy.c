/* SPDX-License-Identifier: Apache-2.0 */
/* Which proxy, if any. Chosen here and not by libcurl: the peer's address is checked only where the peer is the host
 * itself, so we have to know; and the upper-case HTTP_PROXY, which libcurl leaves aside, is common in CI. */
#include <arpa/inet.h>
#include <strings.h>

#include "http/private.h"
#include "util/alloc.h"
#include "util/encode.h"

static char *first_set(const char *(*get)(const char *), const char *a, const char *b, const char *fallback)
{
    const char *v = get(a);
    if (!v || !*v)
        v = b ? get(b) : NULL;
    return v && *v ? cb_strdup(v) : cb_strdup_or_null(fallback);
}

void cb_http_env_read(struct cb_http_env *env, const char *(*get)(const char *name))
{
    cb_autofree char *all = first_set(get, "all_proxy", "ALL_PROXY", "");
    /* In a CGI program HTTP_PROXY is the client's "Proxy:" header. */
    const char *upper = get("REQUEST_METHOD") ? NULL : "HTTP_PROXY";
    *env = (struct cb_http_env){
        .https_proxy = first_set(get, "https_proxy", "HTTPS_PROXY", all),
        .http_proxy = first_set(get, "http_proxy", upper, all),
        .no_proxy = first_set(get, "no_proxy", "NO_PROXY", ""),
        .cert_file = first_set(get, "SSL_CERT_FILE", NULL, NULL),
        .cert_dir = first_set(get, "SSL_CERT_DIR", NULL, NULL),
    };
}

void cb_http_env_done(struct cb_http_env *env)
{
    free(env->https_proxy);
    free(env->http_proxy);
    free(env->no_proxy);
    free(env->cert_file);
    free(env->cert_dir);
    *env = (struct cb_http_env){ 0 };
}

struct ip_bytes {
    uint8_t b[16];
    size_t n;
};

static bool parse_ip(const char *s, struct ip_bytes *ip)
{
    *ip = (struct ip_bytes){ 0 };
    if (inet_pton(AF_INET, s, ip->b) == 1)
        ip->n = 4;
    else if (inet_pton(AF_INET6, s, ip->b) == 1)
        ip->n = 16;
    return ip->n != 0;
}

static bool in_network(const struct ip_bytes *ip, const struct ip_bytes *net, unsigned bits)
{
    if (ip->n != net->n || bits > 8 * ip->n)
        return false;
    if (memcmp(ip->b, net->b, bits / 8) != 0)
        return false;
    unsigned rest = bits % 8;
    return !rest || (ip->b[bits / 8] ^ net->b[bits / 8]) >> (8 - rest) == 0;
}

static bool matches_ip(const char *entry, const char *ip_text)
{
    struct ip_bytes ip, net;
    cb_autofree char *copy = cb_strdup(entry);
    char *slash = strchr(copy, '/');
    uint64_t bits = 0;
    if (slash)
        *slash = '\0';
    if (!parse_ip(ip_text, &ip) || !parse_ip(copy, &net))
        return false;
    if (!slash)
        bits = 8 * net.n;
    else if (!cb_parse_u64(slash + 1, 128, &bits))
        return false;
    return in_network(&ip, &net, (unsigned)bits);
}

/* "example.com", ".example.com" and "*.example.com" cover the domain; the latter two not its apex, as Go has it. */
static bool matches_name(const char *entry, const char *host)
{
    bool below_only = entry[0] == '.' || cb_starts_with(entry, "*.");
    const char *domain = entry[0] == '.' ? entry + 1 : below_only ? entry + 2 : entry;
    size_t n = strlen(domain), m = strlen(host);
    if (!n || n > m || strcasecmp(host + m - n, domain) != 0)
        return false;
    return n == m ? !below_only : host[m - n - 1] == '.';
}

/* Cuts ":port" off and tells whether it fits. A bare IPv6 address has colons but no port. */
static bool split_port(char *entry, unsigned port)
{
    char *colon = strrchr(entry, ':');
    struct ip_bytes ip;
    if (!colon || parse_ip(entry, &ip) || strchr(entry, '/'))
        return true;
    uint64_t v = 0;
    if (entry[strlen(entry) - 1] == ']')
        return true;
    if (!cb_parse_u64(colon + 1, 65535, &v) || v != port)
        return false;
    *colon = '\0';
    return true;
}

static bool entry_matches(const char *text, size_t n, const struct cb_url *u)
{
    cb_autofree char *entry = cb_strndup(text, n);
    char ip[CB_HTTP_IP_MAX];
    char *name = entry;
    if (cb_streq(entry, "*"))
        return true;
    if (!split_port(entry, u->port))
        return false;
    size_t len = strlen(entry);
    if (len > 2 && entry[0] == '[' && entry[len - 1] == ']') {
        entry[len - 1] = '\0';
        name = entry + 1;
    }
    return cb_http_host_is_literal(u->host, ip) ? matches_ip(name, ip) : matches_name(name, u->host);
}

static bool is_loopback(const struct cb_url *u)
{
    char ip[CB_HTTP_IP_MAX];
    if (!cb_http_host_is_literal(u->host, ip))
        return matches_name("localhost", u->host);
    return matches_ip("127.0.0.0/8", ip) || matches_ip("::1", ip);
}

const char *cb_http_proxy_for(const struct cb_http_env *env, const struct cb_url *u)
{
    const char *proxy = cb_streq(u->scheme, "https") ? env->https_proxy : env->http_proxy;
    if (!*proxy || is_loopback(u))
        return "";
    for (const char *p = env->no_proxy; *p;) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t");
        if (n && entry_matches(p, n, u))
            return "";
        p += n;
    }
    return proxy;
}

char *cb_http_proxy_shown(const struct cb_http *h, const char *url)
{
    struct cb_url u cb_cleanup_url = { 0 };
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *proxy = cb_url_parse(&u, url, NULL) == 0 ? cb_http_proxy_for(&h->env, &u) : "";
    if (!*proxy)
        return NULL;
    /* Without a scheme, user name and password stand at the front. */
    cb_autofree char *full = strstr(proxy, "://") ? cb_strdup(proxy) : cb_asprintf("http://%s", proxy);
    /* In a password that is not written as it should be, '/', '?' and '#' end no host. */
    char *host = strstr(full, "://") + 3, *at = strrchr(host, '@');
    if (at)
        cb_strbuf_add(&shown, full, (size_t)(host - full));
    if (at)
        cb_strbuf_adds(&shown, "xxxxx");
    cb_strbuf_add_url_redacted(&shown, at ? at : full);
    return cb_strbuf_detach(&shown, NULL);
}

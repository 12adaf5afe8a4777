/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, parsed by a grammar stricter than libcurl's, so that both can never disagree on which host is meant. */
#include <arpa/inet.h>

#include "http/http.h"
#include "http/private.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_URL (64u << 10)

void cb_url_done(struct cb_url *u)
{
    free(u->scheme);
    free(u->host);
    free(u->path_query);
    *u = (struct cb_url){ 0 };
}

unsigned cb_url_default_port(const char *scheme)
{
    return cb_streq(scheme, "https") ? 443 : 80;
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static char *strndup_lower(const char *s, size_t n)
{
    char *out = cb_strndup(s, n);
    for (char *p = out; *p; p++)
        *p = lower(*p);
    return out;
}

static bool has_forbidden_bytes(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f || strchr("\\\"<>", *s))
            return true;
    return false;
}

/* Length of "scheme:" without the colon, or 0 if the text does not begin with one. */
static size_t scheme_length(const char *s)
{
    if (!is_alpha(*s))
        return 0;
    size_t n = 1;
    while (is_alpha(s[n]) || is_digit(s[n]) || s[n] == '+' || s[n] == '-' || s[n] == '.')
        n++;
    return s[n] == ':' ? n : 0;
}

/* libcurl and resolvers read "127.1", "0x7f.1" and "2130706433" as IPv4 addresses; only the form with four parts is. */
static bool is_odd_ipv4(const char *host)
{
    const char *last = strrchr(host, '.');
    last = last ? last + 1 : host;
    struct in_addr a;
    bool numeric = *last && (strspn(last, "0123456789") == strlen(last) || cb_starts_with(last, "0x"));
    return numeric && inet_pton(AF_INET, host, &a) != 1;
}

static bool is_reg_name(const char *host)
{
    size_t n = strlen(host);
    if (!n || n > 253 || host[0] == '.' || host[0] == '-' || strstr(host, "..") || is_odd_ipv4(host))
        return false;
    for (const char *p = host; *p; p++)
        if (!is_alpha(*p) && !is_digit(*p) && !strchr("-._", *p))
            return false;
    return true;
}

static bool is_ipv6(const char *bracketed)
{
    size_t n = strlen(bracketed);
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    if (n < 4 || n - 2 >= sizeof text || bracketed[n - 1] != ']')
        return false;
    memcpy(text, bracketed + 1, n - 2);
    text[n - 2] = '\0';
    return inet_pton(AF_INET6, text, &a) == 1;
}

static int parse_port(const char *s, size_t n, unsigned *port, struct cb_error *err)
{
    cb_autofree char *text = cb_strndup(s, n);
    uint64_t v = 0;
    if (!cb_parse_u64(text, 65535, &v) || v == 0)
        return cb_error_set(err, CB_EVERIFY, "URL has a wrong port");
    *port = (unsigned)v;
    return 0;
}

static int parse_authority(struct cb_url *u, const char *s, size_t n, struct cb_error *err)
{
    if (memchr(s, '@', n))
        return cb_error_set(err, CB_EVERIFY, "URL holds a user name or password");
    size_t host_len = n;
    const char *colon = memrchr(s, ':', n), *bracket = memrchr(s, ']', n);
    if (colon && (!bracket || colon > bracket)) {
        host_len = (size_t)(colon - s);
        int r = parse_port(colon + 1, n - host_len - 1, &u->port, err);
        if (r < 0)
            return r;
    }
    u->host = strndup_lower(s, host_len);
    if (u->host[0] == '[' ? !is_ipv6(u->host) : !is_reg_name(u->host))
        return cb_error_set(err, CB_EVERIFY, "URL has a wrong host name");
    return 0;
}

static int parse_into(struct cb_url *u, const char *text, struct cb_error *err)
{
    size_t n = scheme_length(text);
    if (strlen(text) > MAX_URL)
        return cb_error_set(err, CB_EVERIFY, "URL is longer than %u bytes", MAX_URL);
    if (has_forbidden_bytes(text))
        return cb_error_set(err, CB_EVERIFY, "URL holds a character that must not stand there");
    if (!n || strncmp(text + n, "://", 3) != 0)
        return cb_error_set(err, CB_EVERIFY, "URL is not absolute");
    u->scheme = strndup_lower(text, n);
    if (!cb_streq(u->scheme, "https") && !cb_streq(u->scheme, "http"))
        return cb_error_set(err, CB_EVERIFY, "URL is neither https nor http");
    u->port = cb_url_default_port(u->scheme);
    const char *authority = text + n + 3;
    const char *path = authority + strcspn(authority, "/?#");
    int r = parse_authority(u, authority, (size_t)(path - authority), err);
    if (r < 0)
        return r;
    u->path_query = cb_asprintf("%s%.*s", *path == '/' ? "" : "/", (int)strcspn(path, "#"), path);
    return 0;
}

int cb_url_parse(struct cb_url *out, const char *text, struct cb_error *err)
{
    cb_cleanup_url struct cb_url u = { 0 };
    int r = parse_into(&u, text, err);
    if (r < 0)
        return r;
    *out = u;
    u = (struct cb_url){ 0 };
    return 0;
}

bool cb_host_is_loopback(const char *host)
{
    struct in_addr a;
    if (inet_pton(AF_INET, host, &a) == 1)
        return ntohl(a.s_addr) >> 24 == 127;
    return !strcmp(host, "localhost") || !strcmp(host, "[::1]");
}

bool cb_url_same_origin(const struct cb_url *a, const struct cb_url *b)
{
    return cb_streq(a->scheme, b->scheme) && cb_streq(a->host, b->host) && a->port == b->port;
}

void cb_strbuf_add_origin(struct cb_strbuf *sb, const struct cb_url *u)
{
    cb_strbuf_addf(sb, "%s://%s", u->scheme, u->host);
    if (u->port != cb_url_default_port(u->scheme))
        cb_strbuf_addf(sb, ":%u", u->port);
}

char *cb_url_text(const struct cb_url *u)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_origin(&sb, u);
    cb_strbuf_adds(&sb, u->path_query);
    return cb_strbuf_detach(&sb, NULL);
}

static bool is_segment(const char *s, size_t n, const char *what)
{
    return n == strlen(what) && memcmp(s, what, n) == 0;
}

/* RFC 3986 5.2.4 for a path that begins with '/': out keeps its leading slash; what follows the path is not seen
 * here. */
static void add_without_dots(struct cb_strbuf *out, const char *path, size_t n)
{
    size_t base = out->len, i = 0;
    while (i < n) {
        const char *seg = path + i + 1;
        const char *end = memchr(seg, '/', n - i - 1);
        size_t len = end ? (size_t)(end - seg) : n - i - 1;
        bool last = !end;
        if (is_segment(seg, len, "..")) {
            while (out->len > base && out->buf[out->len - 1] != '/')
                cb_strbuf_setlen(out, out->len - 1);
            if (out->len > base)
                cb_strbuf_setlen(out, out->len - 1);
        } else if (!is_segment(seg, len, ".")) {
            cb_strbuf_addch(out, '/');
            cb_strbuf_add(out, seg, len);
        }
        if (last && (is_segment(seg, len, ".") || is_segment(seg, len, "..")))
            cb_strbuf_addch(out, '/');
        i += len + 1;
    }
    if (out->len == base)
        cb_strbuf_addch(out, '/');
}

/* The path part ends at '?'; the rest is copied byte for byte. */
static void add_path_query(struct cb_strbuf *out, const char *path_query)
{
    size_t n = strcspn(path_query, "?");
    add_without_dots(out, path_query, n);
    cb_strbuf_adds(out, path_query + n);
}

static void add_merged(struct cb_strbuf *out, const struct cb_url *base, const char *ref)
{
    cb_cleanup_strbuf struct cb_strbuf merged = CB_STRBUF_INIT;
    size_t path_len = strcspn(base->path_query, "?"), keep = strlen(base->path_query);
    if (*ref == '/')
        keep = 0;
    else if (*ref == '?')
        keep = path_len;
    else if (*ref)
        keep = (size_t)((const char *)memrchr(base->path_query, '/', path_len) - base->path_query) + 1;
    cb_strbuf_add(&merged, base->path_query, keep);
    cb_strbuf_add(&merged, ref, strlen(ref));
    add_path_query(out, merged.buf);
}

char *cb_url_resolve(const char *base, const char *ref, struct cb_error *err)
{
    cb_cleanup_url struct cb_url b = { 0 }, target = { 0 };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    if (cb_url_parse(&b, base, err) < 0)
        return NULL;
    if (strlen(ref) > MAX_URL || has_forbidden_bytes(ref)) {
        cb_error_set(err, CB_EVERIFY, "URL is too long or holds a character that must not stand there");
        return NULL;
    }
    cb_autofree char *rel = cb_strndup(ref, strcspn(ref, "#"));
    cb_autofree char *absolute = NULL;
    if (scheme_length(rel))
        absolute = cb_strdup(rel);
    else if (cb_starts_with(rel, "//"))
        absolute = cb_asprintf("%s:%s", b.scheme, rel);
    if (absolute) {
        if (cb_url_parse(&target, absolute, err) < 0)
            return NULL;
        cb_strbuf_add_origin(&out, &target);
        add_path_query(&out, target.path_query);
    } else {
        cb_strbuf_add_origin(&out, &b);
        add_merged(&out, &b, rel);
    }
    return cb_strbuf_detach(&out, NULL);
}

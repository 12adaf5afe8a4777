/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/reference.h"

#include <arpa/inet.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

#define DOCKER_HOST "docker.io"
#define OFFICIAL "library/"

/* Locale-free classes: the grammar is ASCII. */
static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
    return is_lower(c) || is_digit(c) || is_upper(c);
}

static bool is_hex_id(const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    return n == 64 && !s[n];
}

bool cb_reference_valid_tag(const char *tag)
{
    if (!is_alnum(tag[0]) && tag[0] != '_')
        return false;
    size_t n = 1;
    while (is_alnum(tag[n]) || tag[n] == '_' || tag[n] == '.' || tag[n] == '-')
        n++;
    return !tag[n] && n <= 128;
}

/* What may stand between two runs of letters and digits: '.', '_', "__" or any number of '-'. Its length or 0. */
static size_t separator(const char *s)
{
    if (s[0] == '.')
        return 1;
    if (s[0] == '_')
        return s[1] == '_' ? 2 : 1;
    return strspn(s, "-");
}

bool cb_reference_valid_repo(const char *repo)
{
    if (strlen(repo) > CB_MAX_NAME)
        return false;
    for (const char *s = repo;;) {
        if (!is_lower(*s) && !is_digit(*s))
            return false;
        while (is_lower(*s) || is_digit(*s))
            s++;
        if (!*s)
            return true;
        size_t n = *s == '/' ? 1 : separator(s);
        if (!n)
            return false;
        s += n;
    }
}

static bool is_valid_port(const char *s)
{
    uint64_t port;
    return strlen(s) <= 5 && cb_parse_u64(s, 65535, &port) && port > 0;
}

/* "[::1]" or "[::1]:5000" */
static bool is_valid_ipv6(const char *host)
{
    size_t n = strspn(host + 1, "0123456789abcdefABCDEF:");
    if (host[1 + n] != ']' || n >= INET6_ADDRSTRLEN)
        return false;
    struct in6_addr address;
    cb_autofree char *text = cb_strndup(host + 1, n);
    if (inet_pton(AF_INET6, text, &address) != 1)
        return false;
    const char *rest = host + n + 2;
    return !*rest || (*rest == ':' && is_valid_port(rest + 1));
}

bool cb_reference_valid_host(const char *host)
{
    if (host[0] == '[')
        return is_valid_ipv6(host);
    if (strlen(host) > CB_MAX_NAME)
        return false;
    for (const char *s = host;; s++) {
        const char *start = s;
        while (is_alnum(*s) || *s == '-')
            s++;
        if (s == start || *start == '-' || s[-1] == '-')
            return false;
        if (!*s)
            return true;
        if (*s == ':')
            return is_valid_port(s + 1);
        if (*s != '.')
            return false;
    }
}

void cb_reference_done(struct cb_reference *r)
{
    free(r->host);
    free(r->repo);
    free(r->tag);
    *r = (struct cb_reference){ 0 };
}

void cb_reference_copy(struct cb_reference *dst, const struct cb_reference *src)
{
    if (dst == src)
        return;
    cb_reference_done(dst);
    dst->host = cb_strdup_or_null(src->host);
    dst->repo = cb_strdup_or_null(src->repo);
    dst->tag = cb_strdup_or_null(src->tag);
    dst->digest = src->digest;
}

/* Whether a first component of n bytes names a host. */
static bool looks_like_host(const char *s, size_t n)
{
    if (n == 9 && memcmp(s, "localhost", 9) == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (s[i] == '.' || s[i] == ':' || is_upper(s[i]))
            return true;
    return false;
}

/* Takes "@digest" and ":tag" off the end of name. */
static int split_ends(struct cb_reference *r, char *name, struct cb_error *err)
{
    char *at = strchr(name, '@');
    if (at) {
        *at = '\0';
        if (cb_digest_parse(&r->digest, at + 1, err) < 0)
            return cb_error_set(err, CB_ECONF, "\"%.160s\" after the @ is no digest (sha256:<64 hexadecimal digits>)",
                                at + 1);
    }
    char *slash = strrchr(name, '/');
    char *colon = strchr(slash ? slash : name, ':');
    if (!colon)
        return 0;
    *colon = '\0';
    r->tag = cb_strdup(colon + 1);
    if (!cb_reference_valid_tag(r->tag))
        return cb_error_set(err, CB_ECONF, "\"%.160s\" is no tag (letters, digits, _ . -, at most 128)", r->tag);
    return 0;
}

const char *cb_reference_known_host(const char *host)
{
    return strcmp(host, "index." DOCKER_HOST) ? host : DOCKER_HOST;
}

/* What splits the host off has seen the tag too: "h:1/x" has a host, "h:1" has not. */
static int split_host(struct cb_reference *r, const char *name, struct cb_error *err)
{
    const char *slash = strchr(name, '/');
    const char *rest = name;
    if (slash && looks_like_host(name, (size_t)(slash - name))) {
        r->host = cb_strndup(name, (size_t)(slash - name));
        rest = slash + 1;
        bool scheme = !strcmp(r->host, "https:") || !strcmp(r->host, "http:") || !strcmp(r->host, "docker:");
        if (scheme && rest[0] == '/')
            return cb_error_set(err, CB_ECONF, "leave out %s//: a name begins with the registry's host", r->host);
        if (!cb_reference_valid_host(r->host))
            return cb_error_set(err, CB_ECONF, "\"%.160s\" is no host or host:port", r->host);
    }
    if (!r->host || r->host != cb_reference_known_host(r->host)) {
        free(r->host);
        r->host = cb_strdup(DOCKER_HOST);
    }
    bool official = strcmp(r->host, DOCKER_HOST) == 0 && !strchr(rest, '/');
    r->repo = official ? cb_asprintf(OFFICIAL "%s", rest) : cb_strdup(rest);
    if (!*rest)
        return cb_error_set(err, CB_ECONF, "there is no repository name");
    return 0;
}

static int check_repo(const struct cb_reference *r, struct cb_error *err)
{
    if (cb_reference_valid_repo(r->repo))
        return 0;
    if (strlen(r->repo) > CB_MAX_NAME)
        return cb_error_set(err, CB_ECONF, "the repository name is longer than %d characters", CB_MAX_NAME);
    for (const char *s = r->repo; *s; s++)
        if (is_upper(*s))
            return cb_error_set(err, CB_ECONF, "the repository name must be lower case");
    return cb_error_set(err, CB_ECONF, "\"%.160s\" is no repository name", r->repo);
}

static int parse(struct cb_reference *r, const char *text, struct cb_error *err)
{
    if (!text || !*text)
        return cb_error_set(err, CB_ECONF, "it is empty");
    if (strlen(text) > CB_MAX_REFERENCE)
        return cb_error_set(err, CB_ECONF, "it is longer than %d characters", CB_MAX_REFERENCE);
    if (is_hex_id(text))
        return cb_error_set(err, CB_ECONF, "64 hexadecimal digits are an image id, not a name");
    cb_autofree char *name = cb_strdup(text);
    int e = split_ends(r, name, err);
    if (e < 0 || (e = split_host(r, name, err)) < 0)
        return e;
    return check_repo(r, err);
}

int cb_reference_parse(struct cb_reference *out, const char *text, struct cb_error *err)
{
    cb_cleanup_reference struct cb_reference r = { 0 };
    int e = parse(&r, text, err);
    if (e < 0) {
        cb_error_wrap(err, "image reference \"%.160s\"", text ? text : "");
        return e;
    }
    cb_reference_done(out);
    *out = r;
    r = (struct cb_reference){ 0 };
    return 0;
}

int cb_reference_parse_word(struct cb_reference *out, const char *word, struct cb_error *err)
{
    int r = cb_reference_parse(out, word, err);
    if (r < 0 && err)
        err->code = CB_EUSAGE;
    return r < 0 ? -CB_EUSAGE : 0;
}

void cb_reference_default_tag(struct cb_reference *r)
{
    if (!r->tag && !cb_digest_is_set(&r->digest))
        r->tag = cb_strdup("latest");
}

static void add_ends(struct cb_strbuf *sb, const struct cb_reference *r)
{
    if (r->tag)
        cb_strbuf_addf(sb, ":%s", r->tag);
    if (cb_digest_is_set(&r->digest)) {
        cb_strbuf_addch(sb, '@');
        cb_strbuf_add_digest(sb, &r->digest);
    }
}

void cb_strbuf_add_reference(struct cb_strbuf *sb, const struct cb_reference *r)
{
    cb_strbuf_addf(sb, "%s/%s", r->host, r->repo);
    add_ends(sb, r);
}

void cb_strbuf_add_familiar(struct cb_strbuf *sb, const struct cb_reference *r)
{
    const char *repo = r->repo;
    bool docker = strcmp(r->host, DOCKER_HOST) == 0;
    if (docker && cb_starts_with(repo, OFFICIAL) && !strchr(repo + strlen(OFFICIAL), '/') &&
        !is_hex_id(repo + strlen(OFFICIAL)))
        repo += strlen(OFFICIAL);
    const char *slash = strchr(repo, '/');
    if (!docker || (slash && looks_like_host(repo, (size_t)(slash - repo))))
        cb_strbuf_addf(sb, "%s/", r->host);
    cb_strbuf_adds(sb, repo);
    add_ends(sb, r);
}

bool cb_reference_same_tag(const struct cb_reference *a, const struct cb_reference *b)
{
    return !strcmp(a->host, b->host) && !strcmp(a->repo, b->repo) && cb_streq(a->tag, b->tag);
}

char *cb_reference_text(const struct cb_reference *r)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_reference(&sb, r);
    return cb_strbuf_detach(&sb, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "build/remote_auth.h"

#include <strings.h>

#include "http/http.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_VALUE ((size_t)16 << 10) /* servers take no longer headers, and the kernel no variable of 128 KiB */

struct family {
    const char *header, *token;
    char joint;                    /* in front of the host */
    const char *user;              /* a token is a password of this one; NULL: it is a bearer's */
    bool either;                   /* where both are given the header counts */
};
static const struct family git_family = { "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN", '.', "x-access-token", true };
static const struct family http_family = { "HTTP_AUTH_HEADER", "HTTP_AUTH_TOKEN", '_', NULL, false };

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

void cb_remote_auth_done(struct cb_remote_auth *a)
{
    wipe(a->value);
    free(a->host);
    free(a->origin);
    *a = (struct cb_remote_auth){ 0 };
}

void cb_git_auth_done(struct cb_git_auth *a)
{
    for (size_t i = 0; i < a->n; i++)
        cb_remote_auth_done(&a->v[i]);
    free(a->v);
    *a = (struct cb_git_auth){ 0 };
}

/* ---- one secret ---- */

/* What stands behind a name and its joint, or NULL. */
static const char *host_of(const char *id, const char *name, char joint)
{
    size_t n = strlen(name);
    return !strncmp(id, name, n) && id[n] == joint ? id + n + 1 : NULL;
}

/* host NULL: the general one. */
static const struct cb_build_secret *find(const struct cb_fetcher *f, const char *name, char joint, const char *host)
{
    for (size_t i = f->n_secrets; i-- > 0;) {
        const char *id = f->secrets[i].id, *of = host_of(id, name, joint);
        if (host ? of && !strcasecmp(of, host) : !strcmp(id, name))
            return &f->secrets[i];
    }
    return NULL;
}

/* A file mostly ends in a newline. */
static struct cb_slice text_of(const struct cb_build_secret *x)
{
    return cb_slice_trim((struct cb_slice){ cb_secret_data(x->value), cb_secret_size(x->value) });
}

static int check_text(const struct cb_build_secret *x, struct cb_slice text, struct cb_error *err)
{
    if (text.len > MAX_VALUE)
        return cb_error_set(err, CB_EUSAGE, "secret %s is too long for a header: more than %zu bytes", x->id,
                            MAX_VALUE);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return cb_error_set(err, CB_EUSAGE, "secret %s has a line break or control character in it: it cannot be "
                                "sent in a header", x->id);
    return 0;
}

static char *value_of(const struct family *k, bool token, struct cb_slice text)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT, value cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!token)
        return cb_strndup(text.ptr, text.len);
    if (!k->user) {
        cb_strbuf_addf(&value, "Bearer %.*s", (int)text.len, text.ptr);
        return cb_strbuf_detach(&value, NULL);
    }
    cb_strbuf_addf(&pair, "%s:%.*s", k->user, (int)text.len, text.ptr);
    cb_strbuf_adds(&value, "Basic ");
    cb_base64_encode(&value, pair.buf, pair.len);
    explicit_bzero(pair.buf, pair.len);
    return cb_strbuf_detach(&value, NULL);
}

/* ---- one server ---- */

static const struct cb_build_secret *find_filled(const struct cb_fetcher *f, const char *name, char joint,
                                                 const char *host, struct cb_remote_auth *out)
{
    const struct cb_build_secret *x = find(f, name, joint, host);
    if (!x || text_of(x).len)
        return x;
    out->empty = x;
    return NULL;
}

static int choose(const struct cb_fetcher *f, const struct family *k, const char *host, struct cb_remote_auth *out,
                  struct cb_error *err)
{
    const struct cb_build_secret *header = find_filled(f, k->header, k->joint, host, out);
    const struct cb_build_secret *token = find_filled(f, k->token, k->joint, host, out);
    const struct cb_build_secret *x = header ? header : token;
    if (header && token && !k->either)
        return cb_error_set(err, CB_EUSAGE, "secrets %s and %s are for one host: keep one of them", header->id,
                            token->id);
    if (!x)
        return 0;
    struct cb_slice text = text_of(x);
    int r = check_text(x, text, err);
    if (r < 0)
        return r;
    out->value = value_of(k, x == token, text);
    out->id = x->id;
    return 0;
}

static int of_host(const struct cb_fetcher *f, const struct family *k, const struct cb_url *u,
                   struct cb_remote_auth *out, struct cb_error *err)
{
    cb_autofree char *full = cb_asprintf("%s:%u", u->host, u->port);
    bool own_port = u->port == cb_url_default_port(u->scheme);
    out->host = cb_strdup(own_port ? u->host : full);
    out->origin = cb_asprintf("%s://%s", u->scheme, out->host);
    out->plain = !strcmp(u->scheme, "http");
    int r = choose(f, k, full, out, err);
    if (r == 0 && !out->value && own_port)
        r = choose(f, k, u->host, out, err);
    return r;
}

static int of_url(const struct cb_fetcher *f, const struct family *k, const char *url, bool general,
                  struct cb_remote_auth *out, struct cb_error *err)
{
    struct cb_url u cb_cleanup_url = { 0 };
    int r = cb_url_parse(&u, url, err);
    if (r == 0)
        r = of_host(f, k, &u, out, err);
    if (r < 0)
        return r;
    bool in_the_clear = out->plain && !cb_host_is_loopback(u.host);
    if (out->value && in_the_clear)
        return cb_error_set(err, CB_EUSAGE, "secret %s is not sent in the clear: write %s as https://%s", out->id,
                            out->origin, out->host);
    if (out->value || !general)
        return 0;
    if (!in_the_clear)
        return choose(f, k, NULL, out, err);
    out->withheld = find(f, k->header, k->joint, NULL) || find(f, k->token, k->joint, NULL);
    return 0;
}

int cb_http_auth(const struct cb_fetcher *f, const char *url, struct cb_remote_auth *out, struct cb_error *err)
{
    *out = (struct cb_remote_auth){ 0 };
    return of_url(f, &http_family, url, false, out, err);
}

/* ---- repositories ---- */

static bool has_origin(const struct cb_git_auth *a, const char *origin)
{
    for (size_t i = 0; i < a->n; i++)
        if (cb_streq(a->v[i].origin, origin))
            return true;
    return false;
}

static int add_url(const struct cb_fetcher *f, const char *url, bool general, struct cb_git_auth *out,
                   struct cb_error *err)
{
    struct cb_remote_auth a cb_cleanup_remote_auth = { 0 };
    int r = of_url(f, &git_family, url, general, &a, err);
    if (r < 0 || (!general && (!a.value || has_origin(out, a.origin))))
        return r;
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = a;
    a = (struct cb_remote_auth){ 0 };
    return 0;
}

/* A pattern would be one to git as well, but it is no host. */
static int check_host(const char *id, const char *host, struct cb_url *u, struct cb_error *err)
{
    cb_autofree char *url = cb_asprintf("https://%s/", host);
    if (!strpbrk(host, "/?#") && cb_url_parse(u, url, NULL) == 0)
        return 0;
    return cb_error_set(err, CB_EUSAGE, "secret %s: behind the dot stands HOST or HOST:PORT", id);
}

/* Where submodules are is not known before they are fetched: those servers that a secret names. */
static int add_named(const struct cb_fetcher *f, const char *id, bool plain, struct cb_git_auth *out,
                     struct cb_error *err)
{
    struct cb_url u cb_cleanup_url = { 0 };
    const char *host = host_of(id, git_family.header, '.');
    if (!host)
        host = host_of(id, git_family.token, '.');
    if (!host)
        return 0;
    int r = check_host(id, host, &u, err);
    if (r < 0)
        return r;
    cb_autofree char *https = cb_asprintf("https://%s/", host), *http = cb_asprintf("http://%s/", host);
    r = add_url(f, https, false, out, err);
    return r == 0 && plain && cb_host_is_loopback(u.host) ? add_url(f, http, false, out, err) : r;
}

int cb_git_auth(const struct cb_fetcher *f, const char *url, bool submodules, struct cb_git_auth *out,
                struct cb_error *err)
{
    *out = (struct cb_git_auth){ 0 };
    bool plain = cb_starts_with(url, "http://");
    int r = 0;
    if (plain || cb_starts_with(url, "https://")) {
        r = add_url(f, url, true, out, err);
    } else {
        CB_GROW(out->v, out->n, out->cap);
        out->v[out->n++] = (struct cb_remote_auth){ 0 };
    }
    for (size_t i = 0; r == 0 && submodules && i < f->n_secrets; i++)
        r = add_named(f, f->secrets[i].id, plain, out, err);
    if (r < 0)
        cb_git_auth_done(out);
    return r;
}

/* ---- for people ---- */

void cb_remote_auth_advise(const struct cb_remote_auth *a, const char *token, struct cb_strbuf *out)
{
    if (a->value)
        cb_strbuf_addf(out, "it does not take what the secret %s holds", a->id);
    else if (a->withheld)
        cb_strbuf_adds(out, "it wants credentials, which go over https only");
    else if (a->empty && a->empty->unset)
        cb_strbuf_addf(out, "it wants credentials, and the secret %s is empty: the variable %s is not set",
                       a->empty->id, a->empty->unset);
    else if (a->empty)
        cb_strbuf_addf(out, "it wants credentials, and the secret %s is empty", a->empty->id);
    else
        cb_strbuf_addf(out, "it wants credentials: give them by --secret id=%s%s,env=VARIABLE", token, a->host);
}

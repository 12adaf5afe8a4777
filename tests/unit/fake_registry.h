/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A registry in this process, with Basic or token authentication, that does what is right unless a test's hook comes
 * first and does something else. And a client of it with a home of its own. */

#include <strings.h>

#include "auth_fixture.h"
#include "http_server.h"
#include "oci/mediatype.h"
#include "registry/private.h"
#include "util/cancel.h"

/* Of an image without layers. */
#define FAKE_MANIFEST                                                                                                  \
    "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":{\"mediaType\":\"" CB_MT_OCI_CONFIG      \
    "\",\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2},"           \
    "\"layers\":[]}"

struct fake;
/* True: it has answered (*keep: the connection stays). */
typedef bool fake_hook(struct fake *f, struct server_request *r, bool *keep);

struct fake_thing {
    char *type;
    struct cb_strbuf body;
    struct fake_thing *older; /* somebody may still be sending it */
};

struct fake {
    struct server *server;
    char *host; /* "127.0.0.1:PORT" */
    pthread_mutex_t mu;
    struct cb_hashmap *things; /* "repo/blobs/DIGEST", "repo/manifests/REF" */
    const char *auth;          /* NULL, "basic", "token" */
    const char *pair;          /* base64 of USER:PASSWORD, or NULL: anybody gets a token */
    const char *realm;         /* NULL: our own /token */
    const char *challenge;     /* further parameters of a Bearer challenge */
    unsigned serial;           /* of the only good token */
    unsigned uses, used;       /* a token is good for so many requests; 0: for all */
    bool grace;                /* and so is the one before */
    unsigned session;
    fake_hook *hook;
    void *arg;
    void (*arg_free)(void *); /* called when the last thread is gone */
    atomic_uint hits; /* the hook's own */
};

static void fake_thing_free(struct fake_thing *t)
{
    while (t) {
        struct fake_thing *older = t->older;
        free(t->type);
        cb_strbuf_done(&t->body);
        free(t);
        t = older;
    }
}

static CB_UNUSED void fake_put(struct fake *f, const char *key, const char *type, const char *body, size_t n)
{
    struct fake_thing *t = CB_NEW(struct fake_thing);
    *t = (struct fake_thing){ .type = cb_strdup(type), .body = CB_STRBUF_INIT };
    cb_strbuf_add(&t->body, body, n);
    pthread_mutex_lock(&f->mu);
    t->older = cb_hashmap_put(f->things, key, t);
    pthread_mutex_unlock(&f->mu);
}

static CB_UNUSED struct fake_thing *fake_get(struct fake *f, const char *key)
{
    pthread_mutex_lock(&f->mu);
    struct fake_thing *t = cb_hashmap_get(f->things, key);
    pthread_mutex_unlock(&f->mu);
    return t;
}

/* How often a text stands in the heads of all requests. */
static CB_UNUSED unsigned fake_count(struct fake *f, const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&f->server->lock);
    for (const char *p = f->server->log.buf; (p = strstr(p, text)); p++)
        n++;
    pthread_mutex_unlock(&f->server->lock);
    return n;
}

/* ---- authentication ---- */

static bool fake_challenge(struct fake *f, struct server_request *r)
{
    cb_autofree char *own = server_url(f->server, "/token");
    cb_autofree char *line =
        strcmp(f->auth, "token") != 0
            ? cb_strdup("WWW-Authenticate: Basic realm=\"fake\"\r\n")
            : cb_asprintf("WWW-Authenticate: Bearer realm=\"%s\",service=\"fake\"%s%s\r\n", f->realm ? f->realm : own,
                          f->challenge ? "," : "", f->challenge ? f->challenge : "");
    return server_reply(r, 401, line, "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"who are you\"}]}");
}

static bool fake_may(struct fake *f, struct server_request *r)
{
    cb_autofree char *header = server_header(r, "Authorization");
    if (!f->auth)
        return true;
    if (!header)
        return false;
    if (strcmp(f->auth, "basic") == 0)
        return cb_starts_with(header, "Basic ") && cb_streq(header + 6, f->pair);
    pthread_mutex_lock(&f->mu);
    cb_autofree char *good = cb_asprintf("Bearer tok-%u", f->serial);
    cb_autofree char *before = cb_asprintf("Bearer tok-%u", f->serial - 1);
    bool may = strcmp(header, good) == 0 || (f->grace && strcmp(header, before) == 0);
    if (may && f->uses && ++f->used >= f->uses) {
        f->used = 0;
        f->serial++;
    }
    pthread_mutex_unlock(&f->mu);
    return may;
}

static bool fake_token(struct fake *f, struct server_request *r)
{
    cb_autofree char *header = server_header(r, "Authorization");
    if (f->pair && !(header && cb_starts_with(header, "Basic ") && strcmp(header + 6, f->pair) == 0))
        return server_reply(r, 401, "", "{\"details\":\"wrong password\"}");
    pthread_mutex_lock(&f->mu);
    cb_autofree char *body = cb_asprintf("{\"token\":\"tok-%u\",\"expires_in\":300}", f->serial);
    pthread_mutex_unlock(&f->mu);
    return server_reply(r, 200, "", body);
}

/* ---- content ---- */

static bool fake_error(struct server_request *r, unsigned status, const char *code)
{
    cb_autofree char *body = cb_asprintf("{\"errors\":[{\"code\":\"%s\",\"message\":\"fake says so\"}]}", code);
    return server_reply(r, status,
                        "Content-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n", body);
}

/* From `from` on: 200, or 206 where it is more than 0. */
static CB_UNUSED bool fake_send_from(struct server_request *r, const struct fake_thing *t, size_t from)
{
    struct cb_digest d;
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&d, t->body.buf, t->body.len);
    cb_autofree char *range =
        from ? cb_asprintf("Content-Range: bytes %zu-%zu/%zu\r\n", from, t->body.len - 1, t->body.len)
             : cb_strdup("");
    cb_autofree char *head =
        cb_asprintf("HTTP/1.1 %s\r\nContent-Type: %s\r\nDocker-Content-Digest: %s\r\n%sContent-Length: %zu\r\n\r\n",
                    from ? "206 Partial" : "200 OK", t->type, cb_digest_text(&d, text), range, t->body.len - from);
    return server_puts(r, head) &&
           (!strcmp(r->method, "HEAD") || server_send(r, t->body.buf + from, t->body.len - from));
}

static bool fake_serve(struct fake *f, struct server_request *r, const char *key)
{
    const struct fake_thing *t = fake_get(f, key);
    cb_autofree char *range = server_header(r, "Range");
    size_t from = range && cb_starts_with(range, "bytes=") ? strtoul(range + 6, NULL, 10) : 0;
    if (!t)
        return fake_error(r, 404, strstr(key, "/blobs/") ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN");
    return from >= t->body.len && from ? fake_error(r, 416, "RANGE") : fake_send_from(r, t, from);
}

/* The value of a query parameter, decoded; owned. */
static char *fake_param(const char *path, const char *name)
{
    struct cb_strbuf out = CB_STRBUF_INIT;
    cb_autofree char *key = cb_asprintf("%s=", name);
    for (const char *p = strchr(path, '?'); p; p = strchr(p + 1, '&'))
        if (cb_starts_with(p + 1, key)) {
            const char *v = p + 1 + strlen(key);
            if (cb_percent_decode(&out, v, strcspn(v, "&")))
                return cb_strbuf_detach(&out, NULL);
        }
    return NULL;
}

static bool fake_open_upload(struct fake *f, struct server_request *r, const char *repo)
{
    cb_autofree char *mount = fake_param(r->path, "mount");
    cb_autofree char *from = fake_param(r->path, "from");
    cb_autofree char *source = mount && from ? cb_asprintf("%s/blobs/%s", from, mount) : NULL;
    const struct fake_thing *t = source ? fake_get(f, source) : NULL;
    if (t) {
        cb_autofree char *key = cb_asprintf("%s/blobs/%s", repo, mount);
        fake_put(f, key, t->type, t->body.buf, t->body.len);
        return server_reply(r, 201, "", "");
    }
    pthread_mutex_lock(&f->mu);
    cb_autofree char *line = cb_asprintf("Location: /v2/%s/session/%u?_state=a%%2Fb%%3D\r\n", repo, ++f->session);
    pthread_mutex_unlock(&f->mu);
    return server_reply(r, 202, line, "");
}

static bool fake_store(struct fake *f, struct server_request *r, const char *repo, const char *name)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *want = fake_param(r->path, "digest");
    cb_autofree char *type = server_header(r, "Content-Type");
    struct cb_digest d;
    char text[CB_DIGEST_TEXT_MAX];
    if (!server_read_body(r, &body))
        return false;
    cb_digest_of(&d, body.buf, body.len);
    cb_digest_text(&d, text);
    if (!name && (!want || strcmp(want, text) != 0))
        return fake_error(r, 400, "DIGEST_INVALID");
    cb_autofree char *by_digest = cb_asprintf("%s/%s/%s", repo, name ? "manifests" : "blobs", text);
    cb_autofree char *by_name = name ? cb_asprintf("%s/manifests/%s", repo, name) : NULL;
    fake_put(f, by_digest, type ? type : "", body.buf, body.len);
    if (by_name)
        fake_put(f, by_name, type ? type : "", body.buf, body.len);
    cb_autofree char *line = cb_asprintf("Docker-Content-Digest: %s\r\n", text);
    return server_reply(r, 201, line, "");
}

static bool fake_write(struct fake *f, struct server_request *r)
{
    char *at;
    cb_autofree char *path = cb_strndup(r->path + 4, strcspn(r->path + 4, "?"));
    if (!strcmp(r->method, "POST") && (at = strstr(path, "/blobs/uploads/"))) {
        *at = '\0';
        return fake_open_upload(f, r, path);
    }
    if (!strcmp(r->method, "PUT") && (at = strstr(path, "/session/"))) {
        *at = '\0';
        return strstr(r->path, "?_state=a%2Fb%3D&digest=") ? fake_store(f, r, path, NULL)
                                                           : fake_error(r, 400, "BAD_LOCATION");
    }
    if (!strcmp(r->method, "PUT") && (at = strstr(path, "/manifests/"))) {
        *at = '\0';
        return fake_store(f, r, path, at + 11);
    }
    /* Its body is no request of its own. */
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    (void)!server_read_body(r, &body);
    return fake_error(r, 405, "UNSUPPORTED");
}

static bool fake_handle(struct server_request *r, void *arg)
{
    struct fake *f = arg;
    bool keep = true;
    if (f->hook && f->hook(f, r, &keep))
        return keep;
    if (cb_starts_with(r->path, "/token"))
        return fake_token(f, r);
    if (!cb_starts_with(r->path, "/v2/"))
        return fake_error(r, 404, "NOT_FOUND");
    if (!fake_may(f, r))
        return fake_challenge(f, r) && !strcmp(r->method, "GET");
    if (!strcmp(r->path, "/v2/"))
        return server_reply(r, 200, "", "{}");
    if (strcmp(r->method, "GET") && strcmp(r->method, "HEAD"))
        return fake_write(f, r);
    cb_autofree char *key = cb_strndup(r->path + 4, strcspn(r->path + 4, "?"));
    return fake_serve(f, r, key);
}

static CB_UNUSED void fake_start(struct fake *f)
{
    *f = (struct fake){ .things = cb_hashmap_new() };
    pthread_mutex_init(&f->mu, NULL);
    f->server = server_start(fake_handle, f);
    f->host = cb_asprintf("127.0.0.1:%u", f->server->port);
}

static CB_UNUSED void fake_stop(struct fake *f)
{
    const char *key;
    void *v;
    server_stop(f->server);
    for (size_t it = 0; cb_hashmap_next(f->things, &it, &key, &v);)
        fake_thing_free(v);
    cb_hashmap_free(f->things);
    if (f->arg_free)
        f->arg_free(f->arg);
    pthread_mutex_destroy(&f->mu);
    free(f->host);
}

/* ---- a client ---- */

struct client {
    struct home *home;
    struct fake one, two;
    struct cb_cancel *cancel;
    struct cb_http *http;
    struct cb_auth *auth;
    struct cb_registry *r;
    struct cb_strbuf notes; /* of auth and http */
    pthread_mutex_t mu;
};

static void client_note(void *arg, const char *line)
{
    struct client *c = arg;
    pthread_mutex_lock(&c->mu);
    cb_strbuf_addf(&c->notes, "%s\n", line);
    pthread_mutex_unlock(&c->mu);
}

/* conf: registries.conf; creds: of --creds, for host one. */
static CB_UNUSED void client_open(struct client *c, const char *conf, const char *creds)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *path = home_write(c->home, "registries.conf", conf ? conf : "", 0600);
    struct cb_http_options ho = {
        .cancel = c->cancel, .retries = 3, .backoff_ns = 2000000, .trace = client_note, .trace_arg = c
    };
    c->http = cb_http_new(&ho);
    struct cb_auth_options ao = {
        .creds = creds, .http = c->http, .cancel = c->cancel, .note = client_note, .note_arg = c
    };
    c->auth = cb_auth_new(&ao);
    cb_auth_set_creds_host(c->auth, c->one.host);
    struct cb_registry_options ro = {
        .http = c->http, .auth = c->auth, .cancel = c->cancel, .registries_conf = path, .tls_verify = -1
    };
    c->r = cb_registry_new(&ro, &e);
    if (!c->r)
        abort();
}

/* So that it may be opened again, knowing nothing. */
static CB_UNUSED void client_close(struct client *c)
{
    cb_registry_free(CB_TAKE(c->r));
    cb_auth_free(CB_TAKE(c->auth));
    cb_http_free(CB_TAKE(c->http));
}

static CB_UNUSED int client_setup(void **state)
{
    struct client *c = CB_NEW(struct client);
    void *home = NULL;
    if (home_setup(&home) != 0)
        return -1;
    c->home = home;
    c->notes = (struct cb_strbuf)CB_STRBUF_INIT;
    pthread_mutex_init(&c->mu, NULL);
    c->cancel = cb_cancel_new(NULL);
    fake_start(&c->one);
    fake_start(&c->two);
    *state = c;
    return 0;
}

static CB_UNUSED int client_teardown(void **state)
{
    struct client *c = *state;
    void *home = c->home;
    client_close(c);
    fake_stop(&c->one);
    fake_stop(&c->two);
    cb_cancel_free(c->cancel);
    cb_strbuf_done(&c->notes);
    pthread_mutex_destroy(&c->mu);
    free(c);
    return home_teardown(&home);
}

static CB_UNUSED void client_config(struct client *c, const char *host, const char *pair)
{
    cb_autofree char *text = auth_json(host, pair);
    home_put(c->home, ".docker/config.json", text);
}

static CB_UNUSED void fake_put_blob(struct fake *f, const char *repo, const char *body, size_t n,
                                    struct cb_descriptor *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_descriptor_of(d, "application/octet-stream", body, n);
    cb_autofree char *key = cb_asprintf("%s/blobs/%s", repo, cb_digest_text(&d->digest, text));
    fake_put(f, key, "application/octet-stream", body, n);
}

/* By tag (or NULL) and by digest. */
static CB_UNUSED void fake_put_manifest(struct fake *f, const char *repo, const char *tag, const char *type,
                                        const char *body, struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    struct cb_digest digest;
    cb_digest_of(&digest, body, strlen(body));
    cb_autofree char *by_digest = cb_asprintf("%s/manifests/%s", repo, cb_digest_text(&digest, text));
    cb_autofree char *by_tag = cb_asprintf("%s/manifests/%s", repo, tag ? tag : "");
    fake_put(f, by_digest, type, body, strlen(body));
    if (tag)
        fake_put(f, by_tag, type, body, strlen(body));
    if (d)
        *d = digest;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Authentication, manifests and hosts, against registries that misbehave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_registry.h"
#include "oci/mediatype.h"

#define MANIFEST FAKE_MANIFEST

static struct cb_reference ref_of(const struct fake *f, const char *rest)
{
    struct cb_reference ref = { 0 };
    cb_autofree char *text = cb_asprintf("%s/%s", f->host, rest);
    if (cb_reference_parse(&ref, text, NULL) < 0)
        abort();
    return ref;
}

static int pull(struct client *c, const struct fake *f, const char *rest, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = ref_of(f, rest);
    struct cb_fetched out cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = cb_registry_manifest(c->r, &ref, &out, e);
    if (r == 0)
        assert_string_equal(out.body.buf, MANIFEST);
    else
        assert_int_equal(out.body.len, 0);
    return r;
}

/* The pair and its base64 as the fakes want them. */
#define PAIR "user:canary"
#define PAIR64 "dXNlcjpjYW5hcnk="

/* ---- tokens ---- */

static void test_token(void **state)
{
    struct client *c = *state;
    c->one.auth = "token";
    c->one.pair = PAIR64;
    client_config(c, c->one.host, PAIR);
    client_open(c, NULL, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    /* The probe's 401 tells the way: /v2/, /token, the manifest. */
    assert_int_equal(atomic_load(&c->one.server->requests), 3);
    assert_true(server_saw(c->one.server, "GET /token?service=fake&scope=repository%3Aa%2Fb%3Apull HTTP"));
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(atomic_load(&c->one.server->requests), 4);
    assert_null(strstr(c->notes.buf, "canary"));
    assert_null(strstr(c->notes.buf, PAIR64));
    assert_null(strstr(c->notes.buf, "tok-"));
    assert_non_null(strstr(c->notes.buf, ".docker/config.json"));
}

/* What the way to authenticate is is told by the answer to the first request. */
static void test_token_without_probe(void **state)
{
    struct client *c = *state;
    c->one.auth = "token";
    client_open(c, NULL, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(atomic_load(&c->one.server->requests), 3); /* with one 401 */
    assert_false(server_saw(c->one.server, "Basic"));
}

/* Each token is good for two requests: the rest come by as many new ones, and nobody notices. */
static void test_token_expires(void **state)
{
    struct client *c = *state;
    c->one.auth = "token";
    c->one.uses = 2;
    client_open(c, NULL, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    for (int i = 0; i < 9; i++)
        assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(fake_count(&c->one, "GET /token"), 5);
}

static void test_wrong_password(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.auth = "token";
    c->one.pair = PAIR64;
    client_config(c, c->one.host, "user:wrong-canary");
    client_open(c, NULL, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_EAUTH);
    assert_int_equal(cb_error_exit_code(&e), 3);
    assert_non_null(strstr(cb_error_text(&e), c->one.host));
    assert_non_null(strstr(cb_error_text(&e), ".docker/config.json"));
    assert_non_null(strstr(cb_error_text(&e), "wrong password"));
    assert_null(strstr(cb_error_text(&e), "canary"));
    assert_int_equal(fake_count(&c->one, "GET /token"), 1); /* once is enough to be locked out */
}

static bool never_enough(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/manifests/"))
        return false;
    cb_autofree char *url = server_url(f->server, "/token");
    cb_autofree char *line = cb_asprintf("WWW-Authenticate: Bearer realm=\"%s\",scope=\"repository:a/b:pull\"%s\r\n",
                                         url, f->arg ? ",error=\"insufficient_scope\"" : "");
    *keep = server_reply(r, 401, line, "");
    return true;
}

/* Tokens come, and none will do: it ends, and says what was wanted. */
static void test_insufficient(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.auth = "token";
    c->one.hook = never_enough;
    client_open(c, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        c->one.arg = i ? c : NULL;
        unsigned before = atomic_load(&c->one.server->requests);
        assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_EAUTH);
        assert_non_null(strstr(cb_error_text(&e), "repository:a/b:pull"));
        assert_non_null(strstr(cb_error_text(&e), "cbpush login"));
        assert_true(atomic_load(&c->one.server->requests) - before <= 5);
    }
}

static void test_basic(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.auth = "basic";
    c->one.pair = PAIR64;
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    client_open(c, NULL, PAIR);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(atomic_load(&c->one.server->requests), 2);
    c->one.pair = "b3RoZXI6cHc=";
    assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "the command line"));
    assert_int_equal(atomic_load(&c->one.server->requests), 3);
}

/* --creds and files: each host gets its own, and no other's (R14). */
static void test_creds_stay(void **state)
{
    struct client *c = *state;
    c->one.auth = c->two.auth = "basic";
    c->one.pair = PAIR64;
    c->two.pair = "dTpw"; /* u:p */
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    fake_put_manifest(&c->two, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    client_config(c, c->two.host, "u:p");
    client_open(c, NULL, PAIR);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(pull(c, &c->two, "a/b:1", NULL), 0);
    assert_false(server_saw(c->one.server, "dTpw"));
    assert_false(server_saw(c->two.server, PAIR64));
}

/* The realm is another server, which the user never agreed to. */
static void test_realm_elsewhere(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.auth = "token";
    c->one.realm = "https://tokens.invalid/token";
    client_config(c, c->one.host, PAIR);
    client_open(c, NULL, NULL);
    assert_true(pull(c, &c->one, "a/b:1", &e) < 0);
    assert_non_null(strstr(cb_error_text(&e), "did not get the credentials"));
    assert_non_null(strstr(cb_error_text(&e), "tokens.invalid"));
    assert_false(server_saw(c->one.server, "Authorization"));
}

/* D3: led elsewhere, and asked there who we are, with our own token server as the bait. */
static bool lead_away(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/manifests/") || !server_saw(f->server, "Bearer tok"))
        return false;
    cb_autofree char *line = cb_asprintf("Location: http://%s/v2/evil\r\n", ((struct fake *)f->arg)->host);
    *keep = server_reply(r, 307, line, "");
    return true;
}

static void test_redirect_challenge(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *realm = server_url(c->one.server, "/token");
    c->one.auth = c->two.auth = "token";
    c->one.pair = PAIR64;
    c->two.realm = realm;
    c->one.hook = lead_away;
    c->one.arg = &c->two;
    client_config(c, c->one.host, PAIR);
    client_open(c, NULL, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_EAUTH);
    assert_int_equal(atomic_load(&c->two.server->requests), 1);
    assert_false(server_saw(c->two.server, "Authorization"));
    assert_int_equal(fake_count(&c->one, "GET /token"), 1);
}

/* ---- manifests ---- */

static void test_not_found(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    client_open(c, NULL, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:nope", &e), -CB_ENOTFOUND);
    cb_autofree char *want =
        cb_asprintf("image a/b:nope not found in registry %s (MANIFEST_UNKNOWN: fake says so)", c->one.host);
    assert_string_equal(cb_error_text(&e), want);
    assert_int_equal(cb_error_exit_code(&e), 4);
}

static bool lie(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/manifests/"))
        return false;
    cb_autofree char *line =
        cb_asprintf("Docker-Content-Digest: %s\r\nContent-Type: " CB_MT_OCI_MANIFEST "\r\n", (char *)f->arg);
    *keep = server_reply(r, 200, line, MANIFEST);
    return true;
}

/* C4: a pinned digest is checked against the bytes, not against what the header says of them. */
static void test_pinned(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    char other[] = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         right[CB_DIGEST_TEXT_MAX];
    struct cb_digest d;
    client_open(c, NULL, NULL);
    c->one.hook = lie;
    c->one.arg = other;
    cb_autofree char *pinned = cb_asprintf("a/b:1@%s", other);
    assert_int_equal(pull(c, &c->one, pinned, &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), "not the one that was asked for"));
    cb_digest_of(&d, MANIFEST, strlen(MANIFEST));
    cb_autofree char *good = cb_asprintf("a/b@%s", cb_digest_text(&d, right));
    assert_int_equal(pull(c, &c->one, good, NULL), 0); /* whatever the header */
}

static void test_sha512(void **state)
{
    struct client *c = *state;
    struct cb_digest d;
    char text[CB_DIGEST_TEXT_MAX];
    struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA512);
    cb_hasher_update(h, MANIFEST, strlen(MANIFEST));
    cb_hasher_finish(h, &d);
    cb_hasher_free(h);
    cb_autofree char *rest = cb_asprintf("a/b@%s", cb_digest_text(&d, text));
    cb_autofree char *key = cb_asprintf("a/b/manifests/%s", text);
    fake_put(&c->one, key, CB_MT_OCI_MANIFEST, MANIFEST, strlen(MANIFEST));
    client_open(c, NULL, NULL);
    assert_int_equal(pull(c, &c->one, rest, NULL), 0);
    fake_put(&c->one, key, CB_MT_OCI_MANIFEST, "{}", 2);
    assert_int_equal(pull(c, &c->one, rest, NULL), -CB_EVERIFY);
}

static bool answer_arg(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/manifests/"))
        return false;
    *keep = server_puts(r, f->arg) && false;
    return true;
}

static void test_odd_replies(void **state)
{
    struct client *c = *state;
    static const struct {
        const char *reply;
        int code;
        const char *text;
    } t[] = {
        { "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in to our Wi-Fi</html>", -CB_EVERIFY, "" },
        { "HTTP/1.1 403 No\r\nContent-Length: 38\r\n\r\n<html><title>Forbidden</title></html>\n", -CB_EAUTH,
          "status 403: Forbidden" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", -CB_EVERIFY, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", -CB_EVERIFY, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{}", -CB_EVERIFY, "longer than" },
        { "HTTP/1.1 204 No Content\r\n\r\n", -CB_ENET, "status 204" },
        { "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", -CB_EAUTH, "no way to authenticate" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"schemaVersion\":2", -CB_ENET, "" },
    };
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        c->one.hook = answer_arg;
        c->one.arg = (void *)(uintptr_t)t[i].reply;
        int r = pull(c, &c->one, "a/b:1", &e);
        if (r != t[i].code || !strstr(cb_error_text(&e), t[i].text) || !strstr(cb_error_text(&e), c->one.host))
            fail_msg("%s: %d \"%s\"", t[i].reply, r, cb_error_text(&e));
    }
}

/* A body that breaks off is fetched again. */
static bool break_once(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/manifests/") || atomic_fetch_add(&f->hits, 1))
        return false;
    server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"sch");
    *keep = false;
    return true;
}

static void test_broken_body(void **state)
{
    struct client *c = *state;
    client_open(c, NULL, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    c->one.hook = break_once;
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(atomic_load(&c->one.hits), 2);
}

static bool ask_to_wait(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/manifests/") || atomic_fetch_add(&f->hits, 1))
        return false;
    *keep = server_reply(r, 429, f->arg, "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"slow down\"}]}");
    return true;
}

static void test_retry_after(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    client_open(c, NULL, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    c->one.hook = ask_to_wait;
    c->one.arg = (void *)(uintptr_t) "Retry-After: 1\r\n";
    int64_t before = cb_time_monotonic();
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_true(cb_time_monotonic() - before >= INT64_C(900000000));
    atomic_store(&c->one.hits, 0);
    c->one.arg = (void *)(uintptr_t) "Retry-After: 86400\r\n";
    assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "86400"));
}

/* ---- HEAD ---- */

struct head_case {
    const char *headers; /* with %s for the digest */
    unsigned status;
    bool by_get; /* a GET has to help */
    int code;
};

static bool answer_head(struct fake *f, struct server_request *r, bool *keep)
{
    const struct head_case *h = f->arg;
    if (strcmp(r->method, "HEAD") != 0)
        return false;
    char text[CB_DIGEST_TEXT_MAX];
    struct cb_digest d;
    cb_digest_of(&d, MANIFEST, strlen(MANIFEST));
    struct cb_strbuf line cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *at = strstr(h->headers, "%s");
    cb_strbuf_add(&line, h->headers, at ? (size_t)(at - h->headers) : strlen(h->headers));
    cb_strbuf_addf(&line, "%s%s", at ? cb_digest_text(&d, text) : "", at ? at + 2 : "");
    cb_autofree char *reply = cb_asprintf("HTTP/1.1 %u X\r\n%s\r\n", h->status, line.buf);
    *keep = server_puts(r, reply);
    return true;
}

#define TYPE "Content-Type: " CB_MT_OCI_MANIFEST "\r\n"
#define DIGEST "Docker-Content-Digest: %s\r\n"
#define LENGTH "Content-Length: 77\r\n"

static void test_head(void **state)
{
    struct client *c = *state;
    static const struct head_case cases[] = {
        { TYPE DIGEST LENGTH, 200, false, 0 },
        { "Content-Type: " CB_MT_OCI_MANIFEST "; charset=utf-8\r\n" DIGEST LENGTH, 200, false, 0 },
        { "Content-Type: text/plain\r\n" DIGEST LENGTH, 200, true, 0 },
        { DIGEST LENGTH, 200, true, 0 },
        { TYPE LENGTH, 200, true, 0 },
        { TYPE DIGEST, 200, true, 0 },
        { TYPE "Docker-Content-Digest: sha256:short\r\n" LENGTH, 200, true, 0 },
        { LENGTH, 405, true, 0 },
        { LENGTH, 400, true, 0 },
        { LENGTH, 404, false, -CB_ENOTFOUND },
        { LENGTH, 403, false, -CB_EAUTH },
    };
    client_open(c, NULL, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    c->one.hook = answer_head;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_reference ref cb_cleanup_reference = ref_of(&c->one, "a/b:1");
        struct cb_descriptor d cb_cleanup_descriptor = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_digest want;
        unsigned before = fake_count(&c->one, "GET /v2/a/b/manifests/1");
        c->one.arg = (void *)(uintptr_t)&cases[i];
        int r = cb_registry_head(c->r, &ref, &d, &e);
        bool got = fake_count(&c->one, "GET /v2/a/b/manifests/1") > before;
        if (r != cases[i].code || got != cases[i].by_get)
            fail_msg("%u %s: %d %s, %s", cases[i].status, cases[i].headers, r, cb_error_text(&e),
                     got ? "GET" : "no GET");
        if (r < 0)
            continue;
        cb_digest_of(&want, MANIFEST, strlen(MANIFEST));
        assert_true(cb_digest_eq(&d.digest, &want));
        assert_string_equal(d.media_type, CB_MT_OCI_MANIFEST);
        assert_int_equal(d.size, cases[i].by_get ? strlen(MANIFEST) : 77);
    }
}

/* The header of a HEAD cannot make a pinned digest another. */
static void test_head_pinned(void **state)
{
    struct client *c = *state;
    static const struct head_case right = { TYPE DIGEST LENGTH, 200, false, 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_reference ref cb_cleanup_reference =
        ref_of(&c->one, "a/b@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    client_open(c, NULL, NULL);
    c->one.hook = answer_head;
    c->one.arg = (void *)(uintptr_t)&right;
    assert_true(cb_registry_head(c->r, &ref, &d, NULL) < 0);
    assert_false(cb_digest_is_set(&d.digest));
}

/* ---- mirrors ---- */

static char *mirror_conf(const struct client *c, const char *more)
{
    return cb_asprintf("[[registry]]\nprefix = \"%s\"\n%s[[registry.mirror]]\nlocation = \"%s/mirror\"\n",
                       c->one.host, more, c->two.host);
}

static void test_mirror(void **state)
{
    struct client *c = *state;
    cb_autofree char *conf = mirror_conf(c, "");
    client_open(c, conf, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0); /* the mirror has it not */
    assert_int_equal(fake_count(&c->two, "GET /v2/mirror/a/b/manifests/1"), 1);
    fake_put_manifest(&c->two, "mirror/a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    unsigned before = atomic_load(&c->one.server->requests);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(atomic_load(&c->one.server->requests), before);
}

static void test_mirror_wrong_bytes(void **state)
{
    struct client *c = *state;
    struct cb_digest d;
    char text[CB_DIGEST_TEXT_MAX];
    cb_autofree char *conf = mirror_conf(c, "");
    client_open(c, conf, NULL);
    fake_put_manifest(&c->one, "a/b", NULL, CB_MT_OCI_MANIFEST, MANIFEST, &d);
    cb_autofree char *key = cb_asprintf("mirror/a/b/manifests/%s", cb_digest_text(&d, text));
    fake_put(&c->two, key, CB_MT_OCI_MANIFEST, "{\"layers\":[],\"config\":{}}", 25);
    cb_autofree char *rest = cb_asprintf("a/b@%s", text);
    assert_int_equal(pull(c, &c->one, rest, NULL), 0);
    assert_int_equal(fake_count(&c->two, "/manifests/"), 2); /* asked once more, and then no longer */
}

/* Both want other credentials, and each gets its own. */
static void test_mirror_credentials(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *conf = mirror_conf(c, "");
    c->one.auth = c->two.auth = "basic";
    c->one.pair = PAIR64;
    c->two.pair = "dTpw";
    client_open(c, conf, PAIR);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0); /* the mirror's 401 is no end */
    assert_false(server_saw(c->two.server, "Authorization"));
    assert_int_equal(pull(c, &c->one, "a/b:2", &e), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&e), "image a/b:2 not found in registry"));
    assert_non_null(strstr(cb_error_text(&e), "before that"));
    assert_non_null(strstr(cb_error_text(&e), c->two.host));
}

static void test_digest_only_mirror(void **state)
{
    struct client *c = *state;
    cb_autofree char *conf = mirror_conf(c, "mirror-by-digest-only = true\n");
    client_open(c, conf, NULL);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", NULL), 0);
    assert_int_equal(atomic_load(&c->two.server->connections), 0);
}

static void test_blocked(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_blob_source *src = NULL;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autofree char *conf = mirror_conf(c, "blocked = true\n");
    client_open(c, conf, NULL);
    assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "blocked"));
    cb_descriptor_of(&d, "x", "x", 1);
    assert_int_equal(cb_registry_blob(c->r, c->one.host, "a/b", &d, &src, &e), -CB_EAUTH);
    struct cb_reference ref cb_cleanup_reference = ref_of(&c->one, "a/b:1");
    struct cb_push_options o = { .target = &ref };
    struct cb_push *p = NULL;
    assert_int_equal(cb_push_begin(c->r, &o, &p, &e), -CB_EAUTH);
    assert_int_equal(atomic_load(&c->one.server->connections) + atomic_load(&c->two.server->connections), 0);
}

/* ---- http or https ---- */

static void test_nobody_there(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct fake gone = { .host = cb_asprintf("127.0.0.1:%u", c->one.server->port) };
    struct server *s = c->one.server;
    client_open(c, NULL, NULL);
    shutdown(s->fd, SHUT_RDWR); /* the port refuses from here on */
    pthread_join(s->thread, NULL);
    close(s->fd);
    int r = pull(c, &gone, "a/b:1", &e);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listen(s->fd, 1) != 0 || pthread_create(&s->thread, NULL, server_accept, s) != 0)
        abort();
    free(gone.host);
    assert_int_equal(r, -CB_ENET);
    assert_int_equal(cb_error_exit_code(&e), 4);
    assert_non_null(strstr(cb_error_text(&e), "https://127.0.0.1"));
    assert_non_null(strstr(cb_error_text(&e), "http://127.0.0.1"));
}

/* A TLS port, as far as a client in clear can tell; who does speak TLS finds it broken. */
struct tls_port {
    int fd;
    const char *reply;
    atomic_uint clear, hellos;
    pthread_t thread;
};

static void *serve_tls_port(void *arg)
{
    struct tls_port *t = arg;
    char buf[4096];
    for (int fd; (fd = accept4(t->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; close(fd)) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        bool hello = n > 0 && buf[0] == 0x16;
        atomic_fetch_add(hello ? &t->hellos : &t->clear, 1);
        if (!hello && send(fd, t->reply, strlen(t->reply), MSG_NOSIGNAL) < 0)
            continue;
    }
    return NULL;
}

static int begin_upload(struct client *c, const struct fake *f, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = { .host = cb_strdup(f->host), .repo = cb_strdup("a/b") };
    struct cb_push_options po = { .target = &ref };
    CB_AUTO(cb_push_free) struct cb_push *p = NULL;
    int r = cb_push_begin(c->r, &po, &p, e);
    return r < 0 ? r : cb_push_check(p, e);
}

/* Nothing more goes there in clear, whether something is asked for first, or an upload begun. */
static void test_wants_https(void **state)
{
    struct client *c = *state;
    static const char *const replies[] = {
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        "HTTP/1.1 400 X\r\nContent-Length: 52\r\n\r\nThe plain HTTP request was sent to HTTPS port nginx\n",
        "HTTP/1.1 301 Moved\r\nLocation: HTTPS://127.0.0.1/v2/\r\nContent-Length: 0\r\n\r\n",
    };
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < 2 * CB_COUNTOF(replies); i++) {
        struct tls_port t = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .reply = replies[i / 2] };
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        socklen_t len = sizeof a;
        assert_int_equal(bind(t.fd, (struct sockaddr *)&a, sizeof a) | listen(t.fd, 8), 0);
        getsockname(t.fd, (struct sockaddr *)&a, &len);
        assert_int_equal(pthread_create(&t.thread, NULL, serve_tls_port, &t), 0);
        cb_autofree char *host = cb_asprintf("127.0.0.1:%u", ntohs(a.sin_port));
        struct fake name = { .host = host };
        int r = i % 2 ? begin_upload(c, &name, &e) : pull(c, &name, "a/b:1", &e);
        shutdown(t.fd, SHUT_RDWR);
        pthread_join(t.thread, NULL);
        close(t.fd);
        assert_true(r < 0);
        assert_int_equal(atomic_load(&t.clear), 1);
        assert_true(atomic_load(&t.hellos) >= 1);
        assert_non_null(strstr(cb_error_text(&e), "https://"));
    }
}

/* A name that begins like loopback is not: https it is, and no clear text ever. */
static void test_not_loopback(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct fake name = { .host = (char *)"127.0.0.1.invalid:5000" };
    client_open(c, NULL, NULL);
    assert_true(pull(c, &name, "a/b:1", &e) < 0);
    assert_null(strstr(c->notes.buf, "http://"));
    assert_non_null(strstr(c->notes.buf, "https://127.0.0.1.invalid:5000"));
}

/* ---- cancel ---- */

static bool never_answer(struct fake *f, struct server_request *r, bool *keep)
{
    char byte;
    (void)f;
    cb_cancel_trigger(f->arg, 0);
    *keep = server_recv(r, &byte, 1) == 1;
    return true;
}

static void test_cancel(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.hook = never_answer;
    c->one.arg = c->cancel;
    client_open(c, NULL, NULL);
    int64_t before = cb_time_monotonic();
    assert_int_equal(pull(c, &c->one, "a/b:1", &e), -CB_ECANCELED);
    assert_true(cb_time_monotonic() - before < INT64_C(5000000000));
    assert_int_equal(atomic_load(&c->one.server->requests), 1); /* it is not taken for "no plain HTTP here" */
}

/* ---- login ---- */

static int check(struct client *c, const char *user, const char *pass, char **realm, struct cb_error *e)
{
    return cb_registry_check_login(c->r, c->one.host, user, pass, realm, e);
}

static void test_login(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *realm = NULL;
    cb_autofree char *own = server_url(c->one.server, "/token");
    client_config(c, c->one.host, PAIR); /* what is kept already is no help to a wrong password */
    client_open(c, NULL, NULL);
    c->one.pair = PAIR64;
    static const char *const ways[] = { "basic", "token" };
    for (size_t i = 0; i < 2; i++) {
        c->one.auth = ways[i];
        assert_int_equal(check(c, "user", "wrong", &realm, &e), -CB_EAUTH);
        assert_int_equal(cb_error_exit_code(&e), 3);
        assert_null(realm);
        assert_null(strstr(cb_error_text(&e), "wrong:"));
        assert_int_equal(check(c, "user", "canary", &realm, &e), 0);
        if (i == 0)
            assert_null(realm);
        else
            assert_string_equal(realm, own);
        free(CB_TAKE(realm));
    }
    c->one.auth = NULL;
    assert_int_equal(check(c, "any", "body", &realm, &e), 0);
    assert_int_equal(check(c, "us:er", "body", &realm, &e), -CB_EUSAGE);
    assert_int_equal(check(c, "", "body", &realm, &e), -CB_EUSAGE);
}

static bool no_registry(struct fake *f, struct server_request *r, bool *keep)
{
    (void)f;
    *keep = server_reply(r, 404, "", "<html><title>A web site</title></html>");
    return true;
}

static void test_login_elsewhere(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *realm = NULL;
    c->one.hook = no_registry;
    client_open(c, NULL, NULL);
    assert_int_equal(check(c, "user", "canary", &realm, &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "is no registry"));
    assert_false(server_saw(c->one.server, "Authorization"));
}

/* ---- many at once ---- */

#define THREADS 8

struct puller {
    struct client *c;
    pthread_t thread;
    int code;
};

static void *pull_many(void *arg)
{
    struct puller *p = arg;
    for (int i = 0; i < 5 && p->code == 0; i++) {
        struct cb_reference ref cb_cleanup_reference = ref_of(&p->c->one, "a/b:1");
        struct cb_fetched out cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
        p->code = cb_registry_manifest(p->c->r, &ref, &out, NULL);
    }
    return NULL;
}

static void test_at_once(void **state)
{
    struct client *c = *state;
    struct puller p[THREADS];
    c->one.auth = "token";
    c->one.pair = PAIR64;
    client_open(c, NULL, PAIR);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST, NULL);
    for (int i = 0; i < THREADS; i++) {
        p[i] = (struct puller){ .c = c };
        assert_int_equal(pthread_create(&p[i].thread, NULL, pull_many, &p[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(p[i].thread, NULL);
        assert_int_equal(p[i].code, 0);
    }
    assert_int_equal(fake_count(&c->one, "GET /token"), 1);
    assert_int_equal(fake_count(&c->one, "GET /v2/ "), 0);
    /* The first of each may come before anybody knows that a token is needed. */
    assert_in_range(fake_count(&c->one, "GET /v2/a/b/manifests/1"), THREADS * 5 + 1, THREADS * 6);
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_token),
        CLIENT_TEST(test_token_without_probe),
        CLIENT_TEST(test_token_expires),
        CLIENT_TEST(test_wrong_password),
        CLIENT_TEST(test_insufficient),
        CLIENT_TEST(test_basic),
        CLIENT_TEST(test_creds_stay),
        CLIENT_TEST(test_realm_elsewhere),
        CLIENT_TEST(test_redirect_challenge),
        CLIENT_TEST(test_not_found),
        CLIENT_TEST(test_pinned),
        CLIENT_TEST(test_sha512),
        CLIENT_TEST(test_odd_replies),
        CLIENT_TEST(test_broken_body),
        CLIENT_TEST(test_retry_after),
        CLIENT_TEST(test_head),
        CLIENT_TEST(test_head_pinned),
        CLIENT_TEST(test_mirror),
        CLIENT_TEST(test_mirror_wrong_bytes),
        CLIENT_TEST(test_mirror_credentials),
        CLIENT_TEST(test_digest_only_mirror),
        CLIENT_TEST(test_blocked),
        CLIENT_TEST(test_nobody_there),
        CLIENT_TEST(test_wants_https),
        CLIENT_TEST(test_not_loopback),
        CLIENT_TEST(test_cancel),
        CLIENT_TEST(test_login),
        CLIENT_TEST(test_login_elsewhere),
        CLIENT_TEST(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

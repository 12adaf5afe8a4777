/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads, mounts and tags, against registries that misbehave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "push_support.h"

#define SIZE 300000u

static void add(struct cb_push *p, struct ours *o, const char *host, const char *repo)
{
    struct cb_push_blob b = { .desc = o->d,
                              .open = o->body ? ours_open : NULL,
                              .arg = o,
                              .origin_hosts = &host,
                              .origin_repos = &repo,
                              .n_origins = host ? 1 : 0 };
    assert_int_equal(cb_push_add(p, &b, NULL), 0);
}

/* Pushes it to a/b; its result. */
static int push_one(struct client *c, struct ours *o, const char *repo, struct cb_push_result *res,
                    struct cb_error *e)
{
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    const struct cb_push_result *v;
    add(p, o, repo ? c->one.host : NULL, repo);
    int r = cb_push_wait(p, e);
    size_t n = cb_push_results(p, &v);
    assert_int_equal(n, r == 0);
    if (n) {
        *res = v[0];
        res->mounted_from = NULL;
    }
    return r;
}

/* ---- plain uploads ---- */

static void test_upload(void **state)
{
    struct client *c = *state;
    static const size_t sizes[] = { SIZE, 1, 0, 3u << 20 };
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(sizes); i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_push_result res = { 0 };
        ours_make(&o, sizes[i], 'a');
        assert_int_equal(push_one(c, &o, NULL, &res, NULL), 0);
        assert_int_equal(res.outcome, CB_BLOB_UPLOADED);
        assert_int_equal(res.sent, sizes[i]);
        expect_stored(&c->one, "a/b", &o);
        assert_int_equal(push_one(c, &o, NULL, &res, NULL), 0);
        assert_int_equal(res.outcome, CB_BLOB_PRESENT);
        assert_int_equal(res.sent, 0);
    }
    assert_int_equal(fake_count(&c->one, "POST "), CB_COUNTOF(sizes));
}

struct seen {
    pthread_mutex_t mu;
    unsigned done, moves;
    uint64_t last;
};

static void on_blob(void *arg, const struct cb_digest *d, uint64_t current, uint64_t total,
                    const struct cb_push_result *done)
{
    struct seen *s = arg;
    (void)d;
    pthread_mutex_lock(&s->mu);
    assert_true(current <= total);
    s->last = current;
    s->moves++;
    if (done) {
        s->done++;
        assert_int_equal(done->outcome, CB_BLOB_UPLOADED);
    }
    pthread_mutex_unlock(&s->mu);
}

static void test_progress(void **state)
{
    struct client *c = *state;
    struct seen seen = { .mu = PTHREAD_MUTEX_INITIALIZER };
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_reference ref cb_cleanup_reference = { .host = cb_strdup(c->one.host), .repo = cb_strdup("a/b") };
    client_open(c, NULL, NULL);
    ours_make(&o, SIZE, 'a');
    struct cb_push_options po = { .target = &ref, .on_blob = on_blob, .arg = &seen };
    struct cb_push *p = NULL;
    assert_int_equal(cb_push_begin(c->r, &po, &p, NULL), 0);
    add(p, &o, NULL, NULL);
    add(p, &o, NULL, NULL); /* one all the same */
    assert_int_equal(cb_push_wait(p, NULL), 0);
    cb_push_free(p);
    assert_int_equal(seen.done, 1);
    assert_true(seen.moves >= 2);
    assert_int_equal(seen.last, SIZE);
    assert_int_equal(fake_count(&c->one, "PUT "), 1);
}

/* ---- faults ---- */

struct fault {
    const char *method, *at, *kind;
    unsigned times;
};

static bool drop_body(struct server_request *r)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    return server_read_body(r, &body);
}

static bool misbehave(struct fake *f, struct server_request *r, bool *keep)
{
    const struct fault *x = f->arg;
    if (strcmp(r->method, x->method) != 0 || !strstr(r->path, x->at) || atomic_load(&f->hits) >= x->times)
        return false;
    atomic_fetch_add(&f->hits, 1);
    *keep = false;
    if (!strcmp(x->kind, "reset")) {
        server_reset(r);
    } else if (!strcmp(x->kind, "half")) {
        char buf[10000];
        server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
        (void)server_recv(r, buf, sizeof buf);
        server_reset(r);
    } else if (!strcmp(x->kind, "lost")) { /* stored, but nobody is told */
        cb_autofree char *path = cb_strndup(r->path + 4, strcspn(r->path + 4, "?"));
        *strstr(path, "/session/") = '\0';
        struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_autofree char *want = fake_param(r->path, "digest");
        if (server_read_body(r, &body)) {
            cb_autofree char *key = cb_asprintf("%s/blobs/%s", path, want);
            fake_put(f, key, "", body.buf, body.len);
        }
        server_reset(r);
    } else if (drop_body(r) || strcmp(r->method, "PUT")) {
        unsigned status = (unsigned)strtoul(x->kind, NULL, 10);
        *keep =
            server_reply(r, status, status == 429 ? "Retry-After: 1\r\n" : "", "<html><title>Oh no</title></html>");
    }
    return true;
}

static void test_faults(void **state)
{
    struct client *c = *state;
    static const struct {
        struct fault fault;
        int code;
        unsigned posts;
    } t[] = {
        { { "PUT", "/session/", "reset", 1 },
          0,
          0 }, /* before anything of it was read: libcurl may repeat it itself */
        { { "PUT", "/session/", "half", 1 }, 0, 2 }, /* each try in a session of its own */
        { { "PUT", "/session/", "lost", 1 }, 0, 1 }, /* it is there: HEAD tells */
        { { "PUT", "/session/", "404", 1 }, 0, 2 },
        { { "PUT", "/session/", "500", 1 }, 0, 2 },
        { { "PUT", "/session/", "429", 1 }, 0, 2 },
        { { "PUT", "/session/", "413", 9 }, -CB_ENET, 3 }, /* whole, in chunks, which it does not know, whole */
        { { "PUT", "/session/", "400", 9 }, -CB_ENET, 1 },
        { { "PUT", "/session/", "403", 9 }, -CB_EAUTH, 1 },
        { { "POST", "/uploads/", "503", 1 }, 0, 2 },
        { { "POST", "/uploads/", "reset", 1 }, 0, 2 },
        { { "POST", "/uploads/", "403", 9 }, -CB_EAUTH, 1 },
        { { "HEAD", "/blobs/", "405", 9 }, 0, 1 }, /* then it is not known, and sent */
        { { "HEAD", "/blobs/", "403", 9 }, 0, 1 },
        { { "HEAD", "/blobs/", "404", 3 }, 0, 1 }, /* it took it, and has it a moment later */
        { { "HEAD", "/blobs/", "404", 5 }, 0, 2 }, /* it lost it: sent once more */
        { { "HEAD", "/blobs/", "404", 99 }, -CB_ENET, 2 },
    };
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_push_result res = { 0 };
        ours_make(&o, SIZE, (char)i);
        c->one.hook = misbehave;
        c->one.arg = (void *)(uintptr_t)&t[i].fault;
        atomic_store(&c->one.hits, 0);
        unsigned before = fake_count(&c->one, "POST ");
        int r = push_one(c, &o, NULL, &res, &e);
        unsigned posts = fake_count(&c->one, "POST ") - before;
        if (r != t[i].code || (t[i].posts && posts != t[i].posts))
            fail_msg("%s %s: %d \"%s\", %u sessions", t[i].fault.method, t[i].fault.kind, r, cb_error_text(&e),
                     posts);
        if (r == 0) {
            expect_stored(&c->one, "a/b", &o);
            assert_true(res.sent >= SIZE);
        } else {
            assert_non_null(strstr(cb_error_text(&e), "blob sha256:"));
            assert_non_null(strstr(cb_error_text(&e), c->one.host));
            if (strcmp(t[i].fault.method, "HEAD"))
                assert_non_null(strstr(cb_error_text(&e), "Oh no"));
        }
    }
}

static void test_gives_up(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_push_result res = { 0 };
    static const struct fault always = { "PUT", "/session/", "500", 99 };
    client_open(c, NULL, NULL);
    ours_make(&o, 10, 'a');
    c->one.hook = misbehave;
    c->one.arg = (void *)(uintptr_t)&always;
    assert_int_equal(push_one(c, &o, NULL, &res, &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "status 500: Oh no"));
    assert_int_equal(atomic_load(&c->one.hits), 4);
}

/* Our side fails: that is told, and not tried again. */
static void test_source_fails(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { .fail = -CB_ELOCAL };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_push_result res = { 0 };
    client_open(c, NULL, NULL);
    ours_make(&o, SIZE, 'a');
    assert_int_equal(push_one(c, &o, NULL, &res, &e), -CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&e), "the disk is gone"));
    assert_int_equal(atomic_load(&o.opened), 1);

    struct ours CB_CLEANUP(ours_done) nowhere = { 0 };
    cb_descriptor_of(&nowhere.d, CB_MT_OCI_LAYER_GZIP, "xyz", 3);
    assert_int_equal(push_one(c, &nowhere, NULL, &res, &e), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&e), "neither here nor"));
    assert_int_equal(fake_count(&c->one, "POST "), 2);
}

/* ---- sessions ---- */

/* The body goes at once; where that went wrong the registry is asked first whether it wants it. */
static void test_unasked(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_push_result res = { 0 };
    struct fault x = { "PUT", "/session/", "half", 1 };
    client_open(c, NULL, NULL);
    ours_make(&o, 3u << 20, 'a');
    assert_int_equal(push_one(c, &o, NULL, &res, NULL), 0);
    assert_int_equal(fake_count(&c->one, "Expect:"), 0);
    c->one.hook = misbehave;
    c->one.arg = &x;
    o.body[0]++;
    cb_descriptor_done(&o.d);
    cb_descriptor_of(&o.d, CB_MT_OCI_LAYER_GZIP, o.body, 3u << 20);
    assert_int_equal(push_one(c, &o, NULL, &res, NULL), 0);
    assert_int_equal(fake_count(&c->one, "Expect:"), 1);
    expect_stored(&c->one, "a/b", &o);
}

static bool other_place(struct fake *f, struct server_request *r, bool *keep)
{
    if (strcmp(r->method, "POST") != 0)
        return false;
    cb_autofree char *line = cb_asprintf("Location: %s\r\n", (char *)f->arg);
    *keep = server_reply(r, 202, line, "");
    return true;
}

/* D5: the session is at another origin: no credentials go there, and nothing at all in clear or to a private address.
 */
static void test_location_elsewhere(void **state)
{
    struct client *c = *state;
    cb_autofree char *clear = cb_asprintf("http://%s/v2/x", c->two.host);
    cb_autofree char *private = cb_asprintf("https://%s/v2/x", c->two.host);
    char *places[] = { clear, private, (char *)(uintptr_t) "https://169.254.169.254/x" };
    c->one.auth = "basic";
    c->one.pair = "dTpw";
    c->one.hook = other_place;
    client_open(c, NULL, "u:p");
    for (size_t i = 0; i < CB_COUNTOF(places); i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_push_result res = { 0 };
        ours_make(&o, SIZE, 'a');
        c->one.arg = places[i];
        assert_int_equal(push_one(c, &o, NULL, &res, &e), -CB_EVERIFY);
        assert_int_equal(atomic_load(&o.opened), 0);
    }
    assert_int_equal(atomic_load(&c->two.server->connections), 0);
}

static void test_location_missing(void **state)
{
    struct client *c = *state;
    static const char *const bad[] = { "", "ftp://x/y", "https://u:p@x/y" };
    c->one.hook = other_place;
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_push_result res = { 0 };
        ours_make(&o, 1, 'a');
        c->one.arg = (void *)(uintptr_t)bad[i];
        assert_true(push_one(c, &o, NULL, &res, &e) < 0);
        assert_non_null(strstr(cb_error_text(&e), "Location"));
    }
}

/* The token is too old when the body is to go: it is renewed, and the body goes from its beginning. */
static void test_token_expires(void **state)
{
    struct client *c = *state;
    c->one.auth = "token";
    c->one.pair = "dTpw";
    c->one.uses = 2; /* probe and HEAD do not count; POST does, and the PUT's 401 comes */
    client_open(c, NULL, "u:p");
    for (unsigned i = 0; i < 4; i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_push_result res = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        ours_make(&o, i % 2 ? SIZE : 2u << 20, (char)i);
        if (push_one(c, &o, NULL, &res, &e) < 0)
            fail_msg("%s", cb_error_text(&e));
        expect_stored(&c->one, "a/b", &o);
    }
    assert_true(fake_count(&c->one, "GET /token") >= 5);
    assert_true(server_saw(c->one.server, "GET /token?service=fake&scope=repository%3Aa%2Fb%3Apull%2Cpush HTTP"));
}

/* ---- mounts ---- */

static void test_mount(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_push_result res = { 0 };
    c->one.auth = "token";
    client_open(c, NULL, NULL);
    ours_make(&o, SIZE, 'a');
    fake_put_blob(&c->one, "base/image", o.body, SIZE, &d);
    assert_int_equal(push_one(c, &o, "base/image", &res, NULL), 0);
    assert_int_equal(res.outcome, CB_BLOB_MOUNTED);
    assert_int_equal(res.sent, 0);
    assert_int_equal(atomic_load(&o.opened), 0);
    expect_stored(&c->one, "a/b", &o);
    assert_true(server_saw(c->one.server,
                           "scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Abase%2Fimage%3Apull HTTP"));
}

/* mount_first: one look, after the mount; where that gives an upload instead, and the blob is there, it is canceled. A
 * blind manifest is not looked for. */
static void test_mount_first(void **state)
{
    struct client *c = *state;
    struct ours o[2] = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 }, m cb_cleanup_descriptor = { 0 };
    struct cb_reference ref cb_cleanup_reference = { 0 };
    cb_autofree char *name = cb_asprintf("%s/a/b", c->one.host);
    assert_int_equal(cb_reference_parse(&ref, name, NULL), 0);
    client_open(c, NULL, NULL);
    ours_make(&o[0], SIZE, 'a');
    ours_make(&o[1], SIZE, 'b');
    fake_put_blob(&c->one, "base/image", o[0].body, SIZE, &d);
    cb_descriptor_done(&d);
    fake_put_blob(&c->one, "a/b", o[1].body, SIZE, &d);
    struct cb_push_options po = { .target = &ref, .jobs = 1, .mount_first = true };
    CB_AUTO(cb_push_free) struct cb_push *p = NULL;
    assert_int_equal(cb_push_begin(c->r, &po, &p, NULL), 0);
    for (size_t i = 0; i < 2; i++)
        add(p, &o[i], c->one.host, "base/image");
    assert_int_equal(cb_push_wait(p, NULL), 0);
    assert_int_equal(fake_count(&c->one, "mount="), 2);
    assert_int_equal(fake_count(&c->one, "HEAD "), 2);
    assert_int_equal(fake_count(&c->one, "DELETE "), 1);
    assert_int_equal(fake_count(&c->one, "PUT "), 0);
    cb_descriptor_of(&m, CB_MT_OCI_MANIFEST, "{}", 2);
    assert_int_equal(cb_push_manifest_blind(p, &m, CB_SLICE("{}"), "v1", NULL), 0);
    assert_int_equal(fake_count(&c->one, "HEAD "), 2);
    assert_int_equal(fake_count(&c->one, "PUT /v2/a/b/manifests/v1"), 1);
    cb_push_free(CB_TAKE(p));
    for (size_t i = 0; i < 2; i++)
        ours_done(&o[i]);
}

/* 202: the session that was opened in its place is used. */
static void test_mount_session(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_push_result res = { 0 };
    client_open(c, NULL, NULL);
    ours_make(&o, SIZE, 'a');
    assert_int_equal(push_one(c, &o, "base/image", &res, NULL), 0);
    assert_int_equal(res.outcome, CB_BLOB_UPLOADED);
    assert_int_equal(fake_count(&c->one, "POST "), 1);
    expect_stored(&c->one, "a/b", &o);
}

static bool refuse_mount(struct fake *f, struct server_request *r, bool *keep)
{
    unsigned status = *(unsigned *)f->arg;
    if (!strstr(r->path, "mount="))
        return false;
    if (status == 201) {
        *keep = server_reply(
            r, 201,
            "Docker-Content-Digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", "");
        return true;
    }
    cb_autofree char *realm = server_url(f->server, "/denied");
    cb_autofree char *line = cb_asprintf("WWW-Authenticate: Bearer realm=\"%s\"\r\n", realm);
    *keep = server_reply(r, status, line, "");
    return true;
}

/* A mount is an optimisation: whatever is wrong with it, the blob goes the usual way. */
static void test_mount_refused(void **state)
{
    struct client *c = *state;
    unsigned status[] = { 400, 401, 403, 404, 405, 201 };
    c->one.hook = refuse_mount;
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(status); i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_push_result res = { 0 };
        ours_make(&o, 1000, (char)i);
        c->one.arg = &status[i];
        if (push_one(c, &o, "base/image", &res, &e) < 0)
            fail_msg("%u: %s", status[i], cb_error_text(&e));
        assert_int_equal(res.outcome, CB_BLOB_UPLOADED);
        expect_stored(&c->one, "a/b", &o);
    }
}

/* From another registry: streamed, with that one's credentials there and ours here. */
static void test_copy(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct ours from = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_push_result *v;
    c->one.auth = c->two.auth = "basic";
    c->one.pair = "dTpw";
    c->two.pair = "eDp5"; /* x:y */
    client_config(c, c->two.host, "x:y");
    client_open(c, NULL, "u:p");
    ours_make(&o, SIZE, 'a');
    fake_put_blob(&c->two, "src", o.body, SIZE, &d);
    cb_descriptor_copy(&from.d, &o.d);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    add(p, &from, c->two.host, "src");
    if (cb_push_wait(p, &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_int_equal(cb_push_results(p, &v), 1);
    assert_int_equal(v[0].outcome, CB_BLOB_COPIED);
    expect_stored(&c->one, "a/b", &o);
    assert_false(server_saw(c->one.server, "eDp5"));
    assert_false(server_saw(c->two.server, "dTpw"));
    assert_int_equal(fake_count(&c->one, "mount="), 0);
    cb_descriptor_done(&from.d);
}

/* A push goes to the registry that was named: mirrors and locations are for pulls. */
static void test_no_mirror(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_push_result res = { 0 };
    cb_autofree char *conf =
        cb_asprintf("[[registry]]\nprefix = \"%s\"\nlocation = \"%s\"\n[[registry.mirror]]\nlocation = \"%s\"\n",
                    c->one.host, c->two.host, c->two.host);
    client_open(c, conf, NULL);
    ours_make(&o, 100, 'a');
    assert_int_equal(push_one(c, &o, NULL, &res, NULL), 0);
    expect_stored(&c->one, "a/b", &o);
    assert_int_equal(atomic_load(&c->two.server->connections), 0);
}

/* ---- manifests and tags ---- */

#define MANIFEST "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\"}"

static void test_tags(void **state)
{
    struct client *c = *state;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 }, other cb_cleanup_descriptor = { 0 };
    bool moved = false, current = true;
    size_t n = strlen(MANIFEST);
    client_open(c, NULL, NULL);
    cb_descriptor_of(&d, CB_MT_OCI_MANIFEST, MANIFEST, n);
    cb_descriptor_of(&other, CB_MT_OCI_MANIFEST, "{}", 2);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_manifest(p, &d, MANIFEST, n, NULL), 0);
    assert_int_equal(cb_push_manifest(p, &d, MANIFEST, n, NULL), 0);
    assert_int_equal(fake_count(&c->one, "PUT "), 1);
    assert_int_equal(cb_push_tag_current(p, &d, "v1", &current, NULL), 0);
    assert_false(current);
    assert_int_equal(cb_push_tag(p, &d, (struct cb_slice){ MANIFEST, n }, "v1", &moved, NULL), 0);
    assert_true(moved);
    assert_true(server_saw(c->one.server, "Content-Type: " CB_MT_OCI_MANIFEST "\r\n"));
    assert_int_equal(cb_push_tag(p, &d, (struct cb_slice){ MANIFEST, n }, "v1", &moved, NULL), 0);
    assert_false(moved);
    assert_int_equal(cb_push_tag_current(p, &d, "v1", &current, NULL), 0);
    assert_true(current);
    assert_int_equal(cb_push_tag(p, &other, CB_SLICE("{}"), "v1", NULL, NULL), 0);
    assert_int_equal(fake_count(&c->one, "PUT "), 3);
    const struct fake_thing *t = fake_get(&c->one, "a/b/manifests/v1");
    assert_string_equal(t->body.buf, "{}");
}

static bool answer_put(struct fake *f, struct server_request *r, bool *keep)
{
    if (strcmp(r->method, "PUT") != 0 || !drop_body(r))
        return false;
    *keep = server_puts(r, f->arg) && false;
    return true;
}

static void test_put_refused(void **state)
{
    struct client *c = *state;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    static const struct {
        const char *reply;
        int code;
        const char *text;
    } t[] = {
        { "HTTP/1.1 201 C\r\nDocker-Content-Digest: "
          "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nContent-Length: 0\r\n\r\n",
          -CB_EVERIFY, "stored another manifest" },
        { "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n", 0, "" },
        { "HTTP/1.1 201 C\r\nDocker-Content-Digest: nonsense\r\nContent-Length: 0\r\n\r\n", 0, "" },
        { "HTTP/1.1 400 B\r\nContent-Length: "
          "78\r\n\r\n{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown\"}]}         ",
          -CB_ENET, "MANIFEST_BLOB_UNKNOWN: blob unknown" },
        { "HTTP/1.1 403 B\r\nContent-Length: 0\r\n\r\n", -CB_EAUTH, "status 403" },
        { "HTTP/1.1 404 B\r\nContent-Length: 0\r\n\r\n", -CB_ENOTFOUND, "status 404" },
    };
    client_open(c, NULL, NULL);
    cb_descriptor_of(&d, CB_MT_OCI_MANIFEST, MANIFEST, strlen(MANIFEST));
    c->one.hook = answer_put;
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        bool moved = true;
        c->one.arg = (void *)(uintptr_t)t[i].reply;
        int r = cb_push_tag(p, &d, CB_SLICE(MANIFEST), "v1", &moved, &e);
        if (r != t[i].code || !strstr(cb_error_text(&e), t[i].text))
            fail_msg("%s: %d \"%s\"", t[i].reply, r, cb_error_text(&e));
        assert_int_equal(moved, r == 0);
    }
}

/* ---- many, and the end of it ---- */

static void test_many(void **state)
{
    struct client *c = *state;
    struct ours o[24] = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_push_result *v;
    c->one.auth = "token";
    c->one.pair = "dTpw";
    c->one.grace = true;
    c->one.uses = 20; /* tokens go stale under way, for several threads at once */
    client_open(c, NULL, "u:p");
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 6);
    for (size_t i = 0; i < CB_COUNTOF(o); i++) {
        ours_make(&o[i], 1000 * i, (char)i);
        add(p, &o[i], NULL, NULL);
    }
    if (cb_push_wait(p, &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_int_equal(cb_push_results(p, &v), CB_COUNTOF(o));
    for (size_t i = 0; i < CB_COUNTOF(o); i++) {
        expect_stored(&c->one, "a/b", &o[i]);
        ours_done(&o[i]);
    }
}

/* The first failure is told, and what waits behind it is not begun. */
static void test_first_failure(void **state)
{
    struct client *c = *state;
    struct ours o[10] = { [0] = { .fail = -CB_ELOCAL } };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    unsigned begun = 0;
    client_open(c, NULL, NULL);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 1);
    for (size_t i = 0; i < CB_COUNTOF(o); i++) {
        ours_make(&o[i], 100, (char)i);
        add(p, &o[i], NULL, NULL);
    }
    assert_int_equal(cb_push_wait(p, &e), -CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&e), "the disk is gone"));
    assert_int_equal(cb_push_wait(p, NULL), -CB_ELOCAL); /* and stays so */
    for (size_t i = 0; i < CB_COUNTOF(o); i++)
        begun += atomic_load(&o[i].opened);
    assert_int_equal(begun, 1);
    cb_push_free(CB_TAKE(p));
    for (size_t i = 0; i < CB_COUNTOF(o); i++)
        ours_done(&o[i]);
}

/* An endless source: freeing the push ends it. */
struct endless {
    struct cb_blob_source base;
};

static int endless_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    (void)s;
    (void)err;
    memset(buf, 'x', n);
    *got = n;
    return 0;
}

static void endless_close(struct cb_blob_source *s)
{
    free(s);
}

static int endless_open(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { endless_read, endless_close };
    struct endless *x = CB_NEW(struct endless);
    (void)d;
    (void)err;
    x->base.ops = &ops;
    *out = &x->base;
    atomic_fetch_add((atomic_uint *)arg, 1);
    return 0;
}

static bool swallow(struct fake *f, struct server_request *r, bool *keep)
{
    char buf[65536];
    (void)f;
    if (strcmp(r->method, "PUT") != 0)
        return false;
    server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
    while (server_recv(r, buf, sizeof buf))
        continue;
    *keep = false;
    return true;
}

static void test_free_stops(void **state)
{
    struct client *c = *state;
    atomic_uint opened = 0;
    struct cb_push_blob b = { .open = endless_open, .arg = &opened };
    c->one.hook = swallow;
    client_open(c, NULL, NULL);
    cb_descriptor_of(&b.desc, CB_MT_OCI_LAYER_GZIP, "x", 1);
    b.desc.size = UINT64_C(1) << 50;
    struct cb_push *p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_add(p, &b, NULL), 0);
    for (int i = 0; i < 500 && !atomic_load(&opened); i++)
        usleep(10000);
    assert_int_equal(atomic_load(&opened), 1);
    int64_t before = cb_time_monotonic();
    cb_push_free(p);
    assert_true(cb_time_monotonic() - before < INT64_C(5000000000));
    cb_descriptor_done(&b.desc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_upload),
        CLIENT_TEST(test_progress),
        CLIENT_TEST(test_faults),
        CLIENT_TEST(test_gives_up),
        CLIENT_TEST(test_unasked),
        CLIENT_TEST(test_source_fails),
        CLIENT_TEST(test_location_elsewhere),
        CLIENT_TEST(test_location_missing),
        CLIENT_TEST(test_token_expires),
        CLIENT_TEST(test_mount),
        CLIENT_TEST(test_mount_first),
        CLIENT_TEST(test_mount_session),
        CLIENT_TEST(test_mount_refused),
        CLIENT_TEST(test_copy),
        CLIENT_TEST(test_no_mirror),
        CLIENT_TEST(test_tags),
        CLIENT_TEST(test_put_refused),
        CLIENT_TEST(test_many),
        CLIENT_TEST(test_first_failure),
        CLIENT_TEST(test_free_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

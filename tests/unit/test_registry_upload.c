/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads in chunks, against every quirk of reference §2.5 and the faults of safety 3a. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_uploads.h"
#include "oci/mediatype.h"
#include "registry/upload.h"

#define MIB (1u << 20)
#define CHUNK (256u << 10)
#define SIZE (5 * CHUNK + 1000)

/* ---- a push of one blob ---- */

struct ours {
    struct cb_descriptor d;
    char *body;
    atomic_uint opened;
    bool seekless;
};

static void ours_make(struct ours *o, size_t n)
{
    o->body = cb_malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        o->body[i] = (char)('a' + (i * 7 + (i >> 9)) % 26);
    o->body[n] = '\0';
    cb_descriptor_of(&o->d, CB_MT_OCI_LAYER_GZIP, o->body, n);
}

static void ours_done(struct ours *o)
{
    cb_descriptor_done(&o->d);
    free(o->body);
}

/* One that can only be read forward, as a pipe is. */
struct forward {
    struct cb_blob_source base;
    struct cb_blob_source *inner;
};

static int forward_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    return cb_blob_read(((struct forward *)s)->inner, buf, n, got, err);
}

static void forward_close(struct cb_blob_source *s)
{
    struct forward *f = (struct forward *)s;
    f->inner->ops->close(f->inner);
    free(f);
}

static int ours_open(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { .read = forward_read, .close = forward_close };
    struct ours *o = arg;
    (void)d;
    (void)err;
    atomic_fetch_add(&o->opened, 1);
    *out = cb_blob_source_from_mem(o->body, o->d.size);
    if (o->seekless) {
        struct forward *f = CB_NEW(struct forward);
        *f = (struct forward){ .base = { &ops }, .inner = *out };
        *out = &f->base;
    }
    return 0;
}

/* The blob goes to a/b of the first registry; from `host` where that is given, else from `o`. */
static int push(struct client *c, struct ours *o, const char *host, struct cb_push_result *res, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = { .host = cb_strdup(c->one.host), .repo = cb_strdup("a/b") };
    struct cb_push_options po = { .target = &ref };
    const char *repo = "src";
    const struct cb_push_result *v;
    struct cb_push *p = NULL;
    assert_int_equal(cb_push_begin(c->r, &po, &p, NULL), 0);
    struct cb_push_blob b = { .desc = o->d,
                              .open = host ? NULL : ours_open,
                              .arg = o,
                              .origin_hosts = &host,
                              .origin_repos = &repo,
                              .n_origins = host ? 1 : 0 };
    assert_int_equal(cb_push_add(p, &b, NULL), 0);
    int r = cb_push_wait(p, e);
    if (cb_push_results(p, &v) == 1 && res)
        *res = v[0];
    cb_push_free(p);
    return r;
}

static bool is_stored(struct client *c, const struct ours *o)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_autofree char *key = cb_asprintf("a/b/blobs/%s", cb_digest_text(&o->d.digest, text));
    const struct fake_thing *t = fake_get(&c->one, key);
    return t && t->body.len == o->d.size && !memcmp(t->body.buf, o->body, t->body.len);
}

static struct uploads *serve(struct client *c, const struct uploads *how)
{
    struct uploads *u = uploads_new(&c->one, how);
    client_open(c, NULL, NULL);
    c->r->o.chunk_size = CHUNK;
    return u;
}

/* ---- pure parts ---- */

static void test_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t want;
    } t[] = {
        { "0-0", 1 },
        { "0-9", 10 },
        { "bytes=0-9", 10 },
        { "bytes 0-9", 10 },
        { "0-9223372036854775807", UINT64_C(1) << 63 },
        { "0-9223372036854775808", UINT64_MAX },
        { "1-9", UINT64_MAX },
        { "0-", UINT64_MAX },
        { "0-x", UINT64_MAX },
        { "0--1", UINT64_MAX },
        { "0-9/10", UINT64_MAX },
        { "bytes", UINT64_MAX },
        { "", UINT64_MAX },
        { NULL, UINT64_MAX },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++)
        if (upload_range(t[i].text) != t[i].want)
            fail_msg("%s: %llu", t[i].text, (unsigned long long)upload_range(t[i].text));
}

/* ---- what goes in chunks ---- */

static void test_small_ones_go_whole(void **state)
{
    struct client *c = *state;
    serve(c, NULL);
    static const size_t sizes[] = { 0, 1, CHUNK };
    for (size_t i = 0; i < CB_COUNTOF(sizes); i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        ours_make(&o, sizes[i]);
        assert_int_equal(push(c, &o, NULL, NULL, NULL), 0);
        assert_true(is_stored(c, &o));
    }
    struct ours CB_CLEANUP(ours_done) large = { 0 };
    ours_make(&large, SIZE);
    c->r->o.chunk_size = UINT64_MAX;
    assert_int_equal(push(c, &large, NULL, NULL, NULL), 0);
    assert_true(is_stored(c, &large));
    assert_int_equal(fake_count(&c->one, "PATCH "), 0);
}

static void test_large_ones_go_in_chunks(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_push_result res = { 0 };
    serve(c, NULL);
    ours_make(&o, SIZE);
    assert_int_equal(push(c, &o, NULL, &res, NULL), 0);
    assert_true(is_stored(c, &o));
    assert_int_equal(res.sent, SIZE);
    assert_int_equal(fake_count(&c->one, "PATCH "), 6);
    assert_true(server_saw(c->one.server, "Content-Range: 0-262143\r\n"));
    assert_true(server_saw(c->one.server, "Content-Range: 262144-524287\r\n"));
    assert_int_equal(atomic_load(&o.opened), 1);
}

/* 64 MiB and more, without a word from the user. */
static void test_default_threshold(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    serve(c, NULL);
    c->r->o.chunk_size = 0;
    ours_make(&o, 64 * MIB);
    assert_int_equal(push(c, &o, NULL, NULL, NULL), 0);
    assert_true(is_stored(c, &o));
    assert_true(fake_count(&c->one, "PATCH ") > 0);
    assert_true(server_saw(c->one.server, "Content-Range: 0-33554431\r\n"));
}

/* ---- quirks ---- */

struct quirk {
    const char *name;
    struct uploads u;
    int code;
    unsigned sessions;
    uint64_t most; /* body bytes that the registry was sent; 0: the blob's size */
    /* On a machine so slow that 100 Continue takes a second the body is on its way before the refusal, and nobody can
     * say what arrived of it: then one session more is right. */
    bool may_begin_anew;
};

static void try_quirk(struct client *c, const struct quirk *q)
{
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct fake_thing *gone;
    char text[CB_DIGEST_TEXT_MAX];
    struct uploads *u = serve(c, &q->u);
    ours_make(&o, SIZE);
    int r = push(c, &o, NULL, NULL, &e);
    bool anew = q->may_begin_anew && u->sessions == q->sessions + 1;
    if (r != q->code || (r == 0 && !is_stored(c, &o)) || (u->sessions != q->sessions && !anew) ||
        u->received > (q->most ? q->most : SIZE) + (anew ? SIZE : 0))
        fail_msg("%s: %d \"%s\", %u sessions, %llu bytes", q->name, r, cb_error_text(&e), u->sessions,
                 (unsigned long long)u->received);
    if (r == 0 && q->u.min_chunk && u->smallest < q->u.min_chunk)
        fail_msg("%s: a chunk of %zu", q->name, u->smallest);
    /* The next one begins with nothing: neither this blob nor what was learnt of the host. */
    cb_autofree char *key = cb_asprintf("a/b/blobs/%s", cb_digest_text(&o.d.digest, text));
    pthread_mutex_lock(&c->one.mu);
    gone = cb_hashmap_remove(c->one.things, key);
    pthread_mutex_unlock(&c->one.mu);
    fake_thing_free(gone);
    client_close(c);
}

static void test_quirks(void **state)
{
    static const struct quirk t[] = {
        { "absolute Locations", { .absolute = true }, 0, 1, 0 },
        { "one Location for all", { .fixed_location = true }, 0, 1, 0 },
        { "201 to PATCH (ECR)", { .patch_status = 201, .fixed_location = true }, 0, 1, 0 },
        { "204 to PATCH", { .patch_status = 204, .fixed_location = true }, 0, 1, 0 },
        { "Range stuck (ECR)", { .range = RANGE_STUCK }, 0, 1, 0 },
        { "stuck, 201, no status (public ECR)",
          { .range = RANGE_STUCK, .patch_status = 201, .fixed_location = true, .status_refused = 404 },
          0, 1, 0 },
        { "no Range", { .range = RANGE_ABSENT }, 0, 1, 0 },
        { "Range 0-0 always", { .range = RANGE_ZERO }, 0, 1, 0 },
        { "Range beyond all numbers", { .range = RANGE_LONG }, 0, 1, 0 },
        { "Range says less, and it is", { .range = RANGE_LESS_ONCE, .takes_less = true }, 0, 1, SIZE + CHUNK },
        { "Range says less, and it is not", { .range = RANGE_LESS_ONCE }, 0, 1, 0 },
        { "Range says more than was sent", { .range = RANGE_MORE }, 0, 1, 0 },
        { "404 to PATCH", { .no_patch = 404 }, 0, 2, 0 },
        { "405 to PATCH", { .no_patch = 405 }, 0, 2, 0 },
        { "403 to PATCH", { .no_patch = 403 }, -CB_EAUTH, 1, 0 },
        { "413 to large ones", { .max_body = 100000, .max_status = 413 }, 0, 1, 0 },
        { "416 to large ones (GHCR)",
          { .max_body = 100000, .max_status = 416, .max_words = "exceeds the maximum permissible limit of 4.00MiB" },
          0, 1, 0 },
        { "413 to all", { .max_body = 10, .max_status = 413 }, -CB_ENET, 1, 0 },
        { "OCI-Chunk-Min-Length", { .min_chunk = 600000 }, 0, 1, 0 },
        { "OCI-Chunk-Min-Length above the limit",
          { .min_chunk = 300000, .max_body = 200000, .max_status = 413 },
          -CB_ENET, 1, 0 },
        { "wants chunks, knows none", { .max_put = 1000, .no_patch = 405 }, -CB_ENET, 2, 0 },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++)
        try_quirk(*state, &t[i]);
}

/* ---- faults ---- */

static void test_faults(void **state)
{
    static const struct quirk t[] = {
        { "reset at once", { .fault = "reset", .fault_at = 3, .fault_times = 1 }, 0, 1, SIZE },
        { "reset after a byte", { .fault = "reset", .fault_at = 3, .fault_times = 1, .fault_byte = 1 }, 0, 1, SIZE },
        { "reset in mid-chunk",
          { .fault = "reset", .fault_at = 3, .fault_times = 1, .fault_byte = CHUNK / 2 },
          0, 1, SIZE },
        { "reset in the first chunk",
          { .fault = "reset", .fault_at = 1, .fault_times = 1, .fault_byte = CHUNK / 2 },
          0, 1, SIZE },
        { "reset after the first byte of all",
          { .fault = "reset", .fault_at = 1, .fault_times = 1, .fault_byte = 1 },
          0, 2, SIZE + 1 },
        { "reset, nothing kept",
          { .fault = "dropped", .fault_at = 3, .fault_times = 1, .fault_byte = CHUNK },
          0, 1, SIZE + CHUNK },
        { "three resets in a row",
          { .fault = "reset", .fault_at = 2, .fault_times = 3, .fault_byte = CHUNK / 2 },
          0, 1, SIZE },
        { "the answer is lost", { .fault = "lost", .fault_at = 2, .fault_times = 1 }, 0, 1, SIZE },
        { "reset, and no status: nobody knows how far it is",
          { .fault = "reset", .fault_at = 3, .fault_times = 1, .fault_byte = 5, .status_refused = 405 },
          0, 2, 2 * SIZE },
        { "reset, and the session is lost with it (Distribution)",
          { .fault = "reset", .fault_at = 3, .fault_times = 1, .fault_byte = 5, .strict = true },
          0, 2, 2 * CHUNK + 5 + SIZE },
        { "the session is gone", { .fault = "gone", .fault_at = 4, .fault_times = 1 }, 0, 2, 3 * CHUNK + SIZE },
        { "gone 3 times", { .fault = "gone", .fault_at = 2, .fault_times = 3 }, 0, 4, CHUNK + SIZE },
        { "gone 4 times", { .fault = "gone", .fault_at = 2, .fault_times = 4 }, -CB_ENOTFOUND, 4, CHUNK },
        { "410", { .fault = "410", .fault_at = 4, .fault_times = 1 }, 0, 2, 3 * CHUNK + SIZE },
        { "500", { .fault = "500", .fault_at = 2, .fault_times = 1 }, 0, 1, SIZE },
        { "503 without a status",
          { .fault = "503", .fault_at = 2, .fault_times = 1, .status_refused = 404 },
          0, 1, SIZE, .may_begin_anew = true },
        { "500 after the whole chunk", { .fault = "late", .fault_at = 2, .fault_times = 1 }, 0, 1, SIZE + CHUNK },
        { "429", { .fault = "429", .fault_at = 2, .fault_times = 1 }, 0, 1, SIZE },
        { "416, though it is right", { .fault = "416", .fault_at = 2, .fault_times = 1 }, 0, 1, SIZE },
        { "403", { .fault = "403", .fault_at = 2, .fault_times = 1 }, -CB_EAUTH, 1, 0 },
        { "400", { .fault = "400", .fault_at = 2, .fault_times = 1 }, -CB_ENET, 1, 0 },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++)
        try_quirk(*state, &t[i]);
}

/* A source that cannot go back is opened once more and read up to where it has to go on. */
static void test_forward_source(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { .seekless = true };
    serve(c, &(struct uploads){ .fault = "dropped", .fault_at = 3, .fault_times = 1, .fault_byte = CHUNK });
    ours_make(&o, SIZE);
    assert_int_equal(push(c, &o, NULL, NULL, NULL), 0);
    assert_true(is_stored(c, &o));
    assert_int_equal(atomic_load(&o.opened), 2);
}

/* From another registry: what the target has is not asked for again. */
static void test_remote_source(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_push_result res = { 0 };
    serve(c, &(struct uploads){ .fault = "reset", .fault_at = 3, .fault_times = 1, .fault_byte = CHUNK / 2 + 1000 });
    ours_make(&o, SIZE);
    fake_put_blob(&c->two, "src", o.body, SIZE, &d);
    assert_int_equal(push(c, &o, c->two.host, &res, NULL), 0);
    assert_int_equal(res.outcome, CB_BLOB_COPIED);
    assert_true(is_stored(c, &o));
    assert_true(server_saw(c->two.server, "Range: bytes=656360-\r\n"));
    assert_int_equal(fake_count(&c->two, "GET /v2/src/blobs/"), 2);
}

static bool wrong_blob(struct fake *f, struct server_request *r, bool *keep)
{
    struct ours *o = f->arg;
    if (strcmp(r->method, "GET") || !strstr(r->path, "/blobs/"))
        return false;
    cb_autofree char *copy = cb_memdup(o->body, o->d.size + 1);
    copy[SIZE - 5] ^= 1;
    *keep = server_reply(r, 200, "", copy);
    return true;
}

/* Wrong bytes never make a whole blob over there: its end is not sent, and no PUT. */
static void test_wrong_source(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    serve(c, NULL);
    ours_make(&o, SIZE);
    c->two.hook = wrong_blob;
    c->two.arg = &o;
    assert_int_equal(push(c, &o, c->two.host, NULL, &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), "has digest"));
    assert_int_equal(fake_count(&c->one, "PUT "), 0);
    assert_int_equal(fake_count(&c->two, "GET /v2/src/blobs/"), 2); /* fresh once more */
}

/* ---- tokens ---- */

static void test_token_expires(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.auth = "token";
    c->one.pair = "dTpw";
    client_config(c, c->one.host, "u:p");
    struct uploads *u = serve(c, &(struct uploads){ .fault = "expire", .fault_at = 3, .fault_times = 1 });
    ours_make(&o, SIZE);
    if (push(c, &o, NULL, NULL, &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_true(is_stored(c, &o));
    assert_int_equal(u->sessions, 1);
    assert_true(u->received <= SIZE);
    assert_int_equal(fake_count(&c->one, "GET /token"), 2);
}

/* A new token that is refused as well is the end, and the scope is named. */
static void test_token_refused(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.auth = "token";
    struct uploads *u = serve(c, &(struct uploads){ .fault = "401", .fault_at = 3, .fault_times = 9 });
    ours_make(&o, SIZE);
    assert_int_equal(push(c, &o, NULL, NULL, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "repository:a/b:pull,push"));
    assert_int_equal(u->chunks, 4);
}

/* ---- the journal ---- */

struct journal {
    char *location;
    uint64_t offset;
    unsigned taken, notes, closed;
    bool busy, broken, done;
};

static int journal_take(void *arg, const struct cb_upload_id *id, struct cb_upload_taken *out, struct cb_error *err)
{
    struct journal *j = arg;
    assert_string_equal(id->repo, "a/b");
    assert_true(cb_starts_with(id->host, "127.0.0.1:"));
    if (j->broken)
        return cb_error_set(err, CB_ELOCAL, "no room");
    j->taken++;
    if (!j->busy)
        *out = (struct cb_upload_taken){ j, j->location ? cb_strdup(j->location) : NULL, j->offset };
    return 0;
}

static int journal_note(void *entry, const char *location, uint64_t offset, struct cb_error *err)
{
    struct journal *j = entry;
    (void)err;
    free(j->location);
    j->location = location ? cb_strdup(location) : NULL;
    j->offset = offset;
    j->notes++;
    return 0;
}

static void journal_close(void *entry, bool done)
{
    struct journal *j = entry;
    j->closed++;
    j->done = done;
}

/* A push that ends after three chunks, and what it leaves. */
static struct uploads *leave(struct client *c, struct cb_upload_journal *ops, struct ours *o)
{
    struct journal *j = ops->arg;
    struct uploads *u = serve(c, NULL);
    c->r->o.journal = ops;
    ours_make(o, SIZE);
    u->fault = "403";
    u->fault_at = 4;
    u->fault_times = 1;
    assert_int_equal(push(c, o, NULL, NULL, NULL), -CB_EAUTH);
    assert_int_equal(j->taken, 1);
    assert_int_equal(j->closed, 1);
    assert_false(j->done);
    assert_int_equal(j->offset, 3 * CHUNK);
    client_close(c);
    client_open(c, NULL, NULL);
    c->r->o.chunk_size = CHUNK;
    c->r->o.journal = ops;
    return u;
}

#define JOURNAL(j) { .take = journal_take, .note = journal_note, .close = journal_close, .arg = (j) }

static void test_journal_goes_on(void **state)
{
    struct client *c = *state;
    struct journal j = { 0 };
    struct cb_upload_journal ops = JOURNAL(&j);
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_push_result res = { 0 };
    struct uploads *u = leave(c, &ops, &o);
    assert_int_equal(push(c, &o, NULL, &res, NULL), 0);
    assert_true(is_stored(c, &o));
    assert_int_equal(res.sent, SIZE - 3 * CHUNK);
    assert_int_equal(u->sessions, 1);
    assert_true(j.done);
    assert_int_equal(j.closed, 2);
    free(j.location);
}

/* Half a chunk more than was noted is there: the registry's word counts. */
static void test_journal_is_behind(void **state)
{
    struct client *c = *state;
    struct journal j = { 0 };
    struct cb_upload_journal ops = JOURNAL(&j);
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_push_result res = { 0 };
    struct uploads *u = leave(c, &ops, &o);
    cb_strbuf_add(&u->data, o.body + u->data.len, CHUNK / 2);
    assert_int_equal(push(c, &o, NULL, &res, NULL), 0);
    assert_true(is_stored(c, &o));
    assert_int_equal(res.sent, SIZE - 3 * CHUNK - CHUNK / 2);
    free(j.location);
}

/* Gone, or of wrong bytes, or elsewhere: the blob goes from its beginning, and our credentials nowhere. */
static void test_journal_is_wrong(void **state)
{
    struct client *c = *state;
    for (unsigned i = 0; i < 4; i++) {
        struct journal j = { 0 };
        struct cb_upload_journal ops = JOURNAL(&j);
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        char text[CB_DIGEST_TEXT_MAX];
        struct uploads *u = leave(c, &ops, &o);
        if (i == 0)
            u->open = false;
        if (i == 1)
            u->data.buf[7] ^= 1;
        if (i >= 2)
            free(CB_TAKE(j.location));
        if (i == 2)
            j.location = cb_asprintf("http://%s/v2/a/b/session/1", c->two.host);
        if (i == 3)
            j.location = cb_asprintf("https://%s/v2/a/b/session/1", c->two.host);
        if (push(c, &o, NULL, NULL, &e) < 0)
            fail_msg("%u: %s", i, cb_error_text(&e));
        assert_true(is_stored(c, &o));
        assert_int_equal(u->sessions, 2);
        assert_true(j.done);
        free(j.location);
        cb_autofree char *key = cb_asprintf("a/b/blobs/%s", cb_digest_text(&o.d.digest, text));
        fake_thing_free(cb_hashmap_remove(c->one.things, key));
        client_close(c);
    }
    assert_int_equal(atomic_load(&c->two.server->connections), 0);
}

/* Somebody else is at it, or the disk is full: an upload like any other. */
static void test_journal_is_not_ours(void **state)
{
    struct client *c = *state;
    struct journal j = { .location = (char *)(uintptr_t) "http://127.0.0.1:1/", .offset = 5 };
    struct cb_upload_journal ops = JOURNAL(&j);
    serve(c, NULL);
    c->r->o.journal = &ops;
    for (unsigned i = 0; i < 2; i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        ours_make(&o, SIZE + i);
        j.busy = i == 0;
        j.broken = i == 1;
        assert_int_equal(push(c, &o, NULL, NULL, NULL), 0);
        assert_true(is_stored(c, &o));
    }
    assert_int_equal(j.notes, 0);
    assert_int_equal(j.closed, 0);
}

/* ---- what is learnt of a host ---- */

static void test_size_is_remembered(void **state)
{
    struct client *c = *state;
    struct uploads *u = serve(c, &(struct uploads){ .max_put = 2 * CHUNK, .max_body = 100000, .max_status = 413 });
    c->r->o.chunk_size = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct ours CB_CLEANUP(ours_done) o = { 0 };
        ours_make(&o, SIZE + i);
        assert_int_equal(push(c, &o, NULL, NULL, NULL), 0);
        assert_true(is_stored(c, &o));
        assert_int_equal(u->sessions, i ? 3 : 2); /* the second blob is not tried whole */
        assert_true(u->largest <= 100000);
        if (i == 0)
            u->chunks = 0;
    }
    assert_int_equal(u->chunks, (SIZE + u->largest) / u->largest); /* nor in chunks that are too large */
}

static void test_small_chunks_grow(void **state)
{
    (void)state;
    struct reg_host h = { .name = (char *)(uintptr_t) "h", .mu = PTHREAD_MUTEX_INITIALIZER };
    struct cb_registry r = { 0 };
    struct cb_push p = { .r = &r, .e = { .h = &h } };
    struct push_blob b = { .p = &p };
    struct upload u = { .b = &b };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    uint64_t n;
    for (n = upload_chunk_size(&u); n < 1024 * MIB; n = upload_chunk_size(&u))
        upload_chunk_taken(&u, n, 1);
    upload_chunk_taken(&u, n, 1);
    assert_int_equal(upload_chunk_size(&u), 1024 * MIB);
    upload_chunk_taken(&u, n, INT64_C(10000000000));
    assert_int_equal(upload_chunk_size(&u), 1024 * MIB);
    while ((n = upload_chunk_size(&u)) > 32 * MIB)
        upload_chunk_taken(&u, n, INT64_C(20000000000)); /* the line has become slow */
    upload_chunk_taken(&u, n, INT64_C(20000000000));
    assert_int_equal(upload_chunk_size(&u), 32 * MIB);
    assert_int_equal(upload_chunk_refused(&u, 100 * MIB, NULL), 0);
    assert_int_equal(upload_chunk_size(&u), 50 * MIB);
    upload_chunk_taken(&u, 50 * MIB, 1);
    assert_int_equal(upload_chunk_size(&u), 50 * MIB); /* twice that was refused */
    assert_int_equal(upload_chunk_refused(&u, 7 * MIB + 1, NULL), 0);
    upload_chunk_taken(&u, 7 * MIB / 2, 1);
    assert_int_equal(upload_chunk_size(&u), 7 * MIB / 2); /* but for a byte */
    assert_int_equal(upload_chunk_refused(&u, 5 * MIB, NULL), 0);
    upload_chunk_taken(&u, upload_chunk_size(&u), INT64_C(3000000000)); /* slow: not more at once */
    assert_int_equal(upload_chunk_size(&u), 5 * MIB / 2);
    u.at.chunk_min = 4 * MIB;
    assert_int_equal(upload_chunk_size(&u), 4 * MIB);
    assert_int_equal(upload_chunk_refused(&u, 4 * MIB, &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "wants none that is smaller"));
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range),
        CLIENT_TEST(test_small_ones_go_whole),
        CLIENT_TEST(test_large_ones_go_in_chunks),
        CLIENT_TEST(test_default_threshold),
        CLIENT_TEST(test_quirks),
        CLIENT_TEST(test_faults),
        CLIENT_TEST(test_forward_source),
        CLIENT_TEST(test_remote_source),
        CLIENT_TEST(test_wrong_source),
        CLIENT_TEST(test_token_expires),
        CLIENT_TEST(test_token_refused),
        CLIENT_TEST(test_journal_goes_on),
        CLIENT_TEST(test_journal_is_behind),
        CLIENT_TEST(test_journal_is_wrong),
        CLIENT_TEST(test_journal_is_not_ours),
        CLIENT_TEST(test_size_is_remembered),
        cmocka_unit_test(test_small_chunks_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

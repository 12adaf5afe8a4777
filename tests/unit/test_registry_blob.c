/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs that break off, lie or move; and images as a whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_registry.h"
#include "oci/mediatype.h"
#include "util/limits.h"

#define SIZE 300000u

static char *pattern(size_t n)
{
    char *s = cb_malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        s[i] = (char)('a' + (i * 7 + (i >> 9)) % 26);
    s[n] = '\0';
    return s;
}

/* Reads a blob whole; it must be the pattern where that succeeds. */
static int fetch(struct client *c, const char *host, const struct cb_descriptor *d, struct cb_error *e)
{
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *want = pattern(d->size);
    int r = cb_registry_blob(c->r, host, "a/b", d, &src, e);
    if (r == 0)
        r = cb_blob_read_all(src, 128u << 20, &got, e);
    if (r == 0) {
        assert_int_equal(got.len, d->size);
        assert_memory_equal(got.buf, want, got.len);
    }
    return r;
}

static void put_pattern(struct fake *f, const char *repo, size_t n, struct cb_descriptor *d)
{
    cb_autofree char *body = pattern(n);
    fake_put_blob(f, repo, body, n, d);
}

/* ---- one place ---- */

struct fault {
    const char *kind;
    size_t at;
    unsigned times;
};

static const struct fake_thing *the_blob(struct fake *f, const struct server_request *r)
{
    return strcmp(r->method, "GET") || !strstr(r->path, "/blobs/") ? NULL : fake_get(f, r->path + 4);
}

static bool send_part(struct server_request *r, const struct fake_thing *t, size_t from, size_t to)
{
    cb_autofree char *range =
        from ? cb_asprintf("Content-Range: bytes %zu-%zu/%zu\r\n", from, t->body.len - 1, t->body.len)
             : cb_strdup("");
    cb_autofree char *head = cb_asprintf("HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", from ? "206 P" : "200 OK",
                                         range, t->body.len - from);
    return server_puts(r, head) && server_send(r, t->body.buf + from, to - from);
}

static bool misbehave(struct fake *f, struct server_request *r, bool *keep)
{
    const struct fault *x = f->arg;
    const struct fake_thing *t = the_blob(f, r);
    cb_autofree char *range = server_header(r, "Range");
    size_t from = range ? strtoul(range + 6, NULL, 10) : 0;
    if (!t || (atomic_load(&f->hits) >= x->times && x->times))
        return false;
    atomic_fetch_add(&f->hits, 1);
    *keep = false;
    if (!strcmp(x->kind, "reset") || !strcmp(x->kind, "close")) {
        send_part(r, t, from, CB_MIN(from + x->at, t->body.len));
        if (*x->kind == 'r')
            server_reset(r);
    } else if (!strcmp(x->kind, "no-range")) { /* breaks off once, and then knows no ranges */
        if (atomic_load(&f->hits) == 1)
            send_part(r, t, 0, x->at);
        else
            send_part(r, t, 0, t->body.len);
    } else if (!strcmp(x->kind, "wrong-range") || !strcmp(x->kind, "416")) {
        if (!range)
            send_part(r, t, 0, atomic_load(&f->hits) == 1 ? x->at : t->body.len);
        else if (*x->kind == '4')
            server_reply(r, 416, "", "");
        else
            server_reply(r, 206, "Content-Range: bytes 0-9/10\r\n", "0123456789");
    } else if (!strcmp(x->kind, "wrong-byte")) {
        cb_autofree char *copy = cb_memdup(t->body.buf, t->body.len + 1);
        copy[x->at] ^= 1;
        *keep = server_reply(r, 200, "", copy);
    } else if (!strcmp(x->kind, "longer")) {
        cb_autofree char *copy = cb_asprintf("%sx", t->body.buf);
        *keep = server_reply(r, 200, "", copy);
    } else if (!strcmp(x->kind, "endless")) {
        server_puts(r, "HTTP/1.1 200 OK\r\n\r\n");
        while (server_send(r, t->body.buf, t->body.len))
            continue;
    } else if (!strcmp(x->kind, "shorter")) {
        cb_autofree char *copy = cb_strndup(t->body.buf, x->at);
        *keep = server_reply(r, 200, "", copy);
    } else if (!strcmp(x->kind, "wrong-length")) { /* right bytes, no length at all */
        server_puts(r, "HTTP/1.1 200 OK\r\n\r\n");
        server_send(r, t->body.buf, t->body.len);
    } else {
        abort();
    }
    return true;
}

static void test_faults(void **state)
{
    struct client *c = *state;
    static const struct {
        struct fault fault;
        int code;
        unsigned most;
    } t[] = {
        { { "reset", 0, 1 }, 0, 2 },
        { { "reset", 1, 1 }, 0, 2 },
        { { "close", 4096, 1 }, 0, 2 },
        { { "close", SIZE / 2, 1 }, 0, 2 },
        { { "close", SIZE - 1, 1 }, 0, 2 },
        { { "close", SIZE / 4, 3 }, 0, 4 },
        { { "close", SIZE, 1 }, 0, 1 },
        { { "no-range", SIZE / 2, 0 }, 0, 2 },
        { { "wrong-range", SIZE / 2, 0 }, 0, 3 },
        { { "416", SIZE / 2, 0 }, 0, 3 },
        { { "wrong-length", 0, 0 }, 0, 1 },
        { { "wrong-byte", 0, 0 }, -CB_EVERIFY, 1 },
        { { "wrong-byte", SIZE - 1, 0 }, -CB_EVERIFY, 1 },
        { { "longer", 0, 0 }, -CB_EVERIFY, 1 },
        { { "endless", 0, 0 }, -CB_EVERIFY, 1 },
        { { "close", 100, 0 }, -CB_ENET, 12 },
        { { "shorter", SIZE / 2, 0 }, -CB_ENET, 7 },
    };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    client_open(c, NULL, NULL);
    put_pattern(&c->one, "a/b", SIZE, &d);
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        c->one.hook = misbehave;
        c->one.arg = (void *)(uintptr_t)&t[i].fault;
        atomic_store(&c->one.hits, 0);
        unsigned before = fake_count(&c->one, "GET /v2/a/b/blobs/");
        int r = fetch(c, c->one.host, &d, &e);
        unsigned asked = fake_count(&c->one, "GET /v2/a/b/blobs/") - before;
        if (r != t[i].code || asked > t[i].most)
            fail_msg("%s at %zu: %d \"%s\", %u requests", t[i].fault.kind, t[i].fault.at, r, cb_error_text(&e),
                     asked);
    }
}

/* What was there already is not asked for again. */
static void test_range(void **state)
{
    struct client *c = *state;
    static const struct fault half = { "close", SIZE / 2, 1 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    client_open(c, NULL, NULL);
    put_pattern(&c->one, "a/b", SIZE, &d);
    c->one.hook = misbehave;
    c->one.arg = (void *)(uintptr_t)&half;
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
    assert_true(server_saw(c->one.server, "Range: bytes=150000-\r\n"));
}

static void test_sizes(void **state)
{
    struct client *c = *state;
    static const size_t sizes[] = { 0, 1, 4096, 65536, 3u << 20 };
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(sizes); i++) {
        struct cb_descriptor d cb_cleanup_descriptor = { 0 };
        put_pattern(&c->one, "a/b", sizes[i], &d);
        assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
    }
}

static void test_missing(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    client_open(c, NULL, NULL);
    cb_descriptor_of(&d, CB_MT_OCI_LAYER_GZIP, "x", 1);
    assert_int_equal(fetch(c, c->one.host, &d, &e), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&e), "blob sha256:2d711642b726 of "));
    assert_non_null(strstr(cb_error_text(&e), "/a/b: status 404: BLOB_UNKNOWN"));
    assert_int_equal(e.http_status, 404);
}

/* A token that is too old by the time that the connection has to be resumed. */
static void test_token_expires(void **state)
{
    struct client *c = *state;
    static const struct fault some = { "close", SIZE / 4, 2 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    c->one.auth = "token";
    c->one.pair = "dTpw";
    client_open(c, NULL, "u:p");
    put_pattern(&c->one, "a/b", SIZE, &d);
    c->one.hook = misbehave;
    c->one.arg = (void *)(uintptr_t)&some;
    c->one.uses = 1;
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
}

/* ---- a part of one ---- */

struct part_fault {
    const char *kind;
    atomic_int outcome; /* 0: not yet; 1: all was taken; -1: it was not */
};

static bool serve_part(struct fake *f, struct server_request *r, bool *keep)
{
    struct part_fault *x = f->arg;
    const struct fake_thing *t = the_blob(f, r);
    cb_autofree char *range = server_header(r, "Range");
    if (!t || !range)
        return false;
    size_t from = strtoul(range + 6, NULL, 10), to = strtoul(strchr(range, '-') + 1, NULL, 10) + 1;
    bool ignores = !strcmp(x->kind, "ignores");
    cb_autofree char *head = ignores ? cb_asprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", t->body.len)
                                     : cb_asprintf("HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                                                   "Content-Length: %zu\r\n\r\n", from, to - 1, t->body.len, to - from);
    *keep = false;
    bool taken = server_puts(r, head) &&
                 server_send(r, t->body.buf + (ignores ? 0 : from), ignores ? t->body.len : to - from);
    atomic_store(&x->outcome, taken ? 1 : -1);
    return true;
}

/* Who ignores ranges is not read to the end for a piece; where the bytes are past the end nobody is asked. */
static void test_part(void **state)
{
    struct client *c = *state;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct part_fault x = { .kind = "knows" };
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t size = 64u << 20;
    cb_autofree char *want = pattern(size);
    client_open(c, NULL, NULL);
    put_pattern(&c->one, "a/b", size, &d);
    c->one.hook = serve_part;
    c->one.arg = &x;
    struct cb_blob_part part = { c->one.host, "a/b", &d, 12345678, 4321 };
    assert_int_equal(cb_registry_blob_part(c->r, &part, &got, NULL), 0);
    assert_int_equal(got.len, 4321);
    assert_memory_equal(got.buf, want + 12345678, 4321);
    while (!atomic_load(&x.outcome)) /* the server tells of the first one when we have it already */
        usleep(1000);
    x.kind = "ignores";
    atomic_store(&x.outcome, 0);
    assert_int_equal(cb_registry_blob_part(c->r, &part, &got, NULL), -CB_EVERIFY);
    while (!atomic_load(&x.outcome))
        usleep(1000);
    assert_int_equal(atomic_load(&x.outcome), -1);
    part.from = size - 4320;
    assert_int_equal(cb_registry_blob_part(c->r, &part, &got, NULL), -CB_EINTERNAL);
}

/* ---- large ones, in ranges ---- */

static char *mirror_conf(const struct client *c)
{
    return cb_asprintf(
        "[[registry]]\nprefix = \"%s\"\n[[registry.mirror]]\nlocation = \"%s\"\npull-from-mirror = \"tag-only\"\n",
        c->one.host, c->two.host);
}


#define LARGE ((64u << 20) + 12345)

struct ranges_fault {
    const char *kind;
    atomic_uint asked, parts, whole;
    size_t at; /* of the blob */
};

static bool send_range(struct server_request *r, const struct fake_thing *t, size_t from, size_t to, size_t part)
{
    cb_autofree char *head =
        cb_asprintf("HTTP/1.1 206 P\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n\r\n", from, to - 1,
                    t->body.len, to - from);
    return server_puts(r, head) && server_send(r, t->body.buf + from, CB_MIN(to - from, part)) && part >= to - from;
}

static bool serve_ranges(struct fake *f, struct server_request *r, bool *keep)
{
    struct ranges_fault *x = f->arg;
    const struct fake_thing *t = the_blob(f, r);
    cb_autofree char *range = server_header(r, "Range");
    if (!t)
        return false;
    if (!range) {
        cb_autofree char *head = cb_asprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n",
                                             *x->kind == 'n' ? "" : "Accept-Ranges: bytes\r\n", t->body.len);
        atomic_fetch_add(&x->whole, 1);
        *keep = server_puts(r, head) && server_send(r, t->body.buf, t->body.len);
        return true;
    }
    char *dash = strchr(range, '-');
    size_t from = strtoul(range + 6, NULL, 10), to = dash[1] ? strtoul(dash + 1, NULL, 10) + 1 : t->body.len;
    atomic_fetch_add(dash[1] ? &x->parts : &x->asked, 1);
    bool hit = x->at && from <= x->at && x->at < to;
    if (hit && !strcmp(x->kind, "once") && atomic_fetch_add(&f->hits, 1) == 0)
        *keep = send_range(r, t, from, to, x->at - from) && false;
    else if (hit && !strcmp(x->kind, "forgets ranges"))
        *keep = fake_send_from(r, t, 0);
    else if (hit && !strcmp(x->kind, "gone"))
        *keep = fake_error(r, 404, "BLOB_UNKNOWN");
    else if (hit && !strcmp(x->kind, "lies"))
        *keep = !send_range(r, t, from, to, x->at - from) && server_puts(r, "?") &&
                server_send(r, t->body.buf + x->at + 1, to - x->at - 1);
    else
        *keep = send_range(r, t, from, to, to - from);
    return true;
}

static void test_ranges(void **state)
{
    struct client *c = *state;
    static const struct {
        const char *kind;
        size_t at;
        int code;
        int gain;
        unsigned parts, asked; /* ranges of parts, at least; of all that is left, at most */
    } t[] = {
        { "", 0, 0, -100, 4, 0 },
        { "no ranges", 0, 0, -100, 0, 0 },
        { "", 0, 0, 1000000000, 2, 1 }, /* they are not faster: one goes on */
        { "once", 30u << 20, 0, -100, 4, 1 },
        { "once", LARGE - 1, 0, -100, 4, 1 },
        { "forgets ranges", 40u << 20, 0, -100, 3, 9 },
        { "gone", 40u << 20, -CB_ENOTFOUND, -100, 3, 1 },
    };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    client_open(c, NULL, NULL);
    put_pattern(&c->one, "a/b", LARGE, &d);
    c->one.hook = serve_ranges;
    c->r->known->ranges.trial_ns = 1;
    c->r->known->ranges.waits = 0;
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct ranges_fault x = { .kind = t[i].kind, .at = t[i].at };
        c->one.arg = &x;
        c->r->known->ranges.gain = t[i].gain;
        atomic_store(&c->one.hits, 0);
        int r = fetch(c, c->one.host, &d, &e);
        unsigned parts = atomic_load(&x.parts), asked = atomic_load(&x.asked);
        if (r != t[i].code || parts < t[i].parts || asked > t[i].asked)
            fail_msg("%zu, %s: %d \"%s\", %u parts, %u rests, %u whole", i, t[i].kind, r, cb_error_text(&e), parts,
                     asked, atomic_load(&x.whole));
        assert_int_equal(c->r->known->ranges.buffers, 0);
    }
}

/* The mirror goes away in the middle: all ranges that are left come from the registry itself. */
static void test_ranges_mirror_dies(void **state)
{
    struct client *c = *state;
    struct ranges_fault here = { .kind = "" }, there = { .kind = "gone", .at = 30u << 20 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *conf = mirror_conf(c);
    client_open(c, conf, NULL);
    put_pattern(&c->one, "a/b", LARGE, &d);
    put_pattern(&c->two, "a/b", LARGE, &d);
    c->one.hook = c->two.hook = serve_ranges;
    c->one.arg = &here;
    c->two.arg = &there;
    c->r->known->ranges.trial_ns = 1;
    c->r->known->ranges.gain = -100;
    c->r->known->ranges.waits = 0;
    if (fetch(c, c->one.host, &d, &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_true(atomic_load(&here.parts) >= 1);
    assert_true(atomic_load(&there.parts) >= 2);
}

/* Wrong bytes are put down to who sent them, here a mirror: it is asked last from then on. */
static void test_ranges_lie(void **state)
{
    struct client *c = *state;
    struct ranges_fault here = { .kind = "" }, there = { .kind = "lies", .at = 30u << 20 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *conf = mirror_conf(c);
    client_open(c, conf, NULL);
    put_pattern(&c->one, "a/b", LARGE, &d);
    put_pattern(&c->two, "a/b", LARGE, &d);
    c->one.hook = c->two.hook = serve_ranges;
    c->one.arg = &here;
    c->two.arg = &there;
    c->r->known->ranges.trial_ns = 1;
    c->r->known->ranges.gain = -100;
    c->r->known->ranges.waits = 0;
    assert_int_equal(fetch(c, c->one.host, &d, &e), -CB_EVERIFY);
    assert_true(cb_starts_with(cb_error_text(&e), c->two.host));
    assert_int_equal(atomic_load(&here.parts) + atomic_load(&here.whole), 0);
    assert_true(cb_registry_blob_again(c->r, &d.digest));
    assert_false(cb_registry_blob_again(c->r, &d.digest));
    unsigned before = atomic_load(&there.parts) + atomic_load(&there.whole);
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
    assert_int_equal(atomic_load(&there.parts) + atomic_load(&there.whole), before);
    /* Where nobody is left who does not, one of them is asked once more, and that is all. */
    here.kind = "lies";
    here.at = 20u << 20;
    assert_int_equal(fetch(c, c->one.host, &d, NULL), -CB_EVERIFY);
    assert_true(cb_registry_blob_again(c->r, &d.digest));
    assert_int_equal(fetch(c, c->one.host, &d, NULL), -CB_EVERIFY);
    assert_false(cb_registry_blob_again(c->r, &d.digest));
}

/* A mirror that breaks off and a registry that lies: which of them is at fault shows when the mirror is asked alone. */
static void test_ranges_mixed(void **state)
{
    struct client *c = *state;
    struct ranges_fault here = { .kind = "lies", .at = 60u << 20 }, there = { .kind = "gone", .at = 30u << 20 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *conf = mirror_conf(c);
    client_open(c, conf, NULL);
    put_pattern(&c->one, "a/b", LARGE, &d);
    put_pattern(&c->two, "a/b", LARGE, &d);
    c->one.hook = c->two.hook = serve_ranges;
    c->one.arg = &here;
    c->two.arg = &there;
    c->r->known->ranges.trial_ns = 1;
    c->r->known->ranges.gain = -100;
    c->r->known->ranges.waits = 0;
    assert_int_equal(fetch(c, c->one.host, &d, &e), -CB_EVERIFY);
    cb_autofree char *both = cb_asprintf("%s and %s: ", c->two.host, c->one.host);
    assert_true(cb_starts_with(cb_error_text(&e), both));
    there.kind = "";
    for (int i = 0; i < 2; i++) {
        assert_true(cb_registry_blob_again(c->r, &d.digest));
        assert_int_equal(fetch(c, c->one.host, &d, NULL), i ? 0 : -CB_EVERIFY);
    }
}

/* Read in part and dropped; and many at once share the buffers there are. */
static void test_ranges_are_bounded(void **state)
{
    struct client *c = *state;
    struct ranges_fault x = { .kind = "" };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_blob_source *src[4];
    cb_autofree char *buf = cb_malloc(12u << 20);
    size_t got;
    client_open(c, NULL, NULL);
    put_pattern(&c->one, "a/b", LARGE, &d);
    c->one.hook = serve_ranges;
    c->one.arg = &x;
    c->r->known->ranges.trial_ns = 1;
    c->r->known->ranges.gain = -100;
    c->r->known->ranges.waits = 0;
    for (size_t i = 0; i < CB_COUNTOF(src); i++) {
        assert_int_equal(cb_registry_blob(c->r, c->one.host, "a/b", &d, &src[i], NULL), 0);
        assert_int_equal(cb_blob_read_full(src[i], buf, 12u << 20, &got, NULL), 0);
        assert_int_equal(got, 12u << 20);
    }
    assert_int_equal(c->r->known->ranges.buffers, 8);
    for (size_t i = 0; i < CB_COUNTOF(src); i++)
        src[i]->ops->close(src[i]);
    assert_int_equal(c->r->known->ranges.buffers, 0);
}

/* ---- elsewhere ---- */

static bool redirect(struct fake *f, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/blobs/") || !server_saw(f->server, "Authorization: Bearer"))
        return false;
    cb_autofree char *line =
        cb_asprintf("Location: http://%s%s?X-Amz-Signature=canary-sig\r\n", ((struct fake *)f->arg)->host, r->path);
    *keep = server_reply(r, 307, line, "");
    return true;
}

static bool strip_query(struct fake *f, struct server_request *r, bool *keep)
{
    char *q = strchr(r->path, '?');
    (void)f;
    (void)keep;
    if (q)
        *q = '\0';
    return false;
}

static void test_redirect(void **state)
{
    struct client *c = *state;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    c->one.auth = "token";
    c->one.pair = "dTpw";
    c->one.hook = redirect;
    c->one.arg = &c->two;
    c->two.hook = strip_query;
    client_config(c, c->one.host, "u:p");
    client_open(c, NULL, NULL);
    put_pattern(&c->two, "a/b", SIZE, &d);
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
    assert_int_equal(atomic_load(&c->two.server->requests), 1);
    assert_false(server_saw(c->two.server, "Authorization"));
    assert_null(strstr(c->notes.buf, "canary-sig"));
}

static void test_mirror(void **state)
{
    struct client *c = *state;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autofree char *conf = mirror_conf(c);
    client_open(c, conf, NULL);
    put_pattern(&c->one, "a/b", SIZE, &d);
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0); /* the mirror has it not */
    put_pattern(&c->two, "a/b", SIZE, &d);
    unsigned before = fake_count(&c->one, "GET /v2/a/b/blobs/");
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
    assert_int_equal(fake_count(&c->one, "GET /v2/a/b/blobs/"), before);
}

/* The mirror goes away in the middle: the registry itself gives the rest. */
static bool half_then_gone(struct fake *f, struct server_request *r, bool *keep)
{
    const struct fake_thing *t = the_blob(f, r);
    if (!t)
        return false;
    if (atomic_fetch_add(&f->hits, 1) == 0)
        *keep = send_part(r, t, 0, t->body.len / 2) && false;
    else
        *keep = fake_error(r, 404, "BLOB_UNKNOWN");
    return true;
}

static void test_mirror_dies(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autofree char *conf = mirror_conf(c);
    client_open(c, conf, NULL);
    put_pattern(&c->one, "a/b", SIZE, &d);
    put_pattern(&c->two, "a/b", SIZE, &d);
    c->two.hook = half_then_gone;
    assert_int_equal(fetch(c, c->one.host, &d, NULL), 0);
    assert_true(server_saw(c->one.server, "Range: bytes=150000-\r\n"));
    /* And where that cannot go on either, both are told of. */
    static const struct fault never = { "close", 0, 0 };
    atomic_store(&c->two.hits, 0);
    c->one.hook = misbehave;
    c->one.arg = (void *)(uintptr_t)&never;
    assert_true(fetch(c, c->one.host, &d, &e) < 0);
    assert_non_null(strstr(cb_error_text(&e), "before that"));
    assert_non_null(strstr(cb_error_text(&e), "BLOB_UNKNOWN"));
}

/* D1: a descriptor's own URLs are not fetched. */
static void test_foreign(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    client_open(c, NULL, NULL);
    cb_descriptor_of(&d, CB_MT_DOCKER_FOREIGN_GZIP, "x", 1);
    cb_autofree char *url = server_url(c->two.server, "/layer");
    cb_strvec_push(&d.urls, url);
    cb_strvec_push(&d.urls, "https://169.254.169.254/latest");
    assert_int_equal(fetch(c, c->one.host, &d, &e), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&e), "foreign layer"));
    /* With the user's word: never in clear, never private addresses. */
    struct cb_registry_options o = c->r->o;
    o.allow_foreign_urls = true;
    CB_AUTO(cb_registry_free) struct cb_registry *more = cb_registry_new(&o, NULL);
    cb_autosource struct cb_blob_source *src = NULL;
    assert_true(cb_registry_blob(more, c->one.host, "a/b", &d, &src, &e) < 0);
    assert_non_null(strstr(cb_error_text(&e), "private address"));
    assert_int_equal(atomic_load(&c->two.server->connections), 0);
}

static bool cancel_there(struct fake *f, struct server_request *r, bool *keep)
{
    const struct fake_thing *t = the_blob(f, r);
    if (!t)
        return false;
    send_part(r, t, 0, 1000);
    cb_cancel_trigger(f->arg, 0);
    char byte;
    *keep = server_recv(r, &byte, 1) == 1;
    return true;
}

static void test_cancel(void **state)
{
    struct client *c = *state;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    client_open(c, NULL, NULL);
    put_pattern(&c->one, "a/b", SIZE, &d);
    c->one.hook = cancel_there;
    c->one.arg = c->cancel;
    int64_t before = cb_time_monotonic();
    assert_int_equal(fetch(c, c->one.host, &d, NULL), -CB_ECANCELED);
    assert_true(cb_time_monotonic() - before < INT64_C(5000000000));
    assert_int_equal(reg_pause(c->r, NULL, INT64_C(60000000000), NULL), -CB_ECANCELED);
}

/* ---- images ---- */

#define CONFIG                                                                                                       \
    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"x\"]},\"rootfs\":{\"type\":\"layers\","     \
    "\"diff_ids\":[]}}"

/* An index "1" with linux/amd64; the manifest's digest. */
static void put_image(struct fake *f, struct cb_digest *manifest, struct cb_digest *index)
{
    struct cb_descriptor config cb_cleanup_descriptor = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    fake_put_blob(f, "a/b", CONFIG, strlen(CONFIG), &config);
    cb_autofree char *m = cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST
                                      "\",\"config\":{\"mediaType\":\"" CB_MT_OCI_CONFIG
                                      "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[]}",
                                      cb_digest_text(&config.digest, text), strlen(CONFIG));
    fake_put_manifest(f, "a/b", NULL, CB_MT_OCI_MANIFEST, m, manifest);
    cb_autofree char *i =
        cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX
                    "\",\"manifests\":[{\"mediaType\":\"" CB_MT_OCI_MANIFEST
                    "\",\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
                    cb_digest_text(manifest, text), strlen(m));
    fake_put_manifest(f, "a/b", "1", CB_MT_OCI_INDEX, i, index);
}

static int resolve(struct client *c, const char *rest, const struct cb_resolve_options *more, struct cb_resolved *x,
                   struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_platform p CB_CLEANUP(cb_platform_done) = { 0 };
    struct cb_resolve_options o = more ? *more : (struct cb_resolve_options){ 0 };
    cb_autofree char *text = cb_asprintf("%s/%s", c->one.host, rest);
    assert_int_equal(cb_reference_parse(&ref, text, NULL), 0);
    assert_int_equal(cb_platform_parse(&p, "linux/amd64", NULL), 0);
    o.platform = more && more->platform ? more->platform : &p;
    return cb_registry_resolve(c->r, &ref, &o, x, e);
}

static void test_resolve(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_digest manifest, index;
    client_open(c, NULL, NULL);
    put_image(&c->one, &manifest, &index);
    assert_int_equal(resolve(c, "a/b:1", NULL, &x, &e), 0);
    assert_true(cb_digest_eq(&x.top.digest, &index));
    assert_true(cb_digest_eq(&x.desc.digest, &manifest));
    assert_string_equal(x.config_body.buf, CONFIG);
    assert_string_equal(x.config.cmd.args.v[0], "x");
    assert_true(x.index_body.len > 0);
    cb_resolved_done(&x);

    struct cb_platform arm CB_CLEANUP(cb_platform_done) = { 0 };
    assert_int_equal(cb_platform_parse(&arm, "linux/arm64", NULL), 0);
    struct cb_resolve_options o = { .platform = &arm };
    assert_int_equal(resolve(c, "a/b:1", &o, &x, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "no variant for linux/arm64"));
    cb_resolved_done(&x);
    assert_int_equal(resolve(c, "a/b:2", NULL, &x, &e), -CB_ENOTFOUND);
}

struct shelf {
    struct fake *f;
    unsigned hits;
};

/* All that the registry has is here already. */
static bool on_shelf(void *arg, const struct cb_digest *d, struct cb_strbuf *out)
{
    struct shelf *s = arg;
    static const char *const kinds[] = { "manifests", "blobs" };
    char text[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; i < 2; i++) {
        cb_autofree char *key = cb_asprintf("a/b/%s/%s", kinds[i], cb_digest_text(d, text));
        const struct fake_thing *t = fake_get(s->f, key);
        if (!t)
            continue;
        cb_strbuf_add(out, t->body.buf, t->body.len);
        s->hits++;
        return true;
    }
    return false;
}

/* An unchanged parent costs one HEAD. */
static void test_resolve_cached(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct shelf shelf = { .f = &c->one };
    struct cb_resolve_options o = { .cached = on_shelf, .cached_arg = &shelf };
    struct cb_digest manifest, index;
    client_open(c, NULL, NULL);
    put_image(&c->one, &manifest, &index);
    assert_int_equal(resolve(c, "a/b:1", &o, &x, NULL), 0);
    assert_true(cb_digest_eq(&x.desc.digest, &manifest));
    assert_string_equal(x.config_body.buf, CONFIG);
    assert_int_equal(fake_count(&c->one, "HEAD /v2/a/b/manifests/1 "), 1);
    assert_int_equal(atomic_load(&c->one.server->requests), 1);
}

/* An index whose child is another size than it says. Indexes in one another are gone through, as far as that goes. */
static void test_resolve_wrong(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_digest manifest, index;
    char text[CB_DIGEST_TEXT_MAX];
    client_open(c, NULL, NULL);
    put_image(&c->one, &manifest, &index);
    cb_autofree char *size = cb_asprintf("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" CB_MT_OCI_MANIFEST
                                         "\",\"digest\":\"%s\",\"size\":7}]}",
                                         cb_digest_text(&manifest, text));
    fake_put_manifest(&c->one, "a/b", "size", CB_MT_OCI_INDEX, size, NULL);
    assert_int_equal(resolve(c, "a/b:size", NULL, &x, &e), -CB_EVERIFY);
    cb_resolved_done(&x);
    for (int i = 1; i <= CB_MAX_INDEX_DEPTH + 1; i++) {
        cb_autofree char *below = cb_asprintf("a/b/manifests/%d", i), *name = cb_asprintf("%d", i + 1);
        const struct fake_thing *t = fake_get(&c->one, below);
        cb_autofree char *outer = cb_asprintf("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" CB_MT_OCI_INDEX
                                              "\",\"digest\":\"%s\",\"size\":%zu}]}",
                                              cb_digest_text(&index, text), t->body.len);
        fake_put_manifest(&c->one, "a/b", name, CB_MT_OCI_INDEX, outer, &index);
        cb_autofree char *ref = cb_asprintf("a/b:%s", name);
        cb_error_done(&e);
        assert_int_equal(resolve(c, ref, NULL, &x, &e), i <= CB_MAX_INDEX_DEPTH ? 0 : -CB_EVERIFY);
        if (i <= CB_MAX_INDEX_DEPTH)
            assert_true(cb_digest_eq(&x.desc.digest, &manifest));
        cb_resolved_done(&x);
    }
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_faults),        CLIENT_TEST(test_range),         CLIENT_TEST(test_sizes),
        CLIENT_TEST(test_part),          CLIENT_TEST(test_ranges),        CLIENT_TEST(test_ranges_mirror_dies),
        CLIENT_TEST(test_ranges_are_bounded),
        CLIENT_TEST(test_ranges_lie),    CLIENT_TEST(test_ranges_mixed),
        CLIENT_TEST(test_missing),       CLIENT_TEST(test_token_expires), CLIENT_TEST(test_redirect),
        CLIENT_TEST(test_mirror),        CLIENT_TEST(test_mirror_dies),   CLIENT_TEST(test_foreign),
        CLIENT_TEST(test_cancel),        CLIENT_TEST(test_resolve),       CLIENT_TEST(test_resolve_cached),
        CLIENT_TEST(test_resolve_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tags as one act: fake_registry.h has no ?tag= and no If-Match, as most registries. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_registry.h"

#include "oci/mediatype.h"

#define OLD "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"annotations\":{}}"
#define NEW "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\"}"

struct test {
    struct client *c;
    struct cb_reference ref;
    struct cb_push *p;
    struct cb_descriptor desc;
    struct cb_error e;
};

static void begin(struct test *t, void **state)
{
    struct client *c = *state;
    *t = (struct test){ .c = c };
    client_open(c, NULL, NULL);
    cb_autofree char *text = cb_asprintf("%s/a/b", c->one.host);
    assert_int_equal(cb_reference_parse(&t->ref, text, NULL), 0);
    struct cb_push_options o = { .target = &t->ref };
    assert_int_equal(cb_push_begin(c->r, &o, &t->p, NULL), 0);
    cb_descriptor_of(&t->desc, CB_MT_OCI_MANIFEST, NEW, strlen(NEW));
}

static void end(struct test *t)
{
    cb_push_free(t->p);
    cb_reference_done(&t->ref);
    cb_descriptor_done(&t->desc);
    cb_error_done(&t->e);
}

static struct cb_tag_manifest manifest(struct test *t)
{
    return (struct cb_tag_manifest){ &t->desc, CB_SLICE(NEW) };
}

static void expect_tag(struct fake *f, const char *tag, const char *body)
{
    cb_autofree char *key = cb_asprintf("a/b/manifests/%s", tag);
    const struct fake_thing *thing = fake_get(f, key);
    assert_string_equal(thing ? thing->body.buf : "none", body);
}

static void test_state(void **state)
{
    struct test t CB_CLEANUP(end);
    struct cb_tag_state s cb_cleanup_tag_state = { 0 };
    begin(&t, state);
    assert_int_equal(cb_push_tag_state(t.p, "v1", &s, NULL), 0);
    assert_false(s.there);
    fake_put(&t.c->one, "a/b/manifests/v1", CB_MT_OCI_MANIFEST, NEW, strlen(NEW));
    assert_int_equal(cb_push_tag_state(t.p, "v1", &s, NULL), 0);
    assert_true(s.there);
    assert_true(cb_digest_eq(&s.digest, &t.desc.digest));
}

/* HEAD that tells no digest. */
static bool silent_head(struct fake *f CB_UNUSED, struct server_request *r, bool *keep)
{
    bool head = !strcmp(r->method, "HEAD") || !strcmp(r->method, "GET");
    if (!head || !strstr(r->path, "/manifests/"))
        return false;
    cb_autofree char *text = cb_asprintf("HTTP/1.1 200 OK\r\nContent-Type: " CB_MT_OCI_MANIFEST
                                         "\r\nContent-Length: %zu\r\n\r\n%s",
                                         strlen(NEW), !strcmp(r->method, "GET") ? NEW : "");
    *keep = server_puts(r, text);
    return true;
}

static void test_state_by_get(void **state)
{
    struct test t CB_CLEANUP(end);
    struct cb_tag_state s cb_cleanup_tag_state = { 0 };
    begin(&t, state);
    t.c->one.hook = silent_head;
    assert_int_equal(cb_push_tag_state(t.p, "v1", &s, NULL), 0);
    assert_true(s.there && cb_digest_eq(&s.digest, &t.desc.digest));
}

/* ---- moving ---- */

static void test_one_by_one(void **state)
{
    struct test t CB_CLEANUP(end);
    struct cb_tag_state none = { 0 };
    struct cb_tag_move v[] = { { .tag = "1", .old = &none }, { .tag = "2", .old = &none } };
    begin(&t, state);
    struct cb_tag_manifest m = manifest(&t);
    assert_int_equal(cb_push_move_tags(t.p, &m, v, 2, &t.e), 0);
    assert_true(v[0].moved && v[1].moved);
    expect_tag(&t.c->one, "1", NEW);
    expect_tag(&t.c->one, "2", NEW);
    assert_true(server_saw(t.c->one.server, "?tag=1&tag=2 "));
    assert_int_equal(fake_count(&t.c->one, "PUT "), 3);
    /* One tag is no reason to ask. */
    struct cb_tag_move one = { .tag = "3", .old = &none };
    assert_int_equal(cb_push_move_tags(t.p, &m, &one, 1, &t.e), 0);
    assert_int_equal(fake_count(&t.c->one, "PUT "), 4);
    assert_int_equal(fake_count(&t.c->one, "If-"), 0);
}

/* Takes ?tag=, and says so in the form that arg names. */
static bool takes_tags(struct fake *f, struct server_request *r, bool *keep)
{
    if (strcmp(r->method, "PUT") != 0 || !strstr(r->path, "?tag="))
        return false;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    *keep = server_read_body(r, &body) && server_reply(r, 201, f->arg, "");
    return true;
}

static void test_together(void **state)
{
    struct test t CB_CLEANUP(end);
    struct cb_tag_state none = { 0 };
    static const char *const forms[] = { "OCI-Tag: 1\r\nOCI-Tag: 2\r\nOCI-Tag: 3\r\n", "OCI-Tag: 3, 2,1\r\n" };
    begin(&t, state);
    struct cb_tag_manifest m = manifest(&t);
    t.c->one.hook = takes_tags;
    for (size_t i = 0; i < CB_COUNTOF(forms); i++) {
        struct cb_tag_move v[] = { { .tag = "1", .old = &none }, { .tag = "2", .old = &none },
                                   { .tag = "3", .old = &none } };
        unsigned before = fake_count(&t.c->one, "PUT ");
        t.c->one.arg = (void *)(uintptr_t)forms[i];
        assert_int_equal(cb_push_move_tags(t.p, &m, v, 3, &t.e), 0);
        assert_true(v[0].moved && v[1].moved && v[2].moved);
        assert_int_equal(fake_count(&t.c->one, "PUT ") - before, 1);
    }
    /* Only some of them: the others by themselves. A name that begins the same is another. */
    struct cb_tag_move v[] = { { .tag = "1", .old = &none }, { .tag = "22", .old = &none } };
    t.c->one.arg = (void *)(uintptr_t) "OCI-Tag: 1, 2\r\n";
    assert_int_equal(cb_push_move_tags(t.p, &m, v, 2, &t.e), 0);
    expect_tag(&t.c->one, "1", "none");
    expect_tag(&t.c->one, "22", NEW);
}

/* Compares what If-Match says. */
static bool compares(struct fake *f, struct server_request *r, bool *keep)
{
    cb_autofree char *match = server_header(r, "If-Match"), *none = server_header(r, "If-None-Match");
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *wanted = f->arg;
    if (strcmp(r->method, "PUT") != 0 || cb_streq(match ? match : none, wanted))
        return false;
    *keep = server_read_body(r, &body) && server_reply(r, 412, "", "");
    return true;
}

static void test_guarded(void **state)
{
    struct test t CB_CLEANUP(end);
    struct cb_tag_state none = { 0 }, was = { .there = true, .etag = (char *)(uintptr_t) "\"x1\"" };
    struct cb_tag_move v[] = { { .tag = "1", .old = &was, .guarded = true },
                               { .tag = "2", .old = &was, .guarded = true } };
    begin(&t, state);
    struct cb_tag_manifest m = manifest(&t);
    t.c->one.hook = compares;
    t.c->one.arg = (void *)(uintptr_t) "\"x1\"";
    assert_int_equal(cb_push_move_tags(t.p, &m, v, 2, &t.e), 0);
    struct cb_tag_move fresh = { .tag = "3", .old = &none, .guarded = true };
    t.c->one.arg = (void *)(uintptr_t) "*";
    assert_int_equal(cb_push_move_tags(t.p, &m, &fresh, 1, &t.e), 0);
    /* Somebody was faster: what went before is told. */
    struct cb_tag_move two[] = { { .tag = "4", .old = &none, .guarded = true },
                                 { .tag = "5", .old = &was, .guarded = true } };
    assert_int_equal(cb_push_move_tags(t.p, &m, two, 2, &t.e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&t.e), "moved by somebody else"));
    assert_true(two[0].moved && !two[1].moved);
    assert_int_equal(fake_count(&t.c->one, "?tag="), 0);
}

/* One tag or many: the list of the subject is kept where the registry does not keep it. */
static void test_referrer(void **state)
{
    struct test t CB_CLEANUP(end);
    struct cb_tag_state none = { 0 };
    struct cb_tag_move v = { .tag = "1", .old = &none };
    char text[CB_DIGEST_TEXT_MAX];
    begin(&t, state);
    cb_autofree char *body = cb_asprintf(
        "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"artifactType\":\"a/b\","
        "\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"%s\",\"size\":2},\"layers\":[],"
        "\"subject\":{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":7}}",
        cb_digest_text(&t.desc.digest, text), text);
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_descriptor_of(&d, CB_MT_OCI_MANIFEST, body, strlen(body));
    struct cb_tag_manifest m = { &d, { body, strlen(body) } };
    if (cb_push_move_tags(t.p, &m, &v, 1, &t.e) < 0)
        fail_msg("%s", cb_error_text(&t.e));
    expect_tag(&t.c->one, "1", body);
    text[strlen("sha256")] = '-';
    cb_autofree char *key = cb_asprintf("a/b/manifests/%s", text);
    assert_non_null(fake_get(&t.c->one, key));
}

/* ---- may we? ---- */

static bool refuses_uploads(struct fake *f, struct server_request *r, bool *keep)
{
    if (strcmp(r->method, "POST") != 0)
        return false;
    unsigned status = (unsigned)(uintptr_t)f->arg;
    *keep = server_reply(r, status, "", "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not you\"}]}");
    return true;
}

static void test_check(void **state)
{
    struct test t CB_CLEANUP(end);
    begin(&t, state);
    assert_int_equal(cb_push_check(t.p, &t.e), 0);
    assert_int_equal(fake_count(&t.c->one, "DELETE "), 0); /* it is kept for a blob */
    t.c->one.hook = refuses_uploads;
    t.c->one.arg = (void *)(uintptr_t)403;
    assert_int_equal(cb_push_check(t.p, &t.e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&t.e), "not you"));
    t.c->one.arg = (void *)(uintptr_t)404; /* ECR: the repository is made by hand; the upload tells it better */
    assert_int_equal(cb_push_check(t.p, &t.e), 0);
    cb_push_free(CB_TAKE(t.p));
    assert_int_equal(fake_count(&t.c->one, "DELETE "), 1); /* none came */
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_state),      CLIENT_TEST(test_state_by_get), CLIENT_TEST(test_one_by_one),
        CLIENT_TEST(test_together),   CLIENT_TEST(test_guarded),      CLIENT_TEST(test_check),
        CLIENT_TEST(test_referrer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

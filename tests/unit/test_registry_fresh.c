/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs that a push does not wait for, and those that it sends without looking first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "push_support.h"

/* ---- what nobody waits for ---- */

static void add_as(struct cb_push *p, struct ours *o, bool optional, bool fresh)
{
    struct cb_push_blob b = { .desc = o->d, .open = ours_open, .arg = o, .optional = optional, .fresh = fresh };
    assert_int_equal(cb_push_add(p, &b, NULL), 0);
}

static void test_optional(void **state)
{
    struct client *c = *state;
    struct ours lost CB_CLEANUP(ours_done) = { .fail = -CB_ELOCAL }, good CB_CLEANUP(ours_done) = { 0 };
    struct ours wanted CB_CLEANUP(ours_done) = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_push_result *v;
    client_open(c, NULL, NULL);
    ours_make(&lost, 100, 'l');
    ours_make(&good, 200, 'g');
    ours_make(&wanted, 300, 'w');
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    add_as(p, &lost, true, false);
    add_as(p, &good, true, false);
    assert_int_equal(cb_push_wait_blob(p, &lost.d.digest, &e), -CB_ELOCAL);
    assert_int_equal(cb_push_wait_blob(p, &good.d.digest, NULL), 0);
    add_as(p, &wanted, false, false);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    assert_int_equal(cb_push_results(p, &v), 1);
    assert_true(cb_digest_eq(&v[0].digest, &wanted.d.digest));
    expect_stored(&c->one, "a/b", &good);
    /* What turns out to be needed is tried again, and counts. */
    lost.fail = 0;
    add_as(p, &lost, false, false);
    add_as(p, &good, false, false);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    expect_stored(&c->one, "a/b", &lost);
    assert_int_equal(cb_push_results(p, &v), 3);
    cb_push_free(CB_TAKE(p));
}

/* ---- what was made just now ---- */

static void test_fresh(void **state)
{
    struct client *c = *state;
    struct ours small CB_CLEANUP(ours_done) = { 0 }, large CB_CLEANUP(ours_done) = { 0 };
    client_open(c, NULL, NULL);
    ours_make(&small, 1000, 's');
    ours_make(&large, 3u << 20, 'l');
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_check(p, NULL), 0);
    cb_push_ahead(p, 2);
    add_as(p, &small, false, true);
    add_as(p, &large, false, true);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    expect_stored(&c->one, "a/b", &small);
    expect_stored(&c->one, "a/b", &large);
    assert_int_equal(fake_count(&c->one, "POST "), 2);
    assert_int_equal(fake_count(&c->one, "HEAD "), 3); /* the small one after, the large one before and after */
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "DELETE "), 0);
}

/* An upload that nobody took is given up. */
static void test_spare(void **state)
{
    struct client *c = *state;
    client_open(c, NULL, NULL);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_check(p, NULL), 0);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "POST "), 1);
    assert_int_equal(fake_count(&c->one, "DELETE "), 1);
}

/* What is begun ahead is the first request of all, and shows what a check would ask. */
static void test_ahead(void **state)
{
    struct client *c = *state;
    struct ours o CB_CLEANUP(ours_done) = { 0 };
    client_open(c, NULL, NULL);
    ours_make(&o, 1000, 'o');
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    cb_push_ahead(p, 2);
    assert_int_equal(cb_push_check(p, NULL), 0);
    add_as(p, &o, false, true);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    expect_stored(&c->one, "a/b", &o);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "POST "), 2);
    assert_int_equal(fake_count(&c->one, "DELETE "), 1); /* one is left */
    assert_int_equal(fake_count(&c->one, "GET /v2/ "), 0);
}

/* Whoever takes one makes room for the next, as long as more is to come. */
static void test_ahead_again(void **state)
{
    struct client *c = *state;
    struct ours o[5];
    memset(o, 0, sizeof o);
    client_open(c, NULL, NULL);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    cb_push_ahead(p, CB_COUNTOF(o));
    for (size_t i = 0; i < CB_COUNTOF(o); i++) {
        ours_make(&o[i], 1000, (char)('a' + i));
        add_as(p, &o[i], false, true);
        assert_int_equal(cb_push_wait_blob(p, &o[i].d.digest, NULL), 0);
    }
    assert_int_equal(cb_push_wait(p, NULL), 0);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "POST "), CB_COUNTOF(o));
    assert_int_equal(fake_count(&c->one, "DELETE "), 0);
    for (size_t i = 0; i < CB_COUNTOF(o); i++)
        ours_done(&o[i]);
}

static atomic_int posts_under_way;
static atomic_bool posts_met;

/* A POST is answered once there is a second one, or after long. */
static bool waits_for_posts(struct fake *f, struct server_request *r, bool *keep)
{
    (void)f;
    (void)keep;
    if (strcmp(r->method, "POST") != 0 || atomic_fetch_add(&posts_under_way, 1) > 0)
        return false;
    for (int i = 0; i < 2000 && atomic_load(&posts_under_way) < 2; i++)
        usleep(1000);
    atomic_store(&posts_met, atomic_load(&posts_under_way) >= 2);
    return false;
}

/* One that is being opened is for one blob: the next does not wait for it. */
static void test_ahead_is_for_one(void **state)
{
    struct client *c = *state;
    struct ours one CB_CLEANUP(ours_done) = { 0 }, two CB_CLEANUP(ours_done) = { 0 };
    atomic_store(&posts_under_way, 0);
    atomic_store(&posts_met, false);
    c->one.hook = waits_for_posts;
    client_open(c, NULL, NULL);
    ours_make(&one, 1000, '1');
    ours_make(&two, 1000, '2');
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    cb_push_ahead(p, 1);
    add_as(p, &one, false, true);
    add_as(p, &two, false, true);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    cb_push_free(CB_TAKE(p));
    assert_true(atomic_load(&posts_met));
    assert_int_equal(fake_count(&c->one, "POST "), 2);
}

static bool refuses_posts(struct fake *f, struct server_request *r, bool *keep)
{
    (void)f;
    if (strcmp(r->method, "POST") != 0)
        return false;
    *keep = server_reply(r, 403, "", "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not you\"}]}");
    return true;
}

/* The check still tells what that was refused for. */
static void test_ahead_refused(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->one.hook = refuses_posts;
    client_open(c, NULL, NULL);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    cb_push_ahead(p, 1);
    assert_int_equal(cb_push_check(p, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "not you"));
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "DELETE "), 0);
}

static int slow_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    (void)s;
    (void)err;
    usleep(2000);
    *got = CB_MIN(n, (size_t)1024);
    memset(buf, 'x', *got);
    return 0;
}

static void slow_close(struct cb_blob_source *s)
{
    free(s);
}

static int slow_open(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { slow_read, slow_close };
    struct cb_blob_source *x = CB_NEW(struct cb_blob_source);
    (void)arg;
    (void)d;
    (void)err;
    x->ops = &ops;
    *out = x;
    return 0;
}

/* It is there all the same: what is on its way is stopped, and counts as there. */
static void test_fresh_is_there(void **state)
{
    struct client *c = *state;
    struct ours o CB_CLEANUP(ours_done) = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    const struct cb_push_result *v;
    client_open(c, NULL, NULL);
    ours_make(&o, 40u << 20, 'p');
    fake_put_blob(&c->one, "a/b", o.body, o.d.size, &d);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    struct cb_push_blob b = { .desc = o.d, .open = slow_open, .fresh = true };
    assert_int_equal(cb_push_add(p, &b, NULL), 0);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    assert_int_equal(cb_push_results(p, &v), 1);
    assert_int_equal(v[0].outcome, CB_BLOB_PRESENT);
    assert_true(v[0].sent < o.d.size / 2);
    cb_push_free(CB_TAKE(p));
}

/* ---- where nothing seems to be ---- */

static bool list_tags(struct fake *f, struct server_request *r, bool *keep)
{
    const char *said = f->arg;
    if (!strstr(r->path, "/a/b/tags/list"))
        return false;
    *keep = *said == '{' ? server_reply(r, 200, "", said)
                         : fake_error(r, (unsigned)strtoul(said, NULL, 10), "NAME_UNKNOWN");
    return true;
}

/* Where there are no tags nobody looks before a blob is sent, and beside only where it is large. */
static void test_survey(void **state)
{
    static const struct { const char *said; bool bare; } rows[] = {
        { "404", true },  { "{\"name\":\"a/b\",\"tags\":null}", true }, { "{\"tags\":[]}", true },
        { "403", false }, { "{\"name\":\"a/b\",\"tags\":[\"1\"]}", false }, { "500", false }, { "{\"a\":1}", false },
    };
    struct client *c = *state;
    client_open(c, NULL, NULL);
    c->one.hook = list_tags;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct ours small CB_CLEANUP(ours_done) = { 0 }, large CB_CLEANUP(ours_done) = { 0 };
        struct ours middle CB_CLEANUP(ours_done) = { 0 };
        struct cb_descriptor d cb_cleanup_descriptor = { 0 };
        const struct cb_push_result *v;
        unsigned heads = fake_count(&c->one, "HEAD "), lists = fake_count(&c->one, "/tags/list");
        c->one.arg = (void *)(uintptr_t)rows[i].said;
        ours_make(&small, 1000, (char)i);
        ours_make(&middle, 2u << 20, (char)('z' + i));
        ours_make(&large, 9u << 20, (char)('m' + i));
        fake_put_blob(&c->two, "src", large.body, large.d.size, &d);
        CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
        cb_push_survey(p);
        cb_push_survey(p);
        add_as(p, &small, false, false);
        add_as(p, &middle, false, false);
        struct cb_push_blob b = { .desc = large.d, .origin_hosts = (const char *[]){ c->two.host },
                                  .origin_repos = (const char *[]){ "src" }, .n_origins = 1 };
        assert_int_equal(cb_push_add(p, &b, NULL), 0);
        assert_int_equal(cb_push_wait(p, NULL), 0);
        expect_stored(&c->one, "a/b", &small);
        expect_stored(&c->one, "a/b", &large);
        assert_int_equal(cb_push_results(p, &v), 3);
        assert_int_equal(v[0].outcome, CB_BLOB_UPLOADED);
        assert_int_equal(v[2].outcome, CB_BLOB_COPIED);
        cb_push_free(CB_TAKE(p));
        assert_int_equal(fake_count(&c->one, "HEAD ") - heads, rows[i].bare ? 4 : 6);
        assert_int_equal(fake_count(&c->one, "/tags/list") - lists, 1);
    }
}

/* What is there all the same is not sent to its end, and within a registry it is mounted. */
static void test_survey_is_wrong(void **state)
{
    struct client *c = *state;
    struct ours o CB_CLEANUP(ours_done) = { 0 }, m CB_CLEANUP(ours_done) = { 0 };
    struct cb_descriptor d[2] = { 0 };
    const struct cb_push_result *v;
    client_open(c, NULL, NULL);
    ours_make(&o, 40u << 20, 'p');
    ours_make(&m, 2u << 20, 'm');
    fake_put_blob(&c->one, "a/b", o.body, o.d.size, &d[0]);
    fake_put_blob(&c->one, "c/d", m.body, m.d.size, &d[1]);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    cb_push_survey(p);
    struct cb_push_blob there = { .desc = o.d, .open = slow_open };
    struct cb_push_blob near = { .desc = m.d, .origin_hosts = (const char *[]){ c->one.host },
                                 .origin_repos = (const char *[]){ "c/d" }, .n_origins = 1 };
    assert_int_equal(cb_push_add(p, &there, NULL), 0);
    assert_int_equal(cb_push_add(p, &near, NULL), 0);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    assert_int_equal(cb_push_results(p, &v), 2);
    assert_int_equal(v[0].outcome, CB_BLOB_PRESENT);
    assert_true(v[0].sent < o.d.size / 2);
    assert_int_equal(v[1].outcome, CB_BLOB_MOUNTED);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "mount="), 1);
    cb_descriptor_done(&d[0]);
    cb_descriptor_done(&d[1]);
}

/* ---- connections that are opened ahead ---- */

static void check_connections(const struct fake *f, unsigned n)
{
    for (int i = 0; atomic_load(&f->server->connections) < n && i < 500; i++)
        usleep(10000);
    usleep(20000); /* no more than that */
    assert_int_equal(atomic_load(&f->server->connections), n);
}

/* By what shows that blobs will follow, and by nothing else: not by the HEAD of an unchanged parent. */
static void test_connections(void **state)
{
    struct client *c = *state;
    client_open(c, NULL, NULL);
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_fetched m cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    cb_autofree char *name = cb_asprintf("%s/a/b:1", c->one.host);
    assert_int_equal(cb_reference_parse(&ref, name, NULL), 0);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, FAKE_MANIFEST, NULL);
    struct cb_reference target cb_cleanup_reference = { .host = cb_strdup(c->two.host), .repo = cb_strdup("a/b") };
    struct cb_push_options po = { .target = &target };
    CB_AUTO(cb_push_free) struct cb_push *p = NULL;
    assert_int_equal(cb_push_begin(c->r, &po, &p, NULL), 0);
    cb_registry_expect(c->r, 3, 0);
    assert_int_equal(cb_registry_head(c->r, &ref, &d, NULL), 0);
    check_connections(&c->one, 1);
    assert_int_equal(cb_registry_manifest(c->r, &ref, &m, NULL), 0);
    check_connections(&c->one, 4);
    assert_int_equal(cb_push_tag_head(p, "1", &d, NULL), -CB_ENOTFOUND);
    check_connections(&c->two, 1);
    cb_registry_expect(c->r, 3, 2);
    assert_int_equal(cb_push_tag_head(p, "1", &d, NULL), -CB_ENOTFOUND);
    check_connections(&c->two, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_optional), CLIENT_TEST(test_fresh), CLIENT_TEST(test_spare), CLIENT_TEST(test_fresh_is_there),
        CLIENT_TEST(test_survey),   CLIENT_TEST(test_survey_is_wrong),
        CLIENT_TEST(test_ahead),    CLIENT_TEST(test_ahead_refused),
        CLIENT_TEST(test_ahead_again), CLIENT_TEST(test_ahead_is_for_one),
        CLIENT_TEST(test_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting: one tag and never its siblings, a manifest with what is said of it, blobs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_registry.h"
#include "oci/mediatype.h"

#define EMPTY "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define HEX "1111111111111111111111111111111111111111111111111111111111111111"
#define MANIFEST(more)                                                                                               \
    "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":{\"mediaType\":\"" CB_MT_OCI_CONFIG    \
    "\",\"digest\":\"" EMPTY "\",\"size\":2},\"layers\":[]" more "}"
#define DOCKER                                                                                                       \
    "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_DOCKER_MANIFEST "\",\"config\":{\"mediaType\":\""                  \
    CB_MT_DOCKER_CONFIG "\",\"digest\":\"" EMPTY "\",\"size\":2},\"layers\":[]}"

/* How the registry deletes. */
struct rules {
    unsigned tag_status;  /* to DELETE of a tag: 202 does it */
    unsigned refuse_from; /* this one and later DELETEs of digests are answered 405; 0: none */
    bool pretends;        /* DELETE of a digest says 202 and keeps its tags */
    bool api;             /* of referrers */
    unsigned interrupt;   /* this DELETE of a digest is never answered, as we are interrupted; 0: none */
    struct cb_cancel *cancel;
    unsigned deletes;
};

static void drop(struct fake *f, const char *key)
{
    pthread_mutex_lock(&f->mu);
    fake_thing_free(cb_hashmap_remove(f->things, key));
    pthread_mutex_unlock(&f->mu);
}

/* As distribution does it: with a manifest go all tags that point to it. */
static void drop_manifest(struct fake *f, const char *digest)
{
    struct cb_strvec keys cb_cleanup_strvec = CB_STRVEC_INIT;
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(f->things, &it, &key, &v);) {
        const struct fake_thing *t = v;
        struct cb_digest d;
        char text[CB_DIGEST_TEXT_MAX];
        cb_digest_of(&d, t->body.buf, t->body.len);
        if (strstr(key, "/manifests/") && !strcmp(cb_digest_text(&d, text), digest))
            cb_strvec_push(&keys, key);
    }
    for (size_t i = 0; i < keys.n; i++)
        drop(f, keys.v[i]);
}

static bool delete_manifest(struct fake *f, struct server_request *r, struct rules *x, const char *name)
{
    bool by_digest = cb_starts_with(name, "sha256:");
    if (!fake_get(f, r->path + 4))
        return fake_error(r, 404, "MANIFEST_UNKNOWN");
    if (!by_digest && x->tag_status != 202)
        return fake_error(r, x->tag_status, "UNSUPPORTED");
    if (by_digest && ++x->deletes >= x->refuse_from && x->refuse_from)
        return fake_error(r, 405, "UNSUPPORTED");
    if (by_digest && x->deletes == x->interrupt) {
        cb_cancel_trigger(x->cancel, 0);
        return false;
    }
    if (!by_digest || x->pretends)
        drop(f, r->path + 4);
    else
        drop_manifest(f, name);
    return server_reply(r, 202, "", "");
}

static bool serve_rules(struct fake *f, struct server_request *r, bool *keep)
{
    struct rules *x = f->arg;
    const char *at = strstr(r->path, "/manifests/");
    if (x->api && strstr(r->path, "/referrers/")) {
        *keep = server_reply(r, 200, "Content-Type: " CB_MT_OCI_INDEX "\r\n",
                             "{\"schemaVersion\":2,\"manifests\":[]}");
        return true;
    }
    if (strcmp(r->method, "DELETE") != 0)
        return false;
    if (at)
        *keep = delete_manifest(f, r, x, at + 11);
    else if (!fake_get(f, r->path + 4))
        *keep = fake_error(r, 404, "BLOB_UNKNOWN");
    else {
        drop(f, r->path + 4);
        *keep = server_reply(r, 202, "", "");
    }
    return true;
}

/* a/b: tags "1" and "2" of one manifest, "d" of a Docker one. */
static void with_rules(struct client *c, struct rules *x)
{
    c->one.hook = serve_rules;
    c->one.arg = x;
    client_open(c, NULL, NULL);
    fake_put(&c->one, "a/b/blobs/" EMPTY, "", "{}", 2);
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST(""), NULL);
    fake_put_manifest(&c->one, "a/b", "2", CB_MT_OCI_MANIFEST, MANIFEST(""), NULL);
    fake_put_manifest(&c->one, "a/b", "d", CB_MT_DOCKER_MANIFEST, DOCKER, NULL);
}

static struct cb_reference ref_of(const struct client *c, const char *rest)
{
    struct cb_reference ref = { 0 };
    cb_autofree char *text = cb_asprintf("%s/%s", c->one.host, rest);
    if (cb_reference_parse(&ref, text, NULL) < 0)
        abort();
    return ref;
}

static int untag(struct client *c, const char *rest, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = ref_of(c, rest);
    return cb_registry_tag_delete(c->r, &ref, e);
}

static bool has(struct client *c, const char *key, const char *body)
{
    const struct fake_thing *t = fake_get(&c->one, key);
    return t && !strcmp(t->body.buf, body);
}

static void test_untag(void **state)
{
    struct client *c = *state;
    struct rules x = { .tag_status = 202 };
    with_rules(c, &x);
    assert_int_equal(untag(c, "a/b:1", NULL), 0);
    assert_null(fake_get(&c->one, "a/b/manifests/1"));
    assert_true(has(c, "a/b/manifests/2", MANIFEST("")));
    assert_int_equal(fake_count(&c->one, "DELETE "), 1);
    assert_int_equal(fake_count(&c->one, "PUT "), 0);
}

static void test_untag_by_decoy(void **state)
{
    struct client *c = *state;
    static const unsigned statuses[] = { 400, 405, 404 };
    struct rules x = { 0 };
    with_rules(c, &x);
    for (size_t i = 0; i < CB_COUNTOF(statuses); i++) {
        x.tag_status = statuses[i];
        fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, MANIFEST(""), NULL);
        assert_int_equal(untag(c, "a/b:1", NULL), 0);
        assert_null(fake_get(&c->one, "a/b/manifests/1"));
        assert_true(has(c, "a/b/manifests/2", MANIFEST("")));
    }
    assert_false(server_saw(c->one.server, "Content-Type: " CB_MT_DOCKER_MANIFEST));
    assert_int_equal(untag(c, "a/b:d", NULL), 0);
    assert_null(fake_get(&c->one, "a/b/manifests/d"));
    assert_true(server_saw(c->one.server, "Content-Type: " CB_MT_DOCKER_MANIFEST));
}

static void test_untag_unknown(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct rules x = { .tag_status = 400 };
    with_rules(c, &x);
    assert_int_equal(untag(c, "a/b:none", &e), -CB_ENOTFOUND);
    assert_int_equal(cb_error_exit_code(&e), 4);
    assert_int_equal(fake_count(&c->one, "PUT "), 0);
}

/* A registry that deletes nothing: the tag never pointed elsewhere. */
static void test_untag_refused(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct rules x = { .tag_status = 405, .refuse_from = 1 };
    with_rules(c, &x);
    assert_int_equal(untag(c, "a/b:1", &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "cannot delete a tag"));
    assert_true(has(c, "a/b/manifests/1", MANIFEST("")));
    assert_false(server_saw(c->one.server, "PUT /v2/a/b/manifests/1 "));
}

static void test_untag_put_back(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct rules x = { .tag_status = 405, .refuse_from = 2 };
    with_rules(c, &x);
    assert_true(untag(c, "a/b:1", &e) < 0);
    assert_int_equal(fake_count(&c->one, "PUT /v2/a/b/manifests/1 "), 2);
    assert_true(has(c, "a/b/manifests/1", MANIFEST("")));
    x = (struct rules){ .tag_status = 405, .pretends = true };
    assert_true(untag(c, "a/b:1", &e) < 0);
    assert_non_null(strstr(cb_error_text(&e), "keeps the tag"));
    assert_true(has(c, "a/b/manifests/1", MANIFEST("")));
}

/* The tag is not left pointing to what we made up. */
static void test_untag_interrupted(void **state)
{
    struct client *c = *state;
    struct rules x = { .tag_status = 405, .interrupt = 2, .cancel = c->cancel };
    with_rules(c, &x);
    assert_int_equal(untag(c, "a/b:1", NULL), -CB_ECANCELED);
    assert_int_equal(fake_count(&c->one, "PUT /v2/a/b/manifests/1 "), 2);
    assert_true(has(c, "a/b/manifests/1", MANIFEST("")));
}

/* ---- manifests ---- */

#define SUBJECT ",\"subject\":{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"sha256:" HEX "\",\"size\":7}"
#define LIST_KEY "a/b/manifests/sha256-" HEX

static void put_list(struct client *c, const char *digest)
{
    cb_autofree char *list =
        cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[{\"mediaType\":\""
                    CB_MT_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":3},{\"mediaType\":\"" CB_MT_OCI_MANIFEST
                    "\",\"digest\":\"" EMPTY "\",\"size\":2}]}",
                    digest);
    fake_put_manifest(&c->one, "a/b", "sha256-" HEX, CB_MT_OCI_INDEX, list, NULL);
}

static int delete_digest(struct client *c, const char *digest, struct cb_error *e)
{
    cb_autofree char *rest = cb_asprintf("a/b@%s", digest);
    struct cb_reference ref cb_cleanup_reference = ref_of(c, rest);
    return cb_registry_manifest_delete(c->r, &ref, e);
}

static void test_delete_manifest(void **state)
{
    struct client *c = *state;
    struct rules x = { .tag_status = 202 };
    struct cb_digest d;
    char digest[CB_DIGEST_TEXT_MAX];
    with_rules(c, &x);
    fake_put_manifest(&c->one, "a/b", "3", CB_MT_OCI_MANIFEST, MANIFEST(SUBJECT), &d);
    cb_digest_text(&d, digest);
    put_list(c, digest);
    assert_int_equal(delete_digest(c, digest, NULL), 0);
    assert_null(fake_get(&c->one, "a/b/manifests/3"));
    const struct fake_thing *t = fake_get(&c->one, LIST_KEY);
    assert_non_null(t);
    assert_null(strstr(t->body.buf, digest));
    assert_non_null(strstr(t->body.buf, EMPTY));
    assert_int_equal(delete_digest(c, digest, NULL), -CB_ENOTFOUND);
}

/* The registry keeps that list: ours, from before it did, is not touched. Nor where nothing was deleted. */
static void test_delete_leaves_list(void **state)
{
    struct client *c = *state;
    struct rules x = { .api = true };
    struct cb_digest d;
    char digest[CB_DIGEST_TEXT_MAX];
    with_rules(c, &x);
    fake_put_manifest(&c->one, "a/b", "3", CB_MT_OCI_MANIFEST, MANIFEST(SUBJECT), &d);
    cb_digest_text(&d, digest);
    put_list(c, digest);
    x.refuse_from = 1;
    assert_int_equal(delete_digest(c, digest, NULL), -CB_ENET);
    x.refuse_from = 0;
    assert_int_equal(delete_digest(c, digest, NULL), 0);
    assert_int_equal(fake_count(&c->one, "PUT "), 0);
}

/* ---- blobs ---- */

static void test_blobs(void **state)
{
    struct client *c = *state;
    struct rules x = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    uint64_t size = 0;
    with_rules(c, &x);
    struct cb_reference ref cb_cleanup_reference = ref_of(c, "a/b@" EMPTY);
    assert_int_equal(cb_registry_blob_head(c->r, &ref, &size, NULL), 0);
    assert_int_equal(size, 2);
    assert_int_equal(cb_registry_blob_delete(c->r, &ref, NULL), 0);
    assert_int_equal(cb_registry_blob_head(c->r, &ref, &size, &e), -CB_ENOTFOUND);
    assert_int_equal(cb_error_exit_code(&e), 4);
    assert_int_equal(cb_registry_blob_delete(c->r, &ref, NULL), -CB_ENOTFOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_untag),           TEST(test_untag_by_decoy), TEST(test_untag_unknown),
        TEST(test_untag_refused),   TEST(test_untag_put_back), TEST(test_delete_manifest),
        TEST(test_untag_refused),   TEST(test_untag_interrupted), TEST(test_delete_manifest),
        TEST(test_delete_leaves_list), TEST(test_blobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

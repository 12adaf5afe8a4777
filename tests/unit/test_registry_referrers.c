/* SPDX-License-Identifier: Apache-2.0 */
/* Referrers: by the API, and by the tag that clients keep where there is none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_registry.h"
#include "oci/mediatype.h"

#define HEX "1111111111111111111111111111111111111111111111111111111111111111"
#define SUBJECT "sha256:" HEX
#define TAG "sha256-" HEX
#define EMPTY "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define SBOM "application/spdx+json"

static char *artifact(const char *type, const char *subject, const char *note)
{
    return cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",%s%s%s\"config\":{\"mediaType\":"
                       "\"application/x.config\",\"digest\":\"" EMPTY "\",\"size\":2},\"layers\":[],\"subject\":{"
                       "\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":7},\"annotations\":{"
                       "\"note\":\"%s\"}}",
                       type ? "\"artifactType\":\"" : "", type ? type : "", type ? "\"," : "", subject, note);
}

static struct cb_reference ref_of(const struct client *c, const char *rest)
{
    struct cb_reference ref = { 0 };
    cb_autofree char *text = cb_asprintf("%s/%s", c->one.host, rest);
    if (cb_reference_parse(&ref, text, NULL) < 0)
        abort();
    return ref;
}

static int put_to(struct client *c, const char *rest, const char *body, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = ref_of(c, rest);
    return cb_registry_manifest_put(c->r, &ref, CB_MT_OCI_MANIFEST, CB_SLICE(body), e);
}

static int ask(struct client *c, const char *type, struct cb_index *out, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = ref_of(c, "a/b@" SUBJECT);
    return cb_registry_referrers(c->r, &ref, type, out, e);
}

static size_t count_of(struct client *c, const char *type)
{
    struct cb_index index cb_cleanup_index = { 0 };
    assert_int_equal(ask(c, type, &index, NULL), 0);
    assert_string_equal(index.media_type, CB_MT_OCI_INDEX);
    return index.n_manifests;
}

/* ---- the API ---- */

#define ENTRY(n, type)                                                                                               \
    "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"sha256:" n n n n n n n n "\",\"size\":3,"                \
    "\"artifactType\":\"" type "\"}"
#define INDEX(entries) "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[" entries "]}"
#define TYPE_LINE "Content-Type: " CB_MT_OCI_INDEX "\r\n"

struct api {
    bool filters;
    unsigned status; /* instead */
    const char *type;
};

static bool serve_api(struct fake *f, struct server_request *r, bool *keep)
{
    const struct api *a = f->arg;
    if (!strstr(r->path, "/referrers/"))
        return false;
    if (a->status)
        *keep = server_reply(r, a->status, a->type ? a->type : "", "<html>what?</html>");
    else if (a->filters && strstr(r->path, "artifactType=application%2Fspdx%2Bjson"))
        *keep = server_reply(r, 200, TYPE_LINE "OCI-Filters-Applied: x, artifactType\r\n",
                             INDEX(ENTRY("bbbbbbbb", SBOM)));
    else if (!strstr(r->path, "page=2"))
        *keep = server_reply(r, 200, TYPE_LINE "Link: <?page=2>; rel=\"next\"\r\n",
                             INDEX(ENTRY("aaaaaaaa", "application/x") "," ENTRY("bbbbbbbb", SBOM)));
    else
        *keep = server_reply(r, 200, TYPE_LINE, INDEX(ENTRY("cccccccc", SBOM)));
    return true;
}

static void with_api(struct client *c, struct api *a)
{
    c->one.hook = serve_api;
    c->one.arg = a;
    if (!c->r)
        client_open(c, NULL, NULL);
}

static void test_api(void **state)
{
    struct client *c = *state;
    struct api a = { 0 };
    with_api(c, &a);
    assert_int_equal(count_of(c, NULL), 3);
    assert_int_equal(count_of(c, SBOM), 2); /* filtered here */
    assert_int_equal(count_of(c, "application/none"), 0);
    a.filters = true;
    assert_int_equal(count_of(c, SBOM), 1); /* the registry's word */
    assert_false(server_saw(c->one.server, TAG));
    assert_true(server_saw(c->one.server, "GET /v2/a/b/referrers/" SUBJECT "?artifactType=application%2Fspdx%2Bjson"));
}

static void test_no_api(void **state)
{
    struct client *c = *state;
    static const struct api ways[] = { { .status = 404 }, { .status = 405 }, { .status = 400 }, { .status = 501 },
                                       { .status = 200, .type = "Content-Type: text/html\r\n" }, { .status = 200 } };
    for (size_t i = 0; i < CB_COUNTOF(ways); i++) {
        struct api a = ways[i];
        with_api(c, &a);
        if (i == 0) {
            assert_int_equal(count_of(c, NULL), 0);
            fake_put_manifest(&c->one, "a/b", TAG, CB_MT_OCI_INDEX,
                              INDEX(ENTRY("aaaaaaaa", "application/x") "," ENTRY("bbbbbbbb", SBOM)), NULL);
        }
        assert_int_equal(count_of(c, NULL), 2);
        assert_int_equal(count_of(c, SBOM), 1);
    }
}

static void test_api_fails(void **state)
{
    struct client *c = *state;
    struct api a = { .status = 403 };
    struct cb_index index cb_cleanup_index = { 0 };
    with_api(c, &a);
    assert_int_equal(ask(c, NULL, &index, NULL), -CB_EAUTH);
    a.status = 500;
    assert_int_equal(ask(c, NULL, &index, NULL), -CB_ENET);
    assert_int_equal(index.n_manifests, 0);
    assert_false(server_saw(c->one.server, TAG));
}

/* ---- the tag ---- */

enum trouble { NONE, INDEXES, ETAGS, CONFLICT, LOSES, KEEPS_LOSING };

struct desk {
    enum trouble trouble;
    atomic_uint puts; /* of the list */
};

static bool is_list(const struct server_request *r)
{
    return strstr(r->path, "/manifests/" TAG) != NULL;
}

/* An etag is the serial of the list. */
static bool serve_tagged(struct fake *f, struct server_request *r, struct desk *d)
{
    const struct fake_thing *t = fake_get(f, "a/b/manifests/" TAG);
    if (!t)
        return fake_error(r, 404, "MANIFEST_UNKNOWN");
    cb_autofree char *line =
        cb_asprintf("Content-Type: %s\r\nETag: \"v%u\"\r\n", t->type, atomic_load(&d->puts));
    return server_reply(r, 200, line, t->body.buf);
}

/* The list as another client has just written it. */
static void other_writes(struct fake *f)
{
    fake_put_manifest(f, "a/b", TAG, CB_MT_OCI_INDEX, INDEX(ENTRY("dddddddd", "application/other")), NULL);
}

static bool take_list(struct fake *f, struct server_request *r, struct desk *d)
{
    unsigned nth = atomic_fetch_add(&d->puts, 1);
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (d->trouble == CONFLICT && nth == 0) {
        server_read_body(r, &body);
        other_writes(f);
        return fake_error(r, 412, "PRECONDITION_FAILED");
    }
    bool keep = fake_write(f, r);
    if (d->trouble == KEEPS_LOSING || (d->trouble == LOSES && nth == 0))
        other_writes(f);
    return keep;
}

static bool serve_desk(struct fake *f, struct server_request *r, bool *keep)
{
    struct desk *d = f->arg;
    bool put = !strcmp(r->method, "PUT");
    if (put && strstr(r->path, "/manifests/") && d->trouble == INDEXES) {
        struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
        server_read_body(r, &body);
        *keep = server_reply(r, 201, "OCI-Subject: " SUBJECT "\r\n", "");
        return true;
    }
    if (!is_list(r))
        return false;
    if (put)
        *keep = take_list(f, r, d);
    else if (d->trouble == ETAGS || d->trouble == CONFLICT)
        *keep = serve_tagged(f, r, d);
    else
        return false;
    return true;
}

static void with_desk(struct client *c, struct desk *d)
{
    c->one.hook = serve_desk;
    c->one.arg = d;
    client_open(c, NULL, NULL);
}

static void test_registry_indexes(void **state)
{
    struct client *c = *state;
    struct desk d = { .trouble = INDEXES };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x");
    with_desk(c, &d);
    assert_int_equal(put_to(c, "a/b:1", body, NULL), 0);
    assert_false(server_saw(c->one.server, TAG));
}

static void test_list_is_kept(void **state)
{
    struct client *c = *state;
    struct desk d = { 0 };
    struct cb_index index cb_cleanup_index = { 0 };
    cb_autofree char *one = artifact(SBOM, SUBJECT, "one"), *two = artifact(NULL, SUBJECT, "two");
    with_desk(c, &d);
    assert_int_equal(put_to(c, "a/b:1", one, NULL), 0);
    assert_int_equal(put_to(c, "a/b:2", two, NULL), 0);
    assert_int_equal(put_to(c, "a/b:3", one, NULL), 0); /* is there already */
    assert_int_equal(atomic_load(&d.puts), 2);
    assert_int_equal(ask(c, NULL, &index, NULL), 0);
    assert_int_equal(index.n_manifests, 2);
    assert_string_equal(index.manifests[0].artifact_type, SBOM);
    assert_string_equal(index.manifests[0].media_type, CB_MT_OCI_MANIFEST);
    assert_int_equal(index.manifests[0].size, strlen(one));
    assert_string_equal(cb_strmap_get(&index.manifests[0].annotations, "note"), "one");
    assert_string_equal(index.manifests[1].artifact_type, "application/x.config"); /* that of the config */
    assert_false(server_saw(c->one.server, "If-Match"));
}

/* What others wrote stays, with members that we do not know. */
static void test_strange_members_stay(void **state)
{
    struct client *c = *state;
    struct desk d = { 0 };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x");
    with_desk(c, &d);
    fake_put_manifest(&c->one, "a/b", TAG, CB_MT_OCI_INDEX,
                      "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[{\"mediaType\":\""
                      CB_MT_OCI_MANIFEST "\",\"digest\":\"" EMPTY "\",\"size\":2,\"data\":\"e30=\"}],"
                      "\"annotations\":{\"k\":\"v\"},\"x-more\":7}",
                      NULL);
    assert_int_equal(put_to(c, "a/b:1", body, NULL), 0);
    const struct fake_thing *t = fake_get(&c->one, "a/b/manifests/" TAG);
    assert_non_null(strstr(t->body.buf, "\"data\":\"e30=\""));
    assert_non_null(strstr(t->body.buf, "\"x-more\":7"));
    assert_non_null(strstr(t->body.buf, "\"k\":\"v\""));
    assert_int_equal(count_of(c, NULL), 2);
}

static void test_etag(void **state)
{
    struct client *c = *state;
    struct desk d = { .trouble = ETAGS };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x");
    with_desk(c, &d);
    other_writes(&c->one);
    assert_int_equal(put_to(c, "a/b:1", body, NULL), 0);
    assert_true(server_saw(c->one.server, "If-Match: \"v0\""));
    assert_int_equal(count_of(c, NULL), 2);
}

static void test_races(void **state)
{
    struct client *c = *state;
    static const enum trouble ways[] = { CONFLICT, LOSES };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x");
    struct desk d = { 0 };
    with_desk(c, &d);
    for (size_t i = 0; i < CB_COUNTOF(ways); i++) {
        other_writes(&c->one);
        d.trouble = ways[i];
        atomic_store(&d.puts, 0);
        assert_int_equal(put_to(c, "a/b:1", body, NULL), 0);
        assert_int_equal(atomic_load(&d.puts), 2);
        assert_int_equal(count_of(c, NULL), 2);
    }
}

static void test_never_stays(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct desk d = { .trouble = KEEPS_LOSING };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x");
    with_desk(c, &d);
    assert_int_equal(put_to(c, "a/b:1", body, &e), -CB_ENET);
    assert_non_null(strstr(cb_error_text(&e), "does not stay"));
}

/* Somebody gave that name to an image: it is not overwritten. */
static void test_tag_is_an_image(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_index index cb_cleanup_index = { 0 };
    struct desk d = { 0 };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x"), *image = artifact(SBOM, EMPTY, "y");
    with_desk(c, &d);
    fake_put_manifest(&c->one, "a/b", TAG, CB_MT_OCI_MANIFEST, image, NULL);
    assert_int_equal(put_to(c, "a/b:1", body, &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), "no list of referrers"));
    assert_int_equal(atomic_load(&d.puts), 0);
    assert_int_equal(ask(c, NULL, &index, NULL), -CB_EVERIFY);
}

static void test_tag_names(void **state CB_UNUSED)
{
    struct cb_digest d;
    assert_int_equal(cb_digest_parse(&d, SUBJECT, NULL), 0);
    cb_autofree char *tag = reg_fallback_tag(&d);
    assert_string_equal(tag, TAG);
    assert_int_equal(cb_digest_parse(&d, "sha512:" HEX HEX, NULL), 0);
    cb_autofree char *longer = reg_fallback_tag(&d);
    assert_string_equal(longer, "sha512-" HEX);
}

/* ---- what is put must be what was said ---- */

static void test_put_by_digest(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct desk d = { .trouble = INDEXES };
    with_desk(c, &d);
    assert_int_equal(put_to(c, "a/b@" SUBJECT, "{\"schemaVersion\":2}", &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), SUBJECT));
    assert_int_equal(put_to(c, "a/b@" EMPTY, "{}", NULL), 0);
    assert_true(server_saw(c->one.server, "PUT /v2/a/b/manifests/" EMPTY));
    assert_int_equal(fake_count(&c->one, "PUT "), 1);
    assert_int_equal(put_to(c, "a/b:1", "no json", &e), -CB_EVERIFY);
    assert_int_equal(put_to(c, "a/b:1", "{\"subject\":{\"digest\":\"sha256:..\"}}", &e), -CB_EVERIFY);
    assert_int_equal(fake_count(&c->one, "PUT "), 1);
}

/* ---- pushes ---- */

/* A push that was killed between the manifest and the list is made whole by the next one. */
static void test_push_keeps_list(void **state)
{
    struct client *c = *state;
    struct desk d = { 0 };
    CB_AUTO(cb_push_free) struct cb_push *p = NULL;
    struct cb_reference target cb_cleanup_reference = { 0 };
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    cb_autofree char *body = artifact(SBOM, SUBJECT, "x");
    bool moved = true;
    with_desk(c, &d);
    target = ref_of(c, "a/b");
    struct cb_push_options o = { .target = &target };
    fake_put_manifest(&c->one, "a/b", "1", CB_MT_OCI_MANIFEST, body, NULL);
    cb_descriptor_of(&desc, CB_MT_OCI_MANIFEST, body, strlen(body));
    assert_int_equal(cb_push_begin(c->r, &o, &p, NULL), 0);
    assert_int_equal(cb_push_manifest(p, &desc, body, strlen(body), NULL), 0);
    assert_int_equal(count_of(c, SBOM), 1);
    assert_int_equal(cb_push_tag(p, &desc, CB_SLICE(body), "1", &moved, NULL), 0);
    assert_false(moved);
    assert_int_equal(cb_push_tag(p, &desc, CB_SLICE(body), "2", &moved, NULL), 0);
    assert_true(moved);
    assert_int_equal(count_of(c, SBOM), 1);
    assert_int_equal(atomic_load(&d.puts), 1);
}

struct author {
    struct client *c;
    char *body;
    int result;
};

static void *write_one(void *arg)
{
    struct author *a = arg;
    a->result = put_to(a->c, "a/b:t", a->body, NULL);
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    struct client *c = *state;
    struct desk d = { 0 };
    struct author authors[8];
    pthread_t threads[CB_COUNTOF(authors)];
    with_desk(c, &d);
    for (unsigned i = 0; i < CB_COUNTOF(authors); i++) {
        cb_autofree char *note = cb_asprintf("%u", i);
        authors[i] = (struct author){ c, artifact(SBOM, SUBJECT, note), -1 };
        assert_int_equal(pthread_create(&threads[i], NULL, write_one, &authors[i]), 0);
    }
    for (unsigned i = 0; i < CB_COUNTOF(authors); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(authors[i].result, 0);
        free(authors[i].body);
    }
    assert_int_equal(count_of(c, SBOM), CB_COUNTOF(authors));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_api),
        TEST(test_no_api),
        TEST(test_api_fails),
        TEST(test_registry_indexes),
        TEST(test_list_is_kept),
        TEST(test_strange_members_stay),
        TEST(test_etag),
        TEST(test_races),
        TEST(test_never_stays),
        TEST(test_tag_is_an_image),
        cmocka_unit_test(test_tag_names),
        TEST(test_put_by_digest),
        TEST(test_push_keeps_list),
        TEST(test_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

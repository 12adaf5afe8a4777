/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/manifest.h"
#include "oci/mediatype.h"
#include "util/alloc.h"
#include "util/limits.h"

#define D1 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define D2 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DESC(mt, digest, size) "{\"mediaType\":\"" mt "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define CONFIG "\"config\":" DESC(CB_MT_OCI_CONFIG, D1, "3")
#define LAYERS "\"layers\":[" DESC(CB_MT_OCI_LAYER_GZIP, D2, "0") "]"
#define V2 "\"schemaVersion\":2"
#define TYPE(mt) "\"mediaType\":\"" mt "\""
#define MANIFESTS "\"manifests\":[" DESC(CB_MT_OCI_MANIFEST, D1, "3") "]"

static const char full_manifest[] =
    "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) ",\"artifactType\":\"x/y\"," CONFIG ",\"layers\":[" DESC(
        CB_MT_OCI_LAYER_GZIP, D2, "0") ",{\"mediaType\":\"" CB_MT_DOCKER_FOREIGN_GZIP "\",\"digest\":\"" D1
    "\",\"size\":7,\"urls\":[\"https://a/b\",\"https://c/d\"]}],\"subject\":" DESC(CB_MT_OCI_MANIFEST, D2, "9") ","
    "\"annotations\":{\"a\":\"1\",\"b\":\"2\"}}";

static int parse(struct cb_manifest *m, const char *text, const char *content_type, struct cb_error *err)
{
    return cb_manifest_parse(m, text, strlen(text), content_type, err);
}

static void test_manifest_round_trip(void **state)
{
    (void)state;
    cb_cleanup_manifest struct cb_manifest m = { 0 };
    assert_int_equal(parse(&m, full_manifest, CB_MT_OCI_MANIFEST, NULL), 0);
    assert_int_equal(m.n_layers, 2);
    assert_int_equal(m.layers[1].urls.n, 2);
    assert_true(m.layers[1].size == 7);
    assert_true(m.subject->size == 9);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_manifest_print(&sb, &m);
    assert_string_equal(sb.buf, full_manifest);
    assert_int_equal(parse(&m, "{" V2 "," CONFIG ",\"layers\":[]}", NULL, NULL), 0);
    cb_strbuf_reset(&sb);
    cb_manifest_print(&sb, &m);
    assert_string_equal(sb.buf, "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) "," CONFIG ",\"layers\":[]}");
}

static void test_index_round_trip(void **state)
{
    (void)state;
    static const char text[] = "{" V2 "," TYPE(CB_MT_DOCKER_LIST) "," MANIFESTS ",\"annotations\":{\"a\":\"1\"}}";
    cb_cleanup_index struct cb_index i = { 0 };
    assert_int_equal(cb_index_parse(&i, text, strlen(text), NULL, NULL), 0);
    assert_int_equal(i.n_manifests, 1);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_index_print(&sb, &i);
    assert_string_equal(sb.buf, text);
    struct cb_index none = { 0 };
    cb_strbuf_reset(&sb);
    cb_index_print(&sb, &none);
    assert_string_equal(sb.buf, "{" V2 "," TYPE(CB_MT_OCI_INDEX) ",\"manifests\":[]}");
}

static void test_detect(void **state)
{
    (void)state;
    static const struct {
        const char *text, *content_type, *want;
    } t[] = {
        { "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) "," CONFIG "}", NULL, CB_MT_OCI_MANIFEST },
        { "{" V2 "," TYPE(CB_MT_DOCKER_MANIFEST) "," CONFIG "}", "text/plain; charset=utf-8", CB_MT_DOCKER_MANIFEST },
        { "{" V2 "," TYPE(CB_MT_DOCKER_LIST) "," MANIFESTS "}", "application/json", CB_MT_DOCKER_LIST },
        { "{" V2 "," TYPE(CB_MT_OCI_INDEX) "," MANIFESTS "}", CB_MT_OCI_INDEX "; charset=utf-8", CB_MT_OCI_INDEX },
        { "{" V2 "," TYPE(CB_MT_OCI_INDEX) "," MANIFESTS "}", "Application/VND.oci.image.index.v1+JSON",
            CB_MT_OCI_INDEX },
        { "{" V2 "," MANIFESTS "}", NULL, CB_MT_OCI_INDEX },
        { "{" V2 "," MANIFESTS "}", CB_MT_DOCKER_LIST, CB_MT_DOCKER_LIST },
        { "{" V2 "," CONFIG "," LAYERS "}", NULL, CB_MT_OCI_MANIFEST },
        { "{" V2 "," CONFIG "," LAYERS "}", CB_MT_DOCKER_MANIFEST, CB_MT_DOCKER_MANIFEST },
        { "{" V2 ",\"config\":" DESC(CB_MT_DOCKER_CONFIG, D1, "1") "}", NULL, CB_MT_DOCKER_MANIFEST },
        { "{" V2 ",\"mediaType\":\"\"," CONFIG "}", NULL, CB_MT_OCI_MANIFEST },
        { "{" V2 "}", CB_MT_OCI_INDEX, CB_MT_OCI_INDEX },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        const char *have = cb_manifest_detect(t[i].text, strlen(t[i].text), t[i].content_type, &err);
        if (!have)
            fail_msg("%s: %s", t[i].text, err.msg);
        assert_string_equal(have, t[i].want);
    }
}

/* What detect and parse refuse alike. */
static const struct {
    const char *text, *content_type, *message;
} ambiguous[] = {
    { "{" V2 "," MANIFESTS "," LAYERS "}", NULL, "\"manifests\" and \"layers\"" },
    { "{" V2 "," TYPE(CB_MT_OCI_INDEX) "," MANIFESTS "," CONFIG "}", NULL, "\"manifests\" and \"config\"" },
    { "{" V2 "," MANIFESTS ",\"fsLayers\":[]}", NULL, "\"manifests\" and \"fsLayers\"" },
    { "{" V2 "," LAYERS ",\"fsLayers\":[]}", NULL, "\"fsLayers\" and \"layers\"" },
    { "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) "," MANIFESTS "}", NULL, "a manifest, but has \"manifests\"" },
    { "{" V2 "," TYPE(CB_MT_OCI_INDEX) "," LAYERS "}", NULL, "an index, but has \"layers\"" },
    { "{" V2 "," TYPE(CB_MT_OCI_INDEX) "," CONFIG "}", NULL, "an index, but has \"config\"" },
    { "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) "," CONFIG "}", CB_MT_DOCKER_MANIFEST, "its Content-Type says" },
    { "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) "," CONFIG "}", CB_MT_OCI_INDEX, "its Content-Type says" },
    { "{" V2 "," TYPE(CB_MT_OCI_MANIFEST) "," CONFIG "}", "application/vnd.docker.distribution.manifest.v1+prettyjws",
      "its Content-Type says" },
    { "{" V2 "," MANIFESTS "}", CB_MT_OCI_MANIFEST, "it is an index, its Content-Type says" },
    { "{" V2 "," CONFIG "}", CB_MT_DOCKER_LIST, "it is a manifest, its Content-Type says" },
    { "{" V2 "," TYPE("Application/vnd.oci.image.manifest.v1+json") "," CONFIG "}", NULL,
        "no media type of a manifest" },
    { "{" V2 "," TYPE(CB_MT_OCI_MANIFEST "; a=b") "," CONFIG "}", NULL, "no media type of a manifest" },
    { "{" V2 "," TYPE(CB_MT_OCI_CONFIG) "," CONFIG "}", NULL, "no media type of a manifest" },
    { "{" V2 ",\"mediaType\":1," CONFIG "}", NULL, "\"mediaType\" is not a string" },
    { "{" V2 "," CONFIG "," LAYERS ",\"Layers\":[]}", NULL, "another spelling of \"layers\"" },
    { "{" V2 "," CONFIG ",\"layerS\":[]}", NULL, "another spelling of \"layers\"" },
    { "{" V2 "," CONFIG "," CONFIG "}", NULL, "duplicate" },
    { "{" V2 "," CONFIG "}x", NULL, "JSON: line 1" },
    { "{" CONFIG "," LAYERS "}", NULL, "\"schemaVersion\" is not 2" },
    { "{\"schemaVersion\":3," CONFIG "}", NULL, "\"schemaVersion\" is not 2" },
    { "{\"schemaVersion\":\"2\"," CONFIG "}", NULL, "\"schemaVersion\" is not an integer" },
    { "{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "schema 1" },
    { "{\"schemaVersion\":1," CONFIG "}", NULL, "schema 1" },
    { "{" V2 "," TYPE("application/vnd.docker.distribution.manifest.v1+json") "}", NULL, "schema 1" },
    { "{" V2 "}", NULL, "neither a manifest nor an index" },
    { "[]", NULL, "not a JSON object" },
    { "", NULL, "JSON: " },
};

static void test_ambiguous(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(ambiguous); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT, err2 = CB_ERROR_INIT, err3 = CB_ERROR_INIT;
        cb_cleanup_manifest struct cb_manifest m = { .artifact_type = cb_strdup("kept") };
        cb_cleanup_index struct cb_index x = { 0 };
        const char *text = ambiguous[i].text, *type = ambiguous[i].content_type;
        assert_null(cb_manifest_detect(text, strlen(text), type, &err));
        assert_int_equal(err.code, CB_EVERIFY);
        if (!strstr(err.msg, ambiguous[i].message))
            fail_msg("%s: %s", text, err.msg);
        assert_int_equal(cb_manifest_parse(&m, text, strlen(text), type, &err2), -CB_EVERIFY);
        assert_string_equal(err2.msg, err.msg);
        assert_string_equal(m.artifact_type, "kept");
        assert_int_equal(cb_index_parse(&x, text, strlen(text), type, &err3), -CB_EVERIFY);
    }
}

static void test_refused_parts(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "{" V2 "," LAYERS "}", "no \"config\"" },
        { "{" V2 ",\"config\":[]," LAYERS "}", "\"config\" is not an object" },
        { "{" V2 ",\"config\":{}," LAYERS "}", "config: descriptor: it has no \"mediaType\"" },
        { "{" V2 "," CONFIG ",\"layers\":{}}", "\"layers\" is not an array" },
        { "{" V2 "," CONFIG ",\"layers\":[null]}", "layers[0]: descriptor: it is not a JSON object" },
        { "{" V2 "," CONFIG ",\"layers\":[" DESC("a/b", D1, "1") "," DESC("a/b", D1, "-1") "]}",
          "layers[1]: descriptor: JSON: \"size\" is negative" },
        { "{" V2 "," CONFIG ",\"layers\":[" DESC("a/b", "sha512:00", "1") "]}", "sha512 has 128 hexadecimal digits" },
        { "{" V2 "," CONFIG ",\"subject\":[]}", "\"subject\" is not an object" },
        { "{" V2 "," CONFIG ",\"subject\":{}}", "subject: descriptor" },
        { "{" V2 "," CONFIG ",\"annotations\":{\"a\":1}}", "\"annotations\".\"a\" is not a string" },
        { "{" V2 "," CONFIG ",\"artifactType\":\"x\"}", "\"artifactType\" is no media type" },
        { "{" V2 "," MANIFESTS "}", "it is an index" },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_manifest struct cb_manifest m = { 0 };
        assert_int_equal(parse(&m, bad[i][0], NULL, &err), -CB_EVERIFY);
        if (!strstr(err.msg, bad[i][1]) || strncmp(err.msg, "manifest: ", 10) != 0)
            fail_msg("%s: %s", bad[i][0], err.msg);
    }
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_index struct cb_index x = { 0 };
    assert_int_equal(cb_index_parse(&x, full_manifest, strlen(full_manifest), NULL, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "index: it is a manifest (" CB_MT_OCI_MANIFEST ")");
}

/* `before`, n times `item` with commas, `after`. */
static char *repeated(const char *before, const char *item, size_t n, const char *after)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, before);
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addf(&sb, "%s%s", i ? "," : "", item);
    cb_strbuf_adds(&sb, after);
    return cb_strbuf_detach(&sb, NULL);
}

static int layers_result(size_t n)
{
    cb_autofree char *s = repeated("{" V2 "," CONFIG ",\"layers\":[", DESC("a/b", D1, "1"), n, "]}");
    cb_cleanup_manifest struct cb_manifest m = { 0 };
    return parse(&m, s, NULL, NULL);
}

static int manifests_result(size_t n)
{
    cb_autofree char *s = repeated("{" V2 ",\"manifests\":[", DESC("a/b", D1, "1"), n, "]}");
    cb_cleanup_index struct cb_index x = { 0 };
    return cb_index_parse(&x, s, strlen(s), NULL, NULL);
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(layers_result(CB_MAX_LAYERS), 0);
    assert_int_equal(layers_result(CB_MAX_LAYERS + 1), -CB_EVERIFY);
    assert_int_equal(manifests_result(CB_MAX_INDEX_MANIFESTS), 0);
    assert_int_equal(manifests_result(CB_MAX_INDEX_MANIFESTS + 1), -CB_EVERIFY);
    cb_autofree char *big = cb_malloc(CB_MAX_MANIFEST + 1);
    memset(big, ' ', CB_MAX_MANIFEST + 1);
    memcpy(big, full_manifest, sizeof full_manifest - 1);
    cb_cleanup_manifest struct cb_manifest m = { 0 };
    assert_int_equal(cb_manifest_parse(&m, big, CB_MAX_MANIFEST, NULL, NULL), 0);
    assert_int_equal(cb_manifest_parse(&m, big, CB_MAX_MANIFEST + 1, NULL, NULL), -CB_EVERIFY);
}

#define ENTRY(size, platform)                                                                                          \
    "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"" D1 "\",\"size\":" size ",\"platform\":{" platform "}}"

/* The size of the entry that is selected, 0 where there is none. */
static uint64_t selected(const char *text, const char *platform)
{
    cb_cleanup_index struct cb_index x = { 0 };
    cb_cleanup_platform struct cb_platform p = { 0 };
    assert_int_equal(cb_index_parse(&x, text, strlen(text), NULL, NULL), 0);
    assert_int_equal(cb_platform_parse(&p, platform, NULL), 0);
    const struct cb_descriptor *d = cb_index_select(&x, &p);
    return d ? d->size : 0;
}

static void test_select(void **state)
{
    (void)state;
    static const char text[] =
        "{" V2 ",\"manifests\":["
        "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"" D1 "\",\"size\":99,\"annotations\":"
        "{\"vnd.docker.reference.type\":\"attestation-manifest\"},\"platform\":{\"architecture\":\"amd64\","
        "\"os\":\"linux\"}},"
        ENTRY("98", "\"architecture\":\"unknown\",\"os\":\"unknown\"") ","
        "{\"mediaType\":\"x/config\",\"digest\":\"" D1 "\",\"size\":97},"
        ENTRY("1", "\"architecture\":\"386\",\"os\":\"linux\"") ","
        ENTRY("2", "\"architecture\":\"amd64\",\"os\":\"linux\"") ","
        ENTRY("3", "\"architecture\":\"amd64\",\"os\":\"linux\"") ","
        ENTRY("5", "\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v5\"") ","
        ENTRY("6", "\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v6\"") ","
        ENTRY("8", "\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"") "]}";
    assert_true(selected(text, "linux/amd64") == 2);
    assert_true(selected(text, "linux/amd64/v3") == 2);
    assert_true(selected(text, "linux/386") == 1);
    assert_true(selected(text, "linux/arm") == 6);
    assert_true(selected(text, "linux/arm/v5") == 5);
    assert_true(selected(text, "linux/arm64") == 8);
    assert_true(selected(text, "linux/s390x") == 0);
    assert_true(selected(text, "windows/amd64") == 0);
}

static void test_select_without_platform(void **state)
{
    (void)state;
    static const char text[] = "{" V2 ",\"manifests\":[" DESC(CB_MT_OCI_MANIFEST, D1, "1") ","
        ENTRY("2", "\"architecture\":\"amd64\",\"os\":\"linux\"") "]}";
    assert_true(selected(text, "linux/amd64") == 2);
    assert_true(selected(text, "linux/s390x") == 1);
    assert_true(selected("{" V2 ",\"manifests\":[]}", "linux/amd64") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_round_trip),
        cmocka_unit_test(test_index_round_trip),
        cmocka_unit_test(test_detect),
        cmocka_unit_test(test_ambiguous),
        cmocka_unit_test(test_refused_parts),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_select_without_platform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cache/cache.h"
#include "util/alloc.h"
#include "util/limits.h"

#define CB_FUZZ_REPLAY 1
#include "tests/fuzz/fuzz_cache.c"
#include "fuzz_replay.h"

#define D1 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define D2 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define D3 "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define GZIP "\"mediaType\":\"" CB_MT_OCI_LAYER_GZIP "\""
#define PARENT "{\"diffID\":\"" D1 "\"}"
#define OWN "{\"diffID\":\"" D2 "\",\"size\":10240,\"blob\":{" GZIP ",\"digest\":\"" D3 "\",\"size\":77,\"engine\":" \
            "\"libdeflate-1.14/6\"},\"toc\":{\"digest\":\"" D1 "\",\"size\":99}}"
#define STEP "{\"key\":\"" D3 "\",\"whole\":true,\"created\":\"2026-01-02T03:04:05.000000006Z\"," \
             "\"note\":\"RUN make\",\"layers\":[0,1]}"
#define SET(layers, steps) "{\"schema\":1,\"layers\":[" layers "],\"steps\":[" steps "]}"
#define STEP_OF_NOTHING "{\"key\":\"" D3 "\",\"whole\":true,\"created\":\"2026-01-02T03:04:05Z\",\"layers\":[0]}"
static const char full[] = SET(PARENT "," OWN, STEP);

#define SAME "{\"key\":\"" D1 "\",\"whole\":true,\"created\":\"2026-01-02T03:04:05Z\",\"layers\":[0,1]," \
             "\"content\":\"" D2 "\",\"added\":true}"
static const char with_content[] = SET(PARENT "," OWN, STEP "," SAME);

static struct cb_digest digest(const char *text)
{
    struct cb_digest d;
    assert_int_equal(cb_digest_parse(&d, text, NULL), 0);
    return d;
}

static void records_are_printed_as_they_are_read(void **state)
{
    (void)state;
    struct cb_cache_set s cb_cleanup_cache_set = { 0 };
    struct cb_strbuf again cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(cb_cache_set_parse(&s, full, strlen(full), NULL), 0);
    assert_int_equal(s.n_layers, 2);
    assert_false(cb_digest_is_set(&s.layers[0].blob.digest));
    assert_int_equal(s.layers[1].blob.compression, CB_COMPRESSION_GZIP);
    assert_true(s.layers[0].size == UINT64_MAX);
    struct cb_digest key = digest(D3);
    const struct cb_cache_step *step = cb_cache_set_find(&s, &key);
    assert_non_null(step);
    assert_true(step->whole);
    assert_int_equal(step->created % 1000, 6);
    cb_cache_set_print(&again, &s);
    assert_string_equal(again.buf, full);
}

static void the_content_of_a_step_is_kept(void **state)
{
    (void)state;
    struct cb_cache_set s cb_cleanup_cache_set = { 0 }, copy cb_cleanup_cache_set = { 0 };
    struct cb_strbuf again cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest content = digest(D2);
    assert_int_equal(cb_cache_set_parse(&s, with_content, strlen(with_content), NULL), 0);
    assert_false(cb_digest_is_set(&s.steps[0].content));
    for (size_t i = 0; i < s.n_steps; i++)
        assert_non_null(cb_cache_set_copy(&copy, &s, &s.steps[i]));
    assert_true(cb_digest_eq(&copy.steps[1].content, &content));
    assert_true(copy.steps[1].added);
    cb_cache_set_print(&again, &copy);
    assert_string_equal(again.buf, with_content);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
#define KEY "\"key\":\"" D3 "\""
#define WHEN "\"created\":\"2026-01-02T03:04:05Z\""
    static const char *const bad[] = {
        "", "[]", "{}", "{\"schema\":1}", "{\"schema\":2,\"layers\":[],\"steps\":[]}",
        SET("1", ""), SET("", "1"), SET("{}", ""),
        SET("{\"diffID\":\"" D1 "\",\"diffid\":\"" D2 "\"}", ""),
        SET("{\"diffID\":\"sha256:AA\"}", ""),
        SET("{\"diffID\":\"" D1 "\",\"blob\":{" GZIP ",\"digest\":\"" D3 "\"}}", ""),
        SET("{\"diffID\":\"" D1 "\",\"blob\":{\"mediaType\":\"" CB_MT_OCI_CONFIG "\",\"digest\":\"" D3
            "\",\"size\":1}}", ""),
        SET("{\"diffID\":\"" D1 "\",\"blob\":{\"mediaType\":\"" CB_MT_DOCKER_FOREIGN_GZIP "\",\"digest\":\"" D3
            "\",\"size\":1}}", ""),
        SET("{\"diffID\":\"" D1 "\",\"blob\":{" GZIP ",\"digest\":\"" D3 "\",\"size\":1,"
            "\"engine\":\"\\u001b[1m\"}}", ""),
        SET("{\"diffID\":\"" D1 "\",\"toc\":{\"digest\":\"" D3 "\",\"size\":99999999999}}", ""),
        SET(PARENT, "{" KEY "," WHEN ",\"whole\":true}"),
        SET(PARENT, "{" KEY "," WHEN ",\"whole\":true,\"layers\":[1]}"),
        SET(PARENT, "{" KEY "," WHEN ",\"whole\":true,\"layers\":[-1]}"),
        SET(PARENT, "{" KEY "," WHEN ",\"whole\":true,\"layers\":[0.0]}"),
        SET(PARENT, "{" KEY "," WHEN ",\"whole\":false,\"layers\":[0,0]}"),
        SET(PARENT, "{" KEY ",\"created\":\"yesterday\",\"layers\":[]}"),
        SET(PARENT, "{" KEY ",\"layers\":[]}"),
        SET(PARENT, "{" WHEN ",\"layers\":[]}"),
        SET(PARENT, "{" KEY "," WHEN ",\"layers\":[],\"signature\":\"AAAA\"}"),
        SET(PARENT, "{" KEY "," WHEN ",\"layers\":[],\"content\":\"x\"}"),
        SET(PARENT, "{" KEY "," WHEN ",\"layers\":[],\"content\":1}"),
        SET(PARENT, "{" KEY "," WHEN ",\"layers\":[],\"content\":\"" D3 "\",\"added\":true}"),
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct cb_cache_set s cb_cleanup_cache_set = { 0 };
        if (cb_cache_set_parse(&s, bad[i], strlen(bad[i]), NULL) != -CB_EVERIFY)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(s.n_layers, 0);
    }
}

static void too_many_layers_of_a_step_are_refused(void **state)
{
    (void)state;
    for (size_t n = CB_MAX_LAYERS; n <= CB_MAX_LAYERS + 1; n++) {
        struct cb_cache_set s cb_cleanup_cache_set = { 0 }, again cb_cleanup_cache_set = { 0 };
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_cache_layer l = { .diff_id = digest(D1), .size = UINT64_MAX };
        struct cb_digest key = digest(D3);
        uint32_t at = cb_cache_set_layer(&s, &l);
        struct cb_cache_step *step = cb_cache_set_step(&s, &key);
        step->whole = true;
        for (size_t i = 0; i < n; i++)
            cb_cache_step_add(step, at);
        cb_cache_set_print(&text, &s);
        assert_int_equal(cb_cache_set_parse(&again, text.buf, text.len, NULL), n > CB_MAX_LAYERS ? -CB_EVERIFY : 0);
    }
}

static void a_layer_stands_once(void **state)
{
    (void)state;
    struct cb_cache_set s cb_cleanup_cache_set = { 0 };
    struct cb_cache_layer l = { .diff_id = digest(D1), .size = 1 };
    assert_int_equal(cb_cache_set_layer(&s, &l), 0);
    assert_int_equal(cb_cache_set_layer(&s, &l), 0);
    l.blob.digest = digest(D2);
    l.blob.media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER_GZIP;
    assert_int_equal(cb_cache_set_layer(&s, &l), 1);
    l.blob.digest = digest(D3);
    assert_int_equal(cb_cache_set_layer(&s, &l), 2);
    assert_int_equal(cb_cache_set_layer(&s, &l), 2);
}

static void steps_go_from_set_to_set_with_their_layers(void **state)
{
    (void)state;
    struct cb_cache_set s cb_cleanup_cache_set = { 0 }, to cb_cleanup_cache_set = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(cb_cache_set_parse(&s, full, strlen(full), NULL), 0);
    cb_cache_set_copy(&to, &s, &s.steps[0]);
    cb_cache_set_copy(&to, &s, &s.steps[0]);
    cb_cache_set_print(&text, &to);
    assert_string_equal(text.buf, full);
}

static void make(struct cb_cache_artifact *a, const char *records, const char *type)
{
    struct cb_cache_set s cb_cleanup_cache_set = { 0 };
    assert_int_equal(cb_cache_set_parse(&s, records, strlen(records), NULL), 0);
    struct cb_cache_artifact_options o = { .set = &s, .type = type, .created = 0 };
    assert_int_equal(cb_cache_artifact_make(a, &o, NULL), 0);
}

static void an_artifact_is_read_in_one_piece(void **state)
{
    (void)state;
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_artifact b cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    make(&a, full, CB_MT_CACHE_STEP);
    assert_int_equal(cb_cache_artifact_parse(&b, a.body.buf, a.body.len, NULL), 0);
    assert_string_equal(b.config.buf, full);
    assert_true(cb_digest_eq(&a.desc.digest, &b.desc.digest));
    /* What the parent has is not its to keep. */
    assert_int_equal(b.manifest.n_layers, 2);
    assert_string_equal(b.manifest.layers[0].media_type, CB_MT_OCI_LAYER_GZIP);
    assert_string_equal(b.manifest.layers[1].media_type, CB_MT_TOC);
    assert_string_equal(b.manifest.artifact_type, CB_MT_CACHE_STEP);
}

static void an_artifact_without_layers_names_the_empty_blob(void **state)
{
    (void)state;
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    make(&a, SET(PARENT, STEP_OF_NOTHING), CB_MT_CACHE_STEP);
    assert_int_equal(a.manifest.n_layers, 1);
    assert_string_equal(a.manifest.layers[0].media_type, CB_MT_OCI_EMPTY);
    assert_int_equal(a.manifest.layers[0].size, 2);
}

static void data_that_the_digest_does_not_name_is_refused(void **state)
{
    (void)state;
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_artifact b cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    make(&a, full, CB_MT_CACHE_STEP);
    char *data = strstr(a.body.buf, "\"data\":\"");
    assert_non_null(data);
    data[20] = data[20] == 'A' ? 'B' : 'A';
    assert_int_equal(cb_cache_artifact_parse(&b, a.body.buf, a.body.len, NULL), -CB_EVERIFY);
}

static void many_records_stand_in_a_blob_of_their_own(void **state)
{
    (void)state;
    struct cb_cache_set s cb_cleanup_cache_set = { 0 };
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_artifact b cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    for (unsigned i = 0; i < 4000; i++) {
        struct cb_digest d;
        cb_digest_of(&d, &i, sizeof i);
        struct cb_cache_layer l = { .diff_id = d, .size = i, .blob = { .digest = d, .size = i,
                                    .media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER_GZIP } };
        uint32_t at = cb_cache_set_layer(&s, &l);
        cb_cache_step_add(cb_cache_set_step(&s, &d), at);
    }
    struct cb_cache_artifact_options o = { .set = &s, .type = CB_MT_CACHE_RUN };
    assert_int_equal(cb_cache_artifact_make(&a, &o, NULL), 0);
    assert_true(a.body.len < CB_MAX_MANIFEST / 4);
    assert_true(a.manifest.n_layers <= CB_MAX_LAYERS);
    assert_int_equal(cb_cache_artifact_parse(&b, a.body.buf, a.body.len, NULL), 0);
    assert_int_equal(b.config.len, 0);
    assert_true(b.manifest.config.size == a.config.len);
}

static void other_manifests_are_no_artifacts(void **state)
{
    (void)state;
    static const char image[] = "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":"
        "{\"mediaType\":\"" CB_MT_OCI_CONFIG "\",\"digest\":\"" D1 "\",\"size\":3},\"layers\":[]}";
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    assert_int_equal(cb_cache_artifact_parse(&a, image, strlen(image), NULL), -CB_EVERIFY);
}

static void every_input_that_was_kept_is_survived(void **state)
{
    (void)state;
    static const struct fuzz_target target = { "cache", fuzz_cache };
    assert_true(fuzz_replay(&target) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_printed_as_they_are_read),
        cmocka_unit_test(the_content_of_a_step_is_kept),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(too_many_layers_of_a_step_are_refused),
        cmocka_unit_test(a_layer_stands_once),
        cmocka_unit_test(steps_go_from_set_to_set_with_their_layers),
        cmocka_unit_test(an_artifact_is_read_in_one_piece),
        cmocka_unit_test(an_artifact_without_layers_names_the_empty_blob),
        cmocka_unit_test(data_that_the_digest_does_not_name_is_refused),
        cmocka_unit_test(many_records_stand_in_a_blob_of_their_own),
        cmocka_unit_test(other_manifests_are_no_artifacts),
        cmocka_unit_test(every_input_that_was_kept_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

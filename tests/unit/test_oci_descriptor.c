/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/descriptor.h"
#include "oci/json.h"
#include "oci/mediatype.h"
#include "util/alloc.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define MIN "\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":3"

static int parse(struct cb_descriptor *d, const char *text, struct cb_error *err)
{
    cb_autojson json_t *o = cb_json_parse(text, strlen(text), NULL);
    assert_non_null(o);
    return cb_descriptor_from_json(d, o, err);
}

static void expect_print(const struct cb_descriptor *d, const char *want)
{
    cb_autojson json_t *o = cb_descriptor_to_json(d);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_json_print(&sb, o);
    assert_string_equal(sb.buf, want);
}

static const char full[] = "{" MIN ",\"urls\":[\"https://x/y\"],\"annotations\":{\"a\":\"1\",\"b\":\"\"},"
                           "\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\",\"os.version\":\"1\","
                           "\"variant\":\"v7\"},"
                           "\"artifactType\":\"c/d\"}";

static void test_round_trip(void **state)
{
    (void)state;
    cb_cleanup_descriptor struct cb_descriptor d = { 0 }, copy = { 0 };
    assert_int_equal(parse(&d, full, NULL), 0);
    expect_print(&d, full);
    assert_true(d.size == 3);
    assert_string_equal(d.platform->variant, "v7");
    assert_string_equal(d.urls.v[0], "https://x/y");
    cb_descriptor_copy(&copy, &d);
    cb_descriptor_copy(&copy, &copy);
    assert_ptr_not_equal(copy.platform, d.platform);
    cb_descriptor_done(&d);
    expect_print(&copy, full);
    assert_int_equal(parse(&copy, "{" MIN ",\"data\":\"YWJj\",\"platform\":null,\"artifactType\":\"\"}", NULL), 0);
    expect_print(&copy, "{" MIN "}");
}

static void test_of_bytes(void **state)
{
    (void)state;
    cb_cleanup_descriptor struct cb_descriptor d = { .artifact_type = cb_strdup("old/old") };
    cb_descriptor_of(&d, "a/b", "abc", 3);
    expect_print(&d, "{" MIN "}");
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "[]", "not a JSON object" },
        { "{\"digest\":\"" DIGEST "\",\"size\":3}", "no \"mediaType\"" },
        { "{\"mediaType\":\"\",\"digest\":\"" DIGEST "\",\"size\":3}", "no \"mediaType\"" },
        { "{\"mediaType\":\"a\",\"digest\":\"" DIGEST "\",\"size\":3}", "is no media type" },
        { "{\"mediaType\":\"a/b\\r\\nX: y\",\"digest\":\"" DIGEST "\",\"size\":3}", "is no media type" },
        { "{\"mediaType\":\"a/b\",\"size\":3}", "digest is empty" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../x\",\"size\":3}", "is no digest" },
        { "{\"mediaType\":\"a/b\",\"digest\":7,\"size\":3}", "\"digest\" is not a string" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\"}", "no \"size\"" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":-1}", "negative" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":\"3\"}", "not an integer" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":3.0}", "not an integer" },
        { "{" MIN ",\"Size\":4}", "another spelling" },
        { "{" MIN ",\"urls\":[1]}", "not a string" },
        { "{" MIN ",\"urls\":\"x\"}", "not an array" },
        { "{" MIN ",\"annotations\":{\"a\":1}}", "not a string" },
        { "{" MIN ",\"platform\":\"linux/amd64\"}", "not an object" },
        { "{" MIN ",\"platform\":{\"os\":1}}", "not a string" },
        { "{" MIN ",\"platform\":{\"OS\":\"linux\"}}", "another spelling" },
        { "{" MIN ",\"artifactType\":\"x y\"}", "is no media type" },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_descriptor struct cb_descriptor d = { .size = 77 };
        assert_int_equal(parse(&d, bad[i][0], &err), -CB_EVERIFY);
        if (!strstr(err.msg, bad[i][1]) || strncmp(err.msg, "descriptor: ", 12) != 0)
            fail_msg("%s: %s", bad[i][0], err.msg);
        assert_true(d.size == 77);
    }
    assert_int_equal(cb_descriptor_from_json(&(struct cb_descriptor){ 0 }, NULL, NULL), -CB_EVERIFY);
}

static void test_largest_size(void **state)
{
    (void)state;
    cb_cleanup_descriptor struct cb_descriptor d = { 0 };
    assert_int_equal(parse(&d, "{\"mediaType\":\"a/b\",\"digest\":\"" DIGEST "\",\"size\":9223372036854775807}",
        NULL), 0);
    assert_true(d.size == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_of_bytes),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_largest_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

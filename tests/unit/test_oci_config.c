/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/config.h"
#include "util/alloc.h"
#include "util/limits.h"

#define D1 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define D2 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* In canonical form. */
static const char full[] =
    "{\"created\":\"2026-11-23T10:00:00.5Z\",\"author\":\"me\",\"architecture\":\"arm\",\"variant\":\"v7\","
    "\"os\":\"linux\","
    "\"os.version\":\"1\",\"config\":{\"User\":\"1000:1000\",\"ExposedPorts\":{\"53/udp\":{},\"80/tcp\":{}},"
    "\"Env\":[\"PATH=/bin\",\"EMPTY=\",\"X=a=b\"],\"Entrypoint\":[\"/init\"],\"Cmd\":[],\"Volumes\":{\"/data\":{},"
    "\"/var\":{}},"
    "\"WorkingDir\":\"/app\",\"Labels\":{\"a\":\"1\",\"b\":\"\"},\"StopSignal\":\"SIGTERM\",\"ArgsEscaped\":true,"
    "\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"true\"],\"Interval\":30000000000,\"Timeout\":1000000,\"StartPeriod\":1,"
    "\"StartInterval\":2,\"Retries\":3},\"OnBuild\":[\"RUN x\"],\"Shell\":[\"/bin/bash\",\"-c\"]},"
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",\"" D2 "\"]},"
    "\"history\":[{\"created\":\"0001-01-01T00:00:00Z\",\"created_by\":\"ADD\",\"author\":\"a\",\"comment\":\"c\"},"
    "{\"created_by\":\"ENV\",\"empty_layer\":true},{}]}";

static int parse(struct cb_image_config *c, const char *text, struct cb_error *err)
{
    return cb_image_config_parse(c, text, strlen(text), err);
}

static void expect_print(const struct cb_image_config *c, const char *want)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_image_config_print(&sb, c);
    assert_string_equal(sb.buf, want);
}

static void test_round_trip(void **state)
{
    (void)state;
    cb_cleanup_image_config struct cb_image_config c = { 0 }, copy = { 0 };
    assert_int_equal(parse(&c, full, NULL), 0);
    expect_print(&c, full);
    cb_image_config_copy(&copy, &c);
    cb_image_config_copy(&copy, &copy);
    cb_image_config_done(&c);
    expect_print(&copy, full); /* shares nothing */
}

static void test_values(void **state)
{
    (void)state;
    cb_cleanup_image_config struct cb_image_config c = { 0 };
    assert_int_equal(parse(&c, full, NULL), 0);
    assert_string_equal(c.platform.variant, "v7");
    assert_string_equal(cb_env_get(&c.env, "X"), "a=b");
    assert_true(c.entrypoint.set && c.entrypoint.args.n == 1);
    assert_true(c.cmd.set && c.cmd.args.n == 0);
    assert_true(c.healthcheck->interval == 30000000000 && c.healthcheck->retries == 3);
    assert_int_equal(c.n_diff_ids, 2);
    assert_int_equal(c.n_history, 3);
    assert_true(c.history[1].empty_layer && !c.history[0].empty_layer);
    assert_null(c.history[2].created);
}

#define BARE                                                                                                           \
    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"

/* Other spellings of the same, Docker's members that we do not know, and nulls wherever Go may write them. */
static void test_canonical(void **state)
{
    (void)state;
    static const char *const t[][2] = {
        { "{\"os\":\"linux\",\"architecture\":\"amd64\"}", BARE },
        { " {\"architecture\" : \"amd64\", \"os\":\"linux\", \"config\":null,\"rootfs\":null,\"history\":null,"
            "\"created\":null}\n", BARE },
        { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"docker_version\":\"1\","
            "\"container_config\":{\"Cmd\":[\"x\"]},"
          "\"config\":{\"Hostname\":\"h\",\"Env\":null,\"Entrypoint\":null,\"Cmd\":null,\"Labels\":null,"
          "\"Volumes\":null,"
          "\"OnBuild\":null,\"User\":\"\",\"Healthcheck\":null,\"Shell\":null,\"ArgsEscaped\":false},"
          "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null},\"history\":[]}",
          BARE },
        { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Volumes\":{\"/z\":{},\"/a\":null,\"/m\":{}},"
          "\"Labels\":{\"z\":\"\",\"a\":\"\"}}}",
          "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Volumes\":{\"/a\":{},\"/m\":{},\"/z\":{}},"
          "\"Labels\":{\"a\":\"\",\"z\":\"\"}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
        { "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Healthcheck\":{\"Test\":[\"NONE\"],"
            "\"Retries\":0}}}",
          "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Healthcheck\":{\"Test\":[\"NONE\"]}},"
          "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_cleanup_image_config struct cb_image_config c = { 0 };
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        if (parse(&c, t[i][0], &err) < 0)
            fail_msg("%s: %s", t[i][0], err.msg);
        expect_print(&c, t[i][1]);
    }
}

#define CFG(members) "{\"config\":{" members "}}"

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        { "", "JSON: " },
        { "[]", "not a JSON object" },
        { "{} ,", "JSON: " },
        { CFG("\"Env\":[\"SECRET\"]"), "\"Env\"[0] is not of the form NAME=value" },
        { CFG("\"Env\":[\"A=1\",\"*\"]"), "\"Env\"[1] is not of the form NAME=value" },
        { CFG("\"Env\":[\"=x\"]"), "\"Env\"[0] has an empty name" },
        { CFG("\"Env\":[\"=\"]"), "\"Env\"[0] has an empty name" },
        { CFG("\"Env\":[\"\"]"), "\"Env\"[0] is not of the form NAME=value" },
        { CFG("\"Env\":{\"A\":\"1\"}"), "\"Env\" is not an array" },
        { CFG("\"Env\":[\"A=\\u0000\"]"), "JSON: " },
        { CFG("\"Env\":[\"A=1\"],\"env\":[\"A=2\"]"), "another spelling of \"Env\"" },
        { CFG("\"User\":0"), "\"User\" is not a string" },
        { CFG("\"Entrypoint\":\"/x\""), "\"Entrypoint\" is not an array" },
        { CFG("\"Cmd\":[1]"), "\"Cmd\"[0] is not a string" },
        { CFG("\"Volumes\":[\"/x\"]"), "\"Volumes\" is not an object" },
        { CFG("\"Volumes\":{\"/x\":1}"), "\"Volumes\".\"/x\" is not an object" },
        { CFG("\"ExposedPorts\":{\"\":{}}"), "\"ExposedPorts\" has an empty name" },
        { CFG("\"Labels\":{\"a\":1}"), "\"Labels\".\"a\" is not a string" },
        { CFG("\"Healthcheck\":[]"), "\"Healthcheck\" is not an object" },
        { CFG("\"Healthcheck\":{\"Interval\":-1}"), "Healthcheck: \"Interval\" is negative" },
        { CFG("\"Healthcheck\":{\"Retries\":-1}"), "Healthcheck: JSON: \"Retries\" is negative" },
        { CFG("\"Healthcheck\":{\"Interval\":\"30s\"}"), "\"Interval\" is not an integer" },
        { CFG("\"Healthcheck\":{\"test\":[]}"), "another spelling of \"Test\"" },
        { CFG("\"ArgsEscaped\":1"), "\"ArgsEscaped\" is not true or false" },
        { CFG("\"OnBuild\":[null]"), "\"OnBuild\"[0] is not a string" },
        { "{\"config\":[]}", "\"config\" is not an object" },
        { "{\"Config\":{}}", "another spelling of \"config\"" },
        { "{\"os\":1}", "\"os\" is not a string" },
        { "{\"rootfs\":{\"diff_ids\":[]}}", "is not \"layers\"" },
        { "{\"rootfs\":{\"type\":\"layer\",\"diff_ids\":[]}}", "is not \"layers\"" },
        { "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"x\"]}}", "diff_ids[0]: \"x\" is no digest" },
        { "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",7]}}", "diff_ids[1]: the digest is empty" },
        { "{\"history\":{}}", "\"history\" is not an array" },
        { "{\"history\":[{},1]}", "history[1]: it is not an object" },
        { "{\"history\":[{\"comment\":\"x\",\"empty_layer\":1}]}", "history[0]: JSON: \"empty_layer\"" },
        { "{\"history\":[{\"Created\":\"\"}]}", "another spelling" },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_image_config struct cb_image_config c = { .author = cb_strdup("kept") };
        assert_int_equal(parse(&c, bad[i][0], &err), -CB_EVERIFY);
        if (!strstr(err.msg, bad[i][1]) || strncmp(err.msg, "image config: ", 14) != 0)
            fail_msg("%s: %s", bad[i][0], err.msg);
        assert_null(strstr(err.msg, "SECRET"));
        assert_string_equal(c.author, "kept");
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } t[] = {
        { "2026-11-23T10:00:00Z", true },          { "2026-11-23T10:00:00.123456789Z", true },
        { "2026-11-23T10:00:00+02:00", true },     { "2026-11-23T23:59:60.1-23:59", true },
        { "1970-01-01T00:00:00Z", true },          { "", true },
        { "2026-11-23", false },                   { "2026-11-23 10:00:00Z", false },
        { "2026-11-23T10:00:00", false },          { "2026-13-23T10:00:00Z", false },
        { "2026-00-23T10:00:00Z", false },         { "2026-11-32T10:00:00Z", false },
        { "2026-11-23T24:00:00Z", false },         { "2026-11-23T10:60:00Z", false },
        { "2026-11-23T10:00:00.Z", false },        { "2026-11-23T10:00:00Zx", false },
        { "2026-11-23T10:00:00+2:00", false },     { "2026-11-23T10:00:00+24:00", false },
        { "2026-11-23T10:00:00+02:00x", false },   { "26-11-23T10:00:00Z", false },
        { "yesterday", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_cleanup_image_config struct cb_image_config c = { 0 };
        cb_autofree char *top = cb_asprintf("{\"created\":\"%s\"}", t[i].text);
        cb_autofree char *history = cb_asprintf("{\"history\":[{\"created\":\"%s\"}]}", t[i].text);
        assert_int_equal(parse(&c, top, NULL), t[i].ok ? 0 : -CB_EVERIFY);
        assert_int_equal(parse(&c, history, NULL), t[i].ok ? 0 : -CB_EVERIFY);
    }
}

static int many(const char *before, const char *item, size_t n, const char *after)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_cleanup_image_config struct cb_image_config c = { 0 };
    cb_strbuf_adds(&sb, before);
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addf(&sb, "%s%s", i ? "," : "", item);
    cb_strbuf_adds(&sb, after);
    return cb_image_config_parse(&c, sb.buf, sb.len, NULL);
}

static void test_limits(void **state)
{
    (void)state;
    static const char ids[] = "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[";
    assert_int_equal(many(ids, "\"" D1 "\"", CB_MAX_LAYERS, "]}}"), 0);
    assert_int_equal(many(ids, "\"" D1 "\"", CB_MAX_LAYERS + 1, "]}}"), -CB_EVERIFY);
    assert_int_equal(many("{\"history\":[", "{}", 8192, "]}"), 0);
    assert_int_equal(many("{\"history\":[", "{}", 8193, "]}"), -CB_EVERIFY);
    cb_autofree char *big = cb_malloc(CB_MAX_MANIFEST + 1);
    memset(big, ' ', CB_MAX_MANIFEST + 1);
    memcpy(big, "{}", 2);
    cb_cleanup_image_config struct cb_image_config c = { 0 };
    assert_int_equal(cb_image_config_parse(&c, big, CB_MAX_MANIFEST, NULL), 0);
    assert_int_equal(cb_image_config_parse(&c, big, CB_MAX_MANIFEST + 1, NULL), -CB_EVERIFY);
}

static void test_check(void **state)
{
    (void)state;
    cb_cleanup_image_config struct cb_image_config c = { 0 };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(parse(&c, full, NULL), 0);
    assert_int_equal(cb_image_config_check(&c, 2, NULL), 0);
    assert_int_equal(cb_image_config_check(&c, 3, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "image config: 2 diff_ids, but the manifest has 3 layers");
    c.history[1].empty_layer = false;
    assert_int_equal(cb_image_config_check(&c, 2, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "image config: the history tells of 3 layers, but there are 2");
    c.history[0].empty_layer = c.history[1].empty_layer = true;
    assert_int_equal(cb_image_config_check(&c, 2, NULL), 0); /* fewer: an edit of an image without history left it so */
    struct cb_image_config none = { 0 };
    assert_int_equal(cb_image_config_check(&none, 0, NULL), 0);
    assert_int_equal(cb_image_config_check(&none, 1, NULL), -CB_EVERIFY);
    cb_image_config_add_diff_id(&none, &c.diff_ids[0]);
    assert_int_equal(cb_image_config_check(&none, 1, NULL), 0); /* no history at all is allowed */
    cb_image_config_done(&none);
}

static void test_building(void **state)
{
    (void)state;
    cb_cleanup_image_config struct cb_image_config c = { 0 };
    cb_cleanup_strvec struct cb_strvec args = CB_STRVEC_INIT;
    char by[] = "RUN \xff", empty[] = "";
    struct cb_digest d;
    cb_digest_of(&d, "abc", 3);
    c.user = cb_strdup("");
    cb_strvec_push(&c.volumes, "/b");
    cb_strvec_push(&c.volumes, "/a");
    cb_strvec_push(&c.volumes, "/b");
    cb_arglist_set(&c.entrypoint, &args);
    cb_strvec_push(&args, "sh");
    cb_arglist_set(&c.cmd, &args);
    cb_arglist_set(&c.shell, &args);
    cb_arglist_clear(&c.shell);
    cb_image_config_add_diff_id(&c, &d);
    for (size_t i = 0; i < 20; i++)
        cb_image_config_add_diff_id(&c, &c.diff_ids[0]); /* may point into the list that moves */
    c.n_diff_ids = 1;
    cb_image_config_add_history(&c, &(struct cb_history){ .created_by = by, .comment = empty });
    expect_print(&c, "{\"architecture\":\"\",\"os\":\"\",\"config\":{\"Entrypoint\":[],\"Cmd\":[\"sh\"],"
        "\"Volumes\":{\"/a\":{},"
                     "\"/b\":{}}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\"]},"
                     "\"history\":[{\"created_by\":\"RUN \xef\xbf\xbd\"}]}");
    assert_false(c.shell.set);
    assert_null(cb_healthcheck_copy(NULL));
    cb_healthcheck_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_values), cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_refuses),    cmocka_unit_test(test_times),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_check),      cmocka_unit_test(test_building),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

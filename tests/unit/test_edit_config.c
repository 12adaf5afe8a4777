/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations and manifests, changed member by member. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "edit/edit.h"
#include "util/alloc.h"

#define CONFIG                                                                                                       \
    "{\"created\":\"2020-01-02T03:04:05Z\",\"x-ours\":{\"deep\":[1,2.5,null]},\"architecture\":\"amd64\","            \
    "\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\",\"A=1\",\"AB=2\"],\"Cmd\":[\"sh\"],\"Odd\":true,"             \
    "\"Labels\":{\"old\":\"1\"}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"

static json_t *parse(const char *text)
{
    json_t *o = cb_json_parse(text, strlen(text), NULL);
    assert_non_null(o);
    return o;
}

static void assert_json(const json_t *o, const char *wanted)
{
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_print(&got, o);
    assert_string_equal(got.buf, wanted);
}

static void apply(const struct cb_edit_config *c, json_t *o)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (cb_edit_config_apply(c, o, &e) < 0)
        fail_msg("%s", cb_error_text(&e));
}

static void an_empty_change_changes_nothing(void **state CB_UNUSED)
{
    struct cb_edit_config c = { 0 };
    cb_autojson json_t *o = parse(CONFIG);
    assert_true(cb_edit_config_is_empty(&c));
    apply(&c, o);
    assert_json(o, CONFIG);
}

static void what_is_not_named_stays_where_it_is(void **state CB_UNUSED)
{
    struct cb_edit_config c = { .user = "app", .workdir = "/srv" };
    cb_autojson json_t *o = parse(CONFIG);
    assert_false(cb_edit_config_is_empty(&c));
    cb_strvec_push(&c.env, "A=new");
    cb_strvec_push(&c.env, "C=3");
    cb_strvec_push(&c.unset_env, "PATH");
    cb_strmap_set(&c.labels, "new", "2");
    cb_strvec_push(&c.unset_labels, "old");
    cb_strvec_push(&c.add_ports, "80/tcp");
    apply(&c, o);
    assert_json(o, "{\"created\":\"2020-01-02T03:04:05Z\",\"x-ours\":{\"deep\":[1,2.5,null]},"
                   "\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=new\",\"AB=2\",\"C=3\"],"
                   "\"Cmd\":[\"sh\"],\"Odd\":true,\"Labels\":{\"new\":\"2\"},\"ExposedPorts\":{\"80/tcp\":{}},"
                   "\"User\":\"app\",\"WorkingDir\":\"/srv\"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}");
    cb_edit_config_done(&c);
}

static void an_entrypoint_takes_the_command_away_unless_one_is_said(void **state CB_UNUSED)
{
    struct cb_arglist words = { .set = true }, none = { .set = true };
    cb_strvec_push(&words.args, "/app");
    struct cb_edit_config c = { .entrypoint = &words };
    cb_autojson json_t *o = parse("{\"config\":{\"Cmd\":[\"sh\"]}}");
    apply(&c, o);
    assert_json(o, "{\"config\":{\"Entrypoint\":[\"/app\"]}}");
    c.cmd = &words;
    apply(&c, o);
    assert_json(o, "{\"config\":{\"Entrypoint\":[\"/app\"],\"Cmd\":[\"/app\"]}}");
    c = (struct cb_edit_config){ .entrypoint = &none, .user = "" };
    apply(&c, o);
    assert_json(o, "{\"config\":{}}");
    cb_strvec_done(&words.args);
}

static void the_last_label_and_variable_leave_no_empty_list(void **state CB_UNUSED)
{
    struct cb_edit_config c = { 0 };
    cb_autojson json_t *o = parse("{\"config\":{\"Env\":[\"A=1\"],\"Labels\":{\"l\":\"1\"}}}");
    cb_strvec_push(&c.unset_env, "A");
    cb_strvec_push(&c.unset_env, "B");
    cb_strvec_push(&c.unset_labels, "l");
    apply(&c, o);
    assert_json(o, "{\"config\":{}}");
    cb_edit_config_done(&c);
}

static void a_platform_is_set_whole(void **state CB_UNUSED)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    struct cb_edit_config c = { .platform = &p, .created = "1970-01-01T00:00:00Z" };
    cb_autojson json_t *o = parse("{\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\",\"config\":{}}");
    assert_int_equal(cb_platform_parse(&p, "linux/arm64", NULL), 0);
    apply(&c, o);
    assert_json(o, "{\"architecture\":\"arm64\",\"os\":\"linux\",\"config\":{},"
                   "\"created\":\"1970-01-01T00:00:00Z\"}");
}

static void refuse(const struct cb_edit_config *c, const char *text, enum cb_code code)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autojson json_t *o = parse(text);
    assert_int_equal(cb_edit_config_apply(c, o, &e), -(int)code);
}

static void what_does_not_fit_is_refused(void **state CB_UNUSED)
{
    struct cb_edit_config c = { .workdir = "srv" };
    refuse(&c, "{\"config\":{}}", CB_EUSAGE);
    cb_autojson json_t *windows = parse("{\"os\":\"windows\",\"config\":{}}");
    apply(&c, windows);
    c = (struct cb_edit_config){ 0 };
    cb_strvec_push(&c.env, "A=1");
    refuse(&c, "{\"config\":{\"Env\":{}}}", CB_EVERIFY);
    refuse(&c, "{\"config\":[]}", CB_EVERIFY);
    refuse(&c, "[]", CB_EVERIFY);
    cb_autojson json_t *null = parse("{\"config\":{\"Env\":null}}");
    apply(&c, null);
    assert_json(null, "{\"config\":{\"Env\":[\"A=1\"]}}");
    cb_edit_config_done(&c);
}

static void ports(void **state CB_UNUSED)
{
    struct cb_strvec v cb_cleanup_strvec = CB_STRVEC_INIT;
    static const char *const bad[] = { "", "0", "x", "65536", "80/", "80/icmp", "9-8", "-1", "80-", "1/tcp/udp" };
    assert_int_equal(cb_edit_ports_parse(&v, "80", NULL), 0);
    assert_int_equal(cb_edit_ports_parse(&v, "53/udp", NULL), 0);
    assert_int_equal(cb_edit_ports_parse(&v, "65534-65535/sctp", NULL), 0);
    assert_int_equal(v.n, 4);
    assert_string_equal(v.v[0], "80/tcp");
    assert_string_equal(v.v[1], "53/udp");
    assert_string_equal(v.v[3], "65535/sctp");
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_int_equal(cb_edit_ports_parse(&v, bad[i], NULL), -CB_EUSAGE);
    assert_int_equal(v.n, 4);
}

static void history_is_added_behind(void **state CB_UNUSED)
{
    cb_autojson json_t *o = parse("{\"history\":[{\"created_by\":\"a\",\"odd\":1}]}");
    cb_edit_history_add(o, "2020-01-02T03:04:05Z", "b", NULL);
    cb_edit_history_add(o, NULL, "c", "why");
    assert_json(o, "{\"history\":[{\"created_by\":\"a\",\"odd\":1},"
                   "{\"created\":\"2020-01-02T03:04:05Z\",\"created_by\":\"b\"},"
                   "{\"created_by\":\"c\",\"comment\":\"why\"}]}");
}

static void annotations_come_and_go(void **state CB_UNUSED)
{
    cb_autojson json_t *o = parse("{\"a\":1}");
    cb_edit_annotate(o, "none", NULL);
    assert_json(o, "{\"a\":1}");
    cb_edit_annotate(o, "k", "v");
    cb_edit_annotate(o, "l", "w");
    cb_edit_annotate(o, "k", "x");
    assert_json(o, "{\"a\":1,\"annotations\":{\"k\":\"x\",\"l\":\"w\"}}");
    cb_edit_annotate(o, "k", NULL);
    cb_edit_annotate(o, "l", NULL);
    assert_json(o, "{\"a\":1}");
}

static void docker_types_become_oci_types(void **state CB_UNUSED)
{
    cb_autojson json_t *o = parse(
        "{\"mediaType\":\"" CB_MT_DOCKER_MANIFEST "\",\"config\":{\"mediaType\":\"" CB_MT_DOCKER_CONFIG "\"},"
        "\"layers\":[{\"mediaType\":\"" CB_MT_DOCKER_LAYER_GZIP "\"},{\"mediaType\":\"odd/thing\"}]}");
    cb_edit_to_oci(o);
    assert_json(o, "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":{\"mediaType\":\"" CB_MT_OCI_CONFIG "\"},"
                   "\"layers\":[{\"mediaType\":\"" CB_MT_OCI_LAYER_GZIP "\"},{\"mediaType\":\"odd/thing\"}]}");
}

static void an_entry_loses_the_bytes_that_it_carried(void **state CB_UNUSED)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autojson json_t *o = parse("{\"mediaType\":\"a/b\",\"digest\":\"x\",\"size\":1,\"data\":\"e30=\",\"odd\":[]}");
    cb_descriptor_of(&d, CB_MT_OCI_MANIFEST, "{}", 2);
    cb_edit_entry_set(o, &d);
    assert_json(o, "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94f"
                   "b4fc21fe77e8310c060f61caaff8a\",\"size\":2,\"odd\":[]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_change_changes_nothing),
        cmocka_unit_test(what_is_not_named_stays_where_it_is),
        cmocka_unit_test(an_entrypoint_takes_the_command_away_unless_one_is_said),
        cmocka_unit_test(the_last_label_and_variable_leave_no_empty_list),
        cmocka_unit_test(a_platform_is_set_whole),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(ports),
        cmocka_unit_test(history_is_added_behind),
        cmocka_unit_test(annotations_come_and_go),
        cmocka_unit_test(docker_types_become_oci_types),
        cmocka_unit_test(an_entry_loses_the_bytes_that_it_carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

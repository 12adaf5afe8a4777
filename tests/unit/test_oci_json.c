/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/json.h"
#include "util/alloc.h"
#include "util/limits.h"

static json_t *parse(const char *s)
{
    return cb_json_parse(s, strlen(s), NULL);
}

static void refuse(const char *s, size_t len)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_null(cb_json_parse(s, len, &err));
    assert_int_equal(err.code, CB_EVERIFY);
    assert_true(strncmp(cb_error_text(&err), "JSON: ", 6) == 0);
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " ", "null", "\"x\"", "{", "[1,]", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}", "{} {}", "{}x",
        "{\"a\\u0000b\":1}",
        "{\"a\":\"\\u0000\"}", "{\"a\":NaN}", "{\"a\":99999999999999999999}", "{\"a\":1e999}", "{'a':1}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":\"\\ud800\"}", "{\"a\":01}", "// c\n{}", "{\"a\":\"\n\"}",
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        refuse(bad[i], strlen(bad[i]));
    refuse("{}\0", 3);
    refuse("{\"a\":\"\0\"}", 9);
}

static char *nested(size_t depth, const char *before)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_addf(&sb, "[%s", before);
    for (size_t i = 1; i < depth; i++)
        cb_strbuf_addch(&sb, '[');
    for (size_t i = 0; i < depth; i++)
        cb_strbuf_addch(&sb, ']');
    return cb_strbuf_detach(&sb, NULL);
}

static void test_depth(void **state)
{
    (void)state;
    cb_autofree char *deepest = nested(CB_MAX_JSON_DEPTH, "");
    cb_autofree char *deeper = nested(CB_MAX_JSON_DEPTH + 1, "");
    cb_autofree char *hidden = nested(CB_MAX_JSON_DEPTH + 1, "\"]]\\\"]]\",");
    cb_autofree char *huge = nested(1000000, "");
    cb_autojson json_t *ok = parse(deepest);
    assert_non_null(ok);
    refuse(deeper, strlen(deeper));
    refuse(hidden, strlen(hidden)); /* brackets in strings close nothing */
    refuse(huge, strlen(huge));
    struct cb_strbuf quoted = CB_STRBUF_INIT;
    cb_strbuf_adds(&quoted, "[\"");
    for (int i = 0; i < 200; i++)
        cb_strbuf_adds(&quoted, "[{");
    cb_strbuf_adds(&quoted, "\\\"[\"]");
    cb_autojson json_t *text = cb_json_parse(quoted.buf, quoted.len, NULL);
    assert_non_null(text);
    cb_strbuf_done(&quoted);
}

static void test_check_keys(void **state)
{
    (void)state;
    static const char *const known[] = { "layers", "mediaType", "K", NULL };
    static const struct {
        const char *text;
        bool ok;
    } t[] = {
        { "{\"layers\":1,\"other\":1}", true }, { "{\"Layers\":1}", false },          { "{\"layers\":1,"
            "\"LAYERS\":1}", false },
        { "{\"mediatype\":1}", false },         { "{\"layer\":1,\"layerss\":1}", true }, { "{\"layer\xc5\xbf\":1}",
            false },
        { "{\"\xe2\x84\xaa\":1}", false },      { "{\"\":1}", true },                 { "{\"k\":1}", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_autojson json_t *o = parse(t[i].text);
        assert_non_null(o);
        assert_int_equal(cb_json_check_keys(o, known, NULL), t[i].ok ? 0 : -CB_EVERIFY);
    }
}

static void test_getters(void **state)
{
    (void)state;
    cb_autojson json_t *o = parse("{\"s\":\"x\",\"i\":-5,\"u\":7,\"t\":true,\"f\":false,\"n\":null,\"o\":{},"
        "\"a\":[\"p\",\"q\"],"
                                  "\"r\":1.0,\"m\":{\"z\":\"1\",\"b\":\"2\"},\"bad\":[\"p\",1],\"badm\":{\"p\":null}}");
    assert_non_null(o);
    const char *s = "old";
    int64_t i = 1;
    uint64_t u = 1;
    bool b = true;
    const json_t *j = NULL;
    assert_int_equal(cb_json_get_string(o, "absent", &s, NULL), 0);
    assert_int_equal(cb_json_get_string(o, "n", &s, NULL), 0);
    assert_string_equal(s, "old");
    assert_int_equal(cb_json_get_string(o, "s", &s, NULL), 0);
    assert_string_equal(s, "x");
    assert_int_equal(cb_json_get_i64(o, "i", &i, NULL), 0);
    assert_true(i == -5);
    assert_int_equal(cb_json_get_u64(o, "u", &u, NULL), 0);
    assert_true(u == 7);
    assert_int_equal(cb_json_get_bool(o, "f", &b, NULL), 0);
    assert_false(b);
    assert_int_equal(cb_json_get_bool(o, "t", &b, NULL), 0);
    assert_true(b);
    assert_int_equal(cb_json_get_object(o, "o", &j, NULL), 0);
    assert_true(json_is_object(j));
    assert_int_equal(cb_json_get_array(o, "a", &j, NULL), 0);
    assert_int_equal(json_array_size(j), 2);
}

static void test_getters_refuse(void **state)
{
    (void)state;
    cb_autojson json_t *o = parse("{\"s\":\"x\",\"i\":-5,\"r\":1.0,\"t\":true,\"o\":{},\"a\":[]}");
    const char *s = NULL;
    int64_t i = 3;
    uint64_t u = 3;
    bool b = false;
    const json_t *j = NULL;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_json_get_u64(o, "i", &u, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "JSON: \"i\" is negative");
    assert_int_equal(cb_json_get_u64(o, "r", &u, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "JSON: \"r\" is not an integer");
    assert_int_equal(cb_json_get_i64(o, "s", &i, &err), -CB_EVERIFY);
    assert_int_equal(cb_json_get_string(o, "t", &s, &err), -CB_EVERIFY);
    assert_int_equal(cb_json_get_bool(o, "i", &b, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "JSON: \"i\" is not true or false");
    assert_int_equal(cb_json_get_object(o, "a", &j, &err), -CB_EVERIFY);
    assert_int_equal(cb_json_get_array(o, "o", &j, &err), -CB_EVERIFY);
    assert_true(i == 3 && u == 3 && !s && !j);
}

static void test_collections(void **state)
{
    (void)state;
    cb_autojson json_t *o = parse("{\"a\":[\"p\",\"q\"],\"m\":{\"z\":\"1\",\"b\":\"2\"},\"bad\":[\"p\",1],"
        "\"badm\":{\"p\":null}}");
    cb_cleanup_strvec struct cb_strvec v = CB_STRVEC_INIT;
    cb_cleanup_strmap struct cb_strmap m = { 0 };
    assert_int_equal(cb_json_get_strvec(o, "a", &v, NULL), 0);
    assert_int_equal(cb_json_get_strvec(o, "bad", &v, NULL), -CB_EVERIFY);
    assert_int_equal(v.n, 2);
    assert_string_equal(v.v[1], "q");
    assert_int_equal(cb_json_get_strmap(o, "m", &m, NULL), 0);
    assert_int_equal(cb_json_get_strmap(o, "badm", &m, NULL), -CB_EVERIFY);
    assert_int_equal(m.n, 2);
    assert_string_equal(m.v[0].key, "b");
    assert_string_equal(cb_strmap_get(&m, "z"), "1");
    cb_autojson json_t *back = json_object();
    cb_json_put(back, "v", cb_json_from_strvec(&v));
    cb_json_put(back, "m", cb_json_from_strmap(&m));
    cb_json_put_string(back, "absent", NULL);
    cb_json_put_string(back, "s", "a/\"\\\n\x01\xc3\xa9");
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_json_print(&sb, back);
    assert_string_equal(sb.buf, "{\"v\":[\"p\",\"q\"],\"m\":{\"b\":\"2\",\"z\":\"1\"},"
        "\"s\":\"a/\\\"\\\\\\n\\u0001\xc3\xa9\"}");
}

static void test_no_utf8_is_replaced(void **state)
{
    (void)state;
    cb_autojson json_t *o = json_object();
    cb_json_put_string(o, "k\xff", "caf\xe9 \xf0\x9f");
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_json_print(&sb, o);
    assert_string_equal(sb.buf, "{\"k\xef\xbf\xbd\":\"caf\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\"}");
}

static void test_pretty(void **state)
{
    (void)state;
    cb_autojson json_t *o = parse("{\"b\":[1,{\"x\":null}],\"a\":1}");
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_json_print_pretty(&sb, o);
    assert_string_equal(sb.buf, "{\n  \"b\": [\n    1,\n    {\n      \"x\": null\n    }\n  ],\n  \"a\": 1\n}\n");
}

/* A map whose keys come in descending order must not take quadratic time: 200000 of them in a moment. */
static void test_big_map(void **state)
{
    (void)state;
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "{\"m\":{");
    for (int i = 200000; i > 0; i--)
        cb_strbuf_addf(&sb, "\"%06d\":\"\"%s", i, i > 1 ? "," : "}}");
    cb_autojson json_t *o = cb_json_parse(sb.buf, sb.len, NULL);
    cb_strbuf_done(&sb);
    cb_cleanup_strmap struct cb_strmap m = { 0 };
    assert_int_equal(cb_json_get_strmap(o, "m", &m, NULL), 0);
    assert_int_equal(m.n, 200000);
    assert_string_equal(m.v[0].key, "000001");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses),     cmocka_unit_test(test_depth),          cmocka_unit_test(test_check_keys),
        cmocka_unit_test(test_getters),     cmocka_unit_test(test_getters_refuse), cmocka_unit_test(test_collections),
        cmocka_unit_test(test_no_utf8_is_replaced), cmocka_unit_test(test_pretty), cmocka_unit_test(test_big_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/strbuf.h"
#include "util/toml.h"

static struct cb_toml *parse(const char *text)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_toml *t = cb_toml_parse(text, strlen(text), &err);
    if (!t)
        fail_msg("%s", cb_error_text(&err));
    return t;
}

static const char *string_at(const struct cb_toml *t, const char *key)
{
    const char *s = NULL;
    assert_int_equal(cb_toml_get_string(t, key, &s, NULL), 0);
    return s;
}

static const char registries_conf[] =
    "# For more information see containers-registries.conf(5).\n"
    "unqualified-search-registries = [\"docker.io\", 'quay.io',\n"
    "   # and this one\n"
    "   \"registry.example:5000\" , ]\r\n"
    "short-name-mode=\"enforcing\"\n"
    "\n"
    "[[registry]]\n"
    "prefix = \"example.com/foo\"   # a comment\n"
    "insecure = false\n"
    "blocked = true\n"
    "location = \"internal.example.com/bar\"\n"
    "\n"
    "[[registry.mirror]]\n"
    "location = \"example-mirror-0.local/mirror\"\n"
    "pull-from-mirror = 'digest-only'\n"
    "[[registry.mirror]]\n"
    "location = \"example-mirror-1.local/mirror\"\n"
    "insecure = true\n"
    "\n"
    "[[registry]]\n"
    "location = \"second.example\"\n"
    "\n"
    "[aliases]\n"
    "\"alpine\" = \"docker.io/library/alpine\"\n"
    "\"fedora/a.b\" = \"x\"\n";

static void test_registries_conf(void **state)
{
    (void)state;
    CB_AUTO(cb_toml_free) struct cb_toml *t = parse(registries_conf);
    const struct cb_toml *search = cb_toml_get(t, "unqualified-search-registries");
    assert_int_equal(search->type, CB_TOML_ARRAY);
    assert_int_equal(search->n, 3);
    assert_string_equal(search->item[1]->string, "quay.io");
    assert_null(search->item[1]->key);
    assert_int_equal(search->item[2]->line, 4);
    assert_string_equal(string_at(t, "short-name-mode"), "enforcing");
    const struct cb_toml *regs = cb_toml_get(t, "registry");
    assert_int_equal(regs->type, CB_TOML_ARRAY);
    assert_int_equal(regs->n, 2);
    assert_int_equal(regs->item[1]->line, 20);
    bool blocked = false, insecure = true;
    assert_int_equal(cb_toml_get_bool(regs->item[0], "blocked", &blocked, NULL), 0);
    assert_int_equal(cb_toml_get_bool(regs->item[0], "insecure", &insecure, NULL), 0);
    assert_true(blocked);
    assert_false(insecure);
    const struct cb_toml *mirrors = cb_toml_get(regs->item[0], "mirror");
    assert_int_equal(mirrors->n, 2);
    assert_string_equal(string_at(mirrors->item[1], "location"), "example-mirror-1.local/mirror");
    assert_null(cb_toml_get(regs->item[1], "mirror"));
    assert_string_equal(string_at(cb_toml_get(t, "aliases"), "fedora/a.b"), "x");
    assert_null(cb_toml_get(t, "nothing"));
    assert_null(cb_toml_get(search, "nothing"));
}

static const char hosts_toml[] =
    "server = \"https://registry-1.docker.io\"\n"
    "[host.\"https://mirror.example:5000\"]\n"
    "  capabilities = [\"pull\", \"resolve\"]\n"
    "  skip_verify = true\n"
    "  ca = [ \"/etc/a.pem\", [\"/etc/b.pem\", \"/etc/b.key\"] ]\n"
    "  dial_timeout = 3_000\n"
    "  [host.\"https://mirror.example:5000\".header]\n"
    "    x-custom-1 = \"custom header\"\n"
    "[host.'http://[::1]:5000']\n"
    "  override_path = false\n";

static void test_hosts_toml(void **state)
{
    (void)state;
    CB_AUTO(cb_toml_free) struct cb_toml *t = parse(hosts_toml);
    const struct cb_toml *hosts = cb_toml_get(t, "host");
    assert_int_equal(hosts->n, 2);
    assert_string_equal(hosts->item[0]->key, "https://mirror.example:5000");
    assert_string_equal(hosts->item[1]->key, "http://[::1]:5000");
    assert_string_equal(string_at(cb_toml_get(hosts->item[0], "header"), "x-custom-1"), "custom header");
    assert_int_equal(cb_toml_get(hosts->item[0], "dial_timeout")->integer, 3000);
    const struct cb_toml *ca = cb_toml_get(hosts->item[0], "ca");
    assert_int_equal(ca->item[1]->type, CB_TOML_ARRAY);
    assert_string_equal(ca->item[1]->item[1]->string, "/etc/b.key");
}

static void test_strings(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "\"\"", "" },
        { "''", "" },
        { "\"a\\tb\\n\\\"\\\\\\u00e9\\U0001F433\"", "a\tb\n\"\\\xc3\xa9\xf0\x9f\x90\xb3" },
        { "'C:\\n\\x'", "C:\\n\\x" },
        { "\"\"\"\nline1\nline2\"\"\"", "line1\nline2" },
        { "\"\"\"\r\na\r\nb\"\"\"", "a\nb" },
        { "\"\"\"a \\\n   \t\n  b\"\"\"", "a b" },
        { "\"\"\"two \"\" quotes\"\"\"", "two \"\" quotes" },
        { "\"\"\"\"quoted\"\"\"\"\"", "\"quoted\"\"" },
        { "'''\nraw \\n ''x'''", "raw \\n ''x" },
        { "''''''", "" },
        { "\"# no comment\" # comment", "# no comment" },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_addf(&sb, "k = %s\nnext = 1", rows[i][0]);
        CB_AUTO(cb_toml_free) struct cb_toml *t = parse(sb.buf);
        assert_string_equal(string_at(t, "k"), rows[i][1]);
        assert_int_equal(cb_toml_get(t, "next")->integer, 1);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum cb_toml_type type;
        int64_t integer;
        const char *string;
    } rows[] = {
        { "0", CB_TOML_INT, 0, NULL },
        { "-0", CB_TOML_INT, 0, NULL },
        { "+1_000", CB_TOML_INT, 1000, NULL },
        { "-17", CB_TOML_INT, -17, NULL },
        { "9223372036854775807", CB_TOML_INT, INT64_MAX, NULL },
        { "-9223372036854775808", CB_TOML_INT, INT64_MIN, NULL },
        { "0xDEAD_beef", CB_TOML_INT, 0xdeadbeef, NULL },
        { "0o755", CB_TOML_INT, 0755, NULL },
        { "0b1010", CB_TOML_INT, 10, NULL },
        { "3.14", CB_TOML_FLOAT, 0, "3.14" },
        { "-1_0.5e+1_0", CB_TOML_FLOAT, 0, "-10.5e+10" },
        { "1E6", CB_TOML_FLOAT, 0, "1e6" },
        { "-inf", CB_TOML_FLOAT, 0, "-inf" },
        { "nan", CB_TOML_FLOAT, 0, "nan" },
        { "true", CB_TOML_BOOL, 1, NULL },
        { "false", CB_TOML_BOOL, 0, NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_addf(&sb, "k=%s", rows[i].text);
        CB_AUTO(cb_toml_free) struct cb_toml *t = parse(sb.buf);
        const struct cb_toml *k = cb_toml_get(t, "k");
        assert_int_equal(k->type, rows[i].type);
        if (k->type == CB_TOML_FLOAT)
            assert_string_equal(k->string, rows[i].string);
        else
            assert_true(k->integer == rows[i].integer);
    }
}

static void test_tables(void **state)
{
    (void)state;
    CB_AUTO(cb_toml_free) struct cb_toml *t = parse("a.b.c = 1\na.b.d = 2\na . \"x y\" = 3\n1234 = 'bare'\n"
                                                    "[x.y.z]\nk=1\n[x]\nk=2\n[x.y]\nk=3\n"
                                                    "[[p.q]]\n[p.q.sub]\nv=1\n[[p.q]]\n[p.q.sub]\nv=2\n"
                                                    "[i]\nt = { a = 1, b.c = \"x\", d = { } , e = [ {f=1}, {} ] }\n"
                                                    "[fruit]\napple.color='red'\n[fruit.apple.texture]\nsmooth=true\n");
    const struct cb_toml *b = cb_toml_get(cb_toml_get(t, "a"), "b");
    assert_int_equal(cb_toml_get(b, "d")->integer, 2);
    assert_int_equal(cb_toml_get(cb_toml_get(t, "a"), "x y")->integer, 3);
    assert_string_equal(string_at(t, "1234"), "bare");
    const struct cb_toml *x = cb_toml_get(t, "x");
    assert_int_equal(cb_toml_get(x, "k")->integer, 2);
    assert_int_equal(cb_toml_get(cb_toml_get(x, "y"), "k")->integer, 3);
    const struct cb_toml *q = cb_toml_get(cb_toml_get(t, "p"), "q");
    assert_int_equal(q->n, 2);
    assert_int_equal(cb_toml_get(cb_toml_get(q->item[1], "sub"), "v")->integer, 2);
    const struct cb_toml *in = cb_toml_get(cb_toml_get(t, "i"), "t");
    assert_int_equal(in->n, 4);
    assert_string_equal(string_at(cb_toml_get(in, "b"), "c"), "x");
    assert_int_equal(cb_toml_get(cb_toml_get(in, "e")->item[0], "f")->integer, 1);
    assert_non_null(cb_toml_get(cb_toml_get(cb_toml_get(t, "fruit"), "apple"), "texture"));
    CB_AUTO(cb_toml_free) struct cb_toml *empty = parse("");
    assert_int_equal(empty->n, 0);
    CB_AUTO(cb_toml_free) struct cb_toml *marked = parse("\xef\xbb\xbf# BOM\nk = 1");
    assert_int_equal(marked->n, 1);
}

static const struct {
    const char *text, *message; /* what the message has in it */
} error_rows[] = {
    { "a = 1\nb = \n", "line 2: a value is missing" },
    { "a", "line 1: '=' expected" },
    { "= 1", "line 1: a key is missing" },
    { "a. = 1", "line 1: a key is missing" },
    { "\n\na = 1\na = 2", "line 4: \"a\" is already defined on line 3" },
    { "[t]\n[t]", "line 2: \"t\" is already defined on line 1" },
    { "[[t]]\n[t]", "line 2" },
    { "[t]\n[[t]]", "line 2" },
    { "t = []\n[[t]]", "line 2" },
    { "t = {}\n[t]", "line 2" },
    { "t = {}\n[t.x]", "line 2" },
    { "t = {}\nt.x = 1", "line 2" },
    { "t = {a=1, a=2}", "already defined" },
    { "a = 1\na.b = 2", "line 2" },
    { "a.b = 1\n[a]", "line 2" },
    { "[a.b.c]\nz=9\n[a]\nb.c.t = 1", "line 4" },
    { "[fruit]\napple.color=1\n[fruit.apple]", "line 3" },
    { "a = 1 b = 2", "line 1: end of the line expected" },
    { "[t] x", "end of the line expected" },
    { "[t", "\"]\" expected" },
    { "[[t]\n", "\"]]\" expected" },
    { "[]", "a key is missing" },
    { "[[]]", "a key is missing" },
    { "a = \"x", "line 1: string without end" },
    { "a = \"x\ny\"", "line 1: string without end" },
    { "a = '''x\n\n", "line 3: string without end" },
    { "a = \"\\q\"", "unknown escape" },
    { "a = \"\\u12\"", "hexadecimal" },
    { "a = \"\\ud800\"", "no Unicode character" },
    { "a = \"\\U00110000\"", "no Unicode character" },
    { "a = \"\\u0000\"", "NUL" },
    { "a = \"\x1b[2J\"", "control character 0x1b" },
    { "# \x07", "control character 0x07" },
    { "a = 'x\x7f'", "control character 0x7f" },
    { "a = \"\xff\"", "invalid UTF-8" },
    { "# \xc0\xaf", "invalid UTF-8" },
    { "a = 1\r", "end of the line" },
    { "a = [1, 2", "line 1: ',' or ']' expected" },
    { "a = [1\n\n2]", "line 3: ',' or ']' expected in the array that begins on line 1" },
    { "a = [,]", "a value is missing" },
    { "a = {b=1\n}", "one line" },
    { "a = {b=1,}", "a key is missing" },
    { "a = {b=1", "'}' expected" },
    { "a = 01", "not a value: 01" },
    { "a = 1__0", "not a value" },
    { "a = _1", "not a value" },
    { "a = 1_", "not a value" },
    { "a = 0x", "not a value" },
    { "a = 0xg", "not a value" },
    { "a = +0x1", "not a value" },
    { "a = 1.", "not a value" },
    { "a = .5", "not a value" },
    { "a = 1.e5", "not a value" },
    { "a = 1e", "not a value" },
    { "a = yes", "not a value: yes" },
    { "a = True", "not a value" },
    { "a = 9223372036854775808", "out of range" },
    { "a = -9223372036854775809", "out of range" },
    { "a = 2026-11-23", "dates are not supported" },
    { "a = 2026-11-23T10:00:00Z", "dates are not supported" },
    { "\"\"\"a\"\"\" = 1", "'=' expected" },
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(error_rows); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        CB_AUTO(cb_toml_free) struct cb_toml *t = cb_toml_parse(error_rows[i].text, strlen(error_rows[i].text), &err);
        if (t)
            fail_msg("row %zu was accepted: %s", i, error_rows[i].text);
        assert_int_equal(err.code, CB_ECONF);
        if (!strstr(err.msg, error_rows[i].message))
            fail_msg("row %zu: %s", i, err.msg);
    }
    assert_null(cb_toml_parse("a = \"x\0y\"", 9, NULL));
    assert_null(cb_toml_parse("\0", 1, NULL));
}

static void repeat(struct cb_strbuf *sb, const char *s, int n)
{
    while (n-- > 0)
        cb_strbuf_adds(sb, s);
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *start, *unit, *end;
        int n;
        const char *message;
    } rows[] = {
        { "a = ", "[", "", 100000, "nested over" },
        { "a = ", "{a=", "1", 100000, "nested over" },
        { "a", ".a", " = 1", 100000, "a key of over" },
        { "[a", ".a", "]", 100000, "a key of over" },
        { "a = [", "1,", "]", 10001, "over 10000 entries" },
        { "", "[[a]]\n", "", 10001, "over 10000 entries" },
        { "a = ", "9", "", 5000, "not a value" },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_adds(&sb, rows[i].start);
        repeat(&sb, rows[i].unit, rows[i].n);
        cb_strbuf_adds(&sb, rows[i].end);
        assert_null(cb_toml_parse(sb.buf, sb.len, &err));
        assert_non_null(strstr(err.msg, rows[i].message));
    }
}

/* Every beginning of a good file is either good or an error, and reads nothing behind its end (ASan). */
static void test_cut_off(void **state)
{
    (void)state;
    static const char *const texts[] = { registries_conf, hosts_toml };
    for (size_t k = 0; k < CB_COUNTOF(texts); k++) {
        for (size_t n = 0; n < strlen(texts[k]); n++) {
            cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
            char *exact = malloc(n ? n : 1);
            memcpy(exact, texts[k], n);
            CB_AUTO(cb_toml_free) struct cb_toml *t = cb_toml_parse(exact, n, &err);
            free(exact);
            assert_int_equal(t == NULL, err.code == CB_ECONF);
        }
    }
}

static void test_wrong_types(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    CB_AUTO(cb_toml_free) struct cb_toml *t = parse("\ns = 'x'\nb = true\ni = 1\n");
    const char *s = "untouched";
    bool b = true;
    assert_int_equal(cb_toml_get_string(t, "b", &s, &err), -CB_ECONF);
    assert_string_equal(err.msg, "line 3: \"b\" must be a string");
    assert_int_equal(cb_toml_get_bool(t, "s", &b, &err), -CB_ECONF);
    assert_string_equal(err.msg, "line 2: \"s\" must be true or false");
    assert_int_equal(cb_toml_get_bool(t, "i", &b, &err), -CB_ECONF);
    assert_int_equal(cb_toml_get_string(t, "absent", &s, &err), 0);
    assert_int_equal(cb_toml_get_bool(t, "absent", &b, &err), 0);
    assert_string_equal(s, "untouched");
    assert_true(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registries_conf), cmocka_unit_test(test_hosts_toml), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_tables),     cmocka_unit_test(test_errors),
        cmocka_unit_test(test_bounds),          cmocka_unit_test(test_cut_off),    cmocka_unit_test(test_wrong_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

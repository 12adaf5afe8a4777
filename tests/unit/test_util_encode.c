/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/encode.h"

static void test_hex(void **state)
{
    (void)state;
    const uint8_t raw[] = { 0x00, 0x1f, 0xa0, 0xff };
    char text[9];
    cb_hex_encode(text, raw, sizeof raw);
    assert_string_equal(text, "001fa0ff");
    uint8_t back[4];
    assert_true(cb_hex_decode(back, text, 4));
    assert_memory_equal(back, raw, 4);
    assert_false(cb_hex_decode(back, "001FA0FF", 4));
    assert_false(cb_hex_decode(back, "001fa0f", 4));
    assert_false(cb_hex_decode(back, "", 4));
    assert_false(cb_hex_decode(back, "0g000000", 4));
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const rows[][2] = { { "", "" },          { "f", "Zg==" },        { "fo", "Zm8=" },
                                           { "foo", "Zm9v" },   { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
                                           { "foobar", "Zm9vYmFy" } };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT, c = CB_STRBUF_INIT;
        cb_base64_encode(&a, rows[i][0], strlen(rows[i][0]));
        assert_string_equal(a.buf, rows[i][1]);
        assert_true(cb_base64_decode(&b, a.buf, a.len));
        assert_string_equal(b.buf, rows[i][0]);
        size_t bare = strcspn(a.buf, "=");
        assert_true(cb_base64_decode(&c, a.buf, bare));
        assert_string_equal(c.buf, rows[i][0]);
    }
    cb_cleanup_strbuf struct cb_strbuf all = CB_STRBUF_INIT, back = CB_STRBUF_INIT;
    uint8_t raw[256];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(255 - i);
    cb_base64_encode(&all, raw, sizeof raw);
    assert_non_null(strchr(all.buf, '+'));
    assert_non_null(strchr(all.buf, '/'));
    assert_true(cb_base64_decode(&back, all.buf, all.len));
    assert_int_equal(back.len, 256);
    assert_memory_equal(back.buf, raw, 256);
}

static void test_base64_bad(void **state)
{
    (void)state;
    static const char *const bad[] = { "Z",        "Zg=",  "Zg===", "Zm9v=", "Z=g=",
                                       "Zg==Zg==", "Zm-_", "Zm 9v", "====",  "Zm9vY" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_adds(&sb, "keep");
        if (cb_base64_decode(&sb, bad[i], strlen(bad[i])))
            fail_msg("%s was decoded", bad[i]);
        assert_string_equal(sb.buf, "keep");
    }
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    assert_true(cb_base64_decode(&sb, "Zm9v\r\nYmFy\n", 11));
    assert_string_equal(sb.buf, "foobar");
    /* NULs at the end stay: old docker clients pad passwords with them. */
    cb_strbuf_reset(&sb);
    assert_true(cb_base64_decode(&sb, "YQAA", 4));
    assert_int_equal(sb.len, 3);
}

static void test_percent(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
    cb_percent_encode(&a, "a/b:c d%~_-.\xc3\xa9\0", 14);
    assert_string_equal(a.buf, "a%2Fb%3Ac%20d%25~_-.%C3%A9");
    assert_true(cb_percent_decode(&b, a.buf, a.len));
    assert_string_equal(b.buf, "a/b:c d%~_-.\xc3\xa9");
    static const char *const bad[] = { "%", "a%2", "%zz", "%2", "x%%20" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_false(cb_percent_decode(&b, bad[i], strlen(bad[i])));
    assert_string_equal(b.buf, "a/b:c d%~_-.\xc3\xa9");
    assert_true(cb_percent_decode(&b, "%2f", 3));
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_true(cb_parse_u64("18446744073709551615", UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_true(cb_parse_u64("000", 5, &v));
    assert_int_equal(v, 0);
    static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x1", "1e3", "18446744073709551616",
                                       "99999999999999999999999", "1_000", "\xd9\xa1" };
    v = 7;
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_false(cb_parse_u64(bad[i], UINT64_MAX, &v));
    assert_false(cb_parse_u64("6", 5, &v));
    assert_int_equal(v, 7);
    uint32_t u = 7;
    assert_false(cb_parse_u32("4294967296", &u));
    assert_int_equal(u, 7);
    assert_true(cb_parse_u32("4294967295", &u));
    assert_int_equal(u, UINT32_MAX);
    assert_true(cb_parse_octal("0755", 07777, &u));
    assert_int_equal(u, 0755);
    assert_false(cb_parse_octal("758", 07777, &u));
    assert_false(cb_parse_octal("17777", 07777, &u));
    assert_false(cb_parse_octal("", 07777, &u));
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t n;
    } rows[] = {
        { "0", 0 },
        { "123", 123 },
        { "123b", 123 },
        { "512k", 512u << 10 },
        { "64m", 64u << 20 },
        { "2g", 2ull << 30 }, { "2GB", 2ull << 30 }, { "1KiB", 1024 }, { "1.5g", 3ull << 29 },      { "0.5k", 512 },
        { "1t", 1ull << 40 }, { "1.1k", 1126 },      { "8388608t", 8388608ull << 40 }, { "16383p", 16383ull << 50 },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        uint64_t v = 42;
        assert_true(cb_parse_bytes(rows[i].text, &v));
        assert_true(v == rows[i].n);
    }
    static const char *const bad[] = { "", "m", "-1m", "1x", "1mm", "1.m", ".5m", "1..5m", "16384p",
                                       "99999999999999999999",
                                       "1 m", "1i", "1mibb" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        uint64_t v = 42;
        if (cb_parse_bytes(bad[i], &v))
            fail_msg("%s was accepted", bad[i]);
        assert_int_equal(v, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),     cmocka_unit_test(test_base64),  cmocka_unit_test(test_base64_bad),
        cmocka_unit_test(test_percent), cmocka_unit_test(test_numbers), cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

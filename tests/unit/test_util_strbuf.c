/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/strbuf.h"
#include "util/utf8.h"

static void test_grow(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    assert_string_equal(sb.buf, "");
    cb_strbuf_reset(&sb);
    cb_strbuf_add(&sb, NULL, 0);
    for (int i = 0; i < 1000; i++)
        cb_strbuf_addf(&sb, "%d,", i);
    assert_int_equal(sb.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(sb.buf), sb.len);
    assert_true(cb_ends_with(sb.buf, ",998,999,"));
    cb_strbuf_setlen(&sb, 4);
    assert_string_equal(sb.buf, "0,1,");
    size_t len;
    char *s = cb_strbuf_detach(&sb, &len);
    assert_string_equal(s, "0,1,");
    assert_int_equal(len, 4);
    free(s);
    assert_string_equal(sb.buf, "");
    s = cb_strbuf_detach(&sb, NULL);
    assert_string_equal(s, "");
    free(s);
}

static void test_long_format(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "x");
    cb_strbuf_addf(&sb, "%*d|%s", 5000, 7, "end");
    assert_int_equal(sb.len, 1 + 5000 + 4);
    assert_true(cb_ends_with(sb.buf, "7|end"));
    cb_strbuf_addch(&sb, '\0');
    assert_int_equal(sb.len, 5006);
}

static void test_predicates(void **state)
{
    (void)state;
    assert_true(cb_starts_with("abc", "ab"));
    assert_true(cb_starts_with("abc", ""));
    assert_false(cb_starts_with("ab", "abc"));
    assert_true(cb_ends_with("abc", "bc"));
    assert_false(cb_ends_with("c", "bc"));
    assert_true(cb_streq(NULL, NULL));
    assert_false(cb_streq(NULL, ""));
    assert_true(cb_streq("a", "a"));
    struct cb_slice s = cb_slice_trim(CB_SLICE(" \t\r\n a b \n"));
    assert_true(cb_slice_eq(s, "a b"));
    assert_false(cb_slice_eq(s, "a b "));
    assert_int_equal(cb_slice_trim(CB_SLICE(" \t ")).len, 0);
}

static void test_size(void **state)
{
    (void)state;
    static const struct {
        unsigned long long n;
        const char *text;
    } rows[] = {
        { 0, "0B" },
        { 512, "512B" },
        { 999, "999B" },
        { 1000, "1.00kB" },
        { 3150000, "3.15MB" },
        { 29780000, "29.78MB" },
        { 999994, "999.99kB" },
        { 999995, "1.00MB" },
        { 999999999, "1.00GB" },
        { 18446744073709551615ull, "18.45EB" },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_add_size(&sb, rows[i].n);
        assert_string_equal(sb.buf, rows[i].text);
    }
}

static void test_sanitized(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t n;
        bool keep_newline;
        const char *out;
    } rows[] = {
        { "plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xb3", 15, false, "plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xb3" },
        { "a\tb\nc", 5, true, "a\tb\nc" },
        { "a\tb\nc", 5, false, "a\tb\\x0ac" },
        { "\x1b[2J\x1b]0;x\x07", 10, false, "\\x1b[2J\\x1b]0;x\\x07" },
        { "a\0b", 3, false, "a\\x00b" },
        { "a\rb\x7f", 4, true, "a\\x0db\\x7f" },
        { "\xc2\x9b" "31m", 5, false, "\\u{009b}31m" },                      /* C1 CSI */
        { "x\xe2\x80\xaey", 5, false, "x\\u{202e}y" },                       /* right-to-left override */
        { "\xe2\x81\xa6\xe2\x81\xa9", 6, false, "\\u{2066}\\u{2069}" },      /* isolates */
        { "\xf3\xa0\x81\x81", 4, false, "\\u{e0041}" },                      /* tag */
        { "\xc0\xaf", 2, false, "\\xc0\\xaf" },                              /* overlong */
        { "\xed\xa0\x80", 3, false, "\\xed\\xa0\\x80" },                     /* surrogate */
        { "\xf4\x90\x80\x80", 4, false, "\\xf4\\x90\\x80\\x80" },            /* beyond Unicode */
        { "\xe2\x82", 2, false, "\\xe2\\x82" },                              /* cut off */
        { "\x9b" "1m\xff", 4, false, "\\x9b" "1m\\xff" },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_add_sanitized(&sb, rows[i].in, rows[i].n, rows[i].keep_newline);
        assert_string_equal(sb.buf, rows[i].out);
    }
}

static void test_utf8_round_trip(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        char buf[4];
        size_t n = cb_utf8_encode(buf, c);
        uint32_t back = ~c;
        if (cb_utf8_decode(buf, n, &back) != n || back != c)
            fail_msg("U+%04X", c);
        if (n > 1 && cb_utf8_decode(buf, n - 1, &back) != 0)
            fail_msg("U+%04X cut off", c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grow), cmocka_unit_test(test_long_format), cmocka_unit_test(test_predicates),
        cmocka_unit_test(test_size), cmocka_unit_test(test_sanitized),   cmocka_unit_test(test_utf8_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

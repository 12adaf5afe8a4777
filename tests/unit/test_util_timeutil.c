/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/timeutil.h"

#define SEC INT64_C(1000000000)

static void test_format(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        { 0, "1970-01-01T00:00:00Z" },
        { 1795428000 * SEC + SEC / 2, "2026-11-23T10:00:00.5Z" },
        { 1, "1970-01-01T00:00:00.000000001Z" },
        { -1, "1969-12-31T23:59:59.999999999Z" },
        { 951782400 * SEC, "2000-02-29T00:00:00Z" },
        { INT64_MAX, "2262-04-11T23:47:16.854775807Z" },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        int64_t back = 42;
        cb_time_format(&sb, rows[i].ns);
        assert_string_equal(sb.buf, rows[i].text);
        assert_true(cb_time_parse(sb.buf, &back));
        assert_true(back == rows[i].ns);
    }
}

static void test_parse(void **state)
{
    (void)state;
    int64_t ns = 42;
    assert_true(cb_time_parse("2026-11-23T12:30:00+02:30", &ns));
    assert_true(ns == 1795428000 * SEC);
    assert_true(cb_time_parse("2026-11-23t05:00:00-05:00", &ns));
    assert_true(ns == 1795428000 * SEC);
    assert_true(cb_time_parse("2026-11-23T10:00:00.1234567899z", &ns));
    assert_true(ns == 1795428000 * SEC + 123456789);
    static const char *const bad[] = {
        "", "2026-11-23", "2026-11-23 10:00:00Z", "2026-11-23T10:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2025-02-29T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T10:60:00Z", "2026-11-23T10:00:60Z",
        "2026-11-23T10:00:00.Z", "2026-11-23T10:00:00Zx", "2026-11-23T10:00:00+0200", "26-11-23T10:00:00Z",
        "2026-11-23T10:00:00+24:00", "-026-11-23T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    };
    ns = 42;
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        if (cb_time_parse(bad[i], &ns))
            fail_msg("%s was accepted", bad[i]);
    }
    assert_int_equal(ns, 42);
}

static void test_http(void **state)
{
    (void)state;
    static const char *const good[] = { "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994" };
    for (size_t i = 0; i < CB_COUNTOF(good); i++) {
        int64_t sec = 0;
        assert_true(cb_time_parse_http(good[i], &sec));
        assert_int_equal(sec, 784111777);
    }
    int64_t sec = 42;
    assert_true(cb_time_parse_http("Mon Nov 23 10:00:00 2026", &sec));
    assert_int_equal(sec, 1795428000);
    sec = 42;
    static const char *const bad[] = { "", "120", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 nov 1994 08:49:37 GMT",
                                       "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
                                       "Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 06-Nov 94 08:49:37 GMT",
                                       "Sun Nov 6 08:49:37 1994",
                                       "Sun, 06 Nov 1994 08:49:37 PST" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        if (cb_time_parse_http(bad[i], &sec))
            fail_msg("%s was accepted", bad[i]);
    }
    assert_int_equal(sec, 42);
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        { "0", 0 },           { "300ms", 300000000 },        { "1h30m", 5400 * SEC },   { "-1.5h", -5400 * SEC },
        { "+5s", 5 * SEC },   { "1us", 1000 },               { "1\xc2\xb5s", 1000 },    { "1\xce\xbcs", 1000 },
        { "7ns", 7 },         { ".5s", SEC / 2 },            { "1.s", SEC },            { "-0", 0 },
        { "1h0.25m2s", 3617 * SEC },
        { "9223372036854775807ns", INT64_MAX },
        { "0.1000000000000000000000009s", SEC / 10 },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        int64_t ns = 42;
        if (!cb_duration_parse(rows[i].text, &ns) || ns != rows[i].ns)
            fail_msg("%s: %lld", rows[i].text, (long long)ns);
    }
    static const char *const bad[] = { "", "-", "5", "s", ".s", "5 s", "1h 2m", "5x", "1e3s", "--1s",
                                       "9223372036854775808ns",
                                       "2562048h", "99999999999999999999999h", "1hm" };
    int64_t ns = 42;
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        if (cb_duration_parse(bad[i], &ns))
            fail_msg("%s was accepted", bad[i]);
    }
    assert_int_equal(ns, 42);
}

static void test_epoch(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    bool set = true;
    int64_t sec = 42;
    unsetenv("SOURCE_DATE_EPOCH");
    assert_int_equal(cb_source_date_epoch(&set, &sec, &err), 0);
    assert_false(set);
    setenv("SOURCE_DATE_EPOCH", "", 1);
    assert_int_equal(cb_source_date_epoch(&set, &sec, &err), 0);
    assert_false(set);
    assert_int_equal(sec, 42);
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    assert_int_equal(cb_source_date_epoch(&set, &sec, &err), 0);
    assert_true(set);
    assert_int_equal(sec, 1700000000);
    static const char *const bad[] = { "-1", "now", "1.5", " 1", "99999999999999" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        setenv("SOURCE_DATE_EPOCH", bad[i], 1);
        assert_int_equal(cb_source_date_epoch(&set, &sec, &err), -CB_EUSAGE);
        assert_false(set);
    }
    unsetenv("SOURCE_DATE_EPOCH");
}

static void test_ago(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {
        { -5, "Less than a second ago" }, { 0, "Less than a second ago" }, { 1, "1 second ago" },
        { 59, "59 seconds ago" },         { 60, "1 minute ago" },          { 200, "3 minutes ago" },
        { 3600, "1 hour ago" },           { 47 * 3600, "47 hours ago" },   { 3 * 86400, "3 days ago" },
        { 21 * 86400, "3 weeks ago" },    { 90 * 86400, "3 months ago" },  { 800 * 86400, "2 years ago" },
    };
    int64_t now = cb_time_now();
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_time_format_ago(&sb, now - rows[i].seconds * SEC, now);
        assert_string_equal(sb.buf, rows[i].text);
    }
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_time_format_ago(&sb, INT64_MIN, INT64_MAX);
    assert_string_equal(sb.buf, "292 years ago");
    int64_t before = cb_time_monotonic();
    assert_true(cb_time_monotonic() >= before && before > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),   cmocka_unit_test(test_parse), cmocka_unit_test(test_http),
        cmocka_unit_test(test_duration), cmocka_unit_test(test_epoch), cmocka_unit_test(test_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

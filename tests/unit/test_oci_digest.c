/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/digest.h"

#define EMPTY256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC256 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                                                                         \
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                                          \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

static struct cb_digest parsed(const char *text)
{
    struct cb_digest d;
    assert_int_equal(cb_digest_parse(&d, text, NULL), 0);
    return d;
}

static void test_parse_and_print(void **state)
{
    (void)state;
    static const char *const valid[] = { EMPTY256, ABC256, ABC512 };
    for (size_t i = 0; i < CB_COUNTOF(valid); i++) {
        char text[CB_DIGEST_TEXT_MAX], hex[CB_DIGEST_TEXT_MAX];
        struct cb_digest d = parsed(valid[i]);
        assert_string_equal(cb_digest_text(&d, text), valid[i]);
        assert_string_equal(cb_digest_hex(&d, hex), valid[i] + 7);
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_add_digest(&sb, &d);
        assert_string_equal(sb.buf, valid[i]);
    }
    assert_int_equal(parsed(ABC512).alg, CB_DIGEST_SHA512);
    assert_int_equal(cb_digest_len(CB_DIGEST_SHA512), 64);
    assert_int_equal(cb_digest_len(CB_DIGEST_NONE), 0);
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ":",
        "sha256",
        "sha256:",
        "sha256:../../../../etc/passwd",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",   /* 63 */
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555", /* 65 */
        "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "none:",
        "sha256 :e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85/",
        "sha256:\xef\xbc\x90" "b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        " " EMPTY256,
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        struct cb_digest d = parsed(ABC256), before = d;
        assert_int_equal(cb_digest_parse(&d, bad[i], &err), -CB_EVERIFY);
        assert_int_equal(err.code, CB_EVERIFY);
        assert_non_null(err.msg);
        assert_memory_equal(&d, &before, sizeof d);
    }
    struct cb_digest d;
    assert_int_equal(cb_digest_parse(&d, NULL, NULL), -CB_EVERIFY);
}

static void test_compare(void **state)
{
    (void)state;
    struct cb_digest none = { 0 }, a = parsed(ABC256), b = parsed(EMPTY256), c = parsed(ABC512);
    assert_false(cb_digest_eq(&none, &none));
    assert_false(cb_digest_eq(&none, &a));
    assert_true(cb_digest_eq(&a, &a));
    assert_false(cb_digest_eq(&a, &b));
    assert_false(cb_digest_eq(&a, &c));
    assert_true(cb_digest_cmp(&a, &b) < 0);
    assert_true(cb_digest_cmp(&b, &a) > 0);
    assert_true(cb_digest_cmp(&b, &c) < 0);
    assert_int_equal(cb_digest_cmp(&c, &c), 0);
    assert_false(cb_digest_is_set(&none));
    assert_true(cb_digest_is_set(&a));
}

static void expect_finish(struct cb_hasher *h, const char *want)
{
    struct cb_digest d;
    char text[CB_DIGEST_TEXT_MAX];
    cb_hasher_finish(h, &d);
    assert_string_equal(cb_digest_text(&d, text), want);
}

static void test_hashes(void **state)
{
    (void)state;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    expect_finish(h, EMPTY256);
    cb_hasher_update(h, "a", 1);
    cb_hasher_update(h, NULL, 0);
    cb_hasher_update(h, "bc", 2);
    expect_finish(h, ABC256);
    expect_finish(h, EMPTY256); /* finishing resets */
    CB_AUTO(cb_hasher_free) struct cb_hasher *h512 = cb_hasher_new(CB_DIGEST_SHA512);
    cb_hasher_update(h512, "abc", 3);
    expect_finish(h512, ABC512);
    struct cb_digest d, abc = parsed(ABC256);
    cb_digest_of(&d, "abc", 3);
    assert_true(cb_digest_eq(&d, &abc));
    cb_digest_of(&d, NULL, 0);
    abc = parsed(EMPTY256);
    assert_true(cb_digest_eq(&d, &abc));
}

/* The digest of two fields. */
static struct cb_digest two(const char *a, const char *b)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest d;
    cb_hasher_field(h, a);
    cb_hasher_field(h, b);
    cb_hasher_finish(h, &d);
    return d;
}

static void test_fields_do_not_run_together(void **state)
{
    (void)state;
    struct cb_digest all[] = { two("ab", "c"), two("a", "bc"), two("abc", ""), two("", "abc"), two("abc", NULL),
                               two(NULL, "abc"), two("", ""), two(NULL, ""), two("", NULL), two(NULL, NULL) };
    for (size_t i = 0; i < CB_COUNTOF(all); i++)
        for (size_t j = 0; j < i; j++)
            assert_false(cb_digest_eq(&all[i], &all[j]));
    struct cb_digest again = two("ab", "c");
    assert_true(cb_digest_eq(&all[0], &again));
}

static void test_field_encoding_is_fixed(void **state)
{
    (void)state;
    static const char want[] = "\x02\0\0\0\0\0\0\0hi"
                               "\x08\0\0\0\0\0\0\0\x34\x12\0\0\0\0\0\0"
                               "\x01\0\0\0\0\0\0\0\0"
                               "\xff\xff\xff\xff\xff\xff\xff\xff";
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest none = { 0 }, have, expected;
    cb_hasher_field(h, "hi");
    cb_hasher_field_u64(h, 0x1234);
    cb_hasher_field_digest(h, &none);
    cb_hasher_field(h, NULL);
    cb_hasher_finish(h, &have);
    cb_digest_of(&expected, want, sizeof want - 1);
    assert_true(cb_digest_eq(&have, &expected));
    struct cb_digest abc = parsed(ABC256), d;
    cb_hasher_field_digest(h, &abc);
    cb_hasher_finish(h, &have);
    cb_hasher_field_bytes(h, abc.raw, 32);
    cb_hasher_finish(h, &d);
    assert_false(cb_digest_eq(&have, &d)); /* the algorithm is part of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_print),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_fields_do_not_run_together),
        cmocka_unit_test(test_field_encoding_is_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

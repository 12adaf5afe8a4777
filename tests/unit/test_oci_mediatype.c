/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "oci/mediatype.h"
#include "util/strbuf.h"

static void test_kinds(void **state)
{
    (void)state;
    assert_true(cb_mt_is_index(CB_MT_OCI_INDEX));
    assert_true(cb_mt_is_index(CB_MT_DOCKER_LIST));
    assert_false(cb_mt_is_index(CB_MT_OCI_MANIFEST));
    assert_true(cb_mt_is_manifest(CB_MT_OCI_MANIFEST));
    assert_true(cb_mt_is_manifest(CB_MT_DOCKER_MANIFEST));
    assert_false(cb_mt_is_manifest(CB_MT_DOCKER_LIST));
    assert_false(cb_mt_is_manifest(CB_MT_OCI_MANIFEST " "));
    assert_true(cb_mt_is_docker(CB_MT_DOCKER_CONFIG));
    assert_false(cb_mt_is_docker(CB_MT_OCI_CONFIG));
    assert_false(cb_mt_is_index(NULL) || cb_mt_is_manifest(NULL) || cb_mt_is_layer(NULL) || cb_mt_is_docker(NULL) ||
                 cb_mt_is_foreign_layer(NULL));
}

static void test_layers(void **state)
{
    (void)state;
    static const struct {
        const char *mt;
        int compression;
        bool docker, foreign;
    } t[] = {
        { CB_MT_OCI_LAYER, CB_COMPRESSION_NONE, false, false },
        { CB_MT_OCI_LAYER_GZIP, CB_COMPRESSION_GZIP, false, false },
        { CB_MT_OCI_LAYER_ZSTD, CB_COMPRESSION_ZSTD, false, false },
        { CB_MT_DOCKER_LAYER, CB_COMPRESSION_NONE, true, false },
        { CB_MT_DOCKER_LAYER_GZIP, CB_COMPRESSION_GZIP, true, false },
        { CB_MT_DOCKER_LAYER_ZSTD, CB_COMPRESSION_ZSTD, true, false },
        { CB_MT_DOCKER_FOREIGN_GZIP, CB_COMPRESSION_GZIP, true, true },
        { "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", CB_COMPRESSION_GZIP, false, true },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        assert_true(cb_mt_is_layer(t[i].mt));
        assert_int_equal(cb_mt_layer_compression(t[i].mt), t[i].compression);
        assert_int_equal(cb_mt_is_foreign_layer(t[i].mt), t[i].foreign);
        if (!t[i].foreign)
            assert_string_equal(cb_mt_layer((enum cb_compression)t[i].compression, t[i].docker), t[i].mt);
    }
    assert_int_equal(cb_mt_layer_compression(CB_MT_OCI_CONFIG), -1);
    assert_int_equal(cb_mt_layer_compression(CB_MT_OCI_LAYER_GZIP "+encrypted"), -1);
    assert_int_equal(cb_mt_layer_compression(NULL), -1);
}

static void test_valid(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'a', sizeof longest);
    longest[1] = '/';
    longest[255] = '\0';
    assert_true(cb_mt_is_valid(longest));
    longest[255] = 'a';
    longest[256] = '\0';
    assert_false(cb_mt_is_valid(longest));
    static const char *const good[] = { "a/b", "application/vnd.example+json", "text/x-1.0_!#$&^" };
    static const char *const bad[] = { "", "a", "/", "a/", "/b", "a/b/c", "a/b;c=d", "a b/c", "a/b\r\nX: y",
        "a/\xc3\xa9" };
    for (size_t i = 0; i < CB_COUNTOF(good); i++)
        assert_true(cb_mt_is_valid(good[i]));
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_false(cb_mt_is_valid(bad[i]));
    assert_false(cb_mt_is_valid(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

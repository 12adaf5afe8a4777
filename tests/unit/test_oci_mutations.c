/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* Thousands of damaged documents: nothing may crash or leak (run with sanitizers), and whatever is still accepted must
 * print to bytes that read back to the same bytes. The sequence is the same on every machine. */
#include "oci/config.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "util/alloc.h"

enum { ROUNDS = 6000 };

#define D "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DESC(mt, more) "{\"mediaType\":\"" mt "\",\"digest\":\"" D "\",\"size\":31" more "}"
#define OCI "application/vnd.oci.image."

static const char manifest[] =
    "{\"schemaVersion\":2,\"mediaType\":\"" OCI "manifest.v1+json\",\"config\":" DESC(OCI "config.v1+json", "")
    ",\"layers\":[" DESC(OCI "layer.v1.tar+gzip", ",\"urls\":[\"https://a/b\"]") "," DESC("a/b", "")
    "],\"subject\":" DESC("c/d", ",\"artifactType\":\"e/f\"") ",\"annotations\":{\"k\":\"v\",\"l\":\"w\"}}";

static const char index_text[] =
    "{\"schemaVersion\":2,\"mediaType\":\"" OCI "index.v1+json\",\"manifests\":["
    DESC(OCI "manifest.v1+json", ",\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\"}") ","
    DESC(OCI "manifest.v1+json", ",\"platform\":{\"architecture\":\"amd64\",\"os\":\"windows\","
        "\"os.version\":\"10.0.1\"}")
    "]}";

static const char config[] =
    "{\"created\":\"2026-11-23T10:00:00Z\",\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\",\"config\":{"
    "\"User\":\"1:1\",\"ExposedPorts\":{\"80/tcp\":{}},\"Env\":[\"PATH=/bin\",\"E=\"],\"Entrypoint\":[\"/i\"],"
    "\"Cmd\":[],"
    "\"Volumes\":{\"/d\":{}},\"WorkingDir\":\"/a\",\"Labels\":{\"a\":\"1\"},\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"],"
    "\"Interval\":30,\"Retries\":3},\"OnBuild\":[\"RUN x\"],\"Shell\":[\"/bin/sh\",\"-c\"]},"
    "\"rootfs\":{\"type\":\"layers\","
    "\"diff_ids\":[\"" D "\"]},\"history\":[{\"created_by\":\"x\"},{\"empty_layer\":true}]}";

static uint64_t random_state;

static uint32_t next(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

static size_t below(size_t n)
{
    return n ? next() % n : 0;
}

static void splice(struct cb_strbuf *sb, size_t at, size_t drop, const char *put, size_t n)
{
    struct cb_strbuf out = CB_STRBUF_INIT;
    cb_strbuf_add(&out, sb->buf, at);
    cb_strbuf_add(&out, put, n);
    cb_strbuf_add(&out, sb->buf + at + drop, sb->len - at - drop);
    cb_strbuf_done(sb);
    *sb = out;
}

static void mutate_once(struct cb_strbuf *sb)
{
    static const char *const tokens[] = { "null",  "{}", "[]",  "-1",  "\"\"", "9223372036854775807",
        "9223372036854775808",
                                          "1e999", "[[[[[[[[", "{\"a\":", "\\u0000", "\\ud800", "\xff", "\xc5\xbf",
                                          "\"manifests\":[],",
                                          "\"layers\":[],", "true", ",", "\"", "}", "]", ":" };
    size_t at = below(sb->len), span = below(CB_MIN((size_t)40, sb->len - at));
    cb_autofree char *piece = cb_strndup(sb->buf + at, span);
    const char *token = tokens[below(CB_COUNTOF(tokens))];
    char byte = (char)next();
    switch (below(7)) {
    case 0: /* one byte is another */
        splice(sb, at, sb->len > at, &byte, 1);
        break;
    case 1: /* a bit flips */
        if (sb->len)
            sb->buf[at] = (char)(sb->buf[at] ^ (1 << below(8)));
        break;
    case 2: /* something is gone */
        splice(sb, at, span, "", 0);
        break;
    case 3: /* something stands twice, elsewhere */
        splice(sb, below(sb->len), 0, piece, strlen(piece));
        break;
    case 4: /* a token comes in */
        splice(sb, at, 0, token, strlen(token));
        break;
    case 5: /* a token replaces */
        splice(sb, at, span, token, strlen(token));
        break;
    default: /* the end is missing */
        if (next() % 8 == 0)
            cb_strbuf_setlen(sb, at);
        break;
    }
}

/* Each returns whether the text was accepted; a copy without NUL behind it shows reads past the end. */
static bool try_manifest(const char *text, size_t len)
{
    cb_cleanup_manifest struct cb_manifest m = { 0 }, again = { 0 };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int r = cb_manifest_parse(&m, text, len, NULL, &err);
    const char *type = cb_manifest_detect(text, len, NULL, NULL);
    if (r < 0) {
        assert_int_equal(r, -CB_EVERIFY);
        assert_int_equal(err.code, CB_EVERIFY);
        return false;
    }
    assert_string_equal(type, m.media_type);
    cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
    cb_manifest_print(&a, &m);
    assert_int_equal(cb_manifest_parse(&again, a.buf, a.len, type, NULL), 0);
    cb_manifest_print(&b, &again);
    assert_string_equal(a.buf, b.buf);
    return true;
}

static bool try_index(const char *text, size_t len)
{
    cb_cleanup_index struct cb_index x = { 0 }, again = { 0 };
    cb_cleanup_platform struct cb_platform host = { 0 };
    int r = cb_index_parse(&x, text, len, NULL, NULL);
    if (r < 0) {
        assert_int_equal(r, -CB_EVERIFY);
        return false;
    }
    cb_platform_host(&host);
    const struct cb_descriptor *d = cb_index_select(&x, &host);
    assert_true(!d || (d >= x.manifests && d < x.manifests + x.n_manifests));
    cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
    cb_index_print(&a, &x);
    assert_int_equal(cb_index_parse(&again, a.buf, a.len, NULL, NULL), 0);
    cb_index_print(&b, &again);
    assert_string_equal(a.buf, b.buf);
    return true;
}

static bool try_config(const char *text, size_t len)
{
    cb_cleanup_image_config struct cb_image_config c = { 0 }, again = { 0 }, copy = { 0 };
    int r = cb_image_config_parse(&c, text, len, NULL);
    if (r < 0) {
        assert_int_equal(r, -CB_EVERIFY);
        return false;
    }
    for (size_t i = 0; i < c.env.n; i++)
        assert_true(strchr(c.env.v[i], '=') > c.env.v[i]);
    cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
    cb_image_config_copy(&copy, &c);
    cb_image_config_print(&a, &copy);
    assert_int_equal(cb_image_config_parse(&again, a.buf, a.len, NULL), 0);
    cb_image_config_print(&b, &again);
    assert_string_equal(a.buf, b.buf);
    return true;
}

static bool try_reference(const char *text, size_t len)
{
    cb_cleanup_reference struct cb_reference r = { 0 }, again = { 0 };
    cb_autofree char *s = cb_strndup(text, len);
    if (cb_reference_parse(&r, s, NULL) < 0)
        return false;
    assert_true(cb_reference_valid_host(r.host) && cb_reference_valid_repo(r.repo));
    assert_true(!r.tag || cb_reference_valid_tag(r.tag));
    cb_cleanup_strbuf struct cb_strbuf familiar = CB_STRBUF_INIT;
    cb_strbuf_add_familiar(&familiar, &r);
    assert_int_equal(cb_reference_parse(&again, familiar.buf, NULL), 0);
    cb_autofree char *a = cb_reference_text(&r), *b = cb_reference_text(&again);
    assert_string_equal(a, b);
    return true;
}

static void mutate(const char *seed_text, bool (*try)(const char *text, size_t len), uint64_t seed)
{
    size_t accepted = 0;
    random_state = seed;
    assert_true(try(seed_text, strlen(seed_text)));
    for (int i = 0; i < ROUNDS; i++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_strbuf_adds(&sb, seed_text);
        for (size_t n = 1 + below(4); n; n--)
            mutate_once(&sb);
        cb_autofree char *exact = cb_memdup(sb.buf, sb.len);
        accepted += try(exact, sb.len);
    }
    /* A parser that takes all or nothing would pass the rest of this. */
    assert_true(accepted > ROUNDS / 100 && accepted < ROUNDS * 9 / 10);
}

static void test_manifest(void **state)
{
    (void)state;
    mutate(manifest, try_manifest, 1);
}

static void test_index(void **state)
{
    (void)state;
    mutate(index_text, try_index, 2);
}

static void test_config(void **state)
{
    (void)state;
    mutate(config, try_config, 3);
}

static void test_reference(void **state)
{
    (void)state;
    mutate("registry.example:5000/team/my-app_x:1.0@" D, try_reference, 4);
    mutate("[2001:db8::1]:5000/library/a.b/c:t", try_reference, 5);
    mutate("docker.io/library/busybox", try_reference, 6);
}

/* Every way to cut a document short is refused. */
static void test_truncation(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof manifest - 1; n++) {
        cb_autofree char *exact = cb_memdup(manifest, n);
        assert_false(try_manifest(exact, n));
    }
    for (size_t n = 0; n < sizeof config - 1; n++) {
        cb_autofree char *exact = cb_memdup(config, n);
        assert_false(try_config(exact, n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest),  cmocka_unit_test(test_index),      cmocka_unit_test(test_config),
        cmocka_unit_test(test_reference), cmocka_unit_test(test_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

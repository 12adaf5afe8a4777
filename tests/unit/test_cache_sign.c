/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "cache/cache.h"
#include "util/alloc.h"
#include "util/fd.h"

/* RFC 8410, 10.3: the keys of its example. */
static const char private_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                  "-----END PRIVATE KEY-----\n";
static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                                 "-----END PUBLIC KEY-----\n";

static struct cb_cache_key *key(const char *pem, bool secret)
{
    char path[] = "/tmp/cbpush-test-key.XXXXXX";
    cb_autoclose int fd = mkstemp(path);
    struct cb_cache_key *k = NULL;
    assert_true(fd >= 0);
    assert_int_equal(cb_fd_write_all(fd, pem, strlen(pem), NULL), 0);
    int r = cb_cache_key_read(path, secret, &k, NULL);
    unlink(path);
    assert_int_equal(r, k ? 0 : -CB_EUSAGE);
    return k;
}

static void fill(struct cb_cache_set *s)
{
    struct cb_digest d;
    cb_digest_of(&d, "x", 1);
    struct cb_cache_layer l = { .diff_id = d, .size = 7, .toc = d, .toc_size = 3,
                                .blob = { .digest = d, .size = 5, .engine = (char *)(uintptr_t)"e",
                                          .media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER_GZIP } };
    uint32_t at = cb_cache_set_layer(s, &l);
    struct cb_cache_step *step = cb_cache_set_step(s, &d);
    step->whole = true;
    step->created = 42;
    cb_cache_step_add(step, at);
}

static void a_signature_is_of_all_that_counts(void **state)
{
    (void)state;
    CB_AUTO(cb_cache_key_free) struct cb_cache_key *sign = key(private_pem, true), *verify = key(public_pem, false);
    struct cb_cache_set s cb_cleanup_cache_set = { 0 };
    fill(&s);
    struct cb_cache_step *step = &s.steps[0];
    struct cb_cache_layer *l = &s.layers[0];
    assert_false(cb_cache_verify(verify, &s, step));
    assert_int_equal(cb_cache_sign(sign, &s, step, NULL), 0);
    assert_true(cb_cache_verify(verify, &s, step));
#define CHANGED(what)                                    \
    do {                                                 \
        (what) ^= 1;                                     \
        assert_false(cb_cache_verify(verify, &s, step)); \
        (what) ^= 1;                                     \
    } while (0)
    CHANGED(step->key.raw[0]);
    CHANGED(step->whole);
    CHANGED(step->created);
    CHANGED(step->n_layers);
    CHANGED(step->signature[63]);
    CHANGED(l->diff_id.raw[31]);
    CHANGED(l->size);
    CHANGED(l->blob.digest.raw[0]);
    CHANGED(l->blob.size);
    CHANGED(l->blob.media_type[0]);
    CHANGED(l->blob.engine[0]);
    CHANGED(l->toc.raw[0]);
    CHANGED(l->toc_size);
    assert_true(cb_cache_verify(verify, &s, step));
    /* Who does not know of contents must not be given one, nor take one away. */
    struct cb_digest none = { 0 };
    cb_digest_of(&step->content, "z", 1);
    assert_false(cb_cache_verify(verify, &s, step));
    assert_int_equal(cb_cache_sign(sign, &s, step, NULL), 0);
    assert_true(cb_cache_verify(verify, &s, step));
    CHANGED(step->content.raw[0]);
    CHANGED(step->added);
    step->content = none;
    assert_false(cb_cache_verify(verify, &s, step));
}

static void it_holds_in_another_set(void **state)
{
    (void)state;
    CB_AUTO(cb_cache_key_free) struct cb_cache_key *sign = key(private_pem, true), *verify = key(public_pem, false);
    struct cb_cache_set s cb_cleanup_cache_set = { 0 }, run cb_cleanup_cache_set = { 0 };
    struct cb_cache_set read cb_cleanup_cache_set = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_cache_layer other = { .size = UINT64_MAX };
    cb_digest_of(&other.diff_id, "y", 1);
    fill(&s);
    assert_int_equal(cb_cache_sign(sign, &s, &s.steps[0], NULL), 0);
    cb_cache_set_layer(&run, &other);
    cb_cache_set_copy(&run, &s, &s.steps[0]);
    cb_cache_set_print(&text, &run);
    assert_int_equal(cb_cache_set_parse(&read, text.buf, text.len, NULL), 0);
    assert_true(cb_cache_verify(verify, &read, &read.steps[0]));
}

static void other_files_are_no_keys(void **state)
{
    (void)state;
    assert_null(key(public_pem, true));
    assert_null(key(private_pem, false));
    assert_null(key("", true));
    assert_null(key("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_of_all_that_counts),
        cmocka_unit_test(it_holds_in_another_set),
        cmocka_unit_test(other_files_are_no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

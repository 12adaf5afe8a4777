/* SPDX-License-Identifier: Apache-2.0 */
/* Digests that are made behind the reading, of a copy of the tar. (test_image_unpack compares whole layers.) */
#include "layer_support.h"

#include <unistd.h>

#include "layer/layer.h"
#include "util/fd.h"

#define AT 100 /* where the copy begins in its file */
static const char bytes[] = "etc/passwd's bytes, and more";

static int copy_file(void)
{
    char path[] = "/tmp/cbpush-copy-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(pwrite(fd, bytes, strlen(bytes), AT), (ssize_t)strlen(bytes));
    return fd;
}

struct one {
    struct cb_entry e;
    struct cb_error err;
    struct cb_toc *toc;
};

static void one_done(struct one *o)
{
    cb_error_done(&o->err);
    cb_toc_unref(o->toc);
}

/* The table of that file, and a link to it before and one into a lower layer behind it. */
static int make(struct one *o, uint64_t size)
{
    cb_autoclose int fd = copy_file();
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    struct cb_entry link = { .path = "a", .type = CB_ENTRY_HARDLINK, .link = "etc/passwd", .size = o->e.size,
                             .offset = o->e.offset };
    struct cb_entry lower = { .path = "z", .type = CB_ENTRY_HARDLINK, .link = "lower" };
    cb_sum_defer(&o->e.digest);
    cb_sum_defer(&link.digest);
    assert_int_equal(cb_toc_builder_add(b, &o->e, NULL), 0);
    assert_int_equal(cb_toc_builder_add(b, &link, NULL), 0);
    assert_int_equal(cb_toc_builder_add(b, &lower, NULL), 0);
    CB_AUTO(cb_toc_unref) struct cb_toc *draft = cb_toc_builder_finish(b);
    const struct cb_layer_copy c = { fd, AT, size };
    return cb_layer_copy_toc(&c, draft, NULL, &o->toc, &o->err);
}

static void test_digests(CB_UNUSED void **state)
{
    struct one o CB_CLEANUP(one_done) = { .e = { .path = "etc/passwd", .type = CB_ENTRY_FILE, .mode = 0644, .size = 10,
                                                 .inline_data = bytes } };
    struct cb_sum want;
    cb_sum_of(&want, bytes, 10);
    assert_int_equal(make(&o, strlen(bytes)), 0);
    assert_true(cb_sum_eq(&cb_toc_find(o.toc, "etc/passwd")->digest, &want));
    assert_int_equal(cb_toc_find(o.toc, "a")->type, CB_ENTRY_HARDLINK);
    assert_true(cb_sum_eq(&cb_toc_find(o.toc, "a")->digest, &want));
    assert_false(cb_toc_find(o.toc, "z")->digest.known);
    /* It is one like any other, and needs nothing of the draft. */
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    CB_AUTO(cb_toc_unref) struct cb_toc *again = NULL;
    cb_toc_print(&text, o.toc);
    assert_int_equal(cb_toc_parse(&again, text.buf, text.len, NULL), 0);
}

static void test_outside(CB_UNUSED void **state)
{
    static const struct {
        uint64_t offset, size;
    } bad[] = { { 0, sizeof bytes }, { sizeof bytes, 0 }, { UINT64_MAX, 1 }, { UINT64_MAX, 0 }, { 1, INT64_MAX } };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct one o CB_CLEANUP(one_done) = { .e = { .path = "etc/passwd", .type = CB_ENTRY_FILE,
                                                     .size = bad[i].size, .offset = bad[i].offset } };
        assert_int_equal(make(&o, strlen(bytes)), -CB_EVERIFY);
        assert_string_equal(cb_error_text(&o.err), "etc/passwd is not where the layer should have it");
    }
}

static void test_other_inline_data(CB_UNUSED void **state)
{
    struct one o CB_CLEANUP(one_done) = { .e = { .path = "etc/passwd", .type = CB_ENTRY_FILE, .size = 10,
                                                 .inline_data = "root::0:0:" } };
    assert_int_equal(make(&o, strlen(bytes)), -CB_EVERIFY);
    assert_string_equal(cb_error_text(&o.err), "etc/passwd is not what the table has of it");
}

static void test_diff_id(CB_UNUSED void **state)
{
    cb_autoclose int fd = copy_file();
    struct cb_digest is, want;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    cb_digest_of(&want, bytes, 7);
    assert_int_equal(cb_layer_copy_diff_id(&(struct cb_layer_copy){ fd, AT, 7 }, NULL, &is, &err), 0);
    assert_true(cb_digest_eq(&is, &want));
    struct cb_layer_copy longer = { fd, AT, sizeof bytes };
    assert_int_equal(cb_layer_copy_diff_id(&longer, NULL, &is, &err), -CB_ELOCAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_other_inline_data),
        cmocka_unit_test(test_diff_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The headers that we write, and the guard that reads those of others a second time. */
#include "tests/unit/layer_support.h"
#include "layer/tar.h"
#include "util/limits.h"

/* ---- writing ---- */

static void header(struct cb_strbuf *out, const struct cb_entry *e)
{
    cb_strbuf_reset(out);
    assert_int_equal(cb_tar_header(out, e, NULL), 0);
    assert_int_equal(out->len % CB_TAR_BLOCK, 0);
    assert_true(cb_tar_is_header((const uint8_t *)out->buf + out->len - CB_TAR_BLOCK));
}

static void plain_header(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf h = CB_STRBUF_INIT;
    header(&h, &(struct cb_entry){ .path = "etc/hosts", .type = CB_ENTRY_FILE, .mode = 04755, .uid = 1000, .gid = 7,
                                   .mtime = 1700000000, .size = 123456 });
    assert_int_equal(h.len, 512);
    assert_string_equal(h.buf, "etc/hosts");
    assert_memory_equal(h.buf + 100, "0004755\0000001750\0000000007\00000000361100\00014524770400\0", 48);
    assert_memory_equal(h.buf + 156, "0", 1);
    assert_memory_equal(h.buf + 257, "ustar\00000", 8);
    for (size_t i = 265; i < 329; i++) /* never a user's or group's name */
        assert_int_equal(h.buf[i], 0);
    header(&h, &(struct cb_entry){ .path = "dev/null", .type = CB_ENTRY_CHAR, .dev_major = 1, .dev_minor = 3 });
    assert_memory_equal(h.buf + 329, "0000001\0000000003", 15);
    header(&h, &(struct cb_entry){ .path = "d", .type = CB_ENTRY_DIR, .size = 4096 });
    assert_string_equal(h.buf, "d/");
    assert_memory_equal(h.buf + 124, "00000000000", 12);
    header(&h, &(struct cb_entry){ .path = "a/gone", .type = CB_ENTRY_WHITEOUT });
    assert_string_equal(h.buf, "a/.wh.gone");
    header(&h, &(struct cb_entry){ .path = "gone", .type = CB_ENTRY_WHITEOUT });
    assert_string_equal(h.buf, ".wh.gone");
    header(&h, &(struct cb_entry){ .path = "a", .type = CB_ENTRY_OPAQUE });
    assert_string_equal(h.buf, "a/.wh..wh..opq");
}

static void name_of(struct cb_strbuf *out, unsigned dirs, unsigned len)
{
    cb_strbuf_reset(out);
    for (unsigned i = 0; i < dirs; i++)
        cb_strbuf_addf(out, "%s%049u", i ? "/" : "", i);
    if (dirs)
        cb_strbuf_addch(out, '/');
    for (unsigned i = 0; i < len; i++)
        cb_strbuf_addch(out, 'n');
}

static void long_names(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf h = CB_STRBUF_INIT, n = CB_STRBUF_INIT;
    name_of(&n, 1, 50); /* 100: fits */
    header(&h, &(struct cb_entry){ .path = n.buf, .type = CB_ENTRY_FILE });
    assert_int_equal(h.len, 512);
    assert_memory_equal(h.buf, n.buf, 100);
    header(&h, &(struct cb_entry){ .path = n.buf, .type = CB_ENTRY_DIR }); /* 101 with its slash: split */
    assert_int_equal(h.len, 512);
    assert_memory_equal(h.buf + 345, n.buf, 49);
    name_of(&n, 3, 100); /* 150 + 100: split */
    header(&h, &(struct cb_entry){ .path = n.buf, .type = CB_ENTRY_FILE });
    assert_int_equal(h.len, 512);
    assert_memory_equal(h.buf + 345, n.buf, 149);
    assert_memory_equal(h.buf, n.buf + 150, 100);
    name_of(&n, 3, 101); /* no way */
    header(&h, &(struct cb_entry){ .path = n.buf, .type = CB_ENTRY_FILE });
    assert_int_equal(h.len, 3 * 512);
    assert_int_equal(h.buf[156], 'x');
    assert_memory_equal(h.buf + 512, "261 path=0000", 13);
    assert_memory_equal(h.buf + 512 + 9, n.buf, n.len);
    assert_int_equal(h.buf[512 + 260], '\n');
}

static void pax_values(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf h = CB_STRBUF_INIT, n = CB_STRBUF_INIT;
    static const struct cb_xattr x[] = { { "security.capability", "\0\n=", 3 }, { "trusted.overlay.opaque", "y", 1 },
                                         { "user.a", "", 0 } };
    header(&h, &(struct cb_entry){ .path = "f", .type = CB_ENTRY_FILE, .uid = 3000000, .gid = 4000000, .mtime = -7,
                                   .size = 1ull << 34, .xattrs = x, .n_xattrs = 3 });
    static const char want[] = "40 SCHILY.xattr.security.capability=\0\n=\n24 SCHILY.xattr.user.a=\n15 gid=4000000\n"
                               "12 mtime=-7\n20 size=17179869184\n15 uid=3000000\n";
    assert_memory_equal(h.buf + 512, want, sizeof want);
    assert_memory_equal(h.buf + 1024 + 108, "0000000\0000000000\00000000000000\00000000000000", 39);
    name_of(&n, 2, 60);
    header(&h, &(struct cb_entry){ .path = "l", .type = CB_ENTRY_SYMLINK, .link = n.buf });
    assert_memory_equal(h.buf + 512, "174 linkpath=", 13);
    cb_strbuf_adds(&n, "\xff");
    header(&h, &(struct cb_entry){ .path = "l", .type = CB_ENTRY_SYMLINK, .link = n.buf });
    assert_memory_equal(h.buf + 512, "21 hdrcharset=BINARY\n", 21);
}

static void refused(void **state)
{
    (void)state;
    const struct cb_entry bad[] = {
        { .path = "", .type = CB_ENTRY_DIR },
        { .path = "/a", .type = CB_ENTRY_DIR },
        { .path = "a/", .type = CB_ENTRY_DIR },
        { .path = "a/../b", .type = CB_ENTRY_DIR },
        { .path = "a//b", .type = CB_ENTRY_DIR },
        { .path = ".wh.x", .type = CB_ENTRY_FILE },
        { .path = "a/.wh.x/b", .type = CB_ENTRY_FILE },
        { .path = ".wh..wh..opq", .type = CB_ENTRY_FILE },
        { .path = "l", .type = CB_ENTRY_SYMLINK },
        { .path = "l", .type = CB_ENTRY_SYMLINK, .link = "" },
        { .path = "c", .type = CB_ENTRY_CHAR },
        { .path = "c", .type = CB_ENTRY_CHAR, .dev_major = 4096 },
        { .path = "b", .type = CB_ENTRY_BLOCK, .dev_minor = 1 << 20 },
        { .path = "f", .type = CB_ENTRY_FILE, .uid = UINT32_MAX },
        { .path = "f", .type = CB_ENTRY_FILE, .size = UINT64_MAX },
        { .path = "f", .type = CB_ENTRY_FILE, .xattrs = &(struct cb_xattr){ "user.a=b", "", 0 }, .n_xattrs = 1 },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_strbuf struct cb_strbuf h = CB_STRBUF_INIT;
        assert_true(cb_tar_header(&h, &bad[i], NULL) < 0);
        assert_int_equal(h.len, 0);
    }
}

static void allow_list(void **state)
{
    (void)state;
    assert_true(cb_xattr_allowed("user.mime_type"));
    assert_true(cb_xattr_allowed("security.capability"));
    static const char *const bad[] = { "user.", "user", "", "trusted.overlay.opaque", "user.overlay.opaque",
                                       "user.overlay.", "user.containers.override_stat", "user.fuseoverlayfs.origin",
                                       "security.selinux",
                                       "security.capability2", "system.posix_acl_access", "trusted.x" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++)
        assert_false(cb_xattr_allowed(bad[i]));
}

/* ---- the guard ---- */

/* Feeds in pieces; the members as "type offset size name\n". */
static int guard(const struct cb_strbuf *t, size_t step, struct cb_strbuf *out, struct cb_error *err)
{
    CB_AUTO(cb_tar_guard_free) struct cb_tar_guard *g = cb_tar_guard_new();
    struct cb_tar_member m;
    int r = 0;
    cb_strbuf_reset(out);
    for (size_t i = 0; r == 0 && i < t->len; i += step)
        r = cb_tar_guard_feed(g, t->buf + i, CB_MIN(step, t->len - i), err);
    if (r == 0)
        r = cb_tar_guard_end(g, err);
    while (cb_tar_guard_take(g, &m)) {
        cb_strbuf_addf(out, "%c %u %u%s %s\n", m.type, (unsigned)m.offset, (unsigned)m.size, m.sparse ? "s" : "",
                       m.name);
        free(m.name);
    }
    return r;
}

static void guarded(const struct cb_strbuf *t, const char *want)
{
    static const size_t steps[] = { 1, 7, 511, 512, 513, 100000 };
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(steps); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        int r = guard(t, steps[i], &got, &err);
        if (want) {
            assert_string_equal(cb_error_text(&err), cb_error_text(&(struct cb_error){ 0 }));
            assert_int_equal(r, 0);
            assert_string_equal(got.buf, want);
        } else {
            assert_int_equal(r, -CB_EVERIFY);
        }
    }
}

static void accepts(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, pax = CB_STRBUF_INIT;
    sup_ext(&t, 'g', "14 comment=ab\n" "26 globexthdr.comment=abc\n", 40);
    sup_add(&t, '5', "./dir/", NULL);
    sup_file(&t, "dir/file", "hello");
    sup_head(&t, &(struct sup_header){ .name = "f", .type = '0', .prefix = "pre/fix" });
    sup_pax(&t, "path", "from/pax");
    sup_head(&t, &(struct sup_header){ .name = "cut", .type = '\0', .size = 600 });
    cb_strbuf_reserve(&pax, 600);
    memset(pax.buf, 'x', 600);
    cb_strbuf_setlen(&pax, 600);
    sup_body(&t, pax.buf, 600);
    sup_ext(&t, 'L', "from/long/link\0", 15);
    sup_ext(&t, 'K', "target\0", 7);
    sup_head(&t, &(struct sup_header){ .name = "cut", .type = '2', .link = "cut", .magic = "ustar  \0" });
    sup_pax(&t, "size", "3");
    sup_head(&t, &(struct sup_header){ .name = "sized", .type = '0', .size = 0 });
    sup_body(&t, "abc", 3);
    sup_head(&t, &(struct sup_header){ .name = "bin", .type = '0', .raw_size = "\x80\0\0\0\0\0\0\0\0\0\0\4" });
    sup_body(&t, "abcd", 4);
    sup_end(&t);
    cb_strbuf_adds(&t, "whatever is behind the end");
    guarded(&t, "5 1536 0 ./dir\n0 2048 5 dir/file\n0 3072 0 pre/fix/f\n0 4608 600 from/pax\n"
                "2 8192 0 from/long/link\n0 9728 3 sized\n0 10752 4 bin\n");
}

static void no_end_marker(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    guarded(&t, "");
    sup_file(&t, "a", "x");
    guarded(&t, "0 512 1 a\n");
    cb_strbuf_setlen(&t, 1023); /* only padding is missing */
    guarded(&t, "0 512 1 a\n");
    cb_strbuf_setlen(&t, 512);
    guarded(&t, NULL);
    cb_strbuf_setlen(&t, 511);
    guarded(&t, NULL);
}

static void rejects_extensions(void **state)
{
    (void)state;
    static const struct {
        char type;
        const char *text;
    } bad[] = {
        { 'x', "11 path=a\n" },          /* one less than it says */
        { 'x', "8 path=a\n" },           /* one more */
        { 'x', "9 path=a" },             /* no end of line */
        { 'x', "99999999999999999999 path=a\n" },
        { 'x', " 9 path=a\n" },
        { 'x', "-9 path=a\n" },
        { 'x', "9 patha\n\n" },
        { 'x', "5 =a\n" },
        { 'x', "8 path=\n" },
        { 'x', "13 linkpath=\n" },
        { 'x', "9 path=a\n9 path=b\n" },
        { 'x', "10 size=1\n10 size=1\n" },
        { 'x', "11 size=-1\n" },
        { 'x', "12 size=0x1\n" },
        { 'x', "28 size=9223372036854775808\n" },
        { 'x', "0 \n" },
        { 'x', "2 \n" },
        { 'g', "9 path=a\n" },
        { 'g', "10 size=9\n" },
        { 'g', "14 mtime=1234\n" },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
        sup_ext(&t, bad[i].type, bad[i].text, strlen(bad[i].text));
        sup_file(&t, "a", "x");
        sup_end(&t);
        guarded(&t, NULL);
    }
}

static void rejects_global_records(void **state)
{
    (void)state;
    static const char *const keys[] = { "path", "size", "mtime", "uid", "hdrcharset", "GNU.sparse.name", "realtime.x",
                                        "SCHILY.xattr.user.a", "security.x", "unknown" };
    for (size_t i = 0; i < CB_COUNTOF(keys); i++) {
        cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, pax = CB_STRBUF_INIT;
        sup_record(&pax, keys[i], "1");
        sup_ext(&t, 'g', pax.buf, pax.len);
        sup_file(&t, "a", "x");
        sup_end(&t);
        guarded(&t, NULL);
    }
}

static void rejects_sequences(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    static const char *const seq[] = { "xx", "LL", "KK", "xL", "Lx", "xg", "Lg" }; /* then a file */
    for (size_t i = 0; i < CB_COUNTOF(seq); i++) {
        cb_strbuf_reset(&t);
        for (const char *p = seq[i]; *p; p++) {
            if (*p == 'x')
                sup_pax(&t, "path", "p");
            else if (*p == 'g')
                sup_ext(&t, 'g', "14 comment=ab\n", 14);
            else
                sup_ext(&t, *p, "name\0", 5);
        }
        sup_file(&t, "a", "x");
        sup_end(&t);
        guarded(&t, NULL);
    }
    cb_strbuf_reset(&t);
    sup_pax(&t, "path", "of nothing");
    sup_end(&t);
    guarded(&t, NULL);
    cb_strbuf_reset(&t);
    sup_ext(&t, 'L', "\0\0\0", 3);
    sup_file(&t, "a", "x");
    guarded(&t, NULL);
}

static void rejects_headers(void **state)
{
    (void)state;
    static const struct sup_header bad[] = {
        { .name = "a", .type = '0', .bad_sum = true },
        { .name = "a", .type = '0', .raw_size = "0000000000x\0" },
        { .name = "a", .type = '0', .raw_size = "0000000009 \0" },
        { .name = "a", .type = '0', .raw_size = "-0000000001\0" },
        { .name = "a", .type = '0', .raw_size = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" }, /* -1 */
        { .name = "a", .type = '0', .raw_size = "\x80\0\0\0\x80\0\0\0\0\0\0\0" },                    /* 2^63 */
        { .name = "a", .type = '0', .raw_size = "\x80\1\0\0\0\0\0\0\0\0\0\0" },
        { .name = "a", .type = '0', .raw_size = "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff" },
        { .name = "a", .type = '1', .link = "b", .size = 1 },
        { .name = "a", .type = '2', .link = "b", .size = 1 },
        { .name = "a", .type = '3', .size = 512 },
        { .name = "a", .type = '5', .size = 512 },
        { .name = "a", .type = '6', .size = 512 },
        { .name = "a", .type = 'V', .size = 1 },
        { .name = "a", .type = 'D' },
        { .name = "a", .type = 'M' },
        { .name = "a", .type = 'X' },
        { .name = "a", .type = 'A' },
        { .name = "a", .type = 's' },
        { .name = "a", .type = '\xff' },
        { .name = "a", .type = 'x', .size = CB_MAX_PAX + 1 },
        { .name = "a", .type = 'L', .size = 1ull << 33 },
        { .name = "a", .type = 'x', .size = 0 },
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
        sup_head(&t, &bad[i]);
        sup_end(&t);
        sup_end(&t);
        guarded(&t, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_header), cmocka_unit_test(long_names), cmocka_unit_test(pax_values),
        cmocka_unit_test(refused), cmocka_unit_test(allow_list), cmocka_unit_test(accepts),
        cmocka_unit_test(no_end_marker), cmocka_unit_test(rejects_extensions),
        cmocka_unit_test(rejects_global_records), cmocka_unit_test(rejects_sequences),
        cmocka_unit_test(rejects_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

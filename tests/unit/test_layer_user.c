/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/layer_support.h"
#include "util/limits.h"

static void add_inline(struct cb_toc_builder *b, const char *path, const char *text)
{
    struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .size = strlen(text), .inline_data = text };
    assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
}

static const char PASSWD[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# a comment\n"
                             "\n"
                             "short:x:5\n"
                             "bad:x:abc:0::/:\n"
                             "over:x:4294967296:0::/:\n"
                             "1000:x:0:0:named like a number:/root:/bin/sh\n"
                             "bob:x:1000:100:Bob:/home/bob:/bin/sh\n"
                             "rel:x:77:77:relative home:home:/bin/sh\n"
                             "nohome:x:78:78\n"
                             "big:x:4294967294:4294967294::/big:/bin/sh";
static const char GROUP[] = "root:x:0:\nusers:x:100:\nstaff:x:50:alice,bob\nwheel:x:10: bob \nwheel2:x:10:bob\n"
                            "bobs:x:60:bobby,xbob\n7:x:8:\n";

static struct cb_stack *users(void)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    add_inline(b, "etc/passwd", PASSWD);
    add_inline(b, "etc/group", GROUP);
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
    return cb_stack_new(&t, 1);
}

static void known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool chown;
        int code;
        uint32_t uid, gid;
        size_t n_groups;
        const char *home, *name;
    } cases[] = {
        { "root", false, 0, 0, 0, 1, "/root", "root" },
        { "bob", false, 0, 1000, 100, 3, "/home/bob", "bob" },
        { "bob", true, 0, 1000, 100, 2, "/home/bob", "bob" },
        { "1000", false, 0, 1000, 100, 3, "/home/bob", "bob" }, /* never the user whose name is 1000 */
        { "1000", true, 0, 1000, 1000, 0, "/", NULL },
        { "bob:staff", false, 0, 1000, 50, 1, "/home/bob", "bob" },
        { "bob:7", false, 0, 1000, 7, 1, "/home/bob", "bob" },
        { "1234", false, 0, 1234, 0, 1, "/", NULL },
        { "1234", true, 0, 1234, 1234, 0, "/", NULL },
        { "1234:5678", false, 0, 1234, 5678, 1, "/", NULL },
        { "1234:wheel", true, 0, 1234, 10, 0, "/", NULL },
        { "rel", false, 0, 77, 77, 1, "/", "rel" },
        { "nohome", false, 0, 78, 78, 1, "/", "nohome" },
        { "big", false, 0, 4294967294u, 4294967294u, 1, "/big", "big" },
        { "4294967294", false, 0, 4294967294u, 4294967294u, 1, "/big", "big" },
        { "2147483648", false, 0, 2147483648u, 0, 1, "/", NULL },
        { "0", false, 0, 0, 0, 1, "/root", "root" },
        { "nobody", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "bob:nogroup", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "bad", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "over", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "short", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "4294967295", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "4294967296", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "99999999999999999999999", true, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "1000:4294967297", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "-1", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "+1", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "0x0", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { " 1000", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "1:", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { ":1", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "1:1:1", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { "", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { ":", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
        { ":", true, 0, 0, 0, 0, "/", NULL },
        { "# a comment", false, -CB_ECONF, 0, 0, 0, NULL, NULL },
    };
    CB_AUTO(cb_stack_unref) struct cb_stack *s = users();
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_cleanup_user struct cb_user u = { 0 };
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        assert_int_equal(cb_stack_user(s, cases[i].text, cases[i].chown, &u, &err), cases[i].code);
        if (cases[i].code) {
            assert_null(u.home);
            assert_non_null(strstr(cb_error_text(&err), cases[i].text));
            continue;
        }
        assert_int_equal(u.uid, cases[i].uid);
        assert_int_equal(u.gid, cases[i].gid);
        assert_int_equal(u.n_groups, cases[i].n_groups);
        assert_string_equal(u.home, cases[i].home);
        assert_true(cb_streq(u.name, cases[i].name));
        if (u.n_groups > 1) {
            assert_int_equal(u.groups[0], 50);
            assert_int_equal(u.groups[1], 10);
        }
        if (!cases[i].chown)
            assert_int_equal(u.groups[u.n_groups - 1], u.gid);
    }
}

static void without_files(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(NULL, 0);
    cb_cleanup_user struct cb_user u = { 0 };
    assert_int_equal(cb_stack_user(s, "12", false, &u, NULL), 0);
    assert_int_equal(u.uid, 12);
    assert_int_equal(u.gid, 0);
    cb_user_done(&u);
    assert_int_equal(cb_stack_user(s, "root:root", true, &u, NULL), 0);
    assert_int_equal(u.uid, 0);
    assert_int_equal(cb_stack_user(s, "bob", false, NULL, NULL), -CB_ECONF);
    assert_int_equal(cb_stack_user(s, "1:bob", false, NULL, NULL), -CB_ECONF);
}

/* As in NixOS: /etc is full of absolute links into the store. */
static void through_links(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    sup_entry(b, CB_ENTRY_SYMLINK, "etc", "/nix/store/1-etc");
    sup_entry(b, CB_ENTRY_SYMLINK, "nix/store/1-etc/passwd", "/nix/store/2-passwd");
    add_inline(b, "nix/store/2-passwd", PASSWD);
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(&t, 1);
    cb_cleanup_user struct cb_user u = { 0 };
    assert_int_equal(cb_stack_user(s, "bob", false, &u, NULL), 0);
    assert_int_equal(u.uid, 1000);
}

/* B3: a database that is a pipe, a device, a directory or huge is an error and never opened. */
static void odd_files(void **state)
{
    (void)state;
    static const struct cb_entry odd[] = {
        { .path = "etc/passwd", .type = CB_ENTRY_FIFO },
        { .path = "etc/passwd", .type = CB_ENTRY_CHAR, .dev_major = 1, .dev_minor = 5 },
        { .path = "etc/passwd", .type = CB_ENTRY_DIR },
        { .path = "etc/passwd", .type = CB_ENTRY_FILE, .size = 2ull << 30 },
        { .path = "etc/passwd", .type = CB_ENTRY_SYMLINK, .link = "passwd" },
    };
    for (size_t i = 0; i < CB_COUNTOF(odd); i++) {
        CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
        assert_int_equal(cb_toc_builder_add(b, &odd[i], NULL), 0);
        CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
        CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(&t, 1);
        assert_int_equal(cb_stack_user(s, "root", false, NULL, NULL), -CB_ECONF);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known), cmocka_unit_test(without_files), cmocka_unit_test(through_links),
        cmocka_unit_test(odd_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/layer_support.h"

#include "edit/edit.h"

/* ---- files ---- */

static struct cb_stack *stack_of(struct cb_toc *const *tocs, size_t n)
{
    struct cb_stack *s = cb_stack_new(tocs, n);
    for (size_t i = 0; i < n; i++)
        cb_toc_unref(tocs[i]);
    return s;
}

static void spell_file(void *arg, const struct cb_edit_file_diff *d)
{
    cb_strbuf_addf(arg, "%c%s %x\n", (char)d->kind, d->now ? d->now->e->path : d->old->e->path, d->what);
}

static void assert_files(const struct cb_stack *a, const struct cb_stack *b, unsigned ignore, const char *wanted)
{
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t lines = 0, n = cb_edit_diff_files(a, b, ignore, spell_file, &got);
    assert_string_equal(got.buf, wanted);
    for (const char *p = wanted; *p; p++)
        lines += *p == '\n';
    assert_int_equal(n, lines);
}

static void files_come_and_go_in_path_order(void **state CB_UNUSED)
{
    struct cb_toc *old = sup_toc("d a\nf a/x\nf b\nl c > b"), *now = sup_toc("d a\nf a/y\nf a.b\nl c > d\nf b");
    CB_AUTO(cb_stack_unref) struct cb_stack *x = stack_of(&old, 1);
    CB_AUTO(cb_stack_unref) struct cb_stack *y = stack_of(&now, 1);
    assert_files(x, y, 0, "-a/x 0\n+a/y 0\n+a.b 0\n!c 20\n");
    assert_files(y, x, 0, "+a/x 0\n-a/y 0\n-a.b 0\n!c 20\n");
    assert_files(x, x, 0, "");
}

static struct cb_stack *one_file(const struct cb_entry *e)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    assert_int_equal(cb_toc_builder_add(b, e, NULL), 0);
    struct cb_toc *t = cb_toc_builder_finish(b);
    return stack_of(&t, 1);
}

static struct cb_entry file(const char *bytes)
{
    struct cb_entry e = { .path = "f", .type = CB_ENTRY_FILE, .mode = 0644, .mtime = 5, .size = strlen(bytes) };
    cb_sum_of(&e.digest, bytes, strlen(bytes));
    return e;
}

static void assert_change(const struct cb_entry *a, const struct cb_entry *b, unsigned ignore, unsigned wanted)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *x = one_file(a);
    CB_AUTO(cb_stack_unref) struct cb_stack *y = one_file(b);
    char text[32];
    snprintf(text, sizeof text, "!f %x\n", wanted);
    assert_files(x, y, ignore, wanted ? text : "");
}

static void each_attribute_is_told_apart(void **state CB_UNUSED)
{
    struct cb_entry a = file("abc"), b;
    struct cb_xattr x = { "user.k", "v", 1 };
    assert_change(&a, &a, 0, 0);
    b = file("abd");
    assert_change(&a, &b, 0, CB_DIFF_CONTENT);
    b = file("ab");
    assert_change(&a, &b, 0, CB_DIFF_CONTENT | CB_DIFF_SIZE);
    b = a;
    b.mode = 04755;
    b.gid = 7;
    assert_change(&a, &b, 0, CB_DIFF_MODE | CB_DIFF_OWNER);
    b = a;
    b.mtime = 6;
    assert_change(&a, &b, 0, CB_DIFF_MTIME);
    assert_change(&a, &b, CB_DIFF_MTIME, 0);
    b = a;
    b.xattrs = &x;
    b.n_xattrs = 1;
    assert_change(&a, &b, 0, CB_DIFF_XATTR);
    b = (struct cb_entry){ .path = "f", .type = CB_ENTRY_DIR, .mode = 0644, .mtime = 9 };
    assert_change(&a, &b, 0, CB_DIFF_TYPE);
    a = b = (struct cb_entry){ .path = "f", .type = CB_ENTRY_CHAR, .dev_major = 1 };
    b.dev_minor = 3;
    assert_change(&a, &b, 0, CB_DIFF_DEVICE);
}

/* ---- JSON ---- */

static void spell_json(void *arg, const char *path, const json_t *old, const json_t *now)
{
    cb_strbuf_addf(arg, "%s ", path);
    if (old)
        cb_json_print(arg, old);
    cb_strbuf_adds(arg, " > ");
    if (now)
        cb_json_print(arg, now);
    cb_strbuf_addch(arg, '\n');
}

static void json(void **state CB_UNUSED)
{
    static const struct { const char *old, *now, *out; } cases[] = {
        { "{}", "{}", "" },
        { "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", "" },
        { "{\"a\":1}", "{\"a\":2}", "a 1 > 2\n" },
        { "{\"a\":1}", "{\"b\":1}", "a 1 > \nb  > 1\n" },
        { "{\"a\":{\"b.c\":1,\"d\":2}}", "{\"a\":{\"b.c\":3,\"d\":2}}", "a.\"b.c\" 1 > 3\n" },
        { "{\"l\":[\"a\",\"b\"]}", "{\"l\":[\"a\"]}", "l [\"a\",\"b\"] > [\"a\"]\n" },
        { "{\"h\":[{\"x\":1},{\"x\":2}]}", "{\"h\":[{\"x\":1},{\"x\":3},{}]}", "h[1].x 2 > 3\nh[2]  > {}\n" },
        { "{\"config\":{\"Env\":[\"A=1\",\"B=2\"]}}", "{\"config\":{\"Env\":[\"B=2\",\"A=3\",\"C=\"]}}",
          "config.Env.A \"1\" > \"3\"\nconfig.Env.C  > \"\"\n" },
        { "{\"config\":{\"Env\":null}}", "{\"config\":{\"Env\":[\"A=1\"]}}", "config.Env.A  > \"1\"\n" },
        { "{\"skipped\":1,\"a\":{\"skipped\":1}}", "{\"skipped\":2,\"a\":{\"skipped\":2}}", "a.skipped 1 > 2\n" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_autojson json_t *a = cb_json_parse(cases[i].old, strlen(cases[i].old), NULL);
        cb_autojson json_t *b = cb_json_parse(cases[i].now, strlen(cases[i].now), NULL);
        cb_edit_diff_json(a, b, "skipped", spell_json, &got);
        assert_string_equal(got.buf, cases[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_and_go_in_path_order),
        cmocka_unit_test(each_attribute_is_told_apart),
        cmocka_unit_test(json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

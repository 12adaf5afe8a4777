/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "exec/cgroup.h"
#include "exec/subid.h"
#include "util/alloc.h"
#include "util/strbuf.h"

static char *args_of(const char *text, const char *name, uint32_t own)
{
    struct cb_id_ranges r = { 0 };
    struct cb_strvec argv = CB_STRVEC_INIT;
    struct cb_strbuf out = CB_STRBUF_INIT;
    cb_subid_parse(text, name, own, &r);
    cb_subid_map_args(&argv, "m", 7, own, &r);
    for (size_t i = 0; i < argv.n; i++)
        cb_strbuf_addf(&out, "%s%s", i ? " " : "", argv.v[i]);
    cb_strvec_done(&argv);
    cb_id_ranges_done(&r);
    return cb_strbuf_detach(&out, NULL);
}

static void expect(const char *text, const char *name, uint32_t own, const char *want)
{
    cb_autofree char *got = args_of(text, name, own);
    assert_string_equal(got, want);
}

static void by_name_and_number(void **state)
{
    (void)state;
    expect("alice:100000:65536\nbob:165536:65536\n", "bob", 1001, "m 7 0 1001 1 1 165536 65536");
    expect("1001:165536:65536", "bob", 1001, "m 7 0 1001 1 1 165536 65536");
    expect("1001:165536:65536", NULL, 1001, "m 7 0 1001 1 1 165536 65536");
    expect("bobby:1:2\n", "bob", 1001, "m 7 0 1001 1");
    expect("", "bob", 1001, "m 7 0 1001 1");
}

static void several_ranges_have_no_gap(void **state)
{
    (void)state;
    expect("b:100000:10\na:5:5\nb:200000:20\n", "b", 1000, "m 7 0 1000 1 1 100000 10 11 200000 20");
}

static void nonsense_is_skipped(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "b",         "b:",      "b:1",      "b:x:1",          "b:-1:5",         "b:1:0",
        "b:0:65536", "b:1 2:3", "::",       "b:4294967295:2", "b:4294967290:6", "b:1:99999999999999999999",
        "b:900:200", "# b:1:1", ":100000:5"
    };
    for (size_t i = 0; i < CB_COUNTOF(lines); i++)
        expect(lines[i], "b", 1000, "m 7 0 1000 1");
    expect(" b : 100000 : 65536 \n", "b", 1000, "m 7 0 1000 1 1 100000 65536");
}

static void many_lines_are_bounded(void **state)
{
    (void)state;
    struct cb_strbuf text = CB_STRBUF_INIT;
    struct cb_id_ranges r = { 0 };
    for (int i = 0; i < 5000; i++)
        cb_strbuf_addf(&text, "b:%d:1\n", 100000 + i);
    cb_subid_parse(text.buf, "b", 1000, &r);
    assert_in_range(r.n, 1, 339); /* the kernel's limit, with the line of our own id */
    assert_int_equal(cb_id_ranges_total(&r), r.n);
    cb_id_ranges_done(&r);
    cb_strbuf_done(&text);
}

static void map_sizes(void **state)
{
    (void)state;
    assert_int_equal(cb_id_map_size("         0          0 4294967295\n"), UINT32_MAX);
    assert_int_equal(cb_id_map_size("0 1000 1\n"), 1);
    assert_int_equal(cb_id_map_size("0 1000 1\n1 100000 65536\n"), 65537);
    assert_int_equal(cb_id_map_size(""), 0);
}

static void cgroup_paths(void **state)
{
    (void)state;
    static const char text[] = "9:name=systemd:/init\n4:cpu,memory:/a:b/c\n3:memoryx:/no\n0::/user.slice/x\n";
    cb_autofree char *memory = cb_cgroup_path(text, "memory"), *unified = cb_cgroup_path(text, NULL);
    assert_string_equal(memory, "/a:b/c");
    assert_string_equal(unified, "/user.slice/x");
    assert_null(cb_cgroup_path(text, "pids"));
    assert_null(cb_cgroup_path("garbage\n\n:\n", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name_and_number),
        cmocka_unit_test(several_ranges_have_no_gap),
        cmocka_unit_test(nonsense_is_skipped),
        cmocka_unit_test(many_lines_are_bounded),
        cmocka_unit_test(map_sizes),
        cmocka_unit_test(cgroup_paths),
    };
    return cmocka_run_group_tests_name("exec subid", tests, NULL, NULL);
}

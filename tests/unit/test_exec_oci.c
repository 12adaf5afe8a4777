/* SPDX-License-Identifier: Apache-2.0 */
/* What isolation oci tells a runtime, and what it makes of a runtime's answers. Nothing is started. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "exec/oci.h"

static void versions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        enum cb_oci_flavour flavour;
    } cases[] = {
        { "crun version 1.28", true, CB_OCI_CRUN },
        { "crun version 1.28.1", true, CB_OCI_CRUN },
        { "crun version 2.0", true, CB_OCI_CRUN },
        { "crun version 1.27.9", false, CB_OCI_CRUN },
        { "crun version 1.8.1", false, CB_OCI_CRUN },
        { "crun version 0.99", false, CB_OCI_CRUN },
        { "crun version UNKNOWN", false, CB_OCI_CRUN },
        { "runc version 1.1.5+ds1", true, CB_OCI_RUNC },
        { "runc version 1.3.0-rc.1", true, CB_OCI_RUNC },
        { "runc version 1.0.3", false, CB_OCI_RUNC },
        { "runsc version release-20240401.0", true, CB_OCI_RUNSC },
        { "youki version 0.5", false, CB_OCI_CRUN },
        { "crunx version 1.28", false, CB_OCI_CRUN },
        { "", false, CB_OCI_CRUN },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        enum cb_oci_flavour flavour = CB_OCI_CRUN;
        cb_autofree char *why = NULL;
        bool ok = cb_oci_version_ok(cases[i].text, &flavour, &why);
        if (ok != cases[i].ok || flavour != cases[i].flavour || (why == NULL) != ok)
            fail_msg("%s: %d, flavour %d, %s", cases[i].text, ok, (int)flavour, why ? why : "no reason");
    }
}

static void isolation_names(void **state)
{
    (void)state;
    enum cb_isolation_kind k = CB_ISOLATION_OCI;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_isolation out;
    assert_int_equal(cb_isolation_parse("auto", &k, NULL), 0);
    assert_int_equal(k, CB_ISOLATION_AUTO);
    assert_int_equal(cb_isolation_parse("rootless", &k, NULL), 0);
    assert_int_equal(k, CB_ISOLATION_NATIVE);
    assert_int_equal(cb_isolation_parse("Chroot", &k, &err), -CB_EUSAGE);
    assert_int_equal(cb_isolation_parse("", &k, NULL), -CB_EUSAGE);
    const struct cb_isolation_wish w = { .kind = CB_ISOLATION_CHROOT, .runtime = "runc" };
    assert_int_equal(cb_isolation_choose(&w, &out, NULL), -CB_EUSAGE);
    const struct cb_isolation_wish none = { .kind = CB_ISOLATION_OCI, .runtime = "/no/such/runtime" };
    assert_int_equal(cb_isolation_choose(&none, &out, NULL), -CB_ELOCAL);
}

static void logs(void **state)
{
    (void)state;
    static const struct {
        const char *log, *error;
    } cases[] = {
        { "", NULL },
        { "{\"level\":\"warning\",\"msg\":\"w\",\"time\":\"t\"}\n", NULL },
        { "{\"level\":\"error\",\"msg\":\"one\"}\n{\"level\":\"error\",\"msg\":\"two\"}\n", "two" },
        { "{\n  \"msg\": \"crun's\",\n  \"level\": \"error\"\n}{\n  \"level\": \"warning\",\n  \"msg\": \"w\"\n}",
          "crun's" },
        { "{\"level\":\"error\",\"msg\":\"one\"}\nnot JSON\n{\"level\":\"error\",\"msg\":\"two\"}\n", "one" },
        { "{\"level\":\"error\",\"msg\":7}\n", NULL },
        { "[1,2]", NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_autofree char *got = cb_oci_log_error(cases[i].log, strlen(cases[i].log));
        if (!cb_streq(got, cases[i].error))
            fail_msg("case %zu: %s", i, got ? got : "none");
    }
}

static void program_errors(void **state)
{
    (void)state;
    static const struct {
        const char *error, *program;
        int wanted;
    } cases[] = {
        { "runc run failed: unable to start container process: exec: \"x\": executable file not found in $PATH", "x",
          ENOENT },
        { "exec: \"/x\": stat /x: no such file or directory", "/x", ENOENT },
        { "exec: \"/etc/passwd\": permission denied", "/etc/passwd", EACCES },
        { "executable file `x` not found in $PATH: No such file or directory", "x", ENOENT },
        { "the path `/etc/passwd` exists but it is not executable: Operation not permitted", "/etc/passwd", EACCES },
        { "exec: \"other\": executable file not found in $PATH", "mine", 0 },
        { "mount `proc` to `proc`: Operation not permitted", "proc", 0 },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++)
        assert_int_equal(cb_oci_program_error(cases[i].error, cases[i].program), cases[i].wanted);
}

/* ---- config.json ---- */

static const char *const argv[] = { "sh", "-c", "echo", NULL };
static const char *const env[] = { "PATH=/bin", "EMPTY=", NULL };

static struct cb_exec_spec plain(void)
{
    return (struct cb_exec_spec){ .argv = argv, .env = env, .cwd = "/w", .uid = 5, .gid = 6 };
}

static void config_says_what_the_step_is(void **state)
{
    (void)state;
    struct cb_exec_spec spec = plain();
    const uint32_t groups[] = { 7, 8 };
    spec.groups = groups;
    spec.n_groups = 2;
    cb_autojson json_t *dev = json_array(), *o = cb_oci_config(&spec, dev, NULL);
    assert_non_null(o);
    const json_t *p = json_object_get(o, "process"), *caps = json_object_get(p, "capabilities");
    assert_string_equal(json_string_value(json_object_get(p, "cwd")), "/w");
    assert_int_equal(json_array_size(json_object_get(p, "args")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(p, "user"), "uid")), 5);
    assert_int_equal(json_array_size(json_object_get(json_object_get(p, "user"), "additionalGids")), 2);
    assert_int_equal(json_array_size(json_object_get(caps, "bounding")), 14);
    assert_int_equal(json_array_size(json_object_get(caps, "effective")), 0);
    assert_int_equal(json_array_size(json_object_get(caps, "inheritable")), 0);
    static const char *const never[] = { "annotations", "hooks" };
    for (size_t i = 0; i < CB_COUNTOF(never); i++)
        assert_null(json_object_get(o, never[i]));
    assert_null(json_object_get(json_object_get(o, "linux"), "devices"));
    assert_int_equal(json_array_size(json_object_get(json_object_get(o, "linux"), "namespaces")), 4);
}

static void config_refuses_what_it_cannot_say(void **state)
{
    (void)state;
    static const char *const bad_env[][2] = { { "SECRET", NULL }, { "*", NULL }, { "=x", NULL }, { "A=\xff", NULL } };
    static const char *const bad_argv[] = { "echo", "\xc3", NULL };
    cb_autojson json_t *dev = json_array();
    for (size_t i = 0; i < CB_COUNTOF(bad_env); i++) {
        struct cb_exec_spec spec = plain();
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        spec.env = bad_env[i];
        assert_null(cb_oci_config(&spec, dev, &err));
        assert_int_equal(err.code, CB_ECONF);
    }
    struct cb_exec_spec spec = plain();
    spec.argv = bad_argv;
    assert_null(cb_oci_config(&spec, dev, NULL));
}

/* ---- the seccomp profile, read as runtimes do: any rule that fits decides ---- */

static bool condition_holds(const json_t *c, const uint64_t *args)
{
    uint64_t a = args[json_integer_value(json_object_get(c, "index"))];
    uint64_t value = (uint64_t)json_integer_value(json_object_get(c, "value"));
    uint64_t two = (uint64_t)json_integer_value(json_object_get(c, "valueTwo"));
    const char *op = json_string_value(json_object_get(c, "op"));
    if (cb_streq(op, "SCMP_CMP_MASKED_EQ"))
        return (a & value) == two;
    if (cb_streq(op, "SCMP_CMP_LT"))
        return a < value;
    if (cb_streq(op, "SCMP_CMP_GT"))
        return a > value;
    assert_string_equal(op, "SCMP_CMP_EQ");
    return a == value;
}

static bool rule_fits(const json_t *rule, const char *name, const uint64_t *args)
{
    size_t i;
    const json_t *v, *conditions = json_object_get(rule, "args");
    bool named = false;
    json_array_foreach(json_object_get(rule, "names"), i, v)
        named = named || cb_streq(json_string_value(v), name);
    json_array_foreach(conditions, i, v)
        named = named && condition_holds(v, args);
    return named;
}

static int decide(const json_t *profile, const char *name, const uint64_t *args)
{
    size_t i;
    const json_t *rule;
    json_array_foreach(json_object_get(profile, "syscalls"), i, rule)
        if (rule_fits(rule, name, args))
            return (int)json_integer_value(json_object_get(rule, "errnoRet"));
    return (int)json_integer_value(json_object_get(profile, "defaultErrnoRet"));
}

static void profile_decides_as_native(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t args[4];
        int wanted;
    } cases[] = {
        { "read", { 0 }, 0 },
        { "mount", { 0 }, EPERM },
        { "unshare", { 0 }, EPERM },
        { "bpf", { 0 }, EPERM },
        { "keyctl", { 0 }, EPERM },
        { "clone", { 0x1200011 }, 0 },
        { "clone", { 0x10000000 }, EPERM },
        { "clone", { 0x20000 }, EPERM },
        { "clone3", { 0 }, ENOSYS },
        { "statmount", { 0 }, ENOSYS },
        { "fchmodat2", { 0 }, 0 },
        { "personality", { 0x20008 }, 0 },
        { "personality", { 0x40000 }, EPERM },
        { "socket", { 2 }, 0 },
        { "socket", { 16 }, 0 },
        { "socket", { 38 }, EPERM },
        { "socket", { 40 }, EPERM },
        { "socket", { 44 }, 0 },
        { "socket", { 0x100000026 }, EPERM }, /* the kernel would see 38 */
        { "socket", { 0x100000028 }, EPERM },
        { "socketcall", { 1 }, EPERM },
        { "socketcall", { 3 }, 0 },
        { "mknod", { 0, S_IFIFO | 0644, 0 }, 0 },
        { "mknod", { 0, S_IFREG | 0644, 0 }, 0 },
        { "mknod", { 0, S_IFCHR | 0644, 0 }, 0 },
        { "mknod", { 0, S_IFCHR | 0644, 0x103 }, EPERM },
        { "mknodat", { 0, 0, S_IFBLK | 0644, 0x800 }, EPERM },
    };
    cb_autojson json_t *profile = cb_oci_seccomp();
    assert_string_equal(json_string_value(json_object_get(profile, "defaultAction")), "SCMP_ACT_ERRNO");
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        int got = decide(profile, cases[i].name, cases[i].args);
        if (got != cases[i].wanted)
            fail_msg("case %zu, %s: %d", i, cases[i].name, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(isolation_names),
        cmocka_unit_test(logs),
        cmocka_unit_test(program_errors),
        cmocka_unit_test(config_says_what_the_step_is),
        cmocka_unit_test(config_refuses_what_it_cannot_say),
        cmocka_unit_test(profile_decides_as_native),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

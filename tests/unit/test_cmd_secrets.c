/* SPDX-License-Identifier: Apache-2.0 */
/* --secret and --ssh as words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/build_secrets.h"
#include "util/alloc.h"

static char path[] = "cbpush-test-secret-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    bool ok = fd >= 0 && write(fd, "file", 4) == 4 && close(fd) == 0;
    return ok && setenv("CB_VAR", "variable", 1) == 0 && unsetenv("SSH_AUTH_SOCK") == 0 ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int take(struct build_secrets *s, const char *word, struct cb_error *err)
{
    struct cb_strvec words cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_strvec_push(&words, word);
    return build_secrets_take(s, &words, err);
}

static void test_values(void **state)
{
    (void)state;
    const struct { char *word; const char *id, *value, *unset; } cases[] = {
        { cb_asprintf("id=a,src=%s", path), "a", "file", NULL },
        { cb_asprintf("source=./%s,id=a", path), "a", "file", NULL },
        { cb_asprintf("ID=a,\"src=%s\",type=file", path), "a", "file", NULL },
        { cb_strdup("id=a,env=CB_VAR"), "a", "variable", NULL },
        { cb_strdup("id=a,type=env,src=CB_VAR"), "a", "variable", NULL },
        { cb_strdup("id=a,type=env,env=CB_VAR"), "a", "variable", NULL },
        { cb_strdup("id=CB_VAR"), "CB_VAR", "variable", NULL },
        { cb_asprintf("id=%s", path), path, "file", NULL },
        { cb_strdup("id=a,env=CB_UNSET"), "a", "", "CB_UNSET" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct build_secrets s = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        if (take(&s, cases[i].word, &err) < 0)
            fail_msg("%s: %s", cases[i].word, cb_error_text(&err));
        assert_int_equal(s.n, 1);
        assert_string_equal(s.v[0].id, cases[i].id);
        assert_string_equal(cb_secret_data(s.v[0].value), cases[i].value);
        assert_true(cb_streq(s.v[0].unset, cases[i].unset));
        build_secrets_done(&s);
        free(cases[i].word);
    }
}

static void test_wrong_secrets(void **state)
{
    (void)state;
    static const struct { const char *word, *say; } cases[] = {
        { "", "no value" },
        { "a", "no value" },
        { "src=x", "id=" },
        { "id=", "id=" },
        { "id=a,id=b", "id is given twice" },
        { "id=a,src=x,source=y", "twice" },
        { "id=a,type=vault", "vault" },
        { "id=a,target=/x", "target" },
        { "id=a,src=x,env=y", "keep one" },
        { "id=a,type=file,env=y", "contradict" },
        { "id=a,src=/nonexistent", "/nonexistent" },
        { "id=cb-neither-variable-nor-file", "cb-neither" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct build_secrets s = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        assert_int_equal(take(&s, cases[i].word, &err), -CB_EUSAGE);
        if (!strstr(cb_error_text(&err), cases[i].say))
            fail_msg("%s: %s", cases[i].word, cb_error_text(&err));
        build_secrets_done(&s);
    }
}

static void test_ssh(void **state)
{
    (void)state;
    const struct { const char *a, *b, *say; } cases[] = {
        { path, NULL, "SSH_AUTH_SOCK" },        { "=", NULL, "SSH_AUTH_SOCK" },
        { "k=/nonexistent", NULL, "/nonexist" }, { "default=/tmp", "=/tmp", "given twice" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct build_secrets s = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        struct cb_strvec words cb_cleanup_strvec = CB_STRVEC_INIT;
        cb_strvec_push(&words, cases[i].a);
        if (cases[i].b)
            cb_strvec_push(&words, cases[i].b);
        assert_int_equal(build_ssh_take(&s, &words, &err), -CB_EUSAGE);
        if (!strstr(cb_error_text(&err), cases[i].say))
            fail_msg("%s: %s", cases[i].a, cb_error_text(&err));
        build_secrets_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_wrong_secrets),
        cmocka_unit_test(test_ssh),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which token server may have the credentials (D4). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth_fixture.h"

static const struct {
    const char *base, *realm;
    bool allowed, at_login; /* without and with the user's word */
    const char *reason;
} table[] = {
    /* the registry itself */
    { "https://r.example", "https://r.example/token", true, true, "" },
    { "https://r.example:5000", "https://r.example:5000/token?x=1", true, true, "" },
    { "https://R.Example", "https://r.EXAMPLE:443/token", true, true, "" },
    { "http://r.example:5000", "http://r.example:5000/token", true, true, "" },
    { "http://r.example:5000", "https://r.example:5000/token", true, true, "" },
    { "https://10.0.0.5:5000", "https://10.0.0.5:5000/token", true, true, "" },
    { "https://[fd00::1]:5000", "https://[fd00::1]:5000/token", true, true, "" },
    /* never unencrypted behind https */
    { "https://r.example", "http://r.example/token", false, false, "not encrypted" },
    { "https://r.example", "http://auth.r.example/token", false, false, "not encrypted" },
    { "https://registry-1.docker.io", "http://auth.docker.io/token", false, false, "not encrypted" },
    /* elsewhere: on the user's word only */
    { "https://r.example", "https://r.example:444/token", false, true, "another host" },
    { "https://r.example", "https://evil.example/token", false, true, "another host" },
    { "https://r.example", "https://r.example.evil.example/token", false, true, "another host" },
    { "https://r.example", "https://xr.example/token", false, true, "another host" },
    { "http://r.example:5000", "https://auth.example/token", false, true, "another host" },
    { "http://r.example:5000", "http://auth.example/token", false, false, "not encrypted" },
    { "http://r.example:5000", "http://r.example:5001/token", false, false, "not encrypted" },
    /* the pairs that are known, and only they */
    { "https://registry-1.docker.io", "https://auth.docker.io/token", true, true, "" },
    { "https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true, true, "" },
    { "https://nvcr.io", "https://authn.nvidia.com/token", true, true, "" },
    { "https://registry-1.docker.io", "https://auth.docker.io:8443/token", false, true, "another host" },
    { "https://registry-1.docker.io:444", "https://auth.docker.io/token", false, true, "another host" },
    { "https://registry-1.docker.io", "https://gitlab.com/jwt/auth", false, true, "another host" },
    { "https://auth.docker.io", "https://registry-1.docker.io/token", false, true, "another host" },
    { "https://registry-1.docker.io.evil.example", "https://auth.docker.io/token", false, true, "another host" },
    /* bare addresses of elsewhere: not even at login */
    { "https://r.example", "https://169.254.169.254/token", false, false, "another host" },
    { "https://r.example", "https://[::ffff:169.254.169.254]/token", false, false, "another host" },
    { "https://r.example", "https://127.0.0.1/token", false, false, "another host" },
    { "https://r.example", "https://0.0.0.0/token", false, false, "another host" },
    { "https://r.example", "https://localhost/token", false, true, "another host" },
    /* no URLs at all, or dressed up */
    { "https://r.example", "https://127.1/token", false, false, "not a valid" },
    { "https://r.example", "https://0x7f000001/token", false, false, "not a valid" },
    { "https://r.example", "https://2130706433/token", false, false, "not a valid" },
    { "https://r.example", "https://r.example@evil.example/token", false, false, "not a valid" },
    { "https://r.example", "https://user:pw@r.example/token", false, false, "not a valid" },
    { "https://r.example", "file:///etc/passwd", false, false, "not a valid" },
    { "https://r.example", "ftp://r.example/", false, false, "not a valid" },
    { "https://r.example", "//r.example/token", false, false, "not a valid" },
    { "https://r.example", "/token", false, false, "not a valid" },
    { "https://r.example", "", false, false, "not a valid" },
    { "https://r.example", "https://r.example\\@evil.example/", false, false, "not a valid" },
    { "https://r.example", "https://r.example\n.evil.example/", false, false, "not a valid" },
    { "https://r.example", "https://r.example:0/token", false, false, "not a valid" },
    /* this machine: any port, also unencrypted; names that only look like it are not */
    { "http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true, true, "" },
    { "http://localhost:5000", "http://127.0.0.1:5001/token", true, true, "" },
    { "http://127.0.0.1:5000", "http://[::1]:5001/token", true, true, "" },
    { "http://127.0.0.1:5000", "http://127.evil.example/token", false, false, "not encrypted" },
    { "http://127.evil.example", "http://127.0.0.1:5001/token", false, false, "not encrypted" },
    { "http://localhost:5000", "http://localhost.evil.example/token", false, false, "not encrypted" },
    { "https://127.0.0.1:5000", "http://127.0.0.1:5001/token", false, false, "not encrypted" },
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(table); i++)
        for (int login = 0; login < 2; login++) {
            const char *reason = NULL;
            struct cb_auth_target t = { .host = "r.example", .base_url = table[i].base, .approve_realm = login };
            bool got = auth_realm_allowed(&t, table[i].realm, &reason);
            bool want = login ? table[i].at_login : table[i].allowed;
            if (got != want || (!got && !login && !strstr(reason, table[i].reason)))
                fail_msg("%s and %s%s: %d (%s)", table[i].base, table[i].realm, login ? " at login" : "", got,
                         reason);
        }
}

static bool allowed(const char *host, const char *base, const char *realm)
{
    const char *reason;
    struct cb_auth_target t = { .host = host, .base_url = base };
    return auth_realm_allowed(&t, realm, &reason);
}

static void test_approved(void **state)
{
    struct home *h = *state;
    static const char realm[] = "https://auth.example/token?svc=1";
    assert_false(allowed("r.example", "https://r.example", realm));
    assert_int_equal(auth_realm_approve("R.example", realm, NULL), 0);
    assert_true(allowed("r.example", "https://r.example", realm));
    /* that realm, to the letter, for that host */
    assert_false(allowed("r.example", "https://r.example", "https://auth.example/other"));
    assert_false(allowed("r.example", "https://r.example", "http://auth.example/token?svc=1"));
    assert_false(allowed("s.example", "https://s.example", realm));
    assert_false(allowed("r.example:5000", "https://r.example:5000", realm));

    assert_int_equal(auth_realm_approve("s.example", "https://auth2.example/", NULL), 0);
    assert_true(allowed("r.example", "https://r.example", realm)); /* still */
    assert_true(allowed("s.example", "https://s.example", "https://auth2.example/"));
    struct stat st;
    cb_autofree char *path = cb_asprintf("%s/.config/cbpush/realms.json", h->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);

    /* A file that others broke approves nothing. */
    home_put(h, ".config/cbpush/realms.json", "[\"r.example\"");
    assert_false(allowed("r.example", "https://r.example", realm));
}

/* The registry's own host needs no approval, and so no file. */
static void test_own_host(void **state)
{
    struct home *h = *state;
    struct stat st;
    assert_int_equal(auth_realm_approve("r.example:5000", "https://r.example:5000/token", NULL), 0);
    assert_int_equal(auth_realm_approve("r.example:5000", "http://r.example:5000/token", NULL), 0);
    cb_autofree char *path = cb_asprintf("%s/.config/cbpush/realms.json", h->dir);
    assert_int_not_equal(stat(path, &st), 0);
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { HOME_TEST(test_table), HOME_TEST(test_approved), HOME_TEST(test_own_host) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

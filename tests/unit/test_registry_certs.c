/* SPDX-License-Identifier: Apache-2.0 */
/* certs.d: authorities and client certificates, bound to host and port. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth_fixture.h"
#include "registry/private.h"

static int find(struct cb_http_tls *tls, const char *dir, const char *host, struct cb_error *e)
{
    return reg_certs_find(tls, dir, host, e);
}

#define DIR ".config/containers/certs.d/"

static void test_found(void **state)
{
    struct home *h = *state;
    CB_CLEANUP(cb_http_tls_done) struct cb_http_tls tls = { 0 };
    home_put(h, DIR "r.example:5000/b.crt", "x");
    home_put(h, DIR "r.example:5000/a.crt", "x");
    home_put(h, DIR "r.example:5000/me.cert", "x");
    home_put(h, DIR "r.example:5000/me.key", "x");
    home_put(h, DIR "r.example:5000/readme.txt", "x");
    home_put(h, DIR "r.example:5000/.hidden.crt", "x");
    home_put(h, DIR "r.example:5000/z.cert", "x");
    home_put(h, DIR "r.example:5000/z.key", "x");
    assert_int_equal(find(&tls, NULL, "r.example:5000", NULL), 0);
    assert_int_equal(tls.ca_files.n, 2);
    assert_true(cb_ends_with(tls.ca_files.v[0], "/r.example:5000/a.crt"));
    assert_true(cb_ends_with(tls.ca_files.v[1], "/r.example:5000/b.crt"));
    assert_true(cb_ends_with(tls.client_cert, "/r.example:5000/me.cert"));
    assert_true(cb_ends_with(tls.client_key, "/r.example:5000/me.key"));
    assert_false(tls.insecure);
}

/* Another port is another host. */
static void test_other(void **state)
{
    struct home *h = *state;
    static const char *const hosts[] = { "r.example", "r.example:5001", "example:5000", "xr.example:5000",
                                         "r.example:50" };
    home_put(h, DIR "r.example:5000/a.crt", "x");
    for (size_t i = 0; i < CB_COUNTOF(hosts); i++) {
        CB_CLEANUP(cb_http_tls_done) struct cb_http_tls tls = { 0 };
        assert_int_equal(find(&tls, NULL, hosts[i], NULL), 0);
        assert_int_equal(tls.ca_files.n, 0);
        assert_null(tls.client_cert);
    }
}

static void test_halves(void **state)
{
    struct home *h = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_CLEANUP(cb_http_tls_done) struct cb_http_tls tls = { 0 };
    home_put(h, DIR "a.example/me.cert", "x");
    assert_int_equal(find(&tls, NULL, "a.example", &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "a.example/me.key is missing"));
    home_put(h, DIR "b.example/me.key", "x");
    assert_int_equal(find(&tls, NULL, "b.example", &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "b.example/me.cert is missing"));
}

static void test_xdg(void **state)
{
    struct home *h = *state;
    CB_CLEANUP(cb_http_tls_done) struct cb_http_tls tls = { 0 };
    cb_autofree char *xdg = cb_asprintf("%s/xdg", h->dir);
    home_put(h, "xdg/containers/certs.d/r.example/ca.crt", "x");
    setenv("XDG_CONFIG_HOME", xdg, 1);
    assert_int_equal(find(&tls, NULL, "r.example", NULL), 0);
    unsetenv("XDG_CONFIG_HOME");
    assert_int_equal(tls.ca_files.n, 1);
}

/* --cert-dir: that one alone, and it must be there. */
static void test_cert_dir(void **state)
{
    struct home *h = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_CLEANUP(cb_http_tls_done) struct cb_http_tls tls = { 0 };
    home_put(h, DIR "r.example/a.crt", "x");
    home_put(h, "mine/b.crt", "x");
    cb_autofree char *mine = cb_asprintf("%s/mine", h->dir);
    assert_int_equal(find(&tls, mine, "r.example", NULL), 0);
    assert_int_equal(tls.ca_files.n, 1);
    assert_true(cb_ends_with(tls.ca_files.v[0], "/mine/b.crt"));
    assert_int_equal(find(&tls, "/nonexistent/certs", "r.example", &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "/nonexistent/certs"));
}

/* --cert-dir is for the hosts of the command line. */
static void test_named_only(void **state)
{
    struct home *h = *state;
    home_put(h, "mine/b.crt", "x");
    cb_autofree char *mine = cb_asprintf("%s/mine", h->dir);
    cb_autofree char *conf = home_write(h, "empty.conf", "", 0600);
    struct cb_registry_options o = { .cert_dir = mine, .registries_conf = conf, .tls_verify = -1 };
    CB_AUTO(cb_registry_free) struct cb_registry *r = cb_registry_new(&o, NULL);
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint f = { 0 };
    cb_registry_name_host(r, "r.example");
    assert_int_equal(reg_endpoint_push(r, "r.example", "x", &e, NULL), 0);
    assert_int_equal(e.h->tls.ca_files.n, 1);
    assert_int_equal(reg_endpoint_push(r, "other.example", "x", &f, NULL), 0);
    assert_int_equal(f.h->tls.ca_files.n, 0);
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(test_found), HOME_TEST(test_other),    HOME_TEST(test_halves),
        HOME_TEST(test_xdg),   HOME_TEST(test_cert_dir), HOME_TEST(test_named_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

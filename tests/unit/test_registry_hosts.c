/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.toml: how it is read, and where it leads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/un.h>
#include <cmocka.h>

#include "fake_registry.h"
#include "registry/endpoint.h"
#include "registry/hosts.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST FAKE_MANIFEST

static int parse(struct reg_hosts *h, const char *text, struct cb_error *e)
{
    return reg_hosts_parse(h, "/etc/certs.d/r/hosts.toml", "r.example", (struct cb_slice){ text, strlen(text) }, e);
}

static void the_whole_of_it_is_read(void **state)
{
    (void)state;
    CB_CLEANUP(reg_hosts_done) struct reg_hosts h = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = parse(&h,
                  "server = \"https://upstream.example\"\n"
                  "ca = [\"own.crt\", \"/abs/ca.crt\"]\n"
                  "[host.\"https://b.example:5000/proxy/hub\"]\n"
                  "  capabilities = [\"pull\", \"resolve\"]\n"
                  "  client = [[\"c.cert\", \"c.key\"]]\n"
                  "  dial_timeout = \"1500ms\"\n"
                  "[host.\"https://b.example:5000/proxy/hub\".header]\n"
                  "  x-one = \"canary\"\n"
                  "  x-many = [\"a\", \"b\"]\n"
                  "[host.\"http://a.example/v2\"]\n"
                  "  skip_verify = true\n"
                  "  capabilities = [\"pull\"]\n"
                  "[host.\"https://c.example/odd/\"]\n"
                  "  override_path = true\n"
                  "  client = \"both.pem\"\n"
                  "[host.\"bare.example\"]\n"
                  "[host.\"unix:///run/reg.sock\"]\n",
                  &e);
    if (r < 0)
        fail_msg("%s", cb_error_text(&e));
    static const struct {
        const char *authority, *api;
        bool plain, said;
        unsigned can;
    } want[] = {
        { "b.example:5000", "/proxy/hub/v2", false, true, REG_CAN_PULL | REG_CAN_RESOLVE },
        { "a.example", "/v2", true, true, REG_CAN_PULL },
        { "c.example", "/odd", false, false, 7 },
        { "bare.example", "/v2", false, false, 7 },
        { "", "/v2", true, false, 7 },
        { "upstream.example", "/v2", false, false, 7 },
    };
    assert_int_equal(h.n, CB_COUNTOF(want));
    for (size_t i = 0; i < h.n; i++) {
        assert_string_equal(h.v[i].authority, want[i].authority);
        assert_string_equal(h.v[i].api, want[i].api);
        assert_int_equal(h.v[i].plain, want[i].plain);
        assert_int_equal(h.v[i].can_said, want[i].said);
        assert_int_equal(h.v[i].can, want[i].can);
    }
    assert_string_equal(h.v[0].tls.client_cert, "/etc/certs.d/r/c.cert");
    assert_string_equal(h.v[0].tls.client_key, "/etc/certs.d/r/c.key");
    assert_int_equal(h.v[0].tls.connect_ns, 1500000000);
    assert_int_equal(h.v[0].headers.n, 3);
    assert_string_equal(h.v[0].headers.v[2], "x-many: b");
    assert_true(h.v[1].tls.insecure);
    assert_string_equal(h.v[2].tls.client_cert, "/etc/certs.d/r/both.pem");
    assert_null(h.v[2].tls.client_key);
    assert_string_equal(h.v[4].tls.unix_socket, "/run/reg.sock");
    assert_string_equal(h.v[5].tls.ca_files.v[0], "/etc/certs.d/r/own.crt");
    assert_string_equal(h.v[5].tls.ca_files.v[1], "/abs/ca.crt");
}

static void an_empty_file_means_the_host_itself(void **state)
{
    (void)state;
    CB_CLEANUP(reg_hosts_done) struct reg_hosts h = { 0 };
    assert_int_equal(parse(&h, "", NULL), 0);
    assert_int_equal(h.n, 1);
    assert_string_equal(h.v[0].authority, "r.example");
    assert_true(h.v[0].implied);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } t[] = {
        { "garbage", "line 1" },
        { "server = 5\n", "line 1: \"server\" must be a string" },
        { "\nserver = \"https://u:canary@h\"\n", "user name or password" },
        { "server = \"ftp://h\"\n", "neither https nor http" },
        { "server = \"https://h?x=canary\"\n", "a query has no place" },
        { "server = \"unix://relative\"\n", "unix:///PATH" },
        { "[host.\"unix:\"]\n", "unix:///PATH" },
        { "server = \"unix:/s\"\n", "unix:///PATH" },
        { "mirror = \"x\"\n", "line 1: \"mirror\" is not known" },
        { "[host.\"https://m\"]\nserver = \"x\"\n", "line 2: \"server\" is not known" },
        { "[host.\"https://m\"]\ncapabilities = [\"pull\", \"destroy\"]\n", "line 2: capability \"destroy\"" },
        { "[host.\"https://m\"]\ncapabilities = \"pull\"\n", "line 2: \"capabilities\" must be an array" },
        { "[host.\"https://m\"]\nca = [1]\n", "line 2: \"ca\" must hold strings" },
        { "[host.\"https://m\"]\nclient = [\"a\", \"b\"]\n", "more than one client certificate" },
        { "[host.\"https://m\"]\nclient = [[\"a\"]]\n", "client is a file, or" },
        { "[host.\"https://m\"]\nskip_verify = \"yes\"\n", "line 2: \"skip_verify\" must be true or false" },
        { "[host.\"https://m\"]\ndial_timeout = \"soon\"\n", "line 2: dial_timeout" },
        { "[host.\"https://m\"]\ndial_timeout = \"-1s\"\n", "write a duration" },
        { "[host.\"https://m\"]\nheader = \"x: canary\"\n", "line 2: header is a table" },
        { "[host.\"https://m\".header]\nx = 1\n", "line 2: \"x\" must be an array of strings" },
        { "[host.\"unix:///s\"]\noverride_path = true\n", "means nothing for a socket" },
        { "host = [\"https://m\"]\n", "line 1: write [host.\"URL\"]" },
        { "host.m = 1\n", "line 1: write [host.\"URL\"]" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        CB_CLEANUP(reg_hosts_done) struct reg_hosts h = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int r = parse(&h, t[i].text, &e);
        if (r != -CB_ECONF || !cb_starts_with(cb_error_text(&e), "/etc/certs.d/r/hosts.toml: line ") ||
            !strstr(cb_error_text(&e), t[i].want))
            fail_msg("<%s>: %d \"%s\", expected \"%s\"", t[i].text, r, cb_error_text(&e), t[i].want);
        assert_null(strstr(cb_error_text(&e), "canary"));
    }
}

/* ---- where it leads ---- */

static void put_hosts(struct client *c, const char *dir, const char *text)
{
    cb_autofree char *name = cb_asprintf(".config/containers/certs.d/%s/hosts.toml", dir);
    home_put(c->home, name, text);
}

/* "host/repo host/repo" of a pull, or the error. Owned. */
static char *places(struct client *c, const char *host, bool by_digest)
{
    CB_CLEANUP(reg_endpoints_done) struct reg_endpoints all = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest d;
    cb_digest_of(&d, "x", 1);
    struct reg_wanted w = { .host = host, .repo = "team/app", .tag = "1", .digest = by_digest ? &d : NULL };
    if (reg_endpoints_pull(c->r, &w, &all, &e) < 0)
        return cb_strdup(cb_error_text(&e));
    for (size_t i = 0; i < all.n; i++)
        cb_strbuf_addf(&sb, "%s%s/%s", i ? " " : "", all.v[i].host, all.v[i].repo);
    return cb_strbuf_detach(&sb, NULL);
}

static void expect_places(struct client *c, const char *host, bool by_digest, const char *want)
{
    cb_autofree char *got = places(c, host, by_digest);
    assert_string_equal(got, want);
}

static void a_mirror_without_resolve_serves_by_digest_only(void **state)
{
    struct client *c = *state;
    put_hosts(c, "r.example_5000_",
              "server = \"https://up.example\"\n[host.\"https://m.example\"]\ncapabilities = [\"pull\"]\n"
              "[host.\"https://n.example\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
              "[host.\"https://p.example\"]\ncapabilities = [\"push\"]\n");
    put_hosts(c, "docker.io", "[host.\"https://hub.example\"]\n");
    put_hosts(c, "only.example",
              "capabilities = [\"push\"]\n[host.\"https://m.example\"]\ncapabilities = [\"pull\"]\n");
    client_open(c,
                "[[registry]]\nlocation = \"r.example:5000\"\n[[registry.mirror]]\nlocation = \"ignored.example\"\n"
                "[[registry]]\nlocation = \"docker.io/team\"\nblocked = true\n",
                NULL);
    expect_places(c, "r.example:5000", true, "m.example/team/app n.example/team/app up.example/team/app");
    expect_places(c, "r.example:5000", false, "n.example/team/app up.example/team/app");
    expect_places(c, "other.example", false, "other.example/team/app");
    expect_places(c, "only.example", true, "m.example/team/app");
    cb_autofree char *none = places(c, "only.example", false);
    assert_non_null(strstr(none, "no host of it may serve only.example/team/app by tag"));
    cb_autofree char *blocked = places(c, "docker.io", false);
    assert_non_null(strstr(blocked, "blocked by registries.conf"));
}

static void the_default_directory_serves_hosts_without_one(void **state)
{
    struct client *c = *state;
    put_hosts(c, "_default", "[host.\"https://m.example\"]\n");
    put_hosts(c, "own.example", "");
    client_open(c, NULL, NULL);
    expect_places(c, "docker.io", false, "m.example/team/app docker.io/team/app");
    expect_places(c, "x.example", false, "m.example/team/app x.example/team/app");
    expect_places(c, "own.example", false, "own.example/team/app");
}

static void a_push_goes_to_a_mirror_only_where_that_is_said(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    put_hosts(c, "a.example", "[host.\"https://m.example\"]\n");
    put_hosts(c, "b.example", "[host.\"https://m.example\"]\ncapabilities = [\"pull\", \"push\"]\n");
    put_hosts(c, "c.example", "capabilities = [\"pull\"]\n[host.\"https://m.example\"]\n");
    client_open(c, NULL, NULL);
    static const struct {
        const char *host, *want;
    } t[] = { { "a.example", "a.example" }, { "b.example", "m.example" } };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        CB_CLEANUP(reg_endpoint_done) struct reg_endpoint at = { 0 };
        assert_int_equal(reg_endpoint_push(c->r, t[i].host, "x", &at, NULL), 0);
        assert_string_equal(at.host, t[i].want);
    }
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint at = { 0 };
    assert_int_equal(reg_endpoint_push(c->r, "c.example", "x", &at, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "no host of it may be pushed to"));
}

/* ---- what is sent ---- */

static int fetch(struct client *c, const char *host, struct cb_error *e)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    cb_autofree char *text = cb_asprintf("%s/team/app:1", host);
    assert_int_equal(cb_reference_parse(&ref, text, NULL), 0);
    return cb_registry_manifest(c->r, &ref, &f, e);
}

static bool odd_api(struct fake *f, struct server_request *r, bool *keep)
{
    (void)f;
    if (!cb_starts_with(r->path, "/hub/api/team/app/manifests/1?ns=r.example"))
        return false;
    cb_autofree char *key = server_header(r, "X-Key");
    if (!cb_streq(key, "canary"))
        *keep = server_reply(r, 403, "", "no key");
    else
        *keep = server_reply(r, 200, "Content-Type: " OCI_MANIFEST "\r\n", MANIFEST);
    return true;
}

static void a_mirror_gets_its_path_its_headers_and_the_name_it_stands_for(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *toml =
        cb_asprintf("server = \"http://%s\"\n[host.\"http://%s/hub/api\"]\noverride_path = true\n"
                    "[host.\"http://%s/hub/api\".header]\nx-key = \"canary\"\n",
                    c->two.host, c->one.host, c->one.host);
    put_hosts(c, "r.example", toml);
    c->one.hook = odd_api;
    client_open(c, NULL, NULL);
    if (fetch(c, "r.example", &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_int_equal(fake_count(&c->one, "/v2/"), 0);
    assert_int_equal(atomic_load(&c->two.server->requests), 0);
    assert_null(strstr(c->notes.buf, "canary"));
}

/* The mirror has nothing: the server is asked, without the mirror's header. */
static void the_server_does_not_see_what_is_for_the_mirror(void **state)
{
    struct client *c = *state;
    cb_autofree char *toml =
        cb_asprintf("server = \"http://%s\"\n[host.\"http://%s\"]\n[host.\"http://%s\".header]\nx-key = \"canary\"\n",
                    c->two.host, c->one.host, c->one.host);
    put_hosts(c, "r.example", toml);
    fake_put(&c->two, "team/app/manifests/1", OCI_MANIFEST, MANIFEST, strlen(MANIFEST));
    client_open(c, NULL, NULL);
    assert_int_equal(fetch(c, "r.example", NULL), 0);
    assert_true(fake_count(&c->one, "x-key: canary") > 0);
    assert_int_equal(fake_count(&c->two, "canary"), 0);
}

static bool redirect_away(struct fake *f, struct server_request *r, bool *keep)
{
    struct client *c = f->arg;
    cb_autofree char *line = cb_asprintf("Location: http://%s%s\r\n", c->two.host, r->path);
    *keep = server_reply(r, 307, line, "");
    return true;
}

static void a_redirect_of_the_mirror_does_not_carry_its_header_along(void **state)
{
    struct client *c = *state;
    cb_autofree char *toml = cb_asprintf(
        "server = \"http://%s\"\n[header]\nauthorization = \"Basic canary\"\nx-key = \"canary\"\n", c->one.host);
    put_hosts(c, "r.example", toml);
    c->one.hook = redirect_away;
    c->one.arg = c;
    fake_put(&c->two, "team/app/manifests/1", OCI_MANIFEST, MANIFEST, strlen(MANIFEST));
    client_open(c, NULL, NULL);
    assert_int_equal(fetch(c, "r.example", NULL), 0);
    assert_true(fake_count(&c->one, "authorization: Basic canary") > 0);
    assert_int_equal(fake_count(&c->two, "canary"), 0);
}

static bool echo(struct fake *f, struct server_request *r, bool *keep)
{
    (void)f;
    cb_autofree char *key = server_header(r, "X-Key");
    cb_autofree char *body = cb_asprintf("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not with %s\"}]}", key);
    *keep = server_reply(r, 403, "Content-Type: application/json\r\n", body);
    return true;
}

static void a_header_that_comes_back_is_not_shown(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *toml = cb_asprintf("server = \"http://%s\"\n[header]\nx-key = \"canary\"\n", c->one.host);
    put_hosts(c, "r.example", toml);
    c->one.hook = echo;
    client_open(c, NULL, NULL);
    assert_int_equal(fetch(c, "r.example", &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "not with xxxxx"));
    assert_null(strstr(cb_error_text(&e), "canary"));
}

static void an_authorization_in_the_file_takes_the_place_of_credentials(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *toml =
        cb_asprintf("server = \"http://%s\"\n[header]\nAuthorization = \"Basic dTpw\"\n", c->one.host);
    put_hosts(c, "r.example", toml);
    c->one.auth = "basic";
    c->one.pair = "dTpw";
    fake_put(&c->one, "team/app/manifests/1", OCI_MANIFEST, MANIFEST, strlen(MANIFEST));
    client_open(c, NULL, "other:secret");
    if (fetch(c, "r.example", &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_int_equal(fake_count(&c->one, "Authorization: Basic"), fake_count(&c->one, "Authorization: Basic dTpw"));
}

static void a_registry_on_a_socket_is_reached_by_its_name(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *path = cb_asprintf("%s/reg.sock", c->home->dir);
    cb_autofree char *toml = cb_asprintf("server = \"unix://%s\"\n", path);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    struct server *server = server_start_on(fd, fake_handle, &c->one);
    put_hosts(c, "team.example", toml);
    put_hosts(c, "gone.example", "server = \"unix:///nonexistent/reg.sock\"\n");
    c->one.auth = "token";
    c->one.realm = "http://team.example/token"; /* its own origin: on the same socket */
    c->one.pair = "dTpw";
    fake_put(&c->one, "team/app/manifests/1", OCI_MANIFEST, MANIFEST, strlen(MANIFEST));
    client_open(c, NULL, "u:p");
    cb_auth_set_creds_host(c->auth, "team.example");
    if (fetch(c, "team.example", &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_true(server_saw(server, "Host: team.example"));
    assert_true(server_saw(server, "GET /token?service=fake"));
    assert_int_equal(fetch(c, "gone.example", &e), -CB_ENET);
    assert_int_equal(atomic_load(&c->one.server->requests), 0);
    server_stop(server);
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_of_it_is_read),
        cmocka_unit_test(an_empty_file_means_the_host_itself),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        CLIENT_TEST(a_mirror_without_resolve_serves_by_digest_only),
        CLIENT_TEST(the_default_directory_serves_hosts_without_one),
        CLIENT_TEST(a_push_goes_to_a_mirror_only_where_that_is_said),
        CLIENT_TEST(a_mirror_gets_its_path_its_headers_and_the_name_it_stands_for),
        CLIENT_TEST(the_server_does_not_see_what_is_for_the_mirror),
        CLIENT_TEST(a_redirect_of_the_mirror_does_not_carry_its_header_along),
        CLIENT_TEST(a_header_that_comes_back_is_not_shown),
        CLIENT_TEST(an_authorization_in_the_file_takes_the_place_of_credentials),
        CLIENT_TEST(a_registry_on_a_socket_is_reached_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* registries.conf (D9): which rule holds, and where that leads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth_fixture.h"
#include "registry/private.h"

static int parse(struct reg_conf *c, const char *text, struct cb_error *e)
{
    return reg_conf_parse(c, "test.conf", text, strlen(text), e);
}

/* ---- prefixes ---- */

static const struct {
    const char *prefix, *name;
    size_t matched;
} prefixes[] = {
    { "example.com", "example.com/a", 11 },
    { "example.com", "example.com/a/b:tag", 11 },
    { "ex", "example.com/a", 0 },
    { "example.co", "example.com/a", 0 },
    { "example.com", "example.com.evil/a", 0 },
    { "example.com", "xexample.com/a", 0 },
    { "example.com", "example.com:5000/a", 0 },
    { "example.com:5000", "example.com:5000/a", 16 },
    { "example.com:50", "example.com:5000/a", 0 },
    { "Example.COM", "eXample.com/a", 11 },
    { "example.com/a", "example.com/a", 13 },
    { "example.com/a", "example.com/a/b", 13 },
    { "example.com/a", "example.com/a:tag", 13 },
    { "example.com/a", "example.com/a@sha256:00", 13 },
    { "example.com/a", "example.com/ab", 0 },
    { "example.com/a", "example.com/A", 0 },
    { "example.com/a:tag", "example.com/a:tag", 17 },
    { "example.com/a:ta", "example.com/a:tag", 0 },
    { "example.com/a:tag", "example.com/a", 0 },
    { "example.com/a:tag", "example.com/a:tag@sha256:00", 17 },
    { "example.com/a@sha256:00", "example.com/a@sha256:00", 23 },
    { "*.example.com", "a.example.com/x", 13 },
    { "*.example.com", "a.b.Example.com/x", 15 },
    { "*.example.com", "a.example.com:5000/x", 18 },
    { "*.example.com:5000", "a.example.com:5000/x", 18 },
    { "*.example.com:5000", "a.example.com/x", 0 },
    { "*.example.com", "example.com/x", 0 },
    { "*.example.com", ".example.com/x", 0 },
    { "*.example.com", "aexample.com/x", 0 },
    { "*.example.com", "a.example.com.evil/x", 0 },
    { "*.example.com", "evil.com/a.example.com", 0 },
    { "*.example.com/ns", "a.example.com/ns/x", 16 },
    { "*.example.com/ns", "a.example.com/nsx", 0 },
    { "*.example.com/ns", "a.example.com:5000/ns:tag", 21 },
};

static void test_prefixes(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(prefixes); i++) {
        CB_CLEANUP(reg_conf_done) struct reg_conf c = { 0 };
        cb_autofree char *text = cb_asprintf("[[registry]]\nprefix = \"%s\"\n", prefixes[i].prefix);
        size_t matched;
        assert_int_equal(parse(&c, text, NULL), 0);
        const struct reg_rule *r = reg_conf_match(&c, prefixes[i].name, &matched);
        if ((r != NULL) != (prefixes[i].matched > 0) || matched != prefixes[i].matched)
            fail_msg("%s for %s: %zu, expected %zu", prefixes[i].prefix, prefixes[i].name, matched,
                     prefixes[i].matched);
    }
}

static void test_longest(void **state)
{
    (void)state;
    CB_CLEANUP(reg_conf_done) struct reg_conf c = { 0 };
    static const char text[] = "[[registry]]\nprefix = \"*.example.com\"\n"
                               "[[registry]]\nprefix = \"a.example.com\"\n"
                               "[[registry]]\nprefix = \"a.example.com/ns/app\"\n"
                               "[[registry]]\nprefix = \"a.example.com/ns\"\n"
                               "[[registry]]\nprefix = \"*.b.example.com\"\n";
    static const struct {
        const char *name, *prefix;
    } t[] = {
        { "a.example.com/x", "a.example.com" },
        { "a.example.com/ns/x", "a.example.com/ns" },
        { "a.example.com/ns/app/y", "a.example.com/ns/app" },
        { "a.example.com/ns/apps", "a.example.com/ns" },
        { "c.example.com/ns/app", "*.example.com" },
        { "x.b.example.com/y", "*.b.example.com" },
        { "b.example.com/y", "*.example.com" },
        { "example.com/y", NULL },
    };
    assert_int_equal(parse(&c, text, NULL), 0);
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        size_t matched;
        const struct reg_rule *r = reg_conf_match(&c, t[i].name, &matched);
        if (!cb_streq(r ? r->prefix : NULL, t[i].prefix))
            fail_msg("%s: %s, expected %s", t[i].name, r ? r->prefix : "none", t[i].prefix ? t[i].prefix : "none");
    }
}

/* ---- where it leads ---- */

struct rig {
    struct home *home;
    struct cb_registry *r;
};

static void open_with(struct rig *x, const char *conf, const struct cb_registry_options *more)
{
    cb_autofree char *path = home_write(x->home, "registries.conf", conf, 0644);
    struct cb_registry_options o = more ? *more : (struct cb_registry_options){ .tls_verify = -1 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    o.registries_conf = path;
    cb_registry_free(x->r);
    x->r = cb_registry_new(&o, &e);
    if (!x->r)
        fail_msg("%s", cb_error_text(&e));
}

/* "host/repo[!] host/repo …", ! = insecure; or "ERROR". */
static char *places(struct rig *x, const char *host, const char *repo, const char *tag, bool digest)
{
    CB_CLEANUP(reg_endpoints_done) struct reg_endpoints all = { 0 };
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_digest d;
    cb_digest_of(&d, "x", 1);
    struct reg_wanted w = { .host = host, .repo = repo, .tag = tag, .digest = digest ? &d : NULL };
    if (reg_endpoints_pull(x->r, &w, &all, &e) < 0)
        return cb_asprintf("ERROR %s", cb_error_text(&e));
    for (size_t i = 0; i < all.n; i++)
        cb_strbuf_addf(&sb, "%s%s/%s%s", i ? " " : "", all.v[i].host, all.v[i].repo, all.v[i].h->insecure ? "!" : "");
    return cb_strbuf_detach(&sb, NULL);
}

static void expect(struct rig *x, const char *host, const char *repo, const char *want)
{
    cb_autofree char *got = places(x, host, repo, "1", false);
    if (strcmp(got, want) != 0)
        fail_msg("%s/%s: \"%s\", expected \"%s\"", host, repo, got, want);
}

static void test_none(void **state)
{
    struct rig *x = *state;
    open_with(x, "", NULL);
    expect(x, "r.example", "a/b", "r.example/a/b");
}

static void test_location(void **state)
{
    struct rig *x = *state;
    open_with(x,
              "[[registry]]\nprefix = \"r.example\"\nlocation = \"real.example:5000/root/\"\n"
              "[[registry]]\nprefix = \"r.example/ns\"\nlocation = \"ns.example\"\n"
              "[[registry]]\nlocation = \"same.example\"\ninsecure = true\n"
              "[[registry]]\nprefix = \"r.example/pin:1\"\nlocation = \"pin.example/pinned\"\n"
              "[[registry]]\nprefix = \"r.example/bare\"\nlocation = \"bare.example\"\n"
              "[[registry]]\nprefix = \"*.wild.example\"\n[[registry.mirror]]\nlocation = \"m.example/wild\"\n",
              NULL);
    expect(x, "r.example", "a/b", "real.example:5000/root/a/b");
    expect(x, "r.example", "ns/b", "ns.example/b");
    expect(x, "same.example", "b", "same.example/b!");
    expect(x, "r.example", "pin", "pin.example/pinned");
    cb_autofree char *other = places(x, "r.example", "pin", "2", false);
    assert_string_equal(other, "real.example:5000/root/pin");
    expect(x, "a.wild.example", "b/c", "m.example/wild/b/c a.wild.example/b/c");
    expect(x, "r.example", "bare/x", "bare.example/x");
    cb_autofree char *bare = places(x, "r.example", "bare", "1", false);
    assert_true(cb_starts_with(bare, "ERROR"));
}

static void test_mirrors(void **state)
{
    struct rig *x = *state;
    open_with(x,
              "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n"
              "[[registry.mirror]]\nlocation = \"all.example/hub\"\ninsecure = true\n"
              "[[registry.mirror]]\nlocation = \"digest.example\"\npull-from-mirror = \"digest-only\"\n"
              "[[registry.mirror]]\nlocation = \"tag.example\"\npull-from-mirror = \"tag-only\"\n"
              "[[registry.mirror]]\nlocation = \"said.example\"\npull-from-mirror = \"all\"\n"
              "[[registry]]\nprefix = \"quay.io\"\nmirror-by-digest-only = true\n"
              "[[registry.mirror]]\nlocation = \"q.example\"\n",
              NULL);
    expect(x, "docker.io", "library/x",
           "all.example/hub/library/x! tag.example/library/x said.example/library/x docker.io/library/x");
    cb_autofree char *d = places(x, "docker.io", "library/x", NULL, true);
    assert_string_equal(
        d, "all.example/hub/library/x! digest.example/library/x said.example/library/x docker.io/library/x");
    expect(x, "quay.io", "a", "quay.io/a");
    cb_autofree char *q = places(x, "quay.io", "a", "1", true);
    assert_string_equal(q, "q.example/a quay.io/a");
}

static void test_blocked(void **state)
{
    struct rig *x = *state;
    open_with(x,
              "[[registry]]\nprefix = \"bad.example\"\nblocked = true\n[[registry]]\nprefix = \"bad.example/good\"\n",
              NULL);
    cb_autofree char *got = places(x, "bad.example", "a", "1", false);
    assert_string_equal(got, "ERROR bad.example/a is blocked by registries.conf");
    expect(x, "bad.example", "good/a", "bad.example/good/a");
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    assert_int_equal(reg_endpoint_push(x->r, "bad.example", "a", &e, NULL), -CB_EAUTH);
    assert_int_equal(reg_endpoint_push(x->r, "BAD.example", "a", &e, NULL), -CB_EAUTH);
}

/* Who may be spoken to without looking is bound to prefix and host. */
static bool push_insecure(struct rig *x, const char *host, const char *repo)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e;
    memset(&e, 0xa5, sizeof e); /* all of it is set */
    assert_int_equal(reg_endpoint_push(x->r, host, repo, &e, NULL), 0);
    assert_null(e.heard);
    assert_false(e.push);
    assert_string_equal(e.host, host);
    assert_string_equal(e.repo, repo);
    assert_int_equal(e.h->tls.insecure, e.h->insecure);
    assert_int_equal(e.h->plain, e.h->insecure ? -1 : 0);
    return e.h->insecure;
}

static void test_insecure(void **state)
{
    struct rig *x = *state;
    open_with(x,
              "[[registry]]\nprefix = \"ex\"\ninsecure = true\n"
              "[[registry]]\nprefix = \"part.example/open\"\ninsecure = true\n"
              "[[registry]]\nprefix = \"named.example\"\nlocation = \"named.example\"\ninsecure = true\n"
              "[[registry]]\nprefix = \"moved.example\"\nlocation = \"moved.example:5000/x\"\ninsecure = true\n",
              NULL);
    assert_false(push_insecure(x, "example.com", "a"));
    assert_true(push_insecure(x, "ex", "a"));
    assert_true(push_insecure(x, "part.example", "open/a"));
    assert_false(push_insecure(x, "part.example", "closed/a")); /* the same host, known already */
    assert_true(push_insecure(x, "part.example", "open/b"));
    assert_true(push_insecure(x, "named.example", "a"));
    assert_false(push_insecure(x, "moved.example", "a")); /* that is said of another port */
}

static void test_insecure_options(void **state)
{
    struct rig *x = *state;
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_strvec_push(&list, "Lab.example");
    cb_strvec_push(&list, "port.example:5000");
    struct cb_registry_options o = { .tls_verify = 0, .insecure = &list };
    open_with(x, "", &o);
    assert_true(push_insecure(x, "lab.example", "a"));
    assert_true(push_insecure(x, "lab.example:5000", "a"));
    assert_true(push_insecure(x, "port.example:5000", "a"));
    assert_false(push_insecure(x, "port.example", "a"));
    assert_false(push_insecure(x, "port.example:5001", "a"));
    /* --tls-verify=false is for those that stand on the command line, also where they were met before. */
    assert_false(push_insecure(x, "cli.example", "a"));
    cb_registry_name_host(x->r, "CLI.example");
    assert_true(push_insecure(x, "cli.example", "a"));
    assert_false(push_insecure(x, "base.example", "a"));
}

static void test_loopback(void **state)
{
    (void)state;
    static const char *const yes[] = { "localhost",      "localhost:5000", "LOCALHOST:5000", "127.0.0.1",
                                       "127.0.0.1:5000", "127.1.2.3",      "[::1]",          "[::1]:5000" };
    static const char *const no[] = { "localhost.example", "127.example.com", "127.0.0.1.example.com",
                                      "127.0.0.1x",        "128.0.0.1",       "[::2]",
                                      "[::1f]:5000",       "xlocalhost",      "127.1" };
    for (size_t i = 0; i < CB_COUNTOF(yes); i++)
        if (!reg_is_loopback(yes[i]))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < CB_COUNTOF(no); i++)
        if (reg_is_loopback(no[i]))
            fail_msg("%s", no[i]);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } t[] = {
        { "[[registry]]\nprefix = \n", "test.conf: line 2" },
        { "\n\n[[registry]]\nprefix = 5\n", "line 4: \"prefix\" must be a string" },
        { "[[registry]]\nprefix = \"a\"\ninsecure = \"yes\"\n", "line 3: \"insecure\" must be true or false" },
        { "[[registry]]\nprefix = \"a\"\nblocked = 1\n", "line 3" },
        { "[[registry]]\ninsecure = true\n", "line 1: a registry with neither" },
        { "[[registry]]\nprefix = \"/\"\n", "neither" },
        { "[registry]\nprefix = \"a\"\n", "line 1: write [[registry]]" },
        { "registry = [1]\n", "no table" },
        { "[[registry]]\nprefix = \"a\"\nmirror = [\"x\"]\n", "no table" },
        { "[[registry]]\nprefix = \"a\"\nmirror = 1\n", "line 3: mirror is no array" },
        { "[[registry]]\nprefix = \"a\"\n[[registry.mirror]]\ninsecure = true\n",
          "line 3: a mirror without location" },
        { "[[registry]]\nprefix = \"a\"\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"sometimes\"\n",
          "digest-only or tag-only" },
        { "[[registry]]\nprefix = \"a\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b\"\n"
          "pull-from-mirror = \"all\"\n",
          "contradict" },
        { "[[registry]]\nprefix = \"*.a\"\nlocation = \"b\"\n", "cannot have a location" },
        { "[[registry]]\nprefix = \"a.*.b\"\n", "first part of a host" },
        { "[[registry]]\nprefix = \"https://a\"\n", "without a scheme" },
        { "[[registry]]\nprefix = \"a\"\nlocation = \"http://b\"\n", "without a scheme" },
        { "[[registry]]\nprefix = \"a\"\n[[registry.mirror]]\nlocation = \"http://b\"\n", "line 3: location" },
        { "[registries.block]\nregistries = ['bad.example']\n", "old form" },
        { "[[registry]]\nprefix = \"a\n", "line 2" },
        { "credential-helpers = \"one\"\n", "must be an array of strings" },
        { "credential-helpers = [\"one\", 2]\n", "strings only" },
        { "garbage", "test.conf: line 1" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        CB_CLEANUP(reg_conf_done) struct reg_conf c = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int r = parse(&c, t[i].text, &e);
        if (r != -CB_ECONF || !cb_starts_with(cb_error_text(&e), "test.conf: line ") ||
            !strstr(cb_error_text(&e), t[i].want))
            fail_msg("<%s>: %d \"%s\", expected \"%s\"", t[i].text, r, cb_error_text(&e), t[i].want);
    }
    CB_CLEANUP(reg_conf_done) struct reg_conf c = { 0 };
    assert_int_equal(parse(&c, "credential-helpers = [\"a\", \"containers-auth.json\"]\n", NULL), 0);
    assert_int_equal(parse(&c, "credential-helpers = []\n", NULL), 0); /* a later file without any changes nothing */
    assert_int_equal(c.credential_helpers.n, 2);
    assert_string_equal(c.credential_helpers.v[1], "containers-auth.json");
    assert_int_equal(parse(&c,
                           "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = "
                           "\"enforcing\"\n[aliases]\na = \"b/c\"\n",
                           NULL),
                     0);
    assert_int_equal(c.n, 0);
}

/* ---- files ---- */

static const char *location_of(const struct reg_conf *c, const char *name)
{
    size_t matched;
    const struct reg_rule *r = reg_conf_match(c, name, &matched);
    return r ? r->location : "none";
}

#define RULE(prefix, location) "[[registry]]\nprefix = \"" prefix "\"\nlocation = \"" location "\"\n"

static void test_files(void **state)
{
    struct rig *x = *state;
    CB_CLEANUP(reg_conf_done) struct reg_conf c = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    home_put(x->home, ".config/containers/registries.conf", RULE("a.test", "one") RULE("b.test", "one"));
    home_put(x->home, ".config/containers/registries.conf.d/10.conf", RULE("B.test", "ten") RULE("c.test", "ten"));
    home_put(x->home, ".config/containers/registries.conf.d/20.conf", RULE("c.test", "twenty"));
    home_put(x->home, ".config/containers/registries.conf.d/30.conf.bak", "garbage");
    home_put(x->home, ".config/containers/registries.conf.d/.40.conf", "garbage");
    assert_int_equal(reg_conf_load(&c, NULL, NULL), 0);
    assert_string_equal(location_of(&c, "a.test/x"), "one");
    assert_string_equal(location_of(&c, "b.test/x"), "ten"); /* the later file's replaces */
    assert_string_equal(location_of(&c, "c.test/x"), "twenty");
    reg_conf_done(&c);

    home_put(x->home, ".config/containers/registries.conf.d/20.conf", "[[registry]]\nprefix = 1\n");
    assert_int_equal(reg_conf_load(&c, NULL, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "registries.conf.d/20.conf: line 2"));
    reg_conf_done(&c);

    cb_autofree char *own = home_write(x->home, "own.conf", RULE("a.test", "own"), 0600);
    setenv("CONTAINERS_REGISTRIES_CONF", own, 1);
    assert_int_equal(reg_conf_load(&c, NULL, NULL), 0);
    assert_string_equal(location_of(&c, "a.test/x"), "own");
    assert_string_equal(location_of(&c, "b.test/x"), "none");
    reg_conf_done(&c);
    setenv("CONTAINERS_REGISTRIES_CONF", "/nonexistent/registries.conf", 1);
    assert_int_equal(reg_conf_load(&c, NULL, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "/nonexistent/registries.conf"));
    unsetenv("CONTAINERS_REGISTRIES_CONF");
}

static int setup(void **state)
{
    struct rig *x = CB_NEW(struct rig);
    void *home = NULL;
    int r = home_setup(&home);
    x->home = home;
    *state = x;
    return r;
}

static int teardown(void **state)
{
    struct rig *x = *state;
    void *home = x->home;
    cb_registry_free(x->r);
    free(x);
    return home_teardown(&home);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_errors),
        RIG_TEST(test_none),
        RIG_TEST(test_location),
        RIG_TEST(test_mirrors),
        RIG_TEST(test_blocked),
        RIG_TEST(test_insecure),
        RIG_TEST(test_insecure_options),
        RIG_TEST(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

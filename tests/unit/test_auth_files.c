/* SPDX-License-Identifier: Apache-2.0 */
/* Where credentials come from: files, their order and keys, helpers (E2–E5). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth_fixture.h"
#include "util/cancel.h"
#include "util/timeutil.h"

static int look(const struct cb_auth_options *o, const char *host, const char *repo, struct cb_credential *c,
                struct cb_error *e)
{
    struct cb_auth_options none = { 0 };
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(o ? o : &none);
    return cb_auth_lookup(a, host, repo, c, e);
}

/* want: "user:password", "" for none, NULL for an error whose text holds `text`. */
static void expect(const char *host, const char *repo, const char *want, const char *text)
{
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = look(NULL, host, repo, &c, &e);
    if (!want) {
        assert_true(r < 0);
        assert_false(cb_credential_is_set(&c));
        if (!strstr(cb_error_text(&e), text))
            fail_msg("\"%s\" does not say \"%s\"", cb_error_text(&e), text);
        return;
    }
    if (r < 0)
        fail_msg("%s/%s: %s", host, repo ? repo : "", cb_error_text(&e));
    cb_autofree char *got =
        c.username ? cb_asprintf("%s:%s", c.username, c.password ? c.password : "(none)") : cb_strdup("");
    assert_string_equal(got, want);
}

static void put_auth(const struct home *h, const char *name, const char *key, const char *pair)
{
    cb_autofree char *text = auth_json(key, pair);
    home_put(h, name, text);
}

/* ---- order ---- */

static void test_order(void **state)
{
    struct home *h = *state;
    expect("r.example", "a", "", NULL);
    put_auth(h, ".docker/config.json", "r.example", "docker:1");
    expect("r.example", "a", "docker:1", NULL);
    put_auth(h, ".config/containers/auth.json", "r.example", "podman:1");
    expect("r.example", "a", "podman:1", NULL);
    put_auth(h, "run/containers/auth.json", "r.example", "run:1");
    expect("r.example", "a", "run:1", NULL);
    put_auth(h, "xdg/containers/auth.json", "x.example", "xdg:1");
    cb_autofree char *xdg = cb_asprintf("%s/xdg", h->dir);
    setenv("XDG_CONFIG_HOME", xdg, 1);
    expect("x.example", NULL, "xdg:1", NULL);

    put_auth(h, "dc/config.json", "r.example", "env-dir:1");
    cb_autofree char *dc = cb_asprintf("%s/dc", h->dir);
    setenv("DOCKER_CONFIG", dc, 1);
    expect("r.example", "a", "env-dir:1", NULL);
    expect("x.example", NULL, "xdg:1", NULL); /* it stands for docker's own file, not for podman's */
    put_auth(h, ".docker/config.json", "d.example", "docker:2");
    expect("d.example", NULL, "", NULL);
    home_put(h, "dc/config.json", " \n");
    expect("r.example", "a", "run:1", NULL); /* it says nothing */
    put_auth(h, "dc/config.json", "r.example", "env-dir:1");

    put_auth(h, "reg.json", "r.example", "env-file:1");
    cb_autofree char *file = cb_asprintf("%s/reg.json", h->dir);
    setenv("REGISTRY_AUTH_FILE", file, 1);
    expect("r.example", "a", "env-file:1", NULL);

    cb_autofree char *inline_json = auth_json("r.example", "inline:1");
    setenv("DOCKER_AUTH_CONFIG", inline_json, 1);
    expect("r.example", "a", "inline:1", NULL);
    put_auth(h, "reg.json", "y.example", "env-file:2");
    expect("y.example", "a", "env-file:2", NULL); /* it falls back to the file */
    expect("x.example", NULL, "", NULL);          /* which stands for podman's two */
    unsetenv("DOCKER_AUTH_CONFIG");
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("DOCKER_CONFIG");
    unsetenv("XDG_CONFIG_HOME");
}

static void test_options(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    put_auth(h, ".docker/config.json", "r.example", "docker:1");
    put_auth(h, "mine.json", "r.example", "mine:1");
    cb_autofree char *mine = cb_asprintf("%s/mine.json", h->dir);
    cb_autofree char *none = cb_asprintf("%s/none.json", h->dir);
    struct cb_auth_options o = { .authfile = mine };
    assert_int_equal(look(&o, "r.example", NULL, &c, NULL), 0);
    assert_string_equal(c.username, "mine");
    assert_string_equal(c.source, mine);
    cb_credential_done(&c);
    assert_int_equal(look(&o, "other.example", NULL, &c, NULL), 0);
    assert_false(cb_credential_is_set(&c));
    o.authfile = none;
    assert_int_equal(look(&o, "r.example", NULL, &c, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "none.json"));
}

/* --creds go to the host they were given for, whatever the case of its name, and to nobody else (R14). */
static void test_creds_host(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    put_auth(h, ".docker/config.json", "other.example", "docker:1");
    struct cb_auth_options o = { .creds = "u:p:w" };
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&o);
    assert_int_equal(cb_auth_lookup(a, "early.example", NULL, &c, NULL), 0);
    assert_false(cb_credential_is_set(&c));
    cb_auth_set_creds_host(a, "R.Example:5000");
    assert_int_equal(cb_auth_lookup(a, "r.example:5000", "x", &c, NULL), 0);
    assert_string_equal(c.username, "u");
    assert_string_equal(c.password, "p:w");
    cb_credential_done(&c);
    static const char *const strangers[] = { "r.example", "r.example:5001", "evil-r.example:5000",
                                             "r.example:5000.evil" };
    for (size_t i = 0; i < CB_COUNTOF(strangers); i++) {
        assert_int_equal(cb_auth_lookup(a, strangers[i], "x", &c, NULL), 0);
        assert_false(cb_credential_is_set(&c));
    }
    assert_int_equal(cb_auth_lookup(a, "other.example", "x", &c, NULL), 0);
    assert_string_equal(c.username, "docker");
}

/* Of one host on both sides what a request wants decides; where only one side is given, who may only read writes
 * nothing. */
static void test_creds_of_sides(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    static const struct { const char *pull, *push, *host, *actions, *user; } cases[] = {
        { "a.example", "b.example", "a.example", "pull", "reader" },
        { "a.example", "b.example", "a.example", "pull,push", "file" },
        { "a.example", "b.example", "b.example", "pull", "writer" },
        { "a.example", "b.example", "b.example", "pull,push", "writer" },
        { "a.example", "a.example", "a.example", "pull", "reader" },
        { "a.example", "a.example", "a.example", "pull,push", "writer" },
        { "a.example", "a.example", "a.example", "delete", "writer" },
        { "a.example", "b.example", "c.example", "pull", NULL },
        { NULL, "a.example", "a.example", "pull", "writer" },
        { NULL, NULL, "a.example", "pull", "file" },
    };
    put_auth(h, ".docker/config.json", "a.example", "file:1");
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_auth_options o = { .pull_creds = "reader:1", .push_creds = "writer:2" };
        CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&o);
        cb_auth_set_side_hosts(a, cases[i].pull, cases[i].push);
        const struct auth_query q = { .host = cases[i].host, .repo = "x", .actions = cases[i].actions };
        assert_int_equal(auth_lookup(a, &q, &c, NULL), 0);
        if (cases[i].user)
            assert_string_equal(c.username, cases[i].user);
        else
            assert_false(cb_credential_is_set(&c));
        cb_credential_done(&c);
    }
}

/* ---- keys ---- */

static void test_keys(void **state)
{
    struct home *h = *state;
    home_put(h, ".docker/config.json",
             "{\"auths\": {"
             "\"r.example\": {\"username\": \"host\", \"password\": \"p\"},"
             "\"r.example/team\": {\"username\": \"team\", \"password\": \"p\"},"
             "\"r.example/team/app\": {\"username\": \"app\", \"password\": \"p\"},"
             "\"https://old.example/v2/\": {\"username\": \"old\", \"password\": \"p\"},"
             "\"http://older.example\": {\"username\": \"older\", \"password\": \"p\"},"
             "\"P.Example:5000\": {\"username\": \"port\", \"password\": \"p\"},"
             "\"slash.example/\": {\"username\": \"slash\", \"password\": \"p\"},"
             "\"httpbin.example\": {\"username\": \"bin\", \"password\": \"p\"},"
             "\"only.example/ns\": {\"username\": \"ns\", \"password\": \"p\"}}}");
    static const struct {
        const char *host, *repo, *want;
    } t[] = {
        { "r.example", NULL, "host:p" },
        { "r.example", "x", "host:p" },
        { "r.example", "team", "team:p" },
        { "r.example", "team/x/y", "team:p" },
        { "r.example", "teamx", "host:p" },
        { "r.example", "team/app", "app:p" },
        { "r.example", "team/app/db", "app:p" },
        { "r.example", "team/apps", "team:p" },
        { "R.EXAMPLE", "team/app", "app:p" },
        { "r.example:443", "x", "" },
        { "old.example", "x", "old:p" },
        { "older.example", "x", "older:p" },
        { "p.example:5000", "x", "port:p" },
        { "p.example", "x", "" },
        { "slash.example", "x", "slash:p" },
        { "httpbin.example", "x", "bin:p" },
        { "only.example", "ns/x", "ns:p" },
        { "only.example", "x", "" },
        { "only.example", NULL, "" },
        { "example", "x", "" },
        { "r.example.evil", "x", "" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++)
        expect(t[i].host, t[i].repo, t[i].want, NULL);
}

static void test_docker_hub(void **state)
{
    struct home *h = *state;
    static const char *const keys[] = {
        "https://index.docker.io/v1/", "docker.io",         "index.docker.io",
        "registry-1.docker.io",        "https://docker.io", "https://registry-1.docker.io/v2/",
        "https://index.docker.io"
    };
    for (size_t i = 0; i < CB_COUNTOF(keys); i++) {
        put_auth(h, ".docker/config.json", keys[i], "u:p");
        expect("docker.io", "library/busybox", "u:p", NULL);
        expect("quay.io", "library/busybox", "", NULL);
    }
    home_put(h, ".docker/config.json",
             "{\"auths\": {\"docker.io\": {\"username\": \"second\", \"password\": \"p\"},"
             "\"docker.io/mine\": {\"username\": \"path\", \"password\": \"p\"},"
             "\"https://index.docker.io/v1/\": {\"username\": \"first\", \"password\": \"p\"}}}");
    expect("docker.io", "library/busybox", "first:p", NULL);
    expect("docker.io", "mine/x", "path:p", NULL);
}

/* ---- entries ---- */

static void put_entry(const struct home *h, const char *entry)
{
    cb_autofree char *text = cb_asprintf("{\"auths\": {\"r.example\": %s}, \"HttpHeaders\": {\"x\": 1}}", entry);
    home_put(h, ".docker/config.json", text);
}

static void test_entries(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    put_entry(h, "{\"auth\": \"dTpwOnc=\"}"); /* u:p:w */
    expect("r.example", "x", "u:p:w", NULL);
    put_entry(h, "{\"auth\": \"dTpwdwAAAA==\"}"); /* u:pw and three NULs */
    expect("r.example", "x", "u:pw", NULL);
    put_entry(h, "{\"auth\": \"dTpw\\n\"}");
    expect("r.example", "x", "u:p", NULL);
    put_entry(h, "{\"auth\": \"\", \"username\": \"u\", \"password\": \"p\"}");
    expect("r.example", "x", "u:p", NULL);
    put_entry(h, "{}");
    expect("r.example", "x", "", NULL);
    put_entry(h, "{\"auth\": \"PHRva2VuPjo=\", \"identitytoken\": \"refresh\"}");
    assert_int_equal(look(NULL, "r.example", "x", &c, NULL), 0);
    assert_string_equal(c.identity_token, "refresh");
    cb_credential_done(&c);
    put_entry(h, "{\"registrytoken\": \"tok\"}");
    assert_int_equal(look(NULL, "r.example", "x", &c, NULL), 0);
    assert_string_equal(c.registry_token, "tok");
    assert_true(cb_credential_is_set(&c));
    assert_null(c.username);
}

static void test_broken(void **state)
{
    struct home *h = *state;
    static const char *const texts[] = {
        "{",
        "nonsense",
        "[]",
        "null",
        "{\"auths\": []}",
        "{\"auths\": {\"r.example\": 1}}",
        "{\"auths\": {\"r.example\": {\"auth\": 1}}}",
        "{\"auths\": {\"r.example\": {\"auth\": \"%%%\"}}}",
        "{\"auths\": {\"r.example\": {\"auth\": \"bm9jb2xvbg==\"}}}",
        "{\"auths\": {}, \"auths\": {}}",
        "{\"Auths\": {}}",
        "{\"credsStore\": 1}",
        "{\"credHelpers\": []}",
        "{\"credHelpers\": {\"r.example\": 1}}",
        "{} trailing",
    };
    for (size_t i = 0; i < CB_COUNTOF(texts); i++) {
        home_put(h, ".docker/config.json", texts[i]);
        expect("r.example", "x", NULL, ".docker/config.json");
    }
    home_put(h, ".docker/config.json", "");
    expect("r.example", "x", "", NULL);
    home_put(h, ".docker/config.json", "{}");
    setenv("DOCKER_AUTH_CONFIG", "{", 1);
    expect("r.example", "x", NULL, "DOCKER_AUTH_CONFIG");
    unsetenv("DOCKER_AUTH_CONFIG");
    setenv("DOCKER_AUTH_CONFIG", "/builds/team/app.tmp/DOCKER_AUTH_CONFIG", 1);
    expect("r.example", "x", NULL, "(it is the JSON text itself; a file is named by REGISTRY_AUTH_FILE)");
    unsetenv("DOCKER_AUTH_CONFIG");
    /* A fault in the entry of another host is not ours. */
    home_put(h, ".docker/config.json",
             "{\"auths\": {\"bad.example\": {\"auth\": \"%\"}, \"r.example\": {\"auth\": \"dTpw\"}}}");
    expect("r.example", "x", "u:p", NULL);
    /* A directory or FIFO in the file's place does not hang. */
    cb_autofree char *path = cb_asprintf("%s/.docker/config.json", h->dir);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect("r.example", "x", NULL, ".docker/config.json");
}

/* A parser quotes where it stops, and these stop at a password. */
static void test_broken_keeps_secrets(void **state)
{
    struct home *h = *state;
    static const char *const texts[] = {
        "{\"auths\": {\"r.example\": {\"auth\": hunter}}}",
        "{\"auths\": {\"r.example\": {\"password\": \"hunter\x01\"}}}",
        "{\"auths\": {\"r.example\": {\"auth\" \"hunter\"}}}",
        "hunter",
    };
    for (size_t i = 0; i < CB_COUNTOF(texts); i++) {
        struct cb_credential c cb_cleanup_credential = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        home_put(h, ".docker/config.json", texts[i]);
        assert_true(look(NULL, "r.example", "x", &c, &e) < 0);
        assert_non_null(strstr(cb_error_text(&e), "line 1"));
        assert_null(strstr(cb_error_text(&e), "hunter"));
    }
}

/* ---- helpers ---- */

#define ANSWER(user, secret)                                                                                         \
    "cat >/dev/null; echo '{\"ServerURL\":\"x\",\"Username\":\"" user "\",\"Secret\":\"" secret "\"}'"

static void test_helper_found(void **state)
{
    struct home *h = *state;
    home_put(h, ".docker/config.json", "{\"credHelpers\": {\"R.example\": \"one\"}, \"credsStore\": \"all\"}");
    home_helper(h, "one",
                "read -r s; echo \"$s\" >>$HOME/asked; echo \"$1\" >>$HOME/verbs; printf "
                "'{\"Username\":\"u-%s\",\"Secret\":\"s\"}' \"$s\"");
    home_helper(h, "all", ANSWER("store", "s"));
    struct cb_auth_options o = { 0 };
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&o);
    struct cb_credential c cb_cleanup_credential = { 0 };
    for (int i = 0; i < 3; i++) {
        cb_autofree char *repo = cb_asprintf("repo%d", i);
        assert_int_equal(cb_auth_lookup(a, "r.example", repo, &c, NULL), 0);
        assert_string_equal(c.username, "u-r.example");
        assert_string_equal(c.source, "docker-credential-one");
        cb_credential_done(&c);
    }
    cb_autofree char *asked = home_read(h, "asked");
    cb_autofree char *verbs = home_read(h, "verbs");
    assert_string_equal(asked, "r.example\n"); /* once */
    assert_string_equal(verbs, "get\n");
    expect("else.example", "x", "store:s", NULL);
}

static void test_helper_hub_and_token(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    home_put(h, ".docker/config.json", "{\"credsStore\": \"hub\"}");
    home_helper(
        h, "hub",
        "read -r s; [ \"$s\" = https://index.docker.io/v1/ ] && echo '{\"Username\":\"<token>\",\"Secret\":\"rt\"}'");
    assert_int_equal(look(NULL, "docker.io", "library/x", &c, NULL), 0);
    assert_string_equal(c.identity_token, "rt");
    assert_null(c.username);
}

static void test_helper_none(void **state)
{
    struct home *h = *state;
    home_helper(h, "no", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    home_put(h, ".docker/config.json", "{\"credsStore\": \"no\"}");
    expect("r.example", "x", "", NULL);
    /* What a login without the helper left behind still serves. */
    home_put(h, ".docker/config.json", "{\"credsStore\": \"no\", \"auths\": {\"r.example\": {\"auth\": \"dTpw\"}}}");
    expect("r.example", "x", "u:p", NULL);
    /* "" turns the store off for one host. */
    home_put(h, ".docker/config.json", "{\"credsStore\": \"missing\", \"credHelpers\": {\"r.example\": \"\"}}");
    expect("r.example", "x", "", NULL);
    home_helper(h, "empty", ANSWER("", ""));
    home_put(h, ".docker/config.json", "{\"credsStore\": \"empty\"}");
    expect("r.example", "x", "", NULL);
}

static void test_helper_fails(void **state)
{
    struct home *h = *state;
    static const struct {
        const char *body, *text;
    } t[] = {
        { "echo 'vault is \033[31msealed'; exit 1", "vault is " },
        { "echo on stderr >&2; exit 3", "status 3: on stderr" },
        { "exit 1", "failed with status 1" },
        { "echo '{\"Username\":\"u\",\"Secret\":\"canary\"}'; exit 1",
          "status 1: what it said holds a secret, and is not shown" },
        { "set -x; echo '{\"Username\":\"u\",\"Secret\":\"canary\"}' >/dev/null; exit 1", "is not shown" },
        { "kill -9 $$", "status 137" },
        { "echo nonsense", "not the answer" },
        { "echo '{}'", "not the answer" },
        { "echo '{\"Username\":\"u\"}'", "not the answer" },
        { "echo '{\"Username\":1,\"Secret\":\"s\"}'", "not the answer" },
        { "echo '[]'", "not the answer" },
        { "head -c 2000000 /dev/zero", "over 1048576 bytes" },
    };
    home_put(h, ".docker/config.json", "{\"credsStore\": \"bad\", \"auths\": {\"r.example\": {\"auth\": \"dTpw\"}}}");
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        home_helper(h, "bad", t[i].body);
        expect("r.example", "x", NULL, t[i].text);
    }
    /* What it says reaches no terminal raw. */
    home_helper(h, "bad", "printf '\\033]52;c;x\\007'; exit 1");
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    assert_int_equal(look(NULL, "r.example", "x", &c, &e), -CB_EAUTH);
    assert_null(strchr(cb_error_text(&e), '\033'));
}

static void test_helper_missing(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    home_put(h, ".docker/config.json", "{\"credsStore\": \"nowhere\"}");
    assert_int_equal(look(NULL, "r.example", "x", &c, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "docker-credential-nowhere is configured but not installed"));
    assert_non_null(strstr(cb_error_text(&e), "config.json"));
}

static void test_helper_names(void **state)
{
    struct home *h = *state;
    static const char *const names[] = { "../x", "a/b", "-v",    "a b",  "/bin/true",
                                         ".x",   "A",   "x\\ny", "x;id", "\xc3\xa9" };
    home_helper(h, "x", ANSWER("u", "p"));
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        cb_autofree char *text = cb_asprintf("{\"credsStore\": \"%s\"}", names[i]);
        home_put(h, ".docker/config.json", text);
        expect("r.example", "x", NULL, "not a valid name");
    }
    struct cb_credential c cb_cleanup_credential = { 0 };
    static const char *const servers[] = { "a\nb", "a\rb", "a b", "a%0ab", "a\x7f", "", "-a" };
    for (size_t i = 0; i < CB_COUNTOF(servers); i++)
        assert_int_equal(auth_helper_get("x", servers[i], NULL, &c, NULL), -CB_ECONF);
    assert_false(cb_credential_is_set(&c));
}

/* E3: a program in the current directory is none in PATH. E7: of the environment only what helpers live by. */
static void test_helper_surroundings(void **state)
{
    struct home *h = *state;
    home_put(h, ".docker/config.json", "{\"credsStore\": \"env\"}");
    home_helper(h, "env", "env >$HOME/env; ls -l /proc/self/fd >$HOME/fds; " ANSWER("u", "p"));
    setenv("CANARY_SECRET", "feathers", 1);
    setenv("AWS_REGION", "eu-north-1", 1);
    expect("r.example", "x", "u:p", NULL);
    cb_autofree char *env = home_read(h, "env");
    assert_null(strstr(env, "feathers"));
    assert_non_null(strstr(env, "AWS_REGION=eu-north-1"));
    assert_non_null(strstr(env, "HOME="));
    unsetenv("CANARY_SECRET");
    unsetenv("AWS_REGION");

    cb_autofree char *relative = cb_asprintf(".:bin:%s", h->path ? h->path : "/bin");
    setenv("PATH", relative, 1);
    expect("r.example", "x", NULL, "not installed");
}

static void *cancel_soon(void *arg)
{
    usleep(200000);
    cb_cancel_trigger(arg, 0);
    return NULL;
}

static void test_helper_hangs(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    pthread_t thread;
    home_put(h, ".docker/config.json", "{\"credsStore\": \"slow\"}");
    home_helper(h, "slow", "exec sleep 100");
    CB_AUTO(cb_cancel_free) struct cb_cancel *cancel = cb_cancel_new(NULL);
    struct cb_auth_options o = { .cancel = cancel };
    int64_t before = cb_time_monotonic();
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, cancel), 0);
    assert_int_equal(look(&o, "r.example", "x", &c, &e), -CB_ECANCELED);
    pthread_join(thread, NULL);
    assert_true(cb_time_monotonic() - before < INT64_C(10000000000));
}

/* One that asks people, or that nobody answers, is not asked for each request. */
static void test_helper_fails_once(void **state)
{
    struct home *h = *state;
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_auth_options none = { 0 };
    home_put(h, ".docker/config.json", "{\"credsStore\": \"once\"}");
    home_helper(h, "once", "[ -e $HOME/asked ] && exit 2; touch $HOME/asked; echo sealed; exit 1");
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&none);
    for (int i = 0; i < 2; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        assert_int_equal(cb_auth_lookup(a, "r.example", i ? "x" : "y", &c, &e), -CB_EAUTH);
        assert_non_null(strstr(cb_error_text(&e), "status 1: sealed"));
    }
}

/* ---- notes ---- */

static void keep_note(void *arg, const char *line)
{
    cb_strbuf_addf(arg, "%s\n", line);
}

static void test_note(void **state)
{
    struct home *h = *state;
    struct cb_strbuf notes cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_credential c cb_cleanup_credential = { 0 };
    put_auth(h, ".docker/config.json", "r.example", "somebody:canary-password");
    struct cb_auth_options o = { .note = keep_note, .note_arg = &notes };
    assert_int_equal(look(&o, "r.example", "x", &c, NULL), 0);
    cb_credential_done(&c);
    assert_int_equal(look(&o, "s.example", "x", &c, NULL), 0);
    assert_non_null(strstr(notes.buf, "credentials for r.example/x: "));
    assert_non_null(strstr(notes.buf, ".docker/config.json (r.example)"));
    assert_non_null(strstr(notes.buf, "s.example: none"));
    assert_null(strstr(notes.buf, "canary"));
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(test_order),
        HOME_TEST(test_options),
        HOME_TEST(test_creds_host),
        HOME_TEST(test_creds_of_sides),
        HOME_TEST(test_keys),
        HOME_TEST(test_docker_hub),
        HOME_TEST(test_entries),
        HOME_TEST(test_broken),
        HOME_TEST(test_broken_keeps_secrets),
        HOME_TEST(test_helper_found),
        HOME_TEST(test_helper_hub_and_token),
        HOME_TEST(test_helper_none),
        HOME_TEST(test_helper_fails),
        HOME_TEST(test_helper_missing),
        HOME_TEST(test_helper_names),
        HOME_TEST(test_helper_surroundings),
        HOME_TEST(test_helper_hangs),
        HOME_TEST(test_helper_fails_once),
        HOME_TEST(test_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

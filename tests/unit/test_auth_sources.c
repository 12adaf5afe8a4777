/* SPDX-License-Identifier: Apache-2.0 */
/* Several sources together: the longest key of all, buildx's directories, helpers for every host, pull and push
 * apart. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth_fixture.h"

static void put_auth(const struct home *h, const char *name, const char *key, const char *pair)
{
    cb_autofree char *text = auth_json(key, pair);
    home_put(h, name, text);
}

/* "user:password", or "" for none. Owned. */
static char *look(struct cb_auth *a, const char *host, const char *repo, const char *actions)
{
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct auth_query q = { .host = host, .repo = repo, .actions = actions };
    if (auth_lookup(a, &q, &c, &e) < 0)
        return cb_strdup(cb_error_text(&e));
    return c.username ? cb_asprintf("%s:%s", c.username, c.password) : cb_strdup("");
}

static void expect(struct cb_auth *a, const char *host, const char *repo, const char *actions, const char *want)
{
    cb_autofree char *got = look(a, host, repo, actions);
    if (strcmp(got, want) != 0)
        fail_msg("%s/%s %s: %s, not %s", host, repo ? repo : "", actions, got, want);
}

static struct cb_auth *plain(void)
{
    struct cb_auth_options o = { 0 };
    return cb_auth_new(&o);
}

static void the_longest_key_of_all_files_wins_then_the_first_file(void **state)
{
    struct home *h = *state;
    put_auth(h, "run/containers/auth.json", "r.example", "podman:1");
    put_auth(h, ".config/containers/auth.json", "r.example/team", "podman:2");
    home_put(h, ".docker/config.json",
             "{\"auths\": {\"r.example/team/app\": {\"username\": \"docker\", \"password\": \"3\"},"
             "\"r.example/team\": {\"username\": \"docker\", \"password\": \"2\"},"
             "\"r.example/empty\": {}, \"r.example\": {\"username\": \"docker\", \"password\": \"1\"}}}");
    CB_AUTO(cb_auth_free) struct cb_auth *a = plain();
    expect(a, "r.example", "x", "pull", "podman:1");
    expect(a, "r.example", "team/x", "pull", "podman:2");
    expect(a, "r.example", "team/app/x", "pull", "docker:3");
    expect(a, "r.example", "empty/x", "pull", "podman:1"); /* an entry that holds nothing hides nothing */
    expect(a, "r.example", NULL, NULL, "podman:1");
}

static void a_key_with_a_path_goes_before_the_hosts_helper(void **state)
{
    struct home *h = *state;
    home_helper(h, "store", "cat >/dev/null; echo asked >>$HOME/asked; echo '{\"Username\":\"h\",\"Secret\":\"s\"}'");
    home_put(h, ".docker/config.json",
             "{\"credsStore\": \"store\", \"auths\": {\"r.example/a\": {\"username\": \"u\", \"password\": \"p\"}}}");
    CB_AUTO(cb_auth_free) struct cb_auth *a = plain();
    expect(a, "r.example", "a", "pull", "u:p");
    assert_null(home_read(h, "asked"));
    expect(a, "r.example", "b", "pull", "h:s");
}

static void what_comes_behind_is_not_read_for_the_host_where_it_is_broken(void **state)
{
    struct home *h = *state;
    put_auth(h, "run/containers/auth.json", "r.example", "podman:1");
    home_put(h, ".docker/config.json", "{ nonsense");
    CB_AUTO(cb_auth_free) struct cb_auth *a = plain();
    expect(a, "r.example", "x", "pull", "podman:1");
    cb_autofree char *other = look(a, "s.example", "x", "pull");
    assert_non_null(strstr(other, ".docker/config.json"));
}

static void the_old_dockercfg_is_read_last(void **state)
{
    struct home *h = *state;
    home_put(h, ".dockercfg",
             "{\"https://index.docker.io/v1/\": {\"auth\": \"dTpw\", \"email\": \"x@y\"}, \"r.example\": {\"auth\": "
             "\"dTpw\"}}");
    put_auth(h, ".docker/config.json", "r.example", "new:1");
    CB_AUTO(cb_auth_free) struct cb_auth *a = plain();
    expect(a, "docker.io", "library/x", "pull", "u:p");
    expect(a, "r.example", "x", "pull", "new:1");
}

static void buildx_directories_hold_by_repository_and_scope(void **state)
{
    struct home *h = *state;
    put_auth(h, ".docker/config.json", "r.example:5000", "all:1");
    put_auth(h, ".docker/buildx/config/r.example:5000/team/app/config.json", "r.example:5000", "app:1");
    put_auth(h, ".docker/buildx/config/r.example:5000/team/app@push/config.json", "r.example:5000", "app:push");
    put_auth(h, ".docker/buildx/config/r.example:5000@pull,push/config.json", "r.example:5000", "host:push");
    put_auth(h, ".docker/buildx/config/registry-1.docker.io/me/x/config.json", "https://index.docker.io/v1/",
             "hub:1");
    CB_AUTO(cb_auth_free) struct cb_auth *a = plain();
    expect(a, "r.example:5000", "team/app", "pull", "app:1");
    expect(a, "r.example:5000", "team/app", "pull,push", "app:push");
    expect(a, "r.example:5000", "team/app/sub", "pull", "all:1"); /* of this repository, not of those below */
    expect(a, "r.example:5000", "other", "pull", "all:1");
    expect(a, "r.example:5000", "other", "pull,push", "host:push");
    expect(a, "docker.io", "me/x", "pull", "hub:1");
    expect(a, "docker.io", "me/y", "pull", "");
    expect(a, "r.example", "team/app", "pull", "");
}

static void helpers_of_registries_conf_stand_around_the_files(void **state)
{
    struct home *h = *state;
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT;
    static const char *const body = "read -r s; case $s in %s) echo '{\"Username\":\"%s\",\"Secret\":\"s\"}';; *) "
                                    "echo credentials not found; exit 1;; esac";
    cb_autofree char *first = cb_asprintf(body, "a.example|both.example", "first"),
                     *last = cb_asprintf(body, "*", "last");
    home_helper(h, "first", first);
    home_helper(h, "last", last);
    home_put(h, ".docker/config.json",
             "{\"auths\": {\"both.example\": {\"auth\": \"dTpw\"}, \"f.example\": {\"auth\": \"dTpw\"}, "
             "\"a.example/deep\": {\"auth\": \"dTpw\"}}}");
    cb_strvec_push(&list, "first");
    cb_strvec_push(&list, "containers-auth.json");
    cb_strvec_push(&list, "last");
    CB_AUTO(cb_auth_free) struct cb_auth *a = plain();
    cb_auth_set_helpers(a, &list);
    expect(a, "both.example", "x", "pull", "first:s");
    expect(a, "a.example", "deep/x", "pull", "u:p");
    expect(a, "f.example", "x", "pull", "u:p");
    expect(a, "z.example", "x", "pull", "last:s");

    /* Without the word for the files, they are not looked into; what was said for this call is. */
    cb_strvec_done(&list);
    cb_strvec_push(&list, "first");
    cb_autofree char *now = auth_json("now.example", "n:1");
    setenv("DOCKER_AUTH_CONFIG", now, 1);
    CB_AUTO(cb_auth_free) struct cb_auth *b = plain();
    unsetenv("DOCKER_AUTH_CONFIG");
    cb_auth_set_helpers(b, &list);
    expect(b, "now.example", "x", "pull", "n:1");
    expect(b, "a.example", "x", "pull", "first:s");
    expect(b, "f.example", "x", "pull", "");

    put_auth(h, "mine.json", "m.example", "m:1");
    cb_autofree char *mine = cb_asprintf("%s/mine.json", h->dir);
    struct cb_auth_options o = { .authfile = mine };
    CB_AUTO(cb_auth_free) struct cb_auth *c = cb_auth_new(&o);
    cb_auth_set_helpers(c, &list);
    expect(c, "m.example", "x", "pull", "m:1");
    expect(c, "a.example", "x", "pull", "");
}

static void pull_and_push_have_files_of_their_own(void **state)
{
    struct home *h = *state;
    put_auth(h, ".docker/config.json", "r.example", "all:1");
    put_auth(h, "push.json", "r.example", "pusher:1");
    put_auth(h, "pull.json", "r.example", "puller:1");
    cb_autofree char *push = cb_asprintf("%s/push.json", h->dir), *pull = cb_asprintf("%s/pull.json", h->dir);
    struct cb_auth_options o = { .push_authfile = push };
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&o);
    expect(a, "r.example", "x", "pull", "all:1");
    expect(a, "r.example", "x", "pull,push", "pusher:1");
    expect(a, "r.example", "x", "delete", "pusher:1");
    expect(a, "r.example", NULL, NULL, "all:1");
    o.pull_authfile = pull;
    CB_AUTO(cb_auth_free) struct cb_auth *b = cb_auth_new(&o);
    expect(b, "r.example", "x", "pull", "puller:1");
    expect(b, "r.example", "x", "push,pull", "pusher:1");
    expect(b, "s.example", "x", "pull", ""); /* nor is any other file looked into */
    o = (struct cb_auth_options){ .pull_authfile = pull };
    CB_AUTO(cb_auth_free) struct cb_auth *c = cb_auth_new(&o);
    expect(c, "r.example", "x", "pull", "puller:1");
    expect(c, "r.example", "x", "pull,push", "all:1");
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(the_longest_key_of_all_files_wins_then_the_first_file),
        HOME_TEST(a_key_with_a_path_goes_before_the_hosts_helper),
        HOME_TEST(what_comes_behind_is_not_read_for_the_host_where_it_is_broken),
        HOME_TEST(the_old_dockercfg_is_read_last),
        HOME_TEST(buildx_directories_hold_by_repository_and_scope),
        HOME_TEST(helpers_of_registries_conf_stand_around_the_files),
        HOME_TEST(pull_and_push_have_files_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

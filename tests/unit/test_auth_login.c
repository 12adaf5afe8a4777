/* SPDX-License-Identifier: Apache-2.0 */
/* Login and logout (E1): what the file is afterwards, and who else may have been writing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth_fixture.h"

static int store(const struct cb_login *l, char **where)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_auth_store_login(l, where, &e);
    if (r < 0)
        print_message("%s\n", cb_error_text(&e));
    return r;
}

static void login(const char *host, const char *user, const char *pass)
{
    cb_autofree char *where = NULL;
    struct cb_login l = { .host = host, .username = user, .password = pass };
    assert_int_equal(store(&l, &where), 0);
    assert_non_null(where);
}

static int logout(const char *host, struct cb_error *e)
{
    cb_autofree char *where = NULL;
    int r = cb_auth_remove_login(host, NULL, &where, e);
    assert_true((r == 0) == (where != NULL));
    return r;
}

static void expect_user(const char *host, const char *user)
{
    struct cb_credential c cb_cleanup_credential = { 0 };
    struct cb_auth_options o = { 0 };
    CB_AUTO(cb_auth_free) struct cb_auth *a = cb_auth_new(&o);
    assert_int_equal(cb_auth_lookup(a, host, "x", &c, NULL), 0);
    assert_string_equal(c.username ? c.username : "", user);
}

static mode_t mode_of(const struct home *h, const char *name)
{
    struct stat st;
    cb_autofree char *path = cb_asprintf("%s/%s", h->dir, name);
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_fresh(void **state)
{
    struct home *h = *state;
    mode_t old = umask(0);
    login("r.example:5000", "u", "p:w\"\\");
    umask(old);
    assert_int_equal(mode_of(h, ".docker"), 0700);
    assert_int_equal(mode_of(h, ".docker/config.json"), 0600);
    expect_user("r.example:5000", "u");
    cb_autofree char *text = home_read(h, ".docker/config.json");
    assert_null(strstr(text, "p:w"));
    login("docker.io", "hub", "p");
    expect_user("docker.io", "hub");
    free(text);
    text = home_read(h, ".docker/config.json");
    assert_non_null(strstr(text, "\"https://index.docker.io/v1/\""));
    expect_user("r.example:5000", "u");
}

/* An old world-readable file becomes private, and keeps all that is not ours. */
static void test_keeps(void **state)
{
    struct home *h = *state;
    free(home_write(
        h, ".docker/config.json",
        "{\"HttpHeaders\": {\"X\": \"y\"}, \"auths\": {\"a.example\": {\"auth\": \"dTpw\", \"email\": \"e@x\"}},"
        " \"psFormat\": \"table\", \"credHelpers\": {\"h.example\": \"h\"}, \"n\": [1, 2.5, null]}",
        0644));
    login("r.example", "u", "p");
    assert_int_equal(mode_of(h, ".docker/config.json"), 0600);
    cb_autofree char *text = home_read(h, ".docker/config.json");
    cb_autojson json_t *root = cb_json_parse(text, strlen(text), NULL);
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "HttpHeaders"), "X")), "y");
    assert_string_equal(json_string_value(json_object_get(root, "psFormat")), "table");
    assert_int_equal(json_array_size(json_object_get(root, "n")), 3);
    const json_t *a = json_object_get(json_object_get(root, "auths"), "a.example");
    assert_string_equal(json_string_value(json_object_get(a, "email")), "e@x");
    expect_user("a.example", "u");
}

static void test_link(void **state)
{
    struct home *h = *state;
    home_put(h, "dotfiles/docker.json", "{\"mark\": 1}");
    home_put(h, ".docker/x", "");
    cb_autofree char *link = cb_asprintf("%s/.docker/config.json", h->dir);
    assert_int_equal(symlink("../dotfiles/docker.json", link), 0);
    login("r.example", "u", "p");
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    cb_autofree char *text = home_read(h, "dotfiles/docker.json");
    assert_non_null(strstr(text, "mark"));
    assert_non_null(strstr(text, "r.example"));
    assert_int_equal(mode_of(h, "dotfiles/docker.json"), 0600);

    cb_autofree char *target = cb_asprintf("%s/dotfiles/docker.json", h->dir);
    unlink(target);
    cb_autofree char *where = NULL;
    struct cb_login l = { .host = "r.example", .username = "u", .password = "p" };
    assert_int_equal(store(&l, &where), -CB_ECONF);
    assert_int_equal(lstat(link, &st), 0);
}

static void test_refuses(void **state)
{
    struct home *h = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *where = NULL;
    struct cb_login l = { .host = "r.example", .username = "u:x", .password = "p" };
    assert_int_equal(cb_auth_store_login(&l, &where, &e), -CB_EUSAGE);
    l.username = "";
    assert_int_equal(cb_auth_store_login(&l, &where, &e), -CB_EUSAGE);
    l.username = "u";
    home_put(h, ".docker/config.json", "{ half");
    assert_int_equal(cb_auth_store_login(&l, &where, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), ".docker/config.json"));
    assert_int_equal(logout("r.example", &e), -CB_ECONF);
    cb_autofree char *text = home_read(h, ".docker/config.json");
    assert_string_equal(text, "{ half");
    assert_null(where);
}

static void test_logout(void **state)
{
    struct home *h = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct stat st;
    assert_int_equal(logout("r.example", &e), -CB_ENOTFOUND);
    cb_autofree char *dir = cb_asprintf("%s/.docker", h->dir);
    assert_int_not_equal(lstat(dir, &st), 0); /* and makes nothing */
    home_put(h, ".docker/config.json",
             "{\"auths\": {\"R.example\": {\"auth\": \"dTpw\"}, \"https://r.example/v2/\": {\"auth\": \"dTpw\"},"
             " \"r.example/ns\": {\"auth\": \"bjpw\"}, \"docker.io\": {\"auth\": \"dTpw\"},"
             " \"https://index.docker.io/v1/\": {\"auth\": \"dTpw\"}}, \"keep\": 1}");
    assert_int_equal(logout("r.example", &e), 0);
    expect_user("r.example", "");
    assert_int_equal(logout("r.example", &e), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&e), "not logged in to r.example"));
    assert_int_equal(logout("docker.io", &e), 0);
    expect_user("docker.io", "");
    cb_autofree char *text = home_read(h, ".docker/config.json");
    assert_non_null(strstr(text, "keep"));
    assert_non_null(strstr(text, "r.example/ns")); /* another login */
}

/* A login under another spelling replaces, and does not lose against, what was there. */
static void test_replaces(void **state)
{
    struct home *h = *state;
    home_put(
        h, ".docker/config.json",
        "{\"auths\": {\"R.Example\": {\"auth\": \"b2xkOnA=\"}, \"https://r.example\": {\"auth\": \"b2xkOnA=\"}}}");
    login("r.example", "new", "p");
    expect_user("r.example", "new");
    expect_user("R.EXAMPLE", "new");
    cb_autofree char *text = home_read(h, ".docker/config.json");
    assert_null(strstr(text, "b2xkOnA="));
}

static void test_authfile(void **state)
{
    struct home *h = *state;
    cb_autofree char *path = cb_asprintf("%s/deep/er/auth.json", h->dir);
    cb_autofree char *where = NULL;
    struct cb_login l = { .host = "r.example", .authfile = path, .username = "u", .password = "p" };
    assert_int_equal(store(&l, &where), 0);
    assert_string_equal(where, path);
    free(CB_TAKE(where));
    assert_int_equal(cb_auth_remove_login("r.example", path, &where, NULL), 0);
    assert_string_equal(where, path);
    setenv("REGISTRY_AUTH_FILE", path, 1);
    login("s.example", "v", "p");
    expect_user("s.example", "v");
    unsetenv("REGISTRY_AUTH_FILE");
    expect_user("s.example", "");
}

/* ---- helpers ---- */

static void test_helper(void **state)
{
    struct home *h = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    home_put(h, ".docker/config.json",
             "{\"credsStore\": \"keep\", \"auths\": {\"r.example\": {\"auth\": \"b2xkOnA=\"}}}");
    home_helper(h, "keep",
                "case $1 in store) cat >$HOME/kept;; get) cat >/dev/null; [ -e $HOME/kept ] && cat $HOME/kept ||"
                " { echo credentials not found in native keychain; exit 1; };;"
                " erase) cat >$HOME/erased; rm -f $HOME/kept;; esac");
    login("r.example", "u", "s3\"cret\\");
    cb_autofree char *kept = home_read(h, "kept");
    cb_autojson json_t *o = cb_json_parse(kept, strlen(kept), NULL);
    assert_string_equal(json_string_value(json_object_get(o, "ServerURL")), "r.example");
    assert_string_equal(json_string_value(json_object_get(o, "Username")), "u");
    assert_string_equal(json_string_value(json_object_get(o, "Secret")), "s3\"cret\\");
    cb_autofree char *text = home_read(h, ".docker/config.json");
    assert_null(strstr(text, "b2xkOnA=")); /* nor does the old password stay in the file */
    expect_user("r.example", "u");
    assert_int_equal(logout("r.example", &e), 0);
    cb_autofree char *erased = home_read(h, "erased");
    assert_string_equal(erased, "r.example");
    expect_user("r.example", "");

    home_helper(h, "keep", "echo no room; exit 1");
    cb_autofree char *where = NULL;
    struct cb_login l = { .host = "r.example", .username = "u", .password = "p" };
    assert_int_equal(cb_auth_store_login(&l, &where, &e), -CB_EAUTH);
    assert_non_null(strstr(cb_error_text(&e), "no room"));
    assert_null(where);
    assert_int_equal(logout("r.example", &e), -CB_EAUTH);
}

/* With a helper, what stands in the file is forgotten as well: a look-up would fall back to it. */
static void test_helper_logout_file(void **state)
{
    struct home *h = *state;
    home_put(h, ".docker/config.json", "{\"credsStore\": \"no\", \"auths\": {\"r.example\": {\"auth\": \"dTpw\"}}}");
    home_helper(h, "no", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    expect_user("r.example", "u");
    assert_int_equal(logout("r.example", NULL), 0);
    expect_user("r.example", "");
    assert_int_equal(logout("r.example", NULL), -CB_ENOTFOUND);
}

/* ---- at once ---- */

static void *log_in_many(void *arg)
{
    const char *name = arg;
    for (int i = 0; i < 10; i++) {
        cb_autofree char *host = cb_asprintf("%s%d.example", name, i);
        cb_autofree char *where = NULL;
        struct cb_login l = { .host = host, .username = "u", .password = "p" };
        if (cb_auth_store_login(&l, &where, NULL) < 0)
            return arg;
    }
    return NULL;
}

static void test_at_once(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "b", "c", "d" };
    pthread_t t[CB_COUNTOF(names)];
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        assert_int_equal(pthread_create(&t[i], NULL, log_in_many, (void *)(uintptr_t)names[i]), 0);
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        void *failed;
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        for (int k = 0; k < 10; k++) {
            cb_autofree char *host = cb_asprintf("%s%d.example", names[i], k);
            expect_user(host, "u");
        }
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(test_fresh),    HOME_TEST(test_keeps),  HOME_TEST(test_link),
        HOME_TEST(test_refuses),  HOME_TEST(test_logout), HOME_TEST(test_replaces),
        HOME_TEST(test_authfile), HOME_TEST(test_helper), HOME_TEST(test_helper_logout_file),
        HOME_TEST(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

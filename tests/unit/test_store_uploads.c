/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of uploads: one process at a time, whole or not at all, secret, and gone after a day. */
#include "store_fixture.h"

#include "util/timeutil.h"

#define LOCATION "https://r.example/v2/a/b/blobs/uploads/1?_state=canary%2F%3D"

static struct cb_digest digest;

static struct cb_store_upload *take_as(struct fixture *f, const char *host, struct cb_store_upload_state *state)
{
    struct cb_store_upload *u = NULL;
    struct cb_store_upload_id id = { host, "a/b", &digest };
    ok(cb_store_upload_take(f->s, &id, &u, state, &f->err));
    return u;
}

static struct cb_store_upload *take(struct fixture *f, struct cb_store_upload_state *state)
{
    return take_as(f, "r.example", state);
}

/* The only file of uploads/, or "". */
static void the_file(struct fixture *f, char path[static 700])
{
    char dir[400];
    snprintf(dir, sizeof dir, "%s/uploads", f->root);
    *path = '\0';
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (*e->d_name != '.')
            snprintf(path, 700, "%s/%s", dir, e->d_name);
    if (d)
        closedir(d);
}

static void expect(struct fixture *f, const char *location, uint64_t offset)
{
    struct cb_store_upload_state state;
    struct cb_store_upload *u = take(f, &state);
    assert_non_null(u);
    if (location)
        assert_string_equal(state.location, location);
    else
        assert_null(state.location);
    assert_int_equal(state.offset, offset);
    cb_store_upload_close(u, false);
    free(state.location);
}

static void note(struct fixture *f, const char *location, uint64_t offset)
{
    struct cb_store_upload_state state;
    struct cb_store_upload *u = take(f, &state);
    assert_non_null(u);
    ok(cb_store_upload_note(u, location, offset, &f->err));
    cb_store_upload_close(u, false);
    free(state.location);
}

static void test_goes_on(void **state)
{
    struct fixture *f = *state;
    expect(f, NULL, 0);
    note(f, LOCATION, 1000);
    reopen(f);
    expect(f, LOCATION, 1000);
    note(f, LOCATION "&more-and-longer", 2000);
    expect(f, LOCATION "&more-and-longer", 2000);
    note(f, LOCATION, 3); /* shorter again */
    expect(f, LOCATION, 3);
    struct cb_store_upload_state other;
    struct cb_store_upload *u = take_as(f, "s.example", &other);
    assert_null(other.location);
    cb_store_upload_close(u, false);
}

static void test_done_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct cb_store_upload_state s;
    char path[700];
    note(f, LOCATION, 1);
    struct cb_store_upload *u = take(f, &s);
    cb_store_upload_close(u, true);
    free(s.location);
    the_file(f, path);
    assert_string_equal(path, "");
    note(f, LOCATION, 1);
    note(f, NULL, 0); /* the session was lost */
    the_file(f, path);
    assert_string_equal(path, "");
    expect(f, NULL, 0);
}

/* Who is alive keeps it; who was killed does not. */
static void test_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct cb_store_upload_state s;
    int fds[2];
    char c;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct cb_store_options o = { .root = f->root };
        struct cb_store *store = NULL;
        struct cb_store_upload *u = NULL;
        struct cb_store_upload_id id = { "r.example", "a/b", &digest };
        if (cb_store_open(&o, &store, NULL) < 0 || cb_store_upload_take(store, &id, &u, &s, NULL) < 0 || !u ||
            cb_store_upload_note(u, LOCATION, 77, NULL) < 0)
            _exit(1);
        (void)!write(fds[1], "x", 1);
        pause();
        _exit(1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 1);
    close(fds[0]);
    struct cb_store_upload *u = take(f, &s);
    assert_null(u);
    assert_null(s.location);
    uint64_t n = 9;
    ok(cb_store_uploads_prune(f->s, false, &n, &f->err));
    assert_int_equal(n, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    expect(f, LOCATION, 77);
    /* Nor two threads of one process. */
    u = take(f, &s);
    struct cb_store_upload_state none;
    assert_non_null(u);
    assert_null(take(f, &none));
    cb_store_upload_close(u, false);
    free(s.location);
}

static void test_secret(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char path[700];
    mode_t before = umask(0);
    note(f, LOCATION, 1);
    umask(before);
    the_file(f, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_null(strstr(path, "example"));
    *strrchr(path, '/') = '\0';
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

/* Whatever a power cut or another program leaves of the file: no upload, and no crash. */
static void test_torn(void **state)
{
    struct fixture *f = *state;
    char path[700];
    struct cb_strbuf whole cb_cleanup_strbuf = CB_STRBUF_INIT;
    note(f, LOCATION, 5);
    the_file(f, path);
    ok(cb_file_slurp(path, 1u << 16, &whole, &f->err));
    for (size_t n = 0; n < whole.len; n++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ok(cb_fd_write_all(fd, whole.buf, n, &f->err));
        close(fd);
        expect(f, NULL, 0);
    }
    for (size_t n = 0; n < whole.len - 1; n += 3) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        whole.buf[n] ^= 1;
        ok(cb_fd_write_all(fd, whole.buf, whole.len, &f->err));
        whole.buf[n] ^= 1;
        close(fd);
        expect(f, NULL, 0);
    }
    /* An old tail behind a new, shorter text is none of its business. */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ok(cb_fd_write_all(fd, whole.buf, whole.len, &f->err));
    ok(cb_fd_write_all(fd, "old\ntail", 8, &f->err));
    close(fd);
    expect(f, LOCATION, 5);
    note(f, "https://x/\nhttps://y/", 5);
    expect(f, NULL, 0);
}

/* A day later it is nothing any more, and the file goes when the store is opened. */
static void test_expires(void **state)
{
    struct fixture *f = *state;
    char path[700];
    struct stat st;
    int64_t day = 24 * 3600;
    note(f, LOCATION, 5);
    the_file(f, path);
    struct timespec old[2] = { { .tv_sec = cb_time_now() / 1000000000 - day - 10 } };
    old[1] = old[0];
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    reopen(f);
    assert_int_equal(stat(path, &st), -1);
    note(f, LOCATION, 5);
    reopen(f);
    assert_int_equal(stat(path, &st), 0);
}

static void test_prune(void **state)
{
    struct fixture *f = *state;
    uint64_t n = 0;
    note(f, LOCATION, 5);
    ok(cb_store_uploads_prune(f->s, true, &n, &f->err));
    assert_int_equal(n, 1);
    expect(f, LOCATION, 5);
    ok(cb_store_uploads_prune(f->s, false, &n, &f->err));
    assert_int_equal(n, 1);
    expect(f, NULL, 0);
    ok(cb_store_uploads_prune(f->s, false, &n, &f->err));
    assert_int_equal(n, 0);
}

int main(void)
{
    cb_digest_of(&digest, "x", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_done_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secret, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expires, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prune, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

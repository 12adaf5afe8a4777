/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <signal.h>

static char *tree_path(const struct fixture *f, const struct cb_digest *d, const char *rest)
{
    char hex[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/trees/%s%s", f->root, cb_digest_hex(d, hex), rest);
}

static void check_content(struct fixture *f, const struct cb_digest *d, const char *text)
{
    cb_autoclose int fs = -1;
    ok(cb_store_tree_open(f->s, ALONE(d), &fs, &f->err));
    cb_autoclose int fd = openat(fs, "file", O_RDONLY | O_CLOEXEC);
    char buf[64] = "";
    assert_true(fd >= 0);
    assert_true(read(fd, buf, sizeof buf - 1) >= 0);
    assert_string_equal(buf, text);
}

static void publish_and_first_wins(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("d");
    int fd = -1;
    fails(cb_store_tree_open(f->s, ALONE(&d), &fd, &f->err), CB_ENOTFOUND);
    ok(make_tree(f, &d, "first"));
    check_content(f, &d, "first");
    ok(make_tree(f, &d, "second"));
    check_content(f, &d, "first");
    reopen(f);
    check_content(f, &d, "first");
    assert_int_equal(count_in(f, "tmp"), 0);
    struct stat st;
    cb_autofree char *fs = tree_path(f, &d, "/fs");
    assert_int_equal(stat(fs, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void an_upper_directory_is_published(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("upper");
    struct cb_store_tmp t cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    ok(cb_store_tmp_new(f->s, "run", &t, &f->err));
    fails(cb_store_tree_publish(f->s, &t, "upper", ALONE(&d), &f->err), CB_ELOCAL);
    assert_int_equal(mkdirat(t.fd, "upper", 0755), 0);
    assert_int_equal(mkdirat(t.fd, "work", 0700), 0);
    assert_int_equal(fchmodat(t.fd, "upper", 0555, 0), 0);
    ok(cb_store_tree_publish(f->s, &t, "upper", ALONE(&d), &f->err));
    struct stat st;
    cb_autofree char *fs = tree_path(f, &d, "/fs"), *work = tree_path(f, &d, "/work");
    assert_int_equal(stat(fs, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0555);
    assert_false(exists(work));
}

static void untrusted_trees_are_dropped(void **state)
{
    struct fixture *f = *state;
    static const char *const states[] = { "",          "2 boot 00000000-0000-0000-0000-000000000000\n",
                                          "2 sync",    "2 synced",
                                          "2 boot \n", "synced\n", /* as it was once */
                                          NULL };
    struct cb_digest d = digest_of("d");
    for (size_t i = 0; i < CB_COUNTOF(states); i++) {
        ok(make_tree(f, &d, "old"));
        cb_autofree char *file = tree_path(f, &d, "/state"), *dir = tree_path(f, &d, "");
        if (states[i])
            write_at(file, states[i]);
        else
            assert_int_equal(unlink(file), 0);
        int fd = -1;
        assert_int_equal(cb_store_tree_open(f->s, ALONE(&d), &fd, &f->err), -CB_ENOTFOUND);
        assert_false(exists(dir));
        assert_int_equal(count_in(f, "trash"), 0);
        ok(make_tree(f, &d, "old"));
        if (states[i])
            write_at(file, states[i]);
        else
            assert_int_equal(unlink(file), 0);
        ok(make_tree(f, &d, "new")); /* publishing meets it just as well */
        check_content(f, &d, "new");
        cb_autoclose int trees = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cb_autoclose int sub = openat(trees, "trees", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char hex[CB_DIGEST_TEXT_MAX];
        ok(cb_fs_remove_tree(sub, cb_digest_hex(&d, hex), &f->err));
    }
}

static void synced_trees_outlive_the_boot(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("d");
    ok(make_tree(f, &d, "kept"));
    struct cb_store_gc_options o = { .keep_newer_ns = -1 };
    struct cb_store_gc_result res;
    ok(cb_store_gc(f->s, &o, &res, &f->err));
    cb_autofree char *file = tree_path(f, &d, "/state");
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_file_slurp(file, 100, &sb, &f->err));
    assert_string_equal(sb.buf, "2 synced\n");
    check_content(f, &d, "kept");
}

static void forms_are_kept_apart(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("d");
    ok(make_tree(f, &d, "plain"));
    struct cb_store *plain = f->s;
    struct cb_store_options o = { .root = f->root, .tree_form = "user1" };
    ok(cb_store_open(&o, &f->s, &f->err));
    int fd = -1;
    fails(cb_store_tree_open(f->s, ALONE(&d), &fd, &f->err), CB_ENOTFOUND);
    ok(make_tree(f, &d, "other"));
    check_content(f, &d, "other");
    cb_store_close(f->s);
    f->s = plain;
    check_content(f, &d, "plain");
    struct cb_store *bad = NULL;
    o.tree_form = "../x";
    fails(cb_store_open(&o, &bad, &f->err), CB_EINTERNAL);
}

static void temporary_directories_of_the_dead_go(void **state)
{
    struct fixture *f = *state;
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct cb_store *s = NULL;
        struct cb_store_options o = { .root = f->root };
        struct cb_store_tmp t = CB_STORE_TMP_INIT;
        bool good = cb_store_open(&o, &s, NULL) == 0 && cb_store_tmp_new(s, "x", &t, NULL) == 0;
        assert_int_equal(write(pipe_fd[1], good ? "y" : "n", 1), 1);
        pause();
        _exit(0);
    }
    char c = 0;
    assert_int_equal(read(pipe_fd[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    reopen(f);
    assert_int_equal(count_in(f, "tmp"), 1); /* its owner lives */
    assert_int_equal(count_in(f, "leases"), 2);
    kill(pid, SIGKILL);
    int st;
    waitpid(pid, &st, 0);
    reopen(f);
    assert_int_equal(count_in(f, "tmp"), 0);
    assert_int_equal(count_in(f, "leases"), 1);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

static void parallel_publishing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            f->s = NULL;
            struct cb_store_options o = { .root = f->root };
            int bad = cb_store_open(&o, &f->s, NULL);
            for (int k = 0; k < 20 && !bad; k++) {
                char text[16];
                snprintf(text, sizeof text, "d%d", k);
                struct cb_digest each = digest_of(text);
                cb_autoclose int fd = -1;
                bad = make_tree(f, &each, text) < 0 || cb_store_tree_open(f->s, ALONE(&each), &fd, NULL) < 0;
            }
            cb_store_close(f->s);
            _exit(bad ? 1 : 0);
        }
    for (int i = 0, st; i < 8; i++) {
        assert_true(wait(&st) > 0);
        assert_int_equal(st, 0);
    }
    assert_int_equal(count_in(f, "trees"), 20);
    for (int k = 0; k < 20; k++) {
        char text[16];
        snprintf(text, sizeof text, "d%d", k);
        struct cb_digest each = digest_of(text);
        check_content(f, &each, text);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(publish_and_first_wins),      T(an_upper_directory_is_published),
        T(untrusted_trees_are_dropped), T(synced_trees_outlive_the_boot),
        T(forms_are_kept_apart),        T(temporary_directories_of_the_dead_go),
        T(parallel_publishing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

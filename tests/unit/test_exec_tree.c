/* SPDX-License-Identifier: Apache-2.0 */
/* The root of isolation chroot: layers copied over one another, and what a step changed found again. */
#include "exec_fixture.h"

#include <poll.h>
#include <sys/xattr.h>

#include "exec/tree_copy.h"
#include "exec/tree_scan.h"

static int a, b, root, upper;

static int setup(void **state)
{
    (void)state;
    fixture_make();
    a = make_dir(fx.base, "a");
    b = make_dir(fx.base, "b");
    root = make_dir(fx.base, "root");
    upper = make_dir(fx.base, "upper");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const int fds[] = { a, b, root, upper };
    for (size_t i = 0; i < CB_COUNTOF(fds); i++)
        close(fds[i]);
    return fixture_free();
}

static void whiteout(int dir, const char *name)
{
    assert_int_equal(mknodat(dir, name, S_IFCHR, makedev(0, 0)), 0);
}

static bool is_there(int dir, const char *path)
{
    struct stat st;
    return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static mode_t mode_of(int dir, const char *path)
{
    struct stat st;
    assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode;
}

static void expect_text(int dir, const char *path, const char *text)
{
    char buf[64] = "";
    cb_autoclose int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, buf, sizeof buf - 1) >= 0);
    assert_string_equal(buf, text);
}

static void copy(const char *const *left_empty)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    const int lower[] = { a, b };
    const struct cb_tree_copy c = { .lower_fds = lower, .n_lower = 2, .to = root, .user_xattrs = true,
                                    .left_empty = left_empty };
    if (cb_tree_copy(&c, &err) < 0)
        fail_msg("%s", cb_error_text(&err));
}

static void upper_layers_win(void **state)
{
    (void)state;
    put_file(a, "both", "old", 0600);
    put_file(b, "both", "new", 0751);
    put_file(a, "gone", "x", 0644);
    whiteout(b, "gone");
    close(make_dir(a, "becomes-file"));
    put_file(b, "becomes-file", "f", 0644);
    put_file(a, "becomes-dir", "f", 0644);
    close(make_dir(b, "becomes-dir"));
    copy(NULL);
    expect_text(root, "both", "new");
    assert_int_equal(mode_of(root, "both"), S_IFREG | 0751);
    assert_false(is_there(root, "gone"));
    assert_true(S_ISREG(mode_of(root, "becomes-file")));
    assert_true(S_ISDIR(mode_of(root, "becomes-dir")));
}

static void opaque_directories_hide(void **state)
{
    (void)state;
    int below = make_dir(a, "d"), above = make_dir(b, "d");
    put_file(below, "hidden", "x", 0644);
    put_file(above, "shown", "y", 0644);
    if (fsetxattr(above, "user.overlay.opaque", "y", 1, 0) < 0)
        skip(); /* a file system without them */
    assert_int_equal(fchmod(above, 0711), 0);
    copy(NULL);
    assert_false(is_there(root, "d/hidden"));
    expect_text(root, "d/shown", "y");
    assert_int_equal(mode_of(root, "d"), S_IFDIR | 0711);
    cb_autoclose int d = openat(root, "d", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(d, "user.overlay.opaque", NULL, 0), -1);
    close(below);
    close(above);
}

static void links_times_and_kernel_directories(void **state)
{
    (void)state;
    static const char *const left_empty[] = { "dev", NULL };
    const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000, .tv_nsec = 5 } };
    struct stat x, y;
    put_file(a, "one", "1", 0644);
    assert_int_equal(linkat(a, "one", a, "two", 0), 0);
    assert_int_equal(symlinkat("/nowhere", a, "link"), 0);
    assert_int_equal(utimensat(a, "link", old, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(mkfifoat(a, "pipe", 0600), 0);
    int dev = make_dir(a, "dev"), deep = make_dir(a, "deep"), dev_below = make_dir(deep, "dev");
    put_file(dev, "null", "", 0644);
    put_file(dev_below, "kept", "", 0644);
    copy(left_empty);
    /* As overlayfs makes of them when one is written to. */
    assert_int_equal(fstatat(root, "one", &x, 0), 0);
    assert_int_equal(fstatat(root, "two", &y, 0), 0);
    assert_true(x.st_ino != y.st_ino && x.st_nlink == 1);
    assert_int_equal(fstatat(root, "link", &x, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(x.st_mtim.tv_sec, 2000);
    assert_true(S_ISFIFO(mode_of(root, "pipe")));
    assert_false(is_there(root, "dev"));
    assert_true(is_there(root, "deep/dev/kept"));
    close(dev);
    close(deep);
    close(dev_below);
}

/* ---- the difference ---- */

static struct cb_tree_scan *scan;
static struct cb_tree_ours ours;

static void remember(void)
{
    scan = cb_tree_scan_new(root, &ours, NULL, NULL);
    assert_non_null(scan);
}

static void take(void)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int r = cb_tree_scan_take(scan, upper, &err);
    if (r < 0)
        fail_msg("%s", cb_error_text(&err));
    cb_tree_scan_free(scan);
    cb_tree_ours_done(&ours);
}

static struct cb_tree_scan *look(int dir)
{
    static const struct cb_tree_ours none;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_tree_scan *s = cb_tree_scan_new(dir, &none, NULL, &err);
    if (!s)
        fail_msg("%s", cb_error_text(&err));
    return s;
}

static void two_looks(void **state)
{
    (void)state;
    int d = make_dir(a, "d");
    put_file(d, "f", "x", 0644);
    CB_AUTO(cb_tree_scan_free) struct cb_tree_scan *was = look(a), *same = look(a);
    assert_true(cb_tree_scan_same(was, same));
    put_file(a, "new", "y", 0644);
    CB_AUTO(cb_tree_scan_free) struct cb_tree_scan *more = look(a);
    assert_false(cb_tree_scan_same(was, more));
    assert_false(cb_tree_scan_same(more, was));
    assert_int_equal(fchmodat(a, "new", 0600, 0), 0);
    CB_AUTO(cb_tree_scan_free) struct cb_tree_scan *other = look(a);
    assert_false(cb_tree_scan_same(more, other));
    close(d);
}

static void links_that_leave_a_directory(void **state)
{
    (void)state;
    int d = make_dir(a, "d");
    put_file(a, "f", "x", 0644);
    put_file(a, "g", "x", 0644);
    assert_int_equal(linkat(a, "f", d, "f", 0), 0);
    assert_int_equal(linkat(a, "f", d, "third", 0), 0);
    CB_AUTO(cb_tree_scan_free) struct cb_tree_scan *within = look(a);
    assert_false(cb_tree_scan_is_linked(within));
    assert_int_equal(linkat(a, "f", b, "out", 0), 0);
    CB_AUTO(cb_tree_scan_free) struct cb_tree_scan *without = look(a);
    assert_true(cb_tree_scan_is_linked(without));
    close(d);
}

static void a_plain_copy_keeps_links(void **state)
{
    (void)state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct stat x, y;
    int d = make_dir(a, "d");
    put_file(a, "f", "x", 04711);
    assert_int_equal(linkat(a, "f", d, "g", 0), 0);
    assert_int_equal(symlinkat("f", a, "s"), 0);
    assert_int_equal(linkat(a, "s", d, "t", 0), 0);
    assert_int_equal(linkat(a, "f", b, "elsewhere", 0), 0);
    if (cb_tree_copy_plain(a, root, NULL, &err) < 0)
        fail_msg("%s", cb_error_text(&err));
    assert_int_equal(fstatat(root, "f", &x, 0), 0);
    assert_int_equal(fstatat(root, "d/g", &y, 0), 0);
    assert_int_equal(x.st_ino, y.st_ino);
    assert_int_equal(x.st_nlink, 2);
    assert_int_equal(x.st_mode, S_IFREG | 04711);
    assert_int_equal(fstatat(root, "s", &x, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(fstatat(root, "d/t", &y, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISLNK(x.st_mode) && x.st_ino == y.st_ino);
    close(d);
}

static void nothing_changed(void **state)
{
    (void)state;
    int d = make_dir(root, "d");
    put_file(d, "f", "x", 0644);
    remember();
    expect_text(root, "d/f", "x");
    take();
    assert_int_equal(count_entries(upper), 0);
    close(d);
}

static void what_changed_is_taken(void **state)
{
    (void)state;
    int d = make_dir(root, "d"), same = make_dir(root, "same");
    put_file(d, "kept", "k", 0644);
    put_file(d, "gone", "g", 0644);
    put_file(d, "mode", "m", 0644);
    put_file(same, "f", "s", 0644);
    assert_int_equal(fchmod(d, 0750), 0);
    remember();
    assert_int_equal(unlinkat(d, "gone", 0), 0);
    assert_int_equal(fchmodat(d, "mode", 0600, 0), 0);
    put_file(d, "new", "n", 0644);
    int fresh = make_dir(d, "fresh");
    put_file(fresh, "deep", "x", 0644);
    assert_int_equal(linkat(d, "new", fresh, "hard", 0), 0);
    const struct timespec times[2] = { { .tv_sec = 3 }, { .tv_sec = 4 } };
    assert_int_equal(futimens(d, times), 0);
    take();
    struct stat st, x, y;
    assert_int_equal(count_entries(upper), 1);
    assert_int_equal(fstatat(upper, "d", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0750);
    assert_int_equal(st.st_mtim.tv_sec, 4);
    assert_false(is_there(upper, "d/kept"));
    assert_int_equal(fstatat(upper, "d/gone", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    assert_int_equal(mode_of(upper, "d/mode"), S_IFREG | 0600);
    expect_text(upper, "d/fresh/deep", "x");
    assert_int_equal(fstatat(upper, "d/new", &x, 0), 0);
    assert_int_equal(fstatat(upper, "d/fresh/hard", &y, 0), 0);
    assert_int_equal(x.st_ino, y.st_ino);
    close(d);
    close(same);
    close(fresh);
}

/* In place, with its size and time as they were: only the change time tells. */
static void a_change_that_hides_is_found(void **state)
{
    (void)state;
    const struct timespec times[2] = { { .tv_sec = 3 }, { .tv_sec = 4 } };
    put_file(root, "f", "aaa", 0644);
    assert_int_equal(utimensat(root, "f", times, 0), 0);
    remember();
    poll(NULL, 0, 20); /* a tick of the clock that file times are taken from */
    put_file(root, "f", "bbb", 0644);
    assert_int_equal(utimensat(root, "f", times, 0), 0);
    take();
    expect_text(upper, "f", "bbb");
}

static void kinds_that_change(void **state)
{
    (void)state;
    int d = make_dir(root, "dir");
    put_file(d, "in", "x", 0644);
    put_file(root, "file", "x", 0644);
    int whole = make_dir(root, "whole");
    put_file(whole, "old", "x", 0644);
    close(whole);
    remember();
    assert_int_equal(unlinkat(d, "in", 0), 0);
    assert_int_equal(unlinkat(root, "dir", AT_REMOVEDIR), 0);
    put_file(root, "dir", "now a file", 0644);
    assert_int_equal(unlinkat(root, "file", 0), 0);
    close(make_dir(root, "file"));
    assert_int_equal(unlinkat(root, "whole/old", 0), 0);
    assert_int_equal(unlinkat(root, "whole", AT_REMOVEDIR), 0);
    whole = make_dir(root, "whole");
    put_file(whole, "new", "y", 0644);
    take();
    expect_text(upper, "dir", "now a file");
    assert_true(S_ISDIR(mode_of(upper, "file")));
    assert_true(S_ISCHR(mode_of(upper, "whole/old")));
    expect_text(upper, "whole/new", "y");
    close(d);
    close(whole);
}

static void what_is_ours_is_left_out(void **state)
{
    (void)state;
    int etc = make_dir(root, "etc");
    put_file(etc, "hosts", "ours", 0644);
    put_file(etc, "gone", "ours", 0644);
    cb_tree_ours_add(&ours, "etc/hosts", openat(etc, "hosts", O_PATH | O_CLOEXEC));
    cb_tree_ours_add(&ours, "etc/gone", openat(etc, "gone", O_PATH | O_CLOEXEC));
    cb_tree_ours_add(&ours, "dev", -1);
    remember();
    /* The next file often gets the number of the one before. */
    assert_int_equal(unlinkat(etc, "gone", 0), 0);
    put_file(etc, "first", "theirs", 0644);
    close(make_dir(root, "dev"));
    put_file(etc, "other", "theirs", 0644);
    /* Moved away, it still is ours; another one in its place is at a name of ours. */
    assert_int_equal(renameat(etc, "hosts", etc, "moved"), 0);
    put_file(etc, "hosts", "another", 0644);
    take();
    expect_text(upper, "etc/other", "theirs");
    expect_text(upper, "etc/first", "theirs");
    assert_false(is_there(upper, "etc/hosts"));
    assert_false(is_there(upper, "etc/moved"));
    assert_false(is_there(upper, "dev"));
    close(etc);
}

/* A step that makes marks of overlayfs itself hides nothing by them. */
static void marks_of_the_step_are_taken_off(void **state)
{
    (void)state;
    remember();
    int d = make_dir(root, "d");
    put_file(d, "f", "x", 0644);
    cb_autoclose int f = openat(d, "f", O_RDWR | O_CLOEXEC);
    if (fsetxattr(d, "user.overlay.opaque", "y", 1, 0) < 0 || fsetxattr(f, "user.overlay.metacopy", "", 0, 0) < 0)
        skip();
    assert_int_equal(fsetxattr(f, "user.kept", "z", 1, 0), 0);
    whiteout(d, "mark");
    take();
    cb_autoclose int du = openat(upper, "d", O_RDONLY | O_CLOEXEC);
    cb_autoclose int fu = openat(upper, "d/f", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(du, "user.overlay.opaque", NULL, 0), -1);
    assert_int_equal(fgetxattr(fu, "user.overlay.metacopy", NULL, 0), -1);
    assert_int_equal(fgetxattr(fu, "user.kept", NULL, 0), 1);
    assert_false(is_there(upper, "d/mark"));
    close(d);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(upper_layers_win),
        TEST(opaque_directories_hide),
        TEST(links_times_and_kernel_directories),
        TEST(two_looks),
        TEST(links_that_leave_a_directory),
        TEST(a_plain_copy_keeps_links),
        TEST(nothing_changed),
        TEST(what_changed_is_taken),
        TEST(a_change_that_hides_is_found),
        TEST(kinds_that_change),
        TEST(what_is_ours_is_left_out),
        TEST(marks_of_the_step_are_taken_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

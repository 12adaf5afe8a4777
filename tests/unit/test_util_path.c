/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/path.h"

/* A box with a secret beside it and a root full of traps in it. */
struct box {
    char dir[32];
    int boxfd, root;
};

static void put(int dirfd, const char *name, const char *text)
{
    cb_autoclose int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(cb_fd_write_all(fd, text, strlen(text), NULL), 0);
}

static int make_box(void **state)
{
    struct box *b = CB_NEW(struct box);
    snprintf(b->dir, sizeof b->dir, "/tmp/cb-test-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->boxfd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(b->boxfd, "secret", "outside");
    assert_int_equal(mkdirat(b->boxfd, "root", 0755), 0);
    b->root = openat(b->boxfd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(b->root, "etc", 0755), 0);
    assert_int_equal(mkdirat(b->root, "usr", 0755), 0);
    assert_int_equal(mkdirat(b->root, "usr/lib", 0755), 0);
    put(b->root, "etc/passwd", "inside");
    put(b->root, "secret", "inside too");
    assert_int_equal(symlinkat("usr/lib", b->root, "lib"), 0);
    assert_int_equal(symlinkat("/usr/lib", b->root, "abs"), 0);
    assert_int_equal(symlinkat("/etc/passwd", b->root, "pw"), 0);
    assert_int_equal(symlinkat("../secret", b->root, "up"), 0);
    assert_int_equal(symlinkat("../../../../../../etc", b->root, "far"), 0);
    assert_int_equal(symlinkat("loop2", b->root, "loop1"), 0);
    assert_int_equal(symlinkat("loop1", b->root, "loop2"), 0);
    assert_int_equal(symlinkat("/nowhere/at/all", b->root, "dangling"), 0);
    assert_int_equal(symlinkat("/proc/self/root", b->root, "magic"), 0);
    *state = b;
    return 0;
}

static int drop_box(void **state)
{
    struct box *b = *state;
    assert_int_equal(cb_fs_remove_contents(b->boxfd, NULL), 0);
    assert_int_equal(rmdir(b->dir), 0);
    close(b->root);
    close(b->boxfd);
    free(b);
    return 0;
}

static char *read_at(int root, const char *path, enum cb_resolve how, int *error)
{
    cb_autoclose int fd = cb_path_openat(root, path, O_RDONLY, 0, how);
    *error = fd < 0 ? fd : 0;
    if (fd < 0)
        return NULL;
    struct cb_strbuf sb = CB_STRBUF_INIT;
    assert_int_equal(cb_fd_slurp(fd, 1000, &sb, NULL), 0);
    return cb_strbuf_detach(&sb, NULL);
}

static void test_open_policies(void **state)
{
    const struct box *b = *state;
    static const struct {
        const char *path;
        enum cb_resolve how;
        int error;
        const char *text;
    } rows[] = {
        { "etc/passwd", CB_RESOLVE_IN_ROOT, 0, "inside" },
        { "/etc/passwd", CB_RESOLVE_IN_ROOT, 0, "inside" },
        { "//etc//passwd", CB_RESOLVE_BENEATH, 0, "inside" },
        { "/etc/passwd", CB_RESOLVE_NOFOLLOW, 0, "inside" },
        { "pw", CB_RESOLVE_IN_ROOT, 0, "inside" },
        { "pw", CB_RESOLVE_BENEATH, -EXDEV, NULL },
        { "pw", CB_RESOLVE_NOFOLLOW, -ELOOP, NULL },
        { "up", CB_RESOLVE_IN_ROOT, 0, "inside too" },
        { "up", CB_RESOLVE_BENEATH, -EXDEV, NULL },
        { "up", CB_RESOLVE_NOFOLLOW, -ELOOP, NULL },
        { "../secret", CB_RESOLVE_IN_ROOT, 0, "inside too" },
        { "../secret", CB_RESOLVE_BENEATH, -EXDEV, NULL },
        { "../secret", CB_RESOLVE_NOFOLLOW, -EXDEV, NULL },
        { "etc/../../secret", CB_RESOLVE_BENEATH, -EXDEV, NULL },
        { "etc/../secret", CB_RESOLVE_BENEATH, 0, "inside too" },
        { "far/passwd", CB_RESOLVE_IN_ROOT, 0, "inside" },
        { "far/passwd", CB_RESOLVE_BENEATH, -EXDEV, NULL },
        { "loop1", CB_RESOLVE_IN_ROOT, -ELOOP, NULL },
        { "dangling", CB_RESOLVE_IN_ROOT, -ENOENT, NULL },
        { "etc/passwd/x", CB_RESOLVE_IN_ROOT, -ENOTDIR, NULL },
        { "magic/etc/passwd", CB_RESOLVE_IN_ROOT, -ENOENT, NULL }, /* our own /proc, which is not there */
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        int error;
        cb_autofree char *text = read_at(b->root, rows[i].path, rows[i].how, &error);
        if (error != rows[i].error || !cb_streq(text, rows[i].text))
            fail_msg("row %zu %s: %d %s", i, rows[i].path, error, text ? text : "-");
    }
}

static void test_magic_links(void **state)
{
    (void)state;
    cb_autoclose int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(cb_path_openat(proc, "self/root", O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_IN_ROOT), -ELOOP);
    assert_int_equal(cb_path_openat(proc, "self/exe", O_RDONLY, 0, CB_RESOLVE_BENEATH), -ELOOP);
}

static void test_open_root_and_create(void **state)
{
    const struct box *b = *state;
    struct stat want, st;
    assert_int_equal(fstat(b->root, &want), 0);
    static const char *const names[] = { "", ".", "/", "//", "./" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        for (int how = CB_RESOLVE_IN_ROOT; how <= CB_RESOLVE_NOFOLLOW; how++) {
            assert_int_equal(cb_path_lstat(b->root, names[i], &st, (enum cb_resolve)how), 0);
            assert_true(st.st_ino == want.st_ino && st.st_dev == want.st_dev);
        }
    }
    cb_autoclose int fd = cb_path_openat(b->root, "lib/new", O_WRONLY | O_CREAT | O_EXCL, 0100640, CB_RESOLVE_IN_ROOT);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(cb_path_lstat(b->root, "usr/lib/new", &st, CB_RESOLVE_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
    /* A mode that does not matter is not refused. */
    cb_autoclose int again = cb_path_openat(b->root, "usr/lib/new", O_RDONLY, 0644, CB_RESOLVE_BENEATH);
    assert_true(again >= 0);
}

static void test_long_names(void **state)
{
    const struct box *b = *state;
    char name[301];
    memset(name, 'n', 300);
    name[300] = '\0';
    struct stat st;
    const char *base;
    assert_int_equal(cb_path_openat(b->root, name, O_RDONLY, 0, CB_RESOLVE_IN_ROOT), -ENAMETOOLONG);
    assert_int_equal(cb_path_mkdirs(b->root, name, 0755, CB_RESOLVE_IN_ROOT), -ENAMETOOLONG);
    cb_cleanup_strbuf struct cb_strbuf path = CB_STRBUF_INIT;
    cb_strbuf_addf(&path, "a/%s/b", name);
    assert_int_equal(cb_path_mkdirs(b->root, path.buf, 0755, CB_RESOLVE_BENEATH), -ENAMETOOLONG);
    assert_int_equal(cb_path_lstat(b->root, path.buf, &st, CB_RESOLVE_NOFOLLOW), -ENAMETOOLONG);
    for (int i = 0; i < 2100; i++)
        cb_strbuf_adds(&path, "/d");
    assert_int_equal(cb_path_openat(b->root, path.buf, O_RDONLY, 0, CB_RESOLVE_IN_ROOT), -ENAMETOOLONG);
    assert_int_equal(cb_path_open_parent(b->root, path.buf, CB_RESOLVE_IN_ROOT, &base), -ENAMETOOLONG);
}

static void test_open_parent(void **state)
{
    const struct box *b = *state;
    const char *base;
    struct stat want, st;
    assert_int_equal(fstatat(b->root, "usr/lib", &want, 0), 0);
    cb_autoclose int fd = cb_path_open_parent(b->root, "/abs/new", CB_RESOLVE_IN_ROOT, &base);
    assert_true(fd >= 0);
    assert_string_equal(base, "new");
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_ino == want.st_ino);
    /* The last one is not resolved, whatever it is. */
    cb_autoclose int of_link = cb_path_open_parent(b->root, "loop1", CB_RESOLVE_NOFOLLOW, &base);
    assert_true(of_link >= 0);
    assert_string_equal(base, "loop1");
    static const char *const none[] = { "", "/", ".", "..", "a/.", "a/..", "usr/", "lib/" };
    for (size_t i = 0; i < CB_COUNTOF(none); i++)
        assert_int_equal(cb_path_open_parent(b->root, none[i], CB_RESOLVE_IN_ROOT, &base), -EINVAL);
    assert_int_equal(cb_path_open_parent(b->root, "abs/new", CB_RESOLVE_BENEATH, &base), -EXDEV);
    assert_int_equal(cb_path_open_parent(b->root, "lib/new", CB_RESOLVE_NOFOLLOW, &base), -ELOOP);
    assert_int_equal(cb_path_open_parent(b->root, "none/new", CB_RESOLVE_IN_ROOT, &base), -ENOENT);
}

static void expect_dir(int root, const char *path)
{
    struct stat st;
    assert_int_equal(cb_path_lstat(root, path, &st, CB_RESOLVE_NOFOLLOW), 0);
    assert_true(S_ISDIR(st.st_mode));
}

static void mkdirs_ok(int root, const char *path, enum cb_resolve how)
{
    cb_autoclose int fd = cb_path_mkdirs(root, path, 0755, how);
    struct stat st;
    if (fd < 0)
        fail_msg("mkdirs %s: %s", path, strerror(-fd));
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    /* Readable, not only a path. */
    assert_int_equal(fcntl(fd, F_GETFL) & (O_PATH | O_ACCMODE), O_RDONLY);
}

static void test_mkdirs(void **state)
{
    const struct box *b = *state;
    mkdirs_ok(b->root, "", CB_RESOLVE_IN_ROOT);
    mkdirs_ok(b->root, "/", CB_RESOLVE_BENEATH);
    mkdirs_ok(b->root, "usr/lib", CB_RESOLVE_NOFOLLOW);
    mkdirs_ok(b->root, "/n1//n2/./n3/", CB_RESOLVE_NOFOLLOW);
    expect_dir(b->root, "n1/n2/n3");
    mkdirs_ok(b->root, "abs/x/y", CB_RESOLVE_IN_ROOT);
    expect_dir(b->root, "usr/lib/x/y");
    mkdirs_ok(b->root, "lib/z", CB_RESOLVE_BENEATH);
    expect_dir(b->root, "usr/lib/z");
    mkdirs_ok(b->root, "m1/../m2", CB_RESOLVE_BENEATH); /* as mkdir -p: m1 too */
    expect_dir(b->root, "m1");
    expect_dir(b->root, "m2");
    mkdirs_ok(b->root, "../../up1/up2", CB_RESOLVE_IN_ROOT);
    expect_dir(b->root, "up1/up2");
    assert_int_equal(faccessat(b->boxfd, "up1", F_OK, 0), -1);
    mkdirs_ok(b->root, "far/sub", CB_RESOLVE_IN_ROOT);
    expect_dir(b->root, "etc/sub");
}

static void test_mkdirs_refused(void **state)
{
    const struct box *b = *state;
    static const struct {
        const char *path;
        enum cb_resolve how;
        int error;
    } rows[] = {
        { "etc/passwd/x", CB_RESOLVE_IN_ROOT, -ENOTDIR }, { "etc/passwd", CB_RESOLVE_IN_ROOT, -ENOTDIR },
        { "abs/q", CB_RESOLVE_BENEATH, -EXDEV },          { "lib/q", CB_RESOLVE_NOFOLLOW, -ELOOP },
        { "../q", CB_RESOLVE_BENEATH, -EXDEV },           { "dangling", CB_RESOLVE_IN_ROOT, -ENOENT },
        { "dangling/q", CB_RESOLVE_IN_ROOT, -ENOENT },    { "loop1/q", CB_RESOLVE_IN_ROOT, -ELOOP },
        { "pw/q", CB_RESOLVE_IN_ROOT, -ENOTDIR },         { "q/../../q", CB_RESOLVE_BENEATH, -EXDEV },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        int r = cb_path_mkdirs(b->root, rows[i].path, 0755, rows[i].how);
        if (r != rows[i].error)
            fail_msg("mkdirs %s: %d", rows[i].path, r);
    }
    assert_int_equal(faccessat(b->root, "nowhere", F_OK, 0), -1);
    assert_int_equal(faccessat(b->boxfd, "q", F_OK, 0), -1);
}

static void test_lstat(void **state)
{
    const struct box *b = *state;
    struct stat st;
    assert_int_equal(cb_path_lstat(b->root, "loop1", &st, CB_RESOLVE_IN_ROOT), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(cb_path_lstat(b->root, "loop1", &st, CB_RESOLVE_NOFOLLOW), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(cb_path_lstat(b->root, "loop1/x", &st, CB_RESOLVE_IN_ROOT), -ELOOP);
    assert_int_equal(cb_path_lstat(b->root, "abs/..", &st, CB_RESOLVE_IN_ROOT), 0);
    assert_int_equal(cb_path_lstat(b->root, "none", &st, CB_RESOLVE_BENEATH), -ENOENT);
}

/* The time before mtime, so that relatime would note a read. */
static void unread(int root, const char *path)
{
    const struct timespec t[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000 } };
    assert_int_equal(utimensat(root, path, t, 0), 0);
}

static void test_cursor(void **state)
{
    const struct box *b = *state;
    struct cb_path_cursor c cb_cleanup_path_cursor = CB_PATH_CURSOR(b->root);
    static const struct {
        const char *path;
        int result; /* 0 or a negative errno */
    } v[] = {
        { "etc/passwd", 0 },        { "etc/none", -ENOENT },    { "etc/passwd", 0 },      { "etc2/passwd", -ENOENT },
        { "secret", 0 },            { "etc/passwd", 0 },        { "e/passwd", -ENOENT },  { "lib/x", -ELOOP },
        { "abs/x", -ELOOP },        { "pw", -ELOOP },           { "far/passwd", -ELOOP }, { "usr/lib/none", -ENOENT },
        { "../secret", -EXDEV },    { "etc/passwd", 0 },
    };
    unread(b->root, "etc/passwd");
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        char text[8];
        int fd = cb_path_cursor_open(&c, v[i].path, O_RDONLY | O_NOFOLLOW);
        if (v[i].result < 0)
            assert_int_equal(fd, v[i].result);
        else
            assert_int_equal(read(fd, text, sizeof text), strcmp(v[i].path, "secret") ? 6 : 8);
        cb_close_p(&fd);
    }
    struct stat st;
    assert_int_equal(fstatat(b->root, "etc/passwd", &st, 0), 0);
    assert_int_equal(st.st_atim.tv_sec, 1000);
}

static void test_normalize(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* NULL: refused */
    } rows[] = {
        { "", "" },          { "/", "" },          { ".", "" },        { "./", "" },      { "a", "a" },
        { "/a/b/", "a/b" },  { "./a/./b", "a/b" }, { "a//b///c", "a/b/c" }, { "...", "..." }, { "..a/b..", "..a/b.." },
        { "..", NULL },      { "a/..", NULL },     { "a/../b", NULL }, { "/../x", NULL }, { "a/..//b", NULL },
        { "a\\b", "a\\b" },  { " ", " " },
    };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        bool ok = cb_path_normalize(&out, rows[i].in, strlen(rows[i].in));
        if (ok != (rows[i].out != NULL) || (ok && strcmp(out.buf, rows[i].out) != 0))
            fail_msg("%s: %d %s", rows[i].in, ok, out.buf);
    }
    assert_false(cb_path_normalize(&out, "a\0b", 3));
    assert_true(cb_path_normalize(&out, "abcdef", 3));
    assert_string_equal(out.buf, "abc");
    char name[257];
    memset(name, 'x', 256);
    name[256] = '\0';
    assert_true(cb_path_normalize(&out, name, 255));
    assert_false(cb_path_normalize(&out, name, 256));
    cb_cleanup_strbuf struct cb_strbuf path = CB_STRBUF_INIT;
    for (int i = 0; i < 2048; i++)
        cb_strbuf_adds(&path, "/y");
    assert_true(cb_path_normalize(&out, path.buf, path.len));
    assert_int_equal(out.len, 4095);
    cb_strbuf_adds(&path, "/y");
    assert_false(cb_path_normalize(&out, path.buf, path.len));
}

static void test_clean_and_join(void **state)
{
    (void)state;
    static const char *const clean[][2] = {
        { "", "." },          { "abc", "abc" },     { "abc/", "abc" },       { "/", "/" },
        { "//a//", "/a" },    { "./abc", "abc" },   { "abc/./", "abc" },     { "a/b/..", "a" },
        { "a/..", "." },      { "a/../..", ".." },  { "../../a", "../../a" }, { "/../a", "/a" },
        { "/a/../../b", "/b" }, { "a/b/../../../c/./d", "../c/d" }, { "..", ".." }, { "/..", "/" },
    };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(clean); i++) {
        cb_path_clean(&out, clean[i][0]);
        assert_string_equal(out.buf, clean[i][1]);
    }
    static const char *const join[][3] = {
        { "/app", "x/y", "/app/x/y" }, { "/app", "/x", "/x" },  { "/app", "../..", "/" }, { "", "x", "x" },
        { "a", "../../b", "../b" },    { "/app", "", "/app" },  { "", "", "." },          { "/", "x", "/x" },
    };
    for (size_t i = 0; i < CB_COUNTOF(join); i++) {
        cb_path_join(&out, join[i][0], join[i][1]);
        assert_string_equal(out.buf, join[i][2]);
    }
    cb_path_join(&out, "/a", "b");
    cb_path_join(&out, out.buf, "../c");
    assert_string_equal(out.buf, "/a/c");
    cb_path_clean(&out, out.buf);
    assert_string_equal(out.buf, "/a/c");
    assert_string_equal(cb_path_base("a/b"), "b");
    assert_string_equal(cb_path_base("b"), "b");
    assert_string_equal(cb_path_base("b/"), "");
}

static void test_shift(void **state)
{
    (void)state;
    static const char *const parts[] = { "", "a", "b", "", "c", "" };
    cb_cleanup_strbuf struct cb_strbuf path = CB_STRBUF_INIT;
    cb_strbuf_adds(&path, "/a/b//c/");
    for (size_t i = 0; i < CB_COUNTOF(parts); i++) {
        cb_autofree char *first = cb_path_shift(&path);
        assert_string_equal(first, parts[i]);
        assert_int_equal(path.len, strlen(path.buf));
        if (i == 4)
            assert_int_equal(path.len, 0);
    }
}

int main(void)
{
#define BOXED(f) cmocka_unit_test_setup_teardown(f, make_box, drop_box)
    const struct CMUnitTest tests[] = {
        BOXED(test_open_policies), BOXED(test_open_root_and_create), BOXED(test_long_names),
        BOXED(test_open_parent),   BOXED(test_mkdirs),               BOXED(test_mkdirs_refused),
        BOXED(test_lstat),         BOXED(test_cursor),               cmocka_unit_test(test_magic_links),
        cmocka_unit_test(test_normalize), cmocka_unit_test(test_clean_and_join), cmocka_unit_test(test_shift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

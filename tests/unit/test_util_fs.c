/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/fs_walk.h"
#include "util/thread.h"

#define DEPTH 3000 /* of names of 10 bytes: far beyond PATH_MAX */

struct box {
    char dir[32];
    int fd;
};

static int make_box(void **state)
{
    struct box *b = CB_NEW(struct box);
    snprintf(b->dir, sizeof b->dir, "/tmp/cb-test-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = b;
    return 0;
}

static int drop_box(void **state)
{
    struct box *b = *state;
    assert_int_equal(cb_fs_remove_contents(b->fd, NULL), 0);
    assert_int_equal(rmdir(b->dir), 0);
    close(b->fd);
    free(b);
    return 0;
}

static void put(int dirfd, const char *name, size_t n)
{
    cb_autofree char *data = cb_calloc(n, 1);
    memset(data, 'x', n);
    assert_int_equal(cb_fs_write_file(dirfd, name, data, n, 0644, NULL), 0);
}

static bool exists(int dirfd, const char *name)
{
    return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_mkdirs(void **state)
{
    const struct box *b = *state;
    cb_autofree char *path = cb_asprintf("%s/a/b//c/", b->dir);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_fs_mkdirs(path, 0700, &err), 0);
    assert_int_equal(cb_fs_mkdirs(path, 0755, &err), 0);
    struct stat st;
    assert_int_equal(fstatat(b->fd, "a/b/c", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(cb_fs_mkdirs("/", 0755, &err), 0);
    put(b->fd, "file", 1);
    cb_autofree char *through = cb_asprintf("%s/file/x", b->dir);
    assert_int_equal(cb_fs_mkdirs(through, 0755, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, ENOTDIR);
    cb_autofree char *over = cb_asprintf("%s/file", b->dir);
    assert_int_equal(cb_fs_mkdirs(over, 0755, &err), -CB_ELOCAL);
    assert_int_equal(cb_fs_mkdirs("", 0755, &err), -CB_ELOCAL);
}

static void make_deep(int dirfd, int depth)
{
    cb_autoclose int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < depth; i++) {
        assert_int_equal(mkdirat(fd, "0123456789", 0755), 0);
        if (i % 100 == 0)
            put(fd, "file", 10);
        int next = openat(fd, "0123456789", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
}

/* Deeper than PATH_MAX, with room for few descriptors and a small stack. */
static void test_remove_deep(void **state)
{
    const struct box *b = *state;
    assert_int_equal(mkdirat(b->fd, "top", 0755), 0);
    cb_autoclose int top = openat(b->fd, "top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    make_deep(top, DEPTH);
    struct rlimit old, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 32;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    unsigned before = open_descriptors();
    uint64_t usage = 0;
    int u = cb_fs_disk_usage(b->fd, "top", &usage, NULL);
    int r = cb_fs_remove_tree(b->fd, "top", NULL);
    unsigned after = open_descriptors();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(u, 0);
    assert_true(usage >= DEPTH / 100 * 512);
    assert_int_equal(r, 0);
    assert_int_equal(before, after);
    assert_false(exists(b->fd, "top"));
}

static void test_remove_wide(void **state)
{
    const struct box *b = *state;
    char name[32];
    assert_int_equal(mkdirat(b->fd, "wide", 0755), 0);
    cb_autoclose int wide = openat(b->fd, "wide", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "%s-%d", i % 2 ? "dir" : "link", i);
        if (i % 2)
            assert_int_equal(mkdirat(wide, name, 0755), 0);
        else
            assert_int_equal(symlinkat("/etc", wide, name), 0);
    }
    assert_int_equal(cb_fs_remove_tree(b->fd, "wide", NULL), 0);
    assert_false(exists(b->fd, "wide"));
}

static void test_remove_kinds(void **state)
{
    const struct box *b = *state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(mkdirat(b->fd, "keep", 0755), 0);
    put(b->fd, "keep/file", 1);
    assert_int_equal(symlinkat("keep", b->fd, "link"), 0);
    assert_int_equal(cb_fs_remove_tree(b->fd, "link", &err), 0);
    assert_true(exists(b->fd, "keep/file"));
    assert_int_equal(mkdirat(b->fd, "dir", 0755), 0);
    assert_int_equal(symlinkat("../keep", b->fd, "dir/link"), 0);
    assert_int_equal(mkfifoat(b->fd, "dir/fifo", 0600), 0);
    assert_int_equal(cb_fs_remove_tree(b->fd, "dir", &err), 0);
    assert_true(exists(b->fd, "keep/file"));
    assert_int_equal(cb_fs_remove_tree(b->fd, "absent", &err), 0);
    assert_int_equal(cb_fs_remove_tree(b->fd, "keep/file", &err), 0);
    assert_false(exists(b->fd, "keep/file"));
    static const char *const names[] = { "", ".", "..", "keep/..", "keep/." };
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        assert_int_equal(cb_fs_remove_tree(b->fd, names[i], &err), -CB_EINTERNAL);
    assert_true(exists(b->fd, "keep"));
}

static void make_locked(int dirfd)
{
    assert_int_equal(mkdirat(dirfd, "locked", 0755), 0);
    assert_int_equal(mkdirat(dirfd, "locked/in", 0755), 0);
    assert_int_equal(mkdirat(dirfd, "locked/in/er", 0755), 0);
    put(dirfd, "locked/in/er/file", 3);
    assert_int_equal(fchmodat(dirfd, "locked/in/er", 0500, 0), 0);
    assert_int_equal(fchmodat(dirfd, "locked/in", 0, 0), 0);
    assert_int_equal(fchmodat(dirfd, "locked", 0, 0), 0);
}

/* Root is not stopped by modes, so a child becomes nobody first. */
static void test_remove_locked(void **state)
{
    const struct box *b = *state;
    assert_int_equal(fchmod(b->fd, 0777), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(9);
        make_locked(b->fd);
        _exit(cb_fs_remove_tree(b->fd, "locked", NULL) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(exists(b->fd, "locked"));
}

/* Needs mount(2): passed over where there is none. */
static void test_remove_stops_at_mounts(void **state)
{
    const struct box *b = *state;
    assert_int_equal(mkdirat(b->fd, "src", 0755), 0);
    put(b->fd, "src/precious", 1);
    assert_int_equal(mkdirat(b->fd, "tree", 0755), 0);
    assert_int_equal(mkdirat(b->fd, "tree/mnt", 0755), 0);
    cb_autofree char *from = cb_asprintf("%s/src", b->dir), *to = cb_asprintf("%s/tree/mnt", b->dir);
    if (mount(from, to, NULL, MS_BIND, NULL) < 0) {
        skip();
        return;
    }
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int r = cb_fs_remove_tree(b->fd, "tree", &err);
    int top = cb_fs_remove_tree(b->fd, "tree/mnt", NULL);
    uint64_t usage = 0;
    int u = cb_fs_disk_usage(b->fd, "tree", &usage, NULL);
    bool safe = exists(b->fd, "src/precious");
    assert_int_equal(umount2(to, 0), 0);
    assert_int_equal(r, -CB_ELOCAL);
    assert_int_equal(err.sys_errno, EXDEV);
    assert_int_equal(top, -CB_ELOCAL);
    assert_int_equal(u, 0);
    assert_true(safe);
    assert_int_equal(cb_fs_remove_tree(b->fd, "tree", NULL), 0);
}

static void test_publish(void **state)
{
    const struct box *b = *state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_tmpfile struct cb_tmpfile t = CB_TMPFILE_INIT, u = CB_TMPFILE_INIT;
    bool existed = true;
    assert_int_equal(cb_tmpfile_open(&t, b->fd, 0644, &err), 0);
    assert_int_equal(cb_fd_write_all(t.fd, "first", 5, &err), 0);
    assert_false(exists(b->fd, "name"));
    assert_int_equal(cb_tmpfile_publish(&t, b->fd, "name", &existed, &err), 0);
    assert_false(existed);
    assert_true(t.fd >= 0);
    assert_int_equal(cb_tmpfile_open(&u, b->fd, 0644, &err), 0);
    assert_int_equal(cb_fd_write_all(u.fd, "second", 6, &err), 0);
    assert_int_equal(cb_tmpfile_publish(&u, b->fd, "name", &existed, &err), 0);
    assert_true(existed);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_autofree char *path = cb_asprintf("%s/name", b->dir);
    assert_int_equal(cb_file_slurp(path, 100, &sb, &err), 0);
    assert_string_equal(sb.buf, "first");
    assert_int_equal(cb_tmpfile_replace(&u, b->fd, "name", &err), 0);
    cb_strbuf_reset(&sb);
    assert_int_equal(cb_file_slurp(path, 100, &sb, &err), 0);
    assert_string_equal(sb.buf, "second");
    cb_tmpfile_done(&t);
    cb_tmpfile_done(&u);
    assert_true(exists(b->fd, "name"));
    assert_int_equal(unlinkat(b->fd, "name", 0), 0);
    assert_int_equal(unlinkat(b->fd, ".", AT_REMOVEDIR), -1); /* of the box itself: EINVAL */
    assert_int_equal(rmdir(b->dir), 0);                       /* so nothing else is left in it */
    assert_int_equal(mkdir(b->dir, 0700), 0);
}

static int remake_box(void **state)
{
    struct box *b = *state;
    close(b->fd);
    b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return drop_box(state);
}

/* The way of file systems without O_TMPFILE: a temporary name. */
static void test_named_tmpfile(void **state)
{
    const struct box *b = *state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    bool existed;
    for (int round = 0; round < 3; round++) {
        cb_cleanup_tmpfile struct cb_tmpfile t = { .dirfd = b->fd, .name = ".tmp-0" };
        t.fd = openat(b->fd, t.name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        assert_true(t.fd >= 0);
        if (round < 2)
            assert_int_equal(cb_tmpfile_publish(&t, b->fd, "n", &existed, &err), 0);
        else
            assert_int_equal(cb_tmpfile_replace(&t, b->fd, "n", &err), 0);
        assert_int_equal(existed, round > 0);
        assert_int_equal(exists(b->fd, ".tmp-0"), round == 1);
    }
    assert_true(exists(b->fd, "n"));
    assert_false(exists(b->fd, ".tmp-0"));
    cb_cleanup_tmpfile struct cb_tmpfile t = CB_TMPFILE_INIT;
    assert_int_equal(cb_tmpfile_open(&t, -1, 0644, &err), -CB_ELOCAL);
    assert_int_equal(t.fd, -1);
}

#define RACERS 4
#define RACES 60

struct race {
    int fd;
    pthread_barrier_t barrier;
    unsigned won, failed;
};

static void *publish_racing(void *arg)
{
    struct race *race = arg;
    for (int i = 0; i < RACES; i++) {
        cb_cleanup_tmpfile struct cb_tmpfile t = CB_TMPFILE_INIT;
        char name[32];
        bool existed = false;
        snprintf(name, sizeof name, "race-%d", i);
        int r = cb_tmpfile_open(&t, race->fd, 0600, NULL);
        pthread_barrier_wait(&race->barrier);
        if (r < 0 || cb_tmpfile_publish(&t, race->fd, name, &existed, NULL) < 0)
            __atomic_add_fetch(&race->failed, 1, __ATOMIC_RELAXED);
        else if (!existed)
            __atomic_add_fetch(&race->won, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* All at once under one name: one wins, and the others are told so. */
static void test_publish_race(void **state)
{
    const struct box *b = *state;
    struct race race = { .fd = b->fd };
    pthread_t t[RACERS];
    pthread_barrier_init(&race.barrier, NULL, RACERS);
    for (size_t i = 0; i < RACERS; i++)
        assert_int_equal(cb_thread_start(&t[i], "racer", publish_racing, &race, NULL), 0);
    for (size_t i = 0; i < RACERS; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&race.barrier);
    assert_int_equal(race.failed, 0);
    assert_int_equal(race.won, RACES);
}

struct restless {
    int again, entered, files;
};

static int restless_file(void *ctx, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    (void)name;
    (void)err;
    ((struct restless *)ctx)->files++;
    return 0;
}

static int restless_enter(void *ctx, int fd, const struct stat *st, struct cb_error *err)
{
    (void)fd;
    (void)st;
    (void)err;
    ((struct restless *)ctx)->entered++;
    return 0;
}

static int restless_leave(void *ctx, int dirfd, const char *name, struct cb_error *err)
{
    struct restless *r = ctx;
    (void)dirfd;
    (void)name;
    (void)err;
    return r->again-- > 0 ? CB_WALK_AGAIN : 0;
}

static void test_walk_again(void **state)
{
    const struct box *b = *state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct restless r = { .again = 3 };
    struct cb_fs_walk walk = { .ctx = &r, .file = restless_file, .enter = restless_enter, .leave = restless_leave };
    assert_int_equal(mkdirat(b->fd, "d", 0755), 0);
    put(b->fd, "d/one", 1);
    put(b->fd, "d/two", 1);
    assert_int_equal(cb_fs_walk(b->fd, &walk, &err), 0);
    assert_int_equal(r.entered, 1 + 4);
    assert_int_equal(r.files, 2 * 4);
    r = (struct restless){ .again = 1000000 };
    assert_int_equal(cb_fs_walk(b->fd, &walk, &err), -CB_ELOCAL);
    assert_non_null(strstr(err.msg, "keeps changing"));
}

static void test_mkdtemp_and_rename(void **state)
{
    const struct box *b = *state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    char name[64], other[64];
    int fd, fd2;
    assert_int_equal(cb_fs_mkdtempat(b->fd, "work-", name, 0700, &fd, &err), 0);
    assert_int_equal(cb_fs_mkdtempat(b->fd, "work-", other, 0700, &fd2, &err), 0);
    assert_true(cb_starts_with(name, "work-"));
    assert_string_not_equal(name, other);
    put(fd, "inside", 1);
    close(fd);
    close(fd2);
    assert_int_equal(cb_fs_rename_noreplace(b->fd, name, b->fd, other), -EEXIST);
    assert_int_equal(cb_fs_rename_noreplace(b->fd, name, b->fd, "final"), 0);
    assert_true(exists(b->fd, "final/inside"));
    assert_int_equal(cb_fs_rename_noreplace(b->fd, name, b->fd, "x"), -ENOENT);
    char longname[60];
    memset(longname, 'p', 59);
    longname[59] = '\0';
    assert_int_equal(cb_fs_mkdtempat(b->fd, longname, name, 0700, &fd, &err), -CB_EINTERNAL);
    assert_int_equal(cb_fs_mkdtempat(b->fd, "../x", name, 0700, &fd, &err), -CB_EINTERNAL);
    assert_int_equal(cb_fs_sync_dir(b->fd, &err), 0);
    assert_int_equal(cb_fs_sync_dir(-1, &err), -CB_ELOCAL);
}

static void test_lock(void **state)
{
    const struct box *b = *state;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    put(b->fd, "lock", 0);
    cb_autoclose int one = openat(b->fd, "lock", O_RDONLY | O_CLOEXEC);
    cb_autoclose int two = openat(b->fd, "lock", O_RDONLY | O_CLOEXEC);
    assert_int_equal(cb_fs_lock(one, &err), 0);
    assert_int_equal(flock(two, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    cb_close_p(&one);
    assert_int_equal(cb_fs_lock(two, &err), 0);
    assert_int_equal(cb_fs_lock(-1, &err), -CB_ELOCAL);
}

static void test_disk_usage(void **state)
{
    const struct box *b = *state;
    uint64_t empty, one, linked, file;
    assert_int_equal(mkdirat(b->fd, "du", 0755), 0);
    assert_int_equal(cb_fs_disk_usage(b->fd, "du", &empty, NULL), 0);
    put(b->fd, "du/f", 100000);
    assert_int_equal(cb_fs_disk_usage(b->fd, "du", &one, NULL), 0);
    assert_int_equal(cb_fs_disk_usage(b->fd, "du/f", &file, NULL), 0);
    assert_true(file >= 100000 && one >= empty + file);
    assert_int_equal(linkat(b->fd, "du/f", b->fd, "du/g", 0), 0);
    assert_int_equal(symlinkat("/", b->fd, "du/root"), 0);
    assert_int_equal(cb_fs_disk_usage(b->fd, "du", &linked, NULL), 0);
    assert_true(linked < one + file);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_fs_disk_usage(b->fd, "none", &one, &err), -CB_ELOCAL);
    assert_int_equal(err.sys_errno, ENOENT);
}

int main(void)
{
#define BOXED(f) cmocka_unit_test_setup_teardown(f, make_box, drop_box)
    const struct CMUnitTest tests[] = {
        BOXED(test_mkdirs),
        BOXED(test_remove_deep),
        BOXED(test_remove_wide),
        BOXED(test_remove_kinds),
        BOXED(test_remove_locked),
        BOXED(test_remove_stops_at_mounts),
        cmocka_unit_test_setup_teardown(test_publish, make_box, remake_box),
        BOXED(test_named_tmpfile),
        BOXED(test_publish_race),
        BOXED(test_walk_again),
        BOXED(test_mkdtemp_and_rename),
        BOXED(test_lock),
        BOXED(test_disk_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

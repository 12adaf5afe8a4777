/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/owner_table.h"

#define KEEP CB_OWNER_KEEP

static char base[] = "/tmp/cbpush-owners-XXXXXX";
static int dir = -1;
static struct cb_owner_table *t;

static int setup(void **state)
{
    (void)state;
    memcpy(base, "/tmp/cbpush-owners-XXXXXX", sizeof base);
    if (!mkdtemp(base))
        return -1;
    dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    t = cb_owner_table_new(50, 51);
    return dir < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    static const char *const names[] = { "a", "b", "link", "hard" };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        unlinkat(dir, names[i], 0);
    close(CB_TAKE_FD(dir));
    cb_owner_table_free(CB_TAKE(t));
    return rmdir(base);
}

static void make(const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
}

static void put(const char *name, uint32_t uid, uint32_t gid)
{
    cb_autoclose int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(cb_owner_table_put(t, fd, name, uid, gid));
}

/* lower: 33:34, or nothing */
static void is(const char *name, bool lower, uint32_t uid, uint32_t gid)
{
    uint32_t owner[2] = { lower ? 33 : KEEP, lower ? 34 : KEEP };
    cb_owner_table_get(t, dir, name, name, owner);
    assert_int_equal(owner[0], uid);
    assert_int_equal(owner[1], gid);
}

static void what_nobody_changed(void **state)
{
    (void)state;
    make("a");
    is("a", false, 50, 51);
    is("a", true, 33, 34);
}

static void one_of_two(void **state)
{
    (void)state;
    make("a");
    put("a", KEEP, 8);
    is("a", true, 33, 8);
    is("a", false, 50, 8);
    put("a", 7, KEEP);
    is("a", true, 7, 8);
    put("a", 0, 0);
    is("a", true, 0, 0);
}

static void it_goes_along(void **state)
{
    (void)state;
    make("a");
    assert_int_equal(symlinkat("a", dir, "link"), 0);
    put("link", 3, 4);
    put("a", 1, 2);
    is("link", false, 3, 4);
    assert_int_equal(linkat(dir, "a", dir, "hard", 0), 0);
    is("hard", false, 1, 2);
    assert_int_equal(renameat(dir, "a", dir, "b"), 0);
    is("b", true, 1, 2);
    assert_int_equal(renameat(dir, "link", dir, "a"), 0);
    is("a", false, 3, 4);
}

/* The number of an inode is used again at once by many file systems. */
static void a_new_inode_is_another(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        make("a");
        put("a", 1, 2);
        assert_int_equal(unlinkat(dir, "a", 0), 0);
        make("b");
        is("b", false, 50, 51);
        assert_int_equal(unlinkat(dir, "b", 0), 0);
    }
}

/* What an editor does that believes a file to be root's. */
static void replaced(void **state)
{
    (void)state;
    make("a");
    put("a", 1, 2);
    make("b");
    put("b", 0, 0);
    is("b", true, 0, 0);
    assert_int_equal(renameat(dir, "b", dir, "a"), 0);
    is("a", false, 1, 2);
    put("a", 0, 0);
    is("a", true, 0, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = { T(what_nobody_changed), T(one_of_two), T(it_goes_along),
                                        T(a_new_inode_is_another), T(replaced) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

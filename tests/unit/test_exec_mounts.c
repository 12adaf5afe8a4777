/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted into a step, and what that leaves behind: nothing. */
#include "exec_fixture.h"

#include <sys/sysmacros.h>

#define expect_out(text) assert_string_equal(fx.out.buf, text)

static void bind_mounts(void **state)
{
    (void)state;
    need_sandbox();
    int source = make_dir(fx.base, "source");
    put_file(source, "file", "from the host\n", 0644);
    int file = openat(source, "file", O_PATH | O_CLOEXEC);
    struct cb_mount m[] = {
        { .kind = CB_MOUNT_BIND, .source_fd = file, .target = "/mnt/rw/inner/file" },
        { .kind = CB_MOUNT_BIND, .source_fd = source, .target = "/mnt/ro", .readonly = true },
        { .kind = CB_MOUNT_BIND, .source_fd = source, .target = "/mnt/rw" },
    };
    close(make_dir(source, "inner"));
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = m;
    spec.n_mounts = CB_COUNTOF(m);
    run_script(&spec,
               "cat /mnt/ro/file /mnt/rw/inner/file; echo y >/mnt/rw/made; touch /mnt/ro/x 2>/dev/null && exit 1; "
               "grep -c ' /mnt/.* [a-z]*,nosuid,nodev' /proc/mounts");
    assert_int_equal(fx.status, 0);
    expect_out("from the host\nfrom the host\n3\n");
    assert_int_equal(faccessat(source, "made", F_OK, 0), 0);
    /* The mount point that had to be made in the source is gone again. */
    assert_int_equal(faccessat(source, "inner/file", F_OK, 0), -1);
    assert_int_equal(count_entries(fx.upper), 0);
    close(file);
    close(source);
}

static void tmpfs_mounts(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_mount m[] = { { .kind = CB_MOUNT_TMPFS, .target = "/a", .size = 1u << 20 },
                            { .kind = CB_MOUNT_TMPFS, .target = "/b/c", .mode = 0700 } };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = m;
    spec.n_mounts = 2;
    run_script(&spec,
               "stat -c %a /a /b/c; dd if=/dev/zero of=/a/x bs=1M count=2 2>/dev/null && exit 1; echo y >/b/c/y");
    assert_int_equal(fx.status, 0);
    expect_out("1777\n700\n");
    assert_int_equal(count_entries(fx.upper), 0);
}

static void data_mounts(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_mount m[] = {
        { .kind = CB_MOUNT_DATA, .target = "/run/secrets/token", .data = "s3cret", .data_len = 6 },
        { .kind = CB_MOUNT_DATA, .target = "/empty", .data = NULL, .data_len = 0, .mode = 0444 },
        { .kind = CB_MOUNT_DATA,
          .target = "/dev/pipes/EOF",
          .data = "#!/bin/sh\necho ran\n",
          .data_len = 19,
          .mode = 0755 },
    };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = m;
    spec.n_mounts = CB_COUNTOF(m);
    run_script(&spec,
               "cat /empty /run/secrets/token; stat -c ' %a' /run/secrets/token; /dev/pipes/EOF; "
               "echo x 2>/dev/null >/run/secrets/token && exit 1; grep ' /run/secrets/token ramfs ro,nosuid,nodev' "
               "/proc/mounts >/dev/null");
    assert_int_equal(fx.status, 0);
    expect_out("s3cret 400\nran\n");
    assert_int_equal(count_entries(fx.upper), 0);
}

/* Layers of another image: links lead nowhere but into them, changes go into their own upper directory. */
static void tree_mounts(void **state)
{
    static const enum cb_overlay_how hows[] = { CB_OVERLAY_FDS, CB_OVERLAY_NAMES, CB_OVERLAY_CLASSIC };
    (void)state;
    need_sandbox();
    int low = make_dir(fx.base, "tree-low"), high = make_dir(fx.base, "tree-high");
    put_file(low, "f", "low\n", 0644);
    put_file(low, "g", "g\n", 0644);
    put_file(high, "f", "high\n", 0644);
    (void)!symlinkat("/", high, "rootdir");
    int lower[] = { low, high };
    for (size_t i = 0; i < CB_COUNTOF(hows); i++) {
        cb_autofree char *name = cb_asprintf("tree-upper-%zu", i), *work = cb_asprintf("tree-work-%zu", i);
        struct cb_rootfs tree = { lower, 2, make_dir(fx.base, name), make_dir(fx.base, work) };
        struct cb_mount m[] = {
            { .kind = CB_MOUNT_TREE, .target = "/t", .tree = &tree, .sub = "rootdir" },
            { .kind = CB_MOUNT_TMPFS, .target = "/t/new" },
        };
        struct cb_exec_spec spec = plain_spec();
        spec.mounts = m;
        spec.n_mounts = CB_COUNTOF(m);
        fx.how = hows[i];
        run_script(&spec, "cat /t/f /t/g; echo x >/t/f; rm /t/g; test -d /t/new && test ! -e /t/bin");
        assert_int_equal(fx.status, 0);
        expect_out("high\ng\n");
        assert_int_equal(count_entries(fx.upper), 0);
        close(tree.upper_fd);
        close(tree.work_fd);
    }
    fx.how = CB_OVERLAY_FDS;
    assert_int_equal(count_entries(low), 2);
    close(low);
    close(high);
}

static void tree_of_a_file_read_only_or_not_there(void **state)
{
    (void)state;
    need_sandbox();
    int low = make_dir(fx.base, "tree-file");
    put_file(low, "f", "file\n", 0644);
    struct cb_rootfs tree = { &low, 1, make_dir(fx.base, "tree-u"), make_dir(fx.base, "tree-w") };
    struct cb_mount m = { .kind = CB_MOUNT_TREE, .target = "/deep/er/f", .tree = &tree, .sub = "f", .readonly = true };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = &m;
    spec.n_mounts = 1;
    run_script(&spec, "cat /deep/er/f; echo x 2>/dev/null >/deep/er/f || echo ro");
    expect_out("file\nro\n");
    assert_int_equal(count_entries(fx.upper), 0);
    close(tree.upper_fd);
    close(tree.work_fd);
    tree.upper_fd = make_dir(fx.base, "tree-u2");
    tree.work_fd = make_dir(fx.base, "tree-w2");
    m.sub = "absent";
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
    assert_non_null(strstr(fx.error.msg, "/absent"));
    close(tree.upper_fd);
    close(tree.work_fd);
    close(low);
}

static void data_is_for_its_owner(void **state)
{
    (void)state;
    need_sandbox();
    if (fx.mode == CB_ID_SINGLE)
        return; /* one id only: the other two modes show it */
    struct cb_mount m[] = {
        { .kind = CB_MOUNT_DATA, .target = "/root-only", .data = "a", .data_len = 1 },
        { .kind = CB_MOUNT_DATA, .target = "/mine", .data = "b", .data_len = 1, .uid = 1000, .gid = 5 },
    };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = m;
    spec.n_mounts = 2;
    spec.uid = spec.gid = 1000;
    run_script(&spec, "cat /root-only 2>/dev/null && exit 1; cat /mine; stat -c ' %u:%g' /mine");
    assert_int_equal(fx.status, 0);
    expect_out("b 1000:5\n");
}

static void mount_target_of_the_wrong_kind(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_mount m = { .kind = CB_MOUNT_TMPFS, .target = "/etc/passwd" };
    static const char *const bad[] = { "/etc/passwd", "/etc/passwd/x", "/", "/proc/x", "/proc", "/sys/fs", "relative" };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = &m;
    spec.n_mounts = 1;
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        m.target = bad[i];
        run_script(&spec, "true");
        assert_int_equal(fx.result, -CB_ECONF);
        assert_non_null(strstr(fx.error.msg, bad[i]));
        assert_int_equal(count_entries(fx.upper), 0);
    }
}

static void targets_through_links_leave_no_trace(void **state)
{
    (void)state;
    need_sandbox();
    struct stat before, after;
    int usr = make_dir(fx.lower, "usr");
    assert_int_equal(symlinkat("/usr/run", fx.lower, "run"), 0);
    assert_int_equal(symlinkat("../run/deep/er/resolv.conf", fx.lower, "etc/resolv.conf"), 0);
    assert_int_equal(fstat(usr, &before), 0);
    struct cb_mount m = { .kind = CB_MOUNT_TMPFS, .target = "/run/../run/cache/x" };
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = &m;
    spec.n_mounts = 1;
    run_script(&spec, "test -s /usr/run/deep/er/resolv.conf && test -d /usr/run/cache/x");
    assert_int_equal(fx.status, 0);
    assert_int_equal(count_entries(fx.upper), 0);
    /* What the step itself does there stays, and times are not ours. */
    run_script(&spec, "echo x >/usr/run/deep/mine");
    assert_int_equal(faccessat(fx.upper, "usr/run/deep/mine", F_OK, 0), 0);
    assert_int_equal(faccessat(fx.upper, "usr/run/deep/er", F_OK, 0), -1);
    assert_int_equal(faccessat(fx.upper, "usr/run/cache", F_OK, 0), -1);
    assert_int_equal(fstatat(fx.upper, "usr", &after, 0), 0);
    assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    /* A step that moves the made directory away keeps an empty one, not ours. */
    run_script(&spec, "mv /usr/run /usr/moved");
    assert_int_equal(faccessat(fx.upper, "usr/moved/deep", F_OK, 0), -1);
    assert_int_equal(unlinkat(fx.lower, "etc/resolv.conf", 0), 0);
    assert_int_equal(unlinkat(fx.lower, "run", 0), 0);
    close(usr);
}

static void whiteouts_over_mount_points(void **state)
{
    (void)state;
    need_sandbox();
    /* A layer on top that hides /proc, /etc/hosts and makes / opaque to what is below. */
    int top = make_dir(fx.base, "whiteout");
    int etc = make_dir(top, "etc");
    if (mknodat(top, "proc", S_IFCHR, makedev(0, 0)) < 0)
        skip();
    assert_int_equal(mknodat(top, "sys", S_IFCHR, makedev(0, 0)), 0);
    assert_int_equal(mknodat(etc, "hosts", S_IFCHR, makedev(0, 0)), 0);
    int fds[] = { fx.lower, top };
    struct cb_exec_spec spec = plain_spec();
    spec.root.lower_fds = fds;
    spec.root.n_lower = 2;
    run_script(&spec, "test -r /proc/self/status && test -s /etc/hosts && test -d /sys/kernel");
    assert_int_equal(fx.status, 0);
    assert_int_equal(count_entries(fx.upper), 0);
    close(etc);
    close(top);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bind_mounts),
        cmocka_unit_test(tmpfs_mounts),
        cmocka_unit_test(data_mounts),
        cmocka_unit_test(tree_mounts),
        cmocka_unit_test(tree_of_a_file_read_only_or_not_there),
        cmocka_unit_test(data_is_for_its_owner),
        cmocka_unit_test(mount_target_of_the_wrong_kind),
        cmocka_unit_test(targets_through_links_leave_no_trace),
        cmocka_unit_test(whiteouts_over_mount_points),
    };
    return cmocka_run_group_tests_name("exec mounts", tests, NULL, NULL);
}

int main(void)
{
    return run_groups(group);
}

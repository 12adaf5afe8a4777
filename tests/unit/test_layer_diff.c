/* SPDX-License-Identifier: Apache-2.0 */
/* As root against the kernel's overlayfs in a mount namespace of our own; else with an upper directory made by hand. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/layer_support.h"

static bool have_overlay;
static char base[] = "/tmp/cbpush-diff-XXXXXX";

static const char *at(const char *dir, const char *name)
{
    static char buf[4][512];
    static unsigned next;
    char *p = buf[next++ % 4];
    snprintf(p, sizeof buf[0], "%s/%s%s%s", base, dir, *name ? "/" : "", name);
    return p;
}

static int rm_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void rm_tree(const char *path)
{
    nftw(path, rm_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void write_file(const char *path, const char *text)
{
    cb_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void set_time(const char *path, int64_t sec)
{
    struct timespec t[2] = { { .tv_sec = sec }, { .tv_sec = sec } };
    assert_int_equal(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static int setup(void **state)
{
    (void)state;
    static const char *const dirs[] = { "lower", "upper", "work", "merged" };
    for (size_t i = 0; i < CB_COUNTOF(dirs); i++) {
        rm_tree(at(dirs[i], ""));
        if (mkdir(at(dirs[i], ""), 0755) < 0)
            return -1;
    }
    return 0;
}

/* ---- diffs as tables ---- */

static struct cb_owner_table *owners; /* for the next diff */

static int diff_by(const struct cb_diff_options *d, struct cb_digest *id, struct cb_toc **toc)
{
    struct cb_layer_write_options o = { .format = { CB_COMPRESSION_NONE }, .clamp_mtime = INT64_MAX };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    cb_cleanup_layer struct cb_layer layer = { 0 };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    size_t n = 0;
    int r = cb_diff_overlay(d, w, &n, &err);
    if (r < 0) {
        assert_non_null(err.msg);
        return r;
    }
    assert_int_equal(cb_layer_writer_finish(w, &layer, toc, NULL), 0);
    assert_int_equal(cb_toc_count(*toc), n);
    *id = layer.diff_id;
    return 0;
}

/* Whoever answers for what is below: the layer is the same. */
static int diff_dir(const char *dir, const struct cb_stack *lower, bool userxattr, bool single_id, struct cb_toc **toc)
{
    cb_autoclose int fd = open(at(dir, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct cb_diff_options d = { .upper_fd = fd, .userxattr = userxattr, .single_id = single_id, .owners = owners };
    struct cb_finder by_stack = cb_stack_finder(lower);
    struct cb_digest id, other;
    d.lower = lower ? &by_stack : NULL;
    int r = diff_by(&d, &id, toc);
    for (int indexed = 0; r == 0 && lower && indexed < 2; indexed++) {
        CB_AUTO(cb_lookup_free) struct cb_lookup *l = sup_lookup(lower, indexed);
        CB_AUTO(cb_toc_unref) struct cb_toc *again = NULL;
        struct cb_finder by_lookup = cb_lookup_finder(l);
        d.lower = &by_lookup;
        assert_int_equal(diff_by(&d, &other, &again), 0);
        assert_true(cb_digest_eq(&id, &other));
    }
    return r;
}

static struct cb_toc *diff(const char *dir, const struct cb_stack *lower)
{
    struct cb_toc *t = NULL;
    assert_int_equal(diff_dir(dir, lower, !have_overlay, false, &t), 0);
    return t;
}

static void spells(const struct cb_toc *t, const char *want)
{
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT;
    for (size_t i = 0; i < cb_toc_count(t); i++) {
        const struct cb_entry *e = cb_toc_at(t, i);
        cb_strbuf_addf(&got, "%c %s%s%s\n", "?wodflhcbp"[e->type], e->path, e->link ? " > " : "",
                       e->link ? e->link : "");
    }
    assert_string_equal(got.buf, want);
}

static void populate_lower(void)
{
    assert_int_equal(mkdir(at("lower", "d"), 0755), 0);
    assert_int_equal(mkdir(at("lower", "d/sub"), 01777), 0);
    write_file(at("lower", "d/a"), "aaa");
    write_file(at("lower", "d/b"), "bbb");
    write_file(at("lower", "d/sub/c"), "ccc");
    write_file(at("lower", "f"), "fff");
    assert_int_equal(symlink("f", at("lower", "l")), 0);
    assert_int_equal(link(at("lower", "f"), at("lower", "f2")), 0);
    static const char *const all[] = { "d/a", "d/b", "d/sub/c", "d/sub", "d", "f", "l" };
    for (size_t i = 0; i < CB_COUNTOF(all); i++)
        set_time(at("lower", all[i]), 1000000);
}

static struct cb_stack *lower_stack(void)
{
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("lower", NULL);
    return cb_stack_new(&t, 1);
}

/* ---- by hand ---- */

static void plain_tree(void **state)
{
    (void)state;
    populate_lower();
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("lower", NULL);
    spells(t, "d d\nf d/a\nf d/b\nd d/sub\nf d/sub/c\nf f\nh f2 > f\nl l > f\n");
    assert_int_equal(cb_toc_find(t, "d/sub")->mode, 01777);
    assert_int_equal(cb_toc_find(t, "f2")->mtime, 1000000);
}

/* A copied-up tree in which nothing has changed is no difference. */
static void nothing_changed(void **state)
{
    (void)state;
    populate_lower();
    CB_AUTO(cb_stack_unref) struct cb_stack *s = lower_stack();
    assert_int_equal(unlink(at("lower", "f2")), 0); /* files with several names are always written */
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("lower", s);
    spells(t, "");
    write_file(at("lower", "d/sub/c"), "CCC"); /* same size */
    set_time(at("lower", "d/sub/c"), 1000000);
    CB_AUTO(cb_toc_unref) struct cb_toc *u = diff("lower", s);
    spells(u, "d d\nd d/sub\nf d/sub/c\n"); /* with the directories above it */
    assert_int_equal(cb_toc_find(u, "d/sub")->mode, 01777);
    set_time(at("lower", "d/a"), 1000001);
    assert_int_equal(chmod(at("lower", "f"), 0600), 0);
    CB_AUTO(cb_toc_unref) struct cb_toc *v = diff("lower", s);
    spells(v, "d d\nf d/a\nd d/sub\nf d/sub/c\nf f\n");
}

static void opaque(const char *path, const char *value)
{
    const char *name = have_overlay ? "trusted.overlay.opaque" : "user.overlay.opaque";
    assert_int_equal(lsetxattr(path, name, value, strlen(value), 0), 0);
}

static void marks(void **state)
{
    (void)state;
    populate_lower();
    CB_AUTO(cb_stack_unref) struct cb_stack *s = lower_stack();
    assert_int_equal(mkdir(at("upper", "d"), 0755), 0);
    assert_int_equal(mkdir(at("upper", "new"), 0755), 0);
    write_file(at("upper", "d/a"), "aaa"); /* as below, but what is below does not show */
    set_time(at("upper", "d/a"), 1000000);
    opaque(at("upper", "d"), "y");
    opaque(at("upper", "new"), "y");
    if (mknod(at("upper", "f"), S_IFCHR, 0) < 0 || mknod(at("upper", "never"), S_IFCHR, 0) < 0)
        skip();
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("upper", s);
    spells(t, "o d\nd d\nf d/a\nw f\nd new\n");
    CB_AUTO(cb_toc_unref) struct cb_toc *u = diff("upper", NULL); /* nothing known of what is below */
    spells(u, "o d\nd d\nf d/a\nw f\nw never\no new\nd new\n");
    opaque(at("upper", "d"), "x");
    set_time(at("upper", "d"), 1000000);
    CB_AUTO(cb_toc_unref) struct cb_toc *v = diff("upper", s);
    spells(v, "w f\nd new\n");
}

static void bind_socket(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    cb_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
}

static void odd_files(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(at("upper", "p"), 0600), 0);
    bind_socket(at("upper", "s"));
    cb_autoclose int hole = open(at("upper", "sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(ftruncate(hole, 5000000), 0);
    write_file(at("upper", "suid"), "x");
    assert_int_equal(chmod(at("upper", "suid"), 06755), 0);
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("upper", NULL);
    spells(t, "p p\nw s\nf sparse\nf suid\n"); /* no socket, which may hide something; the pipe was not opened */
    assert_int_equal(cb_toc_find(t, "sparse")->size, 5000000);
    assert_int_equal(cb_toc_find(t, "suid")->mode, 06755);
}

/* No layer has sockets; what one has taken the place of is gone all the same. */
static void socket_for_a_file(void **state)
{
    (void)state;
    populate_lower();
    CB_AUTO(cb_stack_unref) struct cb_stack *s = lower_stack();
    bind_socket(at("upper", "f"));
    bind_socket(at("upper", "d"));
    bind_socket(at("upper", "new"));
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("upper", s);
    spells(t, "w d\nw f\n");
}

static void private_attributes(void **state)
{
    (void)state;
    const char *const names[] = { "user.overlay.origin", "user.fuseoverlayfs.x", "user.keep",
                                  "user.containers.override_stat" };
    write_file(at("upper", "f"), "x");
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (lsetxattr(at("upper", "f"), names[i], "v", 1, 0) < 0)
            skip();
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("upper", NULL);
    assert_int_equal(cb_toc_find(t, "f")->n_xattrs, 1);
    assert_string_equal(cb_toc_find(t, "f")->xattrs[0].name, "user.keep");
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(&t, 1);
    CB_AUTO(cb_toc_unref) struct cb_toc *same = diff("upper", s);
    spells(same, "");
    assert_int_equal(lsetxattr(at("upper", "f"), "user.keep", "w", 1, 0), 0);
    CB_AUTO(cb_toc_unref) struct cb_toc *other = diff("upper", s);
    spells(other, "f f\n");
}

static void elsewhere(void **state)
{
    (void)state;
    struct cb_toc *t = NULL;
    write_file(at("upper", "f"), "x");
    assert_int_equal(mkdir(at("upper", "d"), 0755), 0);
    assert_int_equal(lsetxattr(at("upper", "f"), "user.overlay.metacopy", "", 0, 0), 0);
    assert_int_equal(diff_dir("upper", NULL, true, false, &t), -CB_EINTERNAL);
    assert_int_equal(lremovexattr(at("upper", "f"), "user.overlay.metacopy"), 0);
    assert_int_equal(lsetxattr(at("upper", "d"), "user.overlay.redirect", "/e", 2, 0), 0);
    assert_int_equal(diff_dir("upper", NULL, true, false, &t), -CB_EINTERNAL);
}

static void single_id(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    CB_AUTO(cb_toc_unref) struct cb_toc *t = NULL;
    write_file(at("upper", "mine"), "new");
    write_file(at("upper", "theirs"), "new");
    struct cb_entry theirs = { .path = "theirs", .type = CB_ENTRY_FILE, .uid = 33, .gid = 34 };
    assert_int_equal(cb_toc_builder_add(b, &theirs, NULL), 0);
    CB_AUTO(cb_toc_unref) struct cb_toc *low = cb_toc_builder_finish(b);
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(&low, 1);
    assert_int_equal(diff_dir("upper", s, true, true, &t), 0);
    assert_int_equal(cb_toc_find(t, "mine")->uid, 0);
    assert_int_equal(cb_toc_find(t, "mine")->gid, 0);
    assert_int_equal(cb_toc_find(t, "theirs")->uid, 33);
    assert_int_equal(cb_toc_find(t, "theirs")->gid, 34);
}

static void single_id_with_owners(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = NULL;
    write_file(at("upper", "file"), "x");
    assert_int_equal(mkdir(at("upper", "dir"), 0755), 0);
    assert_int_equal(symlink("file", at("upper", "dir/link")), 0);
    static const char *const given[] = { "file", "dir", "dir/link" };
    owners = cb_owner_table_new(50, 51);
    for (size_t i = 0; i < CB_COUNTOF(given); i++) {
        cb_autoclose int fd = open(at("upper", given[i]), O_PATH | O_NOFOLLOW | O_CLOEXEC);
        assert_true(cb_owner_table_put(owners, fd, given[i], 10 + (uint32_t)i, i ? CB_OWNER_KEEP : 20));
    }
    write_file(at("upper", "dir/new"), "y");
    assert_int_equal(diff_dir("upper", NULL, true, true, &t), 0);
    cb_owner_table_free(CB_TAKE(owners));
    assert_int_equal(cb_toc_find(t, "file")->uid, 10);
    assert_int_equal(cb_toc_find(t, "file")->gid, 20);
    assert_int_equal(cb_toc_find(t, "dir")->uid, 11);
    assert_int_equal(cb_toc_find(t, "dir")->gid, 51);
    assert_int_equal(cb_toc_find(t, "dir/link")->uid, 12);
    assert_int_equal(cb_toc_find(t, "dir/new")->uid, 50);
    assert_int_equal(cb_toc_find(t, "dir/new")->gid, 51);
}

static void too_deep(void **state)
{
    (void)state;
    struct cb_toc *t = NULL;
    cb_autoclose int fd = open(at("upper", ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; i < 1100; i++) {
        assert_int_equal(mkdirat(fd, "d", 0755), 0);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    assert_int_equal(diff_dir("upper", NULL, true, false, &t), -CB_ELOCAL);
    while (fd >= 0) { /* nftw cannot */
        int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bool more = unlinkat(up, "d", AT_REMOVEDIR) == 0;
        close(fd);
        fd = more ? up : (close(up), -1);
    }
}

/* ---- against the kernel ---- */

static void mount_overlay(void)
{
    char opts[512];
    snprintf(opts, sizeof opts, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work,redirect_dir=off,metacopy=off",
             base, base, base);
    assert_int_equal(mount("overlay", at("merged", ""), "overlay", 0, opts), 0);
}

static void unmount_overlay(void)
{
    assert_int_equal(umount2(at("merged", ""), 0), 0);
}

static void same_file(const struct cb_entry *a, const struct cb_entry *b)
{
    bool file = a->type == CB_ENTRY_FILE || a->type == CB_ENTRY_HARDLINK;
    assert_string_equal(a->path, b->path);
    assert_int_equal(file ? CB_ENTRY_FILE : a->type, b->type == CB_ENTRY_HARDLINK ? CB_ENTRY_FILE : b->type);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->mtime, b->mtime);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->dev_minor, b->dev_minor);
    assert_int_equal(a->n_xattrs, b->n_xattrs);
    if (file)
        assert_true(cb_sum_eq(&a->digest, &b->digest));
    else
        assert_true(cb_streq(a->link, b->link));
}

/* What the kernel shows is what the lower table and the difference make together. */
static void check_against_kernel(const struct cb_stack *lower)
{
    CB_AUTO(cb_toc_unref) struct cb_toc *shown = diff("merged", NULL);
    unmount_overlay();
    CB_AUTO(cb_toc_unref) struct cb_toc *changed = diff("upper", lower);
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_push(lower, changed);
    for (size_t i = 0; i < cb_toc_count(shown); i++) {
        const struct cb_stack_entry *e = cb_stack_find(s, cb_toc_at(shown, i)->path);
        assert_non_null(e);
        same_file(e->e, cb_toc_at(shown, i));
    }
    assert_int_equal(cb_stack_count(s), cb_toc_count(shown));
}

static void kernel_steps(void **state)
{
    (void)state;
    if (!have_overlay)
        skip();
    populate_lower();
    CB_AUTO(cb_stack_unref) struct cb_stack *s = lower_stack();
    mount_overlay();
    rm_tree(at("merged", "d"));
    assert_int_equal(mkdir(at("merged", "d"), 0700), 0); /* opaque */
    write_file(at("merged", "d/a"), "aaa");
    assert_int_equal(unlink(at("merged", "l")), 0);
    assert_int_equal(chown(at("merged", "f"), 7, 8), 0);
    assert_int_equal(link(at("merged", "d/a"), at("merged", "d/z")), 0);
    assert_int_equal(mkdir(at("merged", "n"), 0755), 0);
    assert_int_equal(mknod(at("merged", "n/c"), S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(mkdir(at("merged", "gone"), 0755), 0);
    assert_int_equal(rmdir(at("merged", "gone")), 0);
    check_against_kernel(s);
    CB_AUTO(cb_toc_unref) struct cb_toc *t = diff("upper", s);
    spells(t, "o d\nd d\nf d/a\nh d/z > d/a\nf f\nw l\nd n\nc n/c\n");
    assert_int_equal(cb_toc_find(t, "f")->uid, 7);
}

static void random_name(uint64_t *seed, char *out, size_t n)
{
    static const char *const names[] = { "d", "f", "a", "sub", "l", "b", "n", "f2" };
    size_t len = 0;
    for (uint64_t d = sup_random(seed) % 3 + 1; d; d--)
        len += (size_t)snprintf(out + len, n - len, "%s%s", len ? "/" : "",
                                names[sup_random(seed) % CB_COUNTOF(names)]);
}

/* Steps that fail are fine: the kernel is the judge of what they do. */
static void random_step(uint64_t *seed)
{
    char a[64], b[64];
    random_name(seed, a, sizeof a);
    random_name(seed, b, sizeof b);
    const char *p = at("merged", a), *q = at("merged", b);
    struct timespec now[2] = { { .tv_sec = 2000000 }, { .tv_sec = 2000000 + (time_t)(sup_random(seed) % 3) } };
    int fd;
    switch (sup_random(seed) % 11) {
    case 0:
        if ((fd = open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0644)) >= 0) {
            (void)!write(fd, b, strlen(b) % 3);
            close(fd);
        }
        break;
    case 1:
        (void)!mkdir(p, 0755);
        break;
    case 2:
        rm_tree(p);
        break;
    case 3:
        (void)!rename(p, q);
        break;
    case 4:
        (void)!symlink(b, p);
        break;
    case 5:
        (void)!link(p, q);
        break;
    case 6:
        (void)!chmod(p, sup_random(seed) % 2 ? 0700 : 0755);
        break;
    case 7:
        (void)!lchown(p, 5, 6);
        break;
    case 8:
        (void)!utimensat(AT_FDCWD, p, now, AT_SYMLINK_NOFOLLOW);
        break;
    case 9:
        (void)!lsetxattr(p, "user.a", b, 1, 0);
        break;
    default:
        (void)!mkfifo(p, 0600);
    }
}

static void kernel_random(void **state)
{
    if (!have_overlay)
        skip();
    uint64_t seed = 5;
    for (unsigned round = 0; round < 150; round++) {
        assert_int_equal(setup(state), 0);
        populate_lower();
        CB_AUTO(cb_stack_unref) struct cb_stack *s = lower_stack();
        mount_overlay();
        for (uint64_t n = sup_random(&seed) % 30; n; n--)
            random_step(&seed);
        check_against_kernel(s);
    }
}

static bool make_place(void)
{
    if (!mkdtemp(base))
        return false;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return true;
    if (mount("tmpfs", base, "tmpfs", 0, "mode=0755") < 0 || setup(NULL) < 0)
        return true;
    char opts[512];
    snprintf(opts, sizeof opts, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", base, base, base);
    have_overlay = mount("overlay", at("merged", ""), "overlay", 0, opts) == 0 && umount2(at("merged", ""), 0) == 0;
    return true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(plain_tree, setup), cmocka_unit_test_setup(nothing_changed, setup),
        cmocka_unit_test_setup(marks, setup), cmocka_unit_test_setup(odd_files, setup),
        cmocka_unit_test_setup(socket_for_a_file, setup),
        cmocka_unit_test_setup(private_attributes, setup), cmocka_unit_test_setup(elsewhere, setup),
        cmocka_unit_test_setup(single_id, setup), cmocka_unit_test_setup(single_id_with_owners, setup),
        cmocka_unit_test_setup(too_deep, setup),
        cmocka_unit_test_setup(kernel_steps, setup), cmocka_unit_test_setup(kernel_random, setup),
    };
    umask(0);
    if (!make_place())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    umount2(base, MNT_DETACH);
    rm_tree(base);
    return failed;
}

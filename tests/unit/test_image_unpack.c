/* SPDX-License-Identifier: Apache-2.0 */
/* Layers to trees: what has to come out, and what hostile ones must not do (safety.md A1–A8). */
#include "store_fixture.h"
#include "layer_support.h"
#include "tree_twin.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "util/encode.h"

static char *in_tree(const struct fixture *f, const struct take *t, const char *path)
{
    cb_autofree char *rel = cb_asprintf("fs/%s", path);
    return take_path(f->root, t, rel);
}

static struct stat stat_of(const struct fixture *f, const struct take *t, const char *path)
{
    struct stat st;
    cb_autofree char *p = in_tree(f, t, path);
    if (lstat(p, &st) < 0)
        fail_msg("%s is not in the tree", path);
    return st;
}

static bool in_the_tree(const struct fixture *f, const struct take *t, const char *path)
{
    cb_autofree char *p = in_tree(f, t, path);
    return exists(p);
}

static void check_text(struct fixture *f, const struct take *t, const char *path, const char *text)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *p = in_tree(f, t, path);
    ok(cb_file_slurp(p, 1 << 24, &sb, &f->err));
    assert_string_equal(sb.buf, text);
}

static void check_link(const struct fixture *f, const struct take *t, const char *path, const char *text)
{
    char buf[4097] = "";
    cb_autofree char *p = in_tree(f, t, path);
    assert_true(readlink(p, buf, sizeof buf - 1) >= 0);
    assert_string_equal(buf, text);
}

static bool is_whiteout(const struct fixture *f, const struct take *t, const char *path)
{
    struct stat st = stat_of(f, t, path);
    return S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

static bool is_opaque(const struct fixture *f, const struct take *t, const char *path)
{
    cb_autofree char *p = in_tree(f, t, path);
    char v[8] = "";
    const char *name = geteuid() == 0 ? "trusted.overlay.opaque" : "user.overlay.opaque";
    return lgetxattr(p, name, v, sizeof v) == 1 && v[0] == 'y';
}

/* ---- the place outside that nothing may touch ---- */

static char *outside(const struct fixture *f, const char *rest)
{
    return cb_asprintf("%s/outside%s", f->dir, rest);
}

static void describe(struct cb_strbuf *out, const char *path)
{
    struct stat st;
    char value[64];
    if (lstat(path, &st) < 0) {
        cb_strbuf_addf(out, "%s: absent\n", path);
        return;
    }
    ssize_t x = lgetxattr(path, "user.canary", value, sizeof value);
    cb_strbuf_addf(out, "%s %o %u:%u %lld.%09ld %lld n%lu x%zd\n", path, st.st_mode, st.st_uid, st.st_gid,
                   (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size,
                   (unsigned long)st.st_nlink, x);
}

static void describe_outside(const struct fixture *f, struct cb_strbuf *out)
{
    static const char *const paths[] = { "", "/file", "/dir", "/dir/inner", "/x", "/dir/x", "/escaped" };
    for (size_t i = 0; i < CB_COUNTOF(paths); i++) {
        cb_autofree char *p = outside(f, paths[i]);
        describe(out, p);
    }
    describe(out, f->dir);
    cb_autofree char *beside = cb_asprintf("%s/x", f->dir), *etc = cb_asprintf("/x");
    describe(out, beside);
    describe(out, etc);
    describe(out, "/escaped");
    cb_strbuf_addf(out, "%zu\n", count_entries(f->dir));
}

static int setup_canary(void **state)
{
    if (setup(state) < 0)
        return -1;
    struct fixture *f = *state;
    cb_autofree char *top = outside(f, ""), *dir = outside(f, "/dir"), *file = outside(f, "/file"),
                     *in = outside(f, "/dir/inner");
    if (mkdir(top, 0750) < 0 || mkdir(dir, 0700) < 0)
        return -1;
    write_at(file, "canary");
    write_at(in, "inner");
    lsetxattr(file, "user.canary", "alive", 5, 0);
    const struct timespec t[2] = { { .tv_sec = 1111111111 }, { .tv_sec = 1222222222 } };
    utimensat(AT_FDCWD, dir, t, 0);
    utimensat(AT_FDCWD, top, t, 0);
    return 0;
}

/* ---- what has to come out ---- */

static void everything_a_layer_can_hold(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&t, &(struct sup_header){ .name = "./", .type = '5' });
    sup_head(&t, &(struct sup_header){ .name = "./ro/", .type = '5', .mode = 0555, .mtime = 1000 });
    sup_file(&t, "ro/file", "text");
    sup_head(&t, &(struct sup_header){ .name = "tmp/", .type = '5', .mode = 01777, .mtime = 2000 });
    sup_head(&t, &(struct sup_header){
                     .name = "suid", .type = '0', .mode = 04755, .uid = 12, .gid = 34, .mtime = 3000, .size = 3 });
    sup_body(&t, "abc", 3);
    sup_head(&t, &(struct sup_header){ .name = "odd", .type = '0', .mode = 0462, .mtime = 4000 });
    sup_add(&t, '2', "link", "/etc/../somewhere//odd");
    sup_head(&t, &(struct sup_header){ .name = "hard", .type = '1', .link = "suid" });
    sup_add(&t, '6', "pipe", NULL);
    sup_add(&t, '1', "hardlink-to-link", "link");
    sup_end(&t);
    struct take k = { 0 };
    ok(take_in(f, &t, &k));
    struct stat st = stat_of(f, &k, "ro");
    assert_int_equal(st.st_mode, S_IFDIR | 0555);
    assert_int_equal(st.st_mtim.tv_sec, 1000);
    check_text(f, &k, "ro/file", "text");
    st = stat_of(f, &k, "tmp");
    assert_int_equal(st.st_mode, S_IFDIR | 01777);
    assert_int_equal(st.st_mtim.tv_sec, 2000);
    st = stat_of(f, &k, "suid");
    assert_int_equal(st.st_mode, S_IFREG | 04755);
    assert_int_equal(st.st_mtim.tv_sec, 3000);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(st.st_ino, stat_of(f, &k, "hard").st_ino);
    assert_int_equal(st.st_uid, geteuid() == 0 ? 12 : geteuid());
    assert_int_equal(st.st_gid, geteuid() == 0 ? 34 : getegid());
    assert_int_equal(stat_of(f, &k, "odd").st_mode, S_IFREG | 0462);
    assert_int_equal(stat_of(f, &k, "odd").st_size, 0);
    check_link(f, &k, "link", "/etc/../somewhere//odd");
    check_link(f, &k, "hardlink-to-link", "/etc/../somewhere//odd");
    assert_true(S_ISFIFO(stat_of(f, &k, "pipe").st_mode));
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(cb_store_toc_get(f->s, &k.diff_id, &toc, &f->err));
    assert_int_equal(cb_toc_find(toc, "suid")->uid, 12);
    assert_int_equal(k.size, t.len);
    assert_int_equal(count_in(f, "trees"), 1);
    ok(take_in(f, &t, &k)); /* again is no error */
}

static void single_id_keeps_ownership_in_the_table(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&t, &(struct sup_header){ .name = "a", .type = '0', .uid = 12, .gid = 34 });
    sup_head(&t, &(struct sup_header){ .name = "d", .type = '5', .uid = 12, .gid = 34 });
    sup_end(&t);
    struct take k = { .single_id = true };
    ok(take_in(f, &t, &k));
    assert_int_equal(stat_of(f, &k, "a").st_uid, geteuid());
    assert_int_equal(stat_of(f, &k, "d").st_gid, getegid());
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(cb_store_toc_get(f->s, &k.diff_id, &toc, &f->err));
    assert_int_equal(cb_toc_find(toc, "d")->gid, 34);
}

static void the_last_of_a_name_wins(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_file(&t, "a", "one");
    sup_add(&t, '1', "first-inode", "a");
    sup_file(&t, "a", "two!");
    sup_add(&t, '5', "d/", NULL);
    sup_file(&t, "d/x", "below");
    sup_file(&t, "d", "now a file");
    sup_file(&t, "e", "a file");
    sup_head(&t, &(struct sup_header){ .name = "e/", .type = '5', .mode = 0711 });
    sup_file(&t, "e/x", "below");
    sup_add(&t, '2', "l", "nowhere");
    sup_file(&t, "l", "replaced");
    sup_add(&t, '2', "m", "e");
    sup_head(&t, &(struct sup_header){ .name = "m/", .type = '5', .mode = 0700 });
    sup_head(&t, &(struct sup_header){ .name = "e/", .type = '5', .mode = 0751 });
    sup_end(&t);
    struct take k = { 0 };
    ok(take_in(f, &t, &k));
    check_text(f, &k, "a", "two!");
    check_text(f, &k, "first-inode", "one");
    check_text(f, &k, "d", "now a file");
    check_text(f, &k, "e/x", "below");
    check_text(f, &k, "l", "replaced");
    assert_int_equal(stat_of(f, &k, "e").st_mode, S_IFDIR | 0751);
    assert_int_equal(stat_of(f, &k, "m").st_mode, S_IFDIR | 0700);
}

static void implied_directories(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf low cb_cleanup_strbuf = CB_STRBUF_INIT, t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&low, &(struct sup_header){ .name = "tmp/", .type = '5', .mode = 01777, .mtime = 5000 });
    sup_head(&low, &(struct sup_header){ .name = "gone/", .type = '5', .mode = 01777, .mtime = 5000 });
    sup_end(&low);
    struct cb_strbuf mid cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_file(&mid, ".wh.gone", "");
    sup_end(&mid);
    sup_file(&t, "tmp/a/b/c", "x");
    sup_file(&t, "gone/a", "x");
    sup_file(&t, "z/y/../w", "");
    cb_strbuf_reset(&t);
    sup_file(&t, "tmp/a/b/c", "x");
    sup_file(&t, "gone/a", "x");
    sup_end(&t);
    struct take l = { 0 }, m = { 0 }, k = { 0 };
    ok(take_in(f, &low, &l));
    ok(take_in(f, &mid, &m));
    const struct cb_digest lower[] = { l.diff_id, m.diff_id };
    k.lower = lower;
    k.n_lower = 2;
    ok(take_in(f, &t, &k));
    assert_int_equal(stat_of(f, &k, "tmp").st_mode, S_IFDIR | 01777);
    assert_int_equal(stat_of(f, &k, "tmp").st_mtim.tv_sec, 5000);
    assert_int_equal(stat_of(f, &k, "tmp/a").st_mode, S_IFDIR | 0755);
    assert_int_equal(stat_of(f, &k, "tmp/a/b").st_mtim.tv_sec, 0);
    assert_int_equal(stat_of(f, &k, "gone").st_mode, S_IFDIR | 0755); /* a whiteout stands between */
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(cb_store_toc_get(f->s, &k.diff_id, &toc, &f->err));
    assert_null(cb_toc_find(toc, "tmp"));
}

static void hard_links_into_lower_layers(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf low cb_cleanup_strbuf = CB_STRBUF_INIT, t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&low, &(struct sup_header){ .name = "dir/file", .type = '0', .mode = 0640, .mtime = 7000, .size = 5 });
    sup_body(&low, "lower", 5);
    sup_end(&low);
    sup_add(&t, '1', "copy", "dir/file");
    sup_add(&t, '1', "again", "copy");
    sup_end(&t);
    struct take l = { 0 }, k = { 0 };
    fails(take_in(f, &t, &k), CB_EVERIFY);
    assert_non_null(strstr(f->err.msg, "dir/file"));
    ok(take_in(f, &low, &l));
    k.lower = &l.diff_id;
    k.n_lower = 1;
    ok(take_in(f, &t, &k));
    check_text(f, &k, "copy", "lower");
    assert_int_equal(stat_of(f, &k, "copy").st_mode, S_IFREG | 0640);
    assert_int_equal(stat_of(f, &k, "copy").st_mtim.tv_sec, 7000);
    assert_int_equal(stat_of(f, &k, "copy").st_ino, stat_of(f, &k, "again").st_ino);
}

static void hard_links_to_nodes_of_lower_layers(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf low cb_cleanup_strbuf = CB_STRBUF_INIT, t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&low, &(struct sup_header){ .name = "pipe", .type = '6', .mode = 0620, .mtime = 7000 });
    sup_head(&low, &(struct sup_header){ .name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3 });
    sup_end(&low);
    static const char *const v[][2] = { { "copy", "pipe" }, { "more", "pipe" }, { "nul2", "null" }, { "nul", "null" } };
    struct take l = { 0 }, k = { .n_lower = 1, .lower = &l.diff_id };
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        sup_add(&t, '1', v[i][0], v[i][1]);
    sup_end(&t);
    ok(take_in(f, &low, &l));
    ok(take_in(f, &t, &k));
    assert_true(stat_of(f, &k, "copy").st_mode == (S_IFIFO | 0620) && stat_of(f, &k, "more").st_nlink == 2);
    for (size_t i = 2; i < CB_COUNTOF(v) && S_ISCHR(stat_of(f, &l, "null").st_mode); i++)
        assert_int_equal(stat_of(f, &k, v[i][0]).st_rdev, makedev(1, 3));
}

/* ---- whiteouts ---- */

static void whiteouts_become_overlay_ones(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_file(&t, ".wh.top", "");
    sup_file(&t, "a/b/.wh.deep", "");
    sup_add(&t, '5', "opq/", NULL);
    sup_file(&t, "opq/before", "own");
    sup_file(&t, "opq/.wh..wh..opq", "");
    sup_file(&t, "opq/after", "own");
    sup_file(&t, "implied/.wh..wh..opq", "");
    sup_file(&t, ".wh.redone", "");
    sup_add(&t, '5', "redone/", NULL);
    sup_file(&t, ".wh.redone2", "");
    sup_file(&t, "redone2/x", "below");
    sup_add(&t, '5', "redone3/", NULL);
    sup_file(&t, ".wh.redone3", "");
    sup_file(&t, ".wh.file", "");
    sup_file(&t, "file", "own");
    sup_file(&t, "file2", "own");
    sup_file(&t, ".wh.file2", "");
    sup_file(&t, ".wh..wh.plnk", "");
    sup_end(&t);
    struct take k = { 0 };
    ok(take_in(f, &t, &k));
    assert_true(is_whiteout(f, &k, "top"));
    assert_true(is_whiteout(f, &k, "a/b/deep"));
    assert_true(is_opaque(f, &k, "opq"));
    check_text(f, &k, "opq/before", "own");
    check_text(f, &k, "opq/after", "own");
    assert_true(is_opaque(f, &k, "implied"));
    assert_true(is_opaque(f, &k, "redone"));
    assert_true(is_opaque(f, &k, "redone2"));
    check_text(f, &k, "redone2/x", "below");
    assert_true(is_opaque(f, &k, "redone3"));
    check_text(f, &k, "file", "own");
    check_text(f, &k, "file2", "own");
    assert_false(is_opaque(f, &k, "a"));
    assert_false(in_the_tree(f, &k, "opq/.wh..wh..opq"));
    assert_false(in_the_tree(f, &k, ".wh.top"));
    assert_false(in_the_tree(f, &k, ".wh..wh.plnk"));
}

/* What overlayfs makes of two trees, seen from a mount namespace of a child. 77: not possible here. */
static int look_through_overlay(struct fixture *f, const struct take *low, const struct take *high)
{
    cb_autofree char *mnt = cb_asprintf("%s/mnt", f->dir), *a = in_tree(f, high, ""), *b = in_tree(f, low, "");
    cb_autofree char *data = cb_asprintf("lowerdir=%s:%s", a, b);
    static const char *const there[] = { "kept", "opq/after", "redone/new", "d/b", "d/a" };
    static const char *const gone[] = { "top", "opq/old", "redone/old", "d/c" };
    struct stat st;
    if (mkdir(mnt, 0700) < 0 || unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("overlay", mnt, "overlay", MS_RDONLY, data) < 0)
        return 77;
    for (size_t i = 0; i < CB_COUNTOF(there); i++) {
        cb_autofree char *p = cb_asprintf("%s/%s", mnt, there[i]);
        if (lstat(p, &st) < 0)
            return 1 + (int)i;
    }
    for (size_t i = 0; i < CB_COUNTOF(gone); i++) {
        cb_autofree char *p = cb_asprintf("%s/%s", mnt, gone[i]);
        if (lstat(p, &st) == 0)
            return 20 + (int)i;
    }
    cb_autofree char *d = cb_asprintf("%s/d", mnt);
    return lstat(d, &st) == 0 && (st.st_mode & 07777) == 01777 ? 0 : 40;
}

static void overlayfs_sees_what_was_meant(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf low cb_cleanup_strbuf = CB_STRBUF_INIT, t cb_cleanup_strbuf = CB_STRBUF_INIT;
    static const char *const files[] = { "kept", "top", "opq/old", "redone/old", "d/a", "d/c" };
    sup_head(&low, &(struct sup_header){ .name = "d/", .type = '5', .mode = 01777 });
    for (size_t i = 0; i < CB_COUNTOF(files); i++)
        sup_file(&low, files[i], "lower");
    sup_end(&low);
    sup_file(&t, ".wh.top", "");
    sup_file(&t, "opq/.wh..wh..opq", "");
    sup_file(&t, "opq/after", "");
    sup_file(&t, ".wh.redone", "");
    sup_file(&t, "redone/new", "");
    sup_file(&t, "d/b", "");
    sup_file(&t, "d/.wh.c", "");
    sup_end(&t);
    struct take l = { 0 }, k = { 0 };
    ok(take_in(f, &low, &l));
    k.lower = &l.diff_id;
    k.n_lower = 1;
    ok(take_in(f, &t, &k));
    threads_end(f);
    pid_t pid = fork();
    if (pid == 0)
        _exit(look_through_overlay(f, &l, &k));
    int st = 0;
    waitpid(pid, &st, 0);
    if (WIFEXITED(st) && WEXITSTATUS(st) == 77) {
        print_message("skipped: overlayfs may not be mounted here\n");
        skip();
    }
    assert_int_equal(st, 0);
}

/* Layers below that are still on their way are waited for when, and only when, they are looked at. */
struct late {
    struct fixture *f;
    struct cb_strbuf *tar;
    int tables, trees, fail;
};

static int bring_lower(void *arg, bool trees, struct cb_error *err)
{
    struct late *l = arg;
    l->tables += !trees;
    l->trees += trees;
    if (l->fail)
        return cb_error_set(err, CB_ENET, "the lower layer does not come");
    struct take k = { 0 };
    ok_at(l->f, take_in(l->f, l->tar, &k), "lower", __FILE__, __LINE__);
    return 0;
}

static void lower_layers_are_asked_for_late(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf low cb_cleanup_strbuf = CB_STRBUF_INIT, plain cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&low, &(struct sup_header){ .name = "d/", .type = '5', .mode = 0711 });
    sup_file(&low, "d/file", "lower");
    sup_end(&low);
    sup_file(&plain, "own", "x");
    sup_end(&plain);
    sup_file(&t, "d/x", "x");
    sup_add(&t, '1', "copy", "d/file");
    sup_end(&t);
    struct cb_digest diff_id;
    cb_digest_of(&diff_id, low.buf, low.len);
    struct late late = { f, &low, 0, 0, 0 };
    struct cb_layer_intake o = { .store = f->s, .want_tree = true, .userxattr = true, .single_id = true };
    o.lower = &diff_id;
    o.n_lower = 1;
    o.need_lower = bring_lower;
    o.need_lower_arg = &late;
    struct take k = { .lower = &diff_id, .n_lower = 1 };
    o.source = sup_source(plain.buf, plain.len, 512);
    ok(cb_image_intake(&o, &k.diff_id, NULL, &f->err));
    assert_int_equal(late.tables + late.trees, 0);
    late.fail = 1;
    o.source = sup_source(t.buf, t.len, 512);
    assert_true(cb_image_intake(&o, &k.diff_id, NULL, &f->err) < 0);
    assert_int_equal(late.tables, 1);
    late = (struct late){ f, &low, 0, 0, 0 };
    o.source = sup_source(t.buf, t.len, 512);
    ok(cb_image_intake(&o, &k.diff_id, NULL, &f->err));
    assert_int_equal(late.tables, 1);
    assert_int_equal(late.trees, 1);
    check_text(f, &k, "copy", "lower");
    assert_int_equal(stat_of(f, &k, "d").st_mode, S_IFDIR | 0711);
}

static void overlay_attributes_cannot_be_smuggled(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "user.overlay.opaque",       "trusted.overlay.opaque", "user.overlay.redirect",
        "trusted.overlay.redirect",  "user.overlay.metacopy",  "user.overlay.whiteout",
        "trusted.overlay.whiteout",  "user.overlay.origin",    "user.containers.override_stat",
        "user.fuseoverlayfs.opaque", "trusted.evil",           "security.selinux",
        "system.posix_acl_access",
    };
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (int dir = 0; dir < 2; dir++) {
        struct cb_strbuf pax cb_cleanup_strbuf = CB_STRBUF_INIT;
        for (size_t i = 0; i < CB_COUNTOF(names); i++) {
            cb_autofree char *key = cb_asprintf("SCHILY.xattr.%s", names[i]);
            sup_record(&pax, key, "y");
        }
        sup_record(&pax, "SCHILY.xattr.user.fine", "value");
        sup_ext(&t, 'x', pax.buf, pax.len);
        sup_head(&t, &(struct sup_header){
                         .name = dir ? "dir/" : "file", .type = dir ? '5' : '0', .mode = dir ? 0555 : 0444 });
    }
    sup_end(&t);
    struct take k = { 0 };
    ok(take_in(f, &t, &k));
    for (int dir = 0; dir < 2; dir++) {
        cb_autofree char *p = in_tree(f, &k, dir ? "dir" : "file");
        char v[64] = "";
        for (size_t i = 0; i < CB_COUNTOF(names); i++)
            assert_true(lgetxattr(p, names[i], v, sizeof v) < 0);
        assert_int_equal(lgetxattr(p, "user.fine", v, sizeof v), 5);
    }
}

static void devices(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_head(&t, &(struct sup_header){ .name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3 });
    sup_head(&t, &(struct sup_header){ .name = "disk", .type = '4', .mode = 0600, .major = 259, .minor = 1048575 });
    sup_add(&t, '1', "null2", "null");
    sup_end(&t);
    struct take k = { 0 };
    ok(take_in(f, &t, &k));
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(cb_store_toc_get(f->s, &k.diff_id, &toc, &f->err));
    assert_int_equal(cb_toc_find(toc, "disk")->dev_major, 259);
    assert_int_equal(cb_toc_count(toc), 3);
    if (!in_the_tree(f, &k, "null")) {
        print_message("devices may not be made here: checked that they are only left out\n");
        assert_false(in_the_tree(f, &k, "null2"));
        return;
    }
    assert_int_equal(stat_of(f, &k, "null").st_rdev, makedev(1, 3));
    assert_int_equal(stat_of(f, &k, "null").st_mode, S_IFCHR | 0666);
    assert_int_equal(stat_of(f, &k, "disk").st_rdev, makedev(259, 1048575));
}

/* ---- hostile ones ---- */

static void check_refused(struct fixture *f, struct cb_strbuf *t, const char *what)
{
    struct cb_strbuf before cb_cleanup_strbuf = CB_STRBUF_INIT, after cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct take k = { 0 };
    sup_end(t);
    describe_outside(f, &before);
    int r = take_in(f, t, &k);
    describe_outside(f, &after);
    if (r != -CB_EVERIFY)
        print_error("%s: %d %s\n", what, r, cb_error_text(&f->err));
    assert_int_equal(r, -CB_EVERIFY);
    assert_string_equal(before.buf, after.buf);
    assert_int_equal(count_in(f, "trees"), 0);
    assert_int_equal(count_in(f, "toc/sha256"), 0);
    reopen(f);
    assert_int_equal(count_in(f, "tmp"), 0);
    cb_strbuf_reset(t);
}

static void names_that_lead_out_fail_the_layer(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = { "../x",   "a/../../x", "..",    "a/..",    "/../x", "./../x",
                                         "a/../x", ".wh...",    ".wh..", "a/.wh..", ".wh.",  "a/.wh..." };
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        sup_file(&t, names[i], "evil");
        check_refused(f, &t, names[i]);
    }
    cb_autofree char *longer = cb_malloc(5000);
    memset(longer, 'a', 4999);
    longer[4999] = '\0';
    sup_pax(&t, "path", longer);
    sup_file(&t, "x", "evil");
    check_refused(f, &t, "a name of 4999 bytes");
    longer[256] = '\0';
    sup_pax(&t, "path", longer);
    sup_file(&t, "x", "evil");
    check_refused(f, &t, "a component of 256 bytes");
    struct cb_strbuf deep cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (int i = 0; i < 1500; i++)
        cb_strbuf_adds(&deep, "d/");
    cb_strbuf_adds(&deep, "x");
    sup_pax(&t, "path", deep.buf);
    sup_file(&t, "x", "evil");
    check_refused(f, &t, "1500 directories");
}

static void hard_links_that_lead_nowhere_fail_the_layer(void **state)
{
    struct fixture *f = *state;
    cb_autofree char *canary = outside(f, "/file");
    const char *const targets[] = { "../outside/file", "..", "/etc/passwd", canary, "self", "later", "dir", "" };
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(targets); i++) {
        sup_add(&t, '5', "dir", NULL);
        sup_head(&t, &(struct sup_header){ .name = "self", .type = '1', .link = targets[i] });
        sup_file(&t, "later", "x");
        check_refused(f, &t, targets[i]);
    }
    sup_file(&t, "dir/file", "x");
    sup_add(&t, '2', "dir", "/");
    sup_file(&t, "file/below", "x");
    sup_file(&t, "file", "x");
    sup_file(&t, "file/below", "x");
    check_refused(f, &t, "below a file");
}

struct attack {
    const char *what;
    void (*fill)(struct cb_strbuf *t, const char *out);
};

static void through_absolute(struct cb_strbuf *t, const char *out)
{
    sup_add(t, '2', "a", out);
    sup_file(t, "a/escaped", "evil");
    sup_add(t, '5', "a/dir/", NULL);
    sup_head(t, &(struct sup_header){ .name = "a/dir/", .type = '5', .mode = 0777, .mtime = 5 });
    sup_file(t, "a/file", "evil");
}

static void through_dotdot(struct cb_strbuf *t, const char *out)
{
    (void)out;
    sup_add(t, '2', "b", "../../../../../../../../../../..");
    sup_add(t, '2', "c", "b/../..");
    sup_file(t, "b/escaped", "evil");
    sup_file(t, "c/escaped", "evil");
    sup_file(t, "b/x", "evil");
}

static void through_chain(struct cb_strbuf *t, const char *out)
{
    sup_add(t, '2', "one", "two");
    sup_add(t, '2', "two", "three/four");
    sup_add(t, '5', "three/", NULL);
    sup_add(t, '2', "three/four", out);
    sup_file(t, "one/escaped", "evil");
    sup_file(t, "one/dir/x", "evil");
}

static void dot_as_link(struct cb_strbuf *t, const char *out)
{
    sup_add(t, '2', "d/", out);
    sup_file(t, "d/./escaped", "evil");
}

static void directory_becomes_link(struct cb_strbuf *t, const char *out)
{
    /* A4: what is set at the end must not follow what has come in the place of the directory. */
    sup_head(t, &(struct sup_header){ .name = "d/", .type = '5', .mode = 0777, .uid = 99, .gid = 99, .mtime = 5 });
    sup_head(t, &(struct sup_header){ .name = "d/e/", .type = '5', .mode = 0777, .uid = 99, .gid = 99, .mtime = 5 });
    sup_add(t, '2', "d", out);
}

static void link_under_metadata(struct cb_strbuf *t, const char *out)
{
    cb_autofree char *file = cb_asprintf("%s/file", out);
    sup_head(t, &(struct sup_header){
                    .name = "l", .type = '2', .link = file, .mode = 0777, .uid = 99, .gid = 99, .mtime = 5 });
    sup_add(t, '1', "m", "l");
    sup_head(t, &(struct sup_header){ .name = "m", .type = '0', .mode = 04777, .uid = 99, .gid = 99, .mtime = 5 });
}

static void hard_link_through_link(struct cb_strbuf *t, const char *out)
{
    /* The target is resolved in the root; nothing is there. The file that is named is made in the root first. */
    cb_autofree char *inside = cb_asprintf("%s/file", out + 1);
    sup_file(t, inside, "mine");
    sup_add(t, '2', "a", out);
    sup_add(t, '1', "h", "a/file");
    sup_file(t, "h", "evil");
}

static void whiteouts_through_links(struct cb_strbuf *t, const char *out)
{
    sup_add(t, '2', "a", out);
    sup_file(t, "a/.wh.file", "");
    sup_file(t, "a/dir/.wh..wh..opq", "");
    sup_file(t, "a/.wh.dir", "");
}

static void device_through_link(struct cb_strbuf *t, const char *out)
{
    sup_add(t, '2', "a", out);
    sup_head(t, &(struct sup_header){ .name = "a/x", .type = '6' });
    sup_add(t, '2', "a/escaped", "/");
}

static void links_stay_inside(void **state)
{
    static const struct attack attacks[] = {
        { "absolute link", through_absolute },
        { "dotdot link", through_dotdot },
        { "chain of links", through_chain },
        { "dot", dot_as_link },
        { "directory becomes link", directory_becomes_link },
        { "metadata through a link", link_under_metadata },
        { "hard link through a link", hard_link_through_link },
        { "whiteouts through links", whiteouts_through_links },
        { "pipe through a link", device_through_link },
    };
    struct fixture *f = *state;
    cb_autofree char *out = outside(f, "");
    for (size_t i = 0; i < CB_COUNTOF(attacks); i++) {
        struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_strbuf before cb_cleanup_strbuf = CB_STRBUF_INIT, after cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct take k = { 0 };
        attacks[i].fill(&t, out);
        sup_end(&t);
        describe_outside(f, &before);
        int r = take_in(f, &t, &k);
        describe_outside(f, &after);
        if (r < 0)
            print_error("%s: %s\n", attacks[i].what, cb_error_text(&f->err));
        assert_int_equal(r, 0);
        assert_string_equal(before.buf, after.buf);
    }
    /* And the writing has gone where chroot would have sent it. */
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct take k = { 0 };
    through_absolute(&t, out);
    sup_end(&t);
    ok(take_in(f, &t, &k));
    check_link(f, &k, "a", out);
    cb_autofree char *inside = cb_asprintf("%s/escaped", out + 1);
    check_text(f, &k, inside, "evil");
}

static void endless_links_fail(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_add(&t, '2', "a", "b");
    sup_add(&t, '2', "b", "a");
    sup_file(&t, "a/x", "evil");
    check_refused(f, &t, "a link cycle");
}

static void wrong_promises_publish_nothing(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_file(&t, "a", "text");
    sup_end(&t);
    struct cb_digest other = digest_of("another");
    struct cb_layer_intake o = {
        .store = f->s, .diff_id = other, .want_tree = true, .userxattr = true, .single_id = true
    };
    o.source = sup_source(t.buf, t.len, 512);
    fails(cb_image_intake(&o, NULL, NULL, &f->err), CB_EVERIFY);
    o.diff_id = (struct cb_digest){ 0 };
    o.max_size = 3;
    o.source = sup_source(t.buf, t.len, 512);
    fails(cb_image_intake(&o, NULL, NULL, &f->err), CB_EVERIFY);
    o.max_size = 0;
    o.source = sup_source(t.buf, 515, 512);
    fails(cb_image_intake(&o, NULL, NULL, &f->err), CB_EVERIFY);
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cancel_trigger(c, 0);
    o.cancel = c;
    o.source = sup_source(t.buf, t.len, 512);
    fails(cb_image_intake(&o, NULL, NULL, &f->err), CB_ECANCELED);
    assert_int_equal(count_in(f, "trees"), 0);
    assert_int_equal(count_in(f, "toc/sha256"), 0);
}

static void count_bytes(void *arg, uint64_t n)
{
    uint64_t *last = arg;
    assert_true(n >= *last);
    *last = n;
}

static void large_layers_report_progress(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = 3u << 20;
    cb_autofree char *big = cb_calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)('a' + i % 23);
    sup_file(&t, "big", big);
    for (int i = 0; i < 500; i++) {
        char name[64];
        snprintf(name, sizeof name, "d%d/e%d/f%d", i % 7, i % 3, i);
        sup_file(&t, name, name);
    }
    sup_end(&t);
    uint64_t last = 0;
    struct cb_layer_intake o = { .store = f->s, .want_tree = true, .userxattr = true, .single_id = true };
    o.source = sup_source(t.buf, t.len, 1 << 16);
    o.on_progress = count_bytes;
    o.arg = &last;
    struct take k = { 0 };
    ok(cb_image_intake(&o, &k.diff_id, &k.size, &f->err));
    assert_int_equal(last, t.len);
    check_text(f, &k, "big", big);
    check_text(f, &k, "d3/e2/f17", "d3/e2/f17");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup_canary, teardown)
    const struct CMUnitTest tests[] = {
        T(everything_a_layer_can_hold),
        T(single_id_keeps_ownership_in_the_table),
        T(the_last_of_a_name_wins),
        T(implied_directories),
        T(hard_links_into_lower_layers),
        T(hard_links_to_nodes_of_lower_layers),
        T(whiteouts_become_overlay_ones),
        T(overlayfs_sees_what_was_meant),
        T(lower_layers_are_asked_for_late),
        T(overlay_attributes_cannot_be_smuggled), T(devices),
        T(names_that_lead_out_fail_the_layer), T(hard_links_that_lead_nowhere_fail_the_layer),
        T(links_stay_inside), T(endless_links_fail), T(wrong_promises_publish_nothing),
        T(large_layers_report_progress),
    };
    int failed = cmocka_run_group_tests_name("in this process", tests, NULL, NULL);
    cb_helpers_start(&(struct cb_helper_options){ 0 }); /* nothing that comes out may differ, errors included */
    failed += cmocka_run_group_tests_name("in helpers", tests, NULL, NULL);
    cb_helpers_stop();
    if (twin_refused)
        print_message("no images here: %s\n", twin_refused);
    else if (geteuid() == 0 && twin_images == 0)
        failed++;
    free(twin_refused);
    return failed;
}

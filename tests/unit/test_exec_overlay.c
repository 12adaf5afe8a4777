/* SPDX-License-Identifier: Apache-2.0 */
/* The three ways to mount an overlay give the same tree. */
#include "exec_fixture.h"

#include <pthread.h>

#include "util/mnt.h"
#include "exec/overlay.h"

enum { LAYERS = 40 };

struct tree {
    int dir, fds[LAYERS], bottom, upper, work, scratch;
    struct cb_overlay o;
};

static void tree_make(struct tree *t, const char *name)
{
    t->dir = make_dir(fx.base, name);
    t->bottom = make_dir(t->dir, "bottom");
    put_file(t->bottom, "bottom", "b", 0644);
    for (int i = 0; i < LAYERS; i++) {
        char layer[32];
        snprintf(layer, sizeof layer, "layer:,%d", i); /* what mount(2)'s option string could not name */
        t->fds[i] = make_dir(t->dir, layer);
        put_file(t->fds[i], "who", layer, 0644);
        put_file(t->fds[i], layer, "x", 0644);
    }
    t->upper = make_dir(t->dir, "upper");
    t->work = make_dir(t->dir, "work");
    t->scratch = make_dir(t->dir, "scratch");
    t->o = (struct cb_overlay){ .upper = t->upper, .work = t->work, .user_xattrs = fx.mode != CB_ID_REAL_ROOT };
    assert_int_equal(cb_overlay_set_lower(&t->o, t->fds, LAYERS, t->bottom, NULL), 0);
    assert_int_equal(t->o.n, LAYERS + 1);
}

static void tree_done(struct tree *t)
{
    cb_overlay_done(&t->o);
    for (int i = 0; i < LAYERS; i++)
        close(t->fds[i]);
    close(t->bottom);
    close(t->upper);
    close(t->work);
    close(t->scratch);
    close(t->dir);
}

static void check_merged(const struct tree *t, int merged)
{
    char buf[32] = "";
    assert_int_equal(count_entries(merged), LAYERS + 2);
    int fd = openat(merged, "who", O_RDWR | O_CLOEXEC);
    assert_true(read(fd, buf, sizeof buf - 1) > 0);
    assert_string_equal(buf, "layer:,39");
    close(fd);
    assert_int_equal(unlinkat(merged, "bottom", 0), 0);
    assert_int_equal(count_entries(t->upper), 2); /* opened for writing, and a whiteout */
    assert_int_equal(faccessat(merged, "bottom", F_OK, 0), -1);
}

static void by_the_new_ways(void **state)
{
    (void)state;
    need_sandbox();
    static const enum cb_overlay_how hows[] = { CB_OVERLAY_FDS, CB_OVERLAY_NAMES };
    for (size_t i = 0; i < CB_COUNTOF(hows); i++) {
        struct tree t;
        struct cb_error err = CB_ERROR_INIT;
        tree_make(&t, i ? "names" : "fds");
        int merged = cb_overlay_create(&t.o, hows[i], &err);
        if (merged == -ENOSYS) {
            print_message("this kernel has only mount(2)\n");
        } else {
            assert_true(merged >= 0);
            check_merged(&t, merged);
            close(merged);
        }
        cb_error_done(&err);
        tree_done(&t);
    }
}

static void *classic_thread(void *arg)
{
    struct tree *t = arg;
    static struct cb_error err;
    static int merged;
    merged = unshare(CLONE_FS | CLONE_NEWNS) < 0 || cb_mnt_private() < 0
                 ? -1
                 : cb_overlay_mount_classic(&t->o, t->scratch, &err);
    if (merged < 0)
        print_message("%s\n", cb_error_text(&err));
    cb_error_done(&err);
    return &merged;
}

static void by_the_classic_way(void **state)
{
    (void)state;
    need_sandbox();
    struct tree t;
    pthread_t thread;
    void *result = NULL;
    tree_make(&t, "classic");
    assert_int_equal(cb_overlay_create(&t.o, CB_OVERLAY_CLASSIC, NULL), -ENOSYS);
    assert_int_equal(pthread_create(&thread, NULL, classic_thread, &t), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    int merged = *(int *)result;
    assert_true(merged >= 0);
    check_merged(&t, merged);
    close(merged);
    tree_done(&t);
}

static void failures_say_why(void **state)
{
    (void)state;
    need_sandbox();
    struct tree t;
    struct cb_error err = CB_ERROR_INIT;
    tree_make(&t, "broken");
    t.o.work = t.upper; /* upper and work may not be the same */
    assert_int_equal(cb_overlay_create(&t.o, CB_OVERLAY_FDS, &err), -CB_ELOCAL);
    assert_true(cb_starts_with(err.msg, "mount overlayfs"));
    cb_error_done(&err);
    tree_done(&t);
}

static void what_is_no_layer(void **state)
{
    (void)state;
    struct cb_overlay o = { 0 };
    struct cb_error err = CB_ERROR_INIT;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC), bad = -1;
    assert_int_equal(cb_overlay_set_lower(&o, &file, 1, fx.lower, &err), -CB_ELOCAL);
    cb_overlay_done(&o);
    assert_int_equal(cb_overlay_set_lower(&o, &bad, 1, fx.lower, &err), -CB_ELOCAL);
    cb_overlay_done(&o);
    close(file);
    cb_error_done(&err);
}

static void too_many_layers(void **state)
{
    (void)state;
    enum { N = 600 };
    struct cb_overlay o = { 0 };
    struct cb_error err = CB_ERROR_INIT;
    int *fds = cb_calloc(N, sizeof *fds);
    char name[16];
    int dir = make_dir(fx.base, "many");
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "%d", i);
        fds[i] = make_dir(dir, name);
    }
    assert_int_equal(cb_overlay_set_lower(&o, fds, N, fx.lower, &err), -CB_ELOCAL);
    assert_non_null(strstr(err.msg, "600 layers"));
    cb_overlay_done(&o);
    cb_error_done(&err);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    free(fds);
    close(dir);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_the_new_ways), cmocka_unit_test(by_the_classic_way), cmocka_unit_test(failures_say_why),
        cmocka_unit_test(what_is_no_layer), cmocka_unit_test(too_many_layers),
    };
    return cmocka_run_group_tests_name("exec overlay", tests, NULL, NULL);
}

int main(void)
{
    cb_fd_raise_limit();
    return run_groups(group);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that a step runs on before the digests of their layers are known. */
#include "build_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "build/slot_private.h"

/* Where the kernel mounts no images nothing is early. */
static struct cb_slots *early_slots(struct build_fixture *b)
{
    const char *why = cb_store_images_refused(b->f.s);
    if (why) {
        print_message("no layer can be early here: %s\n", why);
        skip();
    }
    struct cb_slots *t = cb_slots_new(&b->env);
    cb_slots_may_be_early(t, CB_EARLY_AS_FITS, b->cancel);
    return t;
}

static int early_setup(void **state)
{
    if (build_setup(state) != 0)
        return -1;
    struct build_fixture *b = *state;
    const struct cb_store_options o = { .root = b->f.root, .images = CB_STORE_IMAGES_ALL };
    cb_store_close(CB_TAKE(b->f.s));
    if (cb_store_open(&o, &b->f.s, NULL) < 0)
        return -1;
    b->env.store = b->f.s;
    return 0;
}

static struct cb_slot *parent_as(struct cb_slots *t, const struct made_layer *m, const struct cb_digest *diff_id)
{
    struct cb_descriptor d = layer_desc(m);
    return cb_slots_parent(t, diff_id, &(struct cb_slot_parent){ .desc = &d });
}

static void make_two(struct build_fixture *b, struct cb_slots *t, struct made_layer m[2], struct cb_slot *v[2])
{
    static const char *const names[] = { "a", "b" };
    for (int i = 0; i < 2; i++) {
        m[i] = build_layer(b, names[i], names[i], CB_COMPRESSION_GZIP);
        v[i] = parent_as(t, &m[i], &m[i].layer.diff_id);
    }
}

static void assert_file(struct cb_slot *s, const char *name, off_t size)
{
    struct stat st;
    cb_autoclose int fd = -1;
    assert_int_equal(cb_slot_tree(&s, 0, &fd, NULL), 0);
    assert_int_equal(fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_size, size);
}

static size_t entries_in(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Below tmp/ each process has a directory of its own. */
static size_t left_in_tmp(const struct fixture *f)
{
    cb_autofree char *tmp = cb_asprintf("%s/tmp", f->root);
    DIR *d = opendir(tmp);
    size_t n = 0;
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        cb_autofree char *of_process = cb_asprintf("%s/%s", tmp, e->d_name);
        if (e->d_name[0] != '.')
            n += entries_in(of_process);
    }
    closedir(d);
    return n;
}

static void test_is_used_before_it_is_known(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m = build_layer(b, "a", "text", CB_COMPRESSION_GZIP);
    struct cb_slot *s = parent_as(t, &m, &m.layer.diff_id);
    struct cb_layer known cb_cleanup_layer = { 0 };
    const struct cb_stack_entry *hit = NULL;
    int fd = -1;
    cb_slot_expect(s, CB_NEED_TREE);
    ok(cb_slots_need(t, &s, 1, CB_NEED_SKETCH, NULL, &f->err));
    assert_false(cb_slots_are_settled(&s, 1));
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    assert_file(s, "a", 4);
    {
        CB_AUTO(cb_lookup_free) struct cb_lookup *l = cb_slots_lookup(&s, 1);
        struct cb_finder finder = cb_lookup_finder(l);
        ok(finder.find(finder.arg, "a", &hit, &f->err));
        assert_int_equal(hit->e->size, 4);
    }
    /* Nobody else learns of it. */
    assert_false(cb_slots_are_settled(&s, 1));
    assert_null(cb_slot_toc(s));
    fails(cb_store_tree_open(f->s, ALONE(&m.layer.diff_id), &fd, NULL), CB_ENOTFOUND);
    fails(cb_store_layer_get(f->s, &m.layer.diff_id, &known, NULL), CB_ENOTFOUND);
    ok(cb_slots_settle_all(t, &f->err));
    assert_true(cb_slots_are_settled(&s, 1));
    assert_true(cb_sum_eq(&cb_toc_find(cb_slot_toc(s), "a")->digest, &cb_toc_find(m.toc, "a")->digest));
    ok(cb_store_tree_open(f->s, ALONE(&m.layer.diff_id), &fd, &f->err));
    /* A mount that was kept may go: who has it goes on, and the next one makes its own. */
    cb_store_drop_mounts(f->s);
    assert_int_equal(faccessat(fd, "a", R_OK, 0), 0);
    cb_close_p(&fd);
    ok(cb_store_tree_open(f->s, ALONE(&m.layer.diff_id), &fd, &f->err));
    assert_int_equal(faccessat(fd, "a", R_OK, 0), 0);
    cb_close_p(&fd);
    ok(cb_store_layer_get(f->s, &m.layer.diff_id, &known, &f->err));
    assert_file(s, "a", 4);
    assert_int_equal(left_in_tmp(f), 0);
    made_layer_done(&m);
}

/* Whoever needs more than that waits, whoever began. */
static void *need_all(void *arg)
{
    struct cb_slot *s = arg;
    const unsigned needs = CB_NEED_TOC | CB_NEED_TREE | CB_NEED_BLOB | CB_NEED_LOOKUP;
    return (void *)(intptr_t)cb_slots_need(s->owner, &s, 1, needs, NULL, NULL);
}

static void test_whole_tables_are_waited_for(void **state)
{
    struct build_fixture *b = *state;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m = build_layer(b, "a", "text", CB_COMPRESSION_ZSTD);
    struct cb_slot *s = parent_as(t, &m, &m.layer.diff_id);
    pthread_t thread[6];
    for (size_t i = 0; i < CB_COUNTOF(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, need_all, s), 0);
    for (size_t i = 0; i < CB_COUNTOF(thread); i++) {
        void *r = NULL;
        pthread_join(thread[i], &r);
        assert_int_equal((intptr_t)r, 0);
    }
    assert_non_null(cb_slot_toc(s));
    assert_true(cb_slots_are_settled(&s, 1));
    made_layer_done(&m);
}

static void await_two(struct cb_slot *const *v, struct made_layer *m)
{
    cb_slots_await_settled(v, 2);
    for (int i = 0; i < 2; i++) {
        assert_non_null(cb_slot_toc(v[i]));
        made_layer_done(&m[i]);
    }
}

/* Who waits without hurry is not left waiting once a step has run, for whatever is fetched then. */
static void test_is_settled_beside_steps(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m[2];
    struct cb_slot *v[2];
    make_two(b, t, m, v);
    ok(cb_slots_need(t, &v[0], 1, CB_NEED_TREE, NULL, &f->err));
    cb_slots_begin_to_settle(t);
    ok(cb_slots_need(t, &v[1], 1, CB_NEED_TREE, NULL, &f->err));
    await_two(v, m);
}

/* However many steps run, and whether or not they end. */
static void test_steps_do_not_hold_it_up(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m[2];
    struct cb_slot *v[2];
    make_two(b, t, m, v);
    cb_slots_begin_to_settle(t);
    for (int i = 0; i < 100; i++)
        cb_slots_step_runs(t, true);
    ok(cb_slots_need(t, v, 2, CB_NEED_TREE, NULL, &f->err));
    for (int i = 0; i < 98; i++)
        cb_slots_step_runs(t, false);
    await_two(v, m);
}

/* What would not stay in memory is hashed in the pass that reads it. */
static void test_only_so_much_is_early(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m[2];
    struct cb_slot *v[2];
    make_two(b, t, m, v);
    cb_slots_may_be_early(t, m[0].layer.encodings[0].size + 10, b->cancel);
    for (int i = 0; i < 2; i++) {
        ok(cb_slots_need(t, &v[i], 1, CB_NEED_TREE, NULL, &f->err));
        assert_int_equal(cb_slots_are_settled(&v[i], 1), i == 1);
        made_layer_done(&m[i]);
    }
    assert_non_null(cb_slot_toc(v[1]));
}

static void test_another_diff_id(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m = build_layer(b, "a", "text", CB_COMPRESSION_GZIP);
    struct cb_digest promised = digest_of("another");
    struct cb_slot *s = parent_as(t, &m, &promised);
    struct cb_layer known cb_cleanup_layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    int fd = -1;
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    assert_file(s, "a", 4);
    cb_slots_begin_to_settle(t);
    cb_slots_await_settled(&s, 1);
    /* Everybody is told, now and later, and nothing has that name. */
    for (int i = 0; i < 2; i++) {
        fails(cb_slots_settle_all(t, &f->err), CB_EVERIFY);
        assert_non_null(strstr(cb_error_text(&f->err), "as promised"));
        assert_true(cb_starts_with(cb_error_text(&f->err), "layer sha256:"));
    }
    fails(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err), CB_EVERIFY);
    fails(cb_slots_need(t, &s, 1, CB_NEED_TOC, NULL, &f->err), CB_EVERIFY);
    fails(cb_slot_tree(&s, 0, &fd, &f->err), CB_EVERIFY);
    fails(cb_store_tree_open(f->s, ALONE(&promised), &fd, NULL), CB_ENOTFOUND);
    fails(cb_store_toc_get(f->s, &promised, &toc, NULL), CB_ENOTFOUND);
    fails(cb_store_layer_get(f->s, &promised, &known, NULL), CB_ENOTFOUND);
    assert_int_equal(left_in_tmp(f), 0);
    made_layer_done(&m);
}

/* So much that no time at all is too little. */
static void test_takes_its_time(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    const size_t size = 64 << 20;
    cb_autofree char *text = cb_malloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    struct made_layer m = build_layer(b, "a", text, CB_COMPRESSION_ZSTD);
    struct cb_slot *s = parent_as(t, &m, &m.layer.diff_id);
    assert_true(cb_slots_settle_within(t, 0)); /* nothing is early yet */
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    assert_false(cb_slots_settle_within(t, 0));
    assert_true(cb_slots_settle_within(t, 60000));
    assert_true(cb_slots_are_settled(&s, 1));
    assert_non_null(cb_slot_toc(s));
    made_layer_done(&m);
}

static void test_cancelled(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = early_slots(b);
    struct made_layer m = build_layer(b, "a", "text", CB_COMPRESSION_GZIP);
    struct cb_slot *s = parent_as(t, &m, &m.layer.diff_id);
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    cb_cancel_trigger(b->cancel, 0);
    fails(cb_slots_settle_all(t, &f->err), CB_ECANCELED);
    made_layer_done(&m);
}

/* Nobody waits for it, and nothing of it stays. */
static void test_is_given_up(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    struct cb_slots *t = early_slots(b);
    struct made_layer m = build_layer(b, "a", "text", CB_COMPRESSION_GZIP);
    struct cb_slot *s = parent_as(t, &m, &m.layer.diff_id);
    int fd = -1;
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    cb_slots_free(t);
    fails(cb_store_tree_open(f->s, ALONE(&m.layer.diff_id), &fd, NULL), CB_ENOTFOUND);
    assert_int_equal(left_in_tmp(f), 0);
    made_layer_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_is_used_before_it_is_known, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_whole_tables_are_waited_for, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_is_settled_beside_steps, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_steps_do_not_hold_it_up, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_only_so_much_is_early, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_another_diff_id, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_takes_its_time, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, early_setup, build_teardown),
        cmocka_unit_test_setup_teardown(test_is_given_up, early_setup, build_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

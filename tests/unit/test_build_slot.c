/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that a build works with: waiting for those in the making, bringing what is missing, other encodings. */
#include "build_fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "build/key.h"
#include "build/slot_private.h"

static struct cb_slot *parent_of(struct cb_slots *t, const struct made_layer *m)
{
    struct cb_descriptor d = layer_desc(m);
    return cb_slots_parent(t, &m->layer.diff_id, &(struct cb_slot_parent){ .desc = &d });
}

static struct cb_slot *pending(struct build_fixture *b, struct cb_slots *t)
{
    struct fixture *f = &b->f;
    struct cb_slot *s = NULL;
    cb_autoclose int fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok(cb_slots_pending(t, fd, &s, &f->err));
    return s;
}

/* ---- in the making ---- */

struct ready {
    unsigned calls;
    struct cb_slot *slot;
};

static void on_ready(void *arg, struct cb_slot *s)
{
    struct ready *r = arg;
    r->calls++;
    r->slot = s;
}

static void test_completing(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "1", CB_COMPRESSION_GZIP);
    struct cb_slot *s = pending(b, t);
    struct ready early = { 0 }, late = { 0 };
    bool empty = true;
    int fd = -1;
    assert_true(cb_slot_is_pending(s));
    cb_slot_on_ready(s, on_ready, &early);
    assert_int_equal(early.calls, 0);
    /* Its tree is there from the beginning. */
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    ok(cb_slot_tree(&s, 0, &fd, &f->err));
    cb_close_p(&fd);
    cb_slot_complete(s, &m.layer, m.toc, NULL);
    assert_int_equal(early.calls, 1);
    assert_ptr_equal(early.slot, s);
    assert_false(cb_slot_is_pending(s));
    cb_slot_on_ready(s, on_ready, &late);
    assert_int_equal(late.calls, 1);
    ok(cb_slot_wait(s, &empty, &f->err));
    assert_false(empty);
    assert_true(cb_digest_eq(cb_slot_diff_id(s), &m.layer.diff_id));
    assert_ptr_equal(cb_slot_toc(s), m.toc);
    made_layer_done(&m);
}

static void test_empty_and_failed(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct cb_slot *v[] = { pending(b, t), pending(b, t) };
    struct ready of_empty = { 0 }, of_failed = { 0 };
    struct cb_error e = CB_ERROR_INIT;
    struct cb_digest d;
    bool empty = false;
    cb_slot_on_ready(v[0], on_ready, &of_empty);
    cb_slot_on_ready(v[1], on_ready, &of_failed);
    cb_slot_complete(v[0], NULL, NULL, NULL);
    cb_error_set(&e, CB_ELOCAL, "no room");
    cb_slot_complete(v[1], NULL, NULL, &e);
    cb_error_done(&e);
    ok(cb_slot_wait(v[0], &empty, &f->err));
    assert_true(empty);
    assert_int_equal(of_empty.calls, 1);
    assert_false(cb_slot_content(v[0], &d));
    ok(cb_slots_need(t, v, 1, CB_NEED_TOC | CB_NEED_BLOB, NULL, &f->err));
    /* The failure reaches everybody who waits, now and later. */
    assert_int_equal(of_failed.calls, 0);
    for (int i = 0; i < 2; i++) {
        fails(cb_slot_wait(v[1], NULL, &f->err), CB_ELOCAL);
        assert_string_equal(cb_error_text(&f->err), "no room");
    }
    fails(cb_slots_need(t, v, 2, CB_NEED_TOC, NULL, &f->err), CB_ELOCAL);
    fails(cb_slots_need(t, v, 2, CB_NEED_TOC, NULL, NULL), CB_ELOCAL);
    cb_slot_on_ready(v[1], on_ready, &of_failed);
    assert_int_equal(of_failed.calls, 0);
}

#define N 6
struct sealer {
    struct build_fixture *b;
    struct cb_slots *t;
    struct cb_slot *pending[N], *parents[N];
    struct made_layer made[N];
    int r;
};

/* What makes the layers needs the fetchers itself. */
static void *seal_all(void *arg)
{
    struct sealer *x = arg;
    usleep(30000); /* until somebody waits for all of them */
    x->r = cb_slots_need(x->t, x->parents, N, CB_NEED_TOC, NULL, NULL);
    for (int i = 0; i < N; i++)
        cb_slot_complete(x->pending[i], &x->made[i].layer, x->made[i].toc, NULL);
    return NULL;
}

static void test_waiters_do_not_stop_the_makers(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct sealer x = { .b = b, .t = t };
    struct made_layer parents[N];
    pthread_t thread;
    for (int i = 0; i < N; i++) {
        cb_autofree char *text = cb_asprintf("%d", i);
        x.pending[i] = pending(b, t);
        x.made[i] = build_layer(b, "own", text, CB_COMPRESSION_GZIP);
        parents[i] = build_layer(b, "parent", text, CB_COMPRESSION_GZIP);
        x.parents[i] = parent_of(t, &parents[i]);
    }
    assert_int_equal(pthread_create(&thread, NULL, seal_all, &x), 0);
    ok(cb_slots_need(t, x.pending, N, CB_NEED_TOC | CB_NEED_BLOB, NULL, &f->err));
    pthread_join(thread, NULL);
    assert_int_equal(x.r, 0);
    for (int i = 0; i < N; i++) {
        assert_non_null(cb_slot_toc(x.pending[i]));
        assert_non_null(cb_slot_toc(x.parents[i]));
        made_layer_done(&x.made[i]);
        made_layer_done(&parents[i]);
    }
}

/* ---- bringing ---- */

struct bringer {
    struct cb_slots *t;
    struct cb_slot **v;
    size_t n;
    int r;
};

static void *bring(void *arg)
{
    struct bringer *x = arg;
    x->r = cb_slots_need(x->t, x->v, x->n, CB_NEED_TOC | CB_NEED_TREE | CB_NEED_BLOB, NULL, NULL);
    return NULL;
}

static void test_many_ask_for_the_same(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m[] = { build_layer(b, "a", "aaa", CB_COMPRESSION_GZIP),
                              build_layer(b, "b", "bbb", CB_COMPRESSION_ZSTD) };
    struct cb_slot *v[] = { parent_of(t, &m[0]), parent_of(t, &m[1]) };
    struct bringer x[8];
    pthread_t thread[8];
    for (int i = 0; i < 8; i++) {
        x[i] = (struct bringer){ t, v, 2, 1 };
        assert_int_equal(pthread_create(&thread[i], NULL, bring, &x[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(x[i].r, 0);
    }
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        cb_autoclose int fd = -1;
        ok(cb_slot_tree(v, i, &fd, &f->err));
        assert_int_equal(fstatat(fd, i ? "b" : "a", &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_size, 3);
        struct cb_layer l cb_cleanup_layer = { 0 };
        cb_slot_layer(v[i], &l);
        assert_true(l.size >= 1024 && l.size != UINT64_MAX);
        made_layer_done(&m[i]);
    }
}

/* ---- layers that take directories from those below them ---- */

static mode_t mode_in(struct cb_slot *const *v, size_t i, const char *path)
{
    struct stat st;
    cb_autoclose int fd = -1;
    assert_int_equal(cb_slot_tree(v, i, &fd, NULL), 0);
    assert_int_equal(fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

/* A layer of one directory, which it lists. */
static struct made_layer build_dir(struct build_fixture *b, const char *path, uint32_t mode)
{
    struct fixture *f = &b->f;
    struct made_layer m = { 0 };
    cb_autosink struct cb_blob_sink *sink = NULL;
    ok(cb_store_blob_sink(f->s, &sink, &f->err));
    struct cb_layer_write_options wo = { .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT }, .clamp_mtime = INT64_MAX,
                                         .sink = sink };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, &f->err);
    assert_non_null(w);
    ok(cb_layer_writer_add(w, &(struct cb_entry){ .path = path, .type = CB_ENTRY_DIR, .mode = mode }, NULL, &f->err));
    ok(cb_layer_writer_finish(w, &m.layer, &m.toc, &f->err));
    return m;
}

static void test_a_tree_for_each_chain(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    struct made_layer m[] = { build_dir(b, "d", 0700), build_dir(b, "d", 0711),
                              build_layer(b, "d/x", "x", CB_COMPRESSION_GZIP) };
    for (int round = 0; round < 2; round++) { /* the second finds all in the store */
        CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
        struct cb_slot *v[] = { parent_of(t, &m[0]), parent_of(t, &m[1]), parent_of(t, &m[2]) };
        struct cb_slot *on_first[] = { v[0], v[2] }, *on_second[] = { v[1], v[2] };
        ok(cb_slots_need(t, on_first, 2, CB_NEED_TREE, NULL, &f->err));
        assert_int_equal(mode_in(on_first, 1, "d"), 0700);
        ok(cb_slots_need(t, on_second, 2, CB_NEED_TREE, NULL, &f->err));
        ok(cb_slots_need(t, &v[2], 1, CB_NEED_TREE, NULL, &f->err));
        ok(cb_slots_need(t, v, 3, CB_NEED_TREE, NULL, &f->err));
        assert_int_equal(mode_in(on_first, 1, "d"), 0700);
        assert_int_equal(mode_in(on_second, 1, "d"), 0711);
        assert_int_equal(mode_in(&v[2], 0, "d"), 0755);
        assert_int_equal(mode_in(v, 2, "d"), 0711);
    }
    for (size_t i = 0; i < 3; i++)
        made_layer_done(&m[i]);
}

/* The same layers in every order, all of which take from each other: nobody waits for ever, and each has its own. */
static void test_chains_in_every_order(void **state)
{
    static const unsigned char orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 },
                                               { 0, 2, 1 }, { 2, 0, 1 }, { 1, 0, 2 } };
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    cb_autoclose int store = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct made_layer m[3];
    for (unsigned i = 0; i < 3; i++)
        m[i] = build_layer(b, i == 0 ? "d/a" : i == 1 ? "d/b" : "d/c", "x", CB_COMPRESSION_GZIP);
    for (int round = 0; round < 10; round++) {
        CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
        struct cb_slot *v[CB_COUNTOF(orders)][3];
        struct bringer x[CB_COUNTOF(orders)];
        pthread_t thread[CB_COUNTOF(orders)];
        for (size_t i = 0; i < CB_COUNTOF(orders); i++) {
            for (size_t k = 0; k < 3; k++)
                v[i][k] = parent_of(t, &m[orders[i][k]]);
            x[i] = (struct bringer){ t, v[i], 3, 1 };
            assert_int_equal(pthread_create(&thread[i], NULL, bring, &x[i]), 0);
        }
        for (size_t i = 0; i < CB_COUNTOF(orders); i++) {
            pthread_join(thread[i], NULL);
            assert_int_equal(x[i].r, 0);
        }
        for (size_t i = 0; i < CB_COUNTOF(orders); i++)
            for (size_t k = 0; k < 3; k++)
                assert_int_equal(mode_in(v[i], k, "d"), 0755);
        ok(cb_fs_remove_tree(store, "trees", &f->err));
        assert_int_equal(mkdirat(store, "trees", 0700), 0);
    }
    for (size_t i = 0; i < 3; i++)
        made_layer_done(&m[i]);
}

/* What such a step leaves may not be known yet. */
static void test_none_on_a_step_of_this_build(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m[] = { build_layer(b, "d/x", "x", CB_COMPRESSION_GZIP),
                              build_layer(b, "x", "x", CB_COMPRESSION_GZIP) };
    struct cb_slot *step = pending(b, t);
    struct cb_slot *takes[] = { step, parent_of(t, &m[0]) }, *alone[] = { step, parent_of(t, &m[1]) };
    ok(cb_slots_need(t, alone, 2, CB_NEED_TREE, NULL, &f->err));
    fails(cb_slots_need(t, takes, 2, CB_NEED_TREE, NULL, &f->err), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), "to the layers below it, which are steps of this build"));
    cb_slot_complete(step, NULL, NULL, NULL);
    for (size_t i = 0; i < 2; i++)
        made_layer_done(&m[i]);
}

static void test_what_is_nowhere(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct cb_digest id = digest_of("diff id"), blob = digest_of("blob");
    struct cb_descriptor d = { .media_type = (char *)(uintptr_t) "application/vnd.oci.image.layer.v1.tar+gzip",
                               .digest = blob, .size = 5 };
    struct cb_slot *s = NULL;
    fails(cb_slots_stored(t, &id, &s, &f->err), CB_ENOTFOUND);
    fails(cb_slots_stored(t, &id, &s, NULL), CB_ENOTFOUND);
    struct cb_layer row = { .diff_id = id, .size = 9 };
    cb_layer_add_encoding(&row, &(struct cb_layer_encoding){ .digest = blob, .size = 5 });
    ok(cb_store_layer_put(f->s, &row, &f->err));
    cb_layer_done(&row);
    fails(cb_slots_stored(t, &id, &s, &f->err), CB_ENOTFOUND);
    assert_string_equal(cb_error_text(&f->err), "the bytes of a recorded layer are gone");
    s = cb_slots_parent(t, &id, &(struct cb_slot_parent){ .desc = &d });
    fails(cb_slots_need(t, &s, 1, CB_NEED_TOC, NULL, &f->err), CB_ENOTFOUND);
    assert_true(cb_starts_with(cb_error_text(&f->err), "layer sha256:"));
    /* It may be asked again. */
    fails(cb_slots_need(t, &s, 1, CB_NEED_BLOB, NULL, &f->err), CB_ENOTFOUND);
}

static void test_damaged(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "1", CB_COMPRESSION_GZIP);
    struct cb_descriptor d = layer_desc(&m);
    struct cb_digest other = digest_of("another");
    struct cb_slot *s = cb_slots_parent(t, &other, &(struct cb_slot_parent){ .desc = &d });
    fails(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err), CB_EVERIFY);
    int fd = -1;
    fails(cb_store_tree_open(f->s, ALONE(&other), &fd, NULL), CB_ENOTFOUND);
    made_layer_done(&m);
}

static void test_cancelled(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "1", CB_COMPRESSION_GZIP);
    struct cb_slot *s = parent_of(t, &m);
    cb_cancel_trigger(b->cancel, 0);
    fails(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err), CB_ECANCELED);
    made_layer_done(&m);
}

/* ---- what this build wrote ---- */

static void add_to(struct cb_layer_writer *w, struct fixture *f, const struct cb_entry *e, const char *text)
{
    cb_autosource struct cb_blob_source *data = text ? cb_blob_source_from_mem(text, strlen(text)) : NULL;
    ok(cb_layer_writer_add(w, e, data, &f->err));
}

/* Of all kinds; the link's name comes before that of its file in the table. */
static struct made_layer written_layer(struct fixture *f, struct cb_strbuf *tar, size_t tar_max)
{
    static const struct cb_entry v[] = {
        { .path = "d", .type = CB_ENTRY_DIR, .mode = 01750, .mtime = 5 },
        { .path = "d/z", .type = CB_ENTRY_FILE, .mode = 04711, .size = 5, .mtime = 6 },
        { .path = "d/a", .type = CB_ENTRY_HARDLINK, .link = "d/z" },
        { .path = "d/empty", .type = CB_ENTRY_FILE, .mode = 0600 },
        { .path = "s", .type = CB_ENTRY_SYMLINK, .mode = 0777, .link = "d/z" },
        { .path = "gone", .type = CB_ENTRY_WHITEOUT },
    };
    static const char *const texts[] = { NULL, "hello", NULL, "", NULL, NULL };
    struct made_layer m = { 0 };
    struct cb_layer_write_options wo = { .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT },
                                         .clamp_mtime = INT64_MAX, .tar = tar, .tar_max = tar_max };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, &f->err);
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        add_to(w, f, &v[i], texts[i]);
    ok(cb_layer_writer_finish(w, &m.layer, &m.toc, &f->err));
    return m;
}

static void stat_in(struct fixture *f, struct cb_slot *s, const char *path, struct stat *st)
{
    cb_autoclose int fd = -1;
    ok(cb_slot_tree(&s, 0, &fd, &f->err));
    assert_int_equal(fstatat(fd, path, st, AT_SYMLINK_NOFOLLOW), 0);
}

/* No blob of it is anywhere: nothing but its tar can have made the tree. */
static void test_a_tree_of_what_was_written(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct cb_strbuf tar cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct made_layer m = written_layer(f, &tar, CB_SLOT_TAR_MAX);
    struct stat z, a, st;
    assert_int_equal(tar.len, m.layer.size);
    struct cb_slot *s = cb_slots_made(t, &m.layer, m.toc);
    fails(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err), CB_ENOTFOUND);
    cb_slot_keep_tar(s, &tar);
    assert_int_equal(tar.len, 0);
    assert_int_equal(t->tars, m.layer.size);
    ok(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err));
    assert_int_equal(t->tars, 0); /* room for another */
    stat_in(f, s, "d/z", &z);
    stat_in(f, s, "d/a", &a);
    assert_int_equal(z.st_ino, a.st_ino);
    assert_int_equal(z.st_size, 5);
    assert_int_equal(z.st_mode, S_IFREG | 04711);
    assert_int_equal(z.st_mtime, 6);
    stat_in(f, s, "d", &st);
    assert_int_equal(st.st_mode, S_IFDIR | 01750);
    assert_int_equal(st.st_mtime, 5);
    stat_in(f, s, "d/empty", &st);
    assert_int_equal(st.st_size, 0);
    stat_in(f, s, "s", &st);
    assert_true(S_ISLNK(st.st_mode));
    stat_in(f, s, "gone", &st);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    made_layer_done(&m);
}

static void test_only_small_ones_are_kept(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct cb_strbuf tar cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct made_layer m = written_layer(f, &tar, 2048);
    assert_int_equal(tar.len, 0);
    struct cb_slot *s = cb_slots_made(t, &m.layer, m.toc);
    /* … and not more than so many. */
    t->tars = 4 << 20;
    cb_strbuf_adds(&tar, "tar");
    cb_slot_keep_tar(s, &tar);
    assert_int_equal(tar.len, 3);
    fails(cb_slots_need(t, &s, 1, CB_NEED_TREE, NULL, &f->err), CB_ENOTFOUND);
    made_layer_done(&m);
}

/* Else a COPY would wait for the tree that a RUN beside it needs. */
static void test_what_is_there_is_not_waited_for(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "1", CB_COMPRESSION_GZIP);
    struct cb_slot *s = cb_slots_made(t, &m.layer, m.toc);
    s->busy = true;
    alarm(60); /* it would be for ever */
    ok(cb_slots_need(t, &s, 1, CB_NEED_TOC | CB_NEED_LOOKUP | CB_NEED_BLOB, NULL, &f->err));
    alarm(0);
    s->busy = false;
    made_layer_done(&m);
}

/* ---- encodings ---- */

static void test_another_encoding(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "some text", CB_COMPRESSION_GZIP);
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 }, z cb_cleanup_layer_encoding = { 0 };
    struct cb_slot *s = cb_slots_made(t, &m.layer, m.toc);
    assert_true(cb_slot_encoding_known(s, &(struct cb_format){ CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT }, &e));
    assert_true(cb_digest_eq(&e.digest, &m.layer.encodings[0].digest));
    assert_false(cb_slot_encoding_known(s, &(struct cb_format){ CB_COMPRESSION_ZSTD, CB_LEVEL_DEFAULT }, &z));
    assert_false(cb_slot_encoding_known(s, &(struct cb_format){ CB_COMPRESSION_GZIP, 1 }, &z));
    ok(cb_slot_encoding(s, &(struct cb_format){ CB_COMPRESSION_ZSTD, 3 }, &z, &f->err));
    assert_int_equal(z.compression, CB_COMPRESSION_ZSTD);
    assert_true(cb_store_blob_has(f->s, &z.digest, NULL));
    cb_layer_encoding_done(&z);
    assert_true(cb_slot_encoding_known(s, &(struct cb_format){ CB_COMPRESSION_ZSTD, 3 }, &z));
    cb_layer_encoding_done(&z);
    /* Uncompressed it is what its name says. */
    ok(cb_slot_encoding(s, &(struct cb_format){ CB_COMPRESSION_NONE, CB_LEVEL_DEFAULT }, &z, &f->err));
    assert_true(cb_digest_eq(&z.digest, &m.layer.diff_id));
    made_layer_done(&m);
}

static void test_parents_keep_their_encoding(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer gz = build_layer(b, "a", "same", CB_COMPRESSION_GZIP);
    struct made_layer zs = build_layer(b, "a", "same", CB_COMPRESSION_ZSTD);
    struct cb_descriptor dg = layer_desc(&gz), dz = layer_desc(&zs);
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    assert_true(cb_digest_eq(&gz.layer.diff_id, &zs.layer.diff_id));
    struct cb_slot *s = cb_slots_parent(t, &gz.layer.diff_id, &(struct cb_slot_parent){ .desc = &dg });
    ok(cb_slot_encoding(s, &(struct cb_format){ CB_COMPRESSION_ZSTD, 5 }, &e, &f->err));
    assert_true(cb_digest_eq(&e.digest, &dg.digest));
    cb_layer_encoding_done(&e);
    /* Another parent has it too: the first one's counts, unless the other is that of the result. */
    assert_ptr_equal(cb_slots_parent(t, &gz.layer.diff_id, &(struct cb_slot_parent){ .desc = &dz }), s);
    ok(cb_slot_encoding(s, &(struct cb_format){ CB_COMPRESSION_ZSTD, 5 }, &e, &f->err));
    assert_true(cb_digest_eq(&e.digest, &dg.digest));
    cb_layer_encoding_done(&e);
    struct cb_slot_parent p = { .desc = &dz, .preferred = true };
    assert_ptr_equal(cb_slots_parent(t, &gz.layer.diff_id, &p), s);
    ok(cb_slot_encoding(s, &(struct cb_format){ CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT }, &e, &f->err));
    assert_true(cb_digest_eq(&e.digest, &dz.digest));
    made_layer_done(&gz);
    made_layer_done(&zs);
}

/* For an export the manifest's own blob has to be there, and no other of the layer will do. */
static void test_blob_is_the_manifests(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer gz = build_layer(b, "a", "same", CB_COMPRESSION_GZIP);
    struct cb_digest other = digest_of("a blob that is nowhere");
    struct cb_descriptor d = layer_desc(&gz);
    ok(cb_store_layer_put(f->s, &gz.layer, &f->err));
    d.digest = other;
    struct cb_slot *s = cb_slots_parent(t, &gz.layer.diff_id, &(struct cb_slot_parent){ .desc = &d });
    ok(cb_slots_need(t, &s, 1, CB_NEED_TOC | CB_NEED_TREE | CB_NEED_DATA, NULL, &f->err));
    fails(cb_slots_need(t, &s, 1, CB_NEED_BLOB, NULL, &f->err), CB_ENOTFOUND);
    made_layer_done(&gz);
}

/* ---- identity ---- */

static void test_content(void **state)
{
    struct build_fixture *b = *state;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "1", CB_COMPRESSION_GZIP);
    struct made_layer n = build_layer(b, "a", "2", CB_COMPRESSION_GZIP);
    struct cb_digest one, again, two, of_parent;
    assert_true(cb_slot_content(cb_slots_made(t, &m.layer, m.toc), &one));
    assert_true(cb_slot_content(cb_slots_made(t, &n.layer, n.toc), &two));
    assert_false(cb_digest_eq(&one, &two));
    /* The same at another time: another diff id, the same content. */
    struct cb_toc_builder *builder = cb_toc_builder_new();
    struct cb_entry later = *cb_toc_at(m.toc, 0);
    later.mtime++;
    assert_int_equal(cb_toc_builder_add(builder, &later, NULL), 0);
    struct cb_toc *toc = cb_toc_builder_finish(builder);
    cb_toc_builder_free(builder);
    struct cb_layer l = { .diff_id = digest_of("later"), .size = 1 };
    assert_true(cb_slot_content(cb_slots_made(t, &l, toc), &again));
    assert_true(cb_digest_eq(&one, &again));
    cb_toc_unref(toc);
    /* A parent is what its diff id says. */
    CB_AUTO(cb_slots_free) struct cb_slots *other = cb_slots_new(&b->env);
    assert_true(cb_slot_content(parent_of(other, &m), &of_parent));
    assert_true(cb_digest_eq(&of_parent, &m.layer.diff_id));
    made_layer_done(&m);
    made_layer_done(&n);
}

static struct made_layer large_layer(struct build_fixture *b)
{
    struct fixture *f = &b->f;
    struct made_layer m = { 0 };
    char path[32];
    cb_autosink struct cb_blob_sink *sink = NULL;
    ok(cb_store_blob_sink(f->s, &sink, &f->err));
    struct cb_layer_write_options wo = { .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT },
                                         .clamp_mtime = INT64_MAX, .sink = sink };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, &f->err);
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof path, "link%05d", i);
        struct cb_entry e = { .path = path, .type = CB_ENTRY_SYMLINK, .mode = 0777, .link = path };
        ok(cb_layer_writer_add(w, &e, NULL, &f->err));
    }
    ok(cb_layer_writer_finish(w, &m.layer, &m.toc, &f->err));
    ok(cb_store_layer_put(f->s, &m.layer, &f->err));
    return m;
}

/* What a step asks of a large layer is answered without its table, where an earlier build had that. */
static void test_large_tables_stay_where_they_are(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    struct made_layer m = large_layer(b);
    struct cb_digest one, two;
    struct cb_toc_pin want, pin;
    struct cb_slot *s = NULL;
    const struct cb_stack_entry *hit;
    {
        CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
        ok(cb_slots_stored(t, &m.layer.diff_id, &s, &f->err));
        ok(cb_slots_need(t, &s, 1, CB_NEED_TREE | CB_NEED_CONTENT, NULL, &f->err));
        assert_true(cb_slot_content(s, &one));
    }
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    ok(cb_slots_stored(t, &m.layer.diff_id, &s, &f->err));
    static const unsigned needs[] = { CB_NEED_TREE, CB_NEED_LOOKUP, CB_NEED_CONTENT };
    for (size_t i = 0; i < CB_COUNTOF(needs); i++) {
        ok(cb_slots_need(t, &s, 1, needs[i], NULL, &f->err));
        assert_null(cb_slot_toc(s));
    }
    assert_true(cb_slot_content(s, &two));
    assert_true(cb_digest_eq(&one, &two));
    CB_AUTO(cb_lookup_free) struct cb_lookup *l = cb_slots_lookup(&s, 1);
    ok(cb_lookup_find(l, "link01234", &hit, &f->err));
    assert_string_equal(hit->e->link, "link01234");
    assert_true(cb_slot_pin(s, &pin));
    cb_toc_pin_of(&want, m.toc);
    assert_true(cb_toc_pin_eq(&pin, &want));
    assert_null(cb_slot_toc(s));
    ok(cb_slots_need(t, &s, 1, CB_NEED_TOC, NULL, &f->err));
    assert_int_equal(cb_toc_count(cb_slot_toc(s)), 2000);
    made_layer_done(&m);
}

/* Empty differences count for nothing, in a key as in a view. */
static void test_empty_ones_do_not_count(void **state)
{
    struct build_fixture *b = *state;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "a", "1", CB_COMPRESSION_GZIP);
    struct cb_slot *empty = pending(b, t), *full = cb_slots_made(t, &m.layer, m.toc);
    cb_slot_complete(empty, NULL, NULL, NULL);
    struct cb_slot *with[] = { empty, full, empty }, *without[] = { full }, *twice[] = { full, full };
    struct cb_vertex v = { .kind = CB_VERTEX_RUN, .platform.arch = (char *)(uintptr_t) "amd64" };
    struct cb_key_base kb = { .clamp_mtime = INT64_MAX };
    struct cb_digest a, c, d, hint;
    cb_key_run_content(&kb, &v, with, 3, &a);
    cb_key_run_content(&kb, &v, without, 1, &c);
    cb_key_run_content(&kb, &v, twice, 2, &d);
    cb_key_run_hint(&kb, &v, &hint);
    assert_true(cb_digest_eq(&a, &c));
    assert_false(cb_digest_eq(&a, &d));
    assert_false(cb_digest_eq(&a, &hint));
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_slots_stack(t, with, 3);
    assert_int_equal(cb_stack_layers(s), 1);
    made_layer_done(&m);
}

/* ---- tables that are told ---- */

static struct cb_slot *told_parent(struct cb_slots *t, const struct made_layer *m, const struct cb_toc_pin *pin)
{
    struct cb_descriptor d = layer_desc(m);
    if (pin)
        cb_toc_pin_write(pin, NULL, &d.annotations);
    struct cb_slot *s = cb_slots_parent(t, &m->layer.diff_id, &(struct cb_slot_parent){ .desc = &d, .host = "h",
                                                                                      .repo = "r" });
    cb_strmap_done(&d.annotations);
    return s;
}

/* What reads a layer makes the same table as what wrote it, or no manifest could pin either. */
static void test_a_layer_has_one_table(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "etc/passwd", "root:x:0:0", CB_COMPRESSION_GZIP);
    struct cb_slot *s = parent_of(t, &m);
    struct cb_toc_pin written, read, stored;
    assert_false(cb_slot_pin(s, &read)); /* nobody has read it yet */
    ok(cb_slots_need(t, &s, 1, CB_NEED_TOC, NULL, &f->err));
    cb_toc_pin_of(&written, m.toc);
    assert_true(cb_slot_pin(s, &read));
    assert_true(cb_toc_pin_eq(&written, &read));
    ok(cb_store_toc_pin(f->s, &m.layer.diff_id, &stored, &f->err));
    assert_true(cb_toc_pin_eq(&written, &stored));
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_store_toc_source(f->s, &m.layer.diff_id, &stored, &src, &f->err));
    ok(cb_blob_read_all(src, 1 << 20, &text, &f->err));
    assert_int_equal(text.len, stored.size);
    made_layer_done(&m);
}

static void test_parents_must_agree(void **state)
{
    struct build_fixture *b = *state;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer v[4];
    struct cb_toc_pin one = { .size = 10 }, other = { .size = 10 }, got;
    struct cb_strmap annotations;
    cb_digest_of(&one.digest, "1", 1);
    cb_digest_of(&other.digest, "2", 1);
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        cb_autofree char *text = cb_asprintf("%zu", i);
        v[i] = build_layer(b, "f", text, CB_COMPRESSION_GZIP);
    }
    struct cb_slot *same = told_parent(t, &v[0], &one), *differ = told_parent(t, &v[1], &one);
    struct cb_slot *late = told_parent(t, &v[2], NULL), *early = told_parent(t, &v[3], &one);
    assert_true(cb_slot_is_told(same) && cb_slot_is_told(differ) && cb_slot_is_told(early));
    assert_false(cb_slot_is_told(late));
    told_parent(t, &v[0], &one);
    told_parent(t, &v[1], &other);
    told_parent(t, &v[1], &one); /* what was doubted stays so */
    told_parent(t, &v[2], &one);
    told_parent(t, &v[3], NULL);
    assert_true(cb_slot_is_told(same));
    assert_false(cb_slot_is_told(differ) || cb_slot_is_told(late) || cb_slot_is_told(early));
    /* What is said stays what is said: manifests keep it. */
    cb_slot_annotations(differ, &annotations);
    assert_true(cb_toc_pin_read(&got, &annotations) && cb_toc_pin_eq(&got, &one));
    assert_true(cb_slot_pin(differ, &got) && cb_toc_pin_eq(&got, &one));
    cb_strmap_done(&annotations);
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        made_layer_done(&v[i]);
}

/* The same for tables that layers carry; one that is small is read itself. */
static void test_carried_tables(void **state)
{
    struct build_fixture *b = *state;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "f", "1", CB_COMPRESSION_ZSTD);
    struct { const char *first, *then, *other; uint64_t size; bool told; } cases[] = {
        { "sha256:1", NULL, NULL, 1 << 20, true },           { "sha256:1", NULL, NULL, 1 << 10, false },
        { "sha256:1", "sha256:1", NULL, 1 << 20, true },     { "sha256:1", "sha256:2", "sha256:1", 1 << 20, false },
        { "sha256:1", "", NULL, 1 << 20, false },            { "", "sha256:1", NULL, 1 << 20, false },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        const char *say[] = { cases[i].first, cases[i].then, cases[i].other };
        struct cb_digest id;
        struct cb_slot *s = NULL;
        cb_digest_of(&id, &i, sizeof i);
        for (size_t k = 0; k < CB_COUNTOF(say) && say[k]; k++) {
            struct cb_descriptor d = layer_desc(&m);
            d.size = cases[i].size;
            if (*say[k])
                cb_strmap_set(&d.annotations, CB_ANNOTATION_CHUNKED_TOC, say[k]);
            s = cb_slots_parent(t, &id, &(struct cb_slot_parent){ .desc = &d, .host = "h", .repo = "r" });
            cb_strmap_done(&d.annotations);
        }
        assert_int_equal(cb_slot_is_told(s), cases[i].told);
    }
    made_layer_done(&m);
}

/* With the layer here nobody is asked; a table that is larger than its layer is worth no request. */
static void test_what_is_here_is_read(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    CB_AUTO(cb_slots_free) struct cb_slots *t = cb_slots_new(&b->env);
    struct made_layer m = build_layer(b, "f", "1", CB_COMPRESSION_GZIP);
    struct made_layer n = build_layer(b, "f", "2", CB_COMPRESSION_GZIP);
    struct cb_toc_pin lie = { .size = 10 }, large = { .size = 2 << 20 };
    cb_digest_of(&lie.digest, "lie", 3);
    large.digest = lie.digest;
    struct cb_slot *s = told_parent(t, &m, &lie);
    assert_true(cb_slot_is_told(s));
    ok(cb_slots_need(t, &s, 1, CB_NEED_TOC, NULL, &f->err));
    assert_false(s->unproven);
    assert_non_null(cb_toc_find(cb_slot_toc(s), "f"));
    assert_false(cb_slot_is_told(told_parent(t, &n, &large)));
    made_layer_done(&m);
    made_layer_done(&n);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, build_setup, build_teardown)
    const struct CMUnitTest tests[] = {
        T(test_completing), T(test_empty_and_failed), T(test_waiters_do_not_stop_the_makers),
        T(test_many_ask_for_the_same), T(test_a_tree_for_each_chain), T(test_chains_in_every_order),
        T(test_none_on_a_step_of_this_build), T(test_what_is_nowhere), T(test_damaged), T(test_cancelled),
        T(test_a_tree_of_what_was_written), T(test_only_small_ones_are_kept), T(test_what_is_there_is_not_waited_for),
        T(test_another_encoding), T(test_parents_keep_their_encoding), T(test_blob_is_the_manifests), T(test_content),
        T(test_large_tables_stay_where_they_are),
        T(test_empty_ones_do_not_count), T(test_a_layer_has_one_table), T(test_parents_must_agree),
        T(test_what_is_here_is_read), T(test_carried_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

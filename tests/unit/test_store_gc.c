/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

/* gc by a process that holds nothing. */
static struct cb_store_gc_result gc(struct fixture *f, bool all, bool dry_run, int64_t keep)
{
    struct cb_store_gc_options o = { .all = all, .dry_run = dry_run, .keep_newer_ns = keep };
    struct cb_store_gc_result res;
    reopen(f);
    ok(cb_store_gc(f->s, &o, &res, &f->err));
    return res;
}

static void age(const char *path)
{
    const struct timespec t[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
    assert_int_equal(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW), 0);
}

static void age_all(const struct fixture *f, const char *rel)
{
    cb_autofree char *dir = path_in(f, rel);
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        cb_autofree char *p = cb_asprintf("%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            age(p);
    }
    if (d)
        closedir(d);
}

static void named_stays_rest_goes(void **state)
{
    struct fixture *f = *state;
    struct cb_layer kept cb_cleanup_layer = { 0 }, lost cb_cleanup_layer = { 0 };
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", &kept);
    struct cb_descriptor b cb_cleanup_descriptor = simple_image(f, "b", &lost);
    (void)b;
    ok(cb_store_layer_put(f->s, &kept, &f->err));
    ok(cb_store_layer_put(f->s, &lost, &f->err));
    ok(make_tree(f, &kept.diff_id, "k"));
    ok(make_tree(f, &lost.diff_id, "l"));
    ok(cb_store_name_set(f->s, "docker.io/library/a:1", &a, &f->err));
    put_text(f, "nobody's");

    struct cb_store_gc_result r = gc(f, false, false, -1);
    assert_int_equal(r.blobs, 0); /* all of it is younger than a day */
    r = gc(f, false, true, 0);
    assert_int_equal(count_in(f, "blobs/sha256"), 7); /* a dry run only counts */
    struct cb_store_gc_result wet = gc(f, false, false, 0);
    assert_int_equal(wet.blobs, r.blobs);
    assert_int_equal(wet.trees, r.trees);
    assert_int_equal(wet.blobs, 4);
    assert_int_equal(wet.trees, 1);
    assert_true(wet.bytes >= 4096 && r.bytes >= 4096);
    assert_int_equal(count_in(f, "blobs/sha256"), 3);
    assert_int_equal(count_in(f, "toc/sha256"), 1);
    assert_int_equal(count_in(f, "trash"), 0);
    struct cb_layer got cb_cleanup_layer = { 0 };
    fails(cb_store_layer_get(f->s, &lost.diff_id, &got, &f->err), CB_ENOTFOUND);
    ok(cb_store_layer_get(f->s, &kept.diff_id, &got, &f->err));
    cb_autoclose int fd = -1;
    ok(cb_store_tree_open(f->s, ALONE(&kept.diff_id), &fd, &f->err));
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(cb_store_toc_get(f->s, &kept.diff_id, &toc, &f->err));

    ok(cb_store_name_set(f->s, "docker.io/library/a:1", NULL, &f->err));
    wet = gc(f, false, false, 0);
    assert_int_equal(wet.blobs, 3);
    assert_int_equal(count_in(f, "blobs/sha256"), 0);
    assert_int_equal(count_in(f, "trees"), 0);
}

static void everything_below_a_named_index_stays(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    struct cb_descriptor b cb_cleanup_descriptor = simple_image(f, "b", NULL);
    struct cb_index idx cb_cleanup_index = { .media_type = cb_strdup(CB_MT_OCI_INDEX) };
    idx.manifests = cb_calloc(2, sizeof *idx.manifests);
    idx.n_manifests = 2;
    cb_descriptor_copy(&idx.manifests[0], &a);
    cb_descriptor_copy(&idx.manifests[1], &b);
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_index_print(&body, &idx);
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_descriptor_of(&d, CB_MT_OCI_INDEX, body.buf, body.len);
    ok(cb_store_blob_put(f->s, body.buf, body.len, NULL, &f->err));
    ok(cb_store_name_set(f->s, "docker.io/library/multi:1", &d, &f->err));
    put_text(f, "nobody's");
    struct cb_store_gc_result r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 1);
    assert_int_equal(count_in(f, "blobs/sha256"), 7);
}

static void cache_records_hold_their_layers_unless_all(void **state)
{
    struct fixture *f = *state;
    const struct file_spec files[] = { { "a", "x" } };
    struct cb_layer l cb_cleanup_layer = make_layer(f, files, 1);
    ok(cb_store_layer_put(f->s, &l, &f->err));
    ok(make_tree(f, &l.diff_id, "t"));
    struct cb_digest key = digest_of("key");
    struct cb_cache_record rec = { .layers = &l.diff_id, .n_layers = 1 };
    ok(cb_store_cache_put(f->s, &key, &rec, &f->err));
    struct cb_store_gc_result r = gc(f, false, false, 0);
    assert_int_equal(r.blobs + r.trees + r.records, 0);
    assert_true(cb_store_blob_has(f->s, &l.encodings[0].digest, NULL));
    r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 1);
    assert_int_equal(r.trees, 1);
    assert_int_equal(r.records, 1);
    struct cb_cache_record got cb_cleanup_cache_record = { 0 };
    fails(cb_store_cache_get(f->s, &key, &got, &f->err), CB_ENOTFOUND);
}

static void recently_used_layers_have_their_grace(void **state)
{
    struct fixture *f = *state;
    const struct file_spec files[] = { { "a", "x" } };
    struct cb_layer l cb_cleanup_layer = make_layer(f, files, 1);
    ok(cb_store_layer_put(f->s, &l, &f->err));
    put_text(f, "old and not known");
    age_all(f, "blobs/sha256");
    age_all(f, "toc/sha256");
    struct cb_store_gc_result r = gc(f, true, false, -1);
    assert_int_equal(r.blobs, 1); /* the file is old, but the layer was put just now */
    assert_true(cb_store_blob_has(f->s, &l.encodings[0].digest, NULL));
}

/* A process that holds things, told by letters through a pipe. */
struct holder {
    pid_t pid;
    int to, from;
};

static struct holder start_holder(struct fixture *f, void (*hold)(struct fixture *f))
{
    int a[2], b[2];
    assert_int_equal(pipe2(a, O_CLOEXEC), 0);
    assert_int_equal(pipe2(b, O_CLOEXEC), 0);
    threads_end(f);
    struct holder h = { .pid = fork(), .to = a[1], .from = b[0] };
    if (h.pid == 0) {
        close(a[1]);
        struct cb_store_options o = { .root = f->root };
        f->s = NULL;
        if (cb_store_open(&o, &f->s, NULL) < 0)
            _exit(1);
        hold(f);
        char c;
        if (write(b[1], "y", 1) != 1 || read(a[0], &c, 1) < 0)
            _exit(1);
        cb_store_close(f->s);
        _exit(0);
    }
    close(a[0]);
    close(b[1]);
    char c = 0;
    assert_int_equal(read(h.from, &c, 1), 1);
    return h;
}

static void stop_holder(struct holder *h)
{
    int st;
    close(h->to);
    close(h->from);
    waitpid(h->pid, &st, 0);
    assert_int_equal(st, 0);
}

static void hold_manifest(struct fixture *f)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    struct cb_descriptor d = simple_image(f, "held", NULL); /* the same bytes: nothing new is written */
    if (cb_store_blob_get(f->s, &d.digest, CB_MAX_MANIFEST, &sb, NULL) < 0)
        _exit(1);
}

/* The files are years old, so only what stands in the lease keeps them. */
static void what_a_live_process_uses_stays(void **state)
{
    struct fixture *f = *state;
    struct cb_layer l cb_cleanup_layer = { 0 };
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "held", &l);
    (void)a;
    struct cb_digest other = put_text(f, "nobody's");
    ok(make_tree(f, &l.diff_id, "t"));
    age_all(f, "blobs/sha256");
    age_all(f, "toc/sha256");
    age_all(f, "trees");
    struct holder h = start_holder(f, hold_manifest);
    age_all(f, "blobs/sha256");
    age_all(f, "toc/sha256");
    struct cb_store_gc_result r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 1);
    assert_false(cb_store_blob_has(f->s, &other, NULL));
    assert_int_equal(count_in(f, "blobs/sha256"), 3); /* manifest, config and the layer below it */
    assert_int_equal(count_in(f, "trees"), 1);
    stop_holder(&h);
    r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 3);
    assert_int_equal(r.trees, 1);
}

static void hold_nothing(struct fixture *f)
{
    (void)f;
}

static void what_is_younger_than_a_live_process_stays(void **state)
{
    struct fixture *f = *state;
    struct cb_digest old = put_text(f, "old");
    age_all(f, "blobs/sha256");
    struct holder h = start_holder(f, hold_nothing);
    struct cb_digest young = put_text(f, "young");
    struct cb_store_gc_result r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 1);
    assert_false(cb_store_blob_has(f->s, &old, NULL));
    assert_true(cb_store_blob_has(f->s, &young, NULL));
    kill(h.pid, SIGKILL); /* a killed one holds nothing any more */
    int st;
    waitpid(h.pid, &st, 0);
    close(h.to);
    close(h.from);
    r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 1);
}

/* gc and builds together for a while: whoever has seen a thing can go on using it (3c 6, 8). */
static void gc_while_others_work(void **state)
{
    struct fixture *f = *state;
    time_t end = time(NULL) + 3;
    pid_t pids[6];
    for (int i = 0; i < 6; i++) {
        pids[i] = fork();
        if (pids[i] != 0)
            continue;
        for (int round = 0; time(NULL) < end; round++) {
            struct cb_store_options o = { .root = f->root };
            f->s = NULL;
            if (cb_store_open(&o, &f->s, NULL) < 0)
                _exit(1);
            if (i >= 3) {
                struct cb_store_gc_options go = { .all = true };
                struct cb_store_gc_result res;
                if (cb_store_gc(f->s, &go, &res, &f->err) < 0) {
                    dprintf(2, "gc: %s\n", cb_error_text(&f->err));
                    _exit(2);
                }
            } else {
                char text[32], name[64];
                snprintf(text, sizeof text, "t%d", round % 3); /* shared by all of them */
                snprintf(name, sizeof name, "docker.io/library/i%d:1", i);
                struct cb_layer l = { 0 }, got = { 0 };
                struct cb_descriptor d = simple_image(f, text, &l);
                struct cb_toc *toc = NULL;
                int fd = -1;
                uint64_t size;
                if (cb_store_layer_put(f->s, &l, NULL) < 0 || make_tree(f, &l.diff_id, text) < 0)
                    _exit(3);
                if (cb_store_name_set(f->s, name, &d, NULL) < 0 || cb_store_name_set(f->s, name, NULL, NULL) < 0)
                    _exit(4);
                usleep(2000);
                if (cb_store_blob_open(f->s, &l.encodings[0].digest, &fd, &size, NULL) < 0)
                    _exit(5);
                close(fd);
                if (cb_store_tree_open(f->s, ALONE(&l.diff_id), &fd, NULL) < 0)
                    _exit(6);
                close(fd);
                if (cb_store_toc_get(f->s, &l.diff_id, &toc, NULL) < 0 ||
                    cb_store_layer_get(f->s, &l.diff_id, &got, NULL) < 0)
                    _exit(7);
                cb_toc_unref(toc);
                cb_layer_done(&l);
                cb_layer_done(&got);
                cb_descriptor_done(&d);
            }
            cb_store_close(f->s);
        }
        _exit(0);
    }
    for (int i = 0, st; i < 6; i++) {
        waitpid(pids[i], &st, 0);
        if (st)
            print_error("worker %d: status %x\n", i, (unsigned)st);
        assert_int_equal(st, 0);
    }
}

static void damaged_pieces_do_not_stop_it(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    ok(cb_store_name_set(f->s, "docker.io/library/a:1", &a, &f->err));
    cb_autofree char *p = blob_file(f, &a.digest), *index = path_in(f, "index.json");
    write_at(p, "{}");
    struct cb_store_gc_result r = gc(f, true, false, 0);
    assert_int_equal(r.blobs, 2); /* nobody knows any more what it held */
    write_at(index, "garbage");
    put_text(f, "more");
    struct cb_store_gc_options o = { .all = true };
    struct cb_store_gc_result res;
    reopen(f);
    fails(cb_store_gc(f->s, &o, &res, &f->err), CB_EVERIFY); /* without names nothing may be called garbage */
    assert_int_equal(count_in(f, "blobs/sha256"), 2);
}

/* One handle, many threads, gc among them. Nothing that this process has touched may go. */
struct thread_arg {
    struct fixture *f;
    int no;
    int failed; /* line */
};

#define STEP(call)                                                                                                   \
    do {                                                                                                             \
        if ((call) < 0) {                                                                                            \
            a->failed = __LINE__;                                                                                    \
            return NULL;                                                                                             \
        }                                                                                                            \
    } while (0)

static void *thread_work(void *p)
{
    struct thread_arg *a = p;
    struct cb_store *s = a->f->s;
    for (int i = 0; i < 25; i++) {
        char text[32];
        struct cb_digest d;
        uint64_t size;
        int fd = -1;
        snprintf(text, sizeof text, "t%d", (i * 7 + a->no) % 40);
        STEP(cb_store_blob_put(s, text, strlen(text), &d, NULL));
        struct cb_layer l = { .diff_id = d, .size = 5 }, got = { 0 };
        struct cb_cache_record rec = { .layers = &d, .n_layers = 1 }, rec2 = { 0 };
        STEP(cb_store_layer_put(s, &l, NULL));
        STEP(cb_store_cache_put(s, &d, &rec, NULL));
        STEP(cb_store_fact_put(s, "t", text, text, NULL));
        struct cb_store_tmp t = CB_STORE_TMP_INIT;
        STEP(cb_store_tmp_new(s, "x", &t, NULL));
        STEP(cb_store_tree_publish(s, &t, "fs", ALONE(&d), NULL));
        cb_store_tmp_done(&t);
        if (a->no == 0 && i % 5 == 0) {
            struct cb_store_gc_options go = { .all = false };
            struct cb_store_gc_result res;
            STEP(cb_store_gc(s, &go, &res, NULL));
        }
        STEP(cb_store_blob_open(s, &d, &fd, &size, NULL));
        close(fd);
        STEP(cb_store_tree_open(s, ALONE(&d), &fd, NULL));
        close(fd);
        STEP(cb_store_layer_get(s, &d, &got, NULL));
        STEP(cb_store_cache_get(s, &d, &rec2, NULL));
        cb_layer_done(&got);
        cb_cache_record_done(&rec2);
    }
    return NULL;
}

static void threads_share_a_handle(void **state)
{
    struct fixture *f = *state;
    pthread_t t[6];
    struct thread_arg a[6];
    for (int i = 0; i < 6; i++) {
        a[i] = (struct thread_arg){ f, i, 0 };
        assert_int_equal(pthread_create(&t[i], NULL, thread_work, &a[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(a[i].failed, 0);
    }
    assert_int_equal(count_in(f, "blobs/sha256"), 40);
}

static void stats_go_with_age_and_with_all(void **state)
{
    struct fixture *f = *state;
    const struct cb_digest old = digest_of("old"), young = digest_of("young");
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&text, "o");
    ok(cb_store_stats_put(f->s, &old, &text, &f->err));
    age_all(f, "stats");
    ok(cb_store_stats_put(f->s, &young, &text, &f->err));
    gc(f, false, true, 0);
    assert_int_equal(count_in(f, "stats"), 2);
    gc(f, false, false, 0);
    assert_int_equal(count_in(f, "stats"), 1);
    cb_strbuf_reset(&text);
    ok(cb_store_stats_get(f->s, &young, &text, &f->err));
    gc(f, true, false, 0);
    assert_int_equal(count_in(f, "stats"), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(named_stays_rest_goes),
        T(everything_below_a_named_index_stays),
        T(cache_records_hold_their_layers_unless_all),
        T(recently_used_layers_have_their_grace),
        T(what_a_live_process_uses_stays),
        T(what_is_younger_than_a_live_process_stays),
        T(gc_while_others_work),
        T(damaged_pieces_do_not_stop_it),
        T(threads_share_a_handle),
        T(stats_go_with_age_and_with_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

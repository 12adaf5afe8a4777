/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that are killed at any moment. The invariants are those of safety.md 3b. */
#include "store_fixture.h"

#include <signal.h>
#include <time.h>

#define KILLS 200

static uint32_t rnd(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

#define must(call) must_at((call), &f->err, __LINE__)
static void must_at(int r, const struct cb_error *err, int line)
{
    if (r >= 0)
        return;
    dprintf(2, "line %d: %s\n", line, cb_error_text(err));
    _exit(1);
}

/* A tree whose files all say which it is. */
static void publish_tree(struct fixture *f, uint32_t which)
{
    char text[32];
    struct cb_store_tmp t = CB_STORE_TMP_INIT;
    snprintf(text, sizeof text, "tree %u", which);
    struct cb_digest d = digest_of(text);
    must(cb_store_tmp_new(f->s, "crash", &t, &f->err));
    for (int i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "fs/f%d", i);
        int fd = openat(t.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
        must(fd);
        must(write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1);
        close(fd);
    }
    must(cb_store_tree_publish(f->s, &t, "fs", ALONE(&d), &f->err));
    cb_store_tmp_done(&t);
}

static void publish_blob(struct fixture *f, uint32_t *seed)
{
    size_t n = rnd(seed) % 300000;
    char *buf = cb_malloc(n + 1);
    uint32_t x = rnd(seed) % 50 + 1; /* few different ones, so that many are there already */
    for (size_t i = 0; i < n; i++)
        buf[i] = (char)rnd(&x);
    must(cb_store_blob_put(f->s, buf, n, NULL, &f->err));
    free(buf);
}

static void publish_image(struct fixture *f, uint32_t which)
{
    char text[32], name[64];
    snprintf(text, sizeof text, "image %u", which);
    struct cb_layer l = { 0 };
    struct cb_descriptor d = simple_image(f, text, &l);
    struct cb_cache_record rec = { .layers = &l.diff_id, .n_layers = 1 };
    must(cb_store_layer_put(f->s, &l, &f->err));
    must(cb_store_cache_put(f->s, &l.diff_id, &rec, &f->err));
    snprintf(name, sizeof name, "docker.io/library/n%u:1", which % 4);
    must(cb_store_name_set(f->s, name, &d, &f->err));
    cb_layer_done(&l);
    cb_descriptor_done(&d);
}

static CB_NORETURN void work(struct fixture *f, uint32_t seed)
{
    for (;;) {
        struct cb_store_options o = { .root = f->root };
        f->s = NULL;
        must(cb_store_open(&o, &f->s, &f->err));
        for (int i = 0; i < 6; i++) {
            publish_blob(f, &seed);
            publish_tree(f, rnd(&seed) % 8);
            publish_image(f, rnd(&seed) % 8);
        }
        if (rnd(&seed) % 3 == 0) {
            struct cb_store_gc_options go = { .all = rnd(&seed) % 2 == 0 };
            struct cb_store_gc_result res;
            must(cb_store_gc(f->s, &go, &res, &f->err));
        }
        cb_store_close(f->s);
    }
}

/* ---- invariants ---- */

static void check_blobs(struct fixture *f) /* I1 */
{
    cb_autofree char *dir = path_in(f, "blobs/sha256");
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        struct cb_digest want, have;
        char text[CB_DIGEST_TEXT_MAX + 300];
        if (e->d_name[0] == '.')
            continue;
        snprintf(text, sizeof text, "sha256:%s", e->d_name);
        assert_int_equal(cb_digest_parse(&want, text, NULL), 0);
        struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_autofree char *p = blob_file(f, &want);
        ok(cb_file_slurp(p, 1 << 20, &sb, &f->err));
        cb_digest_of(&have, sb.buf, sb.len);
        assert_true(cb_digest_eq(&have, &want));
    }
    closedir(d);
}

static void check_names(struct fixture *f) /* I2 */
{
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_true(l.n <= 4);
    for (size_t i = 0; i < l.n; i++) {
        struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_manifest m cb_cleanup_manifest = { 0 };
        ok(cb_store_blob_get(f->s, &l.v[i].desc.digest, CB_MAX_MANIFEST, &sb, &f->err));
        ok(cb_manifest_parse(&m, sb.buf, sb.len, NULL, &f->err));
        assert_true(cb_store_blob_has(f->s, &m.config.digest, NULL));
        assert_int_equal(m.n_layers, 1);
        assert_true(cb_store_blob_has(f->s, &m.layers[0].digest, NULL));
    }
}

static void check_trees(struct fixture *f) /* I3 */
{
    for (uint32_t which = 0; which < 8; which++) {
        char text[32];
        snprintf(text, sizeof text, "tree %u", which);
        struct cb_digest d = digest_of(text);
        cb_autoclose int fs = -1;
        int r = cb_store_tree_open(f->s, ALONE(&d), &fs, &f->err);
        if (r == -CB_ENOTFOUND)
            continue;
        ok(r);
        for (int i = 0; i < 12; i++) {
            char name[32], buf[64] = "";
            snprintf(name, sizeof name, "f%d", i);
            cb_autoclose int fd = openat(fs, name, O_RDONLY | O_CLOEXEC);
            assert_true(fd >= 0);
            assert_true(read(fd, buf, sizeof buf - 1) > 0);
            assert_string_equal(buf, text);
        }
    }
}

static void check_tables(struct fixture *f) /* I4 */
{
    for (uint32_t which = 0; which < 8; which++) {
        char text[32];
        snprintf(text, sizeof text, "image %u", which);
        struct cb_layer l cb_cleanup_layer = { 0 }, got cb_cleanup_layer = { 0 };
        struct cb_descriptor d cb_cleanup_descriptor = simple_image(f, text, &l); /* and the next run succeeds */
        (void)d;
        int r = cb_store_layer_get(f->s, &l.diff_id, &got, &f->err);
        assert_true(r == 0 || r == -CB_ENOTFOUND);
        if (r == 0) {
            assert_int_equal(got.n_encodings, 1);
            assert_true(cb_digest_eq(&got.encodings[0].digest, &l.encodings[0].digest));
        }
        struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
        r = cb_store_cache_get(f->s, &l.diff_id, &rec, &f->err);
        assert_true(r == -CB_ENOTFOUND || (r == 0 && rec.n_layers == 1 && cb_digest_eq(&rec.layers[0], &l.diff_id)));
    }
}

static void check_leftovers(struct fixture *f) /* I6, I7 */
{
    assert_int_equal(count_in(f, "tmp"), 0);
    assert_int_equal(count_in(f, "trash"), 0);
    assert_int_equal(count_in(f, "leases"), 1);
    cb_autofree char *root = path_in(f, "");
    assert_true(count_entries(root) <= 15);
}

static void killed_at_any_moment(void **state)
{
    struct fixture *f = *state;
    uint32_t seed = (uint32_t)time(NULL) * 2654435761u + 1;
    print_message("seed %u\n", seed);
    publish_tree(f, 0);
    publish_image(f, 0);
    cb_store_close(CB_TAKE(f->s));
    size_t trees = 0, named = 0;
    for (int i = 0; i < KILLS; i++) {
        uint32_t child_seed = rnd(&seed);
        pid_t pid = fork();
        if (pid == 0)
            work(f, child_seed | 1);
        usleep(rnd(&seed) % (i % 8 == 7 ? 120000 : 20000)); /* some get far even on a busy disk */
        kill(pid, SIGKILL);
        int st;
        waitpid(pid, &st, 0);
        assert_true(WIFSIGNALED(st)); /* it has not failed by itself */
        reopen(f);
        check_leftovers(f);
        struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
        ok(cb_store_name_list(f->s, &l, &f->err));
        named += l.n;
        trees += count_in(f, "trees");
        if (i % 10 == 9 || i < 5) {
            check_blobs(f);
            check_names(f);
            check_trees(f);
            check_tables(f);
        }
        cb_store_close(CB_TAKE(f->s));
    }
    print_message("%zu trees, %zu names seen\n", trees, named);
    assert_true(named > 0); /* it was no empty exercise */
}

/* Several at once, one of them killed again and again: the others notice nothing. */
static void killed_beside_the_living(void **state)
{
    struct fixture *f = *state;
    uint32_t seed = (uint32_t)time(NULL) * 40503u + 7;
    cb_store_close(CB_TAKE(f->s));
    pid_t steady = fork();
    if (steady == 0)
        work(f, 12345);
    for (int i = 0; i < 60; i++) {
        uint32_t child_seed = rnd(&seed);
        pid_t pid = fork();
        if (pid == 0)
            work(f, child_seed | 1);
        usleep(rnd(&seed) % 20000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    int st = 0;
    assert_int_equal(waitpid(steady, &st, WNOHANG), 0); /* still at work */
    kill(steady, SIGKILL);
    waitpid(steady, &st, 0);
    reopen(f);
    check_leftovers(f);
    check_blobs(f);
    check_names(f);
    check_trees(f);
    check_tables(f);
}

/* ---- steps ---- */

static void what_a_killed_build_ran_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct cb_digest dead = digest_of("dead"), live = digest_of("live");
    struct cb_store_options o = { .root = f->root };
    CB_AUTO(cb_store_close) struct cb_store *other = NULL;
    int fd = -1;
    ok(cb_store_open(&o, &other, &f->err));
    assert_int_equal(cb_store_step_take(other, &live, &fd, &f->err), 1);
    threads_end(f);
    pid_t child = fork();
    if (child == 0) {
        int mine = -1;
        _exit(cb_store_step_take(f->s, &dead, &mine, NULL) == 1 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_in(f, "steps"), 2);
    reopen(f);
    assert_int_equal(count_in(f, "steps"), 1);
    int again = -1;
    assert_int_equal(cb_store_step_take(f->s, &live, &again, &f->err), 0);
    cb_store_step_drop(other, &live, &fd);
    assert_int_equal(count_in(f, "steps"), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(killed_at_any_moment),
        T(killed_beside_the_living),
        T(what_a_killed_build_ran_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>

/* ---- opening ---- */

static void layout_is_private_and_readable_by_others(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    static const char *const dirs[] = {
        "", "blobs", "blobs/sha256", "toc", "trees", "cache", "leases", "tmp", "trash"
    };
    for (size_t i = 0; i < CB_COUNTOF(dirs); i++) {
        cb_autofree char *p = path_in(f, dirs[i]);
        assert_int_equal(stat(p, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *layout = path_in(f, "oci-layout");
    ok(cb_file_slurp(layout, 1000, &sb, &f->err));
    assert_string_equal(sb.buf, "{\"imageLayoutVersion\":\"1.0.0\"}");
}

static void wide_open_root_is_closed(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(chmod(f->root, 0755), 0);
    reopen(f);
    assert_int_equal(stat(f->root, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void foreign_directory_is_refused_and_untouched(void **state)
{
    struct fixture *f = *state;
    cb_autofree char *dir = cb_asprintf("%s/home", f->dir), *file = cb_asprintf("%s/home/letter", f->dir);
    assert_int_equal(mkdir(dir, 0755), 0);
    write_at(file, "dear");
    struct cb_store *s = NULL;
    struct cb_store_options o = { .root = dir };
    fails(cb_store_open(&o, &s, &f->err), CB_EUSAGE);
    assert_non_null(strstr(f->err.msg, "letter"));
    assert_null(s);
    assert_int_equal(count_entries(dir), 1);
}

static void newer_format_is_refused(void **state)
{
    struct fixture *f = *state;
    cb_autofree char *p = path_in(f, "version");
    write_at(p, "2\n");
    struct cb_store *s = NULL;
    struct cb_store_options o = { .root = f->root };
    fails(cb_store_open(&o, &s, &f->err), CB_ELOCAL);
    assert_non_null(strstr(f->err.msg, "format 2"));
    write_at(p, "x\n");
    fails(cb_store_open(&o, &s, &f->err), CB_EVERIFY);
    write_at(p, "1\n");
}

static void default_root_follows_the_environment(void **state)
{
    struct fixture *f = *state;
    struct cb_store *s = NULL;
    struct cb_store_options o = { 0 };
    cb_autofree char *want = cb_asprintf("%s/data/cbpush", f->dir), *data = cb_asprintf("%s/data", f->dir);
    cb_autofree char *other = cb_asprintf("%s/other", f->dir);
    unsetenv("CBPUSH_ROOT");
    setenv("XDG_DATA_HOME", data, 1);
    ok(cb_store_open(&o, &s, &f->err));
    assert_string_equal(cb_store_root(s), want);
    cb_store_close(s);
    setenv("CBPUSH_ROOT", other, 1);
    ok(cb_store_open(&o, &s, &f->err));
    assert_string_equal(cb_store_root(s), other);
    cb_store_close(s);
    unsetenv("CBPUSH_ROOT");
    unsetenv("XDG_DATA_HOME");
}

static void opening_is_cheap(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 300; i++) {
        char text[32];
        snprintf(text, sizeof text, "blob %d", i);
        cb_autofree char *p = NULL;
        struct cb_digest d = digest_of(text);
        p = blob_file(f, &d);
        write_at(p, text);
    }
    int64_t best = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        reopen(f);
        clock_gettime(CLOCK_MONOTONIC, &b);
        best = CB_MIN(best, (b.tv_sec - a.tv_sec) * 1000000000LL + (b.tv_nsec - a.tv_nsec));
    }
    print_message("close and open: %lld us\n", (long long)best / 1000);
    assert_true(best < 5000000);
    cb_autofree char *db = path_in(f, "index.sqlite");
    assert_false(exists(db)); /* the index is not touched before it is needed */
}

static void concurrent_creation(void **state)
{
    struct fixture *f = *state;
    char root[300];
    snprintf(root, sizeof root, "%s/fresh", f->dir);
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            struct cb_store *s = NULL;
            struct cb_store_options o = { .root = root };
            struct cb_digest d;
            bool good = cb_store_open(&o, &s, NULL) == 0 && cb_store_blob_put(s, "x", 1, &d, NULL) == 0;
            cb_store_close(s);
            _exit(good ? 0 : 1);
        }
    for (int i = 0, st; i < 8; i++) {
        assert_true(wait(&st) > 0);
        assert_int_equal(st, 0);
    }
    cb_autofree char *leases = cb_asprintf("%s/leases", root), *tmp = cb_asprintf("%s/tmp", root);
    assert_int_equal(count_entries(leases), 0);
    assert_int_equal(count_entries(tmp), 0);
}

/* ---- blobs ---- */

static void put_and_get(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = put_text(f, "hello"), want = digest_of("hello");
    assert_true(cb_digest_eq(&d, &want));
    uint64_t size = 0;
    assert_true(cb_store_blob_has(f->s, &d, &size));
    assert_int_equal(size, 5);
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_store_blob_get(f->s, &d, 100, &sb, &f->err));
    assert_string_equal(sb.buf, "hello");
    fails(cb_store_blob_get(f->s, &d, 4, &sb, &f->err), CB_EVERIFY);
    cb_autofree char *p = blob_file(f, &d);
    struct stat st;
    assert_int_equal(stat(p, &st), 0);
    assert_int_equal(st.st_size, 5);
    put_text(f, "hello"); /* once more is no error */
    struct cb_digest none = digest_of("none");
    int fd = -1;
    fails(cb_store_blob_open(f->s, &none, &fd, &size, &f->err), CB_ENOTFOUND);
    assert_false(cb_store_blob_has(f->s, &none, NULL));
}

static int sink_of(struct fixture *f, const char *text, const struct cb_digest *d, uint64_t size)
{
    cb_autosink struct cb_blob_sink *k = NULL;
    ok(cb_store_blob_sink(f->s, &k, &f->err));
    for (const char *p = text; *p; p++)
        ok(k->ops->write(k, p, 1, &f->err));
    int r = k->ops->commit(k, d, size, &f->err);
    return r < 0 ? r : cb_store_settle(f->s, &f->err);
}

static void wrong_bytes_are_never_visible(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("right");
    fails(sink_of(f, "wrong", &d, 5), CB_EVERIFY);
    fails(sink_of(f, "righ", &d, 5), CB_EVERIFY);
    fails(sink_of(f, "right!", &d, 5), CB_EVERIFY);
    fails(sink_of(f, "right", &d, 4), CB_EVERIFY);
    fails(sink_of(f, "right", &d, 0), CB_EVERIFY); /* zero is a size, not "unknown" (C5) */
    fails(sink_of(f, "", &d, UINT64_MAX), CB_EVERIFY);
    assert_int_equal(count_in(f, "blobs/sha256"), 0);
    ok(sink_of(f, "right", &d, UINT64_MAX));
    assert_int_equal(count_in(f, "blobs/sha256"), 1);
    struct cb_digest empty = digest_of("");
    ok(sink_of(f, "", &empty, 0));
    assert_true(cb_store_blob_has(f->s, &empty, NULL));
}

/* Whoever commits has the digest of what he wrote; how much that was the store knows too. */
static void known_bytes_are_counted(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("right");
    static const struct { uint64_t size; int code; } v[] = {
        { 4, CB_EVERIFY }, { 6, CB_EVERIFY }, { UINT64_MAX, CB_EINTERNAL }, { 5, 0 }
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        cb_autosink struct cb_blob_sink *k = NULL;
        ok(cb_store_blob_sink_known(f->s, &k, &f->err));
        ok(k->ops->write(k, "right", 5, &f->err));
        int r = k->ops->commit(k, &d, v[i].size, &f->err);
        if (v[i].code)
            fails(r, v[i].code);
        else
            ok(r);
        assert_int_equal(cb_store_blob_has(f->s, &d, NULL), !v[i].code);
    }
    ok(cb_store_settle(f->s, &f->err));
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_store_blob_get(f->s, &d, 100, &sb, &f->err));
    assert_string_equal(sb.buf, "right");
}

static void uncommitted_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    {
        cb_autosink struct cb_blob_sink *k = NULL;
        ok(cb_store_blob_sink(f->s, &k, &f->err));
        ok(k->ops->write(k, "abc", 3, &f->err));
    }
    assert_int_equal(count_in(f, "blobs/sha256"), 0);
    cb_store_close(CB_TAKE(f->s));
    assert_int_equal(count_in(f, "tmp"), 0);
    assert_int_equal(count_in(f, "leases"), 0);
    reopen(f);
}

static void committed_twice_is_an_error(void **state)
{
    struct fixture *f = *state;
    cb_autosink struct cb_blob_sink *k = NULL;
    struct cb_digest d = digest_of("a");
    ok(cb_store_blob_sink(f->s, &k, &f->err));
    ok(k->ops->write(k, "a", 1, &f->err));
    ok(k->ops->commit(k, &d, 1, &f->err));
    fails(k->ops->commit(k, &d, 1, &f->err), CB_EINTERNAL);
}

static void sha512_is_really_checked(void **state)
{
    struct fixture *f = *state;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA512);
    struct cb_digest d;
    cb_hasher_update(h, "long", 4);
    cb_hasher_finish(h, &d);
    ok(sink_of(f, "long", &d, 4));
    assert_true(cb_store_blob_has(f->s, &d, NULL));
    assert_int_equal(count_in(f, "blobs/sha512"), 1);
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_store_blob_get(f->s, &d, 10, &sb, &f->err));
    assert_string_equal(sb.buf, "long");
    d.raw[63] ^= 1;
    fails(sink_of(f, "long", &d, 4), CB_EVERIFY);
}

static void damage_is_noticed_and_healed(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = put_text(f, "precious");
    cb_autofree char *p = blob_file(f, &d);
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    static const char *const damages[] = { "", "preciouX", "precious and more" };
    for (size_t i = 0; i < CB_COUNTOF(damages); i++) {
        write_at(p, damages[i]);
        cb_strbuf_reset(&sb);
        fails(cb_store_blob_get(f->s, &d, 100, &sb, &f->err), CB_EVERIFY);
        assert_int_equal(sb.len, 0);
        cb_autosource struct cb_blob_source *src = NULL;
        ok(cb_store_blob_source(f->s, &d, &src, &f->err));
        char buf[64];
        size_t got = 0;
        int r = 0;
        while ((r = cb_blob_read(src, buf, sizeof buf, &got, &f->err)) == 0 && got > 0)
            ;
        assert_int_equal(r, -CB_EVERIFY);
        put_text(f, "precious"); /* the next who brings the bytes mends the file */
        cb_strbuf_reset(&sb);
        ok(cb_store_blob_get(f->s, &d, 100, &sb, &f->err));
        assert_string_equal(sb.buf, "precious");
    }
}

static void links_in_place_of_blobs_are_not_followed(void **state)
{
    struct fixture *f = *state;
    cb_autofree char *secret = cb_asprintf("%s/secret", f->dir);
    write_at(secret, "secret");
    struct cb_digest d = digest_of("secret");
    cb_autofree char *p = blob_file(f, &d);
    assert_int_equal(symlink(secret, p), 0);
    int fd = -1;
    uint64_t n = 0;
    assert_true(cb_store_blob_open(f->s, &d, &fd, &n, &f->err) < 0);
    assert_int_equal(fd, -1);
}

static void big_blob(void **state)
{
    struct fixture *f = *state;
    size_t n = 20u << 20;
    cb_autofree char *buf = cb_malloc(n);
    for (size_t i = 0; i < n; i++)
        buf[i] = (char)(i * 7 + (i >> 12));
    struct cb_digest d;
    ok(cb_store_blob_put(f->s, buf, n, &d, &f->err));
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_store_blob_get(f->s, &d, n, &sb, &f->err));
    assert_int_equal(sb.len, n);
    assert_memory_equal(sb.buf, buf, n);
}

/* A full disk in a mount namespace of a child. 77: not possible here. */
static int on_small_disk(struct fixture *f)
{
    char mnt[300], root[320];
    snprintf(mnt, sizeof mnt, "%s/mnt", f->dir);
    snprintf(root, sizeof root, "%s/mnt/store", f->dir);
    if (mkdir(mnt, 0700) < 0 || unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", mnt, "tmpfs", 0, "size=4m") < 0)
        return 77;
    struct cb_store *s = NULL;
    struct cb_store_options o = { .root = root };
    if (cb_store_open(&o, &s, &f->err) < 0)
        return 1;
    size_t n = 8u << 20;
    cb_autofree char *buf = cb_calloc(1, n);
    struct cb_digest d;
    if (cb_store_blob_put(s, buf, n, &d, &f->err) != -CB_ELOCAL || f->err.sys_errno != ENOSPC ||
        !strstr(f->err.msg, root))
        return 2;
    if (cb_store_blob_put(s, "tiny", 4, &d, NULL) < 0) /* the room is free again */
        return 3;
    /* Filled to the brim it can still be opened and cleaned. */
    int fd = open(mnt, O_TMPFILE | O_RDWR, 0600);
    while (write(fd, buf, 4096) > 0)
        ;
    cb_store_close(s);
    s = NULL;
    struct cb_store_gc_options go = { .all = true };
    struct cb_store_gc_result res;
    if (cb_store_open(&o, &s, &f->err) < 0)
        return 4;
    int r = cb_store_gc(s, &go, &res, &f->err);
    if (r < 0 && f->err.sys_errno != ENOSPC)
        return 5;
    close(fd);
    if (cb_store_gc(s, &go, &res, &f->err) < 0 || cb_store_blob_has(s, &d, NULL))
        return 6;
    cb_store_close(s);
    return 0;
}

static void full_disk_names_the_path(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();
    if (pid == 0) {
        int r = on_small_disk(f);
        if (r && r != 77)
            print_error("step %d: %s\n", r, cb_error_text(&f->err));
        _exit(r);
    }
    int st = 0;
    waitpid(pid, &st, 0);
    if (WIFEXITED(st) && WEXITSTATUS(st) == 77) {
        print_message("skipped: mounting a small disk is not allowed here\n");
        skip();
    }
    assert_int_equal(st, 0);
}

static void what_is_there_is_not_written_again(void **state)
{
    struct fixture *f = *state;
    struct rlimit was, none;
    put_text(f, "there");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    none = was;
    none.rlim_cur = 0;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int again = cb_store_blob_put(f->s, "there", 5, NULL, NULL);
    int other = cb_store_blob_put(f->s, "other", 5, NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(again, 0);
    assert_true(other < 0);
    ok(cb_store_blob_put(f->s, "", 0, NULL, &f->err));
    ok(cb_store_blob_put(f->s, "", 0, NULL, &f->err));
}

/* The name cannot be given: the directory of the names is a file. */
static void what_was_committed_can_be_read_before_it_has_a_name(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("early");
    cb_autofree char *names = cb_asprintf("%s/blobs/sha256", f->root);
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    uint64_t size = 0;
    assert_int_equal(rmdir(names), 0);
    write_at(names, "in the way");
    for (int i = 0; i < 2; i++) /* again is the same blob, not another error */
        ok(cb_store_blob_put(f->s, "early", 5, NULL, &f->err));
    assert_true(cb_store_blob_has(f->s, &d, &size));
    assert_int_equal(size, 5);
    ok(cb_store_blob_get(f->s, &d, 100, &sb, &f->err));
    assert_string_equal(sb.buf, "early");
    fails(cb_store_settle(f->s, &f->err), CB_ELOCAL);
    fails(cb_store_settle(f->s, &f->err), CB_ELOCAL);
    cb_descriptor_of(&desc, CB_MT_OCI_INDEX, "early", 5);
    fails(cb_store_name_set(f->s, "docker.io/library/x:1", &desc, &f->err), CB_ELOCAL);
    assert_non_null(strstr(f->err.msg, "blobs/sha256"));
}

static void closing_waits_for_names(void **state)
{
    struct fixture *f = *state;
    char text[16];
    for (int i = 0; i < 100; i++) { /* more than may wait */
        snprintf(text, sizeof text, "blob %d", i);
        ok(cb_store_blob_put(f->s, text, strlen(text), NULL, &f->err));
    }
    cb_store_close(CB_TAKE(f->s));
    assert_int_equal(count_in(f, "blobs/sha256"), 100);
    assert_int_equal(count_in(f, "tmp"), 0);
    reopen(f);
}

/* Whether it has its name now, or gets it within so many hundredths of a second. */
static bool gets_name(struct fixture *f, const struct cb_digest *d, int hundredths)
{
    cb_autofree char *path = blob_file(f, d);
    for (int i = 0; i < hundredths && !exists(path); i++)
        usleep(10000);
    return exists(path);
}

static void none_is_there(void **state)
{
    struct fixture *f = *state;
    assert_true(cb_store_has_no_blob(f->s));
    cb_store_put_off(f->s);
    ok(cb_store_blob_put(f->s, "one", 3, NULL, &f->err));
    assert_false(cb_store_has_no_blob(f->s)); /* without a name yet */
    reopen(f);
    assert_false(cb_store_has_no_blob(f->s));
}

static void put_off_until_told(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("later");
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_store_put_off(f->s);
    ok(cb_store_blob_put(f->s, "later", 5, NULL, &f->err));
    assert_false(gets_name(f, &d, 20));
    assert_true(cb_store_blob_has(f->s, &d, NULL));
    ok(cb_store_blob_get(f->s, &d, 100, &sb, &f->err));
    assert_string_equal(sb.buf, "later");
    cb_store_go_on(f->s);
    assert_true(gets_name(f, &d, 1000));
    d = digest_of("after that");
    ok(cb_store_blob_put(f->s, "after that", 10, NULL, &f->err));
    assert_true(gets_name(f, &d, 1000));
}

static void put_off_until_asked(void **state)
{
    struct fixture *f = *state;
    struct cb_digest d = digest_of("asked"), e = digest_of("closed"), g = digest_of("so far");
    cb_store_put_off(f->s);
    ok(cb_store_blob_put(f->s, "so far", 6, NULL, &f->err));
    cb_store_settle_so_far(f->s);
    assert_true(gets_name(f, &g, 1));
    cb_store_put_off(f->s);
    ok(cb_store_blob_put(f->s, "asked", 5, NULL, &f->err));
    ok(cb_store_settle(f->s, &f->err));
    assert_true(gets_name(f, &d, 1));
    cb_store_put_off(f->s);
    ok(cb_store_blob_put(f->s, "closed", 6, NULL, &f->err));
    cb_store_close(CB_TAKE(f->s));
    assert_true(gets_name(f, &e, 1));
    assert_int_equal(count_in(f, "tmp"), 0);
    reopen(f);
}

/* The first are done, and forgotten, while the others are still given away. */
static void many_put_off_until_closed(void **state)
{
    struct fixture *f = *state;
    char text[16];
    for (int turn = 0; turn < 20; turn++) {
        cb_store_put_off(f->s);
        for (int i = 0; i < 60; i++) {
            snprintf(text, sizeof text, "%d of %d", i, turn);
            ok(cb_store_blob_put(f->s, text, strlen(text), NULL, &f->err));
        }
        reopen(f);
    }
    assert_int_equal(count_in(f, "blobs/sha256"), 20 * 60);
    assert_int_equal(count_in(f, "tmp"), 0);
}

/* Not more than fits into the next sync, nor than there are descriptors for. */
static void put_off_no_more_than_some(void **state)
{
    struct fixture *f = *state;
    const size_t n = 33 << 20;
    struct cb_digest d;
    char text[16];
    cb_autofree char *buf = cb_malloc(n);
    cb_store_put_off(f->s);
    for (int i = 0; i < 2; i++) {
        memset(buf, 'a' + i, n);
        ok(cb_store_blob_put(f->s, buf, n, &d, &f->err));
        assert_true(i == 0 || gets_name(f, &d, 3000));
    }
    ok(cb_store_settle(f->s, &f->err));
    cb_store_put_off(f->s);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "blob %d", i);
        ok(cb_store_blob_put(f->s, text, strlen(text), NULL, &f->err));
    }
    d = digest_of("blob 0");
    assert_true(gets_name(f, &d, 1000));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(layout_is_private_and_readable_by_others),
        T(wide_open_root_is_closed),
        T(foreign_directory_is_refused_and_untouched),
        T(newer_format_is_refused),
        T(default_root_follows_the_environment),
        T(opening_is_cheap),
        T(concurrent_creation),
        T(put_and_get),
        T(wrong_bytes_are_never_visible),
        T(known_bytes_are_counted),
        T(uncommitted_leaves_nothing),
        T(committed_twice_is_an_error),
        T(sha512_is_really_checked),
        T(damage_is_noticed_and_healed),
        T(links_in_place_of_blobs_are_not_followed),
        T(big_blob),
        T(full_disk_names_the_path),
        T(what_is_there_is_not_written_again),
        T(what_was_committed_can_be_read_before_it_has_a_name),
        T(closing_waits_for_names),
        T(none_is_there),
        T(put_off_until_told),
        T(put_off_until_asked),
        T(many_put_off_until_closed),
        T(put_off_no_more_than_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

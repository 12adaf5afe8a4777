/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a context's files from build to build: never a wrong digest, whatever is done to files and cache. */
#include "store_fixture.h"

#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>

#include "build/context_private.h"
#include "build/stat_cache.h"
#include "build/uploads_ahead.h"
#include "util/thread.h"

#define REAL_MARGIN (-1)

static void path_of(const struct fixture *f, const char *name, char buf[static 512])
{
    snprintf(buf, 512, "%s/%s", f->dir, name);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[512];
    path_of(f, name, path);
    cb_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void make_dir(const struct fixture *f, const char *name)
{
    char path[512];
    path_of(f, name, path);
    assert_int_equal(mkdir(path, 0755), 0);
}

/* Until the clock of the files has gone on twice: what is written now, and before, has another time. */
static void settle(void)
{
    struct timespec was, now;
    for (int i = 0; i < 2; i++) {
        clock_gettime(CLOCK_REALTIME_COARSE, &was);
        do
            clock_gettime(CLOCK_REALTIME_COARSE, &now);
        while (now.tv_sec == was.tv_sec && now.tv_nsec == was.tv_nsec);
    }
}

/* Looks at the source in the directory and compares each digest with what is in the file. */
struct look {
    const char *dir, *source; /* NULL: ctx, all of it */
    int64_t margin;
};

static const char *dir_of(const struct look *l)
{
    return l->dir ? l->dir : "ctx";
}

static struct cb_context *open_context(struct fixture *f, const struct look *l)
{
    char path[512];
    path_of(f, dir_of(l), path);
    struct cb_context *c = cb_context_open(path, NULL, &f->err);
    assert_non_null(c);
    cb_context_remember(c, f->s);
    if (!c->stats) {
        cb_context_free(c);
        skip(); /* this file system is none that is believed */
    }
    if (l->margin != REAL_MARGIN)
        cb_stat_cache_set_margin(c->stats, l->margin);
    return c;
}

static void check_item(const struct fixture *f, const struct look *l, const struct cb_item *it)
{
    char path[512];
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_sum d;
    if (it->type != CB_ENTRY_FILE && it->type != CB_ENTRY_HARDLINK)
        return;
    snprintf(path, sizeof path, "%s/%s/%s", f->dir, dir_of(l), cb_item_path(it));
    assert_int_equal(cb_file_slurp(path, 1u << 20, &text, NULL), 0);
    cb_sum_of(&d, text.buf, text.len);
    if (!cb_sum_eq(&d, &cb_item_found(it)->digest))
        fail_msg("%s has a wrong digest", cb_item_path(it));
}

static struct cb_context_work look_at(struct fixture *f, const struct look *l)
{
    struct cb_selection sel = { 0 };
    struct cb_context_work work;
    struct cb_copy_op op = { .unpack = -1 };
    CB_AUTO(cb_pool_free) struct cb_pool *cpu = cb_pool_new("cpu", 2);
    struct cb_build_env env = { .cpu = cpu };
    CB_AUTO(cb_context_free) struct cb_context *c = open_context(f, l);
    cb_strvec_push(&op.sources, l->source ? l->source : ".");
    ok(cb_context_select(c, &op, &env, &sel, &f->err));
    for (size_t i = 0; i < sel.n; i++)
        for (size_t k = 0; k < sel.v[i].n; k++)
            check_item(f, l, sel.v[i].items[k]);
    cb_context_stats(c, &work);
    cb_selection_done(&sel);
    cb_strvec_done(&op.sources);
    return work;
}

#define expect(n_read, n_known, ...)                                                                                   \
    do {                                                                                                               \
        struct cb_context_work w_ = look_at(f, &(struct look){ __VA_ARGS__ });                                       \
        assert_int_equal(w_.files, (n_read));                                                                          \
        assert_int_equal(w_.known, (n_known));                                                                         \
    } while (0)

static void three_files(const struct fixture *f)
{
    make_dir(f, "ctx");
    make_dir(f, "ctx/sub");
    write_file(f, "ctx/a", "aaaa");
    write_file(f, "ctx/b", "bbbb");
    write_file(f, "ctx/sub/c", "cccc");
    settle();
}

static void get_times(const struct fixture *f, const char *name, struct timespec t[static 2])
{
    char path[512];
    struct stat st;
    path_of(f, name, path);
    assert_int_equal(stat(path, &st), 0);
    t[0] = st.st_atim;
    t[1] = st.st_mtim;
}

static void set_times(const struct fixture *f, const char *name, const struct timespec t[static 2])
{
    char path[512];
    path_of(f, name, path);
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

/* ---- changes ---- */

static void unchanged_is_not_read(void **state)
{
    struct fixture *f = *state;
    three_files(f);
    expect(3, 0);
    expect(0, 3);
    reopen(f);
    expect(0, 3);
    write_file(f, "ctx/d", "dddd");
    settle();
    expect(1, 3);
    expect(0, 4);
}

static void same_size_and_mtime_put_back(void **state)
{
    struct fixture *f = *state;
    struct timespec t[2];
    three_files(f);
    expect(3, 0);
    get_times(f, "ctx/a", t);
    write_file(f, "ctx/a", "AAAA");
    set_times(f, "ctx/a", t);
    settle();
    expect(1, 2);
    expect(0, 3);
}

static void replaced_by_rename(void **state)
{
    struct fixture *f = *state;
    struct timespec t[2];
    char from[512], to[512];
    three_files(f);
    expect(3, 0);
    get_times(f, "ctx/a", t);
    write_file(f, "new", "AAAA");
    set_times(f, "new", t);
    path_of(f, "new", from);
    path_of(f, "ctx/a", to);
    assert_int_equal(rename(from, to), 0);
    settle();
    expect(1, 2);
    /* And two that change places. */
    path_of(f, "ctx/b", from);
    assert_int_equal(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE), 0);
    (void)look_at(f, &(struct look){ 0 });
    expect(0, 3);
}

static void several_links(void **state)
{
    struct fixture *f = *state;
    struct timespec t[2];
    char a[512], z[512];
    three_files(f);
    path_of(f, "ctx/a", a);
    path_of(f, "ctx/z", z);
    assert_int_equal(link(a, z), 0);
    settle();
    expect(3, 0);
    expect(0, 3); /* z is a itself */
    get_times(f, "ctx/z", t);
    write_file(f, "ctx/z", "AAAA");
    set_times(f, "ctx/z", t);
    settle();
    expect(1, 2);
    expect(0, 1, .source = "z");
}

static void link_that_points_elsewhere(void **state)
{
    struct fixture *f = *state;
    char to[512];
    three_files(f);
    path_of(f, "ctx/link", to);
    assert_int_equal(symlink("a", to), 0);
    expect(1, 0, .source = "link");
    expect(0, 1, .source = "link");
    assert_int_equal(unlink(to), 0);
    assert_int_equal(symlink("b", to), 0);
    expect(1, 0, .source = "link");
    /* A link where a file was. */
    path_of(f, "ctx/a", to);
    assert_int_equal(unlink(to), 0);
    assert_int_equal(symlink("b", to), 0);
    expect(0, 1, .source = "a");
}

/* ---- what is not kept ---- */

static void just_written(void **state)
{
    struct fixture *f = *state;
    three_files(f);
    expect(3, 0, .margin = REAL_MARGIN);
    expect(3, 0, .margin = REAL_MARGIN);
    expect(3, 0, .margin = INT64_C(3600) * 1000000000);
    expect(3, 0);
    expect(0, 3, .margin = REAL_MARGIN);
}

/* mtime may be anything, but none that is still to come: it would be no sign of a later change. */
static void time_to_come(void **state)
{
    struct fixture *f = *state;
    const struct timespec future[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = time(NULL) + 86400 } };
    const struct timespec odd[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = -5, .tv_nsec = 7 } };
    three_files(f);
    set_times(f, "ctx/a", future);
    set_times(f, "ctx/b", odd);
    settle();
    expect(3, 0);
    expect(1, 2);
}

static void changed_while_it_is_read(void **state)
{
    struct fixture *f = *state;
    struct stat st, now;
    struct cb_sum d, got;
    size_t hint = SIZE_MAX;
    char path[512];
    three_files(f);
    cb_sum_of(&d, "aaaa", 4);
    struct cb_context *c = open_context(f, &(struct look){ 0 });
    path_of(f, "ctx/a", path);
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(cb_stat_cache_watch(c->stats, fd, &st));
    write_file(f, "ctx/a", "AAAA");
    cb_stat_cache_put(c->stats, fd, &st, &d);
    cb_context_free(c);
    c = open_context(f, &(struct look){ 0 });
    assert_false(cb_stat_cache_get(c->stats, &st, &hint, &got));
    assert_int_equal(fstat(fd, &now), 0);
    assert_false(cb_stat_cache_get(c->stats, &now, &hint, &got));
    cb_context_free(c);
}

static void open_for_writing(void **state)
{
    struct fixture *f = *state;
    char path[512];
    three_files(f);
    path_of(f, "ctx/a", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    expect(3, 0);
    expect(1, 2);
    close(fd);
    expect(1, 2);
    expect(0, 3);
}

/* The second write of a mapping changes no time, although nobody has a descriptor any more. */
static void written_by_a_mapping(void **state)
{
    struct fixture *f = *state;
    char path[512];
    struct stat before, after;
    three_files(f);
    path_of(f, "ctx/a", path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char *map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    map[0] = '1';
    settle();
    expect(3, 0);
    assert_int_equal(stat(path, &before), 0);
    map[0] = '2';
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec); /* or this test shows nothing */
    expect(1, 2);
    assert_int_equal(munmap(map, 4), 0);
    expect(1, 2);
    expect(0, 3);
}

static void extended_attributes(void **state)
{
    struct fixture *f = *state;
    char path[512];
    three_files(f);
    path_of(f, "ctx/a", path);
    expect(3, 0);
    if (setxattr(path, "user.x", "1", 1, 0) < 0)
        skip();
    settle();
    expect(1, 2);
    expect(1, 2);
    assert_int_equal(removexattr(path, "user.x"), 0);
    settle();
    expect(1, 2);
    expect(0, 3);
}

static void file_system_that_is_not_believed(void **state)
{
    struct fixture *f = *state;
    cb_autoclose int fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st = { .st_mode = S_IFREG };
    struct cb_sum d;
    size_t hint = SIZE_MAX;
    assert_null(cb_stat_cache_open(f->s, fd));
    assert_null(cb_stat_cache_open(NULL, fd));
    assert_false(cb_stat_cache_get(NULL, &st, &hint, &d));
    assert_false(cb_stat_cache_watch(NULL, fd, &st));
    cb_stat_cache_close(NULL);
}

/* ---- the file ---- */

static void two_contexts(void **state)
{
    struct fixture *f = *state;
    three_files(f);
    make_dir(f, "other");
    write_file(f, "other/a", "AAAA");
    settle();
    expect(3, 0);
    expect(1, 0, .dir = "other");
    expect(0, 3);
    expect(0, 1, .dir = "other");
    assert_int_equal(count_in(f, "stats"), 2);
}

static void two_at_once(void **state)
{
    struct fixture *f = *state;
    three_files(f);
    struct cb_context *c = open_context(f, &(struct look){ 0 });
    expect(3, 0);
    cb_context_free(c);
    expect(0, 3);
}

/* What another Dockerfile copies is not forgotten at once, what is gone is, some time. */
static void not_asked_for(void **state)
{
    struct fixture *f = *state;
    char path[512];
    three_files(f);
    expect(3, 0);
    for (int i = 0; i < 8; i++) {
        write_file(f, "ctx/b", "BBBB");
        settle();
        expect(1, 0, .source = "b");
    }
    expect(0, 3);
    path_of(f, "ctx/a", path);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 20; i++) {
        write_file(f, "ctx/b", "BBBB");
        settle();
        expect(1, 0, .source = "b");
    }
    cb_autofree char *dir = path_in(f, "stats");
    DIR *d = opendir(dir);
    struct stat st = { 0 };
    for (const struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            assert_int_equal(fstatat(dirfd(d), e->d_name, &st, 0), 0);
    closedir(d);
    assert_int_equal(st.st_size, 72 + 96); /* b alone */
}

static void find_stats(const struct fixture *f, struct cb_strbuf *path)
{
    cb_autofree char *dir = path_in(f, "stats");
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            cb_strbuf_addf(path, "%s/%s", dir, e->d_name);
    closedir(d);
}

static void put_bytes(const char *path, const char *p, size_t n)
{
    cb_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
}

static void damaged_file(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, good cb_cleanup_strbuf = CB_STRBUF_INIT;
    three_files(f);
    expect(3, 0);
    find_stats(f, &path);
    assert_int_equal(cb_file_slurp(path.buf, 1u << 20, &good, NULL), 0);
    for (size_t i = 0; i < good.len; i++) {
        cb_autofree char *bad = cb_memdup(good.buf, good.len);
        bad[i] = (char)(bad[i] ^ (1 << i % 8));
        put_bytes(path.buf, bad, good.len);
        expect(3, 0);
    }
    for (size_t n = 0; n < good.len; n++) {
        put_bytes(path.buf, good.buf, n);
        expect(3, 0);
    }
    cb_strbuf_adds(&good, "x");
    put_bytes(path.buf, good.buf, good.len);
    expect(3, 0);
    assert_int_equal(unlink(path.buf), 0);
    assert_int_equal(mkdir(path.buf, 0700), 0);
    expect(3, 0);
}

static void file_of_another_boot(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, b cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest sum;
    three_files(f);
    expect(3, 0);
    find_stats(f, &path);
    assert_int_equal(cb_file_slurp(path.buf, 1u << 20, &b, NULL), 0);
    for (int other = 0; other < 2; other++) {
        b.buf[b.len - 96] = other ? 'x' : b.buf[b.len - 96];
        cb_digest_of(&sum, b.buf, b.len - 32);
        memcpy(b.buf + b.len - 32, sum.raw, 32);
        put_bytes(path.buf, b.buf, b.len);
        if (other)
            expect(3, 0);
        else
            expect(0, 3);
    }
}

/* ---- what is told of a context before it is walked ---- */

/* As a build notes what it took. */
static void take_all(struct fixture *f, struct cb_inputs *out)
{
    struct cb_selection sel = { 0 };
    struct cb_copy_op op = { .unpack = -1 };
    CB_AUTO(cb_pool_free) struct cb_pool *cpu = cb_pool_new("cpu", 2);
    struct cb_build_env env = { .cpu = cpu };
    CB_AUTO(cb_context_free) struct cb_context *c = open_context(f, &(struct look){ .margin = 0 });
    cb_strvec_push(&op.sources, ".");
    ok(cb_context_select(c, &op, &env, &sel, &f->err));
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n] = (struct cb_step_inputs){ .kind = CB_VERTEX_COPY, .hashes = CB_STRBUF_INIT };
    cb_inputs_add_files(&out->v[out->n++], &sel);
    cb_selection_done(&sel);
    cb_strvec_done(&op.sources);
}

static bool has_changed(struct fixture *f, const struct cb_inputs *last, bool stop)
{
    CB_AUTO(cb_context_free) struct cb_context *c = open_context(f, &(struct look){ .margin = 0 });
    const atomic_bool stopped = stop;
    return cb_context_has_changed(c, last, &stopped);
}

static void told_ahead(void **state)
{
    struct fixture *f = *state;
    struct cb_inputs last cb_cleanup_inputs = { 0 };
    char path[512];
    three_files(f);
    path_of(f, "ctx/link", path);
    assert_int_equal(symlink("a", path), 0);
    assert_false(has_changed(f, &last, false)); /* nothing is known */
    take_all(f, &last);
    assert_false(has_changed(f, &last, false));
    write_file(f, "ctx/new", "a step that takes it is one for the walk");
    write_file(f, "ctx/sub/c", "cccc"); /* another time, the same bytes */
    assert_false(has_changed(f, &last, false));
    write_file(f, "ctx/sub/c", "CCCC");
    assert_true(has_changed(f, &last, false));
    assert_false(has_changed(f, &last, true));
    path_of(f, "ctx/sub/c", path);
    assert_int_equal(truncate(path, 2 << 20), 0); /* too much for a look */
    assert_false(has_changed(f, &last, false));
    assert_int_equal(unlink(path), 0);
    assert_false(has_changed(f, &last, false));
    assert_int_equal(symlink("../a", path), 0);
    assert_false(has_changed(f, &last, false));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(unchanged_is_not_read), T(same_size_and_mtime_put_back), T(replaced_by_rename), T(several_links),
        T(link_that_points_elsewhere), T(just_written), T(time_to_come), T(changed_while_it_is_read),
        T(open_for_writing), T(written_by_a_mapping), T(extended_attributes), T(file_system_that_is_not_believed),
        T(two_contexts), T(two_at_once), T(not_asked_for), T(damaged_file), T(file_of_another_boot),
        T(told_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

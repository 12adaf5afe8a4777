/* SPDX-License-Identifier: Apache-2.0 */
/* Cache mounts in places: where chunks are cut, what is sent again, and what of a hostile place is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define CB_FUZZ_REPLAY
#include "cache/mount_parts.h"
#include "tests/fuzz/fuzz_cache_mount.c"
#include "fuzz_replay.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/hashmap.h"
#include "util/limits.h"

/* ---- chunks ---- */

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        p[i] = (uint8_t)(seed >> 56);
    }
}

#define BYTES ((size_t)16 << 20)

/* Digests of the chunks; how many of them are in `known`. */
static size_t chunks(const uint8_t *p, size_t n, struct cb_hashmap *known, size_t *same)
{
    size_t count = 0;
    while (n) {
        struct cb_digest d;
        char hex[CB_DIGEST_TEXT_MAX];
        size_t len = cache_cdc_cut(p, n);
        assert_true(len && len <= n && len <= CACHE_CDC_MAX && (len >= CACHE_CDC_MIN || len == n));
        cb_digest_of(&d, p, len);
        *same += cb_hashmap_put(known, cb_digest_hex(&d, hex), known) != NULL;
        p += len;
        n -= len;
        count++;
    }
    return count;
}

static void cuts_move_only_where_something_changed(void **state)
{
    (void)state;
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *known = cb_hashmap_new();
    cb_autofree uint8_t *p = cb_malloc(BYTES + 5);
    size_t same = 0, at = BYTES / 2;
    fill(p, BYTES, 1);
    size_t n = chunks(p, BYTES, known, &same);
    assert_int_equal(same, 0);
    assert_true(BYTES / n > CACHE_CDC_AVG / 2 && BYTES / n < CACHE_CDC_AVG * 2);
    memmove(p + at + 5, p + at, BYTES - at);
    memcpy(p + at, "12345", 5);
    size_t m = chunks(p, BYTES + 5, known, &same);
    assert_true(same + 3 >= m);
}

/* What places hold was cut so: this must never change. */
static void cuts_are_the_same_for_ever(void **state)
{
    (void)state;
    static const size_t want[] = { 147999, 225139, 148347, 186206 };
    cb_autofree uint8_t *p = cb_malloc(BYTES);
    const uint8_t *at = p;
    fill(p, BYTES, 42);
    for (size_t i = 0; i < CB_COUNTOF(want); i++) {
        size_t n = cache_cdc_cut(at, BYTES - (size_t)(at - p));
        assert_int_equal(n, want[i]);
        at += n;
    }
    memset(p, 0, BYTES);
    assert_int_equal(cache_cdc_cut(p, BYTES), CACHE_CDC_MAX);
    assert_int_equal(cache_cdc_cut(p, 7), 7);
}

/* ---- the index ---- */

static void sample(struct cache_mount_index *x)
{
    x->mode = 0755;
    x->packs = cb_calloc(2, sizeof *x->packs);
    x->chunks = cb_calloc(3, sizeof *x->chunks);
    x->refs = cb_calloc(4, sizeof *x->refs);
    for (; x->n_packs < 2; x->n_packs++) {
        x->packs[x->n_packs].size = 5000;
        cb_digest_of(&x->packs[x->n_packs].digest, &x->n_packs, sizeof x->n_packs);
    }
    for (; x->n_chunks < 3; x->n_chunks++) {
        x->chunks[x->n_chunks] = (struct cache_mount_chunk){ .size = 300, .pack = x->n_chunks & 1, .packed = 200,
                                                             .offset = 100 * x->n_chunks };
        cb_digest_of(&x->chunks[x->n_chunks].digest, &x->n_chunks, sizeof x->n_chunks);
    }
    for (; x->n_refs < 4; x->n_refs++)
        x->refs[x->n_refs] = (uint32_t)x->n_refs % 3;
    x->table_refs = 1;
}

static bool is_index(const char *p, size_t n)
{
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cache_mount_index_parse(&x, p, n, NULL) < 0)
        return false;
    cache_mount_index_print(&out, &x);
    assert_int_equal(out.len, n);
    assert_memory_equal(out.buf, p, n);
    return true;
}

static void an_index_has_one_form(void **state)
{
    (void)state;
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    struct cb_strbuf s cb_cleanup_strbuf = CB_STRBUF_INIT;
    sample(&x);
    cache_mount_index_print(&s, &x);
    assert_true(is_index(s.buf, s.len));
    for (size_t n = 0; n < s.len; n++)
        assert_false(is_index(s.buf, n));
    for (size_t i = 0; i < s.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            s.buf[i] ^= (char)(1 << bit);
            (void)is_index(s.buf, s.len);
            s.buf[i] ^= (char)(1 << bit);
        }
    cb_strbuf_addch(&s, '\0');
    assert_false(is_index(s.buf, s.len));
}

/* One change of the sample each, that a reader must refuse. */
static void an_index_out_of_bounds_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct cache_mount_index x cb_cleanup_mount_index = { 0 };
        struct cb_strbuf s cb_cleanup_strbuf = CB_STRBUF_INIT;
        sample(&x);
        switch (i) {
        case 0: x.chunks[1].pack = 2; break;
        case 1: x.chunks[1].offset = 4801; break;
        case 2: x.chunks[1].size = CACHE_CDC_MAX + 1; break;
        case 3: x.refs[3] = 3; break;
        case 4: x.table_refs = 5; break;
        case 5: x.chunks[0].packed = 0; break;
        case 6: x.chunks[0].size = 0; break;
        default: x.mode = 010000;
        }
        cache_mount_index_print(&s, &x);
        if (is_index(s.buf, s.len))
            fail_msg("case %u", i);
    }
}

static void a_bomb_of_references_is_refused(void **state)
{
    (void)state;
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    struct cb_strbuf s cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = (size_t)(CB_MAX_CACHE_MOUNT / CACHE_CDC_MAX);
    sample(&x);
    x.refs = cb_reallocarray(x.refs, n + 1, sizeof *x.refs);
    memset(x.refs, 0, (n + 1) * sizeof *x.refs);
    x.chunks[0].size = CACHE_CDC_MAX;
    x.n_refs = n;
    cache_mount_index_print(&s, &x);
    assert_true(is_index(s.buf, s.len));
    x.n_refs = n + 1;
    cb_strbuf_reset(&s);
    cache_mount_index_print(&s, &x);
    assert_false(is_index(s.buf, s.len));
}

static void every_input_that_was_kept_is_survived(void **state)
{
    (void)state;
    static const struct fuzz_target target = { "cache_mount", fuzz_cache_mount };
    assert_true(fuzz_replay(&target) > 0);
}

/* ---- a place that is a directory ---- */

struct fixture {
    char dir[64];
    int fd, fs;                /* of dir; dir/one/fs */
    struct cb_cache_spec spec;
    struct cb_cache_mount m;
    struct cb_error err;
};

static void ok_at(struct fixture *f, int r, int line)
{
    if (r < 0)
        fail_msg("line %d: %s", line, cb_error_text(&f->err));
}
#define ok(call) ok_at(f, (call), __LINE__)

static int open_dir(const struct fixture *f, const char *name)
{
    cb_autofree char *path = cb_asprintf("%s/fs", name);
    assert_int_equal(mkdirat(f->fd, name, 0700), 0);
    assert_int_equal(mkdirat(f->fd, path, 0755), 0);
    int fd = openat(f->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    struct fixture *f = CB_NEW(struct fixture);
    *state = f;
    snprintf(f->dir, sizeof f->dir, "/tmp/cbpush-mount.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->fs = open_dir(f, "one");
    cb_autofree char *text = cb_asprintf("type=local,dest=%s/place", f->dir);
    ok(cb_cache_mount_spec_parse(&f->spec, text, true, &f->err));
    f->m = (struct cb_cache_mount){ .name = "mount-x", .id = "x", .tmp_fd = f->fd, .single_id = true };
    struct cb_cache_place_options po = { .spec = &f->spec, .run = "", .write = true };
    ok(cb_cache_place_open(&po, &f->m.place, &f->err));
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cb_cache_place_close(f->m.place);
    cb_cache_spec_done(&f->spec);
    close(f->fd);
    close(f->fs);
    cb_autoclose int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(cb_fs_remove_tree(tmp, f->dir + strlen("/tmp/"), NULL), 0);
    cb_error_done(&f->err);
    free(f);
    return 0;
}

static void put_file(int dir, const char *name, const void *p, size_t n)
{
    cb_autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_int_equal(cb_fd_write_all(fd, p, n, NULL), 0);
}

static struct cb_cache_mount_stats save(struct fixture *f)
{
    struct cb_cache_mount_save *s = NULL;
    struct cb_cache_mount_stats stats;
    ok(cb_cache_mount_save(&f->m, f->fs, &s, &f->err));
    ok(cb_cache_mount_commit(s, &stats, &f->err));
    cb_cache_mount_save_free(s);
    return stats;
}

static size_t packs(struct fixture *f)
{
    struct cache_mount_head h cb_cleanup_mount_head = { 0 };
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    ok(cache_mount_fetch(&f->m, &h, &f->err));
    ok(cache_mount_fetch_index(&f->m, &h, &x, &f->err));
    return x.n_packs;
}

static void what_did_not_change_is_not_read_again(void **state)
{
    struct fixture *f = *state;
    struct cb_cache_mount_stats stats;
    put_file(f->fs, "a", "1", 1);
    assert_false(save(f).same);
    stats = save(f);
    assert_true(stats.same && stats.chunks == 0);
    put_file(f->fs, "a", "2", 1); /* the same size; its time may be the same second */
    stats = save(f);
    assert_false(stats.same);
    assert_int_equal(stats.files, 1);
    assert_true(stats.chunks_new >= 1);
}

/* Saves of small changes leave small packs, and dead parts of them; neither may add up. */
static void packs_do_not_add_up(void **state)
{
    struct fixture *f = *state;
    cb_autofree uint8_t *p = cb_malloc(100000);
    size_t most = 0;
    for (unsigned i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i % 30);
        fill(p, 100000, i);
        put_file(f->fs, name, p, 100000);
        (void)save(f);
        most = CB_MAX(most, packs(f));
    }
    assert_true(most > 3 && most <= 20);
    cb_autoclose int two = open_dir(f, "two");
    struct cb_cache_mount_stats stats;
    ok(cb_cache_mount_restore(&f->m, two, &stats, &f->err));
    assert_int_equal(stats.files, 30);
    assert_int_equal(stats.bytes, 3000000);
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autoclose int fd = openat(two, "f29", O_RDONLY | O_CLOEXEC);
    ok(cb_fd_slurp(fd, 100000, &got, &f->err));
    assert_int_equal(got.len, 100000);
    assert_memory_equal(got.buf, p, 100000);
}

static void the_same_content_elsewhere_is_not_sent(void **state)
{
    struct fixture *f = *state;
    cb_autofree uint8_t *p = cb_malloc(3000000);
    fill(p, 3000000, 7);
    put_file(f->fs, "a", p, 3000000);
    (void)save(f);
    ok(renameat(f->fs, "a", f->fs, "zz"));
    put_file(f->fs, "b", "small", 5);
    struct cb_cache_mount_stats stats = save(f);
    assert_true(stats.chunks_new <= 2 && stats.moved < 2000);
}

/* As it would stand there two days after it was last written. */
static void put_back_in_time(struct fixture *f, struct cb_digest *pack)
{
    struct cache_mount_head h cb_cleanup_mount_head = { 0 };
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    ok(cache_mount_fetch(&f->m, &h, &f->err));
    ok(cache_mount_fetch_index(&f->m, &h, &x, &f->err));
    *pack = x.packs[0].digest;
    h.created -= INT64_C(48) * 3600 * 1000000000;
    cache_mount_artifact(&a, &h, &x);
    ok(f->m.place->ops->put(f->m.place, f->m.name, &a, true, &f->err));
}

static void a_pack_that_is_gone_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct cb_cache_mount_stats stats;
    struct cb_digest pack;
    char hex[CB_DIGEST_TEXT_MAX];
    put_file(f->fs, "a", "1", 1);
    (void)save(f);
    put_back_in_time(f, &pack);
    assert_true(save(f).same); /* only its name is written again */
    put_back_in_time(f, &pack);
    cb_autofree char *path = cb_asprintf("place/blobs/sha256/%s", cb_digest_hex(&pack, hex));
    assert_int_equal(unlinkat(f->fd, path, 0), 0);
    assert_true(save(f).chunks_new >= 1);
    cb_autoclose int two = open_dir(f, "two");
    ok(cb_cache_mount_restore(&f->m, two, &stats, &f->err));
    assert_int_equal(stats.files, 1);
}

/* ---- what a hostile place may say ---- */

/* An artifact of this table and these bytes, which nobody has looked at. */
static void put_hostile(struct fixture *f, const struct cb_entry *v, size_t n, const char *data)
{
    struct cb_strbuf parts[2] = { CB_STRBUF_INIT, CB_STRBUF_INIT }, pack cb_cleanup_strbuf = CB_STRBUF_INIT,
                     text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cache_mount_index x cb_cleanup_mount_index = { .mode = 0755 };
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    for (size_t i = 0; i < n; i++)
        ok(cb_toc_builder_add(b, &v[i], &f->err));
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = cb_toc_builder_finish(b);
    cb_toc_print(&parts[0], toc);
    cb_strbuf_adds(&parts[1], data);
    x.packs = cb_calloc(1, sizeof *x.packs);
    x.chunks = cb_calloc(2, sizeof *x.chunks);
    x.refs = cb_calloc(2, sizeof *x.refs);
    x.n_packs = x.table_refs = 1;
    for (size_t i = 0; i < 2 && parts[i].len; i++) {
        char buf[4096];
        size_t got = ZSTD_compress(buf, sizeof buf, parts[i].buf, parts[i].len, 1);
        x.chunks[i] = (struct cache_mount_chunk){ .size = (uint32_t)parts[i].len, .packed = (uint32_t)got,
                                                  .offset = pack.len };
        cb_digest_of(&x.chunks[i].digest, parts[i].buf, parts[i].len);
        x.refs[i] = (uint32_t)i;
        x.n_chunks = x.n_refs = i + 1;
        cb_strbuf_add(&pack, buf, got);
    }
    x.packs[0].size = pack.len;
    cb_digest_of(&x.packs[0].digest, pack.buf, pack.len);
    cache_mount_index_print(&text, &x);
    struct cache_mount_head h = { .index_size = text.len, .name = (char *)(uintptr_t)"mount-x",
                                  .id = (char *)(uintptr_t)"x" };
    cb_digest_of(&h.index, text.buf, text.len);
    cache_mount_artifact(&a, &h, &x);
    cb_autofree char *blobs = cb_asprintf("%s/place/blobs/sha256", f->dir);
    cb_autoclose int dir = open(blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char hex[CB_DIGEST_TEXT_MAX];
    put_file(dir, cb_digest_hex(&h.index, hex), text.buf, text.len);
    put_file(dir, cb_digest_hex(&x.packs[0].digest, hex), pack.buf, pack.len);
    ok(f->m.place->ops->put(f->m.place, "mount-x", &a, true, &f->err));
    cb_strbuf_done(&parts[0]);
    cb_strbuf_done(&parts[1]);
}

static int restored(struct fixture *f, const struct cb_entry *v, size_t n, const char *data)
{
    static unsigned serial;
    struct cb_cache_mount_stats stats;
    char name[32];
    snprintf(name, sizeof name, "r%u", serial++);
    cb_autoclose int fs = open_dir(f, name);
    put_hostile(f, v, n, data);
    return cb_cache_mount_restore(&f->m, fs, &stats, NULL);
}

#define DIR(p) { .path = p, .type = CB_ENTRY_DIR, .mode = 0755 }
#define FILE_OF(p, n) { .path = p, .type = CB_ENTRY_FILE, .mode = 0644, .size = n, .offset = UINT64_MAX }
#define OTHER(p, t, to) { .path = p, .type = t, .mode = 0644, .link = to }

static void hostile_tables_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *what, *data;
        struct cb_entry v[3];
        size_t n;
        int r;
    } t[] = {
        { "good", "abc", { DIR("d"), FILE_OF("d/f", 3), OTHER("h", CB_ENTRY_HARDLINK, "d/f") }, 3, 0 },
        { "empty", "", { DIR("d") }, 1, 0 },
        { "less data", "ab", { FILE_OF("f", 3) }, 1, -CB_EVERIFY },
        { "more data", "abcd", { FILE_OF("f", 3) }, 1, -CB_EVERIFY },
        { "no data", "", { FILE_OF("f", 3) }, 1, -CB_EVERIFY },
        { "huge", "abc", { FILE_OF("f", INT64_MAX), FILE_OF("g", INT64_MAX) }, 2, -CB_EVERIFY },
        { "no parent", "abc", { FILE_OF("d/f", 3) }, 1, -CB_EVERIFY },
        { "device", "", { OTHER("n", CB_ENTRY_CHAR, NULL) }, 1, -CB_EVERIFY },
        { "block device", "", { OTHER("n", CB_ENTRY_BLOCK, NULL) }, 1, -CB_EVERIFY },
        { "pipe", "", { OTHER("n", CB_ENTRY_FIFO, NULL) }, 1, -CB_EVERIFY },
        { "whiteout", "", { OTHER("n", CB_ENTRY_WHITEOUT, NULL) }, 1, -CB_EVERIFY },
        { "link to nothing", "", { OTHER("h", CB_ENTRY_HARDLINK, "etc/passwd") }, 1, -CB_EVERIFY },
        { "link to a link", "", { OTHER("s", CB_ENTRY_SYMLINK, "/etc/passwd"), OTHER("t", CB_ENTRY_HARDLINK, "s") }, 2,
          -CB_EVERIFY },
        { "link to a directory", "", { DIR("d"), OTHER("h", CB_ENTRY_HARDLINK, "d") }, 2, -CB_EVERIFY },
    };
    put_file(f->fs, "a", "1", 1);
    (void)save(f); /* makes the place */
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        int r = restored(f, t[i].v, t[i].n, t[i].data);
        if (r != t[i].r)
            fail_msg("%s: %d", t[i].what, r);
    }
}

/* Bits that a step's mount has no use for, and that others on the machine could. */
static void set_id_bits_are_not_restored(void **state)
{
    struct fixture *f = *state;
    struct cb_entry v[] = { FILE_OF("f", 3), DIR("d") };
    struct cb_cache_mount_stats stats;
    struct stat st;
    v[0].mode = 06755;
    v[1].mode = 02775;
    put_file(f->fs, "a", "1", 1);
    (void)save(f);
    put_hostile(f, v, 2, "abc");
    cb_autoclose int fs = open_dir(f, "bits");
    ok(cb_cache_mount_restore(&f->m, fs, &stats, &f->err));
    assert_int_equal(fstatat(fs, "f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(fstatat(fs, "d", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 02775);
}

static void one_of_another_name_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cache_mount_head h cb_cleanup_mount_head = { 0 };
    put_file(f->fs, "a", "1", 1);
    (void)save(f);
    ok(cache_get(f->m.place, "mount-x", &a, &body, &f->err));
    ok(f->m.place->ops->put(f->m.place, "mount-y", &a, true, &f->err));
    f->m.name = "mount-y";
    assert_int_equal(cache_mount_fetch(&f->m, &h, NULL), -CB_EVERIFY);
    f->m.name = "mount-z";
    assert_int_equal(cache_mount_fetch(&f->m, &h, NULL), -CB_ENOTFOUND);
}

#define IN_PLACE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_move_only_where_something_changed),
        cmocka_unit_test(cuts_are_the_same_for_ever),
        cmocka_unit_test(an_index_has_one_form),
        cmocka_unit_test(an_index_out_of_bounds_is_refused),
        cmocka_unit_test(a_bomb_of_references_is_refused),
        cmocka_unit_test(every_input_that_was_kept_is_survived),
        IN_PLACE(what_did_not_change_is_not_read_again),
        IN_PLACE(packs_do_not_add_up),
        IN_PLACE(the_same_content_elsewhere_is_not_sent),
        IN_PLACE(a_pack_that_is_gone_is_made_again),
        IN_PLACE(hostile_tables_are_refused),
        IN_PLACE(set_id_bits_are_not_restored),
        IN_PLACE(one_of_another_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups of single paths: in tables, and in files with an index. The judge is the stack. */
#include <sys/stat.h>

#include "tests/unit/layer_support.h"
#include "util/fd.h"

static uint64_t seed = 11;

static unsigned pick(unsigned n)
{
    return (unsigned)(sup_random(&seed) % n);
}

/* One of few names, so that layers meet; some sort around '/'. */
static void add_path(struct cb_strbuf *out, unsigned depth)
{
    static const char *const names[] = { "a", "a!", "a-b", "b", "c", "ab", "z" };
    for (unsigned i = 0; i <= depth; i++)
        cb_strbuf_addf(out, "%s%s", i ? "/" : "", names[pick(CB_COUNTOF(names))]);
}

static struct cb_toc *random_toc(unsigned n)
{
    cb_cleanup_strbuf struct cb_strbuf spec = CB_STRBUF_INIT;
    for (unsigned i = 0; i < n; i++) {
        char kind = "ddddffffffllhwwo"[pick(16)];
        cb_strbuf_addf(&spec, "%c ", kind);
        add_path(&spec, pick(4));
        if (kind == 'l' || kind == 'h') {
            cb_strbuf_adds(&spec, " > ");
            add_path(&spec, pick(3));
        }
        cb_strbuf_addch(&spec, '\n');
    }
    return sup_toc(spec.buf);
}

static struct cb_stack *random_stack(void)
{
    struct cb_toc *tocs[8];
    size_t n = 1 + pick(CB_COUNTOF(tocs));
    for (size_t i = 0; i < n; i++)
        tocs[i] = random_toc(pick(4) ? pick(40) : 200 + pick(400));
    struct cb_stack *s = cb_stack_new(tocs, n);
    for (size_t i = 0; i < n; i++)
        cb_toc_unref(tocs[i]);
    return s;
}

static void same_entry(const struct cb_entry *a, const struct cb_entry *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (!a)
        return;
    assert_string_equal(a->path, b->path);
    assert_true(cb_streq(a->link, b->link));
    assert_true(a->type == b->type && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
                a->mtime == b->mtime && a->size == b->size && a->offset == b->offset && a->n_xattrs == b->n_xattrs);
    assert_int_equal(a->digest.known, b->digest.known);
    assert_true(!a->digest.known || cb_sum_eq(&a->digest, &b->digest));
    for (size_t i = 0; i < a->n_xattrs; i++) {
        assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
        assert_int_equal(a->xattrs[i].len, b->xattrs[i].len);
        assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len);
    }
    assert_true(cb_streq(a->inline_data, b->inline_data));
}

static void same_answer(const struct cb_stack *s, struct cb_lookup *l, const char *path)
{
    const struct cb_stack_entry *want = cb_stack_find(s, path), *got = NULL;
    assert_int_equal(cb_lookup_find(l, path, &got, NULL), 0);
    if (!want != !got)
        fail_msg("%s: %s by the stack", path, want ? "there" : "not there");
    if (!want)
        return;
    same_entry(want->e, got->e);
    same_entry(want->data, got->data);
    assert_int_equal(want->layer, got->layer);
    if (want->data)
        assert_int_equal(want->data_layer, got->data_layer);
}

static void as_the_stack(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        CB_AUTO(cb_stack_unref) struct cb_stack *s = random_stack();
        CB_AUTO(cb_lookup_free) struct cb_lookup *l = sup_lookup(s, i % 2 != 0);
        cb_cleanup_strbuf struct cb_strbuf path = CB_STRBUF_INIT;
        for (size_t k = 0; k < cb_stack_count(s); k++)
            same_answer(s, l, cb_stack_at(s, k)->e->path);
        for (int k = 0; k < 300; k++) {
            cb_strbuf_reset(&path);
            add_path(&path, pick(5));
            same_answer(s, l, path.buf);
        }
    }
}

/* ---- files with an index ---- */

/* Several runs, all kinds of entries. */
static struct cb_toc *large_toc(void)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    static const struct cb_xattr x = { "user.x", "v\0w", 3 };
    char path[64];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "d%d/file%d", i / 40, i);
        struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .mode = 0644, .size = (uint64_t)i, .mtime = -i,
                              .offset = (uint64_t)i * 512, .xattrs = &x, .n_xattrs = i % 3 == 0 };
        cb_sum_of(&e.digest, path, strlen(path));
        assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
        if (i % 50 == 0) {
            e = (struct cb_entry){ .path = path, .type = CB_ENTRY_WHITEOUT };
            assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
        }
    }
    struct cb_entry e = { .path = "etc/passwd", .type = CB_ENTRY_FILE, .mode = 0644, .size = 4,
                          .inline_data = "r:x\n" };
    assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
    return cb_toc_builder_finish(b);
}

static void place_by_place(void **state)
{
    (void)state;
    static const char *const odd[] = { "", "a", "d0", "d0/", "d1/file", "d7/file299", "d7/file3", "zz", "etc" };
    CB_AUTO(cb_toc_unref) struct cb_toc *t = large_toc();
    cb_cleanup_strbuf struct cb_strbuf file = CB_STRBUF_INIT, table = CB_STRBUF_INIT;
    struct cb_toc_pin want, got;
    size_t at;
    cb_toc_index_print(&file, t);
    cb_toc_print(&table, t);
    assert_memory_equal(file.buf, table.buf, table.len); /* what is pinned and pushed is its beginning */
    CB_AUTO(cb_toc_index_unref) struct cb_toc_index *x = NULL;
    assert_int_equal(cb_toc_index_open(sup_memfd((struct cb_slice){ file.buf, file.len }), &x, NULL), 0);
    cb_toc_pin_of(&want, t);
    cb_toc_index_pin(x, &got);
    assert_true(cb_toc_pin_eq(&want, &got));
    assert_int_equal(cb_toc_index_count(x), cb_toc_count(t));
    CB_AUTO(cb_toc_cursor_free) struct cb_toc_cursor *c = cb_toc_cursor_new(x);
    for (size_t i = 0; i <= cb_toc_count(t); i++) {
        const struct cb_entry *e = NULL;
        size_t k = i * 7 % (cb_toc_count(t) + 1);
        assert_int_equal(cb_toc_cursor_at(c, k, &e, NULL), 0);
        same_entry(cb_toc_at(t, k), e);
        if (!e)
            continue;
        cb_autofree char *path = cb_strdup(e->path);
        assert_int_equal(cb_toc_cursor_bound(c, path, &at, NULL), 0);
        assert_int_equal(at, cb_toc_lower_bound(t, path));
    }
    for (size_t i = 0; i < CB_COUNTOF(odd); i++) {
        assert_int_equal(cb_toc_cursor_bound(c, odd[i], &at, NULL), 0);
        assert_int_equal(at, cb_toc_lower_bound(t, odd[i]));
    }
}

static void an_empty_one(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = sup_toc("");
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(&t, 1);
    CB_AUTO(cb_lookup_free) struct cb_lookup *l = sup_lookup(s, true), *none = cb_lookup_new(NULL, 0);
    const struct cb_stack_entry *hit;
    assert_int_equal(cb_lookup_find(l, "a/b", &hit, NULL), 0);
    assert_null(hit);
    assert_int_equal(cb_lookup_find(none, "a", &hit, NULL), 0);
    assert_null(hit);
}

/* Every entry read is right, or the file is refused. True: something was. */
static bool refused(const struct cb_toc *t, struct cb_slice bytes)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    CB_AUTO(cb_toc_index_unref) struct cb_toc_index *x = NULL;
    int r = cb_toc_index_open(sup_memfd(bytes), &x, &err);
    CB_AUTO(cb_toc_cursor_free) struct cb_toc_cursor *c = r == 0 ? cb_toc_cursor_new(x) : NULL;
    for (size_t i = 0; r == 0 && i < cb_toc_count(t); i++) {
        const struct cb_entry *e;
        r = cb_toc_cursor_at(c, i, &e, &err);
        if (r == 0)
            same_entry(cb_toc_at(t, i), e);
    }
    if (r < 0)
        assert_int_equal(r, -CB_EVERIFY);
    return r < 0;
}

static void damaged_ones(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = large_toc();
    cb_cleanup_strbuf struct cb_strbuf file = CB_STRBUF_INIT, table = CB_STRBUF_INIT;
    cb_toc_index_print(&file, t);
    cb_toc_print(&table, t);
    assert_false(refused(t, (struct cb_slice){ file.buf, file.len }));
    for (size_t i = 0; i < file.len; i += i < 40 || i > table.len - 40 ? 1 : 7) {
        file.buf[i] ^= 0x10;
        /* Of the table's head and sum no entry is made: cb_toc_parse checks them. */
        bool unread = (i >= 8 && i < 10) || (i >= table.len - 32 && i < table.len);
        if (refused(t, (struct cb_slice){ file.buf, file.len }) == unread)
            fail_msg("byte %zu of %zu, table of %zu", i, file.len, table.len);
        file.buf[i] ^= 0x10;
    }
    for (size_t n = 0; n < file.len; n += 5) {
        size_t len = 0;
        assert_true(refused(t, (struct cb_slice){ file.buf, n }));
        assert_false(cb_toc_index_of(file.buf, n, &len));
    }
    assert_true(refused(t, (struct cb_slice){ table.buf, table.len }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_stack), cmocka_unit_test(place_by_place), cmocka_unit_test(an_empty_one),
        cmocka_unit_test(damaged_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/layer_support.h"

static struct cb_stack *stack_of(size_t n, const char *const *specs)
{
    struct cb_toc *tocs[16] = { NULL };
    for (size_t i = 0; i < n; i++)
        tocs[i] = sup_toc(specs[i]);
    struct cb_stack *s = cb_stack_new(tocs, n);
    for (size_t i = 0; i < n; i++)
        cb_toc_unref(tocs[i]);
    return s;
}
#define STACK(...) stack_of(CB_COUNTOF(((const char *[]){ __VA_ARGS__ })), (const char *[]){ __VA_ARGS__ })

static void spell(struct cb_strbuf *out, const struct cb_stack *s)
{
    cb_strbuf_reset(out);
    for (size_t i = 0; i < cb_stack_count(s); i++) {
        const struct cb_stack_entry *e = cb_stack_at(s, i);
        cb_strbuf_addf(out, "%c%zu %s\n", "?wodflhcbp"[e->e->type], e->layer, e->e->path);
    }
}

static void merging(void **state)
{
    (void)state;
    static const struct {
        const char *in[4], *out;
    } cases[] = {
        { { "" }, "" },
        { { "f a", "f b" }, "f0 a\nf1 b\n" },
        { { "f a", "f a" }, "f1 a\n" },
        { { "f a/b/c" }, "d0 a\nd0 a/b\nf0 a/b/c\n" },
        { { "d a\nf a/x", "f a/y" }, "d0 a\nf0 a/x\nf1 a/y\n" },
        { { "d a\nf a/x", "d a\nf a/y" }, "d1 a\nf0 a/x\nf1 a/y\n" },
        { { "d a\nf a/x\nf a.b", "w a" }, "f0 a.b\n" },
        { { "d a\nf a/x\nf b", "w a\nd a\nf a/y" }, "d1 a\nf1 a/y\nf0 b\n" },
        { { "d a\nf a/x\nf b", "w a\nf a/y" }, "d1 a\nf1 a/y\nf0 b\n" },
        { { "d a\nf a/x\nf b", "o a\nf a/y" }, "d0 a\nf1 a/y\nf0 b\n" },
        { { "d a\nf a/x\nf b", "o a\nd a\nf a/y" }, "d1 a\nf1 a/y\nf0 b\n" },
        { { "f a", "o a" }, "d1 a\n" },
        { { "", "o a/b" }, "d1 a\nd1 a/b\n" },
        { { "d a\nf a/x", "l a > b" }, "l1 a\n" },
        { { "l a > b", "f a/x" }, "d1 a\nf1 a/x\n" },
        { { "l a > b", "d a" }, "d1 a\n" },
        { { "f a/x", "w a/x" }, "d0 a\n" },
        { { "f a", "w b" }, "f0 a\n" },
        { { "d a\nd a/b\nf a/b/c", "f a", "f a/b/d" }, "d2 a\nd2 a/b\nf2 a/b/d\n" },
        { { "f a/b/c", "w a/b", "f a/b/c" }, "d0 a\nd2 a/b\nf2 a/b/c\n" },
        { { "d a\nf a/x", "w a", "d a" }, "d2 a\n" },
    };
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        size_t n = 0;
        while (n < 4 && cases[i].in[n])
            n++;
        CB_AUTO(cb_stack_unref) struct cb_stack *s = stack_of(n, cases[i].in);
        spell(&got, s);
        assert_string_equal(got.buf, cases[i].out);
        assert_int_equal(cb_stack_layers(s), n);
    }
    CB_AUTO(cb_stack_unref) struct cb_stack *none = cb_stack_new(NULL, 0);
    assert_int_equal(cb_stack_count(none), 0);
    assert_null(cb_stack_find(none, "a"));
}

static void implied_attributes(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *s = STACK("f a/b");
    CB_AUTO(cb_toc_unref) struct cb_toc *t = sup_toc("f a/c");
    CB_AUTO(cb_stack_unref) struct cb_stack *u = cb_stack_push(s, t);
    cb_stack_unref(s);
    s = NULL; /* what was implied lives on in the stack above */
    const struct cb_stack_entry *e = cb_stack_find(u, "a");
    assert_int_equal(e->e->type, CB_ENTRY_DIR);
    assert_int_equal(e->e->mode, 0755);
    assert_int_equal(e->e->uid, 0);
    assert_null(e->data);
}

static void hard_links(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *s = STACK("f a\nh b > a", "f a\nh c > b\nh x > nowhere\nh y > a");
    const struct cb_stack_entry *b = cb_stack_find(s, "b"), *c = cb_stack_find(s, "c");
    assert_int_equal(b->e->type, CB_ENTRY_HARDLINK);
    assert_string_equal(b->data->path, "a");
    assert_int_equal(b->data_layer, 0); /* not the new a */
    assert_string_equal(c->data->path, "a");
    assert_int_equal(c->data_layer, 0);
    assert_null(cb_stack_find(s, "x")->data);
    assert_int_equal(cb_stack_find(s, "y")->data_layer, 1);
    assert_ptr_equal(cb_stack_find(s, "a")->data, cb_stack_find(s, "a")->e);
}

/* A link to what has no bytes is that thing once more; the layer that it is in is its own. */
static void hard_links_to_nodes(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref)
    struct cb_stack *s = STACK("p a\nl s > t", "h b > a\nh u > s\nd d", "h c > b\nh e > d\nw a");
    CB_AUTO(cb_lookup_free) struct cb_lookup *l = sup_lookup(s, true);
    const struct cb_finder f[] = { cb_stack_finder(s), cb_lookup_finder(l) };
    static const struct { const char *path; enum cb_entry_type type; size_t layer; } want[] = {
        { "b", CB_ENTRY_FIFO, 1 }, { "u", CB_ENTRY_SYMLINK, 1 },
        { "c", CB_ENTRY_FIFO, 2 }, { "e", CB_ENTRY_HARDLINK, 2 },
    };
    for (size_t i = 0; i < 2 * CB_COUNTOF(want); i++) {
        const struct cb_stack_entry *hit = NULL;
        assert_int_equal(f[i % 2].find(f[i % 2].arg, want[i / 2].path, &hit, NULL), 0);
        assert_string_equal(hit->e->path, want[i / 2].path);
        assert_int_equal(hit->e->type, want[i / 2].type);
        assert_int_equal(hit->layer, want[i / 2].layer);
        assert_null(hit->data);
    }
    assert_string_equal(cb_stack_find(s, "u")->e->link, "t");
}

/* What a layer puts in the place of a lower file after it has linked to that is not what the link means. */
static void link_before_its_name_is_taken(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *s = STACK("f a", "h b > a\nf a", "h c > b");
    assert_int_equal(cb_stack_find(s, "a")->data_layer, 1);
    assert_int_equal(cb_stack_find(s, "b")->data_layer, 0);
    assert_int_equal(cb_stack_find(s, "c")->data_layer, 0);
    CB_AUTO(cb_lookup_free) struct cb_lookup *l = sup_lookup(s, true);
    const struct cb_finder f = cb_lookup_finder(l);
    const struct cb_stack_entry *hit = NULL;
    assert_int_equal(f.find(f.arg, "c", &hit, NULL), 0);
    assert_int_equal(hit->data_layer, 0);
}

static void subtrees(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *s = STACK("d a\nf a/x\nf a/y/z\nf a.b\nf b");
    size_t i = cb_stack_lower_bound(s, "a");
    assert_int_equal(i, 0);
    assert_string_equal(cb_stack_at(s, cb_stack_subtree_end(s, i))->e->path, "a.b");
    i = cb_stack_lower_bound(s, "b");
    assert_int_equal(cb_stack_subtree_end(s, i), cb_stack_count(s));
    assert_null(cb_stack_at(s, cb_stack_count(s)));
}

/* ---- against a model that does it the slow way ---- */
struct model {
    char path[64][16];
    int type[64]; /* 0: free */
    size_t layer[64];
};
static size_t model_at(struct model *m, const char *path)
{
    size_t free_at = 64;
    for (size_t i = 0; i < 64; i++) {
        if (m->type[i] && cb_streq(m->path[i], path))
            return i;
        if (!m->type[i])
            free_at = i;
    }
    assert_true(free_at < 64);
    snprintf(m->path[free_at], sizeof m->path[0], "%s", path);
    return free_at;
}
static void model_remove_below(struct model *m, const char *dir)
{
    size_t n = strlen(dir);
    for (size_t i = 0; i < 64; i++)
        if (m->type[i] && strncmp(m->path[i], dir, n) == 0 && m->path[i][n] == '/')
            m->type[i] = 0;
}
static void model_dir(struct model *m, const char *path, size_t len, size_t layer)
{
    char dir[16];
    snprintf(dir, sizeof dir, "%.*s", (int)len, path);
    size_t i = model_at(m, dir);
    if (m->type[i] == CB_ENTRY_DIR)
        return;
    m->type[i] = CB_ENTRY_DIR;
    m->layer[i] = layer;
}
static void model_apply(struct model *m, const struct cb_toc *t, size_t layer)
{
    for (int marks = 1; marks >= 0; marks--)
        for (size_t k = 0; k < cb_toc_count(t); k++) {
            const struct cb_entry *e = cb_toc_at(t, k);
            bool mark = e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE;
            if (mark != (marks == 1))
                continue;
            if (e->type == CB_ENTRY_WHITEOUT)
                m->type[model_at(m, e->path)] = 0;
            if (e->type != CB_ENTRY_DIR)
                model_remove_below(m, e->path);
            if (mark)
                continue;
            size_t i = model_at(m, e->path);
            m->type[i] = (int)e->type;
            m->layer[i] = layer;
        }
    for (size_t k = 0; k < cb_toc_count(t); k++) { /* parents, of marks too */
        const struct cb_entry *e = cb_toc_at(t, k);
        for (const char *p = strchr(e->path, '/'); p; p = strchr(p + 1, '/'))
            model_dir(m, e->path, (size_t)(p - e->path), layer);
        const struct cb_entry *own = cb_toc_find(t, e->path);
        if (e->type == CB_ENTRY_OPAQUE && (!own || own->type == CB_ENTRY_DIR))
            model_dir(m, e->path, strlen(e->path), layer);
    }
}
static struct cb_toc *random_toc(uint64_t *seed)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    static const char *const names[] = { "a", "b", "a.", "c" };
    for (uint64_t n = sup_random(seed) % 6; n; n--) {
        char path[16];
        size_t len = 0;
        for (uint64_t d = sup_random(seed) % 3 + 1; d; d--)
            len += (size_t)snprintf(path + len, sizeof path - len, "%s%s", len ? "/" : "", names[sup_random(seed) % 4]);
        static const enum cb_entry_type types[] = { CB_ENTRY_WHITEOUT, CB_ENTRY_OPAQUE, CB_ENTRY_DIR, CB_ENTRY_DIR,
                                                    CB_ENTRY_FILE, CB_ENTRY_FILE };
        sup_entry(b, types[sup_random(seed) % CB_COUNTOF(types)], path, NULL);
    }
    return cb_toc_builder_finish(b);
}

static void compare_with_model(const struct cb_stack *s, const struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < 64; i++) {
        if (!m->type[i])
            continue;
        const struct cb_stack_entry *e = cb_stack_find(s, m->path[i]);
        assert_non_null(e);
        assert_int_equal(e->e->type, m->type[i]);
        assert_int_equal(e->layer, m->layer[i]);
        n++;
    }
    assert_int_equal(cb_stack_count(s), n);
    for (size_t i = 1; i < n; i++)
        assert_true(cb_entry_path_cmp(cb_stack_at(s, i - 1)->e->path, cb_stack_at(s, i)->e->path) < 0);
}

static void against_model(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (unsigned round = 0; round < 20000; round++) {
        struct model m = { 0 };
        struct cb_stack *s = cb_stack_new(NULL, 0);
        for (size_t layer = 0; layer < 4; layer++) {
            struct cb_toc *t = random_toc(&seed);
            struct cb_stack *next = cb_stack_push(s, t);
            cb_stack_unref(s);
            s = next;
            model_apply(&m, t, layer);
            cb_toc_unref(t);
        }
        compare_with_model(s, &m);
        cb_stack_unref(s);
    }
}

/* ---- resolving ---- */
static const char LINKS[] = "d a\nd a/b\nf a/b/f\nl abs > /a/b\nl rel > a/b\nl up > ../../..//a\nl a/back > ../rel\n"
                            "l loop > loop2\nl loop2 > loop\nl dangling > no/where\n"
                            "l file > a/b/f\nl a/b/deep > /abs/../back/f\n"
                            "l root > /";

static void resolving(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum cb_follow follow;
        const char *want; /* NULL: an error */
        bool hit;
    } cases[] = {
        { "", CB_FOLLOW_ALL, "", false },
        { "/", CB_FOLLOW_ALL, "", false },
        { "../..", CB_FOLLOW_ALL, "", false },
        { "a/./b//f", CB_FOLLOW_ALL, "a/b/f", true },
        { "/abs/f", CB_FOLLOW_PARENTS, "a/b/f", true },
        { "abs", CB_FOLLOW_PARENTS, "abs", true },
        { "abs", CB_FOLLOW_ALL, "a/b", true },
        { "rel/../b/f", CB_FOLLOW_ALL, "a/b/f", true },
        { "up/b", CB_FOLLOW_ALL, "a/b", true },
        { "a/back/f", CB_FOLLOW_ALL, "a/b/f", true },
        { "a/b/deep", CB_FOLLOW_ALL, "a/b/f", true },
        { "a/b/deep", CB_FOLLOW_PARENTS, "a/b/deep", true },
        { "loop", CB_FOLLOW_ALL, NULL, false },
        { "loop/x", CB_FOLLOW_PARENTS, NULL, false },
        { "loop", CB_FOLLOW_PARENTS, "loop", true },
        { "dangling", CB_FOLLOW_ALL, "no/where", false },
        { "dangling/x/../y", CB_FOLLOW_ALL, "no/where/y", false },
        { "new/dir", CB_FOLLOW_ALL, "new/dir", false },
        { "file", CB_FOLLOW_ALL, "a/b/f", true },
        { "file/x", CB_FOLLOW_ALL, NULL, false },
        { "a/b/f/..", CB_FOLLOW_ALL, NULL, false },
        { "root/a", CB_FOLLOW_ALL, "a", true },
        { "root", CB_FOLLOW_ALL, "", false },
        { "a/..", CB_FOLLOW_ALL, "", false },
        { "new/..", CB_FOLLOW_ALL, "", false },
    };
    CB_AUTO(cb_stack_unref) struct cb_stack *s = STACK(LINKS);
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        const struct cb_stack_entry *hit = (const void *)&got;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        int r = cb_stack_resolve(s, cases[i].path, cases[i].follow, &got, &hit, &err);
        assert_int_equal(r, cases[i].want ? 0 : -CB_ECONF);
        if (r < 0)
            continue;
        assert_string_equal(got.buf, cases[i].want);
        assert_int_equal(hit != NULL, cases[i].hit);
        if (hit)
            assert_string_equal(hit->e->path, got.buf);
    }
}

static void resolving_is_bounded(void **state)
{
    (void)state;
    CB_AUTO(cb_stack_unref) struct cb_stack *s = STACK("l l > l/l/l/l/l/l/l/l");
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT, longp = CB_STRBUF_INIT;
    assert_int_equal(cb_stack_resolve(s, "l/x", CB_FOLLOW_ALL, &got, NULL, NULL), -CB_ECONF);
    for (unsigned i = 0; i < 300; i++)
        cb_strbuf_addch(&longp, 'x');
    assert_int_equal(cb_stack_resolve(s, longp.buf, CB_FOLLOW_ALL, &got, NULL, NULL), -CB_ECONF);
    cb_strbuf_reset(&longp);
    for (unsigned i = 0; i < 3000; i++)
        cb_strbuf_adds(&longp, "d/");
    assert_int_equal(cb_stack_resolve(s, longp.buf, CB_FOLLOW_ALL, &got, NULL, NULL), -CB_ECONF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging), cmocka_unit_test(implied_attributes), cmocka_unit_test(hard_links),
        cmocka_unit_test(hard_links_to_nodes),
        cmocka_unit_test(link_before_its_name_is_taken),
        cmocka_unit_test(subtrees), cmocka_unit_test(against_model), cmocka_unit_test(resolving),
        cmocka_unit_test(resolving_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Layers whose entries come in an odd order or say odd things: all ways to read them show the same, or all refuse. */
#include "store_fixture.h"
#include "layer_support.h"
#include "tree_twin.h"

#include <sched.h>
#include <sys/mount.h>

#include "util/proc.h"

#define MAX_LAYERS 3
#define LISTED 1000 /* the time of entries; what no layer lists has 0 */

/* "5 dir 700", "0 file = text", "1 link > target", "2 link > target", "6 pipe", one a line. */
static void add_line(struct cb_strbuf *t, char *line)
{
    struct sup_header h = { .type = *line, .name = line + 2, .mtime = LISTED };
    char *link = strstr(line, " > "), *text = strstr(line, " = ");
    char *mode = *line == '5' || strstr(line, " 755") ? strchr(line + 2, ' ') : NULL;
    if (link) {
        *link = '\0';
        h.link = link + 3;
    }
    if (text) {
        *text = '\0';
        h.size = strlen(text + 3);
    }
    if (mode) {
        *mode = '\0';
        h.mode = (unsigned)strtoul(mode + 1, NULL, 8);
    }
    sup_head(t, &h);
    if (text)
        sup_body(t, text + 3, h.size);
}

static void make_tar(struct cb_strbuf *t, const char *spec)
{
    cb_autofree char *copy = cb_strdup(spec);
    char *rest = copy;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (*line)
            add_line(t, line);
    sup_end(t);
}

/* Compressed, without a tree; its table. */
static int packed_layer(struct fixture *f, const struct cb_strbuf *tar, struct cb_layer *l, struct cb_toc **toc)
{
    struct sup_sink sink = SUP_SINK_INIT;
    struct cb_layer_intake in = { .store = f->s };
    struct cb_layer_write_options o = { .format = { CB_COMPRESSION_GZIP, 1, false }, .sink = &sink.base };
    cb_autosource struct cb_blob_source *src = cb_blob_source_from_mem(tar->buf, tar->len);
    ok(cb_layer_compress(src, &o, l, &f->err));
    ok(cb_store_blob_put(f->s, sink.data.buf, sink.data.len, &l->encodings[0].digest, &f->err));
    cb_strbuf_done(&sink.data);
    ok(cb_store_blob_source(f->s, &l->encodings[0].digest, &in.source, &f->err));
    ok(cb_store_layer_put(f->s, l, &f->err));
    int r = cb_image_intake(&in, NULL, NULL, &f->err);
    if (r == 0)
        ok(cb_store_toc_get(f->s, &l->diff_id, toc, &f->err));
    return r;
}

/* ---- listings ---- */

static void list_dir(const char *top, const char *rel, struct cb_strbuf *out)
{
    cb_autofree char *path = cb_asprintf("%s/%s", top, rel);
    struct dirent **v = NULL;
    int n = scandir(path, &v, NULL, twin_by_name);
    for (int i = 0; i < n; i++) {
        cb_autofree char *in = cb_asprintf("%s%s%s", rel, *rel ? "/" : "", v[i]->d_name);
        cb_autofree char *full = cb_asprintf("%s/%s", top, in);
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct stat st;
        char link[256] = "";
        bool self = strcmp(v[i]->d_name, ".") == 0 || strcmp(v[i]->d_name, "..") == 0;
        free(v[i]);
        /* overlayfs lists a whiteout that hides nothing, and has no such file. */
        if (self || (lstat(full, &st) < 0 && errno == ENOENT))
            continue;
        if (S_ISLNK(st.st_mode))
            assert_true(readlink(full, link, sizeof link - 1) > 0);
        if (S_ISREG(st.st_mode))
            assert_int_equal(cb_file_slurp(full, 1 << 20, &text, NULL), 0);
        if (S_ISDIR(st.st_mode))
            cb_strbuf_addf(out, "%s %o %lld\n", in, st.st_mode & 07777, (long long)st.st_mtime);
        else
            cb_strbuf_addf(out, "%s%s %s%s%s\n", in, S_ISREG(st.st_mode) && st.st_mode & 0100 ? " x" : "",
                           S_ISREG(st.st_mode) ? "= " : S_ISLNK(st.st_mode) ? "> " : "pipe", link,
                           text.len ? text.buf : "");
        if (S_ISDIR(st.st_mode))
            list_dir(top, in, out);
    }
    free(v);
}

static void check_dir(const char *how, const char *dir, const char *want)
{
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    list_dir(dir, "", &got);
    if (strcmp(got.buf ? got.buf : "", want) != 0)
        print_error("%s:\n", how);
    assert_string_equal(got.buf ? got.buf : "", want);
}

/* ---- the ways ---- */

struct ways {
    const char *want; /* NULL: refused */
    struct fixture *f;
    struct cb_strbuf tars[MAX_LAYERS];
    struct cb_layer layers[MAX_LAYERS];
    struct cb_toc *tocs[MAX_LAYERS];
    size_t n;
    unsigned number; /* of the case, in names */
};

/* Trees, one over the other as the kernel lays them. (That images and early trees are the same, take_in compares.) */
static void by_trees(struct ways *w)
{
    struct fixture *f = w->f;
    struct cb_digest below[MAX_LAYERS];
    cb_autofree char *mnt = cb_asprintf("%s/mnt", f->dir), *none = cb_asprintf("%s/none", f->dir);
    struct cb_strbuf o cb_cleanup_strbuf = CB_STRBUF_INIT, all cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = 0;
    for (size_t i = 0; r == 0 && i < w->n; i++) {
        struct take k = { .lower = below, .n_lower = i };
        r = take_in(f, &w->tars[i], &k);
        below[i] = k.diff_id;
        if (r < 0)
            break;
        cb_strbuf_reset(&o);
        cb_autofree char *fs = take_path(f->root, &k, "fs");
        cb_strbuf_addf(&o, "%s:%s", fs, all.len ? all.buf : none);
        cb_strbuf_reset(&all);
        cb_strbuf_add(&all, o.buf, o.len);
    }
    assert_int_equal(r, w->want ? 0 : -CB_EVERIFY);
    if (!w->want || geteuid() != 0)
        return;
    cb_strbuf_reset(&o);
    cb_strbuf_addf(&o, "lowerdir=%s", all.buf);
    mkdir(mnt, 0755);
    mkdir(none, 0755);
    if (mount("overlay", mnt, "overlay", MS_RDONLY, o.buf) < 0)
        return; /* not everywhere may it be mounted */
    check_dir("trees", mnt, w->want);
    assert_int_equal(umount(mnt), 0);
}

/* Questions for single paths have the answers of the whole view. */
static void by_lookup(struct ways *w)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *s = cb_stack_new(w->tocs, w->n);
    for (int indexed = 0; indexed < 2; indexed++) {
        CB_AUTO(cb_lookup_free) struct cb_lookup *l = sup_lookup(s, indexed);
        for (size_t i = 0; i < cb_stack_count(s); i++) {
            const struct cb_stack_entry *a = cb_stack_at(s, i), *b = NULL;
            assert_int_equal(cb_lookup_find(l, a->e->path, &b, NULL), 0);
            assert_non_null(b);
            assert_int_equal(a->e->type, b->e->type);
            assert_int_equal(a->e->mode, b->e->mode);
            assert_int_equal(a->e->mtime, b->e->mtime);
            assert_int_equal(!a->data, !b->data);
            assert_true(!a->data || (a->data_layer == b->data_layer && a->data->offset == b->data->offset));
        }
    }
}

static void by_exports(struct ways *w)
{
    struct fixture *f = w->f;
    struct cb_descriptor d cb_cleanup_descriptor = make_image(f, w->layers, w->n, "0");
    struct cb_image img cb_cleanup_image = { 0 };
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    cb_autofree char *path = cb_asprintf("%s/%u.tar", f->dir, w->number);
    cb_autofree char *dir = cb_asprintf("%s/%u.tree", f->dir, w->number);
    cb_autofree char *local = cb_asprintf("%s/%u.local", f->dir, w->number);
    ok(cb_image_load(f->s, &d, NULL, &img, &f->err));
    struct cb_export_options o = { .store = f->s, .image = &img, .clamp_mtime = INT64_MAX,
                                   .users_own = geteuid() != 0 };
    cb_autoclose int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(cb_export_tar(&o, fd, &f->err), w->want ? 0 : -CB_EVERIFY);
    assert_int_equal(cb_export_local(&o, local, &f->err), w->want ? 0 : -CB_EVERIFY);
    if (!w->want)
        return;
    assert_int_equal(mkdir(dir, 0755), 0);
    const char *const argv[] = { "tar", "-xpf", path, "-C", dir, NULL };
    struct cb_proc_spec spec = { .argv = argv, .timeout_ms = 60000 };
    ok(cb_proc_run(&spec, &res, &f->err));
    assert_int_equal(res.status, 0);
    check_dir("tar", dir, w->want);
    check_dir("local", local, w->want);
}

static void check_ways(struct fixture *f, const char *const *specs, const char *want, unsigned number)
{
    struct ways w = { .want = want, .f = f, .number = number };
    bool tables = true;
    for (; w.n < MAX_LAYERS && specs[w.n]; w.n++) {
        w.tars[w.n] = (struct cb_strbuf)CB_STRBUF_INIT;
        make_tar(&w.tars[w.n], specs[w.n]);
    }
    for (size_t i = 0; tables && i < w.n; i++)
        tables = packed_layer(f, &w.tars[i], &w.layers[i], &w.tocs[i]) == 0;
    assert_true(tables || !want);
    if (tables) {
        by_lookup(&w);
        by_exports(&w);
    }
    by_trees(&w);
    for (size_t i = 0; i < w.n; i++) {
        cb_toc_unref(w.tocs[i]);
        cb_layer_done(&w.layers[i]);
        cb_strbuf_done(&w.tars[i]);
    }
}

struct way_case {
    const char *layers[MAX_LAYERS + 1], *want;
};

static void check_cases(struct fixture *f, const struct way_case *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        print_message("%zu: %s\n", i, v[i].layers[0]);
        check_ways(f, v[i].layers, v[i].want, (unsigned)i);
    }
}

/* ---- hard links ---- */

static void links_to_what_is_replaced(void **state)
{
    static const struct way_case cases[] = {
        { { "0 a = A\n1 b > a\n0 a = B" }, "a = B\nb = A\n" },
        { { "0 a = A\n1 b > a\n0 a = B\n1 c > b" }, "a = B\nb = A\nc = A\n" },
        { { "0 a = A\n1 z > a\n0 a = B\n1 c > z" }, "a = B\nc = A\nz = A\n" },
        { { "0 a = A\n1 b > a\n0 a = B\n1 a > b" }, "a = A\nb = A\n" },
        { { "0 a = A\n1 b > a\n1 a > b" }, "a = A\nb = A\n" },
        { { "5 d\n0 d/a = A\n1 b > d/a\n0 d = D" }, "b = A\nd = D\n" },
        /* in a lower layer */
        { { "0 a = A", "1 b > a\n0 a = B" }, "a = B\nb = A\n" },
        { { "0 a = A", "1 b > a\n0 a = B\n1 c > b" }, "a = B\nb = A\nc = A\n" },
        { { "0 a = A", "1 b > a\n1 c > a\n0 a = B" }, "a = B\nb = A\nc = A\n" },
        { { "0 a = A", "1 b > a\n1 a > b" }, "a = A\nb = A\n" },
        { { "0 a = A", "1 b > a\n0 .wh.a" }, "b = A\n" },
        { { "0 a = A", "1 b > a\n0 .wh.a\n1 c > b" }, "b = A\nc = A\n" },
        { { "0 a = A", "1 b > a\n1 c > b\n0 b = B\n1 e > c" }, "a = A\nb = B\nc = A\ne = A\n" },
        { { "0 a = A", "1 b > a", "0 a = B\n1 c > b" }, "a = B\nb = A\nc = A\n" },
        { { "2 a > x\n6 p", "1 b > a\n1 q > p\n0 a = B\n1 c > b" }, "a = B\nb > x\nc > x\np pipe\nq pipe\n" },
        { { "5 d\n0 d/a = A\n0 b = B", "1 d > b" }, "b = B\nd = B\n" },
        /* whatever its header says, it is the same inode */
        { { "0 a 755 = A", "1 b > a\n1 c > b", "1 e > c" }, "a x = A\nb x = A\nc x = A\ne x = A\n" },
        { { "0 a = A", "1 b 755 > a" }, "a = A\nb = A\n" },
    };
    check_cases(*state, cases, CB_COUNTOF(cases));
}

static void links_to_nothing(void **state)
{
    static const struct way_case cases[] = {
        { { "1 a > a" }, NULL },
        { { "0 a = A\n1 a > a" }, NULL },
        { { "0 a = A", "1 a > a" }, NULL },
        { { "5 d\n1 a > d" }, NULL },
        { { "5 d", "1 a > d" }, NULL },
        { { "0 d/x = X\n1 a > d" }, NULL },
        { { "0 d = D", "0 d/x = X\n1 b > d" }, NULL },
        { { "0 d = D", "0 d/e/x = X\n1 d/e > d" }, NULL },
        { { "0 d = D", "0 d/.wh.x\n1 b > d" }, NULL },
        { { "0 d = D", "0 d/.wh..wh..opq\n1 b > d" }, NULL },
        { { "1 a > b" }, NULL },
        { { "1 a > b\n0 b = B" }, NULL },
        { { "1 a > b\n6 b" }, NULL },
        { { "0 a = A", "0 .wh.a\n1 b > a" }, NULL },
        { { "5 d\n0 d/a = A", "0 .wh.d\n1 b > d/a" }, NULL },
        { { "5 d\n0 d/a = A", "0 d/.wh..wh..opq\n1 b > d/a" }, NULL },
        { { "5 d\n0 d/a = A", "0 .wh.d", "1 b > d/a" }, NULL },
        { { "5 d\n0 d/a = A", "0 d = D\n1 b > d/a" }, NULL },
        { { "5 d\n0 d/a = A", "1 d > d/a" }, NULL },
        { { "5 d\n0 d/a = A\n1 d > d/a" }, NULL },
        { { "5 d\n0 d/a = A\n0 d = D\n5 d\n1 b > d/a" }, NULL },
        { { "5 d\n0 d/a = A", "0 d = D\n5 d\n1 b > d/a" }, NULL },
        { { "5 d\n0 d/a = A\n2 l > d", "1 b > l/a" }, NULL },
    };
    check_cases(*state, cases, CB_COUNTOF(cases));
}

/* ---- what takes the place of what ---- */

static void other_kinds(void **state)
{
    static const struct way_case cases[] = {
        { { "5 d\n0 d/x = X", "0 d = D\n5 d\n0 d/y = Y" }, "d 755 1000\nd/y = Y\n" },
        { { "5 d\n0 d/x = X", "2 d > e\n5 d" }, "d 755 1000\n" },
        { { "5 d\n0 d/x = X\n0 b = B", "1 d > b\n5 d" }, "b = B\nd 755 1000\n" },
        { { "5 e\n5 d\n2 d/l > ../e\n0 d = D\n5 d\n0 d/l/x = X" }, "d 755 1000\nd/l 755 0\nd/l/x = X\ne 755 1000\n" },
        { { "5 d\n0 d/x = X\n2 a > d", "0 a/y = Y" }, "a 755 0\na/y = Y\nd 755 1000\nd/x = X\n" },
        { { "0 a = A", "0 a/.wh.x\n" }, "a 755 0\n" },
        { { "0 a = A", "0 a/.wh..wh..opq\n" }, "a 755 0\n" },
        { { "2 a > b", "0 a/.wh..wh..opq\n" }, "a 755 0\n" },
        { { "0 a = A\n0 a/x = X" }, NULL },
        { { "0 a = A\n0 a/.wh..wh..opq" }, NULL },
        { { "0 a = A\n0 a/.wh.x" }, NULL },
        { { "0 a/.wh..wh..opq\n0 a = A" }, "a = A\n" },
    };
    check_cases(*state, cases, CB_COUNTOF(cases));
}

/* Directories that a layer implies are as the layers below have them, unless it hides those. */
static void implied_directories(void **state)
{
    static const struct way_case cases[] = {
        { { "5 d 700\n5 d/e 710", "0 d/e/x = X" }, "d 700 1000\nd/e 710 1000\nd/e/x = X\n" },
        { { "5 d 700\n5 d/e 710", "0 .wh.d\n0 d/e/x = X" }, "d 755 0\nd/e 755 0\nd/e/x = X\n" },
        { { "5 d 700\n5 d/e 710", "0 d/e/x = X\n0 .wh.d" }, "d 755 0\nd/e 755 0\nd/e/x = X\n" },
        { { "5 d 700\n5 d/e 710", "0 d/.wh..wh..opq\n0 d/e/x = X" }, "d 700 1000\nd/e 755 0\nd/e/x = X\n" },
        { { "5 d 700\n5 d/e 710", "0 d/e/x = X\n0 d/.wh..wh..opq" }, "d 700 1000\nd/e 755 0\nd/e/x = X\n" },
        { { "5 d 700\n5 d/e 710", "0 d = D\n5 d 711\n0 d/e/x = X" }, "d 711 1000\nd/e 755 0\nd/e/x = X\n" },
        { { "5 d 700\n0 d/x = X", "0 d/.wh.x\n0 .wh.d" }, "d 755 0\n" },
        { { "5 d 700\n0 d/x = X", "0 .wh.d\n0 d/.wh.x" }, "d 755 0\n" },
        { { "5 d 700\n0 d/x = X", "0 d/.wh..wh..opq\n0 .wh.d" }, "d 755 0\n" },
        { { "5 d 700\n0 d/x = X", "0 .wh.d\n0 d/.wh..wh..opq" }, "d 755 0\n" },
        { { "5 d 700\n5 d/e 710\n0 d/e/x = X", "0 d/.wh..wh..opq\n0 d/e/.wh.x" }, "d 700 1000\nd/e 755 0\n" },
        { { "5 d 700\n5 d/e 710\n0 d/e/x = X", "0 d/e/.wh.x\n0 d/.wh..wh..opq" }, "d 700 1000\nd/e 755 0\n" },
        { { "5 d 700\n5 d/e 710", "0 .wh.d", "0 d/e/z = Z" }, "d 755 0\nd/e 755 0\nd/e/z = Z\n" },
    };
    check_cases(*state, cases, CB_COUNTOF(cases));
}

/* ---- the bytes of single files ---- */

static void check_file(struct fixture *f, struct cb_files *files, const struct cb_stack *st, const char *path,
                       const char *text)
{
    const struct cb_stack_entry *e = cb_stack_find(st, path);
    assert_non_null(e);
    cb_autosource struct cb_blob_source *src = NULL;
    ok(cb_files_source(files, e, &src, &f->err));
    char buf[64];
    size_t got = 0, end = 1;
    ok(cb_blob_read_full(src, buf, sizeof buf - 1, &got, &f->err));
    buf[got] = '\0';
    assert_string_equal(buf, text);
    ok(cb_blob_read(src, buf, 1, &end, &f->err));
    assert_int_equal(end, 0);
}

static void add_sparse(struct cb_strbuf *t, const char *name, const char *three)
{
    cb_cleanup_strbuf struct cb_strbuf pax = CB_STRBUF_INIT;
    sup_record(&pax, "GNU.sparse.major", "1");
    sup_record(&pax, "GNU.sparse.minor", "0");
    sup_record(&pax, "GNU.sparse.name", name);
    sup_record(&pax, "GNU.sparse.realsize", "8");
    sup_ext(t, 'x', pax.buf, pax.len);
    sup_head(t, &(struct sup_header){ .name = "GNUSparseFile.0/x", .type = '0', .size = 515 });
    sup_body(t, "1\n5\n3\n", 6);
    sup_body(t, three, 3);
}

/* The bytes are where the tar has them, under a name that is another file's by the end. */
static void files_whose_first_name_was_taken(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_file(&t, "a", "one");
    sup_add(&t, '1', "b", "a");
    sup_file(&t, "a", "two");
    sup_file(&t, "d/a", "three");
    sup_add(&t, '1', "c", "d/a");
    sup_file(&t, "d", "none");
    add_sparse(&t, "s", "abc");
    sup_add(&t, '1', "r", "s");
    add_sparse(&t, "s", "xyz");
    sup_end(&t);
    struct cb_layer l cb_cleanup_layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(packed_layer(f, &t, &l, &toc));
    CB_AUTO(cb_stack_unref) struct cb_stack *st = cb_stack_new(&toc, 1);
    static const char *const paths[] = { "a", "b", "c", "d", "r", "s" };
    const struct cb_stack_entry *wanted[CB_COUNTOF(paths)];
    for (size_t i = 0; i < CB_COUNTOF(paths); i++)
        assert_non_null(wanted[i] = cb_stack_find(st, paths[i]));
    struct cb_files_options o = { .store = f->s, .stack = st, .layers = &l, .wanted = wanted,
                                  .n_wanted = CB_COUNTOF(paths) };
    CB_AUTO(cb_files_free) struct cb_files *files = NULL;
    ok(cb_files_open(&o, &files, &f->err));
    check_file(f, files, st, "a", "two");
    check_file(f, files, st, "b", "one");
    check_file(f, files, st, "c", "three");
    check_file(f, files, st, "d", "none");
    for (size_t i = 4; i < CB_COUNTOF(paths); i++) {
        cb_autosource struct cb_blob_source *src = NULL;
        char buf[9];
        size_t got = 0;
        ok(cb_files_source(files, wanted[i], &src, &f->err));
        ok(cb_blob_read_full(src, buf, sizeof buf, &got, &f->err));
        assert_int_equal(got, 8);
        assert_memory_equal(buf, i == 4 ? "\0\0\0\0\0abc" : "\0\0\0\0\0xyz", 8);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(links_to_what_is_replaced),
        T(links_to_nothing),
        T(other_kinds),
        T(implied_directories),
        T(files_whose_first_name_was_taken),
    };
    if (geteuid() == 0 && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        print_message("no mounts of our own\n");
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    free(twin_refused);
    return r;
}

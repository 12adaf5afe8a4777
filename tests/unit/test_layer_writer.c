/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "tests/unit/layer_support.h"

static const struct cb_layer_write_options DEFAULTS = { .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT },
                                                        .clamp_mtime = INT64_MAX };

static int add(struct cb_layer_writer *w, const struct cb_entry *e, const char *text)
{
    cb_autosource struct cb_blob_source *s = text ? sup_source(text, strlen(text), 1000) : NULL;
    return cb_layer_writer_add(w, e, s, NULL);
}

static char big_text[3 << 20];
static void fill_big_text(void)
{
    for (size_t i = 0; i < sizeof big_text - 1; i++)
        big_text[i] = (char)('a' + i * i % 26);
}

/* One of everything. */
static void write_all(struct cb_layer_writer *w)
{
    static const struct cb_xattr x[] = { { "security.capability", "\1\0\0\2\0 \0\0\0\0\0\0\0\0\0\0\0\0\0", 20 },
                                         { "trusted.overlay.opaque", "y", 1 }, { "user.a", "1", 1 } };
    static const char passwd[] = "root:x:0:0::/root:/bin/sh\n";
    char longname[300];
    memset(longname, 'n', sizeof longname);
    memcpy(longname, "d/", 2);
    longname[200] = '\0';
    const struct cb_entry v[] = {
        { .path = "bin", .type = CB_ENTRY_SYMLINK, .link = "/usr/bin", .mode = 0777, .mtime = 5 },
        { .path = "d", .type = CB_ENTRY_OPAQUE },
        { .path = "d", .type = CB_ENTRY_DIR, .mode = 01755, .uid = 5000000, .gid = UINT32_MAX - 1, .xattrs = x,
          .n_xattrs = 3 },
        { .path = "d/big", .type = CB_ENTRY_FILE, .mode = 0644, .size = sizeof big_text - 1, .mtime = 1700000000 },
        { .path = "d/empty", .type = CB_ENTRY_FILE, .mode = 0, .mtime = -5 },
        { .path = "d/gone", .type = CB_ENTRY_WHITEOUT, .mtime = 17 },
        { .path = longname, .type = CB_ENTRY_FILE, .size = 5, .mode = 04711, .xattrs = x, .n_xattrs = 3 },
        { .path = "dev/c", .type = CB_ENTRY_CHAR, .mode = 0666, .dev_major = 1, .dev_minor = 3 },
        { .path = "dev/d", .type = CB_ENTRY_BLOCK, .mode = 0660, .dev_major = 4095, .dev_minor = 1048575 },
        { .path = "dev/f", .type = CB_ENTRY_FIFO, .mode = 0600 },
        { .path = "etc/passwd", .type = CB_ENTRY_FILE, .mode = 0644, .size = sizeof passwd - 1 },
        { .path = "link", .type = CB_ENTRY_HARDLINK, .link = longname },
        { .path = "\xc3\xa9\xff", .type = CB_ENTRY_DIR, .mode = 0700 },
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        const char *text = v[i].type != CB_ENTRY_FILE ? NULL : v[i].size == 5 ? "hello" : v[i].size == 0 ? "" :
                           v[i].size < 1000 ? passwd : big_text;
        assert_int_equal(add(w, &v[i], text), 0);
    }
}

/* What is written is what is read: every field, the table, the digests. */
static void round_trip(void **state)
{
    (void)state;
    static const enum cb_compression kinds[] = { CB_COMPRESSION_NONE, CB_COMPRESSION_GZIP, CB_COMPRESSION_ZSTD };
    static const char *const types[] = { CB_MT_OCI_LAYER, CB_MT_OCI_LAYER_GZIP, CB_MT_OCI_LAYER_ZSTD };
    struct cb_digest diff_id = { 0 };
    for (size_t i = 0; i < 3; i++) {
        struct sup_sink sink = SUP_SINK_INIT;
        struct cb_layer_write_options o = DEFAULTS;
        CB_AUTO(cb_pool_free) struct cb_pool *pool = cb_pool_new("test", 2);
        cb_cleanup_layer struct cb_layer layer = { 0 };
        CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
        cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
        o.format.compression = kinds[i];
        o.sink = &sink.base;
        o.pool = pool;
        CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
        write_all(w);
        assert_int_equal(cb_layer_writer_finish(w, &layer, &toc, NULL), 0);
        assert_true(sink.committed);
        assert_int_equal(layer.n_encodings, 1);
        assert_string_equal(layer.encodings[0].media_type, types[i]);
        assert_int_equal(layer.encodings[0].size, sink.data.len);
        assert_int_equal(layer.size, cb_layer_writer_written(w));
        assert_true(i == 0 ? cb_digest_eq(&layer.diff_id, &layer.encodings[0].digest)
                           : cb_digest_eq(&layer.diff_id, &diff_id));
        diff_id = layer.diff_id;
        struct sup_read r = sup_read(sink.data.buf, sink.data.len, false);
        assert_string_equal(cb_error_text(&r.err), cb_error_text(&(struct cb_error){ 0 }));
        assert_true(cb_digest_eq(&r.diff_id, &layer.diff_id));
        assert_int_equal(r.size, layer.size);
        cb_toc_print(&a, toc);
        cb_toc_print(&b, r.toc);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.buf, b.buf, a.len);
        sup_read_done(&r);
        cb_strbuf_done(&sink.data);
    }
}

static void table(void **state)
{
    (void)state;
    struct cb_layer_write_options o = DEFAULTS;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    cb_cleanup_layer struct cb_layer layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    write_all(w);
    assert_int_equal(cb_layer_writer_finish(w, &layer, &toc, NULL), 0);
    assert_int_equal(layer.n_encodings, 0); /* no sink: only hash and table */
    assert_true(cb_digest_is_set(&layer.diff_id));
    const struct cb_entry *link = cb_toc_find(toc, "link"), *to = cb_toc_find(toc, link->link);
    struct cb_sum d;
    cb_sum_of(&d, "hello", 5);
    assert_true(cb_sum_eq(&to->digest, &d));
    assert_true(cb_sum_eq(&link->digest, &d));
    assert_int_equal(link->mode, 04711);
    assert_int_equal(link->size, 5);
    assert_int_equal(to->n_xattrs, 2);
    assert_string_equal(to->xattrs[0].name, "security.capability");
    assert_string_equal(cb_toc_find(toc, "etc/passwd")->inline_data, "root:x:0:0::/root:/bin/sh\n");
    assert_null(cb_toc_find(toc, "d/big")->inline_data);
    assert_true(cb_toc_find(toc, "d/big")->offset % 512 == 0);
}

static void offsets(void **state)
{
    (void)state;
    struct sup_sink sink = SUP_SINK_INIT;
    struct cb_layer_write_options o = DEFAULTS;
    o.format.compression = CB_COMPRESSION_NONE;
    o.sink = &sink.base;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    cb_cleanup_layer struct cb_layer layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    write_all(w);
    assert_int_equal(cb_layer_writer_finish(w, &layer, &toc, NULL), 0);
    for (size_t i = 0; i < cb_toc_count(toc); i++) {
        const struct cb_entry *e = cb_toc_at(toc, i);
        struct cb_sum d;
        if (e->type != CB_ENTRY_FILE)
            continue;
        assert_true(e->offset + e->size <= sink.data.len);
        cb_sum_of(&d, sink.data.buf + e->offset, e->size);
        assert_true(cb_sum_eq(&d, &e->digest));
    }
    cb_strbuf_done(&sink.data);
}

static void clamped(void **state)
{
    (void)state;
    struct cb_layer_write_options o = DEFAULTS;
    o.clamp_mtime = 10;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    cb_cleanup_layer struct cb_layer layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    assert_int_equal(add(w, &(struct cb_entry){ .path = "new", .type = CB_ENTRY_DIR, .mtime = 11 }, NULL), 0);
    assert_int_equal(add(w, &(struct cb_entry){ .path = "old", .type = CB_ENTRY_DIR, .mtime = 9 }, NULL), 0);
    assert_int_equal(cb_layer_writer_finish(w, &layer, &toc, NULL), 0);
    assert_int_equal(cb_toc_find(toc, "new")->mtime, 10);
    assert_int_equal(cb_toc_find(toc, "old")->mtime, 9);
}

static void refused(void **state)
{
    (void)state;
    struct cb_layer_write_options o = DEFAULTS;
    const struct {
        struct cb_entry e;
        const char *text;
        int code;
    } cases[] = {
        { { .path = "f", .type = CB_ENTRY_FILE, .size = 6 }, "hello", -CB_ELOCAL },
        { { .path = "f", .type = CB_ENTRY_FILE, .size = 4 }, "hello", -CB_ELOCAL },
        { { .path = "f", .type = CB_ENTRY_FILE, .size = 1 }, NULL, -CB_EINTERNAL },
        { { .path = "h", .type = CB_ENTRY_HARDLINK, .link = "nothing" }, NULL, -CB_EINTERNAL },
        { { .path = "h", .type = CB_ENTRY_HARDLINK, .link = "dir" }, NULL, -CB_EINTERNAL },
        { { .path = "file/x", .type = CB_ENTRY_DIR }, NULL, -CB_EINTERNAL },
        { { .path = ".wh.x", .type = CB_ENTRY_DIR }, NULL, -CB_ECONF },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_layer struct cb_layer layer = { 0 };
        CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
        assert_int_equal(add(w, &(struct cb_entry){ .path = "dir", .type = CB_ENTRY_DIR }, NULL), 0);
        assert_int_equal(add(w, &(struct cb_entry){ .path = "file", .type = CB_ENTRY_FILE }, ""), 0);
        const char *text = cases[i].text;
        cb_autosource struct cb_blob_source *s = text ? sup_source(text, strlen(text), 2) : NULL;
        assert_int_equal(cb_layer_writer_add(w, &cases[i].e, s, &err), cases[i].code);
        assert_non_null(strstr(cb_error_text(&err), cases[i].e.path));
        assert_int_equal(cb_layer_writer_finish(w, &layer, NULL, NULL), -CB_EINTERNAL); /* no half layer */
    }
}

static void levels(void **state)
{
    (void)state;
    static const struct {
        enum cb_compression c;
        int level;
        bool ok;
    } cases[] = {
        { CB_COMPRESSION_GZIP, -1, false }, { CB_COMPRESSION_GZIP, 0, true }, { CB_COMPRESSION_GZIP, 12, true },
        { CB_COMPRESSION_GZIP, 13, false }, { CB_COMPRESSION_ZSTD, 0, false }, { CB_COMPRESSION_ZSTD, 22, true },
        { CB_COMPRESSION_ZSTD, 23, false }, { CB_COMPRESSION_ZSTD, CB_LEVEL_FAST, false },
        { CB_COMPRESSION_NONE, CB_LEVEL_FAST, false }, { CB_COMPRESSION_NONE, 99, true },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_layer_write_options o = DEFAULTS;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        o.format.compression = cases[i].c;
        o.format.level = cases[i].level;
        CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, &err);
        assert_int_equal(w != NULL, cases[i].ok);
        assert_int_equal(err.code, cases[i].ok ? 0 : CB_EUSAGE);
    }
}

static void canceled(void **state)
{
    (void)state;
    struct cb_layer_write_options o = DEFAULTS;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    o.cancel = c;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    assert_int_equal(add(w, &(struct cb_entry){ .path = "d", .type = CB_ENTRY_DIR }, NULL), 0);
    cb_cancel_trigger(c, 0);
    assert_int_equal(add(w, &(struct cb_entry){ .path = "e", .type = CB_ENTRY_DIR }, NULL), -CB_ECANCELED);
}

/* ---- the value ---- */

static void values(void **state)
{
    (void)state;
    cb_cleanup_layer struct cb_layer a = { .size = 7 }, b = { 0 };
    struct cb_digest d1, d2, chain, want;
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&d1, "1", 1);
    cb_digest_of(&d2, "2", 1);
    a.diff_id = d1;
    struct cb_layer_encoding e = { .digest = d1, .size = 3, .media_type = NULL, .engine = NULL };
    cb_layer_add_encoding(&a, &e);
    cb_layer_add_encoding(&a, &e);
    e.digest = d2;
    cb_layer_add_encoding(&a, &e);
    cb_layer_add_origin(&a, &d1, "h", "r");
    cb_layer_add_origin(&a, &d1, "h", "r");
    cb_layer_add_origin(&a, &d1, "h", "r2");
    cb_layer_copy(&b, &a);
    cb_layer_copy(&b, &a);
    cb_layer_copy(&b, &b);
    assert_int_equal(b.n_encodings, 2);
    assert_string_equal(b.encodings[0].engine, "");
    assert_int_equal(b.n_origins, 2);
    assert_string_equal(b.origins[1].repo, "r2");
    assert_int_equal(b.size, 7);
    cb_chain_id(&chain, NULL, 0);
    assert_false(cb_digest_is_set(&chain));
    cb_chain_id(&chain, &d1, 1);
    assert_true(cb_digest_eq(&chain, &d1));
    struct cb_digest ids[] = { d1, d2, d1 };
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    cb_strbuf_addf(&t, "%s ", cb_digest_text(&d1, text));
    cb_strbuf_adds(&t, cb_digest_text(&d2, text));
    cb_digest_of(&want, t.buf, t.len);
    cb_chain_id(&chain, ids, 2);
    assert_true(cb_digest_eq(&chain, &want));
    cb_strbuf_reset(&t);
    cb_strbuf_addf(&t, "%s ", cb_digest_text(&want, text));
    cb_strbuf_adds(&t, cb_digest_text(&d1, text));
    cb_digest_of(&want, t.buf, t.len);
    cb_chain_id(&chain, ids, 3);
    assert_true(cb_digest_eq(&chain, &want));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(table), cmocka_unit_test(offsets), cmocka_unit_test(clamped),
        cmocka_unit_test(refused), cmocka_unit_test(levels), cmocka_unit_test(canceled), cmocka_unit_test(values),
    };
    fill_big_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

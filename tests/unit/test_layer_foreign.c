/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of contents of eStargz and zstd:chunked: those in tests/data/toc are what estargz 0.18.1 and
 * containers/storage 1.62.0 write of one tar. */
#include "layer/chunked.h"
#include "layer/foreign_toc.h"
#include "layer/inflate.h"
#include "tests/unit/layer_support.h"
#include "util/fd.h"

#define HELLO "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"

static int parse(enum cb_foreign_toc_kind kind, const char *text, size_t len, struct cb_foreign_toc **out,
                 struct cb_error *err)
{
    struct cb_foreign_place place = { .kind = kind, .offset = kind == CB_FOREIGN_ESTARGZ ? 0x178915 : 446879 };
    return cb_foreign_toc_parse(&place, text, len, out, err);
}

static void add_text(struct cb_strbuf *o, const struct cb_foreign_toc *t, const struct cb_entry *e)
{
    size_t n;
    const struct cb_foreign_part *p = cb_foreign_toc_parts(t, e->path, &n);
    char digest[CB_DIGEST_TEXT_MAX] = "";
    const struct cb_digest d = cb_sum_digest(&e->digest);
    if (e->digest.known)
        cb_digest_text(&d, digest);
    cb_strbuf_addf(o, "%c %s %o %u:%u %llu %lld%s%s %.14s", "?wodflhcbp"[e->type], e->path, e->mode, e->uid, e->gid,
                   (unsigned long long)e->size, (long long)e->mtime, e->link ? " > " : "", e->link ? e->link : "",
                   digest);
    if (e->dev_major)
        cb_strbuf_addf(o, " dev %u:%u", e->dev_major, e->dev_minor);
    for (size_t i = 0; i < e->n_xattrs; i++)
        cb_strbuf_addf(o, " %s=%.*s", e->xattrs[i].name, (int)e->xattrs[i].len, (const char *)e->xattrs[i].value);
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addf(o, " [%llu+%llu at %llu-%llu+%llu%s]", (unsigned long long)p[i].at,
                       (unsigned long long)p[i].size, (unsigned long long)p[i].offset, (unsigned long long)p[i].end,
                       (unsigned long long)p[i].inner, cb_digest_is_set(&p[i].digest) ? "*" : "");
    cb_strbuf_addch(o, '\n');
}

static char *table_text(const struct cb_foreign_toc *t)
{
    struct cb_strbuf o = CB_STRBUF_INIT;
    struct cb_toc *toc = cb_foreign_toc_table(t);
    for (size_t i = 0; i < cb_toc_count(toc); i++)
        add_text(&o, t, cb_toc_at(toc, i));
    return cb_strbuf_detach(&o, NULL);
}

static void check_file(enum cb_foreign_toc_kind kind, const char *file, const char *want)
{
    const char *data = getenv("CB_TEST_DATA") ? getenv("CB_TEST_DATA") : "tests/data";
    cb_autofree char *path = cb_asprintf("%s/toc/%s", data, file);
    cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
    CB_AUTO(cb_foreign_toc_free) struct cb_foreign_toc *t = NULL;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(cb_file_slurp(path, 1 << 20, &s, NULL), 0);
    if (parse(kind, s.buf, s.len, &t, &err) < 0)
        fail_msg("%s", cb_error_text(&err));
    cb_autofree char *got = table_text(t);
    assert_string_equal(got, want);
}

#define LINE(rest) rest "\n"
static void reference_estargz(void **state)
{
    (void)state;
    check_file(CB_FOREIGN_ESTARGZ, "estargz.json",
        LINE("f .no.prefetch.landmark 0 0:0 1 0 sha256:dc0e9c3 [0+1 at 90-286+0*]")
        LINE("f a.txt 644 0:0 6 1700000000 sha256:5891b5b user.note=a b [0+6 at 286-435+0*]")
        LINE("f empty 644 0:0 0 1700000000 sha256:e3b0c44")
        LINE("d etc 755 0:0 0 1700000000 ")
        LINE("f etc/passwd 644 0:0 26 1700000000 sha256:037d604 [0+26 at 435-673+0*]")
        LINE("c null 644 0:0 0 1700000000  dev 1:3")
        LINE("p pipe 644 0:0 0 1700000000 ")
        LINE("l soft 777 0:0 0 1700000000 > a.txt ")
        LINE("f stargz.index.json 0 0:0 2674 0 sha256:dafc5d3")
        LINE("o sub 644 0:0 0 1700000000 ")
        LINE("d sub 755 0:0 0 1700000000 ")
        LINE("f sub/big 4755 0:0 5000000 1700000000 sha256:48800a1 [0+4194304 at 673-1299177+0*]"
             " [4194304+805696 at 1299177-1542222+0*]")
        LINE("w sub/gone 644 0:0 0 1700000000 ")
        LINE("f sub/zeros 644 0:0 70000 1700000000 sha256:f51b279 [0+70000 at 1542222-1542421+0*]")
        LINE("h zhard 644 0:0 6 1700000000 > a.txt sha256:5891b5b user.note=a b"));
}

static void reference_chunked(void **state)
{
    (void)state;
    check_file(CB_FOREIGN_ZSTD_CHUNKED, "zstd-chunked.json",
        LINE("f a.txt 644 0:0 6 1700000000 sha256:5891b5b user.note=a b [0+6 at 180-199+0]")
        LINE("f empty 644 0:0 0 1700000000 sha256:e3b0c44")
        LINE("d etc 755 0:0 0 1700000000 ")
        LINE("f etc/passwd 644 0:0 26 1700000000 sha256:037d604 [0+26 at 329-368+0]")
        LINE("c null 644 0:0 0 1700000000  dev 1:3")
        LINE("p pipe 644 0:0 0 1700000000 ")
        LINE("l soft 777 0:0 0 1700000000 > a.txt ")
        LINE("o sub 644 0:0 0 1700000000 ")
        LINE("d sub 755 0:0 0 1700000000 ")
        LINE("f sub/big 4755 0:0 5000000 1700000000 sha256:48800a1 [0+5000000 at 572-446670+0]")
        LINE("w sub/gone 644 0:0 0 1700000000 ")
        LINE("f sub/zeros 644 0:0 70000 1700000000 sha256:f51b279 [0+70000 at 446760-446777+0]")
        LINE("h zhard 644 0:0 6 1700000000 > a.txt sha256:5891b5b user.note=a b"));
}

/* ---- what is refused ---- */

#define FILE_OF(more) "{\"type\":\"reg\",\"name\":\"f\",\"size\":6,\"digest\":\"" HELLO "\"," more "}"
#define HALF FILE_OF("\"offset\":9,\"chunkSize\":4")
#define CHUNK(more) "{\"type\":\"chunk\",\"name\":\"f\"," more "}"

static void malformed(void **state)
{
    (void)state;
    static const struct {
        enum cb_foreign_toc_kind kind;
        const char *entries, *why; /* NULL: good */
    } cases[] = {
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9"), NULL },
        { CB_FOREIGN_ESTARGZ, HALF "," CHUNK("\"offset\":20,\"chunkOffset\":4"), NULL },
        { CB_FOREIGN_ESTARGZ, HALF, "not all of it" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"chunkSize\":7"), "overlap" },
        { CB_FOREIGN_ESTARGZ, HALF "," CHUNK("\"offset\":20,\"chunkOffset\":3"), "gaps" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9") "," CHUNK("\"offset\":20,\"chunkOffset\":6,\"chunkSize\":1"),
          "overlap" },
        { CB_FOREIGN_ESTARGZ, HALF "," CHUNK("\"offset\":8,\"chunkOffset\":4"), "order" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":0"), "not inside" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":1542421"), "not inside" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":-1"), "negative" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"Size\":6"), "another spelling" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"modtime\":\"yesterday\""), "no time" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"modtime\":\"0001-01-01T00:00:00Z\""), NULL },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"xattrs\":{\"user.a\":\"*\"}"), "no base64" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"chunkDigest\":\"md5:00\""), "digest" },
        { CB_FOREIGN_ESTARGZ, FILE_OF("\"offset\":9,\"uid\":4294967296"), "out of range" },
        { CB_FOREIGN_ESTARGZ, CHUNK("\"offset\":9"), "chunk of no file" },
        { CB_FOREIGN_ESTARGZ, "{\"type\":\"reg\",\"name\":\"f\",\"size\":6,\"offset\":9}", "no digest" },
        { CB_FOREIGN_ESTARGZ, "{\"type\":\"reg\",\"name\":\"../f\"}", "root" },
        { CB_FOREIGN_ESTARGZ, "{\"type\":\"reg\",\"name\":\"\\ufffd\"}", "could not hold" },
        { CB_FOREIGN_ESTARGZ, "{\"type\":\"socket\",\"name\":\"f\"}", "unknown type" },
        { CB_FOREIGN_ESTARGZ, "{\"type\":\"hardlink\",\"name\":\"f\",\"linkName\":\"f\"}", "itself" },
        { CB_FOREIGN_ESTARGZ, "{\"type\":\"char\",\"name\":\"f\"}", "device 0:0" },
        { CB_FOREIGN_ESTARGZ, "7", "no object" },
        { CB_FOREIGN_ZSTD_CHUNKED, FILE_OF("\"offset\":9,\"endOffset\":30"), NULL },
        { CB_FOREIGN_ZSTD_CHUNKED, FILE_OF("\"offset\":9"), "not inside" },
        { CB_FOREIGN_ZSTD_CHUNKED, FILE_OF("\"offset\":9,\"endOffset\":446880"), "not inside" },
        { CB_FOREIGN_ZSTD_CHUNKED, FILE_OF("\"offset\":9,\"endOffset\":30,\"chunkSize\":2,\"chunkType\":\"zeros\"") ","
          CHUNK("\"offset\":20,\"chunkOffset\":2,\"chunkSize\":4"), NULL },
        { CB_FOREIGN_ZSTD_CHUNKED, FILE_OF("\"offset\":20,\"endOffset\":30,\"chunkSize\":2") ","
          CHUNK("\"offset\":9,\"chunkOffset\":2,\"chunkSize\":4"), "not inside" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_autofree char *text = cb_asprintf("{\"version\":1,\"entries\":[%s]}", cases[i].entries);
        CB_AUTO(cb_foreign_toc_free) struct cb_foreign_toc *t = NULL;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        int r = parse(cases[i].kind, text, strlen(text), &t, &err);
        if (r != (cases[i].why ? -CB_EVERIFY : 0) || (r < 0 && !strstr(cb_error_text(&err), cases[i].why)))
            fail_msg("%s: %d %s", text, r, cb_error_text(&err));
    }
    static const char *const whole[] = { "", "[]", "{}", "{\"version\":2,\"entries\":[]}",
                                         "{\"version\":1,\"entries\":{}}", "{\"version\":1,\"entries\":[]}x",
                                         "{\"version\":1,\"Entries\":[]}" };
    for (size_t i = 0; i < CB_COUNTOF(whole); i++) {
        struct cb_foreign_toc *t = NULL;
        assert_int_equal(parse(CB_FOREIGN_ESTARGZ, whole[i], strlen(whole[i]), &t, NULL), -CB_EVERIFY);
        assert_null(t);
    }
}

/* ---- where it is ---- */

static void places(void **state)
{
    (void)state;
    static const char footer[] = "\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0"
                                 "0000000000178915STARGZ\x01\0\0\xff\xff\0\0\0\0\0\0\0\0";
    struct cb_strmap a cb_cleanup_strmap = { 0 };
    struct cb_foreign_place p;
    bool more;
    assert_int_equal(sizeof footer - 1, CB_ESTARGZ_FOOTER);
    assert_int_equal(cb_foreign_place_find(&a, 1543350, NULL, &p, &more, NULL), -CB_ENOTFOUND);
    cb_strmap_set(&a, CB_ANNOTATION_ESTARGZ_TOC, HELLO);
    assert_int_equal(cb_foreign_place_find(&a, 1543350, NULL, &p, &more, NULL), 0);
    assert_true(more);
    assert_int_equal(cb_foreign_place_find(&a, 1543350, (const uint8_t *)footer, &p, &more, NULL), 0);
    assert_false(more);
    assert_int_equal(p.kind, CB_FOREIGN_ESTARGZ);
    assert_int_equal(p.offset, 0x178915);
    assert_int_equal(p.offset + p.length, 1543350 - CB_ESTARGZ_FOOTER);
    assert_int_equal(cb_foreign_place_find(&a, 0x178915 + CB_ESTARGZ_FOOTER, (const uint8_t *)footer, &p, &more, NULL),
                     -CB_EVERIFY);
    for (size_t i = 0; i < sizeof footer - 1; i++) {
        uint8_t bad[CB_ESTARGZ_FOOTER];
        memcpy(bad, footer, sizeof bad);
        bad[i] ^= 0x80;
        if (i != 9)
            assert_int_equal(cb_foreign_place_find(&a, 1543350, bad, &p, &more, NULL), -CB_EVERIFY);
    }
    cb_strmap_set(&a, CB_ANNOTATION_CHUNKED_TOC, HELLO);
    assert_int_equal(cb_foreign_place_find(&a, 1543350, NULL, &p, &more, NULL), -CB_EVERIFY);
    cb_strmap_remove(&a, CB_ANNOTATION_ESTARGZ_TOC);
    assert_int_equal(cb_foreign_place_find(&a, 448559, NULL, &p, &more, NULL), -CB_EVERIFY);
    static const struct {
        const char *at;
        bool good;
    } positions[] = { { "446879:607:1811:1", true },
                      { "446879:607:1811:2", false },
                      { "446879:607:1811", false },
                      { "446879:607:1811:1:", false },
                      { "448000:607:1811:1", false },
                      { "-1:607:1811:1", false },
                      { "0:607:1811:1", false },
                      { "446879:0:1811:1", false },
                      { "446879:607:99999999:1", false },
                      { "18446744073709551615:607:1811:1", false },
                      { "", false } };
    for (size_t i = 0; i < CB_COUNTOF(positions); i++) {
        cb_strmap_set(&a, CB_ANNOTATION_CHUNKED_AT, positions[i].at);
        assert_int_equal(cb_foreign_place_find(&a, 448559, NULL, &p, &more, NULL),
                         positions[i].good ? 0 : -CB_EVERIFY);
    }
}

/* ---- what we write ourselves ---- */

#define BIG (2 * CB_CHUNK + 100)

static char *big_data(void)
{
    char *p = cb_malloc(BIG);
    uint64_t seed = 5;
    for (size_t i = 0; i < BIG; i++)
        p[i] = i >> 16 & 1 ? (char)(i * i / 99) : (char)(sup_random(&seed) % 9);
    return p;
}

static int add(struct cb_layer_writer *w, const struct cb_entry *e, const char *data, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *s = e->type == CB_ENTRY_FILE ? sup_source(data, e->size, 70001) : NULL;
    return cb_layer_writer_add(w, e, s, err);
}

/* One of everything; nothing that tables do not keep. */
static void add_all(struct cb_layer_writer *w, const char *data)
{
    static const struct cb_xattr x[] = { { "security.capability", "\1\0\0\2\0 \0", 7 }, { "user.a", "", 0 } };
    static char longname[] = "d/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                             "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\"\\\xc3\xa9\n";
    const struct cb_entry v[] = {
        { .path = "bin", .type = CB_ENTRY_SYMLINK, .link = "/usr/b\"n", .mode = 0777, .mtime = 5 },
        { .path = "d", .type = CB_ENTRY_OPAQUE },
        { .path = "d", .type = CB_ENTRY_DIR, .mode = 01755, .uid = 5000000, .gid = UINT32_MAX - 1, .xattrs = x,
          .n_xattrs = 2 },
        { .path = "d/big", .type = CB_ENTRY_FILE, .mode = 0644, .size = BIG, .mtime = 1700000000 },
        { .path = "d/chunk", .type = CB_ENTRY_FILE, .mode = 0644, .size = CB_CHUNK, .mtime = -5 },
        { .path = "d/empty", .type = CB_ENTRY_FILE, .mode = 0 },
        { .path = "d/gone", .type = CB_ENTRY_WHITEOUT, .mtime = 17 },
        { .path = longname, .type = CB_ENTRY_FILE, .size = 5, .mode = 04711, .xattrs = x, .n_xattrs = 2 },
        { .path = "dev/c", .type = CB_ENTRY_CHAR, .mode = 0666, .dev_major = 1, .dev_minor = 3 },
        { .path = "dev/d", .type = CB_ENTRY_BLOCK, .mode = 0660, .dev_major = 4095, .dev_minor = 1048575 },
        { .path = "dev/f", .type = CB_ENTRY_FIFO, .mode = 0600 },
        { .path = "etc/passwd", .type = CB_ENTRY_FILE, .mode = 0644, .size = 26 },
        { .path = "link", .type = CB_ENTRY_HARDLINK, .link = longname },
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        bool users = cb_streq(v[i].path, "etc/passwd");
        assert_int_equal(add(w, &v[i], users ? "root:x:0:0::/root:/bin/sh\n" : data, NULL), 0);
    }
}

/* n plain bytes behind `skip` of those that a part of the blob is. */
static char *inflate_at(const struct sup_sink *s, uint64_t at, uint64_t end, uint64_t skip, size_t n)
{
    cb_autosource struct cb_blob_source *src = sup_source(s->data.buf + at, (size_t)(end - at), 5000);
    CB_AUTO(cb_inflate_free) struct cb_inflate *i = cb_inflate_new(src, false);
    char *all = cb_malloc((size_t)skip + n + 1);
    size_t have = 0, got = 1;
    while (have < skip + n && got) {
        assert_int_equal(cb_inflate_read(i, all + have, (size_t)skip + n - have, &got, NULL), 0);
        have += got;
    }
    assert_int_equal(have, skip + n);
    memmove(all, all + skip, n);
    all[n] = '\0';
    return all;
}

/* The text of the table, found as somebody would who has the descriptor and reads ranges of the blob. */
static char *text_of(const struct sup_sink *s, const struct cb_layer_encoding *e, struct cb_foreign_place *place,
                     size_t *n)
{
    const uint8_t *footer = (const uint8_t *)s->data.buf + s->data.len - CB_ESTARGZ_FOOTER;
    struct cb_digest d;
    bool more;
    assert_int_equal(cb_foreign_place_find(&e->annotations, e->size, footer, place, &more, NULL), 0);
    uint64_t skip = 0, end = place->offset + place->length;
    *n = (size_t)place->text_length;
    if (place->kind == CB_FOREIGN_ESTARGZ) {
        cb_autofree char *head = inflate_at(s, place->offset, end, 124, 11);
        *n = strtoul(head, NULL, 8);
        skip = 512;
    }
    char *text = inflate_at(s, place->offset, end, skip, *n);
    if (place->kind == CB_FOREIGN_ESTARGZ)
        cb_digest_of(&d, text, *n);
    else
        cb_digest_of(&d, s->data.buf + place->offset, (size_t)place->length);
    assert_true(cb_digest_eq(&d, &place->digest));
    return text;
}

static void check_data(const struct sup_sink *s, const struct cb_foreign_toc *t, const struct cb_entry *e)
{
    size_t n;
    const struct cb_foreign_part *p = cb_foreign_toc_parts(t, e->path, &n);
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest d;
    for (size_t i = 0; i < n; i++) {
        cb_autofree char *data = inflate_at(s, p[i].offset, p[i].end, p[i].inner, (size_t)p[i].size);
        cb_digest_of(&d, data, (size_t)p[i].size);
        assert_true(!cb_digest_is_set(&p[i].digest) || cb_digest_eq(&d, &p[i].digest));
        cb_hasher_update(h, data, (size_t)p[i].size);
    }
    cb_hasher_finish(h, &d);
    if (cb_streq(e->path, CB_ESTARGZ_TOC)) /* lies behind what the table knows */
        return;
    const struct cb_digest told = cb_sum_digest(&e->digest);
    assert_true(cb_digest_eq(&d, &told));
    assert_int_equal(n, (e->size + CB_CHUNK - 1) / CB_CHUNK);
}

static void check_entry(const struct cb_entry *a, const struct cb_entry *b)
{
    bool mark = a->type == CB_ENTRY_WHITEOUT || a->type == CB_ENTRY_OPAQUE;
    assert_string_equal(a->path, b->path);
    assert_int_equal(a->type, b->type);
    assert_true(a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->size == b->size);
    assert_true(mark || a->mtime == b->mtime);
    assert_true(a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && cb_streq(a->link, b->link));
    assert_true(mark || cb_sum_eq(&a->digest, &b->digest) || (!a->digest.known && !b->digest.known));
    assert_int_equal(a->n_xattrs, b->n_xattrs);
    for (size_t i = 0; i < a->n_xattrs; i++) {
        assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
        assert_int_equal(a->xattrs[i].len, b->xattrs[i].len);
        assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len);
    }
}

static int read_blob(void *arg, uint64_t offset, uint64_t len, struct cb_strbuf *out, struct cb_error *err)
{
    const struct sup_sink *s = arg;
    (void)err;
    assert_true(offset + len <= s->data.len);
    cb_strbuf_add(out, s->data.buf + offset, (size_t)len);
    return 0;
}

/* From the blob's own bytes, and with its files of users, as somebody who reads ranges has it. */
static void check_loaded(struct sup_sink *s, const struct cb_foreign_place *place, const struct cb_toc *real)
{
    CB_AUTO(cb_foreign_toc_free) struct cb_foreign_toc *t = NULL;
    struct cb_foreign_toc *none = NULL;
    char *raw = s->data.buf + place->offset;
    struct cb_foreign_reader reader = { read_blob, s };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    if (cb_foreign_toc_load(place, raw, (size_t)place->length, &t, &err) < 0)
        fail_msg("%s", cb_error_text(&err));
    const char *differs = cb_foreign_toc_differs(place->kind, cb_foreign_toc_table(t), real);
    if (differs)
        fail_msg("%s differs", differs);
    assert_null(cb_toc_find(cb_foreign_toc_table(t), "etc/passwd")->inline_data);
    assert_int_equal(cb_foreign_toc_fill(t, &reader, NULL), 0);
    assert_string_equal(cb_toc_find(cb_foreign_toc_table(t), "etc/passwd")->inline_data,
                        cb_toc_find(real, "etc/passwd")->inline_data);
    /* Another byte of it, less of it, another file's bytes: none of that is a table. */
    assert_int_equal(cb_foreign_toc_load(place, raw, (size_t)place->length - 1, &none, NULL), -CB_EVERIFY);
    struct cb_foreign_place other = *place;
    other.digest.raw[3] ^= 1;
    assert_int_equal(cb_foreign_toc_load(&other, raw, (size_t)place->length, &none, NULL), -CB_EVERIFY);
    s->data.buf[cb_foreign_toc_parts(t, "etc/passwd", &(size_t){ 0 })->offset + 12] ^= 4;
    assert_int_equal(cb_foreign_toc_fill(t, &reader, NULL), -CB_EVERIFY);
}

static struct cb_toc *one_entry(const struct cb_entry *e)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    assert_int_equal(cb_toc_builder_add(b, e, NULL), 0);
    return cb_toc_builder_finish(b);
}

/* What a table may lack, and what it may not say. */
static void comparing(void **state)
{
    (void)state;
    static const struct cb_xattr x = { "user.a", "b", 1 };
    struct cb_entry f = { .path = "f", .type = CB_ENTRY_FILE, .mode = 0644, .mtime = 5, .offset = 512, .size = 3,
                          .inline_data = "abc" };
    cb_sum_of(&f.digest, "abc", 3);
    CB_AUTO(cb_toc_unref) struct cb_toc *real = one_entry(&f);
    struct {
        struct cb_entry e;
        bool gz, zst; /* says the same */
    } cases[] = { { f, true, true }, { f, true, true }, { f, true, false }, { f, false, false }, { f, false, false },
                  { f, false, false }, { f, false, false }, { f, false, false }, { f, false, false },
                  { f, false, false } };
    cases[1].e.offset = UINT64_MAX;
    cases[1].e.inline_data = NULL;
    cases[2].e.mtime = 6;
    cases[3].e.mtime = 4;
    cases[4].e.mode = 04755;
    cases[5].e.gid = 7;
    cases[6].e.digest.raw[31] ^= 1;
    cases[7].e.xattrs = &x;
    cases[7].e.n_xattrs = 1;
    cases[8].e = (struct cb_entry){ .path = "f", .type = CB_ENTRY_SYMLINK, .mode = 0644, .mtime = 5, .link = "x" };
    cases[9].e.path = "g";
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        CB_AUTO(cb_toc_unref) struct cb_toc *told = one_entry(&cases[i].e);
        const char *gz = cb_foreign_toc_differs(CB_FOREIGN_ESTARGZ, told, real);
        const char *zst = cb_foreign_toc_differs(CB_FOREIGN_ZSTD_CHUNKED, told, real);
        assert_true(!gz == cases[i].gz && !zst == cases[i].zst);
        assert_true(!gz || cb_streq(gz, "f"));
    }
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    CB_AUTO(cb_toc_unref) struct cb_toc *empty = cb_toc_builder_finish(b);
    assert_string_equal(cb_foreign_toc_differs(CB_FOREIGN_ESTARGZ, empty, real), "f");
    assert_string_equal(cb_foreign_toc_differs(CB_FOREIGN_ESTARGZ, real, empty), "f");
}

static void round_trip(enum cb_compression compression)
{
    struct sup_sink s = SUP_SINK_INIT;
    cb_cleanup_layer struct cb_layer layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    CB_AUTO(cb_pool_free) struct cb_pool *pool = cb_pool_new("test", 2);
    CB_AUTO(cb_foreign_toc_free) struct cb_foreign_toc *t = NULL;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_autofree char *data = big_data();
    struct cb_layer_write_options o = { .format = { compression, 1, true }, .clamp_mtime = INT64_MAX, .pool = pool,
                                        .sink = &s.base };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    add_all(w, data);
    assert_int_equal(cb_layer_writer_finish(w, &layer, &toc, NULL), 0);
    struct sup_read r = sup_read(s.data.buf, s.data.len, false); /* as any other layer */
    assert_int_equal(r.code, 0);
    assert_true(cb_digest_eq(&r.diff_id, &layer.diff_id));
    struct cb_foreign_place place;
    size_t n;
    cb_autofree char *text = text_of(&s, &layer.encodings[0], &place, &n);
    if (cb_foreign_toc_parse(&place, text, n, &t, &err) < 0)
        fail_msg("%s", cb_error_text(&err));
    struct cb_toc *table = cb_foreign_toc_table(t);
    assert_int_equal(cb_toc_count(table), cb_toc_count(toc));
    assert_int_equal(cb_toc_count(r.toc), cb_toc_count(toc));
    for (size_t i = 0; i < cb_toc_count(toc); i++) {
        check_entry(cb_toc_at(toc, i), cb_toc_at(table, i));
        if (cb_toc_at(table, i)->type == CB_ENTRY_FILE)
            check_data(&s, t, cb_toc_at(table, i));
    }
    check_loaded(&s, &place, r.toc);
    sup_read_done(&r);
    cb_strbuf_done(&s.data);
}

static void ours(void **state)
{
    (void)state;
    round_trip(CB_COMPRESSION_GZIP);
    round_trip(CB_COMPRESSION_ZSTD);
}

/* What no table can say is an error before anything is written of it. */
static void not_in_a_table(void **state)
{
    (void)state;
    static const struct {
        enum cb_compression compression;
        struct cb_entry e;
        int code;
    } cases[] = {
        { CB_COMPRESSION_GZIP, { .path = "a\xff", .type = CB_ENTRY_DIR }, -CB_ECONF },
        { CB_COMPRESSION_ZSTD, { .path = "a\xff", .type = CB_ENTRY_DIR }, -CB_ECONF },
        { CB_COMPRESSION_ZSTD, { .path = "l", .type = CB_ENTRY_SYMLINK, .link = "\xc3" }, -CB_ECONF },
        { CB_COMPRESSION_GZIP, { .path = CB_ESTARGZ_TOC, .type = CB_ENTRY_FILE }, -CB_ECONF },
        { CB_COMPRESSION_GZIP, { .path = ".prefetch.landmark", .type = CB_ENTRY_FILE }, -CB_ECONF },
        { CB_COMPRESSION_GZIP, { .path = "sub/" CB_ESTARGZ_TOC, .type = CB_ENTRY_FILE }, 0 },
        { CB_COMPRESSION_ZSTD, { .path = CB_ESTARGZ_TOC, .type = CB_ENTRY_FILE }, 0 },
        { CB_COMPRESSION_ZSTD, { .path = "twice", .type = CB_ENTRY_DIR }, -CB_EINTERNAL },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct sup_sink s = SUP_SINK_INIT;
        struct cb_layer_write_options o = { .format = { cases[i].compression, CB_LEVEL_DEFAULT, true },
                                            .sink = &s.base };
        CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
        assert_int_equal(add(w, &(struct cb_entry){ .path = "twice", .type = CB_ENTRY_DIR }, "", NULL), 0);
        assert_int_equal(add(w, &cases[i].e, "", NULL), cases[i].code);
        cb_strbuf_done(&s.data);
    }
    struct cb_layer_write_options nowhere = { .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT, true } };
    assert_null(cb_layer_writer_new(&nowhere, NULL));
}

/* Of Go's hash/crc64, table ISO. */
static void crc(void **state)
{
    (void)state;
    static const char text[] = "The quick brown fox jumps over the lazy dog";
    struct cb_crc64 *c = CB_NEW(struct cb_crc64);
    cb_crc64_init(c);
    cb_crc64_update(c, text, sizeof text - 1);
    uint64_t whole = c->value;
    c->value = 0;
    for (size_t i = 0; i < sizeof text - 1; i++)
        cb_crc64_update(c, &text[i], 1);
    assert_true(c->value == whole);
    c->value = 0;
    cb_crc64_update(c, "a", 1);
    assert_true(c->value == UINT64_C(0x3420000000000000));
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_estargz), cmocka_unit_test(reference_chunked), cmocka_unit_test(malformed),
        cmocka_unit_test(places),            cmocka_unit_test(ours),              cmocka_unit_test(not_in_a_table),
        cmocka_unit_test(crc),               cmocka_unit_test(comparing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

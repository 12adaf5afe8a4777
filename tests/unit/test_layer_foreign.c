/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of contents of eStargz and zstd:chunked: those in tests/data/toc are what estargz 0.18.1 and
 * containers/storage 1.62.0 write of one tar. */
#include "layer/foreign_toc.h"
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
    if (cb_digest_is_set(&e->digest))
        cb_digest_text(&e->digest, digest);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_estargz), cmocka_unit_test(reference_chunked), cmocka_unit_test(malformed),
        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

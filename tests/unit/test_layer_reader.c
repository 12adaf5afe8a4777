/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile layers: safety rules A1 to A10 and B1. */
#include "tests/unit/layer_support.h"
#include "util/limits.h"

/* A tar from lines: "5 dir/", "0 file text", "2 link > target", "1 link > target", "3 dev 1 3". */
static void build(struct cb_strbuf *t, const char *spec)
{
    cb_strbuf_reset(t);
    while (*spec) {
        size_t n = strcspn(spec, "\n");
        cb_autofree char *line = cb_strndup(spec, n);
        char *arrow = strstr(line, " > "), *text = strstr(line + 2, " = ");
        unsigned major = 0, minor = 0;
        char *dev = strstr(line, " # ");
        if (dev)
            assert_int_equal(sscanf(dev, " # %u %u", &major, &minor), 2);
        for (char *cut = arrow ? arrow : text ? text : dev; cut; cut = NULL)
            *cut = '\0';
        if (*line == '0')
            sup_file(t, line + 2, text ? text + 3 : "");
        else
            sup_head(t, &(struct sup_header){ .name = line + 2, .type = *line, .link = arrow ? arrow + 3 : NULL,
                                              .major = major, .minor = minor });
        spec += n + (spec[n] == '\n');
    }
    sup_end(t);
}

static void spell(struct cb_strbuf *out, const struct cb_toc *t)
{
    cb_strbuf_reset(out);
    for (size_t i = 0; i < cb_toc_count(t); i++) {
        const struct cb_entry *e = cb_toc_at(t, i);
        cb_strbuf_addf(out, "%c %s%s%s\n", "?wodflhcbp"[e->type], e->path, e->link ? " > " : "",
                       e->link ? e->link : "");
    }
}

/* want NULL: refused. */
static void reads(const char *spec, bool raw, const char *want)
{
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, got = CB_STRBUF_INIT;
    build(&t, spec);
    struct sup_read r = sup_read(t.buf, t.len, raw);
    if (want) {
        assert_string_equal(cb_error_text(&r.err), cb_error_text(&(struct cb_error){ 0 }));
        spell(&got, r.toc);
        assert_string_equal(got.buf, want);
    } else {
        assert_int_equal(r.code, -CB_EVERIFY);
        assert_null(r.toc);
    }
    sup_read_done(&r);
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *want;
    } cases[] = {
        { "5 ./\n0 ./a\n0 /b\n0 //c\n0 d/./e\n0 f//g", "f a\nf b\nf c\nf d/e\nf f/g\n" },
        { "0 ../x", NULL },
        { "0 a/../../x", NULL },
        { "0 a/../x", NULL },
        { "0 ..", NULL },
        { "5 ../", NULL },
        { "5 /", "" },
        { "0 .", NULL },                   /* the root as a file */
        { "2 . > /tmp", NULL },            /* A2: the root as a link */
        { "2 ./ > /tmp", NULL },
        { "0 ..a\n0 b..", "f ..a\nf b..\n" },
        { "0 a\n0 a/b", NULL },            /* in a file */
        { "5 a\n0 a\n5 a", "o a\nd a\n" },
        { "0 x = 1\n0 x = 2", "f x\n" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++)
        reads(cases[i].spec, false, cases[i].want);
}

/* Where parents are links of the same layer the entry is what it is behind them, inside the root. */
static void through_links(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *want;
    } cases[] = {
        { "2 lib > usr/lib\n0 lib/x", "l lib > usr/lib\nf usr/lib/x\n" },
        { "2 a > /out\n0 a/x", "l a > /out\nf out/x\n" },
        { "2 a > ../../../out\n0 a/x", "l a > ../../../out\nf out/x\n" },
        { "2 b > ..\n2 a > b/../..\n0 a/x", "l a > b/../..\nl b > ..\nf x\n" },
        { "2 a > b\n2 b > a\n0 a/x", NULL },
        { "2 a > a\n0 a/x", NULL },
        { "5 a\n0 a/x\n2 a > /out", "l a > /out\n" },
        { "2 a > /out\n5 a\n0 a/x", "o a\nd a\nf a/x\n" },
        { "2 a > b\n0 b\n0 a/x", NULL },
        { "2 a > d\n5 a/\n", "o a\nd a\n" },
        { "5 e\n5 d\n2 d/l > ../e\n0 d\n5 d\n0 d/l/x", "o d\nd d\nf d/l/x\nd e\n" }, /* a link that is gone */
        { "2 a > .\n0 a/a/a/x", "l a > .\nf x\n" },
        { "5 d\n2 a > d\n1 a/h > a/x\n0 a/x", "l a > d\nd d\nh d/h > d/x\nf d/x\n" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        reads(cases[i].spec, false, cases[i].want);
        reads(cases[i].spec, true, cases[i].want);
    }
}

static void hard_links(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *want;
    } cases[] = {
        { "0 a = x\n1 b > a", "f a\nh b > a\n" },
        { "0 a = x\n1 b > /./a", "f a\nh b > a\n" },
        { "1 b > lower/file", "h b > lower/file\n" },    /* in a layer below, perhaps */
        { "1 b > ../x", NULL },
        { "1 b > b", NULL },
        { "1 b > /", NULL },
        { "5 d\n1 b > d", NULL },
        { "2 l > t\n1 b > l", "l b > t\nl l > t\n" },    /* the link itself, not what it points to */
        { "6 p\n1 b > p", "p b\np p\n" },
        { "0 a = x\n1 b > a\n1 c > b", "f a\nh b > a\nh c > a\n" },
        { "0 a = x\n1 b > a\n0 a = y", "f a\nf b\n" },
        /* the name that is still this file */
        { "0 a = x\n1 b > a\n0 a = y\n1 c > b", "f a\nf b\nh c > b\n" },
        { "0 a = x\n1 z > a\n0 a = y\n1 c > z", "f a\nh c > z\nf z\n" },
        { "0 a = x\n1 b > a\n0 a = y\n1 a > b", "h a > b\nf b\n" },
        { "0 a = x\n1 b > a\n1 a > b\n1 c > a", "f a\nh b > a\nh c > a\n" },
        { "0 a = x\n1 b > a\n0 a = y\n1 c > b\n0 b = z\n1 d > c", "f a\nf b\nf c\nh d > c\n" },
        { "1 b > lower\n0 lower = y\n1 c > b\n1 d > lower", "h b > lower\nh c > lower\nh d > lower\nf lower\n" },
        { "1 x > b\n1 b > x", "h b > b\nh x > b\n" },   /* of a layer below, both */
        /* what the name would have removed first */
        { "5 d\n0 d/a = x\n1 d > d/a", NULL },
        { "1 d > d/a", NULL },
        { "0 d/a = x\n0 d\n5 d\n1 b > d/a", NULL },
        { "0 .wh.a\n1 b > a", NULL },
        { "0 .wh.d\n5 d\n1 b > d/a", NULL },
        { "0 d/.wh..wh..opq\n1 b > d/a", NULL },
        { "0 d/.wh..wh..opq\n1 b > d", NULL },
        { "0 .wh.d\n5 d\n0 d/a = x\n1 b > d/a", "h b > d/a\nw d\nd d\nf d/a\n" },
        { "1 b > a\n0 .wh.a\n1 c > b", "w a\nh b > a\nh c > a\n" }, /* it was there when the link was made */
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++)
        reads(cases[i].spec, false, cases[i].want);
}

static void whiteouts(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *want;
    } cases[] = {
        { "0 .wh.a\n0 d/.wh.b", "w a\nw d/b\n" },
        { "0 d/.wh..wh..opq\n0 d/x", "o d\nf d/x\n" },
        { "0 d/x\n0 d/.wh..wh..opq", "o d\nf d/x\n" },   /* never its own files */
        { "0 .wh..wh.plnk\n5 .wh..wh.orph/\n0 .wh..wh.plnk/1.2\n1 d/.wh.x > .wh..wh.aufs", "w d/x\n" },
        { "0 .wh.", NULL },
        { "0 d/.wh.", NULL },
        { "0 d/.wh..", NULL },
        { "0 d/.wh...", NULL },
        { "0 .wh....", "w ...\n" },
        { "0 ../.wh.x", NULL },
        { "0 .wh.x/y", NULL },
        { "0 .wh..wh..opq", NULL },                      /* the root has nothing below to hide it from */
        { "0 ./.wh..wh..opq", NULL },
        { "2 a > b\n0 a/.wh..wh..opq\n0 a/.wh.x", "l a > b\no b\nw b/x\n" },
        { "2 a > /\n0 a/.wh..wh..opq", NULL },
        { "0 a\n0 a/.wh..wh..opq", NULL },
        { "5 .wh.d/", "w d\n" },
        { "0 x.wh.y", "f x.wh.y\n" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++)
        reads(cases[i].spec, false, cases[i].want);
    reads("0 .wh.a\n0 d/.wh..wh..opq\n0 .wh..\n0 .wh.x/y", true, "f .wh..\nf .wh.a\nf .wh.x/y\nf d/.wh..wh..opq\n");
}

static void devices(void **state)
{
    (void)state;
    reads("3 dev/null # 1 3\n4 dev/sda # 8 0\n6 p", false, "c dev/null\nb dev/sda\np p\n");
    reads("3 x # 0 0", false, NULL);
    reads("3 x # 0 0", true, NULL);
    reads("4 x # 0 0", false, "b x\n");
    reads("3 x # 4096 0", false, NULL);
    reads("3 x # 1 1048576", false, NULL);
    reads("7 contiguous = x", false, "f contiguous\n");
    reads("s socket", false, NULL);
}

/* ---- fields ---- */

static void rejected(struct cb_strbuf *t)
{
    sup_end(t);
    struct sup_read r = sup_read(t->buf, t->len, false);
    assert_int_equal(r.code, -CB_EVERIFY);
    sup_read_done(&r);
    cb_strbuf_reset(t);
}

static struct sup_read accepted(struct cb_strbuf *t)
{
    sup_end(t);
    struct sup_read r = sup_read(t->buf, t->len, false);
    assert_string_equal(cb_error_text(&r.err), cb_error_text(&(struct cb_error){ 0 }));
    assert_int_equal(r.code, 0);
    cb_strbuf_reset(t);
    return r;
}

static void long_and_odd_names(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, n = CB_STRBUF_INIT;
    for (unsigned i = 0; i < 256; i++)
        cb_strbuf_addch(&n, 'x');
    sup_pax(&t, "path", n.buf);
    sup_add(&t, '0', "f", NULL);
    rejected(&t);                                                /* a component of 256 */
    cb_strbuf_setlen(&n, 255);
    sup_pax(&t, "path", n.buf);
    sup_add(&t, '0', "f", NULL);
    struct sup_read r = accepted(&t);
    assert_string_equal(cb_toc_at(r.toc, 0)->path, n.buf);
    sup_read_done(&r);
    cb_cleanup_strbuf struct cb_strbuf w = CB_STRBUF_INIT;       /* and a whiteout of it is longer */
    cb_strbuf_addf(&w, "d/.wh.%s", n.buf);
    sup_ext(&t, 'L', w.buf, w.len + 1);
    sup_add(&t, '0', "f", NULL);
    r = accepted(&t);
    assert_string_equal(cb_toc_at(r.toc, 0)->path + 2, n.buf);
    sup_read_done(&r);
    cb_strbuf_reset(&n);
    while (n.len < 4097)
        cb_strbuf_adds(&n, "dir/");
    cb_strbuf_adds(&n, "f");
    sup_pax(&t, "path", n.buf);
    sup_add(&t, '0', "f", NULL);
    rejected(&t);
    cb_strbuf_reset(&n);
    for (unsigned i = 0; i < CB_MAX_TREE_DEPTH; i++)
        cb_strbuf_adds(&n, "d/");
    cb_strbuf_adds(&n, "f");
    sup_pax(&t, "path", n.buf);
    sup_add(&t, '0', "f", NULL);
    rejected(&t);
    sup_pax(&t, "path", n.buf + 2);
    sup_add(&t, '0', "f", NULL);
    r = accepted(&t);
    sup_read_done(&r);
    cb_strbuf_reset(&n);
    for (unsigned i = 0; i < 4097; i++)
        cb_strbuf_addch(&n, 'l');
    sup_pax(&t, "linkpath", n.buf);
    sup_add(&t, '2', "s", "x");
    rejected(&t);
    sup_add(&t, '2', "s", NULL);
    rejected(&t);                                                /* a link to nothing */
}

/* Names are bytes whatever the locale: here "C". */
static void names_are_bytes(void **state)
{
    (void)state;
    static const char *const names[] = { "\xc3\xa9t\xc3\xa9", "e\xcc\x81", "\xff\xfe", "\xe2\x82", "\xed\xa0\x80",
                                        "a\nb\x1b[31m" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        for (int how = 0; how < 4; how++) {
            cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, pax = CB_STRBUF_INIT;
            if (how == 1)
                sup_ext(&t, 'L', names[i], strlen(names[i]) + 1);
            if (how == 3)
                sup_record(&pax, "hdrcharset", "BINARY");
            if (how >= 2) {
                sup_record(&pax, "linkpath", names[i]);
                sup_record(&pax, "path", names[i]);
                sup_record(&pax, "SCHILY.xattr.user.a", "1");
                sup_ext(&t, 'x', pax.buf, pax.len);
            }
            sup_add(&t, '2', how ? "f" : names[i], how > 1 ? "f" : names[i]);
            struct sup_read r = accepted(&t);
            assert_int_equal(cb_toc_count(r.toc), 1);
            assert_string_equal(cb_toc_at(r.toc, 0)->path, names[i]);
            assert_string_equal(cb_toc_at(r.toc, 0)->link, names[i]);
            sup_read_done(&r);
        }
}

static void numbers(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    static const struct {
        const char *key, *value;
        bool ok;
    } cases[] = {
        { "uid", "4294967294", true }, { "uid", "4294967295", false }, { "uid", "-1", false },
        { "gid", "99999999999", false }, { "gid", "18446744073709551616", false },
        { "mtime", "-62135596800", true }, /* Go's zero time, in images that are out there */
        { "mtime", "1700000000.123456789", true }, { "mtime", "9223372036854775807", false },
        { "mtime", "-9223372036854775808", false },
        { "size", "-1", false }, { "size", "9223372036854775807", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        sup_pax(&t, cases[i].key, cases[i].value);
        sup_add(&t, '5', "d", NULL);
        if (!cases[i].ok) {
            rejected(&t);
            continue;
        }
        struct sup_read r = accepted(&t);
        const struct cb_entry *e = cb_toc_at(r.toc, 0);
        if (cb_streq(cases[i].key, "uid"))
            assert_int_equal(e->uid, 4294967294u);
        else
            assert_true(e->mtime == strtoll(cases[i].value, NULL, 10));
        sup_read_done(&r);
    }
}

/* As a file system has them: rounded down. */
static void times_before_1970(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t sec;
    } cases[] = { { "-1.5", -2 }, { "-1.000000001", -2 }, { "-1.0", -1 }, { "-1", -1 }, { "-0.5", -1 }, { "-0", 0 },
                  { "0.999999999", 0 }, { "1.5", 1 }, { "1.", 1 } };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
        sup_pax(&t, "mtime", cases[i].text);
        sup_add(&t, '5', "d", NULL);
        sup_add(&t, '5', "e", NULL); /* of one entry, not of the next */
        struct sup_read r = accepted(&t);
        assert_int_equal(cb_toc_at(r.toc, 0)->mtime, cases[i].sec);
        assert_true(cb_toc_at(r.toc, 1)->mtime >= 0);
        sup_read_done(&r);
    }
}

/* A9: where the body is as long as PAX says; a parser that believed ustar would find the hidden entry. */
static void pax_size_wins(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, hidden = CB_STRBUF_INIT;
    sup_file(&hidden, "hidden", "boo");
    sup_pax(&t, "size", "1024");
    sup_head(&t, &(struct sup_header){ .name = "f", .type = '0', .size = 0 });
    assert_int_equal(hidden.len, 1024);
    cb_strbuf_add(&t, hidden.buf, hidden.len);
    sup_file(&t, "next", "");
    struct sup_read r = accepted(&t);
    assert_string_equal(r.seen.buf, "4 f\n4 next\n");
    assert_int_equal(cb_toc_find(r.toc, "f")->size, 1024);
    struct cb_sum d;
    cb_sum_of(&d, hidden.buf, hidden.len);
    assert_true(cb_sum_eq(&cb_toc_find(r.toc, "f")->digest, &d));
    sup_read_done(&r);
}

static void bodies_where_none_may_be(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    static const char types[] = "123456";
    for (const char *p = types; *p; p++) {
        sup_file(&t, "target", "x");
        sup_head(&t, &(struct sup_header){ .name = "e", .type = *p, .link = "target", .size = 5, .major = 1 });
        sup_body(&t, "12345", 5);
        rejected(&t);
    }
    sup_file(&t, "target", "x"); /* the same by PAX */
    sup_pax(&t, "size", "5");
    sup_add(&t, '1', "e", "target");
    sup_body(&t, "12345", 5);
    rejected(&t);
}

static void attributes(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, pax = CB_STRBUF_INIT, big = CB_STRBUF_INIT;
    static const char *const keys[] = { "user.b", "user.overlay.opaque", "trusted.overlay.redirect", "user.a",
                                        "user.containers.override_stat", "security.capability", "security.selinux",
                                        "user.fuseoverlayfs.uid", "system.posix_acl_access" };
    for (size_t i = 0; i < CB_COUNTOF(keys); i++) {
        cb_autofree char *key = cb_asprintf("SCHILY.xattr.%s", keys[i]);
        sup_record(&pax, key, "v");
    }
    sup_record(&pax, "uname", "mallory");
    sup_ext(&t, 'x', pax.buf, pax.len);
    sup_file(&t, "f", "x");
    struct sup_read r = accepted(&t);
    const struct cb_entry *e = cb_toc_at(r.toc, 0);
    assert_int_equal(e->n_xattrs, 3);
    assert_string_equal(e->xattrs[0].name, "security.capability");
    assert_string_equal(e->xattrs[1].name, "user.a");
    assert_string_equal(e->xattrs[2].name, "user.b");
    sup_read_done(&r);
    cb_strbuf_reset(&pax);
    for (unsigned i = 0; i < CB_MAX_XATTRS + 1; i++) {
        cb_autofree char *key = cb_asprintf("SCHILY.xattr.user.%u", i);
        sup_record(&pax, key, "v");
    }
    sup_ext(&t, 'x', pax.buf, pax.len);
    sup_file(&t, "f", "x");
    rejected(&t);
    for (unsigned i = 0; i < CB_MAX_XATTR_VALUE + 1; i++)
        cb_strbuf_addch(&big, 'v');
    sup_pax(&t, "SCHILY.xattr.user.big", big.buf);
    sup_file(&t, "f", "x");
    rejected(&t);
}

static void sparse(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, pax = CB_STRBUF_INIT;
    sup_record(&pax, "GNU.sparse.major", "1");
    sup_record(&pax, "GNU.sparse.minor", "0");
    sup_record(&pax, "GNU.sparse.name", "holes");
    sup_record(&pax, "GNU.sparse.realsize", "100000");
    sup_ext(&t, 'x', pax.buf, pax.len);
    sup_head(&t, &(struct sup_header){ .name = "GNUSparseFile.0/holes", .type = '0', .size = 515 });
    sup_body(&t, "1\n50000\n3\n", 10);
    sup_body(&t, "abc", 3);
    sup_file(&t, "next", "x");
    cb_cleanup_strbuf struct cb_strbuf whole = CB_STRBUF_INIT;
    cb_strbuf_add(&whole, t.buf, t.len);
    struct sup_read r = accepted(&t);
    assert_string_equal(r.seen.buf, "4 holes\n4 next\n");
    const struct cb_entry *e = cb_toc_find(r.toc, "holes");
    assert_int_equal(e->size, 100000);
    assert_true(e->offset == UINT64_MAX);
    cb_autofree char *want = cb_calloc(1, 100000);
    struct cb_sum d;
    memcpy(want + 50000, "abc", 3);
    cb_sum_of(&d, want, 100000);
    assert_true(cb_sum_eq(&e->digest, &d));
    sup_read_done(&r);
    sup_end(&whole);
    r = sup_read_with(&(struct cb_layer_read_options){ .source = sup_source(whole.buf, whole.len, 999),
                                                       .max_size = 50000 });
    assert_int_equal(r.code, -CB_EVERIFY); /* holes count */
    sup_read_done(&r);
}

/* ---- the stream ---- */

static void nothing_at_all(void **state)
{
    (void)state;
    struct sup_read r = sup_read("", 0, false);
    assert_int_equal(r.code, 0);
    assert_int_equal(cb_toc_count(r.toc), 0);
    sup_read_done(&r);
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    sup_end(&t);
    r = sup_read(t.buf, t.len, false);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.size, 1024);
    sup_read_done(&r);
    char text[700];
    memset(text, 'x', sizeof text); /* no tar, and longer than a block */
    r = sup_read(text, sizeof text, false);
    assert_int_equal(r.code, -CB_EVERIFY);
    sup_read_done(&r);
}

/* A10: all bytes count, also those behind the end of the archive. */
static void trailing_bytes(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    struct cb_digest d;
    build(&t, "0 a = x");
    for (unsigned i = 0; i < 3000000; i++)
        cb_strbuf_addch(&t, (char)i);
    cb_digest_of(&d, t.buf, t.len);
    struct sup_read r = sup_read(t.buf, t.len, false);
    assert_int_equal(r.code, 0);
    assert_true(cb_digest_eq(&r.diff_id, &d));
    assert_int_equal(r.size, t.len);
    sup_read_done(&r);
}

static void cut_off(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    build(&t, "0 a = hello\n5 d\n0 d/b = more");
    for (size_t n = 1; n < t.len - 1024; n += 37) {
        struct sup_read r = sup_read(t.buf, n, false);
        /* Between two entries, or where all but the padding of the last one is there. */
        bool whole = (n % 512 == 0 && n != 512 && n != 2048) || (n >= 517 && n < 1024) || (n >= 2052 && n < 2560);
        assert_int_equal(r.code, whole ? 0 : -CB_EVERIFY);
        sup_read_done(&r);
    }
}

static void expected_digest(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    struct cb_digest good, bad;
    build(&t, "0 a = x");
    cb_digest_of(&good, t.buf, t.len);
    cb_digest_of(&bad, t.buf, t.len - 1);
    for (int i = 0; i < 2; i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(
            &(struct cb_layer_read_options){ .source = cb_blob_source_from_mem(t.buf, t.len) }, NULL);
        assert_int_equal(cb_layer_reader_finish(r, i ? &bad : &good, NULL, NULL, NULL, &err), i ? -CB_EVERIFY : 0);
    }
}

static void budgets(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    build(&t, "0 a = x\n0 b = y\n0 c = z");
    for (uint64_t max = 1; max < 5; max++) {
        struct sup_read r = sup_read_with(&(struct cb_layer_read_options){ .source = sup_source(t.buf, t.len, 99),
                                                                           .max_entries = max });
        assert_int_equal(r.code, max < 3 ? -CB_EVERIFY : 0);
        sup_read_done(&r);
    }
    static const size_t sizes[] = { 1, 1024, 4000, 4096, 5000 };
    for (size_t i = 0; i < CB_COUNTOF(sizes); i++) {
        struct sup_read r = sup_read_with(&(struct cb_layer_read_options){ .source = sup_source(t.buf, t.len, 99),
                                                                           .max_size = sizes[i] });
        assert_int_equal(r.code, sizes[i] < t.len ? -CB_EVERIFY : 0);
        sup_read_done(&r);
    }
}

/* B1: 4 GiB of zeros in a few MB of gzip stop at the budget, not at the end of the memory. */
static void bomb(void **state)
{
    (void)state;
    struct sup_sink sink = SUP_SINK_INIT;
    struct cb_layer_write_options o = { .format = { CB_COMPRESSION_ZSTD, 1 }, .sink = &sink.base };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    cb_cleanup_layer struct cb_layer layer = { 0 };
    size_t n = 256u << 20;
    cb_autofree char *zeros = cb_calloc(1, n);
    cb_autosource struct cb_blob_source *s = cb_blob_source_from_mem(zeros, n);
    struct cb_entry e = { .path = "z", .type = CB_ENTRY_FILE, .size = n };
    assert_int_equal(cb_layer_writer_add(w, &e, s, NULL), 0);
    assert_int_equal(cb_layer_writer_finish(w, &layer, NULL, NULL), 0);
    assert_true(sink.data.len < 100000);
    struct sup_read r = sup_read_with(&(struct cb_layer_read_options){
        .source = sup_source(sink.data.buf, sink.data.len, SIZE_MAX), .max_size = 10u << 20 });
    assert_int_equal(r.code, -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&r.err), "allowed"));
    sup_read_done(&r);
    cb_strbuf_done(&sink.data);
}

struct broken_source {
    struct cb_blob_source base;
    bool *closed;
};
static int broken_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    (void)s, (void)buf, (void)n;
    *got = 0;
    return cb_error_set(err, CB_ENET, "connection reset");
}
static void broken_close(struct cb_blob_source *s)
{
    *((struct broken_source *)s)->closed = true;
}

/* What stopped the source is what the user reads. */
static void source_errors(void **state)
{
    (void)state;
    static const struct cb_blob_source_ops ops = { broken_read, broken_close };
    bool closed = false;
    struct broken_source src = { { &ops }, &closed };
    struct sup_read r = sup_read_with(&(struct cb_layer_read_options){ .source = &src.base });
    assert_int_equal(r.code, -CB_ENET);
    assert_non_null(strstr(cb_error_text(&r.err), "connection reset"));
    assert_true(closed);
    sup_read_done(&r);
}

static void stopping(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    const struct cb_entry *e;
    char buf[10];
    size_t got;
    build(&t, "0 a = hello world\n0 b = x");
    for (unsigned i = 0; i < 4000000; i++)
        cb_strbuf_addch(&t, 'x'); /* the thread still has work when the reader goes */
    struct cb_layer_reader *r = cb_layer_reader_new(
        &(struct cb_layer_read_options){ .source = sup_source(t.buf, t.len, 4096) }, NULL);
    assert_int_equal(cb_layer_reader_next(r, &e, NULL), 0);
    assert_int_equal(cb_layer_reader_read(r, buf, sizeof buf, &got, NULL), 0);
    assert_memory_equal(buf, "hello worl", got);
    cb_layer_reader_free(r);
    cb_layer_reader_free(cb_layer_reader_new(
        &(struct cb_layer_read_options){ .source = sup_source(t.buf, t.len, 4096) }, NULL));
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cancel_trigger(c, 0);
    struct sup_read res = sup_read_with(&(struct cb_layer_read_options){ .source = sup_source(t.buf, t.len, 4096),
                                                                         .cancel = c });
    assert_int_equal(res.code, -CB_ECANCELED);
    sup_read_done(&res);
}

static void reading_data(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    const struct cb_entry *e;
    char buf[8];
    size_t got;
    struct cb_sum d;
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    build(&t, "0 a = hello world\n0 b = x\n5 d");
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(
        &(struct cb_layer_read_options){ .source = sup_source(t.buf, t.len, 100) }, NULL);
    assert_int_equal(cb_layer_reader_next(r, &e, NULL), 0);
    assert_false(e->digest.known);
    assert_int_equal(cb_layer_reader_read(r, buf, 6, &got, NULL), 0); /* the rest is left */
    assert_memory_equal(buf, "hello ", got);
    assert_int_equal(cb_layer_reader_next(r, &e, NULL), 0);
    assert_string_equal(e->path, "b");
    assert_int_equal(cb_layer_reader_read(r, buf, 8, &got, NULL), 0);
    assert_int_equal(got, 1);
    assert_int_equal(cb_layer_reader_read(r, buf, 8, &got, NULL), 0);
    assert_int_equal(got, 0);
    assert_int_equal(cb_layer_reader_next(r, &e, NULL), 0);
    assert_int_equal(cb_layer_reader_read(r, buf, 8, &got, NULL), 0); /* a directory has none */
    assert_int_equal(got, 0);
    assert_int_equal(cb_layer_reader_finish(r, NULL, NULL, NULL, &toc, NULL), 0);
    cb_sum_of(&d, "hello world", 11);
    assert_true(cb_sum_eq(&cb_toc_find(toc, "a")->digest, &d));
    assert_int_equal(cb_layer_reader_next(r, &e, NULL), -CB_EINTERNAL);
}

/* No crash, no hang; what is accepted is a table that parses, of paths in normal form. */
static void mutants(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf good = CB_STRBUF_INIT, pax = CB_STRBUF_INIT;
    cb_cleanup_strbuf struct cb_strbuf m = CB_STRBUF_INIT, p = CB_STRBUF_INIT;
    uint64_t seed = 11;
    unsigned ok = 0;
    sup_ext(&good, 'g', "14 comment=ab\n", 14);
    sup_add(&good, '5', "d/", NULL);
    sup_record(&pax, "path", "d/\xc3\xa9");
    sup_record(&pax, "SCHILY.xattr.user.a", "1");
    sup_record(&pax, "mtime", "1.5");
    sup_ext(&good, 'x', pax.buf, pax.len);
    sup_file(&good, "f", "hello");
    sup_ext(&good, 'L', "d/long\0", 7);
    sup_head(&good, &(struct sup_header){ .name = "x", .type = '2', .link = "f", .magic = "ustar  \0" });
    sup_add(&good, '1', "h", "d/\xc3\xa9");
    sup_file(&good, "d/.wh.x", "");
    sup_end(&good);
    for (unsigned i = 0; i < 6000; i++) {
        cb_strbuf_reset(&m);
        cb_strbuf_add(&m, good.buf, good.len);
        for (uint64_t k = sup_random(&seed) % 3 + 1; k; k--) {
            size_t at = sup_random(&seed) % (m.len - 1024), head = at & ~(size_t)511;
            if (k % 2) /* the size, the checksum, the type, or the first bytes of what is no header */
                at = head + (m.buf[head + 257] == 'u' ? 124 + sup_random(&seed) % 34 : sup_random(&seed) % 40);
            m.buf[at] = (char)(sup_random(&seed) % 4 ? '0' + sup_random(&seed) % 10 : sup_random(&seed));
            unsigned sum = 0; /* most mutants with a good checksum, or nothing behind it is reached */
            for (size_t j = 0; j < 512; j++)
                sum += j >= 148 && j < 156 ? ' ' : (unsigned char)m.buf[head + j];
            if (m.buf[head + 257] == 'u' && m.buf[head + 154] == '\0')
                sup_octal(m.buf + head + 148, 6, sum);
        }
        struct sup_read r = sup_read(m.buf, m.len, i % 2);
        assert_true(r.code == 0 || r.code == -CB_EVERIFY);
        if (r.code == 0) {
            CB_AUTO(cb_toc_unref) struct cb_toc *again = NULL;
            cb_strbuf_reset(&p);
            cb_toc_print(&p, r.toc);
            assert_int_equal(cb_toc_parse(&again, p.buf, p.len, NULL), 0);
            ok++;
        }
        sup_read_done(&r);
    }
    assert_in_range(ok, 1000, 5000); /* both sides are reached */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names), cmocka_unit_test(through_links), cmocka_unit_test(hard_links),
        cmocka_unit_test(whiteouts), cmocka_unit_test(devices), cmocka_unit_test(long_and_odd_names),
        cmocka_unit_test(names_are_bytes), cmocka_unit_test(numbers),
        cmocka_unit_test(times_before_1970), cmocka_unit_test(pax_size_wins),
        cmocka_unit_test(bodies_where_none_may_be), cmocka_unit_test(attributes), cmocka_unit_test(sparse),
        cmocka_unit_test(nothing_at_all), cmocka_unit_test(trailing_bytes), cmocka_unit_test(cut_off),
        cmocka_unit_test(expected_digest), cmocka_unit_test(budgets), cmocka_unit_test(bomb),
        cmocka_unit_test(source_errors), cmocka_unit_test(stopping), cmocka_unit_test(reading_data),
        cmocka_unit_test(mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

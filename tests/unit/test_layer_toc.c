/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/toc_priv.h"
#include "tests/unit/layer_support.h"
#include "util/encode.h"
#include "util/limits.h"

#define CB_FUZZ_REPLAY 1
#include "tests/fuzz/fuzz_entry.c"
#include "tests/fuzz/fuzz_toc.c"
#include "fuzz_replay.h"

static void order(void **state)
{
    (void)state;
    static const char *const sorted[] = { "a", "a/b", "a/b/c", "a/c", "a!", "a-b", "a.b", "ab", "b", "\xc3\xa9" };
    for (size_t i = 0; i < CB_COUNTOF(sorted); i++)
        for (size_t k = 0; k < CB_COUNTOF(sorted); k++) {
            int c = cb_entry_path_cmp(sorted[i], sorted[k]);
            assert_int_equal(c, i < k ? -1 : i > k);
        }
}

static void spell(struct cb_strbuf *out, const struct cb_toc *t)
{
    static const char letters[] = "?wodflhcbp";
    cb_strbuf_reset(out);
    for (size_t i = 0; i < cb_toc_count(t); i++)
        cb_strbuf_addf(out, "%c %s\n", letters[cb_toc_at(t, i)->type], cb_toc_at(t, i)->path);
}

static void building(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "", "" },
        { "f b\nf a\nd d\nf d/x", "f a\nf b\nd d\nf d/x\n" },
        { "f a\nl a > x", "l a\n" },                             /* the last wins */
        { "d d\nf d/x\nd d", "d d\nf d/x\n" },                   /* a directory again keeps what is in it */
        { "d d\nf d/x\nl d > e", "l d\n" },                      /* what is no directory ends it */
        { "d d\nf d/x\nl d > e\nd d", "o d\nd d\n" },            /* also when it is one again, in lower layers too */
        { "d d\nf d/x\nf d\nd d\nf d/y", "o d\nd d\nf d/y\n" },
        { "f d/e/x\nf d\nd d\nd d/e\nf d/e/y", "o d\nd d\nd d/e\nf d/e/y\n" },
        { "f d\nd d\nf d\nd d\nd d", "o d\nd d\n" },
        { "o d\nf d\nd d", "o d\nd d\n" },
        { "f a\nw a\nw a", "w a\nf a\n" },
        { "o d\nf d/x\nw d/x", "o d\nw d/x\nf d/x\n" },
        { "w d/x\nf d", "f d\n" },
        { "f a.b\nf a/x\nd a", "d a\nf a/x\nf a.b\n" },
    };
    cb_cleanup_strbuf struct cb_strbuf got = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        CB_AUTO(cb_toc_unref) struct cb_toc *t = sup_toc(cases[i].in);
        spell(&got, t);
        assert_string_equal(got.buf, cases[i].out);
    }
}

static void finding(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = sup_toc("w a\nf a\nd d\nf d/x\nw gone");
    assert_int_equal(cb_toc_find(t, "a")->type, CB_ENTRY_FILE);
    assert_null(cb_toc_find(t, "gone"));
    assert_null(cb_toc_find(t, "d/"));
    assert_null(cb_toc_find(t, ""));
    assert_int_equal(cb_toc_lower_bound(t, "a"), 0);
    assert_int_equal(cb_toc_lower_bound(t, "d/x"), 3);
    assert_int_equal(cb_toc_lower_bound(t, "zzz"), cb_toc_count(t));
    assert_null(cb_toc_at(t, cb_toc_count(t)));
}

static struct cb_entry file_at(const char *path, uint64_t offset)
{
    struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .mode = 0600, .size = 3, .offset = offset };
    cb_sum_of(&e.digest, &offset, sizeof offset);
    return e;
}

/* The bytes of a replaced file live on under the names that were linked to it. */
static void links_outlive_their_target(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    struct cb_entry e = file_at("a", 512), l = e, kept = file_at("k", 9000), kl = kept;
    l.path = "l";
    l.type = CB_ENTRY_HARDLINK;
    l.link = "a";
    kl.path = "kl";
    kl.type = CB_ENTRY_HARDLINK;
    kl.link = "k";
    assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
    assert_int_equal(cb_toc_builder_add(b, &l, NULL), 0);
    assert_int_equal(cb_toc_builder_add(b, &kept, NULL), 0);
    assert_int_equal(cb_toc_builder_add(b, &kl, NULL), 0);
    e = file_at("a", 4096);
    assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
    const struct cb_entry *got = cb_toc_find(t, "l");
    assert_int_equal(got->type, CB_ENTRY_FILE);
    assert_int_equal(got->offset, 512);
    assert_null(got->link);
    assert_int_equal(cb_toc_find(t, "a")->offset, 4096);
    assert_int_equal(cb_toc_find(t, "kl")->type, CB_ENTRY_HARDLINK);
    assert_string_equal(cb_toc_find(t, "kl")->link, "k");
    assert_null(cb_toc_builder_find(b, "a")); /* empty now, and to be used again */
    CB_AUTO(cb_toc_unref) struct cb_toc *none = cb_toc_builder_finish(b);
    assert_int_equal(cb_toc_count(none), 0);
}

static struct cb_toc *rich_toc(void)
{
    static const struct cb_xattr xattrs[] = { { "security.capability", "\1\0\0\2x", 5 }, { "user.empty", "", 0 } };
    static const char passwd[] = "root:x:0:0::/root:/bin/sh\n";
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    struct cb_entry v[] = {
        { .path = "bin", .type = CB_ENTRY_SYMLINK, .link = "/usr/bin", .mode = 0777, .mtime = -1 },
        { .path = "dev/null", .type = CB_ENTRY_CHAR, .mode = 0666, .dev_major = 1, .dev_minor = 3 },
        { .path = "dev/sda", .type = CB_ENTRY_BLOCK, .mode = 0660, .gid = 6, .dev_major = 8 },
        { .path = "dev/p", .type = CB_ENTRY_FIFO, .mode = 0600 },
        { .path = "etc", .type = CB_ENTRY_OPAQUE },
        { .path = "etc", .type = CB_ENTRY_DIR, .mode = 01777, .uid = UINT32_MAX - 1, .mtime = INT64_MAX },
        { .path = "etc/passwd", .type = CB_ENTRY_FILE, .mode = 0644, .size = sizeof passwd - 1, .inline_data = passwd },
        { .path = "old", .type = CB_ENTRY_WHITEOUT, .mtime = INT64_MIN },
        file_at("usr/bin/ping", UINT64_MAX),
        { .path = "usr/bin/ping6", .type = CB_ENTRY_HARDLINK, .link = "usr/bin/ping" },
    };
    v[8].xattrs = xattrs;
    v[8].n_xattrs = 2;
    v[9].digest = v[8].digest;
    v[9].size = v[8].size;
    v[9].offset = v[8].offset;
    cb_sum_of(&v[6].digest, passwd, sizeof passwd - 1);
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        assert_int_equal(cb_toc_builder_add(b, &v[i], NULL), 0);
    return cb_toc_builder_finish(b);
}

static void same_entry(const struct cb_entry *a, const struct cb_entry *b)
{
    assert_string_equal(a->path, b->path);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->dev_major, b->dev_major);
    assert_int_equal(a->dev_minor, b->dev_minor);
    assert_true(a->mtime == b->mtime);
    assert_true(a->size == b->size);
    assert_true(cb_streq(a->link, b->link));
    assert_memory_equal(&a->digest, &b->digest, sizeof a->digest);
    if (a->type == CB_ENTRY_FILE)
        assert_true(a->offset == b->offset);
    assert_int_equal(a->n_xattrs, b->n_xattrs);
    for (size_t i = 0; i < a->n_xattrs; i++) {
        assert_string_equal(a->xattrs[i].name, b->xattrs[i].name);
        assert_int_equal(a->xattrs[i].len, b->xattrs[i].len);
        assert_memory_equal(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len);
    }
    assert_true(cb_streq(a->inline_data, b->inline_data));
}

static void round_trip(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = rich_toc();
    CB_AUTO(cb_toc_unref) struct cb_toc *u = NULL;
    cb_cleanup_strbuf struct cb_strbuf a = CB_STRBUF_INIT, b = CB_STRBUF_INIT;
    cb_toc_print(&a, t);
    assert_int_equal(cb_toc_parse(&u, a.buf, a.len, NULL), 0);
    assert_int_equal(cb_toc_count(u), cb_toc_count(t));
    for (size_t i = 0; i < cb_toc_count(t); i++)
        same_entry(cb_toc_at(t, i), cb_toc_at(u, i));
    cb_toc_print(&b, u);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.buf, b.buf, a.len);
    CB_AUTO(cb_toc_unref) struct cb_toc *empty = sup_toc("");
    CB_AUTO(cb_toc_unref) struct cb_toc *again = NULL;
    cb_strbuf_reset(&a);
    cb_toc_print(&a, empty);
    assert_int_equal(a.len, 8 + 1 + 32);
    assert_int_equal(cb_toc_parse(&again, a.buf, a.len, NULL), 0);
    assert_int_equal(cb_toc_count(again), 0);
}

static void reseal(struct cb_strbuf *s)
{
    struct cb_digest d;
    cb_digest_of(&d, s->buf, s->len - 32);
    memcpy(s->buf + s->len - 32, d.raw, 32);
}

/* Whatever the bytes are: an error, or a table that prints to the very same bytes. */
static void check_mutant(const struct cb_strbuf *s)
{
    struct cb_toc *t = NULL;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_strbuf struct cb_strbuf again = CB_STRBUF_INIT;
    int r = cb_toc_parse(&t, s->buf, s->len, &err);
    if (r < 0) {
        assert_int_equal(r, -CB_EVERIFY);
        assert_null(t);
        return;
    }
    cb_toc_print(&again, t);
    cb_toc_unref(t);
    assert_int_equal(again.len, s->len);
    assert_memory_equal(again.buf, s->buf, s->len);
}

static void damage(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = rich_toc(), *u = NULL;
    cb_cleanup_strbuf struct cb_strbuf good = CB_STRBUF_INIT, s = CB_STRBUF_INIT;
    uint64_t seed = 1;
    cb_toc_print(&good, t);
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(cb_toc_parse(&u, good.buf, n, NULL), -CB_EVERIFY);
    for (unsigned i = 0; i < 20000; i++) {
        cb_strbuf_reset(&s);
        cb_strbuf_add(&s, good.buf, good.len);
        for (uint64_t k = sup_random(&seed) % 4 + 1; k; k--)
            s.buf[8 + sup_random(&seed) % (s.len - 8)] = (char)sup_random(&seed);
        if (i == 0)
            assert_int_equal(cb_toc_parse(&u, s.buf, s.len, NULL), -CB_EVERIFY); /* the checksum */
        if (i % 5 == 4)
            cb_strbuf_setlen(&s, 41 + sup_random(&seed) % (s.len - 41));
        reseal(&s);
        check_mutant(&s);
    }
}

static void crafted(const char *body, size_t n, int want)
{
    cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = NULL;
    cb_strbuf_add(&s, "cbtoc\0\0\1", 8);
    cb_strbuf_add(&s, body, n);
    cb_strbuf_add(&s, "                                ", 32);
    reseal(&s);
    assert_int_equal(cb_toc_parse(&t, s.buf, s.len, NULL), want);
}
#define CRAFTED(bytes, want) crafted(bytes, sizeof(bytes) - 1, want)

static void malformed(void **state)
{
    (void)state;
    CRAFTED("\1\3\0\1a\0\0\0\0", 0);                                   /* d a */
    CRAFTED("\1\3\0\1a\0\0\0\0\0", -CB_EVERIFY);                       /* a byte too many */
    CRAFTED("\1\3\0\2..\0\0\0\0", -CB_EVERIFY);
    CRAFTED("\1\3\0\2/a\0\0\0\0", -CB_EVERIFY);
    CRAFTED("\1\3\0\2a\0\0\0\0\0", -CB_EVERIFY);                       /* NUL in a name */
    CRAFTED("\1\3\0\0\0\0\0\0", -CB_EVERIFY);                          /* the root */
    CRAFTED("\1\12\0\1a\0\0\0\0", -CB_EVERIFY);                        /* unknown type */
    CRAFTED("\1\3\1\1a\0\0\0\0", -CB_EVERIFY);                         /* shares more than there is */
    CRAFTED("\2\3\0\1a\0\0\0\0\3\0\1a\0\0\0\0", -CB_EVERIFY);          /* twice */
    CRAFTED("\2\3\0\1b\0\0\0\0\3\0\1a\0\0\0\0", -CB_EVERIFY);          /* unsorted */
    CRAFTED("\2\3\0\1a\0\0\0\0\3\1\2/b\0\0\0\0", 0);
    CRAFTED("\2\11\0\1a\0\0\0\0\3\1\2/b\0\0\0\0", -CB_EVERIFY);        /* a/b in the pipe a */
    CRAFTED("\2\1\0\1a\0\0\0\0\3\0\1a\0\0\0\0", -CB_EVERIFY);          /* "a" not shared: another form of the same */
    CRAFTED("\2\1\0\1a\0\0\0\0\3\1\0\0\0\0\0", 0);                     /* whiteout, then entry */
    CRAFTED("\1\3\0\1a\x80\0\0\0\0", -CB_EVERIFY);                     /* a number in a longer form */
    CRAFTED("\1\3\0\1a\x80\x20\0\0\0", -CB_EVERIFY);                   /* mode 010000 */
    CRAFTED("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", -CB_EVERIFY);    /* entries */
    CRAFTED("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", -CB_EVERIFY);
    CRAFTED("\1\4\0\1a\0\0\0\0\xff\xff\xff\xff\x07\0\0\1", -CB_EVERIFY); /* inline where none may be */
    CB_AUTO(cb_toc_unref) struct cb_toc *t = NULL;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
    cb_strbuf_add(&s, "cbtoc\0\0\2\0", 9);
    cb_strbuf_add(&s, "                                ", 32);
    reseal(&s);
    assert_int_equal(cb_toc_parse(&t, s.buf, s.len, &err), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&err), "version 2"));
}

/* A link with a digest is to a file of the layer: nobody who follows it may come to another link. */
static void links_that_end_nowhere(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        bool known;
        enum cb_entry_type type; /* of b */
        uint64_t size;
        int want;
    } cases[] = {
        { "b", true, CB_ENTRY_FILE, 3, 0 },
        { "b", true, CB_ENTRY_HARDLINK, 3, -CB_EVERIFY }, /* a ring */
        { "a", true, CB_ENTRY_FILE, 3, -CB_EVERIFY },
        { "c", true, CB_ENTRY_FILE, 3, -CB_EVERIFY },
        { "b", true, CB_ENTRY_FILE, 4, -CB_EVERIFY },
        { "b", true, CB_ENTRY_DIR, 3, -CB_EVERIFY },
        { "c", false, CB_ENTRY_FILE, 3, 0 }, /* in a lower layer */
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_entry *v = cb_calloc(2, sizeof *v);
        struct cb_arena arena = { 0 };
        struct cb_sum sum = { .known = true };
        v[0] = (struct cb_entry){ .path = "a", .type = CB_ENTRY_HARDLINK, .link = cases[i].to, .size = 3 };
        v[1] = (struct cb_entry){ .path = "b", .type = cases[i].type, .link = "a", .size = cases[i].size,
                                  .digest = sum };
        v[0].digest.known = cases[i].known;
        CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_take(v, 2, &arena), *u = NULL;
        cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
        cb_toc_print(&s, t);
        if (cb_toc_parse(&u, s.buf, s.len, NULL) != cases[i].want)
            fail_msg("case %zu", i);
    }
}

static void inline_files(void **state)
{
    (void)state;
    assert_true(cb_toc_wants_inline("etc/passwd", 100));
    assert_true(cb_toc_wants_inline("etc/group", CB_MAX_PASSWD));
    assert_false(cb_toc_wants_inline("etc/passwd", CB_MAX_PASSWD + 1ull));
    assert_false(cb_toc_wants_inline("etc/shadow", 1));
    assert_false(cb_toc_wants_inline("usr/bin/passwd", 1));
    assert_true(cb_toc_wants_inline("nix/store/abc-passwd", 1000));
    assert_false(cb_toc_wants_inline("nix/store/abc-passwd", 100000));
}

/* A thousand small files that want to be inline must not fill the memory. */
static void inline_budget(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    size_t kept = 0, size = CB_MAX_PASSWD;
    cb_autofree char *data = cb_calloc(1, size + 1);
    char path[32];
    for (unsigned i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "%u", i);
        struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .size = size, .inline_data = data };
        assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
    }
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
    for (size_t i = 0; i < cb_toc_count(t); i++)
        kept += cb_toc_at(t, i)->inline_data != NULL;
    assert_int_equal(kept, 3);
}

/* ---- what a manifest says of a table ---- */

static void pin_round_trip(void **state)
{
    (void)state;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = sup_toc("d etc\nf etc/x");
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    struct cb_toc_pin pin, got;
    struct cb_digest d;
    cb_toc_print(&text, t);
    cb_digest_of(&d, text.buf, text.len);
    cb_toc_pin_of(&pin, t);
    assert_true(cb_digest_eq(&pin.digest, &d));
    assert_int_equal(pin.size, text.len);
    assert_false(cb_toc_pin_read(&got, &annotations));
    assert_false(cb_digest_is_set(&got.digest));
    assert_false(cb_toc_pin_eq(&got, &got)); /* nothing is said, so nothing is the same */
    cb_toc_pin_write(&pin, NULL, &annotations);
    assert_true(cb_toc_pin_read(&got, &annotations));
    assert_true(cb_toc_pin_eq(&pin, &got));
    got.size++;
    assert_false(cb_toc_pin_eq(&pin, &got));
    assert_true(cb_toc_is_current(text.buf, text.len));
    text.buf[7] = 9;
    assert_false(cb_toc_is_current(text.buf, text.len));
    assert_false(cb_toc_is_current(text.buf, 7));
}

static void pin_malformed(void **state)
{
    (void)state;
    static const char good[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const struct {
        const char *digest, *size;
    } cases[] = {
        { NULL, "5" }, { good, NULL }, { good, "" }, { good, "0" }, { good, "-1" }, { good, "+5" }, { good, "5 " },
        { good, "0x5" }, { good, "134217729" }, { good, "18446744073709551621" }, { "", "5" }, { "sha256:", "5" },
        { "sha256:../../etc/passwd", "5" },
        { "SHA256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "5" },
        { "md5:0123456789abcdef0123456789abcdef", "5" },
        { "sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "5" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_strmap annotations cb_cleanup_strmap = { 0 };
        struct cb_toc_pin got = { .size = 7 };
        if (cases[i].digest)
            cb_strmap_set(&annotations, CB_ANN_TOC_DIGEST, cases[i].digest);
        if (cases[i].size)
            cb_strmap_set(&annotations, CB_ANN_TOC_SIZE, cases[i].size);
        assert_false(cb_toc_pin_read(&got, &annotations));
        assert_false(cb_digest_is_set(&got.digest));
    }
}

static void pin_data(void **state)
{
    (void)state;
    static const struct cb_entry one = { .path = "a", .type = CB_ENTRY_FIFO };
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT, got cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strmap with cb_cleanup_strmap = { 0 }, without cb_cleanup_strmap = { 0 };
    struct cb_toc_pin pin, other;
    assert_int_equal(cb_toc_builder_add(b, &one, NULL), 0);
    toc = cb_toc_builder_finish(b);
    cb_toc_print(&text, toc);
    cb_toc_pin_of(&pin, toc);
    cb_toc_pin_write(&pin, &text, &with);
    cb_toc_pin_write(&pin, NULL, &without);
    assert_true(cb_toc_pin_read(&other, &with) && cb_toc_pin_eq(&pin, &other));
    assert_true(cb_toc_pin_has_data(&pin, &with));
    assert_false(cb_toc_pin_has_data(&pin, &without));
    const char *data = cb_strmap_get(&with, CB_ANN_TOC_DATA);
    assert_true(cb_toc_pin_decode(&pin, data, &got));
    assert_int_equal(got.len, text.len);
    assert_memory_equal(got.buf, text.buf, text.len);
    /* Of another size or digest it is none, nor is what is no base64, or is large. */
    other = pin;
    other.size++;
    assert_false(cb_toc_pin_decode(&other, data, &got));
    other = pin;
    other.digest.raw[0] ^= 1;
    assert_false(cb_toc_pin_decode(&other, data, &got));
    assert_false(cb_toc_pin_decode(&pin, "%%%", &got));
    assert_false(cb_toc_pin_decode(&pin, "", &got));
    assert_false(cb_toc_pin_decode(&pin, NULL, &got));
    char large[CB_TOC_SMALL + 1] = { 0 };
    struct cb_strbuf encoded cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_base64_encode(&encoded, large, sizeof large);
    other.size = sizeof large;
    cb_digest_of(&other.digest, large, sizeof large);
    assert_false(cb_toc_pin_decode(&other, encoded.buf, &got));
    assert_int_equal(got.len, text.len);
    cb_toc_pin_remove(&with);
    assert_int_equal(with.n, 0);
}

/* As helpers send it: what may be taken, and what may not. */
static void entry_alone(void **state)
{
    (void)state;
    static const struct cb_xattr note = { "user.note", "text", 4 };
    static const struct { struct cb_entry e; bool good; } cases[] = {
        { { .path = "a/b", .type = CB_ENTRY_FILE, .mode = 04755, .uid = 1, .mtime = -1, .size = 9 }, true },
        { { .path = "a/b", .type = CB_ENTRY_FILE, .size = 9, .offset = UINT64_MAX }, true },
        { { .path = "a", .type = CB_ENTRY_DIR, .xattrs = &note, .n_xattrs = 1 }, true },
        { { .path = "a", .type = CB_ENTRY_HARDLINK, .link = "b/c" }, true },
        { { .path = "a", .type = CB_ENTRY_SYMLINK, .link = "/../b" }, true },
        { { .path = "a", .type = CB_ENTRY_BLOCK, .dev_major = 8 }, true },
        { { .path = "a", .type = CB_ENTRY_HARDLINK, .link = "../b" }, false },
        { { .path = "a", .type = CB_ENTRY_SYMLINK, .link = "" }, false },
        { { .path = "a", .type = CB_ENTRY_DIR, .mode = 010000 }, false },
        { { .path = "a", .type = CB_ENTRY_DIR, .uid = UINT32_MAX }, false },
        { { .path = "a//b", .type = CB_ENTRY_DIR }, false },
        { { .path = "a/../b", .type = CB_ENTRY_DIR }, false },
        { { .path = "a", .type = CB_ENTRY_FILE, .size = UINT64_MAX }, false },
    };
    CB_AUTO(cb_entry_parser_free) struct cb_entry_parser *p = cb_entry_parser_new();
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT, again cb_cleanup_strbuf = CB_STRBUF_INIT;
        const struct cb_entry *e = NULL;
        cb_entry_print(&text, &cases[i].e);
        for (size_t n = 0; n < text.len; n++)
            assert_int_equal(cb_entry_parse(p, text.buf, n, &e, NULL), -CB_EVERIFY);
        assert_int_equal(cb_entry_parse(p, text.buf, text.len, &e, NULL), cases[i].good ? 0 : -CB_EVERIFY);
        if (!cases[i].good)
            continue;
        cb_entry_print(&again, e);
        assert_int_equal(again.len, text.len);
        assert_memory_equal(again.buf, text.buf, text.len);
    }
}

static void corpus(void **state)
{
    (void)state;
    static const struct fuzz_target targets[] = { { "toc", fuzz_toc }, { "entry", fuzz_entry } };
    for (size_t i = 0; i < CB_COUNTOF(targets); i++)
        assert_true(fuzz_replay(&targets[i]) >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order), cmocka_unit_test(building), cmocka_unit_test(finding),
        cmocka_unit_test(links_outlive_their_target), cmocka_unit_test(round_trip), cmocka_unit_test(damage),
        cmocka_unit_test(malformed), cmocka_unit_test(links_that_end_nowhere), cmocka_unit_test(inline_files),
        cmocka_unit_test(inline_budget),
        cmocka_unit_test(pin_round_trip), cmocka_unit_test(pin_malformed), cmocka_unit_test(pin_data),
        cmocka_unit_test(entry_alone), cmocka_unit_test(corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

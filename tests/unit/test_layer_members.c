/* SPDX-License-Identifier: Apache-2.0 */
/* Members of gzip that are inflated ahead: whatever a stream is made of, and whatever is wrong with it, one sees what
 * one sees without. */
#include <libdeflate.h>

#include "tests/unit/layer_support.h"
#include "layer/inflate.h"

#define MIB ((size_t)1 << 20)

/* ---- streams ---- */

static const char plain_header[10] = "\x1f\x8b\x08\0\0\0\0\0\0\xff";

static void add_le32(struct cb_strbuf *b, uint32_t v)
{
    for (int i = 0; i < 4; i++, v >>= 8)
        cb_strbuf_addch(b, (char)(v & 0xff));
}

/* level: 0 stores the bytes, and whatever headers are in them. name: NULL for the header that most writers write. */
static void add_member(struct cb_strbuf *z, const void *p, size_t n, int level, const char *name)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
    const size_t max = libdeflate_deflate_compress_bound(c, n);
    cb_autofree uint8_t *buf = cb_malloc(max);
    const size_t header = z->len;
    cb_strbuf_add(z, plain_header, sizeof plain_header);
    if (name) {
        z->buf[header + 3] = 8;
        cb_strbuf_add(z, name, strlen(name) + 1);
    }
    cb_strbuf_add(z, buf, libdeflate_deflate_compress(c, p, n, buf, max));
    add_le32(z, libdeflate_crc32(0, p, n));
    add_le32(z, (uint32_t)n);
    libdeflate_free_compressor(c);
}

/* Some of it compresses, some not, and some is a beginning of a member. */
static char *sample(size_t n, uint64_t seed)
{
    char *p = cb_malloc(n + sizeof plain_header);
    for (size_t i = 0; i < n; i++)
        p[i] = i / 40000 % 3 == 2 ? (char)sup_random(&seed) : (char)('a' + (i * i / 7 + i / 100) % 23);
    for (size_t i = 0; i + 50000 < n; i += 30000 + sup_random(&seed) % 100000)
        memcpy(p + i, plain_header, sizeof plain_header);
    return p;
}

struct seen {
    struct cb_strbuf out;
    uint64_t ahead;
    int code;
    struct cb_error err;
};

static void seen_done(struct seen *s)
{
    cb_strbuf_done(&s->out);
    cb_error_done(&s->err);
}

static void look(const struct cb_strbuf *z, size_t step, unsigned threads, struct seen *s)
{
    cb_autosource struct cb_blob_source *src = sup_source(z->buf, z->len, step);
    CB_AUTO(cb_inflate_free) struct cb_inflate *i = cb_inflate_new(src, false);
    size_t got = 1;
    cb_inflate_ahead(i, threads);
    cb_strbuf_reset(&s->out);
    for (s->code = 0; s->code == 0 && got;) {
        cb_strbuf_reserve(&s->out, 300000);
        s->code = cb_inflate_read(i, s->out.buf + s->out.len, 1 + s->out.len * 7 % 299999, &got, &s->err);
        cb_strbuf_setlen(&s->out, s->out.len + (s->code == 0 ? got : 0));
    }
    s->ahead = cb_inflate_were_ahead(i);
}

/* How many bytes of it were there ahead. */
static uint64_t same(const struct cb_strbuf *z, size_t step, unsigned threads)
{
    struct seen alone CB_CLEANUP(seen_done) = { .out = CB_STRBUF_INIT, .err = CB_ERROR_INIT };
    struct seen ahead CB_CLEANUP(seen_done) = { .out = CB_STRBUF_INIT, .err = CB_ERROR_INIT };
    look(z, SIZE_MAX, 0, &alone);
    look(z, step, threads, &ahead);
    assert_int_equal(ahead.code, alone.code);
    if (alone.code < 0)
        assert_string_equal(cb_error_text(&ahead.err), cb_error_text(&alone.err));
    else
        assert_int_equal(ahead.out.len, alone.out.len);
    assert_memory_equal(ahead.out.buf, alone.out.buf, CB_MIN(ahead.out.len, alone.out.len));
    assert_int_equal(alone.ahead, 0);
    return ahead.ahead;
}

/* So many bytes are ahead, where there are threads for it. */
static void same_for_threads(const struct cb_strbuf *z, uint64_t ahead)
{
    for (unsigned threads = 1; threads <= 5; threads++)
        assert_int_equal(same(z, threads % 2 ? SIZE_MAX : 10007, threads), threads > 1 ? ahead : 0);
}

/* ---- tests ---- */

/* As cbpush writes them: n bytes of each MiB, compressed. */
static void whole_streams(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 1000, 100000, MIB, 2 * MIB };
    cb_autofree char *p = sample(5 * MIB, 1);
    for (size_t i = 0; i < CB_COUNTOF(sizes); i++) {
        struct cb_strbuf z cb_cleanup_strbuf = CB_STRBUF_INIT;
        for (size_t n = 0; n < 14; n++)
            add_member(&z, p, sizes[i], 1, NULL);
        same_for_threads(&z, 13 * sizes[i]);
    }
}

static void nothing_is_ahead_of_one_member(void **state)
{
    (void)state;
    cb_autofree char *p = sample(5 * MIB, 2);
    struct cb_strbuf z cb_cleanup_strbuf = CB_STRBUF_INIT;
    add_member(&z, p, 5 * MIB, 1, NULL);
    same_for_threads(&z, 0);
}

/* Members that begin otherwise, that are too large, or that unpack to too much: those behind them are ahead again. */
static void what_is_not_made_ahead(void **state)
{
    (void)state;
    cb_autofree char *p = sample(9 * MIB, 3), *zeros = cb_calloc(12, MIB);
    for (size_t first = 1; first < 4 * MIB; first += MIB / 16 * 21) {
        struct cb_strbuf z cb_cleanup_strbuf = CB_STRBUF_INIT;
        add_member(&z, p, first, 1, NULL);
        for (int turn = 0; turn < 2; turn++) {
            add_member(&z, p, MIB, 1, "of another");
            add_member(&z, p, 9 * MIB, 0, NULL);
            add_member(&z, p, MIB, 1, NULL);
            add_member(&z, zeros, 12 * MIB, 1, NULL);
            for (int i = 0; i < 6; i++)
                add_member(&z, p + i, 2 * MIB, 1, NULL);
            add_member(&z, p, 0, 1, NULL);
        }
        for (unsigned threads = 2; threads <= 4; threads++) {
            uint64_t ahead = same(&z, threads % 2 ? SIZE_MAX : 10007, threads);
            assert_in_range(ahead, 16 * MIB, 28 * MIB);
        }
    }
}

static void headers_within_members(void **state)
{
    (void)state;
    cb_autofree char *p = sample(2 * MIB, 4);
    struct cb_strbuf z cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (int i = 0; i < 6; i++)
        add_member(&z, p, MIB + (size_t)i * 100000, i % 2, NULL);
    assert_in_range(same(&z, SIZE_MAX, 3), MIB, 6 * MIB);
    /* A member within a member: it is whole, and yet none of the stream. */
    struct cb_strbuf outer cb_cleanup_strbuf = CB_STRBUF_INIT, inner cb_cleanup_strbuf = CB_STRBUF_INIT;
    add_member(&outer, p, MIB, 1, NULL);
    for (int i = 0; i < 3; i++)
        add_member(&inner, p, MIB, 1, NULL);
    for (int i = 0; i < 4; i++)
        add_member(&outer, inner.buf, inner.len, 0, NULL);
    same_for_threads(&outer, 0);
}

static void damaged(void **state)
{
    (void)state;
    cb_autofree char *p = sample(MIB, 5);
    struct cb_strbuf z cb_cleanup_strbuf = CB_STRBUF_INIT, bad cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (int i = 0; i < 8; i++)
        add_member(&z, p, 300000 + (size_t)i * 50000, i % 4 ? 1 : 0, NULL);
    uint64_t seed = 6;
    for (int i = 0; i < 25; i++) {
        cb_strbuf_reset(&bad);
        cb_strbuf_add(&bad, z.buf, z.len);
        bad.buf[sup_random(&seed) % z.len] ^= (char)(1 << i % 8);
        same(&bad, SIZE_MAX, 3);
        cb_strbuf_setlen(&bad, sup_random(&seed) % z.len); /* and cut off */
        same(&bad, 65536, 2);
        cb_strbuf_reset(&bad);
        cb_strbuf_add(&bad, z.buf, sup_random(&seed) % z.len);
        same(&bad, SIZE_MAX, 4);
    }
    cb_strbuf_adds(&z, "and more");
    assert_true(same(&z, SIZE_MAX, 3) > 0);
}

/* What is under way when nobody reads on is not waited for by anybody but free. */
static void given_up(void **state)
{
    (void)state;
    cb_autofree char *p = sample(MIB, 7);
    struct cb_strbuf z cb_cleanup_strbuf = CB_STRBUF_INIT;
    char buf[100];
    size_t got;
    for (int i = 0; i < 8; i++)
        add_member(&z, p, MIB, 1, NULL);
    for (size_t n = 0; n < 2 * MIB; n += MIB / 3) {
        cb_autosource struct cb_blob_source *src = sup_source(z.buf, z.len, SIZE_MAX);
        CB_AUTO(cb_inflate_free) struct cb_inflate *i = cb_inflate_new(src, false);
        cb_inflate_ahead(i, 4);
        for (size_t at = 0; at < n; at += got)
            assert_int_equal(cb_inflate_read(i, buf, sizeof buf, &got, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_streams),
        cmocka_unit_test(nothing_is_ahead_of_one_member),
        cmocka_unit_test(what_is_not_made_ahead),
        cmocka_unit_test(headers_within_members),
        cmocka_unit_test(damaged),
        cmocka_unit_test(given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

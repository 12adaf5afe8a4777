/* SPDX-License-Identifier: Apache-2.0 */
#include <libdeflate.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "tests/unit/layer_support.h"
#include "layer/block_pipe.h"
#include "layer/inflate.h"
#include "util/fd.h"

/* Text that compresses, bytes that do not, by turns of 300000. */
static char *sample(size_t n)
{
    char *p = cb_malloc(n + 1);
    uint64_t seed = 42;
    for (size_t i = 0; i < n; i++)
        p[i] = i / 300000 % 2 ? (char)sup_random(&seed) : (char)('a' + (i * i / 7 + i / 100) % 23);
    return p;
}

static void squeeze(struct sup_sink *sink, const struct cb_codec *c, struct cb_pool *pool, const char *p, size_t n,
                    size_t step)
{
    CB_AUTO(cb_block_pipe_free) struct cb_block_pipe *bp = cb_block_pipe_new(&(struct cb_block_pipe_options){
        .codec = c, .level = c ? c->default_level : 0, .pool = pool, .sink = &sink->base });
    struct cb_digest d;
    uint64_t size;
    for (size_t i = 0; i < n;) {
        uint8_t *buf;
        size_t room;
        assert_int_equal(cb_block_pipe_room(bp, &buf, &room, NULL), 0);
        assert_true(room > 0);
        room = CB_MIN(CB_MIN(room, step), n - i);
        memcpy(buf, p + i, room);
        assert_int_equal(cb_block_pipe_commit(bp, room, NULL), 0);
        i += room;
    }
    assert_int_equal(cb_block_pipe_finish(bp, &d, &size, NULL), 0);
    assert_int_equal(cb_digest_is_set(&d), c != NULL);
    if (!c)
        cb_digest_of(&d, p, n);
    assert_int_equal(sup_sink_commit(&sink->base, &d, size, NULL), 0);
}

/* Inflates with odd read sizes. */
static int unsqueeze(const void *p, size_t n, size_t step, bool foreign, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = sup_source(p, n, step);
    CB_AUTO(cb_inflate_free) struct cb_inflate *i = cb_inflate_new(src, foreign);
    size_t got;
    cb_strbuf_reset(out);
    for (;;) {
        cb_strbuf_reserve(out, 70000);
        int r = cb_inflate_read(i, out->buf + out->len, 1 + (out->len * 7) % 69999, &got, err);
        if (r < 0 || !got)
            return r;
        cb_strbuf_setlen(out, out->len + got);
    }
}

static void same_for_any_threads(void **state)
{
    (void)state;
    static const struct cb_codec *const codecs[] = { &cb_codec_gzip, &cb_codec_zstd, &cb_codec_gzip_fast, NULL };
    const size_t n = 13u << 20;
    cb_autofree char *data = sample(n);
    for (size_t c = 0; c < CB_COUNTOF(codecs); c++) {
        if (codecs[c] == &cb_codec_gzip_fast && cb_codec_gzip_fast_state() != CB_ENGINE_HERE)
            continue;
        struct sup_sink first = SUP_SINK_INIT;
        squeeze(&first, codecs[c], NULL, data, n, n);
        for (unsigned threads = 1; threads <= 4; threads *= 2) {
            CB_AUTO(cb_pool_free) struct cb_pool *pool = cb_pool_new("test", threads);
            struct sup_sink again = SUP_SINK_INIT;
            squeeze(&again, codecs[c], pool, data, n, 33333 * threads);
            assert_int_equal(again.data.len, first.data.len);
            assert_memory_equal(again.data.buf, first.data.buf, first.data.len);
            cb_strbuf_done(&again.data);
        }
        cb_cleanup_strbuf struct cb_strbuf back = CB_STRBUF_INIT;
        assert_int_equal(unsqueeze(first.data.buf, first.data.len, SIZE_MAX, false, &back, NULL), 0);
        assert_int_equal(back.len, n);
        assert_memory_equal(back.buf, data, n);
        if (codecs[c])
            assert_true(first.data.len < n * 7 / 10);
        cb_strbuf_done(&first.data);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const size_t n[] = { 0, 1, 511, 65536, 131071, 131072, 1 << 20, (1 << 20) + 1, (4 << 20) + 5 };
    const struct cb_codec *const codecs[] = {
        &cb_codec_gzip, &cb_codec_zstd,
        cb_codec_gzip_fast_state() == CB_ENGINE_HERE ? &cb_codec_gzip_fast : &cb_codec_gzip };
    cb_autofree char *data = sample(5u << 20);
    cb_cleanup_strbuf struct cb_strbuf back = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(n) * 3; i++) {
        struct sup_sink s = SUP_SINK_INIT;
        squeeze(&s, codecs[i % 3], NULL, data, n[i / 3], 100000);
        assert_int_equal(unsqueeze(s.data.buf, s.data.len, 1009, false, &back, NULL), 0);
        assert_int_equal(back.len, n[i / 3]);
        assert_memory_equal(back.buf, data, back.len);
        cb_strbuf_done(&s.data);
    }
}

static void form_of(const struct cb_codec *codec)
{
    cb_autofree char *data = sample(3u << 20);
    uint64_t seed = 9;
    struct sup_sink s = SUP_SINK_INIT;
    squeeze(&s, codec, NULL, data, 3u << 20, 100000);
    assert_memory_equal(s.data.buf, "\x1f\x8b\x08\0\0\0\0\0", 8); /* no name, no time */
    assert_int_equal((unsigned char)s.data.buf[9], 255);
    cb_strbuf_done(&s.data);
    for (size_t i = 0; i < 3u << 20; i++)
        data[i] = (char)sup_random(&seed);
    squeeze(&s, codec, NULL, data, 3u << 20, 100000);
    assert_true(s.data.len > 3u << 20);
    assert_int_equal(s.data.len, (3u << 20) + 3 * (18 + 5 * 17)); /* stored, in blocks of 65535 */
    cb_strbuf_done(&s.data);
}

static size_t squeezed(const char *p, size_t n)
{
    struct sup_sink s = SUP_SINK_INIT;
    squeeze(&s, &cb_codec_gzip, NULL, p, n, n);
    size_t len = s.data.len;
    cb_strbuf_done(&s.data);
    return len;
}

/* Bytes that are unlike in number, and bytes that are not but repeat: neither is noise. */
static void what_is_not_stored(void **state)
{
    (void)state;
    const size_t n = 1u << 20;
    cb_autofree char *data = cb_malloc(n);
    uint64_t seed = 5;
    for (size_t i = 0; i < n; i++)
        data[i] = i % 12 ? (char)sup_random(&seed) : 0;
    assert_true(squeezed(data, n) < n * 98 / 100);
    for (size_t i = 0; i < n; i++)
        data[i] = i < 4096 ? (char)sup_random(&seed) : data[i - 4096];
    assert_true(squeezed(data, n) < n / 10);
}

/* What others make by default is zlib's level 6 or what is meant to be like it (Go's). This program is a real file. */
static void no_larger_than_others(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf exe = CB_STRBUF_INIT;
    assert_int_equal(cb_file_slurp("/proc/self/exe", 64u << 20, &exe, NULL), 0);
    uLongf theirs = compressBound(exe.len);
    cb_autofree Bytef *out = cb_malloc(theirs);
    assert_int_equal(compress2(out, &theirs, (const Bytef *)exe.buf, exe.len, 6), Z_OK);
    assert_in_range(squeezed(exe.buf, exe.len), theirs / 2, theirs + theirs / 200);
}

static void gzip_form(void **state)
{
    (void)state;
    form_of(&cb_codec_gzip);
    if (cb_codec_gzip_fast_state() == CB_ENGINE_HERE)
        form_of(&cb_codec_gzip_fast);
    char engine[64];
    cb_codec_gzip.engine(engine, sizeof engine, cb_codec_gzip.default_level);
    assert_string_equal(engine, "libdeflate-" LIBDEFLATE_VERSION_STRING "/5");
    cb_codec_zstd.engine(engine, sizeof engine, 3);
    assert_int_equal(strncmp(engine, "zstd-1.", 7), 0);
}

static void failing_sink(void **state)
{
    (void)state;
    cb_autofree char *data = sample(8u << 20);
    CB_AUTO(cb_pool_free) struct cb_pool *pool = cb_pool_new("test", 2);
    struct sup_sink s = SUP_SINK_INIT;
    s.fail_after = 1000;
    CB_AUTO(cb_block_pipe_free) struct cb_block_pipe *bp = cb_block_pipe_new(
        &(struct cb_block_pipe_options){ .codec = &cb_codec_gzip, .level = 1, .pool = pool, .sink = &s.base });
    int r = 0;
    for (size_t i = 0; r == 0 && i < 64; i++) {
        uint8_t *buf;
        size_t room;
        r = cb_block_pipe_room(bp, &buf, &room, NULL);
        if (r == 0) {
            memcpy(buf, data, CB_MIN(room, 8u << 20));
            r = cb_block_pipe_commit(bp, room, NULL);
        }
    }
    assert_int_equal(r, -CB_ELOCAL);
    cb_strbuf_done(&s.data);
}

/* ---- what others write ---- */

static void gz(struct cb_strbuf *out, const char *text, int level)
{
    char buf[4096];
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
    size_t n = libdeflate_gzip_compress(c, text, strlen(text), buf, sizeof buf);
    libdeflate_free_compressor(c);
    assert_true(n > 0);
    cb_strbuf_add(out, buf, n);
}

static void zs(struct cb_strbuf *out, const char *text)
{
    char buf[4096];
    size_t n = ZSTD_compress(buf, sizeof buf, text, strlen(text), 3);
    assert_false(ZSTD_isError(n));
    cb_strbuf_add(out, buf, n);
}

static void inflates(const struct cb_strbuf *in, const char *want)
{
    static const size_t steps[] = { 1, 3, 17, SIZE_MAX };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(steps); i++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        int r = unsqueeze(in->buf, in->len, steps[i], false, &out, &err);
        if (!want) {
            assert_int_equal(r, -CB_EVERIFY);
            continue;
        }
        assert_int_equal(r, 0);
        assert_string_equal(out.buf, want);
    }
}

static void members(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
    inflates(&s, "");
    gz(&s, "one ", 6);
    size_t one = s.len;
    gz(&s, "", 6);
    size_t two = s.len;
    gz(&s, "two ", 0);
    inflates(&s, "one two ");
    for (size_t cut = 1; cut < s.len; cut++) { /* every prefix that ends inside a member */
        cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, out = CB_STRBUF_INIT;
        cb_strbuf_add(&t, s.buf, cut);
        int r = unsqueeze(t.buf, t.len, 11, false, &out, NULL);
        bool at_member = cut == one || cut == two || cut == 1; /* one byte alone is no gzip yet */
        assert_int_equal(r, at_member ? 0 : -CB_EVERIFY);
    }
    cb_strbuf_addch(&s, '\0');
    inflates(&s, NULL); /* padding is no member */
    cb_strbuf_setlen(&s, s.len - 1);
    cb_strbuf_adds(&s, "garbage behind it, long enough to be a header");
    inflates(&s, NULL);
}

static void gzip_headers(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf plain = CB_STRBUF_INIT, s = CB_STRBUF_INIT;
    gz(&plain, "hello", 6);
    cb_strbuf_add(&s, "\x1f\x8b\x08\x1c\1\2\3\4\0\3", 10); /* extra field, name and comment */
    cb_strbuf_add(&s, "\5\0extra" "file.tar\0" "a comment\0", 2 + 5 + 9 + 10);
    cb_strbuf_add(&s, plain.buf + 10, plain.len - 10);
    inflates(&s, "hello");
    for (size_t i = plain.len - 8; i < plain.len; i++) { /* CRC and length */
        cb_strbuf_reset(&s);
        cb_strbuf_add(&s, plain.buf, plain.len);
        s.buf[i] = (char)(s.buf[i] ^ 1);
        inflates(&s, NULL);
    }
    cb_strbuf_reset(&s);
    cb_strbuf_add(&s, plain.buf, plain.len);
    s.buf[2] = 7;
    inflates(&s, NULL);
}

static void zstd_frames(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
    static const char skippable[] = "\x52\x2a\x4d\x18\4\0\0\0abcd";
    cb_strbuf_add(&s, skippable, 12);
    zs(&s, "one ");
    cb_strbuf_add(&s, skippable, 12);
    zs(&s, "two");
    cb_strbuf_add(&s, skippable, 12);
    inflates(&s, "one two");
    cb_strbuf_setlen(&s, s.len - 1);
    inflates(&s, NULL);
    cb_strbuf_setlen(&s, s.len - 12);
    inflates(&s, NULL);
    cb_strbuf_reset(&s);
    zs(&s, "one");
    cb_strbuf_adds(&s, "garbage");
    inflates(&s, NULL);
    /* A frame that asks for a window of 2^31 (B1), and one of 2^28. */
    cb_strbuf_reset(&s);
    cb_strbuf_add(&s, "\x28\xb5\x2f\xfd\0\xa8\1\0\0", 9);
    inflates(&s, NULL);
    s.buf[5] = (char)0x90;
    inflates(&s, NULL);
    s.buf[5] = (char)0x88; /* 2^27: one empty last block */
    inflates(&s, "");
}

static void zstd_checksum(void **state)
{
    (void)state;
    cb_autofree char *data = sample(100000);
    struct sup_sink s = SUP_SINK_INIT;
    squeeze(&s, &cb_codec_zstd, NULL, data, 100000, 100000);
    s.data.buf[s.data.len - 1] = (char)(s.data.buf[s.data.len - 1] ^ 1);
    inflates(&s.data, NULL);
    cb_strbuf_done(&s.data);
}

static const unsigned char BZ2[] = { /* "hello\n" | bzip2 */
    0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0xc1, 0xc0, 0x80, 0xe2, 0x00, 0x00,
    0x01, 0x41, 0x00, 0x00, 0x10, 0x02, 0x44, 0xa0, 0x00, 0x30, 0xcd, 0x00, 0xc3, 0x46, 0x29, 0x97,
    0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0xc1, 0xc0, 0x80, 0xe2 };

static void foreign(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_int_equal(unsqueeze(BZ2, sizeof BZ2, 5, true, &out, NULL), 0);
    assert_string_equal(out.buf, "hello\n");
    assert_int_equal(unsqueeze(BZ2, sizeof BZ2, 5, false, &out, &err), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&err), "bzip2"));
    assert_int_equal(unsqueeze(BZ2, sizeof BZ2 - 6, 5, true, &out, NULL), -CB_EVERIFY);
    assert_int_equal(unsqueeze("\xfd" "7zXZ\0\0\0", 8, 5, true, &out, NULL), -CB_EVERIFY);
}

/* What zlib makes of a stream by the rules of inflate.h. */
static int by_zlib(const void *p, size_t n, struct cb_strbuf *out)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n };
    int r = Z_OK;
    cb_strbuf_reset(out);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    while (z.avail_in && (r == Z_OK || r == Z_STREAM_END)) {
        if (r == Z_STREAM_END)
            inflateReset(&z);
        do {
            cb_strbuf_reserve(out, 70000);
            z.next_out = (Bytef *)out->buf + out->len;
            z.avail_out = 70000;
            r = inflate(&z, Z_NO_FLUSH);
            cb_strbuf_setlen(out, out->len + 70000 - z.avail_out);
        } while (r == Z_OK && !z.avail_out);
    }
    inflateEnd(&z);
    return r == Z_STREAM_END ? 0 : -CB_EVERIFY;
}

/* One stream in the engine that was built in and in zlib: the same answer, and for a good one the same bytes. */
static void same_as_zlib(const struct cb_strbuf *s)
{
    cb_cleanup_strbuf struct cb_strbuf ours = CB_STRBUF_INIT, theirs = CB_STRBUF_INIT;
    if (s->len < 2 || memcmp(s->buf, "\x1f\x8b", 2) != 0)
        return; /* no gzip to us */
    int r = unsqueeze(s->buf, s->len, 1 + s->len % 900, false, &ours, NULL);
    int z = by_zlib(s->buf, s->len, &theirs);
    if (r != z) {
        for (size_t i = 0; i < CB_MIN(s->len, (size_t)64); i++)
            print_message("%02x", (unsigned char)s->buf[i]);
        fail_msg(" of %zu bytes: %d, but by zlib %d", s->len, r, z);
    }
    assert_true(r < 0 || (ours.len == theirs.len && memcmp(ours.buf, theirs.buf, ours.len) == 0));
}

/* A member whose header has whatever may be in one. */
static void fancy(struct cb_strbuf *s, const char *member, size_t n, uint64_t bits)
{
    size_t start = s->len;
    cb_strbuf_add(s, member, 10);
    s->buf[start + 3] = (char)(bits & 0x1f);
    if (bits & 4)
        cb_strbuf_add(s, "\3\0abc", 5);
    if (bits & 8)
        cb_strbuf_add(s, "name", 5);
    if (bits & 16)
        cb_strbuf_add(s, "comment", 8);
    uLong crc = crc32(0, (const Bytef *)s->buf + start, (uInt)(s->len - start));
    if (bits & 2)
        cb_strbuf_add(s, (const char[]){ (char)crc, (char)(crc >> 8 ^ (bits >> 5 & 1)) }, 2);
    cb_strbuf_add(s, member + 10, n - 10);
}

/* Members of every level, empty ones, headers with all that may be in them, cut, joined and damaged. */
static void engines_agree(void **state)
{
    (void)state;
    cb_autofree char *data = sample(400000);
    uint64_t seed = 17;
    for (unsigned i = 0; i < 8000; i++) {
        cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
        for (uint64_t k = 1 + sup_random(&seed) % 3; k; k--) {
            size_t n = sup_random(&seed) % 5000, at = 300000 - 2500 + sup_random(&seed) % 90000;
            char buf[8192];
            struct libdeflate_compressor *c = libdeflate_alloc_compressor((int)(sup_random(&seed) % 10));
            size_t got = libdeflate_gzip_compress(c, data + at, n, buf, sizeof buf);
            libdeflate_free_compressor(c);
            assert_true(got > 0);
            fancy(&s, buf, got, sup_random(&seed) % 3 ? 0 : sup_random(&seed));
        }
        for (uint64_t k = sup_random(&seed) % 3; i % 4 && k; k--)
            s.buf[sup_random(&seed) % s.len] ^= (char)(1 << sup_random(&seed) % 8);
        if (i % 5 == 1)
            cb_strbuf_setlen(&s, sup_random(&seed) % s.len);
        if (i % 7 == 2)
            cb_strbuf_addch(&s, i % 2 ? '\0' : '\x1f');
        same_as_zlib(&s);
    }
}

/* Whatever is in a header, and wherever the network cuts it. What comes before is more than is read at once. */
static void headers_in_pieces(void **state)
{
    (void)state;
    enum { BEFORE = 200000, MEMBER = 256 };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_autofree char *data = sample(BEFORE), *before = cb_malloc(BEFORE + 1000);
    char member[MEMBER];
    struct libdeflate_compressor *stored = libdeflate_alloc_compressor(0);
    size_t n_before = libdeflate_gzip_compress(stored, data, BEFORE, before, BEFORE + 1000);
    size_t n = libdeflate_gzip_compress(stored, data, 20, member, sizeof member);
    libdeflate_free_compressor(stored);
    for (unsigned flags = 0; flags < 32; flags++)
        for (size_t step = 1; step < 3 * MEMBER; step += step < 32 ? 1 : 61) {
            cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
            cb_strbuf_add(&s, before, n_before);
            fancy(&s, member, n, flags);
            assert_int_equal(unsqueeze(s.buf, s.len, step, false, &out, NULL), 0);
            assert_int_equal(out.len, BEFORE + 20);
            assert_memory_equal(out.buf + BEFORE, data, 20);
            s.buf[n_before + 3] |= 0x40;
            assert_int_equal(unsqueeze(s.buf, s.len, step, false, &out, NULL), -CB_EVERIFY);
        }
}

/* No crash, no endless loop, and every success is a stream that was whole. */
static void mutants(void **state)
{
    (void)state;
    cb_autofree char *data = sample(20000);
    uint64_t seed = 3;
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    for (unsigned i = 0; i < 6000; i++) {
        struct sup_sink s = SUP_SINK_INIT;
        squeeze(&s, i % 2 ? &cb_codec_gzip : &cb_codec_zstd, NULL, data, 100 + i % 7000, 20000);
        for (uint64_t k = sup_random(&seed) % 3 + 1; k; k--)
            s.data.buf[sup_random(&seed) % s.data.len] = (char)sup_random(&seed);
        int r = unsqueeze(s.data.buf, s.data.len, 700, true, &out, NULL);
        assert_true(r == 0 || r == -CB_EVERIFY);
        assert_true(out.len < 64u << 20);
        cb_strbuf_done(&s.data);
    }
}

static int fd_of(const void *p, size_t n)
{
    char name[] = "/tmp/cbpush-test-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    return fd;
}

static void archives(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
    struct sup_sink z = SUP_SINK_INIT, s = SUP_SINK_INIT;
    sup_file(&t, "a", "text");
    sup_end(&t);
    squeeze(&z, &cb_codec_gzip, NULL, t.buf, t.len, t.len);
    squeeze(&s, &cb_codec_zstd, NULL, t.buf, t.len, t.len);
    const struct {
        const void *p;
        size_t n;
        bool want;
    } cases[] = {
        { t.buf, t.len, true }, { t.buf, 512, true }, { t.buf, 511, false }, { t.buf + 512, 1536, false },
        { "", 0, false },
        { z.data.buf, z.data.len, true }, { s.data.buf, s.data.len, true }, { z.data.buf, 20, false },
        { BZ2, sizeof BZ2, false }, { "\x1f\x8b", 2, false }, { t.buf + 1, 1000, false },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_autoclose int fd = fd_of(cases[i].p, cases[i].n);
        off_t before = lseek(fd, 0, SEEK_CUR);
        assert_int_equal(cb_layer_is_archive(fd, NULL), cases[i].want);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), before);
    }
    cb_strbuf_done(&z.data);
    cb_strbuf_done(&s.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_for_any_threads), cmocka_unit_test(sizes), cmocka_unit_test(gzip_form),
        cmocka_unit_test(what_is_not_stored), cmocka_unit_test(no_larger_than_others),
        cmocka_unit_test(failing_sink), cmocka_unit_test(members), cmocka_unit_test(gzip_headers),
        cmocka_unit_test(zstd_frames), cmocka_unit_test(zstd_checksum), cmocka_unit_test(foreign),
        cmocka_unit_test(mutants), cmocka_unit_test(engines_agree),
        cmocka_unit_test(headers_in_pieces), cmocka_unit_test(archives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One corpus, every format: the same bytes with any number of threads, and on any processor (by qemu-user, which runs
 * this program again with --digests). */
#include <unistd.h>

#include "layer/codec.h"
#include "tests/unit/layer_support.h"
#include "util/proc.h"

#define BIG ((5u << 20) + 12345)
#define LESS ((5u << 18) + 12345) /* for the emulator, which is slow */

static const struct wanted {
    const char *name;
    struct cb_format f;
    const char *engine; /* of Debian 12: another version's bytes may differ */
    const char *digest;
} formats[] = {
    { "uncompressed", { CB_COMPRESSION_NONE, CB_LEVEL_DEFAULT, false }, "",
      "sha256:c72863413152d9f2360cdb081dd9beaf96ccc5aadad3ef7e95d6b41e8a962376" },
    { "gzip", { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT, false }, "libdeflate-1.14/5",
      "sha256:e31bd8c58a780fdcdcf8068d1a1b6e1e5f8df47441d4539b5b85afcef89b727d" },
    { "gzip 1", { CB_COMPRESSION_GZIP, 1, false }, "libdeflate-1.14/1",
      "sha256:53c736cb558a1b0b4b5e4423bc80cdca97d9aa8b11a9a1b3d375f23841083531" },
    { "gzip fast", { CB_COMPRESSION_GZIP, CB_LEVEL_FAST, false }, "isal-x86-2.30.0/1",
      "sha256:1570847847e8588221cecc887078c9a773529a2f6da302d0e5c60025652c9ec4" },
    { "zstd", { CB_COMPRESSION_ZSTD, CB_LEVEL_DEFAULT, false }, "zstd-1.5.4/3",
      "sha256:5229265f3128fc003aa1014cd135443047928ddf062bf917f77890cf446feca3" },
    { "estargz", { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT, true }, "libdeflate-1.14/5",
      "sha256:0cf43521a62e2a027fe35844dd1a2d3a6250a4a1db8cebacf47d839c1cf6bccd" },
    { "estargz fast", { CB_COMPRESSION_GZIP, CB_LEVEL_FAST, true }, "isal-x86-2.30.0/1",
      "sha256:368767c28853688ac14da727d3a10c45365cf9405a31e4657ef6783a8360b693" },
    { "zstd:chunked", { CB_COMPRESSION_ZSTD, CB_LEVEL_DEFAULT, true }, "zstd-1.5.4/3",
      "sha256:135969fee2f0a02bd255bb3ebb3d5b946e357694b06205fc3b963594dba3099a" },
    { "zstd 9", { CB_COMPRESSION_ZSTD, 9, false }, "zstd-1.5.4/9",
      "sha256:f7fe99257cc0e0fa15a04a463c9989c718ff1037a74e1f8f1159d24f1f5711e2" },
};

/* Text, code-like bytes with repetitions, noise, zeros, by turns. */
static char *big(size_t n)
{
    char *p = cb_malloc(n);
    uint64_t seed = 11;
    for (size_t i = 0; i < n; i++)
        switch (i >> 17 & 3) {
        case 0:
            p[i] = (char)('a' + (i * i / 7 + i / 100) % 23);
            break;
        case 1:
            p[i] = i % 5 ? p[i - 4093 - i / 8192 % 16] : (char)sup_random(&seed);
            break;
        case 2:
            p[i] = i >> 19 & 1 ? (char)sup_random(&seed) : (char)(sup_random(&seed) % 16);
            break;
        default:
            p[i] = i % 1000 ? 0 : (char)i;
        }
    return p;
}

static void put(struct cb_layer_writer *w, const struct cb_entry *e, const char *data, size_t step)
{
    cb_autosource struct cb_blob_source *s = e->type == CB_ENTRY_FILE ? sup_source(data, e->size, step) : NULL;
    assert_int_equal(cb_layer_writer_add(w, e, s, NULL), 0);
}

static void put_small(struct cb_layer_writer *w, const char *data, size_t step)
{
    for (unsigned i = 0; i < 60; i++) {
        cb_autofree char *path = cb_asprintf("small/%03u", i);
        put(w, &(struct cb_entry){ .path = path, .type = CB_ENTRY_FILE, .mode = 0644, .mtime = 1700000000 + i,
                                   .size = i * i * 7 }, data + i * 5000, step);
    }
}

static void corpus(struct cb_layer_writer *w, size_t n, size_t step)
{
    static const struct cb_xattr x[] = { { "user.note", "a\0\xff", 3 } };
    cb_autofree char *data = big(n);
    put(w, &(struct cb_entry){ .path = "big", .type = CB_ENTRY_FILE, .mode = 0755, .size = n, .mtime = 3 }, data, step);
    put(w, &(struct cb_entry){ .path = "etc", .type = CB_ENTRY_DIR, .mode = 0755 }, NULL, 0);
    put(w, &(struct cb_entry){ .path = "etc", .type = CB_ENTRY_OPAQUE }, NULL, 0);
    put(w, &(struct cb_entry){ .path = "etc/passwd", .type = CB_ENTRY_FILE, .mode = 0600, .size = 1000, .xattrs = x,
                               .n_xattrs = 1 }, data, step);
    put(w, &(struct cb_entry){ .path = "gone", .type = CB_ENTRY_WHITEOUT }, NULL, 0);
    put(w, &(struct cb_entry){ .path = "link", .type = CB_ENTRY_SYMLINK, .link = "etc/passwd", .mode = 0777 }, NULL, 0);
    put(w, &(struct cb_entry){ .path = "other", .type = CB_ENTRY_HARDLINK, .link = "big" }, NULL, 0);
    put_small(w, data, step);
}

/* "DIGEST DIFF-ID ENGINE", or why there is none. */
static char *made(const struct cb_format *f, size_t big_size, unsigned threads)
{
    CB_AUTO(cb_pool_free) struct cb_pool *pool = threads ? cb_pool_new("test", threads) : NULL;
    struct sup_sink sink = SUP_SINK_INIT;
    cb_cleanup_layer struct cb_layer l = { 0 };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_layer_write_options o = { .format = *f, .pool = pool, .clamp_mtime = INT64_MAX, .sink = &sink.base };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, &err);
    if (!w)
        return cb_strdup(cb_error_text(&err));
    corpus(w, big_size, threads ? 4096u * threads - 1 : SIZE_MAX);
    assert_int_equal(cb_layer_writer_finish(w, &l, NULL, NULL), 0);
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    cb_strbuf_done(&sink.data);
    return cb_asprintf("%s %s %s", cb_digest_text(&l.encodings[0].digest, a), cb_digest_text(&l.diff_id, b),
                       l.encodings[0].engine);
}

static bool has_engine(const char *text, const char *engine)
{
    return cb_ends_with(text, engine) && text[strlen(text) - strlen(engine) - 1] == ' ';
}

static void same_for_any_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(formats); i++) {
        const struct wanted *x = &formats[i];
        cb_autofree char *one = made(&x->f, BIG, 0);
        for (unsigned threads = 1; threads <= 7; threads = threads * 3 + (threads > 1)) {
            cb_autofree char *again = made(&x->f, BIG, threads);
            assert_string_equal(one, again);
        }
        if (has_engine(one, x->engine) && !cb_starts_with(one, x->digest))
            fail_msg("%s: %s, and not %s", x->name, one, x->digest);
    }
}

static char *digests(bool fast)
{
    struct cb_strbuf s = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_COUNTOF(formats); i++) {
        if (formats[i].f.level == CB_LEVEL_FAST && !fast)
            continue;
        cb_autofree char *m = made(&formats[i].f, LESS, 2);
        cb_strbuf_addf(&s, "%s: %s\n", formats[i].name, m);
    }
    return cb_strbuf_detach(&s, NULL);
}

/* ---- contexts, wherever they are in memory ---- */

#define CONTEXTS 300
#define SMALL_BLOCK 6000

/* ISA-L took a part of the address for data, which told in one of ten thousand blocks. */
static void same_for_any_context(void **state)
{
    (void)state;
    const struct cb_codec *codec = &cb_codec_gzip_fast;
    cb_autofree char *in = big(CONTEXTS / 3 * 1000 + SMALL_BLOCK);
    const size_t cap = codec->bound(SMALL_BLOCK);
    cb_autofree char *first = cb_malloc(cap), *out = cb_malloc(cap);
    void *ctx[CONTEXTS];
    if (cb_codec_gzip_fast_state() != CB_ENGINE_HERE)
        skip();
    for (size_t i = 0; i < CONTEXTS; i++)
        assert_non_null(ctx[i] = codec->context_new(1));
    for (size_t block = 0; block < CONTEXTS / 3; block++) {
        size_t n = codec->compress(ctx[0], in + block * 1000, SMALL_BLOCK, first, cap);
        assert_true(n > 0);
        for (size_t i = 1; i < CONTEXTS; i++) {
            assert_int_equal(codec->compress(ctx[i], in + block * 1000, SMALL_BLOCK, out, cap), n);
            assert_memory_equal(out, first, n);
        }
    }
    for (size_t i = 0; i < CONTEXTS; i++)
        codec->context_free(ctx[i]);
}

#ifndef CB_SANITIZED /* what sanitizers need of a process no emulator of one has */
/* Where they begin to differ: of long texts fail_msg shows the beginning alone. */
static void tell_difference(const char *cpu, const char *there, const char *here)
{
    while (*here && *here == *there) {
        here++;
        there++;
    }
    print_error("%s: from there on \"%.100s\", and here \"%.100s\"\n", cpu, there, here);
}

/* On a processor that is too old for "fast" there is none. */
static void same_for_any_processor(void **state)
{
    (void)state;
    static const struct {
        const char *cpu;
        bool fast;
    } cpus[] = { { "qemu64", false }, { "Nehalem", true }, { "SandyBridge", true }, { "Haswell", true } };
#ifdef __x86_64__
    cb_autofree char *qemu = cb_proc_which("qemu-x86_64");
#else
    char *qemu = NULL;
#endif
    if (!qemu) {
        print_message("qemu-x86_64 (Debian: qemu-user) is not here, or this is no program for it\n");
        skip();
    }
    char self[4096] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    for (size_t i = 0; i < CB_COUNTOF(cpus); i++) {
        cb_cleanup_proc_result struct cb_proc_result res = { 0 };
        cb_autofree char *here = digests(cpus[i].fast);
        const char *const argv[] = { qemu, "-cpu", cpus[i].cpu, self, "--digests", cpus[i].fast ? "fast" : "", NULL };
        assert_int_equal(cb_proc_run(&(struct cb_proc_spec){ .argv = argv, .timeout_ms = 300000 }, &res, NULL), 0);
        if (strcmp(res.out.buf, here))
            tell_difference(cpus[i].cpu, res.out.buf, here);
        if (res.status || strcmp(res.out.buf, here))
            fail_msg("%s: status %d\n%s", cpus[i].cpu, res.status, res.err.buf);
    }
}
#endif

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--digests")) {
        cb_autofree char *text = digests(*argv[2]);
        fputs(text, stdout);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(same_for_any_context),
#ifndef CB_SANITIZED
        cmocka_unit_test(same_for_any_processor),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

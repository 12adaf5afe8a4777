/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>

#include "oci/blob_io.h"
#include "util/alloc.h"

#define ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                                                                         \
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"                                          \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

/* Hands out `give` bytes a call, endlessly if it is told so, fails at `fail_at`, and counts. */
struct odd_source {
    struct cb_blob_source base;
    const char *text;
    size_t len, at, give, fail_at;
    bool endless, silent;
    size_t *handed, *closed;
};

static int odd_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct odd_source *o = (struct odd_source *)s;
    if (o->at >= o->fail_at)
        return o->silent ? -CB_ENET : cb_error_set(err, CB_ENET, "the line broke");
    size_t left = o->endless ? SIZE_MAX : o->len - o->at;
    *got = CB_MIN(CB_MIN(n, o->give), left);
    for (size_t i = 0; i < *got; i++)
        ((char *)buf)[i] = o->text[(o->at + i) % o->len];
    o->at += *got;
    *o->handed += *got;
    return 0;
}

static void odd_close(struct cb_blob_source *s)
{
    ++*((struct odd_source *)s)->closed;
    free(s);
}

static size_t handed, closed;

static struct odd_source *odd(const char *text, size_t give)
{
    static const struct cb_blob_source_ops ops = { .read = odd_read, .close = odd_close };
    struct odd_source *o = CB_NEW(struct odd_source);
    *o = (struct odd_source){ .base = { &ops }, .text = text, .len = strlen(text), .give = give, .fail_at = SIZE_MAX,
                              .handed = &handed, .closed = &closed };
    handed = closed = 0;
    return o;
}

struct mem_sink {
    struct cb_blob_sink base;
    struct cb_strbuf got;
    size_t room;
};

static int mem_sink_write(struct cb_blob_sink *s, const void *buf, size_t n, struct cb_error *err)
{
    struct mem_sink *m = (struct mem_sink *)s;
    if (n > m->room)
        return cb_error_set(err, CB_ELOCAL, "full");
    m->room -= n;
    cb_strbuf_add(&m->got, buf, n);
    return 0;
}

static const struct cb_blob_sink_ops mem_sink_ops = { .write = mem_sink_write };
#define MEM_SINK(n) { .base = { &mem_sink_ops }, .got = CB_STRBUF_INIT, .room = (n) }

static int read_all(struct cb_blob_source *s, struct cb_strbuf *out, struct cb_error *err)
{
    return cb_blob_read_all(s, 1 << 20, out, err);
}

static int temp_file(const char *text)
{
    int fd = memfd_create("blob", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void test_mem_and_fd(void **state)
{
    (void)state;
    int fd = temp_file("0123456789");
    static const struct {
        uint64_t offset, len;
        const char *want;
    } t[] = { { 0, UINT64_MAX, "0123456789" }, { 3, UINT64_MAX, "3456789" }, { 3, 4, "3456" }, { 10, UINT64_MAX, "" },
              { 99, UINT64_MAX, "" },          { 4, 0, "" },                 { 0, 10, "0123456789" } };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_autosource struct cb_blob_source *s =
            cb_blob_source_from_fd(fcntl(fd, F_DUPFD_CLOEXEC, 3), t[i].offset, t[i].len);
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        assert_int_equal(read_all(s, &sb, NULL), 0);
        assert_string_equal(sb.buf, t[i].want);
        cb_autosource struct cb_blob_source *m = cb_blob_source_from_mem(t[i].want, strlen(t[i].want));
        cb_strbuf_reset(&sb);
        assert_int_equal(read_all(m, &sb, NULL), 0);
        assert_string_equal(sb.buf, t[i].want);
    }
    close(fd);
    cb_autosource struct cb_blob_source *nothing = cb_blob_source_from_mem(NULL, 0);
    size_t got = 7;
    char c;
    assert_int_equal(cb_blob_read(nothing, &c, 1, &got, NULL), 0);
    assert_int_equal(got, 0);
    assert_int_equal(cb_blob_read(nothing, &c, 0, &got, NULL), -CB_EINTERNAL);
}

/* Two readers of one open file, turn by turn, do not disturb each other. */
static void test_fd_is_shared(void **state)
{
    (void)state;
    int fd = temp_file("abcdef");
    cb_autosource struct cb_blob_source *a = cb_blob_source_from_fd(fcntl(fd, F_DUPFD_CLOEXEC, 3), 0, UINT64_MAX);
    cb_autosource struct cb_blob_source *b = cb_blob_source_from_fd(fd, 0, UINT64_MAX);
    for (const char *want = "abcdef"; *want; want++) {
        char ca = 0, cb = 0;
        size_t got;
        assert_int_equal(cb_blob_read(a, &ca, 1, &got, NULL), 0);
        assert_int_equal(cb_blob_read(b, &cb, 1, &got, NULL), 0);
        assert_int_equal(ca, *want);
        assert_int_equal(cb, *want);
    }
}

static void test_fd_failures(void **state)
{
    (void)state;
    char buf[16];
    size_t got;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_autosource struct cb_blob_source *cut = cb_blob_source_from_fd(temp_file("abc"), 1, 5);
    assert_int_equal(cb_blob_read_full(cut, buf, sizeof buf, &got, &err), -CB_EVERIFY);
    assert_string_equal(err.msg, "the file ends 3 bytes early");
    assert_int_equal(got, 2);
    cb_autosource struct cb_blob_source *dead = cb_blob_source_from_fd(-1, 0, UINT64_MAX);
    assert_int_equal(cb_blob_read(dead, buf, 1, &got, &err), -CB_ELOCAL);
    cb_autosource struct cb_blob_source *dir = cb_blob_source_from_fd(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        0, 4);
    assert_int_equal(cb_blob_read(dir, buf, 1, &got, &err), -CB_ELOCAL);
}

static void test_read_full(void **state)
{
    (void)state;
    char buf[8];
    size_t got;
    cb_autosource struct cb_blob_source *s = &odd("abcdefghij", 3)->base;
    assert_int_equal(cb_blob_read_full(s, buf, 8, &got, NULL), 0);
    assert_int_equal(got, 8);
    assert_memory_equal(buf, "abcdefgh", 8);
    assert_int_equal(cb_blob_read_full(s, buf, 8, &got, NULL), 0);
    assert_int_equal(got, 2);
    assert_int_equal(cb_blob_read_full(s, buf, 8, &got, NULL), 0);
    assert_int_equal(got, 0);
}

static void test_read_all_is_bounded(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct odd_source *o = odd("abc", 1000);
    o->endless = true;
    cb_autosource struct cb_blob_source *s = &o->base;
    assert_int_equal(cb_blob_read_all(s, 2500, &sb, &err), -CB_EVERIFY);
    assert_true(sb.len <= 2500 && handed <= 3000);
    cb_autosource struct cb_blob_source *exact = cb_blob_source_from_mem("abc", 3);
    cb_strbuf_reset(&sb);
    assert_int_equal(cb_blob_read_all(exact, 3, &sb, NULL), 0);
    assert_string_equal(sb.buf, "abc");
}

/* The digest and size "abc" is said to have; what comes of reading `text`, for several read sizes. */
static void check_verify(const char *text, const char *digest, uint64_t size, const char *failure)
{
    struct cb_digest d = { 0 };
    if (digest)
        assert_int_equal(cb_digest_parse(&d, digest, NULL), 0);
    for (size_t give = 1; give < 6; give++) {
        cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_autosource struct cb_blob_source *s = cb_blob_source_verify(&odd(text, give)->base, &d, size);
        int r = read_all(s, &sb, &err);
        assert_int_equal(r, failure ? -CB_EVERIFY : 0);
        if (failure && !strstr(err.msg, failure))
            fail_msg("%s instead of %s", err.msg, failure);
        if (!failure)
            assert_string_equal(sb.buf, text);
        char c;
        size_t got;
        assert_int_equal(cb_blob_read(s, &c, 1, &got, &err), r); /* stays as it is */
        assert_int_equal(got, 0);
    }
}

static void test_verify(void **state)
{
    (void)state;
    check_verify("abc", ABC, 3, NULL);
    check_verify("abc", ABC512, 3, NULL);
    check_verify("abc", ABC, UINT64_MAX, NULL);
    check_verify("abc", NULL, 3, NULL);
    check_verify("anything", NULL, UINT64_MAX, NULL);
    check_verify("abd", ABC, 3, "instead of " ABC);
    check_verify("abd", ABC512, 3, "instead of " ABC512);
    check_verify("abd", ABC, UINT64_MAX, "has digest sha256:");
    check_verify("ab", ABC, 3, "ends after 2 bytes instead of 3");
    check_verify("ab", NULL, 3, "ends after 2 bytes instead of 3");
    check_verify("abcd", ABC, 3, "longer than 3 bytes");
    check_verify("abcd", NULL, 3, "longer than 3 bytes");
    check_verify("abc", ABC, 0, "longer than 0 bytes"); /* a size of 0 is checked too */
    check_verify("abc", ABC, 4, "ends after 3 bytes instead of 4");
}

static void test_verify_stops_at_one_byte_more(void **state)
{
    (void)state;
    char buf[4096];
    size_t got;
    struct odd_source *o = odd("abc", SIZE_MAX);
    o->endless = true;
    cb_autosource struct cb_blob_source *s = cb_blob_source_verify(&o->base, NULL, 100);
    assert_int_equal(cb_blob_read(s, buf, sizeof buf, &got, NULL), -CB_EVERIFY);
    assert_int_equal(handed, 101);
}

/* ---- seeking ---- */

static void expect_rest(struct cb_blob_source *s, const char *want)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(cb_blob_read_all(s, 100, &out, NULL), 0);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.buf, want, out.len);
}

static void test_seek(void **state)
{
    (void)state;
    cb_autosource struct cb_blob_source *m = cb_blob_source_from_mem("0123456789", 10);
    expect_rest(m, "0123456789");
    assert_int_equal(cb_blob_seek(m, 4, NULL), 0);
    expect_rest(m, "456789");
    assert_int_equal(cb_blob_seek(m, 10, NULL), 0);
    expect_rest(m, "");
    assert_int_equal(cb_blob_seek(m, 11, NULL), -CB_EINTERNAL);

    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abcdefghij", 10), 10);
    cb_autosource struct cb_blob_source *f = cb_blob_source_from_fd(fd, 2, 6); /* cdefgh */
    expect_rest(f, "cdefgh");
    assert_int_equal(cb_blob_seek(f, 4, NULL), 0);
    expect_rest(f, "gh");
    assert_int_equal(cb_blob_seek(f, 0, NULL), 0);
    expect_rest(f, "cdefgh");
    assert_int_equal(cb_blob_seek(f, 7, NULL), -CB_EINTERNAL);
    cb_autosource struct cb_blob_source *o = &odd("x", 1)->base;
    assert_int_equal(cb_blob_seek(o, 0, NULL), -CB_EINTERNAL);
}

/* What is read twice is hashed once; what was passed over cannot be checked, but for the length. */
static void test_verify_seeks(void **state)
{
    (void)state;
    struct cb_digest d, other;
    char buf[8];
    size_t got;
    cb_digest_of(&d, "0123456789", 10);
    cb_digest_of(&other, "x", 1);
    cb_autosource struct cb_blob_source *s =
        cb_blob_source_verify(cb_blob_source_from_mem("0123456789", 10), &d, 10);
    assert_int_equal(cb_blob_read(s, buf, 6, &got, NULL), 0);
    assert_int_equal(cb_blob_seek(s, 2, NULL), 0);
    assert_int_equal(cb_blob_read(s, buf, 3, &got, NULL), 0);
    assert_memory_equal(buf, "234", 3);
    expect_rest(s, "56789");
    assert_int_equal(cb_blob_seek(s, 8, NULL), 0);
    expect_rest(s, "89");

    cb_autosource struct cb_blob_source *wrong =
        cb_blob_source_verify(cb_blob_source_from_mem("0123456789", 10), &other, 10);
    assert_int_equal(cb_blob_read(wrong, buf, 6, &got, NULL), 0);
    assert_int_equal(cb_blob_seek(wrong, 0, NULL), 0);
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    assert_int_equal(cb_blob_read_all(wrong, 100, &out, NULL), -CB_EVERIFY);
    assert_int_equal(cb_blob_seek(wrong, 0, NULL), -CB_EVERIFY); /* and stays so */

    cb_autosource struct cb_blob_source *tail =
        cb_blob_source_verify(cb_blob_source_from_mem("0123456789", 10), &other, 12);
    assert_int_equal(cb_blob_seek(tail, 5, NULL), 0);
    cb_strbuf_reset(&out);
    assert_int_equal(cb_blob_read_all(tail, 100, &out, NULL), -CB_EVERIFY);
}

static void test_verify_withholds_the_last_bytes(void **state)
{
    (void)state;
    struct cb_digest other;
    char buf[3];
    size_t got = 7;
    cb_digest_of(&other, "abd", 3);
    cb_autosource struct cb_blob_source *s = cb_blob_source_verify(cb_blob_source_from_mem("abc", 3), &other, 3);
    /* Who reads what it knows to be all never asks for the end. */
    assert_int_equal(cb_blob_read(s, buf, 3, &got, NULL), -CB_EVERIFY);
    assert_int_equal(got, 0);
}

static void test_inner_failures_pass(void **state)
{
    (void)state;
    char buf[16];
    size_t got;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct odd_source *o = odd("abcdef", 2);
    o->fail_at = 4;
    struct cb_blob_source *s = cb_blob_source_verify(&o->base, NULL, 6);
    assert_int_equal(cb_blob_read_full(s, buf, sizeof buf, &got, &err), -CB_ENET);
    assert_string_equal(err.msg, "the line broke");
    s->ops->close(s);
    assert_int_equal(closed, 1); /* the wrapper owned it */
    o = odd("abc", 2);
    o->fail_at = 0;
    o->silent = true;
    s = cb_blob_source_verify(&o->base, NULL, 3);
    assert_int_equal(cb_blob_read(s, buf, 1, &got, NULL), -CB_ENET);
    assert_int_equal(cb_blob_read(s, buf, 1, &got, NULL), -CB_ENET);
    s->ops->close(s);
}

static void test_tee_and_copy(void **state)
{
    (void)state;
    struct mem_sink tee = MEM_SINK(100), copy = MEM_SINK(100), small = MEM_SINK(4);
    struct cb_blob_source *s = cb_blob_source_tee(&odd("abcdefgh", 3)->base, &tee.base);
    uint64_t copied = 0;
    assert_int_equal(cb_blob_copy(s, &copy.base, &copied, NULL), 0);
    s->ops->close(s);
    assert_int_equal(closed, 1);
    assert_true(copied == 8);
    assert_string_equal(tee.got.buf, "abcdefgh");
    assert_string_equal(copy.got.buf, "abcdefgh");
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    s = cb_blob_source_tee(&odd("abcdefgh", 3)->base, &small.base);
    assert_int_equal(read_all(s, &sb, &err), -CB_ELOCAL);
    assert_string_equal(err.msg, "full");
    s->ops->close(s);
    small.room = 0;
    s = &odd("x", 1)->base;
    assert_int_equal(cb_blob_copy(s, &small.base, NULL, &err), -CB_ELOCAL);
    s->ops->close(s);
    cb_strbuf_done(&tee.got);
    cb_strbuf_done(&copy.got);
    cb_strbuf_done(&small.got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_and_fd),
        cmocka_unit_test(test_fd_is_shared),
        cmocka_unit_test(test_fd_failures),
        cmocka_unit_test(test_read_full),
        cmocka_unit_test(test_read_all_is_bounded),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_stops_at_one_byte_more),
        cmocka_unit_test(test_seek),
        cmocka_unit_test(test_verify_seeks),
        cmocka_unit_test(test_verify_withholds_the_last_bytes),
        cmocka_unit_test(test_inner_failures_pass),
        cmocka_unit_test(test_tee_and_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

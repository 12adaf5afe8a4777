/* SPDX-License-Identifier: Apache-2.0 */
/* All that a helper says while it reads, as cbpush hears it: entries and bytes in the memory, and messages, in whatever
 * order and with whatever counts. The text is what a helper that was taken over does, an operation after the other; the
 * first byte says what is wanted of it, the second how it ends. What cbpush takes keeps all limits, an entry has all of
 * its bytes or fails, and a failure stays one.
 * The helper plays when its blob is fed, in the same thread: all that it does is there before anybody looks. */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "image/helper.h"
#include "tests/fuzz/entry_check.h"
#include "util/fd.h"

enum wanted { DATA = 1, TABLE_ONLY = 2, FEW_ENTRIES = 4, FEW_BYTES = 8, TABLE_TOO = 16 };
#define FEW 3u
#define SMALL 1000u

struct play {
    struct cb_blob_source base;
    const uint8_t *text;
    size_t len, at;
    int fds[CB_HELPER_FDS];
    uint8_t *out;
    uint64_t put, told;
    uint8_t how; /* it ends: a status, from 0x80 on an error of fork(2), 0xff: nobody knows */
    bool begun, ended;
    unsigned feeds;
};

#define FEEDS 7 /* so much of the blob is taken by who gives nothing back */

static int server[2] = { -1, -1 };

#ifndef CB_FUZZ_REPLAY
/* Nothing is expected here; the real one comes with all that reads layers. */
int cb_layer_check_diff_id(CB_UNUSED const struct cb_digest *expect, CB_UNUSED const struct cb_digest *is,
                           CB_UNUSED struct cb_error *err)
{
    return 0;
}
#endif

/* In place of the real one's (helper_start.c). */
int cb_helper_server(CB_UNUSED struct cb_error *err)
{
    if (server[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, server) < 0)
        abort();
    return server[0];
}

/* What a server would say of its end is there before anybody asks: nobody is there to wait for. */
static void tell_end(struct play *p)
{
    const struct cb_helper_end end = { .fork_errno = p->how >= 0x80 ? p->how - 0x80 : 0, .status = p->how & 0x7f };
    if (p->how != 0xff)
        (void)!send(p->fds[CB_HELPER_LIFE], &end, sizeof end, MSG_NOSIGNAL | MSG_DONTWAIT);
    cb_close_p(&p->fds[CB_HELPER_LIFE]);
}

static void take_job(struct play *p)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(CB_HELPER_FDS * sizeof(int))];
    } control;
    struct cb_helper_job job;
    struct iovec iov = { &job, sizeof job };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
                        .msg_controllen = sizeof control.buf };
    if (recvmsg(server[1], &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != (ssize_t)sizeof job)
        abort();
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_len != CMSG_LEN(sizeof p->fds))
        abort();
    memcpy(p->fds, CMSG_DATA(c), sizeof p->fds);
    p->out = mmap(NULL, CB_HELPER_RING, PROT_READ | PROT_WRITE, MAP_SHARED, p->fds[CB_HELPER_OUT], 0);
    if (p->out == MAP_FAILED)
        abort();
    p->begun = true;
    tell_end(p);
}

static void leave(struct play *p)
{
    for (int i = 0; i < CB_HELPER_FDS; i++)
        cb_close_p(&p->fds[i]);
    if (p->out)
        munmap(p->out, CB_HELPER_RING);
    p->out = NULL;
    p->at = p->len;
}

/* ---- operations ---- */

static uint64_t number(struct play *p, unsigned bytes)
{
    uint64_t v = 0;
    for (; bytes && p->at < p->len; bytes--)
        v = v << 8 | p->text[p->at++];
    return v;
}

static struct cb_slice rest(struct play *p, size_t n)
{
    n = CB_MIN(n, p->len - p->at);
    struct cb_slice s = { (const char *)p->text + p->at, n };
    p->at += n;
    return s;
}

static void put(struct play *p, const void *buf, size_t n)
{
    const uint8_t *from = buf;
    for (size_t i = 0; i < n; i++)
        p->out[(p->put + i) % CB_HELPER_RING] = from ? from[i] : 'x';
    p->put += n;
}

static void put_record(struct play *p, uint32_t type, const void *buf, size_t n)
{
    const struct cb_helper_record r = { type, (uint32_t)n };
    put(p, &r, sizeof r);
    put(p, buf, n);
}

static void count(int fd, uint64_t n)
{
    if (fd >= 0 && n && n < UINT64_MAX)
        (void)!write(fd, &n, sizeof n);
}

static void say(struct play *p, const void *head, size_t head_len, struct cb_slice payload)
{
    struct iovec v[2] = { { (void *)(uintptr_t)head, head_len }, { (void *)(uintptr_t)payload.ptr, payload.len } };
    struct msghdr m = { .msg_iov = v, .msg_iovlen = payload.len ? 2 : 1 };
    (void)!sendmsg(p->fds[CB_HELPER_SOCK], &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_message(struct play *p)
{
    struct cb_helper_head h = { .type = (uint32_t)number(p, 1), .code = (int32_t)number(p, 1) };
    h.value = number(p, 2);
    struct cb_slice payload = rest(p, number(p, 2));
    h.n = (uint32_t)payload.len;
    if (h.type == CB_HELPER_DONE)
        cb_digest_of(&h.digest, payload.ptr, payload.len);
    say(p, &h, sizeof h, payload);
}

/* A table whose form is right, whatever is in it. */
static void say_table(struct play *p)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_slice s = rest(p, number(p, 2));
    struct cb_digest sum;
    cb_strbuf_add(&text, "cbtoc\0\0\1", 8);
    cb_strbuf_add(&text, s.ptr, s.len);
    cb_digest_of(&sum, text.buf, text.len);
    cb_strbuf_add(&text, sum.raw, 32);
    struct cb_helper_head h = { .type = CB_HELPER_TOC, .n = (uint32_t)text.len };
    say(p, &h, sizeof h, (struct cb_slice){ text.buf, text.len });
}

/* True where cbpush has to look before there is more. */
static bool operate(struct play *p)
{
    struct cb_slice s;
    switch (number(p, 1)) {
    case 'E':
        s = rest(p, number(p, 2));
        put_record(p, CB_HELPER_ENTRY, s.ptr, s.len);
        break;
    case 'B':
        put_record(p, CB_HELPER_DATA, NULL, number(p, 2));
        break;
    case 'D':
        s = rest(p, number(p, 2));
        put(p, s.ptr, s.len);
        break;
    case 'F':
        count(p->fds[CB_HELPER_OUT_FILLED], p->put - p->told);
        p->told = p->put;
        break;
    case 'f':
        count(p->fds[CB_HELPER_OUT_FILLED], number(p, 4));
        break;
    case 'g':
        count(p->fds[CB_HELPER_FREED], number(p, 4));
        break;
    case 'M':
        say_message(p);
        break;
    case 'T':
        say_table(p);
        break;
    case 'R':
        s = rest(p, number(p, 2));
        say(p, s.ptr, s.len, (struct cb_slice){ 0 });
        break;
    case 'S':
        p->ended = true;
        break;
    case 'P':
        return !p->ended;
    case 'X':
        leave(p);
        break;
    default:
        break;
    }
    return false;
}

static int feed(struct cb_blob_source *b, CB_UNUSED void *buf, size_t n, size_t *got, CB_UNUSED struct cb_error *err)
{
    struct play *p = (struct play *)b;
    if (!p->begun)
        take_job(p);
    p->ended = p->ended || ++p->feeds == FEEDS;
    while (p->at < p->len && !operate(p))
        continue;
    bool over = p->at >= p->len;
    if (over)
        leave(p);
    *got = over ? 0 : n;
    return 0;
}

static void close_feed(CB_UNUSED struct cb_blob_source *b)
{
}

/* ---- what is made of it ---- */

static bool read_file(struct cb_layer_reader *r, uint64_t size)
{
    char buf[700];
    uint64_t sum = 0;
    for (size_t got = 1; got; sum += got)
        if (r->ops->read(r, buf, sizeof buf, &got, NULL) < 0)
            return false;
    if (sum != size)
        abort();
    return true;
}

static int take_all(struct cb_layer_reader *r, unsigned wanted)
{
    const struct cb_entry *e = NULL;
    uint64_t bytes = 0;
    unsigned n = 0;
    int k = 0;
    while (k == 0 && (k = r->ops->next(r, &e, NULL)) == 0 && e) {
        check_entry(e);
        bytes += e->type == CB_ENTRY_FILE ? e->size : 0;
        if ((wanted & FEW_ENTRIES && ++n > FEW) || (wanted & FEW_BYTES && bytes > SMALL))
            abort();
        if (wanted & DATA && e->type == CB_ENTRY_FILE && !read_file(r, e->size))
            k = -1;
    }
    if (k < 0 && (r->ops->next(r, &e, NULL) == 0 || e))
        abort();
    return k;
}

static void finish(struct cb_layer_reader *r, bool toc, bool failed)
{
    struct cb_layer_read_result res = { .want_toc = toc };
    int k = r->ops->finish(r, NULL, &res, NULL);
    if ((failed && k == 0) || (k == 0 && (res.diff_id.alg != CB_DIGEST_SHA256 || toc != (res.toc != NULL))) ||
        (k < 0 && res.toc))
        abort();
    for (size_t i = 0; res.toc && i < cb_toc_count(res.toc); i++)
        check_entry(cb_toc_at(res.toc, i));
    cb_toc_unref(res.toc);
}

FUZZ_TARGET(records)
{
    static const struct cb_blob_source_ops ops = { .read = feed, .close = close_feed };
    unsigned wanted = len ? (uint8_t)*text : 0;
    struct play p = { .base = { &ops }, .text = (const uint8_t *)text, .len = len, .at = CB_MIN(len, (size_t)2),
                      .how = len > 1 ? (uint8_t)text[1] : 0 };
    struct cb_layer_read_options o = { .source = &p.base, .max_entries = wanted & FEW_ENTRIES ? FEW : 0,
                                       .max_size = wanted & FEW_BYTES ? SMALL : 0 };
    for (int i = 0; i < CB_HELPER_FDS; i++)
        p.fds[i] = -1;
    struct cb_layer_reader *r = cb_helper_reader(&o, NULL);
    int k = wanted & TABLE_ONLY ? 0 : take_all(r, wanted);
    finish(r, wanted & TABLE_TOO, k < 0);
    leave(&p);
    r->ops->free(r);
}

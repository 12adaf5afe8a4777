/* SPDX-License-Identifier: Apache-2.0 */
/* cbpush's side of any helper: how it comes, gets the blob, and goes. What it is for is said elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "image/helper.h"
#include "util/alloc.h"
#include "util/fd.h"

#define CHUNK ((size_t)128 << 10)
#define MADE_FOR_THAT "what it was given is damaged, or was made for that"
#define ANSWER_SECONDS 30
#define RESULT_MAX (UINT64_C(2) << 30) /* as large as a table may be */

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* ---- what it takes to start one ---- */

void cb_helper_link_init(struct cb_helper_link *h, struct cb_blob_source *source, const struct cb_cancel *cancel)
{
    *h = (struct cb_helper_link){ .source = source, .cancel = cancel, .sock = -1, .life = -1, .memory = -1,
                                  .filled = -1, .freed = -1, .toc = CB_STRBUF_INIT };
    h->m = cb_malloc(sizeof *h->m);
}

void cb_helper_link_done(struct cb_helper_link *h)
{
    cb_close_p(&h->sock);
    cb_close_p(&h->life);
    cb_close_p(&h->memory);
    cb_close_p(&h->filled);
    cb_close_p(&h->freed);
    if (h->ring)
        munmap(h->ring, CB_HELPER_PAGE + CB_HELPER_RING);
    cb_strbuf_done(&h->toc);
    free(h->m);
}

/* Mapped by us to write to, before nobody may any more: what is hashed here must not change behind our back. */
static int make_memory(struct cb_helper_link *h, struct cb_error *err)
{
    size_t size = CB_HELPER_PAGE + CB_HELPER_RING;
    h->memory = memfd_create("cbpush-blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (h->memory < 0 || ftruncate(h->memory, (off_t)size) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make memory for a blob");
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, h->memory, 0);
    if (p == MAP_FAILED)
        return cb_error_sys(err, CB_ELOCAL, errno, "map memory for a blob");
    h->ring = p;
    h->bytes = (uint8_t *)p + CB_HELPER_PAGE;
    if (fcntl(h->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "seal memory for a blob");
    return 0;
}

static int make_sockets(struct cb_helper_link *h, int theirs[2], struct cb_error *err)
{
    const struct timeval patience = { .tv_sec = ANSWER_SECONDS };
    int sock[2], life[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a socket");
    h->sock = sock[0];
    theirs[0] = sock[1];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, life) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a socket");
    h->life = life[0];
    theirs[1] = life[1];
    /* Whoever asks and then does not read the answer must not hold us. */
    if (setsockopt(h->sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set up a socket");
    h->filled = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    h->freed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return h->filled < 0 || h->freed < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "make an eventfd") : 0;
}

static int send_job(int server, const struct cb_helper_job *job, const int *fds, size_t n, struct cb_error *err)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(CB_HELPER_FDS * sizeof(int))];
    } control = { .buf = { 0 } };
    struct iovec iov = { (void *)(uintptr_t)job, sizeof *job };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
                        .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    ssize_t r;
    do
        r = sendmsg(server, &m, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    /* That the server is gone is found, and told, by who waits for the helper. */
    if (r >= 0 || errno == EPIPE || errno == ECONNRESET)
        return 0;
    return cb_error_sys(err, CB_ELOCAL, errno, "ask for a process to read it in");
}

int cb_helper_link_start(struct cb_helper_link *h, const struct cb_helper_job *job, const int *more,
                         struct cb_error *err)
{
    int theirs[2] = { -1, -1 };
    int r = make_memory(h, err);
    if (r == 0)
        r = make_sockets(h, theirs, err);
    if (r == 0) {
        int fds[CB_HELPER_FDS] = { theirs[0], theirs[1], h->memory, h->filled, h->freed };
        size_t n = CB_HELPER_TREE;
        for (size_t i = 0; more[i] >= 0; i++)
            fds[n++] = more[i];
        r = cb_helper_server(err);
        if (r >= 0)
            r = send_job(r, job, fds, n, err);
    }
    cb_close_p(&theirs[0]);
    cb_close_p(&theirs[1]);
    return r;
}

/* ---- its end ---- */

struct cb_helper_end cb_helper_link_end(struct cb_helper_link *h)
{
    struct cb_helper_end end = { .status = SIGKILL };
    ssize_t r;
    if (h->life < 0)
        return end;
    (void)shutdown(h->life, SHUT_WR);
    do
        r = recv(h->life, &end, sizeof end, 0);
    while (r < 0 && errno == EINTR);
    cb_close_p(&h->life);
    return r == (ssize_t)sizeof end ? end : (struct cb_helper_end){ .lost = true };
}

int cb_helper_blame(struct cb_helper_end end, struct cb_error *err)
{
    static const char what[] = "the process that reads it";
    int signo = WIFSIGNALED(end.status) ? WTERMSIG(end.status) : 0;
    if (end.fork_errno)
        return cb_error_sys(err, CB_ELOCAL, end.fork_errno, "start a process to read it in");
    if (end.lost)
        return cb_error_set(err, CB_ELOCAL,
                            "the process that starts those that read has ended, perhaps for lack of memory");
    if (WIFEXITED(end.status) && WEXITSTATUS(end.status) == CB_ELOCAL) /* cb_out_of */
        return cb_error_set(err, CB_ELOCAL, "%s has no memory left", what);
    if (signo == SIGKILL)
        return cb_error_set(err, CB_ELOCAL, "%s was killed, perhaps for lack of memory", what);
    if (signo == SIGXCPU)
        return cb_error_set(err, CB_EVERIFY, "%s took hours of CPU time and was stopped", what);
    if (signo)
        return cb_error_set(err, CB_EVERIFY, "%s crashed (%s): " MADE_FOR_THAT, what, sigdescr_np(signo));
    return cb_error_set(err, CB_EVERIFY, "%s ended without a result: " MADE_FOR_THAT, what);
}

/* ---- what it says: hostile until shown otherwise ---- */

int cb_helper_no_sense(struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "the process that reads it answers nonsense: " MADE_FOR_THAT);
}

static int take_error(const struct cb_helper_message *m, struct cb_error *err)
{
    static const enum cb_code known[] = { CB_ECONF, CB_ELOCAL, CB_EVERIFY, CB_ENOTFOUND, CB_EINTERNAL };
    enum cb_code code = CB_EVERIFY;
    for (size_t i = 0; i < CB_COUNTOF(known); i++)
        if (m->head.code == (int32_t)known[i])
            code = known[i];
    cb_error_set(err, code, "%s", m->head.n ? m->payload : "it cannot be read");
    cb_error_note_errno(err, m->head.sys_errno);
    return -(int)code;
}

int cb_helper_link_hear(struct cb_helper_link *h, struct cb_error *err)
{
    int r = cb_helper_receive(h->sock, h->m, false, CB_HELPER_NO_WAIT);
    /* Told once, before what was sent is given: it has not read something. */
    if (r == -ECONNRESET)
        r = cb_helper_receive(h->sock, h->m, false, CB_HELPER_NO_WAIT);
    if (r == -EAGAIN)
        return 0;
    if (r == -EPROTO || (r > 0 && (h->received += sizeof h->m->head + h->m->head.n) > RESULT_MAX))
        return cb_helper_no_sense(err);
    if (r <= 0) {
        h->gone = true;
        return 0;
    }
    return 1;
}

int cb_helper_link_take(struct cb_helper_link *h, struct cb_error *err)
{
    const struct cb_helper_message *m = h->m;
    switch ((enum cb_helper_type)m->head.type) {
    case CB_HELPER_READY:
        h->ready = true;
        h->held = (unsigned)m->head.value;
        return 0;
    case CB_HELPER_TOC:
        cb_strbuf_add(&h->toc, m->payload, m->head.n);
        return 0;
    case CB_HELPER_ERROR:
        return take_error(m, err);
    default:
        return cb_helper_no_sense(err);
    }
}

int cb_helper_link_take_done(struct cb_helper_link *h, const struct cb_digest *expect,
                             struct cb_layer_read_result *out, struct cb_error *err)
{
    const struct cb_helper_message *m = h->m;
    const struct cb_digest *d = &m->head.digest;
    enum cb_digest_alg alg = out->deferred ? CB_DIGEST_NONE : CB_DIGEST_SHA256;
    if (!h->ready || !h->source_ended || d->alg != alg || m->head.value > INT64_MAX ||
        (expect && !out->deferred && !cb_digest_eq(d, expect)))
        return cb_helper_no_sense(err);
    out->diff_id = *d;
    out->size = m->head.value;
    h->done = true;
    return out->want_toc ? cb_toc_parse(&out->toc, h->toc.buf, h->toc.len, err) : 0;
}

/* ---- what it is told ---- */

/* That it is gone shows where its next message should be. */
static int was_told(int r, struct cb_error *err)
{
    return r == 0 || r == -EPIPE || r == -ECONNRESET ? 0 : cb_helper_no_sense(err);
}

int cb_helper_link_answer(struct cb_helper_link *h, const struct cb_strbuf *bytes, int fd, struct cb_error *err)
{
    struct cb_helper_head head = { .type = CB_HELPER_ANSWER, .value = bytes->len };
    int r = cb_helper_send(h->sock, &head, NULL, fd);
    if (r == 0)
        r = cb_helper_send_parts(h->sock, CB_HELPER_PART, bytes->buf, bytes->len);
    return was_told(r, err);
}

int cb_helper_link_answer_error(struct cb_helper_link *h, const struct cb_error *e, struct cb_error *err)
{
    const char *text = cb_error_text(e);
    struct cb_helper_head head = { .type = CB_HELPER_ANSWER, .code = (int32_t)e->code, .sys_errno = e->sys_errno };
    head.n = (uint32_t)CB_MIN(strlen(text), (size_t)CB_HELPER_PAYLOAD);
    return was_told(cb_helper_send(h->sock, &head, text, -1), err);
}

/* ---- the blob ---- */

static int note_freed(struct cb_helper_link *h, struct cb_error *err)
{
    uint64_t n = 0;
    if (read(h->freed, &n, sizeof n) != (ssize_t)sizeof n)
        return 0;
    if (n > h->sent - h->taken)
        return cb_helper_no_sense(err);
    h->taken += n;
    return 0;
}

static size_t room(const struct cb_helper_link *h)
{
    size_t free = CB_HELPER_RING - (size_t)(h->sent - h->taken);
    return CB_MIN(free, CB_HELPER_RING - (size_t)(h->sent % CB_HELPER_RING));
}

static void wake(const struct cb_helper_link *h)
{
    const uint64_t one = 1;
    /* EAGAIN: it has been woken more often than it could count. */
    (void)!write(h->filled, &one, sizeof one);
}

static int feed(struct cb_helper_link *h, struct cb_error *err)
{
    size_t want = CB_MIN(room(h), CHUNK), got = 0;
    int r = cb_cancel_check(h->cancel, err);
    if (r == 0)
        r = cb_blob_read_full(h->source, h->bytes + h->sent % CB_HELPER_RING, want, &got, err);
    if (r < 0)
        return r;
    h->sent += got;
    atomic_store_explicit(&h->ring->head, h->sent, memory_order_release);
    if (got < want) {
        h->source_ended = true;
        atomic_store_explicit(&h->ring->ended, 1, memory_order_release);
    }
    wake(h);
    return 0;
}

/* Whether the source has ended is known only when it says so, which is when its digest was checked. */
static bool can_feed(const struct cb_helper_link *h)
{
    return !h->source_ended && room(h) > 0;
}

static int wait_for_helper(struct cb_helper_link *h, int also, struct cb_error *err)
{
    struct pollfd p[] = {
        { .fd = h->sock, .events = POLLIN },
        { .fd = h->freed, .events = POLLIN },
        { .fd = also, .events = POLLIN },
        { .fd = h->cancel ? cb_cancel_fd(h->cancel) : -1, .events = POLLIN },
    };
    if (poll(p, CB_COUNTOF(p), -1) < 0 && errno != EINTR)
        return cb_error_sys(err, CB_ELOCAL, errno, "wait for the process that reads the layer");
    return cb_cancel_check(h->cancel, err);
}

int cb_helper_link_feed(struct cb_helper_link *h, struct cb_error *err)
{
    int r = note_freed(h, err);
    return r == 0 && can_feed(h) && room(h) >= CHUNK ? feed(h, err) : r;
}

int cb_helper_link_step(struct cb_helper_link *h, int also, struct cb_error *err)
{
    int r = note_freed(h, err);
    if (r < 0)
        return r;
    return can_feed(h) ? feed(h, err) : wait_for_helper(h, also, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cbpush's side of a helper: the blob goes in, what comes out is checked. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "image/helper.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"

#define CHUNK ((size_t)128 << 10)
#define MADE_FOR_THAT "what it was given is damaged, or was made for that"
#define ANSWER_SECONDS 30
#define RESULT_MAX (UINT64_C(2) << 30) /* as large as a table may be */

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

struct helper {
    const struct cb_unpack_job *job;
    struct cb_unpack_result *res;
    int sock, life, memory, filled, freed;
    struct cb_helper_ring *ring;
    uint8_t *bytes;
    uint64_t sent, taken;
    bool source_ended, ready, done;
    unsigned held;
    struct cb_strbuf toc;
    uint64_t received; /* bytes of results */
    struct cb_helper_message *m;
};

/* ---- what it takes to start one ---- */

static void helper_done(struct helper *h)
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
static int make_memory(struct helper *h, struct cb_error *err)
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

static int make_sockets(struct helper *h, int theirs[2], struct cb_error *err)
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
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "ask for a process to read the layer in") : 0;
}

static int start(struct helper *h, int server, const struct cb_helper_job *job, struct cb_error *err)
{
    int theirs[2] = { -1, -1 };
    int r = make_memory(h, err);
    if (r == 0)
        r = make_sockets(h, theirs, err);
    if (r == 0) {
        int tree = job->plain ? h->job->plain_fd : h->job->root_fd;
        const int fds[CB_HELPER_FDS] = { theirs[0], theirs[1], h->memory, h->filled, h->freed, tree };
        r = send_job(server, job, fds, tree < 0 ? CB_HELPER_TREE : CB_HELPER_FDS, err);
    }
    cb_close_p(&theirs[0]);
    cb_close_p(&theirs[1]);
    return r;
}

/* ---- its end ---- */

/* After this nothing of it is there: the tree can be trusted to stay as it is. */
static struct cb_helper_end finish(struct helper *h)
{
    struct cb_helper_end end = { .status = SIGKILL };
    ssize_t r;
    (void)shutdown(h->life, SHUT_WR);
    do
        r = recv(h->life, &end, sizeof end, 0);
    while (r < 0 && errno == EINTR);
    return r == (ssize_t)sizeof end ? end : (struct cb_helper_end){ .status = SIGKILL };
}

static int blame(struct cb_helper_end end, struct cb_error *err)
{
    static const char what[] = "the process that reads it";
    int signo = WIFSIGNALED(end.status) ? WTERMSIG(end.status) : 0;
    if (end.fork_errno)
        return cb_error_sys(err, CB_ELOCAL, end.fork_errno, "start a process to read it in");
    if (signo == SIGKILL)
        return cb_error_set(err, CB_ELOCAL, "%s was killed, perhaps for lack of memory", what);
    if (signo == SIGXCPU)
        return cb_error_set(err, CB_EVERIFY, "%s took hours of CPU time and was stopped", what);
    if (signo)
        return cb_error_set(err, CB_EVERIFY, "%s crashed (%s): " MADE_FOR_THAT, what, sigdescr_np(signo));
    return cb_error_set(err, CB_EVERIFY, "%s ended without a result: " MADE_FOR_THAT, what);
}

/* ---- what it says: hostile until shown otherwise ---- */

static int no_sense(struct cb_error *err)
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
    if (err)
        err->sys_errno = m->head.sys_errno;
    return -(int)code;
}

static bool is_path(const struct cb_helper_message *m, bool root_too)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = m->head.n;
    if (n == 0)
        return root_too;
    return n <= CB_MAX_PATH && strlen(m->payload) == n && cb_path_normalize(&normal, m->payload, n) &&
           cb_streq(normal.buf, m->payload);
}

static int answer(struct helper *h, struct cb_helper_head *head, const struct cb_strbuf *text, int fd,
                  struct cb_error *err)
{
    int r = cb_helper_send(h->sock, head, text->buf, fd);
    if (r == 0 && head->code == 0)
        r = cb_helper_send_parts(h->sock, CB_HELPER_PART, text->buf, text->len);
    /* That it is gone shows where its next message should be. */
    return r == 0 || r == -EPIPE || r == -ECONNRESET ? 0 : no_sense(err);
}

static int answer_error(struct helper *h, const struct cb_error *e, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&text, cb_error_text(e));
    struct cb_helper_head head = { .type = CB_HELPER_ANSWER, .code = (int32_t)e->code, .sys_errno = e->sys_errno };
    head.n = (uint32_t)CB_MIN(text.len, (size_t)CB_HELPER_PAYLOAD);
    return answer(h, &head, &text, -1, err);
}

/* A failure to look is told to the helper, which makes of it what it is: maybe nothing. */
static int answer_lower(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_entry *entry = NULL;
    cb_autoclose int fd = -1;
    struct cb_lower *l = h->job->lower;
    if (!l || !is_path(m, false))
        return no_sense(err);
    int r = 0;
    if (m->head.type == CB_HELPER_LOWER_DIR)
        entry = l->ops->dir(l, m->payload);
    else
        r = l->ops->file(l, m->payload, &entry, &fd, &e);
    if (r == -CB_ECANCELED)
        return cb_error_move(err, &e);
    if (r < 0)
        return answer_error(h, &e, err);
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    if (entry && (r = cb_toc_builder_add(b, entry, err)) < 0)
        return r;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_print(&text, t);
    struct cb_helper_head head = { .type = CB_HELPER_ANSWER, .value = text.len };
    return answer(h, &head, &text, fd, err);
}

static int take_device(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    struct cb_unpack_device d = m->head.device;
    if (!is_path(m, false) || (!S_ISCHR(d.mode) && !S_ISBLK(d.mode)) || d.uid == UINT32_MAX || d.gid == UINT32_MAX)
        return no_sense(err);
    cb_unpack_marks_add(&h->res->marks, m->payload, &d);
    return 0;
}

/* The table is checked as one from the disk; the rest is what was promised, or the layer is not taken. */
static int take_done(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    const struct cb_digest *d = &m->head.digest;
    bool good = h->ready && h->source_ended && d->alg == CB_DIGEST_SHA256 && m->head.value <= INT64_MAX;
    if (!good || (cb_digest_is_set(&h->job->diff_id) && !cb_digest_eq(d, &h->job->diff_id)))
        return no_sense(err);
    h->res->diff_id = *d;
    h->res->size = m->head.value;
    h->done = true;
    return h->job->raw ? 0 : cb_toc_parse(&h->res->toc, h->toc.buf, h->toc.len, err);
}

static int take_message(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    if ((h->received += sizeof m->head + m->head.n) > RESULT_MAX)
        return no_sense(err);
    switch ((enum cb_helper_type)m->head.type) {
    case CB_HELPER_READY:
        h->ready = true;
        h->held = (unsigned)m->head.value;
        return 0;
    case CB_HELPER_PROGRESS:
        if (h->job->on_progress)
            h->job->on_progress(h->job->arg, m->head.value);
        return 0;
    case CB_HELPER_LOWER_DIR:
    case CB_HELPER_LOWER_FILE:
        return answer_lower(h, m, err);
    case CB_HELPER_TOC:
        cb_strbuf_add(&h->toc, m->payload, m->head.n);
        return 0;
    case CB_HELPER_OPAQUE:
        if (!is_path(m, true))
            return no_sense(err);
        cb_strvec_push(&h->res->marks.opaque, m->payload);
        return 0;
    case CB_HELPER_DEVICE:
        return take_device(h, m, err);
    case CB_HELPER_DONE:
        return take_done(h, m, err);
    case CB_HELPER_ERROR:
        return take_error(m, err);
    default:
        return no_sense(err);
    }
}

/* 1: it is over. */
static int take_messages(struct helper *h, struct cb_error *err)
{
    while (!h->done) {
        int r = cb_helper_receive(h->sock, h->m, false, CB_HELPER_NO_WAIT);
        if (r == -EAGAIN)
            return 0;
        if (r == -EPROTO)
            return no_sense(err);
        if (r <= 0)
            return 1;
        if ((r = take_message(h, h->m, err)) < 0)
            return r;
    }
    return 1;
}

/* ---- the blob ---- */

static int note_freed(struct helper *h, struct cb_error *err)
{
    uint64_t n = 0;
    if (read(h->freed, &n, sizeof n) != (ssize_t)sizeof n)
        return 0;
    if (n > h->sent - h->taken)
        return no_sense(err);
    h->taken += n;
    return 0;
}

static size_t room(const struct helper *h)
{
    size_t free = CB_HELPER_RING - (size_t)(h->sent - h->taken);
    return CB_MIN(free, CB_HELPER_RING - (size_t)(h->sent % CB_HELPER_RING));
}

static void wake(const struct helper *h)
{
    const uint64_t one = 1;
    /* EAGAIN: it has been woken more often than it could count. */
    (void)!write(h->filled, &one, sizeof one);
}

static int feed(struct helper *h, struct cb_error *err)
{
    size_t want = CB_MIN(room(h), CHUNK), got = 0;
    int r = cb_cancel_check(h->job->cancel, err);
    if (r == 0)
        r = cb_blob_read_full(h->job->source, h->bytes + h->sent % CB_HELPER_RING, want, &got, err);
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
static bool can_feed(const struct helper *h)
{
    return !h->source_ended && room(h) > 0;
}

static int wait_for_helper(struct helper *h, struct cb_error *err)
{
    struct pollfd p[] = {
        { .fd = h->sock, .events = POLLIN },
        { .fd = h->freed, .events = POLLIN },
        { .fd = h->job->cancel ? cb_cancel_fd(h->job->cancel) : -1, .events = POLLIN },
    };
    if (poll(p, CB_COUNTOF(p), -1) < 0 && errno != EINTR)
        return cb_error_sys(err, CB_ELOCAL, errno, "wait for the process that reads the layer");
    return cb_cancel_check(h->job->cancel, err);
}

/* 1: it is over. */
static int converse(struct helper *h, struct cb_error *err)
{
    for (;;) {
        int r = take_messages(h, err);
        if (r != 0 || (r = note_freed(h, err)) < 0)
            return r;
        r = can_feed(h) ? feed(h, err) : wait_for_helper(h, err);
        if (r < 0)
            return r;
    }
}

/* ---- the server ---- */

static struct {
    int sock;
    pid_t pid;
} server = { .sock = -1 };

bool cb_helper_is_there(void)
{
    return server.sock >= 0;
}

static int run(struct helper *h, const struct cb_helper_job *job, struct cb_error *err)
{
    int r = start(h, server.sock, job, err);
    if (r < 0)
        return r;
    r = converse(h, err);
    struct cb_helper_end end = finish(h);
    if (r < 0)
        return r;
    return h->done || (job->trial && h->ready) ? 0 : blame(end, err);
}

int cb_helper_read(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err)
{
    struct helper h CB_CLEANUP(helper_done) = { .job = j, .res = res, .sock = -1, .life = -1, .memory = -1,
                                                .filled = -1, .freed = -1, .toc = CB_STRBUF_INIT };
    struct cb_helper_job job = { .single_id = j->single_id, .raw = j->raw, .progress = j->on_progress != NULL,
                                 .lower = j->lower != NULL, .plain = j->plain_fd > 0,
                                 .diff_id = j->diff_id, .max_size = j->max_size };
    h.m = cb_malloc(sizeof *h.m);
    cb_unpack_marks_init(&res->marks);
    int r = run(&h, &job, err);
    j->source->ops->close(j->source);
    return r;
}

static int no_bytes(CB_UNUSED struct cb_blob_source *s, CB_UNUSED void *buf, CB_UNUSED size_t n, size_t *got,
                    CB_UNUSED struct cb_error *err)
{
    *got = 0;
    return 0;
}

int cb_helpers_try(int root_fd, unsigned *held, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { .read = no_bytes };
    struct cb_blob_source empty = { &ops };
    struct cb_unpack_job j = { .source = &empty, .root_fd = root_fd };
    struct cb_unpack_result res CB_CLEANUP(cb_unpack_result_done) = { 0 };
    struct helper h CB_CLEANUP(helper_done) = { .job = &j, .res = &res, .sock = -1, .life = -1, .memory = -1,
                                                .filled = -1, .freed = -1, .toc = CB_STRBUF_INIT };
    h.m = cb_malloc(sizeof *h.m);
    *held = 0;
    if (!cb_helper_is_there())
        return cb_error_set(err, CB_ELOCAL, "no process could be started");
    cb_unpack_marks_init(&res.marks);
    int r = run(&h, &(struct cb_helper_job){ .trial = true }, err);
    *held = h.held;
    return r;
}

static void wipe(char **v)
{
    for (; v && *v; v++)
        explicit_bzero(*v, strlen(*v));
}

/* Descriptors of whoever started us must not be held open. Standard error stays for sanitizers alone. */
static bool keep_one_fd(int *sock)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), kept = -1;
    bool good = null >= 0;
    for (int i = 0; good && i <= STDERR_FILENO; i++) {
#ifdef CB_SANITIZED
        if (i == STDERR_FILENO)
            break;
#endif
        good = dup2(null, i) == i;
    }
    if (good && cb_fd_lift(sock, NULL) == 0)
        kept = dup3(*sock, STDERR_FILENO + 1, O_CLOEXEC);
    *sock = kept;
    if (kept >= 0 && close_range((unsigned)kept + 1, ~0u, 0) < 0)
        for (int i = kept + 1; i < 1024; i++)
            close(i);
    return kept >= 0;
}

static CB_NORETURN void become_server(int sock, pid_t parent, const struct cb_helper_options *o)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || !keep_one_fd(&sock))
        _exit(0);
    wipe(o->argv);
    wipe(environ);
    prctl(PR_SET_NAME, "cbpush-layers");
    setpgid(0, 0); /* ^C is for cbpush, which then tells. Not setsid(2): schedulers weigh sessions */
    cb_helper_serve(sock, o);
}

void cb_helpers_start(const struct cb_helper_options *o)
{
    int sock[2];
    pid_t parent = getpid();
    if (cb_helper_is_there() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        become_server(sock[1], parent, o);
    close(sock[1]);
    if (pid < 0) {
        close(sock[0]);
        return;
    }
    server.sock = sock[0];
    server.pid = pid;
}

void cb_helpers_stop(void)
{
    if (!cb_helper_is_there())
        return;
    close(CB_TAKE_FD(server.sock));
    while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, and no more than its socket, from before cbpush had opened or read anything. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "image/helper.h"
#include "util/alloc.h"

struct served {
    pid_t pid;
    int life;
    bool killed;
};

struct server {
    const struct cb_helper_options *o;
    int sock, signals;
    struct served *v;
    size_t n, cap;
    struct pollfd *polls;
};

static void tell_end(int life, struct cb_helper_end end)
{
    /* Nobody may be listening any more. */
    (void)!send(life, &end, sizeof end, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(life);
}

static void close_fds(int fds[CB_HELPER_FDS])
{
    for (int i = 0; i < CB_HELPER_FDS; i++)
        cb_close_p(&fds[i]);
}

static void start(struct server *s, const struct cb_helper_job *job, int fds[CB_HELPER_FDS])
{
    cb_helper_warm_up();
    pid_t pid = fork();
    if (pid == 0) {
        close(s->sock);
        close(s->signals);
        for (size_t i = 0; i < s->n; i++)
            close(s->v[i].life);
        cb_close_p(&fds[CB_HELPER_LIFE]);
        cb_helper_main(job, fds, s->o);
    }
    int life = CB_TAKE_FD(fds[CB_HELPER_LIFE]);
    if (pid < 0) {
        tell_end(life, (struct cb_helper_end){ .fork_errno = errno });
        return;
    }
    CB_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = (struct served){ pid, life, false };
}

/* False at the end. */
static bool take_job(struct server *s)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(CB_HELPER_FDS * sizeof(int))];
    } control;
    struct cb_helper_job job;
    struct iovec iov = { &job, sizeof job };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
                        .msg_controllen = sizeof control.buf };
    int fds[CB_HELPER_FDS] = { -1, -1, -1, -1, -1, -1, -1, -1 };
    ssize_t r = recvmsg(s->sock, &m, MSG_CMSG_CLOEXEC);
    if (r < 0 && errno == EINTR)
        return true;
    if (r != (ssize_t)sizeof job)
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(c), CB_MIN(sizeof fds, c->cmsg_len - CMSG_LEN(0)));
    start(s, &job, fds);
    close_fds(fds);
    return true;
}

static void reap(struct server *s)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;
    (void)!read(s->signals, &info, sizeof info);
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < s->n; i++) {
            if (s->v[i].pid != pid)
                continue;
            tell_end(s->v[i].life, (struct cb_helper_end){ .status = status });
            s->v[i] = s->v[--s->n];
            break;
        }
    }
}

static size_t list_polls(struct server *s)
{
    s->polls = cb_reallocarray(s->polls, s->n + 2, sizeof *s->polls);
    s->polls[0] = (struct pollfd){ .fd = s->sock, .events = POLLIN };
    s->polls[1] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
    for (size_t i = 0; i < s->n; i++)
        s->polls[2 + i] = (struct pollfd){ .fd = s->v[i].killed ? -1 : s->v[i].life, .events = POLLIN };
    return s->n + 2;
}

/* Whoever closes his side of a life wants it over. Its end is told when it is there. */
static void kill_unwanted(struct server *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->polls[2 + i].revents)
            continue;
        (void)kill(s->v[i].pid, SIGKILL);
        s->v[i].killed = true;
    }
}

void cb_helper_serve(int sock, const struct cb_helper_options *o)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    struct server s = { .o = o, .sock = sock, .signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK) };
    bool more = s.signals >= 0;
    while (more) {
        size_t n = list_polls(&s);
        if (poll(s.polls, (nfds_t)n, -1) < 0 && errno != EINTR)
            break;
        kill_unwanted(&s);
        /* Before jobs: those change the list. */
        bool job = s.polls[0].revents != 0;
        if (s.polls[1].revents)
            reap(&s);
        if (job)
            more = take_job(&s);
    }
    /* Helpers go by their parent's death. */
    _exit(0);
}

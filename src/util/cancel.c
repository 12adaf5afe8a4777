/* SPDX-License-Identifier: Apache-2.0 */
#include "util/cancel.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "util/alloc.h"
#include "util/timeutil.h"

#define NOT_CANCELED 0
#define CANCELED_WITHOUT_SIGNAL (-1)

#define NS INT64_C(1000000000)

/* A trigger must be safe in a signal handler, so it takes no lock and walks no list of children. Instead a child looks
 * up at its ancestors, and its descriptor is an epoll set of its own eventfd and timer and of all of theirs. */
struct cb_cancel {
    struct cb_cancel *parent;
    atomic_int state; /* one of the above, or the signal's number */
    int eventfd;      /* ours alone */
    int timerfd;      /* -1 where it does not end by itself */
    int epollfd;      /* -1 where there is neither parent nor timer */
    int64_t until;    /* when it ends by itself (monotonic), or INT64_MAX */
};

/* What the handler acts on; handlers get no argument. */
static struct cb_cancel *_Atomic signal_target;

static CB_NORETURN void no_descriptor(void)
{
    cb_out_of("cbpush: out of file descriptors (`ulimit -n`)\n");
}

static void watch(int epollfd, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN };
    if (epoll_ctl(epollfd, EPOLL_CTL_ADD, fd, &ev) < 0)
        no_descriptor();
}

static int start_timer(int64_t until)
{
    struct itimerspec at = { .it_value = { .tv_sec = until / NS, .tv_nsec = until % NS } };
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
        no_descriptor();
    return fd;
}

static struct cb_cancel *make(struct cb_cancel *parent, int64_t until)
{
    struct cb_cancel *c = CB_NEW(struct cb_cancel);
    *c = (struct cb_cancel){ .parent = parent, .timerfd = -1, .epollfd = -1, .until = until };
    c->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->eventfd < 0)
        no_descriptor();
    if (until != INT64_MAX)
        c->timerfd = start_timer(until);
    if (!parent && c->timerfd < 0)
        return c;
    c->epollfd = epoll_create1(EPOLL_CLOEXEC);
    if (c->epollfd < 0)
        no_descriptor();
    /* Each one directly: epoll sets within epoll sets may go only a few levels deep. */
    for (const struct cb_cancel *p = c; p; p = p->parent) {
        watch(c->epollfd, p->eventfd);
        if (p->timerfd >= 0)
            watch(c->epollfd, p->timerfd);
    }
    return c;
}

struct cb_cancel *cb_cancel_new(struct cb_cancel *parent)
{
    return make(parent, INT64_MAX);
}

struct cb_cancel *cb_cancel_new_for(struct cb_cancel *parent, int64_t ns)
{
    return make(parent, cb_time_monotonic() + ns);
}

void cb_cancel_free(struct cb_cancel *c)
{
    if (!c)
        return;
    struct cb_cancel *expected = c;
    atomic_compare_exchange_strong(&signal_target, &expected, NULL);
    cb_close_p(&c->epollfd);
    cb_close_p(&c->timerfd);
    cb_close_p(&c->eventfd);
    free(c);
}

void cb_cancel_trigger(struct cb_cancel *c, int signo)
{
    int saved = errno, expected = NOT_CANCELED;
    if (atomic_compare_exchange_strong(&c->state, &expected, signo > 0 ? signo : CANCELED_WITHOUT_SIGNAL)) {
        uint64_t one = 1;
        /* It cannot fail: the counter goes from 0 to 1, once. */
        ssize_t unused = write(c->eventfd, &one, sizeof one);
        (void)unused;
    }
    errno = saved;
}

bool cb_canceled(const struct cb_cancel *c)
{
    return cb_canceled_below(c, NULL);
}

bool cb_canceled_below(const struct cb_cancel *c, const struct cb_cancel *top)
{
    for (; c && c != top; c = c->parent) {
        if (atomic_load(&c->state) != NOT_CANCELED)
            return true;
        if (c->until != INT64_MAX && cb_time_monotonic() >= c->until)
            return true;
    }
    return false;
}

int cb_cancel_signal(const struct cb_cancel *c)
{
    for (; c; c = c->parent) {
        int state = atomic_load(&c->state);
        if (state > 0)
            return state;
    }
    return 0;
}

int cb_cancel_fd(const struct cb_cancel *c)
{
    return c->epollfd >= 0 ? c->epollfd : c->eventfd;
}

int cb_cancel_check(const struct cb_cancel *c, struct cb_error *err)
{
    return cb_canceled(c) ? cb_error_set(err, CB_ECANCELED, "interrupted") : 0;
}

/* timeout(1) signals its child and then its group, and a terminal's group may be reached twice: that is one Ctrl-C. */
#define SAME_SIGNAL_NS INT64_C(1000000000)
static _Atomic int64_t first_signal;

static atomic_int last_fd;
static const char *_Atomic last_words;

void cb_cancel_last_words(int fd, const char *text)
{
    atomic_store(&last_fd, fd);
    atomic_store(&last_words, text);
}

static void say_last_words(void)
{
    const char *text = atomic_load(&last_words);
    size_t n = 0;
    while (text && text[n])
        n++;
    if (n && write(atomic_load(&last_fd), text, n) < 0)
        return; /* nobody is there */
}

static bool is_impatience(int signo, const struct cb_cancel *c)
{
    return signo == SIGINT && cb_canceled(c) && cb_time_monotonic() - atomic_load(&first_signal) > SAME_SIGNAL_NS;
}

static void on_signal(int signo)
{
    int saved = errno;
    struct cb_cancel *c = atomic_load(&signal_target);
    if (!c || is_impatience(signo, c)) {
        /* Impatience, or nobody is left to listen. The signal is blocked in here and is delivered on return. */
        struct sigaction dfl = { .sa_handler = SIG_DFL };
        say_last_words();
        sigaction(signo, &dfl, NULL);
        raise(signo);
    } else if (!cb_canceled(c)) {
        atomic_store(&first_signal, cb_time_monotonic());
        cb_cancel_trigger(c, signo);
    }
    errno = saved;
}

int cb_cancel_on_signals(struct cb_cancel *c, struct cb_error *err)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    atomic_store(&signal_target, c);
    for (size_t i = 0; i < CB_COUNTOF(signals); i++) {
        struct sigaction old, act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
        sigemptyset(&act.sa_mask);
        if (sigaction(signals[i], NULL, &old) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "read the handler of signal %d", signals[i]);
        /* nohup, or a shell that runs us in the background: they want it ignored. */
        if (old.sa_handler == SIG_IGN)
            continue;
        if (sigaction(signals[i], &act, NULL) < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "handle signal %d", signals[i]);
    }
    return 0;
}

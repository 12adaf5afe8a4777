/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing but a signal to its own thread ends flock(2), and a lock that is asked for again and again is never had where
 * many take turns. So a thread waits that may be left behind: it has a descriptor of its own of the same open file, and
 * gives the lock back if it comes when nobody wants it any more. */
#include "util/lock_wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/thread.h"

#define SLOW_MS 1000

struct waiter {
    atomic_int users;
    int fd, done; /* done: readable once `error` is known */
    int how, error;
};

static void drop(struct waiter *w)
{
    if (atomic_fetch_sub(&w->users, 1) > 1)
        return;
    cb_close_p(&w->fd);
    cb_close_p(&w->done);
    free(w);
}

static int take(int fd, int how)
{
    int r;
    do
        r = flock(fd, how);
    while (r < 0 && errno == EINTR);
    return r < 0 ? errno : 0;
}

static void *waiter_main(void *arg)
{
    struct waiter *w = arg;
    w->error = take(w->fd, w->how);
    cb_close_p(&w->fd);
    uint64_t one = 1;
    (void)!write(w->done, &one, sizeof one);
    drop(w);
    return NULL;
}

static struct waiter *waiter_new(int fd, int how, struct cb_error *err)
{
    struct waiter *w = CB_NEW(struct waiter);
    *w = (struct waiter){ .users = 2, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .done = eventfd(0, EFD_CLOEXEC),
                          .how = how };
    pthread_t thread;
    int r = w->fd < 0 || w->done < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "wait for a lock")
                                     : cb_thread_start(&thread, "lock", waiter_main, w, err);
    if (r == 0) {
        pthread_detach(thread);
        return w;
    }
    atomic_store(&w->users, 1);
    drop(w);
    return NULL;
}

/* 1: the waiter has done, 0: the token was triggered. */
static int wait_for(const struct waiter *w, const struct cb_lock_wait *o)
{
    struct pollfd p[2] = { { .fd = w->done, .events = POLLIN },
                           { .fd = o->cancel ? cb_cancel_fd(o->cancel) : -1, .events = POLLIN } };
    bool told = !o->slow;
    for (;;) {
        int n = poll(p, 2, told ? -1 : SLOW_MS);
        if (p[0].revents)
            return 1;
        if (n > 0 && p[1].revents)
            return 0;
        if (n == 0) {
            told = true;
            o->slow(o->slow_arg);
        }
    }
}

int cb_lock_wait(int fd, bool exclusive, const struct cb_lock_wait *o, struct cb_error *err)
{
    int how = exclusive ? LOCK_EX : LOCK_SH;
    int e = take(fd, how | LOCK_NB);
    if (e != EWOULDBLOCK)
        return e ? cb_error_sys(err, CB_ELOCAL, e, "lock") : 0;
    struct waiter *w = waiter_new(fd, how, err);
    if (!w)
        return -CB_ELOCAL;
    int r;
    if (!wait_for(w, o))
        r = cb_cancel_check(o->cancel, err);
    else
        r = w->error ? cb_error_sys(err, CB_ELOCAL, w->error, "lock") : 0;
    drop(w);
    return r;
}

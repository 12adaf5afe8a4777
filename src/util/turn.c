/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/turn.h"

struct cb_turn_waiter {
    struct cb_turn_waiter *next;
    int fd;
    bool mine; /* it was handed over */
};

void cb_turn_init(struct cb_turn *t)
{
    *t = (struct cb_turn){ 0 };
    pthread_mutex_init(&t->mu, NULL);
}

void cb_turn_done(struct cb_turn *t)
{
    pthread_mutex_destroy(&t->mu);
}

/* Whether it is ours; else w (or NULL) is the last of those who wait. */
static bool take_or_queue(struct cb_turn *t, struct cb_turn_waiter *w)
{
    pthread_mutex_lock(&t->mu);
    bool is_free = !t->taken;
    if (!is_free && w) {
        struct cb_turn_waiter **end = &t->first;
        while (*end)
            end = &(*end)->next;
        *end = w;
    }
    t->taken = true;
    pthread_mutex_unlock(&t->mu);
    return is_free;
}

/* Whether it was ours by now. */
static bool leave(struct cb_turn *t, struct cb_turn_waiter *w)
{
    pthread_mutex_lock(&t->mu);
    for (struct cb_turn_waiter **p = &t->first; *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            break;
        }
    bool mine = w->mine;
    pthread_mutex_unlock(&t->mu);
    return mine;
}

int cb_turn_take(struct cb_turn *t, const struct cb_cancel *c, struct cb_error *err)
{
    if (take_or_queue(t, NULL))
        return 0;
    struct cb_turn_waiter w = { .fd = eventfd(0, EFD_CLOEXEC) };
    if (w.fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "wait for another thread");
    struct pollfd p[] = { { .fd = w.fd, .events = POLLIN },
                          { .fd = c ? cb_cancel_fd(c) : -1, .events = POLLIN } };
    bool mine = take_or_queue(t, &w);
    while (!mine && !p[0].revents && !cb_canceled(c))
        (void)poll(p, CB_COUNTOF(p), -1);
    mine = mine || leave(t, &w);
    close(w.fd);
    return mine ? 0 : cb_cancel_check(c, err);
}

/* Told under the lock: w is gone as soon as its thread knows. */
void cb_turn_give(struct cb_turn *t)
{
    uint64_t one = 1;
    pthread_mutex_lock(&t->mu);
    struct cb_turn_waiter *w = t->first;
    t->taken = w != NULL;
    if (w) {
        t->first = w->next;
        w->mine = true;
        ssize_t unused = write(w->fd, &one, sizeof one);
        (void)unused;
    }
    pthread_mutex_unlock(&t->mu);
}

size_t cb_turn_waiting(struct cb_turn *t)
{
    size_t n = 0;
    pthread_mutex_lock(&t->mu);
    for (const struct cb_turn_waiter *w = t->first; w; w = w->next)
        n++;
    pthread_mutex_unlock(&t->mu);
    return n;
}

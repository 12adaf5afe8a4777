/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/relay.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "util/fd.h"

static void end(struct cb_relay *r)
{
    if (r->ours && *r->ours >= 0)
        close(CB_TAKE_FD(*r->ours));
    r->from = r->to = -1;
    r->at = r->n = 0;
}

static bool pending(const struct cb_relay *r)
{
    return r->at < r->n;
}

void cb_relay_poll(const struct cb_relay *r, struct pollfd *p)
{
    *p = pending(r) ? (struct pollfd){ r->to, POLLOUT, 0 } : (struct pollfd){ r->from, POLLIN, 0 };
}

/* False: there is nothing now. */
static bool take(struct cb_relay *r)
{
    ssize_t n = read(r->from, r->buf, sizeof r->buf);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        end(r);
        return false;
    }
    r->at = 0;
    r->n = (size_t)n;
    return true;
}

/* As much as a pipe that is ready takes without waiting. */
static int give(struct cb_relay *r, struct cb_error *err)
{
    ssize_t n = write(r->to, r->buf + r->at, CB_MIN(r->n - r->at, (size_t)PIPE_BUF));
    if (n >= 0) {
        r->at += (size_t)n;
        return 0;
    }
    int e = errno;
    if (e == EAGAIN || e == EINTR)
        return 0;
    end(r);
    return r->quiet || e == EPIPE || e == ECONNRESET ? 0 : cb_error_sys(err, CB_ELOCAL, e, "write the output");
}

int cb_relay_serve(struct cb_relay *r, short revents, struct cb_error *err)
{
    if (!revents)
        return 0;
    if (pending(r))
        return give(r, err);
    take(r);
    return 0;
}

int cb_relay_finish(struct cb_relay *r, const struct cb_cancel *cancel, struct cb_error *err)
{
    int failed = 0;
    while (failed == 0 && r->to >= 0 && (pending(r) || take(r))) {
        struct pollfd p[2] = { { r->to, POLLOUT, 0 }, { cancel ? cb_cancel_fd(cancel) : -1, POLLIN, 0 } };
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            failed = cb_error_sys(err, CB_ELOCAL, errno, "poll");
        else if (p[0].revents)
            failed = give(r, err);
        else if (p[1].revents)
            break;
    }
    end(r);
    return failed;
}

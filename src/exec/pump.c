/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/pty.h"
#include "exec/relay.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/timeutil.h"

#define GRACE_NS (INT64_C(9) * 1000000000) /* from TERM to KILL: all is over within ten seconds */
#define MAX_DRAIN_READS 1024               /* what is left in two pipes at the end is far less */

struct pump {
    struct cb_sandbox *sb;
    const struct cb_exec_spec *spec;
    struct cb_pump_result *res;
    struct cb_pty_copy tty;
    struct cb_relay *relays; /* of 0, 1, 2; NULL: there are none */
    int64_t kill_at; /* 0: not cancelled */
    size_t report_len;
    char buf[64 << 10];
};

static void deliver(struct pump *p, int stream, const char *buf, size_t n)
{
    if (p->spec->on_output)
        p->spec->on_output(p->spec->on_output_arg, stream, buf, n);
}

/* One read of stdout (0) or stderr (1); false when there is nothing (more). */
static bool read_output(struct pump *p, int i)
{
    int *fd = &p->sb->out_read[i];
    ssize_t n = *fd < 0 ? 0 : read(*fd, p->buf, sizeof p->buf);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n > 0) {
        deliver(p, i + 1, p->buf, (size_t)n);
        return true;
    }
    if (*fd >= 0)
        close(CB_TAKE_FD(*fd));
    return false;
}

static void read_report(struct pump *p)
{
    int *fd = &p->sb->report_read;
    char *to = (char *)&p->res->report;
    ssize_t n = read(*fd, to + p->report_len, sizeof p->res->report - p->report_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        p->report_len += (size_t)n;
    p->res->failed = p->report_len == sizeof p->res->report;
    if (n <= 0 || p->res->failed)
        close(CB_TAKE_FD(*fd));
}

static void signal_init(const struct pump *p, int signo)
{
    syscall(SYS_pidfd_send_signal, p->sb->pidfd, signo, NULL, 0);
}

static void on_cancel(struct pump *p)
{
    int signo = p->spec->pass_signal ? cb_cancel_signal(p->spec->cancel) : 0;
    p->res->canceled = true;
    p->kill_at = cb_time_monotonic() + GRACE_NS;
    signal_init(p, signo ? signo : SIGTERM);
}

static int next_timeout(struct pump *p)
{
    int timeout = p->sb->master >= 0 ? CB_PTY_RESIZE_MS : -1;
    if (p->kill_at == 0)
        return timeout;
    int64_t left = (p->kill_at - cb_time_monotonic()) / 1000000 + 1;
    if (left <= 0) {
        signal_init(p, p->sb->ops->kill_signal);
        return 1000;
    }
    return timeout < 0 || left < timeout ? (int)left : timeout;
}

static void begin_relays(struct pump *p)
{
    struct cb_sandbox *sb = p->sb;
    const struct cb_exec_spec *spec = p->spec;
    if (!spec->relay || spec->tty)
        return;
    p->relays = cb_calloc(3, sizeof *p->relays);
    p->relays[0] = (struct cb_relay){ .from = sb->in_write < 0 ? -1 : spec->stdin_fd, .to = sb->in_write,
                                      .ours = &sb->in_write, .quiet = true };
    p->relays[1] = (struct cb_relay){ .from = sb->out_read[0], .to = spec->stdout_fd, .ours = &sb->out_read[0] };
    p->relays[2] = (struct cb_relay){ .from = sb->out_read[1], .to = spec->stderr_fd, .ours = &sb->out_read[1] };
}

static int finish_relays(struct pump *p, struct cb_error *err)
{
    int r = 0;
    for (int i = 1; p->relays && i < 3; i++) {
        int e = cb_relay_finish(&p->relays[i], p->spec->cancel, r < 0 ? NULL : err);
        r = r < 0 ? r : e;
    }
    free(CB_TAKE(p->relays));
    return r;
}

enum { AT_PIDFD, AT_OUT, AT_ERR, AT_REPORT, AT_CANCEL, AT_MASTER, AT_STDIN, N_POLL };

static void fill(const struct pump *p, struct pollfd fds[static N_POLL])
{
    const struct cb_sandbox *sb = p->sb;
    bool cancelable = p->spec->cancel && p->kill_at == 0;
    fds[AT_PIDFD] = (struct pollfd){ sb->pidfd, POLLIN, 0 };
    fds[AT_OUT] = (struct pollfd){ sb->out_read[0], POLLIN, 0 };
    fds[AT_ERR] = (struct pollfd){ sb->out_read[1], POLLIN, 0 };
    fds[AT_REPORT] = (struct pollfd){ sb->report_read, POLLIN, 0 };
    fds[AT_CANCEL] = (struct pollfd){ cancelable ? cb_cancel_fd(p->spec->cancel) : -1, POLLIN, 0 };
    cb_pty_poll(&p->tty, &fds[AT_MASTER], &fds[AT_STDIN]);
    if (!p->relays)
        return;
    cb_relay_poll(&p->relays[0], &fds[AT_STDIN]);
    cb_relay_poll(&p->relays[1], &fds[AT_OUT]);
    cb_relay_poll(&p->relays[2], &fds[AT_ERR]);
}

static int serve_relays(struct pump *p, const struct pollfd fds[static N_POLL], struct cb_error *err)
{
    int r = cb_relay_serve(&p->relays[0], fds[AT_STDIN].revents, err);
    if (r == 0)
        r = cb_relay_serve(&p->relays[1], fds[AT_OUT].revents, err);
    return r < 0 ? r : cb_relay_serve(&p->relays[2], fds[AT_ERR].revents, err);
}

static int serve(struct pump *p, const struct pollfd fds[static N_POLL], struct cb_error *err)
{
    if (!p->relays && fds[AT_OUT].revents)
        read_output(p, 0);
    if (!p->relays && fds[AT_ERR].revents)
        read_output(p, 1);
    if (fds[AT_REPORT].revents)
        read_report(p);
    if (fds[AT_CANCEL].revents)
        on_cancel(p);
    if (p->relays)
        return serve_relays(p, fds, err);
    return cb_pty_serve(&p->tty, fds[AT_MASTER].revents, fds[AT_STDIN].revents, err);
}

static void drain(struct pump *p)
{
    for (int i = 0; i < 2 && !p->relays; i++) {
        for (int n = 0; n < MAX_DRAIN_READS && read_output(p, i); n++)
            ;
    }
    if (p->sb->report_read >= 0)
        read_report(p);
    cb_pty_drain(&p->tty);
}

static int loop(struct pump *p, struct cb_error *err)
{
    struct pollfd fds[N_POLL];
    int failed = 0;
    for (;;) {
        fill(p, fds);
        if (poll(fds, N_POLL, next_timeout(p)) < 0) {
            if (errno == EINTR)
                continue;
            failed = cb_error_sys(err, CB_ELOCAL, errno, "poll");
            signal_init(p, p->sb->ops->kill_signal);
            return failed;
        }
        int r = failed == 0 ? serve(p, fds, err) : 0;
        if (r < 0) {
            failed = r;
            signal_init(p, p->sb->ops->kill_signal);
        }
        if (fds[AT_PIDFD].revents)
            return failed;
    }
}

static int collect(struct pump *p, struct cb_error *err)
{
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)p->sb->pidfd, &info, WEXITED) < 0) {
        if (errno != EINTR)
            return cb_error_sys(err, CB_ELOCAL, errno, "wait for the step");
    }
    p->res->status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return 0;
}

int cb_pump_run(struct cb_sandbox *sb, struct cb_pump_result *res, struct cb_error *err)
{
    struct pump p = { .sb = sb, .spec = sb->spec, .res = res };
    *res = (struct cb_pump_result){ 0 };
    cb_pty_begin(&p.tty, sb);
    begin_relays(&p);
    int r = loop(&p, err);
    int w = collect(&p, r < 0 ? NULL : err);
    drain(&p);
    r = r < 0 ? r : w;
    w = finish_relays(&p, r < 0 ? NULL : err);
    cb_pty_end(&p.tty);
    return r < 0 ? r : w;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/fd.h"

#define MAX_DRAIN_READS 1024

/* From the step's devpts, so that its name in there is right. */
int cb_pty_open(struct cb_sandbox *sb, struct cb_error *err)
{
    int unlock = 0;
    if (!sb->spec->tty)
        return 0;
    sb->master = openat(sb->dev, "pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (sb->master < 0 || ioctl(sb->master, TIOCSPTLCK, &unlock) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open a terminal");
    int slave = ioctl(sb->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open a terminal");
    for (int i = 0; i < 3; i++)
        sb->child.std[i] = slave;
    sb->child.own_std[0] = true;
    return 0;
}

static void pass_size(struct cb_pty_copy *c)
{
    const struct cb_exec_spec *spec = c->sb->spec;
    struct winsize ws;
    int fd = spec->stdin_fd >= 0 ? spec->stdin_fd : spec->stdout_fd;
    if (fd < 0 || ioctl(fd, TIOCGWINSZ, &ws) < 0 || (ws.ws_row == c->rows && ws.ws_col == c->columns))
        return;
    c->rows = ws.ws_row;
    c->columns = ws.ws_col;
    ioctl(c->sb->master, TIOCSWINSZ, &ws); /* the kernel sends SIGWINCH */
}

void cb_pty_begin(struct cb_pty_copy *c, struct cb_sandbox *sb)
{
    if (!sb->spec->tty)
        return;
    c->sb = sb;
    c->input = sb->spec->stdin_fd;
    pass_size(c);
    if (c->input < 0 || tcgetattr(c->input, &c->saved) < 0)
        return;
    struct termios raw = c->saved;
    cfmakeraw(&raw);
    c->raw = tcsetattr(c->input, TCSANOW, &raw) == 0;
}

void cb_pty_end(struct cb_pty_copy *c)
{
    if (c->sb && c->raw)
        tcsetattr(c->sb->spec->stdin_fd, TCSADRAIN, &c->saved);
    c->raw = false;
}

void cb_pty_poll(const struct cb_pty_copy *c, struct pollfd *master, struct pollfd *input)
{
    bool pending = c->from < c->to;
    short want = (short)(POLLIN | (pending ? POLLOUT : 0));
    *master = (struct pollfd){ c->sb ? c->sb->master : -1, want, 0 };
    *input = (struct pollfd){ c->sb && !pending ? c->input : -1, POLLIN, 0 };
}

static int write_out(struct cb_pty_copy *c, const char *buf, size_t n, struct cb_error *err)
{
    const struct cb_exec_spec *spec = c->sb->spec;
    if (spec->stdout_fd >= 0)
        return cb_fd_write_all(spec->stdout_fd, buf, n, err);
    if (spec->on_output)
        spec->on_output(spec->on_output_arg, 1, buf, n);
    return 0;
}

static void hang_up(struct cb_pty_copy *c)
{
    if (c->sb->master >= 0)
        close(CB_TAKE_FD(c->sb->master));
}

/* 1: something was copied; 0: nothing there. Where nobody reads it any more the terminal is gone, and the step is
 * told. */
static int from_master(struct cb_pty_copy *c, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    char buf[4096];
    ssize_t n = c->sb->master < 0 ? 0 : read(c->sb->master, buf, sizeof buf);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    bool over = n <= 0; /* EIO: nobody has the other side open any more */
    int r = over ? 0 : write_out(c, buf, (size_t)n, &e);
    if (over || (r < 0 && e.sys_errno == EPIPE)) {
        hang_up(c);
        return 0;
    }
    return r < 0 ? cb_error_move(err, &e) : 1;
}

static void to_master(struct cb_pty_copy *c)
{
    ssize_t n = write(c->sb->master, c->pending + c->from, c->to - c->from);
    if (n > 0)
        c->from += (size_t)n;
}

static void from_input(struct cb_pty_copy *c)
{
    ssize_t n = read(c->input, c->pending, sizeof c->pending);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->from = 0;
    c->to = n > 0 ? (size_t)n : 1;
    if (n <= 0) {
        c->pending[0] = 4; /* end of file, as a terminal says it */
        c->input = -1;
    }
}

int cb_pty_serve(struct cb_pty_copy *c, short master, short input, struct cb_error *err)
{
    if (!c->sb || c->sb->master < 0)
        return 0;
    pass_size(c);
    if (input)
        from_input(c);
    if ((master & POLLOUT) && c->from < c->to)
        to_master(c);
    int r = master & (POLLIN | POLLHUP | POLLERR) ? from_master(c, err) : 0;
    return r < 0 ? r : 0;
}

void cb_pty_drain(struct cb_pty_copy *c)
{
    for (int i = 0; c->sb && i < MAX_DRAIN_READS && from_master(c, NULL) > 0; i++)
        ;
}

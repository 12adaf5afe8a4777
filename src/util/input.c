/* SPDX-License-Identifier: Apache-2.0 */
#include "util/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"

#define CHUNK ((size_t)256 << 10)

static int wait_for(const struct cb_input *in, struct cb_error *err)
{
    struct pollfd p[] = { { .fd = in->fd, .events = POLLIN },
                          { .fd = in->cancel ? cb_cancel_fd(in->cancel) : -1, .events = POLLIN } };
    for (;;) {
        int r = cb_cancel_check(in->cancel, err);
        if (r < 0)
            return r;
        if (poll(p, CB_COUNTOF(p), -1) < 0 && errno != EINTR)
            return cb_error_sys(err, CB_ELOCAL, errno, "poll");
        if (p[0].revents)
            return 0;
    }
}

int cb_input_read(const struct cb_input *in, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    for (;;) {
        int s = wait_for(in, err);
        if (s < 0)
            return s;
        ssize_t r = read(in->fd, buf, CB_MIN(n, CHUNK));
        if (r >= 0) {
            *got = (size_t)r;
            return 0;
        }
        /* EAGAIN: whoever shares the descriptor made it non-blocking, and was faster. */
        if (errno != EINTR && errno != EAGAIN)
            return cb_error_sys(err, CB_ELOCAL, errno, "read");
    }
}

int cb_input_slurp(const struct cb_input *in, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    size_t before = out->len, got = 1;
    while (got) {
        cb_strbuf_reserve(out, CHUNK);
        int r = cb_input_read(in, out->buf + out->len, CHUNK, &got, err);
        if (r < 0)
            return r;
        cb_strbuf_setlen(out, out->len + got);
        if (out->len - before > max) {
            cb_strbuf_setlen(out, before);
            return cb_error_set(err, CB_EVERIFY, "longer than %zu bytes", max);
        }
    }
    return 0;
}

int cb_input_slurp_path(const char *path, const struct cb_cancel *cancel, size_t max, struct cb_strbuf *out,
                        struct cb_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        return cb_file_slurp(path, max, out, err);
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
    struct cb_input in = { fd, cancel };
    int r = cb_input_slurp(&in, max, out, err);
    return r < 0 ? cb_error_wrap(err, "%s", path) : 0;
}

int cb_input_copy(const struct cb_input *in, int to, uint64_t n, uint64_t *copied, struct cb_error *err)
{
    struct stat st;
    *copied = 0;
    if (fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode))
        return cb_fd_copy(in->fd, to, n, copied, err);
    cb_autofree char *buf = cb_malloc(CHUNK);
    for (size_t got = 1; got && *copied < n; *copied += got) {
        int r = cb_input_read(in, buf, (size_t)CB_MIN(n - *copied, (uint64_t)CHUNK), &got, err);
        if (r == 0)
            r = cb_fd_write_all(to, buf, got, err);
        if (r < 0)
            return r;
    }
    return 0;
}

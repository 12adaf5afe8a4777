/* SPDX-License-Identifier: Apache-2.0 */
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "util/alloc.h"

#define COPY_CHUNK ((size_t)1 << 30)
#define COPY_BUFFER ((size_t)256 << 10)

void cb_close_p(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    *fd = -1; /* closed again, it would be another thread's */
    errno = saved;
}

int cb_fd_write_all(int fd, const void *buf, size_t n, struct cb_error *err)
{
    const char *p = buf;
    while (n > 0) {
        ssize_t w = write(fd, p, CB_MIN(n, COPY_CHUNK));
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "write");
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int cb_fd_read_full(int fd, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    while (*got < n) {
        ssize_t r = read(fd, (char *)buf + *got, CB_MIN(n - *got, COPY_CHUNK));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "read");
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return 0;
}

int cb_fd_pread_full(int fd, void *buf, size_t n, uint64_t off, size_t *got, struct cb_error *err)
{
    *got = 0;
    if (off > INT64_MAX || n > (uint64_t)INT64_MAX - off)
        return cb_error_sys(err, CB_ELOCAL, EOVERFLOW, "read at offset %llu", (unsigned long long)off);
    while (*got < n) {
        ssize_t r = pread(fd, (char *)buf + *got, CB_MIN(n - *got, COPY_CHUNK), (off_t)(off + *got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "read at offset %llu", (unsigned long long)off);
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return 0;
}

int cb_fd_slurp(int fd, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    size_t before = out->len;
    for (;;) {
        size_t have = out->len - before;
        /* One byte past max shows that there is more. */
        size_t want = CB_MIN(max - have, (size_t)64 << 10) + (max - have < SIZE_MAX ? 1 : 0);
        cb_strbuf_reserve(out, want);
        size_t got;
        int r = cb_fd_read_full(fd, out->buf + out->len, want, &got, err);
        if (r < 0)
            return r;
        cb_strbuf_setlen(out, out->len + got);
        if (got > max - have) {
            cb_strbuf_setlen(out, before);
            return cb_error_set(err, CB_EVERIFY, "longer than %zu bytes", max);
        }
        if (got < want)
            return 0;
    }
}

int cb_file_slurp(const char *path, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR;
        return cb_error_sys(err, absent ? CB_ENOTFOUND : CB_ELOCAL, errno, "open %s", path);
    }
    struct stat st;
    if (fstat(fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return cb_error_set(err, CB_ELOCAL, "%s is not a regular file", path);
    int r = cb_fd_slurp(fd, max, out, err);
    if (r < 0)
        (void)cb_error_wrap(err, "%s", path);
    return r;
}

static bool kernel_cannot(int e)
{
    return e == EXDEV || e == EINVAL || e == ENOSYS || e == EOPNOTSUPP || e == EBADF || e == EPERM || e == ETXTBSY ||
           e == EISDIR;
}

static ssize_t step_copy_range(int in, int out, size_t n)
{
    return copy_file_range(in, NULL, out, NULL, n, 0);
}

static ssize_t step_sendfile(int in, int out, size_t n)
{
    return sendfile(out, in, NULL, n);
}

/* Moves what this way can move. That nothing came is not believed to be the end of the file: files of /proc give
 * nothing to copy_file_range. So the plain loop always has the last word. Returns 0 or a negative errno. */
static int copy_by(ssize_t (*step)(int, int, size_t), int fds[2], uint64_t n, uint64_t *copied)
{
    while (*copied < n) {
        ssize_t r = step(fds[0], fds[1], (size_t)CB_MIN(n - *copied, (uint64_t)COPY_CHUNK));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return kernel_cannot(errno) ? 0 : -errno;
        if (r == 0)
            return 0;
        *copied += (uint64_t)r;
    }
    return 0;
}

static int copy_plain(int fds[2], uint64_t n, uint64_t *copied, struct cb_error *err)
{
    if (*copied >= n)
        return 0;
    cb_autofree char *buf = cb_malloc(COPY_BUFFER);
    while (*copied < n) {
        ssize_t got = read(fds[0], buf, (size_t)CB_MIN(n - *copied, (uint64_t)COPY_BUFFER));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "copy: read");
        if (got == 0)
            return 0;
        int r = cb_fd_write_all(fds[1], buf, (size_t)got, err);
        if (r < 0)
            return r;
        *copied += (uint64_t)got;
    }
    return 0;
}

int cb_fd_copy(int in, int out, uint64_t n, uint64_t *copied, struct cb_error *err)
{
    int fds[2] = { in, out };
    *copied = 0;
    int e = copy_by(step_copy_range, fds, n, copied);
    if (e == 0)
        e = copy_by(step_sendfile, fds, n, copied);
    if (e < 0)
        return cb_error_sys(err, CB_ELOCAL, -e, "copy");
    return copy_plain(fds, n, copied, err);
}

int cb_fd_sync(int fd, struct cb_error *err)
{
    int r;
    do
        r = fdatasync(fd);
    while (r < 0 && errno == EINTR);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "write to disk") : 0;
}

int cb_pipe(int fds[2], struct cb_error *err)
{
    if (pipe2(fds, O_CLOEXEC) < 0) {
        fds[0] = fds[1] = -1;
        return cb_error_sys(err, CB_ELOCAL, errno, "pipe");
    }
    return 0;
}

int cb_fd_lift(int *fd, struct cb_error *err)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, 4);
    if (high < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    cb_close_p(fd);
    *fd = high;
    return 0;
}

void cb_fd_raise_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur >= lim.rlim_max)
        return;
    lim.rlim_cur = lim.rlim_max;
    /* Where it is refused the old limit stays, and EMFILE will say so. */
    (void)setrlimit(RLIMIT_NOFILE, &lim);
}

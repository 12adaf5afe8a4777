/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/notify_private.h"
#include "exec/sandbox.h"
#include "util/alloc.h"

#define STATUS_MAX 8192
#define PAGE 4096u

/* ---- the thread that waits ---- */

bool cb_notify_valid(const struct cb_notifier *n, const struct cb_notify_call *c)
{
    uint64_t id = c->id;
    return ioctl(n->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static bool read_proc(const struct cb_notifier *n, const char *tid, const char *what, char *buf, size_t size)
{
    char name[48];
    snprintf(name, sizeof name, "%s/%s", tid, what);
    cb_autoclose int fd = openat(n->proc, name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, buf, size - 1);
    buf[got > 0 ? got : 0] = '\0';
    return got > 0;
}

bool cb_notify_status(const struct cb_notifier *n, pid_t tid, const char *field, int base, uint64_t *out)
{
    char text[STATUS_MAX], name[16], line[32];
    snprintf(name, sizeof name, "%d", tid);
    snprintf(line, sizeof line, "\n%s", field);
    const char *p = read_proc(n, name, "status", text, sizeof text) ? strstr(text, line) : NULL;
    if (!p)
        return false;
    *out = strtoull(p + strlen(line), NULL, base);
    return true;
}

/* Field 22 of stat; the second may hold anything. */
bool cb_notify_start(const struct cb_notifier *n, const char *tid, uint64_t *out)
{
    char text[STATUS_MAX];
    const char *p = read_proc(n, tid, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    *out = p ? strtoull(p, NULL, 10) : 0;
    return p != NULL;
}

static int transfer(pid_t tid, uint64_t at, void *buf, size_t n, bool write)
{
    struct iovec here = { buf, n }, there = { (void *)(uintptr_t)at, n }; /* NOLINT: an address of the other process */
    ssize_t got = write ? process_vm_writev(tid, &here, 1, &there, 1, 0)
                        : process_vm_readv(tid, &here, 1, &there, 1, 0);
    return got < 0 ? errno : (size_t)got == n ? 0 : EFAULT;
}

int cb_notify_read(pid_t tid, uint64_t at, void *buf, size_t n)
{
    return transfer(tid, at, buf, n, false);
}

int cb_notify_write(pid_t tid, uint64_t at, const void *buf, size_t n)
{
    return transfer(tid, at, (void *)(uintptr_t)buf, n, true); /* NOLINT: only read */
}

int cb_notify_read_text(pid_t tid, uint64_t at, char *buf, size_t size)
{
    for (size_t have = 0; have < size;) {
        size_t n = CB_MIN(size - have, PAGE - (size_t)((at + have) % PAGE));
        int r = cb_notify_read(tid, at + have, buf + have, n);
        if (r)
            return r;
        if (memchr(buf + have, '\0', n))
            return 0;
        have += n;
    }
    return ENAMETOOLONG;
}

/* ---- before ---- */

int cb_notify_prepare(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_exec_spec *spec = sb->spec;
    const struct sock_fprog *filter = spec->id_mode == CB_ID_SINGLE ? cb_notify_filter() : NULL;
    if (!filter)
        return 0;
    struct cb_notifier *n = sb->notifier = CB_NEW(struct cb_notifier);
    *n = (struct cb_notifier){ .pair = { -1, -1 }, .listener = -1, .root = sb->root, .upper = spec->root.upper_fd,
                               .owners = spec->owners, .ids = cb_hashmap_new() };
    n->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (n->proc < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "/proc");
    int r = cb_mnt_id(sb->root, &n->root_mount);
    if (r < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, n->pair) < 0)
        return cb_error_sys(err, CB_ELOCAL, r < 0 ? -r : errno, "prepare for the step's changes of owners");
    sb->child.notify = filter;
    sb->child.keep[0] = n->pair[1];
    return 0;
}

void cb_notify_done(struct cb_sandbox *sb)
{
    struct cb_notifier *n = CB_TAKE(sb->notifier);
    if (!n)
        return;
    cb_close_p(&n->pair[0]);
    cb_close_p(&n->pair[1]);
    cb_close_p(&n->listener);
    cb_close_p(&n->proc);
    cb_notify_ids_free(n->ids);
    free(n);
}

/* ---- while it runs ---- */

static int receive_listener(int from)
{
    char byte;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } u = { 0 };
    struct iovec iov = { &byte, 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof u.room };
    int fd = -1;
    ssize_t got = recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    const struct cmsghdr *c = got == 1 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* Until fd has something to say; false: the step is over. */
static bool wait_for(const struct cb_sandbox *sb, int fd)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = sb->pidfd, .events = POLLIN } };
    while (poll(p, 2, -1) < 0)
        if (errno != EINTR)
            return false;
    return (p[0].revents & POLLIN) && !p[1].revents;
}

static void serve_one(struct cb_notifier *n, const struct seccomp_notif *q)
{
    struct cb_notify_call c = { .id = q->id, .tid = (pid_t)q->pid, .args = (const uint64_t *)q->data.args };
    struct cb_notify_reply r = { 0 };
    const struct cb_notify_row *row = cb_notify_find(&q->data, &c.narrow);
    if (row) {
        c.arg = row->arg;
        row->fn(n, &c, &r);
    } else {
        r.kernel = true;
    }
    union {
        struct seccomp_notif_resp r;
        char room[256];
    } a = { 0 };
    a.r.id = q->id;
    a.r.val = r.error || r.kernel ? 0 : r.value;
    a.r.error = -r.error;
    a.r.flags = r.kernel ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    ioctl(n->listener, SECCOMP_IOCTL_NOTIF_SEND, &a.r); /* the thread may be gone */
}

void cb_notify_serve(struct cb_sandbox *sb)
{
    struct cb_notifier *n = sb->notifier;
    if (!n)
        return;
    close(CB_TAKE_FD(n->pair[1])); /* the child's copy is the last: its end is seen */
    if (!wait_for(sb, n->pair[0]))
        return;
    n->listener = receive_listener(n->pair[0]);
    if (n->listener < 0)
        return;
    while (wait_for(sb, n->listener)) {
        union {
            struct seccomp_notif q;
            char room[256]; /* kernels to come */
        } u = { 0 };
        if (ioctl(n->listener, SECCOMP_IOCTL_NOTIF_RECV, &u.q) == 0)
            serve_one(n, &u.q);
        else if (errno != EINTR && errno != ENOENT)
            return;
    }
}

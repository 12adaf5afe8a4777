/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "image/helper.h"

int cb_helper_send(int sock, struct cb_helper_head *h, const void *payload, int fd)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int))];
    } control = { .buf = { 0 } };
    struct iovec iov[2] = { { h, sizeof *h }, { (void *)(uintptr_t)payload, h->n } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = h->n ? 2 : 1 };
    if (fd >= 0) {
        m.msg_control = control.buf;
        m.msg_controllen = sizeof control.buf;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t r;
    do
        r = sendmsg(sock, &m, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int taken_fd(struct msghdr *m)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

int cb_helper_receive(int sock, struct cb_helper_message *msg, bool fds, enum cb_helper_wait wait)
{
    union {
        struct cmsghdr align;
        char buf[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov[2] = { { &msg->head, sizeof msg->head }, { msg->payload, CB_HELPER_PAYLOAD } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
    /* Without room for descriptors the kernel drops those that are sent, and says so. */
    if (fds) {
        m.msg_control = control.buf;
        m.msg_controllen = sizeof control.buf;
    }
    ssize_t r;
    do
        r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | (wait == CB_HELPER_NO_WAIT ? MSG_DONTWAIT : 0));
    while (r < 0 && errno == EINTR);
    msg->fd = r > 0 ? taken_fd(&m) : -1;
    if (r <= 0)
        return r < 0 ? -errno : 0;
    if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)r < sizeof msg->head ||
        (size_t)r != sizeof msg->head + msg->head.n) {
        cb_close_p(&msg->fd);
        return -EPROTO;
    }
    msg->payload[msg->head.n] = '\0';
    return 1;
}

int cb_helper_send_parts(int sock, enum cb_helper_type type, const void *buf, size_t n)
{
    const char *p = buf;
    int r = 0;
    while (r == 0 && n) {
        struct cb_helper_head h = { .type = type, .n = (uint32_t)CB_MIN(n, (size_t)CB_HELPER_PAYLOAD) };
        r = cb_helper_send(sock, &h, p, -1);
        p += h.n;
        n -= h.n;
    }
    return r;
}

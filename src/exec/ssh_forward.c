/* SPDX-License-Identifier: Apache-2.0 */
/* A socket for a step that leads to the user's ssh agent. The step may list keys and sign with them, and nothing else:
 * messages (draft-miller-ssh-agent) are passed on one by one. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "exec/exec.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/thread.h"

#define MAX_MESSAGE (256u << 10) /* OpenSSH's AGENT_MAX_LEN */
#define MAX_CONNECTIONS 64

enum { FAILURE = 5, REQUEST_IDENTITIES = 11, SIGN_REQUEST = 13 };

struct connection {
    struct cb_ssh_forward *f;
    pthread_t thread;
    int fd, agent;
    bool used, over;           /* under f->mu */
};

struct cb_ssh_forward {
    char *agent;
    int listener, shown, stop; /* stop: an eventfd */
    pthread_t thread;
    bool running;
    pthread_mutex_t mu;
    struct connection c[MAX_CONNECTIONS];
};

/* ---- messages ---- */

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A whole message, length and all, into buf of MAX_MESSAGE + 4; false at the end, or where it is none. */
static bool read_message(int fd, unsigned char *buf, size_t *n)
{
    size_t got = 0;
    if (cb_fd_read_full(fd, buf, 4, &got, NULL) < 0 || got != 4)
        return false;
    size_t len = get_u32(buf);
    if (len == 0 || len > MAX_MESSAGE || cb_fd_read_full(fd, buf + 4, len, &got, NULL) < 0 || got != len)
        return false;
    *n = len + 4;
    return true;
}

/* No SIGPIPE, whoever is gone. */
static bool send_message(int fd, const unsigned char *buf, size_t n)
{
    while (n) {
        ssize_t w = send(fd, buf, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        buf += w;
        n -= (size_t)w;
    }
    return true;
}

/* The socket by way of a descriptor: its path may be longer than an address can be. */
static int connect_agent(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    cb_autoclose int at = open(path, O_PATH | O_CLOEXEC);
    cb_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (at < 0 || fd < 0)
        return -errno;
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d", at);
    return connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : CB_TAKE_FD(fd);
}

static bool ask_agent(struct connection *c, unsigned char *buf, size_t *n)
{
    if (c->agent < 0) {
        int fd = connect_agent(c->f->agent);
        pthread_mutex_lock(&c->f->mu);
        c->agent = fd;
        pthread_mutex_unlock(&c->f->mu);
    }
    return c->agent >= 0 && send_message(c->agent, buf, *n) && read_message(c->agent, buf, n);
}

static void *serve(void *arg)
{
    static const unsigned char failure[] = { 0, 0, 0, 1, FAILURE };
    struct connection *c = arg;
    unsigned char *buf = cb_malloc(MAX_MESSAGE + 4);
    bool going = true;
    size_t n = 0;
    while (going && read_message(c->fd, buf, &n)) {
        bool allowed = buf[4] == REQUEST_IDENTITIES || buf[4] == SIGN_REQUEST;
        if (allowed && ask_agent(c, buf, &n))
            going = send_message(c->fd, buf, n);
        else
            going = send_message(c->fd, failure, sizeof failure) && !allowed;
    }
    free(buf);
    shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_lock(&c->f->mu);
    c->over = true;
    pthread_mutex_unlock(&c->f->mu);
    return NULL;
}

/* ---- connections ---- */

static void connection_end(struct connection *c)
{
    pthread_join(c->thread, NULL);
    cb_close_p(&c->fd);
    cb_close_p(&c->agent);
    c->used = c->over = false;
}

/* A free place; those that are over are given back first. NULL: all are taken. */
static struct connection *find_place(struct cb_ssh_forward *f)
{
    for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *c = &f->c[i];
        pthread_mutex_lock(&f->mu);
        bool over = c->used && c->over;
        pthread_mutex_unlock(&f->mu);
        if (over)
            connection_end(c);
        if (!c->used)
            return c;
    }
    return NULL;
}

static void accept_one(struct cb_ssh_forward *f)
{
    cb_autoclose int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    struct connection *c = fd < 0 ? NULL : find_place(f);
    if (!c)
        return;
    *c = (struct connection){ .f = f, .fd = fd, .agent = -1 };
    if (cb_thread_start(&c->thread, "ssh", serve, c, NULL) < 0)
        return;
    c->used = true;
    fd = -1;
}

static void *listen_main(void *arg)
{
    struct cb_ssh_forward *f = arg;
    struct pollfd p[] = { { .fd = f->listener, .events = POLLIN }, { .fd = f->stop, .events = POLLIN } };
    for (;;) {
        if (poll(p, CB_COUNTOF(p), -1) < 0 && errno != EINTR)
            return NULL;
        if (p[1].revents)
            return NULL;
        if (p[0].revents)
            accept_one(f);
    }
}

/* Readers of both ends wake up. */
static void end_all(struct cb_ssh_forward *f)
{
    for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *c = &f->c[i];
        if (!c->used)
            continue;
        pthread_mutex_lock(&f->mu);
        shutdown(c->fd, SHUT_RDWR);
        if (c->agent >= 0)
            shutdown(c->agent, SHUT_RDWR);
        pthread_mutex_unlock(&f->mu);
        connection_end(c);
    }
}

/* ---- the socket ---- */

static int bind_socket(struct cb_ssh_forward *f, const struct cb_ssh_forward_spec *spec, struct cb_error *err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int n = snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", spec->dir_fd, spec->name);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    f->stop = eventfd(0, EFD_CLOEXEC);
    if (f->listener < 0 || f->stop < 0 || n >= (int)sizeof a.sun_path)
        return cb_error_sys(err, CB_ELOCAL, errno, "a socket");
    if (bind(f->listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(f->listener, MAX_CONNECTIONS) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "listen on a socket");
    if (fchmodat(spec->dir_fd, spec->name, spec->mode & 0777, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mode of the socket");
    if (fchownat(spec->dir_fd, spec->name, spec->uid, spec->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "owner %u:%u", spec->uid, spec->gid);
    f->shown = openat(spec->dir_fd, spec->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return f->shown < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open the socket") : 0;
}

int cb_ssh_forward_start(const struct cb_ssh_forward_spec *spec, struct cb_ssh_forward **out, struct cb_error *err)
{
    CB_AUTO(cb_ssh_forward_free) struct cb_ssh_forward *f = CB_NEW(struct cb_ssh_forward);
    pthread_mutex_init(&f->mu, NULL);
    f->agent = cb_strdup(spec->agent);
    f->listener = f->shown = f->stop = -1;
    int r = bind_socket(f, spec, err);
    if (r == 0)
        r = cb_thread_start(&f->thread, "ssh-listen", listen_main, f, err);
    if (r < 0) {
        cb_error_wrap(err, "forward the ssh agent");
        return r;
    }
    f->running = true;
    *out = CB_TAKE(f);
    return 0;
}

int cb_ssh_forward_fd(const struct cb_ssh_forward *f)
{
    return f->shown;
}

void cb_ssh_forward_free(struct cb_ssh_forward *f)
{
    const uint64_t one = 1;
    if (!f)
        return;
    if (f->running) {
        (void)!write(f->stop, &one, sizeof one);
        pthread_join(f->thread, NULL);
        end_all(f);
    }
    cb_close_p(&f->listener);
    cb_close_p(&f->shown);
    cb_close_p(&f->stop);
    pthread_mutex_destroy(&f->mu);
    free(f->agent);
    free(f);
}

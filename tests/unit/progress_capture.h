/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a progress display wrote, with its times made equal. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "progress/progress.h"
#include "util/alloc.h"
#include "util/macros.h"
#include "util/strbuf.h"

struct capture {
    int read_fd, write_fd;
    pthread_t thread;
    struct cb_strbuf text;
};

static void *capture_main(void *arg)
{
    struct capture *c = arg;
    char buf[4096];
    ssize_t n;
    while ((n = read(c->read_fd, buf, sizeof buf)) > 0)
        cb_strbuf_add(&c->text, buf, (size_t)n);
    return NULL;
}

static CB_UNUSED void capture_start(struct capture *c, int read_fd, int write_fd)
{
    *c = (struct capture){ .read_fd = read_fd, .write_fd = write_fd, .text = CB_STRBUF_INIT };
    if (pthread_create(&c->thread, NULL, capture_main, c) != 0)
        abort();
}

static CB_UNUSED void capture_pipe(struct capture *c)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        abort();
    capture_start(c, fds[0], fds[1]);
}

/* A terminal of that size. */
static CB_UNUSED void capture_pty(struct capture *c, unsigned short columns, unsigned short rows)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[64];
    struct winsize ws = { .ws_col = columns, .ws_row = rows };
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, name, sizeof name) != 0)
        abort();
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || ioctl(slave, TIOCSWINSZ, &ws) != 0)
        abort();
    capture_start(c, master, slave);
}

/* Closes the writing end and waits for the rest. */
static CB_UNUSED const char *capture_end(struct capture *c)
{
    if (c->write_fd >= 0) {
        close(c->write_fd);
        pthread_join(c->thread, NULL);
        close(c->read_fd);
        c->write_fd = -1;
    }
    return c->text.buf;
}

static CB_UNUSED void capture_done(struct capture *c)
{
    capture_end(c);
    cb_strbuf_done(&c->text);
}

/* "12.345" and "0.0s" become "T" and "Ts". Numbers that stand after '#' or '/' or before units stay. */
static CB_UNUSED char *normalized(const char *text)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    for (const char *p = text; *p;) {
        size_t whole = strspn(p, "0123456789");
        size_t part = whole && p[whole] == '.' ? strspn(p + whole + 1, "0123456789") : 0;
        char after = part ? p[whole + 1 + part] : '\0';
        bool starts = p == text || p[-1] == ' ' || p[-1] == '\n';
        if (starts && part && (after == 's' || after == ' ')) {
            cb_strbuf_addch(&sb, 'T');
            p += whole + 1 + part;
        } else if (whole) {
            cb_strbuf_add(&sb, p, whole);
            p += whole;
        } else {
            cb_strbuf_addch(&sb, *p++);
        }
    }
    return cb_strbuf_detach(&sb, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "util/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/proc_spawn.h"
#include "util/timeutil.h"

#define DEFAULT_OUTPUT ((size_t)1 << 20)
#define DEFAULT_TIMEOUT_MS 30000u
#define READ_CHUNK ((size_t)16 << 10)
#define BLIND_WAIT_MS 20 /* between looks at the child, where there is no pidfd */

struct run {
    const struct cb_proc_spec *spec;
    struct cb_proc_result *res;
    const char *name;
    pid_t pid; /* 0 once reaped */
    int pidfd, in, out, err;
    size_t sent, max_output;
    int64_t deadline;
};

void cb_proc_result_done(struct cb_proc_result *r)
{
    cb_strbuf_done(&r->out);
    cb_strbuf_done(&r->err);
    r->status = 0;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

char *cb_proc_which(const char *name)
{
    if (*name == '/')
        return is_program(name) ? cb_strdup(name) : NULL;
    const char *dir = getenv("PATH");
    /* A relative directory would run whatever the current one holds. */
    if (!*name || strchr(name, '/') || !dir)
        return NULL;
    while (*dir) {
        size_t n = strcspn(dir, ":");
        cb_autofree char *path = cb_asprintf("%.*s/%s", (int)CB_MIN(n, (size_t)INT32_MAX), dir, name);
        if (*dir == '/' && is_program(path))
            return CB_TAKE(path);
        dir += n + (dir[n] ? 1 : 0);
    }
    return NULL;
}

static bool is_inherited(const char *entry)
{
    static const char *const wanted[] = { "PATH=", "HOME=", "USER=", "LANG=", "XDG_", "DBUS_SESSION_BUS_ADDRESS=" };
    for (size_t i = 0; i < CB_COUNTOF(wanted); i++) {
        if (cb_starts_with(entry, wanted[i]))
            return true;
    }
    return false;
}

static void collect_env(struct cb_strvec *env)
{
    for (char **e = environ; e && *e; e++) {
        if (is_inherited(*e))
            cb_strvec_push(env, *e);
    }
}

static void run_done(struct run *run)
{
    if (run->pid > 0) {
        (void)kill(-run->pid, SIGKILL);
        while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    cb_close_p(&run->pidfd);
    cb_close_p(&run->in);
    cb_close_p(&run->out);
    cb_close_p(&run->err);
}

static void close_now(int *fd)
{
    cb_close_p(fd);
    *fd = -1;
}

struct stdio_pipes {
    int child[3];
    int ours[3];
};

static void stdio_pipes_done(struct stdio_pipes *p)
{
    for (int i = 0; i < 3; i++) {
        cb_close_p(&p->child[i]);
        cb_close_p(&p->ours[i]);
    }
}

static int open_stdio(struct stdio_pipes *p, bool with_input, struct cb_error *err)
{
    for (int i = 0; i < 3; i++) {
        if (i == 0 && !with_input) {
            p->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (p->child[0] < 0)
                return cb_error_sys(err, CB_ELOCAL, errno, "open /dev/null");
        } else {
            int fds[2];
            int r = cb_pipe(fds, err);
            if (r < 0)
                return r;
            p->child[i] = fds[i == 0 ? 0 : 1];
            p->ours[i] = fds[i == 0 ? 1 : 0];
            (void)fcntl(p->ours[i], F_SETFL, O_NONBLOCK);
        }
        /* They come out low where our own standard descriptors are closed. */
        int r = cb_fd_lift(&p->child[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int start(struct run *run, const char *path, struct cb_error *err)
{
    CB_CLEANUP(stdio_pipes_done) struct stdio_pipes p = { .child = { -1, -1, -1 }, .ours = { -1, -1, -1 } };
    cb_cleanup_strvec struct cb_strvec env = CB_STRVEC_INIT;
    static const char *const no_env[] = { NULL };
    int r = open_stdio(&p, run->spec->input != NULL, err);
    if (r < 0)
        return r;
    if (!run->spec->env)
        collect_env(&env);
    struct cb_proc_image image = { .path = path, .argv = run->spec->argv, .env = run->spec->env };
    if (!image.env)
        image.env = env.v ? (const char *const *)env.v : no_env;
    memcpy(image.stdio, p.child, sizeof image.stdio);
    pid_t pid;
    r = cb_proc_spawn(&image, &pid, err);
    if (r < 0)
        return r;
    run->pid = pid;
    run->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    run->in = CB_TAKE_FD(p.ours[0]);
    run->out = CB_TAKE_FD(p.ours[1]);
    run->err = CB_TAKE_FD(p.ours[2]);
    return 0;
}

static int feed(struct run *run, struct cb_error *err)
{
    if (run->sent < run->spec->input_len) {
        ssize_t w = write(run->in, run->spec->input + run->sent, run->spec->input_len - run->sent);
        if (w > 0)
            run->sent += (size_t)w;
        else if (w < 0 && errno == EPIPE)
            run->sent = run->spec->input_len; /* it did not want more */
        else if (w < 0 && errno != EAGAIN && errno != EINTR)
            return cb_error_sys(err, CB_ELOCAL, errno, "write to %s", run->name);
    }
    if (run->sent == run->spec->input_len)
        close_now(&run->in);
    return 0;
}

/* Takes all that is there without waiting. */
static int drain(struct run *run, int *fd, struct cb_strbuf *to, struct cb_error *err)
{
    while (*fd >= 0) {
        cb_strbuf_reserve(to, READ_CHUNK);
        ssize_t got = read(*fd, to->buf + to->len, READ_CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "read from %s", run->name);
        if (got == 0) {
            close_now(fd);
            return 0;
        }
        cb_strbuf_setlen(to, to->len + (size_t)got);
        if (to->len > run->max_output) {
            cb_strbuf_setlen(to, run->max_output);
            return cb_error_set(err, CB_EVERIFY, "%s printed over %zu bytes", run->name, run->max_output);
        }
    }
    return 0;
}

static int drain_both(struct run *run, struct cb_error *err)
{
    int r = drain(run, &run->out, &run->res->out, err);
    return r < 0 ? r : drain(run, &run->err, &run->res->err, err);
}

static bool has_exited(const struct run *run)
{
    siginfo_t info = { 0 };
    return waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == run->pid;
}

static int reap(struct run *run, struct cb_error *err)
{
    int status;
    pid_t r;
    do
        r = waitpid(run->pid, &status, 0);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return cb_error_sys(err, CB_EINTERNAL, errno, "wait for %s", run->name);
    run->pid = 0;
    run->res->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return 0;
}

static int timed_out(const struct run *run, struct cb_error *err)
{
    int r = cb_error_set(err, CB_ELOCAL, "%s took too long and was killed", run->name);
    if (err)
        err->sys_errno = ETIMEDOUT;
    return r;
}

static int wait_for_event(struct run *run, struct cb_error *err)
{
    int64_t left = (run->deadline - cb_time_monotonic() + 999999) / 1000000;
    if (left <= 0)
        return timed_out(run, err);
    int r = cb_cancel_check(run->spec->cancel, err);
    if (r < 0)
        return r;
    if (run->pidfd < 0)
        left = CB_MIN(left, (int64_t)BLIND_WAIT_MS);
    struct pollfd polls[] = {
        { .fd = run->in, .events = POLLOUT },
        { .fd = run->out, .events = POLLIN },
        { .fd = run->err, .events = POLLIN },
        { .fd = run->pidfd, .events = POLLIN },
        { .fd = run->spec->cancel ? cb_cancel_fd(run->spec->cancel) : -1, .events = POLLIN },
    };
    if (poll(polls, CB_COUNTOF(polls), (int)left) < 0 && errno != EINTR)
        return cb_error_sys(err, CB_ELOCAL, errno, "wait for %s", run->name);
    return run->in >= 0 && polls[0].revents ? feed(run, err) : 0;
}

/* Until the program itself has ended. A daemon that it left behind may hold its pipes open: that is not waited for. */
static int converse(struct run *run, struct cb_error *err)
{
    for (;;) {
        bool exited = has_exited(run);
        int r = drain_both(run, err);
        if (r < 0)
            return r;
        if (exited)
            return reap(run, err);
        r = wait_for_event(run, err);
        if (r < 0)
            return r;
    }
}

/* A program that does not read its input makes SIGPIPE, which is for this thread alone: blocked, and swallowed if it is
 * not one that was pending before. */
static int converse_without_sigpipe(struct run *run, struct cb_error *err)
{
    sigset_t pipe_only, old, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
    int r = converse(run, err);
    struct timespec zero = { 0 };
    while (!was_pending && sigtimedwait(&pipe_only, NULL, &zero) < 0 && errno == EINTR)
        continue;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

int cb_proc_run(const struct cb_proc_spec *spec, struct cb_proc_result *res, struct cb_error *err)
{
    *res = (struct cb_proc_result){ .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    int r = cb_cancel_check(spec->cancel, err);
    if (r < 0)
        return r;
    cb_autofree char *path = cb_proc_which(spec->argv[0]);
    if (!path)
        return cb_error_set(err, CB_ENOTFOUND, "%s: no such program in PATH", spec->argv[0]);
    unsigned timeout_ms = spec->timeout_ms ? spec->timeout_ms : DEFAULT_TIMEOUT_MS;
    CB_CLEANUP(run_done) struct run run = {
        .spec = spec,
        .res = res,
        .name = spec->argv[0],
        .pidfd = -1,
        .in = -1,
        .out = -1,
        .err = -1,
        .max_output = spec->max_output ? spec->max_output : DEFAULT_OUTPUT,
        .deadline = cb_time_monotonic() + (int64_t)timeout_ms * 1000000,
    };
    r = start(&run, path, err);
    return r < 0 ? r : converse_without_sigpipe(&run, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The server's beginning and end, in cbpush. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "image/helper.h"
#include "util/alloc.h"
#include "util/fd.h"

enum state {
    NONE,   /* what is read is read here */
    WANTED, /* starts when it is first needed */
    RUNS,
    FAILED, /* could not be started, and is not tried again */
};
static struct {
    pthread_mutex_t mu;
    enum state state;
    const char *program;
    int sock, error;
    pid_t pid;
} server = { .mu = PTHREAD_MUTEX_INITIALIZER, .sock = -1 };

/* ---- as a program of its own ---- */

/* What the dynamic linker and sanitizers need to know. Whatever else is in our environment is nothing to it. */
static char **server_environ(void)
{
    static const char *const kept[] = { "LD_LIBRARY_PATH=", "LD_PRELOAD=", "GLIBC_TUNABLES=", "ASAN_OPTIONS=",
                                        "UBSAN_OPTIONS=", "LSAN_OPTIONS=" };
    char **env = cb_calloc(CB_COUNTOF(kept) + 1, sizeof *env);
    size_t n = 0;
    for (size_t k = 0; k < CB_COUNTOF(kept); k++)
        for (char **v = environ; v && *v; v++)
            if (!strncmp(*v, kept[k], strlen(kept[k]))) {
                env[n++] = *v;
                break;
            }
    return env;
}

/* No signal is held back as in a thread of ours, and ^C is for cbpush, which then tells. Not setsid(2): schedulers
 * weigh sessions. */
static int set_attributes(posix_spawnattr_t *a)
{
    sigset_t none;
    sigemptyset(&none);
    int e = posix_spawnattr_setsigmask(a, &none);
    if (e == 0)
        e = posix_spawnattr_setpgroup(a, 0);
    return e ? e : posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
}

/* 0 or an errno. */
static int spawn(const char *program, int sock, pid_t *pid)
{
    char *argv[] = { (char *)(uintptr_t)CB_HELPERS_NAME, NULL };
    cb_autofree char **env = server_environ();
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int e = posix_spawn_file_actions_init(&files);
    if (e)
        return e;
    e = posix_spawnattr_init(&attributes);
    if (e == 0) {
        e = posix_spawn_file_actions_adddup2(&files, sock, CB_HELPERS_FD);
        if (e == 0)
            e = set_attributes(&attributes);
        if (e == 0)
            e = posix_spawn(pid, program, &files, &attributes, argv, env);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return e;
}

static void start_program(void)
{
    int sock[2];
    server.error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0 ? errno : 0;
    server.state = FAILED;
    if (server.error)
        return;
    server.error = spawn(server.program, sock[1], &server.pid);
    close(sock[1]);
    if (server.error) {
        close(sock[0]);
        return;
    }
    server.sock = sock[0];
    server.state = RUNS;
}

int cb_helper_server(struct cb_error *err)
{
    int r = 0;
    pthread_mutex_lock(&server.mu);
    if (server.state == WANTED)
        start_program();
    if (server.state == FAILED)
        r = cb_error_sys(err, CB_ELOCAL, server.error, "start the process that layers are read in, %s", server.program);
    else if (server.state == NONE)
        r = cb_error_set(err, CB_ELOCAL, "there is no process that layers are read in");
    else
        r = server.sock;
    pthread_mutex_unlock(&server.mu);
    return r;
}

void cb_helpers_expect(void)
{
    /* Why it is not there is told by who needs it. */
    if (cb_helper_is_there())
        (void)!cb_helper_server(NULL);
}

bool cb_helper_is_there(void)
{
    pthread_mutex_lock(&server.mu);
    bool there = server.state != NONE;
    pthread_mutex_unlock(&server.mu);
    return there;
}

/* ---- its life ---- */

static void wipe(char **v)
{
    for (; v && *v; v++)
        explicit_bzero(*v, strlen(*v));
}

/* Descriptors of whoever started us must not be held open. Standard error stays for sanitizers alone. */
static bool keep_one_fd(int *sock)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), kept = -1;
    bool good = null >= 0;
    for (int i = 0; good && i <= STDERR_FILENO; i++) {
#ifdef CB_SANITIZED
        if (i == STDERR_FILENO)
            break;
#endif
        good = dup2(null, i) == i;
    }
    if (good && cb_fd_lift(sock, NULL) == 0)
        kept = dup3(*sock, STDERR_FILENO + 1, O_CLOEXEC);
    *sock = kept;
    if (kept >= 0 && close_range((unsigned)kept + 1, ~0u, 0) < 0)
        for (int i = kept + 1; i < 1024; i++)
            close(i);
    return kept >= 0;
}

static CB_NORETURN void serve(int sock, const struct cb_helper_options *o)
{
    prctl(PR_SET_NAME, CB_HELPERS_NAME);
    cb_helper_serve(sock, o);
}

static CB_NORETURN void become_server(int sock, pid_t parent, const struct cb_helper_options *o)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || !keep_one_fd(&sock))
        _exit(0);
    wipe(o->argv);
    wipe(environ);
    setpgid(0, 0); /* as in set_attributes */
    serve(sock, o);
}

/* It goes with cbpush: nobody else has the other end of its socket. (PR_SET_PDEATHSIG would be of the thread that
 * started it.) */
int cb_helpers_main(const struct cb_helper_options *o)
{
    int sock = CB_HELPERS_FD, type = 0;
    socklen_t n = sizeof type;
    if (getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET || !keep_one_fd(&sock))
        return -1;
    wipe(environ);
    cb_helper_warm_up(); /* while the first layer is still asked for */
    serve(sock, o);
}

/* ---- its beginning and end ---- */

static void start_fork(const struct cb_helper_options *o)
{
    int sock[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        become_server(sock[1], parent, o);
    close(sock[1]);
    if (pid < 0) {
        close(sock[0]);
        return;
    }
    server.sock = sock[0];
    server.pid = pid;
    server.state = RUNS;
}

void cb_helpers_start(const struct cb_helper_options *o)
{
    static const struct cb_layer_elsewhere apart = { cb_helper_reader, cb_helper_begins_archive,
                                                      cb_helper_foreign_table };
    if (server.state != NONE)
        return;
    if (o->program && access(o->program, X_OK) == 0) {
        server.program = o->program;
        server.state = WANTED;
    } else {
        start_fork(o);
    }
    if (server.state != NONE)
        cb_layer_read_elsewhere(&apart);
}

void cb_helpers_stop(void)
{
    if (server.state == NONE)
        return;
    cb_layer_read_elsewhere(NULL);
    cb_close_p(&server.sock);
    while (server.state == RUNS && waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    server.state = NONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The server's beginning and end, in cbpush. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "image/helper.h"
#include "util/fd.h"

static struct {
    int sock;
    pid_t pid;
} server = { .sock = -1 };

int cb_helper_server(void)
{
    return server.sock;
}

bool cb_helper_is_there(void)
{
    return server.sock >= 0;
}

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

static CB_NORETURN void become_server(int sock, pid_t parent, const struct cb_helper_options *o)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || !keep_one_fd(&sock))
        _exit(0);
    wipe(o->argv);
    wipe(environ);
    prctl(PR_SET_NAME, "cbpush-layers");
    setpgid(0, 0); /* ^C is for cbpush, which then tells. Not setsid(2): schedulers weigh sessions */
    cb_helper_serve(sock, o);
}

void cb_helpers_start(const struct cb_helper_options *o)
{
    static const struct cb_layer_elsewhere apart = { cb_helper_reader, cb_helper_begins_archive,
                                                      cb_helper_foreign_table };
    int sock[2];
    pid_t parent = getpid();
    if (cb_helper_is_there() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
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
    cb_layer_read_elsewhere(&apart);
}

void cb_helpers_stop(void)
{
    if (!cb_helper_is_there())
        return;
    cb_layer_read_elsewhere(NULL);
    close(CB_TAKE_FD(server.sock));
    while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

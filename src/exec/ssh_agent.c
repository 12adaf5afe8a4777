/* SPDX-License-Identifier: Apache-2.0 */
/* An ssh-agent of ours, for key files. Its socket is reached through a descriptor of its directory, since paths of
 * sockets must be short. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/exec.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/proc.h"
#include "util/proc_spawn.h"
#include "util/secret.h"
#include "util/timeutil.h"

#define MAX_KEY (100u << 10)
#define START_MS 5000
#define LOOK_MS 5

struct cb_ssh_agent {
    pid_t pid;
    int dir;
    char socket[64];
};

static char *find_program(const char *name, struct cb_error *err)
{
    char *path = cb_proc_which(name);
    if (!path)
        cb_error_set(err, CB_ELOCAL, "--ssh with a key file needs %s: install openssh-client, or give the socket of an "
                                     "agent that runs", name);
    return path;
}

static int spawn(struct cb_ssh_agent *a, const char *path, struct cb_error *err)
{
    const char *const argv[] = { "ssh-agent", "-D", "-a", a->socket, NULL };
    const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
    int null[3] = { -1, -1, -1 };
    int r = 0;
    for (int i = 0; r == 0 && i < 3; i++) {
        null[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
        r = null[i] < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open /dev/null") : cb_fd_lift(&null[i], err);
    }
    struct cb_proc_image image = { .path = path, .argv = argv, .env = env, .no_new_privs = true };
    memcpy(image.stdio, null, sizeof image.stdio);
    if (r == 0)
        r = cb_proc_spawn(&image, &a->pid, err);
    for (int i = 0; i < 3; i++)
        cb_close_p(&null[i]);
    return r;
}

/* Its name is there before it listens. */
static bool listens(const struct cb_ssh_agent *a)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    snprintf(at.sun_path, sizeof at.sun_path, "%s", a->socket);
    cb_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0;
}

static int wait_for_socket(const struct cb_ssh_agent *a, struct cb_error *err)
{
    int64_t until = cb_time_monotonic() + START_MS * INT64_C(1000000);
    const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
    while (!listens(a)) {
        siginfo_t info = { 0 };
        if (waitid(P_PID, (id_t)a->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid ||
            cb_time_monotonic() > until)
            return cb_error_set(err, CB_ELOCAL, "ssh-agent does not start");
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* By standard input: the key's path and its permissions are not ssh-add's business, and nothing asks for a
 * passphrase. */
static int add_key(const struct cb_ssh_agent *a, const char *path, struct cb_error *err)
{
    CB_AUTO(cb_secret_free) struct cb_secret *key = NULL;
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    cb_autofree char *program = find_program("ssh-add", err);
    cb_autofree char *sock = cb_asprintf("SSH_AUTH_SOCK=%s", a->socket);
    const char *const argv[] = { program, "-q", "-", NULL };
    const char *const env[] = { "PATH=/usr/bin:/bin", sock, "SSH_ASKPASS=/bin/false", "SSH_ASKPASS_REQUIRE=force",
                                NULL };
    if (!program)
        return -CB_ELOCAL;
    int r = cb_secret_read(path, MAX_KEY, &key, err);
    if (r < 0)
        return r;
    struct cb_proc_spec spec = { .argv = argv, .env = env, .input = cb_secret_data(key),
                                 .input_len = cb_secret_size(key) };
    r = cb_proc_run(&spec, &res, err);
    if (r == 0 && res.status)
        return cb_error_set(err, CB_EUSAGE, "%s: ssh-add does not take this as a private key without a passphrase; "
                                            "add it to an agent and give --ssh ID=SOCKET", path);
    return r;
}

int cb_ssh_agent_start(int dir_fd, const struct cb_strvec *keys, struct cb_ssh_agent **out, struct cb_error *err)
{
    CB_AUTO(cb_ssh_agent_free) struct cb_ssh_agent *a = CB_NEW(struct cb_ssh_agent);
    a->dir = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    if (a->dir < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "directory of ssh-agent");
    snprintf(a->socket, sizeof a->socket, "/proc/%ld/fd/%d/agent", (long)getpid(), a->dir);
    cb_autofree char *program = find_program("ssh-agent", err);
    int r = program ? spawn(a, program, err) : -CB_ELOCAL;
    if (r == 0)
        r = wait_for_socket(a, err);
    for (size_t i = 0; r == 0 && i < keys->n; i++)
        r = add_key(a, keys->v[i], err);
    if (r == 0)
        *out = CB_TAKE(a);
    return r;
}

const char *cb_ssh_agent_socket(const struct cb_ssh_agent *a)
{
    return a->socket;
}

void cb_ssh_agent_free(struct cb_ssh_agent *a)
{
    if (!a)
        return;
    if (a->pid > 0) {
        (void)kill(a->pid, SIGKILL);
        while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (a->dir >= 0)
        unlinkat(a->dir, "agent", 0);
    cb_close_p(&a->dir);
    free(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* type=docker without a file, and --load: the image goes to the engine of this machine, as a stream. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build/internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/proc.h"
#include "util/proc_spawn.h"

#define MAX_SAID (16u << 10)

struct loader {
    char *path;
    pid_t pid;
    int input, said;  /* its standard input; a memory file with what it prints */
};

static void find_environment(struct cb_strvec *out)
{
    static const char *const prefixes[] = { "PATH=", "HOME=", "USER=", "LANG=", "XDG_", "DOCKER_", "CONTAINER",
                                            "REGISTRY_AUTH_FILE=", "TMPDIR=", "SSH_AUTH_SOCK=" };
    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < CB_COUNTOF(prefixes); i++)
            if (cb_starts_with(*e, prefixes[i])) {
                cb_strvec_push(out, *e);
                break;
            }
}

static int find_engine(struct loader *l, struct cb_error *err)
{
    l->path = cb_proc_which("docker");
    if (!l->path)
        l->path = cb_proc_which("podman");
    return l->path ? 0
                   : cb_error_set(err, CB_EUSAGE, "--load: neither docker nor podman is in PATH: write an archive "
                                                  "with -o type=docker,dest=FILE");
}

static int start(struct loader *l, struct cb_error *err)
{
    struct cb_strvec env cb_cleanup_strvec = CB_STRVEC_INIT;
    const char *const argv[] = { l->path, "load", NULL };
    int fds[2];
    int r = cb_pipe(fds, err);
    if (r < 0)
        return r;
    cb_autoclose int in = fds[0], out = -1, error = -1;
    l->input = fds[1];
    l->said = memfd_create("load", MFD_CLOEXEC);
    out = dup(l->said);
    error = dup(l->said);
    if (l->said < 0 || out < 0 || error < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", l->path);
    int *const lifted[] = { &in, &out, &error, &l->input };
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(lifted); i++)
        r = cb_fd_lift(lifted[i], err);
    find_environment(&env);
    struct cb_proc_image image = { .path = l->path, .argv = argv, .env = (const char *const *)env.v,
                                   .stdio = { in, out, error } };
    return r < 0 ? r : cb_proc_spawn(&image, &l->pid, err);
}

static void log_said(const struct loader *l, struct cb_step *step, struct cb_strbuf *text)
{
    char buf[MAX_SAID];
    ssize_t n = pread(l->said, buf, sizeof buf, 0);
    if (n <= 0)
        return;
    cb_step_log(step, 1, buf, (size_t)n);
    struct cb_slice s = cb_slice_trim((struct cb_slice){ buf, (size_t)n });
    cb_strbuf_add_sanitized(text, s.ptr, s.len, false);
}

/* What the engine says counts for more than that our end of the pipe broke. */
static int finish(struct loader *l, int r, struct cb_step *step, struct cb_error *err)
{
    struct cb_strbuf said cb_cleanup_strbuf = CB_STRBUF_INIT;
    int status = 0;
    cb_close_p(&l->input);
    if (l->pid <= 0)
        return r;
    while (waitpid(l->pid, &status, 0) < 0 && errno == EINTR)
        ;
    log_said(l, step, &said);
    if (status == 0)
        return r;
    return cb_error_set(err, CB_ELOCAL, "%s load: %s", l->path, said.len ? said.buf : "it failed");
}

int cb_build_load(const struct cb_export_options *x, struct cb_step *step, struct cb_error *err)
{
    struct loader l = { .input = -1, .said = -1 };
    int r = find_engine(&l, err);
    if (r == 0)
        r = start(&l, err);
    if (r == 0)
        r = cb_export_docker_tar(x, l.input, err);
    r = finish(&l, r, step, err);
    cb_close_p(&l.said);
    free(l.path);
    return r;
}

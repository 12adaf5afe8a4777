/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exec/binfmt.h"
#include "exec/exec.h"
#include "exec/foreign.h"
#include "oci/platform.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"

#define BINFMT_DIR "/proc/sys/fs/binfmt_misc"
#define STATUS_NOT_STARTED 97
#define STATUS_BUSY 98
#define BUSY_TRIES 20
#define BUSY_WAIT 10000000L /* ns */

void cb_foreign_done(struct cb_foreign *f)
{
    free(f->interpreter);
    free(f->detail);
    *f = (struct cb_foreign){ 0 };
}

/* ---- a try ---- */

/* In a root that holds nothing else: so it is with a step's. Only calls that are safe after a fork of threads. */
static _Noreturn void child(int dirfd)
{
    static char name[] = "/program";
    char *const argv[] = { name, NULL }, *const env[] = { NULL };
    if (fchdir(dirfd) < 0 || chroot(".") < 0)
        _exit(STATUS_NOT_STARTED);
    execve(name, argv, env);
    _exit(errno == ETXTBSY ? STATUS_BUSY : STATUS_NOT_STARTED);
}

static int run_program(int dirfd)
{
    pid_t pid = fork();
    int status = 0;
    if (pid == 0)
        child(dirfd);
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return STATUS_NOT_STARTED;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_NOT_STARTED;
}

/* A child of another thread may hold the file open for writing for a moment, until it executes something. */
static bool runs(int dirfd)
{
    int status = run_program(dirfd);
    for (int i = 0; status == STATUS_BUSY && i < BUSY_TRIES; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = BUSY_WAIT }, NULL);
        status = run_program(dirfd);
    }
    return status == 0;
}

/* Not worth a sync. */
static int write_program(int dirfd, const struct cb_strbuf *program, struct cb_error *err)
{
    cb_autoclose int fd = openat(dirfd, "program", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (fd < 0 || fchmod(fd, 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "write a program to try");
    return cb_fd_write_all(fd, program->buf, program->len, err);
}

static int try_program(int work_dir_fd, const struct cb_strbuf *program, bool *ok, struct cb_error *err)
{
    char name[64] = "";
    cb_autoclose int dir = -1;
    int r = cb_fs_mkdtempat(work_dir_fd, "probe-", name, 0755, &dir, err);
    if (r < 0)
        return r;
    r = write_program(dir, program, err);
    *ok = r == 0 && runs(dir);
    int e = cb_fs_remove_tree(work_dir_fd, name, r < 0 ? NULL : err);
    return r < 0 ? r : e;
}

/* ---- why not ---- */

static void explain(const struct cb_strbuf *program, struct cb_foreign *out)
{
    cb_autoclose int dir = open(BINFMT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct cb_binfmt b CB_CLEANUP(cb_binfmt_done) = { 0 };
    struct stat st;
    if (dir < 0 || fstatat(dir, "status", &st, 0) < 0) {
        out->detail = cb_strdup("none starts (binfmt_misc is not mounted here, so its table cannot be read)");
    } else if (!cb_binfmt_find(dir, program->buf, program->len, &b)) {
        out->detail = cb_strdup("none is registered in " BINFMT_DIR);
    } else if (b.fixed) {
        out->detail = cb_asprintf("%s is registered, but does not start", b.interpreter);
    } else {
        out->state = CB_FOREIGN_IN_ROOT;
        out->interpreter = cb_strdup(b.interpreter);
        out->detail = cb_asprintf("%s is registered without flag F, so it has to be in the root", b.interpreter);
    }
}

int cb_exec_probe_foreign(int work_dir_fd, const char *arch, struct cb_foreign *out, struct cb_error *err)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_strbuf program cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool ok = false;
    *out = (struct cb_foreign){ .state = CB_FOREIGN_RUNS };
    cb_platform_host(&host);
    if (cb_streq(host.arch, arch))
        return 0;
    out->state = CB_FOREIGN_NOT;
    if (!cb_foreign_program(arch, &program)) {
        out->detail = cb_strdup("this architecture is not known");
        return 0;
    }
    int r = try_program(work_dir_fd, &program, &ok, err);
    if (r == 0 && ok)
        out->state = CB_FOREIGN_RUNS;
    else if (r == 0)
        explain(&program, out);
    return r;
}

void cb_foreign_list(int work_dir_fd, struct cb_strbuf *out)
{
    static const char *const archs[] = { "amd64", "386", "arm64", "arm", "riscv64", "ppc64le", "s390x", "loong64",
                                         "mips64le" };
    struct cb_platform host cb_cleanup_platform = { 0 };
    cb_platform_host(&host);
    for (size_t i = 0; i < CB_COUNTOF(archs); i++) {
        struct cb_foreign f CB_CLEANUP(cb_foreign_done) = { 0 };
        if (!cb_streq(host.arch, archs[i]) && cb_exec_probe_foreign(work_dir_fd, archs[i], &f, NULL) == 0 &&
            f.state == CB_FOREIGN_RUNS)
            cb_strbuf_addf(out, "%slinux/%s", out->len ? ", " : "", archs[i]);
    }
}

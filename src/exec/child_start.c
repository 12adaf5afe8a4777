/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec/child_step.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

#ifdef CB_HAVE_STARTER
static const unsigned char starter[] = {
#include "exec/starter_bytes.h"
};

CB_AFTER_CLONE int cb_child_starter(void)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = (int)syscall(SYS_memfd_create, "cbpush-start", flags | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_memfd_create, "cbpush-start", flags); /* before Linux 6.3 */
    if (fd >= 0 && (write(fd, starter, sizeof starter) != (ssize_t)sizeof starter ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)) {
        int e = errno;
        close(fd);
        errno = e;
        fd = -1;
    }
    return fd;
}

CB_AFTER_CLONE CB_NORETURN void cb_child_start(const struct cb_child *c, int fd)
{
    fcntl(c->report, F_SETFD, 0);
    syscall(SYS_execveat, fd, "", c->start, c->env, AT_EMPTY_PATH);
    bool too_long = errno == E2BIG;
    cb_child_die(c, too_long ? CB_STAGE_EXEC : CB_STAGE_STARTER, errno, too_long ? c->candidates[0] : NULL);
}

#else
/* No starter for this architecture yet: what the look at the program finds has to do. */
CB_AFTER_CLONE int cb_child_starter(void)
{
    return 0;
}

CB_AFTER_CLONE CB_NORETURN void cb_child_start(const struct cb_child *c, int fd)
{
    (void)fd;
    int best = ENOENT;
    const char *const *p = c->candidates;
    for (; *p; p++) {
        struct stat st;
        execve(*p, (char *const *)c->argv, (char *const *)c->env);
        int e = errno;
        if (e == ENOENT && stat(*p, &st) == 0)
            cb_child_die(c, CB_STAGE_INTERPRETER, e, *p);
        if (e == EACCES)
            best = e;
        else if (e != ENOENT && e != ENOTDIR)
            cb_child_die(c, CB_STAGE_EXEC, e, *p);
    }
    cb_child_die(c, CB_STAGE_EXEC, best, NULL);
}
#endif

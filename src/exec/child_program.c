/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec/child_step.h"

#define FIRST_LINE 256 /* what the kernel looks at */
#define SCRIPTS_MAX 8  /* an interpreter may be a script; the kernel takes fewer */

/* The interpreter that a first line names, cut out of it; NULL: it names none. */
CB_AFTER_CLONE static const char *interpreter_in(char *line, size_t n)
{
    size_t at = 2;
    if (n < 2 || line[0] != '#' || line[1] != '!')
        return NULL;
    while (at < n && (line[at] == ' ' || line[at] == '\t'))
        at++;
    size_t end = at;
    while (end < n && line[end] && line[end] != ' ' && line[end] != '\t' && line[end] != '\n')
        end++;
    line[end] = '\0';
    return line + at;
}

CB_AFTER_CLONE int cb_child_program_check(const char *path)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .resolve = RESOLVE_NO_MAGICLINKS };
    char lines[2][FIRST_LINE + 1];
    for (unsigned i = 0; i < SCRIPTS_MAX && path; i++) {
        char *line = lines[i % 2]; /* path lies in the other one */
        int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
        if (fd < 0)
            return errno == ELOOP ? ELOOP : 0; /* what else is wrong execve(2) finds out */
        ssize_t n = read(fd, line, FIRST_LINE);
        close(fd);
        path = n > 0 ? interpreter_in(line, (size_t)n) : NULL;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What steps and tests need done: traces for the next step, races, daemons, floods. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int put(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok)
        fprintf(stderr, "probe: %s: %s\n", path, strerror(errno));
    return ok ? 0 : 1;
}

/* prepare: the step before the probes. */
int work_prepare(int argc, char **argv)
{
    (void)argc, (void)argv;
    return put("/prepared", "x\n", 0644) | put("/rw/written", "x\n", 0644) | put("/rw/mark", "changed\n", 0644) |
           put("/g3/cached", "x\n", 0644) | put("/set-user-id", "x\n", 04755) |
           (access("/run/secrets/before", R_OK) == 0 ? 0 : 1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* At least so long and at least so often, however slow the machine is. */
#define FLIPS 100000

static int flip_for(double seconds)
{
    long n = 0;
    for (double end = now() + seconds; now() < end || n < FLIPS;) {
        for (int i = 0; i < 100; i++)
            n += syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 2 /* RENAME_EXCHANGE */) == 0;
    }
    printf("flipped %ld\n", n);
    return 0;
}

/* flip DIR TARGET SECONDS: DIR/a, a directory, and DIR/b, a link to TARGET, change places. Prints how often. */
int work_flip(int argc, char **argv)
{
    if (argc != 3 || chdir(argv[0]) < 0 || (mkdir("a", 0755) < 0 && errno != EEXIST) ||
        (symlink(argv[1], "b") < 0 && errno != EEXIST))
        return 2;
    return flip_for(atof(argv[2]));
}

static int script(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    close(fd);
    return n < 0 ? -1 : 0;
}

/* exchange DIR SECONDS: DIR/a, a script that fails with 7, and DIR/b, one whose interpreter is /proc/self/exe, change
 * places. Prints how often. */
int work_exchange(int argc, char **argv)
{
    if (argc != 2 || chdir(argv[0]) < 0 || script("a", "#!/bin/sh\nexit 7\n") < 0 ||
        script("b", "#!/proc/self/exe\n") < 0)
        return 2;
    return flip_for(atof(argv[1]));
}

static void ignore_signals(void)
{
    for (int s = 1; s < 32; s++)
        signal(s, SIG_IGN);
}

/* daemon: leaves one behind that no signal but KILL ends, in a session of its own, with closed descriptors. */
int work_daemon(int argc, char **argv)
{
    (void)argc, (void)argv;
    if (fork() > 0)
        return 0;
    setsid();
    if (fork() > 0)
        _exit(0);
    ignore_signals();
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    sleep(60);
    return 0;
}

/* stubborn: does not end, whatever is said to it. */
int work_stubborn(int argc, char **argv)
{
    (void)argc, (void)argv;
    ignore_signals();
    printf("stubborn\n");
    fflush(stdout);
    if (fork() == 0)
        setsid();
    for (;;)
        sleep(1);
}

/* line MIB: one line of so many, with sequences that a terminal would obey. */
int work_line(int argc, char **argv)
{
    static char block[1 << 16];
    long n = argc > 0 ? atol(argv[0]) * 16 : 16;
    memset(block, 'x', sizeof block);
    memcpy(block, "\033]0;title\007\033[2J", 14);
    for (; n > 0; n--) {
        if (write(1, block, sizeof block) < 0)
            return 1;
    }
    return write(1, "\n", 1) == 1 ? 0 : 1;
}

/* fill bytes|inodes: until the file system has no more, which is an error that is printed. */
int work_fill(int argc, char **argv)
{
    static char block[1 << 16];
    char path[64] = "/fill";
    bool inodes = argc > 0 && strcmp(argv[0], "inodes") == 0;
    int fd = inodes ? -1 : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    for (int i = 0; i < 1000000; i++) {
        if (inodes) {
            snprintf(path, sizeof path, "/fill-%d", i);
            fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        }
        if (fd < 0 || (!inodes && write(fd, block, sizeof block) < 0)) {
            fprintf(stderr, "probe: %s: %s\n", path, strerror(errno));
            return 1;
        }
        if (inodes)
            close(fd);
    }
    return 0;
}

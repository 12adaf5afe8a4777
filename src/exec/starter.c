/* SPDX-License-Identifier: Apache-2.0 */
/* The last program of ours in a step, static and without a C library; child_start.c executes it from memory that nobody
 * can change. Until the step's own program runs, /proc/self/exe is this, and not cbpush: a program may be swapped for
 * one whose interpreter that is.
 *
 * Arguments: what to try to execute, in order; ""; the arguments of the step's program. Descriptor 3 takes a struct
 * cb_report where none of them can be executed. */
#include <asm/errno.h>
#include <asm/unistd.h>

#include "exec/report.h"

#define FAILED 125
#define LOST 124
#define CLOSE_ON_EXEC 1
#define SET_FLAGS 2 /* F_SETFD */
#define HERE (-100) /* AT_FDCWD */

static long call(long nr, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    long r;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

static __attribute__((noreturn)) void die(int stage, int sys_errno, const char *what)
{
    static struct cb_report r; /* zero without a call of memset, which nobody would supply */
    r.stage = stage;
    r.sys_errno = sys_errno;
    for (unsigned long i = 0; what && what[i] && i < sizeof r.what - 1; i++)
        r.what[i] = what[i];
    long n = call(__NR_write, CB_REPORT_FD, (long)&r, sizeof r, 0);
    for (;;)
        call(__NR_exit_group, n == sizeof r ? FAILED : LOST, 0, 0, 0);
}

/* The same order of things as in a shell: what is found but may not be executed is told if nothing else is found. */
static __attribute__((noreturn)) void start(char **candidates, char **argv, char **env)
{
    int best = ENOENT;
    for (char **p = candidates; p < argv - 1; p++) {
        int e = (int)-call(__NR_execve, (long)*p, (long)argv, (long)env, 0);
        if (e == ENOENT && call(__NR_faccessat, HERE, (long)*p, 0, 0) == 0)
            die(CB_STAGE_INTERPRETER, e, *p);
        if (e == EACCES)
            best = e;
        else if (e != ENOENT && e != ENOTDIR)
            die(CB_STAGE_EXEC, e, *p);
    }
    die(CB_STAGE_EXEC, best, 0);
}

/* stack: argc, argv, a null pointer, the environment, a null pointer. */
void starter_main(long *stack);
void starter_main(long *stack)
{
    char **argv = (char **)(stack + 1), **env = argv + stack[0] + 1;
    char **end = argv;
    while (*end && **end)
        end++;
    if (!*end)
        die(CB_STAGE_EXEC, EINVAL, 0);
    call(__NR_fcntl, CB_REPORT_FD, SET_FLAGS, CLOSE_ON_EXEC, 0);
    start(argv, end + 1, env);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call starter_main\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29,#0\n mov x30,#0\n mov x0,sp\n bl starter_main\n");
#endif

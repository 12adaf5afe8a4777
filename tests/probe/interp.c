/* SPDX-License-Identifier: Apache-2.0 */
/* The program interpreter of a hostile image. A step whose program begins with #!/proc/self/exe makes the kernel load
 * whatever executable cbpush or the runtime is, and this for it: then /proc/self/exe is a file of the host. Built
 * without a C library; it may be called with any auxiliary vector. */

static long call(long nr, long a, long b, long c)
{
    long r;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    r = x0;
#endif
    return r;
}

#if defined(__x86_64__)
enum { WRITE = 1, EXIT = 231, OPENAT = 257, FCHMODAT = 268 };
#else
enum { WRITE = 64, EXIT = 94, OPENAT = 56, FCHMODAT = 53 };
#endif
enum { AT_CWD = -100, WRITE_ONLY = 1 };

static void say(const char *text, long n)
{
    call(WRITE, 2, (long)text, n);
}

void _start(void);
void _start(void)
{
    static const char mine[] = "interpreter: loaded\n", open[] = "interpreter: WRITABLE\n",
                      mode[] = "interpreter: CHMOD\n";
    say(mine, sizeof mine - 1);
    long fd = call(OPENAT, AT_CWD, (long)"/proc/self/exe", WRITE_ONLY);
    if (fd >= 0) {
        say(open, sizeof open - 1);
        call(WRITE, fd, (long)"overwritten", 11);
    }
    if (call(FCHMODAT, AT_CWD, (long)"/proc/self/exe", 06777) == 0)
        say(mode, sizeof mode - 1);
    for (;;)
        call(EXIT, 3, 0, 0);
}

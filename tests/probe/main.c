/* SPDX-License-Identifier: Apache-2.0 */
/* usage: probe list | probe [-k] all|step|net|ID… | probe prepare|flip|exchange|daemon|stubborn|line|fill …
 * Prints a line a probe: PASS P9 title / FAIL P9 title: what was seen / SKIP P9 why. Ends with 1 if one failed; -k:
 * with 0 all the same. */
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_A_PROBE 20

/* ---- verdicts ---- */

__attribute__((format(printf, 2, 0))) static void add(struct verdict *v, const char *fmt, va_list args)
{
    size_t n = strlen(v->text);
    if (n > 0 && n + 3 < sizeof v->text)
        n += (size_t)snprintf(v->text + n, sizeof v->text - n, "; ");
    if (n + 1 < sizeof v->text)
        vsnprintf(v->text + n, sizeof v->text - n, fmt, args);
}

void bad(struct verdict *v, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (v->skipped)
        v->text[0] = '\0';
    v->skipped = false;
    v->failed = true;
    add(v, fmt, args);
    va_end(args);
}

void skip(struct verdict *v, const char *fmt, ...)
{
    va_list args;
    if (v->failed)
        return;
    va_start(args, fmt);
    v->skipped = true;
    add(v, fmt, args);
    va_end(args);
}

void denied(struct verdict *v, const char *what, long r)
{
    if (r >= 0)
        bad(v, "%s is allowed", what);
    else if (errno != EPERM && errno != EACCES && errno != EROFS && errno != ENOSYS)
        bad(v, "%s: %s", what, strerrorname_np(errno));
}

void fails(struct verdict *v, const char *what, long r)
{
    if (r >= 0)
        bad(v, "%s is allowed", what);
}

void closed(struct verdict *v, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 || errno != ENOENT)
        denied(v, path, fd);
    if (fd >= 0)
        close(fd);
}

/* ---- helpers ---- */

const char *told(const char *name)
{
    const char *text = getenv(name);
    return text ? text : "";
}

bool told_backwards(const char *name, char *out, size_t n)
{
    const char *text = told(name);
    size_t len = strlen(text);
    if (len == 0 || len >= n)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = text[len - 1 - i];
    out[len] = '\0';
    return true;
}

ssize_t slurp(const char *path, char *buf, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    size_t have = 0;
    ssize_t r = fd < 0 ? -1 : 0;
    while (fd >= 0 && have < n - 1 && (r = read(fd, buf + have, n - 1 - have)) > 0)
        have += (size_t)r;
    if (fd >= 0)
        close(fd);
    buf[have] = '\0';
    return r < 0 && have == 0 ? -1 : (ssize_t)have;
}

void each_entry(const char *dir, void (*each)(const char *path, void *arg), void *arg)
{
    char path[4096];
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name) < (int)sizeof path)
            each(path, arg);
    }
    if (d)
        closedir(d);
}

#if defined(__x86_64__)
static sigjmp_buf no_entry;

static void on_fault(int signal_number)
{
    (void)signal_number;
    siglongjmp(no_entry, 1);
}

/* A kernel without the 32-bit entry answers with a signal. */
long call32(long nr, long a, long b, long c)
{
    volatile long answer = -ENOSYS;
    signal(SIGSEGV, on_fault);
    if (sigsetjmp(no_entry, 1) == 0) {
        long r = nr;
        __asm__ volatile("int $0x80" : "+a"(r) : "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
        answer = r;
    }
    signal(SIGSEGV, SIG_DFL);
    int r = (int)answer;
    if (r >= 0)
        return r;
    errno = -r;
    return -1;
}

long call_x32(long nr, long a, long b, long c)
{
    return syscall(0x40000000 | nr, a, b, c);
}

void *low_memory(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
#else
long call32(long nr, long a, long b, long c)
{
    (void)nr, (void)a, (void)b, (void)c;
    errno = ENOSYS;
    return -1;
}

long call_x32(long nr, long a, long b, long c)
{
    return call32(nr, a, b, c);
}

void *low_memory(void)
{
    return NULL;
}
#endif

int in_child(int (*what)(void *arg), void *arg)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(what(arg));
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 255;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- running ---- */

static void say(const struct probe *p, const struct verdict *v)
{
    if (v->failed)
        printf("FAIL %s %s: %s\n", p->id, p->title, v->text);
    else if (v->skipped)
        printf("SKIP %s %s\n", p->id, v->text);
    else
        printf("PASS %s %s\n", p->id, p->title);
    fflush(stdout);
}

static int judge(void *arg)
{
    const struct probe *p = arg;
    struct verdict v = { 0 };
    if (p->run)
        p->run(&v);
    else
        skip(&v, "is seen from outside");
    say(p, &v);
    return v.failed ? 1 : 0;
}

static int judge_in_time(void *arg)
{
    alarm(SECONDS_A_PROBE);
    return judge(arg);
}

static bool run(const struct probe *p)
{
    struct verdict v = { 0 };
    int status = p->alone ? judge((void *)p) : in_child(judge_in_time, (void *)p);
    if (status != 0 && status != 1) {
        bad(&v, "the probe died: %d", status);
        say(p, &v);
    }
    return status == 0;
}

static bool chosen(const struct probe *p, const char *word)
{
    return strcmp(word, "all") == 0 || (strcmp(word, "step") == 0 && p->where == IN_STEP) ||
           (strcmp(word, "net") == 0 && p->where == IN_NET) || strcmp(word, p->id) == 0;
}

static int run_chosen(int n, char **words)
{
    bool keep_on = n > 0 && strcmp(words[0], "-k") == 0;
    int failed = 0;
    for (int w = keep_on; w < n; w++) {
        bool any = false;
        for (size_t i = 0; i < n_probes; i++) {
            if (!chosen(&probes[i], words[w]))
                continue;
            any = true;
            failed += !run(&probes[i]);
        }
        if (!any) {
            fprintf(stderr, "probe: no probe %s\n", words[w]);
            return 2;
        }
    }
    return failed && !keep_on;
}

static int list(void)
{
    static const char *const words[] = { "step", "net", "outside" };
    for (size_t i = 0; i < n_probes; i++)
        printf("%s %s %s: %s\n", probes[i].id, words[probes[i].where], probes[i].title, probes[i].expected);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } work[] = { { "prepare", work_prepare }, { "flip", work_flip }, { "exchange", work_exchange },
                 { "daemon", work_daemon }, { "stubborn", work_stubborn }, { "line", work_line },
                 { "fill", work_fill } };
    if (argc < 2) {
        fprintf(stderr, "usage: probe list | probe [-k] all|step|net|ID...\n");
        return 2;
    }
    if (strcmp(argv[1], "list") == 0)
        return list();
    for (size_t i = 0; i < COUNT(work); i++) {
        if (strcmp(argv[1], work[i].name) == 0)
            return work[i].run(argc - 2, argv + 2);
    }
    return run_chosen(argc - 1, argv + 1);
}

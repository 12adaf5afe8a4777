/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, ids, terminals, cgroups, limits. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOCKERS_CAPABILITIES 0xa80425fbULL
#define MANY_PROCESSES 400
#define MUCH_MEMORY (512UL << 20)

/* ---- P18 ---- */

void p_terminal(struct verdict *v)
{
    char tioclinux[2] = { 2, 0 };
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        bad(v, "/dev/tty opens");
    for (fd = 0; fd < 3; fd++) {
        fails(v, "TIOCSTI", ioctl(fd, TIOCSTI, "x"));
        fails(v, "TIOCLINUX", ioctl(fd, TIOCLINUX, tioclinux));
    }
    fails(v, "/dev/console", open("/dev/console", O_RDWR | O_CLOEXEC | O_NOCTTY));
}

/* ---- P19, G8 ---- */

static void try_cgroup_file(const char *path, void *arg)
{
    static const char *const names[] = { "release_agent", "cgroup.procs", "tasks", "notify_on_release",
                                         "devices.allow" };
    struct verdict *v = arg;
    struct stat st;
    if (lstat(path, &st) < 0)
        return;
    for (size_t i = 0; S_ISREG(st.st_mode) && i < COUNT(names); i++) {
        if (strcmp(strrchr(path, '/') + 1, names[i]) == 0)
            closed(v, path, O_WRONLY);
    }
    if (S_ISDIR(st.st_mode))
        each_entry(path, try_cgroup_file, v);
}

void p_cgroup(struct verdict *v)
{
    each_entry("/sys/fs/cgroup", try_cgroup_file, v);
    if (mkdir("/sys/fs/cgroup/probe", 0755) == 0)
        bad(v, "a cgroup can be made");
}

/* ---- P20, P21, P22 ---- */

/* The number behind "Name:\t" in our status. */
static bool status_number(const char *name, int base, unsigned long long *out)
{
    static char text[1 << 14];
    if (slurp("/proc/self/status", text, sizeof text) <= 0)
        return false;
    const char *p = strstr(text, name);
    if (!p)
        return false;
    *out = strtoull(p + strlen(name), NULL, base);
    return true;
}

static void is_status(struct verdict *v, const char *name, unsigned long long wanted)
{
    unsigned long long got = 0;
    if (!status_number(name, 16, &got))
        bad(v, "no %s in /proc/self/status", name);
    else if (got != wanted)
        bad(v, "%s %llx", name, got);
}

void p_capabilities(struct verdict *v)
{
    is_status(v, "CapBnd:", DOCKERS_CAPABILITIES);
    is_status(v, "CapEff:", DOCKERS_CAPABILITIES);
    is_status(v, "CapInh:", 0);
    is_status(v, "CapAmb:", 0);
    fails(v, "CAP_SYS_ADMIN as ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
}

void p_seccomp(struct verdict *v)
{
    is_status(v, "Seccomp:", 2);
}

/* root's, by the image's /etc/group: name:password:gid:member,member */
static bool image_has(const char *groups, gid_t gid)
{
    char line[1024];
    if (gid == 0)
        return true;
    for (const char *p = groups; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        unsigned number = 0;
        char members[512] = "";
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        if (sscanf(line, "%*[^:]:%*[^:]:%u:%511s", &number, members) != 2 || number != gid)
            continue;
        for (char *save = NULL, *m = strtok_r(members, ",", &save); m; m = strtok_r(NULL, ",", &save)) {
            if (strcmp(m, "root") == 0)
                return true;
        }
    }
    return false;
}

void p_groups(struct verdict *v)
{
    static char groups[1 << 16];
    gid_t list[256];
    int n = getgroups(COUNT(list), list);
    slurp("/etc/group", groups, sizeof groups);
    for (int i = 0; i < n; i++) {
        if (!image_has(groups, list[i]))
            bad(v, "group %u", list[i]);
    }
    if (n < 0 || getgid() != 0 || getegid() != 0)
        bad(v, "gid %u", getgid());
}

void p_inherited(struct verdict *v)
{
    struct statvfs fs;
    is_status(v, "CapInh:", 0);
    is_status(v, "CapAmb:", 0);
    p_groups(v);
    if (statvfs("/sys/fs/cgroup", &fs) == 0 && !(fs.f_flag & ST_RDONLY))
        bad(v, "/sys/fs/cgroup is writable");
}

/* ---- P37 ---- */

static int crash(void *arg)
{
    (void)arg;
    raise(SIGSEGV);
    return 0;
}

/* A limit of 1 is what also keeps a handler in core_pattern from being started; one of 0 does not. */
void p_core(struct verdict *v)
{
    struct rlimit l;
    int status = 0;
    if (getrlimit(RLIMIT_CORE, &l) < 0 || l.rlim_cur != 1 || l.rlim_max != 1)
        bad(v, "RLIMIT_CORE is %llu, %llu", (unsigned long long)l.rlim_cur, (unsigned long long)l.rlim_max);
    pid_t pid = fork();
    if (pid == 0)
        _exit(crash(NULL));
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WCOREDUMP(status))
        bad(v, "a core was dumped");
}

/* ---- P32: in a step with --memory 64m --ulimit nproc=64 ---- */

/* Exits with how many processes there could be, at most 255. */
static int fork_bomb(void *arg)
{
    int n = 0;
    (void)arg;
    setpgid(0, 0);
    for (; n < MANY_PROCESSES; n++) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        if (pid < 0)
            break;
    }
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    return n > 255 ? 255 : n;
}

static int take_memory(void *arg)
{
    char *p = mmap(NULL, MUCH_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)arg;
    for (size_t i = 0; p != MAP_FAILED && i < MUCH_MEMORY; i += 4096)
        p[i] = 1;
    return p == MAP_FAILED ? 2 : 0;
}

void p_limits(struct verdict *v)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NPROC, &l) < 0 || l.rlim_cur > MANY_PROCESSES / 2) {
        skip(v, "wants --memory and --ulimit nproc");
        return;
    }
    int n = in_child(fork_bomb, NULL);
    if (n < 0 || (rlim_t)n > l.rlim_cur)
        bad(v, "%d processes, the limit is %llu", n, (unsigned long long)l.rlim_cur);
    n = in_child(take_memory, NULL);
    if (strcmp(told("PROBE_MEMORY"), "none") != 0 && n != -SIGKILL)
        bad(v, "more memory than the limit: %d", n);
}

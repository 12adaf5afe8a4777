/* SPDX-License-Identifier: Apache-2.0 */
/* What is seen in /proc, and of the host's processes. */
#include "probe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- P1, G6 ---- */

static void look_at_descriptor(const char *path, void *arg)
{
    struct verdict *v = arg;
    struct stat st;
    int fd = atoi(strrchr(path, '/') + 1);
    char target[PATH_MAX] = "";
    if (readlink(path, target, sizeof target - 1) < 0)
        return;
    bool listing = strstr(target, "/proc/") == target && strstr(target, "/fd");
    if (fd > 2 && !listing)
        bad(v, "descriptor %d is %s", fd, target);
    if (fd <= 2 && fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISBLK(st.st_mode)))
        bad(v, "descriptor %d is %s", fd, target);
}

void p_descriptors(struct verdict *v)
{
    for (int fd = 3; fd < 4096; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            bad(v, "descriptor %d is open", fd);
    }
    each_entry("/proc/self/fd", look_at_descriptor, v);
}

/* ---- P3 ---- */

/* A link of /proc/PID: not there, refused, or nothing but our own root. */
static void look_at_link(struct verdict *v, const char *path)
{
    struct stat own, st;
    if (stat(path, &st) < 0) {
        if (errno != ENOENT)
            denied(v, path, -1);
        return;
    }
    if (stat("/", &own) < 0 || own.st_dev != st.st_dev || own.st_ino != st.st_ino)
        bad(v, "%s leads out of the root", path);
}

/* Some runtimes make the step PID 1; the probe may be a child of that. */
static bool init_is_ours(void)
{
    struct stat own, st;
    return stat("/proc/self/exe", &own) == 0 && stat("/proc/1/exe", &st) == 0 && own.st_ino == st.st_ino &&
           own.st_dev == st.st_dev;
}

static void look_at_text(struct verdict *v, const char *path)
{
    static char text[1 << 16];
    char canary[128];
    const char *dir = told("PROBE_HOSTDIR");
    ssize_t n = slurp(path, text, sizeof text);
    if (n > 0 && told_backwards("PROBE_CANARY", canary, sizeof canary) &&
        memmem(text, (size_t)n, canary, strlen(canary)))
        bad(v, "%s holds the host's canary", path);
    if (n > 0 && !init_is_ours() && dir[0] && memmem(text, (size_t)n, dir, strlen(dir)))
        bad(v, "%s holds a path of the host", path);
}

void p_init(struct verdict *v)
{
    static const char *const texts[] = { "environ", "cmdline", "maps", "auxv", "stack", "syscall", "limits", "comm" };
    char path[64];
    for (size_t i = 0; i < COUNT(texts); i++) {
        snprintf(path, sizeof path, "/proc/1/%s", texts[i]);
        look_at_text(v, path);
    }
    look_at_link(v, "/proc/1/cwd");
    look_at_link(v, "/proc/1/root");
    if (!init_is_ours())
        closed(v, "/proc/1/mem", O_RDWR);
}

/* ---- P4 ---- */

static void count_process(const char *path, void *arg)
{
    int *n = arg;
    if (isdigit((unsigned char)strrchr(path, '/')[1]))
        ++*n;
}

static int sleep_long(void *arg)
{
    (void)arg;
    sleep(30);
    return 0;
}

/* Where the processes of a whole machine are seen nothing may be killed. */
void p_processes(struct verdict *v)
{
    int n = 0, status = 0;
    each_entry("/proc", count_process, &n);
    if (n == 0 || n > 3 || getpid() > 8) {
        bad(v, "%d processes are seen, our number is %d: no pid namespace", n, getpid());
        return;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(sleep_long(NULL));
    kill(-1, SIGKILL);
    if (getpid() != 1)
        kill(1, SIGKILL);
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        bad(v, "kill -1 did not reach our own child");
}

/* ---- P5 ---- */

struct search {
    struct verdict *v;
    char words[2][128];
    int depth, files;
};
static char content[8 << 20];

static bool left_out(const char *path)
{
    static const char *const names[] = { "mem", "kmsg", "kcore", "pagemap", "task", "map_files", "fd", "fdinfo", "net",
                                         "self", "thread-self", "pressure" };
    const char *name = strrchr(path, '/') + 1;
    if (strcmp(path, "/sys") == 0)
        return true;
    for (size_t i = 0; strncmp(path, "/proc/", 6) == 0 && i < COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void search_file(struct search *s, const char *path)
{
    bool proc = strncmp(path, "/proc/", 6) == 0;
    ssize_t n = slurp(path, content, proc ? 1 << 16 : sizeof content);
    s->files += n > 0;
    for (size_t i = 0; i < COUNT(s->words); i++) {
        if (n > 0 && s->words[i][0] && memmem(content, (size_t)n, s->words[i], strlen(s->words[i])))
            bad(s->v, "%s holds canary %zu", path, i);
    }
}

static void search_path(const char *path, void *arg)
{
    struct search *s = arg;
    struct stat st;
    if (left_out(path) || lstat(path, &st) < 0)
        return;
    if (S_ISREG(st.st_mode))
        search_file(s, path);
    if (S_ISDIR(st.st_mode) && s->depth < 20) {
        s->depth++;
        each_entry(path, search_path, s);
        s->depth--;
    }
}

void p_canaries(struct verdict *v)
{
    struct search s = { .v = v };
    char path[PATH_MAX];
    if (!told_backwards("PROBE_CANARY", s.words[0], sizeof s.words[0]))
        bad(v, "not told what to look for");
    told_backwards("PROBE_SECRET", s.words[1], sizeof s.words[1]);
    search_path("/", &s);
    if (s.files < 20)
        bad(v, "only %d files could be read", s.files);
    snprintf(path, sizeof path, "%s/canary", told("PROBE_HOSTDIR"));
    if (access(path, F_OK) == 0)
        bad(v, "%s is there", path);
}

/* ---- P6 ---- */

static void try_to_write(const char *path, void *arg)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return;
    if (S_ISREG(st.st_mode))
        closed(arg, path, O_WRONLY);
    if (S_ISDIR(st.st_mode))
        each_entry(path, try_to_write, arg);
}

void p_proc_writes(struct verdict *v)
{
    static const char *const files[] = { "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/mtrr",
                                         "/proc/sys/kernel/modprobe", "/proc/irq/default_smp_affinity", "/proc/kmsg",
                                         "/sys/kernel/uevent_helper", "/proc/sys/fs/binfmt_misc/register" };
    for (size_t i = 0; i < COUNT(files); i++)
        closed(v, files[i], O_WRONLY);
    try_to_write("/proc/sys", v);
}

/* ---- P7, P8 ---- */

static const char *const masked[] = { "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                                      "/proc/timer_stats", "/proc/sched_debug", "/proc/acpi", "/proc/scsi",
                                      "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug" };

static void refuse_entry(const char *path, void *arg)
{
    bad(arg, "%s is seen", path);
}

static void look_at_masks(struct verdict *v)
{
    char byte[2];
    for (size_t i = 0; i < COUNT(masked); i++) {
        if (slurp(masked[i], byte, sizeof byte) > 0)
            bad(v, "%s can be read", masked[i]);
        each_entry(masked[i], refuse_entry, v);
    }
}

void p_masks(struct verdict *v)
{
    look_at_masks(v);
}

void p_masks_stay(struct verdict *v)
{
    struct stat st;
    for (size_t i = 0; i < COUNT(masked); i++) {
        if (stat(masked[i], &st) < 0)
            continue;
        denied(v, "umount", umount2(masked[i], MNT_DETACH));
        denied(v, "mount over", mount("/", masked[i], NULL, MS_BIND, NULL));
        fails(v, "unlink", unlink(masked[i]));
        if (S_ISCHR(st.st_mode) && st.st_rdev != makedev(1, 3))
            bad(v, "%s is covered with a device that is not null", masked[i]);
    }
    bool moved = rename("/dev/null", "/dev/moved") == 0;
    if (moved && symlink("/proc/kcore", "/dev/null") < 0)
        bad(v, "/dev/null is moved, and nothing can take its place");
    look_at_masks(v);
    if (moved && rename("/dev/moved", "/dev/null") < 0)
        bad(v, "/dev/null cannot be moved back");
}

/* ---- G6 ---- */

static void look_at_host_path(const char *path, void *arg)
{
    char target[PATH_MAX] = "";
    const char *dir = told("PROBE_HOSTDIR");
    if (readlink(path, target, sizeof target - 1) > 0 && dir[0] && strncmp(target, dir, strlen(dir)) == 0)
        bad(arg, "%s is %s", path, target);
}

void p_own_program(struct verdict *v)
{
    p_descriptors(v);
    each_entry("/proc/self/fd", look_at_host_path, v);
    each_entry("/proc/1/fd", look_at_host_path, v);
    int fd = open("/proc/self/exe", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 || errno != ETXTBSY)
        denied(v, "writing to /proc/self/exe", fd);
    if (!init_is_ours())
        closed(v, "/proc/1/exe", O_RDONLY);
}

/* ---- P38 ---- */

void p_mountinfo(struct verdict *v)
{
    static const char *const files[] = { "/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/mountstats",
                                         "/proc/1/mountinfo" };
    static char text[1 << 18];
    char secret[128] = "", canary[128] = "";
    if (slurp("/run/secrets/probe", secret, sizeof secret) <= 0) {
        skip(v, "no secret is mounted");
        return;
    }
    told_backwards("PROBE_CANARY", canary, sizeof canary);
    for (size_t i = 0; i < COUNT(files); i++) {
        ssize_t n = slurp(files[i], text, sizeof text);
        if (n > 0 && (memmem(text, (size_t)n, secret, strlen(secret)) ||
                      (canary[0] && memmem(text, (size_t)n, canary, strlen(canary)))))
            bad(v, "%s holds it", files[i]);
        if (i == 0 && n <= 0)
            bad(v, "%s cannot be read", files[i]);
    }
}

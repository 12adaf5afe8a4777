/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of the step: its RUN has --mount of a read-only bind of the context at /ro and a writable one at /rw, a
 * secret `probe`, a stage's link to / at /g2, a cache of a hostile id at /g3, and the roots above the context and the
 * stage at /g3ctx and /g3stage. Context and stage each hold a file `mark`: "context", "stage". */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- P23 ---- */

/* Field number n (from 0) of a line, copied. */
static void field(const char *line, int n, char *out, size_t size)
{
    for (; n > 0; n--) {
        line += strcspn(line, " \n");
        line += *line == ' ';
    }
    snprintf(out, size, "%.*s", (int)strcspn(line, " \n"), line);
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        if (strcspn(p, ",") == n && memcmp(p, word, n) == 0)
            return true;
    }
    return false;
}

static void count(const char *path, void *arg)
{
    (void)path;
    ++*(int *)arg;
}

/* What runtimes cover directories with. */
static bool empty_and_readonly(const char *point, const char *options)
{
    struct stat st;
    int n = 0;
    each_entry(point, count, &n);
    return n == 0 && has_word(options, "ro") && stat(point, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Is a device node, or the file system that runtimes make them on. */
static bool needs_devices(const char *point)
{
    struct stat st, null;
    return strcmp(point, "/dev/pts") == 0 || (stat(point, &st) == 0 &&
           (S_ISCHR(st.st_mode) || (stat("/dev/null", &null) == 0 && null.st_dev == st.st_dev)));
}

/* The root has to have set-user-ID programs (sudo). */
static void look_at_mounts(struct verdict *v)
{
    static char text[1 << 18];
    char point[512], options[512];
    if (slurp("/proc/self/mountinfo", text, sizeof text) <= 0)
        bad(v, "no mountinfo");
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        field(line, 4, point, sizeof point);
        field(line, 5, options, sizeof options);
        if (empty_and_readonly(point, options))
            continue;
        if (strcmp(point, "/") != 0 && !has_word(options, "nosuid"))
            bad(v, "%s is not nosuid", point);
        if (!needs_devices(point) && !has_word(options, "nodev"))
            bad(v, "%s is not nodev", point);
    }
}

void p_readonly_bind(struct verdict *v)
{
    static const unsigned long tries[] = { MS_REMOUNT, MS_REMOUNT | MS_BIND, MS_REMOUNT | MS_BIND | MS_NOSUID };
    if (access("/ro/mark", F_OK) < 0)
        bad(v, "/ro is not there");
    for (size_t i = 0; i < COUNT(tries); i++)
        denied(v, "remount", mount(NULL, "/ro", NULL, tries[i], NULL));
    denied(v, "umount", umount2("/ro", MNT_DETACH));
    denied(v, "writing", open("/ro/mark", O_WRONLY | O_CLOEXEC));
    denied(v, "making", open("/ro/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    denied(v, "chmod", chmod("/ro/mark", 0777));
    denied(v, "link", link("/ro/mark", "/ro/other"));
    denied(v, "removing", unlink("/ro/mark"));
    look_at_mounts(v);
}

/* ---- P24 ---- */

/* Where one id is mapped, setuid only seems to have worked: the kernel's word counts. */
static int is_other(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, "\nUid:\t65534\t65534") != NULL;
}

static int open_as_other(void *arg)
{
    if (setgid(65534) < 0 || setuid(65534) < 0 || !is_other())
        return 2;
    int fd = open(arg, O_RDONLY | O_CLOEXEC);
    return fd < 0 && errno == EACCES ? 0 : 1;
}

void p_secret(struct verdict *v)
{
    static char path[] = "/run/secrets/probe";
    struct statfs fs;
    struct stat st;
    if (stat(path, &st) < 0 || statfs(path, &fs) < 0) {
        bad(v, "no secret is mounted");
        return;
    }
    if ((st.st_mode & 07777) != 0400 || st.st_uid != 0)
        bad(v, "mode %o, owner %u", st.st_mode & 07777, st.st_uid);
    if (fs.f_type != 0x858458f6 /* ramfs */)
        bad(v, "it is on a file system %lx", (long)fs.f_type);
    denied(v, "writing", open(path, O_WRONLY | O_CLOEXEC));
    /* With one id there is nobody else. */
    if (in_child(open_as_other, path) == 1)
        bad(v, "another user can read it");
    if (access("/run/secrets/before", F_OK) == 0)
        bad(v, "that of the step before is still there");
}

/* ---- P25 ---- */

void p_scratch(struct verdict *v)
{
    char text[32] = "";
    if (access("/prepared", F_OK) < 0)
        bad(v, "the step before has not run");
    if (access("/rw/written", F_OK) == 0)
        bad(v, "a file of the step before is there");
    if (slurp("/rw/mark", text, sizeof text) <= 0 || strcmp(text, "context\n") != 0)
        bad(v, "the step before has changed a file");
}

/* ---- G2, G3 ---- */

static void is_root_of(struct verdict *v, const char *dir, const char *wanted)
{
    char path[4096], text[32] = "";
    snprintf(path, sizeof path, "%s/mark", dir);
    if (slurp(path, text, sizeof text) <= 0 || strcmp(text, wanted) != 0)
        bad(v, "%s is not what it should be", dir);
    snprintf(path, sizeof path, "%s%s/canary", dir, told("PROBE_HOSTDIR"));
    if (access(path, F_OK) == 0)
        bad(v, "%s is the host's root", dir);
}

void p_stage_root(struct verdict *v)
{
    is_root_of(v, "/g2", "stage\n");
}

static void only_ours(const char *path, void *arg)
{
    if (strcmp(path, "/g3/cached") != 0)
        bad(arg, "%s is there", path);
}

void p_dotdot(struct verdict *v)
{
    if (access("/g3/cached", F_OK) < 0)
        bad(v, "the cache of the step before is not there");
    each_entry("/g3", only_ours, v);
    is_root_of(v, "/g3ctx", "context\n");
    is_root_of(v, "/g3stage", "stage\n");
}

/* ---- G7: the image has links for /dev/null, /dev/pts and /etc/resolv.conf ---- */

static void is_type(struct verdict *v, const char *path, long a, long b)
{
    struct statfs fs;
    if (statfs(path, &fs) < 0 || ((long)fs.f_type != a && (long)fs.f_type != b))
        bad(v, "%s is not ours", path);
}

void p_system_dirs(struct verdict *v)
{
    struct stat st;
    char text[32] = "";
    is_type(v, "/dev", TMPFS_MAGIC, TMPFS_MAGIC);
    is_type(v, "/proc", PROC_SUPER_MAGIC, PROC_SUPER_MAGIC);
    is_type(v, "/sys", SYSFS_MAGIC, TMPFS_MAGIC);
    is_type(v, "/dev/pts", DEVPTS_SUPER_MAGIC, DEVPTS_SUPER_MAGIC);
    if (lstat("/dev/null", &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        bad(v, "/dev/null is something else");
    if (slurp("/linked", text, sizeof text) <= 0 || strcmp(text, "untouched\n") != 0)
        bad(v, "what the image's links lead to was changed");
}

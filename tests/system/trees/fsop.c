/* SPDX-License-Identifier: Apache-2.0 */
/* Does to files what a list says, and tells what a tree holds. Static: it runs in images that have nothing else.
 * usage: fsop [-b] [-c DIR] run FILE   an operation a line; words are separated by blanks, bytes may be written %XX
 *        fsop [-c DIR] list NAME…      a line a path; NAMEs in the root are left out
 *        fsop -c DIR strip             no file has extended attributes any more
 *        fsop [-b] [-c DIR] step SEEN FILE NAME…   lists into SEEN, then runs FILE
 * -c: in that root directory; FILE is one outside. An operation that fails is passed over: where the same file system
 * is, the same ones fail. -b: as overlayfs does, a file of before that has several names is made one of its own before
 * it is changed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS 8
#define MAX_VALUE 65536
#define MAX_LINKED 100000
#define MAX_LISTED 65536

static bool breaks;
static struct {
    dev_t dev;
    ino_t ino;
} linked[MAX_LINKED]; /* had several names when it began */
static size_t n_linked;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "fsop: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- names of before ---- */

/* path: from the root on. */
static void walk(const char *dir, void (*visit)(const char *path, const struct stat *st))
{
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct stat st;
        char path[2 * PATH_MAX];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") ? dir : "", e->d_name);
        if (!strcmp(path, "/proc") || !strcmp(path, "/sys") || lstat(path, &st) < 0)
            continue;
        visit(path, &st);
        if (S_ISDIR(st.st_mode))
            walk(path, visit);
    }
    if (d)
        closedir(d);
}

static void note_linked(const char *path, const struct stat *st)
{
    (void)path;
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return;
    if (n_linked == MAX_LINKED)
        die("too many links");
    linked[n_linked].dev = st->st_dev;
    linked[n_linked++].ino = st->st_ino;
}

static void copy_xattrs(const char *from, const char *to)
{
    static char names[MAX_VALUE], value[MAX_VALUE];
    ssize_t n = llistxattr(from, names, sizeof names);
    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        ssize_t size = lgetxattr(from, p, value, sizeof value);
        if (size >= 0)
            lsetxattr(to, p, value, (size_t)size, 0);
    }
}

static void copy_bytes(const char *from, const char *to)
{
    char buf[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (in < 0 || out < 0)
        die(to);
    for (ssize_t n; (n = read(in, buf, sizeof buf)) > 0;)
        if (write(out, buf, (size_t)n) != n)
            die(to);
    close(in);
    close(out);
}

/* All that it is, but its inode. */
static void copy_node(const char *from, const char *to, const struct stat *st)
{
    char text[PATH_MAX] = "";
    if (S_ISREG(st->st_mode))
        copy_bytes(from, to);
    else if (S_ISLNK(st->st_mode) ? readlink(from, text, sizeof text - 1) < 0 || symlink(text, to) < 0
                                  : mknod(to, st->st_mode & S_IFMT, st->st_rdev) < 0)
        die(to);
    if (lchown(to, st->st_uid, st->st_gid) < 0)
        die(to);
    if (!S_ISLNK(st->st_mode) && chmod(to, st->st_mode & 07777) < 0)
        die(to);
    copy_xattrs(from, to);
    const struct timespec t[2] = { st->st_atim, st->st_mtim };
    utimensat(AT_FDCWD, to, t, AT_SYMLINK_NOFOLLOW);
}

static void rest_time(const char *path, const struct stat *st)
{
    const struct timespec t[2] = { st->st_atim, st->st_mtim };
    utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW);
}

/* follow: the operation does. Links of their own: of a directory on the way none is changed. */
static void break_link(const char *name, bool follow)
{
    struct stat st, dir;
    char path[PATH_MAX], new[PATH_MAX + 8], parent[PATH_MAX + 4];
    if (!breaks || lstat(name, &st) < 0)
        return;
    if (!S_ISLNK(st.st_mode) || !follow)
        snprintf(path, sizeof path, "%s", name);
    else if (!realpath(name, path) || lstat(path, &st) < 0)
        return;
    size_t i = 0;
    while (i < n_linked && (linked[i].dev != st.st_dev || linked[i].ino != st.st_ino))
        i++;
    if (i == n_linked || S_ISDIR(st.st_mode))
        return;
    snprintf(new, sizeof new, "%.*s/.fsop", (int)(strrchr(path, '/') - path), path);
    snprintf(parent, sizeof parent, "%.*s/.", (int)(strrchr(path, '/') - path), path);
    if (lstat(parent, &dir) < 0)
        die(parent);
    copy_node(path, new, &st);
    if (rename(new, path) < 0)
        die(path);
    rest_time(parent, &dir);
}

/* ---- operations ---- */

static void fill(char *buf, size_t n, uint32_t *state, bool noise)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        buf[i] = noise ? (char)(*state >> 24) : (char)("layers of a file\n"[(*state >> 30) + i % 13]);
    }
}

/* An odd seed is noise, an even one something that can be compressed. */
static int put(int fd, uint64_t size, const char *seed)
{
    char buf[4096];
    uint32_t state = (uint32_t)strtoul(seed, NULL, 10);
    bool noise = state & 1;
    for (size_t n; fd >= 0 && size; size -= n) {
        n = size < sizeof buf ? (size_t)size : sizeof buf;
        fill(buf, n, &state, noise);
        if (write(fd, buf, n) != (ssize_t)n)
            die("write");
    }
    return fd;
}

/* Devices and pipes are left alone. */
static int open_file(const char *path, int flags)
{
    struct stat st;
    if (stat(path, &st) < 0 ? !(flags & O_CREAT) : !S_ISREG(st.st_mode))
        return -1;
    break_link(path, true);
    return open(path, flags | O_WRONLY | O_NONBLOCK, 0644);
}

static void op_write(char **a)
{
    close(put(open_file(a[0], O_CREAT | O_TRUNC), strtoull(a[1], NULL, 10), a[2]));
}

static void op_append(char **a)
{
    close(put(open_file(a[0], O_APPEND), strtoull(a[1], NULL, 10), a[2]));
}

static void op_truncate(char **a)
{
    break_link(a[0], true);
    int r = truncate(a[0], strtoll(a[1], NULL, 10));
    (void)r;
}

/* sparse PATH SIZE AT LENGTH SEED */
static void op_sparse(char **a)
{
    int fd = open_file(a[0], O_CREAT | O_TRUNC);
    if (fd < 0 || ftruncate(fd, strtoll(a[1], NULL, 10)) < 0 || lseek(fd, strtoll(a[2], NULL, 10), SEEK_SET) < 0)
        return;
    close(put(fd, strtoull(a[3], NULL, 10), a[4]));
}

static void op_chmod(char **a)
{
    break_link(a[0], true);
    chmod(a[0], (mode_t)strtoul(a[1], NULL, 8));
}

static void op_chown(char **a)
{
    break_link(a[0], false);
    int r = lchown(a[0], (uid_t)strtoul(a[1], NULL, 10), (gid_t)strtoul(a[2], NULL, 10));
    (void)r;
}

static void op_link(char **a)
{
    break_link(a[0], false);
    int r = link(a[0], a[1]);
    (void)r;
}

static void op_symlink(char **a)
{
    int r = symlink(a[0], a[1]);
    (void)r;
}

static void move(const char *from, const char *to);

/* What overlayfs cannot rename: a directory of a lower layer. */
static void move_dir(const char *from, const char *to, const struct stat *st)
{
    DIR *d = mkdir(to, 0700) < 0 ? NULL : opendir(from);
    if (!d)
        return;
    char names[512][NAME_MAX + 1];
    size_t n = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && n < 512)
            snprintf(names[n++], sizeof names[0], "%s", e->d_name);
    closedir(d);
    for (size_t i = 0; i < n; i++) {
        char a[2 * PATH_MAX], b[2 * PATH_MAX];
        snprintf(a, sizeof a, "%s/%s", from, names[i]);
        snprintf(b, sizeof b, "%s/%s", to, names[i]);
        move(a, b);
    }
    if (lchown(to, st->st_uid, st->st_gid) < 0 || chmod(to, st->st_mode & 07777) < 0)
        die(to);
    copy_xattrs(from, to);
    rest_time(to, st);
    rmdir(from);
}

static void break_below(const char *path, const struct stat *st)
{
    if (!S_ISDIR(st->st_mode))
        break_link(path, false);
}

static void move(const char *from, const char *to)
{
    struct stat st, is;
    if (lstat(from, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode) && breaks)
        walk(from, break_below);
    break_link(from, false);
    if (rename(from, to) == 0 || errno != EXDEV || !S_ISDIR(st.st_mode))
        return;
    if (lstat(to, &is) == 0 && rmdir(to) < 0)
        return;
    move_dir(from, to, &st);
}

static void op_rename(char **a)
{
    struct stat x, y;
    /* Names of one inode are left as they are by rename(2), but not where one of them is a copy: and links to pipes and
     * the like are unpacked as such. */
    bool same = lstat(a[0], &x) == 0 && lstat(a[1], &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    if (!same)
        move(a[0], a[1]);
    else if (!S_ISREG(x.st_mode) && !S_ISDIR(x.st_mode) && strcmp(a[0], a[1]))
        unlink(a[0]);
}

static void op_mkdir(char **a)
{
    if (mkdir(a[0], 0700) == 0)
        chmod(a[0], (mode_t)strtoul(a[1], NULL, 8));
}

static void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
            char name[2 * PATH_MAX];
            snprintf(name, sizeof name, "%s/%s", path, e->d_name);
            if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
                remove_tree(name);
        }
        if (d)
            closedir(d);
        rmdir(path);
        return;
    }
    unlink(path);
}

/* The way to it may lead through what goes with it: how much went then would depend on the order of a directory. */
static void op_remove(char **a)
{
    char dir[PATH_MAX], path[2 * PATH_MAX];
    const char *name = strrchr(a[0], '/');
    snprintf(dir, sizeof dir, "%.*s/", (int)(name - a[0]), a[0]);
    char *real = realpath(dir, NULL);
    if (!real)
        return;
    snprintf(path, sizeof path, "%s%s", strcmp(real, "/") ? real : "", name);
    free(real);
    remove_tree(path);
}

/* node PATH TYPE MODE MAJOR MINOR */
static void op_node(char **a)
{
    static const char types[] = "pcbs";
    static const mode_t modes[] = { S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK };
    const char *at = strchr(types, *a[1]);
    if (at && mknod(a[0], modes[at - types] | 0600,
                    makedev((unsigned)strtoul(a[3], NULL, 10), (unsigned)strtoul(a[4], NULL, 10))) == 0)
        chmod(a[0], (mode_t)strtoul(a[2], NULL, 8));
}

/* setx PATH NAME HEX */
static void op_setx(char **a)
{
    static char value[MAX_VALUE];
    struct stat st;
    if (lstat(a[0], &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return; /* layers keep those of files and directories */
    size_t n = strlen(a[2]) / 2; /* "-" is none */
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        sscanf(a[2] + 2 * i, "%2x", &byte);
        value[i] = (char)byte;
    }
    break_link(a[0], false);
    lsetxattr(a[0], a[1], value, n, 0);
}

static void op_delx(char **a)
{
    if (lgetxattr(a[0], a[1], NULL, 0) < 0)
        return; /* and nothing is copied up */
    break_link(a[0], false);
    lremovexattr(a[0], a[1]);
}

static void op_time(char **a)
{
    const struct timespec t = { .tv_sec = strtoll(a[1], NULL, 10), .tv_nsec = strtol(a[2], NULL, 10) };
    const struct timespec both[2] = { t, t };
    break_link(a[0], false);
    utimensat(AT_FDCWD, a[0], both, AT_SYMLINK_NOFOLLOW);
}

static const struct {
    const char *name;
    int n_args;
    void (*run)(char **a);
} ops[] = {
    { "write", 3, op_write },     { "append", 3, op_append },   { "truncate", 2, op_truncate },
    { "sparse", 5, op_sparse },   { "chmod", 2, op_chmod },     { "chown", 3, op_chown },
    { "link", 2, op_link },       { "symlink", 2, op_symlink }, { "rename", 2, op_rename },
    { "mkdir", 2, op_mkdir },     { "remove", 1, op_remove },   { "node", 5, op_node },
    { "setx", 3, op_setx },       { "delx", 2, op_delx },       { "time", 3, op_time },
};

static void decode(char *s)
{
    char *to = s;
    unsigned byte;
    for (; *s; s++) {
        if (*s == '%' && sscanf(s + 1, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

static void run_line(char *line)
{
    char *args[MAX_ARGS] = { 0 }, *save = NULL, *word = strtok_r(line, " \n", &save);
    if (!word)
        return;
    for (int n = 0; n < MAX_ARGS && (args[n] = strtok_r(NULL, " \n", &save)) != NULL; n++)
        decode(args[n]);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(word, ops[i].name) && args[ops[i].n_args - 1]) {
            errno = 0;
            ops[i].run(args);
            return;
        }
    fprintf(stderr, "fsop: no operation: %s\n", word);
    exit(1);
}

static void run(FILE *f)
{
    char *line = NULL;
    size_t cap = 0;
    umask(022);
    if (breaks)
        walk("/", note_linked);
    while (getline(&line, &cap, f) > 0)
        run_line(line);
    free(line);
}

static void strip(const char *path, const struct stat *st)
{
    static char names[MAX_VALUE];
    (void)st;
    ssize_t n = llistxattr(path, names, sizeof names);
    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1)
        lremovexattr(path, p);
}

/* ---- listing ---- */

static struct listed {
    char *path;
    struct stat st;
} listed[MAX_LISTED];
static size_t n_listed;
static char **left_out;

static void note(const char *path, const struct stat *st)
{
    for (char **name = left_out; *name; name++) {
        size_t len = strlen(*name);
        if (!strncmp(path + 1, *name, len) && (!path[1 + len] || path[1 + len] == '/'))
            return;
    }
    if (n_listed == MAX_LISTED)
        die("too many files");
    listed[n_listed].path = strdup(path);
    listed[n_listed++].st = *st;
}

static int cmp_listed(const void *a, const void *b)
{
    return strcmp(((const struct listed *)a)->path, ((const struct listed *)b)->path);
}

static void print_text(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 127 || s[i] == '%')
            printf("%%%02x", (unsigned char)s[i]);
        else
            putchar(s[i]);
}

static uint32_t sum_of(const char *path)
{
    unsigned char buf[65536];
    uint32_t crc = ~0u;
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    if (fd < 0)
        die(path);
    for (ssize_t n; (n = read(fd, buf, sizeof buf)) != 0;) {
        if (n < 0)
            die(path);
        for (ssize_t i = 0; i < n; i++) {
            crc ^= buf[i];
            for (int k = 0; k < 8; k++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    close(fd);
    return ~crc;
}

static void print_xattrs(const char *path)
{
    static char names[MAX_VALUE], value[MAX_VALUE];
    char *sorted[256];
    size_t n = 0;
    ssize_t size = llistxattr(path, names, sizeof names);
    for (char *p = names; size > 0 && p < names + size && n < 256; p += strlen(p) + 1)
        if ((!strncmp(p, "user.", 5) && strncmp(p, "user.overlay.", 13)) || !strcmp(p, "security.capability"))
            sorted[n++] = p;
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k && strcmp(sorted[k - 1], sorted[k]) > 0; k--) {
            char *swap = sorted[k];
            sorted[k] = sorted[k - 1];
            sorted[k - 1] = swap;
        }
    for (size_t i = 0; i < n; i++) {
        size = lgetxattr(path, sorted[i], value, sizeof value);
        putchar(' ');
        print_text(sorted[i], strlen(sorted[i]));
        putchar('=');
        print_text(value, size > 0 ? (size_t)size : 0);
    }
}

static void print_what(size_t i)
{
    const struct stat *st = &listed[i].st;
    char text[PATH_MAX];
    if (S_ISREG(st->st_mode)) {
        printf(" %lld %08x", (long long)st->st_size, sum_of(listed[i].path));
    } else if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(listed[i].path, text, sizeof text);
        printf(" > ");
        print_text(text, n > 0 ? (size_t)n : 0);
    } else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        printf(" %u:%u", major(st->st_rdev), minor(st->st_rdev));
    }
    for (size_t k = 0; S_ISREG(st->st_mode) && st->st_nlink > 1 && k < i; k++)
        if (listed[k].st.st_dev == st->st_dev && listed[k].st.st_ino == st->st_ino) {
            printf(" is ");
            print_text(listed[k].path, strlen(listed[k].path));
            break;
        }
}

static void list(void)
{
    time_t now = time(NULL);
    walk("/", note);
    qsort(listed, n_listed, sizeof *listed, cmp_listed);
    for (size_t i = 0; i < n_listed; i++) {
        const struct stat *st = &listed[i].st;
        char type = S_ISDIR(st->st_mode) ? 'd' : S_ISREG(st->st_mode) ? 'f' : S_ISLNK(st->st_mode) ? 'l' :
                    S_ISFIFO(st->st_mode) ? 'p' : S_ISCHR(st->st_mode) ? 'c' : S_ISBLK(st->st_mode) ? 'b' : 's';
        if (type == 's')
            continue; /* of use only to the process that bound it: layers have none */
        print_text(listed[i].path, strlen(listed[i].path));
        printf(" %c %04o %u:%u ", type, type == 'l' ? 0777 : st->st_mode & 07777u, st->st_uid, st->st_gid);
        if (st->st_mtime > now - 7200 && st->st_mtime < now + 7200)
            printf("now");
        else
            printf("%lld", (long long)st->st_mtime);
        print_what(i);
        if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
            print_xattrs(listed[i].path);
        putchar('\n');
    }
}

int main(int argc, char **argv)
{
    int opt;
    const char *root = NULL;
    while ((opt = getopt(argc, argv, "+bc:")) != -1) {
        breaks = breaks || opt == 'b';
        root = opt == 'c' ? optarg : root;
    }
    argv += optind;
    const char *verb = argc > optind ? *argv++ : "";
    bool step = !strcmp(verb, "step"), runs = step || !strcmp(verb, "run");
    const char *seen = step ? *argv++ : NULL, *file = runs ? *argv++ : NULL;
    FILE *f = file ? fopen(file, "re") : NULL;
    if (runs && !f)
        die(file ? file : "FILE");
    if (root && (chroot(root) < 0 || chdir("/") < 0))
        die(root);
    left_out = argv;
    if (seen && !freopen(seen, "we", stdout))
        die(seen);
    if (!strcmp(verb, "strip"))
        walk("/", strip);
    if (step || !strcmp(verb, "list"))
        list();
    if (fclose(stdout))
        die("write");
    if (f)
        run(f);
    return runs || !strcmp(verb, "list") || !strcmp(verb, "strip") ? 0 : 2;
}

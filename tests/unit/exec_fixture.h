/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A root file system of a static busybox, and steps on it. Everything that needs root or a user namespace skips, with
 * the reason, where there is neither. Included by one test program each. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/exec.h"
#include "exec/sandbox.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/timeutil.h"

#define ORDINARY_UID 12345

struct fixture {
    enum cb_id_mode mode;
    enum cb_overlay_how how; /* as on an older kernel */
    bool again;              /* these tests run once more in another way: slow ones may wait for that */
    const char *why_not;     /* no sandbox can be made here: the reason */
    char base_path[64];
    int base, lower;
    /* of the last step */
    int dir, upper;
    struct cb_strbuf out, err;
    struct cb_error error;
    int status, result;
    int64_t ns;
};

static struct fixture fx = {
    .base = -1, .lower = -1, .dir = -1, .upper = -1, .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT
};

static inline CB_UNUSED void need_sandbox(void)
{
    if (fx.why_not) {
        print_message("skipped: %s\n", fx.why_not);
        skip();
    }
}

static inline CB_UNUSED void put_file(int dir, const char *name, const char *text, mode_t mode)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(cb_fd_write_all(fd, text, strlen(text), NULL), 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline CB_UNUSED int make_dir(int dir, const char *name)
{
    assert_true(mkdirat(dir, name, 0755) == 0 || errno == EEXIST);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline CB_UNUSED void copy_busybox(int bin)
{
    static const char *const applets[] = { "sh",   "ls",    "cat",  "true",     "id",    "mount", "umount",
                                           "ps",   "env",   "kill", "sleep",    "echo",  "touch", "mkdir",
                                           "rm",   "rmdir", "ip",   "stat",     "grep",  "wc",    "hostname",
                                           "stty", "tty",   "nc",   "readlink", "chmod", "mv",    "ln",
                                           "dd",   "head",  "seq",  "find",     "test",  "printf" };
    int in = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
    int out = openat(bin, "busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    uint64_t copied = 0;
    assert_true(in >= 0 && out >= 0);
    assert_int_equal(cb_fd_copy(in, out, UINT64_MAX, &copied, NULL), 0);
    close(in);
    close(out);
    for (size_t i = 0; i < CB_COUNTOF(applets); i++)
        assert_int_equal(symlinkat("busybox", bin, applets[i]), 0);
}

static inline CB_UNUSED void fixture_make(void)
{
    umask(022);
    memcpy(fx.base_path, "/tmp/cbpush-exec-XXXXXX", sizeof "/tmp/cbpush-exec-XXXXXX");
    assert_non_null(mkdtemp(fx.base_path));
    assert_int_equal(chmod(fx.base_path, 0755), 0);
    fx.base = open(fx.base_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fx.lower = make_dir(fx.base, "lower");
    int bin = make_dir(fx.lower, "bin");
    copy_busybox(bin);
    close(bin);
    int etc = make_dir(fx.lower, "etc");
    put_file(etc, "passwd", "root:x:0:0::/root:/bin/sh\n", 0644);
    close(etc);
    close(make_dir(fx.lower, "tmp"));
    assert_int_equal(fchmodat(fx.lower, "tmp", 01777, 0), 0);
    fx.dir = fx.upper = -1;
}

static inline CB_UNUSED void fixture_close_step(void)
{
    if (fx.dir >= 0)
        close(CB_TAKE_FD(fx.dir));
    if (fx.upper >= 0)
        close(CB_TAKE_FD(fx.upper));
    cb_error_done(&fx.error);
}

static inline CB_UNUSED int fixture_free(void)
{
    fixture_close_step();
    if (fx.lower >= 0)
        close(CB_TAKE_FD(fx.lower));
    if (fx.base >= 0)
        close(CB_TAKE_FD(fx.base));
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    cb_autoclose int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = cb_fs_remove_tree(tmp, fx.base_path + strlen("/tmp/"), &err);
    if (r < 0)
        print_message("%s\n", cb_error_text(&err));
    cb_strbuf_done(&fx.out);
    cb_strbuf_done(&fx.err);
    return r < 0;
}

static inline CB_UNUSED void on_output(void *arg, int stream, const char *buf, size_t n)
{
    (void)arg;
    cb_strbuf_add(stream == 1 ? &fx.out : &fx.err, buf, n);
}

static const char *const plain_env[] = { "PATH=/bin", NULL };

static inline CB_UNUSED struct cb_exec_spec plain_spec(void)
{
    return (struct cb_exec_spec){ .root = { .lower_fds = &fx.lower, .n_lower = 1 },
                                  .id_mode = fx.mode,
                                  .env = plain_env,
                                  .cwd = "/",
                                  .init = true,
                                  .stdin_fd = -1,
                                  .stdout_fd = -1,
                                  .stderr_fd = -1,
                                  .on_output = on_output };
}

/* In a fresh upper directory, which stays open in fx.upper until the next step. */
static inline CB_UNUSED void run_spec(struct cb_exec_spec *spec)
{
    char name[64];
    fixture_close_step();
    cb_strbuf_reset(&fx.out);
    cb_strbuf_reset(&fx.err);
    assert_int_equal(cb_fs_mkdtempat(fx.base, "step-", name, 0755, &fx.dir, NULL), 0);
    fx.upper = make_dir(fx.dir, "upper");
    spec->root.upper_fd = fx.upper;
    spec->root.work_fd = make_dir(fx.dir, "work");
    spec->scratch_fd = make_dir(fx.dir, "scratch");
    fx.status = -1;
    int64_t begin = cb_time_monotonic();
    fx.result = cb_sandbox_run(spec, fx.how, &fx.status, &fx.error);
    fx.ns = cb_time_monotonic() - begin;
    close(spec->root.work_fd);
    close(spec->scratch_fd);
    if (fx.result < 0)
        print_message("run: %s\n", cb_error_text(&fx.error));
}

static inline CB_UNUSED void run_script(struct cb_exec_spec *spec, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    spec->argv = argv;
    run_spec(spec);
    spec->argv = NULL;
}

/* A plain step of that shell script has to end with status 0. */
static inline CB_UNUSED void ok(const char *script)
{
    struct cb_exec_spec spec = plain_spec();
    run_script(&spec, script);
    if (fx.status != 0)
        print_message("status %d\n--- out\n%s--- err\n%s", fx.status, fx.out.buf, fx.err.buf);
    assert_int_equal(fx.result, 0);
    assert_int_equal(fx.status, 0);
}

static inline CB_UNUSED size_t count_entries(int dir)
{
    size_t n = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fdopendir(fd);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

/* ---- the same tests twice: as who we are, and as an ordinary user ---- */

typedef int (*group_fn)(void);

static inline CB_UNUSED bool unshare_is_forbidden(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWNS) == 0 ? 0 : 1);
    int status = 1;
    return pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0;
}

static inline CB_UNUSED int enter_and_run(group_fn group)
{
    struct cb_error err = CB_ERROR_INIT;
    static char reason[512];
    if (cb_userns_enter(&fx.mode, &err) < 0) {
        snprintf(reason, sizeof reason, "%s", cb_error_text(&err));
        fx.why_not = reason;
    } else if (access("/bin/busybox", X_OK) < 0) {
        fx.why_not = "no /bin/busybox (apt-get install busybox-static)";
    } else if (fx.mode == CB_ID_REAL_ROOT && unshare_is_forbidden()) {
        fx.why_not = "root without CAP_SYS_ADMIN";
    }
    cb_error_done(&err);
    fixture_make();
    int failed = group();
    return failed + fixture_free();
}

static inline CB_UNUSED bool bind_text(const char *path, const char *text)
{
    char temp[] = "/tmp/cbpush-etc-XXXXXX";
    int fd = mkstemp(temp);
    bool ok_ = fd >= 0 && cb_fd_write_all(fd, text, strlen(text), NULL) == 0 && fchmod(fd, 0644) == 0 &&
               mount(temp, path, NULL, MS_BIND, NULL) == 0;
    if (fd >= 0)
        close(fd);
    unlink(temp);
    return ok_;
}

/* A user with a range of ids, in a mount namespace of this process alone: the machine's files stay as they are. */
static inline CB_UNUSED bool pretend_range(void)
{
    static const char *const files[][2] = {
        { "/etc/passwd", "root:x:0:0::/root:/bin/sh\ncbtest:x:12345:12345::/:/bin/sh\n" },
        { "/etc/subuid", "cbtest:200000:65536\n" },
        { "/etc/subgid", "cbtest:300000:65536\n" },
    };
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    for (size_t i = 0; i < CB_COUNTOF(files); i++) {
        if (access(files[i][0], F_OK) < 0 || !bind_text(files[i][0], files[i][1]))
            return false;
    }
    return true;
}

/* In the same way, a /dev/net/tun that everybody may open, as distributions have it. */
static inline CB_UNUSED bool pretend_tun(void)
{
    return mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=0755") == 0 &&
           mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) == 0 && chmod("/dev/net/tun", 0666) == 0;
}

static inline CB_UNUSED int user_main(group_fn group, bool range)
{
    if (range && (access("/usr/bin/newuidmap", X_OK) < 0 || !pretend_range())) {
        print_message("skipped: no newuidmap, or /etc/subuid cannot be replaced for a while\n");
        return 0;
    }
    if (range && !pretend_tun())
        print_message("no /dev/net/tun for everybody\n");
    if (setgroups(0, NULL) < 0 || setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID) < 0 ||
        setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID) < 0)
        return 1;
    /* As a login would leave it: otherwise /proc/self is root's. */
    prctl(PR_SET_DUMPABLE, 1);
    print_message("as uid %d %s a range of ids\n", ORDINARY_UID, range ? "with" : "without");
    int failed = enter_and_run(group);
    if (!fx.why_not && fx.mode != (range ? CB_ID_RANGE : CB_ID_SINGLE)) {
        print_message("the ids were mapped in another way: %d\n", (int)fx.mode);
        failed++;
    }
    return failed;
}

static inline CB_UNUSED int run_as_user(group_fn group, bool range)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fx.again = true;
        int failed = user_main(group, range);
        fflush(NULL);
        _exit(failed ? 1 : 0);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static inline CB_UNUSED int run_groups(group_fn group)
{
    if (getenv("CB_TEST_FILTER")) /* one test alone, by pattern */
        cmocka_set_test_filter(getenv("CB_TEST_FILTER"));
    int failed = geteuid() == 0 ? run_as_user(group, false) + run_as_user(group, true) : 0;
    return enter_and_run(group) + failed;
}

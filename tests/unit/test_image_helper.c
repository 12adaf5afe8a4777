/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that layers are read in: what they can still do once a layer has taken one over (rule R3), and what
 * is left when one crashes, lies, hangs or loses its parent. The hooks are what such a layer would run. */
#include "store_fixture.h"
#include "layer_support.h"

#include <dirent.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "image/helper.h"
#include "util/confine.h"
#include "util/path.h"

static const char *(*hook_to_use)(int root);

static int setup_helpers(void **state)
{
    if (setup(state) < 0)
        return -1;
    cb_helpers_start(&(struct cb_helper_options){ .hook = hook_to_use });
    return cb_helper_is_there() ? 0 : -1;
}

static int teardown_helpers(void **state)
{
    cb_helpers_stop();
    return teardown(state);
}

static int take_in(struct fixture *f, bool tree, const struct cb_cancel *cancel)
{
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    sup_file(&t, "etc/motd", "hello");
    sup_end(&t);
    struct cb_layer_intake o = {
        .store = f->s, .source = sup_source(t.buf, t.len, 700), .want_tree = tree, .userxattr = geteuid() != 0,
        .single_id = geteuid() != 0, .cancel = cancel,
    };
    cb_digest_of(&o.diff_id, t.buf, t.len);
    return cb_image_intake(&o, NULL, NULL, &f->err);
}

static size_t entries_below(const struct fixture *f, const char *sub)
{
    cb_autofree char *path = cb_asprintf("%s/%s", f->root, sub);
    return exists(path) ? count_entries(path) : 0;
}

/* The directory of this process in tmp stays until the store is closed. */
static void check_nothing_left(struct fixture *f)
{
    reopen(f);
    assert_int_equal(entries_below(f, "tmp"), 0);
    assert_int_equal(entries_below(f, "trees"), 0);
    assert_int_equal(entries_below(f, "toc/sha256"), 0);
}

/* ---- what a helper can do ---- */

static const char *tries_files(int root)
{
    struct stat up, top;
    static const char *const outside[] = { "/etc/passwd", "../../../../../../../../etc/passwd", "/proc/self/environ",
                                           "/proc/self/mem", "/dev/null" };
    for (size_t i = 0; i < CB_COUNTOF(outside); i++) {
        if (openat(AT_FDCWD, outside[i], O_RDONLY) >= 0 || openat(root, outside[i], O_RDONLY) >= 0)
            return "a file outside was opened";
        if (openat(AT_FDCWD, outside[i], O_PATH) >= 0)
            return "a file outside was found";
    }
    cb_autoclose int made = openat(root, "../escaped", O_WRONLY | O_CREAT, 0644);
    if (made >= 0 && fstatat(root, "escaped", &up, 0) < 0)
        return "a file was made outside";
    if (fstatat(root, "..", &up, 0) == 0 && fstat(root, &top) == 0 && up.st_ino != top.st_ino)
        return "there is a way up";
    if (mknodat(root, "disk", S_IFBLK | 0600, makedev(8, 0)) == 0 ||
        mknodat(root, "null", S_IFCHR | 0600, makedev(1, 3)) == 0)
        return "a device was made";
    if (mknodat(root, "whiteout", S_IFCHR | 0600, 0) < 0)
        return "no whiteout was made";
    return NULL;
}

static const char *tries_processes(void)
{
    char *argv[] = { (char *)(uintptr_t)"true", NULL };
    execve("/bin/true", argv, environ);
    execve("/proc/self/exe", argv, environ);
    if (syscall(SYS_execveat, 0, "", argv, environ, AT_EMPTY_PATH) == 0 || errno != ENOSYS)
        return "execveat(2) is there";
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0 || syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
        return "a process was made";
    if (kill(getppid(), 0) == 0 || syscall(SYS_tgkill, getppid(), getppid(), 0) == 0)
        return "another process can be signalled";
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
        return "ptrace(2) is there";
    if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return "memory can be made executable";
    if (fcntl(0, F_SETOWN, getppid()) == 0)
        return "signals can be sent by a descriptor";
    return NULL;
}

static const char *tries_kernel(int root)
{
    int pair[2];
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != ENOSYS)
        return "there is a network";
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0)
        return "sockets can be made";
    if (unshare(CLONE_NEWUSER) == 0 || errno != ENOSYS)
        return "namespaces can be made";
    if (fchdir(root) == 0 || chroot(".") == 0)
        return "the root can be changed";
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0)
        return "it can be made dumpable";
    if (renameat(root, "whiteout", root, "x") == 0 || syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != ENOSYS)
        return "more calls are there than are needed";
    return NULL;
}

/* Standard ones, the socket, the blob's memory, two eventfds, the tree, and where the unpacker is in it. */
static const char *looks_around(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        n++;
        if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
            return "the memory of the blob can be written to";
    }
    if (n > 9)
        return "there are descriptors that it was not given";
    for (char **e = environ; *e; e++)
        if (**e)
            return "the environment is there";
    return NULL;
}

static const char *tries_everything(int root)
{
    const char *why = tries_files(root);
    if (!why)
        why = tries_processes();
    if (!why)
        why = tries_kernel(root);
    if (!why)
        why = looks_around();
    return why ? why : "all was refused";
}

static void all_is_refused(struct fixture *f)
{
    unsigned held = 0;
    cb_autoclose int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok(cb_helpers_try(dir, &held, &f->err));
    if (!(held & CB_CONFINE_CALLS) || !(held & (CB_CONFINE_ROOT | CB_CONFINE_LANDLOCK)))
        skip();
    fails(take_in(f, true, NULL), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), ": all was refused"));
    check_nothing_left(f);
}

static void a_helper_can_do_nothing_else(void **state)
{
    all_is_refused(*state);
}

/* ---- a server that is executed: it and its helpers get nothing of what we have ---- */

/* Of all threads. */
static int count_children(void)
{
    int n = 0, pid;
    struct dirent *e;
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    while ((e = readdir(d))) {
        cb_autofree char *path = cb_asprintf("/proc/self/task/%s/children", e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        while (f && fscanf(f, "%d", &pid) == 1)
            n++;
        if (f)
            fclose(f);
    }
    closedir(d);
    return n;
}

static void a_server_comes_with_the_first_layer(void **state)
{
    struct fixture *f = *state;
    cb_autoclose int inherited = open("/dev/null", O_RDONLY); /* NOLINT: not O_CLOEXEC */
    assert_true(inherited >= 0);
    assert_int_equal(setenv("CBPUSH_SECRET", "s", 1), 0);
    cb_helpers_start(&(struct cb_helper_options){ .program = "/proc/self/exe" });
    assert_true(cb_helper_is_there());
    assert_int_equal(count_children(), 0);
    all_is_refused(f);
    assert_int_equal(count_children(), 1);
    cb_helpers_stop();
    assert_int_equal(count_children(), 0);
}

static void what_is_no_server_is_told(void **state)
{
    struct fixture *f = *state;
    cb_helpers_start(&(struct cb_helper_options){ .program = "/bin/false" });
    fails(take_in(f, true, NULL), CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&f->err), "the process that starts those that read has ended"));
    check_nothing_left(f);
    cb_helpers_stop();
}

static void what_cannot_be_executed_is_told(void **state)
{
    struct fixture *f = *state;
    cb_autofree char *path = cb_asprintf("%s/program", f->dir);
    cb_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_int_equal(write(fd, "\177ELF", 4), 4);
    cb_close_p(&fd);
    cb_helpers_start(&(struct cb_helper_options){ .program = path });
    fails(take_in(f, true, NULL), CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&f->err), "start the process that layers are read in"));
    fails(take_in(f, true, NULL), CB_ELOCAL);
    cb_helpers_stop();
}

/* As before there are programs to execute: /proc is not there. */
static void without_a_program_it_is_forked(void **state)
{
    struct fixture *f = *state;
    cb_helpers_start(&(struct cb_helper_options){ .program = "/proc/none", .hook = tries_everything });
    assert_int_equal(count_children(), 1);
    all_is_refused(f);
    cb_helpers_stop();
}

/* ---- each wall alone ---- */

struct alone {
    unsigned without;
    const char *(*look)(int root);
};

/* In a process of its own: the text of what went wrong, or that it could not be tried. */
static void try_alone(struct fixture *f, const struct alone *a, unsigned wall)
{
    cb_autoclose int root = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        unsigned held = 0;
        struct cb_confine_options o = { .root_fd = root, .without = a->without };
        if (cb_confine(&o, &held, NULL) < 0)
            _exit(3);
        if (!(held & wall))
            _exit(77);
        const char *why = a->look(root);
        if (why)
            (void)!write(STDERR_FILENO, why, strlen(why));
        _exit(why ? 1 : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static const char *files_behind_landlock(int root)
{
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
        return "landlock: a file outside was opened\n";
    if (open("/tmp/cbpush-escaped", O_WRONLY | O_CREAT, 0600) >= 0)
        return "landlock: a file outside was made\n";
    cb_autoclose int in = openat(root, "made", O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (in < 0 || mkdirat(root, "d", 0700) < 0 || linkat(root, "made", root, "d/linked", 0) < 0)
        return "landlock: nothing can be made inside\n";
    return openat(root, "made", O_RDONLY) >= 0 ? "landlock: a file can be read\n" : NULL;
}

static const char *files_behind_chroot(int root)
{
    struct stat up, top;
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != ENOENT)
        return "chroot: a file outside was opened\n";
    if (fstatat(root, "..", &up, 0) < 0 || fstat(root, &top) < 0 || up.st_ino != top.st_ino)
        return "chroot: there is a way up\n";
    return chroot(".") == 0 ? "chroot: it can be done again\n" : NULL;
}

static const char *calls_alone(int root)
{
    const char *why = tries_processes();
    return why ? why : tries_kernel(root);
}

static void each_wall_holds_alone(void **state)
{
    static const struct alone landlock = { CB_CONFINE_CALLS | CB_CONFINE_ROOT, files_behind_landlock };
    static const struct alone root = { CB_CONFINE_CALLS | CB_CONFINE_LANDLOCK, files_behind_chroot };
    static const struct alone calls = { CB_CONFINE_ROOT | CB_CONFINE_LANDLOCK, calls_alone };
    try_alone(*state, &calls, CB_CONFINE_CALLS);
    try_alone(*state, &root, CB_CONFINE_ROOT);
    try_alone(*state, &landlock, CB_CONFINE_LANDLOCK);
}

/* ---- devices, which a helper cannot make ---- */

static void head(struct cb_strbuf *t, char type, const char *name, uint32_t minor)
{
    sup_head(t, &(struct sup_header){ .name = name, .type = type, .mode = 0666, .mtime = 1000, .major = 1,
                                      .minor = minor });
}

static struct stat in_tree(const struct fixture *f, const struct cb_digest *d, const char *path, bool *there)
{
    char hex[CB_DIGEST_TEXT_MAX];
    struct stat st = { 0 };
    cb_autofree char *p = cb_asprintf("%s/trees/%s/fs/%s", f->root, cb_digest_hex(d, hex), path);
    *there = lstat(p, &st) == 0;
    return st;
}

static void devices_come_last_and_only_where_they_belong(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest d;
    bool there;
    sup_head(&t, &(struct sup_header){ .name = "dev", .type = '5', .mode = 0755, .mtime = 2000 });
    head(&t, '3', "dev/null", 3);
    head(&t, '3', "dev/file", 5);
    sup_file(&t, "dev/file", "no device any more");
    head(&t, '6', "dev/pipe", 0);
    head(&t, '3', "gone/zero", 5);
    sup_file(&t, "gone", "no directory any more");
    sup_end(&t);
    struct cb_layer_intake o = { .store = f->s, .source = sup_source(t.buf, t.len, 4096), .want_tree = true,
                                 .userxattr = true, .single_id = true };
    ok(cb_image_intake(&o, &d, NULL, &f->err));
    struct stat st = in_tree(f, &d, "dev/null", &there);
    assert_int_equal(there, geteuid() == 0);
    if (there) {
        assert_int_equal(st.st_mode, S_IFCHR | 0666);
        assert_int_equal(st.st_rdev, makedev(1, 3));
        assert_int_equal(st.st_mtim.tv_sec, 1000);
    }
    assert_int_equal(in_tree(f, &d, "dev", &there).st_mtim.tv_sec, 2000);
    assert_true(S_ISREG(in_tree(f, &d, "dev/file", &there).st_mode));
    assert_true(S_ISFIFO(in_tree(f, &d, "dev/pipe", &there).st_mode));
    assert_true(S_ISREG(in_tree(f, &d, "gone", &there).st_mode));
}

/* An archive that is a context: nothing is below it that could be asked for the directory it does not list. */
static void an_archive_has_no_layers_below(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *dir = cb_asprintf("%s/archive", f->root), *file = cb_asprintf("%s/a/b", dir);
    sup_file(&t, "a/b", "hello");
    sup_end(&t);
    assert_int_equal(mkdir(dir, 0755), 0);
    cb_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok(cb_image_unpack_tar(sup_source(t.buf, t.len, 700), fd, NULL, &f->err));
    assert_int_equal(access(file, R_OK), 0);
}

/* ---- crashes ---- */

static const char *crashes(CB_UNUSED int root)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return NULL;
}

static void a_crash_fails_the_layer(void **state)
{
    struct fixture *f = *state;
    for (int tree = 0; tree < 2; tree++) {
        fails(take_in(f, tree != 0, NULL), CB_EVERIFY);
        assert_int_equal(cb_error_exit_code(&f->err), 7);
        const char *text = cb_error_text(&f->err);
        assert_true(cb_starts_with(text, "layer with diff ID sha256:"));
        assert_non_null(strstr(text, "crashed (Segmentation fault)"));
        check_nothing_left(f);
    }
}

/* ---- lies ---- */

static struct cb_helper_head lie;
static const char *lie_text;

/* It knows no numbers, but only one descriptor takes messages. */
static const char *lies(CB_UNUSED int root)
{
    lie.n = lie_text ? (uint32_t)strlen(lie_text) : 0;
    for (int fd = 0; fd < 64; fd++)
        (void)!cb_helper_send(fd, &lie, lie_text, -1);
    return "it was believed";
}

static void check_lie(void **state, struct cb_helper_head head, const char *text)
{
    lie = head;
    lie_text = text;
    hook_to_use = lies;
    assert_int_equal(setup_helpers(state), 0);
    struct fixture *f = *state;
    fails(take_in(f, true, NULL), CB_EVERIFY);
    if (!strstr(cb_error_text(&f->err), "answers nonsense"))
        fail_msg("type %u, \"%s\": %s", head.type, text ? text : "", cb_error_text(&f->err));
    check_nothing_left(f);
    assert_int_equal(teardown_helpers(state), 0);
}

static void lies_are_not_believed(void **state)
{
    const struct cb_unpack_device file = { .mode = S_IFREG | 0644 }, device = { .mode = S_IFBLK | 0600 };
    struct cb_digest d;
    cb_digest_of(&d, "", 0);
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_DONE, .digest = d }, NULL);
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_OPAQUE }, "../x");
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_OPAQUE }, "/x");
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_DEVICE, .device = file }, "x");
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_DEVICE, .device = device }, "a/../../x");
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_LOWER_FILE }, "../../etc/passwd");
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_LOWER_DIR }, "");
    check_lie(state, (struct cb_helper_head){ .type = CB_HELPER_ANSWER }, "x");
    check_lie(state, (struct cb_helper_head){ .type = 4711 }, NULL);
}

/* ---- the end of others ---- */

static const char *sleeps(CB_UNUSED int root)
{
    for (int i = 0; i < 3600; i++)
        nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    return "nobody has killed it";
}

static void *cancel_soon(void *arg)
{
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    cb_cancel_trigger(arg, 0);
    return NULL;
}

static void what_hangs_is_killed(void **state)
{
    struct fixture *f = *state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, cancel_soon, c), 0);
    fails(take_in(f, true, c), CB_ECANCELED);
    pthread_join(t, NULL);
    check_nothing_left(f);
}

/* Our only child. */
static void *kill_server(CB_UNUSED void *arg)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *f = fopen(path, "re");
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    if (f && fscanf(f, "%d", &pid) == 1 && pid > 1)
        kill(pid, SIGKILL);
    if (f)
        fclose(f);
    return NULL;
}

/* Whoever is asked to read then is told what is the matter: the layer is not to blame. */
static void a_lost_server_is_told(void **state)
{
    struct fixture *f = *state;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, kill_server, NULL), 0);
    fails(take_in(f, true, NULL), CB_ELOCAL);
    pthread_join(t, NULL);
    assert_non_null(strstr(cb_error_text(&f->err), "the process that starts those that read has ended"));
    check_nothing_left(f);
    fails(take_in(f, true, NULL), CB_ELOCAL);
}

/* All that the killed process had started becomes ours, and has to end by itself. */
static void nothing_outlives_its_parent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    int alive[2];
    assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        cb_helpers_start(&(struct cb_helper_options){ .hook = sleeps });
        (void)!write(alive[1], "", 1);
        _exit(take_in(f, true, NULL) == 0);
    }
    char byte;
    assert_int_equal(read(alive[0], &byte, 1), 1);
    close(alive[0]);
    close(alive[1]);
    nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    kill(pid, SIGKILL);
    alarm(20);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        continue;
    alarm(0);
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

static int without_hook(void **state)
{
    hook_to_use = NULL;
    return setup_helpers(state);
}

static int with_crash(void **state)
{
    hook_to_use = crashes;
    return setup_helpers(state);
}

static int with_sleep(void **state)
{
    hook_to_use = sleeps;
    return setup_helpers(state);
}

static int with_tries(void **state)
{
    hook_to_use = tries_everything;
    return setup_helpers(state);
}

int main(CB_UNUSED int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(argv[0], CB_HELPERS_NAME))
        return cb_helpers_main(&(struct cb_helper_options){ .hook = tries_everything });
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_helper_can_do_nothing_else, with_tries, teardown_helpers),
        cmocka_unit_test_setup_teardown(a_server_comes_with_the_first_layer, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_server_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_executed_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_program_it_is_forked, setup, teardown),
        cmocka_unit_test_setup_teardown(each_wall_holds_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(devices_come_last_and_only_where_they_belong, without_hook, teardown_helpers),
        cmocka_unit_test_setup_teardown(an_archive_has_no_layers_below, without_hook, teardown_helpers),
        cmocka_unit_test_setup_teardown(a_crash_fails_the_layer, with_crash, teardown_helpers),
        cmocka_unit_test(lies_are_not_believed),
        cmocka_unit_test_setup_teardown(what_hangs_is_killed, with_sleep, teardown_helpers),
        cmocka_unit_test_setup_teardown(a_lost_server_is_told, with_sleep, teardown_helpers),
        cmocka_unit_test_setup_teardown(nothing_outlives_its_parent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

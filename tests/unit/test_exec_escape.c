/* SPDX-License-Identifier: Apache-2.0 */
/* What a step must not be able to do: probes P1 to P38 and classes G5 to G9 of the safety rules. This program is also
 * the probe: with --probe it runs inside the sandbox and prints one line a forbidden call. */
#include "exec_fixture.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* ---- the probe ---- */

static void tell(const char *name, long r)
{
    const char *text = r >= 0 ? "ok" : strerrorname_np(errno);
    dprintf(1, "%s %s\n", name, text ? text : "?");
}

static void probe_mounts(void)
{
    struct {
        uint64_t attr_set, attr_clr, propagation, userns_fd;
    } attr = { 0 };
    tell("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL));
    tell("remount", syscall(SYS_mount, NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
    tell("umount", syscall(SYS_umount2, "/proc/keys", 2));
    tell("pivot_root", syscall(SYS_pivot_root, ".", "."));
    tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    tell("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    tell("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/etc", 0));
    tell("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/sys", 0, &attr, sizeof attr));
    tell("setns", syscall(SYS_setns, 0, 0));
}

static void probe_namespaces(void)
{
    struct {
        uint64_t flags, rest[10];
    } args = { .flags = CLONE_NEWUSER };
    tell("unshare-user", syscall(SYS_unshare, CLONE_NEWUSER));
    tell("unshare-mount", syscall(SYS_unshare, CLONE_NEWNS));
    tell("clone-user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, NULL, NULL, 0));
    tell("clone3-user", syscall(SYS_clone3, &args, sizeof args));
    args.flags = 0;
    tell("clone3", syscall(SYS_clone3, &args, sizeof args));
}

static void probe_kernel(void)
{
    struct perf_event_attr perf = { .size = sizeof perf };
    char buf[256] = "";
    tell("bpf", syscall(SYS_bpf, 0, buf, 64));
    tell("perf_event_open", syscall(SYS_perf_event_open, &perf, 0, -1, -1, 0));
    tell("userfaultfd", syscall(SYS_userfaultfd, 0));
    tell("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
    tell("add_key", syscall(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING));
    tell("request_key", syscall(SYS_request_key, "user", "x", NULL, 0));
    tell("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    tell("init_module", syscall(SYS_init_module, buf, 0, ""));
    tell("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, buf, 0));
    tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, buf));
    tell("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
    tell("swapon", syscall(SYS_swapon, "/x", 0));
    tell("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    tell("syslog", syscall(SYS_syslog, 3, buf, 10));
    tell("sethostname", syscall(SYS_sethostname, "x", 1));
    tell("settimeofday", syscall(SYS_settimeofday, NULL, NULL));
    tell("process_vm_readv", syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
    tell("ptrace-init", syscall(SYS_ptrace, 0x4206 /* PTRACE_SEIZE */, 1, 0, 0));
    tell("personality", syscall(SYS_personality, ADDR_NO_RANDOMIZE));
    tell("newer-call", syscall(500));
    tell("fchmodat2", syscall(452, AT_FDCWD, "/nosuch", 0644, 0));
}

static void probe_devices(void)
{
    tell("mknod-disk", syscall(SYS_mknodat, AT_FDCWD, "/tmp/disk", S_IFBLK | 0666, makedev(254, 0)));
    tell("mknod-mem", syscall(SYS_mknodat, AT_FDCWD, "/tmp/mem", S_IFCHR | 0666, makedev(1, 1)));
    tell("mknod-high",
         syscall(SYS_mknodat, AT_FDCWD, "/tmp/high", S_IFCHR | 0666, UINT64_C(0x100000000) | makedev(1, 1)));
    tell("mknod-in-dev", syscall(SYS_mknodat, AT_FDCWD, "/dev/mem", S_IFCHR | 0666, makedev(1, 1)));
    tell("mkfifo", syscall(SYS_mknodat, AT_FDCWD, "/tmp/fifo", S_IFIFO | 0666, 0));
    tell("image-device", syscall(SYS_openat, AT_FDCWD, "/evil-null", O_RDONLY));
    tell("tiocsti", ioctl(0, TIOCSTI, "x"));
    tell("dev-tty", syscall(SYS_openat, AT_FDCWD, "/dev/tty", O_RDWR));
}

#if defined(__x86_64__)
/* The 32-bit entry: socketcall(SYS_SOCKET, { family, SOCK_SEQPACKET, 0 }). */
static long socketcall32(unsigned family)
{
    unsigned *args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long r = 102;
    if (args == MAP_FAILED)
        return -1;
    args[0] = family;
    args[1] = 5;
    args[2] = 0;
    __asm__ volatile("int $0x80" : "+a"(r) : "b"(1), "c"(args) : "memory", "r8", "r9", "r10", "r11");
    r = (int)r;
    if (r < 0) {
        errno = (int)-r;
        r = -1;
    }
    return r;
}
#endif

static void probe_sockets(void)
{
    tell("af_alg", syscall(SYS_socket, 38, SOCK_SEQPACKET, 0));
    tell("af_alg-high-bits", syscall(SYS_socket, UINT64_C(0x100000026), SOCK_SEQPACKET, 0));
    tell("af_vsock", syscall(SYS_socket, 40, SOCK_STREAM, 0));
    tell("af_inet", syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
    tell("af_unix", syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
#if defined(__x86_64__)
    tell("socketcall-af_alg", socketcall32(38));
    tell("x32-af_alg", syscall(0x40000000 | 41, 38, SOCK_SEQPACKET, 0));
#endif
}

/* Fails with ENOENT where there is none. */
static long first_entry(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return -1;
    errno = 0;
    struct dirent *e = readdir(d);
    while (e && e->d_name[0] == '.')
        e = readdir(d);
    int error = errno ? errno : ENOENT;
    closedir(d);
    errno = error;
    return e ? 0 : -1;
}

static void probe_files(void)
{
    tell("core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    tell("sysrq-trigger", open("/proc/sysrq-trigger", O_WRONLY));
    tell("proc-irq", open("/proc/irq/default_smp_affinity", O_WRONLY));
    tell("sys-write", open("/sys/kernel/uevent_helper", O_WRONLY));
    tell("sys-mkdir", mkdir("/sys/fs/cgroup/x", 0755));
    tell("environ-1", open("/proc/1/environ", O_RDONLY));
    tell("mem-1", open("/proc/1/mem", O_RDWR));
    tell("root-1", open("/proc/1/root", O_RDONLY));
    tell("exe-1", open("/proc/1/exe", O_RDONLY));
    tell("cwd-1", open("/proc/1/cwd", O_RDONLY));
    tell("fd-1", open("/proc/1/fd/1", O_WRONLY));
    tell("map_files-1", first_entry("/proc/1/map_files"));
}

static int probe_main(void)
{
    probe_mounts();
    probe_namespaces();
    probe_kernel();
    probe_devices();
    probe_sockets();
    probe_files();
    return 0;
}

/* ---- the tests ---- */

/* By name: /proc/self/exe is on a mount of the namespace that we were started in. */
static int open_myself(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = '\0';
    return open(path, O_PATH | O_CLOEXEC);
}

/* This very program with the host's libraries, read-only. */
static void run_probe(void)
{
    static const char *const argv[] = { "/probe", "--probe", NULL };
    static const char *const dirs[] = { "/lib", "/lib64", "/usr" };
    struct cb_mount m[CB_COUNTOF(dirs) + 1];
    struct cb_exec_spec spec = plain_spec();
    size_t n = 0;
    for (size_t i = 0; i < CB_COUNTOF(dirs); i++) {
        int fd = open(dirs[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            m[n++] = (struct cb_mount){ .kind = CB_MOUNT_BIND, .source_fd = fd, .target = dirs[i], .readonly = true };
    }
    m[n++] = (struct cb_mount){ .kind = CB_MOUNT_BIND, .source_fd = open_myself(),
                                .target = "/probe", .readonly = true };
    spec.mounts = m;
    spec.n_mounts = n;
    spec.argv = argv;
    run_spec(&spec);
    for (size_t i = 0; i < n; i++)
        close(m[i].source_fd);
    assert_int_equal(fx.result, 0);
    if (fx.status != 0)
        print_message("%s%s", fx.out.buf, fx.err.buf);
    assert_int_equal(fx.status, 0);
}

/* name of the probe → the errors that count as refused. */
static const struct {
    const char *name, *refused;
} expected[] = {
    { "mount", "EPERM" },
    { "remount", "EPERM" },
    { "umount", "EPERM" },
    { "pivot_root", "EPERM" },
    { "fsopen", "EPERM" },
    { "open_tree", "EPERM" },
    { "move_mount", "EPERM" },
    { "mount_setattr", "EPERM" },
    { "setns", "EPERM" },
    { "unshare-user", "EPERM" },
    { "unshare-mount", "EPERM" },
    { "clone-user", "EPERM" },
    { "clone3-user", "ENOSYS" },
    { "clone3", "ENOSYS" },
    { "bpf", "EPERM" },
    { "perf_event_open", "EPERM" },
    { "userfaultfd", "EPERM" },
    { "keyctl", "EPERM" },
    { "add_key", "EPERM" },
    { "request_key", "EPERM" },
    { "kexec_load", "EPERM" },
    { "init_module", "EPERM" },
    { "open_by_handle_at", "EPERM" },
    { "io_uring_setup", "EPERM" },
    { "quotactl", "EPERM" },
    { "swapon", "EPERM" },
    { "reboot", "EPERM" },
    { "syslog", "EPERM" },
    { "sethostname", "EPERM" },
    { "settimeofday", "EPERM" },
    { "process_vm_readv", "ENOSYS" },
    { "ptrace-init", "EPERM" },
    { "personality", "EPERM" },
    { "newer-call", "ENOSYS" },
    { "fchmodat2", "ENOENT ENOSYS" },
    { "mknod-disk", "EPERM" },
    { "mknod-mem", "EPERM" },
    { "mknod-high", "EPERM" },
    { "mknod-in-dev", "EPERM" },
    { "mkfifo", "ok" },
    { "image-device", "EACCES ENOENT" },
    { "tiocsti", "ENOTTY EIO EPERM" },
    { "dev-tty", "ENXIO" },
    { "af_alg", "EPERM" },
    { "af_alg-high-bits", "EPERM" },
    { "af_vsock", "EPERM" },
    { "af_inet", "ok" },
    { "af_unix", "ok" },
#if defined(__x86_64__)
    { "socketcall-af_alg", "EPERM ENOSYS" },
    { "x32-af_alg", "EPERM ENOSYS" },
#endif
    { "core_pattern", "EROFS EACCES" },
    { "sysrq-trigger", "EROFS ENOENT EACCES" },
    { "proc-irq", "EROFS ENOENT EACCES" },
    { "sys-write", "EROFS ENOENT EACCES" },
    { "sys-mkdir", "EROFS EPERM EACCES ENOENT" },
    { "environ-1", "EACCES EPERM" },
    { "mem-1", "EACCES EPERM" },
    { "root-1", "EACCES EPERM" },
    { "exe-1", "EACCES EPERM" },
    { "cwd-1", "EACCES EPERM" },
    { "fd-1", "EACCES EPERM ENOENT" },
    { "map_files-1", "EACCES EPERM ENOENT" },
};

static bool among(const char *words, const char *word, size_t n)
{
    for (const char *p = words; *p;) {
        size_t len = strcspn(p, " ");
        if (len == n && strncmp(p, word, n) == 0)
            return true;
        p += len + (p[len] == ' ');
    }
    return false;
}

static void forbidden_calls(void **state)
{
    (void)state;
    need_sandbox();
    bool made = mknodat(fx.lower, "evil-null", S_IFCHR | 0666, makedev(1, 3)) == 0;
    run_probe();
    const char *line = fx.out.buf;
    int wrong = 0;
    for (size_t i = 0; i < CB_COUNTOF(expected); i++) {
        size_t name = strcspn(line, " "), end = strcspn(line, "\n");
        assert_true(line[0] && strlen(expected[i].name) == name && strncmp(line, expected[i].name, name) == 0);
        if (!among(expected[i].refused, line + name + 1, end - name - 1)) {
            print_message("%.*s, not %s\n", (int)end, line, expected[i].refused);
            wrong++;
        }
        line += end + (line[end] == '\n');
    }
    assert_string_equal(line, "");
    assert_int_equal(wrong, 0);
    if (made)
        assert_int_equal(unlinkat(fx.lower, "evil-null", 0), 0);
}

static void capabilities_and_seccomp(void **state)
{
    (void)state;
    need_sandbox();
    ok("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
    assert_string_equal(fx.out.buf,
                        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"
                        "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n");
}

static void only_three_descriptors(void **state)
{
    (void)state;
    need_sandbox();
    int extra = open("/", O_RDONLY); /* somebody forgot O_CLOEXEC */
    ok("cd /proc/self/fd; echo *");
    close(extra);
    /* the shell's own for the expansion may be among them, but it is closed: only numbers of open files are names */
    ok("for f in /proc/$$/fd/*; do readlink $f >/dev/null && echo ${f##*/}; done; true");
    assert_string_equal(fx.out.buf, "0\n1\n2\n");
}

static void own_processes_only(void **state)
{
    (void)state;
    need_sandbox();
    ok("for p in /proc/[0-9]*; do cat $p/comm; done");
    assert_true(cb_starts_with(fx.out.buf, "cbpush-init\nsh\n"));
    ok("echo $$; wc -c </proc/1/cmdline; tr -d '\\0' </proc/1/cmdline 2>/dev/null | wc -c");
    assert_true(cb_starts_with(fx.out.buf, "2\n"));
    ok("cat /proc/1/cmdline | busybox tr -d '\\000' | wc -c");
    assert_string_equal(fx.out.buf, "0\n");
}

static void kill_all_is_harmless(void **state)
{
    (void)state;
    need_sandbox();
    pid_t bystander = fork();
    if (bystander == 0) {
        pause();
        _exit(0);
    }
    ok("kill -9 -1; kill -STOP 1; kill -9 1; echo survived");
    assert_string_equal(fx.out.buf, "survived\n");
    assert_int_equal(waitpid(bystander, NULL, WNOHANG), 0);
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
}

static void host_file_systems_are_gone(void **state)
{
    (void)state;
    need_sandbox();
    ok("grep -vE ' (overlay|proc|tmpfs|devpts|mqueue|sysfs|cgroup2?|devtmpfs) ' /proc/mounts | grep -v ' /sys/' | wc "
       "-l; "
       "stat -c %i / /.. /../.. | busybox sort -u | wc -l; cat /proc/self/mountinfo | grep -c ' / / '");
    assert_string_equal(fx.out.buf, "0\n1\n1\n");
}

static void masked_and_readonly_paths(void **state)
{
    (void)state;
    need_sandbox();
    ok("for f in kcore keys timer_list sched_debug interrupts latency_stats timer_stats; do "
       "test ! -e /proc/$f || test -z \"$(head -c 1 /proc/$f)\" || echo $f; done; "
       "for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do "
       "test ! -d $d || test -z \"$(ls $d)\" || echo $d; done; "
       "for d in /proc/sys /proc/bus /proc/fs /proc/irq /sys /sys/fs/cgroup; do "
       "test ! -d $d || touch $d/x 2>/dev/null && echo $d; done; true");
    assert_string_equal(fx.out.buf, "");
}

static void devices_of_docker(void **state)
{
    (void)state;
    need_sandbox();
    ok("ls /dev | busybox tr '\\n' ' '; echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc "
       "-c; "
       "test -c /dev/full && test -e /dev/shm && chmod 600 /dev/null 2>/dev/null; readlink /dev/fd; readlink "
       "/dev/ptmx");
    assert_string_equal(fx.out.buf,
                        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 3\n4\n"
                        "/proc/self/fd\npts/ptmx\n");
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666); /* the host's was not touched */
}

static void refuses_links_for_mount_points(void **state)
{
    (void)state;
    need_sandbox();
    static const char *const names[] = { "proc", "sys", "dev" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        assert_int_equal(symlinkat("/tmp", fx.lower, names[i]), 0);
        struct cb_exec_spec spec = plain_spec();
        run_script(&spec, "true");
        assert_int_equal(fx.result, -CB_ECONF);
        assert_non_null(strstr(fx.error.msg, "symbolic link"));
        assert_int_equal(count_entries(fx.upper), 0);
        assert_int_equal(unlinkat(fx.lower, names[i], 0), 0);
        put_file(fx.lower, names[i], "", 0644);
        run_script(&spec, "true");
        assert_int_equal(fx.result, -CB_ECONF);
        assert_int_equal(unlinkat(fx.lower, names[i], 0), 0);
    }
}

/* Links of the image that lead to the host's files lead, inside, to nowhere or to the image's own. */
static void links_do_not_lead_out(void **state)
{
    (void)state;
    need_sandbox();
    char target[128];
    snprintf(target, sizeof target, "%s/canary", fx.base_path);
    put_file(fx.base, "canary", "precious", 0644);
    assert_int_equal(symlinkat(target, fx.lower, "etc/resolv.conf"), 0);
    snprintf(target, sizeof target, "../../../../../../..%s/canary", fx.base_path);
    assert_int_equal(symlinkat(target, fx.lower, "etc/hosts"), 0);
    struct cb_mount m = { .kind = CB_MOUNT_DATA, .target = "/out/secret", .data = "s", .data_len = 1 };
    assert_int_equal(symlinkat(fx.base_path, fx.lower, "out"), 0);
    struct cb_exec_spec spec = plain_spec();
    spec.mounts = &m;
    spec.n_mounts = 1;
    run_script(&spec, "cat /out/secret; echo gone >/etc/hosts; echo gone >/etc/resolv.conf");
    assert_int_equal(fx.status, 0);
    assert_string_equal(fx.out.buf, "s");
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    int fd = openat(fx.base, "canary", O_RDONLY | O_CLOEXEC);
    assert_int_equal(cb_fd_slurp(fd, 100, &text, NULL), 0);
    assert_string_equal(text.buf, "precious");
    close(fd);
    assert_int_equal(faccessat(fx.base, "secret", F_OK, 0), -1);
    assert_int_equal(count_entries(fx.upper), 0);
    static const char *const made[] = { "etc/resolv.conf", "etc/hosts", "out" };
    for (size_t i = 0; i < CB_COUNTOF(made); i++)
        assert_int_equal(unlinkat(fx.lower, made[i], 0), 0);
}

static void resolv_conf_link_loop(void **state)
{
    (void)state;
    need_sandbox();
    assert_int_equal(symlinkat("resolv.conf", fx.lower, "etc/resolv.conf"), 0);
    struct cb_exec_spec spec = plain_spec();
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
    assert_int_equal(unlinkat(fx.lower, "etc/resolv.conf", 0), 0);
    assert_int_equal(symlinkat("/proc/1/environ", fx.lower, "etc/resolv.conf"), 0);
    run_script(&spec, "true");
    assert_int_equal(fx.result, -CB_ECONF);
    assert_int_equal(unlinkat(fx.lower, "etc/resolv.conf", 0), 0);
}

/* A step that replaces the mount point's parent does not make us remove anything of its own (G5). */
static void replaced_stub_is_left_alone(void **state)
{
    (void)state;
    need_sandbox();
    assert_int_equal(symlinkat("/late/conf", fx.lower, "etc/resolv.conf"), 0);
    struct cb_exec_spec spec = plain_spec();
    run_script(&spec,
               "mv /late /elsewhere && mkdir /late && echo mine >/late/conf && ln -s /late/conf /elsewhere/link");
    assert_int_equal(fx.status, 0);
    assert_int_equal(faccessat(fx.upper, "late/conf", F_OK, 0), 0);
    assert_int_equal(faccessat(fx.upper, "elsewhere/conf", F_OK, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(faccessat(fx.upper, "elsewhere/link", F_OK, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(unlinkat(fx.lower, "etc/resolv.conf", 0), 0);
}

static void no_network_has_only_lo(void **state)
{
    (void)state;
    need_sandbox();
    struct cb_exec_spec spec = plain_spec();
    spec.network = CB_NETWORK_NONE;
    run_script(&spec, "grep -c : /proc/net/dev; grep -c lo: /proc/net/dev; wc -c </etc/resolv.conf; "
                      "nc -l -p 8099 >/dev/null & sleep 0.1; echo x | nc 127.0.0.1 8099 && ls /sys/class/net");
    assert_int_equal(fx.status, 0);
    assert_string_equal(fx.out.buf, "1\n1\n0\nlo\n");
}

static void limits(void **state)
{
    (void)state;
    need_sandbox();
    ok("ulimit -c; ulimit -H -c; umask; cat /proc/self/oom_score_adj");
    assert_true(cb_starts_with(fx.out.buf, "0\n0\n0022\n"));
    ok("cut -d' ' -f6,7 /proc/self/stat 2>/dev/null || busybox cut -d' ' -f6,7 /proc/self/stat");
    assert_true(cb_starts_with(fx.out.buf, "2 0")); /* a session of its own, no terminal */
}

static void set_uid_programs_work(void **state)
{
    (void)state;
    need_sandbox();
    if (fx.mode == CB_ID_SINGLE)
        return; /* one id only: the other two modes show it */
    struct stat st;
    assert_int_equal(fchmodat(fx.lower, "bin/busybox", 04755, 0), 0);
    struct cb_exec_spec spec = plain_spec();
    spec.uid = spec.gid = 1000;
    run_script(&spec, "grep -E '^Uid|^CapBnd|^CapPrm' /proc/self/status");
    assert_int_equal(fx.status, 0);
    /* busybox drops the bit itself for most applets; the bounding set is what must hold */
    assert_non_null(strstr(fx.out.buf, "CapBnd:\t00000000a80425fb"));
    assert_int_equal(fchmodat(fx.lower, "bin/busybox", 0755, 0), 0);
    assert_int_equal(fstatat(fx.lower, "bin/busybox", &st, 0), 0);
}

static int group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forbidden_calls),
        cmocka_unit_test(capabilities_and_seccomp),
        cmocka_unit_test(only_three_descriptors),
        cmocka_unit_test(own_processes_only),
        cmocka_unit_test(kill_all_is_harmless),
        cmocka_unit_test(host_file_systems_are_gone),
        cmocka_unit_test(masked_and_readonly_paths),
        cmocka_unit_test(devices_of_docker),
        cmocka_unit_test(refuses_links_for_mount_points),
        cmocka_unit_test(links_do_not_lead_out),
        cmocka_unit_test(resolv_conf_link_loop),
        cmocka_unit_test(replaced_stub_is_left_alone),
        cmocka_unit_test(no_network_has_only_lo),
        cmocka_unit_test(limits),
        cmocka_unit_test(set_uid_programs_work),
    };
    return cmocka_run_group_tests_name("exec escape", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--probe") == 0)
        return probe_main();
    return run_groups(group);
}

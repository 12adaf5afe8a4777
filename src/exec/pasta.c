/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <net/route.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/network.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/proc.h"
#include "util/timeutil.h"

#define START_LIMIT_NS (INT64_C(10) * 1000000000)
#define IPV6_LIMIT_NS (INT64_C(300) * 1000000)
#define STOP_LIMIT_NS (INT64_C(1) * 1000000000)
#define LOOK_MS 5
#define MAX_SAID (4u << 10)

#define NETNS_FILE "/tmp/netns"

void cb_pasta_port(const struct cb_port *port, struct cb_strbuf *out)
{
    if (port->host_ip)
        cb_strbuf_addf(out, "%s/", port->host_ip);
    cb_strbuf_addf(out, "%u:%u", port->host, port->container);
}

/* Nothing is forwarded but the ports that were asked for and, where names could not be resolved without, questions to
 * the host's name server; the gateway's address is not the host's loopback (P16). */
static void make_argv(struct cb_strvec *argv, const char *program, const struct cb_exec_spec *spec)
{
    static const char *const fixed[] = { "--foreground", "--config-net", "--no-map-gw", "-u", "none",
                                         "-T",           "none",         "-U",          "none" };
    cb_strvec_push(argv, program);
    for (size_t i = 0; i < CB_COUNTOF(fixed); i++)
        cb_strvec_push(argv, fixed[i]);
    for (size_t i = 0; i < spec->n_ports; i++) {
        cb_cleanup_strbuf struct cb_strbuf port = CB_STRBUF_INIT;
        cb_pasta_port(&spec->ports[i], &port);
        cb_strvec_push(argv, "-t");
        cb_strvec_push(argv, port.buf);
    }
    if (spec->n_ports == 0) {
        cb_strvec_push(argv, "-t");
        cb_strvec_push(argv, "none");
    }
    if (cb_network_forwards(spec)) {
        cb_strvec_push(argv, "--dns-forward");
        cb_strvec_push(argv, CB_NETWORK_FORWARDED);
    }
    /* As root it would become nobody, who may not enter a namespace of root's. */
    if (geteuid() == 0) {
        cb_strvec_push(argv, "--runas");
        cb_strvec_push(argv, "0:0");
    }
    cb_strvec_push(argv, "--netns");
    cb_strvec_push(argv, NETNS_FILE);
}

/* pasta drops what it would need to open another process's /proc/PID/ns: it gets the namespace as a file, in a mount
 * namespace that is its own. */
static const char *bind_netns(const char *source)
{
    if (unshare(CLONE_NEWNS) < 0)
        return "make a mount namespace for it";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "make the mounts private for it";
    if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=0755") < 0)
        return "mount a /tmp for it";
    int fd = open(NETNS_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || close(fd) < 0)
        return "make a file in its /tmp";
    return mount(source, NETNS_FILE, NULL, MS_BIND, NULL) < 0 ? "bind the network namespace" : NULL;
}

/* In the child of vfork, which may not allocate: where the parent looks for what pasta says. */
static CB_NORETURN void could_not(const char *what, int errors)
{
    const char *why = strerrordesc_np(errno);
    struct iovec said[] = { { (char *)(uintptr_t)what, strlen(what) },
                            { (char *)(uintptr_t) ": ", 2 },
                            { (char *)(uintptr_t)(why ? why : "?"), strlen(why ? why : "?") } };
    (void)!writev(errors, said, (int)CB_COUNTOF(said));
    _exit(127);
}

/* In the child of vfork. */
static CB_NORETURN void become_pasta(const struct cb_strvec *argv, const char *netns, int errors)
{
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
    char *const env[] = { path, locale, NULL };
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(errors, 2) < 0)
        could_not("open /dev/null", errors);
    const char *failed = bind_netns(netns);
    if (failed)
        could_not(failed, errors);
    syscall(SYS_close_range, 3, ~0U, 0);
    sigaction(SIGPIPE, &dfl, NULL); /* pasta gives up where it finds it ignored */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(argv->v[0], argv->v, env);
    could_not(argv->v[0], 2);
}

static int launch(struct cb_pasta *p, const struct cb_strvec *argv, pid_t tid, struct cb_error *err)
{
    p->errors = memfd_create("pasta", MFD_CLOEXEC);
    if (p->errors < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "memfd_create");
    /* Signals would be handled in the child with our handlers until it executes. */
    sigset_t all, old;
    cb_autofree char *netns = cb_asprintf("/proc/%d/task/%d/ns/net", (int)getpid(), (int)tid);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = vfork();
    if (pid == 0)
        become_pasta(argv, netns, p->errors);
    int e = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return cb_error_sys(err, CB_ELOCAL, e, "start pasta");
    p->pid = pid;
    return 0;
}

/* Lines of net/dev: two of headings, then "name: …". */
static bool has_interface(pid_t tid)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_autofree char *path = cb_asprintf("/proc/self/task/%d/net/dev", (int)tid);
    if (cb_file_slurp(path, 64u << 10, &text, NULL) < 0)
        return false;
    for (const char *p = text.buf; *p;) {
        const char *colon = strchr(p, ':'), *end = strchrnul(p, '\n');
        if (colon && colon < end && strncmp(p + strspn(p, " "), "lo:", 3) != 0)
            return true;
        p = *end ? end + 1 : end;
    }
    return false;
}

enum family { V4, V6 };

/* A line of net/route or net/ipv6_route: a way to everywhere that is not shut. */
static bool is_default(const char *line, enum family family)
{
    char to[33], bits[9], name[16];
    unsigned flags;
    int n = family == V4 ? sscanf(line, "%15s %8s %*s %8x %*s %*s %*s %8s", name, to, &flags, bits)
                         : sscanf(line, "%32s %8s %*s %*s %*s %*s %*s %*s %8x %15s", to, bits, &flags, name);
    return n == 4 && !(flags & RTF_REJECT) && strcmp(name, "lo") && !to[strspn(to, "0")] && !bits[strspn(bits, "0")];
}

/* The last column of net/ipv6_route, and the first one of net/route. */
static bool is_of_loopback(struct cb_slice line)
{
    return (line.len > 3 && !memcmp(line.ptr + line.len - 3, " lo", 3)) || cb_starts_with(line.ptr, "lo\t");
}

/* dir: …/net of a thread. anyone: any route but lo's will do, else only a default route. */
static bool has_route(const char *dir, enum family family, bool anyone)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_autofree char *path = cb_asprintf("%s/%s", dir, family == V4 ? "route" : "ipv6_route");
    if (cb_file_slurp(path, 256u << 10, &text, NULL) < 0)
        return false;
    for (const char *p = text.buf, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, '\n');
        struct cb_slice line = cb_slice_trim((struct cb_slice){ p, (size_t)(end - p) });
        bool heading = cb_starts_with(line.ptr, "Iface");
        if (is_default(p, family) || (anyone && line.len && !heading && !is_of_loopback(line)))
            return true;
    }
    return false;
}

/* What pasta has to give: a default route of each kind that we have; where we have none, any. */
struct wanted {
    bool v4, v6;
};

static struct wanted find_wanted(void)
{
    return (struct wanted){ has_route("/proc/self/net", V4, false), has_route("/proc/self/net", V6, false) };
}

/* Not the routes of its link alone, which the kernel adds before pasta gives the interface an address. late: where
 * both kinds are wanted, that of IPv4 is enough. */
static bool is_up(pid_t tid, const struct wanted *w, bool late)
{
    cb_autofree char *dir = cb_asprintf("/proc/self/task/%d/net", (int)tid);
    if (!has_interface(tid))
        return false;
    if (!w->v4 && !w->v6)
        return has_route(dir, V4, true) || has_route(dir, V6, true);
    bool v4 = !w->v4 || has_route(dir, V4, false);
    return v4 && (!w->v6 || has_route(dir, V6, false) || (w->v4 && late));
}

static bool reaped(struct cb_pasta *p)
{
    if (p->pid > 0 && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
        p->pid = 0;
    return p->pid == 0;
}

/* What it said, in one line; its complaints about a missing syslog are not the cause. */
static void add_said(const char *text, struct cb_strbuf *out)
{
    while (*text) {
        const char *end = strchrnul(text, '\n');
        struct cb_slice line = cb_slice_trim((struct cb_slice){ text, (size_t)(end - text) });
        cb_autofree char *copy = cb_strndup(line.ptr, line.len);
        if (line.len && !cb_ends_with(copy, "to syslog")) {
            cb_strbuf_adds(out, out->len ? "; " : ": ");
            cb_strbuf_add_sanitized(out, line.ptr, line.len, false);
        }
        text = *end ? end + 1 : end;
    }
}

static int failure(struct cb_pasta *p, const char *what, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf said = CB_STRBUF_INIT;
    char buf[MAX_SAID];
    ssize_t n = pread(p->errors, buf, sizeof buf - 1, 0);
    buf[n > 0 ? n : 0] = '\0';
    add_said(buf, &said);
    if (!said.len && p->pid == 0)
        cb_strbuf_addf(&said, WIFSIGNALED(p->status) ? " by signal %d" : " with status %d",
                       WIFSIGNALED(p->status) ? WTERMSIG(p->status) : WEXITSTATUS(p->status));
    return cb_error_set(err, CB_ELOCAL, "private network: pasta %s%s (--network=host or none need no pasta)", what,
                        said.buf);
}

static int wait_up(struct cb_pasta *p, pid_t tid, const struct cb_cancel *cancel, struct cb_error *err)
{
    int64_t began = cb_time_monotonic(), limit = began + START_LIMIT_NS;
    struct wanted wanted = find_wanted();
    while (!is_up(tid, &wanted, cb_time_monotonic() - began > IPV6_LIMIT_NS)) {
        if (reaped(p))
            return failure(p, "ended", err);
        if (cb_time_monotonic() > limit)
            return failure(p, "did not come up in 10 s", err);
        int r = cb_cancel_check(cancel, err);
        if (r < 0)
            return r;
        poll(NULL, 0, LOOK_MS);
    }
    return 0;
}

static int check_tun(struct cb_error *err)
{
    cb_autoclose int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun < 0)
        return cb_error_sys(
            err, CB_ELOCAL, errno,
            "private network: /dev/net/tun cannot be opened (modprobe tun; chmod 0666 /dev/net/tun; in a "
            "container --device /dev/net/tun)");
    return 0;
}

int cb_pasta_start(struct cb_pasta *p, pid_t tid, const struct cb_exec_spec *spec, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec argv = CB_STRVEC_INIT;
    cb_autofree char *program = cb_proc_which("pasta");
    if (!program)
        return cb_error_set(err, CB_ELOCAL, "private network: no pasta in PATH (apt-get install passt)");
    int r = check_tun(err);
    if (r < 0)
        return r;
    make_argv(&argv, program, spec);
    r = launch(p, &argv, tid, err);
    return r < 0 ? r : wait_up(p, tid, spec->cancel, err);
}

void cb_pasta_stop(struct cb_pasta *p)
{
    int64_t limit = cb_time_monotonic() + STOP_LIMIT_NS;
    if (p->pid > 0)
        kill(p->pid, SIGTERM);
    while (!reaped(p) && cb_time_monotonic() < limit)
        poll(NULL, 0, 1);
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
        p->pid = 0;
    }
    if (p->errors >= 0)
        close(CB_TAKE_FD(p->errors));
}

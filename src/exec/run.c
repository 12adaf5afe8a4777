/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exec/exec.h"
#include "exec/network.h"
#include "exec/pump.h"
#include "exec/sandbox.h"
#include "exec/seccomp_profile.h"
#include "exec/userns.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"

#define MAX_GROUPS 65536
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND 127

/* ---- before ---- */

static int check_spec(const struct cb_exec_spec *spec, struct cb_error *err)
{
    if (!spec->argv || !spec->argv[0] || !spec->env)
        return cb_error_set(err, CB_EINTERNAL, "a step without a command");
    if (!spec->cwd || spec->cwd[0] != '/')
        return cb_error_set(err, CB_ECONF, "working directory %.200s: not an absolute path",
                            spec->cwd ? spec->cwd : "");
    if (spec->n_groups > MAX_GROUPS)
        return cb_error_set(err, CB_ECONF, "%zu supplementary groups: the kernel takes %d", spec->n_groups, MAX_GROUPS);
    if (spec->n_ports && spec->network != CB_NETWORK_PRIVATE)
        return cb_error_set(err, CB_EUSAGE, "ports are published from a private network only (--network=private)");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        if (!spec->mounts[i].target || spec->mounts[i].target[0] != '/')
            return cb_error_set(err, CB_ECONF, "mount target %.200s: not an absolute path",
                                spec->mounts[i].target ? spec->mounts[i].target : "");
    }
    return 0;
}

static const char *env_path(const char *const *env)
{
    for (; *env; env++) {
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    }
    return DEFAULT_PATH;
}

/* What to try to execute, in order; none for an empty name. */
static void make_candidates(const struct cb_exec_spec *spec, struct cb_strvec *out)
{
    const char *name = spec->argv[0];
    if (strchr(name, '/'))
        cb_strvec_push(out, name);
    const char *p = env_path(spec->env);
    while (name[0] && !strchr(name, '/')) {
        size_t n = strcspn(p, ":");
        cb_strvec_pushf(out, "%.*s/%s", n ? (int)n : 1, n ? p : ".", name);
        if (p[n] == '\0')
            break;
        p += n + 1;
    }
}

/* Fields 48 to 51 of stat: where arguments and environment lie, one behind the other. */
static void find_args(struct cb_child *c)
{
    cb_cleanup_strbuf struct cb_strbuf stat = CB_STRBUF_INIT;
    uint64_t at[4] = { 0 };
    if (cb_file_slurp("/proc/self/stat", 16u << 10, &stat, NULL) < 0)
        return;
    char *p = strrchr(stat.buf, ')');
    for (int field = 2; p && field < 51; field++) {
        p = strchr(p + 1, ' ');
        if (p && field >= 47)
            at[field - 47] = strtoull(p + 1, NULL, 10);
    }
    uint64_t end = at[3] ? at[3] : at[1];
    if (at[0] && end > at[0] && end - at[0] < (64u << 20)) {
        c->args = (char *)(uintptr_t)at[0]; /* NOLINT: the kernel's word for an address of ours */
        c->args_len = (size_t)(end - at[0]);
    }
}

static bool may_set_groups(void)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_sysctl_read("/proc/self/setgroups", &text);
    return !cb_streq(text.buf, "deny");
}

static int open_output(struct cb_sandbox *sb, int i, int given, struct cb_error *err)
{
    int fds[2];
    if (given >= 0 && !sb->spec->relay) {
        sb->child.std[i + 1] = given;
        return 0;
    }
    int r = cb_pipe(fds, err);
    if (r < 0)
        return r;
    sb->out_read[i] = fds[0];
    sb->child.std[i + 1] = fds[1];
    sb->child.own_std[i + 1] = true;
    return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "pipe") : 0;
}

static int open_error_output(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_exec_spec *spec = sb->spec;
    if (!spec->one_stream || (!spec->relay && (spec->stdout_fd >= 0 || spec->stderr_fd >= 0)))
        return open_output(sb, 1, spec->stderr_fd, err);
    sb->child.std[2] = fcntl(sb->child.std[1], F_DUPFD_CLOEXEC, 0);
    sb->child.own_std[2] = true;
    return sb->child.std[2] < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "pipe") : 0;
}

/* Root can open what was handed over, and reads no more of it than it wants. */
static int open_input(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_exec_spec *spec = sb->spec;
    int fds[2];
    sb->child.std[0] = spec->stdin_fd;
    if (!spec->relay || spec->stdin_fd < 0 || spec->uid == 0)
        return 0;
    int r = cb_pipe(fds, err);
    if (r < 0)
        return r;
    sb->child.std[0] = fds[0];
    sb->child.own_std[0] = true;
    sb->in_write = fds[1];
    return fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "pipe") : 0;
}

static int open_streams(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_exec_spec *spec = sb->spec;
    int report[2], go[2];
    int r = cb_pipe(report, err);
    if (r < 0)
        return r;
    sb->report_read = report[0];
    sb->child.report = report[1];
    if ((r = cb_pipe(go, err)) < 0)
        return r;
    sb->child.go_read = go[0];
    sb->go_write = sb->child.go_write = go[1];
    if (spec->tty)
        return 0; /* the pty comes later: it is made in the step's /dev/pts */
    r = open_input(sb, err);
    if (r == 0)
        r = open_output(sb, 0, spec->stdout_fd, err);
    return r < 0 ? r : open_error_output(sb, err);
}

/* NULL-terminated even if there is nothing in it; copied into `into` unless that is NULL. */
static const char *const *copy_list(const char *const *list, struct cb_strvec *into)
{
    static const char *const none[] = { NULL };
    for (size_t i = 0; into && list[i]; i++)
        cb_strvec_push(into, list[i]);
    const char *const *v = into ? (const char *const *)into->v : list;
    return v ? v : none;
}

void cb_exec_warm_up(void)
{
    const struct sock_fprog *filter = NULL;
    /* Who needs it is told why it is not there. */
    (void)!cb_seccomp_filter(&filter, NULL);
}

/* A runtime installs the profile by itself. */
static int find_filter(const struct cb_exec_spec *spec, const struct sock_fprog **out, struct cb_error *err)
{
    if (spec->insecure)
        return 0;
    bool oci = spec->isolation && spec->isolation->kind == CB_ISOLATION_OCI;
    return oci ? cb_seccomp_sockets(out, err) : cb_seccomp_filter(out, err);
}

static int prepare(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_exec_spec *spec = sb->spec;
    struct cb_child *c = &sb->child;
    int r = find_filter(spec, &c->filter, err);
    if (r < 0)
        return r;
    c->insecure = spec->insecure;
    c->ulimits = spec->limits ? spec->limits->ulimits : NULL;
    c->n_ulimits = spec->limits ? spec->limits->n_ulimits : 0;
    make_candidates(spec, &sb->candidates);
    sb->cwd = cb_strdup(spec->cwd);
    c->candidates = copy_list((const char *const *)sb->candidates.v, NULL);
    c->argv = copy_list(spec->argv, &sb->argv);
    c->env = copy_list(spec->env, &sb->env);
    for (const char *const *p = c->candidates; *p; p++)
        cb_strvec_push(&sb->start, *p);
    cb_strvec_push(&sb->start, "");
    c->start = copy_list(c->argv, &sb->start);
    c->cwd = sb->cwd;
    c->init = spec->init;
    c->tty = spec->tty;
    c->uid = spec->uid;
    c->gid = spec->gid;
    c->groups = spec->groups;
    c->n_groups = spec->n_groups;
    c->set_groups = may_set_groups();
    find_args(c);
    return open_streams(sb, err);
}

/* ---- after ---- */

static const char *stage_text(enum cb_stage stage)
{
    static const char *const texts[] = {
        [CB_STAGE_PROC] = "mount /proc",
        [CB_STAGE_HIDE] = "hide a part of /proc",
        [CB_STAGE_CGROUP] = "make a cgroup namespace",
        [CB_STAGE_PIVOT] = "enter the root file system",
        [CB_STAGE_STDIO] = "open the standard streams",
        [CB_STAGE_FORK] = "start a process",
        [CB_STAGE_TTY] = "take the terminal",
        [CB_STAGE_CWD] = "working directory",
        [CB_STAGE_ULIMIT] = "set the limit",
        [CB_STAGE_SECCOMP] = "install the seccomp filter",
        [CB_STAGE_CAPS] = "set the capabilities",
        [CB_STAGE_GROUPS] = "set the supplementary groups",
        [CB_STAGE_GID] = "become the group",
        [CB_STAGE_UID] = "become the user",
        [CB_STAGE_RUNTIME] = "start the OCI runtime",
        [CB_STAGE_STARTER] = "start a program from memory (the sysctl vm.memfd_noexec may forbid it)",
    };
    size_t i = (size_t)stage;
    return i < CB_COUNTOF(texts) && texts[i] ? texts[i] : "start the step";
}

static int id_error(const struct cb_exec_spec *spec, const struct cb_report *r, struct cb_error *err)
{
    bool is_uid = r->stage == CB_STAGE_UID;
    cb_autofree char *owner = cb_userns_owner();
    return cb_error_set(err, CB_ELOCAL,
                        "%s: %s %u is not among the ids that %s may use (usermod --add-subuids 100000-165535 "
                        "--add-subgids 100000-165535 %s, and install newuidmap)",
                        stage_text((enum cb_stage)r->stage), is_uid ? "uid" : "gid", is_uid ? spec->uid : spec->gid,
                        owner, owner);
}

static int stage_error(const struct cb_exec_spec *spec, const struct cb_report *r, struct cb_error *err)
{
    switch (r->stage) {
    case CB_STAGE_CWD:
        return cb_error_sys(err, CB_ECONF, r->sys_errno, "working directory %s", spec->cwd);
    case CB_STAGE_CWD_PROC:
        return cb_error_set(err, CB_ECONF, "working directory %s: it leads into /proc", spec->cwd);
    case CB_STAGE_PROC:
        if (r->sys_errno == EPERM)
            return cb_error_sys(err, CB_ELOCAL, EPERM,
                                "mount /proc: the container that cbpush runs in hides parts of its own (start it with "
                                "--security-opt systempaths=unconfined; in Kubernetes procMount: Unmasked)");
        break;
    case CB_STAGE_ULIMIT:
        return cb_error_sys(err, CB_ELOCAL, r->sys_errno, "--ulimit %s: it cannot be set%s", r->what,
                            r->sys_errno == EPERM ? " (only root may raise a hard limit: ulimit -H shows them)" : "");
    case CB_STAGE_UID:
    case CB_STAGE_GID:
    case CB_STAGE_GROUPS:
        if (r->sys_errno == EINVAL && spec->id_mode != CB_ID_REAL_ROOT)
            return id_error(spec, r, err);
        break;
    default:
        break;
    }
    const char *gap = r->what[0] ? " " : "";
    return cb_error_sys(err, CB_ELOCAL, r->sys_errno, "%s%s%s", stage_text((enum cb_stage)r->stage), gap, r->what);
}

static void tell_step(const struct cb_exec_spec *spec, const char *text, size_t n)
{
    int fd = spec->tty ? spec->stdout_fd : spec->stderr_fd;
    if (fd >= 0)
        (void)!write(fd, text, n);
    else if (spec->on_output)
        spec->on_output(spec->on_output_arg, 2, text, n);
}

static const char *reason(int sys_errno)
{
    switch (sys_errno) {
    case ENOENT:
        return "no such file or directory";
    case EACCES:
        return "permission denied";
    case ENOEXEC:
        return "exec format error";
    default:
        return strerrordesc_np(sys_errno);
    }
}

/* A program that cannot be started is the step's failure, told as a shell would. */
static int exec_failure(const struct cb_exec_spec *spec, const struct cb_report *r)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    const char *name = spec->argv[0];
    cb_strbuf_adds(&text, "exec: \"");
    cb_strbuf_add_sanitized(&text, name, strlen(name), false);
    if (r->stage == CB_STAGE_INTERPRETER)
        cb_strbuf_adds(&text, "\": no such file or directory (the interpreter that it names is missing)\n");
    else if (r->sys_errno == ENOENT && !strchr(name, '/'))
        cb_strbuf_adds(&text, "\": executable file not found in $PATH\n");
    else
        cb_strbuf_addf(&text, "\": %s\n", reason(r->sys_errno));
    tell_step(spec, text.buf, text.len);
    return r->sys_errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

static int judge(const struct cb_exec_spec *spec, const struct cb_pump_result *res, int *status, struct cb_error *err)
{
    *status = res->status;
    if (res->canceled) {
        int r = cb_cancel_check(spec->cancel, err);
        return r < 0 ? r : cb_error_set(err, CB_ECANCELED, "interrupted");
    }
    if (!res->failed)
        return 0;
    if (res->report.stage != CB_STAGE_EXEC && res->report.stage != CB_STAGE_INTERPRETER)
        return stage_error(spec, &res->report, err);
    *status = exec_failure(spec, &res->report);
    return 0;
}

/* ---- all of it ---- */

/* pasta has to be started from here: the thread has left the host's network. */
static int start_network(struct cb_sandbox *sb, struct cb_pasta *pasta, struct cb_error *err)
{
    if (sb->spec->network != CB_NETWORK_PRIVATE)
        return 0;
    while (sem_wait(&sb->entered) < 0 && errno == EINTR)
        ;
    int r = sb->tid ? cb_pasta_start(pasta, sb->tid, sb->spec, err) : 0;
    sb->network_failed = r < 0;
    sem_post(&sb->network);
    return r;
}

static int run(struct cb_sandbox *sb, int *status, struct cb_error *err)
{
    struct cb_pasta pasta CB_CLEANUP(cb_pasta_stop) = CB_PASTA_INIT;
    struct cb_pump_result res;
    int r = prepare(sb, err);
    if (r == 0)
        r = cb_sandbox_start(sb, err);
    if (r == 0)
        r = start_network(sb, &pasta, err);
    if (r == 0)
        r = cb_sandbox_wait_ready(sb, err);
    if (r == 0)
        r = cb_pump_run(sb, &res, err);
    if (r == 0 && sb->ops->end)
        r = sb->ops->end(sb, &res, err);
    cb_sandbox_finish(sb);
    return r < 0 ? r : judge(sb->spec, &res, status, err);
}

static int run_by(const struct cb_isolation_ops *ops, const struct cb_exec_spec *spec, enum cb_overlay_how how,
                  int *status, struct cb_error *err)
{
    struct cb_sandbox sb;
    int r = check_spec(spec, err);
    if (r == 0 && ops->check)
        r = ops->check(spec, err);
    if (r == 0)
        r = cb_cancel_check(spec->cancel, err);
    if (r < 0)
        return r;
    cb_sandbox_init(&sb, spec, ops);
    sb.how = how;
    r = run(&sb, status, err);
    cb_sandbox_done(&sb);
    return r;
}

static const struct cb_isolation_ops *ops_of(const struct cb_exec_spec *spec)
{
    switch (spec->isolation ? spec->isolation->kind : CB_ISOLATION_NATIVE) {
    case CB_ISOLATION_OCI:
        return &cb_isolation_oci;
    case CB_ISOLATION_CHROOT:
        return &cb_isolation_chroot;
    default:
        return &cb_isolation_native;
    }
}

int cb_sandbox_run(const struct cb_exec_spec *spec, enum cb_overlay_how how, int *status, struct cb_error *err)
{
    return run_by(ops_of(spec), spec, how, status, err);
}

int cb_exec_run(const struct cb_exec_spec *spec, int *status, struct cb_error *err)
{
    return run_by(ops_of(spec), spec, CB_OVERLAY_FDS, status, err);
}

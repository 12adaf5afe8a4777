/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/pump.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"
#include "util/path.h"

#define MAX_LOG (1u << 20)
#define CONSOLE_TIMEOUT_MS 30000
#define CONTAINER "cbpush"

/* ---- the bundle ---- */

static char *name_of(int fd)
{
    char link[40], path[CB_MAX_PATH + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    return n < 0 ? NULL : cb_strndup(path, (size_t)n);
}

/* The stage onto the scratch directory, which has a name, and the root into it. */
static int attach(struct cb_sandbox *sb, struct cb_error *err)
{
    struct cb_oci *oci = CB_NEW(struct cb_oci);
    sb->oci = oci;
    oci->console = -1;
    oci->dev_mounts = json_array();
    cb_autoclose int scratch = cb_overlay_reopen(sb->spec->scratch_fd);
    if (scratch < 0)
        return cb_error_sys(err, CB_ELOCAL, -scratch, "scratch directory");
    oci->dir = name_of(scratch);
    int r = sb->root >= 0 ? 0 : cb_overlay_mount_classic(&sb->overlay, sb->spec->scratch_fd, err);
    if (r < 0)
        return r;
    if (sb->root < 0)
        sb->root = r;
    r = oci->dir ? cb_mnt_move(sb->stage, scratch) : -errno;
    if (r == 0)
        r = mkdirat(sb->stage, "rootfs", 0755) < 0 || mkdirat(sb->stage, "state", 0700) < 0 ? -errno : 0;
    cb_autoclose int rootfs = r < 0 ? -1 : openat(sb->stage, "rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r == 0)
        r = rootfs < 0 ? -errno : cb_mnt_move(sb->root, rootfs);
    sb->targets.root = sb->root;
    sb->targets.upper = sb->spec->root.upper_fd;
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "mount the root file system") : 0;
}

/* ---- mounts ---- */

static bool is_in_dev(const char *target)
{
    cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
    return cb_path_normalize(&clean, target, strlen(target)) && cb_starts_with(clean.buf, "dev/");
}

/* attrs: of a bind */
static void add_dev_mount(struct cb_oci *oci, const struct cb_mount *m, uint64_t attrs, const char *source)
{
    const char *type = m->kind == CB_MOUNT_BIND ? "bind" : "tmpfs";
    json_t *o = json_object(), *options = json_array();
    json_object_set_new(o, "destination", cb_json_string(m->target));
    json_object_set_new(o, "type", json_string(type));
    json_object_set_new(o, "source", cb_json_string(source));
    json_array_append_new(options, json_string("nosuid"));
    if (attrs & MOUNT_ATTR_NODEV)
        json_array_append_new(options, json_string("nodev"));
    json_array_append_new(options, json_string(m->readonly ? "ro" : "rw"));
    if (m->kind == CB_MOUNT_BIND)
        json_array_append_new(options, json_string("rbind"));
    else
        json_array_append_new(options, json_sprintf("mode=%04o", m->mode ? m->mode : 01777));
    if (m->kind == CB_MOUNT_TMPFS && m->size)
        json_array_append_new(options, json_sprintf("size=%llu", (unsigned long long)m->size));
    json_object_set_new(o, "options", options);
    json_array_append_new(oci->dev_mounts, o);
}

/* R20: what the runtime mounts is pinned in our own directory first, where no container can rename it. */
static int stage_bind(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    cb_autoclose int mnt = CB_TAKE_FD(sb->binds[i]);
    cb_autofree char *name = cb_asprintf("bind-%zu", i), *path = cb_asprintf("%s/%s", sb->oci->dir, name);
    struct stat st;
    int r = fstat(mnt, &st) < 0 ? -errno : 0;
    if (r == 0)
        r = S_ISDIR(st.st_mode) ? mkdirat(sb->stage, name, 0700) : mknodat(sb->stage, name, S_IFREG | 0600, 0);
    cb_autoclose int target = r < 0 ? -1 : openat(sb->stage, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    uint64_t attrs = r < 0 ? 0 : cb_mounts_bind_attrs(m, &st);
    r = target < 0 ? -errno : cb_mnt_set(mnt, attrs, true);
    if (r == 0)
        r = cb_mnt_move(mnt, target);
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "mount %s", m->target);
    add_dev_mount(sb->oci, m, attrs, path);
    return 0;
}

/* The runtime's /dev would hide what we mount there. */
static int put_in_dev(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_mount *m = &sb->spec->mounts[i];
    if (m->kind == CB_MOUNT_BIND)
        return stage_bind(sb, i, err);
    if (m->kind != CB_MOUNT_TMPFS)
        return cb_error_set(err, CB_ELOCAL, "mount %s: isolation oci mounts no secret and no stage into /dev: name "
                                            "another target", m->target);
    add_dev_mount(sb->oci, m, CB_MNT_SAFE, "tmpfs");
    return 0;
}

static int attach_mounts(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_autofree size_t *order = cb_calloc(sb->spec->n_mounts + 1, sizeof *order);
    int r = 0;
    cb_mounts_order(sb->spec, order);
    sb->targets.dev_refused = true; /* by way of a link */
    for (size_t i = 0; r == 0 && i < sb->spec->n_mounts; i++) {
        bool dev = is_in_dev(sb->spec->mounts[order[i]].target);
        r = dev ? put_in_dev(sb, order[i], err) : cb_mounts_put(sb, order[i], err);
    }
    cb_targets_settle(&sb->targets);
    return r;
}

/* ---- what the runtime is told ---- */

static bool leads_into_proc(const struct cb_sandbox *sb, int fd)
{
    cb_autofree char *name = name_of(fd), *proc = cb_asprintf("%s/rootfs/proc", sb->oci->dir);
    size_t n = strlen(proc);
    return !name || (strncmp(name, proc, n) == 0 && (name[n] == '\0' || name[n] == '/'));
}

/* C10: runtimes make a working directory that is not there, too, but follow where it leads. */
static int check_cwd(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
    cb_path_clean(&clean, sb->spec->cwd);
    bool in_proc = cb_starts_with(clean.buf, "/proc/"); /* which is not mounted yet */
    cb_autoclose int fd = in_proc ? -ENOENT : cb_path_mkdirs(sb->root, clean.buf, 0755, CB_RESOLVE_IN_ROOT);
    if (fd < 0)
        return cb_error_sys(err, CB_ECONF, -fd, "working directory %s", sb->spec->cwd);
    if (leads_into_proc(sb, fd))
        return cb_error_set(err, CB_ECONF, "working directory %s: it leads into /proc", sb->spec->cwd);
    return 0;
}

static void make_argv(struct cb_sandbox *sb)
{
    const struct cb_isolation *by = sb->spec->isolation;
    struct cb_strvec *v = &sb->argv;
    const char *dir = sb->oci->dir;
    cb_strvec_done(v);
    cb_strvec_push(v, by->runtime);
    cb_strvec_pushf(v, "--root=%s/state", dir);
    cb_strvec_pushf(v, "--log=%s/log", dir);
    cb_strvec_push(v, "--log-format=json");
    /* Limits are on the cgroup that all of them are in. */
    if (by->flavour == CB_OCI_CRUN)
        cb_strvec_push(v, "--cgroup-manager=disabled");
    else if (by->flavour == CB_OCI_RUNC)
        cb_strvec_push(v, "--rootless=true"); /* goes on where it may make no cgroup */
    else
        cb_strvec_push(v, "--ignore-cgroups"), cb_strvec_push(v, "--network=host");
    cb_strvec_push(v, "run");
    cb_strvec_pushf(v, "--bundle=%s", dir);
    sb->child.detached = by->flavour != CB_OCI_RUNSC;
    if (sb->child.detached)
        cb_strvec_push(v, "--detach");
    if (sb->spec->tty)
        cb_strvec_push(v, "--console-socket=tty");
    cb_strvec_push(v, CONTAINER);
}

static void make_env(struct cb_sandbox *sb)
{
    cb_strvec_done(&sb->env);
    cb_strvec_push(&sb->env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    cb_strvec_pushf(&sb->env, "XDG_RUNTIME_DIR=%s/state", sb->oci->dir);
}

/* By a name relative to where the runtime is: a socket's name is short. */
static int listen_console(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "tty" };
    if (!sb->spec->tty)
        return 0;
    int fd = sb->oci->console = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "listen for the terminal");
    return 0;
}

static int write_bundle(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_autojson json_t *config = cb_oci_config(sb->spec, sb->oci->dev_mounts, err);
    if (!config)
        return -CB_ECONF;
    cb_json_print(&text, config);
    int r = cb_stage_write(sb, "config.json", text.buf, text.len, err);
    if (r < 0)
        return r;
    make_argv(sb);
    make_env(sb);
    cb_strvec_done(&sb->candidates);
    cb_strvec_push(&sb->candidates, sb->spec->isolation->runtime);
    sb->child.candidates = (const char *const *)sb->candidates.v;
    sb->child.argv = (const char *const *)sb->argv.v;
    sb->child.env = (const char *const *)sb->env.v;
    sb->child.init = true;
    sb->child.empty = openat(sb->stage, "empty", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (sb->child.empty < 0 || fchdir(sb->stage) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "enter %s", sb->oci->dir);
    return listen_console(sb, err);
}

/* ---- the terminal ---- */

/* The master arrives as the one descriptor of one message. */
static int receive_master(int socket_fd)
{
    char byte[256];
    union {
        struct cmsghdr head;
        char buf[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec io = { byte, sizeof byte };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.buf,
                        .msg_controllen = sizeof control.buf };
    if (recvmsg(socket_fd, &m, MSG_CMSG_CLOEXEC) < 0)
        return -errno;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int fd = -1;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
        return -EBADMSG;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : fd;
}

/* 1: fd has something; 0: the runtime has ended before, and says why in its log, or the step is canceled, and is ended
 * as any is. */
static int await_runtime(const struct cb_sandbox *sb, int fd)
{
    int canceled = sb->spec->cancel ? cb_cancel_fd(sb->spec->cancel) : -1;
    struct pollfd p[] = { { fd, POLLIN, 0 }, { sb->pidfd, POLLIN, 0 }, { canceled, POLLIN, 0 } };
    int n = poll(p, CB_COUNTOF(p), CONSOLE_TIMEOUT_MS);
    if (n <= 0)
        return n < 0 ? -errno : -ETIMEDOUT;
    return p[0].revents ? 1 : 0;
}

/* It may connect and then send nothing. */
static int wait_console(struct cb_sandbox *sb, struct cb_error *err)
{
    int r = sb->spec->tty ? await_runtime(sb, sb->oci->console) : 0;
    if (r == 0)
        return 0;
    cb_autoclose int conn = r < 0 ? -1 : accept4(sb->oci->console, NULL, NULL, SOCK_CLOEXEC);
    if (r > 0)
        r = conn < 0 ? -errno : await_runtime(sb, conn);
    if (r == 0)
        return 0;
    int fd = r < 0 ? r : receive_master(conn);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "get the terminal from the OCI runtime");
    sb->master = fd;
    return 0;
}

static const cb_sandbox_step steps[] = {
    cb_sandbox_own_directory, cb_rootfs_stage,  cb_rootfs_overlay, cb_mounts_clone,         cb_sandbox_enter,
    attach,                   cb_rootfs_check,  cb_sysmounts_sys,  cb_network_files,        cb_network_loopback,
    attach_mounts,            check_cwd,        write_bundle,      cb_sandbox_make_cgroup,  cb_sandbox_wait_network,
    cb_sandbox_clone,         wait_console,     NULL,
};

/* ---- after ---- */

/* What the runtime says in its log of its own failure: of the program that is not there, or of the sandbox. */
static int end(struct cb_sandbox *sb, struct cb_pump_result *res, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf log = CB_STRBUF_INIT;
    bool failed = sb->child.detached ? res->failed && res->report.stage == CB_STAGE_RUNTIME : res->status != 0;
    if (!failed || res->canceled || (res->failed && res->report.sys_errno))
        return 0;
    cb_autoclose int fd = openat(sb->stage, "log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || cb_fd_slurp(fd, MAX_LOG, &log, NULL) < 0)
        cb_strbuf_reset(&log);
    cb_autofree char *text = cb_oci_log_error(log.buf, log.len);
    int e = text ? cb_oci_program_error(text, sb->spec->argv[0]) : 0;
    if (e == 0 && (text || sb->child.detached))
        return cb_error_set(err, CB_ELOCAL, "%s: %s", sb->spec->isolation->text,
                            text ? text : "could not start the step, and does not say why");
    res->failed = e != 0;
    res->report = (struct cb_report){ .stage = CB_STAGE_EXEC, .sys_errno = e };
    return 0;
}

static void done(struct cb_sandbox *sb)
{
    if (!sb->oci)
        return;
    cb_close_p(&sb->oci->console);
    json_decref(sb->oci->dev_mounts);
    free(sb->oci->dir);
    free(CB_TAKE(sb->oci));
}

static int check(const struct cb_exec_spec *spec, struct cb_error *err)
{
    const struct cb_limits *l = spec->limits;
    if (l && l->pids)
        return cb_error_set(err, CB_ELOCAL, "--pids-limit: isolation oci would count the processes of the runtime: use "
                                            "native");
    for (size_t i = 0; l && i < l->n_ulimits; i++)
        if (l->ulimits[i].soft > INT64_MAX || l->ulimits[i].hard > INT64_MAX)
            return cb_error_set(err, CB_ELOCAL, "--ulimit %s: isolation oci cannot pass on that there is no limit: use "
                                                "native", cb_ulimit_name(l->ulimits[i].resource));
    return cb_isolation_only_native(spec, "oci", err);
}

const struct cb_isolation_ops cb_isolation_oci = {
    .name = "oci", .check = check, .steps = steps, .child = cb_child_oci_main, .clone_flags = CLONE_NEWPID,
    .kill_signal = SIGKILL, .end = end, .done = done,
};

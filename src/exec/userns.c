/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/exec.h"
#include "util/mnt.h"
#include "exec/subid.h"
#include "exec/userns.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/proc.h"

#define MAPPER_TIMEOUT_MS 10000

void cb_sysctl_read(const char *path, struct cb_strbuf *out)
{
    cb_strbuf_reset(out);
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    char buf[512];
    ssize_t n = read(fd, buf, sizeof buf);
    struct cb_slice s = cb_slice_trim((struct cb_slice){ buf, n > 0 ? (size_t)n : 0 });
    cb_strbuf_add(out, s.ptr, s.len);
}

static bool sysctl_is(const char *path, const char *value)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    cb_sysctl_read(path, &text);
    return cb_streq(text.buf, value);
}

static bool under_seccomp(void)
{
    cb_cleanup_strbuf struct cb_strbuf status = CB_STRBUF_INIT;
    if (cb_file_slurp("/proc/self/status", 64u << 10, &status, NULL) < 0)
        return false;
    return strstr(status.buf, "\nSeccomp:\t2") != NULL;
}

/* Not where a mount is what was chrooted to: there it cannot be told. */
static bool in_chroot(void)
{
    struct statx st;
    return statx(AT_FDCWD, "/", 0, 0, &st) == 0 && (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
           !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

char *cb_userns_remedy(int sys_errno)
{
    if (sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
        return cb_strdup("run `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` as root, "
                         "or give cbpush an AppArmor profile with `userns,`");
    if (sysctl_is("/proc/sys/kernel/unprivileged_userns_clone", "0"))
        return cb_strdup("run `sysctl -w kernel.unprivileged_userns_clone=1` as root");
    if (sysctl_is("/proc/sys/user/max_user_namespaces", "0") || sys_errno == ENOSPC || sys_errno == EUSERS)
        return cb_strdup("run `sysctl -w user.max_user_namespaces=28633` as root");
    if (sys_errno == EINVAL || sys_errno == ENOSYS)
        return cb_strdup("use a kernel with CONFIG_USER_NS");
    if (in_chroot())
        return cb_strdup("in a chroot the kernel makes none: enter that directory by bwrap, systemd-nspawn or `unshare "
                         "--mount` and pivot_root, or run as root");
    if (under_seccomp())
        return cb_strdup("let the outer container make user namespaces (docker run --security-opt seccomp=unconfined; "
                         "in Kubernetes hostUsers: false), or run in it as root: then --isolation=chroot works");
    return cb_strdup("allow user namespaces to ordinary users, or run as root");
}

char *cb_privilege_remedy(void)
{
    if (under_seccomp())
        return cb_strdup(
            "start the outer container with CAP_SYS_ADMIN and without a seccomp filter on mount(2), run in it "
            "as an ordinary user with user namespaces (in Kubernetes hostUsers: false)");
    return cb_strdup("give it CAP_SYS_ADMIN, or run as an ordinary user with user namespaces");
}

char *cb_userns_owner(void)
{
    cb_cleanup_strbuf struct cb_strbuf map = CB_STRBUF_INIT;
    uint32_t inside = 0, outside = getuid();
    cb_sysctl_read("/proc/self/uid_map", &map);
    if (sscanf(map.buf, "%u %u", &inside, &outside) != 2)
        outside = getuid();
    struct passwd *pw = getpwuid(outside);
    return pw ? cb_strdup(pw->pw_name) : cb_asprintf("%u", outside);
}

/* ---- the maps ---- */

struct plan {
    uid_t uid;
    gid_t gid;
    struct cb_id_ranges uids, gids;
    char *newuidmap, *newgidmap; /* absolute, or NULL: one id only */
};

static void plan_done(struct plan *p)
{
    cb_id_ranges_done(&p->uids);
    cb_id_ranges_done(&p->gids);
    free(p->newuidmap);
    free(p->newgidmap);
}

static int plan_make(struct plan *p, struct cb_error *err)
{
    struct passwd *pw = getpwuid(p->uid);
    int r = cb_subid_read("/etc/subuid", pw ? pw->pw_name : NULL, p->uid, &p->uids, err);
    if (r == 0)
        r = cb_subid_read("/etc/subgid", pw ? pw->pw_name : NULL, p->uid, &p->gids, err);
    if (r < 0 || p->uids.n == 0 || p->gids.n == 0)
        return r;
    p->newuidmap = cb_proc_which("newuidmap");
    p->newgidmap = cb_proc_which("newgidmap");
    return 0;
}

static bool plan_has_range(const struct plan *p)
{
    return p->newuidmap && p->newgidmap;
}

static bool run_mapper(const char *program, pid_t pid, uint32_t own, const struct cb_id_ranges *ranges)
{
    cb_cleanup_strvec struct cb_strvec argv = CB_STRVEC_INIT;
    cb_cleanup_proc_result struct cb_proc_result res = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    cb_subid_map_args(&argv, program, pid, own, ranges);
    struct cb_proc_spec spec = { .argv = (const char *const *)argv.v, .timeout_ms = MAPPER_TIMEOUT_MS };
    return cb_proc_run(&spec, &res, NULL) == 0 && res.status == 0;
}

/* The helper stays in the old user namespace: newuidmap has to be started there. Its answer is what was written:
 * bit 0 uid_map, bit 1 gid_map. */
static CB_NORETURN void mapper_main(const struct plan *p, pid_t target, int go, int done)
{
    char byte = 0, answer = 0;
    if (read(go, &byte, 1) == 1) {
        if (run_mapper(p->newuidmap, target, p->uid, &p->uids))
            answer |= 1;
        if ((answer & 1) && run_mapper(p->newgidmap, target, p->gid, &p->gids))
            answer |= 2;
        if (write(done, &answer, 1) != 1)
            _exit(1);
    }
    _exit(0);
}

struct mapper {
    pid_t pid;
    int go, done;
};

static int mapper_start(const struct plan *p, struct mapper *m, struct cb_error *err)
{
    int go[2], done[2];
    int r = cb_pipe(go, err);
    if (r < 0)
        return r;
    if ((r = cb_pipe(done, err)) < 0) {
        close(go[0]);
        close(go[1]);
        return r;
    }
    pid_t target = getpid();
    m->pid = fork();
    int saved = errno;
    if (m->pid == 0) {
        close(go[1]);
        close(done[0]);
        mapper_main(p, target, go[0], done[1]);
    }
    close(go[0]);
    close(done[1]);
    m->go = go[1];
    m->done = done[0];
    return m->pid < 0 ? cb_error_sys(err, CB_ELOCAL, saved, "fork") : 0;
}

/* run = false sends it home unused. */
static int mapper_finish(struct mapper *m, bool run)
{
    char answer = 0;
    if (run && write(m->go, "", 1) == 1 && read(m->done, &answer, 1) != 1)
        answer = 0;
    close(m->go);
    close(m->done);
    while (m->pid > 0 && waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return answer;
}

static int write_proc(const char *path, const char *text, struct cb_error *err)
{
    cb_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        int e = errno;
        cb_autofree char *remedy = cb_userns_remedy(e);
        return cb_error_sys(err, CB_ELOCAL, e, "%s: cannot map our ids (%s)", path, remedy);
    }
    return 0;
}

static int map_single(const struct plan *p, int written, struct cb_error *err)
{
    char line[32];
    int r = 0;
    if (!(written & 1)) {
        snprintf(line, sizeof line, "0 %u 1", p->uid);
        r = write_proc("/proc/self/uid_map", line, err);
    }
    if (r == 0 && !(written & 2)) {
        /* The kernel wants setgroups(2) given up before it lets us map a group by ourselves. */
        r = write_proc("/proc/self/setgroups", "deny", err);
        snprintf(line, sizeof line, "0 %u 1", p->gid);
        r = r < 0 ? r : write_proc("/proc/self/gid_map", line, err);
    }
    return r;
}

static int enter_new(const struct plan *p, enum cb_id_mode *mode, struct cb_error *err)
{
    struct mapper m = { .pid = -1, .go = -1, .done = -1 };
    bool range = plan_has_range(p);
    int r = range ? mapper_start(p, &m, err) : 0;
    if (r < 0)
        return r;
    int unshared = unshare(CLONE_NEWUSER), saved = errno;
    int written = range ? mapper_finish(&m, unshared == 0) : 0;
    if (unshared < 0) {
        cb_autofree char *remedy = cb_userns_remedy(saved);
        *mode = CB_ID_NONE;
        return cb_error_sys(err, CB_ELOCAL, saved, "cannot make a user namespace (%s)", remedy);
    }
    *mode = written == 3 ? CB_ID_RANGE : CB_ID_SINGLE;
    return written == 3 ? 0 : map_single(p, written, err);
}

static int own_mounts(struct cb_error *err)
{
    int r = unshare(CLONE_NEWNS) < 0 ? -errno : cb_mnt_private();
    if (r == 0)
        return 0;
    cb_autofree char *remedy = cb_userns_remedy(-r);
    return cb_error_sys(err, CB_ELOCAL, -r, "cannot mount in a user namespace (%s)", remedy);
}

static bool has_sys_admin(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    return syscall(SYS_capget, &head, data) < 0 || (data[0].effective & 1u << CAP_SYS_ADMIN);
}

/* Root of a user namespace that somebody else made (a pod with hostUsers: false) is not the root of the machine. */
static enum cb_id_mode mode_of_root(void)
{
    cb_cleanup_strbuf struct cb_strbuf map = CB_STRBUF_INIT;
    cb_sysctl_read("/proc/self/uid_map", &map);
    uint32_t size = cb_id_map_size(map.buf);
    if (size == UINT32_MAX || size == 0)
        return has_sys_admin() ? CB_ID_REAL_ROOT : CB_ID_CONTAINER_ROOT;
    return size == 1 ? CB_ID_SINGLE : CB_ID_RANGE;
}

/* Whoever made that user namespace may not have made a mount namespace with it (`unshare --map-root-user`), and in one
 * of others nothing can be mounted. Where this fails, what mounts says what is missing. */
static void take_mounts(enum cb_id_mode mode)
{
    if ((mode == CB_ID_SINGLE || mode == CB_ID_RANGE) && has_sys_admin())
        (void)!own_mounts(NULL);
}

int cb_userns_enter(enum cb_id_mode *mode, struct cb_error *err)
{
    struct plan plan CB_CLEANUP(plan_done) = { .uid = geteuid(), .gid = getegid() };
    if (plan.uid == 0) {
        *mode = mode_of_root();
        take_mounts(*mode);
        return 0;
    }
    int r = plan_make(&plan, err);
    if (r == 0)
        r = enter_new(&plan, mode, err);
    return r < 0 ? r : own_mounts(err);
}

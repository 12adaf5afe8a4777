/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "exec/cgroup.h"
#include "exec/exec.h"
#include "exec/foreign.h"
#include "util/mnt.h"
#include "exec/overlay.h"
#include "exec/subid.h"
#include "exec/trial.h"
#include "exec/userns.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/proc.h"

#define UNPRIVILEGED_ID 65534
#define PROBE_MEMORY (UINT64_C(64) << 20)

void cb_probes_done(struct cb_probes *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].name);
        free(p->v[i].detail);
        free(p->v[i].remedy);
    }
    free(p->v);
    *p = (struct cb_probes){ 0 };
}

struct finding {
    enum cb_probe_state state;
    char *detail, *remedy; /* owned; the remedy of what works is dropped */
};

static void add(struct cb_probes *out, const char *name, bool required, struct finding f)
{
    CB_GROW(out->v, out->n, out->cap);
    if (f.state == CB_PROBE_OK) {
        free(f.remedy);
        f.remedy = NULL;
    }
    out->v[out->n++] = (struct cb_probe){ cb_strdup(name), f.state, required, f.detail, f.remedy };
}

/* ---- kernel ---- */

static void probe_kernel(struct cb_probes *out)
{
    struct utsname u;
    const char *release = uname(&u) == 0 ? u.release : "?";
    add(out, "kernel", false,
        (struct finding){ cb_kernel_at_least(5, 12) ? CB_PROBE_OK : CB_PROBE_MISSING, cb_asprintf("Linux %s", release),
                          cb_strdup("use Linux 5.12 or newer") });
}

static void probe_seccomp(struct cb_probes *out)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    bool ok = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    add(out, "seccomp", false,
        (struct finding){ ok ? CB_PROBE_OK : CB_PROBE_MISSING,
                          cb_strdup(ok ? "filters can be installed" : "no filters"),
                          cb_strdup("use a kernel with CONFIG_SECCOMP_FILTER") });
}

/* ---- user namespaces and ids ---- */

/* 0, or the errno of an ordinary user's attempt. */
static int try_user_namespace(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        bool dropped = syscall(SYS_setresgid, UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID) == 0 &&
                       syscall(SYS_setresuid, UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID) == 0;
        _exit(dropped && unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return EAGAIN;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static void probe_namespaces(struct cb_probes *out, enum cb_id_mode mode)
{
    if (mode != CB_ID_REAL_ROOT && mode != CB_ID_CONTAINER_ROOT) {
        add(out, "user namespaces", true, (struct finding){ CB_PROBE_OK, cb_strdup("in use"), NULL });
        return;
    }
    int e = try_user_namespace();
    add(out, "user namespaces", false,
        (struct finding){ e ? CB_PROBE_BROKEN : CB_PROBE_OK,
                          e ? cb_asprintf("not for ordinary users: %s", strerrordesc_np(e))
                            : cb_strdup("not needed as root"),
                          e ? cb_userns_remedy(e) : NULL });
}

#define USUAL_IDS 65535u /* those of images end with nobody's, 65534 */

static void probe_ids(struct cb_probes *out, enum cb_id_mode mode)
{
    if (mode == CB_ID_REAL_ROOT || mode == CB_ID_CONTAINER_ROOT) {
        add(out, "subuid range", false, (struct finding){ CB_PROBE_OK, cb_strdup("not needed as root"), NULL });
        return;
    }
    cb_cleanup_strbuf struct cb_strbuf map = CB_STRBUF_INIT;
    cb_cleanup_id_ranges struct cb_id_ranges ranges = { 0 };
    cb_autofree char *owner = cb_userns_owner(), *newuidmap = cb_proc_which("newuidmap");
    bool ok = mode == CB_ID_RANGE;
    cb_sysctl_read("/proc/self/uid_map", &map);
    if (cb_subid_read("/etc/subuid", owner, UINT32_MAX, &ranges, NULL) < 0)
        ranges.n = 0;
    add(out, "newuidmap", false,
        (struct finding){ newuidmap ? CB_PROBE_OK : CB_PROBE_MISSING, cb_strdup(newuidmap ? newuidmap : "not in PATH"),
                          cb_strdup("apt-get install uidmap") });
    uint32_t size = ok ? cb_id_map_size(map.buf) : 0;
    bool few = ok && size < USUAL_IDS;
    char *detail =
        few ? cb_asprintf("%u ids are mapped: files cannot belong to users from %u on (nobody is 65534)", size, size)
        : ok ? cb_asprintf("%u ids are mapped", size)
        : ranges.n ? cb_asprintf("%s has a range, but newuidmap could not map it", owner)
                   : cb_asprintf("%s has none: one id is mapped, other users are only made believe", owner);
    enum cb_probe_state state = ok && !few ? CB_PROBE_OK : !ok && ranges.n ? CB_PROBE_BROKEN : CB_PROBE_MISSING;
    char *remedy = cb_asprintf("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s; "
                               "apt-get install uidmap", owner);
    add(out, "subuid range", false, (struct finding){ state, detail, remedy });
}

/* ---- trees ---- */

/* A directory that was removed and made again must be marked opaque in the upper directory. */
static bool marks_opaque(int merged, int upper, bool user_xattrs)
{
    char value = 0;
    if (unlinkat(merged, "a", AT_REMOVEDIR) < 0 || mkdirat(merged, "a", 0755) < 0)
        return false;
    cb_autoclose int fd = openat(upper, "a", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const char *name = user_xattrs ? "user.overlay.opaque" : "trusted.overlay.opaque";
    return fd >= 0 && fgetxattr(fd, name, &value, 1) == 1 && value == 'y';
}

static int try_overlay(int work_dir, enum cb_id_mode mode, struct cb_error *err)
{
    struct cb_trial_place p CB_CLEANUP(cb_trial_place_done);
    struct cb_overlay o CB_CLEANUP(cb_overlay_done) = { .user_xattrs = mode != CB_ID_REAL_ROOT };
    int r = cb_trial_place_make(&p, work_dir, err);
    if (r == 0 && mkdirat(p.scratch, "a", 0755) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "make a directory");
    if (r == 0)
        r = cb_overlay_set_lower(&o, NULL, 0, p.scratch, err);
    if (r < 0)
        return r;
    o.upper = p.upper;
    o.work = p.work;
    cb_autoclose int merged = cb_overlay_create(&o, CB_OVERLAY_FDS, err);
    if (merged == -ENOSYS)
        return 0; /* an older kernel: tried as a part of the whole */
    if (merged < 0)
        return merged;
    if (marks_opaque(merged, p.upper, o.user_xattrs))
        return 0;
    return cb_error_set(err, CB_ELOCAL, "the file system keeps no %s.* attributes", o.user_xattrs ? "user" : "trusted");
}

/* Root of a user namespace that lacks CAP_SYS_ADMIN, as containers of Docker with userns-remap are. */
static bool may_mount_nothing(void)
{
    cb_autoclose int mnt = cb_mnt_new("tmpfs", NULL, CB_MNT_SAFEST);
    return mnt == -EPERM;
}

static void probe_overlay(struct cb_probes *out, int work_dir, enum cb_id_mode mode)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int r = try_overlay(work_dir, mode, &err);
    bool root = mode == CB_ID_REAL_ROOT || mode == CB_ID_CONTAINER_ROOT;
    bool denied = r < 0 && err.sys_errno == EPERM && (root || may_mount_nothing());
    char *remedy = denied ? cb_privilege_remedy()
                          : cb_strdup("put the store (CBPUSH_ROOT) on ext4, xfs, btrfs or tmpfs; modprobe overlay");
    add(out, "overlayfs", false,
        (struct finding){ r < 0 ? CB_PROBE_BROKEN : CB_PROBE_OK,
                          cb_strdup(r < 0 ? cb_error_text(&err) : "works where the store is"), remedy });
}

/* ---- isolations: one that works is enough ---- */

static char *native_remedy(enum cb_id_mode mode, const struct cb_error *err)
{
    bool denied = err->sys_errno == EPERM || err->sys_errno == EACCES;
    bool root = mode == CB_ID_REAL_ROOT || mode == CB_ID_CONTAINER_ROOT;
    return root && denied ? cb_privilege_remedy() : cb_strdup("see the failures above");
}

static bool probe_native(struct cb_probes *out, int work_dir, enum cb_id_mode mode)
{
    static const struct cb_isolation native = { .kind = CB_ISOLATION_NATIVE };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int r = cb_trial_run(&native, work_dir, mode, &err);
    add(out, "native isolation", false,
        (struct finding){ r < 0 ? CB_PROBE_BROKEN : CB_PROBE_OK,
                          cb_strdup(r < 0 ? cb_error_text(&err) : "a sandbox was made and removed"),
                          r < 0 ? native_remedy(mode, &err) : NULL });
    return r == 0;
}

static bool probe_oci(struct cb_probes *out, int work_dir, enum cb_id_mode mode)
{
    struct cb_isolation_wish w = { .kind = CB_ISOLATION_OCI, .work_dir_fd = work_dir, .id_mode = mode };
    struct cb_isolation oci CB_CLEANUP(cb_isolation_done) = { 0 };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int found = cb_isolation_choose(&w, &oci, &err);
    int r = found < 0 ? found : cb_trial_run(&oci, work_dir, mode, &err);
    add(out, "oci isolation", false,
        (struct finding){ found < 0 ? CB_PROBE_MISSING
                          : r < 0   ? CB_PROBE_BROKEN
                                    : CB_PROBE_OK,
                          r < 0 ? cb_strdup(cb_error_text(&err)) : cb_asprintf("%s, %s", oci.text, oci.runtime),
                          found < 0 ? cb_strdup("apt-get install runc, or name one by --runtime")
                                    : native_remedy(mode, &err) });
    return r == 0;
}

static bool probe_chroot(struct cb_probes *out, int work_dir, enum cb_id_mode mode)
{
    static const struct cb_isolation by = { .kind = CB_ISOLATION_CHROOT };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    int r = cb_trial_run(&by, work_dir, mode, &err);
    add(out, "chroot isolation", false,
        (struct finding){ r < 0 ? CB_PROBE_BROKEN : CB_PROBE_OK,
                          cb_strdup(r < 0 ? cb_error_text(&err)
                                          : "steps have no /proc and no /sys, and are not kept from this machine or "
                                            "container"),
                          cb_strdup(mode == CB_ID_RANGE || mode == CB_ID_SINGLE
                                        ? "run as root of the machine: device nodes cannot be made in a user namespace"
                                        : "run as root, with the capabilities that Docker gives by default") });
    return r == 0;
}

static void probe_isolations(struct cb_probes *out, int work_dir, enum cb_id_mode mode)
{
    bool native = probe_native(out, work_dir, mode), oci = probe_oci(out, work_dir, mode);
    bool chroot = probe_chroot(out, work_dir, mode);
    const char *name = native ? "native" : oci ? "oci" : chroot ? "chroot" : NULL;
    add(out, "isolation", true,
        (struct finding){ name ? CB_PROBE_OK : CB_PROBE_BROKEN,
                          name ? cb_asprintf("auto takes %s", name) : cb_strdup("none works: no RUN is possible here"),
                          cb_strdup("see the failures above; builds without RUN work") });
}

/* ---- extras ---- */

static void probe_network(struct cb_probes *out)
{
    cb_autofree char *pasta = cb_proc_which("pasta");
    cb_autoclose int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    int e = errno;
    add(out, "pasta", false,
        (struct finding){ pasta ? CB_PROBE_OK : CB_PROBE_MISSING, cb_strdup(pasta ? pasta : "not in PATH"),
                          cb_strdup("apt-get install passt (only for --network=private)") });
    add(out, "/dev/net/tun", false,
        (struct finding){ tun >= 0      ? CB_PROBE_OK
                          : e == ENOENT ? CB_PROBE_MISSING
                                        : CB_PROBE_BROKEN,
                          cb_strdup(tun >= 0 ? "can be opened" : strerrordesc_np(e)),
                          cb_strdup("modprobe tun; chmod 0666 /dev/net/tun (only for --network=private)") });
}

static void probe_memory(struct cb_probes *out)
{
    static const char *const kinds[] = { [CB_CGROUP_NONE] = "no cgroups", [CB_CGROUP_V1] = "cgroup v1",
                                         [CB_CGROUP_HYBRID] = "cgroup v1 and v2", [CB_CGROUP_V2] = "cgroup v2" };
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_cgroup cg = CB_CGROUP_INIT;
    int r = cb_cgroup_make(&cg, &(struct cb_limits){ .memory = PROBE_MEMORY }, &err);
    cb_cgroup_done(&cg);
    add(out, "memory limits", false,
        (struct finding){ r < 0 ? CB_PROBE_MISSING : CB_PROBE_OK,
                          cb_asprintf("%s: %s", kinds[cb_cgroup_kind()],
                                      r == 0          ? "a limit can be set"
                                      : err.sys_errno ? strerrordesc_np(err.sys_errno)
                                                      : "no memory controller"),
                          cb_strdup("systemd-run --user --scope -p Delegate=yes cbpush … (only for --memory)") });
}

static void probe_foreign(struct cb_probes *out, int work_dir)
{
    struct cb_strbuf list cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_foreign_list(work_dir, &list);
    add(out, "other platforms", false,
        (struct finding){ list.len ? CB_PROBE_OK : CB_PROBE_MISSING,
                          list.len ? cb_asprintf("RUN works for %s", list.buf)
                                   : cb_strdup("RUN works for this machine's own only"),
                          cb_strdup("apt-get install qemu-user-static, or docker run --privileged --rm "
                                    "tonistiigi/binfmt --install all (only for RUN of other platforms)") });
}

int cb_exec_probe(int work_dir_fd, enum cb_id_mode mode, struct cb_probes *out, struct cb_error *err)
{
    struct stat st;
    if (fstat(work_dir_fd, &st) < 0 || !S_ISDIR(st.st_mode))
        return cb_error_sys(err, CB_ELOCAL, ENOTDIR, "work directory");
    probe_kernel(out);
    probe_seccomp(out);
    probe_namespaces(out, mode);
    probe_ids(out, mode);
    probe_overlay(out, work_dir_fd, mode);
    probe_isolations(out, work_dir_fd, mode);
    probe_network(out);
    probe_memory(out);
    probe_foreign(out, work_dir_fd);
    return 0;
}

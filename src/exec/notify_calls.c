/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls come to us, of every architecture that the profile allows. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/notify.h"
#include "exec/notify_private.h"
#include "exec/seccomp_lib.h"
#include "util/alloc.h"

#define X32_BIT 0x40000000u

static const struct cb_notify_row rows[] = {
    { "chown", cb_notify_chown, 0, true },
    { "chown32", cb_notify_chown, 0, false },
    { "lchown", cb_notify_chown, AT_SYMLINK_NOFOLLOW, true },
    { "lchown32", cb_notify_chown, AT_SYMLINK_NOFOLLOW, false },
    { "fchown", cb_notify_fchown, 0, true },
    { "fchown32", cb_notify_fchown, 0, false },
    { "fchownat", cb_notify_fchownat, 0, false },
    { "setuid", cb_notify_set, 0, true },
    { "setuid32", cb_notify_set, 0, false },
    { "setgid", cb_notify_set, CB_IDS_GROUP, true },
    { "setgid32", cb_notify_set, CB_IDS_GROUP, false },
    { "setreuid", cb_notify_setre, 0, true },
    { "setreuid32", cb_notify_setre, 0, false },
    { "setregid", cb_notify_setre, CB_IDS_GROUP, true },
    { "setregid32", cb_notify_setre, CB_IDS_GROUP, false },
    { "setresuid", cb_notify_setres, 0, true },
    { "setresuid32", cb_notify_setres, 0, false },
    { "setresgid", cb_notify_setres, CB_IDS_GROUP, true },
    { "setresgid32", cb_notify_setres, CB_IDS_GROUP, false },
    { "setfsuid", cb_notify_setfs, 0, true },
    { "setfsuid32", cb_notify_setfs, 0, false },
    { "setfsgid", cb_notify_setfs, CB_IDS_GROUP, true },
    { "setfsgid32", cb_notify_setfs, CB_IDS_GROUP, false },
    { "setgroups", cb_notify_setgroups, 0, true },
    { "setgroups32", cb_notify_setgroups, 0, false },
    { "getuid", cb_notify_get, 0, true },
    { "getuid32", cb_notify_get, 0, false },
    { "geteuid", cb_notify_get, CB_IDS_EFFECTIVE, true },
    { "geteuid32", cb_notify_get, CB_IDS_EFFECTIVE, false },
    { "getgid", cb_notify_get, CB_IDS_GROUP, true },
    { "getgid32", cb_notify_get, CB_IDS_GROUP, false },
    { "getegid", cb_notify_get, CB_IDS_GROUP | CB_IDS_EFFECTIVE, true },
    { "getegid32", cb_notify_get, CB_IDS_GROUP | CB_IDS_EFFECTIVE, false },
    { "getresuid", cb_notify_getres, 0, true },
    { "getresuid32", cb_notify_getres, 0, false },
    { "getresgid", cb_notify_getres, CB_IDS_GROUP, true },
    { "getresgid32", cb_notify_getres, CB_IDS_GROUP, false },
    { "getgroups", cb_notify_getgroups, 0, true },
    { "getgroups32", cb_notify_getgroups, 0, false },
    { "capset", cb_notify_capset, 0, false },
    { "execve", cb_notify_exec, 0, false },
    { "execveat", cb_notify_exec, 0, false },
};

static const struct arch {
    uint32_t token;
    bool narrow;
} arches[] = {
#if defined(__x86_64__)
    { SCMP_ARCH_X86_64, false }, { SCMP_ARCH_X86, true }, { SCMP_ARCH_X32, false },
#elif defined(__aarch64__)
    { SCMP_ARCH_AARCH64, false }, { SCMP_ARCH_ARM, true },
#endif
};

static struct {
    pthread_once_t once;
    bool ok;
    int numbers[CB_COUNTOF(arches)][CB_COUNTOF(rows)];
    struct sock_fprog program;
} built = { .once = PTHREAD_ONCE_INIT };

static int add_rules(scmp_filter_ctx ctx)
{
    int r = 0;
    for (size_t a = 0; a < CB_COUNTOF(arches) && (r == 0 || r == -EEXIST); a++)
        r = seccomp_arch_add(ctx, arches[a].token);
    r = r == -EEXIST ? 0 : r;
    for (size_t i = 0; i < CB_COUNTOF(rows) && r == 0; i++) {
        int call = seccomp_syscall_resolve_name(rows[i].name);
        if (call != __NR_SCMP_ERROR)
            r = seccomp_rule_add_array(ctx, SCMP_ACT_NOTIFY, call, 0, NULL);
        r = r == -EDOM ? 0 : r;
    }
    return r;
}

static bool export_program(scmp_filter_ctx ctx)
{
    cb_autoclose int fd = memfd_create("cbpush-notify", MFD_CLOEXEC);
    off_t size = fd < 0 || seccomp_export_bpf(ctx, fd) < 0 ? 0 : lseek(fd, 0, SEEK_END);
    size_t n = size > 0 ? (size_t)size / sizeof(struct sock_filter) : 0;
    if (n == 0 || n > BPF_MAXINSNS)
        return false;
    struct sock_filter *filter = cb_calloc(n, sizeof *filter);
    built.program = (struct sock_fprog){ .len = (unsigned short)n, .filter = filter };
    return pread(fd, filter, (size_t)size, 0) == size;
}

static void build(void)
{
    for (size_t a = 0; a < CB_COUNTOF(arches); a++)
        for (size_t i = 0; i < CB_COUNTOF(rows); i++)
            built.numbers[a][i] = seccomp_syscall_resolve_name_arch(arches[a].token, rows[i].name);
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return;
    seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW); /* what else there is, the profile refuses */
    built.ok = add_rules(ctx) == 0 && export_program(ctx);
    seccomp_release(ctx);
}

const struct sock_fprog *cb_notify_filter(void)
{
    if (cb_seccomp_load(NULL) < 0)
        return NULL;
    pthread_once(&built.once, build);
    return built.ok ? &built.program : NULL;
}

static bool is_arch(const struct arch *a, const struct seccomp_data *d)
{
#if defined(__x86_64__)
    if (a->token == SCMP_ARCH_X32)
        return d->arch == SCMP_ARCH_X86_64 && ((uint32_t)d->nr & X32_BIT);
#endif
    return d->arch == a->token;
}

const struct cb_notify_row *cb_notify_find(const struct seccomp_data *d, bool *narrow)
{
    for (size_t a = 0; a < CB_COUNTOF(arches); a++) {
        for (size_t i = 0; is_arch(&arches[a], d) && i < CB_COUNTOF(rows); i++) {
            if (built.numbers[a][i] != d->nr)
                continue;
            *narrow = arches[a].narrow && rows[i].narrow;
            return &rows[i];
        }
    }
    return NULL;
}

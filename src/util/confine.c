/* SPDX-License-Identifier: Apache-2.0 */
#include "util/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "util/lazy.h"

/* ---- limits ---- */

#define MAX_FILES 64
#define MAX_CPU_SECONDS (4 * 3600)
/* The window of zstd (128 MiB), what libraries reserve for each thread, and a table of the largest layers (2 GiB, as
 * it is built and as it is sent). */
#define MAX_MEMORY (UINT64_C(8) << 30)

static void limit(unsigned what, rlim_t n, rlim_t grace)
{
    struct rlimit was;
    if (getrlimit((__rlimit_resource_t)what, &was) < 0)
        return;
    was.rlim_cur = CB_MIN(n, was.rlim_max);
    was.rlim_max = CB_MIN(n + grace, was.rlim_max);
    (void)setrlimit((__rlimit_resource_t)what, &was);
}

static void set_limits(void)
{
    limit(RLIMIT_CORE, 0, 0);
    limit(RLIMIT_NOFILE, MAX_FILES, 0);
    limit(RLIMIT_CPU, MAX_CPU_SECONDS, 60); /* SIGXCPU says more than SIGKILL */
#ifndef CB_SANITIZED /* it maps terabytes */
    limit(RLIMIT_AS, (rlim_t)MAX_MEMORY, 0);
#endif
}

/* ---- capabilities ---- */

/* Owners, modes and attributes of files. MKNOD is for whiteouts before Linux 5.8; the filter lets no other device
 * pass. */
#define KEPT                                                                                                          \
    (1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID | 1u << CAP_MKNOD |               \
     1u << CAP_SETFCAP)

static int drop_capabilities(struct cb_error *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &head, data) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read our capabilities");
    for (unsigned i = 0; i < 2; i++) {
        data[i].permitted &= i ? 0 : KEPT;
        data[i].effective &= data[i].permitted;
        data[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &head, data) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "drop capabilities");
    return 0;
}

/* ---- Landlock, by numbers: headers are often older than kernels ---- */

struct ruleset {
    uint64_t fs, net, scoped;
};
struct beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

#define LL_CREATE 444
#define LL_ADD 445
#define LL_RESTRICT 446
#define LL_VERSION 1u
#define LL_BENEATH 1
/* Write to files, list and remove directories, remove files, make character devices (whiteouts), directories, files,
 * pipes and symbolic links, link across directories, cut files. Not: execute, read files, make sockets and disks. */
#define LL_GRANTED (1u << 1 | 0x7u << 3 | 0x7u << 6 | 1u << 10 | 1u << 12 | 1u << 13 | 1u << 14)
#define LL_NET 3u    /* bind and connect */
#define LL_SCOPED 3u /* abstract sockets, signals */

static uint64_t rights_of(long abi)
{
    return abi >= 5 ? 0xffff : abi >= 3 ? 0x7fff : 0x3fff;
}

static bool restrict_to(int root_fd)
{
    long abi = syscall(LL_CREATE, NULL, 0, LL_VERSION);
    /* The first version refuses links from one directory to another, and layers have those. */
    if (abi < 2)
        return false;
    struct ruleset rules = { .fs = rights_of(abi), .net = LL_NET, .scoped = LL_SCOPED };
    size_t size = abi >= 6 ? sizeof rules : abi >= 4 ? 2 * sizeof rules.fs : sizeof rules.fs;
    cb_autoclose int fd = (int)syscall(LL_CREATE, &rules, size, 0);
    if (fd < 0)
        return false;
    struct beneath rule = { .allowed = LL_GRANTED & rules.fs, .parent_fd = root_fd };
    if (root_fd >= 0 && syscall(LL_ADD, fd, LL_BENEATH, &rule, 0) < 0)
        return false;
    return syscall(LL_RESTRICT, fd, 0) == 0;
}

/* ---- all of it ---- */

/* Descriptors from outside are gone, and ".." ends at the root: so there is no way up. */
static bool change_root(int root_fd)
{
    return root_fd >= 0 && fchdir(root_fd) == 0 && chroot(".") == 0;
}

int cb_confine(const struct cb_confine_options *o, unsigned *held, struct cb_error *err)
{
    *held = 0;
    cb_lazy_forbid();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "give up new privileges");
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    set_limits();
    if (!(o->without & CB_CONFINE_ROOT) && change_root(o->root_fd))
        *held |= CB_CONFINE_ROOT;
    int r = drop_capabilities(err);
    if (r < 0)
        return r;
    if (!(o->without & CB_CONFINE_LANDLOCK) && restrict_to(o->root_fd))
        *held |= CB_CONFINE_LANDLOCK;
    if (!(o->without & CB_CONFINE_CALLS) && cb_confine_calls(o->root_fd >= 0) == 0)
        *held |= CB_CONFINE_CALLS;
    return 0;
}

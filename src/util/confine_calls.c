/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that reading a layer and unpacking it are made of: what else there is does not exist (ENOSYS, which
 * C libraries know how to live with). Written as instructions: few, and some look at arguments. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "util/confine.h"

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef OUR_ARCH

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* Memory, threads, time, and descriptors that are open. */
static const uint32_t plain_calls[] = {
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_close, SYS_fstat, SYS_lseek, SYS_munmap, SYS_mremap,
    SYS_madvise, SYS_brk, SYS_futex, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack,
    SYS_set_robust_list, SYS_rseq, SYS_gettid, SYS_getpid, SYS_geteuid, SYS_getegid, SYS_getuid, SYS_getgid, SYS_exit,
    SYS_exit_group, SYS_restart_syscall, SYS_sched_yield, SYS_sched_getaffinity, SYS_getrandom, SYS_clock_gettime,
    SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_ppoll, SYS_sendmsg, SYS_recvmsg, SYS_sendto, SYS_recvfrom,
#ifdef SYS_poll
    SYS_poll,
#endif
};

/* Files, all of them relative to the tree where the process has no other root. */
static const uint32_t path_calls[] = {
    SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_mkdirat, SYS_symlinkat, SYS_linkat, SYS_unlinkat,
    SYS_readlinkat, SYS_fchown, SYS_fchownat, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2, SYS_utimensat, SYS_fsetxattr,
    SYS_getdents64, SYS_copy_file_range, SYS_sendfile, SYS_ftruncate,
};

static const uint32_t allow = SECCOMP_RET_ALLOW;
static const uint32_t deny = SECCOMP_RET_ERRNO | EPERM;
static const uint32_t absent = SECCOMP_RET_ERRNO | ENOSYS;

struct program {
    struct sock_filter v[256];
    unsigned short n;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    if (p->n < CB_COUNTOF(p->v))
        p->v[p->n++] = (struct sock_filter){ code, yes, no, k };
}

static void emit_return(struct program *p, uint32_t action)
{
    emit(p, BPF_RET | BPF_K, action, 0, 0);
}

static void emit_load(struct program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* The low half: both architectures are little-endian, and the kernel uses no more of these. */
static void emit_load_arg(struct program *p, unsigned i)
{
    emit_load(p, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

static void emit_if_equal(struct program *p, uint32_t value, uint32_t action)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    emit_return(p, action);
}

static void emit_calls(struct program *p, const uint32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        emit_if_equal(p, v[i], allow);
}

/* What follows up to `end` is for this call alone, and returns. */
static unsigned short begin_call(struct program *p, uint32_t call)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 0);
    return p->n;
}

static void end_call(struct program *p, unsigned short begin)
{
    p->v[begin - 1].jf = (uint8_t)(p->n - begin);
}

/* A call that one bit of an argument decides. */
static void emit_by_bit(struct program *p, uint32_t call, unsigned arg, uint32_t bit, bool wanted)
{
    unsigned short b = begin_call(p, call);
    emit_load_arg(p, arg);
    emit(p, BPF_JMP | BPF_JSET | BPF_K, bit, 0, 1);
    emit_return(p, wanted ? allow : deny);
    emit_return(p, wanted ? deny : allow);
    end_call(p, b);
}

/* Memory may not be made executable: no library is loaded, no code brought in. */
static void emit_memory(struct program *p, uint32_t call)
{
    emit_by_bit(p, call, 2, PROT_EXEC, false);
}

/* Threads, but no processes. clone3 hides its flags in memory: C libraries then use clone. */
static void emit_clone(struct program *p)
{
    emit_by_bit(p, SYS_clone, 0, CLONE_THREAD, true);
}

/* Pipes, and whiteouts: devices 0:0, which nobody can open. */
static void emit_mknod(struct program *p)
{
    unsigned short b = begin_call(p, SYS_mknodat);
    emit_load_arg(p, 2);
    emit(p, BPF_ALU | BPF_AND | BPF_K, S_IFMT, 0, 0);
    emit_if_equal(p, S_IFIFO, allow);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, S_IFCHR, 0, 3);
    emit_load_arg(p, 3);
    emit_if_equal(p, 0, allow);
    emit_return(p, deny);
    end_call(p, b);
}

static void emit_one_of(struct program *p, uint32_t call, unsigned arg, const uint32_t *v, size_t n)
{
    unsigned short b = begin_call(p, call);
    emit_load_arg(p, arg);
    emit_calls(p, v, n);
    emit_return(p, deny);
    end_call(p, b);
}

/* Not fcntl(F_SETOWN), which sends signals; abort(3) needs tgkill of ourselves; threads get names. */
static void emit_restricted(struct program *p)
{
    static const uint32_t commands[] = { F_GETFD, F_SETFD, F_GETFL, F_DUPFD, F_DUPFD_CLOEXEC };
    static const uint32_t controls[] = { PR_SET_NAME };
    const uint32_t self[] = { (uint32_t)getpid() };
    emit_one_of(p, SYS_fcntl, 1, commands, CB_COUNTOF(commands));
    emit_one_of(p, SYS_prctl, 0, controls, CB_COUNTOF(controls));
    emit_one_of(p, SYS_tgkill, 0, self, CB_COUNTOF(self));
    emit_memory(p, SYS_mmap);
    emit_memory(p, SYS_mprotect);
    emit_clone(p);
}

int cb_confine_calls(bool paths)
{
    struct program p = { .n = 0 };
    emit_load(&p, offsetof(struct seccomp_data, arch));
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
    emit_return(&p, SECCOMP_RET_KILL_PROCESS);
    emit_load(&p, offsetof(struct seccomp_data, nr));
    emit_calls(&p, plain_calls, CB_COUNTOF(plain_calls));
    if (paths)
        emit_calls(&p, path_calls, CB_COUNTOF(path_calls));
    emit_restricted(&p);
    if (paths)
        emit_mknod(&p);
    emit_return(&p, absent);
    struct sock_fprog f = { .len = p.n, .filter = p.v };
    /* Without that flag older kernels make all of the process slower, against a danger that its memory has not: it
     * holds no secrets. */
    if (p.n >= CB_COUNTOF(p.v))
        return -ENOMEM;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &f) == 0)
        return 0;
    return -errno;
}

#else

int cb_confine_calls(CB_UNUSED bool paths)
{
    return -ENOSYS;
}

#endif

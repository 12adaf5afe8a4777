/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/seccomp_profile.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <pthread.h>

#include "exec/seccomp_bpf.h"
#include "exec/seccomp_lib.h"

#define FAMILY_ALG 38
#define FAMILY_VSOCK 40
#define FIRST_UNKNOWN_CALL 451 /* one number for all architectures since 424 */
#define ARM_PRIVATE_CALLS 0xf0000u /* 32-bit ARM's own (set_tls, cacheflush): the body knows them */
#define SYS_SOCKET_OP 1 /* socketcall's first argument for socket(2) */

/* ---- the head: what the kernel compares 32 bits of, and calls that the library knows no names of ---- */

/* "if (accumulator == value) return action" */
static void emit_if_equal(struct cb_bpf *h, uint32_t value, uint32_t action)
{
    cb_bpf_add(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    cb_bpf_return(h, action);
}

/* "if not (this architecture and this call) skip the next n instructions" */
static void emit_unless_call(struct cb_bpf *h, uint32_t arch, uint32_t call, uint8_t n)
{
    cb_bpf_load(h, offsetof(struct seccomp_data, arch));
    cb_bpf_add(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, (uint8_t)(n + 2)));
    cb_bpf_load(h, offsetof(struct seccomp_data, nr));
    cb_bpf_add(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, n));
}

static const uint32_t deny = SECCOMP_RET_ERRNO | EPERM;
static const uint32_t absent = SECCOMP_RET_ERRNO | ENOSYS;

static void emit_socket(struct cb_bpf *h, uint32_t arch, uint32_t call)
{
    emit_unless_call(h, arch, call, 5);
    cb_bpf_load(h, cb_bpf_arg_low(0));
    emit_if_equal(h, FAMILY_ALG, deny);
    emit_if_equal(h, FAMILY_VSOCK, deny);
}

static void emit_socketcall(struct cb_bpf *h, uint32_t arch, uint32_t call)
{
    emit_unless_call(h, arch, call, 3);
    cb_bpf_load(h, cb_bpf_arg_low(0));
    emit_if_equal(h, SYS_SOCKET_OP, deny);
}

static void emit_sockets(struct cb_bpf *h)
{
#if defined(__x86_64__)
    emit_socket(h, AUDIT_ARCH_X86_64, 41);
    emit_socket(h, AUDIT_ARCH_X86_64, CB_SECCOMP_X32 | 41);
    emit_socket(h, AUDIT_ARCH_I386, 359);
    emit_socketcall(h, AUDIT_ARCH_I386, 102);
    /* uretprobe: the kernel makes programs call it while somebody traces them */
    emit_unless_call(h, AUDIT_ARCH_X86_64, 335, 1);
    cb_bpf_return(h, SECCOMP_RET_ALLOW);
#elif defined(__aarch64__)
    emit_socket(h, AUDIT_ARCH_AARCH64, 198);
    emit_socket(h, AUDIT_ARCH_ARM, 281);
    emit_socketcall(h, AUDIT_ARCH_ARM, 102);
#else
#error "the seccomp profile has no table of socket calls for this architecture yet"
#endif
}

/* Newer calls that are harmless and whose refusal with EPERM would break programs: cachestat fchmodat2 map_shadow_stack
 * futex_wake futex_wait futex_requeue mseal setxattrat getxattrat listxattrat removexattrat. */
static const uint32_t newer_allowed[] = { 451, 452, 453, 454, 455, 456, 462, 463, 464, 465, 466 };

static void emit_newer(struct cb_bpf *h)
{
    uint8_t body = (uint8_t)(2 * CB_COUNTOF(newer_allowed) + 1);
    cb_bpf_load(h, offsetof(struct seccomp_data, nr));
#if defined(__aarch64__)
    cb_bpf_add(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ARM_PRIVATE_CALLS, (uint8_t)(body + 2), 0));
#endif
    cb_bpf_add(h, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~CB_SECCOMP_X32));
    cb_bpf_add(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_UNKNOWN_CALL, 0, body));
    for (size_t i = 0; i < CB_COUNTOF(newer_allowed); i++)
        emit_if_equal(h, newer_allowed[i], SECCOMP_RET_ALLOW);
    cb_bpf_return(h, absent);
}

/* ---- one constant program a process ---- */

static struct {
    pthread_once_t once;
    int code;
    struct sock_fprog program, sockets;
} built = { .once = PTHREAD_ONCE_INIT };

static void take(struct sock_fprog *out, const struct cb_bpf *b)
{
    if (b->n > BPF_MAXINSNS)
        built.code = -E2BIG;
    *out = (struct sock_fprog){ .len = (unsigned short)b->n, .filter = b->v };
}

static void build(void)
{
    struct cb_bpf all = { 0 }, sockets = { 0 };
    emit_sockets(&all);
    emit_newer(&all);
    cb_seccomp_body(&all);
    take(&built.program, &all);
    emit_sockets(&sockets);
    cb_bpf_return(&sockets, SECCOMP_RET_ALLOW);
    take(&built.sockets, &sockets);
}

static int get(const struct sock_fprog *program, const struct sock_fprog **out, struct cb_error *err)
{
    if (cb_seccomp_load(err) < 0)
        return -CB_ELOCAL;
    pthread_once(&built.once, build);
    if (built.code < 0)
        return cb_error_sys(err, CB_EINTERNAL, -built.code, "seccomp filter");
    *out = program;
    return 0;
}

int cb_seccomp_filter(const struct sock_fprog **out, struct cb_error *err)
{
    return get(&built.program, out, err);
}

int cb_seccomp_sockets(const struct sock_fprog **out, struct cb_error *err)
{
    return get(&built.sockets, out, err);
}

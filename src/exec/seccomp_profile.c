/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/seccomp_profile.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "exec/seccomp_lib.h"
#include "exec/seccomp_names.h"
#include "util/alloc.h"

#define FAMILY_ALG 38
#define FAMILY_VSOCK 40
#define FIRST_UNKNOWN_CALL 451 /* one number for all architectures since 424 */
#define X32_BIT 0x40000000u
#define NAMESPACE_FLAGS 0x7e020000u /* CLONE_NEW* */
#define SYS_SOCKET_OP 1             /* socketcall's first argument for socket(2) */
#define SOCKETS_MAX 64

/* ---- the head: written by hand, because the library compares 64 bits where the kernel uses 32, and knows no newer
 * calls ---- */

struct head {
    struct sock_filter v[256];
    size_t n;
};

static void emit(struct head *h, struct sock_filter f)
{
    if (h->n < CB_COUNTOF(h->v))
        h->v[h->n++] = f;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARG0_LOW offsetof(struct seccomp_data, args[0])
#else
#define ARG0_LOW (offsetof(struct seccomp_data, args[0]) + 4)
#endif

static void emit_load(struct head *h, size_t offset)
{
    emit(h, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void emit_return(struct head *h, uint32_t action)
{
    emit(h, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* "if (accumulator == value) return action" */
static void emit_if_equal(struct head *h, uint32_t value, uint32_t action)
{
    emit(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    emit_return(h, action);
}

/* "if not (this architecture and this call) skip the next n instructions" */
static void emit_unless_call(struct head *h, uint32_t arch, uint32_t call, uint8_t n)
{
    emit_load(h, offsetof(struct seccomp_data, arch));
    emit(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, (uint8_t)(n + 2)));
    emit_load(h, offsetof(struct seccomp_data, nr));
    emit(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, n));
}

static const uint32_t deny = SECCOMP_RET_ERRNO | EPERM;
static const uint32_t absent = SECCOMP_RET_ERRNO | ENOSYS;

static void emit_socket(struct head *h, uint32_t arch, uint32_t call)
{
    emit_unless_call(h, arch, call, 5);
    emit_load(h, ARG0_LOW);
    emit_if_equal(h, FAMILY_ALG, deny);
    emit_if_equal(h, FAMILY_VSOCK, deny);
}

static void emit_socketcall(struct head *h, uint32_t arch, uint32_t call)
{
    emit_unless_call(h, arch, call, 3);
    emit_load(h, ARG0_LOW);
    emit_if_equal(h, SYS_SOCKET_OP, deny);
}

static void emit_sockets(struct head *h)
{
#if defined(__x86_64__)
    emit_socket(h, AUDIT_ARCH_X86_64, 41);
    emit_socket(h, AUDIT_ARCH_X86_64, X32_BIT | 41);
    emit_socket(h, AUDIT_ARCH_I386, 359);
    emit_socketcall(h, AUDIT_ARCH_I386, 102);
    /* uretprobe: the kernel makes programs call it while somebody traces them */
    emit_unless_call(h, AUDIT_ARCH_X86_64, 335, 1);
    emit_return(h, SECCOMP_RET_ALLOW);
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

static void emit_newer(struct head *h)
{
    uint8_t body = (uint8_t)(2 * CB_COUNTOF(newer_allowed) + 1);
    emit_load(h, offsetof(struct seccomp_data, nr));
    emit(h, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT));
    emit(h, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_UNKNOWN_CALL, 0, body));
    for (size_t i = 0; i < CB_COUNTOF(newer_allowed); i++)
        emit_if_equal(h, newer_allowed[i], SECCOMP_RET_ALLOW);
    emit_return(h, absent);
}

/* ---- the body: the library's ---- */

static int allow_names(scmp_filter_ctx ctx)
{
    for (size_t i = 0; i < CB_COUNTOF(allowed_names); i++) {
        int call = seccomp_syscall_resolve_name(allowed_names[i]);
        int r = call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 0, NULL);
        if (r < 0 && r != -EDOM)
            return r;
    }
    return 0;
}

static int rule(scmp_filter_ctx ctx, uint32_t action, const char *name, const struct scmp_arg_cmp *args, unsigned n)
{
    int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR)
        return 0;
    int r = seccomp_rule_add_array(ctx, action, call, n, args);
    return r == -EDOM ? 0 : r;
}

static int allow_personalities(scmp_filter_ctx ctx)
{
    static const uint32_t values[] = { 0, 0x0008, 0x20000, 0x20008, 0xffffffff };
    int r = 0;
    for (size_t i = 0; i < CB_COUNTOF(values) && r == 0; i++)
        r = rule(ctx, SCMP_ACT_ALLOW, "personality", (struct scmp_arg_cmp[]){ SCMP_A0(SCMP_CMP_EQ, values[i]) }, 1);
    return r;
}

/* mode is argument `at`, dev the one behind it. */
static int allow_mknod(scmp_filter_ctx ctx, const char *name, unsigned at)
{
    static const uint32_t harmless[] = { 0, S_IFREG, S_IFIFO, S_IFSOCK };
    struct scmp_arg_cmp args[2] = { { .arg = at, .op = SCMP_CMP_MASKED_EQ, .datum_a = S_IFMT },
                                    { .arg = at + 1, .op = SCMP_CMP_EQ, .datum_a = 0 } };
    int r = 0;
    for (size_t i = 0; i < CB_COUNTOF(harmless) && r == 0; i++) {
        args[0].datum_b = harmless[i];
        r = rule(ctx, SCMP_ACT_ALLOW, name, args, 1);
    }
    args[0].datum_b = S_IFCHR;
    return r < 0 ? r : rule(ctx, SCMP_ACT_ALLOW, name, args, 2);
}

static int special_rules(scmp_filter_ctx ctx)
{
    static const char *const missing[] = { "clone3", "process_vm_readv", "process_vm_writev" };
    struct scmp_arg_cmp no_namespace[] = { SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACE_FLAGS, 0) };
    int r = rule(ctx, SCMP_ACT_ALLOW, "clone", no_namespace, 1);
    for (size_t i = 0; i < CB_COUNTOF(missing) && r == 0; i++)
        r = rule(ctx, SCMP_ACT_ERRNO(ENOSYS), missing[i], NULL, 0);
    if (r == 0)
        r = allow_personalities(ctx);
    if (r == 0)
        r = allow_mknod(ctx, "mknod", 1);
    return r < 0 ? r : allow_mknod(ctx, "mknodat", 2);
}

static int add_arches(scmp_filter_ctx ctx)
{
#if defined(__x86_64__)
    static const uint32_t more[] = { SCMP_ARCH_X86, SCMP_ARCH_X32 };
#else
    static const uint32_t more[] = { SCMP_ARCH_ARM };
#endif
    for (size_t i = 0; i < CB_COUNTOF(more); i++) {
        int r = seccomp_arch_add(ctx, more[i]);
        if (r < 0 && r != -EEXIST)
            return r;
    }
    return 0;
}

static int export_body(scmp_filter_ctx ctx, struct sock_filter **body, size_t *n)
{
    cb_autoclose int fd = memfd_create("cbpush-seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(ctx, fd);
    off_t size = r < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (r < 0 || size <= 0)
        return r < 0 ? r : -EIO;
    *n = (size_t)size / sizeof **body;
    *body = cb_calloc(*n, sizeof **body);
    return pread(fd, *body, (size_t)size, 0) == size ? 0 : -EIO;
}

static int make_body(struct sock_filter **body, size_t *n)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return -ENOMEM;
    /* A tree instead of a list: the kernel runs the program over every call once, when it is installed. */
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = add_arches(ctx);
    if (r == 0)
        r = allow_names(ctx);
    if (r == 0)
        r = special_rules(ctx);
    if (r == 0)
        r = export_body(ctx, body, n);
    seccomp_release(ctx);
    return r;
}

/* ---- one constant program a process ---- */

static struct {
    pthread_once_t once;
    int code;
    struct sock_fprog program;
    struct sock_filter sockets_code[SOCKETS_MAX];
    struct sock_fprog sockets;
} built = { .once = PTHREAD_ONCE_INIT };

static void build_sockets(void)
{
    struct head head = { 0 };
    emit_sockets(&head);
    emit_return(&head, SECCOMP_RET_ALLOW);
    if (head.n > CB_COUNTOF(built.sockets_code)) {
        built.code = -E2BIG;
        return;
    }
    memcpy(built.sockets_code, head.v, head.n * sizeof *head.v);
    built.sockets = (struct sock_fprog){ .len = (unsigned short)head.n, .filter = built.sockets_code };
}

static void build(void)
{
    struct head head = { 0 };
    cb_autofree struct sock_filter *body = NULL;
    size_t n = 0;
    emit_sockets(&head);
    emit_newer(&head);
    built.code = make_body(&body, &n);
    if (built.code == 0 && (head.n >= CB_COUNTOF(head.v) || head.n + n > BPF_MAXINSNS))
        built.code = -E2BIG;
    if (built.code < 0)
        return;
    struct sock_filter *all = cb_calloc(head.n + n, sizeof *all);
    memcpy(all, head.v, head.n * sizeof *all);
    memcpy(all + head.n, body, n * sizeof *all);
    built.program = (struct sock_fprog){ .len = (unsigned short)(head.n + n), .filter = all };
    build_sockets();
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

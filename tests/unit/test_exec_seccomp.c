/* SPDX-License-Identifier: Apache-2.0 */
/* The filter as data: run over calls of all architectures by a small interpreter, so that no right is needed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec/seccomp_bpf.h"
#include "exec/seccomp_names.h"
#include "exec/seccomp_profile.h"

#define ALLOW SECCOMP_RET_ALLOW
#define DENY (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

static const struct sock_fprog *filter;

static bool compare(uint16_t op, uint32_t a, uint32_t k)
{
    switch (op) {
    case BPF_JEQ:
        return a == k;
    case BPF_JGT:
        return a > k;
    case BPF_JGE:
        return a >= k;
    case BPF_JSET:
        return a & k;
    default:
        fail_msg("jump %#x", op);
        return false;
    }
}

static uint32_t run_on(const struct sock_filter *v, size_t n, const struct seccomp_data *d)
{
    uint32_t a = 0, mem[BPF_MEMWORDS] = { 0 };
    for (size_t pc = 0; pc < n; pc++) {
        const struct sock_filter *f = &v[pc];
        switch (BPF_CLASS(f->code)) {
        case BPF_LD:
            if (BPF_MODE(f->code) == BPF_MEM) {
                a = mem[f->k];
            } else {
                assert_true(BPF_MODE(f->code) == BPF_ABS && f->k + 4 <= sizeof *d);
                memcpy(&a, (const char *)d + f->k, 4);
            }
            break;
        case BPF_ST:
            mem[f->k] = a;
            break;
        case BPF_ALU:
            assert_int_equal(BPF_OP(f->code), BPF_AND);
            a &= f->k;
            break;
        case BPF_JMP:
            if (BPF_OP(f->code) == BPF_JA)
                pc += f->k;
            else
                pc += compare(BPF_OP(f->code), a, f->k) ? f->jt : f->jf;
            break;
        case BPF_RET:
            return f->k;
        default:
            fail_msg("instruction %#x", f->code);
        }
    }
    fail_msg("ran over the end");
    return 0;
}

static uint32_t run(const struct seccomp_data *d)
{
    return run_on(filter->filter, filter->len, d);
}

static uint32_t call(uint32_t arch, uint32_t nr, uint64_t a, uint64_t b, uint64_t c)
{
    struct seccomp_data d = { .nr = (int)nr, .arch = arch, .args = { a, b, c } };
    return run(&d);
}

static int setup(void **state)
{
    (void)state;
    return cb_seccomp_filter(&filter, NULL);
}

static void made_once(void **state)
{
    (void)state;
    const struct sock_fprog *again = NULL;
    assert_int_equal(cb_seccomp_filter(&again, NULL), 0);
    assert_ptr_equal(again, filter);
    assert_in_range(filter->len, 100, BPF_MAXINSNS);
}

/* The machine's own architecture and its 32-bit sibling, and one that is neither. */
#if defined(__x86_64__)
#define A64 AUDIT_ARCH_X86_64
#define A32 AUDIT_ARCH_I386
#define ELSEWHERE AUDIT_ARCH_AARCH64
#define SIBLINGS { SCMP_ARCH_X86, SCMP_ARCH_X32 }
static const uint32_t usual32[] = { 3, 4, 5, 6, 11, 120, 192, 243, 295, 403 };
#define MOUNT32 21
#define UNSHARE32 310
#define SOCKET32 359
#define CLONE32 120
#elif defined(__aarch64__)
#define A64 AUDIT_ARCH_AARCH64
#define A32 AUDIT_ARCH_ARM
#define ELSEWHERE AUDIT_ARCH_X86_64
#define SIBLINGS { SCMP_ARCH_ARM }
static const uint32_t usual32[] = { 3, 4, 5, 6, 11, 120, 192, 322, 403, 0xf0002 /* cacheflush */,
                                    0xf0005 /* set_tls */ };
#define MOUNT32 21
#define UNSHARE32 337
#define SOCKET32 281
#define CLONE32 120
#endif
#define X32 0x40000000u

static void usual_calls(void **state)
{
    (void)state;
    static const uint32_t own[] = { SYS_read, SYS_write, SYS_close, SYS_mmap, SYS_execve, SYS_clone, SYS_exit,
                                    SYS_setuid, SYS_setresuid, SYS_prctl, SYS_chroot, SYS_openat, SYS_statx,
                                    SYS_ptrace, SYS_faccessat2, SYS_futex_waitv };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        assert_int_equal(call(A64, own[i], 0, 0, 0), ALLOW);
    for (size_t i = 0; i < sizeof usual32 / sizeof *usual32; i++)
        assert_int_equal(call(A32, usual32[i], 0, 0, 0), ALLOW);
}

static void refused_calls(void **state)
{
    (void)state;
    /* ptrace's friends and all that administers. */
    static const uint32_t numbers[] = {
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_unshare, SYS_setns, SYS_reboot, SYS_swapon, SYS_init_module,
        SYS_keyctl, SYS_bpf, SYS_userfaultfd, SYS_perf_event_open, SYS_open_by_handle_at, SYS_kexec_load,
        SYS_io_uring_setup, SYS_fsopen, SYS_move_mount, SYS_mount_setattr };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(call(A64, numbers[i], 0, 0, 0), DENY);
#if defined(__x86_64__)
        assert_int_equal(call(A64, X32 | numbers[i], 0, 0, 0), DENY);
#endif
    }
    assert_int_equal(call(A32, MOUNT32, 0, 0, 0), DENY);
    assert_int_equal(call(A32, UNSHARE32, 0, 0, 0), DENY);
}

static void socket_families(void **state)
{
    (void)state;
    static const uint64_t high = UINT64_C(1) << 32;
    for (uint64_t family = 0; family < 46; family++) {
        uint32_t want = family == 38 || family == 40 ? DENY : ALLOW;
        assert_int_equal(call(A64, SYS_socket, family, 0, 0), want);
        assert_int_equal(call(A64, SYS_socket, high | family, 0, 0), want);
#if defined(__x86_64__)
        assert_int_equal(call(A64, X32 | SYS_socket, family, 0, 0), want);
#endif
        assert_int_equal(call(A32, SOCKET32, family, 0, 0), want);
        assert_int_equal(call(A32, SOCKET32, high | family, 0, 0), want);
    }
    /* socketcall(SYS_SOCKET): its family cannot be seen */
    assert_int_equal(call(A32, 102, 1, 0, 0), DENY);
    assert_int_equal(call(A32, 102, high | 1, 0, 0), DENY);
#if defined(__x86_64__)
    assert_int_equal(call(A32, 102, 3, 0, 0), ALLOW); /* connect */
#endif
}

static void namespaces(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        uint64_t flag = UINT64_C(1) << bit;
        uint32_t want = flag & 0x7e020000 ? DENY : ALLOW;
        assert_int_equal(call(A64, SYS_clone, flag, 0, 0), want);
        assert_int_equal(call(A32, CLONE32, flag, 0, 0), want);
    }
    assert_int_equal(call(A64, 435 /* clone3, everywhere */, 0, 0, 0), ABSENT);
    assert_int_equal(call(A32, 435, 0, 0, 0), ABSENT);
#if defined(__x86_64__)
    assert_int_equal(call(A64, X32 | 435, 0, 0, 0), ABSENT);
#endif
}

static uint32_t mknodat_of(uint64_t mode, uint64_t device)
{
    struct seccomp_data d = { .nr = SYS_mknodat, .arch = A64, .args = { 0, 0, mode, device } };
    return run(&d);
}

static void device_nodes(void **state)
{
    (void)state;
    static const uint64_t types[] = { 0, S_IFREG, S_IFIFO, S_IFSOCK };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_int_equal(mknodat_of(types[i] | 07777, 5), ALLOW);
    assert_int_equal(mknodat_of(S_IFCHR | 0666, 0), ALLOW); /* what a whiteout is */
    assert_int_equal(mknodat_of(S_IFCHR | 0666, 0x103), DENY);
    assert_int_equal(mknodat_of(S_IFBLK | 0666, 0), DENY);
    assert_int_equal(mknodat_of(S_IFCHR | 0666, UINT64_C(0x100000101)), DENY);
    /* High bits of mode are not seen by the kernel. */
    assert_int_equal(mknodat_of(UINT64_C(0x100000000) | S_IFBLK, 1), DENY);
#if defined(SYS_mknod)
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_int_equal(call(A64, SYS_mknod, 0, types[i] | 0777, 5), ALLOW);
    assert_int_equal(call(A64, SYS_mknod, 0, S_IFCHR | 0666, 0), ALLOW);
    assert_int_equal(call(A64, SYS_mknod, 0, S_IFCHR | 0666, 0x103), DENY);
    assert_int_equal(call(A64, SYS_mknod, 0, S_IFBLK | 0666, 0), DENY);
    assert_int_equal(call(A64, SYS_mknod, 0, UINT64_C(0x100000000) | S_IFBLK, 1), DENY);
#endif
}

static void personalities(void **state)
{
    (void)state;
    static const uint64_t good[] = { 0, 8, 0x20000, 0x20008, 0xffffffff };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(call(A64, SYS_personality, good[i], 0, 0), ALLOW);
    assert_int_equal(call(A64, SYS_personality, 0x0040000 /* ADDR_NO_RANDOMIZE */, 0, 0), DENY);
    assert_int_equal(call(A64, SYS_personality, UINT64_C(0x100040000), 0, 0), DENY);
}

static void newer_calls(void **state)
{
    (void)state;
    static const uint32_t good[] = { 451, 452, 453, 454, 455, 456, 462, 463, 464, 465, 466 };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(call(A64, good[i], 0, 0, 0), ALLOW);
        assert_int_equal(call(A32, good[i], 0, 0, 0), ALLOW);
    }
    static const uint32_t later[] = { 457, 458, 461, 467, 468, 470, 500, 100000 };
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        assert_int_equal(call(A64, later[i], 0, 0, 0), ABSENT);
#if defined(__x86_64__)
    assert_int_equal(call(A64, 0xffffffff, 0, 0, 0), ABSENT);
#endif
    assert_int_equal(call(A64, SYS_process_vm_readv, 0, 0, 0), ABSENT);
#if defined(__x86_64__)
    assert_int_equal(call(A64, 335 /* uretprobe */, 0, 0, 0), ALLOW);
#endif
}

/* ---- the same decisions as the library makes of rules ---- */

static void allow(scmp_filter_ctx ctx, uint32_t action, const char *name, const struct scmp_arg_cmp *args, unsigned n)
{
    int number = seccomp_syscall_resolve_name(name);
    int r = number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(ctx, action, number, n, args);
    assert_true(r == 0 || r == -EDOM);
}

static void allow_nodes(scmp_filter_ctx ctx, const char *name, unsigned at)
{
    static const uint32_t harmless[] = { 0, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        struct scmp_arg_cmp args[] = {
            { .arg = at, .op = SCMP_CMP_MASKED_EQ, .datum_a = S_IFMT, .datum_b = harmless[i] },
            { .arg = at + 1, .op = SCMP_CMP_EQ, .datum_a = 0 } };
        allow(ctx, SCMP_ACT_ALLOW, name, args, harmless[i] == S_IFCHR ? 2 : 1);
    }
}

static void add_rules(scmp_filter_ctx ctx)
{
    static const uint32_t personality[] = { 0, 0x0008, 0x20000, 0x20008, 0xffffffff };
    static const char *const absent[] = { "clone3", "process_vm_readv", "process_vm_writev" };
    static const uint32_t siblings[] = SIBLINGS;
    for (size_t i = 0; i < sizeof siblings / sizeof *siblings; i++)
        assert_int_equal(seccomp_arch_add(ctx, siblings[i]), 0);
    for (size_t i = 0; i < sizeof allowed_names / sizeof *allowed_names; i++)
        allow(ctx, SCMP_ACT_ALLOW, allowed_names[i], NULL, 0);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        allow(ctx, SCMP_ACT_ERRNO(ENOSYS), absent[i], NULL, 0);
    allow(ctx, SCMP_ACT_ALLOW, "clone", (struct scmp_arg_cmp[]){ SCMP_A0(SCMP_CMP_MASKED_EQ, 0x7e020000u, 0) }, 1);
    for (size_t i = 0; i < sizeof personality / sizeof *personality; i++)
        allow(ctx, SCMP_ACT_ALLOW, "personality",
              (struct scmp_arg_cmp[]){ SCMP_A0(SCMP_CMP_EQ, personality[i]) }, 1);
    allow_nodes(ctx, "mknod", 1);
    allow_nodes(ctx, "mknodat", 2);
}

static struct sock_filter *library(size_t *n)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    assert_non_null(ctx);
    add_rules(ctx);
    int fd = memfd_create("judge", MFD_CLOEXEC);
    assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
    seccomp_release(ctx);
    off_t size = lseek(fd, 0, SEEK_END);
    assert_in_range(size, 100, BPF_MAXINSNS * sizeof(struct sock_filter));
    struct sock_filter *v = malloc((size_t)size);
    assert_int_equal(pread(fd, v, (size_t)size, 0), size);
    close(fd);
    *n = (size_t)size / sizeof *v;
    return v;
}

#define NUMBERS 1100 /* looked at in each of the places where there are any */

static void as_the_library_decides(void **state)
{
    (void)state;
    static const uint32_t arches[] = { A64, A32, ELSEWHERE, AUDIT_ARCH_RISCV64, 0 };
    static const uint64_t args[][4] = {
        { 0, 0, 0, 0 }, { 0x20000, S_IFREG, S_IFREG, 0 }, { 8, S_IFCHR | 0644, S_IFCHR | 0644, 0 },
        { 0x20008, S_IFIFO, S_IFCHR, 0 }, { 0xffffffff, S_IFCHR, 0x103, 0x103 }, { 0x10000000, S_IFBLK, S_IFBLK, 0 },
        { 0x40000, S_IFSOCK, S_IFSOCK, 5 }, { 1, S_IFDIR, S_IFDIR, 0 }, { 0x7e020000, S_IFLNK, S_IFLNK, 0 },
        { UINT64_C(1) << 32, S_IFCHR, UINT64_C(1) << 32, UINT64_C(1) << 32 },
        { UINT64_C(0x1ffffffff), UINT64_C(1) << 32 | S_IFBLK, S_IFCHR, UINT64_C(1) << 33 },
        { UINT64_C(0x100000008), S_IFCHR, S_IFCHR, UINT64_MAX }, { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
    };
    static const uint32_t places[] = { 0, X32, 0xf0000 /* of ARM's own calls */, 0u - NUMBERS };
    size_t n;
    struct sock_filter *judge = library(&n);
    struct cb_bpf ours = { 0 };
    cb_seccomp_body(&ours);
    for (size_t a = 0; a < sizeof arches / sizeof *arches; a++)
        for (uint32_t i = 0; i < 4 * NUMBERS; i++)
            for (size_t k = 0; k < sizeof args / sizeof *args; k++) {
                uint32_t nr = places[i / NUMBERS] + i % NUMBERS;
                struct seccomp_data d = { .nr = (int)nr, .arch = arches[a] };
                memcpy(d.args, args[k], sizeof args[k]);
                uint32_t want = run_on(judge, n, &d), got = run_on(ours.v, ours.n, &d);
                if (want != got)
                    fail_msg("%x: call %x, arguments %zu: %x, the library: %x", arches[a], nr, k, got, want);
            }
    free(judge);
    free(ours.v);
}

static void foreign_architecture(void **state)
{
    (void)state;
    assert_int_equal(call(ELSEWHERE, 64, 0, 0, 0) & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_KILL_THREAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once),
        cmocka_unit_test(usual_calls),
        cmocka_unit_test(refused_calls),
        cmocka_unit_test(socket_families),
        cmocka_unit_test(namespaces),
        cmocka_unit_test(device_nodes),
        cmocka_unit_test(personalities),
        cmocka_unit_test(newer_calls),
        cmocka_unit_test(as_the_library_decides),
        cmocka_unit_test(foreign_architecture),
    };
    return cmocka_run_group_tests_name("exec seccomp", tests, setup, NULL);
}

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
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

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

static uint32_t run(const struct seccomp_data *d)
{
    uint32_t a = 0, mem[BPF_MEMWORDS] = { 0 };
    for (size_t pc = 0; pc < filter->len; pc++) {
        const struct sock_filter *f = &filter->filter[pc];
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

#if defined(__x86_64__)
#define A64 AUDIT_ARCH_X86_64
#define A32 AUDIT_ARCH_I386
#define X32 0x40000000u

static void usual_calls(void **state)
{
    (void)state;
    static const uint32_t x86_64[] = { 0,   1,   2,   3,   9,   59,  56 /* clone */,
                                       60,  57,  58,  105, 117, 157, 161 /* chroot */,
                                       257, 332, 101, 439, 449 };
    static const uint32_t i386[] = { 3, 4, 5, 6, 11, 120, 192, 243, 295, 403 };
    for (size_t i = 0; i < sizeof x86_64 / sizeof *x86_64; i++)
        assert_int_equal(call(A64, x86_64[i], 0, 0, 0), ALLOW);
    for (size_t i = 0; i < sizeof i386 / sizeof *i386; i++)
        assert_int_equal(call(A32, i386[i], 0, 0, 0), ALLOW);
}

static void refused_calls(void **state)
{
    (void)state;
    /* ptrace's friends and all that administers: mount umount2 pivot_root unshare setns reboot swapon init_module
     * keyctl bpf userfaultfd perf_event_open open_by_handle_at kexec_load io_uring_setup fsopen move_mount
     * mount_setattr */
    static const uint32_t numbers[] = { 165, 166, 155, 272, 308, 169, 167, 175, 250,
                                        321, 323, 298, 304, 246, 425, 430, 429, 442 };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(call(A64, numbers[i], 0, 0, 0), DENY);
        assert_int_equal(call(A64, X32 | numbers[i], 0, 0, 0), DENY);
    }
    assert_int_equal(call(A32, 21 /* mount */, 0, 0, 0), DENY);
    assert_int_equal(call(A32, 310 /* unshare */, 0, 0, 0), DENY);
}

static void socket_families(void **state)
{
    (void)state;
    static const uint64_t high = UINT64_C(1) << 32;
    for (uint64_t family = 0; family < 46; family++) {
        uint32_t want = family == 38 || family == 40 ? DENY : ALLOW;
        assert_int_equal(call(A64, 41, family, 0, 0), want);
        assert_int_equal(call(A64, 41, high | family, 0, 0), want);
        assert_int_equal(call(A64, X32 | 41, family, 0, 0), want);
        assert_int_equal(call(A32, 359, family, 0, 0), want);
        assert_int_equal(call(A32, 359, high | family, 0, 0), want);
    }
    assert_int_equal(call(A32, 102, 1, 0, 0), DENY); /* socketcall(SYS_SOCKET): its family cannot be seen */
    assert_int_equal(call(A32, 102, high | 1, 0, 0), DENY);
    assert_int_equal(call(A32, 102, 3, 0, 0), ALLOW); /* connect */
}

static void namespaces(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        uint64_t flag = UINT64_C(1) << bit;
        uint32_t want = flag & 0x7e020000 ? DENY : ALLOW;
        assert_int_equal(call(A64, 56, flag, 0, 0), want);
        assert_int_equal(call(A32, 120, flag, 0, 0), want);
    }
    assert_int_equal(call(A64, 435, 0, 0, 0), ABSENT);
    assert_int_equal(call(A32, 435, 0, 0, 0), ABSENT);
    assert_int_equal(call(A64, X32 | 435, 0, 0, 0), ABSENT);
}

static void device_nodes(void **state)
{
    (void)state;
    static const uint64_t types[] = { 0, S_IFREG, S_IFIFO, S_IFSOCK };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        assert_int_equal(call(A64, 133, 0, types[i] | 0777, 5), ALLOW);
        struct seccomp_data at = { .nr = 259, .arch = A64, .args = { 0, 0, types[i] | 07777, 5 } };
        assert_int_equal(run(&at), ALLOW);
    }
    assert_int_equal(call(A64, 133, 0, S_IFCHR | 0666, 0), ALLOW); /* what a whiteout is */
    assert_int_equal(call(A64, 133, 0, S_IFCHR | 0666, 0x103), DENY);
    assert_int_equal(call(A64, 133, 0, S_IFBLK | 0666, 0), DENY);
    struct seccomp_data at = { .nr = 259, .arch = A64, .args = { 0, 0, S_IFCHR | 0666, UINT64_C(0x100000101) } };
    assert_int_equal(run(&at), DENY);
    /* High bits of mode are not seen by the kernel. */
    assert_int_equal(call(A64, 133, 0, UINT64_C(0x100000000) | S_IFBLK, 1), DENY);
}

static void personalities(void **state)
{
    (void)state;
    static const uint64_t good[] = { 0, 8, 0x20000, 0x20008, 0xffffffff };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(call(A64, 135, good[i], 0, 0), ALLOW);
    assert_int_equal(call(A64, 135, 0x0040000 /* ADDR_NO_RANDOMIZE */, 0, 0), DENY);
    assert_int_equal(call(A64, 135, UINT64_C(0x100040000), 0, 0), DENY);
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
    assert_int_equal(call(A64, 0xffffffff, 0, 0, 0), ABSENT);
    assert_int_equal(call(A64, 335 /* uretprobe */, 0, 0, 0), ALLOW);
    assert_int_equal(call(A64, 310 /* process_vm_readv */, 0, 0, 0), ABSENT);
}

static void foreign_architecture(void **state)
{
    (void)state;
    assert_int_equal(call(AUDIT_ARCH_AARCH64, 64, 0, 0, 0) & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_KILL_THREAD);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once),
#if defined(__x86_64__)
        cmocka_unit_test(usual_calls),
        cmocka_unit_test(refused_calls),
        cmocka_unit_test(socket_families),
        cmocka_unit_test(namespaces),
        cmocka_unit_test(device_nodes),
        cmocka_unit_test(personalities),
        cmocka_unit_test(newer_calls),
        cmocka_unit_test(foreign_architecture),
#endif
    };
    return cmocka_run_group_tests_name("exec seccomp", tests, setup, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls are taken for which; what is done with them is seen by tests/system/58-single-id.bats. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <string.h>

#include "exec/notify.h"
#include "exec/notify_private.h"

#if defined(__x86_64__)
#define A64 AUDIT_ARCH_X86_64
#define A32 AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define A64 AUDIT_ARCH_AARCH64
#define A32 AUDIT_ARCH_ARM
#endif
#define X32 0x40000000

/* Nothing is given to a kernel here, and one that an emulator makes up may know less than the library asks for. */
static int setup(void **state)
{
    (void)state;
    return seccomp_api_set(5);
}

static void find(uint32_t arch, int nr, const char *name, bool narrow)
{
    const struct seccomp_data d = { .arch = arch, .nr = nr };
    bool is_narrow = false;
    const struct cb_notify_row *row = cb_notify_find(&d, &is_narrow);
    if (!name) {
        assert_null(row);
        return;
    }
    assert_non_null(row);
    assert_string_equal(row->name, name);
    assert_int_equal(is_narrow, narrow);
}

static void every_abi(void **state)
{
    (void)state;
    assert_non_null(cb_notify_filter());
#if defined(__x86_64__)
    find(A64, 92, "chown", false);
    find(A64, 94, "lchown", false);
    find(A64, 260, "fchownat", false);
    find(A64, 117, "setresuid", false);
    find(A64, X32 | 92, "chown", false);
    find(A64, X32 | 520, "execve", false);
    find(A32, 298, "fchownat", false);
    find(A64, 212, NULL, false); /* another call there */
    find(A32, 92, NULL, false);
    find(A64, 4, NULL, false); /* stat */
    find(AUDIT_ARCH_AARCH64, 54, NULL, false);
#elif defined(__aarch64__)
    find(A64, 54, "fchownat", false);
    find(A64, 55, "fchown", false);
    find(A64, 147, "setresuid", false);
    find(A64, 221, "execve", false);
    find(A32, 325, "fchownat", false);
    find(A64, 212, NULL, false); /* another call there */
    find(A32, 54, NULL, false);
    find(A64, 80, NULL, false); /* fstat */
    find(AUDIT_ARCH_X86_64, 92, NULL, false);
#endif
    find(A32, 182, "chown", true);
    find(A32, 212, "chown32", false);
    find(A32, 23, "setuid", true);
    find(A32, 213, "setuid32", false);
}

/* Interprets what it needs to: the program is loads, jumps and returns. */
static uint32_t decide(uint32_t arch, uint32_t nr)
{
    const struct sock_fprog *p = cb_notify_filter();
    struct seccomp_data d = { .nr = (int)nr, .arch = arch };
    uint32_t a = 0;
    for (size_t pc = 0; pc < p->len; pc++) {
        const struct sock_filter *f = &p->filter[pc];
        bool yes = false;
        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)&d + f->k, 4);
            continue;
        case BPF_RET | BPF_K:
            return f->k;
        case BPF_JMP | BPF_JA:
            pc += f->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = a == f->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            yes = a > f->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = a >= f->k;
            break;
        default:
            fail_msg("instruction %#x", f->code);
        }
        pc += yes ? f->jt : f->jf;
    }
    fail_msg("ran over the end");
    return 0;
}

static void only_these(void **state)
{
    (void)state;
    static const uint32_t arches[][2] = { { A64, 0 },
#if defined(__x86_64__)
                                          { A64, X32 },
#endif
                                          { A32, 0 } };
    size_t taken = 0;
    for (size_t i = 0; i < CB_COUNTOF(arches); i++) {
        for (uint32_t nr = 0; nr < 600; nr++) {
            const struct seccomp_data d = { .arch = arches[i][0], .nr = (int)(nr | arches[i][1]) };
            bool narrow, ours = cb_notify_find(&d, &narrow) != NULL;
            assert_int_equal(decide(d.arch, (uint32_t)d.nr), ours ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW);
            taken += ours;
        }
    }
    assert_in_range(taken, 50, 110);
    assert_int_equal(decide(AUDIT_ARCH_RISCV64, 54), SECCOMP_RET_ALLOW); /* the profile's to refuse */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_abi), cmocka_unit_test(only_these) };
    return cmocka_run_group_tests(tests, setup, NULL);
}

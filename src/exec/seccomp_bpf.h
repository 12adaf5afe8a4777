/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A filter in the making (seccomp(2), SECCOMP_SET_MODE_FILTER). Inside of exec. */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#define CB_SECCOMP_X32 0x40000000u /* of a number: AUDIT_ARCH_X86_64 has two tables */

struct cb_bpf {
    struct sock_filter *v; /* owned */
    size_t n, cap;
};
void cb_bpf_add(struct cb_bpf *b, struct sock_filter f);
/* accumulator = 32 bits of struct seccomp_data at offset */
void cb_bpf_load(struct cb_bpf *b, size_t offset);
void cb_bpf_return(struct cb_bpf *b, uint32_t action);
/* Where the halves of an argument are. */
size_t cb_bpf_arg_low(unsigned arg);
size_t cb_bpf_arg_high(unsigned arg);

/* The decision about every call of every architecture that this machine can run: allowed_names, what depends on
 * arguments, and EPERM for all else. A search over the numbers. */
void cb_seccomp_body(struct cb_bpf *b);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The system calls of a step: Docker's default allow-list for a container with the default capabilities, tightened
 * (G9, P11, P13): AF_ALG and AF_VSOCK sockets are refused on every ABI (and so is 32-bit socketcall(SYS_SOCKET),
 * whose arguments no filter can see), device nodes other than 0:0 are not made, process_vm_* do not exist. Refused
 * calls fail with EPERM; calls that are newer than this profile, and clone3, with ENOSYS, so that programs use what
 * they used before. */

#include <linux/filter.h>

#include "util/error.h"

/* The filter: made on first use, then constant and shared by all threads. */
int cb_seccomp_filter(const struct sock_fprog **out, struct cb_error *err) CB_WUR;
/* Only what that says of sockets, for a program that installs a filter of its own which cannot say it: libseccomp takes
 * a rule about socket(2) to allow the whole of 32-bit socketcall(SYS_SOCKET). */
int cb_seccomp_sockets(const struct sock_fprog **out, struct cb_error *err) CB_WUR;

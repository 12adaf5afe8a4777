/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What root of one mapped id cannot do, and programs that install things must: give files to other users, and become
 * them. Those system calls of the step come to us (seccomp user notification). Only with CB_ID_SINGLE, isolation
 * native; nothing else has the filter.
 *
 * - chown and its like are carried out by the sandbox's thread on the step's own view of its files, with the one id
 *   that there is: so copying up, clearing of setuid bits and every refusal are the kernel's. The owner that was asked
 *   for goes into spec->owners. stat(2) goes on to say 0:0.
 * - setuid and its like change what the process is told about itself (getuid and its like), until it executes another
 *   program. Nothing else about it changes; a process that executes a program sees 0 again, as in stat(2).
 *
 * What the step does meanwhile (rename, another thread writing the path) can make a record wrong, as it could before
 * the call. Nothing is touched that the step cannot reach itself: paths are resolved below its root, in its mount
 * namespace, without the links of /proc. The thread's part stands in sandbox.h. */

#include <linux/filter.h>

/* Which calls come to us; NULL where this libseccomp has no notification. Constant, made on first use. */
const struct sock_fprog *cb_notify_filter(void);

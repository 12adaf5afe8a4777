/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The bare system call with its retries; inside util only. */

#include <linux/openat2.h>
#include <stdint.h>
#include <sys/types.h>

/* resolve is an or of RESOLVE_*; O_CLOEXEC is added, mode counts only with O_CREAT and O_TMPFILE. A descriptor or a
 * negative errno; EINTR is retried, EAGAIN (somebody renamed meanwhile) for a bounded time. */
int cb_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whole reads and writes, EINTR handled. errno-style results only where named; otherwise the error chain. */

#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"
#include "util/strbuf.h"

int cb_fd_write_all(int fd, const void *buf, size_t n, struct cb_error *err) CB_WUR;
/* Reads until n bytes or end of file; *got ≤ n. */
int cb_fd_read_full(int fd, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
int cb_fd_pread_full(int fd, void *buf, size_t n, uint64_t off, size_t *got, struct cb_error *err) CB_WUR;
/* The rest of fd appended to out; -CB_EVERIFY past max bytes. */
int cb_fd_slurp(int fd, size_t max, struct cb_strbuf *out, struct cb_error *err) CB_WUR;
/* File name based (trusted paths: configuration, the user's own arguments): regular files only, opened non-blocking.
 * -CB_ENOTFOUND with sys_errno ENOENT or ENOTDIR where there is none. */
int cb_file_slurp(const char *path, size_t max, struct cb_strbuf *out, struct cb_error *err) CB_WUR;
/* Up to n bytes (UINT64_MAX: to the end) from in to out, by copy_file_range or sendfile where the kernel can. */
int cb_fd_copy(int in, int out, uint64_t n, uint64_t *copied, struct cb_error *err) CB_WUR;
int cb_fd_sync(int fd, struct cb_error *err) CB_WUR; /* fdatasync; EIO is final: the object is lost */
int cb_pipe(int fds[2], struct cb_error *err) CB_WUR; /* O_CLOEXEC */
/* Gives *fd a number above 3, so that it is in nobody's way when a child's descriptors 0 to 3 are placed. */
int cb_fd_lift(int *fd, struct cb_error *err) CB_WUR;
/* Raises RLIMIT_NOFILE to its hard limit; called once by main. */
void cb_fd_raise_limit(void);

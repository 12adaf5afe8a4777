/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bytes that must not get out (R16): pages of their own, locked in memory as far as the limits allow, in no core dump
 * and in no child, zeroed when they are freed. They are never printed, and no error message quotes them. */

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct cb_secret;
/* A copy of n bytes (NULL, 0: empty). */
struct cb_secret *cb_secret_new(const void *data, size_t n, struct cb_error *err);
/* The whole of a file, pipe or device that the user named: at most max bytes, else -CB_EUSAGE. */
int cb_secret_read(const char *path, size_t max, struct cb_secret **out, struct cb_error *err) CB_WUR;
void cb_secret_free(struct cb_secret *s);
CB_DEFINE_CLEANUP(struct cb_secret *, cb_secret_free)
const void *cb_secret_data(const struct cb_secret *s); /* a NUL stands behind the last byte */
size_t cb_secret_size(const struct cb_secret *s);

/* The RLIMIT_CORE of whoever may hold a secret. With 0 the kernel still starts the program of a core_pattern that
 * begins with |, with the memory of the process on its standard input; 1 keeps it from that, and is too small for a
 * file. */
#define CB_NO_CORE 1
/* Sets it for this process and its children; 0 where a limit of 0 cannot be raised. 0 or a negative errno. */
int cb_secret_no_core(void) CB_WUR;

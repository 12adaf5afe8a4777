/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shuts the calling process in, for work on bytes that nobody vouches for: reading them, and writing files below one
 * directory. For a process of one thread that was made for nothing else; there is no way back. */

#include <stdbool.h>

#include "util/error.h"

/* What holds; each is there where the kernel and our rights have it. */
enum cb_confine {
    CB_CONFINE_CALLS = 1,    /* seccomp: a list of system calls; none that executes, connects, signals or traces */
    CB_CONFINE_ROOT = 2,     /* the directory is the root: chroot */
    CB_CONFINE_LANDLOCK = 4, /* nothing but the directory may be changed, no file opened for reading */
};

struct cb_confine_options {
    int root_fd;      /* O_RDONLY; -1: no file at all is opened */
    unsigned without; /* enum cb_confine: left out, for who tries whether the others hold alone */
};
/* No new privileges, few capabilities, limits, no core, and what of the above can be had: *held. Fails only where less
 * than was there before would hold. */
int cb_confine(const struct cb_confine_options *o, unsigned *held, struct cb_error *err) CB_WUR;
/* confine_calls.c: the system calls. paths: those that name files too. 0, or a negative errno: there are no filters. */
int cb_confine_calls(bool paths) CB_WUR;

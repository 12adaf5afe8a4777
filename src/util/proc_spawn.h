/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fork and exec for proc.c, safe in a process with threads: between the two only async-signal-safe calls. */

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"

struct cb_proc_image {
    const char *path;        /* absolute */
    const char *const *argv;
    const char *const *env;
    bool no_new_privs;       /* set-id bits of the program count for nothing: they would end its dying with us */
    int stdio[3];            /* become descriptors 0, 1, 2; each is above 3 (cb_fd_lift) */
};

/* The child leads a process group of its own, has default signal handlers, no other descriptor and dies with the
 * calling thread. An exec that fails is reported here. */
int cb_proc_spawn(const struct cb_proc_image *image, pid_t *pid, struct cb_error *err) CB_WUR;

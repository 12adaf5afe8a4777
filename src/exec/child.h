/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What runs after clone(2): a first process of ours and, from it, the step's own process. The parent has threads, so
 * nothing in there allocates, locks or touches stdio; everything was prepared in struct cb_child before. */

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec/limits.h"
#include "exec/report.h"
#include "util/macros.h"

struct cb_child {
    /* descriptors of the parent's table */
    int root;              /* the root mount, complete but for /proc and /sys/fs/cgroup */
    int proc, cgroup;      /* O_PATH of those two directories; cgroup -1: there is none */
    int null, empty;       /* what files and directories are hidden with */
    int go_read, go_write; /* one byte lets us go; the end of it means that the parent is dead */
    int report;
    int std[3];            /* -1: /dev/null */
    bool own_std[3];       /* made for the step: given to its user, so that it can open /dev/stdout */
    bool init;             /* we stay PID 1; otherwise the step's own process is */
    bool tty;              /* std[0] becomes the controlling terminal */
    bool cgroup2;
    bool insecure;         /* every capability, nothing hidden, /proc/sys and cgroups writable */
    /* the process; none of these strings may lie in `args` */
    const char *const *argv;
    const char *const *env;
    const char *const *candidates; /* what to execute, first that is there */
    const char *const *start;      /* of starter.c: candidates, "", argv. Not for oci */
    const char *cwd;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t n_groups;
    bool set_groups;       /* false where the user namespace forbids it */
    const struct sock_fprog *filter; /* NULL: none */
    const struct sock_fprog *notify; /* of notify.h; its listener goes out through keep[0]. NULL: none */
    const struct cb_ulimit *ulimits;
    size_t n_ulimits;
    bool chroot;           /* no namespaces: keep[0] becomes the root directory, and what we may not do is left out */
    bool detached;         /* oci: the runtime leaves the container to us */
    int keep[3];           /* become descriptors 4 to 6 of the first process; -1: none */
    /* our own command line and environment in memory, which /proc/1 would show */
    char *args;
    size_t args_len;
};

/* The first process of each isolation. Does not return. (It is not declared so: the address sanitizer would take its
 * locks before the call.) */
void cb_child_native_main(struct cb_child *c);
void cb_child_oci_main(struct cb_child *c); /* candidates: the runtime alone; argv and env are its */
void cb_child_chroot_main(struct cb_child *c);
#define CB_CHILD_KILL_ALL SIGUSR2 /* to chroot's first process */

/* Docker's default capabilities as a bit mask. */
uint64_t cb_default_capabilities(void);

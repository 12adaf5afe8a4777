/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a step may use of the machine. A limit that cannot be set is an error with the remedy, never ignored. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct cb_ulimit {
    int resource;              /* RLIMIT_… */
    uint64_t soft, hard;       /* UINT64_MAX: unlimited */
};

/* 0 and NULL: not said. */
struct cb_limits {
    struct cb_ulimit *ulimits;
    size_t n_ulimits;
    uint64_t shm_size;         /* of /dev/shm, bytes; not said: 64 MiB */
    uint64_t memory;           /* bytes */
    int64_t memory_swap;       /* memory and swap together, bytes; -1: no limit; not said: no swap */
    uint64_t cpu_period, cpu_quota; /* µs */
    uint64_t cpu_shares;
    uint64_t pids;             /* processes and threads at a time */
    const char *cpuset_cpus, *cpuset_mems; /* "0-2,4" */
    const char *cgroup_parent; /* a path in the tree of cgroups; made, and taken away again, where it is not there */
};
void cb_limits_done(struct cb_limits *l); /* the ulimits; the strings are borrowed */

/* Docker's --ulimit: NAME=SOFT[:HARD], -1 or unlimited for no limit. -CB_EUSAGE. */
int cb_ulimit_parse(struct cb_ulimit *out, const char *text, struct cb_error *err) CB_WUR;
/* "nofile"; never NULL. */
const char *cb_ulimit_name(int resource);
/* Whether a cgroup has to be made for it. */
bool cb_limits_need_cgroup(const struct cb_limits *l);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A memory limit for one step, by a cgroup of its own (v2, or v1's memory controller). */

#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"
#include "util/strbuf.h"

struct cb_cgroup {
    int parent;      /* directory that holds it, -1: none was made */
    char name[48];
};
#define CB_CGROUP_INIT { .parent = -1 }

/* -CB_ELOCAL with the remedy where no cgroup can be made or limited. */
int cb_cgroup_make(struct cb_cgroup *cg, uint64_t memory_max, struct cb_error *err) CB_WUR;
int cb_cgroup_add(const struct cb_cgroup *cg, pid_t pid, struct cb_error *err) CB_WUR;
void cb_cgroup_done(struct cb_cgroup *cg); /* its processes are gone */

enum cb_cgroup_kind { CB_CGROUP_NONE, CB_CGROUP_V1, CB_CGROUP_HYBRID, CB_CGROUP_V2 };
enum cb_cgroup_kind cb_cgroup_kind(void);
/* The path that /proc/self/cgroup text gives for a v1 controller, or for v2 where controller is NULL; NULL if none.
 * Owned. */
char *cb_cgroup_path(const char *text, const char *controller);

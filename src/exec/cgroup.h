/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Limits for one step, by a cgroup of its own: one of the unified tree (v2), or one in the tree of each controller that
 * a limit needs (v1). */

#include <stdint.h>
#include <sys/types.h>

#include "exec/limits.h"
#include "util/error.h"
#include "util/strbuf.h"

enum cb_cgroup_controller { CB_CGROUP_MEMORY, CB_CGROUP_CPU, CB_CGROUP_CPUSET, CB_CGROUP_PIDS, CB_CGROUP_CONTROLLERS };

struct cb_cgroup_tree {
    int parent;      /* directory that holds it, -1: none was made */
    int own;         /* it, locked as long as it is ours; -1 */
    int base;        /* --cgroup-parent: the root of the tree, else -1 */
    char *made;      /* --cgroup-parent: its path below base … */
    size_t made_from; /* … of which the first this many bytes name the topmost directory that was made; 0: none */
};
struct cb_cgroup {
    struct cb_cgroup_tree trees[CB_CGROUP_CONTROLLERS]; /* v2: the first one only */
    size_t n;        /* trees that are in use */
    char name[48];
};
#define CB_CGROUP_INIT { .n = 0 }

/* -CB_ELOCAL with the remedy where no cgroup can be made or limited, naming the option; -CB_EUSAGE for a value that the
 * kernel refuses. Nothing is made where no limit needs it. */
int cb_cgroup_make(struct cb_cgroup *cg, const struct cb_limits *l, struct cb_error *err) CB_WUR;
int cb_cgroup_add(const struct cb_cgroup *cg, pid_t pid, struct cb_error *err) CB_WUR;
void cb_cgroup_done(struct cb_cgroup *cg); /* its processes are gone */

enum cb_cgroup_kind { CB_CGROUP_NONE, CB_CGROUP_V1, CB_CGROUP_HYBRID, CB_CGROUP_V2 };
enum cb_cgroup_kind cb_cgroup_kind(void);
/* The path that /proc/self/cgroup text gives for a v1 controller, or for v2 where controller is NULL; NULL if none.
 * Owned. */
char *cb_cgroup_path(const char *text, const char *controller);

/* ---- cgroup_dir.c ---- */
#define CB_CGROUP_PREFIX "cbpush-"
/* Its descriptor, locked, or a negative errno. Those beside it whose processes and owner are gone are removed. */
int cb_cgroup_dir_make(int parent, const char *name);
void cb_cgroup_dir_remove(int parent, const char *name); /* with those in it; all processes are gone */

/* ---- cgroup_limits.c ---- */
/* Whether a limit needs that controller. */
bool cb_cgroup_wants(const struct cb_limits *l, enum cb_cgroup_controller c);
/* Writes the limits of one controller into the cgroup `dir`. */
int cb_cgroup_set(int dir, bool v2, enum cb_cgroup_controller c, const struct cb_limits *l,
                  struct cb_error *err) CB_WUR;
int cb_cgroup_write(int dir, const char *name, const char *text); /* 0 or a negative errno */
/* A v1 cpuset starts without processors and memory: those of the directory above. */
void cb_cgroup_inherit_cpuset(int above, int dir);
#define CB_CGROUP_REMEDY "start cbpush in a delegated cgroup: systemd-run --user --scope -p Delegate=yes cbpush …"

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One step's sandbox. A thread of its own makes it: the thread leaves the program's mount, ipc, uts (and net)
 * namespaces, which a thread can do alone, and so builds the whole tree of mounts in ordinary code with ordinary
 * errors; the process that it then clones inherits these namespaces and has only a few calls left to make (child.h).
 * The thread lives as long as the step, because the step's death signal hangs on it. */

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "exec/cgroup.h"
#include "exec/child.h"
#include "exec/exec.h"
#include "exec/overlay.h"
#include "exec/target.h"

struct cb_sandbox;
struct cb_pump_result;
typedef int (*cb_sandbox_step)(struct cb_sandbox *sb, struct cb_error *err);

/* One way to isolate a step. */
struct cb_isolation_ops {
    const char *name;
    /* Refuses what of the spec cannot be had this way, with what helps. May be NULL. */
    int (*check)(const struct cb_exec_spec *spec, struct cb_error *err);
    const cb_sandbox_step *steps;     /* of the thread, in order; the last is NULL */
    void (*child)(struct cb_child *c); /* what the clone runs */
    int clone_flags;
    int kill_signal;                  /* to the clone: every process of the step ends at once */
    /* The processes are gone; what was mounted is still there. May rewrite *res. May be NULL. */
    int (*end)(struct cb_sandbox *sb, struct cb_pump_result *res, struct cb_error *err);
    void (*done)(struct cb_sandbox *sb); /* frees what it keeps in the sandbox. May be NULL */
};
extern const struct cb_isolation_ops cb_isolation_native, cb_isolation_oci, cb_isolation_chroot;

struct cb_sandbox {
    const struct cb_exec_spec *spec;
    const struct cb_isolation_ops *ops;
    /* mounts */
    int stubs;                  /* the lowest layer: where our own mount points are */
    struct cb_overlay overlay;
    enum cb_overlay_how how;    /* FDS, unless a test wants what older kernels get */
    int root;                   /* the overlay mount */
    int stage;                  /* a tmpfs below it, out of the step's sight: devices, /etc/hosts, … */
    int dev, sys;
    int *binds;                 /* a detached copy of each BIND's source, by index in spec->mounts */
    struct cb_tree_mount *trees; /* the same of TREEs; mounts_tree.c */
    struct cb_cdi devices;      /* all that the step is given of the machine */
    int *device_fds;            /* detached copies: of its nodes, then of its mounts; -1: none was needed */
    size_t n_device_fds;
    struct cb_targets targets;
    /* the process */
    struct cb_child child;
    struct cb_strvec argv, env, candidates, start;
    char *cwd;
    struct cb_cgroup cgroup;
    struct cb_chroot *chroot;   /* of these two isolations only */
    struct cb_oci *oci;
    struct cb_notifier *notifier; /* notify.h; NULL: the kernel answers every call */
    int go_write, report_read;
    int out_read[2];            /* of stdout and stderr, -1 where handed over */
    int in_write;               /* of stdin, -1 where handed over */
    int master;                 /* of the pty, or -1 */
    pid_t pid;
    int pidfd;
    /* the thread */
    pthread_t thread;
    bool running;
    pid_t tid;
    int code;                   /* of the thread; err goes with it */
    struct cb_error err;
    sem_t entered;              /* thread → caller: it is in its namespaces, tid is set (or code is) */
    sem_t network;              /* caller → thread: the network is up, or network_failed */
    bool network_failed;
    sem_t ready;                /* thread → caller: cloned, or code is set */
    sem_t finish;               /* caller → thread: end */
};

/* cb_exec_run, with the root mounted as on an older kernel. */
int cb_sandbox_run(const struct cb_exec_spec *spec, enum cb_overlay_how how, int *status, struct cb_error *err) CB_WUR;

void cb_sandbox_init(struct cb_sandbox *sb, const struct cb_exec_spec *spec, const struct cb_isolation_ops *ops);
void cb_sandbox_done(struct cb_sandbox *sb);
int cb_sandbox_start(struct cb_sandbox *sb, struct cb_error *err) CB_WUR; /* the thread */
int cb_sandbox_wait_ready(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
/* Ends the thread, undoes what was made in the upper directory. The step's processes are gone. */
void cb_sandbox_finish(struct cb_sandbox *sb);

/* ---- steps of the thread, in the order in which native has them ---- */
int cb_sandbox_own_directory(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
/* Before the namespaces are left … */
int cb_rootfs_stage(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_rootfs_overlay(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_mounts_clone(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_devices_pin(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_sandbox_enter(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
/* … and after. */
int cb_rootfs_attach(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_rootfs_check(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_sysmounts_dev(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_sysmounts_sys(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_network_files(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_network_loopback(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_devices_attach(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_mounts_attach(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_pty_open(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_rootfs_seal(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_sandbox_make_cgroup(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_sandbox_wait_network(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_sandbox_clone(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;

/* notify.c, with CB_ID_SINGLE only: right before the clone; until the step's processes are gone, with the step's root
 * directory as the thread's from then on; at the end. */
int cb_notify_prepare(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
void cb_notify_serve(struct cb_sandbox *sb);
void cb_notify_done(struct cb_sandbox *sb);

/* mounts_tree.c: the overlays of CB_MOUNT_TREE, made by cb_mounts_clone and shown by cb_mounts_attach. */
int cb_trees_create(struct cb_sandbox *sb, struct cb_error *err) CB_WUR;
int cb_tree_put(struct cb_sandbox *sb, size_t i, struct cb_error *err) CB_WUR;
void cb_trees_done(struct cb_sandbox *sb);
void cb_devices_done(struct cb_sandbox *sb);

/* -CB_ELOCAL for what isolations other than native do not do. */
int cb_isolation_only_native(const struct cb_exec_spec *spec, const char *name, struct cb_error *err) CB_WUR;

/* ---- helpers of several of them ---- */
/* Mounts `mnt` (taken, even on failure) on path in the root with these attributes added; the error names path. */
int cb_rootfs_put(struct cb_sandbox *sb, int mnt, const char *path, uint64_t attrs, struct cb_error *err) CB_WUR;
/* Indices into spec->mounts, outer ones first, as Docker mounts them, whatever order they were asked for in. */
void cb_mounts_order(const struct cb_exec_spec *spec, size_t *order);
int cb_mounts_put(struct cb_sandbox *sb, size_t i, struct cb_error *err) CB_WUR; /* that one */
uint64_t cb_mounts_bind_attrs(const struct cb_mount *m, const struct stat *st); /* st: of its source */
/* A file in the stage. */
int cb_stage_write(struct cb_sandbox *sb, const char *name, const char *text, size_t n, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RUN --mount, from the plan to what the sandbox is given. Rules E6, E10, G1–G5, P24, P25 of reference/safety.md. */

#include "build/rootfs.h"
#include "build/solve.h"

/* run_mounts_key.c: what steps with mounts are known by. `prepare` finds what the binds of the context name (kept in
 * the vertex's state); *out goes into the definition key: those contents, and the keys of the inputs. `content` waits
 * for the inputs' tables; *out goes into the content key. Nothing in them comes from a secret, an agent or a cache. */
int cb_run_mounts_prepare(struct cb_solver *s, struct cb_vertex *v, struct cb_digest *out, struct cb_error *err) CB_WUR;
int cb_run_mounts_content(struct cb_solver *s, struct cb_vertex *v, struct cb_digest *out, struct cb_error *err) CB_WUR;

/* One of them, opened. */
struct cb_open_mount {
    const struct cb_run_mount *m;
    struct cb_run_root root;        /* of another result: an overlay of its own, whose changes are dropped */
    struct cb_rootfs tree;
    struct cb_digest key;           /* CACHE */
    struct cb_store_mount cache;
    int fd;                         /* BIND: what is shown */
    bool live;                      /* which is the context's own, and no copy */
    int keep_dir;                   /* CACHE, where the step gets a copy: what holds the directory, or -1 */
    struct cb_mount_keep keep;
    struct cb_ssh_forward *ssh;
};

struct cb_run_mounts {
    struct cb_solver *s;
    struct cb_vertex *v;
    bool copies;                    /* the isolation shows steps copies (chroot) */
    struct cb_store_tmp tmp;        /* what is made for them */
    struct cb_open_mount *open;     /* one each */
    struct cb_mount *list;          /* for the sandbox; room for one more */
    size_t n;
};
/* Brings what they need, waits for caches. env gets the variables of secrets and agents, so it is to be wiped. A
 * secret or agent that is required and was not given: -CB_EUSAGE with the flag that gives it. */
int cb_run_mounts_open(struct cb_run_mounts *rm, struct cb_strvec *env, struct cb_error *err) CB_WUR;
/* The step succeeded: whether what it was shown of the context is what it is known by. It was written to meanwhile: the
 * step, and what stands on it, is not recorded. */
int cb_run_mounts_check(struct cb_run_mounts *rm, struct cb_error *err) CB_WUR;
/* The step has ended, however: of what caches that is not kept is told. */
void cb_run_mounts_kept(struct cb_run_mounts *rm);
/* The step succeeded: what it left in caches may go to other machines. */
void cb_run_mounts_used(struct cb_run_mounts *rm);
/* The step is over: what was written to binds is gone, caches are free for others. */
void cb_run_mounts_done(struct cb_run_mounts *rm);
#define cb_cleanup_run_mounts CB_CLEANUP(cb_run_mounts_done)

/* ---- between the files ---- */
/* run_mounts_cache.c: key of every cache, then the directories, in the order of their keys: two steps that want the
 * same ones do not wait for one another for ever. */
int cb_run_mounts_caches(struct cb_run_mounts *rm, struct cb_error *err) CB_WUR;
/* run_mounts_keep.c: finds what o's copy will take the place of, in the cache `dir`; when all are open: which of those
 * of one cache it will be. */
int cb_run_mounts_keep_open(struct cb_open_mount *o, int dir, struct cb_error *err) CB_WUR;
void cb_run_mounts_keep_last(struct cb_run_mounts *rm);

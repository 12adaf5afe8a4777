/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The places of --cache-mount-from and --cache-mount-to: what cache mounts begin with on a machine that has none of
 * that key, and where what steps left in them goes. What is here wins: a directory that is not empty is never filled.
 * doc/cache.md, "Cache mounts". */

#include "build/build.h"
#include "build/graph.h"

struct cb_mount_cache;
/* *out NULL: neither is wanted. */
int cb_mount_cache_open(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_mount_cache **out,
                        struct cb_error *err) CB_WUR;
/* A mount of a step that runs. */
struct cb_mount_use {
    struct cb_vertex *v;
    const struct cb_run_mount *m;
    const struct cb_digest *key;   /* of the store's directories */
};
bool cb_mount_cache_reads(const struct cb_mount_cache *c); /* c may be NULL */
/* Into a new directory. 1: it was filled; 0: no place has it, or it cannot be had, which was told. -CB_ECANCELED. */
int cb_mount_cache_restore(struct cb_mount_cache *c, const struct cb_mount_use *use, int fs_fd, struct cb_error *err)
    CB_WUR;
/* The step succeeded; name: which directory of the key it had. c may be NULL, as below. */
void cb_mount_cache_used(struct cb_mount_cache *c, const struct cb_mount_use *use, const char *name);
/* All steps have: begins to read what was used and to send it, behind what follows. */
void cb_mount_cache_begin(struct cb_mount_cache *c);
/* The build is done: waits, and moves the names. */
int cb_mount_cache_finish(struct cb_mount_cache *c, struct cb_error *err) CB_WUR;
void cb_mount_cache_free(struct cb_mount_cache *c); /* stops what is under way */
CB_DEFINE_CLEANUP(struct cb_mount_cache *, cb_mount_cache_free)

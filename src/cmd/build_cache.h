/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --cache-from and --cache-to, --cache-mount-from and --cache-mount-to. */

#include "build/build.h"
#include "cmd/opt.h"

struct cache_options {
    struct cb_strvec from, to, mount_from, mount_to;
    const char *ttl;
};
struct cache_values {
    struct cb_cache_spec *from, *to, *mount_from, *mount_to;
    size_t n_from, n_to, n_mount_from, n_mount_to;
};
extern const struct cb_opt cache_opts[];
/* -CB_EUSAGE. */
int cache_options_take(const struct cache_options *cli, struct cache_values *v, struct cb_build_options *o,
                       struct cb_error *err) CB_WUR;
void cache_options_done(struct cache_options *o);
void cache_values_done(struct cache_values *v);

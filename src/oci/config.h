/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* image-spec config.md with Docker's extensions (Healthcheck, OnBuild, Shell, ArgsEscaped). What we do not know in a
 * parent's config is not carried into a child.
 *
 * Canonical bytes: compact JSON, members in the order of the image-spec's Go types, with the variant beside the
 * architecture: created, author, architecture, variant, os, os.version, config, rootfs, history; in config: User,
 * ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal, ArgsEscaped, Healthcheck, OnBuild,
 * Shell; in Healthcheck: Test, Interval, Timeout, StartPeriod, StartInterval, Retries. Behind all of it
 * CB_CONFIG_CACHE, where there is one. Maps are sorted bytewise. What is empty is left out, except architecture, os,
 * config, rootfs, and argument lists that are set but empty, which are []. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/digest.h"
#include "oci/platform.h"
#include "util/strvec.h"

struct cb_healthcheck {
    struct cb_strvec test;       /* {"NONE"} | {"CMD", …} | {"CMD-SHELL", s}; empty: inherit */
    int64_t interval, timeout, start_period, start_interval; /* ns, 0 = inherit */
    uint64_t retries;            /* 0 = inherit */
};

/* An argument list that may be absent (JSON null), empty or filled. */
struct cb_arglist {
    bool set;
    struct cb_strvec args;
};

struct cb_history {
    char *created;               /* RFC 3339 or NULL */
    char *created_by;
    char *author;
    char *comment;
    bool empty_layer;
};

struct cb_image_config {
    char *created;               /* RFC 3339 or NULL */
    char *author;
    struct cb_platform platform;
    /* config.* */
    char *user, *working_dir, *stop_signal;
    struct cb_strvec env;        /* "K=V", every entry checked (C9) */
    struct cb_arglist entrypoint, cmd, shell;
    struct cb_strvec exposed_ports; /* "5000/tcp", sorted, unique */
    struct cb_strvec volumes;       /* sorted, unique */
    struct cb_strmap labels;
    struct cb_strvec on_build;
    struct cb_healthcheck *healthcheck; /* or NULL */
    bool args_escaped;
    /* rootfs, history */
    struct cb_digest *diff_ids;
    size_t n_diff_ids;
    struct cb_history *history;
    size_t n_history;
    char *cache;                 /* JSON that is printed as CB_CONFIG_CACHE, or NULL; not read and not copied */
};
#define CB_CONFIG_CACHE "cbpush.cache.v1" /* a member of ours: records of the build cache */

void cb_image_config_done(struct cb_image_config *c);
#define cb_cleanup_image_config CB_CLEANUP(cb_image_config_done)
void cb_image_config_copy(struct cb_image_config *dst, const struct cb_image_config *src);
/* -CB_EVERIFY: no strict JSON, wrong types, Env entries that are not K=V, times that are not RFC 3339, more than
 * CB_MAX_LAYERS diff_ids. Empty strings become NULL. The platform is as written, not normalised. */
int cb_image_config_parse(struct cb_image_config *out, const char *body, size_t len, struct cb_error *err) CB_WUR;
void cb_image_config_print(struct cb_strbuf *out, const struct cb_image_config *c); /* canonical bytes */
void cb_image_config_add_diff_id(struct cb_image_config *c, const struct cb_digest *diff_id);
void cb_image_config_add_history(struct cb_image_config *c, const struct cb_history *h); /* copies */
void cb_healthcheck_free(struct cb_healthcheck *h);
struct cb_healthcheck *cb_healthcheck_copy(const struct cb_healthcheck *h);
void cb_arglist_set(struct cb_arglist *a, const struct cb_strvec *args); /* copies; set = true */
void cb_arglist_clear(struct cb_arglist *a);
/* How many layers, the first ones, the history does not tell of: crane adds entries to an image that had none. */
size_t cb_image_config_untold(const struct cb_image_config *c);
/* There must be as many diff_ids as layers, and no more history entries that are no empty_layer: -CB_EVERIFY (C6). */
int cb_image_config_check(const struct cb_image_config *c, size_t n_layers, struct cb_error *err) CB_WUR;

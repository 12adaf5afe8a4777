/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What endpoint.c and endpoint_hosts.c share. */

#include "registry/private.h"

struct reg_hosts;

/* How a host may be spoken to, by options and registries.conf. */
struct reg_host_how {
    bool insecure, named;
};
/* The two are for whoever holds r->mu. NULL: a certificate of it is wrong. */
struct reg_host_how reg_host_how(const struct cb_registry *r, const char *name, bool rule_insecure);
struct reg_host *reg_host_make(struct cb_registry *r, const char *name, struct reg_host_how how,
                               struct cb_error *err);

/* What a hosts.toml says of a host; *out is NULL where there is none. */
int reg_hosts_of(struct cb_registry *r, const char *host, const struct reg_hosts **out, struct cb_error *err) CB_WUR;
int reg_hosts_pull(struct cb_registry *r, const struct reg_hosts *all, const struct reg_wanted *w,
                   struct reg_endpoints *out, struct cb_error *err) CB_WUR;
int reg_hosts_push(struct cb_registry *r, const struct reg_hosts *all, const struct reg_wanted *w,
                   struct reg_endpoint *out, struct cb_error *err) CB_WUR;
void reg_hosts_table_done(struct cb_hashmap *tomls);

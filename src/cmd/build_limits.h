/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of `build`: what a RUN may use of this machine. All but --allow and --cdi-config-dir are of `run` too. */

#include "build/build.h"
#include "cmd/opt.h"

struct limit_options {
    struct cb_strvec allow, ulimit, dns, dns_search, dns_option, cdi_dirs;
    const char *shm_size, *memory, *memory_swap, *cpus, *cpu_period, *cpu_quota, *cpu_shares;
    const char *cpuset_cpus, *cpuset_mems, *cgroup_parent, *pids_limit;
};
extern const struct cb_opt limit_opts[], limit_run_opts[];
void limit_options_done(struct limit_options *o);

/* What they mean; o->limits points into it. */
struct limit_values {
    struct cb_limits limits;
    struct cb_strvec devices;
};
void limit_values_done(struct limit_values *v);
/* Sets limits, allow, dns, cdi_dirs of *o. -CB_EUSAGE. */
int limit_options_take(const struct limit_options *cli, struct limit_values *v, struct cb_build_options *o,
                       struct cb_error *err) CB_WUR;
/* limits and *dns alone, for `run`: what it was given lives as long as cli. -CB_EUSAGE. */
int limit_options_resources(const struct limit_options *cli, struct limit_values *v, struct cb_dns *dns,
                            struct cb_error *err) CB_WUR;
/* --add-host: Docker's HOST:IP and HOST=IP (an IPv6 address maybe in brackets) as "HOST IP". -CB_EUSAGE. */
int limit_hosts_take(const struct cb_strvec *words, struct cb_strvec *out, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Container Device Interface: what the administrator's specs (JSON files in /etc/cdi and /var/run/cdi) say has to be
 * in a container for a device: environment, device nodes, mounts. Hooks, which would run programs of the machine, and
 * whatever else cbpush does not do, are refused by name. https://github.com/cncf-tags/container-device-interface */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strvec.h"

struct cb_cdi_node {
    char *path;            /* in the container, absolute */
    char *host_path;       /* on the machine */
    bool numbered;         /* type and number are given: the machine need not have the node */
    bool block;
    uint32_t major_number, minor_number;
    bool has_mode, has_uid, has_gid;
    uint32_t mode, uid, gid; /* not given: mode of the machine's node, owner the user of the step */
};
struct cb_cdi_mount {      /* always read-only here */
    char *host_path, *path;
};
struct cb_cdi {
    struct cb_strvec env;  /* "K=V" */
    struct cb_cdi_node *nodes;
    size_t n_nodes, cap_nodes;
    struct cb_cdi_mount *mounts;
    size_t n_mounts, cap_mounts;
};
void cb_cdi_done(struct cb_cdi *c);
#define cb_cleanup_cdi CB_CLEANUP(cb_cdi_done)

/* Adds what a device needs. name: VENDOR/CLASS=NAME; VENDOR/CLASS (its first device); VENDOR/CLASS=* (all of them); or
 * a word that devices carry as annotation org.mobyproject.buildkit.device.class. dirs: NULL or empty for the usual two;
 * specs of a later one win. -CB_ENOTFOUND: there is none (and no YAML spec that might have it); -CB_ECONF: a spec is
 * wrong, or asks for what is refused, naming its file. */
int cb_cdi_find(const struct cb_strvec *dirs, const char *name, struct cb_cdi *out, struct cb_error *err) CB_WUR;

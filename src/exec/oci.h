/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `oci`: the root is mounted by us, with everything that is mounted into it but /dev and /proc, on a tmpfs that only
 * this step's mount namespace has; a runtime starts the process on it by a config.json that we write from nothing
 * (R21). The network namespace and the cgroup are ours, so that the runtime needs neither; it runs below a PID 1 of
 * ours. */

#include "exec/sandbox.h"
#include "oci/json.h"

enum cb_oci_flavour { CB_OCI_CRUN, CB_OCI_RUNC, CB_OCI_RUNSC };

struct cb_oci {
    char *dir;     /* of the bundle, as this mount namespace names it: config.json, rootfs/, state/, log, tty */
    json_t *dev_mounts; /* what goes into /dev: the runtime mounts that, from its place in the bundle */
    int console;   /* a listening socket, or -1 */
};

/* oci_find.c: that one, or the first that will do. Fills runtime, flavour and text of *out. -CB_ELOCAL with why none
 * will: R22. */
int cb_oci_find(const char *wanted, struct cb_isolation *out, struct cb_error *err) CB_WUR;
/* "crun version 1.28" is new enough; else *why says what is wrong (owned). */
bool cb_oci_version_ok(const char *text, enum cb_oci_flavour *flavour, char **why);

/* oci_config.c: new reference, or NULL and -CB_ECONF for what JSON cannot say. dev_mounts: borrowed. */
json_t *cb_oci_config(const struct cb_exec_spec *spec, const json_t *dev_mounts, struct cb_error *err);
/* oci_seccomp.c: the native profile in the words of the runtime specification. New reference. */
json_t *cb_oci_seccomp(void);
/* oci_log.c: the last error in a runtime's log, or NULL. Owned. */
char *cb_oci_log_error(const char *text, size_t n);
/* Whether that is about the program that was to be started: ENOENT, EACCES; else 0. */
int cb_oci_program_error(const char *error, const char *program);

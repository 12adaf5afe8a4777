/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One spec file, read (cdi_spec.c); which of its devices are meant is cdi.c's business. */

#include "exec/cdi.h"
#include "oci/json.h"

struct cdi_device {
    char *name;            /* "vendor.com/class=name" */
    const char *class_name; /* of BuildKit's annotation, or NULL; borrowed from the spec */
    const json_t *edits;   /* of the device, then those of its whole spec; NULL: none */
    const json_t *all_edits;
    const char *file;      /* borrowed */
    size_t dir;            /* index of its directory */
};
struct cdi_devices {
    struct cdi_device *v;
    size_t n, cap;
    json_t **specs;        /* keeps what is borrowed */
    char **files;
    size_t n_specs, cap_specs;
    char *yaml;            /* a spec that cannot be read, or NULL */
};
void cdi_devices_done(struct cdi_devices *d);
/* The devices of a file. */
int cdi_spec_read(struct cdi_devices *d, const char *path, size_t dir, struct cb_error *err) CB_WUR;
int cdi_edits_add(struct cb_cdi *out, const struct cdi_device *d, struct cb_error *err) CB_WUR;
/* The same for the whole spec of a device. */
int cdi_edits_add_all(struct cb_cdi *out, const struct cdi_device *d, struct cb_error *err) CB_WUR;

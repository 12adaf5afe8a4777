/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RUN --device. */

#include "build/solve.h"

/* What the devices of a RUN need. -CB_ECONF for a required one that no spec describes. */
int cb_run_devices(const struct cb_solver *s, const struct cb_vertex *v, struct cb_cdi *out,
                   struct cb_error *err) CB_WUR;
void cb_run_device_env(const struct cb_cdi *c, struct cb_strvec *env);

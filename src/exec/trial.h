/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One isolation tried for real, with nothing left of it. */

#include "exec/exec.h"

/* A directory of three for one try, in the work directory. */
struct cb_trial_place {
    int parent, dir, upper, work, scratch;
    char name[64];
};
int cb_trial_place_make(struct cb_trial_place *p, int work_dir, struct cb_error *err) CB_WUR;
void cb_trial_place_done(struct cb_trial_place *p);

/* Everything up to the moment at which a program would start. */
int cb_trial_run(const struct cb_isolation *by, int work_dir, enum cb_id_mode mode, struct cb_error *err) CB_WUR;

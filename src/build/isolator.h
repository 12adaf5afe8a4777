/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How the steps of this process are kept apart: decided once, at the first one that really runs or when it is clear
 * that there will be one. */

#include "exec/exec.h"
#include "progress/progress.h"

struct cb_isolator;
/* text: as --isolation says; NULL: CBPUSH_ISOLATION, else auto. runtime: as --runtime says, or NULL. NULL: -CB_EUSAGE.
 * work_dir_fd and runtime are borrowed. */
struct cb_isolator *cb_isolator_new(const char *text, const char *runtime, int work_dir_fd, enum cb_id_mode mode,
                                    struct cb_error *err);
/* Nothing can be run, for that reason. */
void cb_isolator_refuse(struct cb_isolator *i, const struct cb_error *why);
void cb_isolator_free(struct cb_isolator *i);
/* What takes the time of a short step, done beside other work. i may be NULL. */
void cb_isolator_decide(struct cb_isolator *i);
/* *out: borrowed, NULL for native. Told to the step that asks first unless it is native; debug lines tell it always.
 * i may be NULL: native. */
int cb_isolator_get(struct cb_isolator *i, struct cb_progress *p, struct cb_step *step,
                    const struct cb_isolation **out, struct cb_error *err) CB_WUR;

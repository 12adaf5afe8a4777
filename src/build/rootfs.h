/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The root of one process: the trees of its layers as lower directories, fresh upper and work directories in the
 * store's tmp/. */

#include "build/slot.h"

struct cb_run_root {
    struct cb_store_tmp tmp;
    int *lower_fds;
    size_t n_lower;
    int upper_fd, work_fd, scratch_fd;
    struct cb_slot *const *layers; /* borrowed */
    size_t n_layers;
    struct cb_owner_table *owners; /* given to the step to fill, or NULL */
};
#define CB_RUN_ROOT_INIT { .tmp = CB_STORE_TMP_INIT, .upper_fd = -1, .work_fd = -1, .scratch_fd = -1 }
/* Brings the trees, several at once. */
int cb_run_root_open(struct cb_run_root *r, struct cb_slots *slots, struct cb_slot *const *layers, size_t n,
                     struct cb_step *step, struct cb_error *err) CB_WUR;
void cb_run_root_done(struct cb_run_root *r);
#define cb_cleanup_run_root CB_CLEANUP(cb_run_root_done)
/* USER as the image means it; text NULL or "": root. Waits for layers in the making where it must. */
int cb_run_root_user(const struct cb_run_root *r, struct cb_slots *slots, const char *text, struct cb_step *step,
                     struct cb_user *out, struct cb_error *err) CB_WUR;

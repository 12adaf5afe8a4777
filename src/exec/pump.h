/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The caller's side of a running step: its output, its terminal, its end. */

#include "exec/sandbox.h"

struct cb_pump_result {
    bool failed;             /* report is set: the program was not started */
    struct cb_report report;
    bool canceled;
    int status;              /* exit code, or 128 + signal */
};
/* Until PID 1 is gone, and with it every process of the step. */
int cb_pump_run(struct cb_sandbox *sb, struct cb_pump_result *res, struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Helper programs (credential helpers, newuidmap, pasta, git): rule R19. Absolute path from PATH's absolute
 * directories, explicit environment, no inherited descriptors but 0–2, no shell, time limit, output cap, killed when we
 * die. */

#include "util/cancel.h"
#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

struct cb_proc_spec {
    const char *const *argv;       /* argv[0] is looked up in PATH unless absolute */
    const char *const *env;        /* NULL: PATH, HOME, USER, LANG, XDG_* and DBUS_SESSION_BUS_ADDRESS of ours */
    const char *input;             /* standard input, NULL for none */
    size_t input_len;
    size_t max_output;             /* of stdout and of stderr each; 0 = 1 MiB */
    unsigned timeout_ms;           /* 0 = 30 s */
    const struct cb_cancel *cancel;
};
struct cb_proc_result {
    int status;                    /* exit code, or 128 + signal */
    struct cb_strbuf out;
    struct cb_strbuf err;
};
void cb_proc_result_done(struct cb_proc_result *r);
#define cb_cleanup_proc_result CB_CLEANUP(cb_proc_result_done)
/* 0 whenever the program ran to its end, whatever its status. -CB_ENOTFOUND if there is no such program, -CB_ELOCAL
 * with sys_errno ETIMEDOUT past the time limit, -CB_EVERIFY past max_output, -CB_ECANCELED. *res is initialised here
 * (what it held is not freed) and holds what was printed so far even on failure. */
int cb_proc_run(const struct cb_proc_spec *spec, struct cb_proc_result *res, struct cb_error *err) CB_WUR;
/* Absolute path of a program in PATH (absolute directories only) or NULL. */
char *cb_proc_which(const char *name);

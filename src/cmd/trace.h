/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --trace FILE: the recording of a process, in a file that gets its name when it is whole. */

#include "cmd/cmd.h"

struct cb_trace_file;
struct cb_trace_file *cb_trace_file_new(void);
void cb_trace_file_free(struct cb_trace_file *t);
/* Begins it, once a process; nothing where path is NULL. "-" is standard output, which stdout_is_free has to allow
 * (-CB_EUSAGE else). */
int cb_trace_file_begin(const struct cb_process *p, const char *path, bool stdout_is_free, struct cb_error *err) CB_WUR;
/* Ends it, where one was begun; t may be NULL. */
int cb_trace_file_end(struct cb_trace_file *t, struct cb_error *err) CB_WUR;

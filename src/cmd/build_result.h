/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of `build`: what is left for scripts when it is done. */

#include "build/build.h"
#include "cmd/opt.h"

struct result_options {
    const char *iidfile_raw, *digest_file, *name_file, *name_tag_file;
    bool load, propagate_exit;
};
extern const struct cb_opt result_opts[];

/* Each written in place (a file may be a mount point, such as /dev/termination-log), without a newline at its end but
 * in those that have a line for each name. */
int result_files_write(const struct result_options *o, const struct cb_build_result *res, struct cb_error *err) CB_WUR;

/* A small result file for scripts, no newline at its end. */
int cb_report_write(const char *path, const char *text, struct cb_error *err) CB_WUR;
int cb_report_write_n(const char *path, const char *text, size_t n, struct cb_error *err) CB_WUR;

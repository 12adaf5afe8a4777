/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `build` and `push` say at their end, and the files they leave for scripts. */

#include "cmd/build_result.h"

struct cb_report {
    const struct cb_build_result *res;
    const struct result_options *results; /* or NULL */
    const struct cb_platform *platforms;  /* that were asked for, one an image where there are several */
    const char *iidfile, *metadata_file, *receipt;
    bool quiet;      /* no summary */
    bool print_id;   /* the image ID on standard output */
    bool explain;    /* why steps were run: in --metadata-file */
    bool tell_why;   /* and for people */
    bool expand;     /* warnings with reasons and excerpts */
};
int cb_report_success(const struct cb_report *r, struct cb_error *err) CB_WUR;
/* Log and excerpt of the failing step on standard error, and what went wrong in --metadata-file; returns code. */
int cb_report_failure(const struct cb_report *r, int code, struct cb_error *err) CB_WUR;

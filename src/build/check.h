/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The checks of src/dockerfile, told what the planner knows of the parents. */

#include "build/graph.h"

struct cb_check {
    const struct cb_build_options *o;
    struct cb_dockerfile *dockerfile;
    const struct cb_df_ignore *ignore;
    const struct cb_plan *plan;        /* NULL: nothing is known of the parents */
    struct cb_progress *progress;      /* is told of each warning, as of the step that read the file */
};
/* The warnings are those of the Dockerfile then. -CB_ECONF: it says that violations are errors, and there are some. */
int cb_check_lint(const struct cb_check *c, struct cb_error *err) CB_WUR;
int cb_check_outline(const struct cb_check *c, struct cb_df_outline *out, struct cb_error *err) CB_WUR;

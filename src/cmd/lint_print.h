/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `lint` found, for people ("FILE:LINE: Rule: text"), for programs, and for whoever reads SARIF 2.1.0. On standard
 * output. */

#include "build/build.h"

struct lint_file {
    char *name;                   /* as it is shown */
    struct cb_build_result res;   /* its dockerfile is NULL where it cannot be parsed */
    char *failed;                 /* why, "FILE:LINE: …"; or NULL */
};
struct lint_files {
    struct lint_file *v;
    size_t n, cap;
    bool errors;                  /* violations are called errors */
};
void lint_print_text(const struct lint_files *f);
void lint_print_json(const struct lint_files *f);
void lint_print_sarif(const struct lint_files *f);

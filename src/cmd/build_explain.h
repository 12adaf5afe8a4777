/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --explain: why steps were run. */

#include <jansson.h>

#include "build/build.h"

/* A line each, on standard error. */
void build_explain_print(const struct cb_build_result *res);
json_t *build_explain_json(const struct cb_build_result *res);

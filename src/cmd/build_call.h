/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `build --check` and `build --call …`: what buildx answers about a Dockerfile without building it. */

#include "cmd/build_input.h"

enum build_call_kind { BUILD_CALL_NONE, BUILD_CALL_CHECK, BUILD_CALL_OUTLINE, BUILD_CALL_TARGETS };
struct build_call {
    enum build_call_kind kind;
    bool json;
    bool ignore_status; /* violations do not make the exit status 5 */
};
/* "check|lint|outline|targets|build[,format=text|json][,ignorestatus=true|false]". -CB_EUSAGE. */
int build_call_parse(struct build_call *out, const char *text, struct cb_error *err) CB_WUR;
/* env: for --check, which resolves the parents; the others look at the file only. */
int build_call_run(const struct build_call *c, const struct cb_build_env *env, const struct cb_build_options *o,
                   int *status, struct cb_error *err) CB_WUR;

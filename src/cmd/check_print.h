/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the checks of a Dockerfile found, and what a build takes, in the shapes of buildx. Text from the file is made
 * safe for a terminal. */

#include "build/build.h"
#include "oci/json.h"

/* Behind a build, on standard error: " 1 warning found …". expand: with reasons and excerpts (-D). */
void cb_warnings_print(const struct cb_dockerfile *d, bool expand);
/* The warnings for --metadata-file, as "buildx.build.warnings" has them. New reference. */
json_t *cb_warnings_json(const struct cb_dockerfile *d);

/* The others write to standard output. failed: why the Dockerfile cannot be built, or NULL. */
void cb_check_print_text(const struct cb_dockerfile *d);
void cb_check_print_json(const struct cb_dockerfile *d, const char *failed, struct cb_df_span at);
void cb_outline_print(const struct cb_df_outline *o);
void cb_outline_print_json(const struct cb_df_outline *o, const struct cb_dockerfile *d);
void cb_targets_print(const struct cb_dockerfile *d);
void cb_targets_print_json(const struct cb_dockerfile *d);

/* "https://…", or NULL. To be freed. */
char *cb_rule_url(const struct cb_df_rule *r);
/* Safe for a terminal, without a line's end. */
void cb_print_safe(FILE *f, const char *text);
void cb_print_json(const json_t *j);

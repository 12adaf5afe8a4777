/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Why steps were run: for each of them the first input that is another than in the last build of the same Dockerfile,
 * context and target. */

#include "build/inputs.h"
#include "build/internal.h"

/* What the last build of the same was made from; nothing where that is not known, or is told in more than max bytes. */
void cb_inputs_last(const struct cb_build *b, int context_fd, size_t max, struct cb_inputs *out);

/* Which step of the old build each of now's is: the index in old, or SIZE_MAX; free() it. An instruction that was moved
 * or stands behind a new one is known by its text, one that was changed by its place. None is taken twice. */
size_t *cb_inputs_match(const struct cb_inputs *old, const struct cb_inputs *now);

/* What is known of a step besides its inputs: why there was no record. */
struct cb_explain {
    const struct cb_inputs *old, *now;
    const size_t *match;
    const char *dockerfile;  /* its name, for people */
    bool no_cache;           /* of the whole build */
};
/* Of now's step i, which was run. */
void cb_explain_step(const struct cb_explain *x, size_t i, struct cb_build_why *out);
/* Of a parent: true where it is another than it was. */
bool cb_explain_parent(const struct cb_explain *x, size_t i, struct cb_build_why *out);

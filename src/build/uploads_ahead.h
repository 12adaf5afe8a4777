/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Uploads that are begun beside the questions about parents and tags, where the context shows that something new will
 * be made: a file holds something else than when the same was built last. Where nothing shows it nothing is begun, so
 * an unchanged build opens none; those that nobody takes in the end are given up as all spares are (cb_push_ahead). */

#include "build/inputs.h"
#include "build/internal.h"

struct cb_uploads_ahead;
/* Looks, beside what follows where that takes longer, with b's context and pusher, which are there. */
struct cb_uploads_ahead *cb_uploads_ahead_new(struct cb_build *b);
/* Looks no further: the context is the caller's again. */
void cb_uploads_ahead_settle(struct cb_uploads_ahead *u); /* NULL: nobody looked */
void cb_uploads_ahead_free(struct cb_uploads_ahead *u);

/* Whether a file that the last build took from the context holds something else now. False also where that would take
 * much reading, or stop was set: then it is not known. */
bool cb_context_has_changed(struct cb_context *c, const struct cb_inputs *last, const atomic_bool *stop);

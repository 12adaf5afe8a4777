/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tags of a push stand for, asked for before anybody needs to know it. */

#include "build/build.h"

struct cb_tags_ahead;
/* Asks beside what follows what these (borrowed; those without a tag are passed over, one at least has one) stand for,
 * until env's token or its own end says that nobody wants to know. */
struct cb_tags_ahead *cb_tags_ahead_new(const struct cb_build_env *env, const struct cb_reference *tags, size_t n);
void cb_tags_ahead_free(struct cb_tags_ahead *t); /* gives up what has no answer yet */
/* 1: a moment ago they all were this, 0: one was not, -CB_ENOTFOUND: not known, or too old; else the registry has not
 * answered, a moment ago. */
int cb_tags_ahead_are(struct cb_tags_ahead *t, const struct cb_digest *digest, struct cb_error *err);
/* What the only one stood for a moment ago; false: there are others, it is not known (and given up), or too old. */
bool cb_tags_ahead_only(struct cb_tags_ahead *t, struct cb_tag_state *out);

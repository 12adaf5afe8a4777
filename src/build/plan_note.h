/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The text of instructions in the image's history: created_by, word for word as BuildKit writes it, but without its
 * " # buildkit". Values are expanded and words are printed as Go prints them. */

#include "build/plan_private.h"

/* `[a b]` (Go's %v), `["a" "b"]` (%q). */
void plan_note_words(struct cb_strbuf *out, const struct cb_strvec *words);
void plan_note_quoted(struct cb_strbuf *out, const struct cb_strvec *words);
/* Test, intervals ("1m30s") and retries, as Go prints the struct. */
void plan_note_healthcheck(struct cb_strbuf *out, const struct cb_healthcheck *h);
/* " --chown=1:2 a b <<EOF /dest": flags that show, sources, heredocs, destination. */
int plan_note_copy(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *out,
                   struct cb_error *err) CB_WUR;

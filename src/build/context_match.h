/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Source patterns of COPY against the context: Go's filepath.Match, component by component. */

#include "build/select.h"

/* Paths that a source names, sorted; "." is the root. A plain source that is absent (or ignored) is -CB_ECONF and says what is
 * there; a pattern without a match gives none. */
int cb_context_match(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_strvec *out, bool *wildcard,
                     struct cb_error *err) CB_WUR;

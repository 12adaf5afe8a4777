/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Sources of COPY against the context: Go's filepath.Match, component by component, and links resolved inside the
 * root. */

#include "build/select.h"

/* The path without links (normal form, "" = the root) that a path of the context means: `..` and absolute links stop at
 * the root. 0, or a negative errno: -ENOENT, -ENOTDIR, -ELOOP … */
int cb_context_real(int fd, const char *path, struct cb_strbuf *out) CB_WUR;
/* What a source names: literal paths below the real directory in front of the first wildcard, sorted. A plain source
 * gives itself ("" = the root). What .dockerignore leaves out is not there, unless it is a directory that a later `!`
 * may bring something of back. A plain source that is absent is -CB_ECONF, and so is the directory in front of the
 * first wildcard; a pattern without a match gives none. */
int cb_context_match(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_strvec *out,
                     struct cb_error *err) CB_WUR;
/* The error for a plain source that is not there. */
int cb_context_absent(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_error *err);

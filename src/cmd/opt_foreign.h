/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of other programs that are none of ours, and what does the same here. */

#include <stddef.h>

/* What to write instead of that option of the verb, by its long name or its letter (name NULL); NULL: not known here
 * either. */
const char *cb_foreign_option(const char *verb, const char *name, size_t n, char letter);
/* The i-th that is known: its verb; NULL past the last. "" stands for every verb. */
const char *cb_foreign_option_at(size_t i, const char **name, char *letter);

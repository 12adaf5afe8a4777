/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Semantic versions (semver.org 2.0.0) as tags write them: an optional v, one to three numbers, an optional
 * pre-release. Ranges as npm and Masterminds have them: comparators (= > >= < <= ~ ^, or none) beside each other, by
 * blanks or commas, must all hold; `||` stands between alternatives; 1, 1.x and 1.2.* are all versions that begin so. A
 * pre-release is in a range only where a comparator of it names one of the same three numbers, or `pre` is set. */

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct mirror_version {
    uint32_t n[3];
    unsigned given;  /* how many of them were written */
    const char *pre; /* borrowed from the text, up to its end; NULL: none */
};
bool mirror_version_parse(struct mirror_version *out, const char *text);
int mirror_version_cmp(const struct mirror_version *a, const struct mirror_version *b);

struct mirror_range;
struct mirror_range *mirror_range_new(const char *text, struct cb_error *err); /* NULL: -CB_ECONF */
void mirror_range_free(struct mirror_range *r);
bool mirror_range_has(const struct mirror_range *r, const struct mirror_version *v, bool pre);

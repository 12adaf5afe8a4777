/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* SBOMs: plan_scan.c has the step that makes them. */

#include "build/internal.h"
#include "oci/json.h"

#define CB_SBOM_SPDX "https://spdx.dev/Document"

/* Appends the in-toto statements of image `index` to `all` and the names of their files to `names` (may be NULL): that
 * of the image first, then in the order of these names; none where no SBOM is asked for. subjects: what they are about,
 * where the scanner left that open; borrowed. -CB_EVERIFY for what is no statement with an SPDX document, and for
 * nothing. */
int cb_sbom_statements(const struct cb_build *b, size_t index, json_t *subjects, json_t *all, struct cb_strvec *names,
                       struct cb_error *err) CB_WUR;

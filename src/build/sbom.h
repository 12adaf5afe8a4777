/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* SBOMs: plan_scan.c has the step that makes them. */

#include "build/internal.h"
#include "oci/json.h"

#define CB_SBOM_SPDX "https://spdx.dev/Document"

/* Appends the in-toto statements of image `index` to `all`, that of the image first, then in the order of their files'
 * names; none where no SBOM is asked for. The image is committed. -CB_EVERIFY for what is no statement with an SPDX
 * document, and for nothing. */
int cb_sbom_statements(const struct cb_build *b, size_t index, json_t *all, struct cb_error *err) CB_WUR;

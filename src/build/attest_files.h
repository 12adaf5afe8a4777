/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Attestations of outputs that are files. */

#include "build/internal.h"

/* Whether there are any: an SBOM, and provenance where that is asked for. */
bool cb_attests_files(const struct cb_build_options *o);
/* Those of image `index`, whose layers and tables were brought: sbom.spdx.json, provenance.json … behind prefix (may be
 * NULL), sorted by their names. *out is the caller's: cb_documents_free. */
int cb_attest_documents(struct cb_build *b, size_t index, const char *prefix, struct cb_export_document **out,
                        size_t *n, struct cb_error *err) CB_WUR;
void cb_documents_free(struct cb_export_document *v, size_t n); /* v may be NULL */

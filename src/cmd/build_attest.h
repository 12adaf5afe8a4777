/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --provenance, --sbom and --attest in buildx's words; CBPUSH_PROVENANCE where none of them says it. */

#include "build/build.h"
#include "cmd/opt.h"

struct attest_options {
    const char *provenance, *sbom;
    struct cb_strvec attest;
};
struct attest_values {
    char *builder_id;
};
extern const struct cb_opt attest_opts[];
void attest_options_done(struct attest_options *o);
void attest_values_done(struct attest_values *v);
/* told: whether a file takes what BUILDX_METADATA_PROVENANCE asks for. -CB_EUSAGE. */
int attest_options_take(const struct attest_options *cli, bool told, struct attest_values *v,
                        struct cb_build_options *o, struct cb_error *err) CB_WUR;

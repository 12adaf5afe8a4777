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
    bool sbom_said;
    char *generator;              /* of an SBOM; NULL: none is wanted */
    struct cb_strmap params;      /* for it */
};
extern const struct cb_opt attest_opts[];
void attest_options_done(struct attest_options *o);
void attest_values_done(struct attest_values *v);
char *attest_shown(const char *text); /* in an error: URLs hide what they hold; owned by the caller */
bool attest_says_no(const char *value);
bool attest_says_yes(const char *value);

/* ---- build_sbom.c ---- */
bool sbom_takes(const char *word, void *arg); /* whether the word behind --sbom is its value */
/* what: "--sbom" or "--attest", for errors. -CB_EUSAGE, also for the second that is said. */
int sbom_spec_take(const char *what, const char *text, struct attest_values *v, struct cb_error *err) CB_WUR;

/* told: whether a file takes what BUILDX_METADATA_PROVENANCE asks for. -CB_EUSAGE. */
int attest_options_take(const struct attest_options *cli, bool told, struct attest_values *v,
                        struct cb_build_options *o, struct cb_error *err) CB_WUR;

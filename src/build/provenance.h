/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What is said of how an image was made: doc/provenance.md has the format. Nothing in it depends on when it is asked
 * for: it tells of the steps as their records do, so that an unchanged build says the same. No secret is in it, no
 * credential, no user information and no query of a URL; in mode=min no value of a build argument either. */

#include "build/internal.h"
#include "oci/json.h"

#define CB_PROVENANCE_V1 "https://slsa.dev/provenance/v1"
#define CB_PROVENANCE_V02 "https://slsa.dev/provenance/v0.2"

struct cb_provenance {
    const struct cb_build *b;    /* solved; the image is committed */
    size_t index;                /* of the image */
    enum cb_provenance_mode mode;
};
/* Under every name that the image gets; one that gets none is "_", as BuildKit has it. The image is committed. */
json_t *cb_provenance_subjects(const struct cb_build *b, size_t index);
/* SLSA's predicate, or the whole statement around it. New references. */
json_t *cb_provenance_predicate(const struct cb_provenance *p);
json_t *cb_provenance_statement(const struct cb_provenance *p, json_t *subjects /* borrowed */);

/* ---- told.c: package URLs; owned by the caller ---- */
char *cb_purl_docker(const struct cb_reference *ref, const struct cb_platform *platform);
char *cb_purl_oci(const char *name, const struct cb_digest *digest, const struct cb_platform *platform);

/* ---- between provenance*.c ---- */
struct cb_provenance_work {
    const struct cb_provenance *p;
    const struct cb_build *b;
    const struct cb_plan_image *plan;
    const struct cb_image *image;
    bool *used;                  /* by the id of a vertex: the image is made of it, or with it */
};
bool cb_provenance_reads_context(const struct cb_provenance_work *w); /* some step does, of the main one */
/* {"sha256":"…"} */
json_t *cb_provenance_digest(const struct cb_digest *d);
json_t *cb_provenance_commit(const char *commit);
/* A text with what its URLs hide hidden. */
json_t *cb_provenance_text(const char *text);
/* Everything from outside that has a digest. complete: whether that is all. */
json_t *cb_provenance_dependencies(const struct cb_provenance_work *w, bool *complete);
json_t *cb_provenance_request(const struct cb_provenance_work *w);
/* Of mode=max: the steps, and which of them made which layers. */
json_t *cb_provenance_steps(const struct cb_provenance_work *w);
json_t *cb_provenance_layers(const struct cb_provenance_work *w);

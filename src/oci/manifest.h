/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* image-spec manifest.md and image-index.md, and Docker's schema 2 equivalents. Parsed strictly (C1, C2, C5, C6): a
 * body that has both `manifests` and `layers`, or whose mediaType contradicts what the server said, is refused. */

#include "oci/descriptor.h"
#include "util/strbuf.h"

/* Annotations by which an OCI layout's index.json names its entries, and what its oci-layout says. */
#define CB_ANN_REF_NAME "org.opencontainers.image.ref.name"
/* BuildKit's: what stands in an index beside an image and is about it, by digest. */
#define CB_ANN_REFERENCE_TYPE "vnd.docker.reference.type"
#define CB_ANN_REFERENCE_DIGEST "vnd.docker.reference.digest"
#define CB_REFERENCE_ATTESTATION "attestation-manifest"
#define CB_ANN_PREDICATE_TYPE "in-toto.io/predicate-type"
#define CB_ANN_IMAGE_NAME "io.containerd.image.name"
#define CB_OCI_LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"

struct cb_manifest {
    char *media_type;
    char *artifact_type;           /* or NULL */
    struct cb_descriptor config;
    struct cb_descriptor *layers;
    size_t n_layers;
    struct cb_descriptor *subject; /* or NULL */
    struct cb_strmap annotations;
};
void cb_manifest_done(struct cb_manifest *m);
#define cb_cleanup_manifest CB_CLEANUP(cb_manifest_done)
/* content_type: of the reply, or NULL; its parameters and case do not matter, and one that is no manifest type (as
 * text/plain) says nothing. -CB_EVERIFY with what is wrong; Docker's schema 1 has its own message. */
int cb_manifest_parse(struct cb_manifest *out, const char *body, size_t len, const char *content_type,
                      struct cb_error *err) CB_WUR;
/* It can be run: its config and layers are those of an image, and not of an attestation or another artifact. */
bool cb_manifest_is_image(const struct cb_manifest *m);
/* -CB_ECONF, which names what it is instead. */
int cb_manifest_no_image(const struct cb_manifest *m, struct cb_error *err);
/* Our own canonical bytes: compact, members in image-spec's order, OCI's media type where there is none. */
void cb_manifest_print(struct cb_strbuf *out, const struct cb_manifest *m);

struct cb_index {
    char *media_type;
    char *artifact_type;
    struct cb_descriptor *manifests;
    size_t n_manifests;
    struct cb_descriptor *subject;
    struct cb_strmap annotations;
};
void cb_index_done(struct cb_index *i);
#define cb_cleanup_index CB_CLEANUP(cb_index_done)
int cb_index_parse(struct cb_index *out, const char *body, size_t len, const char *content_type,
                   struct cb_error *err) CB_WUR;
void cb_index_print(struct cb_strbuf *out, const struct cb_index *i);
/* The entry that serves the platform best, attestation entries (unknown/unknown) passed over; NULL where none does. An
 * entry without platform serves any, last. */
const struct cb_descriptor *cb_index_select(const struct cb_index *i, const struct cb_platform *want);

/* The media type that a body is: its own mediaType, else by its members, else content_type. NULL (err set) where it is
 * neither manifest nor index. Points to a constant. */
const char *cb_manifest_detect(const char *body, size_t len, const char *content_type, struct cb_error *err);

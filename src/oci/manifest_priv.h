/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What manifests and indexes are read with alike. Within src/oci only. */

#include "oci/manifest.h"

/* Bounded, parsed, identified: the body as JSON (new reference) and its media type, a constant. NULL with err set. */
json_t *cb_manifest_open(const char *body, size_t len, const char *content_type, const char **media_type,
                         struct cb_error *err);
/* The members that both have; `list` is the name of the array, max its limit. */
struct cb_manifest_common {
    char **artifact_type;
    struct cb_descriptor **subject;
    struct cb_strmap *annotations;
    struct cb_descriptor **list;
    size_t *n;
};
int cb_manifest_read_common(const struct cb_manifest_common *c, const json_t *o, const char *list, size_t max,
                            struct cb_error *err) CB_WUR;
/* schemaVersion, mediaType and artifactType, which come first; new reference. */
json_t *cb_manifest_print_head(const char *media_type, const char *artifact_type);
/* The array `key`, then subject and annotations, which come last. */
void cb_manifest_print_list(json_t *o, const char *key, const struct cb_descriptor *v, size_t n);
void cb_manifest_print_tail(json_t *o, const struct cb_descriptor *subject, const struct cb_strmap *annotations);
void cb_descriptors_free(struct cb_descriptor *v, size_t n); /* the array too */

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* image-spec descriptor.md. Owns everything in it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "oci/digest.h"
#include "oci/platform.h"
#include "util/strvec.h"

struct cb_descriptor {
    char *media_type;
    struct cb_digest digest;
    uint64_t size;                 /* bytes */
    char *artifact_type;           /* or NULL */
    struct cb_platform *platform;  /* or NULL */
    struct cb_strmap annotations;
    struct cb_strvec urls;         /* never fetched unless the user allowed foreign URLs (D1) */
};

void cb_descriptor_done(struct cb_descriptor *d);
#define cb_cleanup_descriptor CB_CLEANUP(cb_descriptor_done)
void cb_descriptor_copy(struct cb_descriptor *dst, const struct cb_descriptor *src);
/* A plain one of bytes in memory. */
void cb_descriptor_of(struct cb_descriptor *out, const char *media_type, const void *buf, size_t n);
/* -CB_EVERIFY where mediaType, digest or size is missing or malformed. Members that we do not know (data) are
 * dropped. */
int cb_descriptor_from_json(struct cb_descriptor *out, const json_t *o, struct cb_error *err) CB_WUR;
json_t *cb_descriptor_to_json(const struct cb_descriptor *d); /* new reference */
/* The members of an image-spec platform object; what is absent stays NULL. The reverse gives a new reference. */
int cb_platform_from_json(struct cb_platform *out, const json_t *o, struct cb_error *err) CB_WUR;
json_t *cb_platform_to_json(const struct cb_platform *p);

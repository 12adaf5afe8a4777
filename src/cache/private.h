/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of cache share. */

#include <pthread.h>

#include "cache/cache.h"

int cache_local_open(const struct cb_cache_place_options *o, struct cb_cache_place **out, struct cb_error *err) CB_WUR;
int cache_registry_open(const struct cb_cache_place_options *o, struct cb_cache_place **out,
                        struct cb_error *err) CB_WUR;

/* An artifact of a place, by name, with its records. -CB_ENOTFOUND; -CB_EVERIFY where it is another thing: then body is
 * there. */
int cache_get(struct cb_cache_place *p, const char *name, struct cb_cache_artifact *out, struct cb_strbuf *body,
              struct cb_error *err) CB_WUR;
/* All of a blob of the place that is no larger than max. */
int cache_slurp(struct cb_cache_place *p, const struct cb_descriptor *d, uint64_t max, struct cb_strbuf *out,
                struct cb_error *err) CB_WUR;
/* Puts the config into the manifest, unless it is large, and describes that. body and config are there. */
void cache_artifact_embed(struct cb_cache_artifact *a);
bool cache_sign_digest(const struct cb_cache_key *k, const struct cb_digest *d, uint8_t out[static CB_CACHE_SIGNATURE]);
bool cache_verify_digest(const struct cb_cache_key *k, const struct cb_digest *d,
                         const uint8_t signature[static CB_CACHE_SIGNATURE]);

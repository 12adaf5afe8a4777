/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Cache keys. The definition key says what a step is and what it stands on, and is known before anything runs. The
 * content key says what it really gets, so that a parent or stage that was made again and came out the same still hits.
 * doc/cache.md. */

#include "build/graph.h"
#include "build/slot.h"

/* What is the same for the whole build and changes what comes out: part of the keys it matters to. */
struct cb_key_base {
    int64_t clamp_mtime;            /* SOURCE_DATE_EPOCH, or INT64_MAX */
    bool exact_mtime;               /* older times become it too */
    const struct cb_strvec *hosts;  /* RUN: --add-host, or NULL */
    const char *hostname;           /* RUN: that was asked for, or NULL */
    bool single_id;                 /* RUN: owners cannot be on the disk */
};
/* Where the clock's times become one, all others were given, and say something: results that differ in them differ. */
static inline bool cb_key_has_times(const struct cb_key_base *kb)
{
    return kb->clamp_mtime != INT64_MAX;
}

/* What a time becomes in a layer. */
int64_t cb_key_time(const struct cb_key_base *kb, int64_t mtime);
/* base: key of the vertex's base (NULL: empty file system). from: key of the other result, or the digest of the
 * selection in the context, or of what mounts show, or NULL. */
void cb_key_definition(const struct cb_key_base *kb, const struct cb_vertex *v, const struct cb_digest *base,
                       const struct cb_digest *from, struct cb_digest *out);
/* By the layers, and by the tables that its manifest pins (manifest NULL: none): who builds on an image that lies about
 * its layers must not leave records for one that does not. */
void cb_key_source(const struct cb_image_config *config, const struct cb_manifest *manifest, struct cb_digest *out);
/* A RUN on what these layers contain (each made, its table there). */
void cb_key_run_content(const struct cb_key_base *kb, const struct cb_vertex *v, struct cb_slot *const *layers,
                        size_t n, struct cb_digest *out);
/* Whether a content record of such a RUN was ever made: else nobody waits for the content of its base. */
void cb_key_run_hint(const struct cb_key_base *kb, const struct cb_vertex *v, struct cb_digest *out);

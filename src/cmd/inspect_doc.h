/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `inspect` says of an image, wherever that is: the members that users of `skopeo inspect` and of `docker image
 * inspect` ask for by --format, and the manifest as it is. */

#include <jansson.h>

#include "oci/manifest.h"

struct cb_inspected {
    char *name;                   /* or NULL */
    struct cb_descriptor top;     /* what was named */
    struct cb_descriptor desc;    /* of the manifest */
    struct cb_strbuf index, manifest, config; /* bodies; index: empty where top is the manifest */
    bool local;                   /* of the store: these are its names there, as people write them */
    struct cb_strvec repo_tags, repo_digests;
};
#define CB_INSPECTED_INIT                                                                                            \
    { .index = CB_STRBUF_INIT, .manifest = CB_STRBUF_INIT, .config = CB_STRBUF_INIT, .repo_tags = CB_STRVEC_INIT,      \
      .repo_digests = CB_STRVEC_INIT }
void cb_inspected_done(struct cb_inspected *x);
#define cb_cleanup_inspected CB_CLEANUP(cb_inspected_done)
/* NULL and -CB_EVERIFY in err: a body is not what it should be. An artifact without image configuration lacks those
 * members. New reference. */
json_t *cb_inspect_json(const struct cb_inspected *x, struct cb_error *err);
/* What a template gets for members that the image of doc lacks: "" as docker and skopeo print. New reference. */
json_t *cb_inspect_more(const json_t *doc);

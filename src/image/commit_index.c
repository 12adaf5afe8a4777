/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"
#include "util/alloc.h"

int cb_image_commit_index(struct cb_store *s, const struct cb_commit_index_options *o, struct cb_descriptor *out,
                          struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    idx.media_type = cb_strdup(o->docker_types ? CB_MT_DOCKER_LIST : CB_MT_OCI_INDEX);
    idx.manifests = cb_calloc(o->n + 1, sizeof *idx.manifests);
    for (; idx.n_manifests < o->n; idx.n_manifests++)
        cb_descriptor_copy(&idx.manifests[idx.n_manifests], &o->manifests[idx.n_manifests]);
    if (o->annotations)
        cb_strmap_copy(&idx.annotations, o->annotations);
    cb_index_print(&body, &idx);
    if (body.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ECONF, "the image's index has %zu bytes; %u are allowed", body.len,
                            CB_MAX_MANIFEST);
    cb_descriptor_of(out, idx.media_type, body.buf, body.len);
    return cb_store_blob_put(s, body.buf, body.len, NULL, err);
}

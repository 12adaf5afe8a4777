/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Changes that mutate, annotate and append make alike, as callbacks of cb_edit_rewrite. */

#include "cmd/edit_session.h"

struct cb_edit_apply {
    struct cb_edit_config config;
    struct cb_annotations annotations;        /* buildx's words, where they go */
    const struct cb_strvec *unset_annotations; /* wherever they are */
    struct cb_edit_layer *layers;             /* to be put on top */
    size_t n_layers;
    const char *created;                      /* of SOURCE_DATE_EPOCH, or NULL */
    bool oci;
    bool *used;                               /* of each annotation */
    bool unset;                               /* an annotation was taken away */
    size_t images;                            /* that were changed */
};
/* -CB_EUSAGE. text: "[LEVEL:]KEY=VALUE" */
int cb_edit_apply_annotation(struct cb_edit_apply *a, const char *text, struct cb_error *err) CB_WUR;
/* Reads layers of files, each once. */
int cb_edit_apply_layers(struct cb_edit_apply *a, const struct cb_edit_env *env, const struct cb_strvec *paths,
                         struct cb_error *err) CB_WUR;
/* Does it, and prints what came of it. */
int cb_edit_apply_run(struct cb_edit_apply *a, struct cb_edit_session *e, const struct cb_edit_request *q,
                      struct cb_error *err) CB_WUR;
void cb_edit_apply_done(struct cb_edit_apply *a);
#define cb_cleanup_edit_apply CB_CLEANUP(cb_edit_apply_done)

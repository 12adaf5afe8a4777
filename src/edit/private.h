/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of edit share. */

#include "edit/edit.h"

/* ---- each.c ---- */
/* Runs job for each i < n, several side by side, and waits for all; jobs that have not begun when one fails do not
 * begin. The failure of the lowest number is told. */
int cb_edit_each(const struct cb_edit_env *env, size_t n, int (*job)(void *arg, size_t i, struct cb_error *err),
                 void *arg, struct cb_error *err) CB_WUR;
/* A source (taken) that tells the step how far it has been read. */
struct cb_blob_source *cb_edit_watched(struct cb_blob_source *src, struct cb_step *step,
                                       const struct cb_descriptor *d);

/* ---- tables.c ---- */
/* The blob of a layer: its spool, else as cb_edit_source_blob. */
int cb_edit_tables_blob(const struct cb_edit_tables *t, size_t layer, struct cb_blob_source **out,
                        struct cb_error *err) CB_WUR;
/* Bytes to a descriptor, which is borrowed; neither commit nor close does anything. */
struct edit_fd_sink {
    struct cb_blob_sink base;
    int fd;
};
void edit_fd_sink_init(struct edit_fd_sink *s, int fd);

/* ---- plan.c ---- */
/* What is described otherwise than it is there is not had. */
bool edit_plan_has_doc(const struct cb_edit_plan *p, const struct cb_descriptor *d);

/* ---- manifest.c ---- */
/* Attestations of BuildKit: which manifest of the index they are about, or NULL. */
const char *cb_edit_attests(const json_t *entry);

/* ---- data.c ---- */
/* Whether what a manifest or index embeds (a descriptor's data: image-spec descriptor.md) is the content that it
 * describes. -CB_EVERIFY: the first that is not. */
int cb_edit_check_data(const struct cb_strbuf *body, struct cb_error *err) CB_WUR;

/* ---- append.c ---- */
/* Adds a layer on top of manifest and config, in the manifest's own family of media types. */
int cb_edit_draft_add(struct cb_edit_draft *d, const struct cb_descriptor *layer, const struct cb_digest *diff_id,
                      struct cb_error *err) CB_WUR;
/* By the first bytes: enum cb_compression, NONE for everything else. */
int cb_edit_compression(const uint8_t *first, size_t n);
int cb_edit_hash_file(int fd, const struct cb_cancel *cancel, struct cb_digest *digest, uint64_t *size,
                      struct cb_error *err) CB_WUR;

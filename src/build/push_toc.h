/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tables of contents that manifests pin, to where the images go: blobs that nothing waits for, and one artifact an
 * image, which refers to it and keeps them from being collected as garbage. All of it is an optimisation for those who
 * build on the image: what fails is told in the step's log. doc/toc.md. */

#include "build/internal.h"
#include "build/slot.h"

struct cb_toc_push;
struct cb_toc_push *cb_toc_push_new(const struct cb_build_env *env);
void cb_toc_push_free(struct cb_toc_push *t); /* after the pushes */
/* Of a layer whose manifest (will) pin this table. Thread-safe. */
void cb_toc_push_add(struct cb_toc_push *t, struct cb_push *push, struct cb_slot *s, const struct cb_toc_pin *pin);

/* Where an image goes. */
struct cb_toc_target {
    struct cb_push *push;
    const struct cb_reference *at; /* host and repository */
    struct cb_step *step;          /* is told of what fails */
};
/* The artifact of an image whose tables were added. Waits for them, and tells of those that failed. */
int cb_toc_push_keep(struct cb_toc_push *t, const struct cb_toc_target *to, const struct cb_push_part *image,
                     struct cb_error *err) CB_WUR;

/* A registry that does not index subjects keeps an artifact whatever becomes of its image, and the next image mostly
 * has the same tables. So one that was put there is noted in the store, and its being there is enough. */
bool cb_toc_push_knows(const struct cb_build_env *env, const struct cb_reference *at); /* of any artifact there */
/* Whether one that keeps all tables of the image is known, and is there: one request. */
bool cb_toc_push_has(struct cb_toc_push *t, const struct cb_toc_target *to, const struct cb_push_part *image);

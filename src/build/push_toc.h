/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tables of contents that manifests pin, to where the images go: blobs that nothing waits for, and one artifact an
 * image, which refers to it and keeps them from being collected as garbage. All of it is an optimisation for those who
 * build on the image: what fails is told in the step's log. doc/toc.md. */

#include "build/slot.h"

struct cb_toc_push;
struct cb_toc_push *cb_toc_push_new(const struct cb_build_env *env);
void cb_toc_push_free(struct cb_toc_push *t); /* after the pushes */
/* Of a layer whose manifest (will) pin this table. Thread-safe. */
void cb_toc_push_add(struct cb_toc_push *t, struct cb_push *push, struct cb_slot *s, const struct cb_toc_pin *pin);
/* The artifact of an image whose tables were added. Waits for them, and tells step of those that failed. */
int cb_toc_push_keep(struct cb_push *push, const struct cb_descriptor *image, const struct cb_manifest *m,
                     struct cb_step *step, struct cb_error *err) CB_WUR;

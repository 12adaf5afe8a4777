/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `copy` and `mirror` say of their work. */

#include <jansson.h>

#include "copy/copy.h"

struct cb_copied {
    char *source, *target; /* owned */
    struct cb_copy_result result;
};
void cb_copied_done(struct cb_copied *c);
/* One object to standard output: images, blobs, bytes. */
void cb_copy_print_json(const struct cb_copied *v, size_t n, struct cb_copy_target *t);

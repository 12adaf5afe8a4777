/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ADD of archives: their entries are placed as files are, links below and in the archive itself resolved inside the
 * root (A11). */

#include "build/place.h"
#include "build/solve.h"

/* File data of archives, one after the other, in an unlinked file. */
struct cb_spool {
    int fd; /* -1 until it is used */
    uint64_t size;
};
/* Like cb_placer_selection, but matches that are archives are extracted. */
int cb_add_place(struct cb_solver *s, struct cb_vertex *v, const struct cb_selection *sel, struct cb_placer *p,
                 struct cb_spool *spool, struct cb_error *err) CB_WUR;

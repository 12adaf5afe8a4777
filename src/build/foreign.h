/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Steps whose programs are made for another platform than this machine. */

#include "build/rootfs.h"
#include "build/solve.h"

/* Before anything runs: -CB_ELOCAL with the remedy for a RUN that would have to run and cannot (s->failed is it). Notes
 * which interpreter a step's root has to hold. After cb_solve_prepare. */
int cb_foreign_check(struct cb_solver *s, struct cb_error *err) CB_WUR;
/* Whether a root holds the interpreter, where there has to be one (NULL: none). */
int cb_foreign_check_root(const struct cb_run_root *root, const struct cb_platform *platform, const char *interpreter,
                          struct cb_error *err) CB_WUR;
/* The same for one program; *interpreter (owned): has to be in its root, or NULL. */
int cb_foreign_check_platform(const struct cb_build_env *env, const struct cb_platform *platform, char **interpreter,
                              struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ISA-L, loaded when a gzip layer is inflated, or made by "fast" (util/lazy.h). What is used of it is listed here. */

#ifdef HAVE_ISAL
#include <isa-l.h>
#endif

#include "util/error.h"

/* Before anything else of it; cheap. -CB_ELOCAL where it is not there; 0 where we are built without it. */
int cb_isal_load(struct cb_error *err) CB_WUR;

#if defined(HAVE_ISAL) && defined(CB_LAZY_LIBS)
#define CB_ISAL_FUNCTIONS(X)                                                                                           \
    X(deflate_init) X(deflate_stateless) X(inflate) X(inflate_init) X(inflate_reset)
struct cb_isal {
#define CB_LAZY_FIELD(name) __typeof__(isal_##name) *name;
    CB_ISAL_FUNCTIONS(CB_LAZY_FIELD)
#undef CB_LAZY_FIELD
};
extern struct cb_isal cb_isal;
#define isal_deflate_init cb_isal.deflate_init
#define isal_deflate_stateless cb_isal.deflate_stateless
#define isal_inflate cb_isal.inflate
#define isal_inflate_init cb_isal.inflate_init
#define isal_inflate_reset cb_isal.inflate_reset
#endif

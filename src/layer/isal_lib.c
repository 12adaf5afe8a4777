/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/isal_lib.h"

#include "util/lazy.h"

#if defined(HAVE_ISAL) && defined(CB_LAZY_LIBS)
struct cb_isal cb_isal;
#define ROW(name) { "isal_" #name, &cb_isal.name },
CB_LAZY_LIBRARY(cb_isal_load, CB_ISAL_SONAME, CB_ISAL_FUNCTIONS(ROW))
#else
CB_LAZY_NOTHING(cb_isal_load)
#endif

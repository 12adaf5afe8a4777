/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/seccomp_lib.h"

#include "util/lazy.h"

#ifdef CB_LAZY_LIBS
struct cb_seccomp cb_seccomp;
#define ROW(name) { "seccomp_" #name, &cb_seccomp.name },
#endif
CB_LAZY_LIBRARY(cb_seccomp_load, CB_SECCOMP_SONAME, CB_SECCOMP_FUNCTIONS(ROW))

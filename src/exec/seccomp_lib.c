/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/seccomp_lib.h"

#ifdef CB_LAZY_LIBS
#include "util/lazy.h"

struct cb_seccomp cb_seccomp;

#define ROW(name) { "seccomp_" #name, &cb_seccomp.name },
static const struct cb_lazy_symbol symbols[] = { CB_SECCOMP_FUNCTIONS(ROW) };
static struct cb_lazy library = CB_LAZY_INIT(CB_SECCOMP_SONAME, symbols);

int cb_seccomp_load(struct cb_error *err)
{
    return cb_lazy_load(&library, err);
}
#else
int cb_seccomp_load(CB_UNUSED struct cb_error *err)
{
    return 0;
}
#endif

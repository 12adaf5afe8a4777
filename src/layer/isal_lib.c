/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/isal_lib.h"

#if defined(HAVE_ISAL) && defined(CB_LAZY_LIBS)
#include "util/lazy.h"

struct cb_isal cb_isal;

#define ROW(name) { "isal_" #name, &cb_isal.name },
static const struct cb_lazy_symbol symbols[] = { CB_ISAL_FUNCTIONS(ROW) };
static struct cb_lazy library = CB_LAZY_INIT(CB_ISAL_SONAME, symbols);

int cb_isal_load(struct cb_error *err)
{
    return cb_lazy_load(&library, err);
}
#else
int cb_isal_load(CB_UNUSED struct cb_error *err)
{
    return 0;
}
#endif

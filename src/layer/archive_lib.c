/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/archive_lib.h"

#ifdef CB_LAZY_LIBS
#include "util/lazy.h"

struct cb_archive cb_archive;

#define ROW(name) { "archive_" #name, &cb_archive.name },
static const struct cb_lazy_symbol symbols[] = { CB_ARCHIVE_FUNCTIONS(ROW) };
static struct cb_lazy library = CB_LAZY_INIT(CB_ARCHIVE_SONAME, symbols);

int cb_archive_load(struct cb_error *err)
{
    return cb_lazy_load(&library, err);
}
#else
int cb_archive_load(CB_UNUSED struct cb_error *err)
{
    return 0;
}
#endif

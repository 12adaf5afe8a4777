/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/yaml_lib.h"

#ifdef CB_LAZY_LIBS
#include "util/lazy.h"

struct cb_yaml cb_yaml;

#define ROW(name) { "yaml_" #name, &cb_yaml.name },
static const struct cb_lazy_symbol symbols[] = { CB_YAML_FUNCTIONS(ROW) };
static struct cb_lazy library = CB_LAZY_INIT(CB_YAML_SONAME, symbols);

int cb_yaml_load(struct cb_error *err)
{
    return cb_lazy_load(&library, err);
}
#else
int cb_yaml_load(CB_UNUSED struct cb_error *err)
{
    return 0;
}
#endif

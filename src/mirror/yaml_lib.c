/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/yaml_lib.h"

#include "util/lazy.h"

#ifdef CB_LAZY_LIBS
struct cb_yaml cb_yaml;
#define ROW(name) { "yaml_" #name, &cb_yaml.name },
#endif
CB_LAZY_LIBRARY(cb_yaml_load, CB_YAML_SONAME, CB_YAML_FUNCTIONS(ROW))

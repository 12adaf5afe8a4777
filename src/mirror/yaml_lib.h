/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* libyaml, loaded when a plan of mirrors is read (util/lazy.h). What is used of it is listed here. */

#include <yaml.h>

#include "util/error.h"

/* Before anything else of it; cheap. -CB_ELOCAL where it is not there. */
int cb_yaml_load(struct cb_error *err) CB_WUR;

#ifdef CB_LAZY_LIBS
#define CB_YAML_FUNCTIONS(X)                                                                                           \
    X(document_delete) X(document_get_node) X(document_get_root_node) X(parser_delete) X(parser_initialize)            \
    X(parser_load) X(parser_set_input_string)
struct cb_yaml {
#define CB_LAZY_FIELD(name) __typeof__(yaml_##name) *name;
    CB_YAML_FUNCTIONS(CB_LAZY_FIELD)
#undef CB_LAZY_FIELD
};
extern struct cb_yaml cb_yaml;
#define yaml_document_delete cb_yaml.document_delete
#define yaml_document_get_node cb_yaml.document_get_node
#define yaml_document_get_root_node cb_yaml.document_get_root_node
#define yaml_parser_delete cb_yaml.parser_delete
#define yaml_parser_initialize cb_yaml.parser_initialize
#define yaml_parser_load cb_yaml.parser_load
#define yaml_parser_set_input_string cb_yaml.parser_set_input_string
#endif

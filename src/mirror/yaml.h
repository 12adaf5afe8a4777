/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A YAML document by libyaml, read strictly: known keys only, each once, and every error has its line. */

#include "mirror/yaml_lib.h"

#include "util/error.h"
#include "util/strvec.h"

struct mirror_yaml {
    yaml_document_t doc;
    const char *name; /* of the file, for messages */
};
int mirror_yaml_open(struct mirror_yaml *y, const char *name, const char *text, size_t len, struct cb_error *err)
    CB_WUR;
void mirror_yaml_close(struct mirror_yaml *y);
/* -CB_ECONF, "NAME:LINE: …". */
int mirror_yaml_wrong(const struct mirror_yaml *y, const yaml_node_t *at, struct cb_error *err, const char *fmt, ...)
    CB_PRINTF(4, 5);

/* A key of a mapping, and what reads its value. */
struct mirror_key {
    const char *name;
    int (*read)(const struct mirror_yaml *y, const yaml_node_t *value, void *into, struct cb_error *err);
};
/* keys ends with a NULL name. Each may stand once. */
int mirror_yaml_map(const struct mirror_yaml *y, const yaml_node_t *node, const struct mirror_key *keys, void *into,
                    struct cb_error *err) CB_WUR;
/* Calls read for each element of a sequence. */
int mirror_yaml_each(const struct mirror_yaml *y, const yaml_node_t *node, const struct mirror_key *read, void *into,
                     struct cb_error *err) CB_WUR;
/* *out is borrowed from the document. */
int mirror_yaml_text(const struct mirror_yaml *y, const yaml_node_t *node, const char **out, struct cb_error *err)
    CB_WUR;
int mirror_yaml_bool(const struct mirror_yaml *y, const yaml_node_t *node, bool *out, struct cb_error *err) CB_WUR;
/* One string or a list of them. */
int mirror_yaml_strings(const struct mirror_yaml *y, const yaml_node_t *node, struct cb_strvec *out,
                        struct cb_error *err) CB_WUR;

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Entries of layers, for people and for programs. */

#include "layer/layer.h"
#include "oci/json.h"

/* "-rw-r--r-- 0/0 1234 2026-01-02 03:04 etc/passwd -> …", as tar tv, with numbers for owners and UTC; a whiteout is of
 * type w, an opaque directory of type o. data: whose size counts. */
void cb_strbuf_add_entry(struct cb_strbuf *out, const struct cb_entry *e, const struct cb_entry *data);
/* New reference. */
json_t *cb_entry_to_json(const struct cb_entry *e, const struct cb_entry *data);
const char *cb_entry_type_name(enum cb_entry_type t); /* "file" */

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The subset of TOML 1.0 that registries.conf(5) and hosts.toml use: tables, arrays of tables, dotted and quoted keys,
 * strings of all four kinds, booleans, integers, floats (kept as text), arrays (also over lines), inline tables. Errors
 * name the line. What it does not know is an error. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strvec.h"

enum cb_toml_type { CB_TOML_TABLE, CB_TOML_ARRAY, CB_TOML_STRING, CB_TOML_BOOL, CB_TOML_INT, CB_TOML_FLOAT };

struct cb_toml {
    enum cb_toml_type type;
    unsigned line;
    char *key;             /* of this node in its table; NULL in an array and at the root */
    char *string;          /* STRING; FLOAT as text */
    int64_t integer;       /* INT; BOOL as 0 or 1 */
    struct cb_toml **item; /* of a TABLE or ARRAY, in file order */
    size_t n, cap;
    unsigned char origin;  /* the parser's own: how it came about, which decides whether it may be added to */
};

struct cb_toml *cb_toml_parse(const char *text, size_t len, struct cb_error *err); /* NULL and err, -CB_ECONF */
void cb_toml_free(struct cb_toml *t);
CB_DEFINE_CLEANUP(struct cb_toml *, cb_toml_free)
const struct cb_toml *cb_toml_get(const struct cb_toml *table, const char *key); /* NULL where absent */
/* Typed: absent leaves *out; a wrong type is -CB_ECONF with the line. */
int cb_toml_get_string(const struct cb_toml *table, const char *key, const char **out, struct cb_error *err) CB_WUR;
int cb_toml_get_bool(const struct cb_toml *table, const char *key, bool *out, struct cb_error *err) CB_WUR;
/* Adds the strings of an array; with `or_one` a single string will do as well. */
int cb_toml_get_strings(const struct cb_toml *table, const char *key, bool or_one, struct cb_strvec *out,
                        struct cb_error *err) CB_WUR;

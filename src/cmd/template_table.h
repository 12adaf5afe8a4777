/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --format of verbs that print a line a thing, as docker has it: a template; "json"; or "table TEMPLATE", whose cells
 * \t separates, in columns below headings. In columns, and on a terminal, control characters in values print as
 * escapes; else a program reads the values as they are. */

#include <jansson.h>

#include "util/error.h"
#include "util/strvec.h"

/* Whether it is "table" alone: the verb's own table is meant. */
bool cb_template_is_plain_table(const char *format);

struct cb_template_table {
    const char *row;              /* the template of a line */
    bool columns;
    struct cb_strvec lines;       /* of columns: they are printed at the end */
};
#define cb_cleanup_template_table CB_CLEANUP(cb_template_table_done)
/* format is borrowed. headings: of each field its name and what stands above it; the last name is NULL. Errors are
 * those of cb_template_print. */
int cb_template_table_begin(struct cb_template_table *t, const char *format, const char *const (*headings)[2],
                            struct cb_error *err) CB_WUR;
int cb_template_table_add(struct cb_template_table *t, const json_t *row, struct cb_error *err) CB_WUR;
void cb_template_table_print(const struct cb_template_table *t); /* what add has not printed */
void cb_template_table_done(struct cb_template_table *t);
